package TI::Consent;

# A search page's part of the connections API, and a person's with it.
#
#     my $r = api('POST', '/outlook', $alice, body => { … }, port => n);
#                             one call below /connections, of whom said
#     my @list = connections($alice)
#                             what GET /connections lists
#     my $back = visit($alice, $vendor, provider => 'outlook')
#                             begins a consent and gives it at the provider's:
#                             what the browser came back with; account =>
#                             another than the caller's own, consent => 'no'
#     my $r = bring($alice, $back)
#                             brings that to the API
#     my $r = consent($alice, $vendor)
#                             both: a response of 201, or it dies
#
# where nothing else is said: provider => 'outlook', port => 0, redirect_uri =>
# CONNECTED, which a provider's block has too: party($vendor) is that block's
# lines, name => value for what is different, undef for what is left out.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use JSON::PP ();

use TI::Env qw(write_file);
use TI::Http;
use TI::Redis qw(redis);

our @EXPORT = qw(api connections visit bring consent party store_absent);

use constant CONNECTED => 'http://127.0.0.1/connected';

my $json = JSON::PP->new->utf8->canonical;


sub api {
    my ($method, $path, $person, %opt) = @_;

    my $body = delete $opt{body};
    my @headers = @{$opt{headers} || []};
    push @headers, 'Content-Type: application/json' if defined $body;

    return http($method, "/connections$path", %opt, as => $person,
                headers => \@headers,
                $method eq 'POST'
                    ? (body => !defined $body ? ''
                               : ref $body ? $json->encode($body) : $body)
                    : ());
}

sub connections {
    my ($person, %opt) = @_;

    my $r = api('GET', '', $person, %opt);
    croak 'GET /connections: ', $r->status(), ' ', $r->body()
        if $r->status() != 200;

    return @{$json->decode($r->body())->{connections}};
}

sub visit {
    my ($person, $vendor, %opt) = @_;

    my $path = '/' . ($opt{provider} // 'outlook') . ($opt{call} // '');
    my $r = api('POST', $path, $person, port => $opt{port} // 0);
    croak "POST /connections$path: ", $r->status(), ' ', $r->body()
        if $r->status() != 201;

    return $vendor->browse(
        $json->decode($r->body())->{authorization_url}, CONNECTED,
        $opt{account} // $person->{sub},
        defined $opt{consent} ? (consent => $opt{consent}) : ());
}

sub bring {
    my ($person, $back, %opt) = @_;

    my %said = map { $_ => $back->{$_} }
               grep { defined $back->{$_} }
               qw(code state iss error admin_consent);

    return api('POST', '/' . ($opt{provider} // 'outlook') . '/code', $person,
               port => $opt{port} // 0, body => \%said);
}

sub consent {
    my ($person, $vendor, %opt) = @_;

    my $r = bring($person, visit($person, $vendor, %opt), %opt);
    croak 'no consent: ', $r->status() || $r->error(), ' ', $r->body()
        if $r->status() != 201;

    return $r;
}

sub party {
    my ($vendor, %differ) = @_;

    my $secret = $differ{secret} // 'secret-of-the-injector';
    my %lines = (
        store => 'vault',
        authorization_endpoint => $vendor->endpoint('authorization'),
        token_endpoint => $vendor->endpoint('token'),
        revocation_endpoint => $vendor->endpoint('revocation'),
        client_id => 'injector', redirect_uri => CONNECTED,
        authorization_parameters => 'prompt=consent', allow_http => 'on',
        client_secret_file => '%%TESTDIR%%/injector.secret', %differ,
    );
    delete $lines{secret};

    write_file('injector.secret', "$secret\n", 0600);

    return join '', map { "$_ $lines{$_};\n" }
                    grep { defined $lines{$_} } sort keys %lines;
}


# store_absent(name, secrets): a test that nothing in Redis shows one of them
sub store_absent {
    my ($name, @secrets) = @_;

    my %read = (
        string => sub { redis('GET', @_) },
        hash => sub { @{redis('HGETALL', @_)} },
        zset => sub { @{redis('ZRANGE', @_, 0, -1)} },
    );
    my @all;

    for my $key (@{redis('KEYS', '*')}) {
        my $type = redis('TYPE', $key);
        push @all, $key, $read{$type} ? $read{$type}->($key)
                                      : croak "$key is a $type";
    }

    my @found = grep { my $secret = $_; grep { index($_, $secret) >= 0 } @all }
                @secrets;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    require Test::More;

    return Test::More::ok(@all && @secrets && !@found, $name);
}


1;
