# S1 of the mission: an enterprise search app with an Outlook calendar widget.
# Its people sign in at an identity provider, each device has a key of its own,
# an administrator consents before anybody else can, the integration is for
# some groups only, and what was found is kept for five minutes.

use strict;
use warnings;

use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $scope = 'offline_access Mail.Read Calendars.Read';

my $corp = oidc('corp', accounts => {
    alice => { groups => ['calendar-users'] },
    bob => { groups => ['calendar-users'] },
    mallory => { groups => ['visitors'] },
    root => { groups => ['calendar-users'] },
});
my $microsoft = oidc('microsoft', path => '/contoso', service => 1,
    scopes => ['openid', split / /, $scope],
    accounts => { alice => {}, bob => {}, root => {} }, admins => ['root'],
    routes => {
        authorization => '/oauth2/v2.0/authorize',
        token => '/oauth2/v2.0/token', admin => '/v2.0/adminconsent',
        jwks => '/discovery/v2.0/keys',
    },
    clients => [{
        client_id => 'injector', client_secret => 'secret-of-the-injector',
        grant_types => ['authorization_code', 'refresh_token'],
        redirect_uris => [TI::Consent::CONNECTED],
    }]);

redis_start();
nginx_start(blocks(
    issuer => 'issuer %%OIDC_corp%%; allow_http on; keys_uri '
              . '%%OIDC_corp%%/jwks;',
    provider => party($microsoft, scope => "\"$scope\"",
                      admin_consent_endpoint =>
                          '%%OIDC_microsoft%%/v2.0/adminconsent',
                      user_key => 'required',
                      allow => 'groups=calendar-users'),
) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /search/outlook/ {
            token_inject         outlook;
            token_cache          5m;
            token_cache_methods  GET HEAD POST;
            proxy_pass           http://%%SERVICE_microsoft%%/v1.0/;
        }

        location /connections {
            token_connections;
        }
    }
CONF

my ($alice, $bob, $mallory, $root) = map {
    person($_, iss => $corp->url(), token => $corp->token($_))
} qw(alice bob mallory root);
my $search = '/search/outlook/me/messages?$search="offsite"';

sub search { get($search, as => $_[0]) }
sub subjects { join '|', sort map { $_->{subject} } @{$_[0]->json()->{value}} }


# --- without a JWT, without a consent, without a group

is(result(get($search)), 'token-missing', 'every request has a JWT');
is(result(api('GET', '', $alice, token => 'x')), 'token-invalid',
   'those about connections too');
is(result(search($alice)), 'connection-required', 'nobody is connected');
is(result(search($mallory)), 'segment-excluded', 'it is not for everybody');
is(scalar(() = connections($mallory)), 0, 'who is not even told of it');
is(result(api('POST', '/outlook', $mallory)), 'provider-unknown',
   'and can not consent');
my ($listed) = connections($alice);
is("$listed->{provider} $listed->{state}", 'outlook none', 'the others can');


# --- the administrator

my $back = visit($alice, $microsoft);
is($back->{code}, undef, 'the vendor wants its administrator first');
is(result(bring($alice, $back)), 'admin-consent-required', 'and so it says');

$back = visit($alice, $microsoft, call => '/admin-consent');
is($back->{admin_consent}, 'True', 'Alice is none,');
is(result(bring($alice, $back)), 'admin-consent-required',
   'though what the vendor says looks like consent');

$back = visit($root, $microsoft, call => '/admin-consent');
my $r = bring($root, $back);
is($r->status(), 204, 'an administrator consents') or diag $r->body();
is(result(bring($root, $back)), 'state-invalid', 'once');


# --- each consents once

$r = consent($alice, $microsoft);
my $connection = $r->json();
is($connection->{provider} . ' ' . $connection->{state}, 'outlook connected',
   'Alice consents');
is($connection->{scope}, $scope, 'to what was asked');
ok($connection->{refreshable}, 'it can be refreshed');
cmp_ok(abs($connection->{expires_at} - time() - 3600), '<', 60,
       'it says until when');
consent($bob, $microsoft);

my $record = $alice->connection();
my @tokens = map { $record->{$_}{token} } qw(access refresh);
is($microsoft->introspect($tokens[0])->{sub}, 'alice',
   'what is stored is Alice\'s token');
store_absent('nothing in Redis says what they are', @tokens, 'alice@',
             $alice->user_key());


# --- the search

$microsoft->forget();
$r = search($alice);
is($r->header('Cache-Status'), 'token-injector; fwd=miss; stored', 'a search');
like(subjects($r), qr/^Offsite in Lisbon/, 'finds her mail');
my ($call) = $microsoft->calls();
is($call->{authorization}, fingerprint($tokens[0]), 'with her Outlook token');
unlike($call->{head}, qr/user-key|\Q@{[$alice->token()]}\E/i,
       'the vendor sees neither JWT nor key');

$r = search($alice);
like($r->header('Cache-Status'), qr/^token-injector; hit; ttl=(29\d|300)$/,
     'again: kept, for five minutes');
like(subjects(search($bob)), qr/^Offsite budget/, 'Bob finds his own');
is(scalar(() = $microsoft->calls()), 2, 'the vendor was asked twice');

my $query = '{"requests":[{"entityTypes":["message"],'
            . '"query":{"queryString":"launch"}}]}';
$r = post('/search/outlook/search/query', $query, as => $alice);
is($r->json()->{value}[0]{hitsContainers}[0]{total}, 1, 'a search by POST');


# --- the widget

my @days = map {
    my @t = gmtime(time() + $_ * 86400);
    sprintf('%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1,
            @t[3, 2, 1, 0]);
} 0, 2;
my $view = "/search/outlook/me/calendarView?startDateTime=$days[0]"
           . "&endDateTime=$days[1]";
my %joins = map {
    my @events = @{get($view, as => $_)->json()->{value}};
    ($_->{sub} => join ' ', map { $_->{onlineMeeting}{joinUrl} } @events);
} $alice, $bob;
is($joins{alice}, 'https://meet.example.com/alice-e1',
   'Alice\'s next meeting can be joined');
is($joins{bob}, 'https://meet.example.com/bob-e1', 'Bob\'s too');


# --- the key of the device is irreplaceable

my $second = $alice->on_device();
is(result(search($second)), 'connection-required', 'another device has none');
is((connections($second))[0]{state}, 'none', 'and is told so');
consent($second, $microsoft);
is(subjects(search($second)), subjects(search($alice)),
   'until she consents there too');
is(result(get($search, token => $alice->token())), 'user-key-required',
   'without a key there is nothing');
store_absent('and nothing that could open it is kept',
             map { ($_->user_key(), b64u_decode($_->user_key())) }
                 $alice, $bob, $second);

# the first device is lost, with its key: what is there opens for nobody
my $lost = person('alice', iss => $corp->url(), token => $alice->token());
is(result(search($lost)), 'connection-required', 'a lost key voids the tokens');

is(api('DELETE', '/outlook', $alice)->status(), 204, 'Alice disconnects');
wait_for(sub { result(search($alice)) eq 'connection-required' },
         'the end of her answers', 2);
wait_for(sub { !$microsoft->introspect($tokens[1])->{active} },
         'the vendor to know of it', 5);
pass('the vendor knows that she did');
like(subjects(search($second)), qr/^Offsite in Lisbon/,
     'her other device is connected as before');

secrets_absent('no log shows a secret', @tokens, $alice->token(),
               $alice->user_key(), 'secret-of-the-injector');

done_testing();
