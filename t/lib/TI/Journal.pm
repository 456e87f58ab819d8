package TI::Journal;

# Tokens that were granted, and a store that is not there for them.
#
#     my $vendor = vendor();      a third party; its code may be spent once
#     nginx_start(journal_conf(store => 'spool spool;'));
#     my $c = granted($alice, $vendor, sub { redis_kill() });
#                                 alice's code was sent on connection $c and
#                                 spent, the sub ran, and then the tokens came
#     kept(sub { … })             runs it, and returns when something more is
#                                 in the journal
#     is_stored($alice, 'name')   they are in the store, before long
#     my @files = spooled()       names in the directory "spool"
#     my $dir = spool()           it, made empty

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();
use Test::More ();
use Time::HiRes qw(sleep);

use TI::Consent;
use TI::Test;

our @EXPORT = qw(vendor journal_conf granted kept is_stored spool spooled);

my ($n, %token) = 0;


sub vendor { upstream({ '/token' => { status => 400, body => 'too early' } }) }

# blocks(), and a server with the API, and with more where it is said
sub journal_conf {
    my (%more) = @_;

    my $server = delete $more{server} // '';

    return blocks(
        %more,
        provider => <<'EOF' . ($more{provider} // ''),
    authorization_endpoint  http://%%UPSTREAM%%/authorize;
    token_endpoint          http://%%UPSTREAM%%/token;
    client_id               client;
    client_auth             none;
    redirect_uri            https://search.example.com/connected;
    allow_http              on;
EOF
    ) . <<"EOF";
server {
    listen      127.0.0.1:%%PORT%%;
    token_auth  corp;

    location /connections { token_connections; }
    $server
}
EOF
}

sub granted {
    my ($person, $vendor, $meanwhile) = @_;

    my $url = api('POST', '/outlook', $person)->json()->{authorization_url};
    my ($state) = $url =~ /[?&]state=([\w-]{43})/;

    $n++;
    $token{$person} = { access => "access-$n", refresh => "refresh-$n" };
    $vendor->answer('/token' => { hold => "token$n", json => {
        token_type => 'Bearer', expires_in => 3600,
        map { ("${_}_token" => $token{$person}{$_}) } qw(access refresh),
    } });

    my $c = connection();
    $c->send(TI::Http::http_bytes(
        'POST', '/connections/outlook/code', as => $person,
        body => JSON::PP::encode_json({ code => "code-$n", state => $state }),
        headers => ['Content-Type: application/json']));

    my $calls = $n;
    wait_for(sub { $vendor->calls() >= $calls }, 'the code to be spent');
    $meanwhile->();
    kept(sub { $vendor->release("token$n") });

    return $c;
}

sub _entries { log_count(qr/journal of "vault": kept/) }

# without the log's word for it, time must do
sub kept {
    my ($begin) = @_;

    my $before = _entries();
    $begin->();

    return sleep(0.3 * patience()) if !nginx_has_debug();

    wait_for(sub { _entries() > $before }, 'an entry');
}

sub is_stored {
    my ($person, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $kept = wait_for(sub { eval { $person->connection() } }, 'tokens', 10);
    my $want = $token{$person};

    return Test::More::is(
        "$kept->{access}{token} $kept->{refresh}{token}",
        "$want->{access} $want->{refresh}", $name);
}

sub spool {
    my $dir = testdir() . '/spool';

    mkdir($dir, 0700) or die "spool: $!\n";

    return $dir;
}

sub spooled {
    my $dir = testdir() . '/spool';

    opendir(my $dh, $dir) or die "spool: $!\n";

    my @files = sort grep { !/^\.\.?$/ } readdir($dh);

    return @files;
}


1;
