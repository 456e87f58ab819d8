# Several who consent while the provider takes another of our secrets: what one
# has found out does not lead another astray.

use strict;
use warnings;

use MIME::Base64 qw(decode_base64);

use TI::Consent;
use TI::Test;

needs_module();

# only the last line's secret is good; who has the code "late" learns that
# the first line's is not when all others know

my $good = 'new';

my $idp = upstream(sub {
    my ($request) = @_;

    return { status => 404 } if $request->{uri} ne '/token';

    my ($basic) = ($request->{headers}{authorization} // '') =~ /^Basic (\S+)$/;
    my ($code) = $request->{body} =~ /\bcode=(\w+)/;
    my (undef, $secret) = split /:/, decode_base64($basic);

    return { json => { access_token => "access-$code", expires_in => 3600,
                       token_type => 'Bearer' } }
        if $secret eq $good;

    return { status => 401, json => { error => 'invalid_client' },
             $code eq 'late' ? (hold => 'late') : () };
});

write_file('secrets', "old\n$good\n", 0600);

redis_start();
nginx_start(blocks() . <<'EOT');
token_provider mail {
    store                   vault;
    authorization_endpoint  http://%%UPSTREAM%%/authorize;
    token_endpoint          http://%%UPSTREAM%%/token;
    client_id               client;
    client_secret_file      %%TESTDIR%%/secrets;
    redirect_uri            https://search.example.com/connected;
    allow_http              on;
}

server {
    listen      127.0.0.1:%%PORT%%;
    token_auth  corp;

    location /connections { token_connections; }
}
EOT

sub arrival {
    my ($person, $code) = @_;

    my $url = api('POST', '/mail', $person)->json()->{authorization_url};
    my ($state) = $url =~ /[?&]state=([\w-]{43})/;

    my $c = connection();
    $c->send(TI::Http::http_bytes('POST', '/connections/mail/code',
        as => $person, body => JSON::PP::encode_json({ code => $code,
                                                       state => $state }),
        headers => ['Content-Type: application/json']));

    return $c;
}

my ($alice, $bob, $carol) = map { person($_) } qw(alice bob carol);

my $late = arrival($alice, 'late');
$idp->wait_calls(1);

is(arrival($bob, 'bobs')->response()->status(), 201,
   'the second secret is found to be the good one');
is($idp->calls(), 3, 'after the first');

$idp->release('late');

my $r = $late->response();

is($r->status(), 201, 'who began before that finds it too');
is($idp->calls(), 4, 'with the next');
ok($alice->connection(provider => 'mail'), 'and has a connection');

$idp->forget();
is(arrival($carol, 'carols')->response()->status(), 201, 'from now on');
is($idp->calls(), 1, 'it goes first');
is(log_count(qr/takes the secret of line 2 /), 1, 'which is said once');

done_testing();
