# The caller's own JWT exchanged for the third party's token (RFC 8693, and RFC
# 7523 as Microsoft has it): once for all who ask, kept sealed until it ends.

use strict;
use warnings;

use JSON::PP qw(decode_json);
use MIME::Base64 qw(encode_base64);

use TI::Consent;
use TI::Test;
use TI::Watch;

needs_module();

sub form {
    my ($request) = @_;

    return { map { tr/+/ /r =~ s/%(..)/chr hex $1/ger }
             map { split /=/, $_, 2 } split /&/, $request->{body} };
}

# each answer is another token: whose, of which provider, which one of these;
# late enough for all to wait for it
my (%n, %life);
%life = (short => 4);

my $up = upstream();
my $idp = upstream('idp', sub {
    my ($request) = @_;

    my $form = form($request);
    my $jwt = $form->{subject_token} // $form->{assertion};
    my $who = decode_json(b64u_decode((split /\./, $jwt)[1]))->{sub};
    my ($name) = $request->{uri} =~ m{^/(\w+)};
    my $token = "$name-$who-" . ++$n{"$name-$who"};

    return { delay => 0.2,
             json => { access_token => $token, token_type => 'Bearer',
                       issued_token_type =>
                           'urn:ietf:params:oauth:token-type:access_token',
                       expires_in => $life{$who} // 3600,
                       refresh_token => 'not-asked-for' } };
});

write_file('secret', "s3cret\n", 0600);

sub provider {
    my ($name, $more) = @_;

    return <<"CONF";
    token_provider $name {
        store           vault;
        token_endpoint  http://%%UPSTREAM_idp%%/$name;
        client_id       me;
        allow_http      on;
        $more
    }
CONF
}

redis_start();

my $text = blocks() . provider('files', <<'CONF')
        grant               token_exchange;
        client_secret_file  %%TESTDIR%%/secret;
        scope               "files.read files.list";
        token_parameters    audience=files resource=https://files.example.com/;
CONF
    . provider('mail', <<'CONF')
        grant               jwt_bearer;
        client_auth         post;
        client_secret_file  %%TESTDIR%%/secret;
        scope               https://graph.microsoft.com/Mail.Read;
CONF
    . provider('open', <<'CONF')
        grant               token_exchange;
        client_auth         none;
        user_key            off;
        subject_token_type  urn:ietf:params:oauth:token-type:jwt;
