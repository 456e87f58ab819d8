# Tokens on their way into a store that is away, and their worker dies, or is
# to go: another one brings them there.

use strict;
use warnings;

use TI::Consent;
use TI::Journal;
use TI::Test;

needs_module();

my $vendor = vendor();

redis_start();
nginx_start(journal_conf(), workers => 2);


# --- killed

for my $again (1 .. 5) {
    my $person = person("killed$again");
    my $c = granted($person, $vendor, sub { redis_kill() });
    wait_log(qr/"vault": connect failed/);
    my %old = map { $_ => 1 } nginx_workers();
    nginx_kill('KILL', $_) for keys %old;
    wait_for(sub { (grep { !$old{$_} } nginx_workers()) == 2 }, 'new workers');
    redis_start();
    is_stored($person, "its worker was killed: another one stores them");
}
expect_log(qr/exited on signal 9/);


# --- reloaded

my $person = person('reloaded');
my $c = granted($person, $vendor, sub { redis_kill() });
nginx_reload();
redis_start();
is($c->response()->status(), 201,
   'a reload: who waits for the old worker hears of it');
is_stored($person, 'and it is stored');


# --- reloaded, and the old worker killed

my $another = person('both');
my %old = map { $_ => 1 } nginx_workers();
$c = granted($another, $vendor, sub { redis_kill() });
nginx_reload();
nginx_kill('KILL', $_) for keys %old;
redis_start();
is_stored($another, 'and where the old one is killed then, the new one does');


# --- told to go, and the store is back in time

my $quit = person('quit');
$c = granted($quit, $vendor, sub { redis_kill() });
wait_log(qr/"vault": connect failed/);
nginx_signal('QUIT');
redis_start();
is($c->response()->status(), 201, 'nginx ends: who waits hears of it');
is_stored($quit, 'and it is stored');
nginx_stop();


# --- told to go at once, and there is no spool

nginx_start(journal_conf());
my $lost = person('lost');
$c = granted($lost, $vendor, sub { redis_kill() });
wait_log(qr/"vault": connect failed/);
nginx_stop('TERM');
log_like(qr/\[error\].* 1 sets of tokens that token_store "vault" did not /
         . qr/take are left to the next worker, and lost where nginx ends: /
         . qr/set "spool"/, 'without a spool it is said');
log_like(qr/\[error\].* 1 sets of tokens that token_store "vault" did not /
         . qr/take are lost/, 'and where nginx ends they are lost');

done_testing();
