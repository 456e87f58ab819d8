# A store that would not keep new tokens is found out before a refresh token is
# spent on them.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Nodes;
use TI::Rotator;
use TI::Test;

needs_module();

my $idp = rotator();

redis_start();
my @nodes = nodes_start(blocks(
    store => 'local_valid 2s;', provider => $idp->party(timeout => '1s')
) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        access_log  off;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
    }
CONF

my $serial = 0;

# while it refuses: nothing is spent; once it is well, one call each
sub refuses {
    my ($name, $begin, $end, %opt) = @_;

    my $ended = person('ended' . ++$serial);
    my $due = person("due$serial");
    $idp->connect($ended, left => -1);
    $idp->connect($due, left => 60);
    $idp->forget();
    $begin->();

    my $began = time();
    my @ended = burst([map { [$ended, '/', $nodes[$_ % 2]->port()] } 1 .. 10]);
    my @due = $opt{deaf} ? ()
              : burst([map { [$due, '/', $nodes[$_ % 2]->port()] } 1 .. 10]);

    is(scalar(grep { result_of($_) eq 'store-unavailable'
                     && $_->{status} == 503
                     && $_->{head} =~ /^retry-after: \d/mi } @ended), 10,
       "$name: no token, and it says why")
        or diag(join ' ', map { result_of($_) } @ended);
    is(scalar(grep { result_of($_) eq 'ok' } @due), scalar(@due),
       'what is good is used') if @due;
    sleep(0.3);
    is($idp->calls(), 0, 'and the provider is not asked');
    cmp_ok(time() - $began, '<', 8 * patience(), 'in bounded time');

    $end->();

    for my $p ($ended, $due) {
        wait_for(sub {
            my ($r) = burst([[$p, '/', $nodes[$serial % 2]->port()]]);
            result_of($r) eq 'ok' && $p->connection()->{hash}{gen} == 2;
        }, "the token of $p->{sub}", 10);
    }
    is($idp->calls(), 2, 'well again: one call each');
}

sub config { my @set = @_; return sub { redis('CONFIG', 'SET', @set) } }
sub acl { my @set = @_; return sub { redis('ACL', 'SETUSER', 'default',
                                           @set) } }

refuses('a replica',
        sub { redis('REPLICAOF', '127.0.0.1', port('nobody')) },
        sub { redis('REPLICAOF', 'NO', 'ONE') });
refuses('memory is full', config('maxmemory', 1), config('maxmemory', 0));
refuses('too few replicas', config('min-replicas-to-write', 1),
        config('min-replicas-to-write', 0));
refuses('no right to write', acl('-set', '-hset', '-del', '-@scripting'),
        acl('+@all'));
refuses('no right to publish', acl('-publish'), acl('+publish'));
refuses('no right to run a script', acl('-eval'), acl('+eval'));
refuses('it hangs', \&redis_pause, \&redis_resume, deaf => 1);

is(@{$idp->stats()->{revoked}}, 0, 'no refresh token was used up twice');
nodes_quiet('nothing alarming on either node');
done_testing();