CONF
    . <<'CONF';

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location /files/ {
            token_inject  files;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /mail/ {
            token_inject  mail;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /open/ {
            token_inject  open;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /cookie/ {
            token_auth    corp from=$cookie_session;
            token_inject  files;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text, workers => 2);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r, workers => 2);

sub bearer {
    my ($r) = @_;

    return $r->status() == 200 ? $r->json()->{headers}{authorization}
                               : result($r);
}

sub calls {
    my ($name, $person) = @_;

    return scalar grep { $_->{uri} eq "/$name"
                         && index($_->{body}, $person->token()) >= 0 }
                       $idp->requests();
}

my $alice = person('alice');
my $bob = person('bob');


# --- fifty at once, two nodes of two workers

my @r = parallel(map { ['GET', "/files/$_", as => $alice,
                        $_ % 2 ? (port => 'there') : ()] } 1 .. 50);

is(scalar(grep { bearer($_) eq 'Bearer files-alice-1' } @r), 50,
   'fifty are served with one token');
is($idp->calls(), 1, 'for which the provider was asked once');

my $request = $idp->last();
my $form = form($request);
is($request->{method}, 'POST', 'by a POST');
is($request->{headers}{'content-type'}, 'application/x-www-form-urlencoded',
   'of a form');
is($request->{headers}{authorization}, 'Basic ' . encode_base64('me:s3cret',
   ''), 'as this client');
is_deeply($form, {
    grant_type => 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token => $alice->token(),
    subject_token_type => 'urn:ietf:params:oauth:token-type:access_token',
    scope => 'files.read files.list', audience => 'files',
    resource => 'https://files.example.com/',
}, "the caller's JWT, for this");


# --- kept: sealed under the user key, without what nobody asked for

my $kept = $alice->connection(provider => 'files');
is($kept->{access}{token}, 'files-alice-1', 'the store has it, sealed');
is($kept->{hash}{gen}, 1, 'written once');
is($kept->{hash}{state}, 'connected', 'as any other');
ok(!exists $kept->{hash}{$_}, "without $_") for qw(refresh account);
cmp_ok(abs($kept->{hash}{exp} - time() - 3600), '<', 30, 'until its end');
my ($name) = grep { /:c:files:/ } @{redis('KEYS', '*')};
cmp_ok(abs(redis('TTL', $name) - 3600 - 600), '<', 30,
       'and soon after that it is gone');
wait_for(sub { !grep { /:l:/ } @{redis('KEYS', '*')} }, 'no lock');
pass('the lock is gone');

is(bearer(get('/files/again', token => $alice->token(jti => 'another'),
              user_key => $alice->user_key())),
   'Bearer files-alice-1', 'another JWT of the same caller: the same token');
is(bearer(get('/cookie/', headers => ['Cookie: session=' . $alice->token()],
              user_key => $alice->user_key())),
   'Bearer files-alice-1', 'from a cookie too');
is($idp->calls(), 1, 'and nobody was asked');


# --- nobody else's

is(bearer(get('/files/', as => $bob)), 'Bearer files-bob-1', "bob's is his");

my $elsewhere = $alice->on_device();
is(bearer(get('/files/', as => $elsewhere)), 'Bearer files-alice-2',
   'another device has its own');
is($alice->connection(provider => 'files')->{access}{token}, 'files-alice-1',
   'and leaves the first alone');

my $tenant = person('alice', tid => 'other', claims => { aud => 'other' });
my $before = $idp->calls();
is(result(get('/files/', as => $tenant)), 'token-invalid',
   'a JWT that is not for us');
is(result(get('/files/')), 'token-missing', 'and none');
my $keyless = $alice->on_device();
$keyless->{user_key} = undef;
is(result(get('/files/', as => $keyless)), 'user-key-required', 'no user key');
is($idp->calls(), $before, 'are exchanged for nothing');

my $carol = person('carol');
is(bearer(get('/cookie/', headers => ['Cookie: a=b; session='
                                      . $carol->token()],
              user_key => $carol->user_key())),
   'Bearer files-carol-1', 'a JWT from a cookie is exchanged');
is(form($idp->last())->{subject_token}, $carol->token(), 'as it came');


# --- on behalf of

is(bearer(get('/mail/', as => $alice)), 'Bearer mail-alice-1', 'on behalf of');
is($idp->last()->{headers}{authorization}, undef, 'the client in the form');
is_deeply(form($idp->last()), {
    grant_type => 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion => $alice->token(), requested_token_use => 'on_behalf_of',
    scope => 'https://graph.microsoft.com/Mail.Read', client_id => 'me',
    client_secret => 's3cret',
}, 'as Microsoft has it');


# --- without a user key: the caller's nevertheless

@r = parallel(map { ['GET', "/open/$_", token => $alice->token(),
                     $_ % 2 ? (port => 'there') : ()] } 1 .. 20);
is(scalar(grep { bearer($_) eq 'Bearer open-alice-1' } @r), 20,
   'without a user key');
is(calls('open', $alice), 1, 'once');
is(form($idp->last())->{subject_token_type},
   'urn:ietf:params:oauth:token-type:jwt', 'said to be what it is');
is(form($idp->last())->{client_id}, 'me', 'by a public client');
is(bearer(get('/open/', token => $bob->token())), 'Bearer open-bob-1',
   "bob's is bob's");
is($alice->connection(provider => 'open', user_key => undef)->{access}{token},
   'open-alice-1', 'kept in the name of who calls');


# --- until it ends

my $short = person('short');
is(bearer(get('/files/', as => $short)), 'Bearer files-short-1', 'for 4 s');
wait_for(sub { bearer(get('/files/', as => $short)) eq 'Bearer files-short-2' },
         'another token', 10);
is(calls('files', $short), 2, 'another, by one call');
is($short->connection(provider => 'files')->{hash}{gen}, 2,
   'in the place of the first');


# --- through a reload, and what nobody sees

nginx_reload();
$before = $idp->calls();
is(bearer(get('/files/', as => $alice)), 'Bearer files-alice-1',
   'a reload loses nothing');
is($idp->calls(), $before, 'and asks nobody');

for my $person ($alice, $bob, $carol, $short) {
    my $seen = grep { index(join("\n", $_->{uri}, $_->{body} // '',
                                 map { @$_ } @{$_->{raw}}),
                            $person->token()) >= 0 } $up->requests();
    is($seen, 0, "the third party never sees the JWT of $person->{sub}");
}

store_absent('nothing in Redis shows a token or a JWT', $alice->token(),
             $bob->token(), 'files-alice-1', 'open-alice-1', 'not-asked-for');
secrets_absent('no log does', $alice->token(), $bob->token(), $carol->token(),
               'files-alice-1', 'mail-alice-1', 'open-alice-1', 's3cret',
               'not-asked-for');

done_testing();
