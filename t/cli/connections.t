# put, show, delete and list: what they write is what the format says, read by
# a second implementation of it, and what others wrote is shown.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use IO::Socket::UNIX ();
use Test::More;

use TI::Env qw(testdir write_file read_file wait_for port);
use TI::Person;
use TI::Record;
use TI::Redis;
use TI::Token qw(b64u b64u_decode);
use Tokenctl;

redis_start();
sealing_keys_file();

my $alice = person('alice', tid => 'contoso');
my $key = secret($alice->user_key());
my $access = secret('access-token-1.~+/==');
my $refresh = secret('refresh-token-1');
my @outlook = ('--provider' => 'outlook');
my @alice = (store(), who($alice), @outlook);

my @changes;
my $subscriber = subscribe('ti:changes');


# --- put

my $now = time();
is(ok_run('put', @alice, '--user-key-file', $key, '--access-file', $access,
          '--refresh-file', $refresh, '--scope', 'Mail.Read Files.Read',
          '--expires-in', '7200'), '', 'put says nothing');

my $got = $alice->connection();
my $name = record_name(who => $alice->who(), provider => 'outlook',
                       user_key => $alice->user_key());
my $hash = $got->{hash};

is($got->{access}{token}, 'access-token-1.~+/==', 'the access token');
is($got->{refresh}{token}, 'refresh-token-1', 'the refresh token');
is($hash->{gen}, 1, 'gen 1');
is(length b64u_decode($hash->{cid}), 16, 'cid');
is($hash->{scope}, 'Mail.Read Files.Read', 'scope');
is($hash->{state}, 'connected', 'state');
near($hash->{since}, $now, 'since');
near($hash->{exp}, $now + 7200, 'exp');
is($got->{access}{outer}{exp}, $hash->{exp}, 'exp of the access record');
ok(!exists $got->{refresh}{outer}{exp}, 'none of the refresh record');
near(redis('TTL', $name) + time(), $now + 90 * 86400, 'kept for 90 days');
is_deeply([sort keys %$hash],
          [qw(access cid exp gen refresh scope since state)],
          'no other field');
is_deeply(published(), [$name], 'published');

my $cid = $hash->{cid};

ok_run('put', @alice, '--user-key-file', $key, '--access-file', $access);
$got = $alice->connection();
$hash = $got->{hash};
is($hash->{gen}, 2, 'put again: gen 2');
isnt($hash->{cid}, $cid, 'a new cid');
is_deeply([sort keys %$hash], [qw(access cid exp gen since state)],
          'the whole connection was replaced');
near($hash->{exp}, time() + 3600, '3600 s where nobody says');
near(redis('TTL', $name), 3600 + 30 * 86400, '30 days after the token');
is_deeply(published(), [$name], 'published again');

# numbers that are none, and values that are no hash: a consent repairs
redis('HSET', $name, gen => 'many');
ok_run('put', @alice, '--user-key-file', $key, '--access-file', $access);
is($alice->connection()->{hash}{gen}, 1, 'a gen that is none: from 1');
redis('SET', $name, 'not a hash');
ok_run('put', @alice, '--user-key-file', $key, '--access-file', $access);
is($alice->connection()->{hash}{gen}, 1, 'another type is replaced');
redis('HSET', $name, gen => '9007199254740991');
my $last = redis_hash($name);
published();
fails(1, qr/gen is at its end/, 'the last gen', 'put', @alice,
      '--user-key-file', $key, '--access-file', $access);
is_deeply(redis_hash($name), $last, 'nothing changed');
redis('HSET', $name, gen => '9007199254740990');
ok_run('put', @alice, '--user-key-file', $key, '--access-file', $access);
is($alice->connection()->{hash}{gen}, '9007199254740991', 'the last but one');

