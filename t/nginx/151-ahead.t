# Ahead of a token's end: whoever comes gets an answer at once with the token
# that still serves, one call goes on beside it, and not before its time.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Nodes;
use TI::Rotator;
use TI::Test;

needs_module();

my $idp = rotator(life => 3600);

redis_start();
my @nodes = nodes_start(blocks(provider => $idp->party(
    timeout => '10s', refresh_ahead => '100s')) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        access_log  off;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
    }
CONF

my $serial = 0;

# somebody whose token ends in so many seconds
sub with {
    my ($left, %opt) = @_;

    my $p = person('p' . ++$serial);
    $idp->connect($p, left => $left, %opt);
    $idp->forget();

    return $p;
}

sub ask {
    my ($p, $node) = @_;

    return (burst([[$p, '/', $nodes[$node // 0]->port()]]))[0];
}

sub renewed {
    my ($p, $gen, $seconds) = @_;

    wait_for(sub { $p->connection()->{hash}{gen} >= $gen },
             "generation $gen", $seconds);
}


# --- due: the request waits for nothing

my $p = with(40);
$idp->fault({ hold => 'first' }, times => 1);

my $r = ask($p);
is(result_of($r), 'ok', 'a token in its window');
is($r->{json}{n}, 1, 'is used');
cmp_ok($r->{seconds}, '<', 0.5 * patience(),
       'at once, however long the token endpoint takes');
$idp->wait_calls(1);
my @r = burst([map { [$p, '/', $nodes[$_ % 2]->port()] } 1 .. 40]);
is(scalar(grep { result_of($_) eq 'ok' && $_->{json}{n} == 1 } @r), 40,
   'and by everybody else');
is($idp->calls(), 1, 'while one call goes on');
is($p->connection()->{hash}{gen}, 1, 'nothing is stored yet');

$idp->release('first');
renewed($p, 2);
wait_for(sub { ask($p, $serial++ % 2)->{json}{n} == 2 }, 'the new token');
@r = burst([map { [$p, '/', $nodes[$_ % 2]->port()] } 1 .. 40]);
is(scalar(grep { $_->{json}{newest} } @r), 40, 'then the new one is used');
is($idp->calls(), 1, 'of one call');
is($idp->account($p->{sub})->{refresh}, $p->connection()->{refresh}{token},
   'and its refresh token is stored');


# --- not due

for my $left (101, 600) {
    $p = with($left);
    ask($p, $_ % 2) for 1 .. 6;
    sleep(0.2);
    is($idp->calls(), 0, "$left seconds before its end: not yet");
}

# life 40: a window of 10, from the last five of them to all
$p = with(11, life => 40);
ask($p, $_ % 2) for 1 .. 6;
sleep(0.2);
is($idp->calls(), 0, 'a short life has a short window');
$p = with(4, life => 40);
ask($p);
renewed($p, 2);
is($idp->calls(), 1, 'at the end of which it is due');


# --- jitter: within the window, and not all at the same time

my @crowd = map { person("c$_") } 1 .. 60;
my %left = map { $crowd[$_]{sub} => 45 + $_ } 0 .. $#crowd;
$idp->connect_all(\@crowd, left => sub { $left{$_[0]{sub}} });
$idp->forget();
burst([map { [$_, '/', $nodes[0]->port()] } @crowd]);
sleep(0.5);
my @due = sort { $a <=> $b } map { $left{$_->{account}} } $idp->log();
my $sure = grep { $_ <= 49 } values %left;
cmp_ok(scalar(@due), '>', $sure, 'some are due early in their window');
cmp_ok(scalar(@due), '<', 56, 'and some late');
is(scalar(grep { $_ <= 49 } @due), $sure, 'none later than half of it');
is(scalar(grep { $_ > 100 } @due), 0, 'none before it');
note(scalar(@due), " of 60 with 45 to 104 seconds left: @due");

burst([map { [$_, '/', $nodes[1]->port()] } @crowd]);
sleep(0.3);
cmp_ok($idp->calls() - @due, '<=', 5, 'the other node is of the same opinion');
my %once = map { $_->{account} => 1 } $idp->log();
is(scalar(keys %once), $idp->calls(), 'and renews nothing twice');


# --- whoever began it goes away

for my $left (40, -1) {
    $p = with($left);
    $idp->fault({ hold => "gone$left" }, times => 1);
    my $c = connection();
    $c->send(http_bytes(GET => '/', as => $p));
    $idp->wait_calls(1);
    $c->abort();
    sleep(0.05);
    $idp->release("gone$left");
    renewed($p, 2);
    is($idp->calls(), 1, "gone, with $left seconds left: it goes on");
    is(ask($p, 1)->{json}{n}, 2, 'and others have its token');
}


# --- a worker that is told to leave, and a node

for my $how ('reload', 'quit') {
    $p = with(-1);
    $idp->fault({ hold => $how }, times => 1);
    my $c = connection();
    $c->send(http_bytes(GET => '/', as => $p));
    $idp->wait_calls(1);
    my $gone = $how eq 'quit';
    $c->abort() if $gone;

    if ($gone) {
        kill(QUIT => $nodes[0]{pid});
        sleep(0.2);
        $idp->release($how);
        $nodes[0]->quit();
    } else {
        $nodes[0]->reload();
        $idp->release($how);
        is($c->response()->status(), 200, "$how: who waits gets an answer");
    }
    renewed($p, 2);
    is($idp->calls(), 1, "$how: the renewal went on to its end");
    $nodes[0]->start() if $gone;
    is(ask($p)->{json}{n}, 2, 'and its token serves');
}


# --- due on two nodes at once, each beside a request

for my $round (1 .. 5) {
    $p = with(30);
    burst([map { [$p, '/', $nodes[$_ % 2]->port()] } 1 .. 20]);
    renewed($p, 2);
    is($idp->calls(), 1, "both nodes find it due, $round: one call");
}

is(@{$idp->stats()->{revoked}}, 0, 'no refresh token was used up twice');
nodes_quiet('nothing alarming on either node');
done_testing();
