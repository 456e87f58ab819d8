# A provider's issuer that fails: a caller who asks again and again makes
# nobody ask it as often, nor the log say so.

use strict;
use warnings;

use TI::Consent;
use TI::Test;

needs_module();

my $idp = upstream({ '*' => { status => 500, body => '' } });

redis_start();
nginx_start(blocks() . <<'EOT', workers => 1);
token_provider mail {
    store         vault;
    issuer        http://%%UPSTREAM%%;
    client_id     client;
    client_auth   none;
    redirect_uri  https://search.example.com/connected;
    allow_http    on;
}

server {
    listen      127.0.0.1:%%PORT%%;
    token_auth  corp;

    location /connections { token_connections; }
}
EOT

my $alice = person('alice');
my %status;
my $begun = time();

$status{api('POST', '/mail', $alice)->status()}++ for 1 .. 50;

is(join(' ', %status), '502 50', 'each call is answered');
cmp_ok($idp->calls(), '<=', 2 + time() - $begun, 'the issuer is asked rarely');
is(log_count(qr/\[error\].*endpoints of provider/), $idp->calls(),
   'as rarely is it said');

$idp->answer('*' => { json => {
    issuer => subst('http://%%UPSTREAM%%'),
    map { ("${_}_endpoint" => subst("http://%%UPSTREAM%%/$_")) }
        qw(authorization token) } });

wait_for(sub { api('POST', '/mail', $alice)->status() == 201 },
         'the issuer to be asked again');

done_testing();
