# The third party says 401 to a token that was thought good: it is replaced
# once, for all who were told so, and never in a loop.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

# ?not=… of the request says which token it is refused for
my $up = upstream(sub {
    my ($request) = @_;
    my ($not) = $request->{uri} =~ /not=([\w-]+)/;
    my $token = $request->{headers}{authorization} // '';

    return { status => 401, body => 'never', headers => ['X-Third: party'] }
        if $request->{uri} =~ /^\/always/
           || $not && $token =~ /^Bearer (?:token-of-)?\Q$not\E$/;

    return { body => $token, delay => 0.05 };
});

my $n = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;

    $n++;

    return { json => { access_token => "app-$n", token_type => 'Bearer',
                       expires_in => 3600 }, delay => 0.1 }
        if $request->{body} =~ /grant_type=client_credentials/;

    my ($kind) = $request->{body} =~ /refresh_token=(\w+)/;

    return { status => 400, json => { error => 'invalid_grant' } }
        if $kind eq 'ended';
    return { status => 503, body => 'away' } if $kind eq 'away';

    return { json => { access_token => "$kind-$n", token_type => 'Bearer',
                       refresh_token => "${kind}2", expires_in => 3600 },
             $kind =~ /held/ ? (hold => 'held') : (delay => 0.1) };
});

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';

my $talks = <<'PROVIDER';
    token_endpoint          http://%%UPSTREAM_idp%%/token;
    authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
    redirect_uri            http://%%UPSTREAM_idp%%/back;
    client_id               me;
    client_secret_file      %%TESTDIR%%/secret;
    allow_http              on;
PROVIDER

