# An answer belongs to one consent: after a disconnect or a new consent it
# does not open.  What Redis holds shows nothing, and ends.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream(sub {
    my ($request) = @_;

    return { body => "canary-answer of $request->{headers}{authorization}",
             headers => ['X-Canary: canary-header'] };
});

redis_start();
my $text = blocks(store => 'local_valid 0;') . <<'CONF';

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text, log_level => 'info');

my $alice = person('alice');
my $name = $alice->connect('canary-token-1', refresh => 'canary-refresh')
           ->{name};

sub ask { get('/search/canary-path?q=canary-query', as => $alice) }
sub answer_of { $_[0]->body() =~ s/^canary-answer of Bearer //r }

is(answer_of(ask()), 'canary-token-1', 'an answer');
like(ask()->header('Cache-Status'), qr/; hit;/, 'kept');
wait_for(sub { @{redis('KEYS', '*:a:*')} == 1 }, 'Redis to have it');


# --- what a dump of Redis shows

my $dump = '';
for my $key (@{redis('KEYS', '*')}) {
    $dump .= "$key\n" . (redis('TYPE', $key) eq 'hash'
                         ? join "\n", %{redis_hash($key)}
                         : redis('GET', $key)) . "\n";
}

for my $canary ('canary', 'alice', b64u('canary'), 'Y2FuYXJ5', 'login.example',
                $alice->user_key(), b64u_decode($alice->user_key()),
                $alice->token(), 'application/json', 'text/plain')
{
    is(index($dump, $canary), -1, 'Redis does not show '
       . ($canary =~ /^[\w.\/-]{1,20}$/ ? $canary : 'a secret'));
}
like($dump, qr/^\Q$name\E$/m, 'which a look at the right place would');

my ($key) = @{redis('KEYS', '*:a:*')};
like($key, qr/^ti:\{[\w-]{22}}:a:[\w-]{43}$/, 'an answer\'s name');
cmp_ok(redis('TTL', $key), '<=', 300, 'ends');
cmp_ok(redis('TTL', $key), '>', 280, 'in its time');


# --- a new consent, a new generation, a disconnect

# the same consent refreshed: what was kept is still the caller's
my $cid = redis('HGET', $name, 'cid');
$alice->connect('canary-token-2', cid => $cid);
like(ask()->header('Cache-Status'), qr/; hit;/,
     'a refreshed token: the answer is still good');

$alice->connect('canary-token-3');
my $r = ask();
is(answer_of($r), 'canary-token-3', 'a new consent: fetched anew');
is($r->header('Cache-Status'), 'token-injector; fwd=miss; stored', 'a miss');
like(ask()->header('Cache-Status'), qr/; hit;/, 'and kept anew');

# Redis remembers the new one alone
wait_for(sub { redis('EXISTS', $key) }, 'an answer');
my $kept = redis('GET', $key);

redis('DEL', $name);
refused(ask(), 'connection-required', 'a disconnect: no answer');
is(redis('GET', $key), $kept, 'though it is still there');

$alice->connect('canary-token-4');
is(answer_of(ask()), 'canary-token-4', 'consented again: fetched anew');

# an old answer brought back
redis('SET', $key, $kept);
nginx_stop();
nginx_start($text, log_level => 'info');
is(answer_of(ask()), 'canary-token-4', 'an old answer brought back is none');


# --- an uncacheable response after a new consent leaves the old one in memory

my $bob = person('bob');
$bob->connect('canary-token-b1');
is(answer_of(get('/b', as => $bob)), 'canary-token-b1', 'an answer');
$bob->connect('canary-token-b2');
$up->answer('/b' => { status => 500, body => 'broken' });
for (1 .. 3) {
    $r = get('/b', as => $bob);
    is($r->status(), 500, 'which is never served');
    cmp_ok($r->seconds(), '<', 0.3 * patience(), 'nor waited for');
}

secrets_absent('no log shows any of it', 'canary-token', 'canary-refresh',
               'canary-answer', 'canary-header', $alice->user_key());

done_testing();
