# token_inject where no upstream is asked: files, indexes, pages of nginx. The
# caller is judged as everywhere.

use strict;
use warnings;

use TI::Test;

needs_module();

my $alice = person('alice');
my $up = upstream();
my $long = join '', map { "line $_\n" } 1 .. 20000;

write_file('www/a.txt', "a file\n");
write_file('www/long.txt', $long);
write_file('www/dir/index.html', "an index\n");
write_file('www/list/x', '');
redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;
        root %%TESTDIR%%/www;

        token_auth    corp;
        token_inject  outlook;
        add_header    X-Result $token_result;

        location / {
        }

        location /cached/ {
            token_cache 1m;
            alias %%TESTDIR%%/www/;
        }

        location /sendfile/ {
            token_cache 1m;
            sendfile on;
            alias %%TESTDIR%%/www/;
        }

        location /list/ {
            autoindex on;
        }

        location /gif {
            empty_gif;
        }

        location /try/ {
            try_files /nothing /a.txt;
        }
    }
EOF

$alice->connect('third-party');

for my $time ('at first', 'again') {
    my $r = get('/a.txt', as => $alice);
    is($r->status() . $r->body(), "200a file\n", "a file, $time");
    is($r->header('X-Result'), 'ok', 'ok');
    is(get('/long.txt', as => $alice)->body(), $long, 'a long one');
    is(get('/dir/', as => $alice)->body(), "an index\n", 'an index');
    is(get('/dir', as => $alice)->status(), 301, 'a directory');
    like(get('/list/', as => $alice)->body(), qr{<a href="x">}, 'a list');
    is(get('/gif', as => $alice)->status(), 200, 'a content handler');
    is(get('/try/', as => $alice)->body(), "a file\n", 'try_files');
    is(get('/nothing', as => $alice)->status(), 404, 'no such file');
    is(post('/a.txt', 'x', as => $alice)->status(), 405, 'not for POST');

    for my $uri ('/cached/', '/sendfile/') {
        is(get("${uri}a.txt", as => $alice)->body(), "a file\n",
           "kept, $uri");
        is(get("${uri}long.txt", as => $alice)->body(), $long,
           'a long one');
        is(get("${uri}long.txt", as => $alice,
               headers => ['Range: bytes=5-9'])->body(), substr($long, 5, 5),
           'a part');
        is(http('HEAD', "${uri}long.txt", as => $alice)
           ->header('Content-Length'), length $long, 'its length');
    }

    for my $uri ('/a.txt', '/dir/', '/list/', '/gif', '/try/',
                 '/cached/a.txt', '/nothing')
    {
        is(get($uri)->status(), 401, "$uri needs a caller");
        is(get($uri, token => $alice->token())->status(), 400,
           'a user key');
        is(get($uri, as => $alice->on_device())->status(), 403,
           'a connection');
    }
}

secrets_absent('no log shows a secret', $alice->token(), $alice->user_key(),
               'third-party');

done_testing();
