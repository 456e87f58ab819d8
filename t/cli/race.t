# Writers at the same time: nobody's tokens are overwritten unseen, every
# consent counts, and nothing that fails loses what was there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use IO::Socket::UNIX ();
use Test::More;
use Time::HiRes qw(time);

use TI::Env qw(testdir port patience wait_for fork_server end_process);
use TI::Person;
use TI::Proxy;
use TI::Record;
use TI::Redis;
use Tokenctl;

redis_start();
sealing_keys_file();

my $proxy = proxy();
my $alice = person('alice');
my $key = secret($alice->user_key());
my $token = secret('the-token');
my $name = record_name(who => $alice->who(), provider => 'outlook',
                       user_key => $alice->user_key());
my @one = (who($alice), '--provider' => 'outlook', '--user-key-file', $key);
my $through = 'unix:' . testdir() . '/PROXY.sock';


# --- another writer between our reading and our writing

for my $case (
    ['a consent', sub { $alice->connect('other') }, 2],
    ['a deletion', sub { redis('DEL', $name) }, 1],
    ['another type', sub { redis('DEL', $name); redis('SET', $name, 'x') }, 1],
) {
    my ($what, $write, $more) = @$case;

    redis('DEL', $name);
    $alice->connect('before', gen => 7);
    $proxy->forget();
    $proxy->mode(delay => 0.2);

    my $run = start('put', store('--server' => $through), @one,
                    '--access-file', $token);
    wait_for(sub { commands('HMGET') == 1 }, 'it to read');
    $write->();
    finish($run);

    is($run->{rc}, 0, "$what meanwhile: done");
    is(commands('EVAL'), 2, "$what: the first attempt wrote nothing");
    is($alice->connection()->{access}{token}, 'the-token', "$what: written");
    is($alice->connection()->{hash}{gen}, $more == 2 ? 9 : 1, "$what: gen");
}

# a writer that never stops
redis('DEL', $name);
$alice->connect('before');
my $writer = fork_server(sub {
    my $s = IO::Socket::UNIX->new(Peer => redis_sock()) or die "$!\n";
    while (1) {
        syswrite($s, "HINCRBY $name gen 1\r\n");
        sysread($s, my $answer, 64) or last;
    }
});
$proxy->mode(delay => 0.01);
fails(1, qr/others keep writing this connection; nothing was changed/,
      'one that never stops', 'put', store('--server' => $through), @one,
      '--access-file', $token);
end_process($writer, 'KILL');
isnt(redis('HGET', $name, 'gen'), 1, 'it did write');
$proxy->mode('pass');

# many at once: each one that says it is done is one gen
redis('DEL', $name);
my $done = 0;
for (1 .. 5) {
    my @runs = map { start('put', store(), @one, '--access-file', $token) }
               1 .. 8;
    finish($_) for @runs;
    $done += grep { $_->{rc} == 0 } @runs;
}
ok($done > 0, "$done of 40 consents at once were stored");
is($alice->connection()->{hash}{gen}, $done, 'and each counted');
is($alice->connection()->{access}{token}, 'the-token', 'the last one opens');


# --- Redis that fails

my $port = port('nobody');
fails(1, qr/127\.0\.0\.1:$port: .*Connection refused.*is Redis there/,
      'refused', 'list', store('--server' => "127.0.0.1:$port"));
fails(1, qr{unix:/none: .*is Redis there}, 'no socket', 'list',
      store('--server' => 'unix:/none'));
fails(1, qr/no\.such\.host\.invalid:6379: .*is Redis there/, 'no host', 'list',
      store('--server' => 'no.such.host.invalid:6379'));

is(tokenctl('list', store('--server' => 'localhost:' . redis_port()))->{rc}, 0,
   'by name');
is(tokenctl('list', store('--server' => '127.0.0.1:' . redis_port()))->{rc},
   0, 'by address');

my @verbs = (['put', @one, '--access-file', $token], ['show', @one],
             ['delete', @one], ['list'], ['rotate']);

my $before = redis_hash($name);

for my $answer ("-LOADING Redis is loading the dataset in memory\r\n",
                "-ERR something\r\n", "+OK\r\n", ":1\r\n", "*0\r\n",
                "*-1\r\n", "\$-1\r\n", "*1\r\n:1\r\n",
                "*2\r\n\$1\r\n0\r\n*1\r\n:1\r\n",
                "*2\r\n\$30\r\n" . 'x' x 30 . "\r\n*0\r\n", "?!\r\n")
{
    $proxy->mode(reply => $answer);
    my ($what) = $answer =~ /\A([^\r]*)/;

    for my $verb (@verbs) {
        my ($first, @rest) = @$verb;
        next if $first eq 'delete' && $what eq ':1';    # it is done, then
        fails(1, qr/^tokenctl: unix:/, "$first: answered '$what'", $first,
              store('--server' => $through), @rest);
    }
}

