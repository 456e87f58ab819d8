# What "nginx -t" refuses: every message, exactly, with file and line.

use strict;
use warnings;

use TI::Test;

needs_module();

sealing_keys_file();
jwks_file('corp.jwks', key('RS256'));
jwks_file('mac.jwks', key('HS256'));
jwks_file(['mac-loose.jwks', 0640], key('HS256'));
jwks_file('weak.jwks', key('rsa1024'));
jwks_file('none.jwks');
write_file('secret', "one\n", 0600);
write_file('secret-loose', "one\n", 0604);
write_file('empty', '', 0600);
write_file('password', "hush\n", 0600);
write_file('not.json', '{"keys":', 0600);
write_file('list.json', '[]', 0600);
write_file('keys.json', '{"keys":{}}', 0600);

my @sealing = (['s1', 'enc'], ['index', 'sig']);

sub sealing_of {
    my ($name, $mode, @keys) = @_;

    write_file($name, JSON::PP->new->encode({ keys => [ map {
        my ($kid, $use, %more) = @$_;
        { kty => 'oct', k => b64u('k' x 32), use => $use,
          (defined $kid ? (kid => $kid) : ()),
          ($use eq 'sig' ? (alg => 'HS256') : ()), %more }
    } @keys ] }), $mode);
}

sealing_of('loose.jwks', 0640, @sealing);
sealing_of('others.jwks', 0604, @sealing);
sealing_of('twice.jwks', 0600, @sealing, ['s1', 'enc']);
sealing_of('no-index.jwks', 0600, $sealing[0]);
sealing_of('two-index.jwks', 0600, @sealing, ['index2', 'sig']);
sealing_of('no-seal.jwks', 0600, $sealing[1]);
sealing_of('no-kid.jwks', 0600, @sealing, [undef, 'enc']);
sealing_of('long-kid.jwks', 0600, @sealing, ['x' x 256, 'enc']);
sealing_of('short.jwks', 0600, @sealing, ['s2', 'enc', k => b64u('k' x 31)]);
sealing_of('rsa.jwks', 0600, @sealing, ['s2', 'enc', kty => 'RSA']);
sealing_of('other-use.jwks', 0600, @sealing, ['s2', 'other']);


# A configuration that is good but for what a case says: lines that begin
# with the name of a default one take its place, whole blocks are given as
# such.  "#<" stands behind the line that the message must name, "#store" and
# so on at the ends of the blocks.

my %good = (
    store => ['server unix:%%REDIS_SOCK%%;',
              'sealing_keys %%TESTDIR%%/sealing.jwks;'],
    issuer => ['issuer https://login.example.com/;',
               'audience api://search;',
               'keys_file %%TESTDIR%%/corp.jwks;'],
    provider => ['store vault;'],
    location => ['token_auth corp;', 'token_inject outlook;',
                 'proxy_pass http://127.0.0.1:9;'],
);

sub lines_of {
    my ($block, $more) = @_;

    my %said = map { $_ => 1 } $more =~ /^\s*(\w+)/mg;

    return join("\n", (grep { !$said{(split)[0]} } @{$good{$block}}),
                grep { !/^\s*without_\w+$/ } split(/\n/, $more));
}

