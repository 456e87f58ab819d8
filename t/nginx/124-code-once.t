# A code is exchanged exactly once, and its tokens are stored, whatever becomes
# of the client that brought it.

use strict;
use warnings;

use Time::HiRes qw(sleep);

use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

use constant DELAY => 0.15;

my $vendor = oidc('vendor', scopes => [qw(openid offline_access Mail.Read)],
    clients => [{
        client_id => 'injector', client_secret => 'secret-of-the-injector',
        grant_types => ['authorization_code', 'refresh_token'],
        redirect_uris => [TI::Consent::CONNECTED],
    }]);
$vendor->delay('/token' => DELAY * 1000);

redis_start();
my $text = blocks(
    store => 'local_valid 0;',
    provider => party($vendor, scope => '"offline_access Mail.Read"',
                      timeout => '5s'),
) . <<'CONF';

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /connections {
            token_connections;
        }
    }
CONF
nginx_start($text);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r);

my $n = 0;

# somebody new, whose browser has just come back, and what is to be sent
sub arrival {
    my $person = person('alice', sub => 'alice' . ++$n);
    my $back = visit($person, $vendor, account => 'alice');
    my $body = JSON::PP::encode_json({ map { $_ => $back->{$_} }
                                       qw(code state iss) });
    $vendor->forget();

    return ($person, TI::Http::http_bytes(
        'POST', '/connections/outlook/code', as => $person, body => $body,
        headers => ['Content-Type: application/json']));
}

sub exchanges { scalar(grep { $_ eq '/token' } $vendor->requests()) }

# it was exchanged once, and what is stored is still good: a provider revokes
# what it gave for a code that comes twice
sub once {
    my ($person, $name) = @_;

    my $c = wait_for(sub { $person->connection() }, "$name: tokens", 5);
    is(exchanges() . ' ' . join(' ', map {
        $vendor->introspect($c->{$_}{token})->{active} ? $_ : ()
    } qw(access refresh)), '1 access refresh', $name);
}


# --- gone before the request is whole: nothing was spent

my ($person, $bytes) = arrival();
for my $sent (map { int(length($bytes) * $_ / 12) } 0 .. 11) {
    my $c = connection();
    $c->send(substr($bytes, 0, $sent));
    $c->abort();
}
my $c = connection();
$c->send(substr($bytes, 0, -1));
sleep(0.05);
$c->abort();
is(exchanges(), 0, 'gone before the last byte: nothing is exchanged');
is(http_raw($bytes)->status(), 201, 'and the code is still good');
once($person, 'then');


# --- gone after it

for my $after (0, 0.001, 0.005, 0.02, 0.05, 0.1, 0.14, 0.15, 0.16, 0.2) {
    for my $how ('close', 'abort') {
        my ($person, $bytes) = arrival();
        my $c = connection();
        $c->send($bytes);
        sleep($after);
        $c->$how();
        once($person, "$how after $after s");
    }
}


# --- brought twice

for my $port (0, 'there') {
    my ($person, $bytes) = arrival();
    my @c = (connection(), connection(port => $port));
    $_->send($bytes) for @c;
    my @results = map { my $r = $_->response();
                        $r->status() == 201 ? 'created' : result($r) } @c;
    is(join(' ', sort @results), 'created state-invalid',
       $port ? 'brought to two nodes at once' : 'brought twice at once');
    once($person, 'exchanged by one of them');

    is(result(http_raw($bytes)), 'state-invalid', 'and brought again');
    once($person, 'it is not exchanged again');
}


# --- nginx is told to go meanwhile

for my $what ('reload', 'quit') {
    my ($person, $bytes) = arrival();
    my $c = connection();
    $c->send($bytes);
    wait_for(sub { exchanges() }, 'the exchange', 5);
    my $gone = $n % 2;
    $c->abort() if $gone;
    $what eq 'reload' ? nginx_reload() : nginx_stop('QUIT');
    is($c->response()->status(), 201, "$what: it is answered") if !$gone;
    once($person, $what);
    nginx_start($text) if $what eq 'quit';
}

done_testing();
