package Docs;

# What the tests of the documentation share: the pages, the blocks and tables
# in them, the string literals of the source.

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::SSL::Utils qw(CERT_create CERT_free KEY_free PEM_cert2string
                              PEM_key2string);

use TI::Env qw(root write_file);
use TI::Record qw(sealing_keys_file);
use TI::Test qw(blocks);
use TI::Token qw(jwks_file key);

our @EXPORT = qw(pages page section headings rows code_spans examples example
                 framed self_signed source literals);

my $root = root();

# all pages, by name from the root
sub pages {
    my @found = (glob("$root/*.md"), glob("$root/docs/*.md"),
                 glob("$root/docs/*/*.md"));

    return map { substr($_, length("$root/")) } @found;
}

sub page { _read($_[0]) }

sub _read {
    my ($name) = @_;

    open(my $fh, '<:encoding(UTF-8)', "$root/$name")
        or die "$name: $!\n";
    local $/;

    return scalar <$fh>;
}

# section(text, heading): from that heading up to the next of its level
sub section {
    my ($text, $heading) = @_;

    my ($level) = $heading =~ /^(#+)/ or die "no heading: $heading\n";
    my $n = length $level;

    $text =~ /^\Q$heading\E\n(.*?)(?=^\#{1,$n}\ |\z)/ms
        or die "no section \"$heading\"\n";

    return $1;
}

# the headings of a level with what follows: a list of [heading, text]
sub headings {
    my ($text, $level) = @_;

    my @parts = split /^#{$level} (.*)\n/m, $text;
    shift @parts;

    my @found;
    while (my ($heading, $rest) = splice(@parts, 0, 2)) {
        $rest =~ s/^#{1,$level} .*//ms;
        push @found, [$heading, $rest];
    }

    return @found;
}

# the rows of tables below their heads, as lists of cells
sub rows {
    my ($text) = @_;

    my (@rows, $body);

    for my $line (split /\n/, $text) {
        if ($line !~ /^\|/) {
            $body = 0;
        } elsif ($line =~ /^\|[-| :]+\|$/) {
            $body = 1;
        } elsif ($body) {
            my (undef, @cells) = split /(?<!\\)\|/, $line, -1;
            pop @cells;
            s/^\s+|\s+$//g for @cells;
            s/\\\|/|/g for @cells;
            push @rows, \@cells;
        }
    }

    return @rows;
}

sub code_spans {
    my ($text) = @_;

    my @spans = $text =~ /`` (.*?) ``|`([^`]+)`/gs;

    return grep { defined } @spans;
}

# examples(text): what follows a comment "nginx -t: WHERE", as [where, text]
sub examples {
    my ($text) = @_;

    my @found;
    while ($text =~ /^<!-- nginx -t: (\w+) -->\n```nginx\n(.*?)^```/gms) {
        push @found, [$1, $2];
    }

    return @found;
}

# example(page, heading, n = 1): the nth of a section, as framed() takes it
sub example {
    my ($name, $heading, $n) = @_;

    my @found = examples(section(page($name), $heading));

    return @{$found[($n // 1) - 1] // die "$name: no example $n\n"};
}

# framed(where, text, upstream): an example as this machine can try it: its
# files are this test's, its addresses are here, the module is loaded by the
# harness.
sub framed {
    my ($where, $text, $upstream) = @_;

    $upstream //= '127.0.0.1:1';

    sealing_keys_file();
    jwks_file('corp.jwks', key('RS256'));
    jwks_file('partners.jwks', key('ES256'));
    self_signed($_) for $text =~ m{\bssl_\w+\s+/etc/nginx/(\w+)\.pem;}g;
    write_file($_, "secret\n", 0600)
        for qw(redis.password outlook.secret drive.secret);

    $text =~ s{/etc/nginx/(?=[\w.]+;)}{%%TESTDIR%%/}g;
    $text =~ s{/var/log/nginx/}{%%TESTDIR%%/example-}g;
    $text =~ s{^(?:load_module|user) .*\n}{}gm;
    $text =~ s{\blisten\s+\K[^;\s]+}{127.0.0.1:%%PORT%%}g;
    $text =~ s{\bserver\s+\K127\.0\.0\.1:6379}{127.0.0.1:%%REDIS_PORT%%}g;
    $text =~ s{proxy_pass\s+\Khttps?://[^/;]+}{http://$upstream}g;
    utf8::encode($text);

    return $text if $where eq 'whole';
    return blocks() . $text if $where eq 'http';

    die "an example for \"$where\"\n";
}

# self_signed(name): NAME.pem, which signed itself, and NAME.key
sub self_signed {
    my ($name) = @_;

    my ($cert, $key) = CERT_create(
        subject => { commonName => $name }, purpose => 'server,client',
        not_after => time() + 86400);

    write_file("$name.pem", PEM_cert2string($cert));
    write_file("$name.key", PEM_key2string($key), 0600);
    CERT_free($cert);
    KEY_free($key);
}

# source(glob): the files' text by name, comments gone
sub source {
    my (@globs) = @_;

    my %text;
    for my $path (map { glob("$root/$_") } @globs) {
        my $name = substr($path, length("$root/"));
        my $text = _read($name);
        $text =~ s{("(?:[^"\\\n]|\\.)*")|/\*.*?\*/}{$1 // ' '}gse;
        $text{$name} = $text;
    }
    die "no such source: @globs\n" if !%text;

    return \%text;
}

# literals(text, source): strings with their adjacent ones joined, as [what
# stands before, on one line, string].  A name among them is a macro's.
sub literals {
    my ($text, $source) = @_;

    my @found;
    my $one = qr/"(?:[^"\\\n]|\\.)*"/;

    while ($text =~ /($one(?:\s*(?:$one|[A-Z]\w*(?=\s*")))*)/g) {
        my ($all, $at) = ($1, $-[0]);
        my $before = substr($text, $at > 200 ? $at - 200 : 0,
                            $at > 200 ? 200 : $at);
        $before =~ s/\s+/ /g;
        my $string = '';
        while ($all =~ /("(?:[^"\\\n]|\\.)*")|([A-Z]\w*)/g) {
            $string .= defined $1 ? substr($1, 1, -1) : _macro($2, $source);
        }
        $string =~ s/\\(["\\])/$1/g;
        push @found, [$before, $string];
    }

    return @found;
}

# what a macro of the source, or of a header of it, stands for
sub _macro {
    my ($name, $source) = @_;

    for my $text (values %$source, values %{source('src/*.h')}) {
        return $1 if $text =~ /^#define\s+\Q$name\E\s+"([^"]*)"/m;
    }

    return '%s';
}


1;
