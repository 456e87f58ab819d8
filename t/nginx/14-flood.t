# A flood of tokens that name keys nobody has: the issuer is asked as often as
# keys_min_interval allows, by all workers together, and other callers are
# served as they are beside a flood that is no reason to ask.  bench/run
# --flood is the long form.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Test;
use TI::Watch;

use constant {
    INTERVAL => 2,
    ROUNDS => 40,
    BURST => 50,
};

needs_module();

my $up = upstream();
my $idp = issuer(keys => [key('RS256', 'a')]);
my $n = 0;

nginx_start($idp->block('corp', <<'EOB') . <<'CONF', workers => 2,
    keys_uri           %%ISSUER%%/keys;
    keys_min_interval  2s;
    keys_interval      1h;
EOB
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF
            log_level => 'info');

# both are refused for their header alone; the second might be good with a key
# that is newer than those that are here
my %header = (
    hopeless => { alg => 'ES256' },
    unknown => { alg => 'RS256' },
);
my $claims = claims(iss => $idp->url());
my $remembered = $idp->token({ sub => 'remembered' });
my @fresh = map { $idp->token({ jti => $_ }) } 0 .. 2 * ROUNDS;

sub burst {
    my ($kind) = @_;

    return map {
        http_bytes(GET => '/', token => jws_raw(
            { %{$header{$kind}}, kid => "key-" . ++$n }, $claims,
            signature => 'x' x 256))
    } 1 .. BURST;
}

sub median { (sort { $a <=> $b } @_)[@_ / 2] }

my %results;

sub count {
    my ($what, $r) = @_;

    $results{$what}{result($r)}++;

    return $r->seconds();
}

# one round: a burst is on its way when two others ask
sub round {
    my ($kind) = @_;

    my $flood = connection();
    my $others = connection();
    my @seconds;

    $flood->send(burst($kind));
    push @seconds, count("$kind: remembered",
                         $others->request('GET', '/', token => $remembered));
    push @seconds, count("$kind: fresh",
                         $others->request('GET', '/', token => pop @fresh));
    count($kind, $flood->response()) for 1 .. BURST;
    $_->close() for $flood, $others;

    return @seconds;
}

is(result(get('/', token => $remembered)), 'ok', 'the first keys');
is($idp->calls('/keys'), 1, 'asked for once');

round('hopeless');
is($idp->calls('/keys'), 1, 'a token that no key would help is no reason');

# the two kinds in turn, so that both see the same machine
my (%seconds, $began);
%results = ();

for my $round (1 .. ROUNDS) {
    for my $kind (qw(hopeless unknown)) {
        $began //= time() if $kind eq 'unknown';
        my @two = round($kind);
        push @{$seconds{$kind}[$_]}, $two[$_] for 0, 1;
        sleep(0.05);
    }
}
my $lasted = time() - $began;

is_deeply(\%results, { map {
    $_ => { 'token-invalid' => ROUNDS * BURST },
    "$_: remembered" => { ok => ROUNDS },
    "$_: fresh" => { ok => ROUNDS },
} qw(hopeless unknown) }, 'all are told what they are');

# nginx counts in whole seconds, so an interval may be one shorter; one longer
# is what a busy machine may take to come round again
my $calls = $idp->calls('/keys') - 1;
note(sprintf('%d unknown keys in %.1f s: %d calls', ROUNDS * BURST, $lasted,
             $calls));
cmp_ok($lasted, '>', 2 * INTERVAL, 'a flood for several intervals');
cmp_ok($calls, '>=', 1 + int($lasted / (INTERVAL + 1)),
       'the issuer was asked when it was time');
cmp_ok($calls, '<=', 1 + int(($lasted + 1) / INTERVAL), 'and not before');

my @times = map { $_->{time} } $idp->requests('/keys');
is(scalar(grep { $times[$_] - $times[$_ - 1] < INTERVAL - 1 } 2 .. $#times),
   0, 'whatever worker asked');

for my $i (0, 1) {
    my $who = ('the remembered', 'the fresh')[$i];
    my %median = map { $_ => median(@{$seconds{$_}[$i]}) } keys %seconds;

    note(sprintf('%s: %.2f ms beside unknown keys, %.2f beside others', $who,
                 map { 1000 * $median{$_} } qw(unknown hopeless)));
    cmp_ok($median{unknown}, '<', 3 * $median{hopeless} + 0.002,
           "$who do not wait for it");
}

done_testing();
