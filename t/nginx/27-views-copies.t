# Copies that "map" and "set" made of a secret while it could be seen: they do
# not outlive the view, in the log, in headers, in other requests.

use strict;
use warnings;

use TI::Test;

needs_module();

my $other = upstream('other');
my $up = upstream();
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF', log_level => 'info');

    map $http_authorization $whole {
        default $http_authorization;
    }

    map $http_x_user_key $key {
        default "key=$http_x_user_key";
    }

    map $cookie_session $session {
        default $cookie_session;
    }

    log_format copies "$uri w=$whole k=$key s=$session e=$early n=$name";

    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%TESTDIR%%/access.log copies;
        add_header X-Copies "[$whole$key$session$early]" always;
        add_header X-Name "$name" always;

        set $early "";
        set $name "a name that stays";

        location /early/ {
            token_auth    corp;
            token_inject  outlook;
            if ($whole = "x") {
                return 204;
            }
            if ($key = "x") {
                return 204;
            }
            set $early "copy of $http_authorization";
            mirror /mirror;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /late/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_set_header X-Whole $whole;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /cookie/ {
            token_auth    corp from=$cookie_session;
            token_inject  outlook;
            if ($session = "x") {
                return 204;
            }
            proxy_pass http://%%UPSTREAM%%;
        }

        location = /mirror {
            proxy_set_header X-Whole $whole;
            proxy_set_header X-Early $early;
            proxy_set_header X-Key $key;
            proxy_pass http://%%UPSTREAM_other%%;
        }
    }
EOF

$alice->connect('third-party-token');

my @secrets = ($alice->token(), $alice->user_key(), 'third-party-token');

sub hidden {
    my ($name, $bytes) = @_;

    is_deeply([grep { index($bytes, $_) >= 0 } @secrets], [], $name)
        or diag($bytes);
}

for my $time ('at first', 'again') {
    for my $uri ('/early/', '/late/') {
        for my $method (qw(GET POST)) {
            my $r = http($method, $uri, as => $alice,
                         $method eq 'POST' ? (body => 'x' x 20000) : ());
            is($r->status(), 200, "$method $uri, $time");
            hidden('its headers', join "\n", map { "@$_" } @{$r->{headers}});
            is($r->header('X-Name'), 'a name that stays', 'others stay');
        }
    }
    is($up->last()->{headers}{'x-whole'}, 'Bearer third-party-token',
       'the upstream itself is told what it was to be told');

    my $r = get('/cookie/', user_key => $alice->user_key(),
                headers => ['Cookie: session=' . $alice->token()]);
    is($r->status(), 200, "a cookie, $time");
    hidden('its headers', join "\n", map { "@$_" } @{$r->{headers}});

    for my $bad ({ token => $alice->token() . 'AAAA' }, { user_key => undef },
                 { user_key => new_user_key() })
    {
        $r = get('/early/', as => $alice, %$bad);
        hidden('a refusal', $r->raw());
    }
}

$other->wait_calls(4);
hidden('a mirror', JSON::PP->new->encode($_->{raw})) for $other->requests();
secrets_absent('no log shows a copy', @secrets);

done_testing();
