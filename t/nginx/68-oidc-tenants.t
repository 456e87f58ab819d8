# Two OpenID providers, both with an alice and both with a key "k1", trusted
# by one location: two people everywhere, and what happens to one provider
# does not happen to the other.

use strict;
use warnings;

use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $up = upstream();
my %tenant = (
    contoso => oidc('contoso', path => '/contoso'),
    fabrikam => oidc('fabrikam', path => '/fabrikam/v2.0'),
);

sub issuers {
    return join '', map { <<"CONF" } sort keys %tenant;
    token_issuer $_ {
        issuer             %%OIDC_$_%%;
        audience           api://search;
        allow_http         on;
        keys_interval      2s;
        keys_min_interval  1s;
    }

CONF
}

redis_start();
my $text = blocks(store => 'local_valid 10s;') . issuers() . <<'CONF';

    log_format  who  'who=$token_user issuer=$token_issuer';

    server {
        listen      127.0.0.1:%%PORT%%;
        access_log  %%TESTDIR%%/access.log who;

        token_auth        contoso fabrikam;
        proxy_set_header  X-Issuer $token_issuer;
        proxy_set_header  X-User   $token_user;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /kept {
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /contoso {
            token_auth    contoso;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text);

sub saw { $_[0]->json()->{headers}{$_[1] // 'authorization'} }
sub cached { ($_[0]->header('Cache-Status') // '') =~ /; hit/ ? 'hit' : 'miss' }


# --- the same name, the same device

my $key = new_user_key();
my %alice = map {
    $_ => person('alice', iss => $tenant{$_}->url(), user_key => $key,
                 token => $tenant{$_}->token('alice'))
} keys %tenant;
my ($one, $two) = @alice{qw(contoso fabrikam)};

$one->connect('token-contoso');
is(saw(get('/', as => $one)), 'Bearer token-contoso', 'one is connected');
refused(get('/', as => $two), 'connection-required', 'the other is not');
is(cached(get('/kept', as => $one)), 'miss', 'an answer is kept');
refused(get('/kept', as => $two), 'connection-required',
        'not for the other');

$two->connect('token-fabrikam');
for my $round (1, 2) {
    for my $name (sort keys %alice) {
        my $r = get('/', as => $alice{$name});
        is(saw($r), "Bearer token-$name", "$name, round $round");
        is(saw($r, 'x-issuer'), $name, 'of its issuer');
        is(saw($r, 'x-user'), $alice{$name}->user(), 'and its own user');
    }
}
isnt($one->user(), $two->user(), 'who are two');

is(cached(get('/kept', as => $two)), 'miss', 'an answer of its own');
for my $name (sort keys %alice) {
    my $r = get('/kept', as => $alice{$name});
    is(cached($r), 'hit', "kept for $name");
    is(saw($r), "Bearer token-$name", 'with its own token');
}

refused(get('/contoso', as => $two), 'token-invalid',
        'one is not let in where the other is');
is(saw(get('/contoso', as => $one)), 'Bearer token-contoso', 'who is');
for my $name (sort keys %alice) {
    like(access_log(), qr/^who=\Q${\$alice{$name}->user()}\E issuer=$name$/m,
         "$name in the access log");
}


# --- one's provider withdraws its key, and then is gone

$tenant{contoso}->keys('k2');
wait_for(sub { result(get('/', as => $one)) eq 'token-invalid' },
         'the key to be withdrawn', 4);
pass('one\'s key is withdrawn');
is(saw(get('/', as => $two)), 'Bearer token-fabrikam',
   'the other\'s of the same name is not');
refused(get('/kept', as => $one), 'token-invalid', 'nor is an answer given');

my $again = person('alice', iss => $tenant{contoso}->url(), user_key => $key,
                   token => $tenant{contoso}->token('alice'));
is(saw(get('/', as => $again)), 'Bearer token-contoso', 'a new token is good');
is(cached(get('/kept', as => $again)), 'hit', 'and has the answer of before');

$tenant{contoso}->stop();
wait_log(qr/keys of issuer "contoso"/, 10);
is(saw(get('/', as => $again)), 'Bearer token-contoso',
   'one\'s provider is gone, its keys serve');
is(saw(get('/', as => $two)), 'Bearer token-fabrikam', 'and the other\'s');
log_unlike(qr/keys of issuer "fabrikam"/, 'which is not complained of');

secrets_absent('no secret in a log', $key, map { $_->token() } $one, $two,
               $again);

done_testing();
