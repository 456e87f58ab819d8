# A worker killed while it serves: the zone stays usable, for the other
# worker and for the one that takes its place.

use strict;
use warnings;

use TI::Test;

needs_module();
expect_log(qr/exited on signal 9/);

my $up = upstream();
my @people = map { person("p$_") } 1 .. 8;

redis_start();
nginx_start(blocks() . <<'EOF', workers => 2, log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;
        token_cache   1m;
        add_header    X-Pid $pid;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOF

$_->connect("token-of-$_->{sub}") for @people;

# everybody, several times at once
sub round {
    my ($name) = @_;

    my @who = (@people) x 4;
    my $n = 0;
    my @r = parallel(map { [GET => '/' . $n++ % 3, as => $_] } @who);
    my @wrong = grep {
        $r[$_]->status() != 200
        || $r[$_]->json()->{headers}{authorization}
           ne "Bearer token-of-$who[$_]{sub}"
    } 0 .. $#who;

    is(scalar(@wrong), 0, $name)
        or diag($r[$wrong[0]]->status(), ' ', $r[$wrong[0]]->body());
}

round('at first');

for my $n (1 .. 6) {
    my @workers = nginx_workers();
    my @busy = map {
        my $c = connection();
        $c->send(http_bytes(GET => "/busy/$n/$_->{sub}", as => $_)) if $c;
        $c
    } (@people) x 2;
    nginx_kill('KILL', $workers[$n % @workers]);
    $_ && $_->close() for @busy;
    wait_for(sub {
        my @now = nginx_workers();
        @now == 2 && !grep { $_ == $workers[$n % @workers] } @now;
    }, 'a worker in its place');
    round("after the death of one, $n");
}

$up->forget();
my @r = map { get('/0', as => $people[0]) } 1 .. 10;
is($up->calls(), 0, 'answers are served from the zone');
is(join(' ', map { $_->status() } @r), join(' ', (200) x 10), 'all right');

done_testing();
