package TI::Env;

# What every other part of the harness stands on: the test's directory, free
# ports, placeholders, waiting, child processes, and the order of the end.
# Test authors read TI/Test.pm.

use strict;
use warnings;

use Carp qw(croak);
use Config;
use Cwd qw(abs_path);
use Exporter qw(import);
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use IO::Socket::INET ();
use POSIX qw(WNOHANG);
use Test::More ();
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(
    root build_dir testdir write_file append_file read_file
    port define subst wait_for patience diagnose diagnose_with
    spawn fork_server alive reap end_process at_end run_end
);

my $root = abs_path(dirname(__FILE__) . '/../../..');
my ($dir, @locks, %ports, %defined, @logs, @at_end);
my $owner = $$;


sub root { $root }
sub build_dir { $ENV{TI_BUILD} || "$root/build" }

# The test's own directory: short, because a unix socket's path is; removed
# at exit unless TI_KEEP=1.
sub testdir {
    if (!defined $dir) {
        $dir = File::Temp::tempdir('ti-XXXXXX', TMPDIR => 1);
    }

    return $dir;
}

# write_file(name or path, bytes, mode = 0644): the path
sub write_file { _write('>', @_) }
sub append_file { _write('>>', @_) }

sub _write {
    my ($how, $name, $bytes, $mode) = @_;

    my $path = $name =~ m{^/} ? $name : testdir() . "/$name";
    make_path(dirname($path));
    open(my $fh, "$how:raw", $path) or croak "$path: $!";
    chmod($mode // 0644, $path) or croak "$path: $!";
    print $fh $bytes;
    close($fh) or croak "$path: $!";

    return $path;
}

sub read_file {
    my ($name) = @_;

    my $path = $name =~ m{^/} ? $name : testdir() . "/$name";
    open(my $fh, '<:raw', $path) or return undef;
    local $/;
    my $bytes = <$fh>;

    return $bytes // '';
}


# port(n): always the same free port for the same n.  Below the ephemeral
# range, so that no outgoing connection takes it meanwhile; held by a lock
# against tests that run at the same time.
sub port {
    my ($n) = @_;

    $n //= 0;

    return $ports{$n} //= _free_port();
}

sub _free_port {
    my $locks = build_dir() . '/t-ports';
    make_path($locks);

    for (1 .. 200) {
        my $port = 12000 + int(rand(20000));

        open(my $lock, '>', "$locks/$port") or die "$locks/$port: $!\n";
        flock($lock, LOCK_EX | LOCK_NB) or next;

        my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                          LocalPort => $port, Listen => 1)
            or next;
        close($probe);
        push @locks, $lock;

        return $port;
    }

    die "no free port found\n";
}


# define(NAME => value): %%NAME%% in every text that subst() sees
sub define {
    my (%names) = @_;

    @defined{keys %names} = values %names;
}

sub subst {
    my ($text) = @_;

    $text =~ s{%%PORT(?:_(\w+))?%%}{port($1 // 0)}ge;
    $text =~ s{%%TESTDIR%%}{testdir()}ge;
    $text =~ s{%%(\w+)%%}{
        $defined{$1} // croak "nothing defines %%$1%%"
    }ge;

    return $text;
}


# How much slower than usual this run may be: sanitizers, valgrind.
sub patience { $ENV{TI_PATIENCE} || 1 }

# wait_for(sub { condition }, 'what', seconds = 5): the condition's value, as
# soon as it is true; the test ends, with the logs' tails, if it never is.
sub wait_for {
    my ($condition, $what, $seconds) = @_;

    my $end = time() + ($seconds // 5) * patience();

    while (1) {
        my $value = $condition->();
        return $value if $value;
        last if time() > $end;
        sleep(0.01);
    }

    diagnose("waited in vain for $what");
    die "waited in vain for $what\n";
}

# logs whose tails belong to every diagnosis
sub diagnose_with {
    my (@paths) = @_;

    for my $path (@paths) {
        push @logs, $path unless grep { $_ eq $path } @logs;
    }
}

sub diagnose {
    my ($what) = @_;

    Test::More::diag($what);
    for my $path (@logs) {
        my $tail = tail($path, 30);
        Test::More::diag("--- the end of $path\n$tail") if length $tail;
    }
}

sub tail {
    my ($path, $lines) = @_;

    my @all = split /^/, read_file($path) // '';
    # debug drowns what went wrong
    my @loud = grep { !/\[debug\]/ } @all;
    @loud = @all if !@loud;

    return join '', @loud > $lines ? @loud[-$lines .. -1] : @loud;
}


# spawn(stderr and stdout file, program, arguments): a child's process id.
# It does not outlive the test, however that ends.
sub spawn {
    my ($output, @command) = @_;

    my $pid = fork() // die "fork: $!\n";
    return $pid if $pid;

    _die_with_parent();
    open(STDIN, '<', '/dev/null');
    open(STDOUT, '>>', $output) or POSIX::_exit(126);
    open(STDERR, '>&', \*STDOUT) or POSIX::_exit(126);
    exec { $command[0] } @command or do {
        print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    };
}

# fork_server(sub { … }): a child that runs it and nothing of ours after it
sub fork_server {
    my ($run) = @_;

    my $pid = fork() // die "fork: $!\n";
    return $pid if $pid;

    _die_with_parent();
    $SIG{$_} = 'DEFAULT' for qw(INT TERM);
    $SIG{PIPE} = 'IGNORE';
    eval { $run->(); 1 } or print STDERR "# server: $@";
    POSIX::_exit(0);
}

# prctl(PR_SET_PDEATHSIG, SIGTERM), where its number is known
sub _die_with_parent {
    my %prctl = (x86_64 => 157, aarch64 => 167);
    my ($arch) = $Config{archname} =~ /^([^-]+)-linux/ or return;

    if ($prctl{$arch}) {
        eval { syscall($prctl{$arch}, 1, POSIX::SIGTERM()) };
    }
}

my %status;

# Is our child alive?  Notes how it ended.
sub alive {
    my ($pid) = @_;

    return 0 if !$pid || exists $status{$pid};

    my $got = waitpid($pid, WNOHANG);
    return 1 if $got == 0;
    $status{$pid} = $got == $pid ? $? : -1;

    return 0;
}

# the wait status of a child that ended
sub reap {
    my ($pid) = @_;

    return $status{$pid};
}

# end_process(pid, signal, seconds): true if it ended in time, else killed
sub end_process {
    my ($pid, $signal, $seconds) = @_;

    return 1 if !alive($pid);
    kill($signal => $pid);

    my $end = time() + ($seconds // 10) * patience();
    while (alive($pid)) {
        if (time() > $end) {
            kill(KILL => $pid);
            sleep(0.01) while alive($pid);
            return 0;
        }
        sleep(0.005);
    }

    return 1;
}


# at_end(sub { … }): run in reverse order when the test is over
sub at_end {
    my ($run) = @_;

    push @at_end, $run;
}

sub run_end {
    while (my $run = pop @at_end) {
        eval { $run->(); 1 } or Test::More::diag("at the end: $@");
    }
}

$SIG{$_} = sub { exit(1) } for qw(INT TERM HUP);

END {
    if ($$ == $owner) {
        local $?;

        run_end();

        if (defined $dir && $ENV{TI_KEEP}) {
            Test::More::diag("kept: $dir");
        } elsif (defined $dir) {
            File::Path::remove_tree($dir);
        }
    }
}


1;
