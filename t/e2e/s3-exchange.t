# S3 of the mission: a workflow product that approves by e-mail.  It speaks for
# itself: client credentials, a scope that ends in /.default, one token for all.

use strict;
use warnings;

use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $scope = 'https://outlook.office365.com/.default';
my $microsoft = oidc('microsoft', path => '/contoso', service => 1,
    scopes => ['openid', $scope],
    routes => { token => '/oauth2/v2.0/token' },
    clients => [{
        client_id => 'approvals', client_secret => 'secret-of-the-injector',
        token_endpoint_auth_method => 'client_secret_post',
        grant_types => ['client_credentials'],
        redirect_uris => [], response_types => [],
    }]);

redis_start();
nginx_start(blocks(
    provider => party($microsoft, grant => 'client_credentials',
                      client_id => 'approvals', client_auth => 'post',
                      scope => $scope, authorization_endpoint => undef,
                      authorization_parameters => undef,
                      redirect_uri => undef),
) . <<'CONF', workers => 2);

    server {
        listen  127.0.0.1:%%PORT%%;

        # the workflow engine's own machine, and nobody behind a token
        location /EWS/ {
            allow         127.0.0.1;
            deny          all;
            token_inject  outlook;
            proxy_pass    http://%%SERVICE_microsoft%%;
        }

        location /as-somebody/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%SERVICE_microsoft%%/EWS/;
        }

        location /connections {
            token_auth  corp;
            token_connections;
        }
    }
CONF

my $find = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
           . '<s:Body><m:FindItem Traversal="Shallow"/></s:Body></s:Envelope>';

sub mail {
    my ($box, %opt) = @_;

    return post($opt{at} // '/EWS/Exchange.asmx', $find, %opt, headers => [
        'Content-Type: text/xml; charset=utf-8', @{$opt{headers} || []},
        "X-AnchorMailbox: $box\@example.com",
    ]);
}


sub asked { scalar(grep { m{/oauth2/v2\.0/token$} } $microsoft->requests()) }


my @answers = parallel(map {
    ['POST', '/EWS/Exchange.asmx', body => $find, headers => [
        'Content-Type: text/xml', 'X-AnchorMailbox: alice@example.com']]
} 1 .. 20);
is(scalar(grep { $_->status() == 200 } @answers), 20,
   'mail is read by twenty at once');
is(asked(), 1, 'with one token, asked for once');

my $r = mail('alice');
like($r->body(), qr{<t:Subject>Offsite in Lisbon}, 'of the mailbox it names');
like(mail('bob')->body(), qr{<t:Subject>Offsite budget}, 'or of another');

my $record = get_connection(who => ['', '', ''], provider => 'outlook');
my $token = $record->{access}{token};
my ($call) = reverse $microsoft->calls();
is($call->{authorization}, fingerprint($token), 'the token that is stored');
is($record->{hash}{scope}, $scope, 'for all that was granted: .default');
is($record->{refresh}, undef, 'an app has no refresh token');
is($microsoft->introspect($token)->{client_id}, 'approvals',
   'it is the application\'s');
is($call->{who}, 'approvals', 'and the vendor knows');


# --- who calls makes no difference

my $alice = person('alice', user_key => undef);
$r = mail('bob', at => '/as-somebody/Exchange.asmx', as => $alice);
is(result($r), 'ok', 'a caller with a token of their own');
($call) = reverse $microsoft->calls();
is($call->{authorization}, fingerprint($token), 'the application\'s goes out');
unlike($call->{head}, qr/\Q@{[$alice->token()]}/, 'theirs does not');
is(result(mail('bob', at => '/as-somebody/Exchange.asmx')), 'token-missing',
   'where a token is asked for');
my $own = mail('bob', headers => ['Authorization: Bearer something-else']);
is(result($own), 'ok', 'where none is, what is sent in its place');
($call) = reverse $microsoft->calls();
is($call->{authorization}, fingerprint($token), 'is replaced');
is(asked(), 1, 'one token for all of this');

store_absent('the token is not readable in Redis', $token);
secrets_absent('nor in a log', $token, 'secret-of-the-injector');

done_testing();
