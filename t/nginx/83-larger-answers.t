# An answer that a node with a larger token_cache_max_size kept, on the same
# Redis: a node with a smaller one does without it, and nobody's connection to
# Redis is lost over it.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $large = 'L' x (2500 * 1024);
my $up = upstream(sub {
    my ($request) = @_;

    return $request->{uri} eq '/large' ? { body => $large } : undef;
});

sub node {
    my ($max_size) = @_;

    return blocks(store => 'local_valid 0;') . <<"EOF";

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth            corp;
        token_inject          outlook;

        location / {
            token_cache           5m;
            token_cache_max_size  $max_size;
            proxy_pass            http://%%UPSTREAM%%;
        }
    }
EOF
}

my ($alice, $bob) = (person('alice'), person('bob'));

redis_start();
nginx_start(node('3m'), log_level => 'info');

$alice->connect('token-of-alice');
$bob->connect('token-of-bob');

my $r = get('/large', as => $alice);

ok($r->body() eq $large, 'an answer of 2.5 MB');
like($r->header('Cache-Status'), qr/; stored$/, 'is kept');
wait_for(sub { @{redis('KEYS', '*:a:*')} == 1 }, 'Redis to have it');
nginx_stop();

# another node, whose shared memory is empty
nginx_start(node('1m'), log_level => 'info');
$up->forget();

for my $round (1 .. 3) {
    my @r = parallel([GET => '/large', as => $alice],
                     (map { [GET => "/$round/$_", as => $bob] } 1 .. 5),
                     [GET => "/$round", as => $alice]);

    is(join(' ', map { result($_) } @r), join(' ', ('ok') x 7),
       "round $round: its owner and the others are served");
    ok($r[0]->body() eq $large, 'with all of the answer');
    is($r[$_]->json()->{headers}{authorization}, 'Bearer token-of-bob',
       'and with their own tokens') for 1 .. 5;
}

is(scalar(grep { $_->{uri} eq '/large' } $up->requests()), 3,
   'what is too large for this node is fetched each time');
log_unlike(qr/a reply too large|token_store "vault":/,
           'and the connection to Redis stands');
nginx_stop();

# where it may be as large it is a hit
nginx_start(node('3m'), log_level => 'info');
$up->forget();
$r = get('/large', as => $alice);
like($r->header('Cache-Status'), qr/; hit;/, 'a node like the first');
ok($r->body() eq $large, 'has it from Redis');
is($up->calls(), 0, 'and not from the third party');

done_testing();
