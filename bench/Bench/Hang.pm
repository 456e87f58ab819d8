package Bench::Hang;

# What a location without this module notices when every identity provider
# accepts and never answers, and callers wait for their keys.  Of twenty, some
# never sent any, some hang when they are asked again, and the names of some
# are asked for in vain.

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET ();
use Time::HiRes qw(sleep);

use TI::Env qw(testdir port define read_file write_file fork_server
               end_process);
use TI::Loop;
use TI::Resolver;

use Bench::Load qw(load loaded);
use Bench::Report qw(median markdown);
use Bench::Stage qw(nginx nginx_end tail tokens_dir PROVIDERS);

our @EXPORT_OK = qw(hang_table);

use constant {
    SECONDS => 5,
    BEFORE => 3,                            # how long they hang by then
    CONNECTIONS => 16,
    PAUSE => 4,
    PARKED => 200,
    KEYS_WAIT => 3000,                      # its default, milliseconds
    THINK => 1500,                          # what a caller waits of its own
};

my $beside = { name => 'beside', on => 'hang', path => '/beside/' };
my $parked = { name => 'parked', on => 'hang', path => '/parked/' };


sub hang_table {
    my ($rounds) = @_;

    my (@runs, %of);
    resolver();

    for my $round (0 .. $rounds) {
        for my $how ($round ? qw(hang answer) : 'answer') {
            push @runs, _run($how);
            push @{$of{$how}}, $runs[-1];
        }
        print STDERR "round $round of $rounds\n";
    }
    delete @ENV{qw(LD_PRELOAD TI_RESOLVE)};

    my @rows = (['providers', 'median us', 'p99 us', 'median', 'p99', 'least',
                 'most', 'requests/s', 'callers refused', 'of', 'failures']);

    for my $how (qw(answer hang)) {
        my (@p50, @p99);
        for my $at (1 .. $#runs - 1) {
            next if $how eq 'answer' || $runs[$at]{how} ne $how;
            my ($before, $own, $after) = @runs[$at - 1 .. $at + 1];
            push @p50, 2 * $own->{p50} / ($before->{p50} + $after->{p50});
            push @p99, 2 * $own->{p99} / ($before->{p99} + $after->{p99});
        }
        @p99 = sort { $a <=> $b } @p99;

        my %mid;
        for my $what (qw(p50 p99 rate refused parked failures)) {
            $mid{$what} = median(map { $_->{$what} } @{$of{$how}});
        }
        push @rows, [
            $how, (map { sprintf('%.0f', $_) } @mid{qw(p50 p99)}),
            @p99 ? map { sprintf('%.3f', $_) } median(@p50), median(@p99),
                                               @p99[0, -1]
                 : ('') x 4,
            map { sprintf('%.0f', $_) } @mid{qw(rate refused parked failures)},
        ];
    }

    return markdown(@rows);
}

# in the last ones, whose keys are here, callers name unknown ones
sub _provider {
    my ($i) = @_;

    my $name = $i % 2 ? 'again' : $i % 4 ? 'first' : 'name';
    my $host = $name eq 'name' ? "hang-$i.test" : '127.0.0.1';

    return sprintf(<<'END', $i, $i, $host, port('provider'), $name, $i);
    token_issuer provider-%d {
        issuer             https://idp-%d.example/;
        audience           api://search;
        keys_uri           http://%s:%d/%s-%d;
        keys_interval      1s;
        allow_http         on;
    }
END
}

sub _run {
    my ($how) = @_;

    my $hang = $how eq 'hang';
    my $release = testdir() . '/release';

    $hang ? unlink($release) : write_file($release, '');
    unlink(testdir() . '/hang.log');

    my $provider = _serve($hang);
    define(PROVIDERS => join("\n", map { _provider($_) } 0 .. PROVIDERS - 1),
           PROVIDER_NAMES => join(' ', map { "provider-$_" }
                                       0 .. PROVIDERS - 1));
    nginx('hang');
    sleep(0.5);

    # as many in either case, and not at once
    my $callers = load($parked, tokens => 'parked', count => PROVIDERS,
                       connections => PARKED, seconds => BEFORE + SECONDS + 1,
                       pause => THINK + ($hang ? 0 : KEYS_WAIT));
    sleep(BEFORE);
    my $run = loaded(load($beside, connections => CONNECTIONS,
                          pause => PAUSE, seconds => SECONDS));
    my $waited = loaded($callers);

    nginx_end('hang');
    end_process($provider, 'TERM', 10);

    # those who name unknown keys are refused in any case
    my $good = $waited->{requests} - $waited->{refused};
    die "bench: ", $hang ? 'one was let in' : 'all were refused', "\n",
        tail('hang') if $hang == ($good > 0);
    die "bench: beside: refused\n" if $run->{refused};

    return {
        how => $how, p50 => $run->{p50}, p99 => $run->{p99},
        rate => $run->{requests} / $run->{seconds},
        refused => $waited->{refused}, parked => $waited->{requests},
        failures => scalar(grep { /keys of issuer/ }
                           split /^/, read_file('hang.log') // ''),
    };
}

# Twenty in one process, each at a path of its own: answers the first request
# for …/again-N, and whatever else where it does not hang.
sub _serve {
    my ($hang) = @_;

    my $keys = read_file(tokens_dir() . '/corp.jwks');
    my $answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                 . 'Content-Length: ' . length($keys)
                 . "\r\nConnection: close\r\n\r\n$keys";
    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => port('provider'),
        Listen => 256, ReuseAddr => 1) or die "provider: $!\n";

    my $pid = fork_server(sub {
        my $loop = TI::Loop->new();
        my %asked;

        $loop->listen($socket, sub {
            $loop->add($_[0], sub {
                my ($stream, $bytes) = @_;
                my ($path) = $bytes =~ m{^GET /(\S+)} or return;

                $stream->send($answer, ['close'])
                    if !$hang || $path =~ /^again/ && !$asked{$path}++;
            });
        });
        $loop->run();
    });
    close($socket);

    return $pid;
}


1;
