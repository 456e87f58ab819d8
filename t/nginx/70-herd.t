# Many ask for one answer that nobody has: one of them fetches it.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream(sub {
    my ($request) = @_;

    return $request->{uri} =~ m{^/large/(\w+)$}
           ? { body => 'x' x 1100000, ends => $1, delay => 0.2 } : undef;
});

redis_start();
nginx_start(blocks() . <<'CONF', workers => 2, log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        token_auth    corp;
        token_inject  outlook;

        location / {
            token_cache  5m;
            add_header   X-Worker $pid;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /errors {
            token_cache             5m;
            proxy_intercept_errors  on;
            error_page              500 /sorry;
            proxy_pass              http://%%UPSTREAM%%;
        }

        location = /sorry {
            internal;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');
get('/warm', as => $alice);

sub begin {
    my ($uri, $n, $who) = @_;

    my @c = map { connection() } 1 .. $n;
    $_->send(http_bytes(GET => $uri, as => $who // $alice,
                        headers => ['Connection: close'])) for @c;

    return @c;
}


# --- a hundred, over two workers

$up->answer('/one' => { body => 'the answer', hold => 'one' });
$up->forget();
my @c = begin('/one', 100);
$up->wait_calls(1);
is($c[0]->response(timeout => 0.3)->error(), 'timeout', 'all wait');
is($up->calls(), 1, 'one has gone to fetch it');
$up->release('one');

my @r = map { $_->response() } @c;
is(scalar(grep { $_->body() eq 'the answer' } @r), 100, 'a hundred answers');
is($up->calls(), 1, 'of one call');
is(scalar(grep { $_->header('Cache-Status') =~ /fwd=miss; stored/ } @r), 1,
   'one miss');
is(scalar(grep { $_->header('Cache-Status') =~ /; hit;/ } @r), 99, 'and hits');
my %workers = map { $_->header('X-Worker') => 1 } @r;
is(scalar(keys %workers), 2, 'of both workers');


# --- who fetches goes away: the next one does

$up->answer('/gone' => { body => 'the answer', hold => 'gone' });
$up->forget();
my ($first) = begin('/gone', 1);
$up->wait_calls(1);
@c = begin('/gone', 20);
is($c[0]->response(timeout => 0.2)->error(), 'timeout', 'others wait');
is($up->calls(), 1, 'for the one');
$first->abort();
$up->wait_calls(2);
is($c[0]->response(timeout => 0.2)->error(), 'timeout', 'it goes away');
is($up->calls(), 2, 'and one takes its place');
$up->release('gone');
is(scalar(grep { $_->response()->body() eq 'the answer' } @c), 20,
   'all are answered');
is($up->calls(), 2, 'by its call');

# who waits goes away: nobody minds
$up->answer('/left' => { body => 'the answer', hold => 'left' });
$up->forget();
@c = begin('/left', 20);
$up->wait_calls(1);
$c[$_]->response(timeout => 0.02) for 0;
my @stay = splice(@c, 0, 10);
$_->abort() for @c;
$up->release('left');
my $whole = grep { $_->response()->body() eq 'the answer' } @stay;
is($whole, 10, 'those who stay are answered');
cmp_ok($up->calls(), '<=', 2, 'by one call, or its successor');


# --- a response that is not kept does not make a queue of those who wait

my %uncacheable = (
    'a 500' => ['/u/500', status => 500],
    'a 404' => ['/u/404', status => 404],
    'Set-Cookie' => ['/u/cookie', headers => ['Set-Cookie: a=b']],
    'no-store' => ['/u/no-store', headers => ['Cache-Control: no-store']],
    'Vary' => ['/u/vary', headers => ['Vary: Cookie']],
    'one too large' => ['/large/length'],
    'one too large, in chunks' => ['/large/chunked'],
    'an error page' => ['/errors/500', status => 500],
    'X-Accel-Redirect' => ['/u/accel', headers => [
        'X-Accel-Redirect: /sorry']],
    'one without an end' => ['/u/close', ends => 'close'],
);
$up->answer('/sorry' => { body => 'sorry' });

# each takes 0.2 s: one after the other would be 10 × as long
for my $case (sort keys %uncacheable) {
    my ($uri, %answer) = @{$uncacheable{$case}};

    $up->answer($uri => { body => 'body', %answer, delay => 0.2 })
        if $uri !~ /large/;
    $up->forget();

    my $began = time();
    my @responses = map { $_->response(timeout => 20) } begin($uri, 10);
    my $took = time() - $began;

    is(scalar(grep { $_->status() } @responses), 10, "$case: all answered");
    is(scalar(grep { $_->{uri} eq $uri } $up->requests()), 10,
       "$case: each by a call");
    cmp_ok($took, '<', 1.9 * patience(), "$case: not one after the other");
}


# --- different callers, different answers: nobody waits for another

$up->answer('/two' => { body => 'two', hold => 'two' });
$up->forget();
my ($slow) = begin('/two', 1);
$up->wait_calls(1);

my $bob = person('bob');
$bob->connect('token-of-bob');
my ($his) = begin('/two', 1, $bob);
$up->wait_calls(2);
pass('another caller fetches his own');
is(get('/one', as => $alice)->body(), 'the answer', 'other answers are had');
is(get('/other', as => $alice)->status(), 200, 'or fetched');
$up->release('two');
is($_->response()->body(), 'two', 'both are answered') for $slow, $his;

secrets_absent('no log shows a secret', 'token-of-', $alice->token());

done_testing();
