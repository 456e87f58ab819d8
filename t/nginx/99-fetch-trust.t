# Keys belong to who was trusted to vouch for them: another issuer block, or
# another configuration, that trusts somebody else does not take them over.

use strict;
use warnings;

use TI::Test;
use TI::Tls;
use TI::Watch;

needs_module();

my $idp = issuer(tls => 1, keys => [key('RS256', 'a')]);
my $ours = TI::Tls::authority();
my $theirs = TI::Tls::authority('theirs');
my $n = 0;

sub block {
    my ($name, $trusted) = @_;

    return $idp->block($name, "keys_uri %%ISSUER%%/keys; keys_wait 500ms; "
                              . "ssl_trusted_certificate $trusted;");
}

sub conf {
    return join '', @_, <<'CONF';
    server {
        listen 127.0.0.1:%%PORT%%;

        location / { token_auth corp; empty_gif; }
        location /other { token_auth other; empty_gif; }
    }
CONF
}

sub fresh {
    return result(get($_[0] // '/', token => $idp->token({ jti => ++$n })));
}

nginx_start(conf(block(corp => $ours), block(other => $theirs)));
is(fresh(), 'ok', 'one trusts the issuer');
is(fresh('/other'), 'keys-unavailable', 'the other does not');
is(fresh(), 'ok', 'the one still does');

nginx_reload(conf(block(corp => $theirs), block(other => $theirs)),
             wait_old => 1);
is(fresh(), 'keys-unavailable', 'after a reload nobody does');

nginx_reload(conf(block(corp => $ours), block(other => $ours)),
             wait_old => 1);
is(fresh(), 'ok', 'both');
is(fresh('/other'), 'ok', 'and by one fetch');
is($idp->calls('/keys'), 2, 'of two that came through');

done_testing();
