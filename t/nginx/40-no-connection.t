# Who never consented, or not on this device, is told to connect: the same
# answer for all, and nothing of it reaches the upstream or changes the store.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks(store => 'local_valid 0;') . <<'CONF', log_level => 'info');

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF

my $alice = person('alice');
my $bob = person('bob');
my $token = 'canary-token-of-alice';

$alice->connect($token, refresh => 'canary-refresh-of-alice');
my $before = store_dump();

is(get('/', as => $alice)->status(), 200, 'who consented is served');
is($up->calls(), 1, 'by the upstream');
$up->forget();

my %cases = (
    'never consented' => $bob,
    'another device' => $alice->on_device(),
    'a user key of zeros' => $alice->on_device('A' x 43),
    "another's user key" => $alice->on_device($bob->user_key()),
    "another caller with alice's key" => $bob->on_device($alice->user_key()),
);

log_mark();
my %bodies;
for my $case (sort keys %cases) {
    my $r = get('/', as => $cases{$case});

    refused($r, 'connection-required', $case);
    is($r->json()->{provider}, 'outlook', "$case: names the provider");
    is($r->header('Cache-Control'), 'no-store', "$case: is not cached");
    $bodies{$r->body()}++;
}

is(scalar(keys %bodies), 1, 'nobody learns why');
is($up->calls(), 0, 'the upstream hears of none');
is_deeply(store_dump(), $before, 'the store is as it was');

my @lines = grep { /connection-required/ } split /^/, log_since();
is(scalar(@lines), 5, 'each is logged once');
is(scalar(grep { /\[info\]/ } @lines), 5, 'as information');

is(get('/', as => $alice)->json()->{headers}{authorization}, "Bearer $token",
   'alice is served as before');

secrets_absent('no log shows a secret', $token, 'canary-refresh',
               map { ($_->token(), $_->user_key()) } $alice, values %cases);

done_testing();
