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

our @EXPORT_OK = qw(measure settle server);

my $seconds = $ENV{BENCH_SECONDS} || 2;
my $connections = $ENV{BENCH_CONNECTIONS} || 64;
my $first = 0;                              # token not used yet
my @tokens;


# which nginx has this case
sub server {
    my ($case) = @_;

    return $case->{path} =~ m{^/(?:plain|cached)} ? 'plain' : 'module';
}

# measure(case): { requests, rate, cpu (us a request), busy (of the core),
# redis and upstream (calls a request) }
sub measure {
    my ($case) = @_;

    _warm($case);

    my $count = $case->{fresh} ? TOKENS : USERS;
    my $from = $case->{fresh} ? $first : 0;
    my $worker = worker(server($case));
    my ($redis, $upstream) = (_redis_calls(), _upstream_calls());
    my $cpu = _cpu($worker);

    my @lines = _wrk($case, $from, $count);

    $cpu = _cpu($worker) - $cpu;
    # the questions themselves are calls, too
    $redis = _redis_calls() - $redis - 1;
    $upstream = _upstream_calls() - $upstream - 1;

    my ($requests, $us, $errors) = map { /^measured (\d+) (\d+) (\d+)/ }
                                   @lines;
    die "bench: wrk: @lines" if !$requests;
    die "bench: $case->{name}: $errors of $requests requests failed\n",
        tail(server($case)) if $errors;

    $first = ($first + $requests) % TOKENS if $case->{fresh};

    return {
        requests => $requests, rate => $requests / ($us / 1e6),
        cpu => $cpu / 1000 / $requests, busy => $cpu / 1e9 / ($us / 1e6),
        redis => $redis / $requests, upstream => $upstream / $requests,
    };
}

sub _wrk {
    my ($case, $from, $count) = @_;

    my @command = ('wrk', '-t1', "-c$connections", "-d${seconds}s", '-s',
                   root() . '/bench/load.lua',
                   'http://127.0.0.1:' . port(server($case)) . '/', '--',
                   $case->{method} // 'GET', _uri($case),
                   tokens_dir() . '/tokens', keys_file(), $from, $count);
    open(my $wrk, '-|', @command) or die "bench: wrk: $!\n";
    my @lines = <$wrk>;
    close($wrk) or die "bench: wrk: @lines\n";

    return @lines;
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
