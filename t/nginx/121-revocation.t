# A connection that is removed is revoked at the provider, as well as that can
# be done, and nobody waits for it longer than its timeout.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;

needs_module();

my $idp = upstream();

write_file('secrets', "old-secret\nnew+secret\n", 0600);
write_file('secret', "secret\n", 0600);

sub provider {
    my ($name, $more) = @_;

    return <<"EOT";
token_provider $name {
    store vault;
    allow_http on;
    timeout 1s;
    authorization_endpoint http://%%UPSTREAM%%/authorize;
    token_endpoint http://%%UPSTREAM%%/token;
    client_id client;
    redirect_uri https://search.example.com/connected;
    $more
}
EOT
}

my $at = 'revocation_endpoint http://%%UPSTREAM%%';

redis_start();
nginx_start(blocks()
            . provider('basic', "$at/basic;\nclient_secret_file "
                                . '%%TESTDIR%%/secret;')
            . provider('rotated', "$at/rotated;\nclient_secret_file "
                                  . '%%TESTDIR%%/secrets;')
            . provider('post', "$at/post;\nclient_auth post;\n"
                               . 'client_secret_file %%TESTDIR%%/secret;')
            . provider('public', "$at/public;\nclient_auth none;")
            . provider('slow', "$at/slow;\nclient_auth none;")
            . provider('away', "revocation_endpoint http://127.0.0.1:1/r;\n"
                               . 'client_auth none;')
            . provider('none', 'client_auth none;') . <<'EOT');
server {
    listen 127.0.0.1:%%PORT%%;
    location /connections { token_auth corp; token_connections; }
}
EOT

my $alice = person('alice');

sub form {
    my ($request) = @_;

    return { map { s/%(..)/chr hex $1/ger }
             map { split /=/, $_, 2 } split /&/, $request->{body} };
}

sub put {
    my ($name, %more) = @_;

    $alice->connect("access-of-$name", provider => $name,
                    refresh => "refresh-of-$name", %more);
}

sub remove {
    my ($name, %opt) = @_;

    $idp->forget();
    my $r = http('DELETE', "/connections/$name", as => $alice, %opt);

    ok(!$alice->connection(provider => $name), "$name: gone from the store");

    return $r;
}


# --- both tokens, as RFC 7009 has it

$idp->answer("/$_" => { status => 200, body => '' }) for qw(basic post public);

for my $name (qw(basic post public)) {
    put($name);
    is(remove($name)->status(), 204, "$name: removed");

    my @requests = $idp->requests();
    my %told = map { ($_->{token_type_hint} => $_->{token}) }
               map { form($_) } @requests;

    is(scalar @requests, 2, 'two were revoked');
    is_deeply(\%told, { refresh_token => "refresh-of-$name",
                        access_token => "access-of-$name" },
              'the refresh token and the access token');

    for my $request (@requests) {
        is("$request->{method} $request->{uri}", "POST /$name", 'asked so');
        is($request->{headers}{'content-type'},
           'application/x-www-form-urlencoded', 'with a form');

        my $form = form($request);
        is($request->{headers}{authorization},
           $name eq 'basic' ? 'Basic Y2xpZW50OnNlY3JldA==' : undef,
           'who asks, in the header');
        is($form->{client_id}, $name eq 'basic' ? undef : 'client',
           'or in the body');
        is($form->{client_secret}, $name eq 'post' ? 'secret' : undef,
           'with what proves it');
    }
}

put('basic', refresh => undef);
is(remove('basic')->status(), 204, 'without a refresh token');
is($idp->calls(), 1, 'one is revoked');

is(remove('basic')->status(), 204, 'where there is none');
is($idp->calls(), 0, 'nobody is told');

put('none');
is(remove('none')->status(), 204, 'where nothing can be revoked');
is($idp->calls(), 0, 'nobody is told either');


# --- what does not open is not sent

put('basic', access_record => 'x.y.z', refresh => undef);
is(remove('basic')->status(), 204, 'a record that does not open');
is($idp->calls(), 0, 'is nothing to be revoked');


# --- a secret that has been changed

$idp->answer('/rotated' => { status => 401,
                             json => { error => 'invalid_client' } });
put('rotated');
is(remove('rotated')->status(), 204, 'no secret is right');
wait_for(sub { $idp->calls() == 4 }, 'both secrets to be tried');
my %tried;
$tried{$_->{headers}{authorization}}++ for $idp->requests();
is(scalar keys %tried, 2, 'each was tried');
wait_for(sub { log_count(qr/"rotated": its revocation endpoint/) == 2 },
         'both to be given up');


# --- best effort

$idp->answer('/basic' => { status => 503, body => '<html>no</html>' });
put('basic');
is(remove('basic')->status(), 204, 'a provider that fails');
log_like(qr/provider "basic": its revocation endpoint/, 'is in the log');

put('away');
is(remove('away')->status(), 204, 'one that is away');
log_like(qr/provider "away": its revocation endpoint/, 'too');

$idp->answer('/slow' => { hold => 'slow' });
put('slow');
my $began = time();
is(remove('slow')->status(), 204, 'one that does not answer');
my $took = time() - $began;
cmp_ok($took, '>', 0.5, 'is waited for');
cmp_ok($took, '<', 2 * patience(), 'as long as its timeout');

# who removed it need not wait
put('slow');
$idp->forget();
my $c = connection();
$c->send(join "\r\n", 'DELETE /connections/slow HTTP/1.1', 'Host: localhost',
         'Authorization: Bearer ' . $alice->token(),
         'X-User-Key: ' . $alice->user_key(), '', '');
$idp->wait_calls(2);
$c->abort();
ok(!$alice->connection(provider => 'slow'), 'removed before it was revoked');
is(get('/connections', as => $alice)->status(), 200,
   'and others are served meanwhile');
$idp->release('slow');

# a worker that ends has nothing left of it
put('slow');
$idp->answer('/slow' => { hold => 'again' });
$idp->forget();
$c = connection();
$c->send(join "\r\n", 'DELETE /connections/slow HTTP/1.1', 'Host: localhost',
         'Authorization: Bearer ' . $alice->token(),
         'X-User-Key: ' . $alice->user_key(), '', '');
$idp->wait_calls(2);
nginx_reload();
is($c->response()->status(), 204, 'a reload does not interrupt it');

secrets_absent('no log has a secret', 'refresh-of', 'access-of', 'old-secret',
               'new+secret', $alice->token(), $alice->user_key());

done_testing();
