# Discovery: where the document is, what it must say, and what may be left out
# of it.  One issuer for each case, told apart by its path.

use strict;
use warnings;

use TI::Test;
use TI::Tls;
use TI::Watch;

needs_module();

my $up = upstream();
my $http = issuer(keys => [key('RS256'), key('ES256')]);
my $https = issuer('safe', tls => 1);
my $url = $http->url();
my %document = (jwks_uri => "$url/keys");
my $unavailable = 'keys-unavailable';
my $other = qr/"issuer" in it is not this issuer/;
my $bad = qr/"jwks_uri" that is not a URL/;

# name, issuer's end, what the document says, or a whole answer, the result,
# and what the log says
my @cases = (
    ['plain', '', {}, 'ok'],
    ['slash', '/', {}, 'ok'],
    ['no-list', '', { id_token_signing_alg_values_supported => undef }, 'ok'],
    ['more-algorithms', '',
     { id_token_signing_alg_values_supported => [qw(none HS256 RS256 XX)] },
     'ok'],
    ['another-issuer', '', { issuer => "$url/plain" }, $unavailable,
     $other],
    ['no-slash', '/', { issuer => "$url/no-slash" }, $unavailable,
     $other],
    ['a-slash', '', { issuer => "$url/a-slash/" }, $unavailable, $other],
    ['case', '', { issuer => uc "$url/case" }, $unavailable, $other],
    ['no-issuer', '', { issuer => undef }, $unavailable, $other],
    ['issuer-number', '', { issuer => 1 }, $unavailable, $other],
    ['no-uri', '', { jwks_uri => undef }, $unavailable,
     qr/"jwks_uri" is absent/],
    ['ftp', '', { jwks_uri => 'ftp://127.0.0.1/keys' }, $unavailable,
     $bad],
    ['file', '', { jwks_uri => "file://@{[testdir()]}/keys" }, $unavailable,
     $bad],
    ['relative', '', { jwks_uri => '/keys' }, $unavailable, $bad],
    ['userinfo', '', { jwks_uri => "http://a:b\@127.0.0.1/keys" },
     $unavailable, $bad],
    ['no-trust', '', { jwks_uri => 'https://127.0.0.1/keys' }, $unavailable,
     qr/of https, and nobody is trusted.*set "ssl_trusted_certificate"/],
    ['control', '', { jwks_uri => "$url/keys\r\nX: y" }, $unavailable,
     $bad],
    ['no-common', '', { id_token_signing_alg_values_supported => ['ES256'] },
     $unavailable, qr/none of the allowed algorithms/],
    ['not-json', '', { body => '<html>' }, $unavailable, qr/JSON|document/],
    ['array', '', { body => '[]' }, $unavailable, qr/document|issuer/],
    ['twice', '',
     { body => qq({"issuer":"$url/twice","issuer":"$url/twice",)
               . qq("jwks_uri":"$url/keys"}) },
     $unavailable, qr/document|JSON/],
    ['missing', '', { status => 404 }, $unavailable, qr/answered 404/],
);

sub document_of {
    my ($name, $end, $says) = @_;

    return $says if exists $says->{body} || exists $says->{status};

    my %all = (%document, issuer => "$url/$name$end", %$says);
    delete @all{grep { !defined $all{$_} } keys %all};

    return { json => \%all };
}

my $blocks = '';
my $locations = '';

for (@cases) {
    my ($name, $end, $says) = @$_;

    $http->answer("/$name/.well-known/openid-configuration"
                  => document_of(@$_));
    $blocks .= <<"EOB";
        token_issuer $name {
            issuer      $url/$name$end;
            audience    api://search;
            algorithms  RS256;
            keys_wait   2s;
            allow_http  on;
        }
EOB
    $locations .= <<"EOB";
        location /$name/ {
            token_auth $name;
            proxy_pass http://%%UPSTREAM%%;
        }
EOB
}

# both algorithms are allowed, the document lists one
$http->document(id_token_signing_alg_values_supported => ['RS256']);
$blocks .= $http->block('narrowed', 'algorithms RS256 ES256;');
# a document over https that leads to http
$https->document(jwks_uri => $url . '/keys');
$blocks .= $https->block('downgrade', 'keys_wait 2s;');
$locations .= <<'EOB';
        location /narrowed/ {
            token_auth narrowed;
            proxy_pass http://%%UPSTREAM%%;
        }
        location /downgrade/ {
            token_auth downgrade;
            proxy_pass http://%%UPSTREAM%%;
        }
EOB

nginx_start($blocks
            . "server {\nlisten 127.0.0.1:%%PORT%%;\n$locations\n}\n");

my @answers = parallel(map {
    my ($name, $end) = @$_;
    [GET => "/$name/", token => jwt({ iss => "$url/$name$end" })]
} @cases);

for my $i (0 .. $#cases) {
    my ($name, $end, $says, $result, $log) = @{$cases[$i]};

    is(result($answers[$i]), $result, $name);
    next if !$log;
    my ($line) = grep { /\[error\].* keys of issuer "$name":/ }
                 split /\n/, error_log();
    like($line // 'nothing', $log, "$name: and the log says why");
}

is($http->calls('/keys'),
   1 + grep({ $_->[3] eq 'ok' } @cases), 'nobody was asked for other keys');

is(result(get('/narrowed/', token => $http->token())), 'ok',
   'an algorithm that both know');
is(result(get('/narrowed/', token => $http->token({}, alg => 'ES256',
                                                  key => key('ES256')))),
   'token-invalid', 'one that the document does not list');
is(result(get('/downgrade/', token => $https->token())), $unavailable,
   'https does not lead to http');
done_testing();
