# Many changes in one moment: whoever listens hears them all, and goes on.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice');

redis_start();
nginx_start(blocks(store => 'local_valid 1h;') . <<'CONF', workers => 1);

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
redis_listened(1);

sub bearer { return get('/', as => $alice)->json()->{headers}{authorization} }

for my $round (1 .. 5) {
    $alice->connect("token-$round", unheard => 1);
    my $name = $alice->connection()->{hash}
               && (grep { /:c:outlook:/ } @{redis('KEYS', '*')})[0];

    # two thousand of others', and hers as the last, in one piece
    redis('EVAL', <<'LUA', 0, $name);
        for i = 1, 2000 do
            redis.call('PUBLISH', 'ti:changes',
                       'ti:{0123456789abcdefghijkl}:c:outlook:' .. i)
        end
        return redis.call('PUBLISH', 'ti:changes', ARGV[1])
LUA
    wait_for(sub { bearer() eq "Bearer token-$round" }, 'hers to be heard');
    pass("round $round: heard");
}

is(log_count(qr/the connection that listens on "ti:changes" was lost/), 0,
   'and the connection that listens is the same');

done_testing();
