# Who else a request reaches once an injecting location has judged it: none
# of them sees the caller's secrets or the third party's token.

use strict;
use warnings;

use TI::Test;

needs_module();

my $html = sub {
    return { status => 200, headers => ['Content-Type: text/html'],
             body => $_[0] };
};

my $other = upstream('other');
my $up = upstream({
    '/uri/x' => { status => 502 },
    '/named/x' => { status => 502 },
    '/second/x' => { status => 502 },
    '/accel/x' => { headers => ['X-Accel-Redirect: /other/accel'] },
    '/accel-named/x' => { headers => ['X-Accel-Redirect: @other'] },
    '/accel-second/x' => { headers => ['X-Accel-Redirect: /calendar/'] },
    '/ssi/x' => $html->('a <!--# include virtual="/other/ssi" --> b'),
    '/ssi/two' => $html->('<!--# include virtual="/calendar/" -->'),
    '/add/x' => $html->('a'),
    '/cut/x' => { status => 200, body => 'x' x 1000, cut => 200 },
});
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    token_provider calendar {
        store vault;
    }

    log_subrequest on;

    server {
        listen 127.0.0.1:%%PORT%%;

        proxy_set_header X-Sees "$http_authorization $http_x_user_key";
        proxy_intercept_errors on;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /uri/ {
            error_page 502 /other/uri;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /named/ {
            error_page 502 @other;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /refused/ {
            error_page 400 401 403 = /other/refused;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /refused-named/ {
            error_page 400 401 403 = @other;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /down/ {
            error_page 502 /other/down;
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /down-named/ {
            error_page 502 @other;
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /down-second/ {
            error_page 502 /calendar/;
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /second/ {
            error_page 502 /calendar/;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /try/ {
            root %%TESTDIR%%;
            try_files /nothing /other/try;
        }

        location /try-named/ {
            root %%TESTDIR%%;
            try_files /nothing @other;
        }

        location /try-second/ {
            root %%TESTDIR%%;
            try_files /nothing /calendar/;
        }

        location /accel/ {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /accel-named/ {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /ssi/ {
            ssi on;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /add/ {
            add_before_body /other/before;
            add_after_body  /other/after;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /mirror/ {
            mirror /other/mirror;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /auth/ {
            auth_request /other/auth;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /post/ {
            post_action /other/post;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /calendar/ {
            token_inject calendar;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /other/ {
            token_auth    off;
            token_inject  off;
            proxy_pass    http://%%UPSTREAM_other%%;
        }

        location @other {
            token_auth    off;
            token_inject  off;
            proxy_pass    http://%%UPSTREAM_other%%;
        }
    }
EOF

$alice->connect('third-party');
$alice->connect('for-calendar', provider => 'calendar');

my @secrets = ($alice->token(), $alice->user_key(), 'third-party',
               'for-calendar');

sub shows {
    my ($request, @what) = @_;

    my $all = JSON::PP->new->encode($request->{raw});
    return grep { index($all, $_) >= 0 } @what;
}

# a request that reaches the other upstream as well, n times
sub reaches {
    my ($name, $uri, $n, %opt) = @_;

    $_->forget() for $up, $other;
    my $r = http($opt{method} // 'GET', $uri, as => $alice, %opt);

    wait_for(sub { $other->calls() >= $n }, "the other upstream, $name");
    is($other->calls(), $n, "$name: reached");
    is_deeply([map { shows($_, @secrets) } $other->requests()], [],
              "$name: sees no secret");
    is_deeply([map { $_->{headers}{authorization} } $other->requests()],
              [(undef) x $n], "$name: no Authorization at all");
    is_deeply([map { shows($_, @secrets[0, 1]) } $up->requests()], [],
              "$name: nor does the third party see the caller's");

    return $r;
}

for my $case (['error_page, URI', '/uri/x'], ['error_page, named', '/named/x'],
              ['nothing listens, URI', '/down/x'],
              ['nothing listens, named', '/down-named/x'],
              ['try_files', '/try/x'], ['try_files, named', '/try-named/x'],
              ['X-Accel-Redirect', '/accel/x'],
              ['X-Accel-Redirect, named', '/accel-named/x'],
              ['SSI', '/ssi/x'], ['mirror', '/mirror/x'],
              ['auth_request', '/auth/x'], ['post_action', '/post/x'])
{
    # the second time from what is remembered
    reaches("$case->[0], $_", $case->[1], 1) for 'at first', 'again';
}
reaches('additions', '/add/x', 2);

for my $uri ('/refused/x', '/refused-named/x') {
    reaches("refused, no key, $uri", $uri, 1, user_key => undef);
    reaches("refused, another device, $uri", $uri, 1,
            user_key => new_user_key());
    reaches("refused, a bad token, $uri", $uri, 1,
            token => $alice->token() . 'AAAA');
}

for my $case (['error_page', '/uri/x'], ['nothing listens', '/down/x'],
              ['mirror', '/mirror/x'], ['try_files', '/try/x'])
{
    reaches("a body, $case->[0]", $case->[1], 1, method => 'POST',
            body => 'b' x 20000);
}


# --- a second injecting location judges the original request

for my $case (['error_page', '/second/x'],
              ['nothing listens', '/down-second/x'],
              ['try_files', '/try-second/x'],
              ['X-Accel-Redirect', '/accel-second/x'], ['SSI', '/ssi/two'])
{
    my ($name, $uri) = @$case;

    for my $time ('at first', 'again') {
        $up->forget();
        my $r = get($uri, as => $alice);
        my ($seen) = grep { $_->{uri} eq '/calendar/' } $up->requests();

        ok($seen, "$name: a second injecting location, $time")
            or diag($r->raw());
        is($seen->{headers}{authorization}, 'Bearer for-calendar',
           "$name: sees its own token");
        is_deeply([shows($seen, @secrets[0 .. 2])], [],
                  "$name: and nothing else");
    }
}

# it checks for itself: the first one's verdict is not its own
my $bob = person('bob');
$bob->connect('for-bob');
$up->forget();
is(get('/second/x', as => $bob)->status(), 403,
   'whose connection the caller may lack');
is((grep { $_->{uri} eq '/calendar/' } $up->requests()) + 0, 0,
   'and hears nothing then');


# --- a client that goes away, an upstream that does

$up->forget();
get('/cut/x', as => $alice);
is($up->last()->{headers}{authorization}, 'Bearer third-party', 'cut short');

secrets_absent('no log shows any of it', @secrets, 'for-bob');

done_testing();
