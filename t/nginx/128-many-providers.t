# More providers than anybody has: each has its rules, its connections, its
# place in the list.

use strict;
use warnings;

use TI::Consent;
use TI::Test;
use TI::Watch;

needs_module();

use constant PROVIDERS => 200;

my $up = upstream();
my @names = map { "p$_" } 1 .. PROVIDERS;

redis_start();
nginx_start(blocks() . join('', map { <<"CONF" } @names) . <<'CONF');
    token_provider $_ {
        store  vault;
        allow  for=$_ everybody;
    }
CONF

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /last {
            token_inject  p200;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /connections {
            token_connections;
        }
    }
CONF

my $alice = person('alice', claims => { for => 'everybody' });
my $bob = person('bob', claims => { for => 'p200' });

is(result(get('/last', as => $alice)), 'connection-required', 'the last one');
$alice->connect('token', provider => 'p200');
is(result(get('/last', as => $alice)), 'ok', 'connected');
my @list = connections($alice);
is(join(' ', sort map { $_->{provider} } @list),
   join(' ', sort 'outlook', @names), 'all are listed');
is(join(' ', map { $_->{provider} } grep { $_->{state} eq 'connected' } @list),
   'p200', 'and which is connected');
is(join(' ', sort map { $_->{provider} } connections($bob)), 'outlook p200',
   'to Bob his own');

done_testing();
