# What a record may say as a token: RFC 6750's b64token of type Bearer, not
# past its time.  Anything else is refused before a header is made of it.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks() . <<'CONF', log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%%;

        large_client_header_buffers 4 32k;

        location / {
            token_auth          corp;
            token_inject        outlook;
            proxy_buffer_size   32k;
            proxy_buffers       4 32k;
            proxy_pass          http://%%UPSTREAM%%;
        }
    }
CONF

my $n = 0;
my @people;

# a connection of somebody new that holds this
sub ask {
    my ($token, %opt) = @_;

    my $who = person('user' . $n++);

    push @people, $who;
    $who->connect($token, %opt);
    $up->forget();
    log_mark();

    return get('/', as => $who);
}

my @refused = (
    ['CR', "canary-a\rb"], ['LF', "canary-a\nb"],
    ['CRLF and a header', "canary-a\r\nX-Evil: 1"],
    ['a NUL', "canary-a\0b"], ['a NUL at the end', "canary-a\0"],
    ['a LF at the end', "canary-a\n"], ['a tab', "canary-a\tb"],
    ['a space', 'canary-a b'], ['a space before', ' canary-a'],
    ['a comma', 'canary-a,b'], ['a quote', 'canary-a"b'],
    ['a backslash', 'canary-a\\b'], ['a semicolon', 'canary-a;b'],
    ['a percent sign', 'canary-a%0ab'], ['a colon', 'canary-a:b'],
    ['DEL', "canary-a\x7fb"], ['a high byte', "canary-a\x80b"],
    ['UTF-8', "canary-\xc3\xa9"], ['an = within', 'canary=a'],
    ['only =', '=='], ['nothing', ''],
    ['16385 bytes', 'c' x 16385],
);

for (@refused) {
    my ($case, $token) = @$_;

    refused(ask($token), 'reconnect-required', "$case: refused");
    like(log_since(), qr/\[error\].*reconnect-required/, "$case: logged");
    is($up->calls(), 0, "$case: nothing sent");
}

for my $type ('MAC', 'DPoP', 'bearer2', 'Bearer ', '', "Bearer\r\nX-Evil: 1") {
    refused(ask('canary-of-a-type', inner => { token_type => $type }),
            'reconnect-required', "token_type '$type': refused");
    like(log_since(), qr/\[error\].*reconnect-required/, 'logged');
    is($up->calls(), 0, 'nothing sent');
}

refused(ask('canary-late', expires => time() - 1), 'reconnect-required',
        'past its time');
unlike(log_since(), qr/\[error\]/, 'which is nobody\'s fault');
is($up->calls(), 0, 'nothing sent');

for my $token ('c', 'AZaz09-._~+/==', 'canary' x 100, 'c' x 16384) {
    my $r = ask($token);

    is(result($r), 'ok', length($token) . ' bytes are served');
    is($up->last()->{headers}{authorization}, "Bearer $token",
       'as they are');
}

for my $type ('Bearer', 'bearer', 'BEARER') {
    is(result(ask('canary-ok', inner => { token_type => $type })), 'ok',
       "token_type $type");
    is($up->last()->{headers}{authorization}, 'Bearer canary-ok',
       'is a Bearer');
}

secrets_absent('no log shows a token', 'canary', map { $_->user_key() }
               @people);

done_testing();
