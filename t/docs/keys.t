#!/usr/bin/perl

# "Withdrawing a key at once" of the operations page: its commands, as they
# stand there, make nginx ask the issuer, and a reload does not.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use TI::Test;
use Docs;

needs_module();
plan(skip_all => 'no basenc') if system('basenc --version >/dev/null 2>&1');

my $up = upstream();
my $idp = issuer(keys => [key('RS256', 'a'), key('RS256', 'b')]);

nginx_start($idp->block('corp', <<'EOB') . <<'CONF', log_level => 'notice');
    keys_uri           %%ISSUER%%/keys;
    keys_min_interval  1s;
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

is(get('/', token => $known)->status(), 200, 'a caller');

# the key that signed the caller's token is withdrawn
$idp->keys(key('RS256', 'b'));
nginx_reload();
is(get('/', token => $known)->status(), 200, 'a reload does not ask');
is($idp->calls('/keys'), 1, 'indeed');

is(commands(), "401\n", 'the commands of the page');
is($idp->calls('/keys'), 2, 'the issuer is asked');
is(get('/', token => $known)->json()->{type},
   'urn:ngx-token-injector:token-invalid', 'and the caller is out');
log_like(qr/\[notice\].*issuer "corp" has 1 keys now/, 'as the log says');

done_testing();


sub commands {
    my ($sh) = section(page('docs/operations.md'),
                       '### Withdrawing a key at once')
               =~ /^```sh\n(.*?)^```/ms;

    $sh =~ s{^issuer=\K.*}{$idp->url()}me;
    $sh =~ s{^url=\K.*}{'http://127.0.0.1:' . port() . '/'}me;

    my $file = write_file('ask.sh', $sh);

    return scalar `sh $file`;
}
