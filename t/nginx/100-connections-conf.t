# token_connections: where it may stand, what each path and method is, and
# that its answers and refusals look like those of an API.

use strict;
use warnings;

use TI::Test;

needs_module();

sub conf {
    my ($location, $server) = @_;

    return blocks() . "server {\nlisten 127.0.0.1:%%PORT%%;\n"
           . ($server // '') . "\n$location\n}\n";
}

sub refused {
    my ($what, $like, @conf) = @_;

    my ($rc, $out) = nginx_test(conf(@conf));

    isnt($rc, 0, "refused: $what");
    like($out, $like, 'and it is said why');
}

refused('no caller', qr/needs "token_auth"/,
        'location /c { token_connections; }');
refused('nobody asked', qr/needs "token_auth"/,
        'location /c { token_auth off; token_connections; }',
        'token_auth corp;');
refused('an upstream after it', qr/nothing else may answer/,
        'location /c { token_auth corp; token_connections;'
        . ' proxy_pass http://127.0.0.1:1; }');
refused('an upstream before it', qr/nothing else may answer/,
        'location /c { token_auth corp; proxy_pass http://127.0.0.1:1;'
        . ' token_connections; }');
refused('a token of somebody else', qr/token_inject off/,
        'location /c { token_auth corp; token_inject outlook;'
        . ' token_connections; }');
refused('one that is inherited', qr/token_inject off/,
        'location /c { token_connections; }',
        "token_auth corp;\ntoken_inject outlook;");
refused('a regular expression', qr/a prefix/,
        'location ~ ^/c { token_auth corp; token_connections; }');
refused('a named location', qr/a prefix/,
        'location @c { token_auth corp; token_connections; }');
refused('twice', qr/duplicate/,
        'location /c { token_auth corp; token_connections;'
        . ' token_connections; }');
refused('an argument', qr/invalid number of arguments/,
        'location /c { token_auth corp; token_connections outlook; }');
refused('in a server', qr/not allowed here/, 'token_connections;');

redis_start();
nginx_start(conf(<<'EOT', 'token_auth corp;'));
    error_page 418 /nothing;

    location /connections { token_connections; }
    location /slash/ { token_connections; }
    location /if {
        token_connections;
        if ($http_x_if) { set $seen 1; }
    }
    location /limited {
        token_connections;
        limit_except GET { deny 127.0.0.2; }
    }
    location /any {
        satisfy any;
        allow all;
        token_connections;
    }
EOT

my $alice = person('alice');

for my $path (qw(/connections /connections/ /slash/ /if /limited /any)) {
    my $r = get($path, as => $alice);

    is($r->status(), 200, "$path: the list");
    is($r->header('Content-Type'), 'application/json', 'is JSON');
    is($r->header('Cache-Control'), 'no-store', 'and not to be kept');
    is_deeply($r->json(), { connections => [{
        provider => 'outlook', state => 'none', scope => undef,
        since => undef, expires_at => undef, refreshable => undef,
        account => undef,
    }] }, 'every member is there');
}

is(get('/if', as => $alice, headers => ['X-If: 1'])->status(), 200,
   'an "if" is the same location');

my $head = http('HEAD', '/connections', as => $alice);
is($head->status(), 200, 'HEAD of the list');
is($head->body(), '', 'has no body');
is($head->header('Content-Length'),
   length get('/connections', as => $alice)->body(), 'and its length');

for my $case (
    ['POST', '/connections', 405, 'GET, HEAD'],
    ['DELETE', '/connections', 405, 'GET, HEAD'],
    ['GET', '/connections/outlook', 405, 'POST, DELETE'],
    ['PUT', '/connections/outlook', 405, 'POST, DELETE'],
    ['GET', '/connections/outlook/code', 405, 'POST'],
    ['DELETE', '/connections/outlook/code', 405, 'POST'],
    ['GET', '/connections/outlook/admin-consent', 405, 'POST'],
    ['PROPFIND', '/connections', 405, 'GET, HEAD'],
    ['POST', '/connections/outlook/', 404],
    ['POST', '/connections/outlook/codes', 404],
    ['POST', '/connections/outlook/code/', 404],
    ['POST', '/connections/outlook/../code', 405, 'POST, DELETE'],
    ['POST', '/connectionsoutlook', 404],
    ['POST', '/slash/outlook/x', 404],
) {
    my ($method, $path, $status, $allow) = @$case;
    $status = 404, $allow = undef if $path =~ m{\.\.};
    my $r = http($method, $path, as => $alice, body => '');

    is($r->status(), $status, "$method $path: $status");
    is($r->header('Allow'), $allow, 'and what is allowed');
    is($r->header('Content-Type'), 'application/problem+json', 'as a problem');
}

for my $name (qw(nobody Outlook outloo outlook2), 'x' x 65, '%00', '%2e') {
    my $r = post("/connections/$name", '', as => $alice);

    is($r->status(), $name =~ /%00/ ? 400 : $name =~ /%2e/ ? 405 : 404,
       "no provider $name");
    next if $name =~ /%/;
    is($r->json()->{type}, 'urn:ngx-token-injector:provider-unknown',
       'by its name');
}

# order of judgement: who calls comes first

for my $case (['GET', '/connections'], ['PUT', '/connections/outlook'],
              ['POST', '/connections/nobody'], ['GET', '/any'],
              ['DELETE', '/any/outlook'])
{
    my $r = http(@$case, body => '');

    is($r->status(), 401, "@$case without a token");
    is($r->json()->{type}, 'urn:ngx-token-injector:token-missing',
       'by its name');
    like($r->header('WWW-Authenticate'), qr/^Bearer/, 'with a challenge');
}

# a provider that only uses what was stored

for my $path ('', '/admin-consent') {
    my $r = post("/connections/outlook$path", '', as => $alice);

    is($r->status(), 400, "outlook$path: there is no page to send users to");
    is_deeply([@{$r->json()}{qw(type provider)}],
              ['urn:ngx-token-injector:request-invalid', 'outlook'],
              'and it is said of whom');
}

for my $key (undef, 'x', 'A' x 44) {
    my $r = post('/connections/outlook', '', token => $alice->token(),
                 user_key => $key);

    is($r->status(), 400, 'a user key is ' . ($key // 'not there'));
    is($r->json()->{type}, 'urn:ngx-token-injector:user-key-required',
       'by its name');
}

is(get('/connections', token => $alice->token())->status(), 200,
   'the list can do without');
is(get('/connections', token => $alice->token(), user_key => 'x')->status(),
   400, 'but one that is wrong is wrong');

done_testing();
