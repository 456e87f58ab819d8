# The injected request where nginx sends it more than once, or without the
# client: proxy_next_upstream, proxy_cache and its update in the background.

use strict;
use warnings;

use TI::Test;

needs_module();

my $one = upstream('one', { '*' => { status => 503 } });
my $n = 0;
my $two = upstream('two', sub {
    my ($request) = @_;
    return { status => 200, headers => ['Cache-Control: max-age=1'],
             body => ++$n . " $request->{headers}{authorization}" };
});
my $alice = person('alice');
my $bob = person('bob');

redis_start();
nginx_start(blocks() . <<'EOF');

    upstream both {
        server %%UPSTREAM_one%%;
        server %%UPSTREAM_two%%;
    }

    upstream dead {
        server unix:%%TESTDIR%%/nobody.sock;
        server 127.0.0.1:%%PORT_nobody%%;
        server %%UPSTREAM_two%%;
    }

    proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location /next/ {
            proxy_next_upstream error http_503;
            proxy_pass http://both;
        }

        location /dead/ {
            proxy_pass http://dead;
        }

        location /cache/ {
            proxy_cache       answers;
            proxy_cache_key   $token_user$uri;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            add_header        X-Cached $upstream_cache_status;
            proxy_pass        http://%%UPSTREAM_two%%;
        }

        location /if/ {
            if ($arg_if) {
                set $nothing 1;
            }
            proxy_cache       answers;
            proxy_cache_key   $token_user$uri;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            add_header        X-Cached $upstream_cache_status;
            proxy_pass        http://%%UPSTREAM_two%%;
        }
    }
EOF

$alice->connect('of-alice');
$bob->connect('of-bob');

for my $case ([GET => '/next/'], [POST => '/dead/', body => 'x' x 20000],
              [GET => '/dead/'], [PUT => '/dead/', body => 'x'])
{
    my ($method, $uri, %opt) = @$case;
    my $r = http($method, $uri, as => $alice, %opt);
    is($r->status(), 200, "$method $uri");
    like($r->body(), qr/^\d+ Bearer of-alice$/, 'the token, once');
}
ok((grep { $_->{headers}{authorization} eq 'Bearer of-alice' }
    $one->requests()) == $one->calls(), 'the first upstream saw the same');

for my $uri ('/cache/a', '/if/a?if=1', '/if/b') {
    my $r = get($uri, as => $alice);
    like($r->body(), qr/ Bearer of-alice$/, "$uri");
    is($r->header('X-Cached'), 'MISS', 'nginx has it not');
    is(get($uri, as => $alice)->body(), $r->body(), 'now it has');
    like(get($uri, as => $bob)->body(), qr/ Bearer of-bob$/,
         'the caller is in its key');

    $two->forget();
    my $stale;
    wait_for(sub {
        $stale = get($uri, as => $alice);
        $stale->header('X-Cached') eq 'STALE';
    }, 'the answer to grow old');
    is($stale->body(), $r->body(), 'a stale one is served');
    $two->wait_calls(1);
    is_deeply([map { $_->{headers}{authorization} } $two->requests()],
              ['Bearer of-alice'], 'updated with the right token');
    is_deeply([grep { index(JSON::PP->new->encode($_->{raw}),
                            $alice->user_key()) >= 0 } $two->requests()],
              [], 'and no user key');
}

secrets_absent('no log shows them', 'of-alice', 'of-bob', $alice->token(),
               $alice->user_key());

done_testing();
