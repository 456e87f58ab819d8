# The harness itself: a token server whose refresh tokens are good once, and a
# proxy that strikes at one command.

use strict;
use warnings;

use IO::Socket::UNIX ();
use Time::HiRes qw(time);

use TI::Load;
use TI::Rotator;
use TI::Test;

$SIG{PIPE} = 'IGNORE';
redis_start();

my $idp = rotator(life => 3600);
my $alice = person('alice');

sub redeem {
    my ($token) = @_;

    return post('/token', "grant_type=refresh_token&refresh_token=$token",
                port => $idp->port_number(), timeout => 1);
}

sub given { redeem(@_)->json()->{refresh_token} // 'none' }

sub service {
    my ($token) = @_;

    return get('/mail', port => $idp->port_number(), token => $token);
}

sub refresh { $alice->connection()->{refresh}{token} }


# --- good once

my $c = $idp->connect($alice, left => 100);
is($c->{exp}, int(time() + 100), 'a connection, in Redis');

my $first = refresh();
my $r = redeem($first);
is($r->status(), 200, 'a refresh token gives tokens');
is($r->json()->{expires_in}, 3600, 'for as long as was said');
isnt($r->json()->{refresh_token}, $first, 'and another refresh token');

my $told = service($r->json()->{access_token})->json();
is("$told->{account} $told->{n} $told->{newest}", 'alice 2 1',
   'the service knows whose the access token is');
is(service($alice->connection()->{access}{token})->json()->{newest}, 0,
   'and that the one before it still lives');
is(service('at.alice.7.00')->status(), 401, 'and none that was not given');

is(redeem($first)->json()->{error}, 'invalid_grant', 'once more: refused');
is(redeem($r->json()->{refresh_token})->status(), 400,
   'and so is all that came of it');
is(join(' ', @{$idp->stats()->{revoked}}), 'alice', 'which counts');

$idp->connect($alice, left => -0.5);
is(service($alice->connection()->{access}{token})->status(), 200,
   'one that just ended is still taken');
$idp->set(grace => 0);
is(service($alice->connection()->{access}{token})->status(), 401,
   'and where the clock is exact it is not');

$idp->set(reuse => 60);
my $again = refresh();
is(redeem($again)->status(), 200, 'where it may be used again');
is(redeem($again)->status(), 200, 'it can');


# --- to order

$idp->connect($alice);
$idp->forget();

$idp->fault('e503', times => 1);
is(redeem(refresh())->status(), 503, 'a fault');
is($idp->account('alice')->{n}, 1, 'uses nothing up');

$idp->fault('dies', times => 1);
is(redeem(refresh())->status(), 0, 'it dies');
is($idp->account('alice')->{n}, 2, 'after it gave');
is($idp->calls(), 2, 'two calls');
is(join(' ', map { $_->{what} } $idp->log()), 'fault granted', 'and why');

$idp->fault({ hold => 'door' }, times => 1);
my $client = connection(port => $idp->port_number());
my $body = 'grant_type=refresh_token&refresh_token=' . refresh();
$client->send(http_bytes('POST', '/token', body => $body));
$idp->wait_calls(3);
is($idp->account('alice')->{n}, 2, 'held');
$idp->release('door');
is($client->response()->status(), 200, 'and let go');

$idp->fault('no_refresh', times => 1);
is(given(refresh()), 'none', 'an answer without a refresh token');
is(redeem(refresh())->status(), 200, 'the one that came is still good');

my $last = refresh();
my $victim = fork() // die "fork: $!\n";
if (!$victim) {
    $SIG{TERM} = 'DEFAULT';
    redeem($last) while 1;
}
$idp->fault({ kill => 'answered' }, times => 1);
waitpid($victim, 0);
is($? & 127, 9, 'who asks is killed');


# --- the proxy

my $proxy = proxy();

sub ask {
    my ($socket, @lines) = @_;

    print $socket map { "$_\r\n" } @lines;
    $socket->flush();
}

sub dial {
    return IO::Socket::UNIX->new(Peer => testdir() . '/PROXY.sock');
}

my $n = $proxy->aim('^GET b$', at => 'executed', do => 'cut');
my $s = dial();
ask($s, '*2', '$3', 'GET', '$1', 'a', '*3', '$3', 'SET', '$1', 'b', '$1',
    '1', '*2', '$3', 'GET', '$1', 'b', '*2', '$3', 'GET', '$1', 'c');
is(join('', <$s>), "\$-1\r\n+OK\r\n", 'replies until it strikes');
is($proxy->fired($n), 1, 'which it tells');

$n = $proxy->aim('^INCR', at => 'before', do => 'cut', skip => 1);
$s = dial();
ask($s, ('*2', '$4', 'INCR', '$1', 'n') x 2);
is(join('', <$s>), '', 'cut at the second one');
wait_for(sub { (redis('GET', 'n') // 0) == 1 }, 'the first one');
is($proxy->fired($n), 1, 'which Redis did not see');

$proxy->aim('^INCR', at => 'executed', do => 'cut', refuse => 0.3);
$s = dial();
ask($s, '*2', '$4', 'INCR', '$1', 'n');
is(join('', <$s>), '', 'cut before the reply');
is(redis('GET', 'n'), 2, 'which Redis had');
$s = dial();
is(join('', <$s>), '', 'refused for a while');
wait_for(sub {
    $s = dial();
    ask($s, '*2', '$3', 'GET', '$1', 'n');
    defined scalar <$s>;
}, 'the end of that');

$proxy->aim('^INCR', at => 'executed', do => 'hold', for => 0.3);
my $began = time();
ask($s = dial(), '*2', '$4', 'INCR', '$1', 'n');
is(scalar(<$s>), ":3\r\n", 'held');
cmp_ok(time() - $began, '>=', 0.3, 'for so long');

$proxy->aim('^INCR', at => 'after', do => 'kill');
my $killed = fork() // die "fork: $!\n";
if (!$killed) {
    $SIG{TERM} = 'DEFAULT';
    ask($s = dial(), '*2', '$4', 'INCR', '$1', 'n');
    sleep(1) while 1;
}
waitpid($killed, 0);
is($? & 127, 9, 'or who asked is killed');
is(redis('GET', 'n'), 4, 'when Redis had done it');


# --- many at once

my @people = map { person("p$_") } 1 .. 50;
$idp->connect_all(\@people, left => sub { 50 });
$idp->forget();

my @r = burst([map { [$_, '/', $idp->port_number()] } @people]);
is(scalar(grep { $_->{status} == 401 } @r), 50, 'a burst, answered');

my @left = @people;
my $right = 0;
load(sub { my $p = shift @left; $p && [$p, '/', $idp->port_number()] },
     done => sub { $right += $_[1]{json}{why} eq 'unknown' });
is($right, 50, 'and a stream of requests');
is($idp->stats()->{asked}, 100, 'all of which arrived');

done_testing();
