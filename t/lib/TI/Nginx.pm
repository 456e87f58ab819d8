package TI::Nginx;

# nginx under test: TI_NGINX (or "nginx") with TI_MODULE (or the one below
# build/); TI_NGINX_STATIC=1 where the module is compiled in.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use TI::Env qw(testdir build_dir write_file read_file subst wait_for diagnose
               diagnose_with spawn alive reap end_process at_end);

our @EXPORT = qw(
    nginx_start nginx_stop nginx_kill nginx_signal nginx_reload nginx_test
    nginx_pid nginx_workers nginx_has_module nginx_has_debug
    error_log access_log
    log_like log_unlike log_count wait_log expect_log secrets_absent
);
our @EXPORT_OK = qw(nginx_check nginx_children);

my ($pid, @expected, $started);


sub _binary { $ENV{TI_NGINX} || 'nginx' }

sub _module {
    return $ENV{TI_MODULE}
           || build_dir() . '/ngx_http_token_injector_module.so';
}

# is there a module to test at all?
sub nginx_has_module { $ENV{TI_NGINX_STATIC} || -e _module() }

# The text is what stands inside http {}, or a whole configuration if it has
# an events {} of its own.  What no test wants to repeat comes before it.
sub _configuration {
    my ($text, %opt) = @_;

    my $dir = testdir();
    my $log = $opt{log} // "$dir/error.log";
    my $level = $opt{log_level} // 'debug';
    my $workers = $opt{workers} // 1;

    my @main = ('daemon off;', "worker_processes $workers;",
                "pid $dir/nginx.pid;", "error_log $log $level;");
    unshift @main, 'user root root;' if $> == 0;
    unshift @main, 'load_module ' . _module() . ';'
        if !$ENV{TI_NGINX_STATIC} && ($opt{module} // 1);
    push @main, subst($opt{main}) if defined $opt{main};

    my @http = ("access_log $dir/access.log;",
                map { "${_}_temp_path $dir/temp_$_;" }
                qw(client_body proxy fastcgi scgi uwsgi));
    my $http = join "\n    ", 'http {', @http;

    $text = subst($text);
    if ($text =~ /^\s*events\s*\{/m) {
        $text =~ s/^\s*http\s*\{/$http/m;
    } else {
        $text = "events {\n    worker_connections 1024;\n}\n\n"
                . "$http\n\n$text\n}\n";
    }

    return join("\n", @main, '', $text);
}

# nginx_start(text, log_level => debug, workers => 1, main => '…',
# module => 1): returns when its sockets are open
sub nginx_start {
    my ($text, %opt) = @_;

    my $dir = testdir();
    diagnose_with("$dir/error.log", "$dir/nginx.out");
    write_file('nginx.conf', _configuration($text, %opt));

    die "nginx runs already\n" if alive($pid);
    unlink("$dir/nginx.pid");
    at_end(sub { nginx_stop('TERM') }) if !$started++;

    $pid = spawn("$dir/nginx.out", _binary(), '-p', "$dir/", '-c',
                 "$dir/nginx.conf", '-e', "$dir/error.log");

    wait_for(sub { -s "$dir/nginx.pid" || !alive($pid) }, 'nginx to start',
             20);
    if (!alive($pid)) {
        diagnose('nginx did not start');
        die "nginx did not start\n";
    }

    return $pid;
}

# QUIT by default: what is being done is done to its end
sub nginx_stop {
    my ($signal) = @_;

    $signal //= 'QUIT';
    if (!end_process($pid, $signal, 15)) {
        diagnose("nginx did not end on $signal");
        die "nginx did not end on $signal\n";
    }
}

sub nginx_pid { $pid }

# nginx_kill(signal, pid): a worker, the first by default
sub nginx_kill {
    my ($signal, $worker) = @_;

    kill($signal => $worker // (nginx_workers())[0]);
}

# to the master
sub nginx_signal {
    my ($signal) = @_;

    kill($signal => $pid);
}

# the workers' process ids, of another master if said; those about to leave
# are not among them
sub nginx_workers {
    my ($master) = @_;

    my @workers = sort { $a <=> $b }
                  grep { !_leaving($_) } nginx_children($master);

    return @workers;
}

sub nginx_children {
    my ($master) = @_;

    my @children;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $line = _proc($stat) // next;
        my ($child, $state, $parent) = $line =~ /^(\d+) \(.*\) (\S) (\d+)/s
            or next;
        push @children, $child
            if $parent == ($master // $pid) && $state ne 'Z';
    }

    return @children;
}

sub _leaving {
    my ($worker) = @_;

    my $title = _proc("/proc/$worker/cmdline") // return 1;

    return $title !~ /worker process(?! is shutting down)/;
}

sub _proc {
    my ($path) = @_;

    open(my $fh, '<', $path) or return undef;
    local $/;

    return scalar <$fh>;
}

# nginx_reload(text, options): with a new configuration or the same.  Returns
# when every old worker has stopped accepting; wait_old => 1: has ended.
sub nginx_reload {
    my ($text, %opt) = @_;

    my %old = map { $_ => 1 }
              wait_for(sub { my @w = nginx_workers(); @w && \@w }, 'workers')
              ->@*;

    write_file('nginx.conf', _configuration($text, %opt)) if defined $text;
    kill(HUP => $pid);

    wait_for(sub { grep { !$old{$_} } nginx_workers() },
             'a worker of the new configuration', 10);
    wait_for(sub { !grep { $old{$_} } nginx_workers() },
             'the old workers to stop accepting', 10);
    if ($opt{wait_old}) {
        wait_for(sub { !grep { $old{$_} } nginx_children() },
                 'the old workers to end', 15);
    }
}

# nginx_test(text, options): what "nginx -t" makes of it, as (exit code,
# output)
sub nginx_test {
    my ($text, %opt) = @_;

    my $dir = testdir();
    my $out = "$dir/nginx-test.out";

    write_file('nginx-test.conf',
               _configuration($text, %opt, log => "$dir/nginx-test.log"));
    unlink($out);

    # "nginx -t" leaves its memory to the system
    local $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
                                    'detect_leaks=0';
    my $child = spawn($out, _binary(), '-t', '-p', "$dir/", '-c',
                      "$dir/nginx-test.conf", '-e', "$dir/nginx-test.log");
    wait_for(sub { !alive($child) }, 'nginx -t', 20);

    my $status = reap($child);

    return ($status & 127 ? 128 + ($status & 127) : $status >> 8,
            read_file($out));
}

# Does this nginx log at debug?
sub nginx_has_debug {
    my $binary = _binary();

    return `$binary -V 2>&1` =~ /--with-debug/;
}


# --- logs -------------------------------------------------------------------

sub error_log { read_file('error.log') // '' }
sub access_log { read_file('access.log') // '' }

# tests on error.log
sub log_like {
    my ($re, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = Test::More::ok(error_log() =~ $re, $name // "log has $re");
    diagnose("no line like $re") if !$ok;

    return $ok;
}

sub log_unlike {
    my ($re, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($line) = grep { $_ =~ $re } split /^/, error_log();
    my $ok = Test::More::ok(!defined $line, $name // "log has no $re");
    Test::More::diag($line) if !$ok;

    return $ok;
}

sub log_count {
    my ($re) = @_;

    return scalar(grep { $_ =~ $re } split /^/, error_log());
}

# until it has been logged, by a worker that may be busy
sub wait_log {
    my ($re, $seconds) = @_;

    return wait_for(sub { error_log() =~ $re }, "log line $re", $seconds);
}

# an alert, an emergency, a death by signal that this test is about
sub expect_log {
    my (@res) = @_;

    push @expected, @res;
}

# error.log by records: a buffer that nginx prints has many lines
sub _records { split m{^(?=\d{4}/\d\d/\d\d \d\d:)}m, error_log() }

# A test that no log shows a secret: error.log, the access log and nginx's
# own output.  nginx prints request headers and buffers at debug, which the
# module cannot prevent: at that level, only lines of the module count.
sub secrets_absent {
    my ($name, @secrets) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines = grep { !/^\S+ \S+ \[debug\]/ || /token[ _-]?injector/i }
                _records();
    push @lines, split /^/, access_log();
    push @lines, split /^/, read_file('nginx.out') // '';

    my @found;
    for my $secret (@secrets) {
        push @found, grep { index($_, $secret) >= 0 } @lines;
    }

    my $ok = Test::More::ok(@lines && !@found, $name);
    Test::More::diag('the logs are empty') if !@lines;
    Test::More::diag($_) for @found;

    return $ok;
}

# What no test of ours may leave in a log, unless it said so: run by
# done_testing().
sub nginx_check {
    return if !$started;

    nginx_stop();

    my @bad;
    for my $line (split /^/, error_log() . (read_file('nginx.out') // '')) {
        next if $line !~ /\[alert\]|\[emerg\]|exited\ on\ signal
                          |AddressSanitizer|LeakSanitizer|runtime\ error/x;
        next if grep { $line =~ $_ } @expected;
        push @bad, $line;
    }

    my $ok = Test::More::ok(!@bad, 'no alert, no signal, no sanitizer report');
    Test::More::diag($_) for @bad[0 .. ($#bad < 9 ? $#bad : 9)];
    Test::More::is(reap($pid), 0, 'nginx ended as it should');
}


1;
