# Answers that come while the store is away are not kept for it: nobody waits
# for that, and each may be as large as token_cache_max_size.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

# nobody listens: what is known is used for as long as local_valid says
my $deaf = ['--rename-command', 'SUBSCRIBE', ''];

# what is freed goes back at once, so that a worker's size tells what it holds
$ENV{MALLOC_MMAP_THRESHOLD_} = 64 * 1024;

my $size = 900_000;
my $requests = 40;

# all at once, when the test says so
my $up = upstream(sub {
    my ($request) = @_;

    return $request->{uri} =~ m{^/(\w+)/\d+}
           ? { body => 'x' x $size, hold => $1 } : undef;
});
my $alice = person('alice');
my $bob = person('bob');

# "database 1": a new connection asks for it before anything else
redis_start(args => $deaf);
nginx_start(blocks(store => "database 1;\nconnect_timeout 20s;\n"
                            . "timeout 20s;\nlocal_valid 1h;") . <<'EOF',

    token_shared_memory 1m;

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location / {
            token_cache           5m;
            token_cache_max_size  1m;
            proxy_buffering       off;
            proxy_pass            http://%%UPSTREAM%%;
        }

        location /plain {
            proxy_pass            http://%%UPSTREAM%%;
        }
    }
EOF
    log_level => 'info');

redis('SELECT', 1);
$alice->connect('token-of-alice');
$bob->connect('token-of-bob');

# asks for that many answers, lets $between run while the upstream has them
# all, then reads them
sub fetch {
    my ($name, $between) = @_;

    $up->forget();
    my @c = map {
        my $c = connection();
        $c->send(http_bytes('GET', "/$name/$_", as => $alice,
                            headers => ['Connection: close']));
        $c;
    } 1 .. $requests;

    $up->wait_calls($requests);
    $between->();
    $up->release($name);

    return grep { my $r = $_->response();
                  $r->status() == 200 && length $r->body() == $size } @c;
}

is(fetch('up', sub { }), $requests, 'answers while the store is up');
# not all: they come faster than they go, and that has a bound too
wait_for(sub { @{redis('KEYS', '*:a:*')} }, 'Redis to have some of them');

# by now its buffers are as small as they get
is(result(get('/plain', as => $alice)), 'ok', 'quiet');
wait_for(sub { worker_memory() < 16 * 1024 || patience() > 1 },
         'what was sent to be freed');
my $before = worker_memory();

# It goes, is not there for the requests of alice, who is known, and then is
# there and neither answers nor closes.
redis_kill();

for my $round (1, 2) {
    my $away = sub {
        redis_start(args => $deaf);
        redis_pause();
    };

    is(fetch("away$round", $away), $requests,
       "round $round: answers while the store is away");

    SKIP: {
        skip('a sanitizer keeps what was freed', 1)
            if patience() > 1;
        my $grown = worker_memory() - $before;
        cmp_ok($grown, '<', 8 * 1024, 'the worker holds none of them');
    }


    redis_resume();
    redis('SELECT', 1);
    wait_for(sub { $bob->connect('token-of-bob');
                   result(get('/plain', as => $bob, token => $bob->token(
                                  jti => $round))) eq 'ok' }, 'recovery');
    is(scalar(@{redis('KEYS', '*:a:*')}), 0, 'nor was any sent afterwards');
    redis_kill();
}

log_unlike(qr/does not take answers/, 'and nobody complains of it');

done_testing();
