# Replies of a token endpoint to a refresh, whatever they say or leave out; and
# what is in the store by the time that one comes.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Nodes;
use TI::Rotator;
use TI::Test;

needs_module();

my $idp = rotator(reuse => 600);

redis_start();
my @nodes = nodes_start(blocks(provider => $idp->party(timeout => '5s'))
    . join('', map {
        "token_provider again$_ {\n"
        . $idp->party(timeout => '5s', refresh_reuse => "${_}s") . "}\n"
    } 600, 1) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        access_log  off;
        token_auth  corp;

        location /outlook {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
        location /again600 {
            token_inject  again600;
            proxy_pass    http://%%ROTATOR%%;
        }
        location /again1 {
            token_inject  again1;
            proxy_pass    http://%%ROTATOR%%;
        }
    }
CONF

my $serial = 0;

# somebody whose token has ended
sub new_person {
    my (%opt) = @_;

    my $p = person('p' . ++$serial);
    $p->{put} = $idp->connect($p, left => -1, scope => 'Mail.Read Mail.Send',
                              %opt);
    $idp->forget();

    return $p;
}

sub ask {
    my ($p, $provider, $node) = @_;

    return (burst([[$p, '/' . ($provider // 'outlook'),
                    $nodes[$node // $serial % 2]->port()]]))[0];
}

sub stored { $_[0]->connection(provider => $_[1] // 'outlook') }

# until what is stored has ended
sub end_token {
    my ($p, $provider) = @_;

    my $end = stored($p, $provider)->{hash}{exp};
    wait_for(sub { time() > $end + 0.1 }, 'the end of a token', 10);
}

# renewed as it should be
sub renewed {
    my ($p, $name, $provider) = @_;

    my $before = stored($p, $provider)->{hash}{gen};
    my $r = ask($p, $provider);
    my $c = stored($p, $provider);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(result_of($r) . ' ' . ($c->{hash}{gen} - $before), 'ok 1', $name);

    return $c;
}


# --- what is left out

my $p = new_person();
$idp->set(life => 2);
$idp->fault('no_refresh', times => 1);
my $c = renewed($p, 'a reply without a refresh token');
is($c->{refresh}{token}, $idp->account($p->{sub})->{refresh},
   'the one that was there is kept');
is($c->{hash}{cid}, $p->{put}{cid}, 'it is the same consent');
is($c->{hash}{since}, $p->{put}{since}, 'of that time');
is($c->{hash}{scope}, 'Mail.Read Mail.Send', 'for that scope');
cmp_ok(abs($c->{hash}{exp} - time() - 2), '<=', 2, 'until its end');
is($c->{access}{outer}{exp}, $c->{hash}{exp}, 'which is sealed');
cmp_ok(abs($c->{access}{outer}{iat} - time()), '<', 5,
       'as is when it was given');
end_token($p);
$c = renewed($p, 'and serves for the next one');
is($c->{refresh}{token}, $idp->account($p->{sub})->{refresh},
   'which gives another');
ok(!exists $c->{hash}{previous}, 'the previous one is not kept');

$p = new_person();
$idp->fault('same_refresh', times => 1);
$c = renewed($p, 'the same refresh token again');
end_token($p);
renewed($p, 'which serves as well');

$idp->set(life => 3600);
$p = new_person();
$idp->fault({ reply => { expires_in => undef } }, times => 1);
$c = renewed($p, 'a reply that tells no life');
cmp_ok(abs($c->{hash}{exp} - time() - 3600), '<', 5, 'an hour, then');


# --- what is told

$p = new_person();
$idp->fault({ reply => { scope => 'Mail.Read' } }, times => 1);
$c = renewed($p, 'a reply that narrows the scope');
is($c->{hash}{scope}, 'Mail.Read', 'is believed');

for my $member (qw(refresh_token_expires_in refresh_expires_in)) {
    $p = new_person();
    $idp->fault({ reply => { $member => 5000 } }, times => 1);
    $c = renewed($p, "$member");
    my $life = redis('TTL', $p->{put}{name});
    cmp_ok(abs($life - 5000), '<', 10,
           'the connection ends with its refresh token');
}


# --- a refresh token that no record holds: nothing is lost on doubt

$p = new_person();
my $long = 'r' x 20_000;
my $kept = stored($p)->{refresh}{token};
$idp->set(life => 2);
$idp->fault({ reply => { refresh_token => $long } }, times => 1);
$c = renewed($p, 'a refresh token that is too long');
is($c->{refresh}{token}, $kept, 'the one that was there stays');
end_token($p);
renewed($p, 'and is tried again, which some providers take');


# --- meanwhile in the store

$idp->set(life => 3600);

# hold a call, do something, let it go: what is heard
sub meanwhile {
    my ($p, $fault, $do) = @_;

    my $door = "door$serial";
    $idp->fault({ %$fault, hold => $door }, times => 1, account => $p->{sub});
    my $client = connection(port => $nodes[$serial % 2]->port());
    $client->send(http_bytes(GET => '/outlook', as => $p));
    $idp->wait_calls(1);
    $do->();
    $idp->release($door);
    my $r = $client->response();
    $client->close();

    return $r->status();
}

my $refused = { answer => [400, { error => 'invalid_grant' }] };

for my $same (1, 0) {
    $p = new_person();
    my $put = $p->{put};
    is(meanwhile($p, $refused, sub {
           $idp->connect($p, left => 3600, gen => 2,
                         $same ? (cid => $put->{cid}) : ());
       }), 200, 'invalid_grant, but somebody stored '
                . ($same ? 'a newer generation' : 'a new consent'));
    $c = stored($p);
    is("$c->{hash}{state} $c->{hash}{gen}", 'connected 2', 'which is used');
    is(ask($p, undef, $_)->{json}{account}, $p->{sub}, 'by all') for 0, 1;
}

$p = new_person();
is(meanwhile($p, {}, sub {
       $idp->connect($p, left => 3600, gen => 2);
   }), 200, 'new tokens, but somebody consented anew');
$c = stored($p);
is($c->{hash}{gen}, 2, 'the consent stays');
isnt($c->{hash}{cid}, $p->{put}{cid}, 'as it was given');

$p = new_person();
is(meanwhile($p, {}, sub {
       redis('DEL', $p->{put}{name});
       redis('PUBLISH', 'ti:changes', $p->{put}{name});
   }), 403, 'new tokens, but the connection was removed');
sleep(0.5);
is(redis('EXISTS', $p->{put}{name}), 0, 'removed it stays');


# --- the previous one is tried once

$idp->set(life => 2);
$p = new_person(provider => 'again600');
$c = renewed($p, 'where it may be used again', 'again600');
ok(exists $c->{hash}{previous}, 'the previous refresh token is kept');
end_token($p, 'again600');
$idp->forget();
$idp->fault('invalid_grant', times => 1);
renewed($p, 'and serves when the newer one does not', 'again600');
is(join(' ', map { $_->{what} } $idp->log()), 'fault granted', 'two calls');

end_token($p, 'again600');
$idp->forget();
$idp->fault('invalid_grant', times => 2);
is(result_of(ask($p, 'again600')), 'reconnect-required', 'neither serves');
is($idp->calls(), 2, 'each was tried once');
is(stored($p, 'again600')->{hash}{state}, 'reconnect', 'the mark');
is(result_of(ask($p, 'again600', $_)), 'reconnect-required', 'final')
    for 0, 1;
is($idp->calls(), 2, 'and nobody asks again');

$p = new_person(provider => 'again1');
renewed($p, 'where it may be for a second', 'again1');
end_token($p, 'again1');
sleep(2.1);
$idp->forget();
$idp->fault('invalid_grant', times => 1);
is(result_of(ask($p, 'again1')), 'reconnect-required', 'not longer');
is($idp->calls(), 1, 'it is not tried');

is(@{$idp->stats()->{revoked}}, 0, 'no refresh token was used up twice');
nodes_quiet('nothing alarming on either node');
done_testing();
