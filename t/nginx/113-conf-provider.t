# What a token_provider is told of how it is talked to: what is refused, with
# what to do, and what is not.

use strict;
use warnings;

use TI::Test;

needs_module();

my $dir = testdir();

write_file('secret', "one\ntwo\n");
write_file('empty-line', "one\n\ntwo\n");
write_file('many', "s\n" x 9);
write_file('control', "one\ttwo\n");
write_file('not-a-key', "one\n");
chmod 0600, map { "$dir/$_" } qw(secret empty-line many control not-a-key);

for my $name (qw(client loose)) {
    write_file("$name.pem", '');
    chmod 0600, "$dir/$name.pem";
    system("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
           . " 2>/dev/null > $dir/$name.pem") == 0 or die "openssl failed\n";
}
chmod 0644, "$dir/loose.pem";

my %talks = (
    authorization_endpoint => 'https://idp.example.com/authorize',
    token_endpoint => 'https://idp.example.com/token',
    client_id => 'me',
    client_secret_file => '%%TESTDIR%%/secret',
    redirect_uri => 'https://search.example.com/connected',
);

sub judged {
    my (%differ) = @_;
    my %all = (%talks, %differ);

    return nginx_test(blocks(provider => join "\n",
                             map { "$_ $all{$_};" }
                             grep { defined $all{$_} } sort keys %all)
                      . "server { listen 127.0.0.1:%%PORT%%; }\n");
}

sub refused {
    my ($name, $re, %differ) = @_;
    my ($code, $output) = judged(%differ);

    isnt($code, 0, "$name: refused");
    like($output, qr/\[emerg\].*$re.* in .*:\d+/, "$name: says why and where");
}

sub accepted {
    my ($name, %differ) = @_;
    my ($code, $output) = judged(%differ);

    is($code, 0, $name) or diag($output);
}

my %key = (client_secret_file => undef, client_auth => 'private_key_jwt');
my %app = (grant => 'client_credentials', authorization_endpoint => undef,
           redirect_uri => undef);


accepted('all written out');
accepted('app-only', %app);
accepted('a private key', %key, client_key_file => '%%TESTDIR%%/client.pem');
accepted('everything else', userinfo_endpoint => 'https://idp.example.com/me',
         userinfo_auth => 'query', account_claim => '/mail/0',
         match_account => 'email', issuer => 'https://idp.example.com',
         revocation_endpoint => 'https://idp.example.com/revoke',
         admin_consent_endpoint => 'https://idp.example.com/admin',
         authorization_parameters => 'prompt=consent access_type=offline',
         token_parameters => 'resource=https://a.example.com/?b=c audience=',
         connect_timeout => '1s', timeout => '2s',
         http_proxy => 'http://proxy.example.com:8080',
         no_proxy => 'a.example.com .example.net');
accepted('found at its issuer', issuer => 'https://idp.example.com/tenant/',
         authorization_endpoint => undef, token_endpoint => undef);

accepted('its ID tokens', issuer => 'https://idp.example.com',
         scope => '"openid email"', algorithms => 'RS256 ES256',
         keys_uri => 'https://idp.example.com/keys');

refused('keys of nobody', 'has "keys_uri" or "algorithms" and no "issuer": '
        . 'whose ID tokens would they be',
        keys_uri => 'https://idp.example.com/keys');
refused('algorithms of nobody', 'has "keys_uri" or "algorithms" and no',
        algorithms => 'RS256');
for my $alg (qw(HS256 none ES256K)) {
    refused("ID tokens by $alg", "names the algorithm \"$alg\", which is not "
            . 'one of RS, PS, ES with 256, 384, 512 and EdDSA',
            issuer => 'https://idp.example.com', algorithms => $alg);
}
refused('an issuer that is no URL', 'its "issuer" "corp" is not a URL',
        issuer => 'corp', token_endpoint => undef);
refused('an issuer by http', 'issuer "http://[^"]*" is not https',
        issuer => 'http://idp.example.com', token_endpoint => undef);
refused('no key', 'has no "client_key_file" for "client_auth private_key_jwt"',
        %key);
refused('a key and a secret', 'has a "client_secret_file", which "client_auth '
        . 'private_key_jwt" does not use', client_auth => 'private_key_jwt',
        client_key_file => '%%TESTDIR%%/client.pem');
refused('a key for nothing', 'has a "client_key_file", which only',
        client_key_file => '%%TESTDIR%%/client.pem');
refused('a public client with a secret', 'has a "client_secret_file", which '
        . '"client_auth none" does not use', client_auth => 'none');
refused('a loose key', 'client_key_file "[^"]*" holds secrets and group or '
        . 'others may use it', %key,
        client_key_file => '%%TESTDIR%%/loose.pem');
refused('no key in it', 'client_key_file "[^"]*": neither a JWK nor', %key,
        client_key_file => '%%TESTDIR%%/not-a-key');
refused('an empty secret', 'has a line that is empty',
        client_secret_file => '%%TESTDIR%%/empty-line');
refused('no secret', 'a character that no secret has',
        client_secret_file => '%%TESTDIR%%/control');
refused('nine secrets', 'has more than eight lines',
        client_secret_file => '%%TESTDIR%%/many');
refused('an account that nobody names', 'neither "userinfo_endpoint" nor '
        . '"issuer"', match_account => 'email');
refused("an application's account", '"match_account" and "grant '
        . 'client_credentials": nobody chose an account there; remove it',
        %app, match_account => 'email');
