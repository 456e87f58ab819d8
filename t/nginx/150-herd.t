# A token ends while hundreds ask, at both nodes: the provider is asked once,
# and everybody gets an answer made with a token of their own.
#
# HERD=500 HERD_ROUNDS=50 is the long form.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Consent;
use TI::Load;
use TI::Nodes;
use TI::Oidc;
use TI::Rotator;
use TI::Test;
use TI::Watch;

needs_module();

my $herd = $ENV{HERD} || 100;
my $rounds = $ENV{HERD_ROUNDS} || 3;
my $real = -d TI::Env::root() . '/demo/node_modules/oidc-provider';

my $idp = rotator();
my $up = upstream();
my $vendor;
my @vendor = ();

if ($real) {
    $vendor = oidc('vendor', scopes => [qw(openid offline_access Mail.Read)],
        accessTokenTTL => 3, clients => [{
            client_id => 'injector',
            client_secret => 'secret-of-the-injector',
            grant_types => ['authorization_code', 'refresh_token'],
            redirect_uris => [TI::Consent::CONNECTED],
        }]);
    @vendor = ("token_provider vendor {\n"
               . party($vendor, scope => '"offline_access Mail.Read"')
               . "}\n");
}

redis_start();
my @nodes = nodes_start(blocks(provider => $idp->party()) . "@vendor"
                        . <<'CONF' . ($real ? <<'CONF' : '') . "}\n");

    server {
        listen      127.0.0.1:%%PORT%% backlog=1024;
        access_log  off;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
CONF
        location /vendor/ {
            token_inject  vendor;
            proxy_pass    http://%%UPSTREAM%%;
        }
        location /connections {
            token_connections;
        }
CONF


my $serial = 0;
my %seen;

# the answers' results and tokens, counted
sub census {
    my ($who, @r) = @_;

    my %n;
    $n{ result_of($_) ne 'ok' ? result_of($_)
        : $_->{json}{account} ne $who ? "of $_->{json}{account}"
        : $_->{json}{newest} ? 'newest' : 'the one before' }++ for @r;
    $seen{$_} += $n{$_} for keys %n;

    return \%n;
}

sub told {
    my ($n) = @_;

    return join ', ', map { "$n->{$_} $_" } sort keys %$n;
}

# one herd on one connection whose token ends at a time, and then again
sub herd {
    my ($name, $left, $at) = @_;

    my $p = person('p' . ++$serial);
    my $c = $idp->connect($p, left => $left);
    $idp->forget();

    my @r = burst([map { [$p, "/$_", $nodes[$_ % 2]->port()] } 1 .. $herd],
                  $at ? (at => $c->{exp} + $at) : ());
    my $n = census($p->{sub}, @r);
    my $right = ($n->{newest} // 0) + ($at ? $n->{'the one before'} // 0 : 0);

    wait_for(sub { $p->connection()->{hash}{gen} == $c->{gen} + 1 },
             'the next generation');
    my $stats = $idp->stats();

    return "$right right, $stats->{calls} calls" . ($right == $herd ? '' :
           ': ' . told($n));
}


# --- ended a while ago; at the very moment

my (@slowest, %came);

for my $round (1 .. $rounds) {
    my $began = time();
    $came{herd('ended', -1)}++;
    push @slowest, time() - $began;

    # the second begins, whatever the workers' clocks say
    $came{herd('moment', 1 + int(time() + 0.7) - time() + 0.01, -0.03)}++;
}

is(join('; ', map { "$came{$_} x $_" } sort keys %came),
   2 * $rounds . " x $herd right, 1 calls",
   2 * $rounds . " herds of $herd");
note('answers: ', told(\%seen));
note(sprintf('slowest round: %.2f s', (sort { $b <=> $a } @slowest)[0]));


# --- one generation after the other, of one connection

my $chain = person('chain');
my $links = $rounds < 4 ? 2 : 10;
my $before = $idp->connect($chain, left => -1)->{gen};
$idp->set(life => 3);
my %chain;

for my $link (1 .. $links) {
    my $c = $chain->connection()->{hash};

    wait_for(sub { time() > $c->{exp} }, 'its end');
    $idp->forget();
    my @r = burst([map { [$chain, "/$_", $nodes[$_ % 2]->port()] }
                       1 .. $herd]);
    my $n = census('chain', @r);
    my $right = ($n->{newest} // 0) + ($n->{'the one before'} // 0);
    $chain{"$right right, " . $idp->calls() . ' calls'}++;
}
is(join('; ', map { "$chain{$_} x $_" } sort keys %chain),
   "$links x $herd right, 1 calls", 'each generation by one call');
is($chain->connection()->{hash}{gen} - $before, $links, 'and none lost');
is(@{$idp->stats()->{revoked}}, 0, 'nothing was used twice');
$idp->set(life => 3600);


# --- many people at the same moment: one call each

my @people = map { person("q$_") } 1 .. 20;
$idp->connect_all(\@people, left => -1);
$idp->forget();

my @who = (@people) x ($herd / 20);
my $i = 0;
my @r = burst([map { [$_, '/', $nodes[$i++ % 2]->port()] } @who]);
is(scalar(grep { result_of($r[$_]) eq 'ok' && $r[$_]{json}{newest}
                 && $r[$_]{json}{account} eq $who[$_]{sub} } 0 .. $#r),
   scalar(@who), 'twenty connections: each caller has its own newest token')
    or diag(told(census('q1', @r)));
is($idp->calls(), 20, 'of twenty calls');


# --- more than may be under way at a time: 32 in each of the four workers

my @crowd = map { person("r$_") } 1 .. 300;
$idp->connect_all(\@crowd, left => -1);
$idp->forget();
$idp->fault({ before => 0.3 });

@r = burst([map { [$_, '/', $nodes[$i++ % 2]->port()] } @crowd]);
is(scalar(grep { result_of($r[$_]) eq 'ok'
                 && $r[$_]{json}{account} eq $crowd[$_]{sub} } 0 .. $#r),
   300, 'three hundred connections: all served')
    or diag(join ' ', map { result_of($_) } grep { $_->{status} != 200 } @r);
is($idp->calls(), 300, 'by as many calls');
cmp_ok($idp->stats()->{busy}, '<=', 4 * 32, 'some at a time');
note('at most ', $idp->stats()->{busy}, ' calls at a time');
$idp->well();


# --- a real provider

SKIP: {
    skip('no oidc-provider is installed', 4) if !$real;

    my $alice = person('alice');
    consent($alice, $vendor, provider => 'vendor');
    my $stored = sub { $alice->connection(provider => 'vendor') };
    my $c = $stored->();

    for my $time (1, 2) {
        wait_for(sub { time() > $c->{hash}{exp} + 0.1 }, 'its end');
        $vendor->forget();
        my @r = burst([map { [$alice, "/vendor/$_", $nodes[$_ % 2]->port()] }
                           1 .. $herd]);
        my $calls = grep { $_ eq '/token' } $vendor->requests();
        my $new = $stored->();

        is($calls, 1, "oidc-provider, expiry $time: one call");
        is(scalar(grep { $_->{status} == 200
                         && $_->{json}{headers}{authorization}
                            eq "Bearer $new->{access}{token}" } @r), $herd,
           'all with the token of it')
            or diag(join ' ', map { result_of($_) } @r);
        $c = $new;
    }
}

nodes_quiet('nothing alarming on either node');
done_testing();
