# An administrator's consent: where its page is, and what comes back of it.
# What a provider says of an error has "admin_consent=True" in it as well.

use strict;
use warnings;

use TI::Test;

needs_module();

my $idp = upstream();

redis_start();
nginx_start(blocks(provider => "user_key off;\n") . <<'EOT');
token_provider graph {
    store vault;
    allow_http on;
    authorization_endpoint http://%%UPSTREAM%%/authorize;
    token_endpoint http://%%UPSTREAM%%/token;
    admin_consent_endpoint http://%%UPSTREAM%%/adminconsent;
    client_id client;
    client_auth none;
    scope "openid https://graph.example.com/.default";
    redirect_uri https://search.example.com/connected;
}

token_provider plain {
    store vault;
    allow_http on;
    authorization_endpoint http://%%UPSTREAM%%/authorize;
    token_endpoint http://%%UPSTREAM%%/token;
    client_id client;
    client_auth none;
    redirect_uri https://search.example.com/connected;
}

server {
    listen 127.0.0.1:%%PORT%%;
    location / { token_auth corp; token_connections; }
}
EOT

my $admin = person('admin');
my $alice = person('alice');

sub begin {
    my ($who, $path) = @_;

    my $r = post("/graph$path", '', as => $who);

    return $r->json()->{authorization_url};
}

sub state_of { $_[0] =~ /[?&]state=([\w-]{43})(?:&|$)/ ? $1 : die $_[0] }

sub back {
    my ($who, %what) = @_;

    return post('/graph/code', JSON::PP::encode_json(\%what), as => $who);
}

my $r = post('/graph/admin-consent', '', as => $admin);
is($r->status(), 201, 'it is begun');
is($r->json()->{expires_in}, 600, 'for ten minutes');
my $url = $r->json()->{authorization_url};

like($url, qr{^http://127\.0\.0\.1:\d+/adminconsent\?}, 'at its own page');
like($url, qr{[?&]client_id=client(?:&|$)}, 'for this client');
like($url, qr{[?&]redirect_uri=https%3A%2F%2Fsearch\.example\.com%2Fconnected},
     'back to the same page');
unlike($url, qr{code_challenge|response_type|nonce}, 'no code comes of it');

$r = back($admin, state => state_of($url), admin_consent => 'True',
          tenant => 'one');
is($r->status(), 204, 'it was given');
is($r->body(), '', 'which is all');
is($r->header('Cache-Control'), 'no-store', 'not to be kept');
is($idp->calls(), 0, 'nobody was asked');
is(get('/', as => $admin)->json()->{connections}[1]{state}, 'none',
   "an administrator's consent is no connection");
is(back($admin, state => state_of($url), admin_consent => 'True')->status(),
   400, 'once');

for my $case (['access_denied', 'admin-consent-required', 403],
              ['consent_required', 'admin-consent-required', 403],
              ['server_error', 'provider-unavailable', 502],
              ['unauthorized_client', 'provider-misconfigured', 502])
{
    my ($error, $result, $status) = @$case;

    $r = back($admin, state => state_of(begin($admin, '/admin-consent')),
              admin_consent => 'True', error => $error,
              error_description => 'canary');
    is($r->status(), $status, "$error, beside admin_consent=True: $status");
    is($r->json()->{type}, "urn:ngx-token-injector:$result", "as $result");
    unlike($r->body(), qr/canary/, 'none of its words');
}

for my $odd ({ admin_consent => 'False' }, { admin_consent => 'x' },
             { code => 'x' })
{
    $r = back($admin, state => state_of(begin($admin, '/admin-consent')),
              %$odd);
    is($r->json()->{type}, 'urn:ngx-token-injector:request-invalid',
       "neither given nor refused: @{[%$odd]}");
}
$r = back($admin, state => state_of(begin($admin, '/admin-consent')),
          admin_consent => JSON::PP::true);
is($r->json()->{type}, 'urn:ngx-token-injector:request-invalid',
   'what stands in a URL is a string');


# --- one kind of consent is not the other

$r = back($alice, state => state_of(begin($alice, '')),
          admin_consent => 'True');
is($r->json()->{type}, 'urn:ngx-token-injector:request-invalid',
   "a user's own does not come back so");
$r = back($alice, state => state_of(begin($alice, '')),
          error => 'admin_policy_enforced');
is($r->status(), 403, 'the vendor wants an administrator');
is($r->json()->{type}, 'urn:ngx-token-injector:admin-consent-required',
   'by its name');
$r = back($alice, state => state_of(begin($admin, '/admin-consent')),
          admin_consent => 'True');
is($r->json()->{type}, 'urn:ngx-token-injector:state-invalid',
   "nor is another's");
is($idp->calls(), 0, 'nobody was asked');

$r = post('/plain/admin-consent', '', as => $admin);
is($r->status(), 400, 'a provider that has no such page');
is($r->json()->{type}, 'urn:ngx-token-injector:request-invalid',
   'by its name');
log_like(qr/the provider has no "admin_consent_endpoint"/,
         'and the log says why');

done_testing();
