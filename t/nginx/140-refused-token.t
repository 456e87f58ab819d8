# The third party says 401 to the token, and there is a newer one (another node
# was told before): the request goes again with that, whatever kind it is, and
# nothing of the first answer is seen.

use strict;
use warnings;

use IO::Uncompress::Gunzip qw(gunzip);

use TI::Test;
use TI::Watch;

needs_module();

# ?ends=…&first=… of the request say how the 401 ends and how long it is
my $up = upstream(sub {
    my ($request) = @_;
    my %arg = $request->{uri} =~ /(\w+)=(\w*)/g;

    return { body => '<p><!--# include virtual="/one?$args" -->, '
                     . '<!--# include virtual="/two?$args" --></p>',
             headers => ['Content-Type: text/html'] }
        if $request->{uri} =~ /^\/page\b/;

    return { status => 401, hold => $arg{h}, ends => $arg{ends} // 'length',
             body => 'refused ' x ($arg{first} // 500),
             headers => ['X-First: yes', 'Set-Cookie: first=yes',
                         'Content-Type: text/first', 'ETag: "first"',
                         'Last-Modified: Mon, 02 Jan 2023 00:00:00 GMT',
                         'X-Accel-Redirect: /sorry',
                         'WWW-Authenticate: Bearer error="invalid_token"'] }
        if ($request->{headers}{authorization} // '') =~ /old/;

    return { body => "$request->{method} " . length($request->{body})
                     . ($arg{big} ? 'x' x 2000 : '') };
});

my $mirror = upstream('mirror');

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';
write_file('tried', '');

redis_start();
nginx_start(blocks(provider => <<'PROVIDER') . <<'CONF', log_level => 'info');
    token_endpoint          http://127.0.0.1:%%PORT_nobody%%/token;
    authorization_endpoint  http://127.0.0.1:%%PORT_nobody%%/authorize;
    redirect_uri            http://127.0.0.1:%%PORT_nobody%%/back;
    client_id               me;
    client_secret_file      %%TESTDIR%%/secret;
    allow_http              on;
PROVIDER

    log_format upstreams '$request_uri $status [$upstream_status] '
                         '$token_result';
    access_log %%TESTDIR%%/upstreams.log upstreams;

    upstream kept {
        server     %%UPSTREAM%%;
        keepalive  4;
    }

    upstream two {
        server  unix:%%TESTDIR%%/nobody.sock;
        server  %%UPSTREAM%%;
    }

    proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth               corp;
        token_inject             outlook;
        client_body_buffer_size  16k;

        location / {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /kept {
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_pass          http://kept;
        }

        location /unbuffered {
            proxy_buffering  off;
            proxy_pass       http://kept;
        }

        location /streamed {
            proxy_http_version       1.1;
            proxy_request_buffering  off;
            proxy_pass               http://%%UPSTREAM%%;
        }

        location /next {
            proxy_pass  http://two;
        }

        location /intercept {
            proxy_intercept_errors  on;
            error_page              401 /sorry;
            proxy_pass              http://%%UPSTREAM%%;
        }

        location /cache {
            proxy_cache        answers;
            proxy_cache_valid  any 1m;
            add_header         X-Cached $upstream_cache_status;
            proxy_pass         http://%%UPSTREAM%%;
        }

        location /gzip {
            gzip             on;
            gzip_min_length  1;
            gzip_types       *;
            add_header       X-Added $status always;
            proxy_pass       http://%%UPSTREAM%%;
        }

        location /mirror {
            mirror               /mirrored;
            mirror_request_body  off;
            proxy_pass           http://%%UPSTREAM%%;
        }

        location = /mirrored {
            internal;
            token_auth    off;
            token_inject  off;
            proxy_pass    http://%%UPSTREAM_mirror%%;
        }

        location /tried {
            root       %%TESTDIR%%;
            try_files  /tried =404;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /page {
            ssi           on;
            token_inject  off;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /asked {
            auth_request  '/ask;h=q';
            token_inject  off;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /paged {
            error_page  503 /sorry;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location = /sorry {
            token_auth    off;
            token_inject  off;
            return 200 "sorry";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_h2%% http2;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $n = 0;
my $asks = 0;
my $last;

# a new caller, whose token is refused by a 401 that waits until there is
# another: what was sent is what say() returns
sub refused_once {
    my ($send, $gate) = @_;
    my $who = $last = person('caller' . ++$n);

    $who->connect('the-old-token');
    $up->forget();

    my $answer = $send->($who);

    $up->wait_calls($gate // 1);
    $who->connect('the-new-token');
    $up->release("g$n");
    $up->release('q') if $n == $asks;

    return $answer->();
}

sub request {
    my ($method, $uri, %opt) = @_;

    return refused_once(sub {
        my ($who) = @_;
        my $c = connection(%opt);

        $uri .= ($uri =~ /\?/ ? '&' : '?') . "h=g$n";
        $c->send(http_bytes($method, $uri, as => $who, %opt,
                            headers => ['Connection: close',
                                        @{$opt{headers} || []}]));

        return sub { $c->response(head => $method eq 'HEAD') };
    });
}

sub went_again {
    my ($name, $r, $status) = @_;
    my @tokens = map { $_->{headers}{authorization} =~ /the-(\w+)-token/ }
                     $up->requests();

    is("@tokens", 'old new', "$name: sent twice, with another token");
    is($r->status(), $status // 200, "$name: served");
    is(join(' ', map { $r->header($_) // '-' }
                     qw(X-First Set-Cookie ETag Last-Modified
                        WWW-Authenticate)),
       '- - - - -', "$name: no header of the first answer");
    unlike($r->raw(), qr/refused |text\/first/, "$name: nothing else of it");
}


# --- ways to answer, and ways to ask

for my $case (['GET' => '/get'], ['HEAD' => '/head'],
              ['the end of the connection' => '/get?ends=close'],
              ['an empty one' => '/get?first=0'],
              ['a long one' => '/get?first=50000'],
              ['a long one, unread' => '/kept?first=50000'],
              ['kept alive' => '/kept'],
              ['kept alive, chunks' => '/kept?ends=chunked'],
              ['kept alive, empty' => '/kept?first=0'],
              ['unbuffered' => '/unbuffered'],
              ['unbuffered, chunks' => '/unbuffered?ends=chunked'],
              ['unbuffered, long' => '/unbuffered?first=50000'],
              ['streamed, without a body' => '/streamed'],
              ['the second server' => '/next'],
              ['error_page' => '/intercept'],
              ['try_files' => '/tried/x'])
{
    my ($name, $uri) = @$case;
    my $r = request($name eq 'HEAD' ? 'HEAD' : 'GET', $uri);

    went_again($name, $r);
    is($r->body(), $name eq 'HEAD' ? '' : 'GET 0', "$name: its answer");
}

for my $size (0, 10, 10_000, 100_000) {
    my $r = request(POST => '/post', body => 'x' x $size);

    went_again("a body of $size", $r);
    is($r->body(), "POST $size", "a body of $size: whole");
    is(length(($up->requests())[0]{body}), $size,
       "a body of $size: as it was the first time");
}

my $r = request(POST => '/post', headers => ['Transfer-Encoding: chunked'],
                body => "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
went_again('a body in chunks', $r);
is($r->body(), 'POST 7', 'a body in chunks: whole');

$r = request(PUT => '/put', version => '1.0', body => 'x' x 40_000);
went_again('a client of HTTP/1.0', $r);
is($r->body(), 'PUT 40000', 'a client of HTTP/1.0: whole');


# --- what is around it

$r = request(GET => '/gzip?big=1', headers => ['Accept-Encoding: gzip']);
went_again('gzip', $r);
is($r->header('Content-Encoding'), 'gzip', 'gzip: once');
is($r->header('X-Added'), 200, 'gzip: headers are added to the second');
my $body = $r->body();
gunzip(\$body => \my $plain);
is(length $plain, 2005, 'gzip: whole');

$r = request(GET => '/cache/a');
went_again('proxy_cache', $r);
is($r->header('X-Cached'), 'MISS', 'proxy_cache: asked');

$r = request(GET => '/mirror');
went_again('mirror', $r);
$mirror->wait_calls(1);
is($mirror->calls(), 1, 'mirror: once');

$r = refused_once(sub {
    my ($who) = @_;
    my $c = connection();

    $c->send(http_bytes(GET => "/page?h=g$n", as => $who,
                        headers => ['Connection: close']));

    return sub { $c->response() };
}, 3);
is($r->body(), '<p>GET 0, GET 0</p>', 'SSI: both parts, at their places');
for my $part ('one', 'two') {
    is(join(' ', map { $_->{headers}{authorization} =~ /the-(\w+)-token/ }
                 grep { $_->{uri} =~ /^\/$part/ } $up->requests()),
       'old new', "SSI: part $part went again");
}

$asks = $n + 1;
$r = refused_once(sub {
    my ($who) = @_;
    my $c = connection();

    $c->send(http_bytes(GET => '/asked', as => $who,
                        headers => ['Connection: close']));

    return sub { $c->response() };
});
is($r->status(), 200, 'auth_request: the second answer is what counts');
is($up->calls(), 3, 'auth_request: of two, and then the request');

# a connection that goes on
my $c = connection();
$r = refused_once(sub {
    my ($who) = @_;

    $c->send(http_bytes(POST => "/post?h=g$n", as => $who, body => 'abc'));

    return sub { $c->response() };
});
went_again('a client that is kept alive', $r);
$c->send(http_bytes(GET => '/after', as => person('nobody')));
is($c->response()->status(), 403, 'its next request is another\'s');

SKIP: {
    skip('no curl with HTTP/2', 6)
        if `curl --version 2>/dev/null` !~ /^Features:.*\bHTTP2\b/m;

    for my $size (0, 50_000) {
        my $text = refused_once(sub {
            my ($who) = @_;
            my ($token, $key) = ($who->token(), $who->user_key());
            my $url = 'http://127.0.0.1:' . port('h2') . "/h2?h=g$n";

            write_file('body', 'x' x $size);
            write_file('curl', qq{header = "Authorization: Bearer $token"\n}
                               . qq{header = "X-User-Key: $key"\n});
            open(my $curl, '-|', 'curl', '-s', '--http2-prior-knowledge',
                 '-K', testdir() . '/curl', '--data-binary',
                 '@' . testdir() . '/body', '-w', ' %{http_version}', $url)
                or die "curl: $!\n";

            return sub { join '', <$curl> };
        });
        is($text, "POST $size 2", "HTTP/2, $size bytes");
        is($up->calls(), 2, 'sent twice');
        is(length(($up->requests())[$_]{body}), $size, 'whole') for 1;
    }
}

is((read_file('upstreams.log') =~ /^\/get\?h=g1 (.*)/m)[0],
   '200 [401 : 200] ok', '$upstream_status has both');


# --- the client goes away, the store does

$up->answer('/up' => { body => 'up' });

sub stuck {
    my ($uri) = @_;
    my $who = person('stuck' . ++$n);

    $who->connect('the-old-token');
    $up->forget();
    $c = connection();
    $c->send(http_bytes(GET => "$uri?h=stuck$n", as => $who,
                        headers => ['Connection: close']));
    $up->wait_calls(1);
    redis_pause();
    $up->release("stuck$n");

    return $c;
}

sub unstuck {
    redis_resume();
    wait_for(sub {
        get('/up', token => $last->token(jti => rand),
            user_key => $last->user_key())->status() == 200
    }, 'the store');
}

$c = stuck('/get');
is($c->response(timeout => 0.1)->error(), 'timeout', 'it waits for the store');
$c->abort();
wait_log(qr/client (?:prematurely )?closed connection|reset by peer/);
unstuck();
pass('the client is gone');

$c = stuck('/get');
$r = $c->response();
is(result($r), 'store-unavailable', 'no store: said');
is($r->header('X-First'), undef, 'and nothing of the first answer');
unstuck();

$c = stuck('/paged');
is($c->response()->body(), 'sorry', 'error_page has a page for that');
redis_resume();

secrets_absent('no log shows a secret', 'the-old-token', 'the-new-token',
               's3cret of');

done_testing();
