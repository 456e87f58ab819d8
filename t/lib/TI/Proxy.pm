package TI::Proxy;

# A TCP proxy in front of Redis (or anything else) that misbehaves to order.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use JSON::PP ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

use TI::Env qw(testdir port define patience fork_server end_process at_end);
use TI::Redis qw(redis_sock);

our @EXPORT = qw(proxy);

my $json = JSON::PP->new->latin1;

# proxy(name => 'PROXY', to => unix socket or port): listening on
# 127.0.0.1:%%PROXY%% and unix:%%PROXY_SOCK%%, Redis behind it by default
sub proxy {
    my (%opt) = @_;

    my $name = $opt{name} // 'PROXY';
    my $p = bless {
        port => port("proxy$name"), sock => testdir() . "/$name.sock",
        to => $opt{to} // redis_sock(),
    }, __PACKAGE__;

    define($name => $p->{port}, "${name}_SOCK" => $p->{sock});

    my @listeners = (
        IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                              LocalPort => $p->{port}, Listen => 64,
                              ReuseAddr => 1),
        IO::Socket::UNIX->new(Local => $p->{sock}, Listen => 64),
    );
    die "proxy: $!\n" if grep { !defined } @listeners;
    chmod(0777, $p->{sock});

    my ($ours, $theirs) = IO::Socket::UNIX->socketpair(
        AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "proxy: $!\n";

    $p->{pid} = fork_server(sub {
        close($ours);
        TI::Proxy::Child->new($p)->serve($theirs, @listeners);
    });
    $p->{control} = $ours;
    at_end(sub { end_process($p->{pid}, 'TERM') });

    return $p;
}

sub port_number { $_[0]{port} }

# The proxy does as it was told when these return.

# mode(NAME, value): of what follows, on every connection
#   pass              as it comes
#   delay => seconds  replies that much later
#   byte              replies one byte at a time, a millisecond apart
#   cut => n          n more bytes of replies on a connection, then closed
#   garbage => bytes  these instead of replies
#   reply => bytes    these for each command, which Redis never sees
#   swallow           commands go nowhere, nothing answers
#   refuse            connections are closed as they come
sub mode {
    my ($p, $mode, $value) = @_;

    return $p->_tell({ mode => $mode, value => $value });
}

# bytes that nobody asked for, to every connection
sub inject {
    my ($p, $bytes) = @_;

    return $p->_tell({ inject => $bytes });
}

# closes every connection there is
sub drop { $_[0]->_tell({ drop => 1 }) }

# { accepted, open: connections, writes: reads from clients that brought
# commands, commands => [[name, argument…], …] }; not what a worker says for
# itself: that it listens, whether Redis is there, whom providers are for
sub stats { $_[0]->_tell({ stats => 1 }) }

# stats() begin anew
sub forget { $_[0]->_tell({ forget => 1 }) }

