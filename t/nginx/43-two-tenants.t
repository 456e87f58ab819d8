# One subject in two tenants, or of two issuers, is two people.  A provider
# without user keys has one connection for all of a person's devices.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $other = 'https://login.example.org/';

redis_start();
my $text = blocks(issuer => 'tenant_claim tid;') . <<'CONF';

    token_issuer other {
        issuer     https://login.example.org/;
        audience   api://search;
        keys_file  %%TESTDIR%%/corp.jwks;
    }

    token_provider shared {
        store     vault;
        user_key  off;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth  corp other;

        location / {
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /shared {
            token_inject  shared;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text);

sub saw { $_[0]->json()->{headers}{authorization} }


# --- tenants and issuers: the same subject, the same device

my $key = new_user_key();
my %alice = (
    contoso => person('alice', tid => 'contoso', user_key => $key),
    fabrikam => person('alice', tid => 'fabrikam', user_key => $key),
    elsewhere => person('alice', iss => $other, user_key => $key),
);

$alice{contoso}->connect('token-contoso');

is(saw(get('/', as => $alice{contoso})), 'Bearer token-contoso',
   'one tenant is connected');
refused(get('/', as => $alice{fabrikam}), 'connection-required',
        'the other is not');
refused(get('/', as => $alice{elsewhere}), 'connection-required',
        'nor is another issuer\'s');

$alice{fabrikam}->connect('token-fabrikam');
$alice{elsewhere}->connect('token-elsewhere');

for my $round (1, 2) {
    for my $where (sort keys %alice) {
        is(saw(get('/', as => $alice{$where})), "Bearer token-$where",
           "$where has its own, round $round");
    }
}

my %users = map { $_->user() => 1 } values %alice;
is(scalar(keys %users), 3, 'three people');

refused(get('/', as => person('alice', user_key => $key)), 'token-invalid',
        'no tenant where one is expected');

# "a", "bc" and "ab", "c" are not the same
my $ab = person('c', tid => 'ab', user_key => $key);
my $a = person('bc', tid => 'a', user_key => $key);
$ab->connect('token-ab');
refused(get('/', as => $a), 'connection-required',
        'names do not run into each other');


# --- user_key off

my $carol = person('carol', tid => 'contoso', user_key => undef);
put_connection(who => $carol->who(), provider => 'shared',
               access => 'token-shared');

is(saw(get('/shared', as => $carol)), 'Bearer token-shared',
   'no user key is asked for');
is(saw(get('/shared/2', as => $carol->on_device())), 'Bearer token-shared',
   'one that comes changes nothing');
is($up->last()->{headers}{'x-user-key'}, undef, 'and is removed');
refused(get('/', as => $carol), 'user-key-required',
        'a provider with user keys asks for it');
refused(get('/shared', as => $alice{contoso}), 'connection-required',
        'another caller has none');

# a record with an inner layer is not what such a provider reads
put_connection(who => $carol->who(), provider => 'shared', device => '-',
               access => 'token-two-layers', user_key => new_user_key());
refused(get('/shared', as => $carol, token => $carol->token(jti => 2)),
        'reconnect-required', 'an inner layer nobody asked for');

# and the other way round
my $dave = person('dave', tid => 'contoso');
$dave->connect('token-one-layer', user_key => undef,
               device => record_device($dave->user_key()));
refused(get('/', as => $dave), 'reconnect-required',
        'an inner layer that is missing');

done_testing();
