package TI::Proxy;

# A TCP proxy in front of Redis (or anything else) that misbehaves to order.

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET ();
use IO::Socket::UNIX ();

use TI::Control qw(controlled);
use TI::Env qw(testdir port define wait_for);
use TI::Redis qw(redis_sock);

our @EXPORT = qw(proxy);

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

    $p->{server} = controlled(sub {
        TI::Proxy::Child->new($p, @listeners)
    }, @listeners);

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

# aim(what => regular expression, …): what is done when a command comes whose
# words, joined by spaces, look like that
#   skip => n         not to the first n of them
#   times => n        to one, unless said
#   at => before      when it has come, and before Redis sees it
#         executed    when Redis has done it, and before its reply is seen
#         after       when its reply is sent
#   do => kill        the process whose connection it is; not over TCP
#         cut         the connection, both sides
#         hold        it goes on that many seconds later: for => seconds
#   refuse => seconds connections are closed as they come, for so long
# Returns a number for fired().
sub aim {
    my ($p, $what, %opt) = @_;

    return $p->_tell({ aim => { what => "$what", skip => 0, times => 1,
                                at => 'before', do => 'cut', %opt } });
}

# fired(number): how often it did
sub fired {
    my ($p, $n) = @_;

    return $p->_tell({ fired => 1 })->[$n];
}

sub wait_fired {
    my ($p, $n, $seconds) = @_;

    wait_for(sub { $p->fired($n) }, 'the proxy to see what it waits for',
             $seconds);
}

# no aims any more
sub calm { $_[0]->_tell({ calm => 1 }) }

sub _tell { $_[0]{server}->tell($_[1]) }


package TI::Proxy::Child;

use Time::HiRes qw(time);

use TI::Loop;
use TI::Peer qw(peer_pid);

sub new {
    my ($class, $p, @listeners) = @_;

    my $self = bless {
        to => $p->{to}, mode => 'pass', value => undef, pairs => {},
        accepted => 0, writes => 0, commands => [], aims => [], fired => [],
        refuse => 0, loop => TI::Loop->new(),
    }, $class;

    $self->{loop}->listen($_, sub { $self->accept(@_) }) for @listeners;

    return $self;
}

sub obey {
    my ($self, $what) = @_;

    my @pairs = values %{$self->{pairs}};

    if ($what->{aim}) {
        push @{$self->{aims}}, { %{$what->{aim}}, n => @{$self->{fired}} + 0 };
        push @{$self->{fired}}, 0;
        return $#{$self->{fired}};
    }
    return $self->{fired} if $what->{fired};

    if ($what->{calm}) {
        $self->{aims} = [];
        return {};
    }

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
    return if $self->{mode} eq 'refuse' || time() < $self->{refuse};

    my $server = $self->{to} =~ m{^/}
        ? IO::Socket::UNIX->new(Peer => $self->{to})
        : IO::Socket::INET->new(PeerAddr => "127.0.0.1:$self->{to}");
    return if !$server;

    my $pair = { sent => 0, asked => '', due => [], answered => '',
                 passed => 0 };
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
    while (my ($command, $raw) = _take_command(\$pair->{asked})) {
        $n++;
        $self->pass($pair, $command, $raw);
        next if "@$command[0, -1]" =~ /^(?:SUBSCRIBE|PING) /
                || "@$command[0 .. $#$command && 1]" =~ /^HMGET \S*segments$/;
        push @{$self->{commands}}, $command;
        $counts = 1;
    }
    $self->{writes} += $counts;

    $pair->{client}->send($self->{value} x $n) if $self->{mode} eq 'reply';
}

# one command to Redis; what is aimed at it waits for its reply
sub pass {
    my ($self, $pair, $command, $raw) = @_;

    return if $self->{mode} =~ /^(?:reply|swallow)$/ || $pair->{over};

    $pair->{pushes} = 1 if $command->[0] eq 'SUBSCRIBE';
    my $aim = $self->aimed($command);

    if ($aim && $aim->{at} eq 'before') {
        return $self->fire($aim, $pair) if $aim->{do} ne 'hold';
        $self->fire($aim, $pair);
        $pair->{server}->send(\$aim->{for});
        undef $aim;
    }

    push @{$pair->{due}}, $aim if !$pair->{pushes};
    $pair->{server}->send($raw);
}

