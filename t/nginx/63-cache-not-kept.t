# Which responses are not kept, and which are all the same.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
# a third party that says 429 is left alone otherwise
nginx_start(blocks(provider => 'throttle off;') . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
$alice->connect('token-of-alice');
my $n = 0;

# both of two requests reach the upstream
sub not_kept {
    my ($case, %answer) = @_;

    my $uri = '/n' . $n++;
    my $status = $answer{status} // 200;

    $answer{body} //= 'body' if $status != 304 && $status != 204;
    $up->answer($uri => \%answer);
    $up->forget();

    for (1, 2) {
        my $r = get($uri, as => $alice);
        is($r->status(), $status, "$case: passed on");
        is($r->header('Cache-Status'), 'token-injector; fwd=miss',
           "$case: said");
    }
    is($up->calls(), 2, "$case: fetched twice");
}

sub kept {
    my ($case, %answer) = @_;

    my $uri = '/k' . $n++;

    $up->answer($uri => { body => 'body', %answer });
    $up->forget();

    is(get($uri, as => $alice)->header('Cache-Status'),
       'token-injector; fwd=miss; stored', "$case: stored");
    my $r = get($uri, as => $alice);
    like($r->header('Cache-Status'), qr/; hit;/, "$case: a hit");
    is($r->body(), 'body', "$case: whole");
    is($up->calls(), 1, "$case: fetched once");
}

not_kept($_, status => $_) for 201, 202, 203, 204, 205, 206, 207, 300, 301,
                               302, 303, 307, 308, 400, 401, 402, 403, 404,
                               405, 409, 410, 412, 416, 422, 429, 499, 500,
                               502, 503, 504, 599;
not_kept('304', status => 304);

not_kept("$_", headers => [$_]) for
    'Set-Cookie: session=1', 'Set-Cookie: ', 'set-cookie: a=b',
    'Cache-Control: no-store', 'Cache-Control: NO-STORE',
    'cache-control: private, no-store', 'Cache-Control: no-store, max-age=9',
    'Cache-Control: max-age=9,no-store', "Cache-Control:\tno-store ",
    'Vary: *', 'Vary: Accept, *', 'Vary: Cookie', 'Vary: Authorization',
    'vary: accept, x-team', 'Vary: Origin';
not_kept('the second of two Cache-Control',
         headers => ['Cache-Control: private', 'Cache-Control: no-store']);
not_kept('the second of two Vary',
         headers => ['Vary: Accept', 'Vary: Cookie']);
not_kept('a close-delimited response', ends => 'close');

kept('nothing said');
kept("$_", headers => [$_]) for
    'Cache-Control: private', 'Cache-Control: max-age=0', 'Pragma: no-cache',
    'Cache-Control: no-cache', 'Cache-Control: must-revalidate',
    'Cache-Control: x-no-store', 'Cache-Control: max-age="no"',
    'Expires: 0', 'Expires: Thu, 01 Jan 1970 00:00:00 GMT',
    'Vary: Accept', 'Vary: Accept-Encoding, Accept-Language', 'Vary: ACCEPT',
    'Vary: ', 'X-Set-Cookie: a=b', 'ETag: W/"weak"';
kept('chunked', ends => 'chunked');

# what nginx itself makes of an upstream that fails
$up->answer('/reset' => { raw => '', reset => 1 });
is(get('/reset', as => $alice)->status(), 502, 'no response');
is(get('/reset', as => $alice)->header('Cache-Status'),
   'token-injector; fwd=miss', 'is not kept');
$up->answer('/reset' => { body => 'now' });
is(get('/reset', as => $alice)->body(), 'now', 'and asked for again');

# what is kept goes to Redis when its response has gone
wait_for(sub { @{redis('KEYS', '*:a:*')} >= 18 }, 'answers in Redis');
is(scalar(@{redis('KEYS', '*:a:*')}), 18, 'Redis has only what is kept');

done_testing();
