# The variables: what they say, in which phase, of whom.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream({
    '/502/x' => { status => 502 },
    '/ssi/x' => { headers => ['Content-Type: text/html'],
                  body => '<!--# include virtual="/vars/sub" -->' },
});
my $alice = person('alice', tid => 'contoso');
my $bob = person('bob');

define(VARS => 's=$token_claim_sub u=$token_user i=$token_issuer '
               . 'p=$token_provider r=$token_result '
               . 'c=$token_cache_status e=$token_expires');
redis_start();
nginx_start(blocks(issuer => 'tenant_claim tid;') . <<'EOF');

    token_issuer plain {
        issuer     https://login.example.com/;
        audience   api://search;
        keys_file  %%TESTDIR%%/corp.jwks;
    }

    log_format vars "$request_uri s=$token_claim_sub u=$token_user "
                    "i=$token_issuer p=$token_provider r=$token_result "
                    "c=$token_cache_status e=$token_expires";

    map $token_claim_sub $limited {
        alice   "";
        default $token_claim_sub;
    }

    limit_req_zone $limited zone=callers:1m rate=1r/m;

    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%TESTDIR%%/access.log vars;

        proxy_set_header X-Vars "%%VARS%%";
        proxy_set_header X-Claim "[$token_claim_a]";
        add_header X-Out "%%VARS%%" always;

        location /claim/ {
            token_auth  plain;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /auth/ {
            token_auth  plain;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /vars/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /cached/ {
            token_auth    corp;
            token_inject  outlook;
            token_cache   1m;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /if/ {
            token_auth  plain;
            if ($token_claim_sub = "bob") {
                return 403;
            }
            if ($token_claim_sub) {
                set $who $token_claim_sub;
            }
            add_header X-Who "[$who]" always;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /limit/ {
            token_auth  plain;
            limit_req   zone=callers;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /502/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_intercept_errors on;
            error_page 502 /page;
            proxy_pass http://%%UPSTREAM%%;
        }

        location = /page {
            return 200 "s=$token_claim_sub u=$token_user r=$token_result\n";
        }

        location /refused/ {
            token_auth    corp;
            token_inject  outlook;
            error_page 400 401 403 = /page;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /ssi/ {
            token_auth    corp;
            token_inject  outlook;
            ssi on;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /nothing/ {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /echo/ {
            token_auth  plain;
            add_header  X-A "[$token_claim_a]";
            proxy_pass  http://%%UPSTREAM%%;
        }
    }
EOF

my $expires = time() + 3000;
my $put = $alice->connect('third-party', expires => $expires);
$bob->connect('of-bob');


# --- claims of every type

sub claim {
    my ($value) = @_;

    my $text = JSON::PP->new->encode(claims())
               =~ s/^\{/'{' . ($value eq '' ? '' : "\"a\":$value,")/er;
    my $r = get('/claim/', token => jws_raw({ alg => 'RS256' }, $text,
                                alg => 'RS256', key => key('RS256')));
    return $r->status() if $r->status() != 200;

    return $r->json()->{headers}{'x-claim'} =~ s/^\[(.*)\]$/$1/sr;
}

for my $case (
    ['"text"', 'text'], ['""', ''], ['"a b"', 'a b'], ['"\u00e9"',
    "\xc3\xa9"], ['"\ud83d\ude00"', "\xf0\x9f\x98\x80"],
    ['"a,b"', 'a,b'], ['"\""', '"'], ['"$uri"', '$uri'],
    ['1', '1'], ['-1', '-1'], ['0', '0'], ['9007199254740993',
    '9007199254740993'], ['9223372036854775807', '9223372036854775807'],
    ['0.5', '0.5'], ['true', 'true'], ['false', 'false'], ['null', ''],
    ['{}', ''], ['{"b":"c"}', ''], ['[]', ''], ['["x"]', 'x'],
    ['["x","y",1,true]', 'x,y,1,true'], ['', ''],
    ['"a\u0000b"', ''], ['"a\nb"', ''], ['"a\rb"', ''], ['"a\r\nX: y"', ''],
    ['"\u0001"', ''], ['"\u001f"', ''], ['"\u007f"', ''], ['"\u0080"',
    "\xc2\x80"], ['["ok","a\nb"]', ''])
{
    my ($json, $wanted) = @$case;
    is(claim($json), $wanted, "a claim $json") if $json !~ /u0000/;
    like(claim($json), qr/^(?:|401)$/, "a claim $json")
        if $json =~ /u0000/;
}

# --- of an injected request

sub vars {
    my ($r) = @_;

    return { ($r->header('X-Out') // '') =~ /(\w)=(\S*)/g };
}

sub sent { return { $up->last()->{headers}{'x-vars'} =~ /(\w)=(\S*)/g } }

my %whole = (s => 'alice', u => $alice->user(), i => 'corp', p => 'outlook',
             r => 'ok', c => '', e => $expires);

for my $time ('at first', 'again') {
    my $r = get("/vars/$time" =~ s/ //r, as => $alice);
    is_deeply(vars($r), \%whole, "in a header of the response, $time");
    is_deeply(sent(), \%whole, "in the upstream's request, $time");
}
like($put->{name}, qr/\{\Q$whole{u}\E\}/, '$token_user is the name in Redis');
wait_for(sub { access_log() =~ m{^/vars/again (.*)$}m }, 'the access log');
is_deeply({ (access_log() =~ m{^/vars/again (.*)$}m)[0] =~ /(\w)=(\S*)/g },
          { %whole, c => '-' }, 'in the access log');

is_deeply(vars(get('/auth/', token => $alice->token())),
          { s => 'alice', u => '', i => 'plain', p => '', r => 'ok', c => '',
            e => '' }, 'without token_inject');
is_deeply(vars(get('/nothing/', as => $alice)),
          { map { $_ => '' } qw(s u i p r c e) }, 'without token_auth');

# --- the cache's

is(vars(get('/cached/', as => $alice))->{c}, 'MISS', 'MISS');
is_deeply(vars(get('/cached/', as => $alice)), { %whole, c => 'HIT' }, 'HIT');
is(vars(post('/cached/', 'x', as => $alice))->{c}, 'BYPASS',
   'BYPASS, a method that is not listed');
is(vars(get('/cached/', as => $alice,
            headers => ['Cache-Control: no-cache']))->{c}, 'BYPASS',
   'BYPASS, by the client');
is(vars(get('/cached/'))->{c}, '', 'empty for a refusal');

# --- of refusals

is_deeply(vars(get('/vars/')), { %whole, s => '', u => '', i => '', e => '',
          r => 'token-missing' }, 'a refusal without a caller');
is_deeply(vars(get('/vars/', token => $alice->token())),
          { %whole, e => '', r => 'user-key-required' },
          'a refusal of a caller');
is(vars(get('/vars/', as => $alice->on_device()))->{r},
   'connection-required', 'of the store');
my $old = jwt({ exp => 1, tid => 'x' });
is(vars(get('/vars/', token => $old))->{r}, 'token-expired',
   'of an old token');
is(vars(get('/vars/', token => $old))->{s}, '',
   'whose claims nobody hears');
is(vars(get('/vars/', token => jwt({ sub => 'eve' },
                                   key => key('RS256', 'eve'))))->{s}, '',
   'nor those of a forged one');

# --- early phases

is(get('/if/', token => $bob->token())->status(), 403, 'rewrite: if');
my $r = get('/if/', token => $alice->token());
is($r->status() . $r->header('X-Who'), '200[alice]', 'rewrite: set');
is(get('/if/', token => jwt({ sub => 'bob' }, key => key('RS256', 'eve')))
   ->status(), 401, 'nobody is whom a forged token says');
is(get('/if/')->status(), 401, 'nor whom none says');

is(join(' ', map { get('/limit/', token => $alice->token())->status() }
             1 .. 3), '200 200 200', 'limit_req: alice is free');
is(join(' ', map { get('/limit/', token => $bob->token())->status() }
             1 .. 2), '200 503', 'bob is limited');
is(get('/limit/', token => jwt({ sub => 'carl' }))->status(), 200,
   'carl has his own');

# --- after redirects, in subrequests

is(get('/502/x', as => $alice)->body(),
   's=alice u=' . $alice->user() . " r=ok\n", 'after error_page');
is(get('/refused/', token => $alice->token())->body(),
   's=alice u=' . $alice->user() . " r=user-key-required\n",
   'after a refusal and error_page');
$up->forget();
get('/ssi/x', as => $alice);
my ($sub) = grep { $_->{uri} eq '/vars/sub' } $up->requests();
is_deeply({ $sub->{headers}{'x-vars'} =~ /(\w)=(\S*)/g }, \%whole,
          'in a subrequest');

# --- never another request's

my $c = connection();
for my $n (1 .. 4) {
    for my $p ($alice, $bob) {
        $r = $c->request(GET => '/vars/', as => $p);
        is_deeply([@{vars($r)}{qw(s u)}], [$p->{sub}, $p->user()],
                  "$p->{sub} on one connection") if $p == $alice;
        is($r->status(), 401, 'bob has no tenant') if $p == $bob;
        is(vars($r)->{s}, '', 'and is nobody') if $p == $bob;
    }
    $r = $c->request(GET => '/nothing/');
    is_deeply(vars($r), { map { $_ => '' } qw(s u i p r c e) },
              'nothing is left of those before');
}
my @r = $c->pipeline(map { ['GET', "/echo/$_",
                            token => jwt({ a => "v$_" })] } 1 .. 20);
is(join(' ', map { $_->header('X-A') } @r),
   join(' ', map { "[v$_]" } 1 .. 20), 'each its own, pipelined');
@r = parallel(map { ['GET', "/echo/$_", token => jwt({ a => "w$_" })] }
              1 .. 20);
is(join(' ', map { $_->header('X-A') } @r),
   join(' ', map { "[w$_]" } 1 .. 20), 'each its own, at once');

done_testing();
