# The harness's identity provider itself: what it publishes, its faults, TLS
# and the forward proxy, seen by plain clients.

use strict;
use warnings;

use IO::Socket::SSL ();

use TI::Test;
use TI::Tls;

my $idp = issuer();
my %at = (port => $idp->port_number());

my $r = get('/keys', %at);
is($r->json()->{keys}[0]{kid}, key('RS256')->{kid}, 'a key');
ok(!exists $r->json()->{keys}[0]{d}, 'its public half');
$r = get('/.well-known/openid-configuration', %at);
is($r->json()->{issuer}, $idp->url(), 'the document');
is($r->json()->{jwks_uri}, $idp->url('/keys'), 'and where the keys are');
is($idp->calls('/keys'), 1, 'one request for the keys');
is($idp->calls('WELL_KNOWN'), 1, 'one for the document');

$idp->keys(key('RS256', 'b'), key('ES256'));
$idp->headers('Cache-Control: max-age=7');
$idp->document(jwks_uri => undef, issuer => 'https://other.example.com');
$r = get('/keys', %at);
is(scalar(@{$r->json()->{keys}}), 2, 'other keys');
is($r->header('cache-control'), 'max-age=7', 'with a header');
$r = get('/.well-known/openid-configuration', %at);
ok(!exists $r->json()->{jwks_uri}, 'a member left out');
is($r->json()->{issuer}, 'https://other.example.com', 'another');

# faults
$idp->fault('/keys' => { status => 503 });
is(get('/keys', %at)->status(), 503, 'a status');
$idp->fault('/keys' => { cut => 200 });
ok(get('/keys', %at)->truncated(), 'closed in its body');
$idp->fault('/keys' => { reset => 1, cut => 20 });
is(get('/keys', %at)->error(), 'reset', 'reset');
$idp->fault('/keys' => { drip => [200, 0.01] });
is(get('/keys', %at)->json()->{keys}[1]{kty}, 'EC', 'in drops, whole');
$idp->fault('/keys' => { hold => 'never' });
is(get('/keys', %at, timeout => 0.2)->error(), 'timeout', 'never');
$idp->fault('/keys' => { flood => ['x' x 1000, 20], ends => 'close' });
ok(length get('/keys', %at)->body() > 20_000, 'a flood');
my ($ended) = grep { $_->{sent} > 20_000 }
              wait_for(sub { my @all = $idp->ended();
                             (grep { $_->{sent} > 20_000 } @all) && \@all },
                       'its end')->@*;
is($ended->{requests}, 1, 'whose end is told');
$idp->fault('/keys' => undef);
is(get('/keys', %at)->status(), 200, 'well again');

$idp->stop();
is(get('/keys', %at)->status(), 0, 'refusing');
$idp->start();
is(scalar(@{get('/keys', %at)->json()->{keys}}), 2, 'back, with its keys');

my $deaf = IO::Socket::INET->new(PeerAddr => '127.0.0.1', Timeout => 0.3,
                                 PeerPort => deaf_port());
ok(!$deaf, 'a port that does not answer');

# TLS
my $safe = issuer('safe', tls => 1);

sub secure_get {
    my (%opt) = @_;

    my $tls = IO::Socket::SSL->new(
        PeerAddr => '127.0.0.1', PeerPort => $safe->front()->port_number(),
        SSL_ca_file => authority(), SSL_verifycn_scheme => 'http',
        SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_PEER(),
        SSL_verifycn_name => 'localhost', SSL_hostname => 'localhost', %opt)
        or return "$IO::Socket::SSL::SSL_ERROR";

    print $tls "GET /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    return join '', <$tls>;
}

like(secure_get(), qr/"kid":"rsa-default"/, 'over TLS');
authority('stranger');
like(secure_get(SSL_ca_file => authority('stranger')), qr/verify failed/,
     'of an unknown authority');
like(secure_get(SSL_verifycn_name => 'else.test'), qr/hostname/,
     'another name');
$safe->front()->certificate_is(certificate('old', names => ['localhost'],
                                           from => time() - 9000,
                                           until => time() - 60));
like(secure_get(), qr/verify failed/, 'expired');
my @handshakes = $safe->front()->handshakes();
is($handshakes[0]{name}, 'localhost', 'the name that was asked for');
ok($handshakes[0]{ok} && !$handshakes[-1]{ok}, 'who went on, and who did not');

# the forward proxy
my $forward = forward_proxy();
my %through = (port => (split /:/, $forward->address())[1]);
my $url = 'http://idp.test:' . $idp->port_number();

is(get("$url/keys", %through)->status(), 200, 'through the proxy');
is($forward->calls(), 1, 'counted');
$forward->mode(407);
is(get("$url/keys", %through)->status(), 407, 'refused by it');
$forward->mode('pass');
my $c = connection(%through);
$c->send('CONNECT idp.test:' . $idp->port_number() . " HTTP/1.1\r\n\r\n");
like($c->response(head => 1)->status(), qr/200/, 'CONNECT');
is($c->request(GET => '/keys')->status(), 200, 'through the tunnel');
is(($forward->requests())[-1]{method}, 'CONNECT', 'told so');

done_testing();
