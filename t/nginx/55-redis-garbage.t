# What is not the protocol, or not a reply to what was asked, ends the
# connection: nobody is served from it, and the next one starts clean.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

redis_start();
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 0;\n"
                            . 'timeout 100ms;')
            . <<'CONF', log_level => 'info');

    token_store patient {
        server        127.0.0.1:%%PROXY%%;
        sealing_keys  %%TESTDIR%%/sealing.jwks;
        local_valid   0;
        timeout       20s;
    }

    token_provider patient {
        store patient;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth   corp;
        token_cache  5m;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /patient {
            token_inject  patient;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
my $bob = person('bob');
my $n = 0;

$alice->connect('token-of-alice');
$alice->connect('token-patient', provider => 'patient');
$bob->connect('token-of-bob');

# a request that neither an admission nor an answer stands for
sub ask {
    my ($who) = @_;

    $n++;
    $who //= $alice;

    return get("/$n", as => $who, token => $who->token(jti => $n));
}

sub own {
    my ($r, $name) = @_;

    return result($r) eq 'ok'
           && $r->json()->{headers}{authorization} eq "Bearer token-of-$name";
}

sub recovers {
    my ($case) = @_;

    $proxy->mode('pass');
    wait_for(sub { own(ask(), 'alice') }, "$case: recovery");
    ok(own(ask($bob), 'bob'), "$case: and then all is well");
}

ok(own(ask(), 'alice'), 'works');
my $fds = worker_fds();


# --- byte by byte

$proxy->mode(byte => 1);
is(get('/patient', as => $alice)->json()->{headers}{authorization},
   'Bearer token-patient', 'a byte at a time is as good as all at once');
$proxy->mode('pass');
$fds = worker_fds();


# --- instead of replies

my %garbage = (
    'HTTP' => "HTTP/1.1 400 Bad Request\r\n\r\n",
    'zeros' => "\0" x 100,
    'nothing but line ends' => "\r\n\r\n\r\n",
    'random' => join('', map { chr(int(rand(256))) } 1 .. 300),
    'a length that is none' => "\$abc\r\n",
    'a negative length' => "\$-2\r\n",
    'an array of -2' => "*-2\r\n",
    'a number that is none' => ":one\r\n",
    'an empty number' => ":\r\n",
    'a huge bulk' => "\$2147483647\r\nxxxx",
    'a bulk above what was asked' => "\$1048576000\r\n",
    'a bulk beyond 64 bits' => "\$99999999999999999999\r\nx",
    'a huge array' => "*1000000000\r\n",
    'an array beyond 64 bits' => "*99999999999999999999\r\n",
    'nested' => "*1\r\n" x 20,
    'nested without end' => "*2\r\n" x 5000,
    'a line without end' => '+' . 'x' x 200000,
    'an error without end' => '-' . 'x' x 200000,
    'a bulk of another length' => "\$3\r\nabcdef\r\n",
    'a map of RESP3' => "%1\r\n+a\r\n+b\r\n",
    'a push of RESP3' => ">2\r\n+a\r\n+b\r\n",
);

for my $case (sort keys %garbage) {
    $proxy->mode(garbage => $garbage{$case});
    my $r = ask();
    refused($r, 'store-unavailable', "$case: nothing is made of it");
    cmp_ok($r->seconds(), '<', 1.1 * patience(), "$case: in bounded time");
    recovers($case);
}


# --- the protocol, but not an answer to what was asked

my $record = $bob->connection()->{hash}{access};
my %replies = (
    'a status' => "+OK\r\n",
    'a number' => ":1\r\n",
    'nil' => "\$-1\r\n",
    'an empty array' => "*0\r\n",
    'a nil array' => "*-1\r\n",
    'a bulk' => "\$2\r\nok\r\n",
    'an array of one' => "*1\r\n:1\r\n",
    'an array of arrays' => "*3\r\n*1\r\n:1\r\n*1\r\n:1\r\n*1\r\n:1\r\n",
    'an array of numbers' => "*3\r\n:1\r\n:1\r\n:1\r\n",
    'nils and a number' => "*3\r\n\$-1\r\n:1\r\n\$-1\r\n",
);

for my $case (sort keys %replies) {
    $proxy->mode(reply => $replies{$case});
    $up->forget();
    for my $r (ask(), get('/x', as => $alice)) {
        isnt($r->status(), 200, "$case: nothing is made of it");
        like(result($r), qr/^(?:store-unavailable|connection-required
                              |reconnect-required)$/x, "$case: and told");
    }
    is($up->calls(), 0, "$case: nothing goes upstream");
    recovers($case);
}


# --- cut off

for my $at (0, 1, 3, 4, 5, 20, 100, 500) {
    $proxy->mode(cut => $at);
    my $r = ask();
    refused($r, 'store-unavailable', "cut after $at bytes");
    recovers("cut after $at bytes");
}


# --- more than was asked for

for my $extra ("+OK\r\n", ":1\r\n", "*0\r\n",
               ":7\r\n*3\r\n\$" . length($record) . "\r\n$record\r\n"
               . "\$1\r\n1\r\n\$22\r\n" . $bob->connection()->{hash}{cid}
               . "\r\n")
{
    my $what = substr($extra, 0, 4) =~ s/\r\n//r;

    log_mark();
    $proxy->inject($extra);
    wait_for(sub { log_since() =~ /a reply that nobody asked for/ },
             'the connection to be given up');
    recovers("unasked $what");

    # while replies are awaited: those behind it would be another's
    $proxy->mode(delay => 0.05);
    my @c = map { my $c = connection();
                  my $who = $_ % 2 ? $alice : $bob;
                  $n++;
                  $c->send(http_bytes(GET => "/$n", as => $who,
                                      token => $who->token(jti => $n)));
                  [$c, $_ % 2 ? 'alice' : 'bob'] } 1 .. 6;
    wait_for(sub { @{$proxy->stats()->{commands}} }, 'commands');
    $proxy->inject($extra);
    my @foreign = grep {
        my $r = $_->[0]->response();
        $r->status() == 200 && !own($r, $_->[1])
    } @c;
    is(scalar(@foreign), 0, "unasked $what in between: nobody has another's");
    $_->[0]->close() for @c;
    recovers("unasked $what in between");
}

is(result(get('/patient', as => $alice)), 'ok', 'the other store too');
fds_are($fds);
secrets_absent('no log shows a secret', 'token-of-', $alice->user_key());

done_testing();
