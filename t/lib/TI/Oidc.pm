package TI::Oidc;

# Issuers that are real OpenID providers, npm's oidc-provider run by
# t/oidc/issuer.mjs, with keys of their own that a test changes.
#
#     my $corp = oidc('corp', keys => ['k1']);
#
#     $corp->url()                %%OIDC_corp%%, the issuer
#     $corp->token('alice')       of somebody who signed in
#     $corp->own_token('robot')   a client's own: robot, alice or bob; with
#                                 dpop => 1 it is bound to a key (RFC 9449)
#     $corp->keys('k2', 'k1')     its keys from now on, the first one signs
#     $corp->requests()           URIs that nginx asked for since forget()
#     $corp->fetches()            how many of them for its keys
#     $corp->stop()  start()      the process; start() may change its keys
#
# It can be a third party as well, of which nginx is a client:
#
#     my $vendor = oidc('vendor', clients => [{ client_id => … }], scopes =>
#                       [qw(openid offline_access)], routes => { … },
#                       accessTokenTTL => 60, service => 1,
#                       exchanges => $corp->url());
#
#     $vendor->browse($url, $redirect_uri, 'alice')
#                                 what alice's browser comes back with, a hash
#                                 reference, having signed in and consented;
#                                 consent => 'no' declines
#     $vendor->endpoint('token')  its URL, as the discovery document says
#     $vendor->introspect($token) what it says of it
#     $vendor->delay('/token' => 200)  milliseconds, from now on
#     $vendor->seen()             requests() in more detail: { method, url,
#                                 authorization }, of this the scheme alone
#     $vendor->calls()            what the service was asked since forget():
#                                 { method, url, head, authorization, who };
#                                 %%SERVICE_vendor%% is its address, and
#                                 fingerprint(token) what authorization is
#
# A key is named KID or [KID, ALG], RS256 by default; a KID is the same key
# throughout the test.  Access tokens are of typ at+jwt, for api://search, with
# client_id search-page or the client's own name, and with the claims of
# accounts => { alice => { … } }.  More of oidc(): path => '/x' of the issuer,
# algorithms => [what it says it signs with], admins => [accounts].

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Exporter qw(import);
use JSON::PP ();
use Test::More ();

use TI::Browser ();

use TI::Env qw(root testdir write_file port define spawn alive end_process
               at_end wait_for diagnose_with);
use TI::Http;

our @EXPORT = qw(oidc needs_oidc fingerprint);

my $json = JSON::PP->new->utf8->canonical;


# at the top of a test: skips it where there is no oidc-provider
sub needs_oidc {
    return if -d root() . '/demo/node_modules/oidc-provider'
              && !system('command -v node >/dev/null');
    Test::More::plan(skip_all => 'no oidc-provider is installed');
}

sub oidc {
    my ($name, %opt) = @_;

    my $p = bless {
        name => $name, seen => 0, called => 0, path => '', admins => [],
        accounts => { alice => {}, bob => {} }, keys => ['k1'], %opt,
        port => port("oidc-$name"), control => port("oidc-$name-control"),
    }, __PACKAGE__;

    define("OIDC_$name" => $p->url());
    if ($p->{service}) {
        $p->{service} = port("oidc-$name-service");
        define("SERVICE_$name" => "127.0.0.1:$p->{service}");
    }
    diagnose_with(testdir() . "/oidc-$name.log");
    $p->start();
    at_end(sub { $p->stop() });

    return $p;
}

sub url { "http://127.0.0.1:$_[0]{port}$_[0]{path}" }

sub start {
    my ($p, @keys) = @_;

    $p->{keys} = \@keys if @keys;
    $p->{seen} = $p->{called} = 0;

    my %admin = map { $_ => 1 } @{$p->{admins}};
    my $file = write_file("oidc-$p->{name}.json", $json->encode({
        port => $p->{port} + 0, control => $p->{control} + 0,
        path => $p->{path}, keys => _keys(@{$p->{keys}}),
        accounts => {
            map { $_ => { claims => $p->{accounts}{$_},
                          password => _password($_),
                          admin => $admin{$_} ? JSON::PP::true
                                              : JSON::PP::false } }
                CORE::keys %{$p->{accounts}}
        },
        $p->{service} ? (service => $p->{service} + 0) : (),
        map { $p->{$_} ? ($_ => $p->{$_}) : () }
            qw(algorithms clients scopes routes accessTokenTTL exchanges),
    }));

    $p->{pid} = spawn(testdir() . "/oidc-$p->{name}.log", 'node',
                      root() . '/t/oidc/issuer.mjs', $file);
    wait_for(sub {
        die "the issuer $p->{name} did not start\n" if !alive($p->{pid});
        http('GET', '/requests', port => $p->{control})->status() == 200;
    }, "the issuer $p->{name}", 30);
}

sub stop {
    my ($p) = @_;

    end_process($p->{pid}, 'TERM') if $p->{pid};
    undef $p->{pid};
}

sub keys {
    my ($p, @keys) = @_;

    $p->{keys} = \@keys;
    $p->_control('PUT', '/keys', _keys(@keys));
}

sub token {
    my ($p, $account) = @_;

    return $p->_control('POST', '/token', { account => $account })
             ->{access_token};
}

sub own_token {
    my ($p, $client, %opt) = @_;

    return $p->_control('POST', '/token', { client => $client, %opt })
             ->{access_token};
}

sub requests {
    my ($p) = @_;

    my @all = @{$p->_control('GET', '/requests')};

    return @all[$p->{seen} .. $#all];
}

sub seen {
    my ($p) = @_;

    my @all = @{$p->_control('GET', '/seen')};

    return @all[$p->{seen} .. $#all];
}

sub fetches { scalar(grep { m{/jwks$} } $_[0]->requests()) }

sub forget {
    my ($p) = @_;

    my @asked = $p->requests();
    $p->{seen} += @asked;

    return if !$p->{service};
    my @called = $p->calls();
    $p->{called} += @called;
}

sub calls {
    my ($p) = @_;

    my @all = @{$p->_control('GET', '/calls')};

    return @all[$p->{called} .. $#all];
}

sub fingerprint { sha256_hex("Bearer $_[0]") }

sub introspect { $_[0]->_control('POST', '/introspect', { token => $_[1] }) }

sub delay {
    my ($p, %paths) = @_;

    $p->_control('PUT', '/delay', \%paths);
}

sub endpoint {
    my ($p, $name) = @_;

    $p->{document} //= http(
        'GET', "$p->{path}/.well-known/openid-configuration",
        port => $p->{port}, host => "127.0.0.1:$p->{port}",
        headers => ['User-Agent: a browser'])->json();

    return $p->{document}{"${name}_endpoint"};
}

sub browse {
    my ($p, $url, $redirect_uri, $account, %fields) = @_;

    return TI::Browser::browse($url, $redirect_uri, account => $account,
                               password => _password($account), %fields);
}

sub _password { "the password of $_[0]" }

sub _keys {
    return [map { my ($kid, $alg) = ref $_ ? @$_ : ($_);
                  { kid => $kid, alg => $alg // 'RS256' } } @_];
}

sub _control {
    my ($p, $method, $uri, $body) = @_;

    my $r = http($method, $uri, port => $p->{control},
                 body => $body ? $json->encode($body) : '');
    die "the issuer $p->{name}: ", $r->body() || $r->error(), "\n"
        if $r->status() != 200;

    return $json->decode($r->body());
}


1;
