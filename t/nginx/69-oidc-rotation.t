# A real OpenID provider rotates its keys, goes away and comes back with
# others, and nobody touches nginx.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $interval = 2;
my $counted;
my $up = upstream();
my $login = oidc('login', keys => ['first']);

redis_start();
my $text = blocks() . <<"CONF";

    token_issuer login {
        issuer             %%OIDC_login%%;
        audience           api://search;
        allow_http         on;
        keys_interval      ${interval}s;
        keys_min_interval  1s;
        keys_max_stale     1h;
        keys_wait          10s;
    }

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  login;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my %secret;

# a new token of alice's, on the one device that is connected
sub signed_in {
    my $token = $login->token('alice');
    $secret{$token} = 1;

    return $token;
}

my $alice = person('alice', iss => $login->url());
$alice->connect('third-party-token');

sub says {
    my ($token) = @_;

    my $r = get('/', as => $alice, token => $token);

    return result($r) if $r->status() != 200;
    return $r->json()->{headers}{authorization} eq 'Bearer third-party-token'
           ? 'ok' : 'another token';
}

# of several connections, so that both workers are asked
sub always {
    my ($token, $result, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %said;
    $said{says($token)}++ for 1 .. 8;

    return is(join(' ', sort keys %said), $result, $name);
}

sub soon {
    my ($token, $result, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $began = time();
    my $last = wait_for(sub { my $now = says($token);
                              $now eq $result && $now },
                        "$result: $name", 3 * $interval);
    cmp_ok(time() - $began, '<', ($interval + 2) * patience(), $name);

    return $last;
}

# from here on fetches are counted
sub count {
    $login->forget();
    $counted = time();
}

# of them, what the interval allows and one a second for unknown keys
sub few {
    my ($name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $seconds = time() - $counted;

    return cmp_ok($login->fetches(), '<=',
                  2 + int($seconds / $interval) + int($seconds), $name);
}


# --- nobody is there when nginx starts

my $token = signed_in();
$login->stop();
nginx_start($text, workers => 2);

my $waiting = connection();
$waiting->send(TI::Http::http_bytes('GET', '/', as => $alice,
                                    token => $token));
wait_log(qr/keys of issuer "login"/);
$counted = time();
$login->start();
wait_log(qr/issuer "login" has 1 keys now/, 10);

my $came = time();
is(result($waiting->response(timeout => 15)), 'ok',
   'a request waits for the first keys');
cmp_ok(time() - $came, '<', patience(), 'and no longer');
cmp_ok($login->fetches(), '<=', 1 + int((time() - $counted) / $interval),
       'one fetch for two workers');


# --- a rotation as it should be

my $first = signed_in();

always($first, 'ok', 'signed with the only key');

count();
$login->keys('first', 'second');
always($first, 'ok', 'another key is added');
is(says(signed_in()), 'ok', 'while the first one signs');

$login->keys('second', 'first');
my $second = signed_in();
is(says($second), 'ok', 'the other one signs: the first request');
always($second, 'ok', 'and those after it');
always($first, 'ok', 'and those of the first key');

$login->keys('second');
soon($first, 'token-invalid', 'the first key is withdrawn');
always($first, 'token-invalid', 'for all workers');
always($second, 'ok', 'the second is not');
few('and few fetches did it');


# --- without notice: one key takes the place of the other

my $refused = time();
wait_for(sub { time() > $refused + 1.1 }, 'nginx to be willing to ask');
count();
$login->keys('third');
my $third = signed_in();
is(says($third), 'ok', 'a key that nobody announced: the first request');
always($third, 'ok', 'and those after it');
always($second, 'token-invalid', 'the second is withdrawn by it');
few('and few fetches did it');


# --- gone, and back

$login->stop();
my $failures = log_count(qr/keys of issuer "login"/);
wait_for(sub { log_count(qr/keys of issuer "login"/) > $failures + 1 },
         'two fetches to fail', 20);
always($third, 'ok', 'the provider is gone: its keys serve');
is(says(jwt({ iss => $login->url() })), 'token-invalid',
   'and no others');

nginx_reload();
always($third, 'ok', 'after a reload too');

$login->start('fourth');

my $fourth = signed_in();
soon($fourth, 'ok', 'back with another key: it heals by itself');
always($fourth, 'ok', 'for all workers');
always($third, 'token-invalid', 'the keys of before are withdrawn');

secrets_absent('no token in a log', keys %secret, $alice->user_key());

done_testing();
