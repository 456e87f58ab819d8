# Refusals go through error_page like nginx's own; HEAD, other methods, other
# versions of HTTP.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice');

write_file('pages/page.html', "the page\n");
redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;
        root %%TESTDIR%%/pages;

        token_auth    corp realm=search;
        token_inject  outlook;
        proxy_intercept_errors on;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /uri/ {
            error_page 400 401 403 /page.html;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /named/ {
            error_page 400 401 403 @named;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /ok/ {
            error_page 400 401 403 =200 /page.html;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /answer/ {
            error_page 400 401 403 = @named;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /away/ {
            error_page 400 401 403 https://login.example.com/start;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /away-307/ {
            error_page 401 =307 https://login.example.com/start;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /none/ {
            error_page 401 /nothing.html;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /again/ {
            error_page 401 /again/page;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /limit/ {
            limit_except GET POST {
                deny all;
            }
            proxy_pass http://%%UPSTREAM%%;
        }

        location = /page.html {
            token_auth    off;
            token_inject  off;
        }

        location @named {
            token_auth    off;
            token_inject  off;
            add_header    X-Named yes always;
            return 418 "named\n";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_h2%% http2;
        token_auth    corp realm=search;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('third-party');

my %bad = (
    401 => {},
    400 => { token => $alice->token() },
    403 => { as => $alice->on_device() },
);

for my $status (sort keys %bad) {
    my @bad = %{$bad{$status}};

    my $r = get('/', @bad);
    is($r->status(), $status, "$status without a page");
    is($r->json()->{status}, $status, 'problem+json');
    is($r->header('Content-Length'), length $r->body(), 'its length');

    $r = get('/uri/', @bad);
    is($r->status(), $status, "$status with a page");
    is($r->body(), "the page\n", 'which is sent');
    is($r->header('Content-Type'), 'text/html', 'as what it is');

    $r = get('/named/', @bad);
    is($r->status() . $r->body(), "${status}named\n", 'a named location');
    is($r->header('X-Named'), 'yes', 'its headers');

    $r = get('/ok/', @bad);
    is($r->status() . $r->body(), "200the page\n", '=200');

    $r = get('/answer/', @bad);
    is($r->status() . $r->body(), "418named\n", "=, the location's own");

    $r = get('/away/', @bad);
    is($r->status(), 302, 'elsewhere');
    is($r->header('Location'), 'https://login.example.com/start', 'there');
    unlike($r->body(), qr/urn:/, "nginx's own body");

    $r = http('HEAD', '/', @bad);
    is($r->status(), $status, 'HEAD');
    is($r->header('Content-Type'), 'application/problem+json', 'its type');
    is(http('HEAD', '/uri/', @bad)->status(), $status, 'HEAD with a page');

    for my $method (qw(POST PUT DELETE OPTIONS PATCH)) {
        $r = http($method, '/', @bad, body => 'x' x 100000);
        is($r->status(), $status, $method);
        is($r->json()->{status}, $status, 'problem+json');
    }

    $r = get('/', @bad, version => '1.0');
    is($r->status(), $status, 'HTTP/1.0');
    is($r->json()->{status}, $status, 'problem+json');
}

is(get('/away-307/')->status(), 307, '=307 elsewhere');
my $r = get('/none/');
is($r->status(), 401, 'a page whose own location refuses');
like($r->header('WWW-Authenticate'), qr/^Bearer realm="search"/,
     'still a challenge');
is(get('/again/')->status(), 401, 'a page in the location itself');
is($up->calls(), 0, 'nothing came through');

# a refused request does not end its connection
my $c = connection();
my @r = $c->pipeline([GET => '/'], [GET => '/x', as => $alice],
                     [POST => '/', body => 'x' x 50],
                     [GET => '/y', as => $alice], [HEAD => '/']);
is(join(' ', map { $_->status() } @r), '401 200 401 200 401', 'pipelined');

# --- methods and versions that are let in

for my $method (qw(OPTIONS HEAD PUT DELETE PATCH)) {
    $r = http($method, '/', as => $alice);
    is($r->status(), 200, $method);
}
is(get('/', as => $alice, version => '1.0')->json()->{headers}{authorization},
   'Bearer third-party', 'HTTP/1.0');
is(get('/limit/', as => $alice)->status(), 200, 'limit_except');
is(get('/limit/')->status(), 401, 'has its check');
is(post('/limit/', 'x', as => $alice)->json()->{headers}{authorization},
   'Bearer third-party', 'and its token');
for my $method (qw(PUT DELETE)) {
    is(http($method, '/limit/', as => $alice)->status(), 403,
       "$method is denied");
    is(http($method, '/limit/')->status() =~ /^40[13]$/, 1,
       'to everyone');
}

# --- HTTP/2

SKIP: {
    my $curl = `curl -V 2>/dev/null`;
    skip('no curl with HTTP/2', 8) if ($curl // '') !~ /HTTP2/;

    my ($token, $key) = ($alice->token(), $alice->user_key());
    my $url = 'http://127.0.0.1:' . port('h2');
    my $h2 = sub {
        my (@options) = @_;
        return scalar `curl -s -i --http2-prior-knowledge @options`;
    };
    my @as = ("-H 'Authorization: Bearer $token'", "-H 'X-User-Key: $key'");

    my $out = $h2->("$url/");
    like($out, qr{^HTTP/2 401}, 'HTTP/2, refused');
    like($out, qr/^www-authenticate: Bearer realm="search"\r$/m, 'challenge');
    like($out, qr/"type":"urn:ngx-token-injector:token-missing"/, 'body');

    $out = $h2->(@as, "-H 'Cookie: a=b; c=d'", "$url/h2");
    like($out, qr{^HTTP/2 200}, 'HTTP/2');
    my $saw = $up->last();
    is($saw->{headers}{authorization}, 'Bearer third-party', 'its token');
    is($saw->{headers}{'x-user-key'}, undef, 'no key');
    is($saw->{headers}{cookie}, 'a=b; c=d', 'cookies');

    $h2->(@as, '-d', 'x' x 30000, "$url/post");
    is(length $up->last()->{body}, 30000, 'a body');
}

done_testing();
