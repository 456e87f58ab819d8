# What docs/behind-gateways.md says of the network: addresses, the PROXY
# protocol, client certificates, sizes; whom nginx believes, and whom not.
# The gateway connects from 127.0.0.2, everybody else from 127.0.0.1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../docs/lib";

use TI::Test;
use Docs;
use Gateway;

needs_module();

my $up = upstream();
my $alice = person('alice');
my @alice = (as => $alice);
my @gateway = (from => '127.0.0.2');
my @ours = ('10.0.0.0/24' => '127.0.0.2/32');
my $uri = '/search/outlook/x';
my $n = 0;
my $log = "log_format who '\$http_x_n \$remote_addr by \$realip_remote_addr';\n"
          . "access_log %%TESTDIR%%/who.log who;\n";

redis_start();


# --- TLS ended in front

my $conf = gateway_conf('TLS ended in front', 1, @ours);
my $tls = 'X-Forwarded-Proto: https';
my $client = 'X-Forwarded-For: 203.0.113.7';

nginx_start($log . $conf);
$alice->connect('third-party');

is(asked($uri, @alice, @gateway, headers => [$tls, $client]),
   '200: 203.0.113.7 by 127.0.0.2', 'a client by the gateway');
is($up->last()->{headers}{authorization}, 'Bearer third-party',
   'with the token');

is(result($uri, @alice, @gateway, headers => [$client]),
   '403 caller-rejected', 'the client came without TLS');
is(result($uri, @alice, @gateway, headers => [
              'X-Forwarded-Proto: http', $client]),
   '403 caller-rejected', 'and the gateway said so');
is(result($uri, @gateway, headers => [$tls, $client]), '401 token-missing',
   'the token is asked for first');

# past the gateway, with a good token and all that the gateway would send
$up->forget();
for my $lie ('203.0.113.7', '127.0.0.2', '127.0.0.2, 127.0.0.2') {
    is(asked($uri, @alice, headers => [$tls, "X-Forwarded-For: $lie"]),
       '403: 127.0.0.1 by 127.0.0.1', "not by the gateway: $lie");
}
is(result('/search/own/x', @alice, headers => [$tls]), '403',
   'nor in another location');
is(result('/', headers => [$tls]), '403', 'nor in any');
is($up->calls(), 0, 'nothing was sent on');

# what a client wrote stands to the left of what the gateway appends
is(asked($uri, @alice, @gateway, headers => [
             $tls, 'X-Forwarded-For: 127.0.0.2, 203.0.113.7']),
   '200: 203.0.113.7 by 127.0.0.2', 'a client that lies to the gateway');

# URLs
my $r = get('/search/own', @alice, @gateway, headers => [$tls]);
is($r->status() . ' ' . $r->header('Location'), '301 /search/own/',
   'a redirect without scheme, host and port');
get('/search/own/x', @alice, @gateway, headers => [$tls, $client]);
is($up->last()->{headers}{'x-forwarded-proto'}, 'https',
   'our own upstream hears what the client used');
is($up->last()->{headers}{'x-forwarded-for'}, '203.0.113.7',
   'and who the client is');
get('/search/own/x', @alice, @gateway, headers => [$client]);
is($up->last()->{headers}{'x-forwarded-proto'}, 'http', 'or http');
nginx_stop();


# --- what does not do it: allow and deny see the replaced address

for my $satisfy ('all', 'any') {
    my $access = "satisfy $satisfy; allow 127.0.0.2; deny all;";
    my $text = $conf =~ s/    if \(.*?\n    \}\n/    $access\n/sr
               =~ s/^ *token_require .*\n//mr
               =~ s/real_ip_recursive +on/real_ip_recursive off/r;

    nginx_start($text);
    if ($satisfy eq 'all') {
        is(result($uri, @alice, @gateway, headers => [$client]), '403',
           'allow with real_ip: the gateway is refused');
        is(result($uri, @alice, @gateway,
                  headers => ['X-Forwarded-For: 127.0.0.2']), '200',
           'and let in for a client that calls itself so');
    } else {
        is(result('/search/own/x', @gateway, headers => [$client]),
           '401 token-missing', 'satisfy any: a token is needed');
        is(result('/search/own/x', @gateway,
                  headers => ['X-Forwarded-For: 127.0.0.2']), '200',
           'but for a client that calls itself so');
        is(result($uri, @gateway,
                  headers => ['X-Forwarded-For: 127.0.0.2']),
           '401 token-missing', 'where a token is injected it is needed');
        is(result('/search/own/x', headers => [
                      'X-Forwarded-For: 127.0.0.2']),
           '401 token-missing', 'and past the gateway nothing is believed');
    }
    nginx_stop();
}


# --- PROXY protocol

nginx_start($log . gateway_conf('TLS ended in front', 2, @ours));

my $line = 'PROXY TCP4 203.0.113.7 127.0.0.1 5000 443';

is(proxied($line, @gateway), '200: 203.0.113.7 by 127.0.0.2',
   'PROXY: a client by the balancer');
is(proxied('PROXY UNKNOWN', @gateway), '200: 127.0.0.2 by 127.0.0.2',
   'PROXY: none, as in a health check');
