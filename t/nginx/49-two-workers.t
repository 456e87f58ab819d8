# What one worker learned another knows.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

redis_start();
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 1h;")
            . <<'CONF', workers => 2);

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        token_auth    corp;
        token_inject  outlook;
        add_header    X-Worker $pid always;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cached {
            token_cache 1h;
            proxy_pass  http://%%UPSTREAM%%;
        }
    }
CONF

# a connection to each worker
my %to;
wait_for(sub {
    my $c = connection();
    my $r = $c->request(GET => '/');
    $to{$r->header('X-Worker')} //= $c;
    keys %to == 2;
}, 'both workers to answer');
my ($one, $two) = map { $to{$_} } sort keys %to;

my $alice = person('alice');
$alice->connect('token-of-alice');
$proxy->forget();

for my $c ($one, $two, $one, $two) {
    is($c->request(GET => '/', as => $alice)->json()->{headers}{authorization},
       'Bearer token-of-alice', 'served');
}

is(scalar(grep { $_->[0] eq 'HLEN' } @{$proxy->stats()->{commands}}), 1,
   'one worker asked Redis');

is($one->request(GET => '/cached', as => $alice)->header('Cache-Status'),
   'token-injector; fwd=miss; stored', 'one keeps an answer');
like($two->request(GET => '/cached', as => $alice)->header('Cache-Status'),
     qr/^token-injector; hit; ttl=\d+$/, 'two serves it');

# a new connection is learned by whichever sees it first
$alice->connect('token-2');
wait_for(sub { get('/', as => $alice)->json()->{headers}{authorization}
               eq 'Bearer token-2' }, 'the change to be heard');
my $token = $alice->token(jti => 1);
is($two->request(GET => '/', as => $alice, token => $token)
   ->json()->{headers}{authorization}, 'Bearer token-2', 'two learns');
$proxy->forget();
is($one->request(GET => '/', as => $alice, token => $token)
   ->json()->{headers}{authorization}, 'Bearer token-2', 'one knows');
is(scalar(@{$proxy->stats()->{commands}}), 0, 'without Redis');

# a worker that dies takes nothing along
my ($victim) = sort keys %to;
expect_log(qr/worker process $victim exited on signal 9/);
nginx_kill('KILL', $victim);
wait_for(sub { my @w = nginx_workers();
               @w == 2 && !grep { $_ == $victim } @w }, 'another worker');
$proxy->forget();
is(get('/', as => $alice, token => $token)->json()->{headers}{authorization},
   'Bearer token-2', 'still known') for 1 .. 8;
# once it listens it asks again, for what it may have missed
ok(!(grep { /HMGET.*access/ } map { join(' ', ref $_ ? @$_ : $_) }
     @{$proxy->stats()->{commands}}), 'to the new worker too');

done_testing();
