# Headers that came more than once, where nginx passes them as parameters.
# From 1.23 on it joins them, along lists from one to the next that it makes
# once in a request: after a swap they lead into another view.

use strict;
use warnings;

use IO::Socket::INET;

use TI::Env qw(fork_server end_process at_end);
use TI::Test;

needs_module();

my $alice = person('alice');

# an SCGI server that answers with its parameters, as they came
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5)
             or die "listen: $!\n";

my $server = fork_server(sub {
    while (my $s = $listen->accept()) {
        local $/ = ':';
        my $length = <$s>;
        chop $length;
        read($s, my $params, $length);
        my $status = $params =~ m{REQUEST_URI\0/refused/}
                     && $params =~ m{ATTEMPT\0first} ? 404 : 200;
        print $s "Status: $status\r\nContent-Type: text/plain\r\n\r\n$params";
        close $s;
    }
});
at_end(sub { end_process($server, 'TERM') });
define(SCGI => '127.0.0.1:' . $listen->sockport());

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;
        large_client_header_buffers 4 16k;

        scgi_param REQUEST_URI $request_uri;

        location / {
            token_auth    corp;
            token_inject  outlook;
            scgi_pass     %%SCGI%%;
        }

        # the client's own headers have been passed once by then
        location /refused/ {
            scgi_param    REQUEST_URI $request_uri;
            scgi_param    ATTEMPT first;
            scgi_pass     %%SCGI%%;
            scgi_intercept_errors on;
            error_page    404 = /again/;
        }

        # and here the injected ones
        location /refused/injected/ {
            token_auth    corp;
            token_inject  outlook;
            scgi_param    REQUEST_URI $request_uri;
            scgi_param    ATTEMPT first;
            scgi_pass     %%SCGI%%;
            scgi_intercept_errors on;
            error_page    404 = /again/;
        }

        location /seen/ {
            set           $seen $http_x_many;
            token_auth    corp;
            token_inject  outlook;
            scgi_pass     %%SCGI%%;
        }

        location /cookie/ {
            token_auth    corp from=$cookie_session;
            token_inject  outlook;
            scgi_pass     %%SCGI%%;
        }
    }
EOF

$alice->connect('third-party');

# all that came for one parameter, however they are joined
sub values_of {
    my ($r, $name) = @_;

    my @params = split /\0/, $r->body(), -1;
    my @values;

    while (@params > 1) {
        my ($key, $value) = splice(@params, 0, 2);
        push @values, split(/[,;] /, $value) if $key eq $name;
    }

    return join('|', @values);
}

for my $case (['/', 'X-Forwarded-For'], ['/', 'Cookie'],
              ['/', 'X-Many'], ['/seen/', 'X-Many'],
              ['/refused/', 'X-Forwarded-For'], ['/refused/', 'Cookie'],
              ['/refused/', 'X-Many'], ['/refused/injected/', 'Cookie'],
              ['/refused/injected/', 'X-Many'])
{
    my ($uri, $name) = @$case;
    my $param = 'HTTP_' . uc($name =~ tr/-/_/r);

    for my $n (1, 2, 3, 100) {
        my @sent = map { "n$_=$_" } 1 .. $n;
        my $r = get($uri, as => $alice, headers => [
            map { ("$name: $_", "X-Between: b") } @sent,
        ]);

        is($r->status(), 200, "$uri, $n of $name");
        is(values_of($r, $param), join('|', @sent),
           'each once, in their order');
        is(values_of($r, 'HTTP_AUTHORIZATION'), 'Bearer third-party',
           'and the third party\'s token');
    }
}

# the cookie that is the caller's token leaves the list as well
my $session = 'session=' . $alice->token();
my $r = get('/cookie/', user_key => $alice->user_key(), headers => [
    'Cookie: a=1', "Cookie: $session", 'Cookie: b=2', 'Cookie: c=3',
]);

is($r->status(), 200, 'a token in one cookie of four');
is(values_of($r, 'HTTP_COOKIE'), 'a=1|b=2|c=3', 'the others are passed');
is(index($r->body(), $alice->token()), -1, 'and it is not');

done_testing();
