package TI::Forward;

# A forward proxy as companies have one at their edge: for http the whole URL
# in the request line, for https CONNECT.  Whatever name it is asked for is
# 127.0.0.1 to it, so that a test can tell who resolved the name.

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET ();
use JSON::PP ();

use TI::Env qw(testdir write_file append_file read_file port define
               fork_server end_process at_end);
use TI::Loop;

our @EXPORT = qw(forward_proxy);

my $json = JSON::PP->new->latin1->canonical;


# forward_proxy(name = 'FORWARD'): %%FORWARD%% is its address
sub forward_proxy {
    my ($name) = @_;

    $name //= 'FORWARD';
    my $f = bless {
        port => port("forward$name"), seen => 0,
        log => testdir() . "/$name.forwarded",
        mode => testdir() . "/$name.mode",
    }, __PACKAGE__;

    define($name => $f->address());
    write_file($f->{log}, '');
    $f->mode('pass');

    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $f->{port}, Listen => 64,
        ReuseAddr => 1) or die "forward proxy: $!\n";
    $f->{pid} = fork_server(sub { $f->_serve($socket) });
    close($socket);
    at_end(sub { $f->stop() });

    return $f;
}

sub address { "127.0.0.1:$_[0]{port}" }

sub stop {
    my ($f) = @_;

    end_process($f->{pid}, 'TERM') if $f->{pid};
    undef $f->{pid};
}

# mode(what): pass; a status such as 407 or 502 instead; hang; reset
sub mode {
    my ($f, $mode) = @_;

    write_file("$f->{mode}.new", $mode);
    rename("$f->{mode}.new", $f->{mode}) or die "$f->{mode}: $!\n";
}

# what it was asked since the last forget(): { method, target, head }
sub requests {
    my ($f) = @_;

    my @lines = split /\n/, read_file($f->{log});

    return map { $json->decode($_) } @lines[$f->{seen} .. $#lines];
}

sub calls { scalar(my @all = $_[0]->requests()) }

sub forget {
    my ($f) = @_;

    $f->{seen} += $f->calls();
}


# --- in the child -----------------------------------------------------------

sub _serve {
    my ($f, $socket) = @_;

    my $loop = TI::Loop->new();

    $loop->listen($socket, sub {
        my ($client) = @_;
        my ($buffer, $server) = ('');

        $loop->add($client, sub {
            my ($stream, $bytes) = @_;

            if ($server) {
                $server->send($bytes);
                return;
            }
            $buffer .= $bytes;
            return if $buffer !~ /^(.*?\r\n)\r\n/s;
            $server = $f->_begin($loop, $stream, $1,
                                 substr($buffer, length($1) + 2));
        }, sub { $server->close() if $server });
    });

    $loop->run();
}

# the connection to where a request wants to go, or nothing
sub _begin {
    my ($f, $loop, $stream, $head, $rest) = @_;

    my ($method, $target) = $head =~ /^(\S+) (\S+) /;
    append_file($f->{log}, $json->encode({
        method => $method, target => $target, head => $head }) . "\n");

    my $mode = read_file($f->{mode});

    if ($mode =~ /^\d+$/) {
        $stream->send("HTTP/1.1 $mode Test\r\nContent-Length: 0\r\n"
                      . "Connection: close\r\n\r\n");
        $stream->close_after();
        return;
    }
    return if $mode eq 'hang';
    if ($mode eq 'reset') {
        $stream->reset();
        return;
    }

    my ($port) = $target =~ ($method eq 'CONNECT' ? qr{:(\d+)$}
                                                  : qr{^http://[^/]*:(\d+)});
    my $socket = $port && IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $port);
    if (!$socket) {
        $stream->send("HTTP/1.1 502 Test\r\nContent-Length: 0\r\n\r\n");
        $stream->close_after();
        return;
    }

    my $server = $loop->add($socket, sub { $stream->send($_[1]) },
                            sub { $stream->close_after() });

    if ($method eq 'CONNECT') {
        $stream->send("HTTP/1.1 200 Connected\r\n\r\n");
    } else {
        $head =~ s{^(\S+) http://[^/]*}{$1 };
        $head =~ s{^proxy-[^\r]*\r\n}{}mgi;
        $server->send("$head\r\n");
    }
    $server->send($rest) if length $rest;

    return $server;
}


1;
