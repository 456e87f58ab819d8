#!/usr/bin/perl

# "Variables" of the directives page: claims that are asked for before the
# module's phase, while keys are still to be fetched; what "set" and "map" make
# of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use TI::Test;

needs_module();

my $up = upstream();
my $idp = issuer(keys => [key('RS256')]);

$idp->fault('/keys' => { hold => 'keys' });

nginx_start($idp->block('corp', 'keys_uri %%ISSUER%%/keys; keys_wait 20s;')
            . <<'CONF');
    map $token_claim_sub $kept {
        default   "[$token_claim_sub]";
    }

    map $token_claim_sub $asked {
        volatile;
        default   "[$token_claim_sub]";
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            set         $early "$token_claim_sub$kept$asked";
            token_auth  corp;
            add_header  X-Saw "$early then $kept and $asked";
            proxy_pass  http://%%UPSTREAM%%;
        }
    }
CONF

my $c = connection();
$c->send(http_bytes(GET => '/', token => $idp->token({ sub => 'alice' })));
$idp->wait_calls(1);
$idp->fault('/keys' => undef);
$idp->release('keys');

is($c->response()->header('x-saw'), '[][] then [] and [alice]',
   'before the keys: empty, and kept so unless volatile');
is(get('/', token => $idp->token({ sub => 'bob' }))->header('x-saw'),
   'bob[bob][bob] then [bob] and [bob]', 'with them: verified there and then');

done_testing();
