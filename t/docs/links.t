#!/usr/bin/perl

# Links between the pages lead somewhere, and so do names of files in them.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use File::Basename qw(dirname);
use Test::More;

use TI::Env qw(root);
use Docs;

binmode(Test::More->builder->$_(), ':encoding(UTF-8)')
    for qw(output failure_output todo_output);

my %anchors;
my $links = 0;

for my $name (pages()) {
    my $text = page($name) =~ s/^```.*?^```$//gmsr =~ s/`[^`\n]*`//gr;

    while ($text =~ /\[[^\]]*\]\(([^)\s]+)\)/g) {
        my ($target, $anchor) = $1 =~ /^([^#]*)(?:#(.*))?$/;

        next if $target =~ /^\w+:/;
        $links++;

        my $path = $target eq '' ? $name : normal(dirname($name), $target);
        ok(-e root() . "/$path", "$name: $target") or next;
        ok(anchors($path)->{$anchor}, "$name: $target#$anchor")
            if defined $anchor;
    }
}

cmp_ok($links, '>', 30, 'there are links');

done_testing();


sub normal {
    my ($from, $target) = @_;

    my @parts;
    for my $part (split m{/}, $from eq '.' ? $target : "$from/$target") {
        next if $part eq '.';
        if ($part eq '..') { pop @parts } else { push @parts, $part }
    }

    return join '/', @parts;
}

# what a heading is called in a link
sub anchors {
    my ($path) = @_;

    return $anchors{$path} //= {
        map { lc(s/[^\w\- ]//gr =~ s/ /-/gr) => 1 }
        page($path) =~ /^#+ (.*)$/gm
    };
}
