# A reload keeps the shared memory, and what is in there does not outlive the
# policy under which it was admitted.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $server = <<'CONF';

    token_provider spare {
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

redis_start();
jwks_file('other.jwks', key('RS256', 'other'));

my $base = blocks(store => 'local_valid 1h;') . $server;

# the same with one thing changed
sub differ {
    my ($old, $new) = @_;

    my $text = $base;
    $text =~ s/\Q$old\E/$new/ or die "no $old\n";

    return $text;
}

my $alice = person('alice', claims => { groups => ['staff'] });
$alice->connect('token-of-alice');

nginx_start($base);
is(result(get('/', as => $alice)), 'ok', 'admitted');

my $keys = read_file('corp.jwks');
my $sealing = read_file('sealing.jwks');

my @changes = (
    ['another audience', 'audience api://search', 'audience api://mail',
     'token-invalid'],
    ['another issuer', 'issuer https://login.example.com/',
     'issuer https://login.example.net/', 'token-invalid'],
    ['other keys', 'keys_file %%TESTDIR%%/corp.jwks',
     'keys_file %%TESTDIR%%/other.jwks', 'token-invalid'],
    ['other algorithms', 'audience api://search;',
     'audience api://search; algorithms RS384;', 'token-invalid'],
    ['a tenant', 'audience api://search;',
     'audience api://search; tenant_claim tid;', 'token-invalid'],
    ['another user claim', 'audience api://search;',
     'audience api://search; user_claim oid;', 'token-invalid'],
    ['a segment', "token_provider outlook {\nstore vault;",
     "token_provider outlook {\nstore vault; allow groups=board;",
     'segment-excluded'],
    ['another provider', 'token_inject  outlook', 'token_inject  spare',
     'connection-required'],
    ['another prefix', 'local_valid 1h;', 'local_valid 1h; key_prefix x:;',
     'connection-required'],
    ['another database', 'local_valid 1h;', 'local_valid 1h; database 1;',
     'connection-required'],
    ['a requirement', 'token_inject  outlook;',
     'token_inject outlook; token_require $token_claim_board;',
     'caller-rejected'],
    ['no user keys', "token_provider outlook {\nstore vault;",
     "token_provider outlook {\nstore vault; user_key off;",
     'connection-required'],
    ['another source', 'token_auth    corp;',
     'token_auth corp from=$cookie_session;', 'token-missing'],
);

for (@changes) {
    my ($case, $old, $new, $result) = @$_;

    nginx_reload(differ($old, $new));
    is(result(get('/', as => $alice)), $result, "$case: asked anew");

    nginx_reload($base);
    is(result(get('/', as => $alice)), 'ok', "$case: and back");
}

# the same names of files, other contents
jwks_file('corp.jwks', key('RS256', 'other'));
nginx_reload();
is(result(get('/', as => $alice)), 'token-invalid', 'the keys in the file');
write_file('corp.jwks', $keys);
nginx_reload();
is(result(get('/', as => $alice)), 'ok', 'and back');

sealing_keys_file('sealing.jwks', 's2');
nginx_reload();
is(result(get('/', as => $alice)), 'reconnect-required',
   'the sealing keys in the file');
write_file('sealing.jwks', $sealing, 0600);
nginx_reload();
is(result(get('/', as => $alice)), 'ok', 'and back');

# what has not changed is still known
my $calls = $up->calls();
redis_stop();
nginx_reload();
is(result(get('/', as => $alice)), 'ok', 'the same policy: still admitted');
is($up->calls(), $calls + 1, 'without Redis');

done_testing();
