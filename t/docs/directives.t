#!/usr/bin/perl

# docs/directives.md against the source: the command tables, the defaults that
# the code sets, the variables, the results.  Then what stands in the pages as
# an example goes through "nginx -t".

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use TI::Test;
use TI::Nginx qw(nginx_has_module);
use Docs;

binmode(Test::More->builder->$_(), ':encoding(UTF-8)')
    for qw(output failure_output todo_output);

my $page = page('docs/directives.md');
my $glue = source('ngx_module/*.c');
my $code = join "\n", map { $glue->{$_} } sort keys %$glue;

my %context = (NGX_HTTP_MAIN_CONF => 'http', NGX_HTTP_SRV_CONF => 'server',
               NGX_HTTP_LOC_CONF => 'location');
my %inside = ('' => '## In http, server and location',
              store => '## Inside token_store',
              issuer => '## Inside token_issuer',
              provider => '## Inside token_provider');


# --- what the code has

my %commands;

while ($code =~ /^(?:static\s+)?ngx_command_t\s+
                 ngx_http_token_injector_(?:(\w+)_)?commands\[\]\s*=\s*\{
                 (.*?)^\};/gmsx)
{
    my ($block, $table) = ($1 // '', $2);

    while ($table =~ /\{\s*ngx_string\("(\w+)"\),\s*([\w|]+),\s*(\w+),
                      \s*\w+,\s*(?:0|offsetof\(\w+,\s*([\w.]+)\)),/gsx)
    {
        $commands{$block}{$1} = { flags => $2, set => $3, field => $4,
                                  of => $block || 'conf' };
    }
}

is(join(',', sort keys %commands), join(',', sort keys %inside),
   'the command tables are those that the page describes');


# --- directives

for my $block (sort keys %inside) {
    my %described = map { $_->[0] => $_->[1] }
                    headings(section($page, $inside{$block}), 3);
    my $where = $block ? "token_$block" : 'the top';

    is(join(' ', sort keys %described),
       join(' ', sort keys %{$commands{$block}}),
       "$where: every directive has its entry, and nothing else has");

    for my $name (sort keys %described) {
        my $command = $commands{$block}{$name} or next;
        check_entry($block, $name, $command, $described{$name});
    }
}

sub check_entry {
    my ($block, $name, $command, $text) = @_;

    my ($syntax) = $text =~ /^- Syntax: `(.+)`$/m;
    my ($default) = $text =~ /^- Default: (.+)$/m;
    my ($context) = $text =~ /^- Context: (.+)$/m;

    like($syntax // '', $command->{flags} =~ /NGX_CONF_NOARGS$/
                        ? qr/^\Q$name\E$/ : qr/^\Q$name\E /, "$name: syntax");

    if ($command->{flags} =~ /NGX_CONF_TAKE1$/ && $name !~ /^token_\w+ \{/) {
        unlike($syntax =~ s/\{ … \}//r, qr/…/, "$name: takes one argument");
    }

    is($context // '', $block ? "token_$block"
       : join(', ', map { $context{$_} }
                    grep { $context{$_} } split /\|/, $command->{flags}),
       "$name: context");

    my $value = default_of($command);
    if (defined $value) {
        is($default // '', "`$name $value`", "$name: default");
    } else {
        like($default // '', qr/^(?:–|mandatory|`\Q$name\E .+`)$/,
             "$name: default");
    }
}

# what the code falls back to, in the words of a configuration
sub default_of {
    my ($command) = @_;

    my $kind = { flag => 1, num => 1, sec => 1, msec => 1, size => 1 };
    my ($type) = $command->{set} =~ /^ngx_conf_set_(\w+)_slot$/ or return;
    return if !$kind->{$type} || !defined $command->{field};

    # "party.timeout" of an issuer is "timeout" of the party
    my ($of, $field) = $command->{field} =~ /^(?:(\w+)\.)?(\w+)$/;
    $of //= $command->{of};

    # min() and max() are with what another directive says
    my ($value) = $code =~ /ngx_conf_(?:init|merge)_\w*value\(
                            \s*$of->$field,
                            (?:\s*prev->\w+,)?
                            \s*(?:ngx_(?:min|max)\(\w+->\w+,\s*)?
                            ([\d* ]+)\)/sx
        or die "no default of $command->{field} in the source\n";
    $value = eval $value;

    return $value ? 'on' : 'off' if $type eq 'flag';
    return duration($value, 's') if $type eq 'sec';
    return $value % 1000 ? "${value}ms" : duration($value / 1000, 's')
        if $type eq 'msec';
    return $value % 1048576 ? "${value}k" : $value / 1048576 . 'm'
        if $type eq 'size';

    return $value;
}

# in the largest unit that it is a whole number of
sub duration {
    my ($n, $unit) = @_;

    for my $larger ([60, 'm'], [60, 'h'], [24, 'd']) {
        last if $n == 0 || $n % $larger->[0];
        $n /= $larger->[0];
        $unit = $larger->[1];
    }

    return "$n$unit";
}

# --- mandatory directives are those that the code asks for

for my $block (qw(store issuer provider)) {
    my %described = map { $_->[0] => $_->[1] }
                    headings(section($page, $inside{$block}), 3);
    my @mandatory = grep { $described{$_} =~ /^- Default: mandatory$/m }
                    sort keys %described;
    my ($text) = map { $glue->{$_} } grep { /_conf_$block\.c$/ } keys %$glue;
    my %asked = map { $_ => 1 } $text =~ /"has no \\"(\w+)\\"/g;

    is(join(' ', @mandatory), join(' ', sort keys %asked),
       "token_$block: mandatory directives");
}


# --- variables

my ($variables) = $code =~ /ngx_http_token_injector_variables\[\]\s*=\s*\{
                            (.*?)^\};/msx;
my @variables = map { s/_$/_NAME/r }
                $variables =~ /ngx_string\("(\w+)"\)/g;

is(join(' ', sort map { $_->[0] =~ /^`\$(\w+)`$/ ? $1 : $_->[0] }
        rows(section($page, '## Variables'))),
   join(' ', sort @variables), 'variables');


# --- results

my $base = source('src/ti_base.c')->{'src/ti_base.c'};
my (%results, %titled);

while ($base =~ /TI_RESULT\("([a-z-]+)",\s*(\d+),\s*"([^"]*)",\s*(\d)\)/gs) {
    $results{$1} = [$2, $3, $4];
}

for my $row (rows(section($page, '## Results'))) {
    my ($name, $status, $title) = @$row;

    $name =~ s/^`|`$//g;
    $titled{$name} = 1;
    my $result = $results{$name} or fail("$name is no result"), next;

    like($status, qr/\b$result->[0]\b/, "$name: status");
    is($title, $result->[1], "$name: title");
    is($status =~ / R$/ ? 1 : 0, $result->[2], "$name: Retry-After");
}

cmp_ok(scalar keys %results, '>', 15, 'the table of results was read');
is(join(' ', sort keys %titled), join(' ', sort keys %results), 'results');


# --- examples

SKIP: {
    skip('no module is built', 1) if !nginx_has_module();

    my $count = 0;

    for my $name (grep { /^README|^docs/ } pages()) {
        my $n = 0;

        for my $example (examples(page($name))) {
            my ($where, $text) = @$example;
            my ($rc, $out) = nginx_test(framed($where, $text));

            utf8::decode($out);
            is($rc, 0, "$name, example " . ++$n . ": nginx -t") or diag($out);
            unlike($out, qr/\[warn\]/, 'and nothing to warn of');
            $count++;
        }
    }

    cmp_ok($count, '>', 4, 'there are examples');
}

done_testing();
