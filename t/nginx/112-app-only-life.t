# An app-only token's life: replaced in time, found through discovery, proved
# by a key, stored although the store was away.

use strict;
use warnings;

use JSON::PP qw(decode_json);

use TI::Test;

needs_module();

my $up = upstream();
my $n = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;
    my $uri = $request->{uri};

    if ($uri eq '/.well-known/openid-configuration') {
        my $base = "http://$request->{headers}{host}";

        return { json => { issuer => $base,
                           token_endpoint => "$base/found",
                           authorization_endpoint => "$base/authorize" } };
    }

    return { delay => $uri eq '/late' ? 1.5 : 0,
             json => { access_token => 'app-' . ($uri =~ s{/}{}r) . '-' . ++$n,
                       token_type => 'Bearer',
                       expires_in => $uri eq '/short' ? 6 : 3600 } };
});

write_file('secret', "s3cret\n");
write_file('client.jwk', '');
chmod 0600, map { testdir() . "/$_" } qw(secret client.jwk);
system("openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null"
       . " | openssl pkcs8 -topk8 -nocrypt > " . testdir() . "/client.jwk")
    == 0 or die "openssl failed\n";

redis_start();
nginx_start(blocks(store => 'local_valid 0;') . <<'CONF');

    token_provider short {
        store               vault;
        grant               client_credentials;
        token_endpoint      http://%%UPSTREAM_idp%%/short;
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        client_auth         post;
        allow_http          on;
    }

    token_provider late {
        store               vault;
        grant               client_credentials;
        token_endpoint      http://%%UPSTREAM_idp%%/late;
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        allow_http          on;
    }

    token_provider found {
        store               vault;
        grant               client_credentials;
        issuer              http://%%UPSTREAM_idp%%;
        client_id           me;
        client_auth         private_key_jwt;
        client_key_file     %%TESTDIR%%/client.jwk;
        allow_http          on;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        location /short { token_inject short; proxy_pass http://%%UPSTREAM%%; }
        location /late  { token_inject late;  proxy_pass http://%%UPSTREAM%%; }
        location /found { token_inject found; proxy_pass http://%%UPSTREAM%%; }
    }
CONF

sub asked {
    my ($uri) = @_;

    return scalar grep { $_->{uri} eq $uri } $idp->requests();
}


# --- found, with a proof

is(get('/found')->json()->{headers}{authorization}, 'Bearer app-found-1',
   'the endpoint is where the issuer says');
is(asked('/.well-known/openid-configuration'), 1, 'which was asked');

my ($request) = grep { $_->{uri} eq '/found' } $idp->requests();
my ($assertion) = $request->{body} =~ /&client_assertion=([^&]+)/;
my $claims = decode_json(b64u_decode((split /\./, $assertion)[1]));

is($claims->{iss}, 'me', 'the client says who it is');
is($claims->{aud}, subst('http://%%UPSTREAM_idp%%/found'), 'to this endpoint');
is($request->{headers}{authorization}, undef, 'by nothing else');
unlike($request->{body}, qr/client_secret/, 'not by a secret');


# --- another before it ends, without a request

my ($first) = get('/short')->json()->{headers}{authorization};
is(asked('/short'), 1, 'the first for a request');
($request) = grep { $_->{uri} eq '/short' } $idp->requests();
like($request->{body}, qr/client_secret=s3cret/, 'its secret in the form');
wait_for(sub { asked('/short') >= 2 }, 'another', 15);
isnt(get('/short')->json()->{headers}{authorization}, $first,
     'another in time, for nobody');

my ($name) = grep { /:c:short:-$/ } @{redis('KEYS', '*')};
my $hash = redis_hash($name);
cmp_ok($hash->{gen}, '>=', 2, 'written anew');

nginx_reload();
my $before = asked('/found');
is(get('/found')->status(), 200, 'after a reload');
is(asked('/found'), $before, 'nothing is asked again');


# --- the store away before: the provider is not asked

redis_stop();
is(get('/late')->status(), 503, 'without the store');
is(asked('/late'), 0, 'the provider is not asked');
redis_start();


# --- the store away meanwhile: what was given is stored

wait_for(sub { get('/found')->status() == 200 }, 'the store again');

my $c = connection();
$c->send("GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n");
wait_for(sub { asked('/late') }, 'the provider to be asked');
redis_stop();
$c->close();
wait_for(sub { $idp->ended() > 0 && time() > $idp->last()->{time} + 2 },
         'the answer');
redis_start();
wait_for(sub { grep { /:c:late:-$/ } @{redis('KEYS', '*')} },
         'the tokens in the store', 20);
is(asked('/late'), 1, 'one call');
like(get('/late')->json()->{headers}{authorization}, qr/^Bearer app-late-/,
     'what the provider gave while the store was away is stored');
is(asked('/late'), 1, 'and nothing was asked for again');

secrets_absent('no log shows them', 's3cret', 'app-late', 'app-short',
               'app-found', $assertion);

done_testing();
