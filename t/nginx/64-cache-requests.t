# Which requests ask the cache, and what they get of an answer: a bypass, a
# HEAD, a range, a condition, a body.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $body = join '', map { chr(65 + $_ % 26) } 0 .. 99;
my $up = upstream();

redis_start();
nginx_start(blocks() . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth              corp;
        token_inject            outlook;
        token_cache             5m;
        client_body_buffer_size 1k;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /post {
            token_cache_methods  GET HEAD POST;
            proxy_pass           http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');

my $modified = 'Sat, 21 Nov 2026 10:00:00 GMT';
my $later = 'Sat, 21 Nov 2026 11:00:00 GMT';
my $before = 'Sat, 21 Nov 2026 09:00:00 GMT';
my %answer = (body => $body, headers => ['ETag: "tag"',
                                         "Last-Modified: $modified"]);
$up->answer($_ => \%answer) for map { "/$_" } 'a' .. 'z';

my $miss = 'token-injector; fwd=miss';
my $stored = "$miss; stored";
my $bypass = 'token-injector; fwd=bypass';

sub status_of { $_[0]->header('Cache-Status') // '-' }
sub ask { get($_[0], as => $alice, headers => [@_[1 .. $#_]]) }


# --- a client that wants it fresh

is(status_of(ask('/a')), $stored, 'kept');
for my $said ('no-cache', 'no-store', 'NO-CACHE', 'max-age=0, no-cache',
              'no-store,no-cache')
{
    $up->forget();
    is(status_of(ask('/a', "Cache-Control: $said")), $bypass,
       "$said: a bypass");
    is($up->calls(), 1, "$said: fetched");
}
is(status_of(ask('/a', 'Cache-Control: max-age=9', 'Cache-Control: no-cache')),
   $bypass, 'in the second of two');
like(status_of(ask('/a')), qr/; hit;/, 'what was kept is still there');
for my $said ('max-age=0', 'private', 'x-no-cache', 'only-if-cached') {
    like(status_of(ask('/a', "Cache-Control: $said")), qr/; hit;/,
         "$said: no bypass");
}

ask('/b', 'Cache-Control: no-store');
is(status_of(ask('/b')), $stored, 'the answer to a bypass was not kept');


# --- HEAD

my $head = http('HEAD', '/b', as => $alice);
like(status_of($head), qr/; hit;/, 'HEAD from what GET kept');
is($head->header('Content-Length'), 100, 'with its length');
is($head->header('ETag'), '"tag"', 'and headers');
is($head->body(), '', 'and no body');

is(status_of(http('HEAD', '/c', as => $alice)), $miss, 'HEAD that missed');
is($up->last()->{method}, 'GET', 'which nginx turns into a GET')
    if $up->last()->{method} ne 'HEAD';
is(status_of(ask('/c')), $stored, 'is not kept');
is(ask('/c')->body(), $body, 'GET has the whole');


# --- ranges of a hit, and of a miss

my $r = ask('/c', 'Range: bytes=10-19');
is($r->status(), 206, 'a range of a hit');
is($r->body(), substr($body, 10, 10), 'its bytes');
is($r->header('Content-Range'), 'bytes 10-19/100', 'said');
like(status_of($r), qr/; hit;/, 'from what is kept');

is(ask('/c', 'Range: bytes=-5')->body(), substr($body, -5), 'the last');
is(ask('/c', 'Range: bytes=95-')->body(), substr($body, 95), 'the rest');
like(ask('/c', 'Range: bytes=0-1,5-6')->header('Content-Type'),
     qr{^multipart/byteranges}, 'several');
$r = ask('/c', 'Range: bytes=100-');
is($r->status(), 416, 'a range beyond');
is($r->header('Content-Range'), 'bytes */100', 'says how long it is');
is(ask('/c', 'Range: nonsense')->body(), $body, 'nonsense');
is(ask('/c', 'Range: bytes=1-2', 'If-Range: "tag"')->status(), 206,
   'If-Range that fits');
is(ask('/c', 'Range: bytes=1-2', 'If-Range: "other"')->status(), 200,
   'If-Range that does not');

$up->answer('/d' => { status => 206, body => 'BC',
                      headers => ['Content-Range: bytes 1-2/100'] });
$r = ask('/d', 'Range: bytes=1-2');
is($up->last()->{headers}{range}, 'bytes=1-2', 'a range that missed');
is(join(' ', $r->status(), $r->body(), status_of($r)), "206 BC $miss",
   'is passed on');
$up->answer('/d' => \%answer);
is(status_of(ask('/d')), $stored, 'and not kept');
is(ask('/d')->body(), $body, 'the whole is');

$r = ask('/e', 'Range: bytes=1-2');
is(status_of($r), $miss, 'nor is a whole that answered a range');
is(status_of(ask('/e')), $stored, 'until one asks for the whole');


# --- conditions

for my $case ('If-None-Match: "tag"', 'If-None-Match: "x", "tag"',
              'If-None-Match: *', "If-Modified-Since: $modified",)
{
    $r = ask('/c', $case);
    is($r->status(), 304, "$case: 304");
    is($r->body(), '', 'no body');
    is($r->header('ETag'), '"tag"', 'which one');
    like(status_of($r), qr/; hit;/, 'from what is kept');
}
for my $case ('If-None-Match: "other"', "If-Modified-Since: $before",
              'If-Match: "tag"', "If-Unmodified-Since: $later")
{
    is(ask('/c', $case)->body(), $body, "$case: the whole");
}
is(ask('/c', 'If-Match: "other"')->status(), 412, 'If-Match: 412');
is(ask('/c', "If-Unmodified-Since: $before")->status(), 412,
   'If-Unmodified-Since: 412');

my $n = 0;
for my $case ('If-None-Match: "x"', "If-Modified-Since: $before",
              'If-Match: "tag"', "If-Unmodified-Since: $later")
{
    my $uri = '/' . ('f', 'g', 'h', 'i')[$n++];
    my ($name) = $case =~ /^([^:]+)/;

    is(status_of(ask($uri, $case)), $miss, "$name that missed: passed on");
    is($up->last()->{headers}{lc $name}, $case =~ s/^[^:]+: //r, 'as it is');
    is(status_of(ask($uri)), $stored, "$name: not kept");
}


# --- bodies

is(status_of(post('/j', 'q', as => $alice)), $bypass, 'POST is not listed');
is(status_of(http($_, '/j', as => $alice, body => '')), $bypass, $_)
    for 'PUT', 'DELETE', 'PATCH', 'OPTIONS';
is(status_of(ask('/j')), $stored, 'none of which is kept');

$up->answer('/post' => { body => 'found' });
is(status_of(post('/post', 'q=1', as => $alice)), $stored, 'POST that is');
is($up->last()->{body}, 'q=1', 'its body reaches the upstream');
$r = post('/post', 'q=1', as => $alice);
like(status_of($r), qr/; hit;/, 'again: a hit');
is($r->body(), 'found', 'of the same bytes');
is(status_of(post('/post', 'q=2', as => $alice)), $stored, 'another body');
is(status_of(post('/post', '', as => $alice)), $stored, 'an empty one');
like(status_of(post('/post', '', as => $alice)), qr/; hit;/, 'again');
is(status_of(ask('/post')), $stored, 'GET is not an empty POST');

is(post('/post', 'q=1', as => $alice, headers => ['Range: bytes=0-1'])
   ->body(), 'found', 'a POST has no ranges');
is(post('/post', 'q=1', as => $alice,
        headers => ['If-Modified-Since: ' . $later])->status(), 200,
   'nor conditions');

my $chunked = sub {
    my ($text) = @_;
    return http('POST', '/post', as => $alice,
                headers => ['Transfer-Encoding: chunked'],
                body => sprintf("%x\r\n%s\r\n0\r\n\r\n", length $text, $text));
};
like(status_of($chunked->('q=1')), qr/; hit;/, 'chunks make the same body');
is(status_of($chunked->('q=3')), $stored, 'or another');

my $edge = 'x' x 1024;
is(status_of(post('/post', $edge, as => $alice)), $stored,
   'a body that fits the buffer');
like(status_of(post('/post', $edge, as => $alice)), qr/; hit;/, 'a hit');
# what came with the header is in memory, however small the buffer
for (1, 2) {
    is(status_of(post('/post', 'x' x 20000, as => $alice)), $bypass,
       'one that does not: a bypass');
    is(length $up->last()->{body}, 20000, 'which is passed on whole');
}

# a body sent slowly, and a connection that goes on afterwards
my $c = connection();
my $bytes = http_bytes(POST => '/post', as => $alice, body => 'q=1');
$c->send(substr($bytes, 0, -2));
is($c->response(timeout => 0.1)->error(), 'timeout', 'half a body');
$c->send(substr($bytes, -2));
like(status_of($c->response()), qr/; hit;/, 'the other half');
like(status_of($c->request(POST => '/post', as => $alice, body => 'q=2')),
     qr/; hit;/, 'and the next request');
like(status_of($c->request(GET => '/c', as => $alice, body => 'ignored')),
     qr/; hit;/, 'a GET with a body');
like(status_of($c->request(GET => '/c', as => $alice)), qr/; hit;/,
     'which is read over');
$c->close();

done_testing();
