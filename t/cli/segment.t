# segment and explain: rules in Redis, set, shown, removed, published, and what
# they mean for a caller.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use IO::Socket::UNIX ();
use JSON::PP ();
use Test::More;

use TI::Env qw(testdir write_file);
use TI::Record;
use TI::Redis;
use Tokenctl;

redis_start();
sealing_keys_file();

my @outlook = ('--provider', 'outlook');
my $n = 0;

sub file { write_file('file-' . $n++, $_[0]) }

sub set {
    my ($provider, $rules, @more) = @_;

    return ok_run('segment', store(), '--provider', $provider,
                  '--rules-file', file($rules), @more);
}


# --- set, shown, removed

my $heard = subscribe('ti:changes');

is(ok_run('segment', store()), '', 'nothing yet');
fails(3, qr/no rules in Redis for outlook: what "allow" says/, 'or of one',
      'segment', store(), @outlook);

my $rules = "groups=red green\n\"full name=Jane Doe\" x\n/a/0=*\@example.com";
is(set('outlook', "$rules\n"), '', 'set');
is_deeply([published($heard)], ['ti:segments'], 'published');
is(join(' ', redis('HKEYS', 'ti:segments')->@*), 'outlook', 'in the hash');
is(redis('TTL', 'ti:segments'), -1, 'for good');

my $value = redis('HGET', 'ti:segments', 'outlook');
like($value, qr/^[\w-]{43} \Q$rules\E\z/, 'marked');

is(ok_run('segment', store(), @outlook), $rules =~ s/^/outlook: /gmr . "\n",
   'shown');
is_deeply(json(ok_run('segment', store(), @outlook, '--json')),
          { provider => 'outlook', rules => [split /\n/, $rules],
            broken => undef }, 'as JSON');

is_deeply(json(set('all', 'everyone', '--json')),
          { provider => 'all', rules => 'everyone', broken => undef },
          'everyone');
set('none', 'nobody');
is(ok_run('segment', store()),
   "all: everyone\nnone: nobody\n" . $rules =~ s/^/outlook: /gmr . "\n",
   'all of them, by name');
is(ok_run('segment', store('--key-prefix', 'other:')), '',
   'another prefix has its own');

published($heard);
is(ok_run('segment', store(), '--provider', 'none', '--clear'), '',
   'removed');
is_deeply([published($heard)], ['ti:segments'], 'published too');
fails(3, qr/no rules in Redis for none/, 'once', 'segment', store(),
      '--provider', 'none', '--clear');
is_deeply([published($heard)], [], 'what changed nothing is not');
is_deeply(json(ok_run('segment', store(), '--provider', 'all', '--clear',
                      '--json')),
          { provider => 'all', cleared => JSON::PP::true }, 'as JSON');

my $run = tokenctl('segment', store(), @outlook, '--rules-file', '-',
                   { in => "dept=it\n" });
is($run->{rc}, 0, 'from standard input');
is(ok_run('segment', store(), @outlook), "outlook: dept=it\n", 'replaced');


# --- refused before Redis is asked

for my $case (
    ['', 1, 'no rule, which could mean everyone or nobody'],
    ["a=b\nx", 2, 'no CLAIM=VALUE, "everyone" or "nobody"'],
    ["a=b\n\neveryone", 3, 'rules beside "everyone" or "nobody"'],
    ["a=b\r\n", 1, 'a control character'],
    ['a="b', 1, 'a quote inside of a word'],
    ["a=*@", 1, '"*@" without a host name behind it'],
    [join("\n", ('a=b') x 257), 257, 'more than 256 rules'],
) {
    my ($text, $line, $why) = @$case;

    fails(1, qr/line \d+: \Q$why\E$/, $why, 'segment',
          store('--server' => 'unix:/nowhere'), @outlook, '--rules-file',
          file($text));
}
fails(1, qr/more than 65536 bytes/, 'too long', 'segment', store(), @outlook,
      '--rules-file', file('a=' . 'b' x 65536));
is(ok_run('segment', store(), @outlook), "outlook: dept=it\n",
   'and what was there stays');


# --- explain

