package TI::Issuer;

# Identity providers that publish their keys, politely or not.  See
# TI/Test.pm for how a test speaks to them; their answers are an upstream's.

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET ();
use JSON::PP ();

use TI::Env qw(testdir write_file port define wait_for);
use TI::Token qw(jwk jwt key);
use TI::Upstream;

our @ISA = qw(TI::Upstream);
our @EXPORT = qw(issuer deaf_port);

my $json = JSON::PP->new->latin1->canonical;
my @deaf;
my $where = '/.well-known/openid-configuration';


# issuer([name], keys => [keys], tls => 1 or what certificate() takes,
# host => '127.0.0.1')
sub issuer {
    my $name = @_ % 2 ? shift : '';
    my (%opt) = @_;

    my $idp = bless upstream("issuer$name"), __PACKAGE__;
    my $host = $opt{host} // '127.0.0.1';

    @$idp{qw(label headers fault document)} = ($name, [], {}, {});
    if ($opt{tls}) {
        require TI::Tls;
        $idp->{front} = TI::Tls::tls_front("issuer$name", $idp->port_number(),
            TI::Tls::certificate(
                "issuer$name", names => ['localhost', $host],
                addresses => ['127.0.0.1'],
                ref $opt{tls} ? %{$opt{tls}} : ()));
    }

    $idp->{url} = ($opt{tls} ? 'https' : 'http') . "://$host:"
                  . ($idp->{front} || $idp)->port_number();
    define('ISSUER' . ($name eq '' ? '' : "_$name") => $idp->{url});
    $idp->keys(@{$opt{keys} || [key('RS256')]});

    return $idp;
}

sub url { $_[0]{url} . ($_[1] // '') }
sub front { $_[0]{front} }

# keys(key or hash, …): what it publishes from now on; its tokens are signed
# by the first
sub keys {
    my ($idp, @keys) = @_;

    $idp->{keys} = \@keys;
    $idp->_publish();
}

# headers('Cache-Control: max-age=1', …): with the keys
sub headers {
    my ($idp, @headers) = @_;

    $idp->{headers} = \@headers;
    $idp->_publish();
}

# document(member => value, …): what the discovery document says differently;
# a member that is undef is left out
sub document {
    my ($idp, %differ) = @_;

    $idp->{document} = \%differ;
    $idp->_publish();
}

# fault(path => { … }): members of an upstream's answer, which change the good
# one; fault(path => undef) ends it.  Paths: /keys and WELL_KNOWN.
sub fault {
    my ($idp, $path, $fault) = @_;

    $path = $where if $path eq 'WELL_KNOWN';
    $idp->{fault}{$path} = $fault || {};
    $idp->_publish();
}

sub _publish {
    my ($idp) = @_;

    my %document = (
        issuer => $idp->{url}, jwks_uri => $idp->url('/keys'),
        authorization_endpoint => $idp->url('/authorize'),
        token_endpoint => $idp->url('/token'),
        response_types_supported => ['code'],
        subject_types_supported => ['public'],
        id_token_signing_alg_values_supported => ['RS256'],
        %{$idp->{document}},
    );
    delete @document{grep { !defined $document{$_} } CORE::keys %document};

    my %good = (
        '/keys' => {
            body => $json->encode({ keys => [
                map { ref eq 'HASH' && $_->{jwk} ? jwk($_) : $_ }
                    @{$idp->{keys}}] }),
            headers => ['Content-Type: application/json',
                        @{$idp->{headers}}],
        },
        $where => {
            body => $json->encode(\%document),
            headers => ['Content-Type: application/json'],
        },
    );

    $idp->answer((map {
        $_ => { %{$good{$_}}, %{$idp->{fault}{$_} || {}} }
    } CORE::keys %good), '*' => { status => 404, body => 'not here' });
}

sub start {
    my ($idp, @answers) = @_;

    $idp->SUPER::start(@answers);
    $idp->{front}->start() if $idp->{front} && !$idp->{front}{pid};
}

# nothing listens any more
sub stop {
    my ($idp) = @_;

    $idp->{front}->stop() if $idp->{front};
    $idp->SUPER::stop();
}

# requests(path), calls(path): of that path, or of any
sub requests {
    my ($idp, $path) = @_;

    $path = $where if ($path // '') eq 'WELL_KNOWN';

    return grep { !defined $path || $_->{uri} eq $path }
           $idp->SUPER::requests();
}

sub calls { scalar(my @all = $_[0]->requests($_[1])) }

# wait_calls(n, path = '/keys')
sub wait_calls {
    my ($idp, $n, $path, $seconds) = @_;

    $path //= '/keys';
    wait_for(sub { $idp->calls($path) >= $n }, "$n calls of $path", $seconds);
}

# token({ claims }, options of jwt): one of its own
sub token {
    my ($idp, $claims, %opt) = @_;

    return jwt({ iss => $idp->{url}, %{$claims || {}} },
               key => $idp->{keys}[0], %opt);
}

# block(name, lines): a token_issuer of nginx.conf that trusts it; https by
# the test's authority
sub block {
    my ($idp, $name, $lines) = @_;

    my $trust = $idp->{front} ? 'ssl_trusted_certificate %%TESTDIR%%/ca.pem;'
                              : 'allow_http on;';
    $lines //= '';
    $trust = '' if $lines =~ /ssl_trusted_certificate|allow_http/;

    return join "\n", "token_issuer $name {", "issuer $idp->{url};",
                      'audience api://search;', $trust, $lines, "}\n\n";
}


# A port, here or of an address, that neither refuses nor accepts: its queue
# is full.
sub deaf_port {
    my (%opt) = @_;

    my $address = $opt{address} // '127.0.0.1';
    my $port = $opt{port} // port('deaf');
    my $socket = IO::Socket::INET->new(
        LocalAddr => $address, LocalPort => $port, Listen => 1)
        or die "deaf port: $!\n";
    listen($socket, 0);
    my @queued = map {
        IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port,
                              Blocking => 0)
    } 1 .. 3;

    push @deaf, @queued, $socket;

    return $port;
}


1;
