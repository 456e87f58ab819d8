# Many connections whose tokens end at random, two nodes, Redis restarted,
# nginx reloaded: every answer is right or one of the results, no connection is
# lost, and the token endpoint is called once for each token that ended.
#
# "make soak" is the long form, by these:
#
#     SOAK_CONNECTIONS    how many
#     SOAK_MINUTES        for so long
#     SOAK_LIFE           seconds that a token lives
#     SOAK_RATE           requests a second, over both nodes
#     SOAK_RESTARTS       of Redis, every other one by kill -9
#     SOAK_RELOADS        of each nginx

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Load;
use TI::Nodes;
use TI::Rotator;
use TI::Test;

needs_module();

my $many = $ENV{SOAK_CONNECTIONS} || 100;
my $seconds = ($ENV{SOAK_MINUTES} || 0.2) * 60;
my $life = $ENV{SOAK_LIFE} || 6;
my $rate = $ENV{SOAK_RATE} || 200;
my $restarts = $ENV{SOAK_RESTARTS} // 1;
my $reloads = $ENV{SOAK_RELOADS} // 1;

use constant AWAY => 1;                         # seconds, Redis each time

my @redis = (args => ['--appendonly', 'yes', '--appendfsync', 'always']);
my $idp = rotator(life => $life);

mkdir(testdir() . "/spool_$_", 0700) for map { port($_) } 0, 'there';
redis_start(@redis);
my @nodes = nodes_start(blocks(
    store => 'spool %%TESTDIR%%/spool_%%PORT%%;',
    provider => $idp->party(timeout => '5s')) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%% backlog=1024;
        access_log  off;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
    }
CONF

# whose JWTs outlive the test
my $began = time();
my @people = map {
    person("p$_", claims => { exp => int(time() + $seconds + 3600) })
} 1 .. $many;
$idp->connect_all(\@people, left => sub { rand($life) });
note(sprintf('%d connections made in %.0f s', $many, time() - $began));

my (%said, @wrong, @seconds, @waited, %n);
my @events = events();
$idp->forget();
# as real ones do, it takes its time
$idp->fault({ before => 0.05 });
$began = time();

my $asked = load(\&request, done => \&answered, at_once => 200);

note(sprintf('%d requests in %.0f s', $asked, time() - $began));
redis_start(@redis) if !redis_running();
settle();


# --- what came of it

