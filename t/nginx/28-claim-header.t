# token_claim_header: what the upstream hears of the caller, and that it never
# hears what the client says of itself.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice', claims => { email => 'alice@example.com',
                                        groups => ['red', 'blue'],
                                        level => 7, admin => \1, });

write_file('users', "joe:{PLAIN}secret\n");
redis_start();
nginx_start(blocks() . <<'EOT');

    token_provider app {
        store  vault;
        grant  client_credentials;
    }

    map $token_claim_sub $tier {
        alice    gold;
        default  "";
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        underscores_in_headers on;
        client_body_buffer_size 1k;

        token_claim_header X-User $token_claim_sub;

        location / {
            token_auth  corp;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /several/ {
            token_auth  corp;
            token_claim_header X-Email  $token_claim_email;
            token_claim_header x-groups $token_claim_groups;
            token_claim_header X-Level  $token_claim_level;
            token_claim_header X-Admin  $token_claim_admin;
            token_claim_header X-Tier   $tier;
            token_claim_header X-Issuer $token_issuer;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /inject/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /cached/ {
            token_auth    corp;
            token_inject  outlook;
            token_cache   1m;
            token_claim_header X-User  $token_claim_sub;
            token_claim_header X-Level $token_claim_level;
            add_header    X-Cache $token_cache_status;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /app/ {
            token_inject  app;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /unbuffered/ {
            token_auth  corp;
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /cookie/ {
            token_auth  corp from=$cookie_session;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /off/ {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /text/ {
            token_auth  corp;
            token_claim_header X-User $arg_text;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location ~ ^/decoded/(?<text>(?s).*)$ {
            token_auth  corp;
            token_claim_header X-User $text;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /if/ {
            token_auth  corp;
            if ($arg_if) {
                proxy_pass http://%%UPSTREAM%%;
            }
            limit_except GET {
                deny all;
            }
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /limit/ {
            token_auth  corp;
            limit_except GET {
                allow all;
                proxy_pass http://%%UPSTREAM%%;
            }
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /set/ {
            token_auth  corp;
            proxy_set_header X-Copy "[$http_x_user]";
            proxy_pass  http://%%UPSTREAM%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_any%%;
        ignore_invalid_headers off;
        satisfy any;
        token_auth          corp;
        token_claim_header  X-User $token_claim_sub;

        location / {
            allow 127.0.0.1;
            deny  all;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /basic/ {
            auth_basic "joe only";
            auth_basic_user_file %%TESTDIR%%/users;
            proxy_set_header X-Who "$remote_user";
            proxy_set_header X-Cookie "$cookie_b";
            proxy_pass http://%%UPSTREAM%%;
        }

        location /require/ {
            allow 127.0.0.1;
            deny  all;
            token_require $arg_ok;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /inject/ {
            allow 127.0.0.1;
            deny  all;
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOT

$alice->connect('third-party');
put_connection(who => ['', '', ''], provider => 'app',
               access => 'app-token');

my $token = $alice->token();

# all headers of the last request that an upstream could take for that one
sub users {
    my ($name) = @_;

    $name //= 'x_user';

    return [map { $_->[1] } grep { lc($_->[0]) =~ tr/-/_/r eq $name }
            @{$up->last()->{raw}}];
}

sub sees {
    my ($name, $wanted, $r, $status) = @_;

    is($r->status(), $status // 200, $name) or return diag($r->raw());
    is_deeply(users(), $wanted, "$name: what the upstream sees");
}

# --- the value, and nothing of the client's

my @forged = ('X-User: root', 'x-user: root', 'X_User: root', 'x_user: root',
              'X-USER: root', 'X_uSER: root');

for my $time ('at first', 'again') {
    sees("as it should be, $time", ['alice'], get('/', token => $token));
    is($up->last()->{headers}{authorization}, "Bearer $token",
       'the caller\'s token stays without token_inject');

    for my $forged (@forged) {
        sees("forged, $forged, $time", ['alice'],
             get('/', token => $token, headers => [$forged]));
    }
    sees("forged in every way, $time", ['alice'],
         get('/', token => $token, headers => \@forged));
    sees("by way of Connection, $time", ['alice'],
         get('/', token => $token,
             headers => ['Connection: close, X-User', 'X-User: root']));

    sees("injecting, $time", ['alice'],
         get('/inject/', as => $alice, headers => \@forged));
    is($up->last()->{headers}{authorization}, 'Bearer third-party',
       'with the third party\'s token');
    is($up->last()->{headers}{'x-user-key'}, undef, 'without the user key');
    sees("nobody asked for a caller, $time", [],
         get('/app/', headers => \@forged));
    is($up->last()->{headers}{authorization}, 'Bearer app-token',
       'the application\'s token');
}

sees('no such claim', [], get('/several/', token => jwt({ sub => 'bob' }),
     headers => ['X-Email: root', 'X-Groups: root', 'X-Admin: true',
                 'X-Tier: root', 'X-Level: 9', 'X_Issuer: me']));
is_deeply([map { @{users($_)} } qw(x_email x_groups x_admin x_tier x_level)],
          [], 'nor any other');
is_deeply(users('x_issuer'), ['corp'], 'but the one that there is');

get('/several/', token => $token, headers => [map { "$_: root" }
    qw(X-Email x_email X-Groups X-Admin X-Tier X-Level X_Level)]);
is_deeply({ map { $_ => users($_) }
            qw(x_email x_groups x_level x_admin x_tier x_issuer) },
          { x_email => ['alice@example.com'], x_groups => ['red,blue'],
            x_level => ['7'], x_admin => ['true'], x_tier => ['gold'],
            x_issuer => ['corp'] }, 'several');
is((grep { $_->[0] eq 'x-groups' } @{$up->last()->{raw}}) + 0, 1,
   'a name goes out as it is written');
sees('an inner level replaces the outer one', ['root'],
     get('/several/', token => $token, headers => ['X-User: root']));

sees('inherited where nobody is asked for', [],
     get('/off/', token => $token, headers => \@forged));
is($up->last()->{headers}{authorization}, "Bearer $token",
   'nothing else is touched there');

# --- other headers, and their places

for my $n (0, 1, 40) {
    my @others = map { "X-Filler-$_: $_" } 1 .. $n;
    sees("behind $n others", ['alice'],
         get('/', token => $token, headers => [@others, 'X-User: root']));
    is(join(' ', map { $_->[1] } grep { $_->[0] =~ /^X-Filler/ }
                 @{$up->last()->{raw}}), join(' ', 1 .. $n), 'all arrive');
    sees("before $n others", ['alice'],
         get('/', headers => ['X_User: root', @others,
                              "Authorization: Bearer $token"]));
    is((grep { $_->[0] =~ /^X-Filler/ } @{$up->last()->{raw}}) + 0, $n,
       'all arrive');
}

sees('cookies', ['alice'], get('/', token => $token, headers => [
     'Cookie: a=b; c=d', 'Cookie: e=f', 'X-User: root']));
is(join(' ', map { $_->[1] } grep { lc $_->[0] eq 'cookie' }
             @{$up->last()->{raw}}) =~ s/,|; /;/gr =~ s/ /;/gr,
   'a=b;c=d;e=f', 'arrive');
sees('the token in a cookie', ['alice'], get('/cookie/', headers => [
     "Cookie: a=b; session=$token; c=d", 'X-User: root',
     'Authorization: Basic YTpi']));
is($up->last()->{headers}{cookie}, "a=b; session=$token; c=d",
   'stays without token_inject');
is($up->last()->{headers}{authorization}, 'Basic YTpi', 'as does this');

sees('proxy_set_header', ['alice'], get('/set/', token => $token,
     headers => ['X-User: root']));
is($up->last()->{headers}{'x-copy'}, '[alice]',
   '$http_x_user is what the upstream is told');

# --- refused, or let in by somebody else

$up->forget();
for my $opt ([], [token => 'bad'], [token => jwt({ exp => 1 })]) {
    is(get('/', @$opt, headers => \@forged)->status(), 401, 'refused');
}
is($up->calls(), 0, 'nothing went through');

my @any = (port => 'any', headers => [@forged, 'X.User: dots', 'X_U: x']);

sees('let in by address, no token', [], get('/', @any));
sees('let in by address, a bad one', [], get('/', @any, token => 'bad'));
sees('let in by address, an old one', [],
     get('/', @any, token => jwt({ exp => 1 })));
sees('let in by address, another\'s', [],
     get('/', @any, token => jwt({}, key => key('RS256', 'eve'))));
sees('let in by address, a good one', ['alice'],
     get('/', @any, token => $token));
sees('rejected, and let in by address', [],
     get('/require/', @any, token => $token));
is($up->last()->{headers}{authorization}, "Bearer $token", 'as it came');
sees('accepted', ['alice'], get('/require/?ok=1', @any, token => $token));
sees('injecting', ['alice'], get('/inject/', @any, as => $alice));
sees('joe, who has no token', [], get('/basic/', port => 'any', headers => [
     @forged, 'Authorization: Basic am9lOnNlY3JldA==', 'Cookie: a=b; b=c']));
is($up->last()->{headers}{'x-who'}, 'joe', 'is still joe');
is($up->last()->{headers}{'x-cookie'}, 'c', 'with his cookies');
sees('a caller there', ['alice'], get('/basic/', port => 'any',
     token => $token, headers => [@forged, 'Cookie: b=c']));
is($up->last()->{headers}{'x-cookie'}, 'c', 'with those cookies');
is(get('/basic/', @any)->status(), 401, 'nobody there');
$up->forget();
is(get('/inject/', @any)->status(), 401, 'injecting, no token');
is($up->calls(), 0, 'nothing went through');

# --- values that a header can't carry as they are

sub of_sub {
    my ($text, %opt) = @_;

    return get('/', headers => ['X-User: root'], %opt,
               token => jwt({ sub => $text }));
}

for my $text ('a b', 'a  b', 'x' x 3000, 'a, b', '"a"', "\x{e9}", "\x{1F600}",
              '0', 'a=b; c', '$http_host', ': ')
{
    my $bytes = $text;
    utf8::encode($bytes);
    sees('a value, ' . substr($bytes, 0, 20),
         $text eq ': ' ? [] : [$bytes], of_sub($text));
}
for my $text (' alice', 'alice ', ' ', '  ') {
    sees("a space at an end, \"$text\"", [], of_sub($text));
}
like(error_log(), qr/\[info\].*token injector: the header X-User is not sent:/,
     'which the log says');
for my $text ('%0d%0aX-Evil:%201', '%0a', '%0d', '%7f', '%1f', '%09', '%01') {
    sees("a control character, $text", [],
         get("/decoded/a${text}b", token => $token,
             headers => ['X-User: root']));
    is($up->last()->{headers}{'x-evil'}, undef, 'no other header');
}
sees('any variable', ['text'], get('/decoded/text', token => $token));
sees('an escape stays one', ['%0d%0a'],
     get('/text/?text=%0d%0a', token => $token));
sees('empty', [], get('/text/?text=', token => $token,
                      headers => ['X-User: root']));

# --- methods, bodies, conditions

for my $method (qw(HEAD OPTIONS PUT DELETE PATCH)) {
    http($method, '/m', token => $token, headers => ['X-User: root']);
    is($up->last()->{method}, $method, $method);
    is_deeply(users(), ['alice'], "$method: who calls");
}
for my $uri ('/', '/unbuffered/', '/inject/') {
    for my $size (0, 10, 1024, 100000) {
        sees("POST $size to $uri", ['alice'],
             post($uri, 'b' x $size, as => $alice, headers => \@forged));
        is(length $up->last()->{body}, $size, 'its body');
    }

    my $c = connection();
    my $bytes = http_bytes('POST', $uri, as => $alice, headers => [
        'Connection: close', 'X-User: root'], body => 'slow' x 1000);
    $c->send(substr($bytes, 0, length($bytes) - 3000));
    select(undef, undef, undef, 0.05);
    $c->send(substr($bytes, -3000));
    sees("slowly, $uri", ['alice'], $c->response());
}
sees('in an "if"', ['alice'], get('/if/?if=1', token => $token,
     headers => ['X-User: root']));
is(http('OPTIONS', '/if/', token => $token)->status(), 403, 'limit_except');
for my $method (qw(GET POST)) {
    sees("limit_except, $method", ['alice'],
         http($method, '/limit/', token => $token,
              headers => ['X-User: root']));
}

# --- kept answers belong to what would be said

sub cached {
    my ($name, $wanted, $uri, %claims) = @_;

    my $r = get("/cached/$uri", as => $alice, headers => ['X-Level: 99'],
                token => $alice->token(%claims));
    is($r->header('X-Cache') . ' ' . ($r->json()->{headers}{'x-level'} // ''),
       $wanted, "kept, $name");
}

cached('at first', 'MISS 7', 'a', jti => 'a');
cached('the same in another token', 'HIT 7', 'a', jti => 'b');
cached('other claims of the same user', 'MISS 8', 'a', level => 8);
cached('these again', 'HIT 8', 'a', level => 8, jti => 'c');
cached('none', 'MISS ', 'a', level => undef);
cached('none again', 'HIT ', 'a', level => undef, jti => 'd');
cached('the first one', 'HIT 7', 'a', jti => 'e');

my @levels = map { $_ % 3 } 1 .. 12;
$up->forget();
my @kept = parallel(map { ['GET', '/cached/herd', as => $alice,
                           token => $alice->token(level => $_, jti => "h$_")]
                        } @levels);
is(join(' ', map { $_->json()->{headers}{'x-level'} } @kept),
   join(' ', @levels), 'to each what is said of it, at once');
cmp_ok($up->calls(), '<', 12, 'and not one by one');

# --- many on one connection

my $c = connection();
my @r = $c->pipeline(map { ['GET', "/p$_", token => jwt({ sub => "u$_" }),
                            headers => ['X-User: root']] } 1 .. 10);
is(join(' ', map { $_->json()->{headers}{'x-user'} } @r),
   join(' ', map { "u$_" } 1 .. 10), 'each its own, pipelined');
@r = parallel(map { ['GET', "/q$_", token => jwt({ sub => "v$_" }),
                     headers => ['X_User: root']] } 1 .. 10);
is(join(' ', map { $_->json()->{headers}{'x-user'} } @r),
   join(' ', map { "v$_" } 1 .. 10), 'each its own, at once');

# --- where nobody is ever asked for a caller

nginx_reload(<<'EOT');
    server {
        listen 127.0.0.1:%%PORT%%;
        token_claim_header X-User $token_claim_sub;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOT
sees('nobody is asked for a caller', [], get('/', token => $token,
                                             headers => \@forged));

# --- what "nginx -t" says

sub checked {
    my ($name, $location, $message, $server) = @_;

    my ($code, $out) = nginx_test(blocks() . "server {\n"
        . "listen 127.0.0.1:%%PORT%%;\n" . ($server // '')
        . "\nlocation /x/ {\n$location\nproxy_pass http://127.0.0.1:9;\n}\n}");
    my ($got) = $out =~ /^nginx: \[emerg\] (.*?)(?: in \S+:\d+)?$/m;

    is($got, $message, $name) or diag($out);
    is($code, defined $message ? 1 : 0, "$name: the verdict");
}

my $auth = "token_auth corp;\n";
my $h = 'token_claim_header';

checked('good', "$auth$h X-User \$token_claim_sub;");
checked('any token of a name', "$auth$h a!#\$%&'*+-.^_`|~0Z \$uri;");
checked('without token_auth', "$h X-User \$uri;",
        "\"$h\" without \"token_auth\" in location \"/x/\" has no caller to "
        . 'speak of');
checked('with token_auth off', "token_auth off;\n$h X-User \$uri;",
        "\"$h\" without \"token_auth\" in location \"/x/\" has no caller to "
        . 'speak of', $auth);
checked('inherited without token_auth', '', undef, "$h X-User \$uri;");
for my $pair (['X-User', 'X-User'], ['X-User', 'x_user'],
              ['x_USER', 'X-User'])
{
    checked("duplicate, @$pair",
            join('', $auth, map { "$h $_ \$uri;\n" } @$pair),
            "duplicate \"$h $pair->[1]\"");
}
checked("no name: $_", "$auth$h $_ \$uri;",
        "\"$h\" can't send \"" . (s/"//gr) . '": that is not the name of a '
        . 'header') for '"X User"', 'X:User', "X\x{c3}\x{a9}", '""', 'X(User)',
                        'X/User', "\"X\tUser\"";
checked("nginx's own: $_", "$auth$h $_ \$uri;",
        "\"$h\" can't send \"$_\": nginx gives that header a meaning of its "
        . 'own')
    for qw(Host host Content-Length content_length Cookie Authorization
           AUTHORIZATION X-Forwarded-For x_forwarded_for X-Real-IP Connection
           Transfer-Encoding Content-Type Range Upgrade Expect Via TE);
checked("the user key's: $_", "$auth$h $_ \$uri;",
        "\"$h\" can't send \"$_\": a user key is taken from there")
    for qw(X-User-Key x_user_key);
checked('the token\'s own place', "token_auth corp from=\$http_x_jwt;\n"
        . "$h X_Jwt \$uri;", "\"$h\" can't send \"X_Jwt\": a secret of the "
        . 'caller\'s is taken from there');
checked('that of the user key', "$auth token_inject outlook;\n"
        . "token_user_key \$http_x_device;\n$h X-Device \$uri;",
        "\"$h\" can't send \"X-Device\": a secret of the caller's is taken "
        . 'from there');
checked('inherited into it', "token_auth corp from=\$http_x_jwt;",
        "\"$h\" can't send \"X-Jwt\": a secret of the caller's is taken "
        . 'from there', "$auth$h X-Jwt \$uri;");
checked('a cookie of the name is no such place',
        "token_auth corp from=\$cookie_x_jwt;\n$h X-Jwt \$uri;");
checked("no variable: $_", "$auth$h X-User $_;", "\"" . (s/"//gr)
        . "\" in \"$h\" is not a variable")
    for 'root', '$', '$uri$uri', '"$uri "', '"a$uri"', '${uri}', '""';
checked('no such variable', "$auth$h X-User \$nothing_of_the_kind;",
        'unknown "nothing_of_the_kind" variable');

done_testing();
