#!/usr/bin/perl

# What CONTRIBUTING.md asks of the C here and a program can tell: the floors
# of src/, who includes whom, nginx's style, sizes.  Prints file:line: what.

use strict;
use warnings;
use utf8;

use File::Basename qw(basename dirname);

my $COLUMNS = 80;

# of what is installed; a table of test cases may be as long as it likes
my $FILE_LINES = 600;
my $FUNCTION_LINES = 60;
my $PARAMETERS = 6;

# handed into the core everywhere, so they do not count
my $HANDED_IN = qr/\b(?:crypto|pool|random|now|why)\s*$/;

# what the core may know besides itself: no clock, no socket, no log
my $CORE_HEADERS = qr{^(?:std(?:arg|bool|def|int|lib)|string|limits|math
                        |inttypes|jansson)\.h$|^openssl/|^hiredis/}x;

my %folder_may_include = (
    src => [qw(src)], ngx_module => [qw(ngx_module src)],
    cli => [qw(cli src)],
);

my (%floor, $complaints);

my @core = glob('src/*.[ch]');
my @ours = (@core, glob('ngx_module/*.[ch] cli/*.[ch]'));
my @all = (@ours, glob('t/unit/*.[ch] t/fuzz/*.c t/interop/*.c'));

$floor{basename($_)} = floor_of($_) for @core;
includes($_) for @ours;
style($_) for @all;
functions($_) for @all;
listed();
white_space($_) for glob('t/*.pl t/lib/TI/*.pm t/*/*.t'), 'config';

print "lint: ", scalar @all, " files, ", $complaints // 0, " complaints\n";
exit($complaints ? 1 : 0);


sub complain {
    my ($file, $line, $what) = @_;

    $complaints++;
    print "$file:$line: $what\n";
}

sub lines_of {
    my ($file) = @_;

    open(my $fh, '<:encoding(UTF-8)', $file) or die "$file: $!\n";
    chomp(my @lines = <$fh>);

    return @lines;
}

# Comments and the insides of literals become blanks: what is left is code,
# at its old place.
sub code_of {
    my ($file) = @_;

    my $text = join "\n", lines_of($file);
    my $blank = sub { (my $s = $_[0]) =~ s/[^\n]/ /g; $s };

    $text =~ s{(/\*.*?\*/) | "((?:[^"\\\n]|\\.)*)" | '((?:[^'\\\n]|\\.)*)'}{
        defined $1 ? $blank->($1)
        : defined $2 ? '"' . $blank->($2) . '"'
        : "'" . $blank->($3) . "'"
    }gsex;

    return $text;
}