# standard input, for each of the three
my $bob = person('bob');
my @bob = (store(), who($bob), @outlook);
my $bob_key = secret($bob->user_key());
my @in = (['--user-key-file', $bob->user_key(), '--access-file', $access],
          ['--access-file', 'access-token-2', '--user-key-file', $bob_key],
          ['--refresh-file', 'refresh-token-2', '--user-key-file', $bob_key,
           '--access-file', $access]);
for my $in (@in) {
    my ($opt, $bytes, @rest) = @$in;

    for my $newline ('', "\n") {
        ok_run('put', @bob, $opt, '-', @rest, { in => $bytes . $newline });
        ok($bob->connection(), "$opt from standard input");
    }
}
is($bob->connection()->{refresh}{token}, 'refresh-token-2', 'whole');
is($bob->connection()->{hash}{gen}, 6, 'six consents');

fails(1, qr/\Astandard|tokenctl: standard input: not a token/,
      'one newline only', 'put', @bob, '--user-key-file', $bob_key,
      '--access-file', '-', { in => "token\n\n" });


# --- tokens that no record may hold

my %bad = (
    'nothing' => '', 'a newline' => "\n", 'two lines' => "a\nb\n",
    'CR' => "a\r\n", 'NUL' => "a\0b", 'a space' => 'a b', 'not ASCII' => "\xe9",
    'only =' => '==', '= inside' => 'a=b', 'quotes' => '"a"',
);
published();
for my $what (sort keys %bad) {
    my $file = write_file('bad', $bad{$what}, 0600);

    fails(1, qr/\Q$file\E: not a token/, "an access token: $what", 'put',
          @bob, '--user-key-file', $bob_key, '--access-file', $file);
    fails(1, qr/\Q$file\E: not a token/, "a refresh token: $what", 'put',
          @bob, '--user-key-file', $bob_key, '--access-file', $access,
          '--refresh-file', $file);
}
my $big = write_file('big', 'x' x 16385, 0600);
fails(1, qr/\Q$big\E: more than 16384 bytes/, 'a token of 16385 bytes', 'put',
      @bob, '--user-key-file', $bob_key, '--access-file', $big);
my $endless = '/dev/zero';
fails(1, qr/\Q$endless\E: more than 16384 bytes/, 'a file without an end',
      'put', @bob, '--user-key-file', $bob_key, '--access-file', $endless);
is($bob->connection()->{hash}{gen}, 6, 'none of them was written');
is_deeply(published(), [], 'or published');

write_file('big', 'x' x 16384 . "\n", 0600);
ok_run('put', @bob, '--user-key-file', $bob_key, '--access-file', $big,
       '--refresh-file', $big);
is(length $bob->connection()->{access}{token}, 16384, '16384 bytes fit');


# --- files that cannot be read

for my $text ('', 'short', substr($bob->user_key(), 0, 42) . '=',
              $bob->user_key() . 'A', 'A' x 42 . 'B', "\n")
{
    my $file = write_file('bad-key', $text, 0600);
    fails(1, qr/\Q$file\E: (?:a user key is 43|more than 43)/,
          'not a user key', 'show', @bob, '--user-key-file', $file);
}
my $none = testdir() . '/none';
fails(1, qr/\Q$none\E: No such file/, 'no user key file', 'show', @bob,
      '--user-key-file', $none);
fails(1, qr/\Q$none\E: No such file/, 'no token file', 'put', @bob,
      '--user-key-file', $bob_key, '--access-file', $none);
fails(1, qr/: Is a directory/, 'a directory', 'put', @bob, '--access-file',
      testdir());

for my $verb (['put', @bob, '--access-file', $access], ['show', @bob],
              ['delete', @bob], ['list', store()], ['rotate', store()])
{
    my @args = map { m{/sealing\.jwks$} ? testdir() . '/loose.jwks' : $_ }
               @$verb;
    write_file('loose.jwks', read_file('sealing.jwks'), 0640);
    fails(1, qr{loose.jwks: .*may read it \(mode 0640\); run: chmod 600 /},
          "$verb->[0]: loose keys", @args);
}


