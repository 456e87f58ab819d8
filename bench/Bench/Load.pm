package Bench::Load;

# One run of one case: wrk asks, and what the worker, Redis and the third
# party did meanwhile is read from their own counters.

use strict;
use warnings;

use Exporter qw(import);

use TI::Env qw(root port read_file);
use TI::Http;
use TI::Redis;

use Bench::Stage qw(worker tail third_party_token user_keys tokens_dir
                    keys_file USERS TOKENS);

our @EXPORT_OK = qw(measure settle server load loaded);

my $seconds = $ENV{BENCH_SECONDS} || 2;
my $connections = $ENV{BENCH_CONNECTIONS} || 64;
my %first;                                  # token not used yet, by server
my @tokens;


# which nginx has this case
sub server {
    my ($case) = @_;

    return $case->{on}
           // ($case->{path} =~ m{^/(?:plain|cached)} ? 'plain' : 'module');
}

# measure(case): { requests, rate, cpu (us a request), busy (of the core),
# redis and upstream (calls a request) }
sub measure {
    my ($case) = @_;

    _warm($case);

    my $worker = worker(server($case));
    my ($redis, $upstream) = (_redis_calls(), _upstream_calls());
    my $cpu = _cpu($worker);

    my $run = loaded(load($case));

    $cpu = _cpu($worker) - $cpu;
    # the questions themselves are calls, too
    $redis = _redis_calls() - $redis - 1;
    $upstream = _upstream_calls() - $upstream - 1;

    die "bench: $case->{name}: $run->{refused} of $run->{requests} requests ",
        "refused\n", tail(server($case)) if $run->{refused};

    return {
        %$run, rate => $run->{requests} / $run->{seconds},
        cpu => $cpu / 1000 / $run->{requests},
        busy => $cpu / 1e9 / $run->{seconds},
        redis => $redis / $run->{requests},
        upstream => $upstream / $run->{requests},
    };
}

# load(case, seconds => 2, connections => 64, pause => milliseconds, tokens =>
# name of their file, count => of them): has begun when it returns
sub load {
    my ($case, %opt) = @_;

    my $count = $opt{count} // ($case->{fresh} ? TOKENS : USERS);
    my $from = $case->{fresh} ? $first{server($case)} // 0 : 0;

    my @command = ('wrk', '-t1', '-c' . ($opt{connections} // $connections),
                   '-d' . ($opt{seconds} // $seconds) . 's', '--timeout', '10s',
                   '-s', root() . '/bench/load.lua',
                   'http://127.0.0.1:' . port(server($case)) . '/', '--',
                   $case->{method} // 'GET', _uri($case),
                   tokens_dir() . '/' . ($opt{tokens} // 'tokens'),
                   keys_file(), $from, $count, $opt{pause} // 0);
    open(my $wrk, '-|', @command) or die "bench: wrk: $!\n";

    return { case => $case, wrk => $wrk };
}

# loaded(what load() began): at its end { requests, seconds, refused, p50, p99
# (microseconds) }
sub loaded {
    my ($load) = @_;

    my ($case, $wrk) = @$load{qw(case wrk)};
    my @lines = <$wrk>;
    close($wrk) or die "bench: wrk: @lines\n";

    my ($requests, $us, $errors, $refused, $p50, $p99) =
        map { /^measured (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)/ } @lines;
    die "bench: wrk: @lines" if !$requests;
    die "bench: $case->{name}: $errors of $requests requests failed\n",
        tail(server($case)) if $errors;

    if ($case->{fresh}) {
        my $next = \$first{server($case)};
        $$next = (($$next // 0) + $requests) % TOKENS;
    }

    return { requests => $requests, seconds => $us / 1e6,
             refused => $refused, p50 => $p50, p99 => $p99 };
}

sub _uri { "$_[0]{path}search?q=meetings+next+week&top=25" }

# nanoseconds on a core, of one process
sub _cpu { (split ' ', read_file("/proc/$_[0]/schedstat"))[0] }

sub _redis_calls {
    my ($calls) = redis('INFO', 'stats') =~ /total_commands_processed:(\d+)/;

    return $calls;
}

sub _upstream_calls {
    my $r = get('/', port => 'status');
    my ($calls) = $r->body() =~ /requests\s+\d+\s+\d+\s+(\d+)/;

    return $calls;
}


# --- before a run -----------------------------------------------------------

sub _tokens {
    return @tokens if @tokens;

    open(my $fh, '<', tokens_dir() . '/tokens') or die "tokens: $!\n";
    chomp(@tokens = map { scalar <$fh> } 1 .. USERS);

    return @tokens;
}

sub _ask {
    my ($case, $user, $uri) = @_;

    my @body = ($case->{method} // '') eq 'POST'
               ? (body => '{"query":"meetings with alice next week",'
                          . '"size":25}',
                  headers => ['Content-Type: application/json']) : ();

    return [$case->{method} // 'GET', $uri, port => server($case),
            host => '127.0.0.1:' . port(server($case)), @body,
            token => (_tokens())[$user], user_key => (user_keys())[$user]];
}

# every user once: what may be remembered is, before the clock runs
sub _warm {
    my ($case) = @_;

    return if $case->{fresh};

    my $c = connection(port => server($case));
    for my $user (0 .. USERS - 1) {
        my ($method, $uri, %opt) = @{_ask($case, $user, _uri($case))};
        my $r = $c->request($method, $uri, %opt);

        die "bench: $case->{name}: ", $r->status(), ' ', $r->body(), "\n"
            if $r->status() != 200 || length $r->body() != 4096;
    }
    $c->close();
}

# Does the case what its name says?  The third party tells which token it saw.
sub settle {
    my ($case) = @_;

    _warm($case);
    return if !$case->{saw};

    for my $user (0, 7, USERS - 1) {
        my ($method, $uri, %opt) = @{_ask($case, $user, "$case->{path}saw")};
        my $seen = http($method, $uri, %opt)->body();
        my $meant = $case->{saw} eq 'caller'
                    ? (_tokens())[$user] . '|' . (user_keys())[$user]
                    : third_party_token($case->{saw}, $user) . '|';

        die "bench: $case->{name}: the third party saw $seen\n"
            if $seen ne "Bearer $meant";
    }
}


1;
