# A cloud's identity-aware proxy, configured as docs/behind-gateways.md says:
# ES256, one issuer for all of its customers, assertions of ten minutes, health
# checks without any.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../docs/lib";

use TI::Test;
use Docs;
use Gateway;

needs_module();

my $iap = 'https://cloud.google.com/iap';
my $aud = '/projects/123456789012/global/backendServices/4567890123456789012';
my $header = 'X-Goog-Iap-Jwt-Assertion';

my $key = key('ES256', 'iap', kid => '5PuDqQ');
my $next = key('ES256', 'iap-next', kid => 'f9R3yg');

my $sign = sub {
    my ($differ, %opt) = @_;

    my $signer = $opt{key} // $key;
    my $now = time();

    return jwt({
        iss => $iap, aud => $aud, azp => $aud,
        sub => 'accounts.google.com:118133858486581853996',
        email => 'alice@example.com', hd => 'example.com',
        iat => $now, exp => $now + 600, %$differ,
    }, alg => 'ES256', key => $signer,
       header => { kid => $opt{kid} // $signer->{kid} });
};

my $up = upstream();
my $alice = person('accounts.google.com:118133858486581853996',
                   iss => $iap);
my $idp = issuer('gateway', keys => [$key]);
my $conf = gateway_conf("A cloud's identity-aware proxy");

redis_start();
nginx_start($conf);
$alice->connect('third-party');

refuses_all_but(
    up => $up, person => $alice, sign => $sign, kid => $key->{kid},
    alg => 'ES256', header => $header,
    # whoever else is a customer: the same issuer, the same keys
    other_aud => '/projects/999999999999/global/backendServices/1',
    beside => ['Cookie: GCP_IAP_UID=secured',
               'X-Goog-Authenticated-User-Email: '
               . 'accounts.google.com:alice@example.com',
               'X-Goog-Authenticated-User-Id: accounts.google.com:118'],
);

my $now = time();

sub asserted {
    my ($differ, %opt) = @_;

    return result('/search/outlook/x', user_key => $alice->user_key(),
                  headers => ["$header: " . $sign->($differ, %opt)]);
}

for my $case (
    [{ aud => "$aud/" }, 'longer by a character'],
    [{ aud => substr($aud, 0, -1) }, 'shorter by one'],
    [{ aud => '/projects/123456789012/apps/my-project' }, 'another form'],
    [{ aud => undef }, 'none'],
    [{ aud => '', azp => $aud }, 'only as azp'],
) {
    is(asserted($case->[0]), '401 token-invalid', "audience: $case->[1]");
}

# the names in plain headers are nobody's business
is(result('/search/outlook/x', user_key => $alice->user_key(), headers => [
       'X-Goog-Authenticated-User-Email: accounts.google.com:a@example.com']),
   '401 token-missing', 'a name without a signature');


# --- its life, and clocks that differ by up to thirty seconds

is(asserted({ iat => $now - 615, exp => $now - 15 }), '200',
   'over for a clock that is ahead');
is(asserted({ iat => $now - 660, exp => $now - 60 }), '401 token-expired',
   'over');
is(asserted({ iat => $now + 15, exp => $now + 615 }), '200',
   'of a clock that is ahead');
is(asserted({ iat => $now + 60, exp => $now + 660 }), '401 token-invalid',
   'of the future');


# --- health checks

my $r = get('/healthz');
is($r->status(), 204, 'a health check without an assertion');
is(get('/healthz', headers => ["$header: bad"])->status(), 204,
   'and with a bad one');
unlike(access_log(), qr{/healthz}, 'not logged');
is(result('/search/outlook/healthz'), '401 token-missing',
   'nothing else is open');


# --- keys change

is(asserted({}, key => $next), '401 token-invalid', 'a key yet to come');

$idp->keys($key, $next);
wait_for(sub { asserted({}, key => $next) eq '200' }, 'the new key');
is(asserted({}), '200', 'the old one is still there');

$idp->keys($next);
wait_for(sub { asserted({}) eq '401 token-invalid' }, 'the old key to go');
is(asserted({}, key => $next), '200', 'the new one stays');
is(asserted({}, kid => $next->{kid}), '401 token-invalid',
   'whatever it is called');

done_testing();
