# A caller who leaves again and again while a provider hangs: what is asked of
# that provider is bounded, and the others are asked as ever.

use strict;
use warnings;

use TI::Consent;
use TI::Test;

needs_module();

use constant MOST => 64;        # of one party, in a worker

my $hangs = upstream('hangs', { '/token' => { hold => 'all', json => {
    access_token => 'late', token_type => 'Bearer', expires_in => 60 } } });
my $well = upstream({ '/token' => { json => {
    access_token => 'given', token_type => 'Bearer', expires_in => 60 } } });

write_file('secret', "s3cret\n", 0600);

sub provider {
    my ($name, $where, $more) = @_;

    return <<"EOT";
token_provider $name {
    store                   vault;
    token_endpoint          http://$where/token;
    client_id               client;
    client_auth             post;
    client_secret_file      %%TESTDIR%%/secret;
    timeout                 20s;
    allow_http              on;
    $more
}
EOT
}

my $code = 'authorization_endpoint http://%%UPSTREAM%%/authorize; '
           . 'redirect_uri https://search.example.com/connected;';

redis_start();
nginx_start(blocks()
            . provider('slow', '%%UPSTREAM_hangs%%', $code)
            . provider('mail', '%%UPSTREAM%%', $code)
            . provider('app', '%%UPSTREAM%%', 'grant client_credentials;')
            . <<'EOT', workers => 1);
server {
    listen 127.0.0.1:%%PORT%%;
    location /connections { token_auth corp; token_connections; }
    location /app { token_inject app; proxy_pass http://%%UPSTREAM%%; }
}
EOT

my ($alice, $bob) = map { person($_) } qw(alice bob);

sub arrival {
    my ($person, $name) = @_;

    my $url = api('POST', "/$name", $person)->json()->{authorization_url};
    my ($state) = $url =~ /[?&]state=([\w-]{43})/;
    my $c = connection();
    $c->send(TI::Http::http_bytes('POST', "/connections/$name/code",
        as => $person, body => JSON::PP::encode_json({ code => 'x',
                                                       state => $state }),
        headers => ['Content-Type: application/json']));

    return $c;
}

for my $n (1 .. MOST) {
    my $c = arrival($alice, 'slow');
    $hangs->wait_calls($n);
    $c->abort();
}

my $r = arrival($alice, 'slow')->response();
is($r->status(), 502, 'one more is refused at once');
is($r->json()->{type}, 'urn:ngx-token-injector:provider-unavailable',
   'as what it is');
is($hangs->calls(), MOST, 'and not asked');

is(arrival($bob, 'mail')->response()->status(), 201,
   'another provider is asked for another caller');
is(get('/app')->status(), 200, 'and for an application');

$hangs->release('all');
ok(wait_for(sub { $alice->connection(provider => 'slow') }, 'tokens'),
   'tokens of who left are stored');
is(wait_for(sub { my $s = arrival($bob, 'slow')->response()->status();
                  $s == 201 && $s }, 'room'), 201, 'there is room again');

done_testing();
