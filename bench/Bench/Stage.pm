package Bench::Stage;

# Who is on the stage: the nginx that is measured, with the module and
# without, each with one worker on a core of its own; on the other cores the
# third party, the identity provider, Redis, and this program with the load
# that it makes.

use strict;
use warnings;

use Exporter qw(import);
use File::Path qw(make_path);

use TI::Env qw(root build_dir testdir port define subst write_file read_file
               wait_for spawn alive end_process at_end);
use TI::Http;
use TI::Record;
use TI::Redis;
use TI::Tls;

our @EXPORT_OK = qw(
    share_cores stage_start stage_memory profile nginx nginx_end
    worker tail third_party_token user_keys tokens_dir keys_file
    USERS TOKENS FLOOD PROVIDERS
);

use constant {
    USERS => 200,
    TOKENS => 24_000,
    FLOOD => 12_000,                        # these two as in tokens.py
    PROVIDERS => 20,
    OTHERS => 49,
    WORKER_CORE => 0,
    IDLE => 4000,
};

my @who = map { ['https://login.example.com/',
                 '8f2c1e0a-7d54-4b7e-9d0b-3f5a6c1d2e90', "user-$_"] }
          0 .. USERS - 1;
my (@user_keys, %nginx, %text);

sub user_keys { @user_keys }
sub tokens_dir { build_dir() . '/bench/tokens' }
sub keys_file { testdir() . '/user-keys' }


# this program, once more, away from the worker's core
sub share_cores {
    my (@command) = @_;

    return if $ENV{BENCH_SHARED};

    my $cores = `nproc --all`;
    die "bench: needs two cores\n" if $cores < 2;

    $ENV{BENCH_SHARED} = 1;
    my $others = $cores == 2 ? 1 : '1-' . ($cores - 1);
    exec('taskset', '-c', $others, $^X, @command)
        or die "bench: taskset: $!\n";
}

