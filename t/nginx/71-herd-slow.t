# Who waits for another's answer does not wait for ever, and nobody is left
# waiting when a worker dies.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks() . <<'CONF', workers => 2, log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        location / {
            token_auth          corp;
            token_inject        outlook;
            token_cache         5m;
            add_header          X-Worker $pid;
            proxy_read_timeout  30s;
            proxy_pass          http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');

sub begin {
    my ($uri) = @_;

    my $c = connection();
    $c->send(http_bytes(GET => $uri, as => $alice));

    return $c;
}

# a connection to each worker
my %to;
wait_for(sub {
    my $c = connection();
    my $r = $c->request(GET => '/warm', as => $alice);
    $to{$r->header('X-Worker')} //= $c;
    keys %to == 2;
}, 'both workers to answer');
my ($victim, $other) = sort keys %to;


# --- longer than anybody's patience

$up->answer('/slow' => { body => 'slow', hold => 'slow' });
$up->forget();
my $first = begin('/slow');
$up->wait_calls(1);

my $began = time();
my @c = map { begin('/slow') } 1 .. 10;
wait_for(sub { $up->calls() >= 2 }, 'patience to end', 8);
cmp_ok(time() - $began, '>', 3, 'they wait for some time');
cmp_ok(time() - $began, '<', 7 * patience(), 'not for long');
$up->wait_calls(11);
pass('then each goes on its own');
$up->release('slow');
is(scalar(grep { $_->response()->body() eq 'slow' } $first, @c), 11,
   'all are answered');


# --- the worker that fetches dies

$up->answer('/dies' => { body => 'dies', hold => 'dies' });
$up->forget();
$to{$victim}->send(http_bytes(GET => '/dies', as => $alice));
$up->wait_calls(1);
$to{$other}->send(http_bytes(GET => '/dies', as => $alice));
is($to{$other}->response(timeout => 0.2)->error(), 'timeout',
   'another waits for it');

expect_log(qr/worker process $victim exited on signal 9/);
nginx_kill('KILL', $victim);
$up->wait_calls(1);
wait_for(sub { $up->calls() == 2 }, 'its place to be taken', 8);
$up->release('dies');
is($to{$other}->response()->body(), 'dies', 'and is answered');


# --- a reload while one fetches: the old worker finishes, nobody is lost

wait_for(sub { my @w = nginx_workers(); @w == 2 }, 'two workers');
$up->answer('/reload' => { body => 'reload', hold => 'reload' });
$up->forget();
@c = map { begin('/reload') } 1 .. 5;
$up->wait_calls(1);
nginx_reload();
push @c, map { begin('/reload') } 1 .. 5;
is($c[-1]->response(timeout => 0.2)->error(), 'timeout',
   'new workers wait for old ones');
is($up->calls(), 1, 'one call');
$up->release('reload');
is(scalar(grep { $_->response()->body() eq 'reload' } @c), 10,
   'all are answered');
is($up->calls(), 1, 'by it');

done_testing();
