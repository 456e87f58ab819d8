# keygen and userkey: files that are whole, private and never overwritten.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Test::More;

use TI::Env qw(testdir read_file write_file wait_for);
use TI::Token qw(b64u_decode);
use Tokenctl;

my $file = testdir() . '/keys.jwks';

sub mode { sprintf('%04o', (stat($_[0]))[2] & 07777) }

# nothing but the named files is left in a directory
sub left_in {
    my ($dir) = @_;

    opendir(my $d, $dir) or die "$dir: $!\n";

    return [sort grep { !/^\.\.?$/ } readdir($d)];
}


# --- a new file

umask(0);
my $kid = ok_run('keygen', '--out', $file);
chomp($kid);
umask(022);

is(mode($file), '0600', 'mode 0600 whatever the umask');

my $set = json(read_file($file));
my ($enc, $sig) = @{$set->{keys}};

is(scalar(@{$set->{keys}}), 2, 'two keys');
is_deeply([@$enc{qw(kty use kid)}], ['oct', 'enc', $kid], 'one seals');
is_deeply([@$sig{qw(kty use alg)}], ['oct', 'sig', 'HS256'], 'one indexes');
is(length b64u_decode($_->{k}), 32, "32 bytes of $_->{use}") for $enc, $sig;
isnt($enc->{k}, $sig->{k}, 'two secrets');
isnt($enc->{kid}, $sig->{kid}, 'two kids');

my $before = read_file($file);
fails(1, qr/\Q$file\E: it exists and is never overwritten; .*--add/,
      'never overwritten', 'keygen', '--out', $file);
is(read_file($file), $before, 'not touched');

symlink('nowhere', testdir() . '/dangling') or die;
fails(1, qr/never overwritten/, 'nor is a dangling link followed',
      'keygen', '--out', testdir() . '/dangling');
fails(1, qr{/no/dir/k: No such file or directory}, 'a directory must exist',
      'keygen', '--out', '/no/dir/k');

mkdir(testdir() . '/d') or die;
ok_run('keygen', '--out', testdir() . '/d/one');
fails(1, qr/never overwritten/, 'again', 'keygen', '--out',
      testdir() . '/d/one');
is_deeply(left_in(testdir() . '/d'), ['one'], 'no temporary file stays');

my $cwd = start('keygen', '--out', 'here.jwks');
finish($cwd);
is($cwd->{rc}, 0, 'a name without a directory');
unlink('here.jwks');


# --- --add and --first

chomp(my $second = ok_run('keygen', '--out', $file, '--add'));
is_deeply(keys_of($file), [$kid, $second], 'added behind');
is(mode($file), '0600', 'still private');
is_deeply(json(read_file($file))->{keys}[1], $sig, 'the index key stays');

is(ok_run('keygen', '--out', $file, '--first', $second), '', 'no word');
is_deeply(keys_of($file), [$second, $kid], 'first');

$before = (stat($file))[1];
ok_run('keygen', '--first', $second, '--out', $file);
is((stat($file))[1], $before, 'nothing to do, nothing written');

fails(3, qr/\Q$file\E: no sealing key of kid nobody/, 'an unknown kid',
      'keygen', '--out', $file, '--first', 'nobody');
fails(3, qr/no sealing key of kid \Q$sig->{kid}/, 'the index key cannot seal',
      'keygen', '--out', $file, '--first', $sig->{kid});

my $foreign = json(read_file($file));
$foreign->{keys}[0]{'x-note'} = 'ours';
write_file($file, JSON::PP->new->encode($foreign), 0400);
ok_run('keygen', '--out', $file, '--add');
is(json(read_file($file))->{keys}[0]{'x-note'}, 'ours', 'members stay');
is(mode($file), '0400', 'so does a stricter mode');

my $link = testdir() . '/link.jwks';
symlink($file, $link) or die;
ok_run('keygen', '--out', $link, '--add');
ok(-l $link, 'a link stays a link');
is(scalar(@{keys_of($file)}), 4, 'its file got the key');

SKIP: {
    skip('only root can give files away', 1) if $> != 0;
    chown(65534, 65534, $file);
    ok_run('keygen', '--out', $file, '--add');
    is((stat($file))[4], 65534, 'the owner stays');
    chown(0, 0, $file);
}

my @runs = map { start('keygen', '--out', $file, '--add') } 1 .. 8;
finish($_) for @runs;
my %kids = map { $_ => 1 } @{keys_of($file)};
is(scalar(keys %kids), 13, 'eight at once lose no key');
is_deeply([grep { my $k = $_->{out}; chomp($k); !$kids{$k} } @runs], [],
          'and each is the one that was printed');


# --- what is refused

for my $verb (['--add'], ['--first', $second]) {
    fails(1, qr/there is no such file; tokenctl keygen --out/,
          "@$verb: no file", 'keygen', '--out', testdir() . '/none', @$verb);
}

for my $loose (0640, 0604, 0660, 0606, 0610) {
    chmod($loose, $file);
    fails(1, qr/\Q$file\E: group or others may read it .*; run: chmod 600 /,
          sprintf('mode %04o', $loose), 'keygen', '--out', $file, '--add');
}
chmod(0600, $file);

my %bad = (
    'not JSON' => '{',
    'empty' => '',
    'no keys' => '{"keys":[]}',
    'no index key' => JSON::PP->new->encode({ keys => [$enc] }),
    'no sealing key' => JSON::PP->new->encode({ keys => [$sig] }),
    'two index keys' => JSON::PP->new->encode({ keys => [
        $enc, $sig, { %$sig, kid => 'other' }] }),
    'two of one kid' => JSON::PP->new->encode({ keys => [$enc, $enc, $sig] }),
    'a short key' => JSON::PP->new->encode({ keys => [
        { %$enc, k => 'AAAA' }, $sig] }),
    'too long' => ' ' x 70000,
);
for my $name (sort keys %bad) {
    my $bad = write_file('bad.jwks', $bad{$name}, 0600);
    fails(1, qr/\Q$bad\E: /, "$name is refused", 'keygen', '--out', $bad,
          '--add');
    is(read_file($bad), $bad{$name}, "$name: not touched");
}

my $full = write_file('full.jwks', JSON::PP->new->encode({
    keys => [$sig, map { { %$enc, kid => "k$_" } } 1 .. 64] }), 0600);
$before = read_file($full);
fails(1, qr/\Q$full\E: more than 64 .*; rotate, then remove/,
      'more keys than the module takes', 'keygen', '--out', $full, '--add');
is(read_file($full), $before, 'not touched');

SKIP: {
    skip('no /dev/full', 1) if !-c '/dev/full';
    my $run = tokenctl('userkey', { out => '/dev/full' });
    is($run->{rc}, 1, 'standard output that takes nothing');
}


# --- userkey

my %keys;
for (1 .. 3) {
    my $key = ok_run('userkey');
    like($key, qr/\A[A-Za-z0-9_-]{43}\n\z/, '43 characters');
    chomp($key);
    is(length b64u_decode($key), 32, '32 bytes');
    $keys{$key} = 1;
}
is(scalar(keys %keys), 3, 'each its own');

done_testing();
