# A consent is begun: the page that the browser is sent to, what lies in Redis
# until it comes back, how many there may be, what a body may be.

use strict;
use warnings;

use Crypt::Digest::SHA256 qw(sha256);

use TI::Test;
use TI::Token qw(b64u);

needs_module();

my $provider = <<'EOT';
authorization_endpoint https://idp.example.com/authorize?p=b2c;
token_endpoint https://idp.example.com/token;
client_id client+1;
client_auth none;
scope "openid Mail.Read offline_access";
redirect_uri https://search.example.com/connected;
EOT

redis_start();
nginx_start(blocks(provider => $provider)
            . "token_provider shared {\nstore vault;\nuser_key off;\n"
            . "$provider}\n"
            . "token_provider staff {\nstore vault;\nallow groups=staff;\n"
            . "$provider}\n"
            . "token_provider app {\nstore vault;\n"
            . "grant client_credentials;\n}\n"
            . <<'EOT');
log_format all '$request $status $token_result $token_provider '
               '$http_x_user_key $http_authorization $request_body $args';

server {
    listen 127.0.0.1:%%PORT%%;
    access_log %%TESTDIR%%/access.log all;

    location /connections { token_auth corp; token_connections; }
    location /cookie/ {
        token_auth corp from=$cookie_session;
        token_connections;
    }
}
EOT

my $alice = person('alice');
my $bob = person('bob');

sub start {
    my ($name, %opt) = @_;

    return post("/connections/$name", delete $opt{body} // '', as => $alice,
                %opt);
}

# the query of a URL, by name
sub query {
    my ($url) = @_;

    my ($query) = $url =~ /\?(.*)$/;
    my %args;
    for my $arg (split /&/, $query) {
        my ($name, $value) = map { s/%(..)/chr hex $1/ger } split /=/, $arg, 2;
        die "$name twice\n" if exists $args{$name};
        $args{$name} = $value;
    }

    return \%args;
}

sub pending_name {
    my ($person, $state) = @_;

    return 'ti:{' . $person->user() . '}:p:' . b64u(sha256($state));
}


# --- the page

my $r = start('outlook');

is($r->status(), 201, 'a consent is begun');
is($r->header('Content-Type'), 'application/json', 'JSON');
is($r->header('Cache-Control'), 'no-store', 'not to be kept');
is_deeply([sort keys %{$r->json()}], [qw(authorization_url expires_in)],
          'two members');
is($r->json()->{expires_in}, 600, 'for ten minutes');

