#!/usr/bin/perl

# The README's configuration, with the rights that it gives to Redis' user: it
# starts, finds the issuer's keys, injects, keeps, has callers consent, fetches
# an application's token; and tokenctl does all that it can do.  Nothing is
# refused, and no right is given that nothing uses.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Digest::SHA qw(sha256_hex);
use JSON::PP ();

use TI::Test;
use TI::Consent;
use TI::Env qw(build_dir);
use Docs;

needs_module();

my $tokenctl = build_dir() . '/tokenctl';
plan(skip_all => 'no tokenctl is built') if !-x $tokenctl;

my ($setuser) = page('README.md')
                =~ /ACL SETUSER injector on \\\n.*\\\n((?:.*\\\n)*.*)/;
my @rules = split ' ', $setuser =~ s/[\\']//gr;
my ($line) = page('docs/operations.md') =~ /^user injector on \S+ (.*)$/m;

is($line, join(' ', @rules), 'the README and the operations page agree');


# --- the configuration

my ($whole) = grep { $_->[0] eq 'whole' } examples(page('README.md'));
my $up = upstream();
my $conf = framed(@$whole, '%%UPSTREAM%%');

# the issuer is this test's, and nothing but its name and authority is said
my $idp = issuer(tls => 1);
$conf =~ s{^\h+issuer\h+\Khttps://login\.example\.com/;$}
          {$idp->url() . "; ssl_trusted_certificate %%TESTDIR%%/ca.pem;"}me
    or die "the README names another issuer\n";
unlike($conf, qr/keys_\w+/, 'no keys are configured');

# its second example, with a provider of this test's; and one without callers
my $vendor = upstream('vendor', {
    '/token' => { json => { access_token => 'of-drive', expires_in => 3600,
                            token_type => 'Bearer' } },
    '/revoke' => { json => {} },
    '/slow' => { json => { access_token => 'of-drive', expires_in => 3600,
                           token_type => 'Bearer' }, delay => 3.3 },
    '/failing' => { status => 503, body => '' },
});
my $endpoints = 'http://%%UPSTREAM_vendor%%';
my ($consent) = grep { $_->[0] eq 'http' } examples(page('README.md'));
my ($drive) = $consent->[1] =~ /^(token_provider .*?^\}\n)/ms;
my ($api) = $consent->[1] =~ /^( +location .*?^ +\}\n)/ms;
$drive =~ s{^\h+issuer .*;$}{authorization_endpoint $endpoints/authorize;
                             token_endpoint $endpoints/token;
                             revocation_endpoint $endpoints/revoke;
                             allow_http on;}m
    or die "the README's provider has no issuer\n";
$drive =~ s/"openid /"/ or die "the README's scope is another\n";
$drive =~ s{/etc/nginx/}{%%TESTDIR%%/};
my @apps = (['mailer', 'token'], ['slow', 'slow'], ['failing', 'failing']);
my $mailer = join '', map { <<"EOT" } @apps;
token_provider $_->[0] {
    store vault; grant client_credentials; allow_http on; timeout 4s;
    token_endpoint $endpoints/$_->[1]; client_id me;
    client_secret_file %%TESTDIR%%/drive.secret;
}
EOT
my $locations = $api
                . join '', map { "location /$_->[0]/ { token_inject $_->[0]; "
                                 . "proxy_pass http://%%UPSTREAM%%; }\n" }
                               @apps;
$conf =~ s/(?=^ +log_format )/$drive$mailer/m
    && $conf =~ s/(?=^ +location )/$locations/m
    or die "the README's configuration has no place for more\n";

redis_start(acl => [
    'user default on nopass ~* &* +@all',
    join(' ', 'user injector on', '#' . sha256_hex('secret'), @rules),
]);
redis('CONFIG', 'RESETSTAT');
nginx_start($conf);

my $alice = person('alice', iss => $idp->url());
my @redis = ('--server' => '127.0.0.1:' . port('redis'), '--user' => 'injector',
             '--password-file' => testdir() . '/redis.password',
             '--keys' => testdir() . '/sealing.jwks');
my @who = ('--issuer' => $idp->url(), '--subject' => 'alice',
           '--provider' => 'outlook');
my @key = ('--user-key-file' =>
           write_file('alice.key', $alice->user_key() . "\n", 0600));
my $access = write_file('access', "third-party-token\n", 0600);

is(get('/search/outlook/a', as => $alice)->json()->{type},
   'urn:ngx-token-injector:connection-required', 'no connection yet');

is(tokenctl('put', @redis, @who, @key, '--access-file', $access), 0, 'put');

my $r = get('/search/outlook/me/messages?$top=3', as => $alice);
is($r->status(), 200, 'the search');
is($r->header('cache-status'), 'token-injector; fwd=miss; stored', 'a miss');
is($up->last()->{headers}{authorization}, 'Bearer third-party-token',
   'with the token of the third party');
is($up->last()->{uri}, '/v1.0/me/messages?$top=3', 'where it should go');

