# The harness itself, as far as it goes without the module.

use strict;
use warnings;

use TI::Test;

my $up = upstream();

redis_start();
nginx_start(<<'EOF', module => 0, workers => 2, main => 'env TI_SAID;');

    keepalive_requests 4;

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_other%%;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location = /nothing {
            return 204;
        }
    }
EOF


# --- requests and answers

my $r = get('/a?b=c', headers => ['X-One: 1', 'X-One: 2'], token => 't0ken');
my $saw = $r->json();

is($r->status(), 200, 'get');
is($r->header('content-type'), 'application/json', 'header');
is($saw->{method}, 'GET', 'method');
is($saw->{uri}, '/a?b=c', 'uri');
is($saw->{headers}{'x-one'}, '1, 2', 'repeated headers');
is($saw->{headers}{authorization}, 'Bearer t0ken', 'token');
is($up->calls(), 1, 'counted');

$r = post('/p', "b\0dy\xff", port => 'other');
is($r->json()->{body}, "b\0dy\xff", 'a body of any bytes');
is($up->last()->{headers}{'content-length'}, 5, 'and its length');

is(http('HEAD', '/')->body(), '', 'HEAD has no body');
is(get('/nothing')->status(), 204, 'nor has 204');
is(get('/', version => '1.0')->header('connection'), 'close', 'HTTP/1.0');
is(http_raw("nonsense\r\n\r\n")->status(), 400, 'raw bytes');
is(get('/', port => port('nobody'))->error() =~ /^connect:/, 1, 'refused');

$up->forget();
is($up->calls(), 0, 'forgotten');

my @many = parallel(map { [GET => "/$_"] } 1 .. 20);
is(join(' ', map { $_->json()->{uri} } @many),
   join(' ', map { "/$_" } 1 .. 20), 'parallel requests, in order');
is($up->calls(), 20, 'each seen');

my $c = connection();
is($c->request(GET => '/keep')->status(), 200, 'a connection');
my @three = $c->pipeline(map { [GET => "/p$_"] } 1 .. 3);
is(join(' ', map { $_->json()->{uri} } @three), '/p1 /p2 /p3', 'pipelined');
ok($c->closed(), 'and ends when nginx says');


# --- what an upstream may be told

$up->answer(
    '/chunked' => { ends => 'chunked', body => 'x' x 2500 },
    '/close' => { ends => 'close', body => 'to the end' },
    '/cut' => { body => 'y' x 1000, cut => 500 },
    '/status' => { status => 503, headers => ['Set-Cookie: a=b',
                                              'Set-Cookie: c=d'] },
    '/raw' => "HTTP/1.1 200 OK\r\nX-Raw: yes\r\nContent-Length: 2\r\n\r\nok",
    '/drip' => { body => 'slowly', drip => [10, 0.01] },
    '/hold' => { body => 'held', hold => 'gate' },
    '/reset' => { raw => '', reset => 1 },
);

is(get('/chunked')->body(), 'x' x 2500, 'chunked');
is(get('/close')->body(), 'to the end', 'ended by closing');
ok(get('/cut')->truncated(), 'cut short');
$r = get('/status');
is($r->status(), 503, 'a status');
is_deeply([$r->headers('Set-Cookie')], ['a=b', 'c=d'], 'headers');
is(get('/raw')->header('x-raw'), 'yes', 'raw answer');
is(get('/drip')->body(), 'slowly', 'drip');
is(get('/reset')->status(), 502, 'reset');

$up->forget();
$c = connection();
$c->send(http_bytes(GET => '/hold'));
$up->wait_calls(1);
is($c->response(timeout => 0.1)->error(), 'timeout', 'held back');
$up->release('gate');
is($c->response()->body(), 'held', 'and let go');
$c->abort();

