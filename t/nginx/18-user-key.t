# The user key: its forms, its sources, what is looked up for a bad one.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice');

redis_start();
my $proxy = proxy();
nginx_start(blocks(store => 'server 127.0.0.1:%%PROXY%%;') . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;
        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cookie/ {
            token_user_key  $cookie_device;
            proxy_pass      http://%%UPSTREAM%%;
        }

        location /header/ {
            token_user_key  $http_x_device_key;
            proxy_pass      http://%%UPSTREAM%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%%;
        underscores_in_headers on;
        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('third-party');

my $key = $alice->user_key();
my $token = $alice->token();

sub result {
    my ($uri, @headers) = @_;

    my $r = get($uri, token => $token, headers => [@headers],
                $uri =~ s/^:(\w+)// ? (port => $1) : ());
    return $r->json()->{type} =~ s/.*://r if $r->status() != 200;

    return $r->json()->{headers}{authorization};
}

sub refused {
    my ($name, $uri, @headers) = @_;

    $proxy->forget();
    is(result($uri, @headers), 'user-key-required', $name);
    is(@{$proxy->stats()->{commands}}, 0, "$name: nothing was looked up");
}

my $ok = 'Bearer third-party';

is(result('/', "X-User-Key: $key"), $ok, 'a user key');
is(result('/', "x-user-key: $key"), $ok, 'in small letters');
is(result('/', "X-USER-KEY:   $key  "), $ok, 'with spaces around');

refused('none', '/');
refused('empty', '/', 'X-User-Key:');
refused('42 characters', '/', 'X-User-Key: ' . substr($key, 1));
refused('44 characters', '/', "X-User-Key: ${key}A");
refused('padded', '/', "X-User-Key: $key=");
refused('32 raw characters', '/', 'X-User-Key: ' . 'k' x 32);
refused('hexadecimal', '/', 'X-User-Key: ' . 'ab' x 32);
refused('standard base64', '/', 'X-User-Key: ' . '+' . substr($key, 1));
refused('a slash', '/', 'X-User-Key: ' . '/' . substr($key, 1));
refused('a space in it', '/', 'X-User-Key: ' . substr($key, 0, 20) . ' '
                              . substr($key, 21));
refused('very long', '/', 'X-User-Key: ' . 'A' x 7000);
refused('twice', '/', "X-User-Key: $key", "X-User-Key: $key");
refused('twice, one of them bad', '/', "X-User-Key: $key", 'X-User-Key: x');
refused('twice, one of them empty', '/', "X-User-Key: $key", 'X-User-Key:');
refused('in a list', '/', "X-User-Key: $key, $key");
refused('in the query', '/?X-User-Key=' . 'A' x 43 . '&x_user_key='
                        . 'A' x 43);
refused('in a cookie', '/', "Cookie: X-User-Key=$key; device=$key");

# the last character has two bits too many
my @set = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_');
my ($last) = grep { $set[$_] eq substr($key, -1) } 0 .. 63;
for my $bits (1 .. 3) {
    refused("not canonical, $bits", '/',
            'X-User-Key: ' . substr($key, 0, -1) . $set[$last ^ $bits]);
}

my $r = get('/', token => $token);
is($r->status(), 400, 'status');
is_deeply($r->json(), { type => 'urn:ngx-token-injector:user-key-required',
                        title => $r->json()->{title}, status => 400,
                        provider => 'outlook' }, 'body');
is($r->header('Cache-Control'), 'no-store', 'not stored');
is($r->header('WWW-Authenticate'), undef, 'no challenge');
is(get('/', user_key => $key)->status(), 401, 'a token is judged before');

is(result('/', 'X-User-Key: ' . new_user_key()), 'connection-required',
   'another key finds nothing');
is(result('/', 'X-User-Key: ' . 'A' x 43), 'connection-required',
   'a key of zeros is one like any other');

# --- from a cookie

is(result('/cookie/', "Cookie: device=$key"), $ok, 'a cookie');
is(result('/cookie/', "Cookie: a=b; device=$key; c=d"), $ok, 'among others');
is(result('/cookie/', 'Cookie: a=b', "Cookie: device=$key"), $ok,
   'in a second line');
refused('no such cookie', '/cookie/', "Cookie: devic=$key; evice=$key");
refused('the header does not count there', '/cookie/', "X-User-Key: $key");
refused('the cookie twice', '/cookie/', "Cookie: device=$key",
        "Cookie: device=$key");
is((grep { index(JSON::PP->new->encode($_->{raw}), $key) >= 0 }
    $up->requests()) + 0, 0, 'no upstream ever saw the key');

# --- from another header

is(result('/header/', "X-Device-Key: $key"), $ok, 'another header');
refused('the usual one does not count there', '/header/',
        "X-User-Key: $key");

# --- underscores

sub other_server {
    my (@headers) = @_;
    my $r = get('/', port => 2, token => $token, headers => [@headers]);
    return $r->status() == 200 ? $r->json()->{headers}{authorization}
                               : $r->json()->{type} =~ s/.*://r;
}

# nginx itself logs what it drops
refused('underscores that nginx drops', '/', 'X_User_Key: ' . 'A' x 43);
is(other_server("X_User_Key: $key"), $ok, 'underscores where they may be');
is(other_server("X_User-KEY: $key"), $ok, 'both');
is(other_server("X_User_Key: $key", "X-User-Key: $key"), 'user-key-required',
   'two spellings are two keys');

secrets_absent('no user key in a log', $key);

done_testing();
