package TI::Redis;

# A private redis-server: a unix socket and a TCP port, nothing kept on disk.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use IO::Socket::UNIX ();

use TI::Env qw(testdir write_file port define wait_for patience
               diagnose_with spawn alive end_process at_end);

our @EXPORT = qw(
    redis_start redis_stop redis_kill redis_pause redis_resume redis_running
    redis_listened
    redis redis_hash redis_sock redis_port
);

my ($pid, $paused, $client, $started, @login);

sub redis_sock { testdir() . '/redis.sock' }
sub redis_port { port('redis') }

# redis_start(password => …, acl => [lines of an ACL file], args => […]):
# returns when it answers, or with wait => 0 at once.  Once stopped it can be
# started again, empty unless the arguments say otherwise.
sub redis_start {
    my (%opt) = @_;

    my $dir = testdir();
    my @args = @{$opt{args} || []};

    die "redis runs already\n" if alive($pid);
    diagnose_with("$dir/redis.log");
    at_end(\&redis_kill) if !$started++;
    define(REDIS_SOCK => redis_sock(), REDIS_PORT => redis_port());

    if ($opt{acl}) {
        write_file('redis.acl', join '', map { "$_\n" } @{$opt{acl}});
        push @args, '--aclfile', "$dir/redis.acl";
    }
    push @args, '--requirepass', $opt{password} if defined $opt{password};
    @login = defined $opt{password} ? ('AUTH', $opt{password}) : ();

    unlink(redis_sock());
    $pid = spawn("$dir/redis.log", 'redis-server', '--port', redis_port(),
                 '--bind', '127.0.0.1', '--unixsocket', redis_sock(),
                 '--unixsocketperm', '777', '--save', '', '--appendonly',
                 'no', '--dir', $dir, '--daemonize', 'no',
                 '--enable-debug-command', 'yes', @args);

    return $pid if !($opt{wait} // 1);

    wait_for(sub {
        die "redis-server did not start\n" if !alive($pid);
        -S redis_sock() && eval { redis('PING') eq 'PONG' };
    }, 'redis-server to answer');

    return $pid;
}

sub redis_running { alive($pid) }

sub redis_stop {
    undef $client;
    redis_resume() if $paused;
    end_process($pid, 'TERM', 10) or die "redis-server did not end\n";
}

sub redis_kill {
    undef $client;
    $paused = 0;
    end_process($pid, 'KILL');
}

# it neither answers nor closes anything, until resumed
sub redis_pause {
    kill(STOP => $pid);
    $paused = 1;
}

sub redis_resume {
    kill(CONT => $pid);
    $paused = 0;
}


# waits until that many workers listen on the channel of changes
sub redis_listened {
    my ($n, $prefix) = @_;

    my $channel = ($prefix // 'ti:') . 'changes';

    wait_for(sub { redis('PUBSUB', 'NUMSUB', $channel)->[1] >= $n },
             "$n to listen");
}


# redis(command, arguments): the reply, an array's as a reference, nil as
# undef; dies of an error with Redis' words
sub redis {
    my (@command) = @_;

    if (!$client) {
        $client = _connect();
        _call($client, @login) if @login;
    }

    my $reply = eval { _call($client, @command) };
    if (my $error = $@) {
        undef $client if $error =~ /^redis: /;
        die $error;
    }

    return $reply;
}

# a hash, as one
sub redis_hash {
    my ($name) = @_;

    return { @{redis('HGETALL', $name)} };
}

sub _connect {
    my $socket = IO::Socket::UNIX->new(Peer => redis_sock())
        or die "redis: connect: $!\n";

    return { socket => $socket, buffer => '' };
}

sub _call {
    my ($c, @command) = @_;

    my $bytes = '*' . @command . "\r\n"
                . join '', map { '$' . length($_) . "\r\n$_\r\n" } @command;

    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $n = syswrite($c->{socket}, $bytes) or die "redis: write: $!\n";
        substr($bytes, 0, $n, '');
    }

    my $reply = _reply($c);
    die "$$reply\n" if ref $reply eq 'SCALAR';

    return $reply;
}

# a SCALAR reference is an error
sub _reply {
    my ($c) = @_;

    my $line = _take($c, sub {
        my $end = index($c->{buffer}, "\r\n");
        $end < 0 ? undef : $end + 2;
    });
    my ($type, $rest) = $line =~ /^(.)(.*)\r\n$/s;

    return $rest if $type eq '+' || $type eq ':';
    return \$rest if $type eq '-';
    return undef if $rest < 0;

    if ($type eq '*') {
        return [map { my $e = _reply($c); ref $e eq 'SCALAR' ? "-$$e" : $e }
                1 .. $rest];
    }

    my $bytes = _take($c, sub {
        length $c->{buffer} < $rest + 2 ? undef : $rest + 2;
    });

    return substr($bytes, 0, $rest);
}

sub _take {
    my ($c, $enough) = @_;

    my $length;
    while (!defined($length = $enough->())) {
        IO::Select->new($c->{socket})->can_read(5 * patience())
            or die "redis: no reply\n";
        sysread($c->{socket}, $c->{buffer}, 65536, length $c->{buffer})
            or die "redis: closed\n";
    }

    return substr($c->{buffer}, 0, $length, '');
}


1;