my $two = upstream('two', sub {
    my ($request) = @_;
    return $request->{uri} eq '/echo' ? undef
           : { body => "two $request->{uri}" };
});
like(subst('%%UPSTREAM_two%%'), qr/^127\.0\.0\.1:\d+$/, 'a second upstream');
is(get('/x', port => $two->port_number())->body(), 'two /x', 'by callback');
is(get('/echo', port => $two->port_number())->json()->{uri}, '/echo', 'undef');
$two->stop();
is(get('/', port => $two->port_number())->status(), 0, 'stopped');
$two->start({ '*' => { body => 'again' } });
is(get('/', port => $two->port_number())->body(), 'again', 'started again');


# --- Redis, and what may stand between

is(redis('SET', 'k', "v\r\n\0"), 'OK', 'redis');
is(redis('GET', 'k'), "v\r\n\0", 'any bytes');
is(redis('GET', 'none'), undef, 'nil');
ok(!eval { redis('HGET', 'k', 'f'); 1 }, 'an error dies');
like($@, qr/^WRONGTYPE/, 'in its words');
redis('HSET', 'h', a => 1, b => 2);
is_deeply(redis_hash('h'), { a => 1, b => 2 }, 'a hash');

my $proxy = proxy();
my $get = "*2\r\n\$3\r\nGET\r\n\$1\r\nk\r\n";
redis('SET', 'k', 'value');

sub through {
    my ($how, $to) = @_;

    $proxy->mode(@$how);
    my $s = connection(port => $proxy->port_number());
    $s->send($get);
    my $end = time() + 5;
    while ($s->{buffer} ne $to && time() < $end) {

        # "x" never comes: silence is what is waited for
        IO::Select->new($s->{socket})->can_read($to eq 'x' ? 0.3 : 5) or last;
        $s->fill() or last;
    }

    return $s;
}

is(through(['pass'], "\$5\r\nvalue\r\n")->{buffer}, "\$5\r\nvalue\r\n",
   'proxy');
is_deeply($proxy->stats()->{commands}, [['GET', 'k']], 'it saw the command');
is($proxy->stats()->{writes}, 1, 'in one write');
is(through([byte => 1], "\$5\r\nvalue\r\n")->{buffer}, "\$5\r\nvalue\r\n",
   'byte by byte');
is(through([garbage => "?!\r\n"], "?!\r\n")->{buffer}, "?!\r\n", 'garbage');
is(through([reply => "-LOADING\r\n"], "-LOADING\r\n")->{buffer},
   "-LOADING\r\n", 'a reply of ours');
is(through(['swallow'], 'x')->{buffer}, '', 'swallowed');
$c = through([cut => 4], 'x');
is($c->{buffer}, "\$5\r\n", 'cut');
ok(through(['refuse'], 'x')->closed(), 'refused');
is(through([delay => 0.05], "\$5\r\nvalue\r\n")->{buffer},
   "\$5\r\nvalue\r\n", 'delayed');
$c = through(['pass'], "\$5\r\nvalue\r\n");
$c->{buffer} = '';
$proxy->inject("+EXTRA\r\n");
$c->fill();
is($c->{buffer}, "+EXTRA\r\n", 'injected');
$c->{buffer} = '';
$proxy->drop();
ok($c->closed(), 'dropped');

redis_pause();
$c = through(['pass'], 'x');
is($c->{buffer}, '', 'a paused redis is silent');
redis_resume();
$c->fill();
is($c->{buffer}, "\$5\r\nvalue\r\n", 'until resumed');

redis_stop();
ok(!redis_running(), 'stopped');
ok(!eval { redis('PING'); 1 }, 'and away');
redis_start(password => 'hush', acl => undef);
is(redis('PING'), 'PONG', 'back, with a password');
is(redis('GET', 'k'), undef, 'and empty');
redis_kill();
redis_start();


# --- records

my $alice = person('alice', tid => 'contoso');
my $put = $alice->connect('access~token', refresh => 'refresh.token',
                          scope => 'Mail.Read');
my $got = $alice->connection();

