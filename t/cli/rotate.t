# rotate: the outer layer alone changes hands, whoever writes meanwhile and
# wherever it is interrupted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use IO::Socket::UNIX ();
use Test::More;
use Time::HiRes qw(sleep);

use TI::Env qw(testdir read_file wait_for end_process);
use TI::Person;
use TI::Proxy;
use TI::Record;
use TI::Redis;
use TI::Token qw(b64u_decode);
use Tokenctl;

redis_start();
sealing_keys_file(undef, 'old');

my @people = map { person("user$_") } 1 .. 30;
$_->connect("token-$_->{sub}", refresh => "refresh-$_->{sub}") for @people;
put_connection(who => ['', '', ''], provider => 'mailer', access => 'app');

for my $one (@people) {
    my $is = redis_hash(name_of($one));

    redis('HSET', name_of($one), previous => record_seal(
        kind => 'previous', who => $one->who(), provider => 'outlook',
        user_key => $one->user_key(), gen => $is->{gen}, cid => $is->{cid},
        expires => time() + 600, token => "previous-$one->{sub}"));
}

is(ok_run('rotate', store()), "0 rotated, 0 left\n", 'nothing to do');

my %before = map { $_ => redis_hash($_) } names();
my %end = map { $_ => redis('PEXPIRETIME', $_) } names();
my $heard = subscribe();

# the new key comes by --add and --first, as the operations page has it
chomp(my $new = ok_run('keygen', '--out', testdir() . '/sealing.jwks',
                       '--add'));
is(ok_run('rotate', store()), "0 rotated, 0 left\n", 'a key only added');
ok_run('keygen', '--out', testdir() . '/sealing.jwks', '--first', $new);
learn_keys();

my $run = tokenctl('rotate', store());
is($run->{out}, "31 rotated, 0 left\n", 'rotated');
is($run->{rc}, 0, 'done');

my $same = 1;
for my $name (names()) {
    my ($was, $is) = ($before{$name}, redis_hash($name));

    $same &&= $is->{$_} eq $was->{$_} for grep { !/access|refresh|previous/ }
                                              keys %$was;
    $same &&= keys %$is == keys %$was;
    $same &&= payload($is->{$_}) eq payload($was->{$_}, 'old')
        for grep { defined $is->{$_} } qw(access refresh previous);
    $same &&= !grep { $is->{$_} eq $was->{$_} }
              grep { defined $is->{$_} } qw(access refresh previous);
    $same &&= redis('PEXPIRETIME', $name) == $end{$name};
}
ok($same, 'payload, gen, cid, every other field and the expiry stay');

is_deeply([grep { $_->connection()->{access}{token} ne "token-$_->{sub}"
                  || $_->connection()->{refresh}{token} ne "refresh-$_->{sub}"
                  || $_->connection()->{access}{outer}{kid} ne $new }
           @people], [], 'every token opens, under the new key');
is(get_connection(who => ['', '', ''], provider => 'mailer')
   ->{access}{outer}{kid}, $new, "the application's too");
ok(silent($heard), 'nothing was published');
is(ok_run('rotate', store()), "0 rotated, 0 left\n", 'again: nothing');


# --- what does not open

my ($lost, $torn, $half, $foreign) = @people[0 .. 3];
my $old_keys = read_file('sealing.jwks');

sealing_keys_file(undef, 'third', $new, 'old', 'gone');
$lost->connect('t', kid => 'gone');
$torn->connect('t', access_record => 'nonsense');
$half->connect('t', refresh => 'r');
redis('HSET', name_of($half), refresh => redis_hash(name_of($lost))->{access});
redis('DEL', name_of($foreign));
redis('SET', name_of($foreign), 'x');
redis('HDEL', name_of($people[4]), 'access');
redis('HSET', name_of($people[5]), access => substr(
    redis_hash(name_of($people[5]))->{access}, 0, -2) . 'AA');
sealing_keys_file(undef, 'third', $new, 'old');

