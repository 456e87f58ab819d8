# What a token endpoint says that gives no tokens: what the caller hears, what
# the log says and how loud, how often it is asked again, and that a token
# which is still good is used whatever comes.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Nodes;
use TI::Rotator;
use TI::Test;

needs_module();

# error => what is heard, its status, its level; does it end the connection
my %means = (
    (map { $_ => ['reconnect-required', 403, 'info', 1] }
         qw(invalid_grant interaction_required consent_required
            login_required)),
    (map { $_ => ['provider-misconfigured', 502, 'error'] }
         qw(invalid_client unauthorized_client invalid_scope
            invalid_request)),
    (map { $_ => ['provider-unavailable', 502, 'warn'] }
         qw(e500 e503 temporarily_unavailable garbage reset dies deaf)),
);
my @errors = sort keys %means;

my $idp = rotator(reuse => 600);
my $slow = rotator(name => 'slow');

redis_start();
my @nodes = nodes_start(blocks(
    provider => $idp->party(timeout => '1s')) . "token_provider slow {\n"
    . $slow->party(timeout => '1s') . "}\n" . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        access_log  off;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
        location /slow/ {
            token_inject  slow;
            proxy_pass    http://%%ROTATOR_slow%%;
        }
    }
CONF

# of each error two people: one whose token ended, one whose token is good and
# due
my %ended = map { $_ => person("ended_$_") } @errors;
my %due = map { $_ => person("due_$_") } @errors;
my %old = map { $_->{device} => $_ } (
    $idp->connect_all([values %ended], left => -1),
    $idp->connect_all([values %due], left => 60));

for my $p (values %ended, values %due) {
    my ($error) = $p->{sub} =~ /_(.*)/;
    $idp->fault($error, account => $p->{sub});
}

# everybody of these at once, at one node: the answers by error
sub ask {
    my ($people, $node) = @_;

    my @r = burst([map { [$people->{$_}, '/', $node->port()] } @errors]);

    return map { $errors[$_] => $r[$_] } 0 .. $#r;
}

sub calls_of {
    my ($people) = @_;

    my %n = map { $_ => 0 } @errors;
    my %error = map { $people->{$_}{sub} => $_ } @errors;
    for my $call ($idp->log()) {
        $n{$error{$call->{account}}}++ if $error{$call->{account}};
    }

    return \%n;
}


# --- the token has ended

my %r = ask(\%ended, $nodes[0]);

for my $error (@errors) {
    my ($result, $status, $level) = @{$means{$error}};
    is(result_of($r{$error}) . " $r{$error}{status}", "$result $status",
       "$error: $result");
}
is(join(' ', map { "$_:" . calls_of(\%ended)->{$_} } @errors),
   join(' ', map { "$_:1" } @errors), 'one call each');

%r = ask(\%ended, $nodes[1]);
is(join(' ', map { result_of($r{$_}) } @errors),
   join(' ', map { $means{$_}[0] } @errors), 'the other node says the same');

my $calls = calls_of(\%ended);
is(join(' ', map { "$_:$calls->{$_}" } grep { $means{$_}[3] } @errors),
   join(' ', map { "$_:1" } grep { $means{$_}[3] } @errors),
   'and asks nobody where that is final');

my ($final) = grep { $means{$_}[3] } @errors;
for my $node (@nodes) {
    my $r = get('/', as => $ended{$final}, port => $node->port());
    is($r->status(), 403, 'who is to consent');
    is($r->header('Retry-After'), undef, 'need not wait with that');
}

for my $error (@errors) {
    my ($result, $status, $level, $final) = @{$means{$error}};
    my $c = $ended{$error}->connection();
    is("$c->{hash}{state} $c->{hash}{gen}",
       $final ? 'reconnect 1' : 'connected 1',
       "$error: the record is marked or as it was, and opens");
}

for my $level (qw(info warn error)) {
    my ($error) = grep { $means{$_}[2] eq $level } @errors;
    my $result = $means{$error}[0];
    my $line = qr/\[$level\].* no tokens of provider "outlook".*, $result: /;
    cmp_ok(nodes_log($line), '>', 0, "$result is logged at $level");
}


# --- it is good and due: it is used

%r = ask(\%due, $nodes[0]);
is(join(' ', map { result_of($r{$_}) } @errors),
   join(' ', map { 'ok' } @errors), 'a token that is still good is used');
