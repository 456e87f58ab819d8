package Bench::Report;

# Numbers to tables.

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(min max);
use POSIX qw(strftime);

use TI::Env qw(root build_dir read_file);

use Bench::Stage qw(tokens_dir USERS TOKENS);

our @EXPORT_OK = qw(table core_table median ratios machine markdown publish);


sub median {
    my @sorted = sort { $a <=> $b } @_;

    return @sorted % 2 ? $sorted[$#sorted / 2]
           : ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# of a run to those before and after it; 1 is as good, for both
sub ratios {
    my ($before, $own, $after) = @_;

    return {
        rate => $own->{rate} / (($before->{rate} + $after->{rate}) / 2),
        cpu => ($before->{cpu} + $after->{cpu}) / 2 / $own->{cpu},
    };
}


sub table {
    my ($cases, $runs, $pairs) = @_;

    my @rows = ([qw(case to ratio least most CPU target), 'requests/s',
                 'CPU us', 'busy', 'Redis', 'upstream']);

    for my $case (@$cases) {
        my @pairs = @{$pairs->{$case->{name}} || []};
        my @rates = map { $_->{rate} } @pairs;
        my @own = @{$runs->{$case->{name}}};
        my %mid;

        for my $what (qw(rate cpu busy redis upstream)) {
            $mid{$what} = median(map { $_->{$what} } @own);
        }

        push @rows, [
            $case->{what}, $case->{to} // '',
            (@pairs ? map { sprintf('%.3f', $_) } median(@rates),
                      min(@rates), max(@rates),
                      median(map { $_->{cpu} } @pairs) : ('') x 4),
            _target($case->{target}, @rates),
            sprintf('%.0f', $mid{rate}), sprintf('%.1f', $mid{cpu}),
            map { sprintf('%.2f', $mid{$_}) } qw(busy redis upstream),
        ];
    }

    return markdown(@rows);
}

sub _target {
    my ($target, @rates) = @_;

    return '' if !defined $target;

    return sprintf('%.2f%s', $target,
                   median(@rates) >= $target ? '' : ' missed');
}

# the first column's texts to the left, the others' to the right
sub markdown {
    my (@rows) = @_;

    my @width;
    for my $row (@rows) {
        $width[$_] = max($width[$_] // 3, length $row->[$_]) for 0 .. $#$row;
    }

    my $line = sub {
        my ($first, @rest) = @_;

        return '| ' . join(' | ', sprintf("%-*s", $width[0], $first),
                           map { sprintf("%*s", $width[$_], $rest[$_ - 1]) }
                           1 .. @rest) . " |\n";
    };

    return join('', $line->(@{$rows[0]}),
                '|' . join('|', '-' x ($width[0] + 2),
                           map { '-' x ($width[$_] + 1) . ':' } 1 .. $#width)
                . "|\n",
                map { $line->(@$_) } @rows[1 .. $#rows]);
}


# --- the core alone ---------------------------------------------------------

# built as the module is: the distribution's flags, no others
sub core_table {
    my $root = root();
    my $core = build_dir() . '/bench/core';
    my $flags = `dpkg-buildflags --get CFLAGS 2>/dev/null` || '-g -O2';
    my $libs = `pkg-config --cflags --libs hiredis jansson libcrypto`;

    $flags =~ s/\n/ /g;
    $libs =~ s/\n/ /g;
    system("cd '$root' && \${CC:-cc} -std=gnu17 -D_GNU_SOURCE $flags -Isrc "
           . "-o '$core' bench/core.c src/*.c $libs") == 0
        or die "bench: core.c does not compile\n";

    my @timed = `'$core' '@{[tokens_dir()]}'`;
    die "bench: core failed\n" if $? != 0;

    my @rows = (['the core alone, median', 'us', 'target']);
    for my $line (@timed) {
        my ($us, $what) = $line =~ /^(\S+)\t(.*)$/;
        my $target = $what =~ /^open a record/
                     ? ($us <= 25 ? '25' : '25 missed') : '';
        push @rows, [$what, $us, $target];
    }

    return markdown(@rows);
}


# --- where and with what ----------------------------------------------------

# machine(rounds, what a run is)
sub machine {
    my ($rounds, $run) = @_;

    my ($cpu) = read_file('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)/m;
    my ($os) = read_file('/etc/os-release') =~ /^PRETTY_NAME="?([^"\n]*)/m;
    my $nginx = $ENV{TI_NGINX} || 'nginx';
    my ($version) = `$nginx -v 2>&1` =~ m{(nginx/\S+)};
    my ($ssl) = `openssl version` =~ /^(\S+ \S+)/;
    my ($redis) = `redis-server --version` =~ /v=(\S+)/;
    my $commit = `git -C '@{[root()]}' describe --always --dirty 2>/dev/null`;
    my ($load) = split ' ', read_file('/proc/loadavg');
    chomp(my $kernel = `uname -sr`);
    chomp(my $cores = `nproc --all`);
    chomp($commit);

    return strftime("%Y-%m-%d %H:%M UTC", gmtime())
        . ($commit ? ", commit $commit" : '')
        . ", load average before it $load.\n"
        . ($cpu // 'a CPU without a name') . ", $cores cores; "
        . ($os // 'an unknown system') . ", $kernel; $version, $ssl, "
        . "redis $redis, wrk.\n"
        . "$rounds rounds of $run; " . USERS . ' users with user keys, '
        . 'callers\' RS256 tokens of ' . _token_length() . ' bytes, '
        . 'third-party tokens of 1 KB, answers of 4 KB, ' . TOKENS
        . ' tokens where each is new; access_log off; Redis on a unix '
        . "socket.\n";
}

sub _token_length {
    open(my $fh, '<', tokens_dir() . '/tokens') or die "tokens: $!\n";
    chomp(my $token = <$fh>);

    return length $token;
}

# publish(name, headline, where, what the columns mean, tables): printed, and
# below build/bench; the last of a name is NAME.md
sub publish {
    my ($called, $title, $where, $legend, @tables) = @_;

    my $text = join "\n", "$title\n", $where, $legend, @tables;
    my $dir = build_dir() . '/bench/results';
    my $name = strftime("%Y%m%d-%H%M%S", gmtime()) . "-$called";

    File::Path::make_path($dir);
    for my $path ("$dir/$name.md", build_dir() . "/bench/$called.md") {
        open(my $fh, '>', $path) or die "$path: $!\n";
        print $fh $text;
        close($fh) or die "$path: $!\n";
    }

    print $text;
}


1;
