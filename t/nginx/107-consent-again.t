# A connection that is written by others all the time while a consent's tokens
# are to be stored: they are tried again, not all the time, and not lost.

use strict;
use warnings;

use Time::HiRes qw(sleep);

use TI::Consent;
use TI::Test;

needs_module();

my $idp = upstream({ '/token' => { json => {
    access_token => 'access', expires_in => 3600, token_type => 'Bearer' } } });

redis_start();
nginx_start(blocks() . <<'EOT');
token_provider mail {
    store                   vault;
    authorization_endpoint  http://%%UPSTREAM%%/authorize;
    token_endpoint          http://%%UPSTREAM%%/token;
    client_id               client;
    client_auth             none;
    redirect_uri            https://search.example.com/connected;
    allow_http              on;
}

server {
    listen      127.0.0.1:%%PORT%%;
    token_auth  corp;

    location /connections { token_connections; }
}
EOT

my $alice = person('alice');

sub scripts {
    my ($n) = redis('INFO', 'commandstats') =~ /^cmdstat_eval:calls=(\d+)/m;

    return $n // 0;
}

# a "gen" so long that nobody takes it is another at each look

$alice->connect('before', provider => 'mail');
my ($key) = @{redis('KEYS', '*:c:mail:*')};
redis('HSET', $key, 'gen', '9' x 70_000);

my $url = api('POST', '/mail', $alice)->json()->{authorization_url};
my ($state) = $url =~ /[?&]state=([\w-]{43})/;
my $c = connection();
$c->send(TI::Http::http_bytes('POST', '/connections/mail/code', as => $alice,
    body => JSON::PP::encode_json({ code => 'x', state => $state }),
    headers => ['Content-Type: application/json']));

$idp->wait_calls(1);
my $before = scripts();
sleep(1);
cmp_ok(scripts() - $before, '<=', 6, 'tried again now and then');
cmp_ok(scripts() - $before, '>=', 1, 'and tried again');

redis('DEL', $key);
is($c->response()->status(), 201, 'and stored when it can be');
is($alice->connection(provider => 'mail')->{access}{token}, 'access',
   'none was lost');
is($idp->calls(), 1, 'the code went once');

done_testing();
