# Exchanges that fail: a result that says whose fault it is, and no call for
# each request while it lasts.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my %good = (access_token => 'exchanged', token_type => 'Bearer',
            issued_token_type =>
                'urn:ietf:params:oauth:token-type:access_token',
            expires_in => 3600);

sub error {
    my ($name, %more) = @_;

    return { status => 400, json => { error => $name, %more } };
}

# one provider each: what it answers, what comes of it
my @faults = (
    [grant => error('invalid_grant'), 'reconnect-required 403'],
    [denied => error('access_denied'), 'reconnect-required 403'],
    [interaction => error('interaction_required',
                          error_codes => [50076],
                          claims => '{"access_token":{"acrs":'
                                    . '{"essential":true,"value":"c1"}}}'),
     'reconnect-required 403'],
    [target => error('invalid_target'), 'provider-misconfigured 502'],
    [scope => error('invalid_scope'), 'provider-misconfigured 502'],
    [client => { %{error('invalid_client')}, status => 401 },
     'provider-misconfigured 502'],
    [unsupported => error('unsupported_grant_type'),
     'provider-misconfigured 502'],
    [away => { status => 503, headers => ['Retry-After: 9'], body => '' },
     'provider-unavailable 502'],
    [throttled => { status => 429, headers => ['Retry-After: 7'],
                    body => '' }, 'provider-throttled 429'],
    [html => { headers => ['Content-Type: text/html'],
               body => '<html>Sign in</html>' }, 'provider-unavailable 502'],
    [typed => { json => { %good, token_type => 'N_A' } },
     'provider-unavailable 502'],
    [reset => { reset => 1, cut => 0, body => '' },
     'provider-unavailable 502'],
    [hang => { delay => 30, body => '' }, 'provider-unavailable 502'],
);

my $up = upstream();
my $idp = upstream('idp', { map { ("/$_->[0]" => $_->[1]) } @faults });

write_file('secret', "s3cret\n", 0600);

my $text = blocks();

for my $fault (@faults) {
    $text .= <<"CONF";
    token_provider $fault->[0] {
        store               vault;
        grant               token_exchange;
        token_endpoint      http://%%UPSTREAM_idp%%/$fault->[0];
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        timeout             2s;
        allow_http          on;
    }
CONF
}

$text .= "server {\n    listen 127.0.0.1:%%PORT%%;\n    token_auth corp;\n"
       . join('', map { "    location /$_->[0] {\n"
                        . "        token_inject $_->[0];\n"
                        . "        proxy_pass http://%%UPSTREAM%%;\n    }\n" }
                      @faults)
       . "}\n";

redis_start();
nginx_start($text, workers => 2);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r);

my $alice = person('alice');
my @claims;

sub asked {
    my ($name) = @_;

    return scalar grep { $_->{uri} eq "/$name" } $idp->requests();
}


# --- each: five at once on two nodes, then more

for my $fault (@faults) {
    my ($name, $answer, $result) = @$fault;

    my $begun = time();
    my @r = parallel(map { ['GET', "/$name", as => $alice,
                            $_ % 2 ? (port => 'there') : ()] } 1 .. 5);

    is(join(', ', map { result($_) . ' ' . $_->status() } @r),
       join(', ', ($result) x 5), "$name: $result");
    cmp_ok(time() - $begun, '<', 6 * patience(), "$name: in time");
    @claims = map { $_->json()->{claims} } @r if $name eq 'interaction';
    is(asked($name), 1, "$name: asked once");

    my @more = map { get("/$name", as => $alice) } 1 .. 20;
    is(scalar(grep { result($_) eq $result =~ s/ .*//r } @more), 20,
       "$name: and so it is for who comes next");

    # 1, 2, 4 … seconds after a failure it may be asked again
    my $may = 1 + int(log(2 + time() - $begun) / log(2));
    cmp_ok(asked($name), '<=', $may, "$name: but not asked for each");
    ok(!$alice->connection(provider => $name), "$name: nothing is kept");
}


# --- what they say beside

# who waited at the worker that asked; the others know of the result alone
my %claims = map { $_ => 1 } grep { defined } @claims;
is(join(' ', keys %claims),
   '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}',
   'the claims that the provider asks for are told');
is(get('/grant', as => $alice)->header('Retry-After'), undef,
   'another JWT may be taken at any time');
like(get('/throttled', as => $alice)->header('Retry-After') // '', qr/^[1-7]$/,
     'when the provider says');
like(get('/away', as => $alice)->header('Retry-After') // '', qr/^[1-9]$/,
     'of a failure too');


# --- and when it is well again

$idp->answer("/$_" => { json => \%good }) for qw(grant away client);

for my $name (qw(grant away client)) {
    wait_for(sub { result(get("/$name", as => $alice)) eq 'ok' },
             "$name to be well", 30);
    is(get("/$name", as => $alice)->json()->{headers}{authorization},
       'Bearer exchanged', "$name: well again");
}


# --- the token that is there serves while another can't be had

my $bob = person('bob');
$idp->forget();
$bob->connect('kept', provider => 'hang', expires => int(time() + 3600));
is(get('/hang', as => $bob)->json()->{headers}{authorization}, 'Bearer kept',
   'what is good is used');
is(asked('hang'), 0, 'and nobody asked');

secrets_absent('no log shows a token or the JWT', $alice->token(),
               $bob->token(), 'exchanged', 's3cret');

done_testing();
