# S4 of the mission: a meeting-room booking product.  An administrator connects
# the account that books, sees "obtained, valid until", and rooms' mailboxes are
# impersonated by a header that is nobody else's business.

use strict;
use warnings;

use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $scope = 'openid email offline_access EWS.AccessAsUser.All';
my $microsoft = oidc('microsoft', path => '/contoso', service => 1,
    scopes => [split / /, $scope], accessTokenTTL => 2400,
    accounts => { booker => { email => 'booker@example.com' } },
    routes => {
        authorization => '/oauth2/v2.0/authorize',
        token => '/oauth2/v2.0/token', userinfo => '/oidc/userinfo',
    },
    clients => [{
        client_id => 'injector', client_secret => 'secret-of-the-injector',
        grant_types => ['authorization_code', 'refresh_token'],
        redirect_uris => [TI::Consent::CONNECTED],
    }]);

redis_start();
nginx_start(blocks(
    provider => party($microsoft, scope => "\"$scope\"", user_key => 'off',
                      issuer => '%%OIDC_microsoft%%',
                      userinfo_endpoint => '%%OIDC_microsoft%%/oidc/userinfo',
                      account_claim => 'email'),
) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /EWS/ {
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%SERVICE_microsoft%%;
        }

        location /connections {
            token_connections;
        }
    }
CONF

my $booker = person('booker', user_key => undef);
my $find = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
           . '<s:Header><t:ExchangeImpersonation/></s:Header>'
           . '<s:Body><m:FindItem/></s:Body></s:Envelope>';

sub room {
    my ($room) = @_;

    return post('/EWS/Exchange.asmx', $find, as => $booker, headers => [
        'Content-Type: text/xml; charset=utf-8',
        "X-AnchorMailbox: $room\@example.com", 'SOAPAction: "FindItem"',
    ]);
}


# --- the status that an administrator sees

is((connections($booker))[0]{state}, 'none', 'not obtained yet');
is((connections($booker))[0]{expires_at}, undef, 'valid until: nothing');
is(result(room('alice')), 'connection-required', 'no room is booked');

my $began = time();
consent($booker, $microsoft);
my ($status) = connections($booker);
is($status->{state}, 'connected', 'obtained');
ok($began <= $status->{since} && $status->{since} <= time(), 'when');
cmp_ok(abs($status->{expires_at} - $status->{since} - 2400), '<=', 2,
       'valid until');
is($status->{account}, 'booker@example.com', 'as whom');
is($status->{scope}, $scope, 'for what');
ok($status->{refreshable}, 'and it can be renewed');


# --- rooms

my $token = $booker->connection()->{access}{token};
for my $room ('alice', 'bob', 'alice') {
    my $r = room($room);
    is($r->header('Cache-Status'), 'token-injector; fwd=bypass',
       'a POST is not kept');
    like($r->body(), qr/for="$room" by="booker"/, "the room $room, by booker");
    my ($call) = reverse $microsoft->calls();
    like($call->{head}, qr/^X-AnchorMailbox\n$room\@example\.com$/m,
         'the header came as it was sent');
    like($call->{head}, qr/^SOAPAction\n"FindItem"$/m, 'and the other one');
    is($call->{authorization}, fingerprint($token), 'with booker\'s token');
}
is(scalar(() = $microsoft->calls()), 3, 'each reached the vendor, once');


# --- not valid any more

is(api('DELETE', '/outlook', $booker)->status(), 204, 'disconnected');
is((connections($booker))[0]{state}, 'none', 'the status says so');
wait_for(sub { result(room('alice')) eq 'connection-required' },
         'the end of it', 2);
pass('and no room is booked');

# without renewal, which is for later, what has expired is to be renewed by hand
$booker->connect('expired-token', expires => time() - 10);
is((connections($booker))[0]{state}, 'reconnect', 'expired: to be renewed');
is(result(room('alice')), 'reconnect-required', 'and so say requests');
consent($booker, $microsoft);
is(result(room('alice')), 'ok', 'by consenting again');

store_absent('no name and no token is readable in Redis', $token,
             'booker@example.com');

done_testing();
