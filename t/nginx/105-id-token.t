# An ID token says who consented, and is signed by the provider, for us, for
# this consent.

use strict;
use warnings;

use TI::Test;
use TI::Token qw(jwt);

needs_module();

my ($good, $other) = (key('RS256', 'a'), key('RS256', 'b'));

# a provider whose next ID token the test decides on
my $idp = issuer(keys => [$good]);
my ($nonce, %says, %sign);

sub id_token {
    return jwt({ iss => $idp->url(), aud => 'client', sub => 'alice-there',
                 email => 'alice@example.com', nonce => $nonce,
                 exp => time() + 60, iat => time(), %says },
               alg => 'RS256', key => $good, %sign);
}

sub provider {
    my ($name, $more) = @_;

    return "token_provider $name {\nstore vault;\nallow_http on;\n"
           . "authorization_endpoint %%ISSUER%%/authorize;\n"
           . "token_endpoint %%ISSUER%%/token;\n"
           . "client_id client;\nclient_auth none;\n"
           . "scope \"openid Mail.Read\";\nuser_key off;\n"
           . "redirect_uri https://search.example.com/connected;\n"
           . ($more // '') . "}\n";
}

redis_start();
nginx_start(blocks(provider => 'allow nobody=ever;')
            . provider('keys', "issuer %%ISSUER%%;\n"
                       . "keys_uri %%ISSUER%%/keys;\n")
            . provider('found', "issuer %%ISSUER%%;\n")
            . <<'EOT');
server {
    listen 127.0.0.1:%%PORT%%;
    token_auth corp;

    location /connections { token_connections; }
}
EOT

my $alice = person('alice');

# a consent whose ID token says so and is signed so
sub consent_with {
    my ($name, $says, $sign) = @_;

    my $r = post("/connections/$name", '', as => $alice);
    my ($state) = $r->json()->{authorization_url} =~ /[?&]state=([\w-]{43})/;
    ($nonce) = $r->json()->{authorization_url} =~ /[?&]nonce=([\w-]{43})/;
    %says = %{$says || {}};
    %sign = %{$sign || {}};

    $idp->answer('/token' => { json => {
        access_token => 'access', token_type => 'Bearer', expires_in => 60,
        id_token => id_token() } });

    return post("/connections/$name/code",
                JSON::PP::encode_json({ code => 'x', state => $state }),
                as => $alice);
}

# a key that came since the last look
$idp->wait_calls(2, '/keys');
$idp->keys($good, $other);
is(consent_with('keys', {}, { key => $other })->status(), 201,
   'a new key is looked for');
$idp->keys($good);

for my $name ('keys', 'found') {
    my $r = consent_with($name);

    is($r->status(), 201, "$name: a good one");
    is($r->json()->{account}, 'alice@example.com', "$name: says who");

    is(consent_with($name, { iat => time() + 30, nbf => time() + 30 })
       ->status(), 201, "$name: of a clock that is ahead of ours");

    for my $case (
        ['another key of that kid', {}, { key => { %$other,
                                                   kid => $good->{kid} } }],
        ['a key that nobody has', {}, { key => key('RS256', 'c') }],
        ['no signature', {}, { key => key('HS256'), alg => 'HS256' }],
        ['another issuer', { iss => 'https://other.example.com' }],
        ['another client', { aud => 'other' }],
        ['another consent', { nonce => 'n' x 43 }],
        ['no nonce', { nonce => undef }],
        ['expired', { exp => time() - 60 }])
    {
        my ($what, $says, $sign) = @$case;

        http('DELETE', "/connections/$name", as => $alice);
        $r = consent_with($name, $says, $sign);
        cmp_ok($r->status(), '>=', 400, "$name: $what");
        is(scalar(@{redis('KEYS', '*:c:*')}), 0, 'nothing is stored');
    }
}

secrets_absent('no log shows one', id_token());

done_testing();
