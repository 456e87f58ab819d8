# S5 of the mission: a survey platform's SSO connections.  Every field of its
# form is a directive here: this goes through them as its documentation does.

use strict;
use warnings;

use JSON::PP ();

use TI::Browser;
use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $json = JSON::PP->new->canonical;
my $key = key('RS256', 'survey');
my @grants = (grant_types => ['authorization_code', 'refresh_token'],
              redirect_uris => [TI::Consent::CONNECTED]);
my $scope = 'openid email offline_access Mail.Read';

sub client {
    my ($id, $auth, %more) = @_;

    return { client_id => $id, token_endpoint_auth_method => $auth, @grants,
             %more };
}

my $corp = oidc('corp', keys => ['r1', ['e1', 'ES256']],
    algorithms => ['RS256', 'ES256'], accounts => {
        alice => { email => 'alice@example.com', email_verified => 1,
                   type => 'employee', department => 'research' },
        bob => { email => 'bob@example.org', type => 'employee' },
        carol => { email => 'carol@example.com', type => 'contractor' },
    });
my $survey = oidc('survey', service => 1, scopes => [split / /, $scope],
    accounts => {
        alice => { email => 'alice@example.com' },
        carol => { email => 'carol@example.com' },
    },
    clients => [
        client('in-basic', 'client_secret_basic', client_secret => 'a:b&c d%e'),
        client('in-post', 'client_secret_post', client_secret => 'a:b&c+d%e'),
        client('public', 'none'),
        client('signing', 'private_key_jwt', jwks => { keys => [jwk($key)] },
               token_endpoint_auth_signing_alg => 'RS256'),
    ]);

write_file('basic.secret', "a:b&c d%e\n", 0600);
write_file('post.secret', "a:b&c+d%e\n", 0600);
write_file('two.secret', "next-years\na:b&c d%e\n", 0600);
write_file('wrong.secret', "last-years\n", 0600);
write_file('signing.jwk', $json->encode({ %{$key->{jwk}}, alg => 'RS256',
                                          kid => $key->{kid} }), 0600);

my %auth = (
    client_id => 'in-basic', client_secret_file => '%%TESTDIR%%/basic.secret',
    scope => "\"$scope\"", user_key => 'off',
);
my %discovered = (
    issuer => '%%OIDC_survey%%', authorization_endpoint => undef,
    token_endpoint => undef, revocation_endpoint => undef,
);
my $userinfo = $survey->endpoint('userinfo');
my %providers = (
    written => { %auth },
    discovered => { %auth, %discovered },
    post => { %auth, client_id => 'in-post', client_auth => 'post',
              client_secret_file => '%%TESTDIR%%/post.secret' },
    public => { %auth, client_id => 'public', client_auth => 'none',
                client_secret_file => undef },
    signing => { %auth, client_id => 'signing',
                 client_auth => 'private_key_jwt',
                 client_secret_file => undef,
                 client_key_file => '%%TESTDIR%%/signing.jwk' },
    two => { %auth, client_secret_file => '%%TESTDIR%%/two.secret' },
    wrong => { %auth, client_secret_file => '%%TESTDIR%%/wrong.secret' },
    (map { ($_ => { %auth, userinfo_endpoint => $userinfo,
                    userinfo_auth => $_, account_claim => 'email',
                    issuer => '%%OIDC_survey%%' }) } qw(header body query)),
    own => { %auth, userinfo_endpoint => $userinfo, account_claim => 'email',
             match_account => 'email', issuer => '%%OIDC_survey%%' },
    hinted => { %auth, authorization_parameters =>
                    'prompt=consent login_hint=a@b "x-tenant=one two"' },
    narrow => { %auth, scope => 'Mail.Read' },
    domain => { %auth, allow => 'email=*@example.com' },
    employees => { %auth, allow => 'type=employee' },
);

sub conf {
    my ($name, %party) = @_;

    return "token_provider $name {\n" . party($survey, %party) . "}\n";
}

