# Redis closes connections that have been idle: nobody notices, whatever
# moment it chooses.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

redis_start(args => ['--timeout', 1]);
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 0;\n"
                            . 'connections 2;') . <<'CONF',

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
    log_level => 'info');

my @people = map { person("user$_") } 0 .. 9;
$people[$_]->connect("token-of-$_") for 0 .. $#people;

sub wrong {
    my @r = parallel(map { [GET => '/', as => $_] } @people);

    return grep {
        result($r[$_]) ne 'ok'
        || $r[$_]->json()->{headers}{authorization} ne "Bearer token-of-$_"
    } 0 .. $#r;
}

is(scalar(wrong()), 0, 'works');

# closed by Redis, which looks at a few clients ten times a second; but for the
# one that listens and the one that asks whom providers are for, twice a second
wait_for(sub { $proxy->stats()->{open} <= 2 }, 'Redis to close', 10);
my $fds = worker_fds();
is(scalar(wrong()), 0, 'a new connection, nobody notices');
is(scalar(wrong()), 0, 'and again');

# at any moment
for my $round (1 .. 30) {
    $proxy->drop();
    my @wrong = wrong();
    next if !@wrong;
    fail("round $round: @wrong");
    last;
}
pass('closed in front of each of thirty waves');

# while replies are under way: asked once more
$proxy->mode(delay => 0.05);
my $failed = 0;
for my $round (1 .. 5) {
    $proxy->forget();
    my @c = map { connection() } @people;
    $c[$_]->send(http_bytes(GET => '/', as => $people[$_])) for 0 .. $#c;
    wait_for(sub { @{$proxy->stats()->{commands}} >= 10 }, 'commands');
    $proxy->drop();
    for my $i (0 .. $#c) {
        my $r = $c[$i]->response();
        $failed++ if result($r) ne 'ok'
            || $r->json()->{headers}{authorization} ne "Bearer token-of-$i";
        $c[$i]->close();
    }
}
is($failed, 0, 'a connection lost with operations under way');
$proxy->mode('pass');

# the proxy may close what it has not read, which nginx says of any connection
log_unlike(qr/\[err(?:or)?\](?!.* recv\(\) failed \(104: )/,
           'nothing to complain of');
wait_for(sub { $proxy->stats()->{open} <= 2 }, 'Redis to close', 10);
fds_are($fds);

done_testing();
