# What logs and response headers show of a request that an injecting location
# judged: the stripped view, also where a variable had been asked for before.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream({
    '/502/x' => { status => 502 },
    '/ssi/x' => { headers => ['Content-Type: text/html'],
                  body => 'a <!--# include virtual="/sub/" -->' },
});
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF', log_level => 'info');

    log_format secrets "$status $uri a=[$http_authorization] "
                       "k=[$http_x_user_key] c=[$http_cookie] "
                       "s=[$cookie_session] j=[$http_x_jwt] u=[$remote_user] "
                       "m=[$mapped]";

    map $http_authorization $mapped {
        volatile;
        default $http_authorization;
    }

    map $http_x_user_key $has_key {
        default 1;
        ""      0;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%TESTDIR%%/access.log secrets;
        log_subrequest on;

        add_header X-Auth "[$http_authorization]" always;
        add_header X-Key "[$http_x_user_key]" always;
        add_header X-Cookie "[$http_cookie]" always;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /early/ {
            if ($http_authorization = "nothing") {
                return 204;
            }
            if ($http_x_user_key = "nothing") {
                return 204;
            }
            if ($has_key = 2) {
                return 204;
            }
            if ($http_cookie = "nothing") {
                return 204;
            }
            if ($mapped = "nothing") {
                return 204;
            }
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cached/ {
            token_cache 1m;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /502/ {
            proxy_intercept_errors on;
            error_page 502 /page.html;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /down/ {
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /ssi/ {
            ssi on;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /sub/ {
            proxy_pass http://%%UPSTREAM%%;
        }

        location = /page.html {
            token_auth    off;
            token_inject  off;
            root %%TESTDIR%%;
        }

        location /static/ {
            alias %%TESTDIR%%/static/;
        }

        location /cookie/ {
            token_auth      corp from=$cookie_session;
            token_user_key  $cookie_device;
            proxy_pass      http://%%UPSTREAM%%;
        }

        location /jwt/ {
            token_auth  corp from=$http_x_jwt;
            proxy_pass  http://%%UPSTREAM%%;
        }

        # asked for nothing: as nginx would
        location /open/ {
            token_auth    off;
            token_inject  off;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
EOF

write_file('page.html', "page\n");
write_file('static/x', "file\n");
$alice->connect('third-party');

my ($token, $key) = ($alice->token(), $alice->user_key());

# one request, what it answers with, and its lines in the access log
sub stripped {
    my ($name, $uri, $status, %opt) = @_;

    my $before = access_log();
    my $lines = $opt{lines} // 1;
    my $cookie = delete $opt{cookie} // '';
    my $r = http($opt{method} // 'GET', $uri, as => $alice, %opt);
    my $log;
    wait_for(sub {
        $log = substr(access_log(), length $before);
        ($log =~ tr/\n//) >= $lines;
    }, 'the access log');

    is($r->status(), $status, $name);
    is_deeply([map { $r->header($_) } qw(X-Auth X-Key X-Cookie)],
              ['[]', '[]', "[$cookie]"], "$name: add_header");
    my @wrong = grep {
        !/\ a=\[-\]\ k=\[-\]\ c=\[(?:\Q$cookie\E|-)\]\ s=\[-\]\ j=\[-\]
          \ u=\[-\]\ m=\[-?\]$/x
    } split /\n/, $log;
    is_deeply(\@wrong, [], "$name: access log");
}

for my $time ('at first', 'again') {
    stripped("$_->[0], $time", @$_[1 .. $#$_]) for (
        ['an injected request', '/', 200],
        ['a variable asked for before', '/early/', 200],
        ['kept and served', '/cached/', 200],
        ['an error page', '/502/x', 502],
        ['nothing listens', '/down/', 502],
        ['a subrequest', '/ssi/x', 200, lines => 2],
        ['a file', '/static/x', 200],
        ['no such file', '/static/y', 404],
        ['refused', '/early/', 401, token => 'bad-token'],
        ['refused by the store', '/early/', 403, user_key => new_user_key()],
        ['a body', '/early/', 200, method => 'POST', body => 'x' x 30000],
        ['cookies', '/cookie/', 200, cookie => 'a=b', headers => [
            "Cookie: a=b; session=$token; device=$key"]],
        ['a header', '/jwt/', 200, headers => ["X-Jwt: $token"]],
    );
}

my $r = get('/open/', as => $alice);
is($r->header('X-Auth'), "[Bearer $token]",
   'a location without token_inject is left alone');
wait_for(sub { access_log() =~ m{/open/ a=\[Bearer \Q$token\E\]} },
         'its line in the log');
write_file('access.log', '');

# pages that nginx makes
for my $uri ('/502/x', '/down/', '/static/y', '/', '/early/') {
    for my $what ({}, { token => 'bad-token' }, { user_key => 'short' }) {
        my $body = get($uri, as => $alice, %$what)->raw();
        my @found = grep { index($body, $_) >= 0 } $token, $key, 'bad-token',
                    $uri =~ /^\/$|early/ && !%$what ? () : 'third-party';
        is_deeply(\@found, [], "no secret in a page, $uri");
    }
}

secrets_absent('none in a log at info', $token, $key, 'third-party',
               'bad-token');

done_testing();
