# An issuer that goes away: what it said last is good until keys_max_stale,
# and no longer; when it is back, so are its callers.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer();
my $n = 0;

nginx_start($idp->block('corp', <<'EOB') . <<'CONF');
    keys_uri           %%ISSUER%%/keys;
    keys_interval      1s;
    keys_min_interval  1s;
    keys_max_stale     4s;
    keys_wait          300ms;
EOB
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

my $known = $idp->token();

sub fresh { result(get('/', token => $idp->token({ jti => ++$n }))) }

is(fresh(), 'ok', 'the issuer is there');
is(result(get('/', token => $known)), 'ok', 'for somebody who comes again');
$idp->wait_calls(2);

$idp->stop();
my $gone = time();
wait_log(qr/\[(?:error|warn)\].*corp/);
is(fresh(), 'ok', 'it is gone, and nobody notices');

my ($served, $known_served);
wait_for(sub {
    my ($a, $b) = (fresh(), result(get('/', token => $known)));
    $served = time() if $a eq 'ok';
    $known_served = time() if $b eq 'ok';
    return $a ne 'ok' && $b ne 'ok';
}, 'the end of what is stale', 10);
cmp_ok($served - $gone, '>', 2, 'for as long as was said');
cmp_ok($served - $gone, '<', 4.5 * patience(), 'and not longer');
cmp_ok($known_served - $gone, '<', 4.5 * patience(),
       'for who is remembered as well');

my $r = get('/', token => $idp->token({ jti => ++$n }));
is(result($r), 'keys-unavailable', 'then callers are told');
like($r->header('retry-after') // 'none', qr/^[1-5]$/, 'to come back');
is(result(get('/', token => $known)), 'keys-unavailable',
   'who was remembered too');

$idp->start();
wait_for(sub { fresh() eq 'ok' }, 'the issuer to be asked again', 8);
is(result(get('/', token => $known)), 'ok', 'and all is well');

done_testing();
