# The rights that a store's user is asked to have are enough to renew, to say
# that it failed, and to end a grant.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $idp = upstream('idp', {
    '/token' => { status => 503, body => '' },
});

write_file('secret', "s3cret\n");
write_file('password', "letmein\n");
chmod 0600, map { testdir() . "/$_" } qw(secret password);

redis_start(acl => [
    'user default on nopass ~* &* +@all',
    'user injector on >letmein ~ti:* resetchannels &ti:changes -@all '
    . '+@read +@write +@scripting +@pubsub +@transaction +@connection',
]);
nginx_start(blocks(store => <<'STORE', provider => <<'PROVIDER') . <<'CONF');
        user            injector;
        password_file   %%TESTDIR%%/password;
        local_valid     0;
STORE
        authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
        token_endpoint          http://%%UPSTREAM_idp%%/token;
        client_id               me;
        client_secret_file      %%TESTDIR%%/secret;
        redirect_uri            https://search.example.com/connected;
        allow_http              on;
PROVIDER
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

sub result { return $_[0]->json()->{type} =~ s/^urn:[^:]+://r }

my ($alice, $bob) = map { person($_) } qw(alice bob);
$_->connect('old-token', refresh => 'refresh', expires => time() - 5)
    for $alice, $bob;

is(result(get('/', as => $alice)), 'provider-unavailable', 'it fails');
my ($lock) = grep { /:l:outlook:/ } @{redis('KEYS', 'ti:*')};
wait_for(sub { redis('GET', $lock) =~ /^~/ }, 'a note of it');
like(redis('GET', $lock), qr/^~1:provider-unavailable:1$/, 'is noted');

$idp->answer('/token' => { json => { access_token => 'fresh-token',
                                     token_type => 'Bearer',
                                     expires_in => 3600 } });
wait_for(sub { get('/', as => $alice)->status() == 200 }, 'another try');
is(get('/', as => $alice)->json()->{headers}{authorization},
   'Bearer fresh-token', 'it is renewed');
wait_for(sub { !redis('EXISTS', $lock) }, 'the lock to go');
pass('and the lock is gone');

$idp->answer('/token' => { status => 400,
                           json => { error => 'invalid_grant' } });
is(result(get('/', as => $bob)), 'reconnect-required', 'it is ended');
is($bob->connection()->{hash}{state}, 'reconnect', 'and marked');

done_testing();
