#!/usr/bin/perl

# The scripts that connections are written, marked and locked by, in a Redis.

use strict;
use warnings;

use IO::Socket::UNIX;
use TI::Test;

use constant {
    USER => 'A' x 22,
    OURS => 'AAECAwQFBgcICQoLDA0ODw', THEIRS => 'AQECAwQFBgcICQoLDA0ODw',
    LEASE => 20000,
};

my $driver = 'build/interop/scripts_driver';
-x $driver or die "no scripts_driver: make interop\n";

redis_start(acl => [
    'user default on nopass ~* &* +@all',
    'user quiet on >q ~* resetchannels +@all',
]);

my $name = 'ti:{' . USER . '}:c:outlook:' . 'B' x 16;
my $lock = 'ti:{' . USER . '}:l:outlook:' . 'B' x 16;

sub args {
    open my $out, '-|', $driver, @_ or die "$driver: $!\n";
    local $/;
    my @args = split /\0/, <$out> . '.', -1;
    close $out or die "$driver @_: $?\n";
    pop @args;
    return @args;
}

sub does { redis(args(@_)) }

my %lock = (owner => OURS, gen => 7);

sub lock_args {
    my ($op, %as) = (@_);

    %as = (%lock, %as);
    return ($op, $lock, @as{qw(owner)}, LEASE, $as{gen}, 'ti:changes',
            $op eq 'fail' ? @as{qw(wait failures)} : ());
}

sub locks { does(lock_args(@_)) }


# one who listens to everything

my $listener = IO::Socket::UNIX->new(Peer => redis_sock()) or die "$!\n";
print $listener "SUBSCRIBE ti:changes\r\n";
$listener->flush();
wait_for(sub { redis('PUBSUB', 'NUMSUB', 'ti:changes')->[1] }, 'to listen');

my $heard = '';

# what was published meanwhile: names, in order
sub heard {
    redis('PUBLISH', 'ti:changes', 'END');
    wait_for(sub {
        $listener->blocking(0);
        sysread($listener, $heard, 65536, length $heard);
        $heard =~ /\r\nEND\r\n/;
    }, 'to hear');

    my @names = $heard =~
        /message\r\n\$\d+\r\nti:changes\r\n\$\d+\r\n(.*)\r\n/g;
    $heard = '';
    pop @names;
    return "@names";
}


# --- writes ---

is(does('write', 'ti:', $name, '', 'one'), 1, 'a first write');
my $first = redis_hash($name);
is(heard(), $name, 'is told');
is_deeply([sort keys %$first], [sort qw(access refresh gen cid exp since
                                        state)], 'its fields');
is($first->{gen}, 1, 'its gen');
is(redis('EXPIRETIME', $name), 4102444800, 'and its end');

is(does('write', 'ti:', $name, '', 'two'), 0, 'another first write is none');
is_deeply(redis_hash($name), $first, 'and changes nothing');
is(heard(), '', 'nor says anything');

redis('HSET', $name, 'state', 'reconnect', 'other', 'x');
my @second = args('write', 'ti:', $name, '1', 'three');
is(redis(@second), 1, 'a next one');
is(redis('HGET', $name, 'gen'), 2, 'with the next gen');
is(redis('HGET', $name, 'state'), 'connected', 'is connected');
is(redis('HEXISTS', $name, 'other'), 0, 'and replaces everything');
is(redis(@second), 1, 'sent once more, it knows itself');
is(heard(), $name, 'and is told once');
is(does('write', 'ti:', $name, '1', 'four'), 0, 'too late');

redis('HSET', $name, 'gen', 1, 'cid', 'later', 'since', 2 ** 40);
is(redis(@second), 0, 'nor does it replace a later consent, of its number');
redis('HSET', $name, 'since', 1);
is(redis(@second), 1, 'but one before');
heard();

redis('DEL', $name);
is(redis(@second), 0, 'nothing comes back after a removal');
redis('SET', $name, 'no hash');
is(does('write', 'ti:', $name, '', 'five'), 1,
    'what is no hash is replaced');
heard();


# --- marks ---

redis('DEL', $name);
is(does('mark', 'ti:', $name, '7', 'c'), 0, 'nothing there to mark');
is(redis('EXISTS', $name), 0, 'and nothing made');
is(does('mark', 'ti:', $name, '', 'c'), 0, 'nor without a gen');

redis('HSET', $name, 'gen', 7, 'access', 'a', 'state', 'connected',
      'cid', 'c');
redis('EXPIREAT', $name, 4102444800);
is(does('mark', 'ti:', $name, '8', 'c'), 0, 'another gen is not marked');
is(does('mark', 'ti:', $name, '7', 'd'), 0, 'nor another consent');
is(redis('HGET', $name, 'state'), 'connected', 'and stays connected');
is(heard(), '', 'which nobody hears of');

is(does('mark', 'ti:', $name, '7', 'c'), 1, 'marked');
is_deeply(redis_hash($name),
    { gen => 7, cid => 'c', access => 'a', state => 'reconnect' },
    'and all else stays');
