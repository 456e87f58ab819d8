# A hit's headers are where nginx and its modules look for them: what expires,
# gzip_proxied and $sent_http_… make of the upstream's answer, they make of a
# hit.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream({
    '/expires/' => { headers => ['Cache-Control: private',
                                 'Cache-Control: max-age=5'], body => 'x' },
    '/sent/' => { headers => ['Cache-Control: private',
                              'Cache-Control: max-age=5',
                              'Link: </a>; rel=preload',
                              'Link: </b>; rel=preload'], body => 'x' },
    '/gzip/private/' => { headers => ['Cache-Control: private'],
                          body => 'x' x 1000 },
    '/gzip/public/' => { headers => ['Cache-Control: public'],
                         body => 'x' x 1000 },
});
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth       corp;
        token_inject     outlook;
        token_cache      1m;

        location /expires/ {
            expires      1h;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /sent/ {
            add_header   X-Cache-Control $sent_http_cache_control;
            add_header   X-Link $sent_http_link;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /gzip/ {
            gzip             on;
            gzip_types       *;
            gzip_proxied     private;
            token_cache_vary Accept;
            proxy_pass       http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('third-party');

sub twice {
    my ($uri, %more) = @_;

    my @r = map { get($uri, as => $alice, %more) } 1, 2;
    like($r[0]->header('Cache-Status'), qr/fwd=miss; stored$/, "$uri: kept");
    like($r[1]->header('Cache-Status'), qr/; hit; /, 'and a hit');

    return @r;
}

for my $r (twice('/expires/')) {
    is(join('|', $r->headers('Cache-Control')), 'max-age=3600',
       'expires takes the place of all of them');
}

for my $r (twice('/sent/')) {
    is($r->header('X-Cache-Control'), 'private, max-age=5',
       '$sent_http_cache_control');
    is($r->header('X-Link'), '</a>; rel=preload, </b>; rel=preload',
       '$sent_http_link');
    is(join('|', $r->headers('Cache-Control')), 'private|max-age=5',
       'both are sent');
}

my @proxied = (headers => ['Accept-Encoding: gzip', 'Via: 1.1 somebody']);

for my $r (twice('/gzip/private/', @proxied)) {
    is($r->header('Content-Encoding'), 'gzip', 'gzip_proxied private');
}

for my $r (twice('/gzip/public/', @proxied)) {
    is($r->header('Content-Encoding'), undef, 'and not public');
}

done_testing();
