# An answer is kept as the third party gave it: what nginx's own filters make
# of it, they make of each hit anew.

use strict;
use warnings;

use IO::Uncompress::Gunzip qw(gunzip);

use TI::Test;

needs_module();

my $text = 'plain ' x 100;
my $up = upstream({
    '/gzip' => { headers => ['Content-Type: text/plain'], body => $text },
    '/gzip/chunked' => { headers => ['Content-Type: text/plain'],
                         body => $text, ends => 'chunked' },
    '/gzip/cut' => { headers => ['Content-Type: text/plain'], body => $text,
                     cut => 400 },
    '/add' => { headers => ['X-Upstream: once'], body => 'x' },
    '/sub' => { headers => ['Content-Type: text/html'], body => 'who: NAME' },
    '/ssi' => { headers => ['Content-Type: text/html'],
                body => 'who: <!--# echo var="arg_who" -->' },
});
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth       corp;
        token_inject     outlook;
        token_cache      1m;
        token_cache_key  $arg_key;

        location /gzip {
            gzip             on;
            gzip_min_length  1;
            gzip_types       text/plain;
            token_cache_vary Accept;
            proxy_pass       http://%%UPSTREAM%%;
        }

        location /add {
            add_header  X-Request $request_id;
            add_header  Set-Cookie "seen=$request_id";
            add_header  Cache-Control no-store;
            expires     10m;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /sub {
            sub_filter  NAME $arg_who;
            proxy_pass  http://%%UPSTREAM%%;

            token_cache_vary Accept;
        }

        location /ssi {
            ssi         on;
            proxy_pass  http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('third-party');

my @gzip = (headers => ['Accept-Encoding: gzip']);

sub plain {
    my ($r) = @_;

    return $r->body() if ($r->header('Content-Encoding') // '') ne 'gzip';
    gunzip(\$r->body() => \my $plain) or return 'no gzip';

    return $plain;
}

for my $uri ('/gzip', '/gzip/chunked') {
    $up->forget();
    for my $n (1 .. 3) {
        my $r = get($uri, as => $alice, @gzip);
        is($r->header('Content-Encoding'), 'gzip', "$uri, compressed, $n");
        is(plain($r), $text, 'what it says it is');

        $r = get($uri, as => $alice);
        is($r->header('Content-Encoding'), undef, "$uri, as it is, $n");
        is($r->body(), $text, 'the same');
    }
    is($up->calls(), 1, 'from one call of the upstream');
}

for (1, 2) {
    get('/gzip/cut', as => $alice, @gzip);
    like(get('/gzip/cut', as => $alice)->header('Cache-Status'),
         qr/fwd=miss/, 'cut short and compressed: never a hit');
}

my %seen;
for my $n (1 .. 3) {
    my $r = get('/add', as => $alice);
    my @ids = $r->headers('X-Request');
    is(@ids, 1, "add_header, once, $n");
    is_deeply([$r->headers('Set-Cookie')], ["seen=$ids[0]"],
              'of this request');
    ok(!$seen{$ids[0]}++, 'and no other');
    is_deeply([$r->headers('X-Upstream')], ['once'], "the upstream's, once");
    is(scalar(my @e = $r->headers('Expires')), 1, 'expires');
    is_deeply([sort $r->headers('Cache-Control')],
              ['max-age=600', 'no-store'], 'once each');
    like($r->header('Cache-Status'), $n == 1 ? qr/miss; stored/ : qr/hit/,
         'kept');
}

for my $n (1 .. 3) {
    is(get("/ssi?who=$n&key=1", as => $alice)->body() =~ /who: (\d)/ && $1,
       $n, "SSI, $n");
}

$up->forget();
get('/sub?who=a', as => $alice);
is(get('/sub?who=a', as => $alice)->body(), 'who: a', 'sub_filter');
is($up->calls(), 1, 'from one call');

done_testing();
