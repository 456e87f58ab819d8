package TI::Record;

# A second reading of docs/record-format.md, in Perl on CryptX: tests write
# and read connections without any code of the project.

use strict;
use warnings;

use Carp qw(croak);
use Crypt::AuthEnc::GCM qw(gcm_encrypt_authenticate gcm_decrypt_verify);
use Crypt::Digest::SHA256 qw(sha256);
use Crypt::KeyDerivation qw(hkdf);
use Crypt::Mac::HMAC qw(hmac);
use Crypt::PRNG qw(random_bytes);
use Exporter qw(import);
use JSON::PP ();

use TI::Env qw(write_file);
use TI::Redis qw(redis redis_hash);
use TI::Token qw(b64u b64u_decode);

our @EXPORT = qw(
    sealing_keys_file sealing_keys new_user_key
    record_user record_device record_name record_seal record_open
    put_connection get_connection
);

my $json = JSON::PP->new->utf8->canonical;
my $keys;


# The keys of this test: { sealing => [{ kid, k }, …], index => bytes }; with
# an argument, these from now on.
sub sealing_keys {
    $keys = $_[0] if @_;

    return $keys //= {
        sealing => [{ kid => 's1', k => random_bytes(32) }],
        index => random_bytes(32),
    };
}

# sealing_keys_file(name, kid…): the file's path, %%TESTDIR%%/sealing.jwks
# unless named; kids that are new get a key, and the first one seals
sub sealing_keys_file {
    my ($name, @kids) = @_;

    my $all = sealing_keys();

    if (@kids) {
        my %known = map { $_->{kid} => $_ } @{$all->{sealing}};
        $all->{sealing} = [
            map { $known{$_} // { kid => $_, k => random_bytes(32) } } @kids
        ];
    }

    return write_file($name // 'sealing.jwks', $json->encode({ keys => [
        (map { { kty => 'oct', use => 'enc', kid => $_->{kid},
                 k => b64u($_->{k}) } } @{$all->{sealing}}),
        { kty => 'oct', use => 'sig', alg => 'HS256', kid => 'index',
          k => b64u($all->{index}) },
    ] }), 0600);
}

# 43 characters, as a device would send them
sub new_user_key { b64u(random_bytes(32)) }


# --- names ------------------------------------------------------------------

sub _enc { join '', map { pack('N', length $_) . $_ } @_ }