for my $wrong (@wrong[0 .. ($#wrong < 9 ? $#wrong : 9)]) {
    diag("$wrong->[0]{sub}: ", result_of($wrong->[1]), ' ',
         $wrong->[1]{error} // '', ' ', $wrong->[1]{body});
}
is(scalar(@wrong), 0, 'every answer is right or one of the results');
note(join(', ', map { "$said{$_} $_" } sort keys %said));

my $stats = $idp->stats();
my $granted = $idp->accounts();
my ($generations, $broken, $stale) = (0, 0, 0);

for my $p (@people) {
    my $c = eval { $p->connection() };
    my $why = $@;

    if (!$c || !$c->{refresh} || $c->{hash}{state} ne 'connected') {
        diag("$p->{sub}: ", $why || 'not connected') if $broken++ < 10;
        next;
    }
    # the first one was no renewal
    $generations += $c->{hash}{gen} - 1;
    $stale++ if $c->{refresh}{token} ne $granted->{$p->{sub}}{refresh};
}
is($broken, 0, "no connection is lost, of $many");
is($stale, 0, 'each has the newest refresh token');
is($stats->{calls}, $generations,
   'one call of the token endpoint for each generation');
is($stats->{granted}, $stats->{calls}, 'each of which gave tokens');
is(@{$stats->{revoked}} + $stats->{replays} + $stats->{unknown}, 0,
   'no refresh token was used up twice');

my $window = $life / 4 < 300 ? $life / 4 : 300;
my @log = $idp->log();
my @early = grep { $_->{left} > $window + 1 } @log;
is(scalar(@early), 0, 'none before its time')
    or diag(join(' ', map { sprintf('%s:%.2f', @$_{qw(account left)}) }
                          @early[0 .. ($#early < 9 ? $#early : 9)]));
my $ahead = grep { $_->{left} > 0 } @log;

@seconds = sort { $a <=> $b } @seconds;
note("$stats->{calls} calls, $ahead of them ahead of the end; at most "
     . "$stats->{busy} at a time; the service refused $stats->{refused}");
note(sprintf('seconds: median %.4f, 99%% %.4f, slowest %.3f',
             map { $seconds[int($_ * $#seconds)] } 0.5, 0.99, 1));
cmp_ok($seconds[-1], '<', AWAY + 4 * patience(), 'and nobody waited long');
note("$n{reload} reloads, $n{restart} restarts of Redis") if %n;
note("log: $_") for logged();

is(($n{reload} // 0) . ' ' . ($n{restart} // 0), 2 * $reloads . " $restarts",
   'all that was to happen did');
nodes_quiet('nothing alarming on either node');
done_testing();


# [time, what], at random, not at the very end; in the short form a reload
# while Redis is away and one when it has just come back
sub events {
    my $some = sub { 0.05 * $seconds + rand(0.8 * $seconds) };
    my @all;

    return map { [$seconds * 0.3 + $_->[0], @$_[1, 2]] } (
        [0, 'restart', 1], [0.5, 'reload', 0], [AWAY, 'start'],
        [AWAY + 0.5, 'reload', 1],
    ) if !$ENV{SOAK_MINUTES};

    for my $node (0, 1) {
        push @all, map { [$some->(), 'reload', $node] } 1 .. $reloads;
    }
    for my $i (1 .. $restarts) {
        # one after the other
        my $at = ($i - 0.75 + rand(0.5)) / $restarts * 0.8 * $seconds;
        push @all, [$at, 'restart', $i], [$at + AWAY, 'start'];
    }

    return sort { $a->[0] <=> $b->[0] } @all;
}

# the next one, as a load has it
sub request {
    my $now = time() - $began;

    happen(shift @events) while @events && $now >= $events[0][0];

    return undef if $now > $seconds;
    return 0 if ($n{asked} // 0) >= $now * $rate;

    $n{asked}++;
    return [$people[rand @people], '/', $nodes[rand 2]->port()];
}

sub happen {
    my ($event) = @_;

    my (undef, $what, $which) = @$event;

    if ($what eq 'reload') {
        kill(HUP => $nodes[$which]{pid});
    } elsif ($what eq 'start') {
        redis_start(@redis, wait => 0);
    } else {
        $which % 2 ? redis_stop() : redis_kill();
    }
    $n{$what}++;
}

sub answered {
    my ($request, $r) = @_;

    my $result = result_of($r);
    my $p = $request->[0];

    $said{$result}++;
    push @seconds, $r->{seconds};

    return if $result eq 'ok' && $r->{json}{account} eq $p->{sub};
    push @wrong, [$p, $r]
        if $result !~ /^(?:store|provider)-unavailable$/;
}

# what was under way ends; who has nothing good gets it
sub settle {
    wait_for(sub {
        eval { redis('PING') eq 'PONG' }
    }, 'Redis', 60);
    wait_for(sub { !grep { $_ !~ /^~/ } map { redis('GET', $_) // '~' }
                        grep { /:l:/ } @{redis('KEYS', '*:l:*')} },
             'all renewals to end', 30);
}

# lines of this module, without what differs, most frequent first
sub logged {
    my %lines;

    for my $node (@nodes) {
        for my $line (split /^/, $node->log()) {
            my ($what) = $line =~ /(\[\w+\]) .*?token injector: / or next;
            my $text = "$1 " . ($line =~ /token injector: ([^,]*)/)[0];
            $text =~ s/\s+\z//;
            $lines{$text}++;
        }
    }

    my @all = sort { $lines{$b} <=> $lines{$a} } keys %lines;

    return map { "$lines{$_} x $_" } @all[0 .. ($#all < 14 ? $#all : 14)];
}
