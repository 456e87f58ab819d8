# A name server that does not answer blocks nobody: not while it is asked,
# not when time is up, not when nginx ends.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Resolver;
use TI::Test;
use TI::Watch;

needs_module();
resolver();

my $up = upstream();
my $found = issuer('found', host => 'found.test');
my $hangs = issuer('hangs', host => 'hang.test');
my $two = issuer('two', host => 'two.test');
my $gone = issuer('gone', host => 'gone.test');

deaf_port(address => '127.0.0.9', port => $two->port_number());
nginx_start($found->block('found', 'keys_uri %%ISSUER_found%%/keys;')
            . $hangs->block('hangs', <<'EOB')
    keys_uri           %%ISSUER_hangs%%/keys;
    keys_min_interval  1s;
    keys_wait          500ms;
    connect_timeout    1s;
    timeout            1s;
EOB
            . $two->block('two', 'keys_uri %%ISSUER_two%%/keys; keys_wait 6s;
                                  connect_timeout 4s; timeout 6s;')
            . $gone->block('gone', 'keys_uri %%ISSUER_gone%%/keys;
                                    keys_wait 500ms;')
            . <<'CONF', log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%%;

        location /beside { return 200 beside; }
        location /found { token_auth found; empty_gif; }
        location /hangs { token_auth hangs; empty_gif; }
        location /two { token_auth two; empty_gif; }
        location /gone { token_auth gone; empty_gif; }
    }
CONF

is(get('/found', token => $found->token())->status(), 200, 'a name');

# two addresses, the first of which does not answer: the second is come to when
# half the time for connecting is over, whatever libcurl would do by itself
my $r = get('/two', token => $two->token());
is($r->status(), 200, 'the second of two addresses');
cmp_ok($r->seconds(), '<', 4 * patience(), 'in its time');

$r = get('/gone', token => $gone->token());
is(result($r), 'keys-unavailable', 'a name that is not there');
wait_log(qr/\[error\].*keys of issuer "gone": .*resol.*there are none/);

# through three attempts, each with its end
my ($worst, $count) = (0, 0);
wait_for(sub {
    my $seconds = get('/beside')->seconds();
    $worst = $seconds if $seconds > $worst;
    $count++;
    return log_count(qr/\[error\].*keys of issuer "hangs"/) >= 3;
}, 'three failures', 20);
cmp_ok($worst, '<', 0.2 * patience(), "nobody else waits ($count requests)");
$r = get('/hangs', token => $hangs->token());
is(result($r), 'keys-unavailable', 'who needs it is told');
cmp_ok($r->seconds(), '<', 1.5 * patience(), 'in bounded time');
log_like(qr/keys of issuer "hangs": .*(?:time|resol)/, 'the log says it');

# nginx ends all the same
my $began = time();
my ($worker) = nginx_workers();
nginx_reload(undef, wait_old => 1);
cmp_ok(time() - $began, '<', 6 * patience(), 'a worker ends meanwhile');

resolver_release();
wait_for(sub { get('/hangs', token => $hangs->token())->status() == 200 },
         'the name server', 10);
pass('a name server that is back');

my @resolved = resolved();
is(scalar(grep { $_->[1] ne 'thread' } @resolved), 0,
   'no name was resolved on the event loop');
ok((grep { $_->[0] eq 'hang.test' } @resolved), 'in threads');

done_testing();
