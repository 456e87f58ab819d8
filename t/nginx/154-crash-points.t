# Somebody dies, at every moment of a renewal: a worker, the link to Redis, the
# token endpoint.  The old record is intact or the new one committed, the lock
# is free within its lease, and whoever asks next gets an answer.
#
# CRASHES=50 is the long form: each moment so often.  What it prints at the end
# is what docs/renewal.md says can't be saved.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Load;
use TI::Nodes;
use TI::Rotator;
use TI::Test;

needs_module();

my $crashes = $ENV{CRASHES} || 1;

use constant TIMEOUT => 1;                      # the provider's
use constant LEASE => TIMEOUT + 5;              # of the lock

# one revokes everything when a refresh token comes twice, one takes it again
my %idp = (hard => rotator(name => 'hard'),
           soft => rotator(name => 'soft', reuse => 86400));
my $proxy = proxy();

redis_start();
my @nodes = nodes_start(blocks(store => "server unix:%%PROXY_SOCK%%;\n")
                        . join('', map {
    "token_provider $_ {\n" . $idp{$_}->party(timeout => TIMEOUT . 's',
        refresh_reuse => $_ eq 'soft' ? '1d' : undef) . "}\n"
} sort keys %idp) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        access_log  off;
        token_auth  corp;

        location /hard/ {
            token_inject  hard;
            proxy_pass    http://%%ROTATOR_hard%%;
        }
        location /soft/ {
            token_inject  soft;
            proxy_pass    http://%%ROTATOR_soft%%;
        }
    }
CONF


my $lock = q{'PX'.*:l:};
my $write = q{EXPIREAT.*:c:};
my $release = q{^EVAL if redis.*'DEL'.*:l:};

# what; which command it is aimed at and how, or what the provider does; and
# whether a token may be lost that can be used only once
my @points = (
    ['killed before the lock', [$lock, at => 'before', do => 'kill']],
    ['killed before it knows of its lock',
     [$lock, at => 'executed', do => 'kill']],
    ['killed with the lock', [$lock, at => 'after', do => 'kill']],
    ['killed by the call', { kill => 'before', answer => [500, ''] }],
    ['killed when the provider had acted', { kill => 'rotated' }, 'lost'],
    ['killed by the answer', { kill => 'answered' }, 'lost'],
    ['killed before the write', [$write, at => 'before', do => 'kill']],
    ['killed during the write', [$write, at => 'executed', do => 'kill']],
    ['killed after the write, before waking',
     [$write, at => 'after', do => 'kill']],
    ['killed before the lock is free',
     [$release, at => 'before', do => 'kill']],
    ['link cut before the lock', [$lock, at => 'before']],
    ['link cut before it knows of its lock', [$lock, at => 'executed']],
    ['link cut before the write', [$write, at => 'before']],
    ['link cut during the write', [$write, at => 'executed']],
    ['link cut before the write, for two seconds',
     [$write, at => 'before', refuse => 2]],
    ['link cut during the write, for two seconds',
     [$write, at => 'executed', refuse => 2]],
    ['link cut before the lock is free', [$release, at => 'before']],
    ['the provider is gone before it acted', 'reset'],
    ['the provider dies when it had acted', 'dies', 'lost'],
    ['the provider resets when it had acted', 'reset_after', 'lost'],
    ['the provider acts and never answers', 'mute', 'lost'],
    ['the provider answers when nobody waits any more',
     { after => TIMEOUT + 0.5 }, 'lost'],
);

my $serial = 0;
my @done;
my %results = map { $_ => 1 } qw(
    ok provider-unavailable store-unavailable reconnect-required closed
);

for my $point (@points) {
    my @these = map { my $kind = $_;
                      map { crash($point, $kind) } 1 .. $crashes }
                    'hard', 'soft';
    settle(\@these) if $crashes > 1;
    push @done, @these;
}
# the leases of all of them end at the same time
settle(\@done) if $crashes == 1;
report($_) for @points;

is(scalar(grep { $_->{kind} eq 'soft' && $_->{end} ne 'ok' } @done), 0,
   'where a refresh token may be used again, nobody needs to consent again');
is(scalar(@{$idp{soft}->stats()->{revoked}}), 0, 'and nothing was revoked');

my $again = grep { $_->{end} eq 'reconnect-required' } @done;
note(scalar(@done), " crashes, $again consents again");

# nginx unlocks what a dead worker had locked, and says so
my @dead = (qr/exited on signal 9/, qr/shared memory zone .* was locked by/);
expect_log(@dead);
nodes_quiet('nothing else alarming on either node', @dead);
done_testing();


