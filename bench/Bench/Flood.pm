package Bench::Flood;

# What others notice of 10,000 tokens that name unknown keys in ten seconds.
# They are compared with as many that are refused without such a reason to ask
# the issuer for its keys, and with nobody.

use strict;
use warnings;

use Exporter qw(import);
use POSIX qw(floor);
use Time::HiRes qw(sleep);

use TI::Env qw(read_file);

use Bench::Load qw(load loaded settle);
use Bench::Report qw(median markdown);
use Bench::Stage qw(tail FLOOD);

our @EXPORT_OK = qw(flood_table);

use constant {
    INTERVAL => 1,                          # keys_min_interval of live.conf
    SECONDS => 10,
    CONNECTIONS => 50,
    PAUSE => 48,                            # of each, so that they are 10,000
};

my @others = (
    { name => 'remembered', on => 'live', path => '/one/', saw => 'outlook',
      connections => 8, pause => 4 },
    { name => 'always new', on => 'live', path => '/one/', fresh => 1,
      connections => 8, pause => 16 },
);
my $flood = { name => 'flood', on => 'live', path => '/one/' };
my @kinds = qw(nobody hopeless unknown);


# each kind in turn; a ratio is to the mean of the two runs around it
sub flood_table {
    my ($rounds) = @_;

    my (@runs, %of);
    settle($others[0]);

    for my $round (1 .. $rounds) {
        for my $kind (qw(nobody hopeless unknown hopeless)) {
            push @runs, _run($kind);
            push @{$of{$kind}}, $runs[-1];
        }
        print STDERR "round $round of $rounds\n";
    }
    push @runs, _run('nobody');

    return (markdown(_others(\@runs, \%of)), markdown(_fetches($of{unknown})));
}

sub _run {
    my ($kind) = @_;

    my $asked = _asked();
    my $load = $kind ne 'nobody'
               && load($flood, seconds => SECONDS, tokens => $kind,
                       count => FLOOD, connections => CONNECTIONS,
                       pause => PAUSE);
    sleep(0.5);

    my @loads = map {
        load($_, seconds => SECONDS - 1, connections => $_->{connections},
             pause => $_->{pause})
    } @others;
    my @ran = map { loaded($_) } @loads;

    for my $i (0 .. $#ran) {
        die "bench: $others[$i]{name}: $ran[$i]{refused} refused\n",
            tail('live') if $ran[$i]{refused};
    }

    my %run = (kind => $kind, others => \@ran);

    if ($load) {
        $run{flood} = loaded($load);
        die "bench: the flood was let in\n"
            if $run{flood}{refused} != $run{flood}{requests};
    }
    $run{fetches} = _asked() - $asked;

    return \%run;
}

# how often the issuer was asked
sub _asked {
    my @asked = read_file('keys.asked') =~ m{ /corp\.jwks$}mg;

    return scalar @asked;
}

sub _others {
    my ($runs, $of) = @_;

    my @rows = (['others, beside', qw(who), 'median us', 'p99 us', 'to',
                 'median', qw(least most), 'p99', 'requests/s']);

    for my $i (0 .. $#others) {
        for my $kind (@kinds) {
            my @own = map { $_->{others}[$i] } @{$of->{$kind}};
            my $to = { hopeless => 'nobody', unknown => 'hopeless' }->{$kind};
            my (@p50, @p99);

            for my $at ($to ? 1 .. $#$runs - 1 : ()) {
                next if $runs->[$at]{kind} ne $kind;
                # a run of this kind stands next to one of the other at least
                my @to = map { $_->{others}[$i] }
                         grep { $_->{kind} eq $to } @$runs[$at - 1, $at + 1];
                push @p50, @to * $runs->[$at]{others}[$i]{p50}
                           / _sum(map { $_->{p50} } @to);
                push @p99, @to * $runs->[$at]{others}[$i]{p99}
                           / _sum(map { $_->{p99} } @to);
            }

            my ($least, $most) = (sort { $a <=> $b } @p50)[0, -1];
            push @rows, [
                $kind, $others[$i]{name},
                (map { my $p = $_;
                       sprintf('%.0f', median(map { $_->{$p} } @own)) }
                     qw(p50 p99)),
                $to ? ($to, map { sprintf('%.3f', $_) } median(@p50), $least,
                                                        $most, median(@p99))
                    : ('') x 5,
                sprintf('%.0f', median(map { $_->{requests} / $_->{seconds} }
                                       @own)),
            ];
        }
    }

    return @rows;
}

sub _sum { my $sum = 0; $sum += $_ for @_; $sum }

# nginx counts in whole seconds: an interval may be one shorter
sub _fetches {
    my ($unknown) = @_;

    return (['round', 'unknown keys', 'seconds', 'times asked',
             'at most allowed'],
            map {
                my $run = $unknown->[$_];
                my $allowed = 1 + floor(($run->{flood}{seconds} + 1)
                                        / INTERVAL);
                die "bench: asked $run->{fetches} times, at most $allowed ",
                    "are allowed\n" if $run->{fetches} > $allowed;

                [$_ + 1, $run->{flood}{requests},
                 sprintf('%.1f', $run->{flood}{seconds}), $run->{fetches},
                 $allowed]
            } 0 .. $#$unknown);
}


1;
