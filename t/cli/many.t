# Many connections: list and rotate take the same memory for 20,000 as for
# 1,000, show how far they are, and go on where they were interrupted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Test::More;

use TI::Env qw(root);
use Tokenctl;

plan(skip_all => 'no tokenctl is built') if !-x program();
plan(skip_all => 'no compiler') if system('command -v cc >/dev/null') != 0;

open(my $out, '-|', root() . '/bench/million', 1000, 20000)
    or die "bench/million: $!\n";
my @lines = <$out>;
ok(close($out), 'bench/million') or diag(@lines);

# of each size: what its runs took and said, and all of it
my (@runs, @text);

for my $line (@lines) {
    if ($line =~ /^fill /) {
        push @runs, {};
        push @text, '';
    }
    $text[-1] .= $line;
    $runs[-1]{$1} = { memory => $2, said => $3 }
        if $line =~ /^(\w[\w, ]*?) +[\d.]+ s +([\d.]+) MB +(.*)/;
}

my ($few, $many) = @runs;
my $text = $text[-1];

for my $what ('list', 'rotate, resumed', 'segment, of 100') {
    cmp_ok($many->{$what}{memory}, '<', $few->{$what}{memory} + 2,
           "$what: in the same memory");
    like($many->{$what}{said}, qr/^exit 0, /, "$what: done");
}
like($many->{$_}{said}, qr/, [1-9]\d* lines of progress/, "$_: shows progress")
    for 'list', 'rotate, resumed';

like($text, qr/^ +20001 lines, with the heading$/m, 'all are listed');
like($text, qr/^ +20000 connections in both together$/m,
     'interrupted and resumed, all are listed');

my ($first) = ($many->{'rotate, interrupted'}{said} // '')
              =~ /(\d+) rotated so far/;
my ($rest) = $text =~ /^ +(\d+) rotated, 0 left$/m;
is(($first // 0) + $rest, 20000, 'interrupted and resumed, all are rotated');

done_testing();