is($put->{gen}, 1, 'a first write is generation 1');
is($got->{access}{token}, 'access~token', 'access record');
is($got->{refresh}{token}, 'refresh.token', 'refresh record');
is($got->{hash}{scope}, 'Mail.Read', 'hash');
unlike(join(' ', values %{$got->{hash}}), qr/access~token|refresh\.token/,
       'sealed');
is($alice->connect('next')->{gen}, 2, 'the next one is generation 2');
isnt($alice->connection()->{hash}{cid}, $put->{cid}, 'a consent of its own');
is($alice->on_device()->connection(), undef, 'another device has none');
is(person('bob')->connection(), undef, 'another caller neither');

my %ref = (kind => 'access', who => $alice->who(), provider => 'outlook',
           user_key => $alice->user_key(), gen => $put->{gen},
           cid => $put->{cid});
is(record_open($put->{access}, %ref)->{token}, 'access~token', 'opened');
for my $differ ([provider => 'graph'], [kind => 'refresh'], [gen => 2],
                [cid => 'other'], [who => ['a', 'b', 'c']])
{
    ok(!eval { record_open($put->{access}, %ref, @$differ); 1 },
       "not with another $differ->[0]");
}
ok(!eval { record_open($put->{access}, %ref, device => $put->{device},
                       user_key => new_user_key()); 1 },
   'not with another user key');
like($@, qr/^tag of user/, 'its inner layer');

my $app = put_connection(who => ['', '', ''], provider => 'mailer',
                         access => 'app-only');
like($app->{name}, qr/^ti:\{[\w-]{22}}:c:mailer:-$/, 'an app-only name');
is(get_connection(who => ['', '', ''], provider => 'mailer')
   ->{access}{token}, 'app-only', 'an app-only record');


# --- tokens

for my $alg (algorithms()) {
    my $token = jwt({ sub => 'alice' }, alg => $alg);
    my $key = key($alg)->{object};
    my $claims = Crypt::JWT::decode_jwt(token => $token, key => $key,
                                        accepted_alg => $alg);
    is($claims->{sub}, 'alice', $alg);

    $token = jws_raw({ alg => $alg }, { exp => time() + 60, sub => 'raw' },
                     alg => $alg, key => key($alg));
    $claims = Crypt::JWT::decode_jwt(token => $token, key => $key,
                                     accepted_alg => $alg);
    is($claims->{sub}, 'raw', "$alg, by hand");
}

my $set = JSON::PP->new->decode(read_file(
    jwks_file('k.jwks', key('RS256'), key('ES256', 'other', kid => 'x'))));
is(join(' ', map { $_->{kid} } @{$set->{keys}}), 'rsa-default x', 'a JWK Set');
ok(!(grep { exists $_->{d} } @{$set->{keys}}), 'of public keys');


# --- nginx

my ($code, $out) = nginx_test('server { nonsense on; }',
                              module => 0);
is($code, 1, 'nginx -t refuses');
like($out, qr/unknown directive "nonsense"/, 'and says what');
($code, $out) = nginx_test('', module => 0);
is($code, 0, "nginx -t accepts") or diag($out);

is(scalar(nginx_workers()), 2, 'two workers');
my @before = nginx_workers();
nginx_reload(<<'EOF', module => 0, wait_old => 1);

    server {
        listen 127.0.0.1:%%PORT%%;
        return 200 reloaded;
    }
EOF
is(get('/')->body(), 'reloaded', 'reloaded');
my %after = map { $_ => 1 } nginx_workers();
ok(!(grep { $after{$_} } @before), 'by other workers');

log_like(qr/\[notice\].*reconfiguring/, 'log_like');
log_unlike(qr/nothing like this/, 'log_unlike');
secrets_absent('secrets_absent', 'a secret that nobody wrote');

my ($worker) = nginx_workers();
expect_log(qr/worker process $worker exited on signal 9/);
nginx_kill('KILL', $worker);
wait_log(qr/$worker exited on signal 9/);
wait_for(sub { !grep { $_ == $worker } nginx_workers() }, 'another worker');

done_testing();
