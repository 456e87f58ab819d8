# Before the first keys are there: requests wait, succeed when they come, and
# are told to come back when they do not, in bounded time.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer();
my $never = issuer('never');
my $away = issuer('away');
my $n = 0;

$idp->fault('/keys' => { hold => 'first' });
$never->fault('/keys' => { hold => 'never' });
$away->stop();

nginx_start($idp->block('corp', 'keys_uri %%ISSUER%%/keys; keys_wait 10s;')
            . $never->block('never', 'keys_uri %%ISSUER_never%%/keys;
                                      keys_wait 500ms; timeout 20s;
                                      keys_min_interval 1s;')
            . $away->block('away', 'keys_uri %%ISSUER_away%%/keys;
                                    keys_wait 500ms; keys_min_interval 1s;')
            . $never->block('impatient', 'keys_uri %%ISSUER_never%%/keys?2;
                                          keys_wait 0; timeout 20s;')
            . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /never/ {
            token_auth never;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /away/ {
            token_auth away;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /impatient/ {
            token_auth impatient;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /beside/ {
            return 200 beside;
        }

        location /both/ {
            token_auth never corp;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

sub fresh { (token => $_[0]->token({ jti => ++$n }), @_[1 .. $#_]) }

# some wait, some of them go away, some have a body, one has no good token
my @waiting = map {
    my $c = connection();
    $c->send(http_bytes(@$_));
    $c;
} ['GET', '/a', fresh($idp)], ['GET', '/b', fresh($idp)],
  ['POST', '/c', fresh($idp), body => 'the body' x 5000],
  ['HEAD', '/d', fresh($idp)],
  ['GET', '/e', fresh($idp, token => $idp->token(
                                { aud => 'api://other' }))],
  ['GET', '/both/', fresh($idp)];
my @leaving = map {
    my $c = connection();
    $c->send(http_bytes('GET', "/leaving/$_", fresh($idp)));
    $c;
} 1 .. 6;

$idp->wait_calls(1);
is($up->calls(), 0, 'nobody goes through before the keys');
is(get('/beside/')->body(), 'beside', 'who needs no keys does not wait');
is(get('/')->status(), 401, 'nor who brings no token');
is(result(get('/', token => jwt({ iss => 'https://else.example.com' }))),
   'token-invalid', 'nor who names another issuer');

$_ % 2 ? $leaving[$_]->abort() : $leaving[$_]->close() for 0 .. $#leaving;
# so that nginx has seen it
is(get('/beside/')->body(), 'beside', 'who leaves disturbs nobody');

$idp->release('first');
my @r = map { $waiting[$_]->response(head => $_ == 3) } 0 .. $#waiting;
cmp_ok((sort { $b <=> $a } map { $_->seconds() } @r)[0], '<',
       3 * patience(), 'when the keys are there, nobody waits on');
is($r[0]->status(), 200, 'the first goes on');
is($r[1]->status(), 200, 'the second too');
is($r[2]->json()->{body}, 'the body' x 5000, 'with its body');
is($r[3]->status(), 200, 'HEAD');
is(result($r[4]), 'token-invalid', 'who is not welcome is told then');
is($r[5]->status(), 200, 'the keys of another issuer do not matter');
is($idp->calls(), 1, 'they all waited for one fetch');
is(scalar(grep { $_->{uri} =~ /leaving/ } $up->requests()), 0,
   'who left is not served');
is(result(get('/', fresh($idp))), 'ok', 'and the next one does not wait');

# in vain
for my $path ('/never/', '/away/') {
    my $issuer = $path eq '/never/' ? $never : $away;
    my $r = get($path, fresh($issuer));

    is(result($r), 'keys-unavailable', "$path in vain");
    is($r->status(), 503, 'a 503');
    like($r->header('retry-after') // 'none', qr/^[1-5]$/,
         'with Retry-After');
    is($r->header('cache-control'), 'no-store', 'not to be kept');
    cmp_ok($r->seconds(), '<', 2 * patience(), 'in bounded time');
}

my $r = get('/never/', fresh($never));
is(result($r), 'keys-unavailable', 'again');
cmp_ok($r->seconds(), '>', 0.3, 'after a wait');
$r = get('/impatient/', fresh($never));
is(result($r), 'keys-unavailable', 'without a wait, if so configured');
cmp_ok($r->seconds(), '<', 0.3 * patience(), 'at once');
is($never->calls('/keys'), 1, 'one fetch is under way for all');

# what comes late comes all the same
$never->release('never');
wait_for(sub { result(get('/never/', fresh($never))) eq 'ok' }, 'late keys');
$away->start();
wait_for(sub { result(get('/away/', fresh($away))) eq 'ok' },
         'an issuer that came back', 10);
pass('late is not never');

done_testing();
