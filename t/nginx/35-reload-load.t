# Twenty reloads under load, and a graceful end with requests that wait for
# Redis: no request fails.

use strict;
use warnings;

use TI::Env qw(fork_server alive end_process);
use TI::Test;

needs_module();

my $up = upstream();
my @people = map { person("p$_") } 1 .. 4;

redis_start();
my $proxy = proxy();
my $text = blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 0;\n"
                           . 'timeout 5s;') . <<'EOF';

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cached/ {
            token_cache 1m;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOF
nginx_start($text, workers => 2, log_level => 'info');

$_->connect("token-of-$_->{sub}") for @people;
$_->token() for @people;

# asks until told to stop; each answer must be its own caller's
sub load {
    my ($name) = @_;

    return fork_server(sub {
        my $n = 0;
        while (!-e testdir() . '/stop') {
            my $p = $people[$n++ % @people];
            my $r = get($n % 3 ? "/$name/$n" : '/cached/' . $n % 5,
                        as => $p);
            next if $r->status() == 200
                    && $r->json()->{headers}{authorization}
                       eq "Bearer token-of-$p->{sub}";
            append_file('failed', $r->status() . ' '
                                  . ($r->error() // $r->body()) . "\n");
        }
        append_file('done', "$n\n");
    });
}

my @load = map { load($_) } 1 .. 2;
$up->wait_calls(10);

for (1 .. 20) {
    nginx_reload();
}
my $reloaded = $up->calls();
$up->wait_calls($reloaded + 10);
write_file('stop', '');
wait_for(sub { !grep { alive($_) } @load }, 'the load to end', 15);

my @done = split /\n/, read_file('done') // '';
is(@done, 2, 'both ended');
cmp_ok($done[0] + $done[1], '>', 50, 'requests were made: ' . join('+', @done));
is(read_file('failed'), undef, 'none failed')
    or diag(substr(read_file('failed'), 0, 2000));

# --- a reload while requests wait for Redis

$proxy->mode(delay => 0.3);
my @waiting = map {
    my $c = connection();
    $c->send(http_bytes(GET => '/waiting', as => $_,
                        headers => ['Connection: close']));
    $c
} @people;
select(undef, undef, undef, 0.1);
nginx_reload(undef, wait_old => 1);
is(join(' ', map { $_->response()->status() } @waiting), '200 200 200 200',
   'requests that waited for Redis while nginx was reloaded');

# --- the end

@waiting = map {
    my $c = connection();
    $c->send(http_bytes(GET => '/end', as => $_,
                        headers => ['Connection: close']));
    $c
} @people;
select(undef, undef, undef, 0.1);
nginx_signal('QUIT');
is(join(' ', map { $_->response()->status() } @waiting), '200 200 200 200',
   'and while it ended');
wait_for(sub { !alive(nginx_pid()) }, 'nginx to end');

done_testing();
