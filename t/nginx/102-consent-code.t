# A consent is brought back: exchanged once, by who began it, where it began;
# whatever else comes back stores nothing and asks nobody.

use strict;
use warnings;

use Crypt::Digest::SHA256 qw(sha256);

use TI::Test;
use TI::Token qw(b64u);

needs_module();

# A token endpoint that keeps to PKCE: what is sent there is compared with what
# the page was told, which stands in the code.

my $idp = upstream(sub {
    my ($request) = @_;

    return { status => 404 } if $request->{uri} ne '/token';

    my %form = map { s/%(..)/chr hex $1/ger }
               map { split /=/, $_, 2 } split /&/, $request->{body};
    my ($challenge, $n) = split /!/, $form{code};

    return { status => 400, json => { error => 'invalid_grant' } }
        if $form{grant_type} ne 'authorization_code'
           || b64u(sha256($form{code_verifier})) ne $challenge
           || $form{redirect_uri} ne 'https://search.example.com/connected'
           || $form{client_id} ne 'client';

    return { hold => 'token', json => { access_token => "held-$n",
             token_type => 'Bearer', expires_in => 60 } }
        if $n eq 'slow';

    return { json => { access_token => "access-$n", expires_in => 3600,
                       refresh_token => "refresh-$n", token_type => 'Bearer',
                       scope => 'Mail.Read' },
             headers => ['Content-Type: application/json'] };
});

