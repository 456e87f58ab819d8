# The third party says "not now": who was told so leaves it alone for as long,
# or all do, or nobody, as the operator has it.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

# ?s=STATUS&r=SECONDS of the request is what it is answered
my $up = upstream(sub {
    my ($request) = @_;
    my %arg = $request->{uri} =~ /(\w+)=([\w.-]+)/g;

    return { body => $request->{headers}{authorization} } if !$arg{s};

    return { status => $arg{s}, body => 'not now', delay => $arg{d} // 0,
             headers => ['X-Third: party',
                         defined $arg{r} ? "Retry-After: $arg{r}" : ()] };
});
my $other = upstream('other');

redis_start();
nginx_start(blocks(store => 'local_valid 1m;') . <<'CONF', workers => 2);

    token_provider all {
        store     vault;
        throttle  provider;
    }

    token_provider free {
        store     vault;
        throttle  off;
    }

    upstream two {
        server  %%UPSTREAM%% max_fails=0;
        server  %%UPSTREAM_other%% max_fails=0;
    }

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /all {
            token_inject  all;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /free {
            token_inject  free;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /next {
            proxy_next_upstream  error http_429 http_503;
            proxy_pass           http://two;
        }

        location /intercept {
            proxy_intercept_errors  on;
            error_page              429 503 /sorry;
            proxy_pass              http://%%UPSTREAM%%;
        }

        location /paged {
            error_page  429 /sorry;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location = /status {
            token_auth    off;
            token_inject  off;
            token_status;
        }

        location = /sorry {
            token_auth    off;
            token_inject  off;
            return 200 "sorry";
        }
    }
CONF

my $n = 0;

# a new caller, with a connection to all
sub caller_of {
    my $who = person('caller' . ++$n);

    $who->connect("token-$n", provider => $_) for qw(outlook all free);

    return $who;
}

# has it to wait, and how long?
sub held {
    my ($who, $uri) = @_;

    $up->forget();
    my $r = get($uri // '/', as => $who);
    my $sent = $up->calls();

    return $sent ? 'sent' : 'lost' if result($r) ne 'provider-throttled';

    return $r->status() . ' ' . ($r->header('Retry-After') // 'unsaid')
           . ($sent ? ', and sent' : '');
}

# a number of seconds that has begun to pass
sub within {
    my ($held, $seconds, $name) = @_;
    my ($status, $left) = split / /, $held;

    like($held, qr/^429 \d+$/, "$name: held");
    cmp_ok($left // 0, '<=', $seconds, "$name: for no more than it said");
    cmp_ok($left // 0, '>', $seconds - 10 * patience(), "$name: nor less");
}


# --- the caller who was told so

my $alice = caller_of();
my $bob = caller_of();
my $r = get('/?s=429&r=100', as => $alice);
is($r->status() . ' ' . $r->body(), '429 not now', 'it passes through');
is($r->header('X-Third') . ' ' . $r->header('Retry-After'), 'party 100',
   'as it came');
within(held($alice), 100, 'the caller');
within(held($alice), 100, "the caller, time $_") for 1 .. 4;
is(held($bob), 'sent', 'another is not');
is(held($alice, '/all'), 'sent', 'nor are requests to another provider');

my $phone = $alice->on_device();
$phone->connect('token-of-the-phone');
within(held($phone), 100, 'the caller\'s other device');

$r = get('/', as => $alice);
is($r->header('Content-Type'), 'application/problem+json', 'a problem');
is($r->json()->{provider}, 'outlook', 'which says of whom');
is(get('/paged', as => $alice)->body(), 'sorry', 'or what error_page has');


# --- everybody, nobody

my $carol = caller_of();
is(get('/all?s=429&r=50', as => $carol)->status(), 429, 'throttle provider');
within(held($carol, '/all'), 50, 'who was told');
within(held($bob, '/all'), 50, 'who was not');
is(held($carol), 'sent', 'of another provider: not');

is(get('/free?s=429&r=50', as => $carol)->status(), 429, 'throttle off');
is(held($carol, '/free'), 'sent', 'nobody');


# --- how long

my %long = (
    'an hour at most' => ['s=429&r=86400', 3600],
    '503' => ['s=503&r=30', 30],
);
for my $name (sort keys %long) {
    my ($args, $seconds) = @{$long{$name}};
    my $who = caller_of();

    get("/?$args", as => $who);
    within(held($who), $seconds, $name);
}
for my $args ('s=503', 's=429', 's=429&r=soon', 's=500&r=30', 's=401&r=30',
              's=200&r=30', 's=404&r=30')
{
    my $who = caller_of();

    get("/?$args", as => $who);
    is(held($who), 'sent', "$args: nobody is held");
}

# a date
my $who = caller_of();
my @days = qw(Sun Mon Tue Wed Thu Fri Sat);
my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);
my @t = gmtime(time() + 60);
$up->answer('/date' => { status => 503, body => 'not now', headers => [
    sprintf('Retry-After: %s, %02d %s %d %02d:%02d:%02d GMT', $days[$t[6]],
            $t[3], $months[$t[4]], 1900 + $t[5], @t[2, 1, 0])] });
get('/date', as => $who);
within(held($who), 60, 'a date');

# its end; and a shorter one does not end a longer one
$who = caller_of();
my @c = map { connection() } 1, 2;
# both are sent before one is answered
$c[$_]->send(http_bytes(GET => '/?s=429&r=' . ('3&d=0.6', '1&d=1')[$_],
                        as => $who, headers => ['Connection: close']))
    for 0, 1;
$_->response() for @c;
within(held($who), 3, 'the longer of two');
my $began = time();
wait_for(sub { held($who) eq 'sent' }, 'the end of it');
cmp_ok(time() - $began, '<', 3.5 * patience(), 'it ends');


# --- groups of servers, error pages

$who = caller_of();
is(get('/next?s=429&r=50', as => $who)->status(), 200,
   'the next server answers');
is(held($who), 'sent', 'that one did not say it');
$who = caller_of();
$other->answer('*' => { status => 429, headers => ['Retry-After: 40'] });
get('/next?s=429&r=50', as => $who);
like(held($who), qr/^429 [345]\d$/, 'all of them did');

$who = caller_of();
is(get('/intercept?s=429&r=50', as => $who)->body(), 'sorry',
   'proxy_intercept_errors');
within(held($who), 50, 'proxy_intercept_errors');


# --- a burst: one is told, the others are not sent

$who = caller_of();
get('/?s=429&r=60', as => $who);
$up->forget();
my @r = parallel(map { ['GET', "/$_", as => $who] } 1 .. 50);
is(scalar(grep { result($_) eq 'provider-throttled' } @r), 50,
   'fifty, by both workers: all held');
is($up->calls(), 0, 'none is sent');

# no reload forgets
nginx_reload();
within(held($who), 60, 'after a reload');

my ($row) = grep { $_->{location} eq '/' }
            @{get('/status')->json()->{locations}};
is($row->{third_party}{throttled}, 7, 'what was said is counted');
cmp_ok($row->{results}{'provider-throttled'}, '>=', 50, 'and who was held');

log_like(qr/\[warn\] .*the third party behind provider "outlook" asks to slow/,
         'it is said');
secrets_absent('no log shows a secret', 'token-1', 'token-of-the');

done_testing();
