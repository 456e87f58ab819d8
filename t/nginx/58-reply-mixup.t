# Redis is slow and clients go away at any moment: whoever stays gets what is
# their own, hundreds of times.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

redis_start();
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 0;\n"
                            . 'timeout 2s;') . <<'CONF',

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
    log_level => 'warn', workers => 2);

srand(my $seed = $ENV{TI_SEED} // time());
note("TI_SEED=$seed");

my @people = map { person("user$_") } 0 .. 39;
$people[$_]->connect("canary-$_.") for 0 .. $#people;

# each has one connection to listen on, and one that asked for rules
wait_for(sub { $proxy->stats()->{open} == 4 }, 'both workers to be connected');
my @before = map { worker_fds($_) } nginx_workers();
$proxy->mode(delay => 0.1);

my (%got, @foreign);

for my $round (1 .. 8) {
    my @waiting;

    for my $i (map { int(rand(@people)) } 1 .. 60) {
        my $c = connection();
        my $uri = (rand() < 0.5 ? '/' : '/cached/') . int(rand(3));

        # a new connection now and then, so that all kinds of replies mix
        $people[$i]->connect("canary-$i.") if rand() < 0.1;
        $c->send(http_bytes(GET => $uri, as => $people[$i],
                            rand() < 0.3 ? (token => $people[$i]->token(
                                jti => rand())) : ()));

        my $what = rand();
        if ($what < 0.3) {
            $c->abort();
        } elsif ($what < 0.4) {
            $c->close();
        } else {
            push @waiting, [$i, $c, rand() < 0.2];
        }
        if (rand() < 0.1 && @waiting) {
            my ($gone) = splice(@waiting, int(rand(@waiting)), 1);
            $gone->[1]->abort();
        }
    }

    $proxy->drop() if $round == 5;

    for (@waiting) {
        my ($i, $c, $again) = @$_;

        my $r = $c->response();
        $r = $c->request(GET => '/', as => $people[$i]) if $again;
        $got{result($r)}++;
        if (result($r) eq 'ok' && $r->body() !~ /Bearer canary-$i\."/) {
            push @foreign, "$i: " . $r->body();
        }
        $c->close();
    }
}

my $all = 0;
$all += $_ for values %got;
note(join ', ', map { "$_: $got{$_}" } sort keys %got);

is(scalar(@foreign), 0, "$all responses, each its own caller's")
    or diag($foreign[0]);
cmp_ok($got{ok}, '>', 150, 'which were served');
is($all, $got{ok} + ($got{'store-unavailable'} // 0),
   'nothing else was said');

$proxy->mode('pass');
my @r = parallel(map { [GET => '/', as => $_] } @people);
is(scalar(grep { $r[$_]->body() =~ /Bearer canary-$_\."/ } 0 .. $#r), 40,
   'and afterwards');

fds_are($before[$_], undef, (nginx_workers())[$_]) for 0, 1;

done_testing();
