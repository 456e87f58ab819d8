# Gateways that pass the identity provider's own token on, configured as
# docs/behind-gateways.md says: a load balancer's header, a login proxy's
# header, Authorization left in place.  What the load balancer signs itself
# is no JWT.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../docs/lib";

use JSON::PP ();

use TI::Test;
use Docs;
use Gateway;

needs_module();

my $up = upstream();
my $signer = key('RS256', 'idp');
my $idp = issuer('gateway', keys => [$signer]);
my $alb = key('ES256', 'alb', kid => '12345678-1234-1234-1234-123456789012');
my $alice = person('alice');
my $n = 0;

my $sign = sub {
    my ($differ, %opt) = @_;

    my $key = $opt{key} // $signer;

    return jwt({ scope => 'openid search', client_id => 'balancer',
                 jti => ++$n, %$differ },
               key => $key, header => { kid => $opt{kid} // $key->{kid} });
};

redis_start();


# --- a load balancer's headers

my $conf = gateway_conf("A load balancer's identity header");
my $data = oidc_data(1);

nginx_start($conf);
$alice->connect('third-party');

like($data, qr/=\./, 'the balancer pads');
refuses_all_but(
    up => $up, person => $alice, sign => $sign, kid => $signer->{kid},
    header => 'X-Amzn-Oidc-Accesstoken',
    beside => ['Cookie: AWSELBAuthSessionCookie-0=secret',
               "X-Amzn-Oidc-Data: $data", 'X-Amzn-Oidc-Identity: alice'],
);

my @key = (user_key => $alice->user_key());
my $uri = '/search/outlook/x';

sub given {
    my ($name, $token) = @_;

    return result($uri, @key, headers => ["$name: $token"]);
}

is(given('X-Amzn-Oidc-Accesstoken', 'opaque-access-token'),
   '401 token-invalid', 'an opaque token');
is(given('X-Amzn-Oidc-Accesstoken', $sign->({ aud => undef })),
   '401 token-invalid', 'an access token that is for nobody');
is(get('/healthz')->status(), 204, 'a health check');
nginx_stop();


# --- its own signed claims, where the configuration has its very key

jwks_file('balancer.jwks', $alb);
$conf =~ s/\btoken_auth +\K[^;]+/balancer from=\$http_x_amzn_oidc_data/;
nginx_start(<<'EOF' . $conf);
token_issuer balancer {
    issuer      https://login.example.com/;
    audience    api://search;
    algorithms  ES256;
    keys_file   %%TESTDIR%%/balancer.jwks;
}

EOF

my %full = (iss => 'https://login.example.com/', aud => 'api://search',
            exp => time() + 120);

is(given('X-Amzn-Oidc-Data', oidc_data(1)), '401 token-invalid',
   'as it is');
is(given('X-Amzn-Oidc-Data', oidc_data(0)), '401 token-invalid',
   'without the padding');
is(given('X-Amzn-Oidc-Data', oidc_data(1, %full)), '401 token-invalid',
   'with the claims that it lacks');
is(given('X-Amzn-Oidc-Data', oidc_data(0, %full)), '200',
   'it takes both to be a JWT');
nginx_stop();


# --- a login proxy's header

$conf = gateway_conf("A gateway that forwards the caller's token");
nginx_start($conf);

refuses_all_but(
    up => $up, person => $alice, sign => $sign, kid => $signer->{kid},
    header => 'X-Forwarded-Access-Token',
    beside => ['Cookie: _oauth2_proxy=session', 'X-Forwarded-User: alice',
               'X-Forwarded-Email: alice@example.com'],
);
is(given('X-Forwarded-Access-Token',
         $sign->({ aud => 'https://graph.microsoft.com' })),
   '401 token-invalid', 'a token for another API');
nginx_stop();


# --- Authorization as it came

nginx_start($conf =~ s/ from=\S+;/;/r);

refuses_all_but(
    up => $up, person => $alice, sign => $sign, kid => $signer->{kid},
    header => 'Authorization',
    beside => ['Cookie: session=1', 'X-Forwarded-User: alice'],
);

# claims that a gateway has verified are nothing that we can
my ($claims) = (split /\./, $sign->({}))[1];
is(given('Authorization', "Bearer $claims"), '401 token-invalid',
   'claims without a signature');
nginx_stop();


# --- a location that only checks

my $good = $sign->({});
my @both = ("X-Forwarded-Access-Token: $good", 'Authorization: Bearer mine');

$conf =~ s/\btoken_inject +outlook;//;
nginx_start($conf);
is(result($uri, headers => \@both), '200', 'a location that only checks');

my $seen = $up->last()->{headers};
is($seen->{authorization}, 'Bearer mine', 'passes what the client sent');
is($seen->{'x-forwarded-access-token'}, $good,
   'and the token that it checked');

nginx_reload($conf =~ s/(?=proxy_pass)/proxy_set_header Authorization "";\n/r);
is(result($uri, headers => \@both), '200', 'with the line of the page');
is($up->last()->{headers}{authorization}, undef, 'it does not');

done_testing();


# The claims of user info, signed: padded or not, what is about the token in
# the header, no audience.
sub oidc_data {
    my ($pad, %claims) = @_;

    my $json = JSON::PP->new->utf8->canonical;
    my @parts = map { padded($pad, $json->encode($_)) } {
        alg => 'ES256', typ => 'JWT', kid => $alb->{kid},
        iss => 'https://login.example.com/', exp => time() + 120,
        client => 'balancer',
        signer => 'arn:aws:elasticloadbalancing:eu-west-1:123456789012:'
                  . 'loadbalancer/app/search/50dc6c495c0c9188',
    }, { sub => 'alice', email => 'alice@example.com', %claims };

    return join '.', @parts,
           padded($pad, jws_sign('ES256', $alb, join('.', @parts)));
}

sub padded {
    my ($pad, $bytes) = @_;

    my $text = b64u($bytes);

    return $pad ? $text . '=' x (-length($text) % 4) : $text;
}
