# Refreshed tokens whose store is away when they come: they reach it, by
# whichever worker or nginx, and the refresh token that is still there is not
# spent before that.  The provider revokes everything if it is.

use strict;
use warnings;

use TI::Consent;
use TI::Journal;
use TI::Rotator;
use TI::Test;

needs_module();

my $idp = rotator();
my $vendor = vendor();
spool();

my $text = blocks(store => 'spool spool; local_valid 0;',
                  provider => $idp->party()) . <<'CONF';
    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
    }
CONF

redis_start();
nginx_start($text, workers => 2);

my $n = 0;

# somebody whose tokens were refreshed while the store was away
sub refreshed {
    my $person = person('p' . ++$n);

    $idp->forget();
    $idp->connect($person, left => -1);
    $idp->fault({ hold => "held$n" }, account => $person->{sub});

    my $c = connection();
    $c->send(TI::Http::http_bytes('GET', '/', as => $person));
    $idp->wait_calls(1);

    redis_pause();
    kept(sub { $idp->release("held$n") });

    return ($person, $c);
}

# twenty requests find the new token, once no worker takes the store for away
# any more, and the provider was asked once
sub is_well {
    my ($person, $name) = @_;

    my %seen;

    wait_for(sub {
        %seen = ();
        $seen{$_->status() == 200 ? 'token ' . $_->json()->{n} : result($_)}++
            for parallel(map { ['GET', "/$_", as => $person, timeout => 20] }
                             1 .. 20);
        !grep { /store-unavailable/ } keys %seen;
    }, 'the store', 10);
    is(join(', ', map { "$seen{$_} of $_" } sort keys %seen), '20 of token 2',
       $name);
    is($idp->calls(), 1, 'the provider was asked once');
    is($person->connection()->{refresh}{token},
       $idp->account($person->{sub})->{refresh}, 'its refresh token is kept');
}

sub result { $_[0]->status() . ' ' . ($_[0]->json()->{type} // '') }


# --- it comes back

my ($person, $c) = refreshed();
redis_resume();
is($c->response()->status(), 200, 'away for a moment: who waits hears of it');
is_well($person, 'and all others');


# --- its worker is killed meanwhile

($person) = refreshed();
my %old = map { $_ => 1 } nginx_workers();
nginx_kill('KILL', $_) for keys %old;
wait_for(sub { (grep { !$old{$_} } nginx_workers()) == 2 }, 'new workers');
redis_resume();
is_well($person, 'its worker was killed');
expect_log(qr/exited on signal 9/);


# --- nginx is reloaded, and its worker killed

($person) = refreshed();
%old = map { $_ => 1 } nginx_workers();
nginx_reload();
nginx_kill('KILL', $_) for keys %old;
redis_resume();
is_well($person, 'a reload, and its worker was killed');


# --- nginx ends

($person) = refreshed();
nginx_stop('TERM');
ok(scalar(spooled()), 'nginx ends: there is a file');
redis_resume();
nginx_start($text, workers => 2);
is_well($person, 'nginx and the store are there again');
wait_for(sub { !spooled() }, 'the file to go');

($person) = refreshed();
nginx_stop('TERM');
nginx_start($text, workers => 2);
my $early = connection();
$early->send(TI::Http::http_bytes('GET', '/', as => $person));
ok(!$early->closed(0.2), 'nginx is there again, and the store is not yet');
redis_resume();
is_well($person, 'then it is');
wait_for(sub { !spooled() }, 'the file to go');

is_deeply($idp->stats()->{revoked}, [], 'nothing was revoked');

done_testing();
