# What a renewal must not take for granted: that the lock is its own however
# long its worker was away, that a generation's number is given once, that the
# release of a lock arrives, and that Redis is well all the time.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Rotator;
use TI::Test;
use TI::Watch qw(other_nginx);

needs_module();

use constant LEASE => 6;                        # the provider's timeout and 5

my $idp = rotator();
my $proxy = proxy();

redis_start();

sub text {
    my ($store) = @_;

    return blocks(store => $store,
                  provider => $idp->party(timeout => '1s')) . <<'CONF';

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
}

nginx_start(text('server unix:%%PROXY_SOCK%%; connections 2; timeout 30s;'),
            workers => 1);
other_nginx(text('') =~ s/%%PORT%%/%%PORT_there%%/r, workers => 1);


# --- a consent after a removal has the first generation's number again

my $erin = person('erin');
my $c = $idp->connect($erin, left => -1);
$idp->fault('invalid_grant', account => 'erin', times => 1);
my ($r) = burst([[$erin, '/']]);
is(result_of($r), 'reconnect-required', 'the provider ended the grant');

redis('DEL', $c->{name});
redis('PUBLISH', 'ti:changes', $c->{name});
my $again = $idp->connect($erin, left => -1);
is($again->{gen}, $c->{gen}, 'removed, and consented anew: the same gen');
($r) = burst([[$erin, '/']]);
is(result_of($r), 'ok', 'which has nothing to do with the one before');


# --- and what is on its way for the one before does not replace it

for my $how ('tokens', 'end') {
    my $frank = person("frank_$how");
    $c = $idp->connect($frank, left => -1,
                       fields => { since => int(time()) - 100 });
    $idp->fault({ hold => $how, $how eq 'end'
                      ? (answer => [400, { error => 'invalid_grant' }]) : () },
                account => $frank->{sub}, times => 1);
    my $calls = $idp->calls();
    my $one = connection();
    $one->send(TI::Http::http_bytes('GET', '/', as => $frank));
    $idp->wait_calls($calls + 1);

    redis('DEL', $c->{name});
    $again = $frank->connect('another', refresh => 'of another account');
    $idp->release($how);
    $one->response();

    my $hash = $frank->connection()->{hash};
    is("$hash->{cid} $hash->{state}", "$again->{cid} connected",
       "$how: a newer consent stands");
}


# --- the word that the lock is ours comes when it is not any more

my $alice = person('alice');
$c = $idp->connect($alice, left => -1);
my $lock = $c->{name} =~ s/:c:/:l:/r;
my $aim = $proxy->aim("'PX'.*:l:outlook:$c->{device}", at => 'executed',
                      do => 'hold', for => LEASE + 1);

my $asks = connection();
$asks->send(TI::Http::http_bytes('GET', '/', as => $alice));
$proxy->wait_fired($aim);
my $calls = $idp->calls();
wait_for(sub { !redis('EXISTS', $lock) }, 'the end of the lease', LEASE + 2);
($r) = burst([[$alice, '/', 'there']]);
is(result_of($r), 'ok', 'the other node has it, then');
sleep(2);
is($idp->calls(), $calls + 1, 'and nobody uses that token once more');
is_deeply($idp->stats()->{revoked}, [], 'or loses a grant by it');
$proxy->calm();


# --- the lock is given back on a connection that has yet to be made

my $bob = person('bob');
$c = $idp->connect($bob, left => -1);
$idp->fault({ hold => 'bob' }, account => 'bob', times => 1);
$calls = $idp->calls();

$asks = connection();
$asks->send(TI::Http::http_bytes('GET', '/', as => $bob));
$idp->wait_calls($calls + 1);
$aim = $proxy->aim("EXPIREAT.*:c:outlook:$c->{device}", at => 'after');
$idp->release('bob');
$asks->response();
$proxy->wait_fired($aim);
is(eval {
    wait_for(sub { !redis('EXISTS', $c->{name} =~ s/:c:/:l:/r) }, 'it', 2);
    'gone';
}, 'gone', 'the link is cut after the write: the lock is given back');


# --- Redis is there and drops a connection now and then

my $carol = person('carol');
my $nobody = person('nobody');
$idp->connect($carol, left => -1);
my $end = time() + 60 * patience();
my ($lost, $result) = (0, '');

while (time() < $end && $result ne 'ok') {
    for (0 .. 8) {
        if ($_ == 1) {
            $asks = connection();
            $asks->send(TI::Http::http_bytes('GET', '/', as => $carol));
        }
        $proxy->aim('HLEN ti:.' . $nobody->user(), times => 2);
        ($r) = burst([[$nobody, '/']]);
        $lost++ if result_of($r) eq 'store-unavailable';
        $proxy->calm();
        sleep(1);
    }
    $result = result_of_response($asks->response());
}
cmp_ok($lost, '>=', 5, "$lost requests had bad luck");
is($result, 'ok', 'others have their tokens renewed');

done_testing();


sub result_of_response {
    my ($response) = @_;

    return result_of({ status => $response->status(),
                       json => eval { $response->json() } });
}
