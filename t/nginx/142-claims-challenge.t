# The third party wants what only the user can bring: no token is asked for,
# the caller hears what it is.

use strict;
use warnings;

use JSON::PP ();
use MIME::Base64 qw(encode_base64);

use TI::Test;
use TI::Watch;

needs_module();

my $claims = '{"access_token":{"nbf":{"essential":true,"value":"1"},'
             . '"acrs":{"essential":true,"value":"c1"},"x":"\u00fc\"<\\\\"}}';
my $asked = encode_base64($claims, '');

sub challenge {
    return { status => 401, body => 'third ' x 200,
             headers => ['X-Third: party',
                         map { "WWW-Authenticate: $_" } @_] };
}

my $cae = 'Bearer realm="", authorization_uri="https://login.example.com/'
          . 'common/oauth2/authorize", error="insufficient_claims", '
          . "claims=\"$asked\"";

my $up = upstream({
    '/cae' => challenge($cae),
    '/paged' => challenge($cae),
    '/many' => { %{challenge($cae)}, delay => 0.2 },
    '/later' => challenge('Basic realm="x"', "Negotiate, $cae"),
    '/none' => challenge('Bearer error="insufficient_claims"'),
    '/bad' => challenge('Bearer error="insufficient_claims", '
                        . 'claims="@@@"'),
    '/long' => challenge('Bearer error="insufficient_claims", claims="'
                         . encode_base64('{"a":"' . 'b' x 5000 . '"}', '')
                         . '"'),
    '/invalid' => challenge('Bearer error="invalid_token"'),
    '/scope' => challenge('Bearer error="insufficient_scope"'),
});
my $idp = upstream('idp', { '*' => { status => 500 } });

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';

redis_start();
nginx_start(blocks(provider => <<'PROVIDER') . <<'CONF', log_level => 'info');
    token_endpoint          http://%%UPSTREAM_idp%%/token;
    authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
    redirect_uri            http://%%UPSTREAM_idp%%/back;
    client_id               me;
    client_secret_file      %%TESTDIR%%/secret;
    allow_http              on;
PROVIDER

    token_provider given {
        store  vault;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth             corp;
        token_inject           outlook;
        proxy_http_version     1.1;
        proxy_buffer_size      16k;
        proxy_buffers          4 16k;

        location / {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /given/ {
            token_inject  given;
            proxy_pass    http://%%UPSTREAM%%/;
        }

        location /streamed/ {
            proxy_request_buffering  off;
            proxy_pass               http://%%UPSTREAM%%/;
        }

        location /many {
            token_cache  1m;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /paged {
            error_page  403 = @sorry;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location @sorry {
            token_auth    off;
            token_inject  off;
            return 200 "sorry: $token_result";
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice', refresh => 'refresh-of-alice');
$alice->connect('token-of-alice', provider => 'given');

sub is_asked {
    my ($name, $r, $wanted) = @_;

    is(result($r) . ' ' . $r->status(), 'reconnect-required 403',
       "$name: reconnect");
    is($r->json()->{claims}, $wanted, "$name: for these claims");
    is($r->header('X-Third'), undef, "$name: nothing of the third party's");
    is($r->header('Content-Type'), 'application/problem+json',
       "$name: a problem");
    is($r->header('Cache-Control'), 'no-store', "$name: which is not kept");
}

my $r = get('/cae', as => $alice);
is_asked('a challenge', $r, $claims);
is(JSON::PP->new->decode($r->json()->{claims})->{access_token}{acrs}{value},
   'c1', 'a challenge: JSON in itself');
is($up->calls(), 1, 'a challenge: the request is not sent again');

is_asked('a body', post('/cae', 'x' x 100_000, as => $alice), $claims);
is_asked('among others', get('/later', as => $alice), $claims);
is_asked('no claims', get('/none', as => $alice), undef);
is_asked('claims that can\'t be read', get('/bad', as => $alice), undef);
is_asked('claims too long', get('/long', as => $alice), undef);
is_asked('no endpoint', get('/given/cae', as => $alice), $claims);
is(get('/paged', as => $alice)->body(), 'sorry: reconnect-required',
   'error_page has a page for it');

# the rest of the body comes later
my $c = connection();
$c->send(http_bytes(POST => '/streamed/cae', as => $alice,
                    headers => ['Content-Length: 10']) . 'abc');
select(undef, undef, undef, 0.1);
$c->send('defghij');
is_asked('a body as it comes', $c->response(), $claims);

# a herd is told, each, and not one after the other
$up->forget();
my @r = parallel(map { ['GET', '/many', as => $alice] } 1 .. 20);
is(scalar(grep { ($_->json()->{claims} // '') eq $claims } @r), 20,
   'twenty who ask for one answer: all are told');

is($idp->calls(), 0, 'no token was asked for');
is($alice->connection()->{hash}{state}, 'connected',
   'and the connection is as it was');

# others are not about claims: a refresh is tried, and fails here
is(result(get('/invalid', as => $alice)), 'provider-unavailable',
   'invalid_token is another matter');
is($idp->calls(), 1, 'which asks for a token');

log_like(qr/\[info\] .*reconnect-required, provider outlook: the third party /,
         'it is said');
secrets_absent('no log shows a secret', 'token-of-alice', 'refresh-of-alice');

done_testing();