sub _tell {
    my ($p, $what) = @_;

    my $line = $json->encode($what) . "\n";
    (syswrite($p->{control}, $line) // 0) == length $line
        or die "proxy: $!\n";

    my $answer = '';
    while ($answer !~ /\n\z/) {
        IO::Select->new($p->{control})->can_read(10 * patience())
            or die "proxy: no answer\n";
        sysread($p->{control}, $answer, 1 << 20, length $answer)
            or die "proxy: gone\n";
    }

    return $json->decode($answer);
}


package TI::Proxy::Child;

use POSIX ();
use Time::HiRes qw(time);

use TI::Loop;

sub new {
    my ($class, $p) = @_;

    return bless {
        to => $p->{to}, mode => 'pass', value => undef, pairs => {},
        accepted => 0, writes => 0, commands => [],
        loop => TI::Loop->new(),
    }, $class;
}

sub serve {
    my ($self, $control, @listeners) = @_;

    my $loop = $self->{loop};
    my $buffer = '';

    $loop->add($control, sub {
        my ($stream, $bytes) = @_;

        $buffer .= $bytes;
        while ($buffer =~ s/^(.*)\n//) {
            my $answer = $self->obey($json->decode($1));
            $stream->send($json->encode($answer) . "\n");
        }
    }, sub { POSIX::_exit(0) });

    $loop->listen($_, sub { $self->accept(@_) }) for @listeners;
    $loop->run();
}

sub obey {
    my ($self, $what) = @_;

    my @pairs = values %{$self->{pairs}};

    if (defined $what->{mode}) {
        @$self{qw(mode value)} = @$what{qw(mode value)};
        $_->{sent} = 0 for @pairs;
    }
    if (defined $what->{inject}) {
        $_->{client}->send($what->{inject}) for @pairs;
    }
    if ($what->{drop}) {
        $_->{client}->close() for @pairs;
    }
    if ($what->{forget}) {
        @$self{qw(accepted writes commands)} = (0, 0, []);
    }

    return {
        accepted => $self->{accepted},
        open => scalar keys %{$self->{pairs}},
        writes => $self->{writes}, commands => $self->{commands},
    };
}

sub accept {
    my ($self, $socket) = @_;

    $self->{accepted}++;
    return if $self->{mode} eq 'refuse';

    my $server = $self->{to} =~ m{^/}
        ? IO::Socket::UNIX->new(Peer => $self->{to})
        : IO::Socket::INET->new(PeerAddr => "127.0.0.1:$self->{to}");
    return if !$server;

    my $pair = { sent => 0, asked => '' };
    my $id = "$pair";
    $self->{pairs}{$id} = $pair;

    $pair->{client} = $self->{loop}->add($socket,
        sub { $self->from_client($pair, $_[1]) },
        sub { delete $self->{pairs}{$id}; $pair->{server}->close() });
    $pair->{server} = $self->{loop}->add($server,
        sub { $self->from_server($pair, $_[1]) },
        sub { $pair->{client}->close_after() });
}

sub from_client {
    my ($self, $pair, $bytes) = @_;

    $pair->{asked} .= $bytes;
    my ($n, $counts) = (0, 0);
    while (my $command = _take_command(\$pair->{asked})) {
        $n++;
        next if "@$command[0, -1]" =~ /^(?:SUBSCRIBE|PING) /
                || "@$command[0 .. $#$command && 1]" =~ /^HMGET \S*segments$/;
        push @{$self->{commands}}, $command;
        $counts = 1;
    }
    $self->{writes} += $counts;

    if ($self->{mode} eq 'reply') {
        $pair->{client}->send($self->{value} x $n);
    } elsif ($self->{mode} ne 'swallow') {
        $pair->{server}->send($bytes);
    }
}

sub from_server {
    my ($self, $pair, $bytes) = @_;

    my ($mode, $value) = @$self{qw(mode value)};
    my $client = $pair->{client};

    if ($mode eq 'delay') {
        $client->send({ at => time() + $value }, $bytes);
    } elsif ($mode eq 'byte') {
        $client->send(map { ($_, \0.001) } split //, $bytes);
    } elsif ($mode eq 'garbage') {
        $client->send($value);
    } elsif ($mode eq 'cut') {
        my $left = $value - $pair->{sent};
        $pair->{sent} += length $bytes;
        $client->send(substr($bytes, 0, $left)) if $left > 0;
        $client->close_after() if $pair->{sent} >= $value;
    } elsif ($mode ne 'swallow') {
        $client->send($bytes);
    }
}

# one whole command, as a reference to its words
sub _take_command {
    my ($buffer) = @_;

    $$buffer =~ /^\*(\d+)\r\n/ or return;

    my ($n, $at) = ($1, length $&);
    my @words;

    for (1 .. $n) {
        substr($$buffer, $at) =~ /^\$(\d+)\r\n/ or return;
        $at += length $&;
        return if length $$buffer < $at + $1 + 2;
        push @words, substr($$buffer, $at, $1);
        $at += $1 + 2;
    }
    $$buffer = substr($$buffer, $at);

    return \@words;
}


1;