# "Floor N" of the first comment; a .c file without one is of its header's
sub floor_of {
    my ($file) = @_;

    my @lines = lines_of($file);

    for my $line (@lines[0 .. ($#lines < 9 ? $#lines : 9)]) {
        return $1 if $line =~ /\bFloor (\d)\b/;
    }

    (my $header = $file) =~ s/\.c$/.h/;
    return floor_of($header) if $header ne $file && -e $header;

    complain($file, 1, 'no "Floor N" in its first comment');

    return 99;
}

sub includes {
    my ($file) = @_;

    my $folder = dirname($file);
    my $name = basename($file);
    my @lines = lines_of($file);
    my $n = 0;
    my @same;

    for my $line (@lines) {
        $n++;
        my ($open, $what) = $line =~ /^\s*#\s*include\s+([<"])([^>"]+)/
            or next;

        if ($open eq '<') {
            complain($file, $n, "the core does not know <$what>")
                if $folder eq 'src' && $what !~ $CORE_HEADERS;
            next;
        }

        my ($from) = grep { -e "$_/$what" } @{$folder_may_include{$folder}};
        if (!$from) {
            complain($file, $n, "$folder may not include $what");
            next;
        }

        complain($file, $n, "$what is private to src")
            if $from eq 'src' && $folder ne 'src' && $what =~ /_private\.h$/;
        next if $folder ne 'src';

        complain($file, $n, "$what is of a higher floor")
            if $floor{$what} > $floor{$name};
        push @same, [$n, $what] if $floor{$what} == $floor{$name};
    }

    # of its own floor, a file includes what it implements and nothing else;
    # a private header extends its public one
    if (my $extra = $name =~ /(?<!_private)\.h$/ ? $same[0] : $same[1]) {
        complain($file, $extra->[0], "$extra->[1] is of the same floor");
    }
}


# config lists every file that nginx compiles, and no other
sub listed {
    my @lines = lines_of('config');
    my %there = map { $_ => 1 } grep { !m{^cli/} } @ours;

    for my $n (1 .. @lines) {
        my ($file) = $lines[$n - 1]
                     =~ m{^\s*\$ngx_addon_dir/(\S+\.[ch]) \\$} or next;
        complain('config', $n, "$file does not exist") if !-e $file;
        delete $there{$file};
    }

    complain('config', scalar @lines, "$_ is not listed")
        for sort keys %there;
}


sub white_space {
    my ($file) = @_;

    my $n = 0;

    for my $line (lines_of($file)) {
        $n++;
        complain($file, $n, 'a tab') if $line =~ /\t/;
        complain($file, $n, 'white space at the end') if $line =~ /\s$/;
        complain($file, $n, 'a carriage return') if $line =~ /\r/;
        complain($file, $n, 'more than 80 columns') if length $line > $COLUMNS;
    }

    complain($file, $n, "more than $FILE_LINES lines")
        if $n > $FILE_LINES && $file !~ m{^t/};
}

sub style {
    my ($file) = @_;

    white_space($file);

    my $code = code_of($file);
    my $n = 0;

    for my $line (split /\n/, $code) {
        $n++;
        complain($file, $n, 'a // comment') if $line =~ m{//};
        complain($file, $n, 'an assignment in a condition')
            if $line =~ /\b(?:if|while)\s*\(.*[^=!<>]=(?!=)/
               && $line !~ /\bfor\b/;
        complain($file, $n, 'NULL first')
            if $line =~ /\bNULL\s*[!=]=/;
    }

    # every branch has its braces
    while ($code =~ /^[ ]*(?:\}\ else\ |else\ )?(if|for|while)\ (?=\()/mgx) {
        my ($word, $at) = ($1, pos $code);
        my $rest = substr($code, $at);
        $rest =~ s/^(\((?:[^()]++|(?1))*\))// or next;
        next if $rest =~ /^[\s\\]*\{/;
        complain($file, line_at($code, $at), "$word without braces");
    }
}

sub line_at {
    my ($text, $at) = @_;

    return 1 + (substr($text, 0, $at) =~ tr/\n//);
}


sub functions {
    my ($file) = @_;

    my $code = code_of($file);

    # definitions: name(…) and a brace, both at the margin
    while ($code =~ /^(?:(\w[^;{}\n#=]*?)[ *])?(\w+)(\((?:[^()]++|(?3))*\))\n\{
                     (.*?)^\}/mgsx)
    {
        my ($type, $name, $parameters, $body) = ($1 // '', $2, $3, $4);
        my ($at, $end) = ($-[2], $+[0]);
        my $line = line_at($code, $at);
        my $lines = $body =~ tr/\n//;

        complain($file, $line, "$name: return type on the same line")
            if $type =~ /\S/;
        complain($file, $line, "$name: $lines lines")
            if $lines > $FUNCTION_LINES && $file !~ m{^t/};
        many($file, $line, $name, $parameters);

        my $after = substr($code, $end);
        complain($file, line_at($code, $end), "after $name: two blank lines")
            if $after =~ /\S/ && real_after($file, line_at($code, $end))
               !~ /^\n\n(?:\S|$)|^\n*#/;
    }

    # declarations
    while ($code =~ /^[a-z][\w\s*]*?\**(\w+)(\((?:[^()]++|(?2))*\));/mg) {
        many($file, line_at($code, $-[1]), $1, $2);
    }
}

# what really follows a line, comments included
sub real_after {
    my ($file, $line) = @_;

    my @lines = lines_of($file);

    return join "\n", @lines[$line .. ($#lines < $line + 3 ? $#lines
                                                           : $line + 3)];
}

sub many {
    my ($file, $line, $name, $parameters) = @_;

    (my $flat = substr($parameters, 1, -1)) =~ s/\((?:[^()]++|(?R))*\)//g;
    my $n = grep { $_ !~ $HANDED_IN } split /,/, $flat;

    complain($file, $line, "$name: $n parameters") if $n > $PARAMETERS;
}
