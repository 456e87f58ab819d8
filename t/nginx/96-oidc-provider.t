# The issuer is a real OpenID provider, npm's oidc-provider, and nginx is told
# its name and nothing else.  Callers sign in there, or are clients that speak
# for themselves.

use strict;
use warnings;

use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my @algorithms = (['r1', 'RS256'], ['e1', 'ES256'], ['p1', 'PS256'],
                  ['d1', 'EdDSA']);
my $mail = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress';

my $up = upstream();
my $login = oidc('login', keys => \@algorithms, accounts => {
    alice => { email => 'alice@example.com', groups => ['staff', 'search'],
               $mail => 'alice@example.org' },
    bob => { groups => [] },
});
my $narrow = oidc('narrow', keys => ['r1', ['e1', 'ES256']],
                  algorithms => ['RS256']);

redis_start();

sub from {
    my ($name, $issuer, $lines) = @_;

    return <<"CONF";
    token_issuer $name {
        issuer      %%OIDC_$issuer%%;
        audience    api://search;
        allow_http  on;
        $lines
    }

    server {
        listen       127.0.0.1:%%PORT_$name%%;
        token_auth   $name;

        proxy_set_header  X-Mail     \$mail;
        proxy_set_header  X-Groups   \$token_claim_groups;
        proxy_set_header  X-Client   \$token_claim_client_id;

        location / {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /injected {
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }

CONF
}

nginx_start(blocks() . "token_claim_set \$mail $mail;\n" . join('',
    from('plain', 'login', ''),
    from('every', 'login', 'algorithms RS256 ES256 PS256 EdDSA;
                            keys_interval 2s; keys_min_interval 1s;'),
    from('some', 'login', 'algorithms ES256 PS256;'),
    from('at', 'login', 'typ at+jwt;'),
    from('jwt', 'login', 'typ JWT;'),
    from('page', 'login', 'azp search-page;'),
    from('robots', 'login', 'azp robot alice;'),
    from('mail', 'login', "required_claims email $mail;"),
    from('young', 'login', 'max_age 3s;'),
    from('other', 'login', ''),
    from('narrow', 'narrow', 'algorithms RS256 ES256;'),
) =~ s/(token_issuer other [^}]*)search;/$1other;/r);

sub at {
    my ($name, $token, $uri) = @_;

    return result(get($uri // '/', port => $name, token => $token));
}


# --- discovered

my $alice = $login->token('alice');
my $robot = $login->own_token('robot');

is(at('plain', $alice), 'ok', 'a token of who signed in');
is(at('plain', $robot), 'ok', 'a client\'s own');
is(at('plain', $alice . 'x'), 'token-invalid', 'a broken one');
is(at('plain', jwt({ iss => $login->url() })), 'token-invalid',
   'one that the issuer did not sign');
is(at('plain', $narrow->token('alice')), 'token-invalid',
   'one of another issuer');
is(at('other', $alice), 'token-invalid', 'for another audience');
my %asked = map { $_ => 1 } $login->requests();
is(join(' ', sort keys %asked), '/.well-known/openid-configuration /jwks',
   'nginx asked for the document and the keys, nothing else');

# every member and claim that a real token has
get('/', port => 'plain', token => $alice);
my $saw = $up->last()->{headers};
is($saw->{'x-mail'}, 'alice@example.org', 'a claim whose name is a URL');
is($saw->{'x-groups'}, 'staff,search', 'an array');
is($saw->{'x-client'}, 'search-page', 'the client');

my $person = person('alice', iss => $login->url(), token => $alice);
$person->connect('third-party-token');
my $r = get('/injected', port => 'plain', as => $person);
is($r->json()->{headers}{authorization}, 'Bearer third-party-token',
   'exchanged for the third party\'s');


# --- what else the operator asks of it

is(at('at', $alice), 'ok', 'typ at+jwt, as RFC 9068 says');
is(at('jwt', $alice), 'token-invalid', 'which is no JWT');

is(at('page', $alice), 'ok', 'azp: the page\'s token');
is(at('page', $robot), 'token-invalid', 'another client\'s');
my $namesake = $login->own_token('alice');
is(at('plain', $namesake), 'ok', 'a client with a person\'s name');
is(at('page', $namesake), 'token-invalid', 'is not let in as the person');
is(at('robots', $namesake), 'ok', 'but as a client');
is(at('robots', $robot), 'ok', 'as another');
is(at('robots', $alice), 'token-invalid', 'where the person is not');

is(at('mail', $alice), 'ok', 'required claims, all there');
is(at('mail', $login->token('bob')), 'token-invalid', 'none there');

is(at('plain', $login->own_token('robot', dpop => 1)), 'token-invalid',
   'a token bound to a key by DPoP is not a bearer\'s');

my $fresh = $login->token('alice');
is(at('young', $fresh), 'ok', 'max_age: a new token');
wait_for(sub { at('young', $fresh) ne 'ok' }, 'it to be too old', 10);
is(at('young', $fresh), 'token-expired', 'refused when it is too old');
is(at('plain', $fresh), 'ok', 'though it has not expired');


# --- algorithms

for my $signing (@algorithms) {
    my ($kid, $alg) = @$signing;
    $login->keys($signing, grep { $_ != $signing } @algorithms);
    my $token = $login->token('alice');
    my %header = %{JSON::PP::decode_json(b64u_decode((split /\./, $token)[0]))};

    is("$header{alg} $header{kid} $header{typ}", "$alg $kid at+jwt",
       "$alg signs");
    is(at('every', $token), 'ok', "$alg where it is allowed");
    is(at('plain', $token), $alg eq 'RS256' ? 'ok' : 'token-invalid',
       "$alg where RS256 alone is");
    is(at('some', $token), $alg =~ /^[EP]S/ ? 'ok' : 'token-invalid',
       "$alg where two others are");
}

is(at('narrow', $narrow->token('alice')), 'ok', 'one that the issuer lists');
$narrow->keys(['e1', 'ES256'], 'r1');
is(at('narrow', $narrow->token('alice')), 'token-invalid',
   'one that it does not list, though it signed with it');

secrets_absent('no token in a log', $alice, $robot, $namesake, $fresh);

done_testing();