sub explained {
    my ($claims, @more) = @_;

    return ok_run('explain', store(), '--claims-file',
                  file(JSON::PP->new->utf8->encode($claims)), @more);
}

set('outlook', $rules);
set('all', 'everyone');
set('none', 'nobody');

my %red = (sub => 'alice', groups => ['blue', 'red']);

is(explained(\%red), "all: yes: everyone\nnone: no: nobody\n"
   . "outlook: yes, by rule 1: groups=red green\n", 'of all providers');
is(explained({ 'full name' => 'x' }, @outlook),
   "outlook: yes, by rule 2: \"full name=Jane Doe\" x\n", 'of one');
is(explained({ a => ['boss@EXAMPLE.com'] }, @outlook),
   "outlook: yes, by rule 3: /a/0=*\@example.com\n", 'a domain');
is(explained({ groups => 'blue' }, @outlook),
   "outlook: no: no rule is for these claims\n", 'none');
is_deeply(json(explained(\%red, @outlook, '--json')),
          { provider => 'outlook', allowed => JSON::PP::true, rule => 1,
            why => 'groups=red green' }, 'as JSON');
is_deeply(json(explained({}, @outlook, '--json')),
          { provider => 'outlook', allowed => JSON::PP::false, rule => undef,
            why => 'no rule is for these claims' }, 'and no');

# "allow" of the configuration, or what is yet to be set
is(explained(\%red, '--provider', 'new', '--rules-file', file('groups=red')),
   "new: yes, by rule 1: groups=red\n", 'rules of a file');
is(explained(\%red, @outlook, '--rules-file', file('dept=it')),
   "outlook: no: no rule is for these claims\n", 'in the place of those there');
fails(3, qr/no rules in Redis for new: what "allow" says in nginx's/,
      'what tokenctl does not know', 'explain', store(), '--provider', 'new',
      '--claims-file', file('{}'));
fails(1, qr/claims are the JSON object/, 'no claims', 'explain', store(),
      '--claims-file', file('[1]'));


# --- what somebody else wrote there

for my $case (
    ['everyone', 'not the mark of these keys'],
    [$value =~ s/red/all/r, 'not the mark of these keys'],
    ['A' x 43 . ' everyone', 'not the mark of these keys'],
    ["\e[31m", 'not the mark of these keys'],
) {
    my ($bytes, $why) = @$case;

    redis('HSET', 'ti:segments', outlook => $bytes);
    is(ok_run('segment', store(), @outlook),
       "outlook: nobody, for the rules can't be used: $why\n", 'is not shown');
    is(explained(\%red, @outlook), "outlook: no: $why\n", 'and for nobody');
}

# another provider's
redis('HSET', 'ti:segments', "mail", $value, "\e[31m\xff", $value);
is(explained(\%red, '--provider', 'mail'),
   "mail: no: not the mark of these keys\n", "nor is another provider's");
unlike(ok_run('segment', store()), qr/[^\x20-\x7e\n]/,
       'nothing reaches the terminal that may not');

redis('DEL', 'ti:segments');
redis('SET', 'ti:segments', 'x');
fails(1, qr/WRONGTYPE/, 'a value of another type', 'segment', store(), @$_)
    for [], [@outlook], [@outlook, '--clear'],
        [@outlook, '--rules-file', file('everyone')];

done_testing();


sub subscribe {
    my ($channel) = @_;

    my $s = IO::Socket::UNIX->new(Peer => redis_sock()) or die "$!\n";
    syswrite($s, "SUBSCRIBE $channel word\r\n");
    my $bytes = '';
    while (($bytes =~ tr/:/:/) < 2) {
        sysread($s, $bytes, 65536, length $bytes) or die "subscribe: $!\n";
    }

    return $s;
}

# what came since it was last asked
sub published {
    my ($s) = @_;

    my $bytes = '';
    redis('PUBLISH', 'word', 'end');
    while ($bytes !~ /\r\nend\r\n\z/) {
        sysread($s, $bytes, 65536, length $bytes) or die "published: $!\n";
    }

    return $bytes =~ /changes\r\n\$\d+\r\n(.*)\r\n/g;
}
