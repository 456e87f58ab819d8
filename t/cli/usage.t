# The command line: help, completion and man page agree, and every wrong
# usage is refused with exit 2 before anything is read or asked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Test::More;

use TI::Env qw(root testdir read_file write_file);
use Tokenctl;

my @verbs = qw(keygen userkey put show delete list rotate segment explain);
my %options;                            # of each verb, as its --help says


# --- help

my $help = ok_run('help');

for my $verb (@verbs) {
    like($help, qr/^  $verb +\S/m, "help has $verb");

    my $text = ok_run($verb, '--help');
    is(ok_run('help', $verb), $text, "help $verb is $verb --help");
    like($text, qr/\Ausage: tokenctl $verb\b/, "usage of $verb");
    unlike($text, qr/^.{81}/m, "$verb --help fits a terminal");

    $options{$verb} = [$text =~ /^  (--[a-z-]+)/mg];

    my ($usage) = $text =~ /\A(.*?)\n  --/s;
    my %known = map { $_ => 1 } @{$options{$verb}};
    is_deeply([grep { !$known{$_} } $usage =~ /(--[a-z-]+)/g], [],
              "$verb: its usage names options that are listed");

    my %named = map { $_ => 1 } $usage =~ /(--[a-z-]+)/g, '--help';
    is_deeply([grep { !$named{$_} } @{$options{$verb}}], [],
              "$verb: and all of them");
}

is(ok_run('--help'), $help, '--help');
like(ok_run('--version'), qr/\Atokenctl \d+\.\d+\.\d+\n\z/, '--version');


# --- completion