sub text_of {
    my (%case) = @_;

    # "without_X": the default line X is not there, and nothing in its place
    my %more = map {
        my $text = $case{$_} // '';
        $text =~ s/^\s*without_(\w+)$/$1 without_$1/mg;
        $text =~ s/^(\w+) without_\w+$/$1/mg;
        $_ => $text;
    } keys %good;
    my %lines = map {
        my $text = lines_of($_, $more{$_});
        $text =~ s/^\w+$//mg;
        $_ => $text;
    } keys %good;

    return join "\n",
        $case{first} // '',
        ($case{name_store} // 'token_store vault') . ' {',
        $lines{store}, '} #store',
        ($case{name_issuer} // 'token_issuer corp') . ' {',
        $lines{issuer}, '} #issuer',
        ($case{name_provider} // 'token_provider outlook') . ' {',
        $lines{provider}, '} #provider',
        $case{http} // '',
        'server {', 'listen 127.0.0.1:%%PORT%%;', $case{server} // '',
        'location /search {', $lines{location}, '}',
        $case{after} // '', '}';
}

# where the "#<" of a text or the end of a block is, as nginx counts
sub line_of {
    my ($mark) = @_;

    my $n = 0;
    for my $line (split /\n/, read_file('nginx-test.conf')) {
        $n++;
        return $n if $line =~ /#\Q$mark\E(?:\s|$)/;
    }

    die "no line is marked #$mark\n";
}

sub refused {
    my ($name, $case, $message, $mark) = @_;

    my ($code, $out) = nginx_test(text_of(%$case));
    my $wanted = 'nginx: [emerg] ' . subst($message);

    $wanted .= ' in ' . testdir() . '/nginx-test.conf:' . line_of($mark)
        if defined $mark;

    my ($got) = $out =~ /^(nginx: \[emerg\] .*)$/m;
    is($got, $wanted, $name);
    is($code, 1, "$name: and nginx does not start")
        if $code != 1;
}


my ($code, $out) = nginx_test(text_of());
is($code, 0, 'without what the cases say it is good') or diag($out);


# --- two blocks of one kind and name

refused('two stores of one name',
        { http => 'token_store vault { #<' . "\n}" },
        'duplicate token_store "vault"', '<');
refused('two issuers of one name',
        { http => 'token_issuer corp { #<' . "\n}" },
        'duplicate token_issuer "corp"', '<');
refused('two providers of one name',
        { http => 'token_provider outlook { #<' . "\n}" },
        'duplicate token_provider "outlook"', '<');

for my $kind (qw(store issuer provider)) {
    for my $bad ('"a b"', 'a.b', 'a{b', 'x' x 65, '""') {
        my $shown = $bad =~ s/"//gr;
        refused("$kind $bad",
                { http => "token_$kind " . ($bad =~ /\{/ ? "\"$bad\"" : $bad)
                          . " { #<\n}" },
                "invalid name \"$shown\" of token_$kind: use 1 to 64 of "
                . 'A-Z a-z 0-9 _ -', '<');
    }
}


# --- references

refused('a store that is not there', { provider => 'store vlaut;',
        name_provider => 'token_provider outlook { #<' . "\n#" },
        'token_provider "outlook" names the store "vlaut", which is not '
        . 'there: add "token_store vlaut { … }"', '<');
refused('a provider without a store', { provider => 'without_store' },
        'token_provider "outlook" has no "store"', 'provider');
refused('an issuer that is not there',
        { location => 'token_auth corp crop; #<' },
        '"token_auth" names the issuer "crop", which is not there: add '
        . '"token_issuer crop { … }"', '<');
refused('a provider that is not there',
        { location => 'token_inject outlok; #<' },
        '"token_inject" names the provider "outlok", which is not there: add '
        . '"token_provider outlok { … }"', '<');
refused('one issuer named twice',
        { location => 'token_auth corp corp; #<' },
        '"token_auth" names two issuers with the same issuer string '
        . '"https://login.example.com/": "corp" and "corp"', '<');
refused('two issuers of one issuer string',
        { http => "token_issuer again {\n"
                  . join("\n", @{$good{issuer}}) . "\n}",
          location => 'token_auth corp again; #<' },
        '"token_auth" names two issuers with the same issuer string '
        . '"https://login.example.com/": "corp" and "again"', '<');
refused('inject without auth',
        { location => "without_token_auth\ntoken_inject outlook; #<" },
        '"token_inject outlook" without "token_auth" in location "/search": '
        . 'say whose token it is', '<');
refused('inject with auth switched off',
        { server => 'token_auth corp;',
          location => "token_auth off;\ntoken_inject outlook; #<" },
        '"token_inject outlook" without "token_auth" in location "/search": '
        . 'say whose token it is', '<');
refused('inject of the server, met by a location without auth',
        { server => "token_inject outlook; #<",
          after => 'location /other { return 204; }' },
        '"token_inject outlook" without "token_auth" in location "/other": '
        . 'say whose token it is', '<');
refused('require without auth',
        { location => "without_token_auth\nwithout_token_inject\n"
                      . 'token_require $token_claim_sub; #<' },
        '"token_require" without "token_auth" in location "/search" would '
        . 'let everybody in', '<');


# --- stores

refused('no server', { store => 'without_server' },
        'token_store "vault" has no "server"', 'store');
refused('no sealing keys', { store => 'without_sealing_keys' },
        'token_store "vault" has no "sealing_keys": make a file with '
        . '"tokenctl keygen --out FILE"', 'store');
refused('two servers', { store => "server 127.0.0.1:1;\n"
                                  . 'server 127.0.0.1:2;' },
        'token_store "vault" has several servers: "topology standalone" '
        . 'takes one', 'store');
for my $topology ('sentinel mymaster', 'cluster', 'standalone mymaster') {
    refused("topology $topology", { store => "topology $topology; #<" },
            '"topology" directive takes "standalone", all that this version '
            . 'supports', '<');
}
refused('ssl on', { store => 'ssl on;' },
        'token_store "vault" has "ssl on", which this version does not '
        . 'support: use a unix socket or a TLS tunnel that ends on this '
        . 'machine', 'store');
refused('a user without a password', { store => 'user injector;' },
        'token_store "vault" has a "user" and no "password_file"', 'store');
for my $n (0, 65) {
    refused("$n connections", { store => "connections $n;" },
            'token_store "vault" has a number of "connections" that is not '
            . '1 to 64', 'store');
}
for my $directive (qw(connect_timeout timeout)) {
    refused("$directive 0", { store => "$directive 0;" },
            'token_store "vault" has a timeout of 0: nothing waits for ever '
            . 'here', 'store');
}
for my $prefix ('"a{b"', '"a}b"', '"{"') {
    refused("key_prefix $prefix", { store => "key_prefix $prefix;" },
            'token_store "vault" has a "key_prefix" with a brace: braces '
            . 'keep a user\'s keys in one cluster slot', 'store');
}
refused('a server that does not resolve',
        { store => 'server redis.invalid:6379;' },
        'token_store "vault": host not found in server "redis.invalid:6379"',
        'store');
refused('a server with a bad port', { store => 'server 127.0.0.1:70000;' },
        'token_store "vault": invalid port in server "127.0.0.1:70000"',
        'store');
refused('an empty server', { store => 'server ""; #<' },
        '"server" directive has an empty value', '<');


# --- secret files

for my $case (['loose.jwks', 0640], ['others.jwks', 0604]) {
    my ($file) = @$case;
    refused("sealing_keys, $file",
            { store => "sealing_keys %%TESTDIR%%/$file;" },
            "sealing_keys \"%%TESTDIR%%/$file\" holds secrets and group or "
            . "others may use it: run chmod 600 %%TESTDIR%%/$file",
            'store');
}
refused('password_file, loose',
        { store => 'password_file %%TESTDIR%%/secret-loose;' },
        'password_file "%%TESTDIR%%/secret-loose" holds secrets and group or '
        . 'others may use it: run chmod 600 %%TESTDIR%%/secret-loose',
        'store');
refused('keys_file of MAC keys, loose',
        { issuer => "algorithms HS256;\n"
                    . 'keys_file %%TESTDIR%%/mac-loose.jwks;' },
        'keys_file "%%TESTDIR%%/mac-loose.jwks" holds secrets and group or '
        . 'others may use it: run chmod 600 %%TESTDIR%%/mac-loose.jwks',
        'issuer');

my %talks = (
    authorization_endpoint => 'https://idp.example.com/authorize',
    token_endpoint => 'https://idp.example.com/token',
    client_id => 'me',
    client_secret_file => '%%TESTDIR%%/secret',
    redirect_uri => 'https://search.example.com/connected',
);

sub talks {
    my (%differ) = @_;
    my %all = (%talks, %differ);

    return join "\n", map { "$_ $all{$_};" }
                      grep { defined $all{$_} } sort keys %all;
}

refused('client_secret_file, loose',
        { provider => talks(client_secret_file =>
                            '%%TESTDIR%%/secret-loose') },
        'client_secret_file "%%TESTDIR%%/secret-loose" holds secrets and '
        . 'group or others may use it: run '
        . 'chmod 600 %%TESTDIR%%/secret-loose', 'provider');

for my $case (
    ['sealing_keys', sub { (store => "sealing_keys $_[0];") }, 'store'],
    ['password_file', sub { (store => "password_file $_[0];") }, 'store'],
    ['keys_file', sub { (issuer => "keys_file $_[0];") }, 'issuer'],
    ['client_secret_file',
     sub { (provider => talks(client_secret_file => $_[0])) }, 'provider'])
{
    my ($directive, $say, $where) = @$case;

    refused("$directive, absent", { $say->('%%TESTDIR%%/nowhere') },
            "$directive \"%%TESTDIR%%/nowhere\" can't be opened "
            . '(2: No such file or directory)', $where);
    refused("$directive, a directory", { $say->('%%TESTDIR%%') },
            "$directive \"%%TESTDIR%%\" is not a regular file", $where);
    refused("$directive, empty", { $say->('%%TESTDIR%%/empty') },
            "$directive \"%%TESTDIR%%/empty\" is empty", $where);
}

SKIP: {
    skip('root reads everything', 1) if $> == 0;
    write_file('mine', 'x', 0000);
    refused('a file that cannot be read',
            { store => 'sealing_keys %%TESTDIR%%/mine;' },
            'sealing_keys "%%TESTDIR%%/mine" can\'t be opened '
            . '(13: Permission denied)', 'store');
}

write_file('huge', 'x' x 70000, 0600);
refused('sealing_keys, huge', { store => 'sealing_keys %%TESTDIR%%/huge;' },
        'sealing_keys "%%TESTDIR%%/huge" is too large', 'store');


# --- what sealing keys must be

for my $case (
    ['twice.jwks', 'two keys have one "kid"'],
    ['no-index.jwks',
     'no index key ("kty":"oct","alg":"HS256","use":"sig")'],
    ['two-index.jwks', 'two index keys ("use":"sig")'],
    ['no-seal.jwks', 'no sealing key ("kty":"oct","use":"enc")'],
    ['no-kid.jwks', 'a key without a "kid" string'],
    ['long-kid.jwks', 'a key whose "kid" is empty or longer than 255 bytes'],
    ['short.jwks', 'a key whose "k" is not 32 bytes in base64url'],
    ['rsa.jwks', 'a key whose "kty" is not "oct"'],
    ['other-use.jwks', 'a key that is neither for sealing ("use":"enc") nor '
     . 'the index key ("alg":"HS256","use":"sig")'],
    ['list.json', 'JSON that is not an object'],
    ['keys.json', 'not a JWK Set: it has no "keys" array'])
{
    my ($file, $why) = @$case;

    refused("sealing_keys, $file",
            { store => "sealing_keys %%TESTDIR%%/$file;" },
            "sealing_keys \"%%TESTDIR%%/$file\": $why", 'store');
}

($code, $out) = nginx_test(text_of(
    store => 'sealing_keys %%TESTDIR%%/not.json;'));
is($code, 1, 'sealing keys that are no JSON');
like($out, qr/\[emerg\] sealing_keys "\S+": \S.* in \S+:\d+/, 'say so');
unlike($out, qr/"k"|kkkk/, 'and show none of it');


# --- issuers

refused('no issuer', { issuer => 'without_issuer' },
        'token_issuer "corp" has no "issuer"', 'issuer');
refused('no audience', { issuer => 'without_audience' },
        'token_issuer "corp" has no "audience": a token made for anybody is '
        . 'nobody\'s', 'issuer');
refused('no keys, and an issuer that cannot be asked',
        { issuer => "without_keys_file\nissuer corp;" },
        'token_issuer "corp" has neither "keys_file" nor "keys_uri", and its '
        . '"issuer" "corp" is not a URL that could be asked where its keys '
        . 'are', 'issuer');
refused('no keys, and an issuer of http',
        { issuer => "without_keys_file\nissuer http://login.example.com/;" },
        'issuer "http://login.example.com/" is not https: use https, or '
        . '"allow_http on" on a trusted network', 'issuer');
refused('keys_uri of http',
        { issuer => 'keys_uri http://login.example.com/k;' },
        'keys_uri "http://login.example.com/k" is not https: use https, or '
        . '"allow_http on" on a trusted network', 'issuer');
for my $bad ('ftp://login.example.com/k', 'https://', 'https:///k', 'k',
             'file:///etc/nginx/k', '"https://login.example.com/a b"',
             'https://login.example.com/#k')
{
    (my $url = $bad) =~ s/"//g;
    refused("keys_uri $bad", { issuer => "keys_uri $bad;" },
            "keys_uri \"$url\" is not a URL that can be used", 'issuer');
}
refused('keys_uri with a user',
        { issuer => 'keys_uri https://me:mine@login.example.com/k;' },
        'keys_uri "https://me:mine@login.example.com/k" names a user: it '
        . 'would end up in logs', 'issuer');
refused('keys_uri and MAC algorithms alone',
        { issuer => "algorithms HS256;\n"
                    . "keys_file %%TESTDIR%%/mac.jwks;\n"
                    . 'keys_uri https://login.example.com/k;' },
        'token_issuer "corp" fetches keys and allows only MAC algorithms, '
        . 'whose keys are never fetched: leave "keys_uri" out', 'issuer');
refused('keys_min_interval 0', { issuer => 'keys_min_interval 0;' },
        'token_issuer "corp" has a "keys_min_interval" of nothing: it takes '
        . 'a second or more', 'issuer');
refused('keys_interval below keys_min_interval',
        { issuer => "keys_interval 10s;\nkeys_min_interval 11s;" },
        'token_issuer "corp" has a "keys_interval" shorter than its '
        . '"keys_min_interval"', 'issuer');
refused('keys_max_stale below keys_interval',
        { issuer => 'keys_max_stale 599s;' },
        'token_issuer "corp" has a "keys_max_stale" shorter than its '
        . '"keys_interval": keys would end before they are asked for again',
        'issuer');
for my $line ('timeout 0', 'connect_timeout 0') {
    refused("issuer: $line", { issuer => "without_keys_file\n"
                . "issuer http://127.0.0.1:9;\nallow_http on;\n$line;" },
            '"timeout" and "connect_timeout" take a millisecond or more: '
            . 'nothing waits for ever', 'issuer');
}
for my $bad ('proxy:3128', 'socks5://proxy:1080', 'http://', 'http://:3128',
             'http://me:hush@:3128', 'https:///')
{
    refused("http_proxy $bad", { issuer => "without_keys_file\n"
                . "issuer http://127.0.0.1:9;\nallow_http on;\n"
                . "http_proxy $bad;" },
            '"http_proxy" is not http://HOST:PORT or https://HOST:PORT',
            'issuer');
}
refused('http_proxy with a password, and a space',
        { issuer => "without_keys_file\nissuer http://127.0.0.1:9;\n"
                    . qq(allow_http on;\nhttp_proxy "http://me:hush\@p :1";) },
        '"http_proxy" has a character that no URL has', 'issuer');
refused('a MAC algorithm without a keys_file',
        { issuer => "without_keys_file\nalgorithms HS256;" },
        'token_issuer "corp" allows a MAC algorithm and has no "keys_file": '
        . 'such keys come from nowhere else', 'issuer');
for my $none (qw(none None NONE)) {
    refused("algorithms $none", { issuer => "algorithms RS256 $none;" },
            "token_issuer \"corp\" names the algorithm \"$none\", which is "
            . 'no signature and never accepted', 'issuer');
}
for my $unknown (qw(rs256 RS255 HS1 ES256K nones)) {
    refused("algorithms $unknown", { issuer => "algorithms $unknown;" },
            "token_issuer \"corp\" names the algorithm \"$unknown\", which "
            . 'is not one of RS, PS, ES, HS with 256, 384, 512 and EdDSA',
            'issuer');
}
refused('no key for the algorithms', { issuer => 'algorithms ES256;' },
        'token_issuer "corp" has no key that can be used with its '
        . '"algorithms"', 'issuer');
refused('weak keys alone', { issuer => 'keys_file %%TESTDIR%%/weak.jwks;' },
        'token_issuer "corp" has no key that can be used with its '
        . '"algorithms"', 'issuer');
refused('no key at all', { issuer => 'keys_file %%TESTDIR%%/none.jwks;' },
        'token_issuer "corp" has no key that can be used with its '
        . '"algorithms"', 'issuer');
refused('MAC keys where RS256 is meant',
        { issuer => 'keys_file %%TESTDIR%%/mac.jwks;' },
        'token_issuer "corp" has no key that can be used with its '
        . '"algorithms"', 'issuer');
refused('keys_file, no JWK Set',
        { issuer => 'keys_file %%TESTDIR%%/keys.json;' },
        'keys_file "%%TESTDIR%%/keys.json": has no "keys" array', 'issuer');
for my $claim (qw(user_claim tenant_claim required_claims)) {
    for my $bad ('""', '/a~2b') {
        my $shown = $bad =~ s/"//gr;
        next if $claim eq 'required_claims' && $bad eq '""';
        refused("$claim $bad", { issuer => "$claim $bad;" },
                "token_issuer \"corp\" has an invalid \"$claim\" "
                . "\"$shown\"", 'issuer');
    }
}


# --- providers

refused('a user key for an app-only token',
        { provider => "grant client_credentials;\nuser_key required;" },
        'token_provider "outlook" asks for a user key: an app-only token '
        . '("grant client_credentials") has no user', 'provider');
refused('half-given: no token endpoint',
        { provider => talks(token_endpoint => undef) },
        'token_provider "outlook" talks to its provider and has no '
        . '"token_endpoint"', 'provider');
refused('half-given: no client id', { provider => talks(client_id => undef) },
        'token_provider "outlook" talks to its provider and has no '
        . '"client_id"', 'provider');
refused('half-given: no secret',
        { provider => talks(client_secret_file => undef) },
        'token_provider "outlook" talks to its provider and has neither '
        . '"client_secret_file" nor "client_auth none"', 'provider');
refused('half-given: no authorization endpoint',
        { provider => talks(authorization_endpoint => undef) },
        'token_provider "outlook" talks to its provider and has no '
        . '"authorization_endpoint"', 'provider');
refused('half-given: no redirect URI',
        { provider => talks(redirect_uri => undef) },
        'token_provider "outlook" talks to its provider and has no '
        . '"redirect_uri"', 'provider');
refused('half-given: a scope alone', { provider => 'scope Mail.Read;' },
        'token_provider "outlook" talks to its provider and has no '
        . '"token_endpoint"', 'provider');
refused('client credentials without a secret',
        { provider => "grant client_credentials;\nclient_auth none;\n"
                      . talks(client_secret_file => undef) },
        'token_provider "outlook" talks to its provider and has no '
        . '"client_secret_file"', 'provider');
for my $directive (qw(authorization_endpoint token_endpoint redirect_uri)) {
    refused("$directive, http",
            { provider => talks($directive => 'http://a.example.com/') },
            "$directive \"http://a.example.com/\" is not https: use https, "
            . 'or "allow_http on" on a trusted network', 'provider');
    for my $bad ('ftp://a/', 'https://', 'https:///path', 'https://a/#b',
                 '"https://a/ b"', 'nonsense')
    {
        my $shown = $bad =~ s/"//gr;
        refused("$directive $bad", { provider => talks($directive => $bad) },
                "$directive \"$shown\" is not a URL that can be used",
                'provider');
    }
}
for my $bad ('groups', 'groups=', '=users', '=') {
    refused("allow $bad", { provider => "allow $bad; #<" },
            '"allow" directive takes CLAIM=VALUE and more values', '<');
}
refused('allow /a~2=b', { provider => 'allow /a~2=b; #<' },
        '"allow" directive names a claim by an invalid JSON pointer', '<');


# --- locations

for my $realm ('a\\"b', 'a\\\\b', "caf\xc3\xa9", "a\tb") {
    refused("realm $realm",
            { location => "token_auth corp \"realm=$realm\"; #<" },
            '"token_auth" directive has a realm with a quote, a backslash or '
            . 'a character outside of ASCII', '<');
}
for my $from ('$arg_token', '$request_uri', 'cookie_a', '$http_', '$cookie_',
              'x', '$token_claim_x')
{
    refused("from=$from", { location => "token_auth corp from=$from; #<" },
            "\"$from\" can't be a source of \"from\": it takes \$http_NAME "
            . 'or $cookie_NAME (a URL ends up in logs)', '<');
    refused("token_user_key $from",
            { location => "token_user_key $from; #<" },
            "\"$from\" can't be a source of \"token_user_key\": it takes "
            . '$http_NAME or $cookie_NAME (a URL ends up in logs)', '<');
}
for my $from ('$http_cookie', '$http_Cookie', '$http_x-jwt', '$cookie_a-b',
              '$http_a$cookie_b', '$cookie_a.b')
{
    my $why = '"%s" can\'t be a source of "%s": name one header or one '
              . 'cookie as its variable is spelt';

    refused("from=$from", { location => "token_auth corp from=$from; #<" },
            sprintf($why, $from, 'from'), '<');
    refused("token_user_key $from",
            { location => "token_user_key $from; #<" },
            sprintf($why, $from, 'token_user_key'), '<');
}
refused('token_auth of options alone',
        { location => 'token_auth realm=x; #<' },
        '"token_auth" directive names no token_issuer', '<');
for my $error ('402', '200', '', '4011') {
    refused("token_require error=$error",
            { location => "token_require \$arg_a error=$error; #<" },
            '"token_require" directive takes error=401 or error=403', '<');
}
refused('token_require of an error alone',
        { location => 'token_require error=403; #<' },
        '"token_require" directive names no variable', '<');
refused('token_require of no variable',
        { location => 'token_require yes; #<' },
        '"yes" in "token_require" is not a variable', '<');
refused('token_cache_key of no variable',
        { location => 'token_cache_key yes; #<' },
        '"yes" in "token_cache_key" is not a variable', '<');
for my $directive ('token_cache', 'token_cache_stale') {
    for my $time ('0', '0s', '500ms', 'x', '-1', '') {
        refused("$directive '$time'",
                { location => "$directive \"$time\"; #<" },
                "\"$directive\" directive takes a time of at least one "
                . 'second, or "off"', '<');
    }
}
refused('token_cache_methods PUT',
        { location => 'token_cache_methods GET PUT; #<' },
        'invalid value "PUT"', '<');
refused('token_cache_max_size', { location => 'token_cache_max_size x; #<' },
        '"token_cache_max_size" directive invalid value', '<');
for my $size ('16777217', '17m', '1024m') {
    refused("token_cache_max_size $size",
            { location => "token_cache_max_size $size; #<" },
            '"token_cache_max_size" directive is more than 16m', '<');
}
refused('token_shared_memory', { http => 'token_shared_memory 255k; #<' },
        '"token_shared_memory" directive is too small: it needs at least '
        . '256k', '<');
refused('an unknown variable', { location => 'token_require $nothing;' },
        'unknown "nothing" variable');


# --- twice, too few, too many

my %once = (
    store => [qw(topology:standalone database:1 user:a
                 password_file:%%TESTDIR%%/password ssl:off connections:1
                 connect_timeout:1s timeout:1s key_prefix:a: local_valid:1s
                 sealing_keys:%%TESTDIR%%/sealing.jwks)],
    issuer => [qw(issuer:https://a/ leeway:1s user_claim:a tenant_claim:a
                  allow_http:on)],
    provider => [qw(store:vault grant:authorization_code user_key:off
                    authorization_endpoint:https://a/ token_endpoint:https://a/
                    client_id:a client_secret_file:/nowhere client_auth:post
                    scope:a redirect_uri:https://a/ allow_http:on issuer:a
                    userinfo_endpoint:https://a/ userinfo_auth:body
                    revocation_endpoint:https://a/ client_key_file:/nowhere
                    admin_consent_endpoint:https://a/ account_claim:sub
                    match_account:email connect_timeout:1s timeout:1s
                    throttle:caller
                    ssl_trusted_certificate:/nowhere http_proxy:http://a)],
    location => [qw(token_auth:corp token_inject:outlook
                    token_user_key:$http_a token_cache:1m token_cache:off
                    token_auth:off token_inject:off token_cache_vary:a
                    token_cache_key:$uri token_cache_max_size:1m
                    token_cache_stale:1m token_cache_stale:off)],
);

for my $block (sort keys %once) {
    for my $line (@{$once{$block}}) {
        my ($directive, $value) = $line =~ /^(\w+):(.*)$/;

        refused("$block: $directive $value, twice",
                { $block => "$directive $value;\n$directive $value; #<" },
                "\"$directive\" directive is duplicate", '<');
        refused("$block: $directive, no argument",
                { $block => "$directive; #<" },
                "invalid number of arguments in \"$directive\" directive",
                '<');
    }
}

refused('token_cache_methods, a method twice',
        { location => 'token_cache_methods GET GET;', server => 'nonsense; #<'
        }, 'unknown directive "nonsense"', '<');
refused('token_shared_memory, twice',
        { http => "token_shared_memory 1m;\ntoken_shared_memory 1m; #<" },
        '"token_shared_memory" directive is duplicate', '<');

for my $case ([store => 'server a b'], [store => 'timeout 1s 2s'],
              [issuer => 'issuer a b'], [issuer => 'leeway 1s 2s'],
              [provider => 'store a b'], [provider => 'scope a b'],
              [location => 'token_inject a b'], [location => 'token_cache 1 2'],
              [location => 'token_user_key $http_a $http_b'],
              [issuer => 'audience'], [issuer => 'algorithms'],
              [issuer => 'keys_file'], [provider => 'allow'],
              [provider => 'authorization_parameters'],
              [provider => 'token_parameters'], [provider => 'no_proxy'],
              [issuer => 'keys_uri'], [issuer => 'typ'], [issuer => 'azp'],
              [issuer => 'required_claims'], [issuer => 'no_proxy'],
              [issuer => 'max_age 1m 2m'], [issuer => 'http_proxy a b'],
              [store => 'server'], [location => 'token_require'])
{
    my ($block, $line) = @$case;
    my ($directive) = split / /, $line;

    refused("$block: $line", { $block => "$line; #<" },
            "invalid number of arguments in \"$directive\" directive", '<');
}

for my $case ([store => 'audience a'], [issuer => 'server a'],
              [provider => 'audience a'], [store => 'token_auth corp'])
{
    my ($block, $line) = @$case;
    my ($directive) = split / /, $line;

    refused("$block: $line", { $block => "$line; #<" },
            "unknown directive \"$directive\"", '<');
}

for my $case ([store => 'ssl maybe', 'it must be "on" or "off"'],
              [issuer => 'allow_http 1', 'it must be "on" or "off"'])
{
    my ($block, $line, $why) = @$case;
    my ($directive, $value) = split / /, $line;

    refused("$block: $line", { $block => "$line; #<" },
            "invalid value \"$value\" in \"$directive\" directive, $why",
            '<');
}
for my $case ([provider => 'grant implicit'], [provider => 'user_key maybe'],
              [provider => 'client_auth jwt'], [provider => 'throttle on'],
              [provider => 'userinfo_auth cookie'])
{
    my ($block, $line) = @$case;

    refused("$block: $line", { $block => "$line; #<" },
            'invalid value "' . (split / /, $line)[1] . '"', '<');
}
for my $case ([store => 'timeout soon'], [store => 'local_valid soon'],
              [issuer => 'leeway soon'], [issuer => 'max_age soon'],
              [issuer => 'keys_interval soon'], [issuer => 'keys_wait soon'])
{
    my ($block, $line) = @$case;

    refused("$block: $line", { $block => "$line; #<" },
            '"' . (split / /, $line)[0] . '" directive invalid value', '<');
}
for my $line ('database x', 'connections x', 'database -1') {
    refused("store: $line", { store => "$line; #<" },
            '"' . (split / /, $line)[0] . '" directive invalid number', '<');
}


# --- where they may not stand

for my $case ([server => 'token_store'], [server => 'token_issuer'],
              [server => 'token_provider'])
{
    my ($where, $directive) = @$case;

    refused("$directive in $where", { $where => "$directive x { #<\n}" },
            "\"$directive\" directive is not allowed here", '<');
}
refused('token_shared_memory in a server',
        { server => 'token_shared_memory 1m; #<' },
        '"token_shared_memory" directive is not allowed here', '<');
refused('token_auth in an if',
        { location => "if (\$arg_a) {\ntoken_auth off; #<\n}" },
        '"token_auth" directive is not allowed here', '<');
refused('a store without a name', { http => "token_store { #<\n}" },
        'invalid number of arguments in "token_store" directive', '<');
refused('a store that is no block', { http => 'token_store x; #<' },
        'directive "token_store" has no opening "{"', '<');


# --- nothing that is merely mistyped crashes it

my $whole = text_of(
    store => "topology standalone;\ndatabase 1;\nconnections 2;\n"
             . 'timeout 1s;',
    issuer => "algorithms RS256;\nleeway 1s;",
    provider => "allow groups=a b;\nuser_key off;",
    location => "token_cache 1m;\ntoken_cache_vary Accept;\n"
                . 'token_require $token_claim_a error=403;');
my @lines = split /^/, $whole;
my $ended = 0;

for my $i (0 .. $#lines) {
    next if $lines[$i] !~ /[;{}]/;

    my @without = @lines;
    $without[$i] =~ s/[;{}]//;
    ($code) = nginx_test(join '', @without);
    $ended += $code == 1;

    # a list goes on with the words of the next line
    my $wanted = $lines[$i] =~ /^(?:allow|audience|token_cache_vary) / ? 0 : 1;
    is($code, $wanted, "without the mark in \"$lines[$i]\"")
        if $code != $wanted;
}

ok($ended > 20, "$ended texts with a mark left out are refused");

done_testing();
