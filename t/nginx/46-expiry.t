# Who is remembered is not let in for longer: the caller's token and the third
# party's are looked at in every request.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks(store => 'local_valid 1h;') . <<'CONF');

    token_issuer lenient {
        issuer     https://login.example.com/;
        audience   api://search;
        keys_file  %%TESTDIR%%/corp.jwks;
        leeway     1h;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_inject outlook;

        location / {
            token_auth  corp;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /cached {
            token_auth   corp;
            token_cache  1h;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /lenient {
            token_auth  lenient;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /none {
            token_auth    corp;
            token_inject  off;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');


# --- the caller's

my $short = $alice->token(exp => time() + 2);

for my $uri ('/', '/cached', '/lenient', '/none') {
    is(result(get($uri, as => $alice, token => $short)), 'ok',
       "$uri: good for two seconds");
}
is(result(get('/', as => $alice, token => $short)), 'ok', 'and remembered');

wait_for(sub { result(get('/', as => $alice, token => $short)) ne 'ok' },
         'the end of a token');

for my $uri ('/', '/cached', '/none') {
    refused(get($uri, as => $alice, token => $short), 'token-expired',
            "$uri: over");
}
is(result(get('/lenient', as => $alice, token => $short)), 'ok',
   'another policy allows for slow clocks');
is(result(get('/', as => $alice)), 'ok', 'another token is good');


# --- the third party's

my $bob = person('bob');
$bob->connect('token-of-bob', expires => time() + 2);

is(result(get('/', as => $bob)), 'ok', 'good for two seconds');
is(result(get('/cached/b', as => $bob)), 'ok', 'and an answer is kept');
wait_for(sub { result(get('/', as => $bob)) ne 'ok' }, 'the end of a token');
refused(get('/', as => $bob), 'reconnect-required', 'over');

$up->forget();
is(get('/cached/b', as => $bob)->header('Cache-Status') =~ /hit/, 1,
   'what it fetched is good for its own time');
refused(get('/cached/c', as => $bob), 'reconnect-required', 'nothing new');
is($up->calls(), 0, 'and nothing is sent with it');

$bob->connect('token-2-of-bob');
is(get('/', as => $bob)->json()->{headers}{authorization},
   'Bearer token-2-of-bob', 'a new one is used at once');

done_testing();
