# The way out through a company's proxy: for http and https, not for whom
# no_proxy names, and never because an environment says so.

use strict;
use warnings;

use TI::Test;
use TI::Tls;
use TI::Watch;

needs_module();

my $forward = forward_proxy();
my $other = forward_proxy('OTHER');
my $n = 0;

# names that only the proxy knows
my %idp = (
    http => issuer('http', host => 'http.test'),
    https => issuer('https', host => 'https.test', tls => 1),
    found => issuer('found', host => 'found.test', tls => 1),
    direct => issuer('direct'),
    beside => issuer('beside', tls => 1),
);
my %more = (direct => 'no_proxy 10.0.0.1 127.0.0.1;',
            beside => 'no_proxy "*";');
my $blocks = '';
my $locations = '';

for my $name (sort keys %idp) {
    my $login = $name =~ /^http/ ? 'clerk:the-password@' : '';
    my $uri = $name eq 'found' ? '' : "keys_uri %%ISSUER_$name%%/keys;";

    $blocks .= $idp{$name}->block($name, <<"EOB");
        $uri
        http_proxy  http://$login%%FORWARD%%;
        keys_wait   2s;
        keys_interval 1s;
        keys_min_interval 1s;
        timeout 1s;
        @{[$more{$name} // '']}
EOB
    $locations .= "location /$name/ { token_auth $name; empty_gif; }\n";
}

my $alone = issuer('alone');
$blocks .= $alone->block('alone', 'keys_uri %%ISSUER_alone%%/keys;');

$ENV{$_} = 'http://' . $other->address()
    for qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY);

nginx_start(<<"CONF", log_level => 'info', main => <<'MAIN');
    $blocks
    server {
        listen 127.0.0.1:%%PORT%%;
        location / { return 200; }
        location /alone/ { token_auth alone; empty_gif; }
        $locations
    }
CONF
    env http_proxy;
    env https_proxy;
    env HTTPS_PROXY;
    env ALL_PROXY;
MAIN

sub fresh {
    my ($name) = @_;

    my $idp = $idp{$name} // $alone;

    return get("/$name/", token => $idp->token({ jti => ++$n }))->status();
}

is(fresh($_), 200, $_) for sort keys %idp;
is(fresh('alone'), 200, 'no proxy');

my %asked;
$asked{"$_->{method} $_->{target}"} = $_ for $forward->requests();

is_deeply([sort keys %asked], [sort
    'GET ' . $idp{http}->url('/keys'),
    map { 'CONNECT ' . substr($idp{$_}->url(), 8) } qw(https found),
], 'who was asked through the proxy');
is($other->calls(), 0, 'the environment is not asked');
is_deeply([grep { $asked{$_}{head} =~ /^(?:authorization|cookie):/mi }
           keys %asked], [], 'with nothing of the callers');
is_deeply([sort map { $_->{head} =~ /^Proxy-Authorization: (.*?)\r/m
                      ? "$_->{method} $1" : $_->{method} }
           values %asked],
          ['CONNECT', 'CONNECT Basic Y2xlcms6dGhlLXBhc3N3b3Jk',
           'GET Basic Y2xlcms6dGhlLXBhc3N3b3Jk'],
          'the proxy is told who asks, where it was said');
is(scalar(grep { $_->{headers}{'proxy-authorization'} }
          map { $_->requests() } values %idp), 0, 'the issuers are not');
is(($idp{https}->front()->handshakes())[0]{name}, 'https.test',
   'TLS is with the issuer');

# the proxy fails: what was fetched serves, and the log names the proxy
for (['407', qr/407/], ['403', qr/403/], ['hang', qr/time/],
     ['reset', qr/./])
{
    my ($mode, $wanted) = @$_;

    log_mark();
    $forward->mode($mode);
    for my $name (qw(http https)) {
        my $line = wait_for(sub {
            (grep { /\[warn\].*keys of issuer "$name"/ }
             split /\n/, log_since())[0]
        }, "$mode, $name", 8);
        like($line, qr/" .*$wanted.*; the present/, "$mode, $name: said");
        is(fresh($name), 200, "$mode, $name: serves");
    }
    $forward->mode('pass');
    log_mark();
    $forward->forget();
    wait_for(sub { $forward->calls() > 3 }, 'the proxy is asked again', 8);
}

$forward->stop();
log_mark();
wait_for(sub { log_since() =~ /keys of issuer "https": .*/ }, 'no proxy', 8);
is(fresh('https'), 200, 'a proxy that is gone');
is(fresh('direct'), 200, 'does not matter to who needs none');

secrets_absent('no password in the logs', 'the-password',
               'Y2xlcms6dGhlLXBhc3N3b3Jk');

# what "nginx -t" knows
for (['http_proxy ftp://127.0.0.1:3128;', 'http_proxy'],
     ['http_proxy http://;', 'http_proxy'],
     ['http_proxy "http://u:p@127.0.0.1:31 28";', 'http_proxy'])
{
    my ($line, $wanted) = @$_;
    my ($code, $out) = nginx_test(<<"CONF");
        token_issuer x {
            issuer https://x.example.com;
            audience a;
            $line
        }
        server { location / { token_auth x; } }
CONF
    is($code, 1, "nginx -t: $line") or diag($out);
    like($out, qr/$wanted.*nginx-test\.conf:\d+/, 'says which');
    unlike($out, qr/u:p/, 'without showing a password');
}

done_testing();
