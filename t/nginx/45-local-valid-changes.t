# How soon a node acts on a change that nobody told it of: at once with
# local_valid 0, within local_valid otherwise.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();

nginx_start(blocks(store => 'local_valid 0;') . <<'CONF');

    token_store patient {
        server        unix:%%REDIS_SOCK%%;
        sealing_keys  %%TESTDIR%%/sealing.jwks;
        local_valid   2s;
    }

    token_provider slow {
        store patient;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth corp;

        location /at-once {
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /later {
            token_inject  slow;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

sub says {
    my ($r) = @_;

    return result($r) eq 'ok' ? $r->json()->{headers}{authorization}
                              : result($r);
}


# --- at once

my $alice = person('alice');
my $name = $alice->connect('token-1')->{name};

is(says(get('/at-once', as => $alice)), 'Bearer token-1', 'connected');

$alice->connect('token-2');
is(says(get('/at-once', as => $alice)), 'Bearer token-2', 'consented anew');

my $cid = redis('HGET', $name, 'cid');
$alice->connect('token-3', cid => $cid);
is(says(get('/at-once', as => $alice)), 'Bearer token-3', 'another gen');

$alice->connect('token-4', gen => redis('HGET', $name, 'gen'));
is(says(get('/at-once', as => $alice)), 'Bearer token-4',
   'another cid of the same gen');

$alice->connect('token-5', gen => 1);
is(says(get('/at-once', as => $alice)), 'Bearer token-5', 'an older gen');

redis('HSET', $name, 'gen', 9);
is(says(get('/at-once', as => $alice)), 'reconnect-required',
   'a gen that is not the record\'s');
redis('HSET', $name, 'gen', 1);
is(says(get('/at-once', as => $alice)), 'Bearer token-5', 'and back');

redis('DEL', $name);
is(says(get('/at-once', as => $alice)), 'connection-required', 'deleted');

redis('SET', $name, 'x');
is(says(get('/at-once', as => $alice)), 'reconnect-required',
   'something else');

$alice->connect('token-6');
is(says(get('/at-once', as => $alice)), 'Bearer token-6', 'and again');


# --- within local_valid

# until the new answer comes
sub later {
    my ($who, $expected, $name) = @_;

    my $began = time();
    wait_for(sub { says(get('/later', as => $who)) eq $expected }, $name);
    my $took = time() - $began;

    # nginx counts whole seconds
    ok($took < 3 * patience(), "$name: within local_valid");
}

# from here on, what was asked of Redis was asked by who listens
redis_listened(1);

my $bob = person('bob');
$name = $bob->connect('token-1', provider => 'slow')->{name};

is(says(get('/later', as => $bob)), 'Bearer token-1', 'connected');
$bob->connect('token-2', provider => 'slow', unheard => 1);
is(says(get('/later', as => $bob)), 'Bearer token-1',
   'what is known may be used');
later($bob, 'Bearer token-2', 'consented anew');

redis('DEL', $name);
is(says(get('/later', as => $bob)), 'Bearer token-2', 'deleted: not yet');
later($bob, 'connection-required', 'deleted');

$bob->connect('token-3', provider => 'slow');
is(says(get('/later', as => $bob)), 'Bearer token-3',
   'that there is none is not remembered');

is(says(get('/later', as => $bob, token => $bob->token(jti => 1))),
   'Bearer token-3', 'other credentials have an admission of their own');

done_testing();
