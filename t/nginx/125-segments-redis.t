# Rules in Redis: who may use a provider while it has them there, without a
# reload; and what is there and should not be lets nobody in.

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

redis_start();
nginx_start(blocks() . <<'CONF');

    token_provider sales {
        store     vault;
        user_key  off;
        allow     dept=sales;
    }

    token_provider anybody {
        store     vault;
        user_key  off;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        token_auth corp;

        location /sales/   { token_inject sales;
                             proxy_pass http://%%UPSTREAM%%; }
        location /anybody/ { token_inject anybody;
                             proxy_pass http://%%UPSTREAM%%; }
        location /cached/  { token_inject anybody; token_cache 5m;
                             proxy_pass http://%%UPSTREAM%%; }
    }
CONF

my $no = 'segment-excluded';

for my $provider (qw(sales anybody)) {
    put_connection(who => ['https://login.example.com/', '', $_],
                   provider => $provider, access => "of-$provider")
        for qw(ann bob);
}

my $ann = jwt({ sub => 'ann', dept => 'sales', groups => ['a', 'b'] });
my $bob = jwt({ sub => 'bob', dept => 'it', groups => ['c'] });

sub says { result(get("/$_[0]/x", token => $_[1])) }

# in time
sub becomes {
    my ($provider, $token, $want, $name) = @_;

    my $began = time();
    wait_for(sub { !grep { says($provider, $token) ne $want } 1 .. 2 }, $name);
    ok(time() - $began < 1 * patience(), "$name: within a second");
}


# --- as configured, then by rules in Redis, then as configured

is(says('sales', $ann), 'ok', 'configured: in');
is(says('sales', $bob), $no, 'configured: not in');
is(says('anybody', $_), 'ok', 'configured: everyone') for $ann, $bob;
is(says('cached', $_), 'ok', 'an answer is kept') for $bob, $bob;

segment('sales', "groups=c d\n");
becomes('sales', $bob, 'ok', 'rules let in');
becomes('sales', $ann, $no, 'and keep out, whom "allow" would let in');
is(says('anybody', $ann), 'ok', 'one provider alone');

segment('sales', 'everyone');
becomes('sales', $ann, 'ok', 'everyone');
becomes('sales', $bob, 'ok', 'everyone else');

segment('sales', 'nobody');
becomes('sales', $ann, $no, 'nobody');
becomes('sales', $bob, $no, 'nobody else');

segment('sales');
becomes('sales', $ann, 'ok', 'removed: "allow" lets in');
becomes('sales', $bob, $no, 'removed: "allow" keeps out');

# an answer that is kept for somebody is given to nobody whom rules exclude
segment('anybody', 'groups=a');
becomes('cached', $bob, $no, 'not even what is kept');
segment('anybody', "groups=a\ngroups=c");
becomes('cached', $bob, 'ok', 'and again');
segment('anybody');
becomes('anybody', $bob, 'ok', 'without');


# --- what is not as it should be lets nobody in

segment('sales', 'everyone');
becomes('sales', $bob, 'ok', 'before');
my $good = redis('HGET', 'ti:segments', 'sales');

for my $bad (['everyone', 'no mark'], ['A' x 43 . ' everyone', 'a wrong mark'],
             [$good =~ s/everyone/dept=it/r, 'another text'], ['', 'nothing'])
{
    my ($value, $name) = @$bad;

    my $before = log_count(qr/"sales" is for nobody/);
    redis('HSET', 'ti:segments', sales => $value);
    redis('PUBLISH', 'ti:changes', 'ti:segments');
    becomes('sales', $bob, $no, $name);
    becomes('sales', $ann, $no, "$name, for her too");
    is(log_count(qr/"sales" is for nobody/), $before + 1, 'said once');
}

# of another provider
redis('HSET', 'ti:segments', sales => 'x', anybody => $good);
redis('PUBLISH', 'ti:changes', 'ti:segments');
becomes('anybody', $bob, $no, "another provider's rules");

redis('DEL', 'ti:segments');
redis('PUBLISH', 'ti:changes', 'ti:segments');
becomes('sales', $ann, 'ok', 'all gone');

# a value that is no hash
redis('SET', 'ti:segments', 'x');
redis('PUBLISH', 'ti:changes', 'ti:segments');
wait_log(qr/does not say whom its providers are for/);
redis('DEL', 'ti:segments');
redis('PUBLISH', 'ti:changes', 'ti:segments');
becomes('sales', $ann, 'ok', 'a hash again');

done_testing();
