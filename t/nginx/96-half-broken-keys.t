# Sets that are broken in part: what can be used is, what cannot is said.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $idp = issuer();
my $good = key('RS256', 'good');
my $ec = key('ES256', 'good');
my $weak = key('rsa1024');
my $n = 0;

# a private key that its owner published is nobody's secret any more
my %private = (%{key('RS256', 'leaked')->{jwk}}, kid => 'leaked',
               use => 'sig');
my $private = \%private;

my $off_curve = jwk(key('ES256', 'off'), kid => 'off');
$off_curve->{y} = $off_curve->{x};

my @broken = (
    ['a string', 'key'],
    ['a number', 17],
    ['an object without anything', {}],
    ['an unknown kind', { kty => 'LAMP', kid => 'lamp' }],
    ['no modulus', jwk(key('RS256', 'x'), n => undef, kid => 'no-n')],
    ['a weak one', jwk($weak)],
    ['an exponent of 1', jwk(key('RS256', 'x'), e => 'AQ', kid => 'e1')],
    ['off its curve', $off_curve],
    ['for encryption', jwk(key('RS256', 'x'), use => 'enc', kid => 'enc')],
    ['a secret one', jwk(key('HS256'))],
    ['a private one', $private],
);

$idp->keys($broken[0][1], jwk($good), (map { $_->[1] } @broken[1 .. 6]),
           jwk($ec), map { $_->[1] } @broken[7 .. $#broken]);

nginx_start($idp->block('corp', <<'EOB') . <<'CONF', log_level => 'info');
    keys_uri           %%ISSUER%%/keys;
    algorithms         RS256 ES256;
    keys_interval      1s;
    keys_min_interval  1s;
    keys_wait          300ms;
EOB
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { token_auth corp; empty_gif; }
    }
CONF

sub with {
    my ($key, $alg, %opt) = @_;

    return result(get('/', token => $idp->token({ jti => ++$n },
                                                alg => $alg, key => $key,
                                                %opt)));
}

is(with($good, 'RS256'), 'ok', 'a good one');
is(with($ec, 'ES256'), 'ok', 'another good one');
is(with($weak, 'RS256'), 'token-invalid', 'not the weak one');
is(with(key('ES256', 'off', kid => 'off'), 'ES256'), 'token-invalid',
   'not the one off its curve');
is(with(key('RS256', 'x', kid => 'enc'), 'RS256'), 'token-invalid',
   'not the one for encryption');
is(with(key('HS256'), 'HS256'), 'token-invalid', 'not the secret one');
is(with(key('RS256', 'leaked', kid => 'leaked'), 'RS256'), 'token-invalid',
   'not the private one');

my @lines = grep { /\[warn\].*key number \d+ of issuer "corp" is not used/ }
            split /\n/, error_log();
is(scalar(@lines), scalar(@broken), 'each is told in the log')
    or diag(join "\n", @lines);
secrets_absent('without what is secret', $private->{d},
               key('HS256')->{jwk}{k});


# all of them withdrawn is an answer too
$idp->keys(jwk($weak));
wait_for(sub { with($good, 'RS256') ne 'ok' }, 'the end of the keys', 8);
is(with($good, 'RS256'), 'keys-unavailable', 'no key is left');
log_like(qr/\[error\].*sent no key that can be used .*issuer "corp"/,
         'said in the log');
$idp->keys(jwk($good));
wait_for(sub { with($good, 'RS256') eq 'ok' }, 'a key again', 8);
pass('and one is back');

done_testing();
