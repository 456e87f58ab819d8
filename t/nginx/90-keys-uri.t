# Issuers that publish their keys: at a URI, at several, beside files, where
# their discovery document says; several of them in one location.

use strict;
use warnings;

use TI::Test;
use TI::Tls;
use TI::Watch;

needs_module();

my $up = upstream();
my $a = issuer('a', keys => [key('RS256', 'a')]);
my $b = issuer('b', keys => [key('RS256', 'b')], tls => 1);
my $idle = issuer('idle');
my $n = 0;

# two sets of its own beside the one at /keys
$a->answer('/ec' => { json => { keys => [jwk(key('ES256', 'a'))] } },
           '/empty' => { json => { keys => [] } });
jwks_file('more.jwks', key('RS256', 'more'));

nginx_start($a->block('a', 'keys_uri %%ISSUER_a%%/keys;')
            . $a->block('many', <<'EOB')
    algorithms RS256 ES256;
    keys_uri   %%ISSUER_a%%/empty %%ISSUER_a%%/keys?set=1;
    keys_uri   %%ISSUER_a%%/ec;
    keys_file  %%TESTDIR%%/more.jwks;
EOB
            . $a->block('found')
            . $b->block('b', 'keys_uri %%ISSUER_b%%/keys;')
            . $idle->block('idle')
            . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;
        proxy_set_header X-Issuer $token_issuer;

        location /a/ {
            token_auth a;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /many/ {
            token_auth many;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /found/ {
            token_auth found;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /ab/ {
            token_auth found b;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

# what comes of a token that nobody has seen yet
sub asked {
    my ($path, $idp, %opt) = @_;

    return result(get($path, token => $idp->token({ jti => ++$n }, %opt)));
}

is(asked('/a/', $a), 'ok', 'a key at a URI');
is(asked('/a/', $a, key => key('RS256', 'b')), 'token-invalid',
   'and no other key');
is(asked('/a/', $b), 'token-invalid', 'nor another issuer');

is(asked('/many/', $a), 'ok', 'one of several URIs');
is(asked('/many/', $a, alg => 'ES256', key => key('ES256', 'a')), 'ok',
   'another of them');
is(asked('/many/', $a, key => key('RS256', 'more')), 'ok', 'a file');
is(asked('/many/', $a, key => key('RS256', 'b')), 'token-invalid',
   'and no other key');
is(asked('/a/', $a, key => key('RS256', 'more')), 'token-invalid',
   'one block does not trust what another does');

is(asked('/found/', $a), 'ok', 'discovered');
is(asked('/ab/', $a), 'ok', 'one of two issuers');
is($a->calls('WELL_KNOWN'), 1, 'one document for all that');
is(asked('/ab/', $b), 'ok', 'the other');
is(asked('/ab/', $a, key => key('RS256', 'b')), 'token-invalid',
   'the key of one is not the key of the other');
is(get('/ab/', token => $b->token())->json()->{headers}{'x-issuer'}, 'b',
   'named');

is($idle->calls(), 0, 'who is trusted nowhere is not asked');
is($b->calls('/keys'), 1, 'asked once');

# what is sent
my $sent = $a->last();
is($sent->{method}, 'GET', 'a GET');
is($sent->{body}, '', 'with nothing in it');
is($sent->{headers}{host}, "127.0.0.1:" . $a->port_number(), 'a Host');
is($sent->{headers}{$_}, undef, "no $_")
    for qw(authorization cookie accept-encoding proxy-authorization);

# OPTIONS is not a hole
is(http('OPTIONS', '/a/')->status(), 401, 'OPTIONS needs a token');

done_testing();
