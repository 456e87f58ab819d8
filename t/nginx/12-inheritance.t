# token_auth, token_inject and token_require: inherited, replaced, off, at
# each level.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice', claims => { verified => 'yes' });
my $partner = person('bob', iss => 'https://partner.example.com/',
                     key => key('ES256'), alg => 'ES256');

jwks_file('partner.jwks', key('ES256'));
redis_start();
nginx_start(blocks() . <<'EOF');

    token_issuer partner {
        issuer     https://partner.example.com/;
        audience   api://search;
        algorithms ES256;
        keys_file  %%TESTDIR%%/partner.jwks;
    }

    token_provider calendar {
        store vault;
    }

    token_auth     corp;
    token_inject   outlook;
    token_require  $token_claim_sub;

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /uninjected/ {
            token_inject off;
            proxy_pass http://%%UPSTREAM%%;

            location /uninjected/again/ {
                token_inject calendar;
                proxy_pass http://%%UPSTREAM%%;
            }
        }

        location /open/ {
            token_auth    off;
            token_inject  off;
            proxy_pass http://%%UPSTREAM%%;

            location /open/partner/ {
                token_auth partner;
                proxy_pass http://%%UPSTREAM%%;
            }
        }

        location /require/ {
            token_require $token_claim_verified error=403;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /if/ {
            if ($arg_a) {
                set $b 1;
            }
            proxy_pass http://%%UPSTREAM%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        token_auth    off;
        token_inject  off;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /auth/ {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_3%%;
        token_inject calendar;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('to-outlook');
$alice->connect('to-calendar', provider => 'calendar');

# (status, the Authorization that the upstream saw)
sub seen {
    my ($uri, %opt) = @_;

    my $r = get($uri, %opt);
    my $auth = $r->status() == 200
               ? $r->json()->{headers}{authorization} // 'none' : 'refused';

    return $r->status() . ' ' . $auth;
}

my $own = 'Bearer ' . $alice->token();

is(seen('/', as => $alice), '200 Bearer to-outlook', 'http to location');
is(seen('/'), '401 refused', 'with its token_auth');
is(seen('/uninjected/', as => $alice), "200 $own", 'token_inject off');
is(seen('/uninjected/'), '401 refused', 'token_auth stays');
is(seen('/uninjected/again/', as => $alice), '200 Bearer to-calendar',
   'another provider inside it');
is(seen('/open/'), '200 none', 'both off');
is(seen('/open/', as => $alice), "200 $own", 'nothing is touched there');
is(seen('/open/partner/'), '401 refused', 'on again inside it');
is(seen('/open/partner/', as => $partner), '200 Bearer ' . $partner->token(),
   'with another issuer');
is(seen('/open/partner/', as => $alice), '401 refused',
   'which takes the place of the inherited one');
is(seen('/', as => $partner), '401 refused', 'and is none elsewhere');

is(seen('/require/', as => $alice), '200 Bearer to-outlook',
   'token_require of a location');
is(seen('/require/', token => $alice->token(verified => undef),
        user_key => $alice->user_key()), '403 refused',
   'takes the place of the inherited one');
is(seen('/if/?a=1', as => $alice), '200 Bearer to-outlook', 'inside an if');
is(seen('/if/?a=1'), '401 refused', 'neither skips its check');

is(seen('/', port => 2), '200 none', 'off for a server');
is(seen('/auth/', port => 2), '401 refused', 'on in its location');
is(seen('/auth/', port => 2, as => $alice), "200 $own",
   'which inherits its token_inject off');
is(seen('/', port => 3, as => $alice), '200 Bearer to-calendar',
   'another provider for a server');

done_testing();
