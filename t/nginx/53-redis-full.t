# A Redis that takes no answers (out of memory, a replica) still serves
# connections: requests go on, each node keeps answers for itself, the
# operator is told once.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks(store => 'local_valid 0;') . <<'CONF', log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;
        token_cache   5m;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');
is(result(get('/', as => $alice)), 'ok', 'works');
wait_for(sub { @{redis('KEYS', '*:a:*')} == 1 }, 'an answer in Redis');
my $fds = worker_fds();

sub serves {
    my ($case) = @_;

    log_mark();
    my $before = store_dump();

    for my $n (1 .. 20) {
        my $r = get("/$case/$n", as => $alice);
        my $again = get("/$case/$n", as => $alice);
        next if result($r) eq 'ok'
                && $again->header('Cache-Status') =~ /; hit;/;
        fail("$case: request $n is served, and kept by this node");
        return;
    }
    pass("$case: requests are served, answers are kept by this node");

    is(result(get("/$case", as => $alice, token => $alice->token(
           jti => $case))), 'ok', "$case: new admissions too");

    # once a second
    wait_for(sub { get("/$case/" . rand(), as => $alice);
                   log_since() =~ /does not take answers/ }, 'a warning');
    my @warnings = grep { /\[warn\].*does not take answers/ }
                   split /^/, log_since();
    cmp_ok(scalar(@warnings), '<', 10, "$case: the operator is told, not "
           . 'for each request');
    is_deeply(store_dump(), $before, "$case: nothing is lost");
    fds_are($fds, "$case: descriptors");
}

redis('CONFIG', 'SET', 'maxmemory', 1, 'maxmemory-policy', 'noeviction');
serves('full');
redis('CONFIG', 'SET', 'maxmemory', 0);

redis('REPLICAOF', '127.0.0.1', port('nobody'));
serves('replica');

# one that says nothing without its primary
redis('CONFIG', 'SET', 'replica-serve-stale-data', 'no');
log_mark();
my $token = $alice->token(jti => 'stale');
refused(get('/full/1', as => $alice, token => $token), 'store-unavailable',
        'a replica that lost its primary');
like(log_since(), qr/\[warn\].*name the primary/, 'and what to do');
redis('REPLICAOF', 'NO', 'ONE');
is(result(get('/full/1', as => $alice, token => $token)), 'ok', 'recovered');

get('/after', as => $alice);
wait_for(sub { @{redis('KEYS', '*:a:*')} == 2 }, 'answers in Redis again');
fds_are($fds);

secrets_absent('no log shows a secret', 'token-of-alice', $alice->token(),
               $alice->user_key());

done_testing();