# --- show

is_deeply(json(ok_run('show', @alice, '--user-key-file', $key, '--json')),
          shown($alice), 'show --json');
my $text = ok_run('show', @alice, '--user-key-file', $key);
like($text, qr/^$_ +\S/m, "show: $_")
    for qw(name provider device state gen cid kid scope since expires_at
           refreshable);
like($text, qr/^name +\Q$name\E$/m, 'its name');
like($text, qr/^expires_at +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/m, 'its end');

my $device = record_device($alice->user_key());
is(ok_run('show', @alice, '--device', $device), $text, 'show --device');

my $run = tokenctl('show', @alice, '--user-key-file', $key, '--reveal');
is($run->{out}, $text . "access       access-token-1.~+/==\n", '--reveal');
$run = tokenctl('show', @alice, '--user-key-file', $key, '--reveal',
                '--json');
is(json($run->{out})->{access}, 'access-token-1.~+/==', '--reveal --json');

my $other = secret(new_user_key());
fails(3, qr/no such connection: ti:/, 'another user key', 'show', @alice,
      '--user-key-file', $other);
fails(3, qr/no such connection: ti:/, 'no user key', 'show', @alice);
fails(3, qr/no such connection: ti:/, 'another tenant', 'show', store(),
      '--issuer', $alice->{iss}, '--subject', 'alice', @outlook,
      '--device', $device);

my $as_said = json(ok_run('put', @alice, '--user-key-file', $key,
                          '--access-file', $access, '--json',
                          '--key-prefix', 'other:', '--scope', 'a b'));
is($as_said->{name}, $name =~ s/^ti:/other:/r, 'another prefix');
is_deeply($as_said, shown($alice, prefix => 'other:'), 'put --json');

# records that do not open are shown, and not revealed
redis('HSET', $name, cid => b64u('x' x 16));
ok_run('show', @alice, '--user-key-file', $key);
$run = tokenctl('show', @alice, '--user-key-file', $key, '--reveal');
is($run->{rc}, 1, '--reveal of another consent');
like($run->{err}, qr/\Q$name\E: it does not open: /, 'says so');
is($run->{out}, '', 'and nothing else');

redis('HSET', $name, access => 'nonsense', state => "\e[31m",
      scope => "a\e]0;x\a\x7f\xff", gen => '01', exp => '1e9', cid => '');
is_deeply([@{json(ok_run('show', @alice, '--user-key-file', $key, '--json'))}
           {qw(state gen cid kid scope expires_at)}], [(undef) x 6],
          'what is unknown is null');
unlike(ok_run('show', @alice, '--user-key-file', $key), qr/[^\x20-\x7e\n]/,
       'nothing reaches the terminal that may not');
redis('HDEL', $name, 'access');
ok_run('show', @alice, '--user-key-file', $key);
$run = tokenctl('show', @alice, '--user-key-file', $key, '--reveal');
like($run->{err}, qr/without access or gen/, 'no access record');

redis('SET', $name, 'foreign');
fails(1, qr/WRONGTYPE.*tokenctl delete/, 'a value of another type', 'show',
      @alice, '--user-key-file', $key);


# --- the application's own, and users without a key

my $secret = secret('app-token');
my @app = (store(), '--app', '--provider', 'mailer');
ok_run('put', @app, '--access-file', $secret);
$got = get_connection(who => ['', '', ''], provider => 'mailer');
is($got->{access}{token}, 'app-token', '--app');
ok(!defined $got->{access}{inner}, 'one layer');
is($got->{access}{outer}{cty}, 'token', 'that says so');
like(ok_run('show', @app), qr/^device +-$/m, 'on no device');
$run = tokenctl('show', @app, '--reveal');
like($run->{out}, qr/^access +app-token$/m, 'revealed without a user key');

