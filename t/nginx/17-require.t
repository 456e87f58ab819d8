# token_require, and the providers' "allow".

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();

redis_start();
nginx_start(blocks() . <<'EOF');

    token_provider team {
        store     vault;
        user_key  off;
        allow     groups=red blue;
        allow     role=admin;
    }

    token_provider deep {
        store     vault;
        user_key  off;
        allow     /realm/roles=mail;
        allow     https://example.com/claims/level=gold;
    }

    map $token_claim_sub $is_staff {
        ~@example.com$ 1;
        default 0;
    }

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth     corp realm=search;
            token_require  $token_claim_a;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /403/ {
            token_auth     corp realm=search;
            token_require  $token_claim_a error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /order/ {
            token_auth     corp;
            token_require  $token_claim_a error=403;
            token_require  $token_claim_b $token_claim_c error=401;
            token_require  $arg_d error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /map/ {
            token_auth     corp;
            token_require  $is_staff error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /team/ {
            token_auth     corp;
            token_inject   team;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /deep/ {
            token_auth     corp;
            token_inject   deep;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /both/ {
            token_auth     corp;
            token_require  $arg_ok error=403;
            token_inject   team;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /key/ {
            token_auth     corp;
            token_require  $arg_ok error=403;
            token_inject   outlook;
            proxy_pass     http://%%UPSTREAM%%;
        }
    }
EOF

sub result {
    my ($uri, $claims, %opt) = @_;

    my $r = get($uri, token => jwt($claims), %opt);
    return $r->status() == 200 ? 200
           : $r->status() . ' ' . ($r->json()->{type} =~ s/.*://r);
}

my ($true, $false) = (JSON::PP::true, JSON::PP::false);


# --- what passes

for my $value ('x', '1', '00', '0.0', 'False', ' ', 'no', 1, -1, 0.5, $true,
               ['a', 'b'], [0, 0], ['', ''], '0 ', 'falsehood')
{
    my $shown = ref $value eq 'ARRAY' ? "[@$value]" : $value;
    is(result('/', { a => $value }), 200, "\"$shown\" passes");
}
for my $value (undef, '', '0', 'false', 0, $false, [], {}, [''], [0],
               [$false], { x => 1 },
               "a\nb", "\x7f")
{
    my $shown = JSON::PP->new->allow_nonref->encode($value);
    is(result('/', { a => $value }), '401 caller-rejected',
       "$shown does not");
}

my $r = get('/', token => jwt());
is($r->header('WWW-Authenticate'), 'Bearer realm="search"',
   'the challenge is a plain one');
is_deeply($r->json(), { type => 'urn:ngx-token-injector:caller-rejected',
                        title => 'The caller is not accepted',
                        status => 401 }, 'problem+json');
is($r->header('Cache-Control'), 'no-store', 'not stored');

$r = get('/403/', token => jwt());
is($r->status(), 403, 'error=403');
is($r->json()->{status}, 403, 'the body says the same');
is($r->header('WWW-Authenticate'), 'Bearer realm="search", '
   . 'error="insufficient_scope", error_description='
   . '"the token does not suffice for this request"', 'another might do');
is($r->header('Content-Type'), 'application/problem+json', 'its type');
is($r->header('Cache-Control'), 'no-store', 'not stored either');
is(result('/403/', { a => 1 }), 200, 'passes');
is(get('/403/')->status(), 401, 'a missing token comes first');


# --- several, in order; judged every time, never remembered

my %all = (a => 1, b => 1, c => 1);
is(result('/order/?d=1', \%all), 200, 'all pass');
is(result('/order/?d=1', { %all, a => 0 }), '403 caller-rejected', 'first');
is(result('/order/?d=1', { %all, a => 0, b => 0 }), '403 caller-rejected',
   'the first that fails says');
is(result('/order/?d=1', { %all, b => 0 }), '401 caller-rejected', 'second');
is(result('/order/?d=1', { %all, c => 0 }), '401 caller-rejected',
   'the second variable of a line');
is(result('/order/', { %all, c => 0 }), '401 caller-rejected',
   'the last does not matter then');

my $token = jwt(\%all);
for my $d (1, 0, 1, 0, '', 1) {
    is(get("/order/?d=$d", token => $token)->status(), $d ? 200 : 403,
       "d=$d of the same caller");
}

is(result('/map/', { sub => 'alice@example.com' }), 200, 'a map of a claim');
is(result('/map/', { sub => 'alice@example.net' }), '403 caller-rejected',
   'of another');


# --- segments

put_connection(who => ['https://login.example.com/', '', 'alice'],
               provider => $_, access => "to-$_") for qw(team deep);

for my $claims ({ groups => 'red' }, { groups => ['x', 'blue'] },
                { role => 'admin' }, { role => ['admin'] },
                { groups => ['x'], role => 'admin' })
{
    is(result('/team/', $claims), 200,
       'for ' . JSON::PP->new->canonical->encode($claims));
}
for my $claims ({}, { groups => 'RED' }, { groups => 'red blue' },
                { groups => 're' }, { groups => [] }, { groups => ['redd'] },
                { groups => [['red']] }, { groups => { red => 1 } },
                { groups => 'admin' }, { role => 'red' }, { groups => $true },
                { group => 'red' })
{
    is(result('/team/', $claims), '403 segment-excluded',
       'not for ' . JSON::PP->new->canonical->encode($claims));
}

$r = get('/team/', token => jwt());
is_deeply($r->json(), { type => 'urn:ngx-token-injector:segment-excluded',
                        title => $r->json()->{title}, status => 403,
                        provider => 'team' }, 'problem+json');
is($r->header('Cache-Control'), 'no-store', 'not stored');

is(result('/deep/', { realm => { roles => ['mail', 'x'] } }), 200,
   'by pointer');
is(result('/deep/', { 'https://example.com/claims/level' => 'gold' }), 200,
   'a claim named by a URL');
is(result('/deep/', { '/realm/roles' => 'mail' }), '403 segment-excluded',
   'a pointer is no name');
is(result('/deep/', { realm => 'mail' }), '403 segment-excluded',
   'a shorter path');

# the order: token, require, segment, user key, store
is(result('/both/', {}), '403 caller-rejected', 'require before segment');
is(result('/both/?ok=1', {}), '403 segment-excluded', 'then segment');
is(result('/both/?ok=1', { groups => 'red' }), 200, 'then through');
is(result('/key/', {}), '403 caller-rejected', 'require before user key');
is(result('/key/?ok=1', {}), '400 user-key-required', 'then user key');
is(result('/key/?ok=1', {}, user_key => new_user_key()),
   '403 connection-required', 'then the store');
redis_kill();
is(result('/team/', { sub => 'bob' }), '403 segment-excluded',
   'a segment is judged without the store');
is(result('/key/?ok=1', {}), '400 user-key-required', 'a user key too');

done_testing();
