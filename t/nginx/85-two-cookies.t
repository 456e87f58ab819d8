# Two cookies of one name are as good as none, in one header or in several:
# who reads the first and who reads the last would not mean the same caller.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my ($alice, $mallory) = (person('alice'), person('mallory'));

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_h2%% http2;
        large_client_header_buffers 4 32k;

        token_inject      outlook;

        location /token/ {
            token_auth      corp from=$cookie_session;
            proxy_pass      http://%%UPSTREAM%%;
        }

        location /key/ {
            token_auth      corp;
            token_user_key  $cookie_device;
            proxy_pass      http://%%UPSTREAM%%;
        }
    }
EOF

$alice->connect('token-of-alice');
$mallory->connect('token-of-mallory');

my ($t, $m) = ($alice->token(), $mallory->token());
my ($k, $l) = ($alice->user_key(), $mallory->user_key());

my @token = (
    ['two of them', "session=$t; session=$m"],
    ['one twice', "session=$t; session=$t"],
    ['the second empty', "session=$t; session="],
    ['the first empty', "session=; session=$t"],
    ['others between', "a=b; session=$t; c=d; session=$m; e=f"],
    ['without spaces', "session=$t;session=$m"],
    ['one of them with spaces', "session=$t; session =$m"],
    ['three', "session=$t; session=$m; session=$t"],
    ['in two headers', "session=$t", "session=$m"],
);
my @key = map { [map { s/\Q$t\E/$k/gr =~ s/\Q$m\E/$l/gr
                       =~ s/session/device/gr } @$_] } @token;


# --- HTTP/1

my $one = get('/token/', user_key => $k, headers => [
    "Cookie: a=b; session=$t; c=d"]);
is($one->json()->{headers}{authorization}, 'Bearer token-of-alice',
   'one token is one');

for my $case (@token) {
    my ($name, @cookies) = @$case;

    refused(get('/token/', user_key => $k,
                headers => [map { "Cookie: $_" } @cookies]),
            'token-invalid', "token: $name");
}

$one = get('/key/', token => $t, headers => ["Cookie: a=b; device=$k; c=d"]);
is($one->json()->{headers}{authorization}, 'Bearer token-of-alice',
   'one user key is one');

for my $case (@key) {
    my ($name, @cookies) = @$case;

    refused(get('/key/', token => $t,
                headers => [map { "Cookie: $_" } @cookies]),
            'user-key-required', "user key: $name");
}

is($up->calls(), 2, 'only the two good ones came through');
log_like(qr/token-invalid, provider outlook: more than one token/,
         'the log says why');


# --- HTTP/2, where a client may send each pair as a header of its own

SKIP: {
    my $curl = `curl -V 2>/dev/null`;
    skip('no curl with HTTP/2', 2 * @token + 2) if ($curl // '') !~ /HTTP2/;

    my $h2 = sub {
        my ($path, @headers) = @_;

        my @command = ('curl', '-s', '--http2-prior-knowledge',
                       (map { ('-H', $_) } @headers),
                       'http://127.0.0.1:' . port('h2') . $path);
        open(my $out, '-|', @command) or die "curl: $!\n";
        local $/;
        my $body = JSON::PP::decode_json(<$out> // '{}');

        return $body->{type} ? $body->{type} =~ s/.*://r
                             : $body->{headers}{authorization};
    };

    is($h2->('/token/', "X-User-Key: $k", "Cookie: a=b; session=$t"),
       'Bearer token-of-alice', 'HTTP/2, one token is one');
    is($h2->('/token/', "X-User-Key: $k", map { "Cookie: $_" } @$_[1 .. $#$_]),
       'token-invalid', "HTTP/2, token: $_->[0]") for @token;
    is($h2->('/key/', "Authorization: Bearer $t", "Cookie: device=$k"),
       'Bearer token-of-alice', 'HTTP/2, one user key is one');
    is($h2->('/key/', "Authorization: Bearer $t",
             map { "Cookie: $_" } @$_[1 .. $#$_]),
       'user-key-required', "HTTP/2, user key: $_->[0]") for @key;
}

secrets_absent('no log shows a token or a key', $t, $m, $k, $l);

done_testing();
