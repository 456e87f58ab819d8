# Every way a caller's token can be wrong, as seen through nginx: the result,
# the challenge, the body, and nothing sent on.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $rsa = key('RS256');
my $ec = key('ES256');

jwks_file('many.jwks', $rsa, $ec, key('EdDSA'));
jwks_file('mac.jwks', key('HS256'));
redis_start();
nginx_start(blocks(issuer => "leeway 0s;") . <<'EOF');

    token_issuer many {
        issuer      https://many.example.com/;
        audience    api://search api://other;
        algorithms  RS256 PS256 ES256 EdDSA;
        keys_file   %%TESTDIR%%/many.jwks;
        leeway      60s;
    }

    token_issuer mac {
        issuer      https://mac.example.com/;
        audience    api://search;
        algorithms  HS256;
        keys_file   %%TESTDIR%%/mac.jwks;
    }

    token_issuer tenants {
        issuer       https://login.example.com/;
        audience     api://search;
        keys_file    %%TESTDIR%%/corp.jwks;
        user_claim   /profile/login;
        tenant_claim tid;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        large_client_header_buffers 4 256k;

        location / {
            token_auth  corp realm=search;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /plain/ {
            token_auth  corp;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /many/ {
            token_auth  many;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /mac/ {
            token_auth  mac;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /tenants/ {
            token_auth  tenants;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /inject/ {
            token_auth   corp;
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
EOF

my $now = time();
my %title = (
    'token-missing' => 'No token in the request',
    'token-invalid' => 'The token is not valid',
    'token-expired' => 'The token has expired',
);
my %challenge = (
    'token-missing' => '',
    'token-invalid' => 'error="invalid_token", '
                       . 'error_description="the token is not valid"',
    'token-expired' => 'error="invalid_token", '
                       . 'error_description="the token has expired"',
);

# all that a refusal says, and that the upstream heard nothing
sub refused {
    my ($name, $result, $r, %opt) = @_;

    my @challenge = grep { length } defined $opt{realm}
                    ? qq(realm="$opt{realm}") : '', $challenge{$result};
    my %body = (type => "urn:ngx-token-injector:$result",
                title => $title{$result}, status => 401,
                $opt{provider} ? (provider => $opt{provider}) : ());

    is_deeply([$r->status(), $r->header('Content-Type'),
               $r->header('Cache-Control'), $r->headers('WWW-Authenticate'),
               eval { $r->json() }],
              [401, 'application/problem+json', 'no-store',
               join(' ', 'Bearer', join(', ', @challenge) || ()), \%body],
              "$name: $result")
        or diag($r->raw());
}

sub invalid {
    my ($name, $token, %opt) = @_;

    my $uri = $opt{uri} // '/plain/';
    refused($name, $opt{result} // 'token-invalid',
            get($uri, token => $token));
}

sub accepted {
    my ($name, $token, $uri) = @_;

    is(get($uri // '/plain/', token => $token)->status(), 200, $name);
}


# --- there is none

refused('no Authorization', 'token-missing', get('/plain/'));
refused('with a realm', 'token-missing', get('/'), realm => 'search');
refused('a realm and an error', 'token-invalid', get('/', token => 'x'),
        realm => 'search');
refused('of a provider', 'token-missing', get('/inject/'),
        provider => 'outlook');
for my $value ('', 'Bearer', 'Bearer ', 'Basic YTpi', 'Bearertoken',
               "Bearer\tx", 'Token x')
{
    refused("Authorization: $value", 'token-missing',
            get('/plain/', headers => ["Authorization: $value"]));
}
is($up->calls(), 0, 'the upstream heard of none of them');


# --- good ones

my $good = jwt();

accepted('a good token', $good);
accepted('once more', $good);
for my $scheme ('bearer', 'BEARER', 'bEaReR', 'Bearer  ') {
    is(get('/plain/', headers => ["Authorization: $scheme $good"])->status(),
       200, "scheme $scheme");
}
accepted('several audiences', jwt({ aud => ['x', 'api://search'] }));
accepted('no typ', jwt({}, header => { typ => undef }));
accepted('no kid, one key', jwt({}, header => { kid => undef }));
accepted('nbf and iat now', jwt({ nbf => $now, iat => $now }));
accepted('a MAC where it is allowed',
         jwt({ iss => 'https://mac.example.com/' }, alg => 'HS256'), '/mac/');
for my $alg (qw(RS256 PS256 ES256 EdDSA)) {
    accepted("$alg among several",
             jwt({ iss => 'https://many.example.com/' }, alg => $alg),
             '/many/');
}
accepted('a claim by pointer, a tenant',
         jwt({ profile => { login => 'al' }, tid => 't' }), '/tenants/');


# --- alg

$up->forget();
my %many = (iss => 'https://many.example.com/');

for my $alg ('none', 'None', 'NONE', 'nOnE', '', ' none', "none\0", 'RS256 ',
             'rs256', 'HS256', 'RS384', 'X')
{
    my $shown = $alg =~ s/\0/\\0/r;
    invalid("alg \"$shown\"", jws_raw({ alg => $alg }, claims(),
                                     alg => 'RS256', key => $rsa));
    invalid("alg \"$shown\", no signature",
            jws_raw({ alg => $alg }, claims()));
}
for my $alg ('["RS256"]', 'null', '256', 'true', '{"RS256":1}') {
    invalid("alg $alg", jws_raw("{\"alg\":$alg}", claims(),
                                alg => 'RS256', key => $rsa));
}
invalid('no alg', jws_raw({}, claims(), alg => 'RS256', key => $rsa));

my $pem = $rsa->{object}->export_key_pem('public');
my $x509 = $rsa->{object}->export_key_pem('public_x509');
my $der = $rsa->{object}->export_key_der('public_x509');
my $jwk = JSON::PP->new->canonical->encode(jwk($rsa));
for my $secret ($pem, $x509, $pem =~ s/\n\z//r, $x509 =~ s/\n\z//r, $der,
                $jwk, b64u_decode(jwk($rsa)->{n}), jwk($rsa)->{n})
{
    for my $uri ('/plain/', '/many/', '/mac/') {
        my $iss = { '/plain/' => 'login', '/many/' => 'many',
                    '/mac/' => 'mac' }->{$uri};
        invalid("HS256 with the public key, at $uri",
                jws_raw({ alg => 'HS256' },
                        claims(iss => "https://$iss.example.com/"),
                        alg => 'HS256', key => { object => $secret }),
                uri => $uri);
    }
}
invalid('a MAC where it is not allowed', jwt({}, alg => 'HS256'));
invalid('a key of one algorithm for another',
        jws_raw({ alg => 'ES256', kid => 'rsa-default' }, claims(%many),
                alg => 'RS256', key => $rsa), uri => '/many/');
accepted('and its own', jws_raw({ alg => 'RS256', kid => 'rsa-default' },
         claims(%many), alg => 'RS256', key => $rsa), '/many/');


# --- keys in the header, kid

my $mine = key('RS256', 'attacker');
my $own = upstream('own');
for my $member ([jwk => jwk($mine)], [jku => 'http://%%UPSTREAM_own%%/k'],
                [x5u => 'http://%%UPSTREAM_own%%/x'],
                [x5c => [MIME::Base64::encode_base64(
                    $mine->{object}->export_key_der('public_x509'), '')]])
{
    my ($name, $value) = @$member;
    $value = subst($value) if !ref $value;
    for my $kid (undef, 'rsa-default', 'rsa-attacker') {
        invalid("$name" . ($kid ? ", kid $kid" : ''),
                jws_raw({ alg => 'RS256', $name => $value,
                          $kid ? (kid => $kid) : () }, claims(),
                        alg => 'RS256', key => $mine));
    }
    accepted("$name is not even looked at",
             jws_raw({ alg => 'RS256', kid => 'rsa-default',
                       $name => $value }, claims(),
                     alg => 'RS256', key => $rsa));
}
is($own->calls(), 0, 'nothing was fetched');

for my $kid ('', 'RSA-DEFAULT', 'rsa-defaul', 'rsa-default ', '*', 'rsa-*',
             '../../etc/passwd', '/dev/null', "rsa-default\r\nX-Evil: 1",
             "a' OR 1=1", 'k' x 4000)
{
    invalid('kid ' . substr($kid, 0, 20) =~ s/\s/ /gr,
            jws_raw({ alg => 'RS256', kid => $kid }, claims(),
                    alg => 'RS256', key => $rsa));
}
invalid('a kid of 64 KiB', jws_raw({ alg => 'RS256', kid => 'k' x 65536 },
        claims(), alg => 'RS256', key => $rsa));
for my $kid ('1', 'null', '["rsa-default"]', '{}') {
    invalid("kid $kid", jws_raw("{\"alg\":\"RS256\",\"kid\":$kid}", claims(),
                                alg => 'RS256', key => $rsa));
}
invalid('no kid, several keys fit none',
        jws_raw({ alg => 'RS256' }, claims(), alg => 'RS256', key => $mine));
log_unlike(qr/X-Evil/, 'no kid in the log');
log_unlike(qr/kkkkkkkk/, 'not a long one either') if !nginx_has_debug();


# --- signatures

my ($header, $payload, $signature) = split /\./, $good;
invalid('an empty signature', "$header.$payload.");
invalid('another payload', join('.', $header,
        b64u(JSON::PP->new->encode(claims(sub => 'bob'))), $signature));
invalid('another header', join('.', b64u('{"alg":"RS256","a":1}'), $payload,
                               $signature));
invalid('a signature cut', substr($good, 0, -4));
invalid('a signature longer', $good . 'AAAA');
invalid('another key', jwt({}, key => $mine));
invalid('PKCS1 as PSS', jws_raw({ alg => 'PS256', kid => 'rsa-default' },
        claims(%many), alg => 'RS256', key => $rsa), uri => '/many/');

my %es = (header => { alg => 'ES256', kid => $ec->{kid} },
          claims => claims(%many));
my $input = join '.', map { b64u(JSON::PP->new->encode($_)) }
                      $es{header}, $es{claims};
my $raw = $ec->{object}->sign_message_rfc7518($input, 'SHA256');
my $n = pack('H*', 'ffffffff00000000ffffffffffffffff'
                   . 'bce6faada7179e84f3b9cac2fc632551');
my %bad = (
    DER => $ec->{object}->sign_message($input, 'SHA256'),
    'all zero' => "\0" x 64,
    'r zero' => "\0" x 32 . substr($raw, 32),
    's zero' => substr($raw, 0, 32) . "\0" x 32,
    'r = n' => $n . substr($raw, 32), 's = n' => substr($raw, 0, 32) . $n,
    short => substr($raw, 0, 63), long => "$raw\0", half => substr($raw, 0, 32),
);
accepted('ES256 by hand', "$input." . b64u($raw), '/many/');
invalid("ES256, $_", "$input." . b64u($bad{$_}), uri => '/many/')
    for sort keys %bad;


# --- form

invalid('one part', 'x');
invalid('two parts', "$header.$payload");
invalid('four parts', "$good.x");
invalid('five parts', "$header..$payload.$signature.x");
invalid('empty parts', '..');
invalid('padding', "$header=.$payload.$signature");
invalid('padding of the signature', "$good==");
invalid('standard base64', "$header.$payload."
        . '+' . substr($signature, 1));
invalid('white space in it', "$header.$payload. $signature");
invalid('two tokens', "$good $good");
invalid('trailing bits', do {
    my $last = substr($signature, -1);
    my @set = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_');
    my ($at) = grep { $set[$_] eq $last } 0 .. 63;
    substr($good, 0, -1) . $set[$at ^ 1];
});
invalid('brackets', b64u('[' x 6000) . ".$payload.$signature");
invalid('a hundred thousand brackets',
        b64u('[' x 100000) . ".$payload.$signature");
invalid('nested claims', jws_raw({ alg => 'RS256' },
        '{"a":' . '[' x 2000 . ']' x 2000 . '}', alg => 'RS256',
        key => $rsa));
for my $case (['duplicate alg', '{"alg":"none","alg":"RS256"}', claims()],
              ['duplicate sub', { alg => 'RS256' },
               JSON::PP->new->encode(claims()) =~ s/^\{/{"sub":"bob",/r],
              ['crit', { alg => 'RS256', crit => ['exp'] }, claims()],
              ['crit, empty', { alg => 'RS256', crit => [] }, claims()],
              ['b64 false', { alg => 'RS256', b64 => JSON::PP::false },
               claims()],
              ['header no object', '[]', claims()],
              ['header no JSON', 'alg', claims()],
              ['claims no object', { alg => 'RS256' }, '[]'],
              ['claims no JSON', { alg => 'RS256' }, 'x'],
              ['claims twice', { alg => 'RS256' }, '{}{}'],
              ['claims no UTF-8', { alg => 'RS256' }, "{\"sub\":\"\xff\"}"])
{
    my ($name, $h, $p) = @$case;
    invalid($name, jws_raw($h, $p, alg => 'RS256', key => $rsa));
}

# as long as may be, and more
sub of_length {
    my ($length) = @_;

    for my $typ ('J', 'JW', 'JWT') {
        for my $n (0 .. 8) {
            my $pad = $length - length jwt({ pad => '' });
            my $token = jwt({ pad => 'x' x (int($pad * 3 / 4) - 4 + $n) },
                            header => { typ => $typ });
            return $token if length $token == $length;
        }
    }

    die "no token of $length bytes\n";
}

accepted('8192 bytes', of_length(8192));
invalid('8193 bytes', of_length(8193));
invalid('8193 bytes, whatever they are', 'x' x 8193);


# --- claims

for my $case (
    ['no iss', iss => undef], ['another iss', iss => 'https://evil/'],
    ['iss without its slash', iss => 'https://login.example.com'],
    ['iss in capitals', iss => 'HTTPS://login.example.com/'],
    ['iss, a list', iss => ['https://login.example.com/']],
    ['no aud', aud => undef], ['another aud', aud => 'api://searc'],
    ['aud, a part', aud => 'api://search/x'], ['aud, empty', aud => []],
    ['aud, a number', aud => 1], ['aud, mixed', aud => ['api://search', 1]],
    ['aud, an object', aud => { 'api://search' => 1 }],
    ['no exp', exp => undef], ['exp, text', exp => $now + 600 . ''],
    ['exp, negative', exp => -1], ['exp, null', exp => \'null'],
    ['exp, a list', exp => [$now + 600]],
    ['nbf ahead', nbf => $now + 600], ['iat ahead', iat => $now + 600],
    ['nbf, text', nbf => 'x'], ['iat, text', iat => 'x'],
    ['nbf, negative', nbf => -1],
    ['no sub', sub => undef], ['sub, empty', sub => ''],
    ['sub, a list', sub => ['alice']], ['sub, true', sub => JSON::PP::true],
    ['sub, with a line feed', sub => "a\nb"],
    ['sub, with a NUL', sub => "a\0b"])
{
    my ($name, $claim, $value) = @$case;
    my %claims = %{claims()};
    $claims{$claim} = $value;
    my $text;
    if (!defined $value) {
        delete $claims{$claim};
        $text = JSON::PP->new->encode(\%claims);
    } elsif (ref $value eq 'SCALAR') {
        delete $claims{$claim};
        $text = JSON::PP->new->encode(\%claims)
                =~ s/^\{/{"$claim":$$value,/r;
    } else {
        $text = JSON::PP->new->encode(\%claims);
    }
    invalid($name, jws_raw({ alg => 'RS256' }, $text, alg => 'RS256',
                           key => $rsa));
}
for my $exp ("$now.5", '1e300', '1700000000.5', '1e10', '99999999999999999999',
             '-0.0', '18446744073709551616', '9223372036854775808')
{
    my $text = JSON::PP->new->encode(claims(exp => undef))
               =~ s/^\{/{"exp":$exp,/r;
    invalid("exp $exp", jws_raw({ alg => 'RS256' }, $text, alg => 'RS256',
                                key => $rsa));
}
for my $case ([{ tid => 't' }], [{ profile => { login => 'a' } }],
              [{ profile => { login => '' }, tid => 't' }],
              [{ profile => { login => 'a' }, tid => '' }],
              [{ profile => 'login', tid => 't' }],
              [{ profile => { login => 'a' }, tid => ['t'] }])
{
    invalid('user or tenant absent or empty', jwt($case->[0]),
            uri => '/tenants/');
}


# --- time

invalid('expired', jwt({ exp => $now - 1 }), result => 'token-expired');
invalid('expired in 1970', jwt({ exp => 0 }), result => 'token-expired');
invalid('expired, signed by another', jwt({ exp => $now - 1 }, key => $mine));
# of a token that was never good here it matters that it is not, and nothing
# more
invalid('expired, for another audience',
        jwt({ exp => $now - 1, aud => 'api://other' }));
invalid('expired, and not valid yet',
        jwt({ exp => $now - 1, nbf => $now + 60 }));
invalid('expired, without a user', jwt({ exp => $now - 1, sub => undef }));
accepted('expired within leeway', jwt({ %many, exp => $now - 30 }), '/many/');
accepted('nbf within leeway', jwt({ %many, nbf => $now + 30 }), '/many/');
accepted('iat within leeway', jwt({ %many, iat => $now + 30 }), '/many/');
invalid('expired beyond leeway', jwt({ %many, exp => $now - 90 }),
        uri => '/many/', result => 'token-expired');
invalid('nbf beyond leeway', jwt({ %many, nbf => $now + 120 }),
        uri => '/many/');

# every hit looks at the clock
my $brief = jwt({ exp => time() + 2 });
accepted('a brief one', $brief);
accepted('remembered', $brief);
wait_for(sub { get('/plain/', token => $brief)->status() == 401 },
         'the token to expire');
invalid('and over when its time is', $brief, result => 'token-expired');

my @wrong = grep { ($_->{headers}{authorization} // '') !~ /^bearer /i }
            $up->requests();
is(@wrong, 0, 'whatever came through was somebody\'s');
secrets_absent('no token in a log', $good, $signature, $brief);

done_testing();