# connections => of a worker, before => another build of the module, more =>
# [names of nginx to be started with "plain" and "module"]
sub stage_start {
    my (%opt) = @_;

    my $module = $ENV{TI_MODULE}
                 || build_dir() . '/ngx_http_token_injector_module.so';
    die "bench: no $module: make module\n"
        if !-e $module && !$ENV{TI_NGINX_STATIC};

    _tokens();
    redis_start();
    sealing_keys_file();
    _users();

    authority();
    certificate('keys', addresses => ['127.0.0.1']);

    define(
        CONNECTIONS => $opt{connections}, TOKENS => TOKENS,
        TOKENS_DIR => tokens_dir(),
        MODULE => $ENV{TI_NGINX_STATIC} ? '' : "load_module $module;",
        MODULE_before => 'load_module ' . ($opt{before} // '') . ';',
        OTHERS => join("\n", map { _other($_) } 1 .. OTHERS),
        OTHER_NAMES => join(' ', map { "other-$_" } 1 .. OTHERS),
        HALF_ANSWER => substr('{"subject":"a meeting with alice"},' x 64, 0,
                              2048),
    );
    write_file('common.conf', subst(_text('common')));

    nginx('service', 1);
    nginx($_) for qw(plain module), @{$opt{more} || []};
}

# an issuer whose keys are fetched, and whose name is as long as the callers'
sub _other {
    my ($n) = @_;

    return sprintf(<<'END', $n, $n);
    token_issuer other-%d {
        issuer                   https://login-%02d.example.net/;
        audience                 api://search;
        keys_uri                 https://127.0.0.1:%%%%PORT_keys%%%%/others.jwks;
        ssl_trusted_certificate  %%%%TESTDIR%%%%/ca.pem;
    }
END
}

# a day's tokens are good for weeks; nothing in them is secret for anyone
sub _tokens {
    my $dir = tokens_dir();
    my $lines = -e "$dir/parked" && -e "$dir/tokens" && -M _ < 30
                ? `wc -l < '$dir/tokens'` : 0;

    return if $lines == TOKENS;

    print STDERR "signing ", TOKENS, " tokens, once\n";
    make_path($dir);
    system('/usr/bin/python3', root() . '/bench/tokens.py', $dir, TOKENS,
           USERS) == 0 or die "bench: no tokens\n";
}

# what the third party gave a user: 1 KB
sub third_party_token {
    my ($provider, $user) = @_;

    return substr("$provider-$user." . 'abcdefghijklmnop' x 64, 0, 1024);
}

# every user's connections, written by the reader and writer of the tests
sub _users {
    for my $user (0 .. USERS - 1) {
        $user_keys[$user] = new_user_key();

        for my $provider (qw(outlook calendar)) {
            put_connection(who => $who[$user], provider => $provider,
                           user_key => $user_keys[$user],
                           access => third_party_token($provider, $user),
                           expires => time() + 86400);
        }
    }

    write_file('user-keys', join '', map { "$_\n" } @user_keys);
}

# "before" is "module" with the other build
sub _text {
    my ($name) = @_;

    my $before = $name eq 'before';
    my $text = read_file(root() . '/bench/' . ($before ? 'module' : $name)
                         . '.conf');
    $text =~ s/%%MODULE%%/%%MODULE_before%%/ if $before;
    $text =~ s/%%PORT_module%%/%%PORT_before%%/ if $before;

    return $text;
}

# nginx(name, core = the worker's): NAME.conf, with one worker, which has begun
sub nginx {
    my ($name, $core) = @_;

    $core //= WORKER_CORE;
    my $dir = testdir();
    my @main = ('daemon off;', 'worker_processes 1;',
                'worker_cpu_affinity ' . '1' . '0' x $core . ';',
                'worker_rlimit_nofile 20000;', "pid $dir/$name.pid;",
                "error_log $dir/$name.log notice;");
    unshift @main, 'user root root;' if $> == 0;
    define(MAIN => join "\n", @main);
    # placeholders may stand for text that has some
    write_file("$name.conf", subst(subst(_text($name))));

    at_end(sub { nginx_end($name) }) if !exists $nginx{$name};
    unlink("$dir/$name.pid");
    $nginx{$name} = spawn("$dir/$name.out", $ENV{TI_NGINX} || 'nginx', '-p',
                          "$dir/", '-c', "$dir/$name.conf", '-e',
                          "$dir/$name.log");

    wait_for(sub {
        die "bench: nginx ($name) did not start:\n", tail($name)
            if !alive($nginx{$name});
        -s "$dir/$name.pid" && _child($nginx{$name});
    }, "nginx ($name)", 20);
}

sub nginx_end { end_process($nginx{$_[0]}, 'TERM', 10) }

# the last it said
sub tail {
    my ($name) = @_;

    my @lines = map { split /^/, read_file(testdir() . "/$name.$_") // '' }
                qw(log out);

    return @lines > 10 ? @lines[-10 .. -1] : @lines;
}

# the one worker of nginx
sub worker {
    my ($name) = @_;

    return _child($nginx{$name});
}

sub _child {
    my ($pid) = @_;

    my ($child) = split ' ',
                  read_file("/proc/$pid/task/$pid/children") // '';

    return $child;
}


# --- memory -----------------------------------------------------------------

# private memory of a worker in KB
sub _anonymous {
    my ($pid) = @_;

    my ($kb) = read_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;

    return $kb;
}

# the cases in turn until so many requests are done; then idle connections
sub stage_memory {
    my ($requests, @cases) = @_;

    require Bench::Load;
    my $worker = worker('module');
    my ($done, $out) = (0, "requests  private memory of the worker, KB\n");
    my $begin = time();

    while ($done < $requests) {
        my $case = shift @cases;
        push @cases, $case;

        $done += Bench::Load::measure($case)->{requests};
        my $line = sprintf("%8d  %7d  (%s)\n", $done, _anonymous($worker),
                           $case->{name});
        print STDERR $line;
        $out .= $line;

        die "bench: too slow for $requests requests\n"
            if time() - $begin > 600;
    }

    die "bench: the worker did not live through it\n"
        if worker('module') != $worker;

    return $out . _idle('plain', '/plain/') . _idle('module', '/inject/')
           . _idle('module', '/answer/');
}

# what a connection costs that had one answer and now waits for the next
# request: a new worker each time
sub _idle {
    my ($name, $path) = @_;

    my @open;

    nginx_end($name);
    nginx($name);

    my $request = sub {
        my $c = connection(port => $name) or die "bench: no connection\n";
        my $r = $c->request('GET', "${path}search", token => _first_token(),
                            user_key => $user_keys[0]);
        die "bench: ", $r->status(), " from $path\n" if $r->status() != 200;
        return $c;
    };

    # the first few pay for what all share
    push @open, $request->() for 1 .. 200;
    my $before = _anonymous(worker($name));
    push @open, $request->() for 1 .. IDLE;
    my $cost = 1024 * (_anonymous(worker($name)) - $before) / IDLE;

    return sprintf("%s%s: %d bytes for an idle connection, of %d\n", $name,
                   $path, $cost, IDLE);
}

sub _first_token {
    open(my $fh, '<', tokens_dir() . '/tokens') or die "tokens: $!\n";
    chomp(my $token = <$fh>);

    return $token;
}


# --- where the time goes ----------------------------------------------------

sub profile {
    my ($case) = @_;

    require Bench::Load;
    my $data = build_dir() . "/bench/perf-$case->{name}.data";
    my $perf = spawn('/dev/null', 'perf', 'record', '-q', '-e',
                     'cpu-clock', '-F', '4000', '-g', '-p',
                     worker(Bench::Load::server($case)), '-o', $data);

    my $run = Bench::Load::measure($case);
    end_process($perf, 'INT', 10);

    my $report = `perf report -i $data --no-children -g none --stdio \\
                  -F overhead,dso,symbol --percent-limit 0.4 2>/dev/null`;
    $report =~ s/^#.*\n|^\s*\n//mg;

    return sprintf("%s: %.2f us of CPU a request, %.0f requests/s\n%s",
                   $case->{name}, $run->{cpu}, $run->{rate}, $report);
}


1;
