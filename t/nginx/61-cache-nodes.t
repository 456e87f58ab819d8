# Two levels: each node's memory, and Redis for all nodes.  Each does without
# the other.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream(sub {
    my ($request) = @_;

    return { body => "$request->{uri} " . time() };
});

redis_start();
my $text = blocks(store => 'timeout 2s; local_valid 1h;') . <<'CONF';

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location / {
            token_cache  5m;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /short {
            token_cache  2s;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text);

my $there = $text =~ s/%%PORT%%/%%PORT_there%%/r;
other_nginx($there);

my $alice = person('alice');
$alice->connect('token-of-alice');
redis_listened(2);

sub here { get($_[0], as => $alice) }
sub there { get($_[0], as => $alice, port => 'there') }
sub in_redis { scalar @{redis('KEYS', '*:a:*')} }


# --- what one fetched both serve

my $body = here('/1')->body();
wait_for(sub { in_redis() == 1 }, 'Redis to have it');
my $r = there('/1');
is($r->body(), $body, 'the other node serves it');
like($r->header('Cache-Status'), qr/; hit; ttl=\d+$/, 'as a hit');
is($up->calls(), 1, 'fetched once');

redis('DEL', @{redis('KEYS', '*:a:*')});
is(there('/1')->body(), $body, 'and has it from then on');
is(here('/1')->body(), $body, 'as the first has');

# a restart forgets the memory, not Redis
$body = here('/2')->body();
wait_for(sub { in_redis() == 1 }, 'Redis to have it');
nginx_stop();
wait_for(sub { redis('PUBSUB', 'NUMSUB', 'ti:changes')->[1] == 1 },
         'the other node alone to listen');
nginx_start($text);
redis_listened(2);
$r = here('/2');
is($r->body(), $body, 'after a restart, from Redis');
like($r->header('Cache-Status'), qr/; hit;/, 'as a hit');

# a reload forgets neither
redis_stop();
nginx_reload();
is(here('/2')->body(), $body, 'after a reload, without Redis');
is($up->calls(), 2, 'nothing was fetched again');
redis_start();
redis_listened(2);
$alice->connect('token-of-alice');


# --- no node serves it for longer than the one that fetched it would have

$up->forget();
$r = here('/short/1');
wait_for(sub { in_redis() == 1 }, 'Redis to have it');
wait_for(sub { here('/short/1')->header('Age') // 0 }, 'a second to pass');
is(there('/short/1')->header('Age'), 1, 'taken over, its age and all');
is($up->calls(), 1, 'fetched once');

my $slowest = 0;
wait_for(sub {
    my $s = there('/short/1');
    $slowest = $s->seconds() if $s->seconds() > $slowest;
    $s->body() ne $r->body();
}, 'the end of an answer', 3);
pass('its time is over there as well');

# what lay there and no longer opens must not be in the way
cmp_ok($slowest, '<', 1 * patience(), 'and nobody waits for that');
log_unlike(qr/no answer in time/, 'nor does anybody behind');


# --- Redis holds something else

my ($name) = do {
    redis('DEL', @{redis('KEYS', '*:a:*')}) if in_redis();
    here('/3');
    wait_for(sub { in_redis() }, 'an answer');
    @{redis('KEYS', '*:a:*')};
};
my $value = redis('GET', $name);
nginx_stop();
nginx_start($text);

my %odd = (
    'empty' => '', 'short' => 'TIA1', 'another version' => 'TIA2'
    . substr($value, 4), 'truncated' => substr($value, 0, -1),
    'longer' => "${value}x", 'changed' => $value ^ ("\0" x 40 . "\1"),
    'noise' => join('', map { chr(int(rand(256))) } 1 .. 500),
    'a wrong tag' => substr($value, 0, -1) . chr(255 ^ ord substr($value, -1)),
);

for my $case (sort keys %odd) {
    redis('SET', $name, $odd{$case});
    my $token = $alice->token(jti => $case);
    is(get('/3', as => $alice, token => $token)->header('Cache-Status'),
       'token-injector; fwd=miss; stored', "$case: a miss");
    wait_for(sub { redis('GET', $name) ne $odd{$case} }, 'a good one');
    nginx_stop();
    nginx_start($text);
}

redis('DEL', $name);
redis('HSET', $name, 'a', 'b');
is(here('/3')->header('Cache-Status'), 'token-injector; fwd=miss; stored',
   'another type: a miss');

done_testing();
