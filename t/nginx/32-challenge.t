# What a refusal asks for: WWW-Authenticate as RFC 6750 and RFC 9728 have it.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64);

use TI::Test;

needs_module();

my $up = upstream({ '/401' => { status => 401, headers => [
                        'WWW-Authenticate: Upstream realm="theirs"'] } });
my $alice = person('alice');
my $url = 'https://search.example.com/.well-known/oauth-protected-resource';

define(URL => $url);
write_file('users', "joe:{PLAIN}secret\n");
redis_start();
nginx_start(blocks() . <<'EOT');

    token_provider team {
        store  vault;
        allow  groups=red;
    }

    token_provider app {
        store  vault;
        grant  client_credentials;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        large_client_header_buffers 4 16k;

        location /plain/ {
            token_auth  corp;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /realm/ {
            token_auth  corp "realm=the search, a=b";
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /realm/inner/ {
            token_auth  corp realm=inner;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /metadata/ {
            token_auth  corp resource_metadata=%%URL%%;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /both/ {
            token_auth     resource_metadata=%%URL%%?a=b&c=%20 corp realm=all;
            token_require  $arg_one error=401;
            token_require  $arg_two error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /inject/ {
            token_auth    corp realm=all resource_metadata=%%URL%%;
            token_inject  team;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /app/ {
            token_inject   app;
            token_require  $arg_one error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /page/ {
            token_auth  corp resource_metadata=%%URL%%;
            token_require $arg_two error=403;
            error_page  401 403 /sorry;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location = /sorry {
            return 200 "sorry\n";
        }

        location /basic/ {
            satisfy     any;
            auth_basic  "joe only";
            auth_basic_user_file %%TESTDIR%%/users;
            token_auth  corp realm=all resource_metadata=%%URL%%;
            token_require $arg_two error=403;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /deny/ {
            satisfy     any;
            deny        all;
            token_auth  corp realm=all;
            token_require $arg_two error=403;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /allow/ {
            satisfy     any;
            allow       127.0.0.1;
            deny        all;
            token_auth  corp realm=all;
            token_require $arg_two error=403;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /upstream/ {
            token_auth  corp realm=ours;
            proxy_pass  http://%%UPSTREAM%%/401;
        }

        location /check/ {
            auth_request /both/check;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
EOT

$alice->connect('third-party', provider => 'team');

my $good = $alice->token();
my $old = jwt({ exp => 1 });
my $forged = jwt({}, key => key('RS256', 'eve'));

my %error = (
    invalid => 'error="invalid_token", '
               . 'error_description="the token is not valid"',
    expired => 'error="invalid_token", '
               . 'error_description="the token has expired"',
    scope => 'error="insufficient_scope", error_description='
             . '"the token does not suffice for this request"',
);
my %of = (
    '/plain/' => '',
    '/realm/' => 'realm="the search, a=b"',
    '/realm/inner/' => 'realm="inner"',
    '/metadata/' => "resource_metadata=\"$url\"",
    '/both/?one=1&two=1' => 'realm="all", '
                            . "resource_metadata=\"$url?a=b&c=%20\"",
    '/inject/' => "realm=\"all\", resource_metadata=\"$url\"",
);

sub challenged {
    my ($name, $status, $wanted, $r) = @_;

    is($r->status(), $status, $name);
    is_deeply([$r->headers('WWW-Authenticate')], $wanted, "$name: challenge");
    is(scalar(grep { /[^\x20-\x7e]/ } $r->headers('WWW-Authenticate')), 0,
       'in ASCII');
}

sub bearer { return 'Bearer' . (@_ ? ' ' . join(', ', @_) : '') }

# --- the caller's token, everywhere

for my $uri (sort keys %of) {
    my @of = grep { length } $of{$uri};

    challenged("$uri without a token", 401, [bearer(@of)], get($uri));
    challenged("$uri, another scheme", 401, [bearer(@of)],
               get($uri, headers => ['Authorization: Basic YTpi']));
    challenged("$uri, an empty one", 401, [bearer(@of)],
               get($uri, headers => ['Authorization: Bearer ']));
    challenged("$uri, no token at all", 401, [bearer(@of, $error{invalid})],
               get($uri, token => 'x'));
    challenged("$uri, a forged one", 401, [bearer(@of, $error{invalid})],
               get($uri, token => $forged));
    challenged("$uri, another issuer's", 401, [bearer(@of, $error{invalid})],
               get($uri, token => jwt({ iss => 'https://evil.example/' })));
    challenged("$uri, for another audience", 401,
               [bearer(@of, $error{invalid})],
               get($uri, token => jwt({ aud => 'other' })));
    challenged("$uri, an old one", 401, [bearer(@of, $error{expired})],
               get($uri, token => $old));
    challenged("$uri, by $_", 401, [bearer(@of)], http($_, $uri))
        for qw(HEAD POST OPTIONS DELETE);
    my $r = get($uri, as => $alice);
    next if $uri eq '/inject/';
    challenged("$uri, a good one", 200, [], $r);
}

# --- accepted, yet not for this

my @both = ($of{'/both/?one=1&two=1'});
challenged('token_require', 401, [bearer(@both)],
           get('/both/?two=1', token => $good));
challenged('token_require error=403', 403, [bearer(@both, $error{scope})],
           get('/both/?one=1', token => $good));
challenged('both: in their order', 401, [bearer(@both)],
           get('/both/', token => $good));
challenged('a segment', 403, [], get('/inject/', as => $alice));
challenged('no user key', 400, [], get('/inject/',
           token => $alice->token(groups => 'red')));
challenged('no connection', 403, [], get('/inject/',
           as => $alice->on_device(),
           token => $alice->token(groups => 'red')));
challenged('all is well', 200, [], get('/inject/', as => $alice,
           token => $alice->token(groups => 'red')));
challenged('an application, nobody\'s realm', 403, [bearer($error{scope})],
           get('/app/'));

# --- beside others

my $basic = 'Basic realm="joe only"';
my $joe = 'Authorization: Basic ' . encode_base64('joe:secret', '');
my @all = ('realm="all"', "resource_metadata=\"$url\"");

sub both {
    my ($name, $status, $wanted, $r) = @_;

    is($r->status(), $status, $name);
    is_deeply([sort $r->headers('WWW-Authenticate')], [sort @$wanted],
              "$name: challenges");
}

both('either will do', 401, [$basic, bearer(@all)], get('/basic/'));
both('neither does', 401, [$basic, bearer(@all, $error{invalid})],
     get('/basic/', token => 'bad'));
both('not joe', 401, [$basic, bearer(@all)],
     get('/basic/', headers => ['Authorization: Basic YTpi']));
both('a caller who does not suffice', 401,
     [$basic, bearer(@all, $error{scope})], get('/basic/', token => $good));
both('a caller', 200, [], get('/basic/?two=1', token => $good));
both('joe', 200, [], get('/basic/', headers => [$joe]));
like(get('/deny/', token => $good)->status(), qr/^403$/, 'nobody at all');
is_deeply([get('/deny/', token => $good)->headers('WWW-Authenticate')],
          [bearer('realm="all"', $error{scope})], 'is told what might do');
both('let in by address', 200, [], get('/allow/'));
both('let in by address, rejected', 200, [], get('/allow/', token => $good));
both('let in by address, a bad token', 200, [],
     get('/allow/', token => 'bad'));
both('the upstream\'s own', 401, ['Upstream realm="theirs"'],
     get('/upstream/', token => $good));
both('through auth_request', 401, [bearer(@both)], get('/check/?one=1'));
both('through auth_request, a bad token', 401,
     [bearer(@both, $error{invalid})], get('/check/?one=1', token => 'bad'));

my $r = get('/page/');
is($r->body() . join('', $r->headers('WWW-Authenticate')),
   "sorry\n" . bearer("resource_metadata=\"$url\""), 'with a page');
$r = get('/page/', token => $good);
is($r->body() . join('', $r->headers('WWW-Authenticate')),
   "sorry\n" . bearer("resource_metadata=\"$url\"", $error{scope}),
   'and with 403');

# --- no secret, nothing that a caller said

for my $token ($forged, $old, 'bad-token', "a\".b\".c", 'x' x 9000) {
    my $r = get('/both/?one=1', token => $token);
    unlike($r->raw(), qr/\Q$token\E|eve|alice|kid|signature/,
           'no byte of the token comes back');
}
my %seen;
for my $bad ($forged, 'bad', jwt({ iss => 'x' }), jwt({ aud => 'x' }),
             jwt({ nbf => time() + 1000 }), jwt({ sub => '' }), 'x' x 9000)
{
    $seen{get('/both/', token => $bad)->header('WWW-Authenticate')} = 1;
}
is(scalar(keys %seen), 1, 'one answer for all that is not valid');

# --- what "nginx -t" says

sub checked {
    my ($name, $arg, $message) = @_;

    my ($code, $out) = nginx_test(blocks() . "server {\n"
        . "listen 127.0.0.1:%%PORT%%;\ntoken_auth corp '$arg';\n}");
    my ($got) = $out =~ /^nginx: \[emerg\] (.*?) in \S+:\d+$/m;

    is($got, $message, $name) or diag($out);
    is($code, defined $message ? 1 : 0, "$name: the verdict");
}

for my $good ($url, 'http://localhost:8080/', 'HTTPS://a', 'https://a/?b=c') {
    checked($good, "resource_metadata=$good");
}
for my $bad ('', 'search.example.com', '/path', 'ftp://a', 'https://',
             'https:///a', 'https://a b', "https://a\tb", 'https://a#b',
             "https://a\x7f", "https://\x{c3}\x{a9}/")
{
    checked("refused: $bad", "resource_metadata=$bad",
            "resource_metadata \"$bad\" is not a URL that can be used");
}
for my $bad ('https://a/"', 'https://a/\\\\') {
    checked("refused: $bad", "resource_metadata=$bad",
            '"token_auth" directive has a resource_metadata with a quote or '
            . 'a backslash');
}

done_testing();