my $url = $r->json()->{authorization_url};
like($url, qr{^https://idp\.example\.com/authorize\?}, 'at the provider');

my $args = query($url);
is_deeply([sort keys %$args],
          [qw(client_id code_challenge code_challenge_method nonce p
              redirect_uri response_type scope state)], 'the parameters');
is($args->{p}, 'b2c', "the endpoint's own query stays");
is($args->{response_type}, 'code', 'code flow');
is($args->{client_id}, 'client+1', 'the client');
is($args->{redirect_uri}, 'https://search.example.com/connected',
   'where it comes back to');
is($args->{scope}, 'openid Mail.Read offline_access', 'the scope');
is($args->{code_challenge_method}, 'S256', 'PKCE by S256');
like($args->{$_}, qr/^[\w-]{43}$/, "$_ is 32 random bytes")
    for qw(code_challenge state nonce);

my $again = query(start('outlook')->json()->{authorization_url});
isnt($again->{$_}, $args->{$_}, "another $_ each time")
    for qw(code_challenge state nonce);


# --- what lies in Redis

my $name = pending_name($alice, $args->{state});
my $sealed = redis('GET', $name);

ok($sealed, 'it is pending, under the name of the format');
cmp_ok(redis('TTL', $name), '<=', 600, 'for ten minutes');
cmp_ok(redis('TTL', $name), '>', 590, 'and no less');

my $record = record_open($sealed, kind => 'pending', who => $alice->who(),
                         provider => 'outlook', gen => 0,
                         user_key => $alice->user_key());
my $json = JSON::PP::decode_json($record->{token});

is($json->{state}, $args->{state}, 'a record of the format: the state');
is($json->{nonce}, $args->{nonce}, 'the nonce');
is(b64u(sha256($json->{verifier})), $args->{code_challenge},
   'the verifier of the challenge');
is($json->{redirect_uri}, $args->{redirect_uri}, 'where it comes back to');
cmp_ok(abs($record->{outer}{exp} - time() - 600), '<', 10, 'its end');

ok(!eval { record_open($sealed, kind => 'pending', who => $bob->who(),
                       provider => 'outlook', gen => 0,
                       user_key => $alice->user_key()) },
   'for nobody else');

for my $key (@{redis('KEYS', '*')}) {
    my $type = redis('TYPE', $key);
    my $value = $type eq 'string' ? redis('GET', $key)
                : join ' ', @{redis('ZRANGE', $key, 0, -1)};

    for my $secret ($args->{state}, $args->{nonce}, $json->{verifier},
                    'alice', $alice->user_key())
    {
        ok(index("$key $value", $secret) < 0, "$type in Redis: no secret");
    }
    cmp_ok(redis('TTL', $key), '>', 0, 'and it ends');
}

my $shared = query(post('/connections/shared', '', token => $alice->token())
                   ->json()->{authorization_url});
ok(record_open(redis('GET', pending_name($alice, $shared->{state})),
               kind => 'pending', who => $alice->who(), provider => 'shared',
               gen => 0, device => '-'),
   'without a user key, where none is asked for');


# --- never more than 16

redis('FLUSHALL');
my @states = map {
    select(undef, undef, undef, 0.002);
    query(start($_ % 2 ? 'outlook' : 'shared')->json()->{authorization_url})
        ->{state};
} 1 .. 17;
my @left = grep { redis('EXISTS', pending_name($alice, $_)) } @states;

is(scalar @left, 16, 'sixteen are pending');
is_deeply(\@left, [@states[1 .. 16]], 'the oldest made room for the newest');
is(scalar(grep { /:p:/ } @{redis('KEYS', '*')}), 16, 'and no other is there');

my $bobs = query(post('/connections/outlook', '', as => $bob)
                 ->json()->{authorization_url})->{state};
ok(redis('EXISTS', pending_name($bob, $bobs)), 'another caller begins');
is(scalar(grep { redis('EXISTS', pending_name($alice, $_)) } @states), 16,
   'and takes nobody else\'s place');

# those that ended do not count
my $list = 'ti:{' . $alice->user() . '}:p';
redis('ZADD', $list, 1, $_) for map { pending_name($alice, "old$_") } 1 .. 9;
start('outlook');
is(redis('ZCARD', $list), 16, 'what has ended is forgotten');


# --- segments, other kinds

is(start('staff')->status(), 404, 'a provider that is for others');
is(start('staff')->json()->{type}, 'urn:ngx-token-injector:provider-unknown',
   'is none');
is(start('app')->status(), 404, "nor is one that is nobody's");

my $carol = person('carol', claims => { groups => ['staff'] });
is(post('/connections/staff', '', as => $carol)->status(), 201,
   'who it is for, begins');
is_deeply([map { $_->{provider} }
           @{get('/connections', as => $carol)->json()->{connections}}],
          [qw(outlook shared staff)], "staff's list");
is_deeply([map { $_->{provider} }
           @{get('/connections', as => $alice)->json()->{connections}}],
          [qw(outlook shared)], "everyone's list");


# --- bodies

for my $case (['nothing', '', 201], ['an object', '{}', 201],
              ['members that nobody knows', '{"a":[1,{"b":null}]}', 201],
              ['16384 bytes', '{"a":"' . 'x' x 16376 . '"}', 201],
              ['one more', '{"a":"' . 'x' x 16377 . '"}', 400],
              ['a megabyte', 'x' x 1000000, 400],
              ['an array', '[]', 400], ['a string', '"x"', 400],
              ['half of it', '{"a":', 400], ['two', '{}{}', 400],
              ['a member twice', '{"a":1,"a":2}', 400],
              ['brackets', '{"a":' . '[' x 5000 . ']' x 5000 . '}', 400],
              ['no UTF-8', "{\"a\":\"\xff\"}", 400])
{
    my ($what, $body, $status) = @$case;
    my $reply = start('outlook', body => $body);

    is($reply->status(), $status, "a body of $what");
    is($reply->json()->{type}, 'urn:ngx-token-injector:request-invalid',
       'by its name') if $status == 400;
}

for my $size (100, 20000) {
    my $body = '{"a":"' . 'x' x $size . '"}';
    my $reply = start('outlook', headers => ['Transfer-Encoding: chunked'],
                      body => sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body,
                                      $body));
    is($reply->status(), $size < 16384 ? 201 : 400,
       "$size bytes in a chunk");
}


# --- another site's page can make a browser send cookies, not this type

for my $case ([[], 400], [['Content-Type: text/plain'], 400],
              [['Content-Type: application/x-www-form-urlencoded'], 400],
              [['Content-Type: application/jsonx'], 400],
              [['Content-Type: application/json'], 201],
              [['Content-Type: Application/JSON; charset=utf-8'], 201])
{
    my ($headers, $status) = @$case;
    my $cookie = 'Cookie: a=b; session=' . $alice->token();
    my $reply = post('/cookie/outlook', '{}', user_key => $alice->user_key(),
                     headers => [$cookie, @$headers]);

    is($reply->status(), $status,
       'a token in a cookie, and ' . ($headers->[0] // 'no type'));
}

is(get('/cookie/', user_key => $alice->user_key(),
       headers => ['Cookie: session=' . $alice->token()])->status(), 200,
   'the list changes nothing');


# --- with the store away

redis_kill();
for my $call ([GET => ''], [POST => '/outlook'], [DELETE => '/outlook']) {
    my ($method, $path) = @$call;
    my $reply = http($method, "/connections$path", as => $alice, body => '');

    is($reply->status(), 503, "$method without the store");
    is($reply->json()->{type}, 'urn:ngx-token-injector:store-unavailable',
       'by its name');
    like($reply->header('Retry-After'), qr/^[1-5]$/, 'and when to try again');
}

like(access_log(), qr{^POST /connections/outlook HTTP/1.1 201 ok outlook }m,
     'the access log tells result and provider');
secrets_absent('no log has a secret', $alice->token(), $alice->user_key(),
               @states, $args->{nonce}, $json->{verifier},
               $args->{code_challenge});
expect_log(qr/redis|connect/i);

done_testing();
