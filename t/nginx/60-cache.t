# An answer is fetched once and served for its time.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks() . <<'CONF');

    log_format cache '$uri:$token_cache_status:$token_result';

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;
        access_log    %%TESTDIR%%/cache.log cache;

        location / {
            token_cache  5m;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /short {
            token_cache  2s;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /off {
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');

$up->answer('/a' => {
    body => 'the answer',
    headers => ['Content-Type: text/x-answer; charset=utf-8', 'X-One: 1',
                'X-Two: 2', 'X-Two: 3', 'ETag: "tag"',
                'Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT',
                'Expires: Thu, 01 Jan 1970 00:00:00 GMT',
                'Cache-Control: private, max-age=0',
                'Keep-Alive: timeout=5', 'Proxy-Authenticate: Basic',
                'Connection: X-Hop', 'X-Hop: 1'],
});

my $miss = get('/a', as => $alice);

is($miss->body(), 'the answer', 'fetched');
is($miss->header('Cache-Status'), 'token-injector; fwd=miss; stored', 'said');
is($miss->header('Age'), undef, 'without an age');

my $hit = get('/a', as => $alice);

is($up->calls(), 1, 'once');
is($hit->status(), 200, 'a hit is a 200');
is($hit->body(), 'the answer', 'of the same bytes');
like($hit->header('Cache-Status'),
     qr/^token-injector; hit; ttl=(?:300|29\d)$/, 'said');
like($hit->header('Age'), qr/^[01]$/, 'with its age');
is($hit->header('Content-Length'), 10, 'length');

for my $name ('Content-Type', 'X-One', 'X-Two', 'ETag', 'Last-Modified',
              'Expires', 'Cache-Control')
{
    is($hit->header($name), $miss->header($name), "$name is kept");
}
is(join(',', $hit->headers('X-Two')), '2,3', 'in its order');
is(scalar(my @n = $hit->headers($_)), 1, "one $_")
    for 'Content-Type', 'Content-Length', 'Date', 'Server', 'ETag',
        'Last-Modified', 'Cache-Status', 'Age';
is($hit->header('Keep-Alive'), undef, 'nothing of a connection');

# the clock goes on
my $age = wait_for(sub {
    my $r = get('/a', as => $alice);
    $r->header('Age') >= 2 ? $r : undef;
}, 'an age');
my ($ttl) = $age->header('Cache-Status') =~ /ttl=(\d+)/;
is($ttl + $age->header('Age'), 300, 'age and ttl are the whole');

is(get('/off', as => $alice)->header('Cache-Status'), undef, 'off');
is(get('/off', as => $alice)->header('Age'), undef, 'says nothing');


# --- its time over

$up->answer('/short' => { body => 'one' });
is(get('/short', as => $alice)->body(), 'one', 'short: fetched');
$up->answer('/short' => { body => 'two' });
is(get('/short', as => $alice)->body(), 'one', 'short: kept');
my $last;
my $fresh = wait_for(sub {
    my $r = get('/short', as => $alice);
    $last = $r if $r->body() eq 'one';
    $r->body() eq 'two' ? $r : undef;
}, 'the end of an answer');
is($fresh->header('Cache-Status'), 'token-injector; fwd=miss; stored',
   'short: fetched again');
like($last->header('Cache-Status'), qr/; ttl=[12]$/,
     'the last hit had time left');
# in its last second an entry's TTL is 0; without an end it is -1
is((grep { redis('TTL', $_) == -1 || redis('TTL', $_) > 300 }
    @{redis('KEYS', '*:a:*')}), 0, 'all of it ends in Redis too');


# --- $token_cache_status

get('/a', as => $alice, headers => ['Cache-Control: no-cache']);
get('/a', as => $alice->on_device());
http('PUT', '/a', as => $alice, body => '');
get('/new', as => $alice);
get('/new', as => $alice);
get('/off/end', as => $alice);
wait_for(sub { read_file('cache.log') =~ m{/off/end} }, 'the access log');

my @log = (split /\n/, read_file('cache.log'))[-6 .. -1];
is($log[0], '/a:BYPASS:ok', 'BYPASS');
is($log[1], '/a:-:connection-required', 'nothing for a refusal');
is($log[2], '/a:BYPASS:ok', 'BYPASS for other methods');
is($log[3], '/new:MISS:ok', 'MISS');
is($log[4], '/new:HIT:ok', 'HIT');
is($log[5], '/off/end:-:ok', 'nothing where it is off');

done_testing();
