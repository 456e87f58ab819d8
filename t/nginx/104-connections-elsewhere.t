# The connections API where others have a say too: "satisfy any", subrequests,
# pages for refusals, other issuers, several stores; and what a provider says
# passes on its Retry-After.

use strict;
use warnings;

use TI::Test;

needs_module();

my $idp = upstream({
    '/token' => { status => 429, body => '', headers => ['Retry-After: 17'] },
});
my $up = upstream('page');

redis_start();

sub provider {
    my ($name, $more) = @_;

    return "token_provider $name {\n" . ($more // 'store vault;') . "\n"
           . "user_key off;\nallow_http on;\n"
           . "authorization_endpoint http://%%UPSTREAM%%/authorize;\n"
           . "token_endpoint http://%%UPSTREAM%%/token;\n"
           . "client_id client;\nclient_auth none;\n"
           . "redirect_uri https://search.example.com/connected;\n}\n";
}

nginx_start(blocks() . provider('files')
            . "token_store second {\nserver unix:%%REDIS_SOCK%%;\n"
            . "sealing_keys %%TESTDIR%%/sealing.jwks;\nkey_prefix two:;\n}\n"
            . "token_store away {\nserver unix:%%TESTDIR%%/nobody.sock;\n"
            . "sealing_keys %%TESTDIR%%/sealing.jwks;\nkey_prefix x:;\n}\n"
            . provider('other', 'store second;') . <<'EOT');
log_format results '$request_uri $status $token_result $token_provider.';

server {
    listen 127.0.0.1:%%PORT%%;
    access_log %%TESTDIR%%/access.log results;
    token_auth corp;

    location /connections { token_connections; }

    location /any {
        satisfy any;
        allow all;
        token_connections;
    }

    location /none {
        satisfy all;
        deny all;
        token_connections;
    }

    location /required {
        token_require $token_claim_staff error=403;
        token_connections;
    }

    location = /ssi {
        token_auth off;
        ssi on;
        ssi_types *;
        return 200 '[<!--# include virtual="/connections" -->]';
    }

    location /paged {
        error_page 400 404 405 = /page;
        token_connections;
    }

    location = /page {
        internal;
        token_auth off;
        proxy_pass http://%%UPSTREAM_page%%;
    }

    location /mirrored {
        mirror /mirror;
        mirror_request_body on;
        token_connections;
    }

    location = /mirror {
        internal;
        token_auth off;
        proxy_pass http://%%UPSTREAM_page%%;
    }
}
EOT

my $alice = person('alice');
my @names = qw(outlook files other);

sub names { map { $_->{provider} } @{$_[0]->json()->{connections}} }

is_deeply([names(get('/connections', as => $alice))], \@names,
          'providers of both stores');


# --- whoever else lets a request in

is(get('/any')->status(), 401, 'nobody is not a caller');
is(get('/any', as => $alice)->status(), 200, 'but a caller is one');
is(post('/any/files', '')->json()->{type},
   'urn:ngx-token-injector:token-missing', 'nor may they begin');
is(get('/none', as => $alice)->status(), 403, 'whom nginx denies, it denies');
is(get('/required', as => $alice)->json()->{type},
   'urn:ngx-token-injector:caller-rejected', 'token_require is asked');
is(get('/required', token => $alice->token(staff => 'yes'))->status(), 200,
   'and may say yes');


# --- subrequests

my $r = get('/ssi', as => $alice);
like($r->body(), qr/^\[\{"connections":\[.*\]\}\]$/, 'the list is included');
unlike(get('/ssi')->body(), qr/connections":/, 'for callers only');


# --- pages of refusals see no secret

for my $path ('/paged/nobody', '/paged/files/x') {
    $r = post($path, '', as => $alice);
    my $headers = $r->json()->{headers};

    ok($headers, "$path: the page");
    is($headers->{authorization}, undef, 'no token');
    is($headers->{'x-user-key'}, undef, 'no user key');
}


# --- nor does a copy of the request

$up->forget();
$r = post('/mirrored/files', '{}', as => $alice);
is($r->status(), 201, 'a consent is begun');
$up->wait_calls(1);
is($up->last()->{headers}{authorization}, undef, 'a mirror sees no token');
is($up->last()->{headers}{'x-user-key'}, undef, 'nor a key');
is($up->last()->{body}, "\0\0", 'nor what is in it');


# --- what a provider says

my ($state) = post('/connections/files', '', as => $alice)
              ->json()->{authorization_url} =~ /[?&]state=([\w-]+)/;
$r = post('/connections/files/code',
          JSON::PP::encode_json({ code => 'x', state => $state }),
          as => $alice);
is($r->status(), 429, 'slow down');
is($r->json()->{type}, 'urn:ngx-token-injector:provider-throttled',
   'by its name');
is($r->header('Retry-After'), '17', 'for as long as it said');

($state) = post('/connections/files', '', as => $alice)
           ->json()->{authorization_url} =~ /[?&]state=([\w-]+)/;
$r = post('/connections/files/code',
          JSON::PP::encode_json({ error => 'invalid_scope',
                                  state => $state }), as => $alice);
is($r->status(), 502, 'a scope that it does not know');
log_like(qr/\[error\].* provider-misconfigured, provider files: /,
         "the operator's fault is an error");


# --- each store has its own names

($state) = post('/connections/other', '', as => $alice)
           ->json()->{authorization_url} =~ /[?&]state=([\w-]+)/;
is(scalar(grep { /^two:\{.*\}:p/ } @{redis('KEYS', '*')}), 2,
   'in the other store');
is(post('/connections/files/code',
        JSON::PP::encode_json({ code => 'x', state => $state }),
        as => $alice)->json()->{type},
   'urn:ngx-token-injector:state-invalid', 'what is pending in one store');

like(access_log(), qr{^/connections/files/code 429 provider-throttled files\.}m,
     'the access log says what and whose');
like(access_log(), qr{^/connections 200 ok -\.}m, 'and of the list, nobody\'s');

done_testing();
