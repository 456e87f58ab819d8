# The caller's JWT, of one real OpenID provider, exchanged at another, whose
# service asks it whose token that is.

use strict;
use warnings;

use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

use constant BEARER => 'urn:ietf:params:oauth:grant-type:jwt-bearer';
use constant EXCHANGE => 'urn:ietf:params:oauth:grant-type:token-exchange';

my $corp = oidc('corp');
my $vendor = oidc('vendor', exchanges => $corp->url(), service => 1,
    accessTokenTTL => 5, scopes => [qw(openid Mail.Read)],
    clients => [{
        client_id => 'injector', client_secret => 'secret-of-the-injector',
        grant_types => [BEARER, EXCHANGE],
        redirect_uris => [], response_types => [],
    }, {
        client_id => 'public', token_endpoint_auth_method => 'none',
        grant_types => [EXCHANGE], redirect_uris => [], response_types => [],
    }]);

my %none = (authorization_endpoint => undef, redirect_uri => undef,
            authorization_parameters => undef, scope => 'Mail.Read');

sub provider {
    my ($name, $grant, %differ) = @_;

    return "token_provider $name {\n"
           . party($vendor, %none, grant => $grant, %differ) . "}\n\n";
}

redis_start();

my $text = blocks()
    . provider('files', 'token_exchange')
    . provider('mail', 'jwt_bearer')
    . provider('public', 'token_exchange', client_id => 'public',
               client_auth => 'none', client_secret_file => undef,
               token_endpoint => undef, issuer => $vendor->url())
    . <<'CONF';

    token_issuer real {
        issuer      %%OIDC_corp%%;
        audience    api://search;
        allow_http  on;
    }

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  real corp;

        location /files/ {
            token_inject  files;
            proxy_pass    http://%%SERVICE_vendor%%/v1.0/;
        }

        location /mail/ {
            token_inject  mail;
            proxy_pass    http://%%SERVICE_vendor%%/v1.0/;
        }

        location /public/ {
            token_inject  public;
            proxy_pass    http://%%SERVICE_vendor%%/v1.0/;
        }

        location /connections {
            token_connections;
        }
    }
CONF
nginx_start($text, workers => 2);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r, workers => 2);

my %people = map {
    my $person = person($_, iss => $corp->url());
    $person->{token} = $corp->token($_);
    ($_ => $person);
} qw(alice bob);

my $alice = $people{alice};
my $mail = 'me/messages?$search="offsite"';

sub asked { scalar(grep { m{/token$} } $vendor->requests()) }
sub who { join(' ', sort keys %{{ map { $_->{who} => 1 } $vendor->calls() }}) }


# --- thirty at once, on two nodes

for my $name (qw(files mail public)) {
    $vendor->forget();
    my @r = parallel(map { ['GET', "/$name/$mail&n=$_", as => $alice,
                            $_ % 2 ? (port => 'there') : ()] } 1 .. 30);

    is(scalar(grep { $_->status() == 200 } @r), 30, "$name: thirty are served")
        or diag($r[0]->raw());
    is(asked(), 1, "$name: one exchange");
    is(who(), 'alice', "$name: the token is alice's, so the service hears");
}

$vendor->forget();
is(get("/files/$mail", as => $people{bob})->status(), 200, "bob's mail");
is(who(), 'bob', "by bob's token");


# --- until it ends there

$vendor->forget();
my $token = $alice->connection(provider => 'files')->{access}{token};
ok($vendor->introspect($token)->{active}, 'it is good for some seconds');
wait_for(sub { !$vendor->introspect($token)->{active} }, 'its end', 15);

my @r = parallel(map { ['GET', "/files/$mail&m=$_", as => $alice,
                        $_ % 2 ? (port => 'there') : ()] } 1 .. 20);
is(scalar(grep { $_->status() == 200 } @r), 20, 'twenty find that it ended');
is(asked(), 1, 'one exchange for them');
is($alice->connection(provider => 'files')->{hash}{gen}, 2,
   'in the place of the first');


# --- dropped, and revoked

$token = $alice->connection(provider => 'files')->{access}{token};
is(api('DELETE', '/files', $alice)->status(), 204, 'dropped');
ok(!$vendor->introspect($token)->{active}, 'and revoked');
is(get("/files/$mail", as => $alice)->status(), 200, 'exchanged anew');


# --- a JWT that the third party does not trust, though we do

my $stranger = person('alice');
is(result(get("/mail/$mail", as => $stranger)), 'reconnect-required',
   'invalid_grant (RFC 7523)');
is(result(get("/files/$mail", as => $stranger)), 'provider-misconfigured',
   'invalid_request (RFC 8693)');

secrets_absent('no log shows a JWT or a token', $token, $alice->token(),
               $stranger->token(), 'secret-of-the-injector');
store_absent('nor does Redis', $token, $alice->token());

done_testing();