sub provider {
    my ($name, $more) = @_;

    return "token_provider $name {\nstore vault;\nallow_http on;\n"
           . "authorization_endpoint http://%%UPSTREAM%%/authorize;\n"
           . "token_endpoint http://%%UPSTREAM%%/token;\n"
           . "client_id client;\nclient_auth none;\nscope Mail.Read;\n"
           . "redirect_uri https://search.example.com/connected;\n"
           . ($more // '') . "}\n";
}

my $up = upstream('mail');

redis_start();
nginx_start(blocks(issuer => 'tenant_claim tid;',
                   provider => 'allow nobody=ever;')
            . provider('mail') . provider('files')
            . provider('shared', "user_key off;\n")
            . provider('named', "issuer https://idp.example.com/;\n")
            . <<'EOT');
log_format all '$request $status $token_result $request_body $http_x_user_key';

server {
    listen 127.0.0.1:%%PORT%%;
    access_log %%TESTDIR%%/access.log all;
    token_auth corp;

    location /connections { token_connections; }
    location /mail/ { token_inject mail; proxy_pass http://%%UPSTREAM_mail%%; }
    location /shared/ {
        token_inject shared;
        proxy_pass http://%%UPSTREAM_mail%%;
    }
}
EOT

my $alice = person('alice', tid => 'one');
my $twin = person('alice', tid => 'two');
my $laptop = $alice->on_device();
my $bob = person('bob', tid => 'one');

my $n = 0;

# what the page is told: state, challenge
sub start {
    my ($who, $name) = @_;

    my $r = post("/connections/$name", '', as => $who);
    my ($url) = $r->json()->{authorization_url};
    my ($state) = $url =~ /[?&]state=([\w-]{43})/;
    my ($challenge) = $url =~ /[?&]code_challenge=([\w-]{43})/;

    return ($state, $challenge);
}

sub back {
    my ($who, $name, $what) = @_;

    $what = JSON::PP::encode_json($what) if ref $what;

    return post("/connections/$name/code", $what, as => $who);
}

sub refused {
    my ($r, $status, $result, $what) = @_;

    is($r->status(), $status, "$what: $status");
    is($r->json()->{type}, "urn:ngx-token-injector:$result", "as $result");
}


# --- as it should be

my ($state, $challenge) = start($alice, 'mail');
my $r = back($alice, 'mail', { code => "$challenge!1", state => $state,
                               session_state => 'x', more => [1] });

is($r->status(), 201, 'connected');
is($r->header('Cache-Control'), 'no-store', 'not to be kept');
my $c = $r->json();
is_deeply([@$c{qw(provider state scope refreshable account)}],
          ['mail', 'connected', 'Mail.Read', JSON::PP::true, undef],
          'the connection');
cmp_ok(abs($c->{expires_at} - time() - 3600), '<', 10, 'until when');
cmp_ok(abs($c->{since} - time()), '<', 10, 'since when');
is_deeply((grep { $_->{provider} eq 'mail' }
           @{get('/connections', as => $alice)->json()->{connections}})[0],
          $c, 'the list says the same');
is($idp->calls(), 1, 'one exchange');

is(get('/mail/1', as => $alice)->json()->{headers}{authorization},
   'Bearer access-1', 'and it works');
is(get('/mail/1', as => $laptop)->status(), 403, 'on this device');
is(get('/mail/1', as => $twin)->status(), 403, 'for this tenant');
is(get('/mail/1', as => $bob)->status(), 403, 'for this caller');


# --- once

for my $who ($alice, $laptop, $bob, $twin) {
    refused(back($who, 'mail', { code => "$challenge!1", state => $state }),
            400, 'state-invalid', 'a state that was used');
}
is($idp->calls(), 1, 'nobody was asked');


# --- only whose it is

for my $case (['another caller', $bob, 'mail', 'mail'],
              ['another tenant', $twin, 'mail', 'mail'],
              ['another device', $laptop, 'mail', 'mail'],
              ['another provider', $alice, 'files', 'mail'],
              ['another caller without a key', $bob, 'shared', 'shared'])
{
    my ($what, $who, $at, $began) = @$case;

    ($state, $challenge) = start($alice, $began);
    refused(back($who, $at, { code => "$challenge!x", state => $state }),
            400, 'state-invalid', $what);
}
is($idp->calls(), 1, 'nobody was asked');

# who could not read it has not used it up, unless it was its owner
($state, $challenge) = start($alice, 'mail');
back($bob, 'mail', { code => "$challenge!x", state => $state });
is(back($alice, 'mail', { code => "$challenge!2", state => $state })
   ->status(), 201, "another caller's try takes nothing away");

for my $odd ('', 'x', 'A' x 43, '%', "\xc3\xa9" x 21) {
    refused(back($alice, 'mail', { code => 'x', state => $odd }), 400,
            $odd eq '' ? 'request-invalid' : 'state-invalid',
            'a state that nobody began');
}

# ten minutes, or less
($state, $challenge) = start($alice, 'mail');
redis('DEL', grep { /:p:/ } @{redis('KEYS', '*')});
refused(back($alice, 'mail', { code => "$challenge!x", state => $state }),
        400, 'state-invalid', 'a consent that has ended');

# brought to another name by who can write to Redis
($state, $challenge) = start($alice, 'mail');
my ($other) = start($alice, 'mail');
my ($from, $to) = map { 'ti:{' . $alice->user() . '}:p:' . b64u(sha256($_)) }
                  $state, $other;
redis('RENAME', $from, $to);
refused(back($alice, 'mail', { code => "$challenge!x", state => $other }),
        400, 'state-invalid', 'one of another name');


# --- RFC 9207

my $calls = $idp->calls();
for my $iss ('https://evil.example.com/', 'https://idp.example.com', '/') {
    ($state, $challenge) = start($alice, 'named');
    refused(back($alice, 'named', { code => "$challenge!x", state => $state,
                                    iss => $iss }),
            400, 'state-invalid', "an answer of $iss");
}
is($idp->calls(), $calls, 'its code was sent to nobody');


# --- it was not given

for my $case (['access_denied', 403, 'connection-required'],
              ['server_error', 502, 'provider-unavailable'],
              ['temporarily_unavailable', 502, 'provider-unavailable'],
              ['invalid_scope', 502, 'provider-misconfigured'],
              ['unauthorized_client', 502, 'provider-misconfigured'])
{
    my ($error, $status, $result) = @$case;

    ($state) = start($alice, 'files');
    my $reply = back($alice, 'files', { error => $error, state => $state,
                                        error_description => 'canary-text' });
    refused($reply, $status, $result, $error);
    is($reply->json()->{provider}, 'files', 'of this provider');
    unlike($reply->body(), qr/canary/, 'and no word of its');
    refused(back($alice, 'files', { error => $error, state => $state }), 400,
            'state-invalid', 'and that was it');
}
is($idp->calls(), $calls, 'nobody was asked');


# --- what is no call

($state, $challenge) = start($alice, 'mail');
for my $case (['', 'nothing'], ['x', 'no JSON'], ['[]', 'an array'],
              ['{}', 'no member'], [{ code => 'x' }, 'no state'],
              [{ state => $state }, 'no code'],
              [{ code => '', state => $state }, 'an empty one'],
              [{ code => 1, state => $state }, 'a number'],
              [{ code => ['x'], state => $state }, 'a list'],
              [{ code => undef, state => $state }, 'null'],
              [{ code => 'x', state => { a => 1 } }, 'an object'],
              [{ code => 'x', state => $state, iss => 1 }, 'an odd iss'],
              [{ code => 'x' x 16384, state => $state }, 'much'],
              [qq({"code":"x","code":"y","state":"$state"}), 'two codes'])
{
    refused(back($alice, 'mail', $case->[0]), 400, 'request-invalid',
            $case->[1]);
}
is(back($alice, 'mail', { code => "$challenge!3", state => $state })
   ->status(), 201, 'none of that has used it up');

($state) = start($alice, 'mail');
refused(back($alice, 'mail', { code => "a\nb", state => $state }), 400,
        'request-invalid', 'a code that is none');


# --- what the token endpoint says

($state, $challenge) = start($alice, 'files');
$r = back($alice, 'files', { code => 'wrong!1', state => $state });
cmp_ok($r->status(), '>=', 400, "a code that was not for this challenge");
ok(!redis('EXISTS', record_name(who => $alice->who(), provider => 'files',
                                user_key => $alice->user_key())),
   'stores nothing');


# --- several pending at once, in any order

my @began = map { [start($alice, $_)] } qw(mail files mail shared);
my @names = qw(mail files mail shared);
for my $i (2, 0, 3, 1) {
    is(back($alice, $names[$i], { code => "$began[$i][1]!p$i",
                                  state => $began[$i][0] })->status(), 201,
       "number $i of four");
}
is(get('/mail/1', as => $alice)->json()->{headers}{authorization},
   'Bearer access-p0', 'the last one that came back');
is(get('/shared/1', as => $alice)->json()->{headers}{authorization},
   'Bearer access-p3', 'and without a key');


# --- two at once with one state: one of them

($state, $challenge) = start($bob, 'mail');
$calls = $idp->calls();
my @both = parallel(map { ['POST', '/connections/mail/code', as => $bob,
                           body => JSON::PP::encode_json(
                               { code => "$challenge!b", state => $state })] }
                    1 .. 8);
is_deeply([sort map { $_->status() } @both], [201, (400) x 7],
          'one of eight is it');
is($idp->calls(), $calls + 1, 'one exchange');


# --- a client that does not wait

($state, $challenge) = start($laptop, 'mail');
$calls = $idp->calls();
my $client = connection();
my $body = JSON::PP::encode_json({ code => "$challenge!slow",
                                   state => $state });
$client->send("POST /connections/mail/code HTTP/1.1\r\nHost: localhost\r\n"
              . 'Authorization: Bearer ' . $laptop->token() . "\r\n"
              . 'X-User-Key: ' . $laptop->user_key() . "\r\n"
              . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
$idp->wait_calls($calls + 1);
$client->abort();
select(undef, undef, undef, 0.1);
$idp->release('token');
wait_for(sub { get('/mail/1', as => $laptop)->status() == 200 },
         'the connection');
is(get('/mail/1', as => $laptop)->json()->{headers}{authorization},
   'Bearer held-slow', 'its tokens are stored all the same');

for my $after (0, 0.0005, 0.001, 0.002, 0.004, 0.008) {
    my $who = person("hasty$after", tid => 'one');
    ($state, $challenge) = start($who, 'mail');
    my $hasty = connection();
    $body = JSON::PP::encode_json({ code => "$challenge!h$after",
                                    state => $state });
    $hasty->send("POST /connections/mail/code HTTP/1.1\r\nHost: localhost\r\n"
                 . 'Authorization: Bearer ' . $who->token() . "\r\n"
                 . 'X-User-Key: ' . $who->user_key() . "\r\n"
                 . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    select(undef, undef, undef, $after) if $after;
    $hasty->close();
    wait_for(sub { get('/mail/1', as => $who)->status() == 200 },
             'the connection');
    is(scalar(grep { index($_->{body}, "%21h$after&") >= 0 }
              $idp->requests()), 1,
       "gone after $after s: exchanged once");
}


my @secrets = map { ($_->token(), $_->user_key()) } $alice, $bob, $laptop;
secrets_absent('no log has a secret', @secrets, $state, $challenge,
               'access-1', 'refresh-1', 'canary-text');

done_testing();
