# A worker reads a connection, with the lock in its hand, in the moment before
# another worker's journal writes it, and hears of that late: what it read has
# been used up.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Load;
use TI::Rotator;
use TI::Test;

needs_module();

my $idp = rotator();
my $proxy = proxy();

redis_start();
nginx_start(blocks(store => 'server unix:%%PROXY_SOCK%%; timeout 10s;',
                   provider => $idp->party(timeout => '3s')) . <<'CONF',

    server {
        listen      127.0.0.1:%%PORT%% reuseport;
        access_log  off;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%ROTATOR%%;
        }
    }
CONF
    workers => 2);

my $alice = person('alice');
my $c = $idp->connect($alice, left => -1);
my $name = "outlook:$c->{device}";

# one worker has the tokens, and its write takes two seconds to get there
my $write = $proxy->aim("EXPIREAT.*:c:$name", do => 'hold', for => 2);
my $take = $proxy->aim("'PX'.*:l:$name", skip => 1, at => 'executed',
                       do => 'hold', for => 2);
my $asks = connection();
$asks->send(TI::Http::http_bytes('GET', '/', as => $alice));
$proxy->wait_fired($write);

# its lock is lost, the other worker has it then, and is told two seconds later
redis('DEL', $c->{name} =~ s/:c:/:l:/r);
my @more = map { connection() } 1 .. 16;
$_->send(TI::Http::http_bytes('GET', '/', as => $alice)) for @more;
$proxy->wait_fired($take, 3);

is($_->response()->status(), 200, 'served') for $asks, @more;
is($idp->calls(), 1, 'with one call');
is_deeply($idp->stats()->{revoked}, [], 'and nothing is revoked');

done_testing();
