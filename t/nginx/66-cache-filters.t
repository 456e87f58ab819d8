# An answer is kept as the upstream gave it, and goes through nginx' filters
# each time it is served.

use strict;
use warnings;

use Compress::Zlib ();

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $text = join ' ', map { "word$_" } 1 .. 200;

redis_start();
nginx_start(blocks() . <<'CONF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth          corp;
        token_inject        outlook;
        token_cache         5m;
        proxy_http_version  1.1;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /gzip {
            gzip             on;
            gzip_min_length  1;
            gzip_types       text/plain;
            gzip_vary        on;
            proxy_pass       http://%%UPSTREAM%%;
        }

        location /headers {
            add_header         X-Added once;
            add_header         X-Status $token_cache_status;
            proxy_hide_header  X-Hidden;
            expires            1h;
            proxy_pass         http://%%UPSTREAM%%;
        }

        location /sub {
            sub_filter       word1 WORD1;
            sub_filter_once  off;
            sub_filter_types *;
            proxy_pass       http://%%UPSTREAM%%;
        }

        location /charset {
            charset       koi8-r;
            charset_types text/plain;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /ssi {
            ssi         on;
            ssi_types   text/plain;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location = /page.html {
            token_inject  off;
            token_cache   off;
            ssi           on;
            default_type  text/html;
            alias         %%TESTDIR%%/page.html;
        }

        location /limited {
            limit_rate  100k;
            proxy_pass  http://%%UPSTREAM%%;
        }

        location /accel {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /internal/ {
            internal;
            token_inject  off;
            token_cache   off;
            alias         %%TESTDIR%%/;
        }

        location /internal-cached/ {
            internal;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /errors {
            proxy_intercept_errors on;
            error_page 404 500 =200 /error-page;
            proxy_pass http://%%UPSTREAM%%;
        }

        location = /error-page {
            internal;
            token_inject  off;
            token_cache   off;
            return 200 "sorry\n";
        }
    }
CONF
write_file('page.html', '<!--#include virtual="/part?1" -->|'
                        . '<!--#include virtual="/part?1" -->|'
                        . '<!--#include virtual="/part?2" -->');
write_file('file', 'a file');

my $alice = person('alice');
$alice->connect('token-of-alice');

# a miss and a hit of the same, as a browser sees them
sub twice {
    my ($uri, @headers) = @_;

    $up->forget();
    my @r = map { get($uri, as => $alice, headers => [@headers]) } 1, 2;

    like($r[0]->header('Cache-Status') // '', qr/; fwd=miss; stored$/,
         "$uri: a miss");
    like($r[1]->header('Cache-Status') // '', qr/; hit;/, "$uri: a hit");
    is($up->calls(), 1, "$uri: fetched once");
    same($uri, @r);

    return @r;
}

sub same {
    my ($uri, @r) = @_;

    my %skip = map { $_ => 1 } qw(date age cache-status connection
                                  content-length transfer-encoding
                                  accept-ranges x-status);
    my @headers = map {
        my $r = $_;
        join "\n", sort map { "$_->[0]: $_->[1]" }
                   grep { !$skip{lc $_->[0]} } @{$r->{headers}};
    } @r;

    is($headers[1], $headers[0], "$uri: the same headers");
    ok($r[1]->body() eq $r[0]->body(), "$uri: the same bytes");
}


# --- gzip: kept as it came, compressed for who takes it

$up->answer("/gzip/$_" => { body => $text, ends => $_,
                            headers => ['ETag: "strong"'] })
    for 'length', 'chunked';
for my $ends ('length', 'chunked') {
    my @r = twice("/gzip/$ends", 'Accept-Encoding: gzip');
    is($r[1]->header('Content-Encoding'), 'gzip', "gzip, $ends: compressed");
    is(Compress::Zlib::memGunzip($r[1]->body()), $text,
       "gzip, $ends: once");
    is($r[1]->header('Vary'), 'Accept-Encoding', "gzip, $ends: Vary");
    is($r[1]->header('ETag'), 'W/"strong"', "gzip, $ends: a weak ETag");

    @r = twice("/gzip/$ends");
    is($r[1]->header('Content-Encoding'), undef, "gzip, $ends: plain");
    is($r[1]->body(), $text, "gzip, $ends: for who does not take it");
    is($r[1]->header('ETag'), '"strong"', "gzip, $ends: a strong ETag");
    is($r[1]->header('Content-Length'), length $text,
       "gzip, $ends: its length");
}


# --- headers that nginx adds are added to hits, once

$up->answer('/headers' => { body => 'h', headers => ['X-Hidden: secret',
                                                     'X-Shown: yes'] });
my @r = twice('/headers');
for my $r (@r) {
    is($r->header('X-Added'), 'once', 'add_header');
    is($r->header('X-Shown'), 'yes', 'what the upstream said');
    is($r->header('X-Hidden'), undef, 'what is hidden');
    is(scalar(my @all = $r->headers('Cache-Control')), 1, 'expires');
    like($r->header('Cache-Control'), qr/^max-age=3600$/, 'its value');
}
is($r[0]->header('X-Status'), 'MISS', 'a variable is of now');
is($r[1]->header('X-Status'), 'HIT', 'each time');


# --- bodies that nginx rewrites

$up->answer('/sub' => { body => 'word1 word2' });
is((twice('/sub'))[1]->body(), 'WORD1 word2', 'sub_filter');

$up->answer('/charset' => { body => 'text' });
is((twice('/charset'))[1]->header('Content-Type'),
   'text/plain; charset=koi8-r', 'charset');

$up->answer('/limited' => { body => 'x' x 5000 });
twice('/limited');


# --- SSI: in an answer, and answers in a page

$up->answer('/ssi' => { body => 'a<!--#include virtual="/part?0" -->b' },
            '/part' => { body => 'PART' });
$up->forget();
is(get('/ssi', as => $alice)->body(), 'aPARTb', 'a page with a part');
is(get('/ssi', as => $alice)->body(), 'aPARTb', 'again');
is($up->calls(), 2, 'both kept');
is($up->last()->{headers}{authorization}, 'Bearer token-of-alice',
   'fetched with the token');

$up->forget();
is(get('/page.html', as => $alice)->body(), 'PART|PART|PART',
   'a page of parts');
is(get('/page.html', as => $alice)->body(), 'PART|PART|PART', 'again');
is($up->calls(), 2, 'each fetched once');

my $bob = person('bob');
$bob->connect('token-of-bob');
$up->forget();
is(get('/page.html', as => $bob)->body(), 'PART|PART|PART', 'of another');
is($up->calls(), 2, 'are fetched for him');
is($up->last()->{headers}{authorization}, 'Bearer token-of-bob',
   'with his token');
unlike(get('/page.html')->body(), qr/PART/, 'and for nobody without one');


# --- X-Accel-Redirect: what is kept is what was asked for, or nothing

$up->answer('/accel' => { body => '', headers => [
                'X-Accel-Redirect: /internal/file'] },
            '/accel/again' => { body => '', headers => [
                'X-Accel-Redirect: /internal-cached/x'] },
            '/internal-cached/x' => { body => 'behind' });
for (1, 2) {
    my $r = get('/accel', as => $alice);
    is($r->body(), 'a file', 'X-Accel-Redirect');
    is($r->header('Cache-Status'), undef, 'nothing of the cache');
}
for (1, 2) {
    is(get('/accel/again', as => $alice)->body(), 'behind',
       'to what is cached');
}
is(scalar(grep { $_->{uri} eq '/accel' } $up->requests()), 2,
   'each asks the upstream');


# --- error pages

$up->answer('/errors' => { status => 500, body => 'trace' });
for (1, 2) {
    my $r = get('/errors', as => $alice);
    is($r->body(), "sorry\n", 'an error page');
    is($r->header('Cache-Status'), undef, 'is not of the cache');
}
$up->answer('/errors' => { body => 'fine' });
is(get('/errors', as => $alice)->body(), 'fine', 'and was not kept');
is(get('/errors', as => $alice)->header('Cache-Status') =~ /; hit;/, 1,
   'what is fine is');

done_testing();