$r = get('/search/outlook/me/messages?$top=3', as => $alice);
like($r->header('cache-status'), qr/^token-injector; hit; ttl=\d+$/, 'a hit');

like(read_file('example-access.log'), qr/result=ok cache=HIT/,
     'the log of the README');


# --- connections: consents, more of them than may be pending, and the end

ok(api('POST', '/drive', $alice)->status() == 201, "consent $_ is begun")
    for 1 .. 17;
my ($state) = api('POST', '/drive', $alice)->body() =~ /[?&]state=([\w-]+)/;
is(bring($alice, { code => 'code', state => $state }, provider => 'drive')
   ->status(), 201, 'and one is ended');
is_deeply([map { "$_->{provider} $_->{state}" } connections($alice)],
          ['outlook connected', 'drive connected'], 'both are listed');
is(api('DELETE', '/drive', $alice)->status(), 204, 'removed');
is($vendor->last()->{uri}, '/revoke', 'and revoked');

is(get('/mailer/a')->status(), 200, "an application's token is fetched");
is($up->last()->{headers}{authorization}, 'Bearer of-drive', 'and used');
is(get('/slow/a')->status(), 200, 'also where that takes its time');
is(get('/failing/a')->status(), 502, 'or fails');


# --- the rest of tokenctl, on another database where that makes a difference

is(tokenctl('show', @redis, @who, @key), 0, 'show');
is(tokenctl('list', @redis), 0, 'list');
is(tokenctl('list', @redis, '--database', '1'), 0, 'list of another database');

# "Who may use what" of the operations page
my $rules = write_file('mail.rules', "groups=mail-users\n");
my $claims = write_file('claims.json', '{"groups":["mail-users"]}');
my @provider = ('--provider', 'outlook');

is(tokenctl('segment', @redis, @provider, '--rules-file', $rules), 0,
   'segment');
is(tokenctl('segment', @redis), 0, 'segment of all');
is(tokenctl('explain', @redis, '--claims-file', $claims), 0, 'explain');
like(read_file('tokenctl.out'), qr/^outlook: yes, by rule 1: /, 'and says it');
wait_for(sub { get('/search/outlook/b', as => $alice)->status() == 403 },
         'she is excluded');
is(tokenctl('segment', @redis, @provider, '--clear'), 0, 'segment --clear');
wait_for(sub { get('/search/outlook/b', as => $alice)->status() == 200 },
         'and is not');


# --- "Changing the sealing key" of the operations page, in its order

my $kid = kid('--add');
nginx_reload();
searches('with a key that only opens');

kid('--first', $kid);
nginx_reload();
searches('with a new key that seals');

is(tokenctl('rotate', @redis), 0, 'rotate');
is(read_file('tokenctl.out'), "3 rotated, 0 left\n", 'all of it');
searches('once it is rotated');

remove_all_but($kid);
nginx_reload();
searches('without the old key');

is(tokenctl('delete', @redis, @who, @key), 0, 'delete');


# --- what failed is tried again, once it may be

wait_for(sub { get('/failing/b')->status() == 502
               && redis('INFO', 'commandstats') =~ /^cmdstat_pttl:/m },
         'another try');


# --- what Redis says of it

is_deeply(redis('ACL', 'LOG'), [], 'nothing was refused');

my $stats = redis('INFO', 'commandstats');
my %used = map { $_ => 1 } $stats =~ /^cmdstat_(\w+):calls=[1-9]/gm;
my @given = map { /^\+(\w+)$/ } @rules;

is(join(' ', grep { !$used{$_} } @given), '', 'no right is left unused');
is_deeply([grep { /@/ } @rules], ['-@all'], 'no category is given');

done_testing();


sub tokenctl {
    my @words = @_;

    my $pid = fork() // die "fork: $!\n";
    if ($pid == 0) {
        open(STDOUT, '>', testdir() . '/tokenctl.out');
        exec($tokenctl, @words) or exit 127;
    }
    waitpid($pid, 0);
    diag(read_file('tokenctl.out')) if $?;

    return $? >> 8;
}

# a search that needs the token: no answer is kept for it yet
sub searches {
    my ($when) = @_;

    my $r = get("/search/outlook/$when" =~ s/ /-/gr, as => $alice);
    is($r->status() . ' ' . ($r->header('cache-status') // ''),
       '200 token-injector; fwd=miss; stored', "a search $when");
}

sub remove_all_but {
    my ($kid) = @_;

    my $json = JSON::PP->new();
    my $set = $json->decode(read_file('sealing.jwks'));
    $set->{keys} = [grep { $_->{use} eq 'sig' || $_->{kid} eq $kid }
                    @{$set->{keys}}];
    is(scalar @{$set->{keys}}, 2, 'one sealing key and the index key remain');
    write_file('sealing.jwks', $json->encode($set), 0600);
}

sub kid {
    is(tokenctl('keygen', '--out', testdir() . '/sealing.jwks', @_), 0,
       "keygen $_[0]");

    return read_file('tokenctl.out') =~ /^(\S+)/ ? $1 : undef;
}
