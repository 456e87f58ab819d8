# While the third party is not to be asked, an answer past its time will do,
# and says that it is; and never otherwise.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = upstream('idp', { '*' => { status => 503, body => 'away' } });

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';

redis_start();

my $text = blocks(store => 'local_valid 1m;') . <<'CONF';

    log_format cache '$request_uri $token_cache_status $token_result';

    token_provider talks {
        store                   vault;
        token_endpoint          http://%%UPSTREAM_idp%%/token;
        authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
        redirect_uri            http://%%UPSTREAM_idp%%/back;
        client_id               me;
        client_secret_file      %%TESTDIR%%/secret;
        allow_http              on;
        refresh_ahead           0;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%TESTDIR%%/cache.log cache;

        token_auth    corp;
        token_inject  outlook;
        token_cache   1s;

        location / {
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /long {
            token_cache  10m;
            proxy_pass   http://%%UPSTREAM%%;
        }

        location /never {
            token_cache_stale  off;
            proxy_pass         http://%%UPSTREAM%%;
        }

        location /brief {
            token_cache_stale  1s;
            proxy_pass         http://%%UPSTREAM%%;
        }

        location = /status {
            token_auth    off;
            token_inject  off;
            token_status;
        }

        location /talks {
            token_inject  talks;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text, workers => 2);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r =~ s/cache\.log/there.log/r);

my $n = 0;

sub caller_of {
    my $who = person('caller' . ++$n);

    $who->connect("token-$n", @_);

    return $who;
}

# what is in Redis of this caller's answers
sub answers {
    my ($who) = @_;

    return @{redis('KEYS', 'ti:{' . $who->user() . '}:a:*')};
}

# an answer of before, whose time is over
sub past {
    my ($who, $uri, $then) = @_;
    my %before = map { $_ => 1 } answers($who);

    $up->answer($uri => { body => "one of $uri" });
    is(get($uri, as => $who)->body(), "one of $uri", "$uri: kept");

    my $name;
    wait_for(sub { ($name) = grep { !$before{$_} } answers($who) },
             'an answer in Redis');
    $then->() if $then;
    wait_for(sub { !redis('EXISTS', $name) }, 'the end of its time');
    $up->forget();
}

sub not_now {
    my ($uri, %more) = @_;

    $up->answer($uri => { status => 429, body => 'not now',
                          headers => ['Retry-After: 100'], %more });
}

sub is_stale {
    my ($name, $r, $body) = @_;

    is($r->status() . ' ' . $r->body(), "200 $body", "$name: served");
    like($r->header('Cache-Status') // '',
         qr/^token-injector; hit; ttl=(?:0|-\d+); detail=held$/,
         "$name: and said");
    cmp_ok($r->header('Age'), '>=', 1, "$name: of its age");
}

sub is_held {
    my ($name, $r) = @_;

    is(result($r), 'provider-throttled', "$name: held");
    like($r->header('Retry-After') // '', qr/^(?:100|9\d)$/, "$name: so long");
}


# --- not held: never

my $alice = caller_of();
past($alice, '/a');
$up->answer('/a' => { body => 'two' });
is(get('/a', as => $alice)->body(), 'two', 'past its time it is fetched');
$up->answer('/a' => { status => 500, body => 'broken' });
wait_for(sub { get('/a', as => $alice)->status() == 500 },
         'the end of its time');
pass('be it that there is none then');


# --- told "not now"

my $bob = caller_of();
get('/long', as => $bob);
past($bob, '/a');
not_now('/a');
is_stale('who is told', get('/a', as => $bob), 'one of /a');
is($up->calls(), 1, 'it was asked');
is_stale('who is held', get('/a', as => $bob), 'one of /a');
is_stale('again', get('/a', as => $bob), 'one of /a');
is($up->calls(), 1, 'and is left alone now');

my $r = get('/long', as => $bob);
like($r->header('Cache-Status'), qr/^token-injector; hit; ttl=[1-9]\d*$/,
     'a fresh answer: as always');
is_held('no answer', get('/none', as => $bob));
is_held('a bypass', get('/a', as => $bob,
                        headers => ['Cache-Control: no-cache']));
is_held('a method that is not kept', post('/a', 'x', as => $bob));
$r = http('HEAD', '/a', as => $bob);
is($r->status() . ' ' . $r->header('Content-Length'), '200 9', 'HEAD');
$r = get('/a', as => $bob, headers => ['Range: bytes=0-2']);
is($r->status() . ' ' . $r->body(), '206 one', 'a range');
is($up->calls(), 1, 'all of it without the third party');
like(read_file('cache.log'), qr{^/a HIT ok$}m, 'in the log it is a hit');

my $carol = caller_of();
$up->answer('/a' => { body => 'hers' });
is(get('/a', as => $carol)->body(), 'hers', 'another caller: asked for');

# nobody's any more
my $name = record_name(who => $bob->who(), user_key => $bob->user_key(),
                       provider => 'outlook');
redis('DEL', $name);
redis('PUBLISH', 'ti:changes', $name);
wait_for(sub { result(get('/a', as => $bob)) eq 'connection-required' },
         'the end of the connection');
pass('no connection: no answer');
$bob->connect('token-anew');
wait_for(sub { result(get('/a', as => $bob)) eq 'provider-throttled' },
         'the new consent');
pass('a new consent: none of the answers of before');


# --- the body of a request, 503, no length

my $dave = caller_of();
past($dave, '/b');
not_now('/b', status => 503, ends => 'close', body => 'away ' x 20_000);
is_stale('503', get('/b', as => $dave), 'one of /b');

my $erin = caller_of();
past($erin, '/c');
$up->answer('/c' => { status => 503, body => 'away' });
is(get('/c', as => $erin)->status(), 503, '503 that does not say how long');
is(get('/none', as => $erin)->status(), 200, 'holds nobody');


# --- how long

my $fred = caller_of();
past($fred, '/never');
not_now('/never');
$r = get('/never', as => $fred);
is($r->status() . ' ' . $r->body(), '429 not now', 'off: it passes through');
is_held('off', get('/never', as => $fred));

my $gina = caller_of();
past($gina, '/brief');
not_now('/brief');
wait_for(sub { get('/brief', as => $gina)->status() == 429 },
         'the end of the time past its time');
pass('too old');


# --- of another node

my $hugo = caller_of();
past($hugo, '/d', sub {
    like(get('/d', as => $hugo, port => 'there')->header('Cache-Status'),
         qr/; hit;/, 'another node has it from Redis');
});
not_now('/d');
is_stale('another node', get('/d', as => $hugo, port => 'there'), 'one of /d');
is($up->calls(), 1, 'another node: asked');
is_stale('another node, held', get('/d', as => $hugo, port => 'there'),
         'one of /d');
is($up->calls(), 1, 'another node: once');

# which is asked for what is newer
my $iris = caller_of();
past($iris, '/e');
$up->answer('/e' => { body => 'two' });
is(get('/e', as => $iris, port => 'there')->body(), 'two', 'a newer one');
wait_for(sub {
    get('/e', as => $iris)->header('Cache-Status') =~ /; hit; ttl=[01]$/
}, 'the other node\'s');
is($up->calls(), 1, 'of the other node is found, with an old one here');


# --- a herd

my $jack = caller_of();
past($jack, '/f');
not_now('/f', delay => 0.3);
my @r = parallel(map { ['GET', '/f', as => $jack] } 1 .. 50);
is(scalar(grep { $_->status() == 200
                 && $_->header('Cache-Status') =~ /; detail=held$/ } @r), 50,
   'fifty at once: all served');
is($up->calls(), 1, 'fifty at once: by one call');

my $kate = caller_of();
not_now('/g', delay => 0.3);
$up->forget();
@r = parallel(map { ['GET', '/g', as => $kate] } 1 .. 50);
is(scalar(grep { $_->body() eq 'not now' } @r), 1,
   'fifty, nothing kept: one is told');
is(scalar(grep { result($_) eq 'provider-throttled' } @r), 49,
   'fifty, nothing kept: the others are held');
is($up->calls(), 1, 'fifty, nothing kept: by one call');


# --- the token endpoint is away

my $lisa = caller_of(provider => 'talks', expires => time() + 2,
                     refresh => 'refresh-of-lisa');
past($lisa, '/talks');
wait_for(sub { $idp->calls() || do { get('/talks', as => $lisa); 0 } },
         'the end of the token');
is_stale('no token', get('/talks', as => $lisa), 'one of /talks');
is(result(get('/talks/none', as => $lisa)), 'provider-unavailable',
   'no token, no answer');

my ($row) = grep { $_->{location} eq '/' }
            @{get('/status')->json()->{locations}};
cmp_ok($row->{answers}{stale}, '>=', 50, 'they are counted');

secrets_absent('no log shows a secret', 'token-1', 'refresh-of-lisa');

done_testing();