is(scalar(grep { $r{$_}{seconds} > 0.8 } @errors), 0, 'at once');

for my $error (grep { $means{$_}[3] } @errors) {
    wait_for(sub { $due{$error}->connection()->{hash}{state} eq 'reconnect' },
             "$error: the mark");
}
%r = ask(\%due, $nodes[1]);
is(join(' ', map { result_of($r{$_}) } @errors),
   join(' ', map { 'ok' } @errors), 'and where the connection has ended');
$calls = calls_of(\%due);
is(join(' ', map { "$_:$calls->{$_}" } grep { $means{$_}[3] } @errors),
   join(' ', map { "$_:1" } grep { $means{$_}[3] } @errors),
   'of which one call told');


# --- no loop of failures: two hundred requests in two seconds, both nodes

for my $error ('e500', 'invalid_client', 'invalid_grant') {
    for my $left (-1, 60) {
        my $p = person("loop_${error}_$left");
        $idp->connect($p, left => $left);
        $idp->fault($error, account => $p->{sub});
        $idp->forget();

        my ($n, $began, %result) = (0, time());
        load(sub {
            return undef if $n == 200;
            return 0 if time() < $began + $n / 100;
            return [$p, '/', $nodes[++$n % 2]->port()];
        }, done => sub { $result{result_of($_[1])}++ });

        my $calls = $idp->calls();
        # now, after 1 second, after 2 more, each as short as a second may be
        cmp_ok($calls, '<=', $means{$error}[3] ? 1 : 3,
               "$error, $n requests: $calls calls");
        is(join(' ', sort keys %result),
           $left < 0 ? $means{$error}[0] : 'ok', 'all the same')
            or diag(join ', ', map { "$result{$_} $_" } sort keys %result);
    }
}


# --- "not now", and for how long

my ($alice, $bob) = map { person($_) } qw(alice bob);
$slow->connect($alice, left => -1, provider => 'slow');
$slow->fault({ answer => [429, '', 'Retry-After: 3'] }, times => 1);

my ($r) = burst([[$alice, '/slow/']]);
my $told = time();
is(result_of($r) . " $r->{status}", 'provider-throttled 429', 'not now');
like($r->{head}, qr/^retry-after: [34]\r?$/mi, 'for three seconds');

my @held;
while (time() < $told + 1.9) {
    push @held, burst([map { [$alice, '/slow/', $_->port()] } @nodes]);
    sleep(0.1);
}
is($slow->calls(), 1, 'nobody asks in that time');
is(scalar(grep { result_of($_) ne 'provider-throttled' } @held), 0,
   'all hear so: ' . @held);
is(scalar(grep { ($_->{head} =~ /^retry-after: (\d+)/mi)[0] !~ /^[1234]$/ }
               @held), 0, 'and how long it still is');

wait_for(sub { result_of((burst([[$alice, '/slow/', 'there']]))[0]) eq 'ok' },
         'a token');
cmp_ok(time() - $told, '>=', 1.9, 'then it is asked again');
is($slow->calls(), 2, 'once');


# --- the provider is well again, consents are given anew

$idp->well();
my @again = grep { !$means{$_}[3] } @errors;
my $last;
eval {
    wait_for(sub {
        %r = ask(\%ended, $nodes[time() % 2]);
        $last = join(' ', map { result_of($r{$_}) } @again);
        $last eq join(' ', map { 'ok' } @again);
    }, 'all tokens', 12);
};
is($last, join(' ', map { 'ok' } @again), 'each pause ends: all have tokens');

my @final = grep { $means{$_}[3] } @errors;
is(join(' ', map { result_of($r{$_}) } @final),
   join(' ', map { 'reconnect-required' } @final),
   'but who has to consent');
$idp->connect_all([@ended{@final}]);
wait_for(sub {
    %r = ask(\%ended, $nodes[1]);
    !grep { result_of($r{$_}) ne 'ok' } @final;
}, 'the new connections');
pass('which then serves');
is(@{$idp->stats()->{revoked}}, 0, 'no refresh token was used up twice');

nodes_quiet('nothing alarming on either node');
secrets_absent('no token in a log', map { $_->{access}, $_->{refresh} }
                                        values %old);
done_testing();
