# With allow, deny, auth_basic and auth_request: what "satisfy" means, and
# that an injecting location needs a caller whoever let the request in.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64);

use TI::Test;

needs_module();

my $up = upstream();
my $auth = upstream('auth', { '/no' => { status => 403 },
                              '/fail' => { status => 401, headers => [
                                  'WWW-Authenticate: Other'] } });
my $alice = person('alice');

write_file('users', "joe:{PLAIN}secret\n");
redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;
        token_auth corp realm=search;

        location /all/allow/ {
            allow 127.0.0.1;
            deny  all;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /all/deny/ {
            deny all;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /any/allow/ {
            satisfy any;
            allow 127.0.0.1;
            deny  all;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /any/deny/ {
            satisfy any;
            deny all;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /any/basic/ {
            satisfy any;
            auth_basic "joe only";
            auth_basic_user_file %%TESTDIR%%/users;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /any/require/ {
            satisfy any;
            token_require $arg_ok error=403;
            deny all;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /any/inject/ {
            satisfy any;
            allow 127.0.0.1;
            deny  all;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /any/inject-deny/ {
            satisfy any;
            deny all;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /all/inject-deny/ {
            deny all;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /request/yes/ {
            auth_request /auth/yes;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /request/no/ {
            auth_request /auth/no;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /request/fail/ {
            auth_request /auth/fail;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }

        # the check itself is what token_auth says
        location /request/self/ {
            token_auth   off;
            auth_request /check;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location = /check {
            internal;
            token_auth   corp realm=check;
            proxy_pass   http://%%UPSTREAM_auth%%/yes;
        }

        location = /static-check {
            internal;
            token_auth   corp;
            return 204;
        }

        location /auth/ {
            internal;
            token_auth off;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://%%UPSTREAM_auth%%/;
        }
    }
EOF

$alice->connect('third-party');

my $basic = 'Authorization: Basic ' . encode_base64('joe:secret', '');

sub result {
    my ($uri, @opt) = @_;

    my $r = get($uri, @opt);
    my $type = eval { $r->json()->{type} } // '';

    return join ' ', $r->status(), $type =~ /([^:]+)$/ ? $1 : ();
}

my @alice = (as => $alice);
my @stranger = (as => $alice->on_device());
my @bad = (as => $alice, token => 'bad');

# --- satisfy all

is(result('/all/allow/', @alice), '200', 'all: both');
is(result('/all/allow/'), '401 token-missing', 'all: the address alone');
is(result('/all/deny/', @alice), '403', 'all: the token alone');
is(result('/all/inject-deny/', @alice), '403', 'all: injecting');

# --- satisfy any

is(result('/any/allow/'), '200', 'any: the address');
is(result('/any/allow/', @bad), '200', 'any: even with a bad token');
my $r = get('/any/allow/');
is($r->header('WWW-Authenticate'), undef, 'no challenge then');
is($r->header('Cache-Control'), undef, 'no trace of the refusal');
is(result('/any/allow/', @alice), '200', 'any: both');
is(result('/any/deny/', @alice), '200', 'any: the token');
is(result('/any/deny/') =~ /^40[13]/, 1, 'any: neither');
is(result('/any/basic/', @alice), '200', 'any: the token, not joe');
is(result('/any/basic/', headers => [$basic]), '200', 'any: joe, no token');
$r = get('/any/basic/');
is($r->status(), 401, 'any: nobody');
like(join(', ', $r->headers('WWW-Authenticate')), qr/Basic realm="joe only"/,
     'is challenged');
is(result('/any/require/?ok=1', @alice), '200', 'any: token_require');
is(result('/any/require/', @alice) =~ /^403/, 1, 'any: which fails');

# --- an injecting location needs a caller all the same

is(result('/any/inject/', @alice), '200', 'any: injecting');
is($up->last()->{headers}{authorization}, 'Bearer third-party', 'its token');
$up->forget();
for my $case ([[], '401 token-missing'], [[@bad], '401 token-invalid'],
              [[@stranger], '403 connection-required'],
              [[token => $alice->token()], '400 user-key-required'])
{
    my ($opt, $wanted) = @$case;
    my $r = get('/any/inject/', @$opt);

    is(result('/any/inject/', @$opt), $wanted,
       "any: injecting, let in by address: $wanted");
    like($r->header('WWW-Authenticate') // 'none',
         $wanted =~ /^401/ ? qr/^Bearer realm="search"/ : qr/^none$/,
         'its challenge');
    is($r->header('Cache-Control'), 'no-store', 'not stored');
}
is($up->calls(), 0, 'nothing went through without one');
is(result('/any/inject-deny/', @alice), '200', 'any: the token alone');
is(result('/any/inject-deny/') =~ /^40[13]/, 1, 'any: neither');

# --- auth_request beside it

is(result('/request/yes/', @alice), '200', 'auth_request says yes');
is($auth->last()->{headers}{authorization}, undef, 'and sees no token');
is(result('/request/yes/'), '401 token-missing', 'which does not suffice');
is(result('/request/no/', @alice), '403', 'auth_request says no');
$r = get('/request/fail/', @alice);
is($r->status() . $r->header('WWW-Authenticate'), '401Other',
   'auth_request has its own challenge');

# --- auth_request whose location has token_auth

is(result('/request/self/', @alice), '200', 'checked by a subrequest');
$r = get('/request/self/');
is($r->status(), 401, 'which refuses');
like($r->header('WWW-Authenticate'), qr/^Bearer realm="check"/,
     'with its challenge');
is(result('/request/self/', @bad) =~ /^401/, 1, 'a bad token');

done_testing();
