#!/usr/bin/perl

# The demo as a user would drive it: `make demo` runs demo/run.  What it walks
# through is judged by demo/lib/walk.mjs; here it counts that every step was
# walked, what the exit status says, and that nothing stays behind.

use strict;
use warnings;

use Cwd qw(realpath);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use POSIX qw(WIFEXITED WEXITSTATUS WIFSIGNALED WTERMSIG);
use Test::More;
use Time::HiRes qw(sleep time);

my $root = realpath(dirname(__FILE__) . '/../..');

my @steps = (
    ['nginx asks corp for its keys', 'each once, for both workers'],
    ['A search without a JWT', '401  token-missing'],
    ['Alice, signed in, but not connected to Outlook',
        '403  connection-required'],
    ['Alice connects Outlook', '201', "outlook's pages: Sign in, Consent",
        'connected as alice@example.com', '400  state-invalid',
        'what Redis now holds:',
        'no token, no JWT, no user key, no mail in Redis'],
    ['The search', '200  token-injector; fwd=miss',
        "the service saw alice's Outlook token",
        "neither alice's JWT nor the user key"],
    ['What is connected, until when',
        'connected as alice@example.com, the token good for 60 minutes',
        'outlook, connected, '],
    ['The same search again', '200  token-injector; hit; ttl=',
        'the service was not called', 'Age: '],
    ['The same where answers are kept for two seconds',
        '200  token-injector; hit', 'after '],
    ['A search by POST, its body in the cache key',
        '200  token-injector; fwd=miss', '200  token-injector; hit',
        'the other body has the other answer'],
    ['The meetings of the next two days, with join links',
        'Quarterly review: https://'],
    ['Bob has a connection of his own, or none',
        '403  connection-required', "bob's mail, nobody else's"],
    ['Twenty requests find that his token has ended', '200, all of them',
        'one call to outlook renewed it for all',
        "the service saw bob's Outlook token",
        'connected, good for 60 minutes, refreshable'],
    ['Both again, and Alice with another user key',
        "alice's mail, nobody else's", "bob's mail, nobody else's",
        '403  connection-required'],
    ['An application that speaks for itself', '200, all of them',
        'one token for all, fetched once'],
    ['corp signs with a new key', '200  token-injector; hit',
        "alice's mail, nobody else's", "bob's mail, nobody else's",
        'nginx asked for the keys once more'],
    ['Redis hangs', '503  store-unavailable', 'no answer took longer than',
        'healthy again by itself'],
    ['Redis stops', '503  store-unavailable', 'no answer took longer than',
        'healthy again by itself'],
    ['corp withdraws the old keys', "alice's mail, nobody else's",
        'nginx asked for the keys once more', '401  token-invalid',
        '200  token-injector; hit', "bob's mail, nobody else's"],
    ['Alice disconnects', '204', '403  connection-required',
        'the service was not called',
        'outlook has revoked the refresh token and the access token',
        'outlook: none'],
    ['What was written down meanwhile',
        'no token, no JWT, no user key, no mail in Redis',
        "no token, no JWT, no user key, no mail in nginx's logs",
        'and no alarm in its error log'],
);


subtest 'without a terminal it walks, judges and ends' => sub {
    my $demo = start();
    my $status = finish($demo, 120);

    is($status, 'exit 0', 'exit status') or diag($demo->{said});
    unlike($demo->{said}, qr/✗/, 'nothing was not as expected');
    unlike($demo->{said}, qr/\e/, 'no colours');
    is(longest($demo->{said}) <= 88, 1, 'at most 88 columns');

    my @walked = split(/^ ?(?=\d+  \S)/m, $demo->{said});
    for my $i (0 .. $#steps) {
        my ($title, @verdicts) = @{$steps[$i]};
        my $step = $walked[$i + 1] // '';
        my $number = $i + 1;

        like($step, qr/^$number  \Q$title\E$/m, "step $number: $title");
        like($step, qr/^ +✓ \Q$_\E/m, "step $number: $_") for @verdicts;
    }

    nothing_left($demo, 0);
};


for ([TERM => 143], [INT => 130], [HUP => 129]) {
    my ($signal, $code) = @$_;

    subtest "SIG$signal in the middle" => sub {
        my $demo = start();
        ok(says($demo, qr/The same search again/), 'it is in the middle');
        cmp_ok(scalar(processes_in($demo->{tmp})), '>=', 3,
            'with processes that could be left');

        kill($signal, $demo->{pid});
        is(finish($demo, 30), "exit $code", 'exit status');
        unlike($demo->{said}, qr/✗/, 'and it complains of nothing');
        nothing_left($demo, 0);
    };
}


