# The store is away, or refuses, at the very moment when tokens were granted
# for a code that cannot be spent again: they are kept, and stored as soon as
# it takes them, whoever waits and whoever does not.

use strict;
use warnings;

use TI::Consent;
use TI::Journal;
use TI::Test;

needs_module();

my $vendor = vendor();

redis_start();
nginx_start(journal_conf());


# --- it does not answer, and does again

my $alice = person('alice');
my $c = granted($alice, $vendor, sub { redis_pause() });
wait_log(qr/"vault": no answer in time/);
redis_resume();
is($c->response()->status(), 201, 'no answer, then one: who waits hears of it');
is_stored($alice, 'and it is stored');


# --- it is gone, and is there again

my $bob = person('bob');
$c = granted($bob, $vendor, sub { redis_kill() });
wait_log(qr/"vault": connect failed/);
redis_start();
is($c->response()->status(), 201, 'gone, then there: who waits hears of it');
is_stored($bob, 'and it is stored');


# --- nobody waits any more

my $carol = person('carol');
$c = granted($carol, $vendor, sub { redis_kill() });
$c->abort();
wait_log(qr/"vault": connect failed/);
redis_start();
is_stored($carol, 'whose browser has gone: it is stored all the same');


# --- it refuses, for reasons that pass

my $remedy = '"vault" does not take tokens that were granted; '
             . 'they are kept, and sent again until it does: ';

my $dave = person('dave');
$c = granted($dave, $vendor, sub {
    redis('ACL', 'SETUSER', 'default', '-eval');
});
wait_log(qr/\Q$remedy\Egive "user" the commands that the operations page/);
redis('ACL', 'SETUSER', 'default', '+eval');
is($c->response()->status(), 201, 'not allowed, then allowed: who waits hears');
is_stored($dave, 'and it is stored');

my $erin = person('erin');
$c = granted($erin, $vendor, sub {
    redis('REPLICAOF', '127.0.0.1', 9);
});
is($c->closed(0.7), 0, 'a replica refuses');
redis('REPLICAOF', 'NO', 'ONE');
is($c->response()->status(), 201, 'then it is the master: who waits hears');
is_stored($erin, 'and it is stored');
is(log_count(qr/\Q$remedy\E/), 1, 'one line in a minute says why');

done_testing();
