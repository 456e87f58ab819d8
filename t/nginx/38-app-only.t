# A provider whose token belongs to the application: no caller, or any.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice');
my $bob = person('bob');

redis_start();
nginx_start(blocks(store => 'local_valid 0;') . <<'EOF');

    token_provider mailer {
        store vault;
        grant client_credentials;
    }

    token_provider absent {
        store vault;
        grant client_credentials;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        add_header X-User $token_user;
        proxy_set_header X-Provider $token_provider;

        location / {
            token_inject mailer;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /caller/ {
            token_auth   corp;
            token_inject mailer;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /denied/ {
            deny all;
            token_inject mailer;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /absent/ {
            token_inject absent;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /cached/ {
            token_auth   corp;
            token_inject mailer;
            token_cache  1m;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /shared/ {
            token_inject mailer;
            token_cache  1m;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
EOF

my %app = (who => ['', '', ''], provider => 'mailer');
put_connection(%app, access => 'app-only');
my $name = record_user($app{who});

sub clean {
    my ($name, $r, $token) = @_;

    is($r->status(), 200, $name) or return diag($r->raw());
    my $saw = $up->last();
    is($saw->{headers}{authorization}, 'Bearer ' . ($token // 'app-only'),
       "$name: the application's token");
    my $all = JSON::PP->new->encode($saw->{raw});
    is_deeply([grep { index($all, $_) >= 0 } $alice->token(),
               $alice->user_key(), 'c2VjcmV0'], [],
              "$name: nothing of the caller's");
}

for my $time ('at first', 'again') {
    clean("no caller, $time", get('/'));
    clean("a caller who is not asked for, $time", get('/', as => $alice));
    clean("another scheme, $time",
          get('/', headers => ['Authorization: Basic c2VjcmV0']));
    clean("a user key twice, $time",
          get('/', headers => ['X-User-Key: ' . $alice->user_key(),
                               'X-User-Key: c2VjcmV0']));
    clean("a body, $time", post('/', 'x' x 20000, as => $alice));
    clean("a caller, $time", get('/caller/', as => $alice));
    clean("without a user key, $time",
          get('/caller/', token => $alice->token()));
    is(get('/')->header('X-User'), $name, "its name, $time");
    is(get('/caller/')->status(), 401, "a caller is needed there, $time");
    is(get('/denied/')->status(), 403, "denied, $time");
    is(get('/denied/', as => $alice)->status(), 403, "to all, $time");

    my $r = get('/absent/');
    is($r->status(), 403, "no such connection, $time");
    is($r->json()->{type}, 'urn:ngx-token-injector:connection-required',
       'it says');
    is($r->json()->{provider}, 'absent', 'which');
}

put_connection(%app, access => 'app-next');
clean('a new one', get('/'), 'app-next');
clean('for callers too', get('/caller/', as => $alice), 'app-next');

# answers: the caller's where there is one, everybody's where there is none
$up->forget();
my $first = get('/cached/', as => $alice)->body();
is(get('/cached/', as => $alice)->body(), $first, 'an answer, kept');
is($up->calls(), 1, 'one call');
get('/cached/', as => $bob);
is($up->calls(), 2, 'another caller, another answer');
$first = get('/shared/')->body();
is(get('/shared/', as => $alice)->body(), $first, 'without callers');
is($up->calls(), 3, 'one for all');

# the name of somebody's connection is not the application's
$alice->connect('of-alice', provider => 'mailer');
redis('DEL', record_name(%app));
is(get('/', as => $alice)->status(), 403,
   'without it, nobody\'s own takes its place');

secrets_absent('no log shows it', 'app-only', 'app-next', $alice->token());

done_testing();
