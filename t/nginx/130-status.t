# token_status: what is counted, in both forms, over workers and reloads.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer(keys => [key('RS256', 'a')]);

redis_start();

nginx_start(blocks() . $idp->block('live', '') . <<'CONF', workers => 2);

    token_provider "notes" {
        store vault;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        server_name search.example.com;

        location /outlook/ {
            token_auth    corp;
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /notes/ {
            token_auth    corp;
            token_inject  notes;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location ~ "^/quo\"te" {
            token_auth  live;
            empty_gif;
        }

        location = /status  { token_status; }
        location = /metrics { token_status prometheus; }
    }
CONF

my $alice = person('alice');
my $bob = person('bob');

$alice->connect('token-of-alice');

is(get('/outlook/1', as => $alice)->status(), 200, 'a miss');
wait_for(sub { (get('/outlook/1', as => $alice)->header('cache-status') // '')
               =~ /hit/ }, 'a hit');
is(get('/outlook/1', as => $bob)->status(), 403, 'not connected');
is(get('/outlook/1')->status(), 401, 'no token');
is(get('/notes/1', as => $alice)->status(), 403, 'not at the other');
is(get('/quo"te', token => $idp->token())->status(), 200, 'live keys');

sub status {
    return get('/status')->json();
}

sub location {
    my ($name) = @_;

    my ($row) = grep { $_->{location} eq $name } @{status()->{locations}};

    return $row;
}

# counted when a request is over, which may be after its response
wait_for(sub { location('/outlook/')->{results}{'token-missing'} == 1 },
         'the numbers');

my $row = location('/outlook/');
is($row->{provider}, 'outlook', 'a location has a provider');
is($row->{server}, 'search.example.com', 'and a server');
cmp_ok($row->{results}{ok}, '>=', 2, 'what went well');
is($row->{results}{'connection-required'}, 1, 'what did not');
is($row->{results}{'token-missing'}, 1, 'and why');
is($row->{results}{'store-unavailable'}, 0, 'or never did');
is($row->{answers}{miss}, 1, 'an answer was asked for');
cmp_ok($row->{answers}{hit}, '>=', 1, 'and given again');
is($row->{answers}{bypass}, 0, 'none passed by');
is($row->{admissions}{reused} + $row->{admissions}{judged},
   $row->{results}{ok} + 1 + 1, 'each was judged or known');
is(location('/notes/')->{results}{'connection-required'}, 1,
   'locations are apart');
is(location('^/quo"te')->{results}{ok}, 1, 'a name with a quote');
is(location('^/quo"te')->{provider}, '', 'without a provider');

my ($store) = @{status()->{stores}};
is($store->{store}, 'vault', 'a store');
cmp_ok($store->{answered}, '>=', 3, 'was asked');
is($store->{failed}, 0, 'and answered');
my ($live) = grep { $_->{issuer} eq 'live' } @{status()->{issuers}};
cmp_ok($live->{answered}, '>=', 1, 'the issuer was asked');
is_deeply([map { $_->{provider} } @{status()->{providers}}],
          ['outlook', 'notes'], 'the providers');

# Prometheus
my $r = get('/metrics');
like($r->header('content-type'), qr{^text/plain; version=0\.0\.4}, 'its type');
my %metric = $r->body() =~ /^(\w+\{.*\}) (\S+)$/mg;
my $labels = 'server="search.example.com",location="/outlook/",'
             . 'provider="outlook"';
is($metric{"token_injector_requests_total{$labels,"
           . 'result="connection-required"}'}, 1, 'a result');
is($metric{"token_injector_answers_total{$labels,kind=\"miss\"}"}, 1,
   'an answer');
cmp_ok($metric{'token_injector_calls_total{kind="store",name="vault",'
               . 'outcome="answered"}'}, '>=', 3, 'a store');
like($metric{'token_injector_calls_seconds_total{kind="store",name="vault"}'},
     qr/^\d+\.\d{3}$/, 'and its time');
ok((grep { /location="\^\/quo\\"te"/ } keys %metric), 'a name is escaped');
is(scalar(grep { !/^#|^\w+\{.*\} \d+(?:\.\d+)?$/ }
          split /\n/, $r->body()), 0, 'every line is one of the format');
unlike($r->body(), qr/result="internal-error"/,
       'a result that never was is left out');

# the store away
redis_stop();
wait_for(sub { get('/notes/2', as => $bob)->status() == 503 }, 'no store');
wait_for(sub { my ($s) = @{status()->{stores}}; $s->{failed} >= 1 },
         'a failure');
pass('failures are counted');
expect_log(qr/token_store "vault"/);

# a reload keeps them
my $before = location('/outlook/')->{results}{ok};
nginx_reload();
is(location('/outlook/')->{results}{ok}, $before, 'kept by a reload');

# the page
is(http(HEAD => '/status')->body(), '', 'HEAD');
is(post('/status', 'x')->status(), 405, 'nothing is posted');
secrets_absent('no secret in it', 'token-of-alice', $alice->token());

done_testing();