is(redis('EXPIRETIME', $name), 4102444800, 'for as long as it would');
is(heard(), $name, 'everybody hears of it');

redis('SET', $name, 'no hash');
is(does('mark', 'ti:', $name, '7', 'c'), 0, 'what is no hash is not marked');


# --- the lock ---

is_deeply(locks('take'), [1, 0], 'taken');
is(heard(), $lock, 'which says whether it can be told');
is(redis('GET', $lock), OURS, 'ours');
cmp_ok(redis('PTTL', $lock), '>', LEASE - 5000, 'for the lease');

is_deeply(locks('take', owner => THEIRS), [0], 'not theirs');
is_deeply(locks('take', owner => THEIRS, gen => 8), [0], 'of no gen');
is(locks('renew', owner => THEIRS), 0, 'they cannot renew it');
is(locks('release', owner => THEIRS), 0, 'nor release it');
is(locks('fail', owner => THEIRS, wait => 1, failures => 1), 0, 'nor fail');
is(redis('GET', $lock), OURS, 'still ours');

redis('PEXPIRE', $lock, 1000);
is(locks('renew'), 1, 'renewed');
cmp_ok(redis('PTTL', $lock), '>', LEASE - 5000, 'for another lease');
redis('PEXPIRE', $lock, 1000);
is_deeply(locks('take'), [1, 0], 'ours already');
cmp_ok(redis('PTTL', $lock), '>', LEASE - 5000, 'for another lease, too');

is(locks('release'), 1, 'released');
is(redis('EXISTS', $lock), 0, 'and gone');
is(locks('release'), 0, 'but once');
is(locks('renew'), 0, 'and cannot be renewed');
is(redis('EXISTS', $lock), 0, 'nor come back');


# --- notes ---

locks('take');
is(locks('fail', wait => 30, failures => 2), 1, 'failed');
my $note = redis('GET', $lock);
is($note, '~2:provider-unavailable:7', 'a note');
my $left = redis('TTL', $lock);
ok($left > 150 && $left <= 158, 'which outlives its time by that of KEEP');

my $held = locks('take', owner => THEIRS);
is($held->[0], 0, 'nobody takes it');
ok($held->[1] > 20 && $held->[1] <= 30, 'for so long');
is($held->[2], $note, 'and why');
is(locks('take')->[0], 0, 'nor who failed');
is(locks('release'), 0, 'and it is nobody\'s to release');
heard();

is_deeply(locks('take', owner => THEIRS, gen => 8), [1, 0],
    'what is of another gen does not count');
is(heard(), $lock, 'and it is told as ever');

for my $case ([1, 6, 6], [0, 99, 99], [0, 12345678901234567890, 99]) {
    my ($ago, $failures, $counted) = @$case;

    redis('SET', $lock, "~$failures:provider-throttled:7", 'EX', 128 - $ago);
    is_deeply(locks('take'), [1, $counted], "$failures failures: goes on");
    is(redis('GET', $lock), OURS, 'and is ours');
}

redis('SET', $lock, '~1:provider-throttled:7', 'EX', 999999);
is(locks('take')->[1], 86400, 'nobody waits for longer than a day');

redis('SET', $lock, '~1:provider-throttled:7');
is_deeply(locks('take'), [1, 1], 'nor for what has no end');

for my $odd ('~2:provider-unavailable:07', '~', '~~', '~2',
             '~x:provider-unavailable:7', '~2:PROVIDER:7',
             '~1795286400:2:provider-unavailable:7') {
    redis('SET', $lock, $odd, 'EX', 300);
    is_deeply(locks('take'), [1, 0], "$odd: nothing that counts");
}

redis('DEL', $lock);
redis('HSET', $lock, 'no', 'string');
is(locks('renew'), 0, 'what is no string is nobody\'s');
is_deeply(locks('take'), [1, 0], 'and is replaced');


# --- who may not publish takes nothing ---

redis('DEL', $lock, $name);
redis('AUTH', 'quiet', 'q');
ok(!eval { locks('take') }, 'no right to publish');
ok(!eval { does('write', 'ti:', $name, '', 'six') }, 'nor for a write');
is(redis('EXISTS', $lock, $name), 0, 'nothing is taken or written');

redis('HSET', $name, 'gen', 7, 'cid', 'c', 'state', 'connected');
ok(!eval { does('mark', 'ti:', $name, '7', 'c') }, 'nor for a mark');
is(redis('HGET', $name, 'state'), 'connected', 'nothing is marked');
redis('DEL', $name);


# --- nor is it taken while nothing can be written ---

redis('AUTH', 'default', 'any');
redis('CONFIG', 'SET', 'maxmemory', 1);
ok(!eval { locks('take') }, 'no memory');
like($@, qr/OOM|memory/, 'which is said');
redis('CONFIG', 'SET', 'maxmemory', 0);
is_deeply(locks('take'), [1, 0], 'there is again');

done_testing();
