# nginx is told to go while its store is away: it waits for the store, though
# not for ever.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Consent;
use TI::Journal;
use TI::Test;

needs_module();

my $vendor = vendor();
spool();

redis_start();
my $text = journal_conf(store => 'spool spool;');
nginx_start($text);

my $alice = person('alice');
my $c = granted($alice, $vendor, sub { redis_kill() });
my $begun = time();
nginx_signal('QUIT');

is($c->response(timeout => 25)->status(), 503,
   'who waits hears that the store is away');
log_like(qr/\[warn\].* store-unavailable: the store does not take them: they /
         . qr/are kept, and written as soon as it does/,
         'and the log, that nothing is lost');
$c->close();
nginx_stop();
my $took = time() - $begun;
ok($took > 14 && $took < 20 * patience(), 'they waited for fifteen seconds')
    or diag($took);
is(scalar(spooled()), 1, 'and left a file');

redis_start();
nginx_start($text);
is_stored($alice, 'which is stored then');

done_testing();
