package TI::Tls;

# Certificates of a test's own making, and TLS in front of a server that
# knows none.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::SSL ();
use IO::Socket::SSL::Utils qw(CERT_create CERT_free KEY_free PEM_cert2string
                              PEM_key2string);
use JSON::PP ();
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);

use TI::Env qw(testdir write_file append_file read_file port fork_server
               end_process at_end);

our @EXPORT = qw(authority certificate tls_front);

my $json = JSON::PP->new->latin1->canonical;
my %authorities;


# authority(name = 'ca'): the file of a new CA's certificate; once made, the
# same
sub authority {
    my ($name) = @_;

    $name //= 'ca';
    _authority($name);

    return testdir() . "/$name.pem";
}

sub _authority {
    my ($name) = @_;

    return $authorities{$name} //= do {
        my ($cert, $key) = CERT_create(
            CA => 1, subject => { commonName => "The test's $name" },
            not_after => time() + 86400);
        write_file("$name.pem", PEM_cert2string($cert));
        [$cert, $key];
    };
}

# certificate(name, names => ['localhost', …], addresses => ['127.0.0.1'],
# by => an authority's name, from, until): NAME.crt with its key
sub certificate {
    my ($name, %opt) = @_;

    my ($cert, $key) = CERT_create(
        subject => { commonName => $name },
        subjectAltNames => [
            (map { [DNS => $_] } @{$opt{names} || []}),
            (map { [IP => $_] } @{$opt{addresses} || []})],
        purpose => 'server', issuer => _authority($opt{by} // 'ca'),
        not_before => $opt{from} // time() - 3600,
        not_after => $opt{until} // time() + 86400);

    my $path = write_file("$name.crt", PEM_cert2string($cert)
                                       . PEM_key2string($key), 0600);
    CERT_free($cert);
    KEY_free($key);

    return $path;
}


# tls_front(name, port behind it, file of certificate and key): listens on
# port("NAME-tls").  A process for each connection, so that a handshake may
# take as long as it likes.
sub tls_front {
    my ($name, $behind, $file) = @_;

    my $front = bless {
        port => port("$name-tls"), behind => $behind,
        file => testdir() . "/$name-tls.crt",
        log => testdir() . "/$name-tls.handshakes",
    }, __PACKAGE__;

    write_file($front->{log}, '');
    $front->certificate_is($file);
    $front->start();
    at_end(sub { $front->stop() });

    return $front;
}

sub port_number { $_[0]{port} }

# another certificate, from now on
sub certificate_is {
    my ($front, $file) = @_;

    write_file("$front->{file}.new", read_file($file), 0600);
    rename("$front->{file}.new", $front->{file}) or die "$front->{file}: $!\n";
}

# all handshakes there were: { ok, name, error }
sub handshakes {
    my ($front) = @_;

    return map { $json->decode($_) } split /\n/, read_file($front->{log});
}

sub start {
    my ($front) = @_;

    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $front->{port}, Listen => 64,
        ReuseAddr => 1) or die "tls: $!\n";

    $front->{pid} = fork_server(sub {
        $SIG{CHLD} = 'IGNORE';
        my $parent = getppid();
        my $select = IO::Select->new($socket);
        while (getppid() == $parent) {
            $select->can_read(1) or next;
            my $client = $socket->accept() or next;
            fork_server(sub { close($socket); $front->_serve($client) });
            close($client);
        }
    });
    close($socket);
}

sub stop {
    my ($front) = @_;

    end_process($front->{pid}, 'TERM') if $front->{pid};
    undef $front->{pid};
}


# --- in a connection's process ----------------------------------------------

sub _serve {
    my ($front, $client) = @_;

    my $tls = IO::Socket::SSL->start_SSL(
        $client, SSL_server => 1, SSL_cert_file => $front->{file},
        SSL_key_file => $front->{file}, Timeout => 30);

    append_file($front->{log}, $json->encode({
        ok => $tls ? 1 : 0,
        $tls ? (name => $tls->get_servername() // '')
             : (error => "$IO::Socket::SSL::SSL_ERROR"),
    }) . "\n");
    return if !$tls;

    my $plain = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $front->{behind}) or return;
    my $select = IO::Select->new($tls, $plain);

    while (1) {
        my @ready = $tls->pending() ? $tls : $select->can_read();

        for my $from (@ready) {
            my $n = sysread($from, my $bytes, 65536);
            if (!$n) {
                _reset($client) if !defined $n && $!{ECONNRESET};
                $tls->close();
                return;
            }
            _write($from == $tls ? $plain : $tls, $bytes) or return;
        }
    }
}

sub _write {
    my ($to, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite($to, $bytes) or return 0;
        substr($bytes, 0, $n, '');
    }

    return 1;
}

# RST, not the end that TLS would say
sub _reset {
    my ($client) = @_;

    setsockopt($client, SOL_SOCKET, SO_LINGER, pack('II', 1, 0));
    POSIX::_exit(0);
}


1;
