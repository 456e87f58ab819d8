package TI::Peer;

# Which process is at the other end of a socket here.

use strict;
use warnings;

use Exporter qw(import);
use Socket qw(SOL_SOCKET AF_UNIX);

use constant SO_PEERCRED => 17;

our @EXPORT_OK = qw(peer_pid);


# peer_pid(socket): of a unix socket who connected it; of a TCP socket who has
# its other end open now, undef if nobody has
sub peer_pid {
    my ($socket) = @_;

    if ($socket->sockdomain() == AF_UNIX) {
        my $cred = getsockopt($socket, SOL_SOCKET, SO_PEERCRED) // return;
        return (unpack('iii', $cred))[0];
    }

    my $inode = _inode($socket->peerport(), $socket->sockport()) // return;

    for my $fd (glob('/proc/[0-9]*/fd/*')) {
        next if (readlink($fd) // '') ne "socket:[$inode]";
        return ($fd =~ m{^/proc/(\d+)})[0];
    }

    return undef;
}

sub _inode {
    my ($local, $remote) = @_;

    open(my $fh, '<', '/proc/net/tcp') or die "/proc/net/tcp: $!\n";
    my $ends = sprintf('0100007F:%04X 0100007F:%04X', $local, $remote);

    for my $line (<$fh>) {
        my @field = split ' ', $line;
        return $field[9] if "$field[1] $field[2]" eq $ends;
    }

    return undef;
}


1;