my %kept = map { name_of($_) => redis_hash(name_of($_)) }
           $lost, $torn, $half, $people[5];
$run = tokenctl('rotate', store());
is($run->{out}, "26 rotated, 4 left\n", 'some are left');
is($run->{rc}, 1, 'exit 1');
like($run->{err}, qr/^tokenctl: 4 left as they are; the first is ti:\{/,
     'and the first is named');
is_deeply({ map { $_ => redis_hash($_) } keys %kept }, \%kept,
          'what does not open is not touched');
is(redis('GET', name_of($foreign)), 'x', 'nor is a value of another type');

redis('DEL', keys %kept);
is(ok_run('rotate', store()), "0 rotated, 0 left\n", 'none left');


# --- someone writes meanwhile

my $proxy = proxy();
my $slow = $people[10];
redis('FLUSHALL');
sealing_keys_file(undef, 'old');
$slow->connect('before', refresh => 'r');
sealing_keys_file(undef, 'next', 'old');

for my $case (
    ['a new consent', sub { $slow->connect('after', refresh => 'r2',
                                           kid => 'old') }, 1, 'after'],
    ['a refresh under the new key',
     sub { $slow->connect('fresh', refresh => 'r3') }, 0, 'fresh'],
    ['other bytes under the same gen', sub {
        my $is = redis_hash(name_of($slow));
        redis('HSET', name_of($slow), access => record_seal(
            kind => 'access', who => $slow->who(), provider => 'outlook',
            user_key => $slow->user_key(), gen => $is->{gen},
            cid => $is->{cid}, expires => time() + 60, token => 'bytes',
            kid => 'old')) }, 1, 'bytes'],
    ['its deletion', sub { redis('DEL', name_of($slow)) }, 0, undef],
    ['another type', sub { redis('DEL', name_of($slow));
                           redis('SET', name_of($slow), 'x') }, 0, undef],
) {
    my ($what, $write, $rotated, $token) = @$case;

    redis('DEL', name_of($slow));
    $slow->connect('before', refresh => 'r', kid => 'old');

    my $gen = meanwhile($write);
    is($run->{out}, "$rotated rotated, 0 left\n", "$what meanwhile");

    next if !defined $token;
    is($slow->connection()->{access}{token}, $token, "$what: kept");
    is($slow->connection()->{$_}{outer}{kid}, 'next', "$what: $_ rotated")
        for qw(access refresh);
    is($slow->connection()->{hash}{gen}, $gen, "$what: gen is the writer's");
}


# --- interrupted, and run again

redis('FLUSHALL');
sealing_keys_file(undef, 'old');
@people = map { person("many$_") } 1 .. 300;
$_->connect('token') for @people;
sealing_keys_file(undef, 'next', 'old');

for my $signal (qw(INT TERM)) {
    $proxy->forget();
    $proxy->mode(delay => 0.005);
    my $rotate = start('rotate', store('--server' => through()));
    wait_for(sub { scripts() >= 20 }, 'rotation');
    kill($signal => $rotate->{pid});
    $run = finish($rotate);

    is($run->{rc}, 1, "SIG$signal: exit 1");
    my ($done) = $run->{err} =~ /^tokenctl: interrupted; (\d+) rotated so far/;
    ok($done && $done >= 19 && $done < 300, 'and says how far it came');
    is($run->{out}, '', 'without a count of what it did not see');
}
$proxy->mode('pass');

my $rest = grep { $_->connection()->{access}{outer}{kid} eq 'old' } @people;
is(ok_run('rotate', store()), "$rest rotated, 0 left\n",
   'run again, it does the rest');
is((grep { $_->connection()->{access}{outer}{kid} eq 'next' } @people), 300,
   'and all is done');

# killed, it leaves every connection whole
sealing_keys_file(undef, 'last', 'next');
$proxy->mode(delay => 0.005);
$proxy->forget();
my $rotate = start('rotate', store('--server' => through()));
wait_for(sub { scripts() >= 20 }, 'rotation');
end_process($rotate->{pid}, 'KILL');
$proxy->mode('pass');
is((grep { $_->connection()->{access}{token} eq 'token' } @people), 300,
   'killed: everything opens');

# Redis goes away
$proxy->mode(delay => 0.005);
$proxy->forget();
$rotate = start('rotate', store('--server' => through()));
wait_for(sub { scripts() >= 20 }, 'rotation');
$proxy->drop();
$run = finish($rotate);
is($run->{rc}, 1, 'Redis gone: exit 1');
like($run->{err}, qr/is Redis there.*; \d+ rotated so far/, 'and says so');
$proxy->mode('pass');
like(ok_run('rotate', store()), qr/^\d+ rotated, 0 left\n\z/, 'run again');


# --- progress, on a terminal alone

SKIP: {
    skip('no script(1)', 3) if system('command -v script >/dev/null') != 0;

    sealing_keys_file(undef, 'tty', 'last');
    my $command = join ' ', program(), 'rotate', store();
    my $out = `script -qec '$command' /dev/null </dev/null`;

    is($?, 0, 'on a terminal');
    like($out, qr/\r\d+ connections seen, \d+ rotated, 0 left\e\[K/,
         'progress');
    like($out, qr/\r\e\[K300 rotated, 0 left\r\n\z/, 'gone at the end');
}

done_testing();


sub names { sort @{redis('KEYS', '*')} }

sub name_of {
    my ($person) = @_;

    return record_name(who => $person->who(), provider => 'outlook',
                       user_key => $person->user_key());
}

# what the outer layer of a record holds
sub payload {
    my ($text, $kid) = @_;

    my ($header) = split /\./, $text;
    $header = json(b64u_decode($header));
    die "under $header->{kid}\n" if defined $kid && $header->{kid} ne $kid;

    my ($key) = grep { $_->{kid} eq $header->{kid} }
                @{sealing_keys()->{sealing}};

    return (TI::Record::_open($text, b64u_decode($header->{ctx}), 'seal',
                              sub { $key->{k} }))[1];
}

# the keys that tokenctl keygen made, for TI::Record
sub learn_keys {
    my $set = json(read_file('sealing.jwks'));

    sealing_keys()->{sealing} = [
        map { { kid => $_->{kid}, k => b64u_decode($_->{k}) } }
        grep { $_->{use} eq 'enc' } @{$set->{keys}}
    ];
}

sub through { 'unix:' . testdir() . '/PROXY.sock' }

sub scripts {
    return scalar grep { $_->[0] eq 'EVAL' } @{$proxy->stats()->{commands}};
}

# rotates while, between its reading and its writing, something is written;
# returns the gen after that
sub meanwhile {
    my ($write) = @_;

    $proxy->forget();
    $proxy->mode(delay => 0.3);
    my $rotate = start('rotate', store('--server' => through()));
    wait_for(sub { grep { $_->[0] eq 'HMGET' }
                   @{$proxy->stats()->{commands}} }, 'it to read');
    $write->();
    my $gen = eval { redis('HGET', name_of($slow), 'gen') };
    $proxy->mode('pass');
    $run = finish($rotate);

    return $gen;
}

sub subscribe {
    my $s = IO::Socket::UNIX->new(Peer => redis_sock()) or die "$!\n";
    my $bytes = '';

    syswrite($s, "PSUBSCRIBE *\r\n");
    while ($bytes !~ /:1\r\n\z/) {
        sysread($s, $bytes, 4096, length $bytes) or die "subscribe: $!\n";
    }

    return $s;
}

# nothing is heard before a word of ours
sub silent {
    my ($s) = @_;

    my $bytes = '';
    redis('PUBLISH', 'word', 'end');
    while ($bytes !~ /end\r\n\z/) {
        sysread($s, $bytes, 65536, length $bytes) or die "silent: $!\n";
    }

    return (() = $bytes =~ /pmessage/g) == 1;
}
