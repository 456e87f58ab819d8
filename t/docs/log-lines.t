#!/usr/bin/perl

# Every message of the source is in "Log lines" of docs/operations.md, and no
# message that the source does not have.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Test::More;

use Docs;

binmode(Test::More->builder->$_(), ':encoding(UTF-8)')
    for qw(output failure_output todo_output);

# what stands before a string that no log shows
my $silent = qr/(?:
    \b(?:ngx_string|ti_string|ti_str|ngx_str_set|sizeof|ngx_cpymem)\([^()]*
    | \b(?:ngx_sprintf|ngx_log_debug\d|TI_RESULT
         |ngx_http_token_injector_status_(?:add|family))\([^;{]*
    | \.action[ ]=[ ]
    | \#include[ ]
)$/x;

# a wrapper of other messages
my %wrapper = ('%*s in %V:%ui' => 1);

my $source = source('src/*.c', 'ngx_module/*.c');
my (%messages, %all);

for my $file (sort keys %$source) {
    for my $literal (literals($source->{$file}, $source)) {
        my ($before, $string) = @$literal;

        next if $before =~ $silent || $wrapper{$string};
        $all{$string} = 1;
        $messages{$string} //= $file if $string =~ /[a-z]["')]? [\w"(]/
                                        && $string !~ /^ngx-/;
    }
}

cmp_ok(scalar keys %messages, '>', 150, 'messages were found in the source');

my %said;
for my $row (rows(section(page('docs/operations.md'), '## Log lines'))) {
    $said{$_} = 1 for code_spans($row->[0]);
}

for my $message (sort keys %messages) {
    my $re = as_regex($message);

    ok((grep { $_ =~ $re } keys %said), "$messages{$message}: $message");
}

my @res = map { as_regex($_) } keys %all;
for my $span (sort keys %said) {
    ok((grep { $span =~ $_ } @res), "in the source: $span");
}

done_testing();


# What is filled in is words in capitals; next to each other, any words that
# begin with one.
sub as_regex {
    my ($message) = @_;

    my $conversion = qr/%[*]?(?:ui|uz|[sVMidLlT])/;
    my $re = '';

    $message =~ s/%Z$//;

    while ($message =~ /\G((?:$conversion)+)|\G(.)/gs) {
        $re .= !defined $1 ? quotemeta $2
               : $1 =~ /^$conversion$/ ? '[A-Z][A-Z0-9_]*'
               : '[A-Z][\w, ]*';
    }
    $re = '\S+' . $re if $message =~ /^ /;

    return qr/^$re$/;
}
