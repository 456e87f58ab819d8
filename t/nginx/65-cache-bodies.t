# Responses of every form: sizes at the edge, chunks, ends that are none,
# encodings, any bytes, without buffering.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream(sub {
    my ($request) = @_;

    return $request->{uri} =~ m{^/\w+/(length|chunked|close)/(\d+)$}
           ? { ends => $1, body => 'b' x $2 } : undef;
});

redis_start();
nginx_start(blocks() . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_narrow%% sndbuf=8k;

        token_auth              corp;
        token_inject            outlook;
        token_cache             5m;
        proxy_http_version      1.1;

        location / {
            token_cache_max_size  1k;
            proxy_pass            http://%%UPSTREAM%%;
        }

        location /big {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /unbuffered {
            token_cache_max_size  1k;
            proxy_buffering       off;
            proxy_pass            http://%%UPSTREAM%%;
        }

        location /file {
            proxy_buffers         4 4k;
            proxy_buffer_size     4k;
            proxy_busy_buffers_size 4k;
            proxy_pass            http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');

# fetched once or twice, and the same bytes each time
sub fetches {
    my ($uri, $calls, $body, $case) = @_;

    $up->forget();
    my @r = map { get($uri, as => $alice) } 1, 2;

    is($r[0]->body() eq $body && $r[1]->body() eq $body, 1,
       "$case: the bytes") or diag(length $r[0]->body());
    is($up->calls(), $calls,
       "$case: " . ($calls == 1 ? 'kept' : 'not kept'));
    like($r[1]->header('Cache-Status'),
         $calls == 1 ? qr/; hit;/ : qr/; fwd=miss/, "$case: said");

    return $r[1];
}


# --- sizes

for my $where ('small', 'unbuffered') {
    for my $ends ('length', 'chunked') {
        for (0, 1, 1023, 1024) {
            fetches("/$where/$ends/$_", 1, 'b' x $_, "$where, $ends, $_");
        }
        for (1025, 5000) {
            fetches("/$where/$ends/$_", 2, 'b' x $_, "$where, $ends, $_");
        }
    }
    fetches("/$where/close/100", 2, 'b' x 100, "$where, until closed");
}

fetches("/big/$_/1048576", 1, 'b' x 1048576, "a megabyte, $_")
    for 'length', 'chunked';
fetches("/big/$_/1048577", 2, 'b' x 1048577, "a megabyte and a byte, $_")
    for 'length', 'chunked';
fetches("/file/length/500000", 1, 'b' x 500000, 'more than its buffers');

# a client that does not read makes nginx use a file
my $c = connection(port => 'narrow');
$c->send(http_bytes(GET => '/file/length/900000', as => $alice));
wait_log(qr/an upstream response is buffered to a temporary file/);
my $r = $c->response();
ok($r->body() eq 'b' x 900000, 'read slowly');
ok(get('/file/length/900000', as => $alice)->body() eq 'b' x 900000,
   'kept or not, the bytes are the same');
$c->close();


# --- truncated

$up->answer(
    '/cut/length' => { body => 'c' x 500, cut => 400 },
    '/cut/chunked' => { body => 'c' x 500, ends => 'chunked', cut => 400 },
    '/cut/last' => { raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                            . "\r\n\r\n5\r\nabcde\r\n" },
    '/cut/zero' => { raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                            . "\r\n\r\n5\r\nabcde\r\n0\r\n" },
    '/cut/head' => { body => '', cut => 20 },
    '/unbuffered/cut' => { body => 'c' x 500, cut => 400 },
    '/unbuffered/cut2' => { body => 'c' x 500, ends => 'chunked', cut => 400 },
);

for my $uri ('/cut/length', '/cut/chunked', '/cut/last', '/cut/head',
             '/unbuffered/cut', '/unbuffered/cut2')
{
    $up->forget();
    for (1, 2) {
        my $got = get($uri, as => $alice);
        ok($got->status() != 200 || $got->truncated(), "$uri: is not whole");
        unlike($got->header('Cache-Status') // '', qr/; hit;/,
               "$uri: and not kept");
    }
    is($up->calls(), 2, "$uri: asked for again");
}
$up->answer('/cut/length' => { body => 'w' x 500 });
fetches('/cut/length', 1, 'w' x 500, 'the whole, after that');


# --- any bytes, any encoding

my $binary = join '', map { chr } 0 .. 255, 0, 0, 0;
$up->answer('/binary' => { body => $binary,
                           headers => ['Content-Type: image/png'] });
is(fetches('/binary', 1, $binary, 'binary')->header('Content-Type'),
   'image/png', 'its type');

for my $encoding ('gzip', 'br', 'deflate, gzip') {
    my $uri = '/encoded/' . length $encoding;
    $up->answer($uri => { body => "\x1f\x8bnot really",
                          headers => ["Content-Encoding: $encoding"] });
    is(fetches($uri, 1, "\x1f\x8bnot really", $encoding)
       ->header('Content-Encoding'), $encoding, 'kept with its encoding');
}

$up->answer('/untyped' => { raw => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                                   . "\r\nok", close => 1 });
fetches('/untyped', 1, 'ok', 'no type');

# many headers, long ones, names in any case
my $long = 'v' x 2000;
$up->answer('/headers' => { body => 'h', headers => [
    "X-Long: $long", (map { "x-h$_: $_" } 1 .. 60), 'X-Empty:',
    "X-High: \xe9\xff" ] });
$r = fetches('/headers', 1, 'h', 'headers');
is($r->header('X-Long'), $long, 'a long one');
is($r->header("X-H$_"), $_, "number $_") for 1, 60;
is($r->header('X-Empty'), '', 'an empty one');
is($r->header('X-High'), "\xe9\xff", 'any bytes');

done_testing();
