# Two blocks that fetch the same set: each has its own word on how long it may
# be used.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $idp = issuer(keys => [key('RS256', 'a')]);
my $n = 0;

nginx_start($idp->block('patient', <<'EOB')
    keys_uri           %%ISSUER%%/keys;
    keys_interval      1s;
    keys_min_interval  1s;
    keys_wait          100ms;
EOB
            . $idp->block('strict', <<'EOB')
    keys_uri           %%ISSUER%%/keys;
    keys_interval      1s;
    keys_min_interval  1s;
    keys_max_stale     2s;
    keys_wait          100ms;
EOB
            . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;

        location /patient { token_auth patient; empty_gif; }
        location /strict  { token_auth strict; empty_gif; }
    }
CONF

sub fresh {
    return result(get($_[0], token => $idp->token({ jti => ++$n })));
}

my $known = $idp->token({ jti => 'known' });

is(fresh('/patient'), 'ok', 'one');
is(fresh('/strict'), 'ok', 'the other');
is(result(get('/strict', token => $known)), 'ok', 'a caller to be known');
is($idp->calls('/keys'), 1, 'one fetch for both');

$idp->stop();
wait_for(sub { fresh('/strict') eq 'keys-unavailable' },
         'the end of what is too old', 10);
is(fresh('/patient'), 'ok', 'the other goes on');
is(result(get('/strict', token => $known)), 'keys-unavailable',
   'who is known is not let in either');

done_testing();