redis_start();
my $text = blocks(
    issuer => 'issuer %%OIDC_corp%%; allow_http on; keys_uri '
              . '%%OIDC_corp%%/jwks; keys_min_interval 1s;',
) . join('', map { conf($_, %{$providers{$_}}) } sort keys %providers)
. <<'CONF'

    map $token_claim_type $is_employee {
        employee  1;
        default   0;
    }

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /connections {
            token_connections;
        }

        location /attributes {
            token_require       $is_employee error=403;
            token_claim_header  X-Mail        $token_claim_email;
            token_claim_header  X-Department  $token_claim_department;
            proxy_pass          http://127.0.0.1:%%PORT_up%%;
        }

CONF
. join('', map { <<"CONF" } sort keys %providers) . "}\n";
        location /$_/ {
            token_inject  $_;
            proxy_pass    http://%%SERVICE_survey%%/v1.0/me/;
        }

CONF
my $up = upstream('up');
nginx_start($text =~ s/%%PORT_up%%/$up->port_number()/er);

my ($alice, $bob, $carol) = map {
    person($_, iss => $corp->url(), token => $corp->token($_),
           user_key => undef)
} qw(alice bob carol);

# connects: the connection as the API says, and the requests that nginx made
sub connected {
    my ($provider, $as, %opt) = @_;

    $survey->forget();
    my $r = bring($as, visit($as, $survey, provider => $provider, %opt),
                  provider => $provider);

    return ($r, grep { $_->{url} !~ /openid-configuration|jwks/ }
                $survey->seen());
}

sub used {
    my ($provider, $name) = @_;

    is(result(get("/$provider/messages", as => $alice)), 'ok', $name);
}


# --- endpoints, client id and secret, token endpoint authentication

my ($r, @asked) = connected('written', $alice);
is($r->status(), 201, 'endpoints written out') or diag $r->body();
is($asked[0]{method} . " $asked[0]{url} $asked[0]{authorization}",
   'POST /token Basic', 'client_auth basic, the default');
used('written', 'with a secret of odd characters');

($r, @asked) = connected('discovered', $alice);
is($r->status(), 201, 'endpoints that the issuer publishes') or diag $r->body();
used('discovered', 'do as well');

($r, @asked) = connected('post', $alice);
is($r->status() . $asked[0]{authorization}, '201', 'client_auth post');
used('post', 'with a secret of odd characters');

($r, @asked) = connected('public', $alice);
is($r->status() . $asked[0]{authorization}, '201', 'client_auth none');
used('public', 'PKCE is its proof');

($r, @asked) = connected('signing', $alice);
is($r->status() . $asked[0]{authorization}, '201',
   'client_auth private_key_jwt');
used('signing', 'with a key of its own');

($r, @asked) = connected('two', $alice);
is($r->status(), 201, 'client_secret_file with two lines') or diag $r->body();
is(scalar(grep { $_->{url} eq '/token' } @asked), 2, 'tried in order');
used('two', 'the second is the one');

($r, @asked) = connected('wrong', $alice);
is(result($r), 'provider-misconfigured', 'a wrong secret is no user\'s fault');
wait_log(qr/\[error\].*wrong/);


# --- code flow alone, PKCE, state, nonce; scope; further parameters

my $url = api('POST', '/hinted', $alice)->json()->{authorization_url};
my ($endpoint, $query) = split /\?/, $url;
my $asks = form_decode($query);
is($endpoint, $survey->endpoint('authorization'), 'the browser goes there');
is("@$asks{qw(response_type client_id redirect_uri scope)}",
   "code in-basic @{[TI::Consent::CONNECTED]} $scope", 'for a code');
is($asks->{code_challenge_method} . length $asks->{code_challenge}, 'S25643',
   'with PKCE');
is(length($asks->{state}) . ' ' . length $asks->{nonce}, '43 43',
   'with state and nonce');
is("@$asks{qw(prompt login_hint x-tenant)}", 'consent a@b one two',
   'authorization_parameters go along');
like($_, qr/\A[\x21-\x7e]+\z/, 'properly written') for $url;

($r) = connected('narrow', $alice);
is($r->json()->{scope}, 'Mail.Read', 'scope: what was granted');
is($r->json()->{refreshable}, JSON::PP::false(), 'no refresh without asking');
$asks = form_decode((split /\?/,
    api('POST', '/narrow', $alice)->json()->{authorization_url})[1]);
is($asks->{nonce}, undef, 'no nonce where there is no ID token');


