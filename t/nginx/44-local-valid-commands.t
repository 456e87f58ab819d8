# What a request costs Redis: with local_valid 0 one round trip each, with
# more nothing while the node may act on what it knows.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

redis_start();

my $servers = <<'CONF';

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

sub config {
    my ($valid) = @_;

    return blocks(store => "server 127.0.0.1:%%PROXY%%;"
                           . "\nlocal_valid $valid;") . $servers;
}

nginx_start(config(0));

my $alice = person('alice');
$alice->connect('token-1');
my $name = record_name(who => $alice->who(), provider => 'outlook',
                       user_key => $alice->user_key());

# the commands that a request causes, after the number of writes
sub cost {
    my ($uri, %opt) = @_;

    $proxy->forget();
    my $r = get($uri, as => $alice, %opt);

    # who keeps an answer does not wait for Redis to have it
    my $stats = wait_for(sub {
        my $seen = $proxy->stats();
        !$opt{kept} || (grep { $_->[0] eq 'SET' } @{$seen->{commands}})
            ? $seen : undef;
    }, 'SET');

    my @commands;
    for my $command (@{$stats->{commands}}) {
        my @words = @$command;
        $words[1] =~ s/^\Q$name\E$/NAME/;
        $words[1] =~ s/^ti:\{[\w-]{22}\}:a:[\w-]{43}$/ANSWER/;
        $words[2] = 'VALUE' if $words[0] eq 'SET';
        push @commands, "@words";
    }

    is(result($r), 'ok', "$uri is served");

    return join ' ', "$stats->{writes} writes:", join(', ', @commands) || ();
}

my $read = 'HLEN NAME, HMGET NAME access gen cid';
my $confirm = 'HMGET NAME gen cid';


# --- 0: every request asks

is(cost('/'), "1 writes: $read", 'the first reads the connection');
is(cost('/'), "1 writes: $confirm", 'the next asks if it is the same');
is(cost('/2'), "1 writes: $confirm", 'and every other');

my $set = 'SET ANSWER VALUE EX 300';
is(cost('/cached/1', kept => 1), "2 writes: $confirm, GET ANSWER, $set",
   'an answer is asked for in the same round trip, and kept in another');
is(cost('/cached/1'), "1 writes: $confirm", 'what is here is not asked for');

is(cost('/', token => $alice->token(jti => 1)), "1 writes: $read",
   'another token is another admission');
is(cost('/cached/2', token => $alice->token(jti => 2), kept => 1),
   "2 writes: $read, GET ANSWER, $set", 'all of it in one round trip');

$alice->connect('token-2');
$proxy->forget();
is(get('/', as => $alice)->json()->{headers}{authorization},
   'Bearer token-2', 'a changed connection');
is(join(' ', map { $_->[0] } @{$proxy->stats()->{commands}}),
   'HMGET HLEN HMGET', 'is read after all');
is(cost('/'), "1 writes: $confirm", 'once');


# --- 10s, the default: what is known is used

nginx_stop();
wait_for(sub { redis('PUBSUB', 'NUMSUB', 'ti:changes')->[1] == 0 },
         'nobody to listen');
nginx_start(config('10s'));
redis_listened(1);

is(cost('/'), "1 writes: $read", '10s: the first reads');
is(cost('/'), '0 writes:', '10s: the next asks nothing');
is(cost('/3'), '0 writes:', '10s: nor any other');
is(cost('/cached/3', kept => 1), "2 writes: GET ANSWER, $set",
   '10s: only an answer that is not here');
is(cost('/cached/3'), '0 writes:', '10s: and not when it is');

done_testing();