redis_start();
nginx_start(blocks(provider => $talks) . <<'CONF', log_level => 'info',

    token_provider app {
        store               vault;
        grant               client_credentials;
        token_endpoint      http://%%UPSTREAM_idp%%/token;
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        allow_http          on;
    }

    token_provider given {
        store  vault;
    }

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        token_auth    corp;
        token_inject  outlook;

        location / {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /app {
            token_auth    off;
            token_inject  app;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /given {
            token_inject  given;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /streamed {
            proxy_http_version       1.1;
            proxy_request_buffering  off;
            proxy_pass               http://%%UPSTREAM%%;
        }

        location /paged {
            error_page  403 502 /sorry;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location = /status {
            token_auth    off;
            token_inject  off;
            token_status;
        }

        location = /sorry {
            token_auth    off;
            token_inject  off;
            return 200 "sorry";
        }

        location /cached {
            token_cache  1m;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
CONF
    workers => 2);

sub forget { $_->forget() for $up, $idp }

sub calls { $up->calls() . ' to the third party, ' . $idp->calls()
            . ' to the endpoint' }

sub connected {
    my ($name, $kind) = @_;
    my $who = person($name);

    $who->connect("token-of-$name", refresh => $kind // $name);
    forget();

    return $who;
}


# --- an app-only token

is(get('/app')->body(), 'Bearer app-1', 'app-only: the first');
forget();
my $r = get('/app?not=app-1');
is($r->status() . ' ' . $r->body(), '200 Bearer app-2', 'app-only: replaced');
is(calls(), '2 to the third party, 1 to the endpoint', 'app-only: once');
is(get('/app?not=app-1')->body(), 'Bearer app-2', 'app-only: stays so');
is(calls(), '3 to the third party, 1 to the endpoint', 'app-only: unasked');

forget();
$r = get('/app?not=app-2');
is($r->status() . ' ' . $r->body(), '401 never',
   'app-only: not again within a minute');
is($r->header('X-Third'), 'party', 'the answer as it came');
is(calls(), '1 to the third party, 0 to the endpoint', 'nobody is asked');


# --- a user's

my $alice = connected('alice');
$r = post('/?not=alice', 'a body', as => $alice);
is($r->status(), 200, 'a refresh: served');
like($r->body(), qr/^Bearer alice-\d+$/, 'with the new token');
is(calls(), '2 to the third party, 1 to the endpoint', 'one of each');
is(($up->requests())[1]{body}, 'a body', 'and its body');
is($alice->connection()->{hash}{gen}, 2, 'stored as the next');

# to whatever the third party says 401: at most once
my $bob = connected('bob');
$r = get('/always', as => $bob);
is($r->status() . ' ' . $r->body(), '401 never', 'always: as it came');
is(calls(), '2 to the third party, 1 to the endpoint', 'always: one try');
get('/always', as => $bob) for 1 .. 10;
is(calls(), '12 to the third party, 1 to the endpoint', 'always: no loop');
is(get('/other', as => $bob)->status(), 200, 'other requests go on');

# another device is another connection
my $there = $bob->on_device();
$there->connect('token-of-bob', refresh => 'bob');
forget();
is(get('/?not=bob', as => $there)->status(), 200, 'another device');
is(calls(), '2 to the third party, 1 to the endpoint', 'has its own minute');

# nobody to ask
my $carol = person('carol');
$carol->connect('token-of-carol', provider => 'given');
forget();
is(get('/given?not=carol', as => $carol)->status(), 401,
   'no endpoint: as it came');
is(calls(), '1 to the third party, 0 to the endpoint', 'no endpoint: once');


# --- there is no other

my $dave = connected('dave', 'ended');
$r = get('/?not=dave', as => $dave);
is(result($r) . ' ' . $r->status(), 'reconnect-required 403',
   'the grant has ended: said');
is($r->header('X-Third'), undef, 'in words of ours');
is($dave->connection()->{hash}{state}, 'reconnect', 'and marked');

my $page = connected('page', 'ended');
is(get('/paged?not=page', as => $page)->body(), 'sorry',
   'error_page has a page for it');

my $erin = connected('erin', 'away');
$r = get('/?not=erin', as => $erin);
is(result($r) . ' ' . $r->status(), 'provider-unavailable 502',
   'the endpoint is away: said');
my $asked = $idp->calls();
get('/?not=erin', as => $erin) for 1 .. 5;
is($idp->calls(), $asked, 'and it is left alone');
is(get('/other', as => $erin)->status(), 200,
   'who is not refused goes on with the token');


# --- not repeatable

my $fred = connected('fred');
my $c = connection();
$c->send(http_bytes(POST => '/streamed?not=fred', as => $fred,
                    headers => ['Content-Length: 10', 'Connection: close'])
         . 'abc');
select(undef, undef, undef, 0.1);
$c->send('defghij');
$r = $c->response();
is($r->status() . ' ' . $r->body(), '401 never',
   'a body that was not kept: as it came');
$idp->wait_calls(1);
wait_for(sub { $fred->connection()->{hash}{gen} == 2 }, 'the next token');
is(get('/?not=fred', as => $fred)->status(), 200,
   'the next request has another');
is($idp->calls(), 1, 'once');


# --- a hundred at once, and both workers

my $gina = connected('gina');
my @r = parallel(map { ['GET', "/$_?not=gina", as => $gina] }
                     1 .. 100);
is(scalar(grep { $_->status() == 200 && $_->body() =~ /^Bearer gina-\d+$/ }
               @r), 100, 'a hundred: all served');
is($idp->calls(), 1, 'a hundred: one call to the endpoint');

# those that ask for one answer
my $hugo = connected('hugo');
@r = parallel(map { ['GET', '/cached?not=hugo', as => $hugo] }
                  1 .. 50);
is(scalar(grep { $_->status() == 200 && $_->body() =~ /^Bearer hugo-\d+$/ }
               @r), 50, 'one answer for fifty: all served');
is(calls(), '2 to the third party, 1 to the endpoint',
   'one answer for fifty: fetched once');
is(scalar(grep { $_->header('Cache-Status') =~ /; hit;/ } @r), 49,
   'one answer for fifty: the others have it from there');


# --- the client goes away while it waits

my $iris = connected('iris', 'held');
$c = connection();
$c->send(http_bytes(GET => '/?not=iris', as => $iris));
$idp->wait_calls(1);
is($c->response(timeout => 0.1)->error(), 'timeout', 'it waits');
$c->abort();
wait_log(qr/client (?:prematurely )?closed connection|reset by peer/);
$idp->release('held');
wait_for(sub { $iris->connection()->{hash}{gen} == 2 }, 'the next token');
is(get('/?not=iris', as => $iris)->status(), 200,
   'nothing is lost: the next has the new token');
is($idp->calls(), 1, 'of one call');

my ($row) = grep { $_->{location} eq '/app' }
            @{get('/status')->json()->{locations}};
is($row->{third_party}{repeated}, 1, 'what was repeated is counted');
is($row->{third_party}{refused}, 1, 'and what was not');

log_like(qr/\[info\] .*401 to the token of provider "outlook", which is /,
         'it is said');
secrets_absent('no log shows a secret', 'token-of-', 's3cret of',
               $alice->token(), $alice->user_key());

done_testing();
