package TI::Token;

# Callers' tokens: keys of every kind, JWK Set files, JWTs good and bad.

use strict;
use warnings;

use Crypt::JWT qw(encode_jwt);
use Crypt::Mac::HMAC ();
use Crypt::PK::ECC ();
use Crypt::PK::Ed25519 ();
use Crypt::PK::RSA ();
use Crypt::PRNG qw(random_bytes);
use Exporter qw(import);
use Fcntl qw(:flock);
use File::Path qw(make_path);
use JSON::PP ();
use MIME::Base64 qw(encode_base64url decode_base64url);

use TI::Env qw(build_dir read_file write_file);

our @EXPORT = qw(
    key jwk jwks_file jwt jws_raw jws_sign claims algorithms
    b64u b64u_decode
);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my %keys;

my %kind = (
    (map { $_ => 'rsa' } qw(RS256 RS384 RS512 PS256 PS384 PS512)),
    ES256 => 'p256', ES384 => 'p384', ES512 => 'p521', EdDSA => 'ed25519',
    HS256 => 'oct32', HS384 => 'oct48', HS512 => 'oct64',
);
my %curve = (p256 => 'secp256r1', p384 => 'secp384r1', p521 => 'secp521r1');

sub b64u { encode_base64url($_[0], '') }
sub b64u_decode { decode_base64url($_[0]) }
sub algorithms { sort keys %kind }


# key(algorithm or kind, name = 'default', kid => …): the same key for the
# same name in every run, kept below build/t-keys.  Kinds: rsa, rsa1024, p256,
# p384, p521, ed25519, oct32, oct48, oct64.
sub key {
    my ($what, $name, %opt) = @_;

    $name //= 'default';
    my $kind = $kind{$what} // $what;
    my $key = $keys{"$kind-$name"} //= _kept_key($kind, $name);

    return { %$key, kid => $opt{kid} // "$kind-$name" };
}

sub _kept_key {
    my ($kind, $name) = @_;

    my $dir = build_dir() . '/t-keys';
    my $file = "$dir/$kind-$name.jwk";

    make_path($dir);
    open(my $lock, '>', "$dir/.lock") or die "$dir: $!\n";
    flock($lock, LOCK_EX);
    write_file($file, _generate($kind), 0600) if !-s $file;

    my $private = $json->decode(read_file($file));

    return { kind => $kind, jwk => $private, object => _object($private) };
}

sub _generate {
    my ($kind) = @_;

    if ($kind =~ /^rsa(\d*)$/) {
        my $pk = Crypt::PK::RSA->new();
        $pk->generate_key(($1 || 2048) / 8, 65537);
        return $pk->export_key_jwk('private');
    }
    if ($curve{$kind}) {
        my $pk = Crypt::PK::ECC->new();
        $pk->generate_key($curve{$kind});
        return $pk->export_key_jwk('private');
    }
    if ($kind eq 'ed25519') {
        my $pk = Crypt::PK::Ed25519->new();
        $pk->generate_key();
        return $pk->export_key_jwk('private');
    }
    if ($kind =~ /^oct(\d+)$/) {
        return $json->encode({ kty => 'oct', k => b64u(random_bytes($1)) });
    }

    die "no such kind of key: $kind\n";
}

sub _object {
    my ($jwk) = @_;

    my $text = $json->encode($jwk);

    return $jwk->{kty} eq 'RSA' ? Crypt::PK::RSA->new(\$text)
         : $jwk->{kty} eq 'EC' ? Crypt::PK::ECC->new(\$text)
         : $jwk->{kty} eq 'OKP' ? Crypt::PK::Ed25519->new(\$text)
         : b64u_decode($jwk->{k});
}

# jwk(key, member => value, …): the public JWK as a hash (an oct key's is the
# key); a member that is undef is left out
sub jwk {
    my ($key, %members) = @_;

    my %jwk = %{$key->{jwk}};
    delete @jwk{qw(d p q dp dq qi)};
    %jwk = (%jwk, kid => $key->{kid}, use => 'sig', %members);
    delete @jwk{grep { !defined $jwk{$_} } keys %jwk};

    return \%jwk;
}

# jwks_file(name, keys or hashes): the file's path; readable by its owner
# only where it holds a secret, or where the name is said as [name, mode]
sub jwks_file {
    my ($name, @keys) = @_;

    ($name, my $mode) = ref $name ? @$name : ($name, undef);
    @keys = map { $_->{jwk} ? jwk($_) : $_ } @keys;
    $mode //= (grep { ($_->{kty} // '') eq 'oct' } @keys) ? 0600 : 0644;

    return write_file($name, $json->encode({ keys => \@keys }), $mode);
}


# claims(claim => value, …): what a good token says, and what differs; undef
# leaves a claim out
sub claims {
    my (%differ) = @_;

    my $now = time();
    my %claims = (
        iss => 'https://login.example.com/', aud => 'api://search',
        sub => 'alice', iat => $now, exp => $now + 3600, %differ,
    );
    delete @claims{grep { !defined $claims{$_} } keys %claims};

    return \%claims;
}

# jwt({ claims }, alg => RS256, key => key(…), header => { … }): a token;
# the claims are what differs from claims()
sub jwt {
    my ($differ, %opt) = @_;

    my $alg = $opt{alg} // 'RS256';
    my $key = $opt{key} // key($alg);
    my %header = (kid => $key->{kid}, typ => 'JWT', %{$opt{header} || {}});
    delete @header{grep { !defined $header{$_} } keys %header};

    return encode_jwt(payload => $json->encode(claims(%{$differ || {}})),
                      alg => $alg, key => $key->{object},
                      extra_headers => \%header);
}

# jws_sign(algorithm, key, bytes): the raw signature.  A MAC's key may be
# { object => any bytes }.
sub jws_sign {
    my ($alg, $key, $bytes) = @_;

    my ($family, $bits) = $alg =~ /^(RS|PS|ES|HS|Ed)(\d*)/;
    my $object = $key->{object};

    return $family eq 'RS' ? $object->sign_message($bytes, "SHA$bits", 'v1.5')
         : $family eq 'PS' ? $object->sign_message($bytes, "SHA$bits", 'pss',
                                                   $bits / 8)
         : $family eq 'ES' ? $object->sign_message_rfc7518($bytes,
                                                           "SHA$bits")
         : $family eq 'Ed' ? $object->sign_message($bytes)
         : Crypt::Mac::HMAC::hmac("SHA$bits", $object, $bytes);
}

# jws_raw(header text or hash, payload text or hash, alg => …, key => … or
# signature => bytes): three parts exactly as said, for what no library would
# make
sub jws_raw {
    my ($header, $payload, %opt) = @_;

    my $input = join '.', map { b64u(ref $_ ? $json->encode($_) : $_) }
                          $header, $payload;
    my $signature = $opt{signature}
                    // ($opt{key} ? jws_sign($opt{alg}, $opt{key}, $input)
                                  : '');

    return "$input." . b64u($signature);
}


1;
