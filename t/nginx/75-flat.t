# Fifty thousand requests of all kinds later a worker is as large as it was,
# and holds as many descriptors.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();


redis_start();
nginx_start(blocks(store => 'local_valid 0;') . <<'CONF', log_level => 'crit');

    access_log           off;
    keepalive_requests   1000000;
    token_shared_memory  1m;

    token_store away {
        server        127.0.0.1:%%PORT_nobody%%;
        sealing_keys  %%TESTDIR%%/sealing.jwks;
    }

    token_provider away {
        store away;
    }

    token_provider remembered {
        store remembered;
    }

    token_store remembered {
        server        unix:%%REDIS_SOCK%%;
        sealing_keys  %%TESTDIR%%/sealing.jwks;
        local_valid   1h;
    }

    upstream back {
        server     127.0.0.1:%%PORT_back%%;
        keepalive  16;
    }

    server {
        listen 127.0.0.1:%%PORT_back%%;

        location / {
            return 200 "$http_authorization $uri\n";
        }

        location /never {
            return 500 "no\n";
        }
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth          corp;
        token_inject        outlook;
        proxy_http_version  1.1;
        proxy_set_header    Connection "";

        location / {
            proxy_pass http://back;
        }

        location /cached {
            token_cache          1h;
            token_cache_methods  GET HEAD POST;
            proxy_pass           http://back;
        }

        location /remembered {
            token_inject  remembered;
            token_cache   1h;
            proxy_pass    http://back;
        }

        location /never {
            token_cache  1h;
            error_page   500 /sorry;
            proxy_pass   http://back;
        }

        location = /sorry {
            token_cache  1h;
            proxy_pass   http://back;
        }

        location /away {
            token_inject  away;
            proxy_pass    http://back;
        }

        location /claims {
            token_require  $token_claim_sub;
            add_header     X-Sub $token_claim_sub;
            proxy_pass     http://back;
        }

        location = /page {
            token_inject  off;
            ssi           on;
            ssi_types     *;
            default_type  text/html;
            alias         %%TESTDIR%%/page.html;
        }
    }
CONF
write_file('page.html', join ' ', map {
    "<!--#include virtual=\"/cached/part$_\" -->" } 1 .. 4);

my @people = map { person("user$_") } 0 .. 9;
for my $i (0 .. $#people) {
    $people[$i]->connect("canary-$i.");
    $people[$i]->connect("canary-$i.", provider => 'remembered');
}
my $stranger = person('stranger');
my $expired = $people[0]->token(exp => time() - 60);
my $forged = $people[0]->token(jti => 1) =~ s/.{8}$/AAAAAAAA/r;
my $old = person('old');
$old->connect('canary-old', expires => time() - 1);

# [who, method, uri, options, status]
my @kinds;
for my $i (0 .. $#people) {
    my @as = (as => $people[$i]);
    push @kinds,
        [$i, GET => '/', [@as], 200],
        [$i, GET => '/cached/1', [@as], 200],
        [$i, GET => '/cached/fresh', [@as], 200],
        [$i, HEAD => '/cached/1', [@as], 200],
        [$i, POST => '/cached/1', [@as, body => 'q=1'], 200],
        [$i, GET => '/cached/1', [@as, headers => ['Range: bytes=0-6']], 206],
        [$i, GET => '/cached/1', [@as, headers => ['Cache-Control: no-cache']],
         200],
        [$i, GET => '/remembered/1', [@as], 200],
        [$i, GET => '/never', [@as], 500],
        [$i, GET => '/claims', [@as], 200],
        [$i, GET => '/away', [@as], 503],
        [$i, GET => '/page', [@as], 200];
}
push @kinds,
    [0, POST => '/cached/1', [as => $people[0], body => 'q' x 50000], 200],
    ['', GET => '/', [as => $stranger], 403],
    ['', GET => '/', [as => $old], 403],
    ['', GET => '/', [as => $people[0]->on_device()], 403],
    ['', GET => '/', [token => $expired, user_key => 'x'], 401],
    ['', GET => '/', [token => $forged, user_key => 'x'], 401],
    ['', GET => '/', [], 401],
    ['', GET => '/', [token => $people[0]->token(), user_key => 'x'], 400];

# all kinds in one pipeline on one connection, and some clients that go away
my $rounds = 0;
my @wrong;

sub round {
    $rounds++;

    my $c = connection();
    my @requests = map {
        my ($i, $method, $uri, $opt) = @$_;
        $uri .= $rounds if $uri =~ /fresh/;
        [$method, $uri, @$opt];
    } @kinds;

    for my $part (0 .. $#requests / 20) {
        my $last = $part * 20 + 19;
        $last = $#requests if $last > $#requests;
        my @r = $c->pipeline(@requests[$part * 20 .. $last]);

        for my $n (0 .. $#r) {
            my ($i, $method, $uri, $opt, $status) = @{$kinds[$part * 20 + $n]};
            next if $r[$n]->status() == $status
                    && ($status != 200 || $method eq 'HEAD'
                        || $r[$n]->body() =~ /canary-$i\./);
            push @wrong, "$uri of $i: " . $r[$n]->status();
        }
    }
    $c->close();

    for my $i (0 .. 2) {
        my $gone = connection();
        $gone->send(http_bytes(GET => "/cached/gone$rounds", as =>
                               $people[$i]));
        $gone->abort();
    }
}

my $requests = @kinds + 3;
my $warm = int(10000 / $requests) + 1;
my $all = int(50000 / $requests) + 1;

round() for 1 .. $warm;
my $memory = worker_memory();
my $fds = worker_fds();

round() for 1 .. $all - $warm;
my $grown = worker_memory() - $memory;

note("$rounds rounds of $requests requests, $memory kB, then $grown more");
cmp_ok($rounds * $requests, '>=', 50000, 'fifty thousand requests');
is(scalar(@wrong), 0, 'each was answered as it should be')
    or diag(join "\n", splice(@wrong, 0, 5));
SKIP: {
    skip('a sanitizer keeps what was freed', 1) if patience() > 1;
    cmp_ok($grown, '<', 512, 'the worker did not grow');
}

# of the connections kept to the upstream there may be more or fewer, up to 16
wait_for(sub { worker_fds() <= $fds + 16 }, 'descriptors to be given back');
cmp_ok(worker_fds(), '<=', $fds + 16, 'nor does it hold more descriptors');

done_testing();
