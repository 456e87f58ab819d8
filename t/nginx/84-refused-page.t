# error_page in a location that refuses as well: the page is judged anew, and
# what that comes to takes the place of the first refusal.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp realm=first;
        token_inject  outlook;

        location /same/ {
            error_page  400 401 403 503 /same/page;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /other/ {
            error_page    400 401 403 503 /second/page;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /second/ {
            token_auth    corp realm=second;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /named/ {
            error_page    400 401 403 503 @second;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location @second {
            token_auth    corp realm=second;
            proxy_pass    http://%%UPSTREAM%%;
        }

        # the page's location asks for more than the first
        location /stricter/ {
            token_auth    corp realm=first;
            token_inject  off;
            token_require $token_claim_staff error=403;
            error_page    403 /strict/page;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /strict/ {
            token_auth    corp realm=strict;
            token_require $token_claim_staff;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
EOF

# the values of what a refusal may say once
sub said {
    my ($r) = @_;

    return join '; ', map { my $name = $_;
        "$name: " . join(' | ', map { $name eq 'Retry-After' ? 'soon' : $_ }
                                $r->headers($name))
    } grep { $r->headers($_) } qw(Cache-Control WWW-Authenticate Retry-After);
}

my $none = 'Cache-Control: no-store';

for my $case (['/same/', 'first'], ['/other/', 'second'],
              ['/named/', 'second'])
{
    my ($uri, $realm) = @$case;

    my $r = get($uri);
    is(result($r), 'token-missing', "$uri, no token");
    is($r->status(), 401, 'its status');
    is(said($r), "$none; WWW-Authenticate: Bearer realm=\"$realm\"",
       'one of each header, the last location\'s');

    $r = get($uri, token => 'x.y.z');
    is(result($r), 'token-invalid', "$uri, no JWT");
    is(said($r), "$none; WWW-Authenticate: Bearer realm=\"$realm\", "
       . 'error="invalid_token", error_description="the token is not valid"',
       'one of each, with the reason');

    $r = get($uri, token => $alice->token());
    is(result($r), 'user-key-required', "$uri, no user key");
    is(said($r), $none, 'one Cache-Control');

    $r = get($uri, as => $alice);
    is(result($r), 'connection-required', "$uri, no connection");
    is(said($r), $none, 'one Cache-Control');
}

my $r = get('/stricter/', as => $alice);
is($r->status(), 401, 'a page stricter than its location');
is(result($r), 'caller-rejected', 'says what it came to');
is(said($r), "$none; WWW-Authenticate: Bearer realm=\"strict\"",
   'by its own headers alone');

redis_kill();

for my $uri ('/same/', '/other/', '/named/') {
    $r = get($uri, as => $alice);
    is(result($r), 'store-unavailable', "$uri, the store away");
    is(said($r), "$none; Retry-After: soon", 'one of each');
}

is($up->calls(), 0, 'nothing came through');

done_testing();
