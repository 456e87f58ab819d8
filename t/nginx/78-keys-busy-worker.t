# A worker that something else keeps busy for longer than its claim to a fetch
# lasts: it does not begin another while the one before is under way.

use strict;
use warnings;

use Fcntl qw(O_NONBLOCK O_RDWR);
use POSIX ();

use TI::Test;
use TI::Watch;

needs_module();

# keys that never come; the second document takes its time
my $documents = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;
    my $base = "http://$request->{headers}{host}";

    return { delay => 30, json => { keys => [] } }
        if $request->{uri} =~ m{^/keys};

    $documents++;
    return { delay => $documents == 2 ? 0.7 : 0,
             json => { issuer => $base,
                       jwks_uri => "$base/keys/$documents" } };
});

# a log that nobody reads
my $fifo = testdir() . '/fifo';
POSIX::mkfifo($fifo, 0600) or die "mkfifo: $!\n";
sysopen(my $pipe, $fifo, O_RDWR | O_NONBLOCK) or die "$fifo: $!\n";

nginx_start(<<'CONF');
    token_issuer corp {
        issuer      http://%%UPSTREAM_idp%%;
        audience    api://search;
        allow_http  on;
        timeout     1s;
        keys_wait   100ms;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        location / { token_auth corp; empty_gif; }
        location /free { empty_gif; }
        location /busy { access_log %%TESTDIR%%/fifo; empty_gif; }
    }
CONF

my ($busy, $caller) = (connection(), connection());
is($_->request(GET => '/free')->status(), 200, 'connected')
    for $busy, $caller;

wait_for(sub { grep { $_->{uri} eq '/keys/1' } $idp->requests() }, 'a fetch');
for my $size (4096, 1) {
    1 while syswrite($pipe, 'x' x $size);
}
$busy->send(http_bytes(GET => '/busy'));

# its claim lasts for two timeouts and a second
sleep 4;
$caller->send(http_bytes(GET => '/', token => jwt({
    iss => 'http://127.0.0.1:' . $idp->port_number() })));
1 while sysread($pipe, my $bytes, 65536);
is(result($caller->response()), 'keys-unavailable', 'a caller meanwhile');

wait_for(sub { $documents = grep { !/keys/ } map { $_->{uri} }
               $idp->requests(); $documents >= 4 }, 'further tries', 20);
my ($last, @soon) = (0);
for my $request ($idp->requests()) {
    push @soon, "$request->{uri} at $request->{time}"
        if $request->{uri} !~ /keys/ && $request->{time} - $last < 0.9;
    $last = $request->{time} if $request->{uri} =~ /keys/;
}
is_deeply(\@soon, [], 'no fetch began while another was under way');

done_testing();
