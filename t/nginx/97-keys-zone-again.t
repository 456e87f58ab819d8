# The memory for keys goes with the last issuer whose keys are fetched, that
# for admissions stays: what comes later is not taken for what was there.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer(keys => [key('RS256', 'a')]);
my $file = jwks_file('z.jwks', key('RS256', 'z'));
my $server = <<'CONF';
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

my $fetched = $idp->block('corp', 'keys_uri %%ISSUER%%/keys;') . $server;
my $known = $idp->token();

sub known { result(get('/', token => $known)) }

sub fresh {
    my ($key) = @_;

    return result(get('/', token => $idp->token({ jti => "new $key" },
                                                key => key('RS256', $key))));
}

nginx_start($fetched);
is(known(), 'ok', 'let in');
is(known(), 'ok', 'and remembered');

# in an emergency: a file instead
nginx_reload($idp->block('corp', "keys_file $file;") . $server,
             wait_old => 1);
is(known(), 'token-invalid', 'with other keys nobody is');

$idp->keys(key('RS256', 'b'));
nginx_reload($fetched, wait_old => 1);
is(fresh('b'), 'ok', 'fetched again');
is(fresh('a'), 'token-invalid', 'the key was withdrawn meanwhile');
is(known(), 'token-invalid', 'for who was remembered too');

done_testing();
