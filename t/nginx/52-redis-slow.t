# A slow Redis is waited for as long as the configuration says, no
# longer.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

redis_start();
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 0;\n"
                            . "connect_timeout 200ms;\ntimeout 400ms;")
            . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cached {
            token_cache 5m;
            proxy_pass  http://%%UPSTREAM%%;
        }
    }
CONF

my @people = map { person("user$_") } 0 .. 29;
$people[$_]->connect("token-of-$_") for 0 .. $#people;

# what all of them get, in short
sub all {
    my ($uri) = @_;

    my @r = parallel(map { [GET => $uri, as => $_] } @people);

    return join ' ', map {
        my $r = $r[$_];
        result($r) ne 'ok' ? result($r)
        : $r->json()->{headers}{authorization} eq "Bearer token-of-$_" ? 'own'
        : 'FOREIGN'
    } 0 .. $#r;
}

my $everybody = join ' ', ('own') x @people;

is(all('/'), $everybody, 'quick');
my $fds = worker_fds();

$proxy->mode(delay => 0.15);
is(all('/'), $everybody, 'slow');
my $r = get('/', as => $people[0]);
cmp_ok($r->seconds(), '>', 0.14, 'which takes its time');
is(all('/cached/1'), $everybody, 'slow, with answers');
is(all('/cached/1'), $everybody, 'and again');

$proxy->mode(delay => 0.6);
$r = get('/', as => $people[0], token => $people[0]->token(jti => 1));
refused($r, 'store-unavailable', 'too slow');
cmp_ok($r->seconds(), '<', 1.3 * patience(), 'in bounded time');

$proxy->mode('pass');
wait_for(sub { all('/') eq $everybody }, 'recovery');
pass('recovered');
fds_are($fds);

done_testing();
