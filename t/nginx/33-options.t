# OPTIONS is judged like any other method, and so are those that few people
# think of; what a configuration says about preflights, it says by itself.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream({ '/502/x' => { status => 502 } });
my $other = upstream('other');
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOT');

    server {
        listen 127.0.0.1:%%PORT%%;

        location /auth/ {
            token_auth  corp;
            token_claim_header X-User $token_claim_sub;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /inject/ {
            token_auth    corp;
            token_inject  outlook;
            token_cache   1m;
            add_header    X-Cache $token_cache_status always;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /require/ {
            token_auth     corp;
            token_require  $token_claim_admin error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /preflight/ {
            if ($request_method = OPTIONS) {
                add_header Access-Control-Allow-Origin  $http_origin;
                add_header Access-Control-Allow-Headers Authorization;
                return 204;
            }

            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /limit/ {
            token_auth    corp;
            token_inject  outlook;
            limit_except GET {
                deny all;
            }
            proxy_pass    http://%%UPSTREAM%%;
        }

        # what is said for some methods holds for the token too
        location /limit-any/ {
            token_auth  corp;
            satisfy     any;
            limit_except OPTIONS {
                deny all;
            }
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /page/ {
            token_auth    corp;
            token_inject  outlook;
            error_page    401 403 = /page;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /named/ {
            token_auth    corp;
            token_inject  outlook;
            error_page    401 403 = @page;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /guarded/ {
            token_auth    corp;
            error_page    401 = /auth/page;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location = /page {
            proxy_pass http://%%UPSTREAM_other%%;
        }

        location @page {
            proxy_pass http://%%UPSTREAM_other%%;
        }

        location /502/ {
            token_auth    corp;
            proxy_intercept_errors on;
            error_page    502 /page;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /mirror/ {
            mirror      /auth/mirror;
            proxy_pass  http://%%UPSTREAM_other%%;
        }

        location /file/ {
            token_auth  corp;
            alias       %%TESTDIR%%/pages/;
        }

        location /return/ {
            token_auth  corp;
            return      200 "not judged: rewrite comes first\n";
        }
    }
EOT

write_file('pages/x', "file\n");
$alice->connect('third-party');

my @preflight = ('Origin: https://app.example.com',
                 'Access-Control-Request-Method: GET',
                 'Access-Control-Request-Headers: authorization, x-user-key');

my @methods = qw(OPTIONS PUT DELETE PATCH POST HEAD PROPFIND MKCOL COPY MOVE
                 LOCK UNLOCK PROPPATCH SEARCH QUERY X-METHOD);

# --- refused without a token, whatever the method

for my $method (@methods) {
    for my $uri (qw(/auth/x /inject/x /require/x /limit/x /file/x)) {
        my $r = http($method, $uri);
        is($r->status(), 401, "$method $uri without a token")
            or diag($r->raw());
        is(http($method, $uri, token => 'bad')->status(), 401,
           'with a bad one');
        is(http($method, $uri, token => jwt({ exp => 1 }))->status(), 401,
           'with an old one');
    }
}
for my $uri ('/auth/x', '/inject/x', '/require/x', '/limit/x', '/file/x') {
    my $r = http('OPTIONS', $uri, headers => \@preflight);
    is($r->status(), 401, "a preflight, $uri");
    is($r->header('Access-Control-Allow-Origin'), undef,
       'is told nothing it could go by');
}
is(http('OPTIONS', '*')->status(), 400, 'OPTIONS * is nothing to nginx');
is($up->calls(), 0, 'nothing went through');

# --- and with one it goes through, as the caller's

for my $method (@methods) {
    my @as = (as => $alice, headers => ['X-User: root']);

    is(http($method, '/auth/x', @as)->status(), 200, "$method, a good one");
    is($up->last()->{method}, $method, 'as it came');
    is($up->last()->{headers}{'x-user'}, 'alice', 'says who calls');

    is(http($method, '/inject/x', @as)->status(), 200, "$method, injecting");
    is($up->last()->{method}, $method, 'as it came');
    is($up->last()->{headers}{authorization}, 'Bearer third-party',
       'the right token');

    is(http($method, '/require/x', @as)->status(), 403,
       "$method, token_require");
}
is(http('OPTIONS', '/require/x', token => jwt({ admin => \1 }))->status(),
   200, 'token_require, passed');
is(http('OPTIONS', '/inject/x', as => $alice->on_device())->status(), 403,
   'no connection');
is(http('OPTIONS', '/inject/x', token => $alice->token())->status(), 400,
   'no user key');

# --- never from the cache, never into it

$up->forget();
for my $method ('OPTIONS', 'SEARCH', 'X-METHOD') {
    is(http($method, '/inject/kept', as => $alice)->header('X-Cache'),
       'BYPASS', "$method is not kept") for 1 .. 2;
}
is($up->calls(), 6, 'asked each time');
is(get('/inject/kept', as => $alice)->header('X-Cache'), 'MISS',
   'nor what a GET gets');
is(get('/inject/kept', as => $alice)->header('X-Cache'), 'HIT', 'which is');
is(http($_, '/inject/kept', as => $alice)->header('X-Cache'), 'BYPASS',
   "nor does $_ get that") for 'OPTIONS', 'SEARCH', 'X-METHOD';

# --- what a configuration answers itself goes nowhere

$up->forget();
for my $opt ([], [as => $alice], [token => 'bad']) {
    my $r = http('OPTIONS', '/preflight/x', @$opt, headers => \@preflight);
    is($r->status(), 204, 'answered by nginx');
    is($r->header('Access-Control-Allow-Origin'), 'https://app.example.com',
       'as configured');
}
is($up->calls(), 0, 'the upstream heard nothing');
is(get('/preflight/x', headers => \@preflight)->status(), 401,
   'what is not a preflight needs a token');
is(http($_, '/preflight/x', headers => ['X-HTTP-Method-Override: OPTIONS'])
   ->status(), 401, "$_ that would rather be OPTIONS") for qw(GET POST);
is(http('options', '/preflight/x')->status(), 400,
   'nginx knows no methods in small letters');
is(get('/preflight/x', as => $alice)->status(), 200, 'a good one');

# --- limit_except

$up->forget();
is(http('OPTIONS', '/limit/x', as => $alice)->status(), 403,
   'limit_except: a token is not enough');
is(http('OPTIONS', '/limit/x')->status(), 401, 'and none is too little');
is(get('/limit/x')->status(), 401, 'the method that is allowed needs one');
is(http('OPTIONS', '/limit-any/x')->status(), 401,
   'limit_except OPTIONS lets nobody in');
is($up->calls(), 0, 'nothing went through');
is(get('/limit/x', as => $alice)->status(), 200, 'with both');
is(http('OPTIONS', '/limit-any/x', as => $alice)->status(), 200,
   'the token lets in');
like(http('PUT', '/limit-any/x')->status(), qr/^40[13]$/,
     'other methods: neither');

# --- pages for refusals

for my $uri ('/page/x', '/named/x') {
    for my $opt ([], [token => 'bad'], [as => $alice->on_device()]) {
        $_->forget() for $up, $other;
        my $r = http('OPTIONS', $uri, @$opt, headers => \@preflight);
        is($r->status(), 200, "$uri: the page") or diag($r->raw());
        is($up->calls(), 0, 'what was guarded is not reached');
        is($other->calls(), 1, 'the page is');
        is($other->last()->{headers}{authorization}, undef, 'no token there');
    }
}
$up->forget();
is(http('OPTIONS', '/guarded/x')->status(), 401,
   'a page that is guarded itself');
is($up->calls(), 0, 'nothing went through');
is(http('OPTIONS', '/502/x', token => $alice->token())->status(), 502,
   'a page for a failure');

# --- other ways in

$_->forget() for $up, $other;
is(http('OPTIONS', '/mirror/x')->status(), 200, 'a mirror beside');
$other->wait_calls(1);
is($up->calls(), 0, 'is not let in without a token');
is(http($_, '/auth/x', as => $alice)->status(), 405, "$_ is nginx's to refuse")
    for qw(TRACE CONNECT);
is(http($_, '/auth/x')->status(), 405, "$_ likewise without a token")
    for qw(TRACE CONNECT);
is($up->calls(), 0, 'and goes nowhere');
like(http('OPTIONS', '/file/x', token => $alice->token())->status(),
     qr/^405$/, 'a file has no options');
is(http('OPTIONS', '/return/x')->status(), 200,
   '"return" comes before any access check, as ever');
my $c = connection();
my @r = $c->pipeline(['OPTIONS', '/auth/1'],
                     ['OPTIONS', '/auth/2', token => $alice->token()],
                     ['OPTIONS', '/auth/3']);
is(join(' ', map { $_->status() } @r), '401 200 401',
   'none stands for another on one connection');

done_testing();