is(proxied($line, @gateway, headers => ['X-Forwarded-For: 198.51.100.1']),
   '200: 203.0.113.7 by 127.0.0.2', 'PROXY: X-Forwarded-For has no say');

$up->forget();
is(proxied('PROXY TCP4 127.0.0.2 127.0.0.1 5000 443'),
   '403: 127.0.0.1 by 127.0.0.1', 'PROXY: somebody else, as the balancer');
is(proxied($line), '403: 127.0.0.1 by 127.0.0.1',
   'PROXY: somebody else, as a client');
is(get($uri, @alice, @gateway)->status(), 0, 'PROXY: without its line');
is(get($uri, @alice)->status(), 0, 'PROXY: without its line, elsewhere');
is($up->calls(), 0, 'PROXY: nothing was sent on');
nginx_stop();

# and a port without it takes the line for garbage
nginx_start($log . $conf);
like(proxied($line, @gateway), qr/^400/,
     'a port without the PROXY protocol');
nginx_stop();


# --- client certificates

nginx_start(gateway_conf('Only the gateway reaches nginx'));
self_signed('stranger');

is(by_tls('gateway'), '200', 'the gateway\'s certificate');
is($up->last()->{headers}{authorization}, 'Bearer third-party',
   'and the token is injected');
$up->forget();
is(by_tls('stranger'), '400', 'another certificate');
is(by_tls(), '400', 'none');
is($up->calls(), 0, 'nothing was sent on');
nginx_stop();


# --- a unix socket

my $socket = testdir() . '/nginx.sock';

$conf = gateway_conf('Only the gateway reaches nginx', 2,
                     'listen 127.0.0.1:%%PORT%%' =>
                     'listen unix:%%TESTDIR%%/nginx.sock');
nginx_start($log . $conf);

is(sprintf('%o', (stat $socket)[2] & 0777), '666',
   'a socket is for everybody');
is(by_curl("--unix-socket $socket", 'http://search', "X-N: " . ++$n,
           'X-Forwarded-For: 198.51.100.1, 203.0.113.7'), '200',
   'by whom its directory lets in');
is(logged($n), '203.0.113.7 by unix:', 'for a client');
is($up->last()->{headers}{authorization}, 'Bearer third-party',
   'and the token is injected');
nginx_stop();


# --- sizes

my $fat = big(8192);
my $fatter = big(8193);

is(length $fat, 8192, 'the longest token');

$conf = gateway_conf("A gateway that forwards the caller's token");
issuer('gateway', keys => [key('RS256')]);
nginx_start($conf);
is(sized($fat), '200', 'with the buffers of the page');
is(sized($fatter), '401 token-invalid', 'a byte more');
is(sized($fat, 'Cookie: session=' . 'c' x 12000), '200',
   'beside a session of twelve kilobytes');

nginx_reload($conf =~ s/large_client_header_buffers.*//r);
is(sized($fat), '400', 'with those that nginx has by itself');

done_testing();


# the status, and who it was for nginx: $remote_addr, $realip_remote_addr
sub asked {
    my ($path, %opt) = @_;

    $opt{headers} = [@{$opt{headers} || []}, 'X-N: ' . ++$n];
    my $status = result($path, %opt);

    return "$status: " . logged($n);
}

sub logged {
    my ($request) = @_;

    return wait_for(sub {
        (read_file('who.log') // '') =~ /^$request (.*)$/m && $1;
    }, "request $request in the log");
}

# a request after a PROXY line
sub proxied {
    my ($line, %opt) = @_;

    my $c = connection(from => delete $opt{from});
    $c->send("$line\r\n" . http_bytes('GET', $uri, @alice, headers => [
        'Connection: close', 'X-N: ' . ++$n, @{$opt{headers} || []}]));
    my $status = $c->response()->status();

    return $status == 400 ? $status : "$status: " . logged($n);
}

sub by_tls {
    my ($name) = @_;

    my $file = testdir() . '/' . ($name // '');

    return by_curl($name ? "--cert $file.pem --key $file.key" : '',
                   'https://127.0.0.1:' . port(0));
}

# by curl, which has certificates and unix sockets: the status
sub by_curl {
    my ($options, $server, @headers) = @_;

    my $dir = testdir();
    write_file('request', join '', map { "header = \"$_\"\n" } @headers,
               'X-Forwarded-Access-Token: ' . $alice->token(),
               'X-User-Key: ' . $alice->user_key());

    return scalar qx(curl -sk -K $dir/request $options -o $dir/out \\
                     -w '%{http_code}' $server$uri);
}

# a token of exactly so many bytes
sub big {
    my ($length) = @_;

    my $pad = int(($length - length jwt({ pad => '' })) * 3 / 4);

    # no claims alone give every length
    for my $header (map { 'x' x $_ } 1 .. 8) {
        for my $claim (map { 'x' x $_ } $pad - 12 .. $pad + 4) {
            my $token = jwt({ pad => $claim }, header => { pad => $header });
            return $token if length $token == $length;
        }
    }

    die "no token of $length bytes\n";
}

sub sized {
    my ($token, @more) = @_;

    return result($uri, user_key => $alice->user_key(), headers => [
        "X-Forwarded-Access-Token: $token", @more]);
}