# --- issuer

my $back = visit($alice, $survey, provider => 'discovered');
$back->{iss} = 'https://elsewhere.example.com';
is(result(bring($alice, $back, provider => 'discovered')), 'state-invalid',
   'an answer of another issuer');
$back = visit($alice, $survey, provider => 'discovered', consent => 'no');
is($back->{error}, 'access_denied', 'who declines');
is(result(bring($alice, $back, provider => 'discovered')),
   'connection-required', 'is not connected by it');


# --- public keys: of ID tokens

$survey->keys('k2', 'k1');
($r) = connected('discovered', $alice);
is($r->status(), 201, 'another kid signs ID tokens') or diag $r->body();


# --- user-info, bound by header, body, query

for (['header', 'GET /me Bearer'], ['body', 'POST /me '],
     ['query', 'GET /me ']) {
    my ($how, $saw) = @$_;
    ($r, @asked) = connected($how, $alice);
    my ($info) = grep { $_->{url} =~ m{^/me} } @asked;

    is($r->json()->{account}, 'alice@example.com', "userinfo_auth $how");
    is("$info->{method} /me $info->{authorization}", $saw, "by $how");
    is(index($info->{url}, 'access_token=') >= 0, $how eq 'query',
       'in the URL where it is to be');
}

is((grep { $_->{provider} eq 'header' } connections($alice))[0]{account},
   'alice@example.com', 'the account is shown from then on');
store_absent('and in Redis unreadable', 'alice@example.com');

($r) = connected('own', $alice, account => 'carol');
is(result($r), 'connection-required', 'match_account: not Carol\'s');
is((grep { $_->{provider} eq 'own' } connections($alice))[0]{state}, 'none',
   'nothing was kept of it');
($r) = connected('own', $alice);
is($r->status(), 201, 'one\'s own');


# --- who is let in: domains, types, attributes

my %lists = map {
    my $person = $_;
    ($person->{sub} => join ' ', grep { /domain|employees/ }
                                 map { $_->{provider} } connections($person));
} $alice, $bob, $carol;
is($lists{alice}, 'domain employees', 'allowed domain, allowed type');
is($lists{bob}, 'employees', 'another domain');
is($lists{carol}, 'domain', 'another type');
is(result(get('/domain/messages', as => $bob)), 'segment-excluded',
   'and no request otherwise');
is(result(api('POST', '/domain', $bob)), 'provider-unknown', 'nor a consent');

is(result(get('/attributes', as => $carol)), 'caller-rejected',
   'access limited to a type of user');
get('/attributes', as => $alice, headers => ['X-Mail: forged@example.com']);
my $saw = $up->last()->{headers};
is("$saw->{'x-mail'} $saw->{'x-department'}", 'alice@example.com research',
   'attributes are mapped');


# --- allowed algorithms and kid, of the callers' tokens

$corp->keys(['e1', 'ES256'], 'r1');
my $es = $corp->token('alice');
is(result(api('GET', '', $alice, token => $es)), 'token-invalid',
   'RS256 alone, unless said');
nginx_reload($text =~ s/%%PORT_up%%/$up->port_number()/er
                   =~ s/(token_issuer corp \{)/$1 algorithms RS256 ES256;/r);
is(result(api('GET', '', $alice, token => $es)), 'ok', 'or those of a list');
is(result(api('GET', '', $alice)), 'ok', 'each token by its kid');

$corp->keys('r9');
my $unknown = $corp->token('alice');
wait_for(sub { result(api('GET', '', $alice, token => $unknown)) eq 'ok' },
         'the new kid', 10);
pass('a new kid is looked for');

for (['algorithms HS256;', qr/HS256|MAC/, 'no JWKS for MAC algorithms'],
     ['algorithms none;', qr/none/, 'never none']) {
    my ($line, $why, $name) = @$_;
    my ($code, $said) = nginx_test(
        $text =~ s/%%PORT_up%%/$up->port_number()/er
              =~ s/(token_issuer corp \{)/$1 $line/r);
    is($code, 1, $name);
    like($said, $why, 'and it says so');
}

secrets_absent('no log shows a secret', 'a:b&c', $alice->token());

done_testing();
