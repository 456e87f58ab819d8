# https: whose certificate is what counts; http only where it was allowed.

use strict;
use warnings;

use TI::Test;
use TI::Tls;
use TI::Watch;

needs_module();

my $n = 0;
my $bundle = '/etc/ssl/certs/ca-certificates.crt';

# where a system has its own authorities, they do not know the test's
my %tls = (
    good => {},
    system => {},
    expired => { from => time() - 9000, until => time() - 60 },
    future => { from => time() + 3600 },
    unknown => { by => 'stranger' },
    wrong_name => { names => ['else.test'],
                    addresses => ['127.0.0.2'] },
    any_name => { names => ['*'], addresses => [] },
    turns => {},
    plain => undef,
);
delete $tls{system} if !-e $bundle;
my %idp = map { $_ => issuer($_, tls => $tls{$_}) } keys %tls;
my $untrusted = qr/authority that is not trusted here/;
my $name_of = qr/certificate for another name/;
my %why = (
    system => $untrusted,
    expired => qr/expired/, future => qr/not valid yet: check the clocks/,
    unknown => $untrusted,
    wrong_name => $name_of, any_name => $name_of,
    not_tls => qr/timed out in the TLS handshake/,
);

# by name too
my $named = issuer('named', tls => { addresses => [] }, host => 'localhost');

my $blocks = '';
my $locations = '';

for my $name (sort keys %idp) {
    my $lines = "keys_uri %%ISSUER_$name%%/keys; keys_wait 1s;"
                . 'keys_interval 1s; keys_min_interval 1s;'
                . ($name eq 'plain' ? 'allow_http on;'
                   : 'ssl_trusted_certificate %%TESTDIR%%/ca.pem;');

    my $block = $idp{$name}->block($name, $lines);
    $block =~ s/ssl_trusted_certificate \S+// if $name eq 'system';
    $blocks .= $block;
    $locations .= "location /$name/ { token_auth $name; empty_gif; }\n";
}

# TLS to a port that speaks none
$blocks .= $idp{plain}->block('not_tls', <<"EOB");
    keys_uri   https://@{[$idp{plain}->address()]}/keys;
    keys_wait  1s;
    timeout    700ms;
EOB
$blocks .= $named->block('named', 'keys_uri %%ISSUER_named%%/keys;');

sub conf {
    return <<"CONF";
        $blocks
        server {
            listen 127.0.0.1:%%PORT%%;
            location / { empty_gif; }
            location /not_tls/ { token_auth not_tls; empty_gif; }
            location /named/ { token_auth named; empty_gif; }
            $locations
        }
CONF
}

# an environment names nobody to be trusted
$ENV{$_} = authority() for qw(SSL_CERT_FILE CURL_CA_BUNDLE);
nginx_start(conf(), log_level => 'info',
            main => 'env SSL_CERT_FILE; env CURL_CA_BUNDLE;');

my @names = (sort keys %idp, 'not_tls', 'named');
my %of = (%idp, 'not_tls' => $idp{plain}, named => $named);
my %result;

{
    my @answers = parallel(map {
        [GET => "/$_/", token => $of{$_}->token()]
    } @names);
    @result{@names} = map { $_->status() } @answers;
}

is($result{$_}, 200, "$_: fetched") for qw(good turns plain named);
for my $name (sort grep { exists $result{$_} } keys %why) {
    is($result{$name}, 503, "$name: refused");
    my ($line) = grep { /\[error\].* keys of issuer "$name": / }
                 split /\n/, error_log();
    like($line // 'nothing',
         qr/"https:[^"]*" .*$why{$name}.*; there are none/,
         "$name: said why");
}
is($idp{$_}->calls(), 0, "$_: nothing was asked there")
    for qw(expired future unknown wrong_name any_name);
is(($named->front()->handshakes())[0]{name}, 'localhost',
   'the server is told the name');

# a certificate that was good
$idp{turns}->front()->certificate_is(
    certificate('turned', addresses => ['127.0.0.1'],
                until => time() - 1));
wait_log(qr/\[warn\].*keys of issuer "turns": .*expired.*the present/);
is(get('/turns/', token => $idp{turns}->token({ jti => 1 }))->status(), 200,
   'the old keys serve');
$idp{turns}->front()->certificate_is(
    certificate('turned', addresses => ['127.0.0.1']));
$idp{turns}->keys(key('RS256', 'b'));
wait_for(sub { get('/turns/', token => $idp{turns}->token(
                                           { jti => ++$n }))->status()
               == 200 }, 'its next certificate', 5);
pass('and the next certificate is good');

# what "nginx -t" knows
for (['http', "keys_uri http://127.0.0.1/keys;", 'allow_http|https'],
     ['ftp', "keys_uri ftp://127.0.0.1/keys;", 'URL that can be used'],
     ['file', "keys_uri file:///etc/passwd;", 'URL that can be used'],
     ['no such file', 'ssl_trusted_certificate %%TESTDIR%%/none.pem;',
      'none\.pem'],
     ['no certificate', "ssl_trusted_certificate $0;", '\.t'])
{
    my ($name, $line, $wanted) = @$_;
    my ($code, $out) = nginx_test(<<"CONF");
        token_issuer x {
            issuer https://x.example.com;
            audience a;
            $line
        }
        server { location / { token_auth x; } }
CONF
    is($code, 1, "nginx -t: $name");
    like($out, qr/$wanted.* in .*nginx-test\.conf:\d+/, 'says which');
}

# discovery of an http issuer
my ($code, $out) = nginx_test(<<'CONF');
    token_issuer x {
        issuer http://x.example.com;
        audience a;
    }
    server { location / { token_auth x; } }
CONF
is($code, 1, 'nginx -t: an issuer that would be asked over http');
like($out, qr/allow_http|https/, 'says what to do');

done_testing();
