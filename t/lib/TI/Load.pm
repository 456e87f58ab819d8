package TI::Load;

# Many requests at a time, by one loop over sockets that do not block.
#
#     my @r = burst([$alice, '/a', port], …);
#                         a connection each, opened before; then all are sent
#                         at once.  at => time: then.
#     my $n = load(sub { … }, done => sub { … }, at_once => 64)
#                         asks the sub for a request as long as it gives some:
#                         [person, uri, port, what you like], 0 for not yet,
#                         undef for the end; a connection each.  done is told
#                         (that request, its answer)
#
# An answer is { status, body, seconds, json => what the body says, error =>
# why there is none, sent => when }.  result_of(answer) is "ok" for a 200,
# else the result that it names.

use strict;
use warnings;

use Errno qw(EINPROGRESS EAGAIN EINTR);
use Exporter qw(import);
use JSON::PP ();
use Socket qw(AF_INET SOCK_STREAM IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_ERROR
              pack_sockaddr_in inet_aton);
use Time::HiRes qw(time sleep);

use TI::Env qw(port patience);
use TI::Http qw(http_bytes);

our @EXPORT = qw(burst load result_of);

my $json = JSON::PP->new->latin1->allow_nonref;


sub burst {
    my ($requests, %opt) = @_;

    my @open = map { _open(@$_) } @$requests;

    _wait(\@open, sub { $_[0]{wants} eq 'connect' }, 5);
    sleep($opt{at} - time()) if $opt{at} && $opt{at} > time();
    for my $c (@open) {
        $c->{sent} = time();
        _send($c) if !$c->{answer};
    }
    _wait(\@open, sub { !$_[0]{answer} }, $opt{timeout} // 20);
    _ended($_, 'timeout') for grep { !$_->{answer} } @open;

    return map { $_->{answer} } @open;
}

sub load {
    my ($next, %opt) = @_;

    my $at_once = $opt{at_once} // 64;
    my ($n, $over, %open) = (0, 0);

    while (!$over || %open) {
        while (!$over && keys %open < $at_once) {
            my $request = $next->();
            if (!$request) {
                $over = !defined $request;
                last;
            }
            my $c = _open(@$request);
            $c->{request} = $request;
            $c->{sent} = time();
            $open{$c} = $c;
            $n++;
        }

        _turn([values %open], 0.01);

        for my $c (values %open) {
            _ended($c, 'timeout')
                if time() > $c->{sent} + ($opt{timeout} // 30) * patience();
            next if !$c->{answer};
            delete $open{$c};
            $opt{done}->($c->{request}, $c->{answer});
        }
    }

    return $n;
}

sub result_of {
    my ($answer) = @_;

    return 'ok' if $answer->{status} == 200;

    my $said = $answer->{json};

    return ref $said eq 'HASH'
           && ($said->{type} // '') =~ /^urn:ngx-token-injector:(.+)/
           ? $1 : $answer->{status} || $answer->{error};
}


# --- one request ------------------------------------------------------------

sub _open {
    my ($person, $uri, $port) = @_;

    $port = port($port // 0) if ($port // 0) !~ /^\d{4,}$/;

    my $c = {
        wants => 'connect', in => '', sent => time(),
        out => http_bytes('GET', $uri, as => $person,
                          headers => ['Connection: close']),
    };

    socket(my $socket, AF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
    $socket->blocking(0);
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
    @$c{qw(socket fd)} = ($socket, fileno $socket);

    connect($socket, pack_sockaddr_in($port, inet_aton('127.0.0.1')))
        or $! == EINPROGRESS or _ended($c, "connect: $!");

    return $c;
}

sub _wait {
    my ($all, $which, $seconds) = @_;

    my $end = time() + $seconds * patience();

    while (time() < $end) {
        my @left = grep { !$_->{answer} && $which->($_) } @$all;
        return if !@left;
        _turn(\@left, 0.1);
    }
}

sub _turn {
    my ($all, $wait) = @_;

    my ($rd, $wr) = ('', '');

    for my $c (@$all) {
        vec($c->{wants} eq 'read' ? $rd : $wr, $c->{fd}, 1) = 1;
    }
    select($rd, $wr, undef, $wait) > 0 or return;

    for my $c (@$all) {
        next if $c->{answer};
        if (vec($wr, $c->{fd}, 1)) {
            _writable($c);
        } elsif (vec($rd, $c->{fd}, 1)) {
            _read($c);
        }
    }
}

sub _writable {
    my ($c) = @_;

    if (my $error = unpack('i', getsockopt($c->{socket}, SOL_SOCKET,
                                           SO_ERROR)))
    {
        local $! = $error;
        return _ended($c, "connect: $!");
    }

    # of a burst, whoever is connected waits for the others
    $c->{wants} = 'write';
    _send($c) if $c->{request} || $c->{begun};
}

sub _send {
    my ($c) = @_;

    local $SIG{PIPE} = 'IGNORE';

    $c->{begun} = 1;
    my $n = syswrite($c->{socket}, $c->{out});

    if (!defined $n) {
        _ended($c, "write: $!") if $! != EAGAIN && $! != EINTR;
        return;
    }
    substr($c->{out}, 0, $n, '');
    $c->{wants} = 'read' if !length $c->{out};
}

sub _read {
    my ($c) = @_;

    my $n = sysread($c->{socket}, $c->{in}, 65536, length $c->{in});

    if (!defined $n) {
        _ended($c, "read: $!") if $! != EAGAIN && $! != EINTR;
    } elsif ($n == 0) {
        _ended($c, 'closed');
    }
}

# its answer, whole or not
sub _ended {
    my ($c, $error) = @_;

    my ($head, $body) = split /\r\n\r\n/, $c->{in}, 2;
    my ($status) = ($head // '') =~ m{^HTTP/1\.1 (\d+)};

    close($c->{socket});
    $c->{answer} = {
        status => $status // 0, body => $body // '', head => $head // '',
        seconds => time() - $c->{sent}, sent => $c->{sent},
        error => defined $status && $error eq 'closed' ? undef : $error,
    };
    return if !defined $status;

    $c->{answer}{json} = eval { $json->decode($body) };
}


1;
