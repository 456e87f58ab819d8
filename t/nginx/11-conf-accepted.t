# Configurations that are good, and what is only warned of.

use strict;
use warnings;

use TI::Test;

needs_module();

my $listen = 'listen 127.0.0.1:%%PORT%%;';
my $blocks = blocks();

write_file('password', "hush\n", 0600);
write_file('secret', "one\ntwo\n", 0600);
write_file('provider.part', "allow groups=a;\nuser_key off;\n");
jwks_file('mac.jwks', key('HS256'));
jwks_file('more.jwks', key('rsa1024', 'weak'), key('RS256', 'second'));
jwks_file('private.jwks', key('RS256'),
          { %{jwk(key('RS256', 'p'))}, d => 'AQAB' });

sub accepted {
    my ($name, $text, @warnings) = @_;

    my ($code, $out) = nginx_test($text);
    my @got = $out =~ /^nginx: \[(?:warn|emerg|alert)\] .*$/mg;
    my @wanted = map { 'nginx: [warn] ' . subst($_) } @warnings;

    is($code, 0, $name) or diag($out);
    is_deeply(\@got, \@wanted, "$name: " . (@wanted ? 'warned' : 'silent'));
}

# as nginx counts
sub line_of {
    my ($mark) = @_;

    my $n = 0;
    for my $line (split /\n/, read_file('nginx-test.conf')) {
        $n++;
        return $n if $line =~ /#\Q$mark\E$/;
    }
}


accepted('what the tests use', $blocks . <<"EOT");
    server {
        $listen
        location / {
            token_auth   corp;
            token_inject outlook;
            proxy_pass   http://127.0.0.1:9;
        }
    }
EOT

accepted('the example of the documentation', <<"EOT");
    token_store vault {
        server                 unix:/run/redis/redis-server.sock;
        topology               standalone;
        user                   injector;
        password_file          %%TESTDIR%%/password;
        ssl                    off;
        connections            1;
        connect_timeout        250ms;
        timeout                500ms;
        key_prefix             ti:;
        sealing_keys           %%TESTDIR%%/sealing.jwks;
        local_valid            10s;
    }

    token_issuer corp {
        issuer                 https://login.example.com/;
        audience               api://search;
        algorithms             RS256;
        keys_file              %%TESTDIR%%/corp.jwks;
        leeway                 0s;
        user_claim             sub;
        tenant_claim           tid;
    }

    token_provider outlook {
        store                  vault;
        grant                  authorization_code;
        authorization_endpoint https://login.example.com/oauth2/v2.0/authorize;
        token_endpoint         https://login.example.com/oauth2/v2.0/token;
        client_id              0a1b;
        client_secret_file     %%TESTDIR%%/secret;
        client_auth            basic;
        scope                  "offline_access Calendars.Read Mail.Read";
        redirect_uri           https://search.example.com/connected;
        user_key               required;
        allow                  groups=calendar-users;
    }

    server {
        $listen

        location /search/outlook/ {
            token_auth         corp;
            token_require      \$token_claim_email_verified error=403;
            token_inject       outlook;
            token_cache        5m;
            proxy_pass         http://127.0.0.1:9/v1.0/;
        }
    }
EOT

accepted('every other directive of an issuer', blocks(issuer => <<'EOT'));
    allow_http               on;
    keys_uri                 http://127.0.0.1:9/keys;
    keys_uri                 http://127.0.0.1:9/a http://[::1]:9/b?c=d;
    keys_interval            1h;
    keys_min_interval        30s;
    keys_max_stale           12h;
    keys_wait                500ms;
    connect_timeout          1s;
    timeout                  2500ms;
    http_proxy               http://me:hush@proxy.example.com:3128;
    no_proxy                 .internal localhost;
    no_proxy                 10.0.0.1;
    typ                      at+jwt application/at+jwt;
    azp                      search-page mobile;
    required_claims          groups /realm_access/roles;
    required_claims          http://schemas.example.com/claims/emailaddress;
    max_age                  1h;
