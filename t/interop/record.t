#!/usr/bin/perl

# Token records across languages: what each of C, Python (jwcrypto) and
# JavaScript (jose) writes, each reads; the vectors open in all three, and
# what must be refused is.

use warnings;
use strict;

use IPC::Open2;
use JSON::PP;
use Test::More;

my %programs = (
    'C'          => [ 'build/interop/record_driver' ],
    'Python'     => [ '/usr/bin/python3', 't/interop/record.py' ],
    'JavaScript' => [ 'node', 't/interop/record.mjs' ],
);
my @languages = sort keys %programs;

-x $programs{'C'}[0] or die "no record_driver: make interop\n";
-d 't/interop/node_modules/jose' or die "no jose: make deps\n";

alarm 120;
$SIG{PIPE} = 'IGNORE';

my (%pipes, @pids);

for my $language (@languages) {
    push @pids, open2(my $out, my $in, @{ $programs{$language} });
    $pipes{$language} = [ $in, $out ];
}

my $json = JSON::PP->new->utf8->canonical;
my $text = slurp('t/vectors/record-v1.json');
my $vectors = $json->decode($text);

my @told = qw/kind issuer tenant subject provider gen cid user_key/;


sub slurp {
    my ($name) = @_;

    open my $f, '<:raw', $name or die "$name: $!\n";
    local $/;
    return scalar <$f>;
}


# One question to one program, which stays for the next.

sub ask {
    my ($language, $op, $vector, %more) = @_;

    my %question = (op => $op, keys => $vectors->{keys},
        prefix => $vectors->{prefix}, %more);
    $question{$_} = $vector->{$_} for @told;

    my ($in, $out) = @{ $pipes{$language} };

    print $in $json->encode(\%question), "\n";
    my $answer = <$out>;

    return defined $answer ? $json->decode($answer) : { error => 'died' };
}


sub opens {
    my ($language, $vector, $record, $name) = @_;

    my $got = ask($language, 'read', $vector, record => $record);

    is_deeply([ @$got{qw/error token exp iat scope/} ],
        [ undef, @$vector{qw/token exp iat scope/} ], $name);
}


is(qx{/usr/bin/python3 t/vectors/record-v1.py}, $text,
    'the vectors are what their maker writes');


# Line breaks in the page's listing are the page's own.

{
    my $page = slurp('docs/record-format.md');
    $page =~ s/\s+//g;

    my $first = $vectors->{records}[0];
    my @values = (@$first{qw/user_key user device connection ctx cid token/},
        (map { @$_{qw/salt nonce key header jwe/} } @$first{qw/inner outer/}),
        map { $_->{k} } @{ $vectors->{keys}{keys} }[0, 2]);

    ok(index($page, $_) >= 0, 'on the format page: ' . substr $_, 0, 30)
        for @values;
}

for my $vector (@{ $vectors->{records} }) {
    my $name = $vector->{name};

    for my $language (@languages) {
        is_deeply(ask($language, 'names', $vector),
            { map { $_ => $vector->{$_} } qw/user device connection/ },
            "$name: $language finds the names");

        opens($language, $vector, $vector->{outer}{jwe},
            "$name: $language opens the vector");
    }
}

for my $writer (@languages) {
    for my $vector (@{ $vectors->{records} }) {
        my %more = map { $_ => $vector->{$_} } qw/token exp iat scope/;
        my $record = ask($writer, 'write', $vector, %more)->{record};

        for my $reader (@languages) {
            opens($reader, $vector, $record // '',
                "$vector->{name}: $writer writes, $reader reads");
        }
    }
}


# Under a new first key; the old one stays until everything is under the new.

{
    my ($first, $second, $index) = @{ $vectors->{keys}{keys} };
    local $vectors->{keys} = { keys => [ $second, $first, $index ] };

    my $vector = $vectors->{records}[0];
    my $record = ask('C', 'rewrap', $vector,
        record => $vector->{outer}{jwe})->{record};

    isnt($record, $vector->{outer}{jwe}, 're-wrapped');

    local $vectors->{keys} = { keys => [ $second, $index ] };

    for my $language (@languages) {
        opens($language, $vector, $record,
            "$language opens it without the old key");
    }
}


for my $vector (@{ $vectors->{refused} }) {
    for my $language (@languages) {
        my $got = ask($language, 'read', $vector,
            record => $vector->{record});

        is($got->{error}, $vector->{result},
            "$vector->{name}: $language refuses");
    }
}


close $_->[0] for values %pipes;

for (0 .. $#pids) {
    waitpid $pids[$_], 0;
    is($?, 0, "$languages[$_]: exit code");
}

done_testing();