# complete(words): what bash would offer for the last one
sub complete {
    my (@words) = @_;

    my $file = root() . '/cli/tokenctl.bash-completion';
    my $script = 'source "$1"; shift; COMP_WORDS=("$@"); '
                 . 'COMP_CWORD=$(($# - 1)); _tokenctl; '
                 . 'printf "%s\n" "${COMPREPLY[@]}"';

    open(my $bash, '-|', 'bash', '-c', $script, 'bash', $file, 'tokenctl',
         @words) or die "bash: $!\n";

    return [sort grep { length } map { s/\s+\z//r } <$bash>];
}

is_deeply(complete(''), [sort @verbs, qw(help --help --version)],
          'completion: the verbs');
is_deeply(complete('ro'), ['rotate'], 'completion: one of them');
is_deeply(complete('help', ''), [sort @verbs], 'completion: of help');

for my $verb (@verbs) {
    is_deeply(complete($verb, ''), [sort @{$options{$verb}}],
              "completion: every option of $verb and no other");
}

is_deeply(complete('put', '--pro'), ['--provider'], 'completion: by prefix');
is_deeply(complete('put', '--subject', ''), [], 'completion: no value');
write_file('some.jwks', '');
is_deeply(complete('put', '--keys', testdir() . '/some'),
          [testdir() . '/some.jwks'], 'completion: a file');


# --- the man page

my $man = read_file(root() . '/docs/tokenctl.1.scd');
my %all = map { $_ => 1 } map { @$_ } values %options;

my ($described) = $man =~ /^# OPTIONS\n(.*?)^# /ms;
is_deeply([sort $described =~ /^\*(--[a-z-]+)\*/mg], [sort keys %all],
          'man page: every option and no other');

my ($told) = $man =~ /^# VERBS\n(.*?)^# /ms;
is_deeply([sort $told =~ /^\*(\w+)\*$/mg], [sort @verbs],
          'man page: every verb');

my ($synopsis) = $man =~ /^# SYNOPSIS\n(.*?)^# /ms;
$synopsis =~ s/[*\\]|\+\+$//mg;
$synopsis =~ s/\s+/ /g;
for my $verb (@verbs) {
    my ($usage) = ok_run($verb, '--help') =~ /\Ausage: (.*?)\n\n/s;
    $usage =~ s/\s+/ /g;
    isnt(index($synopsis, $usage), -1, "man page: the synopsis of $verb");
}

SKIP: {
    skip('no scdoc', 1) if system('command -v scdoc >/dev/null') != 0;
    my $file = root() . '/docs/tokenctl.1.scd';
    my $page = `scdoc < '$file'`;
    is($?, 0, 'man page: scdoc takes it');
}


# --- wrong usage

my $nowhere = testdir() . '/nowhere';
my @store = ('--server', "unix:$nowhere", '--keys', $nowhere);
my @who = ('--issuer', 'https://i/', '--subject', 's');
my @one = (@store, @who, '--provider', 'p');
my @put = ('put', @one, '--access-file', $nowhere);

sub wrong {
    my ($pattern, @args) = @_;

    fails(2, $pattern, join(' ', map { s{\Q$nowhere}{F}r } @args), @args);
}

fails(2, qr/a verb is missing/, 'nothing');
wrong(qr/no such verb/, 'frobnicate');
wrong(qr/no such verb/, 'help', 'frobnicate');
wrong(qr/no such verb/, 'help', 'put', 'show');
wrong(qr/--nonsense: no such option/, 'put', '--nonsense');
wrong(qr/--nonsense: no such option/, 'put', '--nonsense=hush');
wrong(qr/-x: no such option/, 'put', '-xhush');
wrong(qr/--access: no such option/, 'put', '--access', 'hush');
wrong(qr/--json: it takes no value/, 'list', '--json=hush');
wrong(qr/--out: it needs a value/, 'keygen', '--out');
wrong(qr/--out: its value is empty/, 'keygen', '--out', '');
wrong(qr/without an option/, 'userkey', 'hush');
wrong(qr/without an option/, 'put', '--', 'hush');
wrong(qr/--json: given twice/, 'list', '--json', '--json');
wrong(qr/--reveal: not an option of this verb/, 'list', '--reveal');
wrong(qr/--access-file: not an option/, 'show', '--access-file', 'x');
wrong(qr/--device: put for a device needs its user key/, @put, '--device',
      'AAAAAAAAAAAAAAAA');

my $refused = tokenctl('put', '--nonsense=hush');
unlike($refused->{err}, qr/hush/, 'what follows an option is not repeated');
$refused = tokenctl('put', '-xhush');
unlike($refused->{err}, qr/hush/, 'nor is it without a dash');

wrong(qr/--out FILE is missing/, 'keygen');
wrong(qr/--add and --first/, qw(keygen --out f --add --first k));
wrong(qr/--out: a file, not/, qw(keygen --out -));
wrong(qr/--server .* is missing/, 'list', '--keys', 'k');
wrong(qr/--keys FILE is missing/, 'list', '--server', 'unix:/s');
wrong(qr/--access-file .* is missing/, 'put', @one);
wrong(qr/--provider P is missing/, 'show', @store, @who);
wrong(qr/whose connection\?/, 'show', @store, '--provider', 'p');

for my $server ('redis', ':6379', 'redis:', 'redis:0', 'redis:65536',
                'redis:06379', '::1:6379', '[]:6379')
{
    wrong(qr/--server \Q$server\E: unix:PATH, HOST:PORT/,
          'list', '--server', $server, '--keys', 'k');
}
wrong(qr/--server: a socket's path/, 'list', '--server', $_, '--keys', 'k')
    for 'unix:', 'unix:/' . 'x' x 120;

wrong(qr/--keys: a file, not/, 'list', '--server', 'unix:/s', '--keys', '-');
wrong(qr/--password-file: a file, not/, 'list', @store,
      '--password-file', '-');
wrong(qr/--user needs --password-file/, 'list', @store, '--user', 'u');
wrong(qr/--database: a whole number/, 'list', @store, '--database', $_)
    for '-1', '01', 'x', '99999999999';
wrong(qr/--key-prefix: braces/, 'list', @store, '--key-prefix', $_)
    for 'a{', '}b';
wrong(qr/--key-prefix: more than/, 'list', @store, '--key-prefix', 'x' x 129);

wrong(qr/--issuer and --subject are both needed/, 'list', @store, @$_)
    for ['--issuer', 'i'], ['--subject', 's'], ['--tenant', 't'],
        ['--issuer', 'i', '--tenant', 't'];
wrong(qr/$_: its value is empty/, 'list', @store, $_, '')
    for qw(--issuer --tenant --subject);
wrong(qr/--app is nobody's: it has no $_/, 'list', @store, '--app', $_, 'x')
    for qw(--issuer --tenant --subject);
wrong(qr/--subject: not UTF-8/, 'list', @store, '--issuer', 'i',
      '--subject', "\xe9");

wrong(qr/--provider: 1 to 64/, 'show', @store, @who, '--provider', $_)
    for 'a b', 'a:b', 'é', '..{', 'x' x 65;
wrong(qr/--device: 16 characters/, 'show', @one, '--device', $_)
    for 'x', 'A' x 15, 'A' x 17, 'A' x 15 . '=', 'A' x 15 . '+', '--';
wrong(qr/leave --device out/, 'show', @one, '--device', 'A' x 16,
      '--user-key-file', 'k');
wrong(qr/--app is on no device/, 'show', @store, '--app', '--provider', 'p',
      @$_) for ['--device', '-'], ['--user-key-file', 'k'];
wrong(qr/--app is on no device/, 'put', @store, '--app', '--provider', 'p',
      '--access-file', 'f', '--user-key-file', 'k');
wrong(qr/--reveal: a device's token/, 'show', @one, '--device', 'A' x 16,
      '--reveal');

wrong(qr/--expires-in: a whole number/, @put, '--expires-in', $_)
    for '0', '-1', '1.5', '1e3', '01', ' 1', '315360001',
        '18446744073709551617';
wrong(qr/--scope: words/, @put, '--scope', $_)
    for ' a', 'a ', 'a  b', "a\nb", 'a"b', 'a\\b', 'é', 'x' x 4097;
wrong(qr/only one value can be read from standard input/, 'put', @one,
      '--access-file', '-', @$_)
    for ['--refresh-file', '-'], ['--user-key-file', '-'];

wrong(qr/whose rules\?/, 'segment', @store, @$_)
    for ['--rules-file', 'f'], ['--clear'];
wrong(qr/--rules-file sets rules/, 'segment', @store, '--provider', 'p',
      '--rules-file', 'f', '--clear');
wrong(qr/whose rules\?/, 'explain', @store, '--claims-file', 'c',
      '--rules-file', 'f');
wrong(qr/--claims-file F\|- is missing/, 'explain', @store);
wrong(qr/only one value can be read from standard input/, 'explain', @store,
      '--provider', 'p', '--claims-file', '-', '--rules-file', '-');

fails(1, qr{/no\?such\?\[31m: there is no such file},
      'what a name says to a terminal is not repeated', 'list', '--server',
      'unix:/s', '--keys', "/no\nsuch\e[31m");
fails(1, qr/there is no such file; tokenctl keygen/,
      'options may come in any order', 'put', '--json', '--access-file', 'f',
      '--provider', 'p', '--expires-in', '315360000', @who, @store);

done_testing();
