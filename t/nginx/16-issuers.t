# Several issuers, several policies: a token accepted under one is not
# accepted under another, whatever was remembered.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my %a = (iss => 'https://login.example.com/');
my %b = (iss => 'https://b.example.com/');

jwks_file('b.jwks', key('RS256', 'b'));
redis_start();
nginx_start(blocks() . <<'EOF');

    token_issuer b {
        issuer     https://b.example.com/;
        audience   api://search;
        keys_file  %%TESTDIR%%/b.jwks;
    }

    # the same issuer, otherwise trusted
    token_issuer narrow {
        issuer     https://login.example.com/;
        audience   api://narrow;
        keys_file  %%TESTDIR%%/corp.jwks;
    }

    token_issuer by-mail {
        issuer     https://login.example.com/;
        audience   api://search;
        keys_file  %%TESTDIR%%/corp.jwks;
        user_claim email;
    }

    token_provider graph {
        store vault;
        allow groups=graph;
    }

    token_provider keyless {
        store     vault;
        user_key  off;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        proxy_set_header X-Issuer $token_issuer;

        location /a/ {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /b/ {
            token_auth b;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /ab/ {
            token_auth corp b;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /narrow/ {
            token_auth narrow;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /a/outlook/ {
            token_auth   corp;
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /ab/outlook/ {
            token_auth   b corp;
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /mail/outlook/ {
            token_auth   by-mail;
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /a/graph/ {
            token_auth   corp;
            token_inject graph;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /a/keyless/ {
            token_auth   corp;
            token_inject keyless;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
EOF

my $alice = person('alice', %a);
my $alice_b = person('alice', %b, key => key('RS256', 'b'),
                     user_key => $alice->user_key());
my $mail = person('alice@example.com', user_key => $alice->user_key());

$alice->connect('outlook-of-a');
$alice_b->connect('outlook-of-b');
$mail->connect('outlook-by-mail');
$alice->connect('graph-of-a', provider => 'graph');
put_connection(who => $alice->who(), provider => 'keyless',
               access => 'keyless-of-a');

sub result {
    my ($uri, %opt) = @_;

    my $r = get($uri, %opt);
    return $r->json()->{type} =~ s/.*://r if $r->status() != 200;
    my $h = $r->json()->{headers};
    my $sent = $h->{authorization} =~ s/^Bearer //r;

    return join ' ', $h->{'x-issuer'}, $sent =~ /^eyJ/ ? 'own' : $sent;
}

# twice: the second time from what is remembered
for my $time ('at first', 'again') {
    is(result('/a/', as => $alice), 'corp own', "a at a, $time");
    is(result('/b/', as => $alice_b), 'b own', "b at b, $time");
    is(result('/a/', as => $alice_b), 'token-invalid', "b at a, $time");
    is(result('/b/', as => $alice), 'token-invalid', "a at b, $time");
    is(result('/ab/', as => $alice), 'corp own', "a at both, $time");
    is(result('/ab/', as => $alice_b), 'b own', "b at both, $time");
    is(result('/narrow/', as => $alice), 'token-invalid',
       "another audience, $time");

    is(result('/a/outlook/', as => $alice), 'corp outlook-of-a',
       "a's own, $time");
    is(result('/ab/outlook/', as => $alice), 'corp outlook-of-a',
       "a's own among two, $time");
    is(result('/ab/outlook/', as => $alice_b), 'b outlook-of-b',
       "the same subject of b, $time");
    is(result('/a/outlook/', as => $alice_b), 'token-invalid',
       "not where b is not trusted, $time");
    is(result('/mail/outlook/', as => $alice), 'token-invalid',
       "without the claim that names the user, $time");
    is(result('/mail/outlook/', as => $alice,
              token => $alice->token(email => 'alice@example.com')),
       'by-mail outlook-by-mail', "another claim, another user, $time");
    is(result('/a/outlook/', as => $alice,
              token => $alice->token(email => 'alice@example.com')),
       'corp outlook-of-a', "and here still the subject, $time");

    is(result('/a/graph/', as => $alice), 'segment-excluded',
       "a provider that is not for alice, $time");
    is(result('/a/graph/', as => $alice,
              token => $alice->token(groups => ['graph'])),
       'corp graph-of-a', "but for the group, $time");
    is(result('/a/keyless/', token => $alice->token()),
       'corp keyless-of-a', "without a user key, $time");
    is(result('/a/outlook/', token => $alice->token()), 'user-key-required',
       "which opens nothing else, $time");
    is(result('/a/outlook/', as => $alice->on_device()),
       'connection-required', "nor does another key, $time");
}

# keys of one are not keys of the other
is(result('/ab/', token => jwt({ %a }, key => key('RS256', 'b'))),
   'token-invalid', 'the iss of a, signed by b');
is(result('/ab/', token => jwt({ %b })), 'token-invalid',
   'the iss of b, signed by a');
is(result('/ab/', token => jwt({ %b }, header => { kid => 'rsa-b' })),
   'token-invalid', 'with the kid of b');
is(result('/ab/', token => jwt({ iss => 'https://c.example.com/' })),
   'token-invalid', 'the iss of nobody');

done_testing();