sub _hkdf {
    my ($key, $salt, $info, $length) = @_;

    return hkdf($key, $salt // '', 'SHA256', $length // 32, $info);
}

# who is [issuer, tenant, subject]
sub record_user {
    my ($who) = @_;

    return b64u(substr(hmac('SHA256', sealing_keys()->{index},
                            _enc('user', @$who)), 0, 16));
}

sub record_device {
    my ($user_key) = @_;

    return '-' if !defined $user_key;

    return b64u(_hkdf(b64u_decode($user_key), undef,
                      'ngx-token-injector device v1', 12));
}

# record_name(who => …, provider => …, user_key => …, prefix => 'ti:')
sub record_name {
    my (%ref) = @_;

    my $prefix = $ref{prefix} // 'ti:';
    my $user = record_user($ref{who});
    my $device = $ref{device} // record_device($ref{user_key});

    return "$prefix\{$user}:c:$ref{provider}:$device";
}


# --- records ----------------------------------------------------------------

sub _ctx {
    my (%ref) = @_;

    return sha256(_enc('ngx-token-injector ctx v1', $ref{kind},
                       @{$ref{who}}, $ref{provider},
                       $ref{device} // record_device($ref{user_key}),
                       $ref{gen}));
}

# members that are undef are left out
sub _jwe {
    my ($key, $header, $payload) = @_;

    my %header = %$header;
    delete @header{grep { !defined $header{$_} } keys %header};

    my $aad = b64u($json->encode(\%header));
    my $nonce = random_bytes(12);
    my ($text, $tag) = gcm_encrypt_authenticate('AES', $key, $nonce, $aad,
                                                $payload);

    return join '.', $aad, '', map { b64u($_) } $nonce, $text, $tag;
}

# record_seal(kind => access, who => …, provider => …, user_key => …, gen =>
# …, cid => …, token => …, expires => …): the text.  token_type and scope go
# to the layer that holds the token.  outer => { … } and inner => { … } set
# header members to what is wrong; kid chooses the sealing key.
sub record_seal {
    my (%ref) = @_;

    my ($sealing) = grep { !defined $ref{kid} || $_->{kid} eq $ref{kid} }
                    @{sealing_keys()->{sealing}};
    my $ctx = _ctx(%ref);
    my $payload = $ref{token};
    my %told = (token_type => $ref{token_type}, scope => $ref{in_scope});

    if (defined $ref{user_key}) {
        my $salt = random_bytes(16);
        my $key = _hkdf(b64u_decode($ref{user_key}), $salt,
                        _enc('ngx-token-injector user v1', $ctx));

        $payload = _jwe($key, {
            alg => 'dir', enc => 'A256GCM', salt => b64u($salt),
            cty => 'token', ctx => b64u($ctx), %told, %{$ref{inner} || {}},
        }, $payload);
        %told = ();
    }

    my $salt = random_bytes(16);
    my $key = _hkdf($sealing->{k}, $salt,
                    _enc('ngx-token-injector seal v1', $ctx));

    return _jwe($key, {
        alg => 'dir', enc => 'A256GCM', salt => b64u($salt),
        kid => $sealing->{kid}, typ => 'ti-record',
        cty => defined $ref{user_key} ? 'JWE' : 'token', ctx => b64u($ctx),
        gen => $ref{gen} + 0, cid => $ref{cid},
        exp => defined $ref{expires} ? $ref{expires} + 0 : undef,
        %told, %{$ref{outer} || {}},
    }, $payload);
}

# record_open(text, as for record_seal): { token, outer, inner }; dies of
# what a reader must refuse
sub record_open {
    my ($text, %ref) = @_;

    my $ctx = _ctx(%ref);
    my ($outer, $payload) = _open($text, $ctx, 'seal', sub {
        my ($header) = @_;
        my ($key) = grep { $_->{kid} eq $header->{kid} }
                    @{sealing_keys()->{sealing}};
        croak "kid" if !$key;
        $key->{k};
    });

    croak "typ" if ($outer->{typ} // '') ne 'ti-record';
    croak "gen" if $outer->{gen} != $ref{gen};
    croak "cid" if ($outer->{cid} // '') ne ($ref{cid} // '');

    if (!defined $ref{user_key}) {
        croak "cty" if ($outer->{cty} // '') ne 'token';
        return { token => $payload, outer => $outer };
    }

    croak "cty" if ($outer->{cty} // '') ne 'JWE';
    my ($inner, $token) = _open($payload, $ctx, 'user', sub {
        b64u_decode($ref{user_key});
    });
    croak "cty" if ($inner->{cty} // '') ne 'token';

    return { token => $token, outer => $outer, inner => $inner };
}

sub _open {
    my ($text, $ctx, $layer, $key_of) = @_;

    my @parts = split /\./, $text, -1;
    croak "parts" if @parts != 5 || length $parts[1];
    my ($nonce, $bytes, $tag) = map { b64u_decode($_) } @parts[2 .. 4];
    croak "size" if length $nonce != 12 || length $tag != 16;

    my $header = $json->decode(b64u_decode($parts[0]));
    croak "alg" if $header->{alg} ne 'dir' || $header->{enc} ne 'A256GCM';
    croak "crit or zip" if exists $header->{crit} || exists $header->{zip};
    croak "ctx" if $header->{ctx} ne b64u($ctx);

    my $key = _hkdf($key_of->($header), b64u_decode($header->{salt}),
                    _enc("ngx-token-injector $layer v1", $ctx));
    my $payload = gcm_decrypt_verify('AES', $key, $nonce, $parts[0], $bytes,
                                     $tag);
    croak "tag of $layer" if !defined $payload;

    return ($header, $payload);
}


# --- connections ------------------------------------------------------------

# put_connection(who => [issuer, tenant, subject], provider => …, user_key =>
# … or undef, access => token, refresh => token, expires => time, scope => …,
# gen => …, cid => …, prefix => …): a consent, written as the format says to
# writers of other languages.  access_record => text writes that instead;
# fields => { … } are the hash's own, undef leaves one out.  Returns what it
# wrote: { name, gen, cid, user, device, access, … }.
sub put_connection {
    my (%c) = @_;

    my $now = time();
    my $name = record_name(%c);
    my $old;

    redis('WATCH', $name);
    $old = eval { redis('HGET', $name, 'gen') };

    $c{gen} //= ($old || 0) + 1;
    $c{cid} //= b64u(random_bytes(16));
    $c{expires} //= $now + 3600;

    my $expire_at = $now + 90 * 86400;
    my %hash = (
        gen => $c{gen}, cid => $c{cid}, exp => $c{expires},
        since => $now, state => 'connected', scope => $c{scope} // '',
        access => $c{access_record}
                  // record_seal(%c, kind => 'access', token => $c{access}),
    );

    if (defined $c{refresh}) {
        $hash{refresh} = record_seal(%c, kind => 'refresh', expires => undef,
                                     token => $c{refresh});
    } else {
        $expire_at = $c{expires} + 30 * 86400;
    }
    $expire_at = $now + 86400 if $expire_at <= $now;

    %hash = (%hash, %{$c{fields} || {}});
    delete @hash{grep { !defined $hash{$_} } keys %hash};

    redis('MULTI');
    redis('DEL', $name);
    redis('HSET', $name, %hash);
    redis('EXPIREAT', $name, $expire_at);
    redis('PUBLISH', ($c{prefix} // 'ti:') . 'changes', $name)
        if !$c{unheard};
    redis('EXEC') or croak "$name changed meanwhile";

    return { %hash, name => $name, user => record_user($c{who}),
             device => $c{device} // record_device($c{user_key}) };
}

# get_connection(who, provider, user_key, prefix): { hash, access =>
# record_open()'s, refresh => … }, undef if there is none
sub get_connection {
    my (%c) = @_;

    my $hash = redis_hash(record_name(%c));
    return undef if !%$hash;

    my %got = (hash => $hash);
    for my $kind (qw(access refresh)) {
        next if !defined $hash->{$kind};
        $got{$kind} = record_open($hash->{$kind}, %c, kind => $kind,
                                  gen => $hash->{gen}, cid => $hash->{cid});
    }

    return \%got;
}


1;