EOT
accepted('an issuer that is asked where its keys are',
         blocks(issuer => "issuer http://127.0.0.1:9;\nallow_http on;")
         =~ s/^.*keys_file.*\n//mr);
accepted('an issuer of a URL with a path',
         blocks(issuer => "issuer http://127.0.0.1:9/t/1/;\nallow_http on;")
         =~ s/^.*keys_file.*\n//mr);

accepted('every other directive of locations', $blocks . <<"EOT");
    token_shared_memory 256k;

    server {
        $listen

        location / {
            token_auth            corp realm=search from=\$cookie_session;
            token_require         \$token_claim_a \$token_claim_b;
            token_require         \$token_claim_c error=401;
            token_inject          outlook;
            token_user_key        \$http_x_device_key;
            token_cache           1h;
            token_cache_methods   GET HEAD POST;
            token_cache_vary      Accept X-Locale;
            token_cache_key       \$arg_a \$http_b;
            token_cache_max_size  64k;
            token_cache_stale     1h;
            proxy_pass            http://127.0.0.1:9;
        }
    }
EOT

accepted('all is inherited, and switched off', $blocks . <<"EOT");
    token_auth    corp;
    token_inject  outlook;
    token_cache   1m;

    server {
        $listen

        location / {
            proxy_pass    http://127.0.0.1:9;
        }

        location /off {
            token_auth    off;
            token_inject  off;
            token_cache   off;
        }
    }
EOT

accepted('token_inject of a server whose locations all have token_auth',
         $blocks . <<"EOT");
    server {
        $listen
        token_inject outlook;

        location /a {
            token_auth corp;
        }

        location /b {
            token_inject off;
        }
    }
EOT

accepted('blocks in any order, behind their use', <<"EOT" . $blocks);
    server {
        $listen

        location / {
            token_auth   corp;
            token_inject graph;
            proxy_pass   http://127.0.0.1:9;
        }
    }

    token_provider graph {
        store vault;
    }
EOT

accepted('lists in one line or several, and twice', blocks(
    issuer => "audience a b;\naudience c;\n"
              . "algorithms RS256 PS256;\nalgorithms ES256;\n"
              . "keys_file %%TESTDIR%%/corp.jwks;\n"
              . 'keys_file %%TESTDIR%%/corp.jwks;',
    provider => "allow groups=a b c;\nallow https://example.com/role=x;\n"
                . 'allow /realm/roles=admin;'));

accepted('include inside a block',
         blocks(provider => 'include %%TESTDIR%%/provider.part;'));
accepted('include by pattern',
         blocks(provider => 'include %%TESTDIR%%/*.part;'));
accepted('files beside the configuration',
         blocks(store => 'sealing_keys sealing.jwks;',
                issuer => 'keys_file corp.jwks;'));
accepted('an address', blocks(store => 'server 127.0.0.1:6379;'));
accepted('a name that resolves', blocks(store => 'server localhost;'));
accepted('an app-only provider without token_auth', $blocks . <<"EOT");
    token_provider mailer {
        store vault;
        grant client_credentials;
    }

    server {
        $listen
        location / {
            token_inject mailer;
            proxy_pass   http://127.0.0.1:9;
        }
    }
EOT
accepted('client_auth none', blocks(provider => <<'EOT'));
    authorization_endpoint https://idp.example.com/authorize;
    token_endpoint         https://idp.example.com/token;
    client_id              me;
    client_auth            none;
    redirect_uri           https://search.example.com/connected;
EOT
accepted('http where the operator says so', blocks(provider => <<'EOT'));
    authorization_endpoint http://idp.example.com/authorize;
    token_endpoint         http://idp.example.com/token;
    client_id              me;
    client_auth            none;
    redirect_uri           http://search.example.com/connected;
    allow_http             on;
EOT
accepted('MAC keys in a file of their own',
         blocks(issuer => "algorithms HS256;\n"
                          . 'keys_file %%TESTDIR%%/mac.jwks;'));
accepted('nothing of it used', $blocks);


# --- warnings

my $text = $blocks . <<"EOT";
    server {
        $listen

        location / {
            token_cache 1m; #cache
        }
    }
EOT
nginx_test($text);
accepted('token_cache without token_inject', $text,
         '"token_cache" without "token_inject" keeps nothing in '
         . '%%TESTDIR%%/nginx-test.conf:' . line_of('cache'));

for my $case (['more.jwks', 1, '.+'],
              ['private.jwks', 2, 'holds\ a\ private\ key'])
{
    my ($file, $n, $why) = @$case;
    my ($code, $out) = nginx_test(
        blocks(issuer => "keys_file %%TESTDIR%%/$file;"));

    is($code, 0, "$file: a bad key does not spoil its neighbours");
    like($out, qr{^nginx:\ \[warn\]\ keys_file\ "[^"]+/\Q$file\E":
                  \ key\ number\ $n
                  \ is\ not\ used:\ $why\ in\ \S+/nginx-test\.conf:\d+$}mx,
         'it is warned of');
}

done_testing();
