# More callers than the shared memory has room for: everybody gets their own
# answer, those who keep asking are remembered.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

# /cached/x/n: that many
my $up = upstream(sub {
    my ($request) = @_;

    return $request->{uri} =~ m{^/cached/(.)/(\d+)} ? { body => $1 x $2 }
                                                    : undef;
});
my $proxy = proxy();

redis_start();
my $text = blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 1h;")
    . <<'CONF';

    token_shared_memory 256k;

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cached {
            token_cache           1h;
            token_cache_max_size  1m;
            proxy_pass            http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text, log_level => 'info');

my @people = map { person("user$_") } 0 .. 399;
$people[$_]->connect("token-of-$_-" . 'x' x 500) for 0 .. $#people;

# how often Redis was asked for a connection meanwhile
sub reads { scalar grep { $_->[0] eq 'HLEN' } @{$_[0]->{commands}} }

sub ask {
    my (@who) = @_;

    my @responses = parallel(map { [GET => '/', as => $people[$_]] } @who);

    return grep {
        my $r = $responses[$_];
        $r->status() != 200
        || $r->json()->{headers}{authorization}
           ne "Bearer token-of-$who[$_]-" . 'x' x 500
    } 0 .. $#who;
}

for my $round (1, 2) {
    $proxy->forget();
    my @wrong = map { ask($_ * 20 .. $_ * 20 + 19) } 0 .. 19;

    is(scalar(@wrong), 0, "round $round: 400 callers, each their own token");
    cmp_ok(reads($proxy->stats()), '>', 100,
           'and there was no room for all of them');
}

# whoever asks between all the others stays
ask(0);
$proxy->forget();
for my $group (1 .. 19) {
    ask($group * 20 .. $group * 20 + 19);
    ask(0);
}

# use is noted once a second, and the memory turns over faster than that here
cmp_ok(reads($proxy->stats()), '<', 19 * 20 + 10,
       'who keeps asking is remembered, nearly always');

# answers that take most of the room, and one that is larger than it
my @wrong;
for my $i (0 .. 29) {
    my $r = get('/cached/l/60000', as => $people[$i]);
    push @wrong, $i if $r->body() ne 'l' x 60000;
    $r = get('/cached/l/60000', as => $people[$i]);
    push @wrong, $i if $r->body() ne 'l' x 60000
                       || ($r->header('Cache-Status') // '') !~ /; hit;/;
}
is("@wrong", '', 'large answers push each other out, none is wrong');

for my $expected ('fwd=miss', 'hit') {
    # Redis has room for what this node has none for
    my $r = get('/cached/h/600000', as => $people[0]);
    is($r->body(), 'h' x 600000, 'an answer larger than the memory');
    like($r->header('Cache-Status'), qr/; $expected/, "is a $expected");
    wait_for(sub { @{redis('KEYS', '*:a:*')} == 31 }, 'Redis to have it');
}

log_unlike(qr/\[(?:error|crit|warn)\]/, 'nothing to complain of');

done_testing();