subtest 'SIGTERM while it starts' => sub {
    my $demo = start();
    ok(says($demo, qr/ngx-token-injector/), 'it starts');

    kill('TERM', $demo->{pid});
    is(finish($demo, 30), 'exit 143', 'exit status');
    nothing_left($demo, 0);
};


subtest 'SIGKILL in the middle, with Redis frozen' => sub {
    my $demo = start();
    ok(says($demo, qr/Redis hangs/), 'it is in the middle');

    kill('KILL', $demo->{pid});
    is(finish($demo, 30), 'signal 9', 'it could not do anything about it');
    nothing_left($demo, 30);
};


subtest 'an nginx that does not start' => sub {
    local $ENV{TI_NGINX} = '/bin/false';
    my $demo = start();
    is(finish($demo, 60), 'exit 1', 'exit status');
    like($demo->{said}, qr/^demo: false did not start/m, 'it says so');
    nothing_left($demo, 0);
};


subtest 'a reader who leaves' => sub {
    my $demo = start();
    ok(says($demo, qr/A search without a JWT/), 'it is in the middle');

    close($demo->{out});
    is(wait_for($demo, 30), 'exit 1', 'exit status');
    nothing_left($demo, 0);
};


done_testing();


# a demo of which everything is below a directory of its own

sub start {
    my $tmp = tempdir(CLEANUP => 1);
    chmod(0711, $tmp);                  # an nginx worker may be nobody

    pipe(my $out, my $in) or die "pipe: $!";
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        $ENV{TMPDIR} = $tmp;
        chdir($root) or die "$root: $!";
        open(STDIN, '<', '/dev/null') or die "/dev/null: $!";
        open(STDOUT, '>&', $in) or die "stdout: $!";
        open(STDERR, '>&', $in) or die "stderr: $!";
        close($out);
        exec("$root/demo/run") or die "demo/run: $!";
    }

    close($in);
    return { pid => $pid, out => $out, tmp => $tmp, said => '' };
}


# reads on; false at the end, or when there was nothing to read for a while

sub listen_on {
    my ($demo) = @_;

    my $ready = '';
    vec($ready, fileno($demo->{out}), 1) = 1;
    return 1 if select($ready, undef, undef, 0.1) == 0;
    return sysread($demo->{out}, $demo->{said}, 4096, length($demo->{said}));
}


sub says {
    my ($demo, $what) = @_;

    my $end = time() + 60;
    while ($demo->{said} !~ $what) {
        return 0 if time() > $end || !listen_on($demo);
    }
    return 1;
}


sub finish {
    my ($demo, $limit) = @_;

    my $end = time() + $limit;
    while (time() < $end && listen_on($demo)) { }
    close($demo->{out});
    return wait_for($demo, $end - time());
}


sub wait_for {
    my ($demo, $limit) = @_;

    my $end = time() + $limit;
    while (waitpid($demo->{pid}, POSIX::WNOHANG()) == 0) {
        if (time() > $end) {
            kill('KILL', $demo->{pid});
            waitpid($demo->{pid}, 0);
            return 'no end';
        }
        sleep(0.05);
    }

    return 'exit ' . WEXITSTATUS($?) if WIFEXITED($?);
    return 'signal ' . WTERMSIG($?) if WIFSIGNALED($?);
    return 'status ' . $?;
}


# at the latest after so many seconds

sub nothing_left {
    my ($demo, $limit) = @_;

    my $end = time() + $limit;
    my (@processes, @files);

    while (1) {
        @processes = processes_in($demo->{tmp});
        @files = glob("$demo->{tmp}/* $demo->{tmp}/.??*");
        last if (!@processes && !@files) || time() >= $end;
        sleep(0.1);
    }

    is("@processes", '', 'no process is left');
    is("@files", '', 'no file is left');
}


# whoever works in, has open, or was told of anything below the directory

sub processes_in {
    my ($tmp) = @_;

    my @found;
    for my $proc (glob('/proc/[0-9]*')) {
        my $about = join("\n", map { readlink($_) // '' }
            "$proc/cwd", glob("$proc/fd/*"));
        my $command = '';
        if (open(my $file, '<', "$proc/cmdline")) {
            local $/;
            $command = <$file> // '';
        }
        push(@found, "$proc ($command)")
            if index("$about\n$command", $tmp) >= 0;
    }
    return @found;
}


sub longest {
    my ($text) = @_;

    utf8::decode($text);
    my ($most) = sort { $b <=> $a } map { length } split(/\n/, $text);
    return $most;
}
