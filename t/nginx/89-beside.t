# What an operator may put beside token_inject: "if" works; slice and
# proxy_cache have no place there, and leak nothing where they are used.

use strict;
use warnings;

use MIME::Base64 ();

use TI::Test;
use TI::Watch;

needs_module();

# a third party that refuses what comes without its token
my $up = upstream(sub {
    my ($request) = @_;
    my $authorization = $request->{headers}{authorization} // '';

    return undef if $request->{uri} !~ m{^/(slice|stale)/};

    return { status => 401, body => 'not without a token' }
        if $authorization ne 'Bearer third-party';

    my ($begin, $end) = ($request->{headers}{range} // '')
                        =~ /^bytes=(\d+)-(\d+)$/
        or return { body => 'y' x 30,
                    headers => ['Cache-Control: max-age=1',
                                'X-Time: ' . $request->{time}] };
    $end = 29 if $end > 29;

    return { status => 206, body => 'y' x ($end - $begin + 1), headers => [
        "Content-Range: bytes $begin-$end/30", 'ETag: "x"'] };
});
my $alice = person('alice');
my $mallory = person('mallory');

write_file('users', "ann:{PLAIN}secret\n");
redis_start();
# what "if" compares is printed at debug, or with rewrite_log
nginx_start(blocks() . <<'EOF', log_level => 'info');

    proxy_cache_path %%TESTDIR%%/cache keys_zone=pages:1m;

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location /if/ {
            token_cache  5m;
            set          $kind plain;

            if ($arg_kind = return) {
                return   204;
            }
            if ($arg_kind = set) {
                set      $kind set;
            }
            if ($arg_kind = header) {
                add_header X-If yes;
            }
            if ($arg_kind = other) {
                proxy_pass http://%%UPSTREAM%%;
            }
            if ($http_x_break) {
                break;
            }

            proxy_set_header X-Kind $kind;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /basic/ {
            token_auth        corp from=$cookie_session;
            auth_basic        staff;
            auth_basic_user_file %%TESTDIR%%/users;
            proxy_pass        http://%%UPSTREAM%%;
        }

        location /no-headers/ {
            proxy_pass_request_headers off;
            proxy_pass        http://%%UPSTREAM%%;
        }

        location /capture/ {
            if ($http_authorization ~ "^Bearer (.*)\.") {
                set           $copy $1;
            }
            proxy_set_header  X-Copy $copy;
            proxy_pass        http://%%UPSTREAM%%;
        }

        location /slice/ {
            slice             10;
            proxy_set_header  Range $slice_range;
            proxy_pass        http://%%UPSTREAM%%;
        }

        location /stale/ {
            proxy_cache       pages;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            proxy_cache_key   $request_uri$token_user;
            proxy_pass        http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('third-party');

my @secrets = ($alice->token(), $alice->user_key());


# --- if

for my $kind ('none', 'set', 'header', 'other') {
    for my $expected ('fwd=miss; stored', 'hit') {
        my $r = get("/if/x?kind=$kind", as => $alice);

        is($r->status(), 200, "if, $kind");
        is($r->json()->{headers}{authorization}, 'Bearer third-party',
           'the third party\'s token');
        like($r->header('Cache-Status'), qr/; $expected/, "a $expected");
        is($r->json()->{headers}{'x-kind'}, $kind eq 'set' ? 'set' : 'plain',
           'what "set" made') if $kind ne 'other';
        is($r->header('X-If'), $kind eq 'header' ? 'yes' : undef,
           'what add_header made');
    }

    is(get("/if/y?kind=$kind")->status(), 401, 'no token is refused');
    is(get("/if/y?kind=$kind", as => $mallory)->status(), 403,
       'nor is anybody let in without a connection');
}

is(get('/if/x?kind=return', as => $alice)->status(), 204,
   'return is rewrite\'s, before any access check');
is(get('/if/z', as => $alice, headers => ['X-Break: 1'])
   ->json()->{headers}{authorization}, 'Bearer third-party', 'break');


# --- auth_basic, proxy_pass_request_headers, the operator's own copies

my @ann = (headers => ['Cookie: session=' . $alice->token(),
                       'Authorization: Basic ' . MIME::Base64::encode(
                           'ann:secret', '')]);
is(get('/basic/x', user_key => $alice->user_key(), @ann)->status(), 401,
   'auth_basic never succeeds');
is(get('/no-headers/x', as => $alice)->json()->{headers}{authorization},
   undef, 'without headers there is no token');
is(get('/capture/x', as => $alice)->json()->{headers}{'x-copy'},
   $alice->token() =~ s/\.[^.]*$//r, 'a capture is the operator\'s own');


# --- slice: the first has the token, the next are not this module's to judge

$up->forget();
my $r = get('/slice/x', as => $alice);
my @slices = $up->requests();

is($slices[0]{headers}{authorization}, 'Bearer third-party',
   'the first slice carries the token');
is($slices[1]{headers}{authorization}, undef, 'the second goes without');
is(scalar(@slices), 2, 'and the third party refuses it');
ok($r->truncated() || $r->error(), 'which ends the response');


# --- proxy_cache with a background update

$r = get('/stale/x', as => $alice);
is($r->status(), 200, 'proxy_cache, fetched');
wait_for(sub { get('/stale/x', as => $alice);
               $up->calls() >= 4 }, 'a background update', 10);

my @updates = grep { $_->{uri} eq '/stale/x' } $up->requests();
is_deeply([map { $_->{headers}{authorization} } @updates],
          [('Bearer third-party') x @updates],
          'a background update carries the token of who caused it');
is(get('/stale/x', as => $mallory)->status(), 403,
   'who has no connection is refused, cached or not');


# --- and nothing leaks in any of it

my $seen = JSON::PP->new->encode([$up->requests()]);
is(index($seen, $_), -1, 'no secret of the caller went out') for @secrets;
secrets_absent('or into a log', 'third-party', @secrets);

done_testing();
