package TI::Watch;

# What a test compares before and after: what Redis holds, what a worker
# holds; and what a response says in one word.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use TI::Env qw(testdir write_file wait_for alive spawn end_process at_end);
use TI::Nginx qw(nginx_workers error_log);
use TI::Redis qw(redis redis_hash);

our @EXPORT = qw(
    result refused store_dump worker_fds worker_memory other_nginx
    log_since log_mark fds_are who_talks_to
);

my ($mark, $others) = (0, 0);


# result(response): "ok" for a 200, else the last word of the problem's type,
# else the status
sub result {
    my ($r) = @_;

    return 'ok' if $r->status() == 200;

    my $json = eval { $r->json() };

    return ref $json eq 'HASH'
           && ($json->{type} // '') =~ /^urn:ngx-token-injector:(.+)/
           ? $1 : $r->status() || $r->error();
}

# refused(response, result, name): a test of all that a refusal consists of
sub refused {
    my ($r, $result, $name) = @_;

    my %status = (
        'connection-required' => 403, 'reconnect-required' => 403,
        'store-unavailable' => 503, 'token-expired' => 401,
        'token-invalid' => 401, 'segment-excluded' => 403,
        'user-key-required' => 400,
    );

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return Test::More::is(result($r) . ' ' . $r->status(),
                          "$result $status{$result}", $name);
}


# everything in Redis with its time of expiry; a hash's bytes depend on when
# Redis last moved it
sub store_dump {
    my %all;

    for my $name (@{redis('KEYS', '*')}) {
        $all{$name} = [redis('TYPE', $name) eq 'hash' ? redis_hash($name)
                       : redis('DUMP', $name), redis('PEXPIRETIME', $name)];
    }

    return \%all;
}


# descriptors of a worker, the first by default
sub worker_fds {
    my ($pid) = @_;

    $pid //= (nginx_workers())[0];

    return scalar(my @fds = glob("/proc/$pid/fd/*"));
}

# fds_are(count, name): a test that a worker's descriptors come back to that
sub fds_are {
    my ($count, $name, $pid) = @_;
    my $now;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    eval {
        wait_for(sub { ($now = worker_fds($pid)) == $count }, 'descriptors');
    };

    return Test::More::is($now, $count,
                          $name // 'descriptors are what they were');
}

# kilobytes of a worker's own memory, without what it shares
sub worker_memory {
    my ($pid) = @_;

    $pid //= (nginx_workers())[0];
    open(my $fh, '<', "/proc/$pid/status") or die "no worker $pid\n";
    my ($kb) = join('', <$fh>) =~ /^RssAnon:\s+(\d+)/m;

    return $kb;
}


# who_talks_to(port): the workers that have a connection to a port here
sub who_talks_to {
    my ($port) = @_;

    open(my $fh, '<', '/proc/net/tcp') or die "/proc/net/tcp: $!\n";
    my %sockets = map { $_->[9] => 1 }
                  grep { $_->[2] eq sprintf('0100007F:%04X', $port)
                         && $_->[3] eq '01' }
                  map { [split] } <$fh>;

    return grep {
        grep { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ && $sockets{$1} }
             glob("/proc/$_/fd/*")
    } nginx_workers();
}


# log_mark(), then log_since(): what error.log got in between
sub log_mark { $mark = length error_log() }
sub log_since { substr(error_log(), $mark) }


# other_nginx(text, options of nginx_start): a second node with a memory of
# its own; { pid, log }, ended with the test
sub other_nginx {
    my ($text, %opt) = @_;

    my $dir = testdir();
    my $name = 'other' . ++$others;
    my $conf = TI::Nginx::_configuration($text, %opt,
                                         log => "$dir/$name.log");

    $conf =~ s{^pid .*;$}{pid $dir/$name.pid;}m;
    write_file("$name.conf", $conf);

    my $pid = spawn("$dir/$name.out", $ENV{TI_NGINX} || 'nginx', '-p',
                    "$dir/", '-c', "$dir/$name.conf", '-e',
                    "$dir/$name.log");
    at_end(sub { end_process($pid, 'TERM') });
    wait_for(sub { -s "$dir/$name.pid" || !alive($pid) }, "$name to start",
             20);
    die "$name did not start\n" if !alive($pid);

    return { pid => $pid, log => "$dir/$name.log" };
}


1;
