# One node, several workers: one of them fetches, all of them know; what a
# worker that dies had begun, another ends.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $idp = issuer(keys => [key('RS256', 'a')]);
my $slow = issuer('slow');
my $n = 0;

$slow->fault('/keys' => { hold => 'dead' });

nginx_start($slow->block('slow', <<'EOB2') . $idp->block('corp', <<'EOB')
    keys_uri           %%ISSUER_slow%%/keys;
    keys_min_interval  1s;
    keys_wait          10s;
    timeout            4s;
EOB2
    keys_uri           %%ISSUER%%/keys;
    keys_interval      2s;
    keys_min_interval  1s;
    timeout            2s;
EOB
            . <<'CONF', workers => 4, log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        add_header X-Worker $pid always;

        location / { token_auth corp; empty_gif; }
        location /slow { token_auth slow; empty_gif; }
    }
CONF

# asks until each worker has answered: { pid => [results] }
sub everywhere {
    my ($key) = @_;

    my %all;

    wait_for(sub {
        my $r = get('/', token => $idp->token({ jti => ++$n }, key => $key));
        $all{$r->header('x-worker')}{result($r)}++;
        return keys %all == 4;
    }, 'all workers', 20);

    return \%all;
}

sub only {
    my ($all, $result) = @_;

    return !grep { keys %$_ != 1 || !$_->{$result} } values %$all;
}

wait_for(sub { nginx_workers() == 4 }, 'four workers');
# a worker dies while it fetches: those of the others who wait are served in
# its time
my ($victim) = wait_for(sub {
    my @pids = who_talks_to($slow->port_number());
    @pids && \@pids;
}, 'a fetch')->@*;
my @waiting = map {
    my $c = connection();
    $c->send(http_bytes(GET => '/slow',
                        token => $slow->token({ jti => ++$n })));
    $c;
} 1 .. 24;

# answered by every worker, so each has seen those before
everywhere(key('RS256', 'a'));
$slow->fault('/keys' => undef);
expect_log(qr/worker process $victim exited on signal 9/);
nginx_kill('KILL', $victim);
my %served;
$served{$_->status()}++ for map { $_->response() } @waiting;
cmp_ok($served{200} // 0, '>', 0, 'keys came to the other workers');
is_deeply([grep { $_ != 200 && $_ != 0 } keys %served], [],
          'to all who waited there');
is($slow->calls('/keys'), 2, 'who was asked once more');
wait_for(sub { nginx_workers() == 4 }, 'another worker');
ok(only(everywhere(key('RS256', 'a')), 'ok'), 'it finds the keys there');

ok(only(everywhere(key('RS256', 'a')), 'ok'), 'every worker has the keys');

# fetches so far: one for each interval, not for each worker
my $began = ($idp->requests('/keys'))[0]{time};
$idp->wait_calls($idp->calls('/keys') + 2, '/keys', 15);
my @times = map { $_->{time} } $idp->requests('/keys');
is(scalar(grep { $times[$_] - $times[$_ - 1] < 1 } 1 .. $#times), 0,
   'one fetch for all') or diag("@times");

# a rotation reaches all of them
$idp->keys(key('RS256', 'b'));
$idp->wait_calls($idp->calls('/keys') + 2, '/keys', 10);
ok(only(everywhere(key('RS256', 'b')), 'ok'), 'the new key, everywhere');
ok(only(everywhere(key('RS256', 'a')), 'token-invalid'),
   'the old one nowhere');

# the end does not wait for a provider
$idp->fault('/keys' => { hold => 'never' });
my $calls = $idp->calls('/keys');
$idp->wait_calls($calls + 1, '/keys', 8);
my $began_end = time();
nginx_stop('QUIT');
cmp_ok(time() - $began_end, '<', 4 * patience(), 'QUIT while a fetch hangs');

done_testing();
