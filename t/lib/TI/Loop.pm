package TI::Loop;

# A small event loop for the test servers: streams that read, queues that
# write, wait, or close in order, and timers.

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

sub new { bless { streams => {}, listeners => {}, timers => [] }, shift }

# listen(socket, sub { my ($stream) = @_ })
sub listen {
    my ($loop, $socket, $on_accept) = @_;

    $socket->blocking(0);
    $loop->{listeners}{fileno $socket} = [$socket, $on_accept];
}

# add(socket, sub { my ($stream, $bytes) = @_ }, sub { on close }): a stream
sub add {
    my ($loop, $socket, $on_read, $on_close) = @_;

    $socket->blocking(0);
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1)
        if $socket->isa('IO::Socket::INET');

    my $stream = bless {
        loop => $loop, socket => $socket, fd => fileno $socket, queue => [],
        on_read => $on_read, on_close => $on_close, until => 0, sent => 0,
    }, 'TI::Loop::Stream';

    return $loop->{streams}{$stream->{fd}} = $stream;
}

# after(seconds, sub { … }): whatever becomes of any stream meanwhile
sub after {
    my ($loop, $seconds, $run) = @_;

    push @{$loop->{timers}}, [time() + $seconds, $run];
}

sub run {
    my ($loop) = @_;

    my $parent = getppid();

    while (getppid() == $parent) {
        $loop->turn();
    }
}

sub turn {
    my ($loop) = @_;

    $loop->expire() if @{$loop->{timers}};

    my $now = time();
    my $wait = 1;
    my ($rd, $wr) = (IO::Select->new(), IO::Select->new());

    $rd->add($_->[0]) for values %{$loop->{listeners}};

    my @streams = values %{$loop->{streams}};
    $_->advance($now) for @streams;

    for my $s (values %{$loop->{streams}}) {
        $rd->add($s->{socket}) if $s->{on_read} && !$s->{stopped};
        next if !@{$s->{queue}};
        my $next = $s->{queue}[0];
        if ($s->{until} > $now) {
            $wait = $s->{until} - $now if $s->{until} - $now < $wait;
        } elsif (ref $next eq 'CODE') {
            $wait = 0.01 if $wait > 0.01;
        } else {
            $wr->add($s->{socket});
        }
    }

    for my $timer (@{$loop->{timers}}) {
        my $left = $timer->[0] - $now;
        $wait = $left > 0 ? $left : 0 if $left < $wait;
    }

    my ($r, $w) = IO::Select->select($rd, $wr, undef, $wait);

    for my $fh (@{$w || []}) {
        my $s = $loop->{streams}{fileno($fh) // -1};
        $s->flush() if $s && $s->{socket} == $fh;
    }

    for my $fh (@{$r || []}) {
        my $fd = fileno($fh) // next;
        if (my $l = $loop->{listeners}{$fd}) {
            my $socket = $l->[0]->accept() or next;
            $l->[1]->($socket);
        } elsif (my $s = $loop->{streams}{$fd}) {
            $s->readable() if $s->{socket} == $fh;
        }
    }
}

sub expire {
    my ($loop) = @_;

    my $now = time();
    my @due = grep { $_->[0] <= $now } @{$loop->{timers}};

    @{$loop->{timers}} = grep { $_->[0] > $now } @{$loop->{timers}};
    $_->[1]->() for @due;
}


package TI::Loop::Stream;

use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

# What a queue holds: bytes; \seconds to wait; { at => time to wait for }; a
# sub that is asked again until it is true; ['close'] or ['reset'].
sub send {
    my ($s, @what) = @_;

    push @{$s->{queue}}, @what;
}

sub close_after { $_[0]->send(['close']) }

sub advance {
    my ($s, $now) = @_;

    while (@{$s->{queue}} && $s->{until} <= $now) {
        my $next = $s->{queue}[0];

        if (ref $next eq 'SCALAR') {
            shift @{$s->{queue}};
            $s->{until} = $now + $$next;
        } elsif (ref $next eq 'HASH') {
            shift @{$s->{queue}};
            $s->{until} = $next->{at};
        } elsif (ref $next eq 'CODE') {
            return if !$next->();
            shift @{$s->{queue}};
        } elsif (ref $next eq 'ARRAY') {
            shift @{$s->{queue}};
            $next->[0] eq 'reset' ? $s->reset() : $s->close();
            return;
        } elsif (!length $next) {
            shift @{$s->{queue}};
        } else {
            return;
        }
    }
}

sub flush {
    my ($s) = @_;

    my $n = syswrite($s->{socket}, $s->{queue}[0]);

    if (!defined $n) {
        $s->close() unless $!{EAGAIN} || $!{EINTR};
        return;
    }

    substr($s->{queue}[0], 0, $n, '');
    $s->{sent} += $n;
    $s->advance(time());
}

sub readable {
    my ($s) = @_;

    my $n = sysread($s->{socket}, my $bytes, 65536);

    if (!defined $n) {
        $s->close() unless $!{EAGAIN} || $!{EINTR};
    } elsif ($n == 0) {
        $s->close();
    } else {
        $s->{on_read}->($s, $bytes);
    }
}

# RST instead of FIN
sub reset {
    my ($s) = @_;

    setsockopt($s->{socket}, SOL_SOCKET, SO_LINGER, pack('II', 1, 0));
    $s->close();
}

sub close {
    my ($s) = @_;

    return if $s->{closed}++;
    delete $s->{loop}{streams}{$s->{fd}};
    CORE::close($s->{socket});
    $s->{queue} = [];
    $s->{on_close}->($s) if $s->{on_close};
}


1;
