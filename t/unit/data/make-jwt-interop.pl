#!/usr/bin/perl
# Tokens by Crypt::JWT, a line each; see make-jwt-interop.py

use strict;
use warnings;

use Crypt::JWT qw(encode_jwt);
use Crypt::PK::ECC;
use Crypt::PK::Ed25519;
use Crypt::PK::RSA;
use Crypt::PRNG qw(random_bytes);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

my $json = JSON::PP->new->canonical;

my %claims = (
    iss => 'https://crypt-jwt.example/',
    aud => 'api://search',
    sub => 'bob',
    exp => 4102444800,
);

sub rsa { my $k = Crypt::PK::RSA->new; $k->generate_key(256, 65537); $k }
sub ecc { my $k = Crypt::PK::ECC->new; $k->generate_key($_[0]); $k }
sub ed  { my $k = Crypt::PK::Ed25519->new; $k->generate_key; $k }

my @cases = (
    (map { [ $_, rsa() ] } qw(RS256 RS384 RS512 PS256 PS384 PS512)),
    [ ES256 => ecc('secp256r1') ],
    [ ES384 => ecc('secp384r1') ],
    [ ES512 => ecc('secp521r1') ],
    [ EdDSA => ed() ],
    [ HS256 => random_bytes(32) ],
    [ HS384 => random_bytes(48) ],
    [ HS512 => random_bytes(64) ],
);

for my $case (@cases) {
    my ($alg, $key) = @$case;

    my $jwk = ref $key ? $key->export_key_jwk('public', 1)
                       : { kty => 'oct', k => encode_base64url($key) };

    print $json->encode({
        by    => 'Crypt::JWT',
        alg   => $alg,
        jwk   => $jwk,
        token => encode_jwt(payload => \%claims, alg => $alg, key => $key),
    }), "\n";
}