refused('an application that visits', '"authorization_parameters" and "grant '
        . 'client_credentials": nobody visits the provider; remove it', %app,
        authorization_parameters => 'prompt=none');
refused('no claim', 'invalid "account_claim" "/a~2"',
        account_claim => '/a~2');
refused('no parameter', 'takes NAME=VALUE', token_parameters => '=a');
refused('no time', '"timeout" and "connect_timeout" take a millisecond',
        timeout => '0');


# --- exchanges

for my $grant (qw(token_exchange jwt_bearer)) {
    my %own = (grant => $grant, authorization_endpoint => undef,
               redirect_uri => undef);

    accepted($grant, %own);
    accepted("$grant without a user key", %own, user_key => 'off');
    accepted("$grant, found at its issuer", %own, token_endpoint => undef,
             issuer => 'https://idp.example.com');
    accepted("$grant by a public client", %own, client_auth => 'none',
             client_secret_file => undef);
    accepted("$grant with a private key", %own, %key,
             client_key_file => '%%TESTDIR%%/client.pem');
    accepted("$grant of what and when", %own, refresh_ahead => '0',
             revocation_endpoint => 'https://idp.example.com/revoke',
             scope => 'files.read', token_parameters =>
             'audience=files requested_token_type='
             . 'urn:ietf:params:oauth:token-type:jwt');

    for my $name (qw(subject_token subject_token_type assertion
                     requested_token_use))
    {
        refused("$grant with $name as a parameter", "gives \"$name\", which "
                . "is not the configuration's to give", %own,
                token_parameters => "audience=files $name=a");
    }

    refused("$grant nowhere", 'has no "token_endpoint"', %own,
            token_endpoint => undef);
    refused("$grant as nobody", 'has no "client_id"', %own,
            client_id => undef);
    refused("$grant without a secret", 'has neither "client_secret_file" nor '
            . '"client_auth none"', %own, client_secret_file => undef);

    my %useless = (
        authorization_endpoint => 'https://idp.example.com/authorize',
        redirect_uri => 'https://search.example.com/connected',
        admin_consent_endpoint => 'https://idp.example.com/admin',
        authorization_parameters => 'prompt=consent',
        match_account => 'email',
        account_claim => 'email',
        userinfo_endpoint => 'https://idp.example.com/me',
        keys_uri => 'https://idp.example.com/keys',
        algorithms => 'RS256',
        refresh_reuse => '1m',
    );

    for my $name (sort keys %useless) {
        refused("$grant with $name", qq(has "$name" and "grant $grant": )
                . '.+; remove it', %own, $name => $useless{$name});
    }

    my ($code, $output) = nginx_test(
        blocks(provider => join "\n",
               map { "$_->[0] $_->[1];" }
               grep { defined $_->[1] } map { [ $_, {%talks, %own}->{$_} ] }
               sort keys %{{%talks, %own}})
        . "server { listen 127.0.0.1:%%PORT%%;\n"
        . "location /a/ { token_inject outlook; } }\n");

    isnt($code, 0, "$grant of nobody: refused");
    like($output, qr{"token_auth" in location "/a/": say whose token it is},
         "$grant of nobody: says why");
}

accepted('what is exchanged', grant => 'token_exchange',
         authorization_endpoint => undef, redirect_uri => undef,
         subject_token_type => 'urn:ietf:params:oauth:token-type:jwt');
refused('what is exchanged, as a word', '"jwt" as "subject_token_type": it '
        . 'is a URI, urn:ietf:params:oauth:token-type:jwt for instance',
        grant => 'token_exchange', authorization_endpoint => undef,
        redirect_uri => undef, subject_token_type => 'jwt');

for my $grant (qw(authorization_code client_credentials jwt_bearer)) {
    refused("what $grant exchanges", '"subject_token_type" and "grant '
            . "$grant\": only \"grant token_exchange\" says what it "
            . 'exchanges; remove it',
            $grant eq 'authorization_code' ? () : %app, grant => $grant,
            subject_token_type => 'urn:ietf:params:oauth:token-type:jwt');
}


# --- renewal

accepted('ahead and again', refresh_ahead => '10m', refresh_reuse => '1d');
accepted('neither', refresh_ahead => '0', refresh_reuse => 'off');

for my $time (qw(25h 0 soon -1)) {
    refused("again within $time", '"refresh_reuse" directive takes a time from '
            . 'one second to one day, or "off"', refresh_reuse => $time);
}

refused('no time ahead', '"refresh_ahead" directive invalid value',
        refresh_ahead => 'soon');
refused('app-only ahead', 'has "refresh_ahead" and "grant '
        . 'client_credentials": a timer keeps app-only tokens fresh; remove',
        %app, refresh_ahead => '1m');
refused('app-only again', 'has "refresh_reuse" and "grant '
        . 'client_credentials": it has no refresh tokens; remove it',
        %app, refresh_reuse => '1m');

for my $name (qw(refresh_ahead refresh_reuse)) {
    refused("$name at nobody", 'has no "token_endpoint"', $name => '1m',
            map { $_ => undef } keys %talks);
}

for my $name (qw(state nonce scope redirect_uri code_challenge response_type
                 client_id client_secret))
{
    refused("$name as a parameter", "gives \"$name\", which is not the "
            . "configuration's to give",
            authorization_parameters => "prompt=none $name=a");
}

for my $directive (qw(userinfo_endpoint revocation_endpoint
                      admin_consent_endpoint))
{
    refused("$directive by http", "$directive \"http://a/\" is not https",
            $directive => 'http://a/');
}

done_testing();
