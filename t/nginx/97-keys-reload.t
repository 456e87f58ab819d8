# A reload keeps what was fetched: nobody is asked, and nobody is needed.
# Another address is asked.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer(keys => [key('RS256', 'a')]);
my $other = issuer('other', keys => [key('RS256', 'b')]);
my $n = 0;

$idp->answer('/moved' => { json => { keys => [jwk(key('RS256', 'm'))] } });

sub conf {
    my ($lines, $more) = @_;

    return $idp->block('corp', $lines) . ($more // '') . <<'CONF';
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF
}

sub fresh {
    my ($key) = @_;

    return result(get('/', token => $idp->token({ jti => ++$n },
                                                key => $key // key('RS256',
                                                                   'a'))));
}

my $first = 'keys_uri %%ISSUER%%/keys; keys_wait 500ms;';

nginx_start(conf($first));
is(fresh(), 'ok', 'fetched');
is($idp->calls(), 1, 'once');

nginx_reload();
is(fresh(), 'ok', 'after a reload');
$idp->stop();
nginx_reload(undef, wait_old => 1);
is(fresh(), 'ok', 'nobody needs the issuer');
nginx_reload(conf("$first leeway 5s; keys_interval 20m;"));
is(fresh(), 'ok', 'nor where something else has changed');
nginx_reload(conf($first, $other->block('other')));
is(fresh(), 'ok', 'nor where another issuer came');
nginx_reload(conf($first), workers => 2);
is(fresh(), 'ok', 'in each of more workers') for 1 .. 8;
log_unlike(qr/keys of issuer "corp"/, 'nor did anybody ask');
$idp->start();
is($idp->calls(), 1, 'indeed');

# another address, and back
my $moved = 'keys_uri %%ISSUER%%/moved; keys_wait 500ms;';
nginx_reload(conf($moved));
is(fresh(key('RS256', 'm')), 'ok', 'another address is asked');
is(fresh(), 'token-invalid', 'and the one before does not count');
nginx_reload(conf($first));
is(fresh(), 'ok', 'back');
is(fresh(key('RS256', 'm')), 'token-invalid', 'for good');

# both, then one: what was withdrawn by the configuration is gone
nginx_reload(conf($first . 'keys_uri %%ISSUER%%/moved;'));
is(fresh(), 'ok', 'one of two');
is(fresh(key('RS256', 'm')), 'ok', 'the other');
nginx_reload(conf($first));
is(fresh(key('RS256', 'm')), 'token-invalid', 'not any more');

# algorithms that were not asked for before
$idp->keys(key('RS256', 'a'), key('ES256'));
nginx_reload(conf($first . 'algorithms RS256 ES256;'));
is(result(get('/', token => $idp->token({}, alg => 'ES256',
                                        key => key('ES256')))),
   'ok', 'another algorithm');

# found by discovery, and kept too
nginx_reload(conf(''));
is(fresh(), 'ok', 'discovered');
my $calls = $idp->calls();
nginx_reload();
is(fresh(), 'ok', 'and kept');
is($idp->calls(), $calls, 'without another look');

# while one asks, the configuration changes
$idp->fault('/keys' => { hold => 'reload' });
nginx_reload(conf('keys_uri %%ISSUER%%/keys?now; keys_wait 10s;'));
$idp->wait_calls(1, '/keys?now');
my $c = connection();
$c->send(http_bytes(GET => '/', token => $idp->token({ jti => ++$n })));
nginx_reload();
$idp->release('reload');
is(result($c->response()), 'ok', 'who waits in a worker that leaves is served');
is(fresh(), 'ok', 'and so is the next');
is($idp->calls('/keys?now'), 1, 'by one fetch');

done_testing();
