# Token endpoints that fail, hang, or lie: a result that says so, in bounded
# time, and one call for all who ask.

use strict;
use warnings;

use MIME::Base64 qw(decode_base64);
use Time::HiRes qw(time);

use TI::Test;

needs_module();

my $up = upstream();
my %good = (access_token => 'app-token', token_type => 'Bearer',
            expires_in => 3600);

sub json { return { json => { %good, @_ } } }

# one provider each: what it answers, what comes of it
my @faults = (
    [html => { headers => ['Content-Type: text/html'],
               body => '<html>Sign in</html>' }, 502, 'provider-unavailable'],
    [empty => { body => '' }, 502, 'provider-unavailable'],
    [none => { json => { token_type => 'Bearer' } }, 502,
     'provider-unavailable'],
    [twice => { body => '{"access_token":"a","access_token":"b",'
                        . '"token_type":"Bearer"}' }, 502,
     'provider-unavailable'],
    [crlf => { body => '{"access_token":"a\r\nX-Evil: 1",'
                       . '"token_type":"Bearer"}' }, 502,
     'provider-unavailable'],
    [type => json(token_type => 'mac'), 502, 'provider-unavailable'],
    [large => json(access_token => 'a' x 20_000), 502,
     'provider-unavailable'],
    [cut => { %{json()}, cut => 60 }, 502, 'provider-unavailable'],
    [reset => { reset => 1, cut => 0, body => '' }, 502,
     'provider-unavailable'],
    [redirect => { status => 302, headers => ['Location: /good'],
                   body => '' }, 502, 'provider-unavailable'],
    [e500 => { status => 500, body => 'oops' }, 502, 'provider-unavailable'],
    [e503 => { status => 503, headers => ['Retry-After: 9'], body => '' },
     502, 'provider-unavailable'],
    [throttled => { status => 429, headers => ['Retry-After: 7'], body => '' },
     429, 'provider-throttled'],
    [client => { status => 401, json => { error => 'invalid_client' } }, 502,
     'provider-misconfigured'],
    [scope => { status => 400, json => { error => 'invalid_scope' } }, 502,
     'provider-misconfigured'],
    [admin => { status => 400, json => { error => 'consent_required' } }, 403,
     'admin-consent-required'],
    [hang => { delay => 30, body => '' }, 502, 'provider-unavailable'],
    [slow => { %{json()}, drip => [20, 0.05] }, 200, 'ok'],
    [huge => json(expires_in => 1e15), 200, 'ok'],
    [negative => json(expires_in => -1), 200, 'ok'],
    [text => json(expires_in => '1800'), 200, 'ok'],
    [untold => { json => { access_token => 'app-token',
                           token_type => 'bearer' } }, 200, 'ok'],
);

my $idp = upstream('idp', { map { ("/$_->[0]" => $_->[1]) } @faults });

# the second of two secrets is the one that is good
my $two = upstream('two', sub {
    my ($request) = @_;

    my ($basic) = $request->{headers}{authorization} =~ /^Basic (\S+)$/;

    return decode_base64($basic) eq 'me:new-secret'
           ? json() : { status => 401, json => { error => 'invalid_client' } };
});

write_file('secret', "s3cret\n");
write_file('secrets', "old-secret\nnew-secret\n");
chmod 0600, map { testdir() . "/$_" } qw(secret secrets);

sub provider {
    my ($name, $endpoint, $secret) = @_;

    return <<"CONF";
    token_provider $name {
        store               vault;
        grant               client_credentials;
        token_endpoint      http://$endpoint;
        client_id           me;
        client_secret_file  %%TESTDIR%%/$secret;
        timeout             2s;
        allow_http          on;
    }
CONF
}

my @names = map { $_->[0] } @faults;

redis_start();
nginx_start(blocks() . join('', map { provider($_, "%%UPSTREAM_idp%%/$_",
                                               'secret') } @names)
    . provider('two', '%%UPSTREAM_two%%/', 'secrets')
    . "server {\n    listen 127.0.0.1:%%PORT%%;\n"
    . join('', map { "    location /$_ {\n        token_inject $_;\n"
                     . "        proxy_pass http://%%UPSTREAM%%;\n    }\n" }
                   @names, 'two')
    . "}\n", workers => 2);


# --- each

for my $fault (@faults) {
    my ($name, $answer, $status, $result) = @$fault;

    my $before = $idp->calls("/$name") // 0;
    my $begun = time();
    my @r = parallel(map { ['GET', "/$name"] } 1 .. 5);

    is(join(' ', map { $_->status() } @r), join(' ', ($status) x 5),
       "$name: $status");

    if ($status == 200) {
        is($r[0]->json()->{headers}{authorization}, 'Bearer app-token',
           "$name: the token is used");

    } else {
        is($r[0]->json()->{type}, "urn:ngx-token-injector:$result",
           "$name: $result");
    }

    is(scalar(grep { $_->{uri} eq "/$name" } $idp->requests()), 1,
       "$name: asked once");
    cmp_ok(time() - $begun, '<', 6 * patience(), "$name: in time");
}


# --- what it says of the time

is(get('/throttled')->header('Retry-After') =~ /^[1-8]$/ ? 1 : 0, 1,
   'the provider says when');
is(get('/e503')->header('Retry-After') =~ /^(?:[1-9]|10)$/ ? 1 : 0, 1,
   'of a failure too');

sub life {
    my ($name) = @_;

    my ($key) = grep { /:c:$name:-$/ } @{redis('KEYS', '*')};

    return redis_hash($key)->{exp} - time();
}

cmp_ok(abs(life('negative') - 3600), '<', 60, 'a life below zero: an hour');
cmp_ok(abs(life('untold') - 3600), '<', 60, 'an untold one: an hour');
cmp_ok(abs(life('text') - 1800), '<', 60, 'one as text: as it says');
cmp_ok(abs(life('huge') - 3650 * 86400), '<', 60, 'a huge one: ten years');


# --- a second secret

is(get('/two')->json()->{headers}{authorization}, 'Bearer app-token',
   'the second secret is tried');
is($two->calls(), 2, 'after the first');
log_like(qr{provider "two" takes the secret of line 2 of "[^"]+/secrets" }
         . 'and not that of line 1 any more',
         'and the log says so');


# --- asked again when its pause is over

$idp->answer('/e500' => json());
wait_for(sub { get('/e500')->status() == 200 }, 'another try', 20);
pass('a failure is not for ever');

log_like(qr/\[error\].* no tokens of provider "client", /
         . 'provider-misconfigured: the provider says invalid_client',
         'what the operator can mend is an error');
log_like(qr/\[warn\].* no tokens of provider "hang", /
         . 'provider-unavailable: its token endpoint timed out',
         'what fails is a warning');
secrets_absent('no log shows a secret', 's3cret', 'old-secret', 'new-secret',
               'app-token');

done_testing();