my $carol = person('carol', user_key => undef);
my @carol = (store(), who($carol), '--provider', 'wiki');
ok_run('put', @carol, '--access-file', $secret);
is($carol->connection(provider => 'wiki')->{access}{token}, 'app-token',
   'a user without a user key');
for my $how ([], ['--device', '-']) {
    $run = tokenctl('show', @carol, @$how, '--reveal');
    like($run->{out}, qr/^access +app-token$/m, "revealed (@$how)");
}

# what others wrote
my $dave = person('dave', iss => 'https://issuer.example/ü',
                  tid => 'tenant ü');
$dave->connect('daves-token', refresh => 'daves-refresh', gen => 41,
               scope => 'x y');
my $dave_key = secret($dave->user_key());
my @dave = (store(), who($dave), @outlook, '--user-key-file', $dave_key);
is_deeply(json(ok_run('show', @dave, '--json')), shown($dave),
          'a connection that another writer wrote');
$run = tokenctl('show', @dave, '--reveal', '--json');
is(json($run->{out})->{access}, 'daves-token', 'opens');
ok_run('put', @dave, '--access-file', $access);
is($dave->connection()->{hash}{gen}, 42, 'and is counted on');


# --- delete

published();
my $dave_name = record_name(who => $dave->who(), provider => 'outlook',
                            user_key => $dave->user_key());
is(ok_run('delete', @dave), '', 'delete says nothing');
is($dave->connection(), undef, 'gone');
is_deeply(published(), [$dave_name], 'published');
fails(3, qr/no such connection: \Q$dave_name/, 'nothing to delete', 'delete',
      @dave);
is_deeply(published(), [], 'not published');

is_deeply(json(ok_run('delete', @carol, '--device', '-', '--json')),
          { name => record_name(who => $carol->who(), provider => 'wiki'),
            provider => 'wiki', device => '-',
            deleted => JSON::PP::true }, 'delete --json');
ok_run('delete', @alice, '--device', $device);
is(redis('EXISTS', $name), 0, 'a value of another type, by its device');


# --- list

redis('FLUSHALL');
is(ok_run('list', store()), '', 'an empty list');
is(ok_run('list', store(), '--json', '--app'), '', 'likewise');

my @people = map { person("user$_") } 1 .. 5;
$_->connect('token', refresh => 'r', scope => 's') for @people;
$people[0]->on_device()->connect('token');
$people[0]->connect('token', provider => 'A-z_9');
put_connection(who => ['', '', ''], provider => 'mailer', access => 'token');
$people[1]->connect('token', prefix => 'other:');

my @listed = map { json($_) } split /\n/, ok_run('list', store(), '--json');
is(scalar(@listed), 8, 'list');
my %listed = map { $_->{name} => $_ } @listed;
for my $person (@people) {
    my $want = shown($person);
    is_deeply($listed{$want->{name}}, $want, "$person->{sub} as show has it");
}

@listed = map { json($_) }
          split /\n/, ok_run('list', store(), who($people[0]), '--json');
is_deeply([sort map { $_->{provider} } @listed],
          [qw(A-z_9 outlook outlook)], 'one user');
is(ok_run('list', store(), who($alice)), '', 'a user without any');
is(scalar(split /\n/, ok_run('list', store(), '--app', '--json')), 1,
   'the application');
is(scalar(split /\n/, ok_run('list', store(), '--json', '--key-prefix',
                             'other:')), 1, 'another prefix');

$text = ok_run('list', store());
is(scalar(split /\n/, $text), 9, 'a line each, below a heading');
like($text, qr/^outlook +\Q$_->{device}\E +connected +1 .*\Q$_->{name}\E  \S/m,
     'a line') for shown($people[2]);

