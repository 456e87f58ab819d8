# Access proxies that send an assertion of their own, configured as
# docs/behind-gateways.md says: Cloudflare Access (RS256), Pomerium (ES256).

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
my $json = JSON::PP->new->canonical;

redis_start();


# --- Cloudflare Access

my $team = 'https://yourteam.cloudflareaccess.com';
my $aud = '32eafc7626e974616deaf0dc3ce63d7bcbed58a2731e84d06bc3cdf1b53c4228';
my $sub = '7335d417-61da-459d-899c-0a01c76a2f94';
my $now = key('RS256', 'now', kid => 'a' x 64);
my $before = key('RS256', 'before', kid => 'b' x 64);

my $cloudflare = sub {
    my ($differ, %opt) = @_;

    my $key = $opt{key} // $now;
    my $aud_said = $differ->{aud} // $aud;

    return jwt({
        iss => $team, email => 'alice@example.com', sub => $sub,
        nbf => time(), exp => time() + 3600, type => 'app', country => 'US',
        identity_nonce => '6ei69kawdKzMIAPF', %$differ,
        aud => ref $aud_said ? $aud_said : [$aud_said],
    }, key => $key, header => { kid => $opt{kid} // $key->{kid} });
};

my $alice = person($sub, iss => $team);
my $idp = issuer('gateway', keys => [$now]);
my $conf = gateway_conf("An access proxy's assertion");

# its set has certificates in it as well
$idp->fault('/keys' => { body => $json->encode({
    keys => [map { { %{jwk($_)}, alg => 'RS256' } } $before, $now],
    public_cert => { kid => $now->{kid}, cert => '-----BEGIN …' },
    public_certs => [{ kid => $now->{kid}, cert => '-----BEGIN …' }],
}) });

nginx_start($conf);
$alice->connect('third-party');

my $good = $cloudflare->({});
refuses_all_but(
    up => $up, person => $alice, sign => $cloudflare, kid => $now->{kid},
    header => 'Cf-Access-Jwt-Assertion',
    other_aud => 'f' x 64,
    beside => ["Cookie: CF_Authorization=$good; other=1",
               'Cf-Access-Authenticated-User-Email: alice@example.com'],
);

my @key = (user_key => $alice->user_key());
my $uri = '/search/outlook/x';

sub asserted {
    my ($token) = @_;

    return result($uri, @key,
                  headers => ["Cf-Access-Jwt-Assertion: $token"]);
}

is(asserted($cloudflare->({}, key => $before)), '200',
   'signed with the key before');
is(asserted($cloudflare->({ aud => ['f' x 64, $aud] })), '200',
   'for several applications, this one among them');
is(asserted($cloudflare->({ sub => '', email => undef,
                            common_name => 'e367826f93b8.access' })),
   '401 token-invalid', 'a service token names nobody');
is(asserted($cloudflare->({ sub => 'another-seat' })),
   '403 connection-required', 'somebody else has no connection');
is(result($uri, @key, headers => ["Cookie: CF_Authorization=$good"]),
   '401 token-missing', 'the cookie alone is no source');

# a key comes, a key goes
my $next = key('RS256', 'next', kid => 'c' x 64);

$idp->fault('/keys' => undef);
$idp->keys($now, $next);
wait_for(sub { asserted($cloudflare->({}, key => $next)) eq '200' },
         'the next key');
wait_for(sub {
    asserted($cloudflare->({}, key => $before)) eq '401 token-invalid'
}, 'the key before to be gone');
is(asserted($good), '200', 'the present one is still there');
nginx_stop();


# --- both spellings, where nginx lets underscores pass

nginx_start("underscores_in_headers on;\n$conf");

my $dashes = "Cf-Access-Jwt-Assertion: $good";
my $lines = "cf_access_jwt_assertion: $good";

$up->forget();
is(result($uri, @key, headers => [$dashes]), '200', 'dashes');
is(result($uri, @key, headers => [$lines]), '200', 'underscores');
is((grep { index(join(' ', map { @$_ } @{$_->{raw}}), $good) >= 0 }
    $up->requests()), 0, 'neither reaches the third party');
is($up->calls(), 2, 'which was called');
is(result($uri, @key, headers => [$dashes, $lines]), '401 token-invalid',
   'one of each is two');

nginx_stop();


# --- Pomerium

my $ec = key('ES256', 'pomerium', kid => 'ccc5bc9d835ff3c8f7075ed4a7510159');
my $host = 'search.example.com';
my $n = 0;

my $pomerium = sub {
    my ($differ, %opt) = @_;

    my $key = $opt{key} // $ec;

    # a new one for each request
    return jwt({
        iss => $host, aud => $host, sub => '110011223344', jti => ++$n,
        exp => time() + 300, email => 'bob@example.com',
        groups => ['staff', 'search'], name => 'Bob', %$differ,
    }, alg => 'ES256', key => $key,
       header => { kid => $opt{kid} // $key->{kid} });
};

my $bob = person('110011223344', iss => $host);

$conf = gateway_conf('An access proxy that signs with ES256');
$idp->keys($ec);
nginx_start($conf);
$bob->connect('third-party');

refuses_all_but(
    up => $up, person => $bob, sign => $pomerium, kid => $ec->{kid},
    alg => 'ES256', header => 'X-Pomerium-Jwt-Assertion',
    other_aud => 'other.example.com',
    beside => ['Cookie: _pomerium=session'],
);

is(result($uri, user_key => $bob->user_key(), headers => [
              'X-Pomerium-Jwt-Assertion: '
              . $pomerium->({ iss => "https://$host/" })]),
   '401 token-invalid', 'iss in its other form is another issuer');

nginx_reload($conf =~ s/(token_inject +outlook;)/$1 token_cache 1m;/r);

@key = (user_key => $bob->user_key());

sub status {
    my ($token) = @_;

    my $r = get('/search/outlook/cached', @key,
                headers => ["X-Pomerium-Jwt-Assertion: $token"]);

    return join ' ', $r->status(),
                ($r->header('Cache-Status') // '') =~ /; (hit|fwd=miss)/;
}

is(status($pomerium->({})), '200 fwd=miss', 'an answer is kept');
is(status($pomerium->({})), '200 hit', 'for whoever is the same person');
is(status($pomerium->({ sub => 'carol' })), '403', 'and for nobody else');

done_testing();
