# What the upstream of an injecting location sees: the third party's token and
# no secret of the caller's, whatever the spelling, the place and the body.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    token_provider keyless {
        store     vault;
        user_key  off;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        underscores_in_headers on;
        client_body_buffer_size 1k;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /unbuffered/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /keyless/ {
            token_auth    corp;
            token_inject  keyless;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /cookie/ {
            token_auth      corp from=$cookie_session;
            token_user_key  $cookie_device;
            token_inject    outlook;
            proxy_pass      http://%%UPSTREAM%%;
        }

        location /header/ {
            token_auth      corp from=$http_x_jwt;
            token_user_key  $http_x_device_key;
            token_inject    outlook;
            proxy_pass      http://%%UPSTREAM%%;
        }

        location /set/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_set_header X-Sent $http_authorization;
            proxy_set_header X-Key "key $http_x_user_key";
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /open/ {
            token_auth    corp from=$cookie_session;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('third-party');
put_connection(who => $alice->who(), provider => 'keyless',
               access => 'third-party');

my $token = $alice->token();
my $key = $alice->user_key();

# exactly one Authorization, the third party's, and nothing of the caller's
sub clean {
    my ($name, $r, %opt) = @_;

    is($r->status(), 200, $name) or return diag($r->raw());
    my $saw = $up->last();
    my @auth = map { $_->[1] }
               grep { lc $_->[0] eq 'authorization' } @{$saw->{raw}};
    is_deeply(\@auth, ['Bearer third-party'], "$name: one Authorization");

    my $all = join "\n", map { "$_->[0]: $_->[1]" } @{$saw->{raw}};
    my @found = grep { index($all, $_) >= 0 } $token, $key,
                @{$opt{secrets} || []};
    push @found, $all =~ /^(x[-_]user[-_]key.*)$/mig;
    is_deeply(\@found, [], "$name: nothing of the caller's");

    return $saw;
}

# --- spellings

for my $name ('Authorization', 'authorization', 'AUTHORIZATION',
              'aUTHORIZATION')
{
    clean($name, get('/', user_key => $key,
                     headers => ["$name: Bearer $token"]));
}
for my $name ('X-User-Key', 'x-user-key', 'X-USER-KEY', 'X_User_Key',
              'x_user-key', 'X-USER_KEY')
{
    clean($name, get('/', token => $token, headers => ["$name: $key"]));
    clean("$name, not asked for", get('/keyless/', token => $token,
                                      headers => ["$name: $key"]));
}
clean('several keys, not asked for', get('/keyless/', token => $token,
      headers => ["X-User-Key: $key", "x_user_key: $key",
                  'X-User-Key: other-secret'], secrets => ['other-secret']));

my $saw = clean('Connection: Authorization',
                get('/', as => $alice, headers => [
                    'Connection: Authorization, X-User-Key, close']));
ok(!defined $saw->{headers}{'x-user-key'}, 'no key by way of Connection');

clean('among forty headers', get('/', as => $alice,
      headers => [map { "X-Filler-$_: $_" } 1 .. 40]));
is(scalar(grep { $_->[0] =~ /^X-Filler/ } @{$up->last()->{raw}}), 40,
   'which all arrive');
clean('the first of forty', get('/', headers => [
    "Authorization: Bearer $token", "X-User-Key: $key",
    map { "X-Filler-$_: $_" } 1 .. 40]));
is(join(' ', map { $_->[1] } grep { $_->[0] =~ /^X-Filler/ }
             @{$up->last()->{raw}}), join(' ', 1 .. 40), 'in their order');

$saw = clean('other headers', get('/', as => $alice, headers => [
    'Accept: a', 'Accept: b', 'X-Empty:', 'Cookie: a=b; c=d',
    'User-Agent: test']));
is($saw->{headers}{accept}, 'a, b', 'repeated ones stay');
is($saw->{headers}{cookie}, 'a=b; c=d', 'cookies stay');
is($saw->{headers}{'user-agent'}, 'test', 'as does this');

# --- sources

$saw = clean('cookies', get('/cookie/', headers => [
    "Cookie: a=b; session=$token; c=d; device=$key; e=f"]));
is($saw->{headers}{cookie}, 'a=b; c=d; e=f', 'only those two are taken');
$saw = clean('cookies in lines', get('/cookie/', headers => [
    "Cookie: session=$token", 'Cookie: c=d', "Cookie: device=$key; x=y"]));
is($saw->{headers}{cookie} =~ s/,/;/r, 'c=d; x=y', 'likewise');
$saw = clean('nothing but cookies of ours', get('/cookie/', headers => [
    "Cookie: session=$token; device=$key"]));
is($saw->{headers}{cookie}, undef, 'leave no Cookie at all');
clean('an Authorization beside the cookie', get('/cookie/', headers => [
    "Cookie: session=$token; device=$key", 'Authorization: Basic c2VjcmV0',
    ], secrets => ['c2VjcmV0']));
clean('a user key beside the cookie', get('/cookie/', headers => [
    "Cookie: session=$token; device=$key", 'X-User-Key: other-secret',
    ], secrets => ['other-secret']));
clean('headers', get('/header/', headers => [
    "X-JWT: $token", "x_device-key: $key"]));
clean('headers, and others', get('/header/', headers => [
    "x-jwt: $token", "X-Device-Key: $key", "Authorization: Bearer $token",
    "X-User-Key: $key"]));

is(get('/cookie/', headers => ["Cookie: session=$token; session=x; "
                               . "device=$key"])->status() =~ /^(?:200|401)$/,
   1, 'the same cookie twice in a line');
is(get('/cookie/', headers => ["Cookie: session=$token; device=$key",
                               'Cookie: session=x'])->status(), 401,
   'the same cookie twice in lines');
is(get('/header/', headers => ["X-Jwt: $token", "X_Jwt: $token",
                               "X-Device-Key: $key"])->status(), 401,
   'the same header in two spellings');
is(get('/header/', as => $alice)->status(), 401,
   'no other source than the one that was said');
is(get('/header/', headers => ["X-Jwt: Bearer $token",
                               "X-Device-Key: $key"])->status(), 401,
   'a bare value');

$saw = get('/open/', headers => ["Cookie: a=b; session=$token",
                                 "X-User-Key: $key",
                                 'Authorization: Basic YTpi'])->json();
is($saw->{headers}{cookie}, "a=b; session=$token",
   'an upstream without injection sees the request as it is');
is($saw->{headers}{authorization}, 'Basic YTpi', 'this too');
is($saw->{headers}{'x-user-key'}, $key, 'and this');

# --- what an upstream's request is made of

$saw = clean('proxy_set_header', get('/set/', as => $alice));
is($saw->{headers}{'x-sent'}, 'Bearer third-party',
   '$http_authorization there is the injected one');
is($saw->{headers}{'x-key'}, 'key', 'and there is no user key');

# --- written when the body is there

for my $uri ('/', '/unbuffered/') {
    for my $size (0, 10, 1024, 100000) {
        $saw = clean("POST $size to $uri",
                     post($uri, 'b' x $size, as => $alice));
        is(length $saw->{body}, $size, 'its body');
    }

    my $c = connection();
    my $bytes = http_bytes('POST', $uri, as => $alice,
                           headers => ['Connection: close'],
                           body => 'slow' x 1000);
    my $half = length($bytes) - 2000;
    $c->send(substr($bytes, 0, $half - 1990));
    select(undef, undef, undef, 0.05);
    $c->send(substr($bytes, $half - 1990, 1990));
    select(undef, undef, undef, 0.05);
    $c->send(substr($bytes, $half));
    $saw = clean("slowly, $uri", $c->response());
    is($saw->{body}, 'slow' x 1000, 'its body');

    $c = connection();
    $c->send(http_bytes('POST', $uri, as => $alice,
                        headers => ['Connection: close',
                                    'Transfer-Encoding: chunked']));
    for my $n (1 .. 4) {
        $c->send("3e8\r\n" . $n x 1000 . "\r\n");
        select(undef, undef, undef, 0.02);
    }
    $c->send("0\r\n\r\n");
    $saw = clean("chunked, $uri", $c->response());
    is($saw->{body}, join('', map { $_ x 1000 } 1 .. 4), 'its body');

    $saw = clean("100-continue, $uri", post($uri, 'x' x 3000, as => $alice,
                 headers => ['Expect: 100-continue']));
}

for my $method (qw(GET HEAD OPTIONS PUT DELETE PATCH PROPFIND)) {
    http($method, '/m', as => $alice);
    is($up->last()->{headers}{authorization}, 'Bearer third-party', $method);
    is($up->last()->{method}, $method, 'as it came');
}

my $c = connection();
my @r = $c->pipeline(map { ['GET', "/p$_", as => $alice] } 1 .. 5);
is(join(' ', map { $_->json()->{headers}{authorization} } @r),
   join(' ', ('Bearer third-party') x 5), 'pipelined');

secrets_absent('no log shows any of it', $token, $key, 'third-party');

done_testing();