# what is no connection is skipped and counted
my $user = $people[0]->user();
my @foreign = ("ti:{$user}:c:outlook", "ti:{$user}:c:out look:-",
               "ti:{$user}:c:outlook:A", "ti:{$user}:c::-",
               "ti:{short}:c:outlook:-", "ti:{$user}:c:outlook:-:x",
               "ti:{$user}x}:c:outlook:-", "ti:{${user}A}:c:outlook:-");
redis('HSET', $_, gen => 1) for @foreign;
redis('SET', "ti:{$user}:c:string:-", 'x');
redis('SET', "ti:{$user}:l:outlook:-", 'a lock');
redis('SET', "ti:{$user}:p:" . 'A' x 43, 'pending');
$run = tokenctl('list', store(), '--json');
is($run->{rc}, 0, 'done');
is(scalar(split /\n/, $run->{out}), 8, 'none of them is listed');
like($run->{err}, qr/^tokenctl: 9 keys that are named like connections/,
     'but counted');
redis('DEL', @foreign, "ti:{$user}:c:string:-");

# a prefix is no pattern
for my $prefix ('*', 't?', '[a-z]', 't\\i:', '') {
    $people[0]->connect('token', prefix => $prefix);
    @listed = map { json($_) }
              split /\n/, ok_run('list', store(), '--json', '--key-prefix',
                                 $prefix);
    is_deeply([map { $_->{name} } @listed],
              [record_name(who => $people[0]->who(), provider => 'outlook',
                           user_key => $people[0]->user_key(),
                           prefix => $prefix)], "prefix '$prefix'");
}

SKIP: {
    skip('no /dev/full', 1) if !-c '/dev/full';
    $run = tokenctl('list', store(), { out => '/dev/full' });
    is($run->{rc}, 1, 'a list that cannot be written');
}


# --- databases

ok_run('put', @alice, '--user-key-file', $key, '--access-file', $access,
       '--database', '3');
redis('SELECT', 3);
ok($alice->connection(), 'database 3');
redis('SELECT', 0);
is($alice->connection(), undef, 'and no other');
fails(1, qr/Redis says: .*out of range/, 'no such database', 'list', store(),
      '--database', '9999');

done_testing();


# what show --json and list --json have for a connection in Redis
sub shown {
    my ($person, %opt) = @_;

    my %c = (who => $person->who(), provider => 'outlook',
             user_key => $person->user_key(), %opt);
    my $got = get_connection(%c);
    my $h = $got->{hash};

    return {
        name => record_name(%c), provider => 'outlook',
        device => record_device($person->user_key()), state => 'connected',
        gen => $h->{gen} + 0, cid => $h->{cid},
        kid => $got->{access}{outer}{kid},
        scope => length($h->{scope} // '') ? $h->{scope} : undef,
        since => $h->{since} + 0, expires_at => $h->{exp} + 0,
        refreshable => $h->{refresh} ? JSON::PP::true : JSON::PP::false,
        account => undef,
    };
}

sub near {
    my ($is, $should, $what) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    cmp_ok(abs($is - $should), '<=', 5, $what) or diag("$is, not $should");
}

# a connection that hears what is published on a channel
sub subscribe {
    my ($channel) = @_;

    my $s = IO::Socket::UNIX->new(Peer => redis_sock()) or die "$!\n";
    syswrite($s, "SUBSCRIBE $channel\r\n");
    my $bytes = '';
    while ($bytes !~ /:1\r\n\z/) {
        sysread($s, $bytes, 4096, length $bytes) or die "subscribe: $!\n";
    }

    return $s;
}

# the names heard since the last call: those before a word of ours
sub published {
    my $word = 'heard-' . rand();
    my $bytes = '';

    redis('PUBLISH', 'ti:changes', $word);
    while ($bytes !~ /\Q$word\E\r\n\z/) {
        sysread($subscriber, $bytes, 65536, length $bytes)
            or die "published: $!\n";
    }

    my @heard = $bytes =~ /\r\nti:changes\r\n\$\d+\r\n(.*?)\r\n/g;
    pop @heard;

    return \@heard;
}
