# Canaries: no token, user key, sealing key or password is in Redis, in an
# output, in a message, in the arguments or the environment of a process, or
# in a file that tokenctl left behind.  And five thousand connections, listed
# and rotated, take no more memory than a few.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Test::More;
use Time::HiRes qw(sleep);

use TI::Env qw(testdir read_file write_file wait_for alive patience);
use TI::Person;
use TI::Record;
use TI::Redis;
use TI::Token qw(b64u b64u_decode);
use Tokenctl;

redis_start();

# --- every verb, with secrets that no run may show (t/cli/lib/Tokenctl.pm)

my $keys = testdir() . '/sealing.jwks';
ok_run('keygen', '--out', $keys);
ok_run('keygen', '--out', $keys, '--add');
secret($_) for map { $_->{k} } @{json(read_file($keys))->{keys}};

my $alice = person('alice');
my $key = secret($alice->user_key());
my $access = secret('canary-access-0123456789');
my $refresh = secret('canary-refresh-0123456789');
my $app = secret('canary-app-0123456789');
my $password = secret('canary-password-0123456789');
my @one = (store(), who($alice), '--provider', 'outlook',
           '--user-key-file', $key);
my @app = (store(), '--app', '--provider', 'mailer');
my @login = ('--user', 'operator', '--password-file', $password);

redis('ACL', 'SETUSER', 'operator', 'on', '>canary-password-0123456789',
      '+@all', '~*', '&*');

for my $json ([], ['--json']) {
    ok_run('put', @one, '--access-file', $access, '--refresh-file', $refresh,
           @login, @$json);
    ok_run('put', @app, '--access-file', $app, @$json);
    ok_run('show', @one, @$json);
    ok_run('show', @app, @$json);
    ok_run('list', store(), @login, @$json);
}
ok_run('keygen', '--out', $keys, '--first', keys_of($keys)->[1]);
is(ok_run('rotate', store()), "2 rotated, 0 left\n", 'rotated');
pass('no output shows a secret');

# the bytes of Redis, as they lie in its dump: neither text nor decoded
redis('SAVE');
my ($dump) = glob(testdir() . '/*.rdb');
my @values = map { my $name = $_; my $h = redis_hash($name); ($name, %$h) }
             @{redis('KEYS', '*')};
for my $secret (secrets()) {
    my @forms = ($secret, unpack('H*', $secret));
    my $raw = length $secret == 43 ? eval { b64u_decode($secret) } : undef;
    push @forms, $raw if defined $raw;

    my @where = grep { my $v = $_; grep { index($v, $_) >= 0 } @forms }
                read_file($dump) // die("no dump\n"), @values;
    is(scalar(@where), 0, 'Redis holds no secret');
}

# the same look finds what is there
redis('SET', 'careless', 'canary-access-0123456789');
redis('SAVE');
cmp_ok(index(read_file($dump), 'canary-access-0123456789'), '>=', 0,
       'a secret that is there would be found');
redis('DEL', 'careless');

# a process that waits, seen from outside
redis_pause();
my $run = start('put', @one, '--access-file', $access,
                '--refresh-file', '-', { in => 'canary-refresh-0123456789' });
wait_for(sub { socket_of($run->{pid}) }, 'it to be connected');
for my $file (qw(cmdline environ)) {
    my $bytes = read_file("/proc/$run->{pid}/$file");
    cmp_ok(length $bytes, '>', 0, "$file");
    is((grep { index($bytes, $_) >= 0 } secrets()), 0, "$file: no secret");
}
like(read_file("/proc/$run->{pid}/limits"), qr/^Max core file size +0 +0 /m,
     'it leaves no core');
redis_resume();
is(finish($run)->{rc}, 0, 'and it goes on');

# wrong files: none is quoted
my $two = write_file('two-lines', "canary-access-0123456789\ncanary\n", 0600);
tokenctl('put', @one, '--access-file', $two);
tokenctl('show', store(), who($alice), '--provider', 'outlook',
         '--user-key-file', $access);
tokenctl('list', store('--keys' => $key));
tokenctl('list', store('--keys' => $access));
tokenctl('keygen', '--out', $access, '--add');
pass('no message quotes a file');

is_deeply([grep { /sealing/ && !/\Asealing\.jwks\z/ } files()], [],
          'no copy of the keys is left behind');


# --- many

my $large = secret('canary-' . 'x' x 2000);
ok_run('put', @one, '--access-file', $large, '--refresh-file', $large);
my ($name) = grep { /:c:outlook:/ } @{redis('KEYS', '*')};
my $size = length join '', %{redis_hash($name)};
fill($name, map { name_like($_) } 1 .. 5000);

my $list = peak('list', store(), '--json');
is(scalar(split /\n/, $list->{out}), 5002, 'five thousand and two are listed');

ok_run('keygen', '--out', $keys, '--first', keys_of($keys)->[1]);
my $rotate = peak('rotate', store());
is($rotate->{out}, "5002 rotated, 0 left\n", 'and rotated');

my $all = int($size * 5000 / 1024);
SKIP: {
    skip('a sanitizer keeps what was freed', 2) if patience() > 1;

    cmp_ok($_->{kb}, '<', $all / 2, "$_->{args}[0] held at most $_->{kb} KB "
           . "of the $all that went by") for $list, $rotate;
}

done_testing();


sub files {
    opendir(my $d, testdir()) or die "$!\n";

    return readdir($d);
}

# is it tokenctl by now, no longer a copy of this test?
sub begun {
    my ($pid) = @_;

    return (readlink("/proc/$pid/exe") // '') =~ m{/tokenctl\z};
}

# does it hold a socket?
sub socket_of {
    my ($pid) = @_;

    return begun($pid) && grep { (readlink($_) // '') =~ /^socket:/ }
                               glob("/proc/$pid/fd/*");
}

# the name of another user's connection
sub name_like {
    my ($i) = @_;

    return sprintf('ti:{%s}:c:outlook:-', b64u(pack('N4', 7, 7, 7, $i)));
}

# connections of these names, with the bytes of one
sub fill {
    my ($from, @names) = @_;

    my $script = 'local h = redis.call("HGETALL", KEYS[1]) '
                 . 'for i, n in ipairs(ARGV) do '
                 . 'redis.call("HSET", n, unpack(h)) end';

    redis('EVAL', $script, 1, $from, splice(@names, 0, 500)) while @names;
}

# a run, and the most memory that it was seen to hold, in KB
sub peak {
    my $run = start(@_);
    my $kb = 0;

    while (alive($run->{pid})) {
        sleep(0.001);
        next if !begun($run->{pid});
        my $status = read_file("/proc/$run->{pid}/status") // '';
        my ($now) = $status =~ /^VmHWM:\s+(\d+) kB/m;
        $kb = $now if $now && $now > $kb;
    }

    finish($run);
    die "never seen\n" if !$kb;

    return { %$run, kb => $kb };
}
