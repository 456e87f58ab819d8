# What "spool" may be, and what is not taken from it: nothing but what a worker
# of this store left there.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use MIME::Base64 qw(encode_base64url);
use POSIX ();

use TI::Consent;
use TI::Journal;
use TI::Test;

needs_module();

my $vendor = vendor();


# --- where it may be

my $dir = spool();
my $base = testdir();

sub refused {
    my ($spool, $why, $name) = @_;

    my ($code, $out) = nginx_test(journal_conf(store => "spool $spool;"));
    ok($code, "$name: refused");
    like($out, qr/\[emerg\].*spool "[^"]+" of token_store "vault" $why/,
         'and it is said what to do');
}

sub fine {
    my ($spool, $name) = @_;

    my ($code, $out) = nginx_test(journal_conf(store => "spool $spool;"));
    is($code, 0, "$name: fine") or diag($out);
}

fine('spool', 'below the prefix');
fine($dir, 'absolute');
symlink('spool', "$base/link");
fine('link', 'by another name');

# the same one under two names
my $second = "token_store second {\n server unix:%%REDIS_SOCK%%;\n"
             . "sealing_keys %%TESTDIR%%/sealing.jwks;\n spool link;\n}\n";
my ($code, $out) = nginx_test(journal_conf(store => 'spool spool;')
                              . $second);
ok($code, 'that of another store: refused');
like($out, qr/"second" is token_store "vault"'s, too: give each its own/,
     'since it would send what is the other\'s');

refused('none', qr/can't be looked at: make it, "install -d -m 700/, 'no one');
write_file('file', 'x');
refused('file', qr/is not a directory/, 'a file');

chmod(0770, $dir);
refused('spool', qr/is open to others, .*: run chmod 700 on it/, 'of a group');
chmod(0702, $dir);
refused('spool', qr/is open to others, .*: run chmod 700 on it/, "everybody's");
chmod(0500, $dir);
refused('spool', qr/can't be written by the workers: .*chmod 700/,
        'read alone');
chmod(0755, $dir);
fine('spool', 'one that others may look at');
chmod(0700, $dir);

SKIP: {
    skip 'not root', 3 if $> != 0;

    # workers of another user than the tests'
    my ($user, $group) = (getpwnam('nobody'))[2, 3];
    $group = getgrgid($group);
    my $conf = read_file('nginx-test.conf')
               =~ s/user root root;/user nobody $group;/r;
    my $nginx = $ENV{TI_NGINX} || 'nginx';
    my $test = sub {
        write_file('nobody.conf', $conf);
        local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
        my $where = "-p $base/ -c $base/nobody.conf -e $base/nobody.log";
        my $out = `$nginx -t $where 2>&1`;

        return ($? >> 8, $out);
    };

    my ($code, $out) = $test->();
    ok($code, "another user's: refused");
    like($out, qr/can't be written by the workers: .* with chown, and run /,
         'and it is said what to do');
    chown($user, -1, $dir);
    is(($test->())[0], 0, "the workers' own: fine");
    chown(0, -1, $dir);
}


# --- what is in it

my $alice = person('alice');

redis_start();
my $text = journal_conf(store => 'spool spool;');
nginx_start($text);
granted($alice, $vendor, sub { redis_kill() });
wait_log(qr/"vault": connect failed/);
nginx_stop('TERM');
my ($file) = spooled();
my $bytes = read_file("spool/$file");
unlink("$dir/$file");

sub place {
    my ($content, %opt) = @_;

    my $name = $opt{name} // encode_base64url(sha256($content));
    write_file("spool/$name", $content, $opt{mode} // 0600);

    return $name;
}

my %why;
sub foul { my ($name, $why) = @_; $why{$name} = $why }

my $none = qr/it is nothing that a worker would write below this "key_prefix"/;

foul(place('garbage', name => 'garbage'), qr/its name is none that a worker/);
foul(place('garbage'), $none);
foul(place('', name => 'A' x 43), qr/it is empty or too large/);
foul(place('x' x 300_000), qr/it is empty or too large/);
foul(place("$bytes "), $none);
foul(place(substr($bytes, 0, -1)), $none);
foul(place($bytes =~ s/ti:\{/tj:{/r), $none);
foul(place($bytes, name => 'A' x 42 . 'E'), qr/it is damaged: its bytes are/);
foul(place($bytes =~ s/connected/reconnect/r), $none);
mkdir("$dir/" . 'B' x 42 . 'E');
foul('B' x 42 . 'E', qr/it is not a file/);
symlink("$base/nginx.conf", "$dir/" . 'C' x 42 . 'E');
foul('C' x 42 . 'E', qr/it can't be opened/);
POSIX::mkfifo("$dir/" . 'D' x 42 . 'E', 0600);
foul('D' x 42 . 'E', qr/it is not a file/);
my $open = place($bytes, mode => 0660);
foul($open, qr/others may have written it/);
place('half', name => '.half');

redis_start();
nginx_start($text, workers => 2);

for my $name (sort keys %why) {
    wait_log(qr/file "\Q$name\E" in spool "\Q$dir\E" is left as it is: /);
    log_like(qr/file "\Q$name\E" in spool \S+ is left as it is: $why{$name}/,
             "left, since $why{$name}");
}

nginx_reload();
chmod(0600, "$dir/$open");
is_stored($alice, 'with its own mode it is taken');
wait_for(sub { !-e "$dir/$open" }, 'the file to go');
delete $why{$open};

is(join(' ', spooled()), join(' ', sort('.half', keys %why)),
   'all the others are there still');
is(log_count(qr/file "[^"]+" in spool/), 1 + keys %why,
   'each was named once, by all workers and after a reload');
is_deeply(redis('KEYS', 'tj:*'), [], 'nothing of another prefix is stored');

done_testing();
