# DELETE takes a connection out of the store: on this node and on another, with
# its answers, and nobody else's.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream(sub {
    my ($request) = @_;

    return { json => { auth => $request->{headers}{authorization},
                       at => time() } };
});

redis_start();
my $text = blocks(store => 'local_valid 1h;')
           . "token_provider shared {\nstore vault;\nuser_key off;\n}\n"
           . <<'EOT';

server {
    listen 127.0.0.1:%%PORT%%;
    token_auth corp;

    location /mail/ {
        token_inject outlook;
        proxy_pass http://%%UPSTREAM%%;
    }

    location /kept/ {
        token_inject outlook;
        token_cache 5m;
        proxy_pass http://%%UPSTREAM%%;
    }

    location /connections { token_connections; }
}
EOT
nginx_start($text);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r);

my $alice = person('alice');
my $laptop = $alice->on_device();
my $bob = person('bob');

my %token = (alice => 'token-of-alice', laptop => 'token-of-laptop',
             bob => 'token-of-bob');
$alice->connect($token{alice}, refresh => 'refresh-of-alice');
$laptop->connect($token{laptop});
$bob->connect($token{bob});

my @there = (port => 'there');
sub remove { http('DELETE', "/connections/$_[0]", as => $_[1]) }

for my $where ([], \@there) {
    is(get('/mail/1', as => $_, @$where)->status(), 200, 'it works')
        for $alice, $laptop, $bob;
}
my $kept = get('/kept/1', as => $alice)->body();
is(get('/kept/1', as => $alice)->body(), $kept, 'an answer is kept');
is(get('/kept/1', as => $alice, @there)->body(), $kept, 'there too');

my $listed = get('/connections', as => $alice)->json()->{connections}[0];
is($listed->{state}, 'connected', 'the list says so');
ok($listed->{refreshable}, 'that it can be renewed');
cmp_ok(abs($listed->{since} - time()), '<', 10, 'since when');
cmp_ok(abs($listed->{expires_at} - time() - 3600), '<', 10, 'until when');


# --- removed

my $r = remove('outlook', $alice);
is($r->status(), 204, 'removed');
is($r->body(), '', 'which says all');
is($r->header('Cache-Control'), 'no-store', 'not to be kept');
ok(!$alice->connection(), 'it is gone from the store');

my $began = time();
for my $where ([], \@there) {
    my $reply;
    wait_for(sub {
        $reply = get('/mail/1', as => $alice, @$where);
        $reply->status() != 200;
    }, 'the node to notice');
    is($reply->json()->{type}, 'urn:ngx-token-injector:connection-required',
       'no connection any more');
    $reply = get('/kept/1', as => $alice, @$where);
    is($reply->status(), 403, 'nor its answers');
}
cmp_ok(time() - $began, '<', 1, 'on both nodes within one second');

is(get('/mail/1', as => $_)->status(), 200, "another's is as it was")
    for $laptop, $bob;
is(get('/connections', as => $alice)->json()->{connections}[0]{state}, 'none',
   'the list says so');

# an old answer does not open under a new consent
$alice->connect('second-token-of-alice');
wait_for(sub { get('/mail/1', as => $alice)->status() == 200 },
         'the new connection');
isnt(get('/kept/1', as => $alice)->body(), $kept, 'nor after a new consent');


# --- what was not there

is(remove('outlook', $bob->on_device())->status(), 204,
   'there was none on this device');
is(get('/mail/1', as => $bob)->status(), 200, 'and the other stays');
is(remove('shared', $bob)->status(), 204, 'none at all');
is(remove('nobody', $bob)->status(), 404, 'no such provider');

$r = http('DELETE', '/connections/outlook', token => $bob->token());
is($r->status(), 400, 'nobody knows which');
is($r->json()->{type}, 'urn:ngx-token-injector:user-key-required',
   'without the key');


# --- what is no connection goes as well

my $name = $bob->connection()->{name} // record_name(who => $bob->who(),
    provider => 'outlook', user_key => $bob->user_key());
redis('DEL', $name);
redis('SET', $name, 'x');
is(get('/connections', as => $bob)->json()->{connections}[0]{state},
   'reconnect', 'a value of another type');
is(remove('outlook', $bob)->status(), 204, 'is removed');
is(redis('EXISTS', $name), 0, 'is removed');

redis('HSET', $name, 'access', 'x', 'exp', '-5', 'since', 'y');
my $odd = get('/connections', as => $bob)->json()->{connections}[0];
is_deeply([@$odd{qw(since expires_at scope account)}], [(undef) x 4],
          'what cannot be read is unknown');
is(remove('outlook', $bob)->status(), 204, 'half a connection');
is(redis('EXISTS', $name), 0, 'is removed too');


# --- one account's name, sealed by the server's key alone

$bob->connect($token{bob}, cid => 'A' x 22, expires => int(time()) - 5,
              scope => 'Mail.Read', fields => {
    account => record_seal(kind => 'account', who => $bob->who(),
                           provider => 'outlook', gen => 0, cid => 'A' x 22,
                           device => record_device($bob->user_key()),
                           token => 'bob@example.com', expires => undef),
});
$odd = get('/connections', as => $bob)->json()->{connections}[0];
is($odd->{account}, 'bob@example.com', "the account's name");
is($odd->{scope}, 'Mail.Read', 'the scope');
is($odd->{state}, 'reconnect', 'ended, and nothing renews it');
ok(defined $odd->{refreshable} && !$odd->{refreshable}, 'as it says');

secrets_absent('no log has a secret', values %token, 'refresh-of-alice',
               $alice->user_key(), $alice->token());

done_testing();