$proxy->mode(cut => 3);
fails(1, qr/is Redis there/, "$_->[0]: cut off", $_->[0],
      store('--server' => $through), @$_[1 .. $#$_]) for @verbs[0, 1, 3, 4];
$proxy->mode('byte');
is(tokenctl('show', store('--server' => $through), @one)->{rc}, 0,
   'byte by byte');
$proxy->mode('pass');
is_deeply(redis_hash($name), $before, 'all that lost nothing');

# full: the connection is not lost, neither before nor after
redis('CONFIG', 'SET', 'maxmemory', '1');
my $run = tokenctl('put', store(), @one, '--access-file', $token);
redis('CONFIG', 'SET', 'maxmemory', '0');
ok($alice->connection(), 'Redis full: a connection is there');
if ($run->{rc} == 0) {
    isnt($alice->connection()->{hash}{gen}, $before->{gen}, 'the new one');
} else {
    is_deeply(redis_hash($name), $before, 'the old one');
}

# silent: bounded
redis_pause();
my $begin = time();
fails(1, qr/no answer in time/, 'a silent Redis', 'list', store());
cmp_ok(time() - $begin, '<', 15 * patience(), 'in bounded time');
redis_resume();


# --- the rights that directives.md lists, and fewer

my @rights = qw(+@read +@write +@scripting +@pubsub +@transaction
                +@connection);
my $password = secret('the-pass-word');

sub acl {
    redis('ACL', 'SETUSER', 'operator', 'reset', 'on', '>the-pass-word', @_);
}

sub as_user {
    return store('--user' => 'operator', '--password-file' => $password, @_);
}

acl(@rights, '~ti:*', '&ti:changes');
redis('FLUSHALL');

for my $verb (['put', @one, '--access-file', $token, '--refresh-file',
               $token],
              ['put', @one, '--access-file', $token, '--json'],
              ['show', @one], ['list'], ['list', who($alice)], ['rotate'],
              ['delete', @one])
{
    my ($first, @rest) = @$verb;
    is(tokenctl($first, as_user('--database' => 1), @rest)->{rc}, 0,
       "with these rights: $first");
}

# rotation with something to do
$alice->connect('token', refresh => 'refresh');
sealing_keys_file(undef, 's2', 's1');
is(ok_run('rotate', as_user()), "1 rotated, 0 left\n", 'rotate');

$before = redis_hash($name);
for my $less (['no channel', @rights, '~ti:*'],
              ['no scripts', (grep { $_ ne '+@scripting' } @rights), '~ti:*',
               '&ti:changes'],
              ['no writing', (grep { $_ ne '+@write' } @rights), '~ti:*',
               '&ti:changes'],
              ['no publishing', (grep { $_ ne '+@pubsub' } @rights), '~ti:*',
               '&ti:changes'],
              ['reading only', @rights, '%R~ti:*', '&ti:changes'],
              ['other keys', @rights, '~other:*', '&ti:changes'])
{
    my ($what, @acl) = @$less;

    acl('resetchannels', @acl);
    for my $verb (@verbs[0, 2]) {
        my ($first, @rest) = @$verb;
        fails(1, qr/Redis says: /, "$what: $first", $first, as_user(), @rest);
        is_deeply(redis_hash($name), $before, "$what: nothing is lost");
    }
}
acl(@rights, '~ti:*', '&ti:changes');

my $wrong = secret('wrong-pass-word');
fails(1, qr/Redis refuses the user or the password \(WRONGPASS\)/,
      'a wrong password', 'list', as_user('--password-file' => $wrong));
fails(1, qr/Redis refuses the user or the password \(WRONGPASS\)/,
      'a wrong user', 'list', as_user('--user' => 'nobody'));
chmod(0644, $password);
fails(1, qr/\Q$password\E: group or others may read it.*chmod 600/,
      'a loose password file', 'list', as_user());
chmod(0600, $password);

# a server that does not know AUTH quotes its arguments
$proxy->mode(reply => "-ERR unknown command 'AUTH', with args beginning "
                      . "with: 'operator' 'the-pass-word' \r\n");
fails(1, qr/Redis refuses the user or the password \(ERR\); see/,
      'a refusal that quotes the password', 'list',
      as_user('--server' => $through));
$proxy->mode('pass');

redis('CONFIG', 'SET', 'requirepass', 'the-pass-word');
fails(1, qr/NOAUTH.*--user and --password-file/, 'no password', 'list',
      store());
is(tokenctl('list', store('--password-file' => $password))->{rc}, 0,
   "the default user's password");
redis('CONFIG', 'SET', 'requirepass', '');

done_testing();


sub commands {
    my ($command) = @_;

    return scalar grep { $_->[0] eq $command }
                  @{$proxy->stats()->{commands}};
}
