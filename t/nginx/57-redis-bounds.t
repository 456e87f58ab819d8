# How long a request waits for Redis, and how many may wait: both are bounded
# whatever Redis does.

use strict;
use warnings;

use IO::Socket::INET ();
use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

# A listener that accepts nobody and whose backlog is full: the kernel drops
# what comes then.
my $deaf = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                 LocalPort => port('deaf'), ReuseAddr => 1)
    or die "$!\n";
my @fill;
for (1 .. 8) {
    my $socket = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => port('deaf'), Blocking => 0);
    push @fill, $socket;
}

redis_start();
define(INCLUDES => join '', map {
    "<!--#include virtual=\"/item?$_\" -->" } 1 .. 45);

# none of the many is to be over before all of them have asked
my $timeout = 300 * patience() . 'ms';
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\n"
                            . "connect_timeout 200ms;\ntimeout $timeout;\n"
                            . 'local_valid 0;') . <<'CONF',

    token_store deaf {
        server           127.0.0.1:%%PORT_deaf%%;
        sealing_keys     %%TESTDIR%%/sealing.jwks;
        connect_timeout  200ms;
        timeout          300ms;
    }

    token_provider deaf {
        store deaf;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /deaf {
            token_auth    corp;
            token_inject  deaf;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location = /page {
            ssi           on;
            default_type  text/html;
            alias         %%TESTDIR%%/page.html;
        }

        location = /item {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
    log_level => 'warn');
write_file('page.html', subst('%%INCLUDES%%'));

my $bound = 2 * (0.2 + 0.3);
my $slack = 0.25;
my $alice = person('alice');

$alice->connect('token-of-alice');
is(result(get('/', as => $alice)), 'ok', 'works');
my $fds = worker_fds();

# connections to Redis are made when they are needed: fewer may be there
sub none_left {
    wait_for(sub { worker_fds() <= $fds }, 'descriptors');
    pass('no descriptor is left behind');
}


# --- how long

sub bounded {
    my ($case, $uri) = @_;

    for my $n (1 .. 3) {
        my @r = parallel(map {
            [GET => $uri // '/', as => $alice,
             token => $alice->token(jti => "$case$n$_")] } 1 .. 5);

        my ($slowest) = sort { $b <=> $a } map { $_->seconds() } @r;
        my @odd = grep { result($_) ne 'store-unavailable' } @r;

        if (@odd || $slowest > ($bound + $slack) * patience()) {
            fail("$case: round $n took $slowest, " . result($odd[0] // $r[0]));
            return;
        }
    }
    pass("$case: nobody waits longer than promised");
}

$proxy->mode('swallow');
bounded('silence');
$proxy->mode(reply => '+');
bounded('half a reply');
$proxy->mode('refuse');
bounded('closed as it is made');
$proxy->mode(cut => 0);
bounded('closed instead of an answer');
bounded('no connection', '/deaf');

# closed a little before the time is over, and silent then
$proxy->mode('pass');
wait_for(sub { result(get('/', as => $alice)) eq 'ok' }, 'recovery');
$proxy->mode('swallow');
my $c = connection();
my $began = time();
$c->send(http_bytes(GET => '/', as => $alice, headers => ['X-Late: 1']));
wait_for(sub { time() - $began > 0.2 * patience() }, 'most of the time');
$proxy->drop();
refused($c->response(), 'store-unavailable', 'lost late');
cmp_ok(time() - $began, '<', ($bound + $slack) * patience(),
       'lost late: in bounded time all the same');
$c->close();
$proxy->mode('pass');
wait_for(sub { result(get('/', as => $alice)) eq 'ok' }, 'recovery');
none_left();


# --- how many: 100 pages of 45 subrequests

my $page = get('/page', as => $alice)->body();
is(scalar(my @items = $page =~ m{"uri":"/item\?}g), 45, 'a page of searches');

$proxy->mode('swallow');
$proxy->forget();
my @pages = parallel(map { [GET => '/page', as => $alice] } 1 .. 100);
is(scalar(grep { $_->status() == 200 } @pages), 100, 'a hundred pages');

my $asked = grep { $_->[0] =~ /^(?:HMGET|HLEN)$/ }
            @{$proxy->stats()->{commands}};
cmp_ok($asked, '>', 4000, 'thousands may wait');
cmp_ok($asked, '<=', 4096, 'not more than are allowed to');
log_like(qr/the store is away or has too much to do/, 'the rest is told');

$proxy->mode('pass');
wait_for(sub { result(get('/', as => $alice)) eq 'ok' }, 'recovery');
is(get('/page', as => $alice)->status(), 200, 'and served again');
none_left();

done_testing();
