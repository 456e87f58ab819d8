# Redis begins to refuse writes between the lock and the write, for longer than
# the node that has the tokens holds the lock, and takes them again: the other
# node lets that one go first.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Rotator;
use TI::Test;
use TI::Watch qw(other_nginx);

needs_module();

my $idp = rotator();

redis_start();

my $text = blocks(provider => $idp->party(timeout => '1s')) . <<'CONF';

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

nginx_start($text, workers => 1);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r, workers => 1);

my $alice = person('alice');
my $c = $idp->connect($alice, left => -1);
my $lock = $c->{name} =~ s/:c:/:l:/r;

$idp->fault({ hold => 'alice' }, account => 'alice', times => 1);
my $asks = connection();
$asks->send(TI::Http::http_bytes('GET', '/', as => $alice));
$idp->wait_calls(1);
redis('ACL', 'SETUSER', 'default', '-publish');
$idp->release('alice');
wait_log(qr/does not take tokens/);

wait_for(sub { !redis('EXISTS', $lock) }, 'the end of the lock', 25);
my ($r) = burst([[$alice, '/', 'there']]);
is(result_of($r), 'store-unavailable', 'the other node finds it refusing');

# the first node has just tried, and tries again in a second or two
sleep(0.1);
redis('ACL', 'SETUSER', 'default', '+publish');

for my $try (1 .. 10) {
    ($r) = burst([[$alice, '/', 'there']]);
    last if result_of($r) eq 'ok';
    sleep(0.2);
}
is(result_of($r), 'ok', 'then it has a token');
is($idp->calls(), 1, 'which is the first node\'s');
is($idp->stats()->{replays}, 0, 'no refresh token is used twice');


# --- it lets us take the lock, and not write all of a connection

my $bob = person('bob');
$c = $idp->connect($bob, left => -1);
redis('ACL', 'SETUSER', 'default', '-hset');
burst([[$bob, '/']]);
is($idp->account('bob')->{n}, 2, 'there are new tokens');
ok($bob->connection(), 'and while they cannot be written, the old ones');
redis('ACL', 'SETUSER', 'default', '+hset');
wait_for(sub { ($bob->connection() // { hash => { gen => 0 } })->{hash}{gen}
               == 2 }, 'the new ones', 5);
($r) = burst([[$bob, '/']]);
is(result_of($r), 'ok', 'which serve then');

expect_log(qr/does not take tokens that were granted/);
done_testing();
