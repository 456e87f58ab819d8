# S2 of the mission: a messaging app with OneDrive and SharePoint.  Its server
# calls Graph for each person: lists, items, thumbnails as bytes, previews,
# links, shares, permissions.  What changes something is never kept.

use strict;
use warnings;

use TI::Consent;
use TI::Oidc;
use TI::Test;
use TI::Watch;

needs_module();
needs_oidc();

my $scope = 'offline_access Files.ReadWrite';
my $microsoft = oidc('microsoft', path => '/contoso', service => 1,
    scopes => ['openid', split / /, $scope],
    routes => {
        authorization => '/oauth2/v2.0/authorize',
        token => '/oauth2/v2.0/token', jwks => '/discovery/v2.0/keys',
    },
    clients => [{
        client_id => 'injector', client_secret => 'secret-of-the-injector',
        token_endpoint_auth_method => 'client_secret_post',
        grant_types => ['authorization_code', 'refresh_token'],
        redirect_uris => [TI::Consent::CONNECTED],
    }]);
like($microsoft->endpoint('token'), qr{/contoso/oauth2/v2\.0/token$},
     'the vendor\'s token endpoint');

redis_start();
nginx_start(blocks(
    provider => party($microsoft, scope => "\"$scope\"", user_key => 'off',
                      client_auth => 'post'),
) . <<'CONF');

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /graph/ {
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%SERVICE_microsoft%%/v1.0/;
        }

        location /connections {
            token_connections;
        }
    }
CONF

# its server has the keys: people have none
my ($alice, $bob) = map { person($_, user_key => undef) } qw(alice bob);
consent($_, $microsoft) for $alice, $bob;
my $token = $alice->connection()->{access}{token};
my $root = '/graph/me/drive';

sub graph {
    my ($path, $cache, $name) = @_;

    my $r = get($path, as => $alice);
    is($r->status() . ' ' . ($r->header('Cache-Status') // '')
       =~ s/ttl=\d+/ttl/r, "200 token-injector; $cache", $name);

    return $r;
}

sub twice {
    my ($path, $name) = @_;

    my $r = graph($path, 'fwd=miss; stored', $name);
    is(graph($path, 'hit; ttl', "$name, kept")->body(), $r->body(),
       "$name, the same bytes");

    return $r;
}


# --- reading

is(twice("$root/root", 'the root')->json()->{folder}{childCount}, 2,
   'of Alice\'s drive');
my @items = @{twice("$root/root/children", 'its list')->json()->{value}};
is(join(' ', map { $_->{name} } @items), 'alice-1.png alice-2.png',
   'has Alice\'s files');
my $id = $items[0]{id};
is(twice("$root/items/$id", 'an item')->json()->{size}, $items[0]{size},
   'and its details');
is(get("$root/items/$id", as => $bob)->status(), 404, 'which Bob has not');

my $r = twice("$root/items/$id/thumbnails/0/medium/content", 'its thumbnail');
is($r->header('Content-Type'), 'image/png', 'is an image');
is(length $r->body(), $items[0]{size}, 'whole');
like($r->body(), qr/^\x89PNG\r\n.*\x00\xff\x0d\x0a\x00alice 1$/s,
     'byte for byte');
my $part = get("$root/items/$id/thumbnails/0/medium/content", as => $alice,
               headers => ['Range: bytes=1-3']);
is($part->status() . $part->body(), '206PNG', 'or a part of it, from the kept');
is(get("$root/items/01ALICE9", as => $alice)->status(), 404,
   'what the vendor refuses stays refused');


# --- what changes something

$microsoft->forget();
my $preview = post("$root/items/$id/preview", '{}', as => $alice);
my $again = post("$root/items/$id/preview", '{}', as => $alice);
is("@{[map { $_->header('Cache-Status') } $preview, $again]}",
   'token-injector; fwd=bypass token-injector; fwd=bypass',
   'previews are not kept');
isnt($preview->json()->{getUrl}, $again->json()->{getUrl}, 'each has its URL');

is(scalar @{twice("$root/items/$id/permissions", 'the permissions')
            ->json()->{value}}, 1, 'are the owner\'s');
my $link = post("$root/items/$id/createLink",
                '{"type":"view","scope":"organization"}', as => $alice,
                headers => ['Content-Type: application/json']);
is($link->status(), 201, 'a link is made');
is($link->json()->{link}{scope}, 'organization', 'as it was asked for');
is(scalar(grep { $_->{method} eq 'POST' } $microsoft->calls()), 3,
   'every one of them reached the vendor, once');

my $fresh = get("$root/items/$id/permissions", as => $alice,
                headers => ['Cache-Control: no-cache'])->json()->{value};
is($fresh->[1]{shareId}, $link->json()->{shareId},
   'who asks past the kept sees it among the permissions');

my $share = '/graph/shares/' . $link->json()->{shareId} . '/driveItem';
is(twice($share, 'the share')->json()->{id}, $id, 'is the item');
$r = twice("$share/thumbnails/0/medium/content", 'the share\'s thumbnail');
like($r->body(), qr/alice 1$/, 'is the item\'s');
is(get($share, as => $bob)->json()->{id}, $id, 'Bob opens it as himself');


# --- whose

my @who = grep { $_->{who} eq 'bob' } $microsoft->calls();
is(scalar @who, 1, 'with his own token');
my %tokens = map { $_->{authorization} => 1 }
             grep { $_->{who} eq 'alice' } $microsoft->calls();
is(join(' ', keys %tokens), fingerprint($token),
   'and Alice\'s calls with hers, all of them');

my $refresh = $alice->connection()->{refresh}{token};
store_absent('neither tokens nor what was cached are readable in Redis',
             $token, $refresh, 'alice-1.png', 'alice 1', $id);
secrets_absent('nor is anything in a log', $token, $refresh,
               $alice->token(), 'secret-of-the-injector');

done_testing();
