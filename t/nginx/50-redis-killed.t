# Redis dies: who must be looked up is told to come back, at once; who is
# known is served, without the cache.  When it is back, so is everything.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks(store => 'local_valid 1h;') . <<'CONF');

    token_store strict {
        server        unix:%%REDIS_SOCK%%;
        sealing_keys  %%TESTDIR%%/sealing.jwks;
        local_valid   0;
    }

    token_provider strict {
        store strict;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cached {
            token_cache 5m;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /strict {
            token_inject  strict;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
my $bob = person('bob');

sub consent {
    $alice->connect('token-of-alice');
    $alice->connect('token-strict', provider => 'strict');
    $bob->connect('token-of-bob');
}

consent();
is(result(get($_, as => $alice)), 'ok', "$_ works")
    for '/', '/cached/1', '/strict/1';
my $fds = worker_fds();

redis_kill();

my $r = get('/', as => $bob);
refused($r, 'store-unavailable', 'who is not known has to wait');
like($r->header('Retry-After'), qr/^[1-5]$/, 'a few seconds');
is($r->header('Cache-Control'), 'no-store', 'and nobody keeps that');
cmp_ok($r->seconds(), '<', 0.5 * patience(), 'it is said at once');

is(get('/', as => $alice)->json()->{headers}{authorization},
   'Bearer token-of-alice', 'who is known is served');

$r = get('/cached/1', as => $alice);
like($r->header('Cache-Status'), qr/; hit;/, 'from memory');

for my $n (1, 2) {
    $r = get("/cached/away-$n", as => $alice);
    is(result($r), 'ok', 'or from the upstream');
    is($r->header('Cache-Status'), 'token-injector; fwd=miss; stored',
       'and kept in memory');
    like(get("/cached/away-$n", as => $alice)->header('Cache-Status'),
         qr/; hit;/, 'alone');
}

refused(get('/strict/1', as => $alice), 'store-unavailable',
        'local_valid 0: not even from memory');
refused(get('/strict/2', as => $alice), 'store-unavailable',
        'nor from the upstream');

my @many = parallel(map { [GET => '/', as => $bob] } 1 .. 50);
is(scalar(grep { result($_) eq 'store-unavailable' } @many), 50,
   'fifty at once');

log_like(qr/\[err(?:or)?\].*token_store "\w+": .*check that Redis is up/,
         'the operator is told what to look at');
cmp_ok(log_count(qr/token_store .*next try/), '<', 20,
       'but not once for each request');

redis_start();
consent();
wait_for(sub { result(get('/', as => $bob)) eq 'ok' }, 'bob to be served');
pass('served again, nobody had to do anything');
wait_for(sub { result(get('/strict/2', as => $alice)) eq 'ok' },
         'the other store');
is(result(get('/cached/2', as => $alice)), 'ok', 'all of it');

fds_are($fds);


# --- killed under load, a few times

for my $round (1 .. 3) {
    my @c = map { connection() } 1 .. 20;
    my @who = map { person("p$round-$_") } 1 .. 20;

    $_->connect('token') for @who;
    for my $i (0 .. $#c) {
        $c[$i]->send(http_bytes(GET => '/', as => $who[$i]));
        redis_kill() if $i == 10;
    }

    my %got;
    $got{result($_->response())}++ for @c;
    my $known = ($got{ok} // 0) + ($got{'store-unavailable'} // 0);
    is($known, 20, "round $round: each has an answer or a reason");
    $_->close() for @c;

    redis_start();
    consent();
    wait_for(sub { result(get('/', as => $bob, token => $bob->token(
                       jti => $round))) eq 'ok' }, 'recovery');
}

is(result(get('/strict/3', as => $alice)), 'ok', 'the other store too');
fds_are($fds);

done_testing();
