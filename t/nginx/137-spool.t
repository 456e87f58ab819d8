# Tokens that a store did not take before nginx had to go are files in "spool",
# and are in the store soon after nginx and the store are there again.

use strict;
use warnings;

use TI::Consent;
use TI::Journal;
use TI::Test;

needs_module();

my $vendor = vendor();
my $dir = spool();

redis_start();
my $text = journal_conf(store => 'spool spool;');
nginx_start($text, workers => 2);

sub mode { sprintf('%04o', (stat("$dir/$_[0]"))[2] & 07777) }

sub away {
    my ($person) = @_;

    my $c = granted($person, $vendor, sub { redis_kill() });
    wait_log(qr/"vault": connect failed/);

    return $c;
}


# --- ended at once

my $alice = person('alice');
away($alice);
nginx_stop('TERM');
my @files = spooled();
is(scalar(@files), 1, 'ended at once: there is one file');
like($files[0], qr/^[\w-]{43}$/, 'named by its digest');
is(mode($files[0]), '0600', 'for the user of the workers alone');
log_like(qr/\[warn\].* 1 sets of tokens that token_store "vault" did not take /
         . qr/are files in "\Q$dir\E" now, and are written from there/,
         'and it is said');
my $bytes = read_file("spool/$files[0]");
ok(!grep({ index($bytes, $_) >= 0 } qw(access-1 refresh-1)),
   'no token can be read in it');

nginx_start($text, workers => 2);
redis_start();
is_stored($alice, 'nginx is there again, then the store: it is stored');
wait_for(sub { !spooled() }, 'the file to go');
pass('and the file is gone');


# --- told to go, and its patience ended

my $bob = person('bob');
away($bob);
nginx_signal('QUIT');
wait_for(sub { !nginx_workers() }, 'the workers to leave');
nginx_stop('TERM');
is(scalar(spooled()), 1, 'told to go, and ended: there is a file');

# nginx itself, of the request that waited
expect_log(qr/open socket #\d+ left in connection/, qr/\[alert\].*: aborting/);
redis_start();
nginx_start($text);
is_stored($bob, 'the store is there again, then nginx: it is stored');
wait_for(sub { !spooled() }, 'the file to go');


# --- its worker was killed, and nginx ends before another looks

my $carol = person('carol');
away($carol);
kill(KILL => nginx_workers());
nginx_stop('TERM');
expect_log(qr/exited on signal 9/);
is(scalar(spooled()), 1, 'its worker was killed: there is a file');


# --- more than once before the store is back

for (1 .. 3) {
    nginx_start($text, workers => 2);
    nginx_stop('TERM');
    is(scalar(spooled()), 1, 'started and ended without a store: still one');
}
nginx_start($text);
redis_start();
is_stored($carol, 'and then it is stored');
wait_for(sub { !spooled() }, 'the file to go');


# --- somebody else was faster

my $dave = person('dave');
away($dave);
nginx_stop('TERM');
is(scalar(spooled()), 1, 'another one');
redis_start();
$dave->connect('newer', gen => 7);
nginx_start($text);
wait_for(sub { !spooled() }, 'the file to go');
is($dave->connection()->{access}{token}, 'newer', 'what is newer stays');


# --- brought by whom it may, while nginx runs

my $erin = person('erin');
away($erin);
nginx_stop('TERM');
my ($file) = spooled();
rename("$dir/$file", testdir() . "/$file") or die;
redis_start();
nginx_start($text);
rename(testdir() . "/$file", "$dir/$file") or die;
is_stored($erin, 'brought back while nginx runs: it is stored');
wait_for(sub { !spooled() }, 'the file to go');


# --- without a master

nginx_stop();
nginx_start($text, main => 'master_process off;');
my $frank = person('frank');
away($frank);
nginx_stop();
is(scalar(spooled()), 1, 'without a master: there is a file');
redis_start();
nginx_start($text, main => 'master_process off;');
is_stored($frank, 'and it is stored');
wait_for(sub { !spooled() }, 'the file to go');

done_testing();