sub aimed {
    my ($self, $command) = @_;

    return if !@{$self->{aims}};
    my $words = join ' ', @$command;

    for my $aim (@{$self->{aims}}) {
        next if $aim->{times} <= 0 || $words !~ /$aim->{what}/s;
        next if $aim->{skip}-- > 0;
        $aim->{times}--;
        return $aim;
    }

    return undef;
}

sub fire {
    my ($self, $aim, $pair) = @_;

    $self->{fired}[$aim->{n}]++;
    $self->{refuse} = time() + $aim->{refuse} if $aim->{refuse};
    return if $aim->{do} eq 'hold';

    # what came before it arrives
    for my $stream (@$pair{qw(server client)}) {
        $stream->flush() while @{$stream->{queue}} && !ref $stream->{queue}[0];
    }
    $pair->{over} = 1;
    if ($aim->{do} eq 'kill') {
        my $pid = peer_pid($pair->{client}{socket});
        kill(KILL => $pid) if $pid;
    }
    $pair->{client}->close();
}

sub from_server {
    my ($self, $pair, $bytes) = @_;

    return if $pair->{over};
    return $self->reply($pair, $bytes) if $pair->{pushes};

    my $out = '';
    $pair->{answered} .= $bytes;

    while (defined(my $raw = _take_reply(\$pair->{answered}))) {
        my $aim = shift @{$pair->{due}};
        my $rest = substr($raw, $pair->{passed});
        $pair->{passed} = 0;

        if ($aim) {
            $self->reply($pair, $out);
            $self->replied($pair, $aim, $rest);
            return if $pair->{over};
            $out = '';
        } else {
            $out .= $rest;
        }
    }

    # half a reply goes on at once, unless it is aimed at
    if (!$pair->{due}[0]) {
        $out .= substr($pair->{answered}, $pair->{passed});
        $pair->{passed} = length $pair->{answered};
    }
    $self->reply($pair, $out);
}

sub replied {
    my ($self, $pair, $aim, $raw) = @_;

    if ($aim && $aim->{at} eq 'executed') {
        $self->fire($aim, $pair);
        return if $aim->{do} ne 'hold';
        $pair->{client}->send(\$aim->{for});
    }
    $self->reply($pair, $raw);

    if ($aim && $aim->{at} eq 'after') {
        $pair->{client}->advance(time());
        $pair->{client}->flush() if @{$pair->{client}{queue}};
        $self->fire($aim, $pair);
    }
}

# to the client, as the mode has it
sub reply {
    my ($self, $pair, $bytes) = @_;

    my ($mode, $value) = @$self{qw(mode value)};
    my $client = $pair->{client};

    return if !length $bytes;

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

# one whole command, as a reference to its words, and its bytes
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

    return (\@words, substr($$buffer, 0, $at, ''));
}

# one whole reply's bytes; of what is none, all
sub _take_reply {
    my ($buffer) = @_;

    return undef if !length $$buffer;

    my $end = $$buffer =~ /^[-+:\$*]/ ? _reply_end($buffer, 0)
                                      : length $$buffer;

    return defined $end ? substr($$buffer, 0, $end, '') : undef;
}

sub _reply_end {
    my ($buffer, $at) = @_;

    my $line = index($$buffer, "\r\n", $at);
    return undef if $line < 0;

    my $type = substr($$buffer, $at, 1);
    my $n = substr($$buffer, $at + 1, $line - $at - 1);
    $at = $line + 2;

    return $at if $type !~ /[\$*]/ || $n < 0;
    if ($type eq '$') {
        return length $$buffer < $at + $n + 2 ? undef : $at + $n + 2;
    }
    for (1 .. $n) {
        $at = _reply_end($buffer, $at) // return undef;
    }

    return $at;
}


1;
