# Redis neither answers nor closes: the wait is bounded, what comes too late
# is nobody's, and it recovers by itself.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

# nobody listens: what is known is used for as long as local_valid says
my $deaf = ['--rename-command', 'SUBSCRIBE', ''];

my $up = upstream();

redis_start(args => $deaf);
nginx_start(blocks(store => "connect_timeout 200ms;\ntimeout 300ms;\n"
                            . 'local_valid 1h;') . <<'CONF');

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
    }
CONF

my $bound = 2 * (0.2 + 0.3) + 0.2;
my $alice = person('alice');
my @others = map { person("user$_") } 1 .. 20;

$alice->connect('token-of-alice');
$others[$_]->connect("token-of-$_") for 0 .. $#others;

is(result(get('/', as => $alice)), 'ok', 'works');
my $fds = worker_fds();

for my $round (1, 2) {
    redis_pause();

    my $began = time();
    my @r = parallel(map { [GET => '/', as => $_,
                            token => $_->token(jti => $round)] } @others);

    is(scalar(grep { result($_) eq 'store-unavailable' } @r), 20,
       "round $round: all are told");
    cmp_ok(time() - $began, '<', $bound * patience(),
           'in bounded time');

    # a second wave finds a connection made by the kernel alone
    $began = time();
    @r = parallel(map { [GET => '/', as => $_] } @others);
    is(scalar(grep { result($_) eq 'store-unavailable' } @r), 20,
       'and so are those who come then');
    cmp_ok(time() - $began, '<', $bound * patience(), 'in bounded time');

    # the worker is not blocked by any of it
    $began = time();
    is(result(get('/', as => $alice)), 'ok', 'who is known is served');
    cmp_ok(time() - $began, '<', 0.2 * patience(), 'at once');

    my $r = get("/cached/$round", as => $alice);
    is(result($r), 'ok', 'even where an answer might be in Redis');
    cmp_ok($r->seconds(), '<', $bound * patience(), 'in bounded time');

    redis_resume();

    wait_for(sub { result(get('/', as => $others[0],
                              token => $others[0]->token(jti => "r$round")))
                   eq 'ok' }, 'recovery');

    @r = parallel(map { [GET => '/', as => $others[$_],
                         token => $others[$_]->token(jti => "s$round")] }
                  0 .. $#others);
    is(join(' ', map { $_->json()->{headers}{authorization} // '-' } @r),
       join(' ', map { "Bearer token-of-$_" } 0 .. $#others),
       'each has their own afterwards');
    fds_are($fds);
}

log_like(qr/token_store "vault": no answer in time/, 'the operator knows');
log_unlike(qr/a reply that nobody asked for/, 'late replies are not read');

done_testing();
