# Rules in Redis that are not to be had: nobody new is let in, within the time
# that a store may take, and who was let in stays for local_valid.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Env qw(build_dir);
use TI::Tokenctl;
use TI::Watch;

needs_module();
plan(skip_all => 'no tokenctl is built') if !-x build_dir() . '/tokenctl';

my $up = upstream();
my $proxy = proxy();

my $text = blocks(store => "server 127.0.0.1:%%PROXY%%;\n"
                           . "connect_timeout 300ms;\ntimeout 300ms;\n"
                           . 'local_valid 1h;') . <<'CONF';

    token_provider anybody {
        store     vault;
        user_key  off;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        token_auth corp;

        location / {
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /who {
            return 200 "$token_claim_sub $token_user\n";
        }
    }
CONF

redis_start();

my $alice = person('alice');
$alice->connect('token-of-alice');
my $bob = person('bob');
$bob->connect('token-of-bob');

sub says { result(get('/', as => $_[0])) }

# within what a store may take, and a little
sub bounded {
    my ($who, $want, $name) = @_;

    my $began = time();
    is(says($who), $want, $name);
    ok(time() - $began < 1.5 * patience(), "$name: in bounded time");
}


# --- nginx starts while Redis says nothing

segment('outlook', 'groups=x');
$proxy->mode('swallow');
nginx_start($text);
bounded($alice, 'store-unavailable', 'no rules are known, Redis hangs');

$proxy->mode('refuse');
$proxy->drop();
bounded($alice, 'store-unavailable', 'no rules are known, Redis is away');
like(get('/who', as => $alice)->body(), qr/^alice /,
     'who needs no rules needs no store');

$proxy->mode('pass');
wait_for(sub { says($alice) eq 'segment-excluded' }, 'rules to be known');

segment('outlook');
wait_for(sub { says($alice) eq 'ok' }, 'no rules to be known');


# --- Redis goes away

$proxy->mode('refuse');
$proxy->drop();
is(says($alice), 'ok', 'who was let in is remembered');
bounded($bob, 'store-unavailable', 'who was not is not let in');
$proxy->mode('pass');
wait_for(sub { says($bob) eq 'ok' }, 'and is when it is back');


# --- a reload while a request waits for rules

$proxy->mode('delay', 0.2);
nginx_reload();
is(says($alice), 'ok', 'the first of a new worker waits');
$proxy->mode('pass');


# --- clients that go away while they wait for rules

nginx_stop();
$proxy->mode('delay', 0.25);
nginx_start($text);
for (1 .. 5) {
    my $c = connection();
    $c->send("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
             . $alice->token() . "\r\nX-User-Key: " . $alice->user_key()
             . "\r\n\r\n");
    $c->abort();
}
is(says($alice), 'ok', 'the next is served');
$proxy->mode('pass');


# --- rules above what there may be

redis('HSET', 'ti:segments', outlook => 'x' x 200000);
redis('PUBLISH', 'ti:changes', 'ti:segments');
wait_for(sub { says($alice) eq 'segment-excluded' }, 'rules that are too long');
redis('DEL', 'ti:segments');
redis('PUBLISH', 'ti:changes', 'ti:segments');
wait_for(sub { says($alice) eq 'ok' }, 'and none');

done_testing();
