# An access token that has ended, or soon will, is renewed: once, in time, and
# for whoever asks meanwhile.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $n = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;
    my ($token) = $request->{body} =~ /refresh_token=([^&]+)/;

    return { status => 400, json => { error => 'invalid_grant' } }
        if $token =~ /^dead/;
    return { status => 503, body => '' } if $token =~ /^down/;

    return { delay => 0.3,
             json => { access_token => 'fresh-' . ++$n,
                       token_type => 'Bearer', expires_in => 3600,
                       $token =~ /^keeps/ ? ()
                           : (refresh_token => "refresh-$n") } };
});

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';

redis_start();

my $text = blocks(store => 'local_valid 0;', provider => <<'CONF') . <<'SERVER';
        authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
        token_endpoint          http://%%UPSTREAM_idp%%/token;
        client_id               me;
        client_secret_file      %%TESTDIR%%/secret;
        redirect_uri            https://search.example.com/connected;
        allow_http              on;
CONF
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
SERVER
nginx_start($text, workers => 2);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r, workers => 2);

sub bearer { return $_[0]->json()->{headers}{authorization} // '' }

sub asked {
    my ($of) = @_;

    return scalar grep { $_->{body} =~ /refresh_token=\Q$of\E(?:&|$)/ }
                       $idp->requests();
}


# --- ended: forty wait for one call, on two nodes

my $alice = person('alice');
$alice->connect('old-token', refresh => 'alice-1', expires => int(time()) - 5);

my @r = parallel(map { ['GET', "/$_", as => $alice,
                        $_ % 2 ? (port => 'there') : ()] } 1 .. 40);

is(scalar(grep { $_->status() == 200 } @r), 40, 'forty are served');
is(scalar(grep { bearer($_) eq 'Bearer fresh-1' } @r), 40,
   'with one new token');
is(asked('alice-1'), 1, 'for which the provider was asked once');
like($idp->last()->{body}, qr/^grant_type=refresh_token&/, 'to refresh');
like($idp->last()->{headers}{authorization}, qr/^Basic /, 'as this client');

my $c = $alice->connection();
is($c->{hash}{gen}, 2, 'written once more');
is($c->{refresh}{token}, 'refresh-1', 'with the next refresh token')
    or diag(explain($c));
is($c->{hash}{state}, 'connected', 'as connected');
wait_for(sub { !grep { /:l:/ } @{redis('KEYS', '*')} }, 'no lock');
pass('the lock is gone');

is(bearer(get('/more', as => $alice)), 'Bearer fresh-1', 'and used');
is(asked('refresh-1'), 0, 'without another call');


# --- soon to end: the request does not wait

my $bob = person('bob');
$bob->connect('bobs-token', refresh => 'bob-1', expires => int(time()) + 30);

my $begun = time();
is(bearer(get('/ahead', as => $bob)), 'Bearer bobs-token',
   'what is good is used');
cmp_ok(time() - $begun, '<', 0.25 * patience(), 'at once');
wait_for(sub { bearer(get('/ahead', as => $bob)) =~ /fresh-/ },
         'the next token');
is(asked('bob-1'), 1, 'by one call');


# --- not yet

my $carol = person('carol');
$carol->connect('carols-token', refresh => 'carol-1',
                expires => int(time()) + 900);
get('/early', as => $carol) for 1 .. 3;
sleep(0.3);
is(asked('carol-1'), 0, 'what is good for long is left alone');


# --- a reply without a refresh token

my $dave = person('dave');
my $first = $dave->connect('old-token', refresh => 'keeps-1',
                           expires => int(time()) - 5, scope => 'Mail.Read');
like(bearer(get('/keeps', as => $dave)), qr/fresh-/, 'renewed');
$c = $dave->connection();
is($c->{refresh}{token}, 'keeps-1', 'the old one stays');
is($c->{hash}{cid}, $first->{cid}, 'no new consent');
is($c->{hash}{since}, $first->{since}, 'since then');
is($c->{hash}{scope}, 'Mail.Read', 'for the same');


# --- the provider ended it

my $erin = person('erin');
$erin->connect('old-token', refresh => 'dead-1', expires => int(time()) - 5);

my $r = get('/dead', as => $erin);
is($r->status(), 403, 'refused');
is($r->json()->{type}, 'urn:ngx-token-injector:reconnect-required', 'why');
get('/dead', as => $erin, port => 'there') for 1 .. 10;
get('/dead', as => $erin) for 1 .. 10;
is(asked('dead-1'), 1, 'the provider is asked once, by two nodes');
$c = $erin->connection();
is($c->{hash}{state}, 'reconnect', 'and marked');
is($c->{refresh}{token}, 'dead-1', 'nothing is deleted');

$erin->connect('new-token', refresh => 'erin-2');
wait_for(sub { bearer(get('/dead', as => $erin)) eq 'Bearer new-token' },
         'a new consent');
pass('a new consent mends it');


# --- the provider is down

my $frank = person('frank');
$frank->connect('old-token', refresh => 'down-1', expires => int(time()) - 5);

$r = get('/down', as => $frank);
is($r->status(), 502, 'refused');
is($r->json()->{type}, 'urn:ngx-token-injector:provider-unavailable', 'why');
like($r->header('Retry-After'), qr/^[1-5]$/, 'and when to come again');
get('/down', as => $frank, port => $_ % 2 ? 'there' : undef) for 1 .. 10;
cmp_ok(asked('down-1'), '<=', 2, 'both nodes wait');

my $grace = person('grace');
$grace->connect('graces-token', refresh => 'down-2',
                expires => int(time()) + 20);
is(bearer(get('/down', as => $grace)), 'Bearer graces-token',
   'what is good is used') for 1 .. 5;
wait_for(sub { asked('down-2') }, 'a call');
is(bearer(get('/down', as => $grace)), 'Bearer graces-token',
   'still') for 1 .. 5;


# --- nothing to refresh it with

my $heidi = person('heidi');
$heidi->connect('old-token', expires => int(time()) - 5);
$r = get('/none', as => $heidi);
is($r->json()->{type}, 'urn:ngx-token-injector:reconnect-required',
   'no refresh token');

expect_log(qr/no tokens of provider "outlook"/);
secrets_absent('no log shows a token', 'alice-1', 'dead-1', 'down-1',
               'fresh-', 'refresh-1', 's3cret of');

done_testing();
