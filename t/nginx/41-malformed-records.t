# A record that is not as specified does not open: the caller is asked to
# reconnect, the operator is told, nothing is sent and nothing deleted.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
sealing_keys_file(undef, 's1');
nginx_start(blocks(store => 'local_valid 0;') . <<'CONF', log_level => 'info');

    token_provider other {
        store vault;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $canary = 'canary-of-a-stored-token';
my $alice = person('alice');
my $bob = person('bob');
my %ref = (who => $alice->who(), user_key => $alice->user_key(),
           provider => 'outlook', kind => 'access', gen => 1,
           cid => b64u('c' x 16), expires => time() + 3600,
           token => $canary);
my $name = record_name(%ref);

# what an outer layer holds
sub inner {
    my ($record, %of) = @_;

    my (undef, $text) = TI::Record::_open($record, TI::Record::_ctx(%of),
        'seal', sub { sealing_keys()->{sealing}[0]{k} });

    return $text;
}

# an outer layer around anything
sub around {
    my ($text, %differ) = @_;

    return record_seal(%ref, device => record_device($ref{user_key}),
                       user_key => undef, token => $text,
                       outer => { cty => 'JWE', %{$differ{outer} || {}} });
}

# a compact JWE with one of its parts changed
sub part {
    my ($record, $n, $change) = @_;

    my @parts = split /\./, $record, -1;
    local $_ = b64u_decode($parts[$n]);
    $change->();
    $parts[$n] = b64u($_);

    return join '.', @parts;
}

# the connection's hash with these fields changed; undef: without them
sub connection_of {
    my (%fields) = @_;

    redis('DEL', $name);
    put_connection(%ref, access => $canary, fields => {
        access => record_seal(%ref), %fields });
}

my $good = record_seal(%ref);
my $other_key = new_user_key();

# [what is wrong, the record]
my @reconnect = (
    (map { my $n = $_;
           ["a tag of $n bytes",
            part($good, 4, sub { $_ = substr($_, 0, $n) })] } 0 .. 15),
    ['a tag of 17 bytes', part($good, 4, sub { $_ .= 'x' })],
    ['another tag', part($good, 4, sub { $_ ^= "\1" . "\0" x 15 })],
    ['a nonce of 11 bytes', part($good, 2, sub { chop })],
    ['a nonce of 13 bytes', part($good, 2, sub { $_ .= 'x' })],
    ['no nonce', part($good, 2, sub { $_ = '' })],
    ['other bytes', part($good, 3, sub { substr($_, 9, 1) ^= "\1" })],
    ['no bytes', part($good, 3, sub { $_ = '' })],
    ['an encrypted key', part($good, 1, sub { $_ = 'k' x 32 })],
    ['header not JSON', part($good, 0, sub { $_ = 'nonsense' })],
    ['header an array', part($good, 0, sub { $_ = '[]' })],
    ['four parts', $good =~ s/\.[^.]*$//r],
    ['six parts', "$good.AAAA"],
    ['padding', "$good="],
    ['a space', " $good"],
    ['empty', ''],
    ['only dots', '....'],
    ['a NUL', "\0"],
    (map { ["truncated to $_ of 10", substr($good, 0, $_ * length($good) / 10)]
         } 1 .. 9),
    ['over 65536 bytes', 'A' x 65537],

    ["bob's record", record_seal(%ref, who => $bob->who())],
    ["another tenant's", record_seal(%ref, who => [$ref{who}[0], 't',
                                                   $ref{who}[2]])],
    ["another issuer's", record_seal(%ref, who => ['https://b/', '',
                                                   $ref{who}[2]])],
    ["another provider's", record_seal(%ref, provider => 'other')],
    ["another device's", record_seal(%ref, user_key => $other_key)],
    ['a refresh record', record_seal(%ref, kind => 'refresh')],
    ['a pending record', record_seal(%ref, kind => 'pending')],
    ['the generation before', record_seal(%ref, gen => 0)],
    ['the generation after', record_seal(%ref, gen => 2)],
    ['another consent', record_seal(%ref, cid => b64u('d' x 16))],

    ['no outer layer', inner($good, %ref)],
    ['no inner layer', around($canary, outer => { cty => 'token' })],

    (map { my ($what, %header) = @$_;
           ["outer $what", record_seal(%ref, outer => { %header })] }
        ['unknown kid', kid => 's2'],
        ['no kid', kid => undef],
        ['kid a number', kid => 1],
        ['index key as kid', kid => 'index'],
        ['alg none', alg => 'none'],
        ['alg A256GCMKW', alg => 'A256GCMKW'],
        ['no alg', alg => undef],
        ['enc A128GCM', enc => 'A128GCM'],
        ['no enc', enc => undef],
        ['typ JWT', typ => 'JWT'],
        ['no typ', typ => undef],
        ['cty token', cty => 'token'],
        ['no cty', cty => undef],
        ['crit', crit => ['exp']],
        ['zip', zip => 'DEF'],
        ['no salt', salt => undef],
        ['salt of 15 bytes', salt => b64u('s' x 15)],
        ['another salt', salt => b64u('s' x 16)],
        ['no ctx', ctx => undef],
        ['another ctx', ctx => b64u('x' x 32)],
        ['no gen', gen => undef],
        ['gen a string', gen => '1'],
        ['gen 2', gen => 2],
        ['no cid', cid => undef],
        ['another cid', cid => b64u('d' x 16)],
        ['no exp', exp => undef],
        ['exp a string', exp => 'never'],
        ['exp a fraction', exp => time() + 0.5],
        ['exp negative', exp => -1]),
);

# the inner layer did not open, for whatever reason
my @connect = (
    ['sealed under another user key',
     record_seal(%ref, device => record_device($ref{user_key}),
                 user_key => $other_key)],
    (map { my $n = $_;
           ["inner tag of $n bytes",
            around(part(inner($good, %ref), 4,
                        sub { $_ = substr($_, 0, $n) }))] } 0, 8, 12, 15),
    ['inner ctx of another provider',
     around(inner(record_seal(%ref, provider => 'other'), %ref,
                  provider => 'other'))],
    ['inner of another generation',
     around(inner(record_seal(%ref, gen => 7), %ref, gen => 7))],
    ['inner empty', around('')],
    ['inner an outer layer', around($good)],
    ['inner nonsense', around('a.b.c.d.e')],
    (map { my ($what, %header) = @$_;
           ["inner $what", record_seal(%ref, inner => { %header })] }
        ['alg none', alg => 'none'], ['enc', enc => 'A128GCM'],
        ['no cty', cty => undef], ['cty JWE', cty => 'JWE'],
        ['crit', crit => ['exp']], ['zip', zip => 'DEF'],
        ['no salt', salt => undef], ['no ctx', ctx => undef]),
);

# [what is wrong, fields of the hash]
my @hashes = (
    ['no access', access => undef],
    ['no access but a refresh', access => undef, refresh => $good],
    ['no gen', gen => undef],
    (map { ["gen '$_'", gen => $_] }
        '', '0', '01', '-1', '+1', ' 1', '1.0', '2', 'one',
        '9007199254740992', '18446744073709551617', '1' x 40),
    ['no cid', cid => undef],
    (map { ["cid '$_'", cid => $_] }
        '', 'short', b64u('d' x 16), b64u('c' x 17), 'C' x 22,
        b64u('c' x 16) . '=', '*'),
);

# [what is wrong, the command that writes it]
my @types = (
    ['a string', 'SET', $name, $good],
    ['a list', 'RPUSH', $name, $good],
    ['a set', 'SADD', $name, $good],
    ['a sorted set', 'ZADD', $name, 1, $good],
    ['a stream', 'XADD', $name, '*', 'access', $good],
);

connection_of();
is(get('/', as => $alice)->json()->{headers}{authorization},
   "Bearer $canary", 'the record that all others differ from opens');
$up->forget();

sub try {
    my ($case, $result, $level) = @_;

    my $before = store_dump();

    # a token of its own: no admission stands in for the record
    my $token = $alice->token(jti => $case);

    log_mark();
    refused(get('/', as => $alice, token => $token), $result, $case);

    my ($line) = grep { /token injector: / } split /^/, log_since();
    like($line // '', qr/\[$level\].*token injector: $result, provider outlook/,
         "$case: logged as $level");
    is_deeply(store_dump(), $before, "$case: nothing is lost")
        or diag("$case");
}

for (@reconnect) {
    my ($case, $record) = @$_;
    connection_of(access => $record);
    try($case, 'reconnect-required', 'error');
}

for (@connect) {
    my ($case, $record) = @$_;
    connection_of(access => $record);
    try($case, 'connection-required', 'info');
}

for (@hashes) {
    my ($case, %fields) = @$_;
    connection_of(%fields);
    try($case, 'reconnect-required', 'error');
}

for (@types) {
    my ($case, @command) = @$_;
    redis('DEL', $name);
    redis(@command);
    try($case, 'reconnect-required', 'error');
}

is($up->calls(), 0, 'nothing was sent upstream');

connection_of();
is(result(get('/', as => $alice, token => $alice->token(jti => 'last'))), 'ok',
   'and a good record opens again');

secrets_absent('no log shows a secret', $canary, $alice->token(),
               $alice->user_key());

done_testing();
