# token_claim_set: claims by name or JSON pointer, wherever a variable goes.

use strict;
use warnings;

use TI::Test;

needs_module();

my $mail = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/'
           . 'emailaddress';
my $up = upstream({
    '/502/x' => { status => 502 },
    '/ssi/x' => { headers => ['Content-Type: text/html'],
                  body => '<!--# include virtual="/claims/sub" -->' },
});
my $alice = person('alice');

my $sets = <<"EOT";
    token_claim_set \$roles    /realm_access/roles;
    token_claim_set \$first    /realm_access/roles/0;
    token_claim_set \$mail     $mail;
    token_claim_set \$slash    /a~1b/c~0d;
    token_claim_set \$dotted   "with space.and-dash";
    token_claim_set \$Upper    Level;
    token_claim_set \$nothing  /no/where;
    token_claim_set \$deep     /a/b/c;
    token_claim_set \$object   /a/b;
    token_claim_set \$user     sub;
EOT

write_file('pages/x', "file\n");
redis_start();
nginx_start(blocks() . $sets . <<'EOT');

    log_format claims "$uri r=$roles m=$mail";

    map $roles $is_admin {
        "~(^|,)admin(,|$)"  1;
        default             "";
    }

    limit_req_zone $mail zone=mail:1m rate=1r/m;

    server {
        listen 127.0.0.1:%%PORT%%;
        access_log %%TESTDIR%%/access.log claims;

        proxy_set_header X-Roles    "[$roles]";
        proxy_set_header X-First    "[$first]";
        proxy_set_header X-Mail     "[$mail]";
        proxy_set_header X-Slash    "[$slash]";
        proxy_set_header X-Dotted   "[$dotted]";
        proxy_set_header X-Upper    "[$upper]";
        proxy_set_header X-Nothing  "[$nothing]";
        proxy_set_header X-Deep     "[$deep]";
        proxy_set_header X-Object   "[$object]";
        add_header       X-Roles    "[$roles]" always;

        location / {
            token_auth  corp;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /claims/ {
            token_auth    corp;
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /require/ {
            token_auth     corp;
            token_require  $mail;
            token_require  $is_admin error=403;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /header/ {
            token_auth  corp;
            token_claim_header X-Roles-Of $roles;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /if/ {
            token_auth  corp;
            if ($first = admin) {
                return 204;
            }
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /limit/ {
            token_auth  corp;
            limit_req   zone=mail;
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
            return 200 "$user $roles\n";
        }

        # another caller of the same request
        location /other/ {
            token_auth  corp from=$cookie_other;
            return      200 "$user $roles\n";
        }

        location /switch/ {
            token_auth  corp;
            if ($roles = "x") {
                return 204;
            }
            error_page  502 /switched/;
            proxy_pass  http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /switched/ {
            token_auth  corp from=$cookie_other;
            token_claim_header X-Switched $roles;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /switch-file/ {
            token_auth  corp;
            if ($roles = "x") {
                return 204;
            }
            error_page  502 /switched-file/x;
            proxy_pass  http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /switched-file/ {
            token_auth  corp from=$cookie_other;
            token_claim_header X-Switched $user;
            add_header  X-Other other;
            alias       %%TESTDIR%%/pages/;
        }

        location /switch-plain/ {
            token_auth  corp;
            if ($roles = "x") {
                return 204;
            }
            error_page  502 /switched-plain/x;
            proxy_pass  http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /switched-plain/ {
            token_auth  corp from=$cookie_other;
            proxy_pass  http://%%UPSTREAM%%;
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
    }
EOT

$alice->connect('third-party');

sub said { return $up->last()->{headers}{"x-$_[0]"} =~ s/^\[(.*)\]$/$1/sr }

sub claim {
    my ($name, %claims) = @_;

    my $r = get('/', token => jwt(\%claims));
    return $r->status() == 200 ? said($name) : $r->status();
}

# --- by name, by pointer

for my $case (
    ['roles', { realm_access => { roles => ['a', 'b'] } }, 'a,b'],
    ['roles', { realm_access => { roles => 'a' } }, 'a'],
    ['roles', { realm_access => { roles => [] } }, ''],
    ['roles', { realm_access => { roles => ["a\nb"] } }, ''],
    ['roles', { realm_access => ['roles'] }, ''],
    ['roles', { realm_access => 'roles' }, ''],
    ['roles', { '/realm_access/roles' => 'no' }, ''],
    ['roles', { roles => 'no' }, ''],
    ['roles', {}, ''],
    ['first', { realm_access => { roles => ['a', 'b'] } }, 'a'],
    ['first', { realm_access => { roles => { 0 => 'z' } } }, 'z'],
    ['mail', { $mail => 'alice@example.com' }, 'alice@example.com'],
    ['mail', { $mail => ['a@b', 'c@d'] }, 'a@b,c@d'],
    ['mail', { http => 'no' }, ''],
    ['slash', { 'a/b' => { 'c~d' => 'deep' } }, 'deep'],
    ['dotted', { 'with space.and-dash' => 7 }, '7'],
    ['upper', { Level => 'high' }, 'high'],
    ['upper', { level => 'low' }, ''],
    ['nothing', { no => { where => undef } }, ''],
    ['deep', { a => { b => { c => \1 } } }, 'true'],
    ['deep', { a => { b => { c => 0.5 } } }, '0.5'],
    ['deep', { a => { b => { c => "x\r\ny" } } }, ''],
    ['object', { a => { b => { c => 'd' } } }, ''],
    ['object', { a => { b => -3 } }, '-3'])
{
    my ($name, $claims, $wanted) = @$case;
    is(claim($name, %$claims), $wanted,
       "$name of " . JSON::PP->new->canonical->encode($claims));
}

# --- wherever a variable goes

my %admin = (realm_access => { roles => ['admin', 'x'] }, $mail => 'a@b');

is(get('/require/', token => jwt({ %admin }))->status(), 200,
   'token_require, and a map');
is(get('/require/', token => jwt({ %admin, $mail => '' }))->status(), 401,
   'empty');
is(get('/require/', token => jwt({ $mail => 'a@b' }))->status(), 403,
   'not in the map');
get('/header/', token => jwt({ %admin }), headers => ['X-Roles-Of: root']);
is($up->last()->{headers}{'x-roles-of'}, 'admin,x', 'token_claim_header');
is(get('/if/', token => jwt({ %admin }))->status(), 204, 'an "if"');
is(get('/if/', token => jwt({ %admin }, key => key('RS256', 'eve')))
   ->status(), 401, 'which does not believe a forged token');
is(get('/if/', token => jwt({ %admin, exp => 1 }))->status(), 401,
   'nor an old one');
is(get('/if/')->status(), 401, 'nor none');
is(join(' ', map { get('/limit/', token => jwt({ %admin }))->status() }
             1 .. 2), '200 503', 'limit_req');
is(get('/limit/', token => jwt({ $mail => 'c@d' }))->status(), 200,
   'each its own');

my $token = $alice->token(%admin);
my $r = get('/claims/', as => $alice, token => $token);
is($r->header('X-Roles') . said('roles'), '[admin,x]admin,x',
   'with token_inject');
$r = get('/claims/', as => $alice, token => $token);
is($r->header('X-Roles') . said('mail'), '[admin,x]a@b',
   'from what is remembered');
wait_for(sub { access_log() =~ m{^/claims/ r=admin,x m=a\@b$}m },
         'the access log');
is(get('/502/x', as => $alice, token => $token)->body(), "alice admin,x\n",
   'after error_page');
$up->forget();
get('/ssi/x', as => $alice, token => $token);
my ($sub) = grep { $_->{uri} eq '/claims/sub' } $up->requests();
is($sub->{headers}{'x-roles'}, '[admin,x]', 'in a subrequest');
is(get('/nothing/', token => $token)->header('X-Roles'), '[]',
   'nothing where nobody was asked');
is(get('/')->header('X-Roles'), '[]', 'nor of a refusal');

# --- whose claims they are

my $bob = jwt({ sub => 'bob', realm_access => { roles => ['user'] } });
is(get('/other/', token => $token, headers => ["Cookie: other=$bob"])
   ->body(), "bob user\n", 'those of the location\'s own caller');
$r = get('/switch/', token => $token, headers => ["Cookie: other=$bob",
                                                  'X-Switched: root']);
is($up->last()->{headers}{'x-switched'}, 'user',
   'after a redirect, asked for before it');
is(said('roles'), 'user', 'so says a plain variable');

get('/switch-file/', token => $token, headers => ["Cookie: other=$bob"]);
wait_for(sub { access_log() =~ m{^/switched-file/x r=(\S*)}m },
         'the access log');
is((access_log() =~ m{^/switched-file/x r=(\S*)}m)[0], 'user',
   'and the access log');
get('/switch-plain/', token => $token, headers => ["Cookie: other=$bob"]);
is(said('roles'), 'user', 'where no header says it either');

my $c = connection();
my @r = $c->pipeline(map { ['GET', '/', token => jwt({ realm_access => {
                            roles => ["r$_"] } })] } 1 .. 10);
is(join(' ', map { $_->header('X-Roles') } @r),
   join(' ', map { "[r$_]" } 1 .. 10), 'each its own, pipelined');

# --- what "nginx -t" refuses

sub refused {
    my ($name, $lines, $message) = @_;

    my ($code, $out) = nginx_test(blocks() . $lines
                                  . "\nserver { listen 127.0.0.1:%%PORT%%; }");
    $message .= ' in ' . testdir() . '/nginx-test.conf:'
        if defined $message;
    my ($got) = $out =~ /^nginx: \[emerg\] (.*?)\d*$/m;
    is($got, $message, $name) or diag($out);
    is($code, defined $message ? 1 : 0, "$name: the verdict");
}

refused('the same twice', 'token_claim_set $a b; token_claim_set $a c;',
        'the duplicate "a" variable');
refused('one of nginx\'s', 'token_claim_set $uri b;',
        'the duplicate "uri" variable');
refused('one that a map made', 'map $uri $a { default 1; } '
        . 'token_claim_set $a b;', 'the duplicate "a" variable');
refused('one that a map makes', 'token_claim_set $a b; '
        . 'map $uri $a { default 1; }', 'the duplicate "a" variable');
refused('one that "set" makes', 'token_claim_set $a b; '
        . 'server { set $a c; }', 'the duplicate "a" variable');
refused('one that "set" made', 'server { set $a c; } token_claim_set $a b;',
        'the duplicate "a" variable');
refused("\$$_", "token_claim_set \$$_ b;", "the duplicate \"$_\" variable")
    for qw(http_x arg_x cookie_x sent_http_x token_claim_x HTTP_x
           upstream_http_x);
refused('one of this module\'s', 'token_claim_set $token_user b;',
        'the duplicate "token_user" variable');
for my $bad ('a', '$', '$a-b', '$a$b', '"$a b"', '${a}', '""') {
    my $shown = $bad =~ s/"//gr;
    refused("not a variable: $bad", "token_claim_set $bad b;",
            "\"$shown\" in \"token_claim_set\" is not a variable");
}
for my $bad ('/a~2', '/a~', '""') {
    refused("a pointer that is none: $bad", "token_claim_set \$a $bad;",
            '"token_claim_set" directive takes the name of a claim or a '
            . 'valid JSON pointer');
}
for my $good ('/', '/a/', '//', 'a~b', 'a/b', '~1') {
    refused("good: $good", "token_claim_set \$a $good;");
}
refused('no claim', 'token_claim_set $a;', 'invalid number of arguments in '
        . '"token_claim_set" directive');
refused('in a server', 'server { token_claim_set $a b; }',
        '"token_claim_set" directive is not allowed here');

done_testing();
