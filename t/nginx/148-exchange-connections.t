# The connections API and providers that exchange the caller's JWT: nothing to
# connect, but what is kept can be dropped.

use strict;
use warnings;

use TI::Consent;
use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = upstream('idp', { '/revoke' => { status => 200, body => '' } });

write_file('secret', "secret\n", 0600);

sub provider {
    my ($name, $grant, $more) = @_;

    return <<"CONF";
    token_provider $name {
        store               vault;
        grant               $grant;
        token_endpoint      http://%%UPSTREAM_idp%%/token;
        revocation_endpoint http://%%UPSTREAM_idp%%/revoke;
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        allow_http          on;
        $more
    }
CONF
}

redis_start();
nginx_start(blocks()
            . provider('files', 'token_exchange', 'allow groups=staff;')
            . provider('mail', 'jwt_bearer', 'user_key off;')
            . provider('app', 'client_credentials', '') . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /connections {
            token_connections;
        }

        location /files/ {
            token_inject  files;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice', claims => { groups => ['staff'] });
my $bob = person('bob');


# --- nobody connects them

is(join(' ', map { $_->{provider} } connections($alice)), 'outlook',
   'what is exchanged is not listed');

for my $name (qw(files mail app)) {
    for my $call ('', '/code', '/admin-consent') {
        my $r = api('POST', "/$name$call", $alice, body => {});

        is(result($r) . ' ' . $r->status(), 'provider-unknown 404',
           "POST /$name$call: nothing to consent to");
    }
}


# --- what is kept is dropped

for my $device ([files => $alice->user_key()], [mail => undef]) {
    my ($name, $key) = @$device;

    $alice->connect("token-of-$name", provider => $name, user_key => $key);
    ok($alice->connection(provider => $name, user_key => $key),
       "$name: kept");
    is(get('/files/', as => $alice)->status(), 200, 'and used')
        if $name eq 'files';

    $idp->forget();
    is(api('DELETE', "/$name", $alice)->status(), 204, 'removed');
    ok(!$alice->connection(provider => $name, user_key => $key), 'and gone');

    my @told = $idp->requests();
    is(scalar @told, 1, 'the provider is told once');
    like($told[0]{body}, qr/^(?=.*\btoken=token-of-$name\b)
                            (?=.*\btoken_type_hint=access_token\b)/x,
         'of the access token');
}

is(api('DELETE', '/files', $alice)->status(), 204, 'there is none: 204');
is(result(api('DELETE', '/files', $bob)), 'provider-unknown',
   'who is not in the segment has none');
is(result(api('DELETE', '/app', $alice)), 'provider-unknown',
   "an app-only token is nobody's to remove");

my $keyless = $alice->on_device();
$keyless->{user_key} = undef;
is(result(api('DELETE', '/files', $keyless)), 'user-key-required',
   'on which device?');
is(api('DELETE', '/mail', $keyless)->status(), 204, 'on none');

# another's, and another device's, stay
$alice->connect('of-alice', provider => 'mail', user_key => undef);
$bob->connect('of-bob', provider => 'mail', user_key => undef);
is(api('DELETE', '/mail', $alice)->status(), 204, 'one of two is removed');
ok($bob->connection(provider => 'mail', user_key => undef),
   "the other is another's");

is(scalar(grep { $_->{uri} eq '/token' } $idp->requests()), 0,
   'nothing was exchanged for any of it');

secrets_absent('no log shows a token', 'token-of-files', 'token-of-mail',
               'of-alice', $alice->token(), $bob->token());

done_testing();
