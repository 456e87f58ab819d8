package TI::Control;

# A test server in a process of its own that is told what to do meanwhile: a
# line of JSON each way.
#
# controlled(sub { … }, sockets to close here) runs a sub in the child, which
# returns what has a loop (a TI::Loop) and obey(hash), whose value is the
# answer.  The handle's tell(hash) returns it when it has been obeyed.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use IO::Socket::UNIX ();
use JSON::PP ();
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

use TI::Env qw(patience fork_server end_process at_end);
use TI::Loop;

our @EXPORT_OK = qw(controlled);

my $json = JSON::PP->new->latin1;


sub controlled {
    my ($make, @sockets) = @_;

    my ($ours, $theirs) = IO::Socket::UNIX->socketpair(
        AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "control: $!\n";

    my $pid = fork_server(sub {
        CORE::close($ours);
        my $server = $make->();
        _attend($server, $theirs);
        $server->{loop}->run();
    });
    CORE::close($_) for $theirs, @sockets;
    at_end(sub { end_process($pid, 'TERM') });

    return bless { socket => $ours, pid => $pid }, __PACKAGE__;
}

sub _attend {
    my ($server, $socket) = @_;

    my $buffer = '';

    $server->{loop}->add($socket, sub {
        my ($stream, $bytes) = @_;

        $buffer .= $bytes;
        while ((my $end = index($buffer, "\n")) >= 0) {
            my $line = substr($buffer, 0, $end + 1, '');
            my $answer = $server->obey($json->decode($line));
            $stream->send($json->encode($answer) . "\n");
        }
    }, sub { POSIX::_exit(0) });
}

sub stop { end_process($_[0]{pid}, 'TERM') }

sub tell {
    my ($c, $what) = @_;

    my $line = $json->encode($what) . "\n";
    (syswrite($c->{socket}, $line) // 0) == length $line
        or die "a test server: $!\n";

    my $answer = '';
    while ($answer !~ /\n\z/) {
        IO::Select->new($c->{socket})->can_read(10 * patience())
            or die "a test server: no answer\n";
        sysread($c->{socket}, $answer, 1 << 20, length $answer)
            or die "a test server: gone\n";
    }

    return $json->decode($answer);
}


1;
