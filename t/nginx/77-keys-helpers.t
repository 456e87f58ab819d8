# Keys are fetched by workers: a cache manager or loader, which walks a disk
# for minutes and then just exits, has no business with them.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $idp = issuer(keys => [key('RS256', 'a')]);

nginx_start($idp->block('corp', <<'EOB') . <<'CONF');
    keys_uri           %%ISSUER%%/keys;
    keys_interval      1s;
    keys_min_interval  1s;
EOB
    proxy_cache_path %%TESTDIR%%/cache keys_zone=cache:1m;

    server {
        listen 127.0.0.1:%%PORT%%;

        location / { token_auth corp; empty_gif; }
    }
CONF

is(result(get('/', token => $idp->token())), 'ok', 'the keys are there');

my ($worker) = nginx_workers();

sub helpers {
    my $master = nginx_pid();
    my @args = map { s/\0.*//sr } map { read_file("/proc/$_/cmdline") }
               grep { $_ != $worker }
               split ' ', read_file("/proc/$master/task/$master/children");

    return join ', ', sort @args;
}

is(helpers(), 'nginx: cache loader process, nginx: cache manager process',
   'and helpers');

# what was under way has been counted after a while
nginx_kill('STOP', $worker);
wait_for(sub { read_file("/proc/$worker/stat") =~ /\) T / }, 'it to stop');
sleep 1;
my $calls = $idp->calls();
sleep 3;
is($idp->calls(), $calls, 'who do not ask where the worker cannot');

nginx_kill('CONT', $worker);
$idp->wait_calls($calls + 1);
is(result(get('/', token => $idp->token({ jti => 2 }))), 'ok', 'it goes on');

done_testing();
