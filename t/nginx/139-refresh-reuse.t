# A refresh token that was replaced is kept, sealed, for as long as its provider
# takes it again; and where the one that replaced it is refused for good, it is
# tried once.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $n = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;
    my ($token) = $request->{body} =~ /refresh_token=([^&]+)/;

    return { status => 400, json => { error => 'invalid_grant' } }
        if $token =~ /^dead/;
    return { status => 503, body => '' } if $token =~ /^down/;

    return { $token =~ /^slow/ ? (hold => 'slow') : (),
             json => { access_token => "access-$token",
                       token_type => 'Bearer', expires_in => 3600,
                       $token =~ /^stays/ ? ()
                           : (refresh_token => "after-$token") } };
});

redis_start();
nginx_start(blocks(store => 'local_valid 0;') . join('', map { <<"CONF" }
token_provider $_->[0] {
    store                   vault;
    authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
    token_endpoint          http://%%UPSTREAM_idp%%/token;
    client_id               me;
    client_auth             none;
    redirect_uri            https://search.example.com/connected;
    allow_http              on;
    $_->[1]
}
CONF
    ['takes', 'refresh_reuse 10m;'], ['refuses', '']) . <<'CONF');
    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /takes/ {
            token_inject  takes;
            proxy_pass    http://%%UPSTREAM%%;
        }
        location /refuses/ {
            token_inject  refuses;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

# somebody whose access token has ended: refresh token, and the one before it
sub connected {
    my ($provider, $refresh, $previous, $until) = @_;

    my $person = person('p' . ++$n);
    my %ref = (who => $person->who(), user_key => $person->user_key(),
               provider => $provider, gen => 3,
               cid => substr("cid$n" . 'A' x 22, 0, 22));

    $person->connect("old-$n", %ref, refresh => $refresh,
                     expires => time() - 5, fields => {
        previous => defined $previous
            ? record_seal(%ref, kind => 'previous', token => $previous,
                          expires => $until // time() + 60)
            : undef,
    });

    return $person;
}

sub bearer {
    my ($person, $provider) = @_;

    my $r = get("/$provider/", as => $person);

    return $r->status() == 200 ? $r->json()->{headers}{authorization}
                               : $r->json()->{type};
}

sub asked {
    return join ' ', map { $_->{body} =~ /refresh_token=([^&]+)/ }
                     $idp->requests();
}

# the token that is kept for another try, and for how long
sub previous {
    my ($person, $provider) = @_;

    my $hash = $person->connection(provider => $provider)->{hash};
    return 'none' if !defined $hash->{previous};

    my $record = record_open($hash->{previous}, kind => 'previous',
                             who => $person->who(),
                             user_key => $person->user_key(),
                             provider => $provider, gen => $hash->{gen},
                             cid => $hash->{cid});

    return ($record->{token}, $record->{outer}{exp} - time());
}


# --- what is kept

my $alice = connected('takes', 'first');
is(bearer($alice, 'takes'), 'Bearer access-first', 'refreshed');
my ($token, $left) = previous($alice, 'takes');
is($token, 'first', 'the one that was used is kept');
ok($left > 570 && $left <= 600, 'for ten minutes');
is($alice->connection(provider => 'takes')->{refresh}{token}, 'after-first',
   'beside the new one');

my $bob = connected('refuses', 'first');
is(bearer($bob, 'refuses'), 'Bearer access-first', 'another provider');
is(previous($bob, 'refuses'), 'none', 'takes none again: it is not kept');

my $carol = connected('takes', 'stays');
is(bearer($carol, 'takes'), 'Bearer access-stays', 'refreshed');
is(previous($carol, 'takes'), 'none', 'the same one: there is no other');
is($carol->connection(provider => 'takes')->{refresh}{token}, 'stays',
   'it stays');


# --- where it is tried

$idp->forget();
my $dave = connected('takes', 'dead-1', 'good');
is(bearer($dave, 'takes'), 'Bearer access-good', 'refused, then the other one');
is(asked(), 'dead-1 good', 'each once');
is(join(' ', ($dave->connection(provider => 'takes')->{refresh}{token},
              (previous($dave, 'takes'))[0])), 'after-good good',
   'what is kept is the one that was taken');

$idp->forget();
my $erin = connected('takes', 'dead-1', 'dead-0');
is(bearer($erin, 'takes'), 'urn:ngx-token-injector:reconnect-required',
   'both refused');
bearer($erin, 'takes') for 1 .. 5;
is(asked(), 'dead-1 dead-0', 'each once, and never again');
is($erin->connection(provider => 'takes')->{hash}{state}, 'reconnect',
   'it is marked');
log_like(qr/\[info\].* a refresh brought no tokens of provider "takes", /
         . qr/reconnect-required: the provider says invalid_grant/,
         'and the log says that it was a refresh');

$idp->forget();
my $frank = connected('takes', 'dead-1', 'good', time() - 1);
is(bearer($frank, 'takes'), 'urn:ngx-token-injector:reconnect-required',
   'its time is over');
is(asked(), 'dead-1', 'it is not tried');

$idp->forget();
my $grace = connected('takes', 'down', 'good');
is(bearer($grace, 'takes'), 'urn:ngx-token-injector:provider-unavailable',
   'the provider is down');
is(asked(), 'down', 'and the other one is not for that');


# --- somebody consents anew meanwhile

$idp->forget();
my $heidi = connected('takes', 'slow');
my $c = connection();
$c->send(TI::Http::http_bytes('GET', '/takes/', as => $heidi));
$idp->wait_calls(1);
$heidi->connect('newer', provider => 'takes', gen => 4, refresh => 'newest');
$idp->release('slow');
is($c->response()->json()->{headers}{authorization}, 'Bearer newer',
   'who waits gets what is newer');
is($heidi->connection(provider => 'takes')->{refresh}{token}, 'newest',
   'which is not written over');
is($heidi->connection(provider => 'takes')->{hash}{gen}, 4, 'nor changed');

secrets_absent('no log shows one', 'first', 'good', 'dead-1', 'after-good');

done_testing();