# one renewal that is hit there: { point, kind, person, before, first, … }
sub crash {
    my ($point, $kind) = @_;

    my ($name, $hit) = @$point;
    my $p = person('p' . ++$serial);
    my $c = $idp{$kind}->connect($p, left => -1, provider => $kind);
    my $node = $nodes[$serial % 2];
    my @workers = $node->workers();
    my ($aim, $fired);

    if (ref $hit eq 'ARRAY') {
        my ($what, @how) = @$hit;
        $aim = $proxy->aim("$what$kind:$c->{device}", @how);
        $fired = sub { $proxy->fired($aim) };
    } else {
        $idp{$kind}->fault($hit, account => $p->{sub}, times => 1);
        my $n = ref $hit ? 'other' : $hit;
        my $before = $idp{$kind}->stats()->{fired}{$n} // 0;
        $fired = sub { ($idp{$kind}->stats()->{fired}{$n} // 0) > $before };
    }

    my ($r) = burst([[$p, "/$kind/", $node->port()]]);
    # a note of a failure may take the lock's place at any moment
    my $lease = redis('PTTL', lock_of($c));
    $lease = 0 if (redis('GET', lock_of($c)) // '~') =~ /^~/;

    wait_for($fired, "$name: it did not happen, but " . result_of($r));
    replaced($node, @workers) if $name =~ /^killed/;
    $proxy->calm();

    my $now = eval { $p->connection(provider => $kind) };
    my $record = !$now ? 'broken'
                 : $now->{hash}{gen} == $c->{gen} ? 'intact' : 'committed';

    return { point => $point, kind => $kind, person => $p, gen => $c->{gen},
             name => $c->{name}, first => result_of($r), lease => $lease,
             lock => lock_of($c), record => $record };
}

sub lock_of { $_[0]{name} =~ s/:c:/:l:/r }

# one of the workers has died, and another is there for it
sub replaced {
    my ($node, @old) = @_;

    my %old = map { $_ => 1 } @old;

    wait_for(sub {
        my @now = $node->workers();
        @now == @old && grep { !$old{$_} } @now;
    }, 'a worker in its place');
}

# asks for all of them until each has a token or never will, which takes a
# lease at most, and a pause
sub settle {
    my ($all) = @_;

    my $end = time() + LEASE + 6 + @$all / 50;
    my @left = @$all;

    while (@left && time() < $end) {
        my $n = 0;
        my @r = burst([map { [$_->{person}, "/$_->{kind}/",
                              $nodes[$n++ % 2]->port()] }
                           @left[0 .. ($#left < 399 ? $#left : 399)]]);
        for my $i (0 .. $#r) {
            $left[$i]{end} = result_of($r[$i]);
            $left[$i]{answer} = $r[$i]{json};
        }
        @left = grep { ($_->{end} // '') !~ /^(?:ok|reconnect-required)$/ }
                @left;
        select(undef, undef, undef, 0.2);
    }
}

sub report {
    my ($point) = @_;

    my ($name, $hit, $lossy) = @$point;
    my @all = grep { $_->{point} == $point } @done;
    my (%first, %record, %end, @wrong);

    for my $d (@all) {
        $first{$d->{first}}++;
        $record{$d->{record}}++;
        $end{"$d->{kind} $d->{end}"}++;
        my $why = wrong($d, $lossy);
        push @wrong, "$d->{kind}, $d->{person}{sub}: $why" if defined $why;
    }

    is(scalar(@wrong), 0, $name) or diag(join("\n", @wrong));
    note(sprintf('it heard %s; record %s; then %s',
                 map { my $n = $_; join(', ', map { "$n->{$_} $_" }
                                                  sort keys %$n) }
                     \%first, \%record, \%end));
}

# what must not be
sub wrong {
    my ($d, $lossy) = @_;

    my ($p, $kind) = @$d{qw(person kind)};
    my $c = eval { $p->connection(provider => $kind) };
    my $told = $idp{$kind}->account($p->{sub});

    return "what is stored does not open: $@" if !$c;
    return 'a record that did not open' if $d->{record} eq 'broken';
    return "at first: $d->{first}" if !$results{$d->{first}};
    return "a lease of $d->{lease} ms" if $d->{lease} > LEASE * 1000;
    return 'the lock is there' if (redis('GET', $d->{lock}) // '~') !~ /^~/;

    if ($d->{end} eq 'reconnect-required') {
        return 'consent again' if $kind eq 'soft' || !$lossy;
        return 'not marked' if $c->{hash}{state} ne 'reconnect';
        return undef;
    }

    return "at last: $d->{end}" if $d->{end} ne 'ok';
    return "the answer is of $d->{answer}{account}"
        if $d->{answer}{account} ne $p->{sub};
    return 'not a new token' if $c->{hash}{gen} <= $d->{gen};
    return 'a refresh token that is not the newest'
        if $c->{refresh}{token} ne $told->{refresh};

    return undef;
}
