# What an answer belongs to: anything that differs is another answer.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $count = 0;
my $up = upstream(sub {
    my ($request) = @_;

    $count++;
    my $whose = $request->{headers}{authorization} // '';

    return { body => "$whose $request->{method} $count",
             headers => ["X-Whose: $whose"] };
});

redis_start();
my $text = blocks(issuer => 'tenant_claim tid;') . <<'CONF';

    token_provider other {
        store vault;
    }

    token_provider shared {
        store     vault;
        user_key  off;
    }

    token_issuer second {
        issuer        https://login.example.org/;
        audience      api://search;
        keys_file     %%TESTDIR%%/corp.jwks;
        tenant_claim  tid;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        server_name localhost www.example.com;

        token_auth           corp second;
        token_inject         outlook;
        token_cache          5m;
        token_cache_methods  GET HEAD POST;
        proxy_http_version   1.1;

        location / {
            proxy_pass http://%%UPSTREAM%%;
        }

        location /other {
            token_inject  other;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /shared {
            token_inject  shared;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /vary {
            token_cache_vary  X-Team;
            proxy_pass        http://%%UPSTREAM%%;
        }

        location /key {
            token_cache_key  $arg_k $http_x_k;
            proxy_pass       http://%%UPSTREAM%%;
        }

        location /same {
            rewrite ^/same/\w+ /one break;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /first/ {
            rewrite ^/first/(.*) /$1 break;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /second/ {
            rewrite ^/second/(.*) /$1 break;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text);

my $key = new_user_key();
my %who = (
    alice => person('alice', tid => 'one', user_key => $key),
    'alice elsewhere' => person('alice', tid => 'two', user_key => $key),
    'alice of another issuer' => person('alice', tid => 'one',
        iss => 'https://login.example.org/', user_key => $key),
    'alice on a phone' => person('alice', tid => 'one'),
    bob => person('bob', tid => 'one', user_key => $key),
);

for my $name (keys %who) {
    my $token = $name =~ tr/ /-/r;
    $who{$name}->connect($token);
    $who{$name}->connect("$token-other", provider => 'other');
    put_connection(who => $who{$name}->who(), provider => 'shared',
                   access => "$token-shared") if $name !~ /phone/;
}

my $alice = $who{alice};

# A test that two requests, as [method, uri, options], do not share an answer;
# each has one of its own.
sub apart {
    my ($case, $one, $two) = @_;

    my @first = map { http(@$_) } $one, $two;
    my @again = map { http(@$_) } $one, $two;

    my $ok = ok($first[0]->status() == 200 && $first[1]->status() == 200
                && $first[0]->body() eq $again[0]->body()
                && $first[1]->body() eq $again[1]->body()
                && $first[0]->body() ne $first[1]->body()
                && $again[0]->header('Cache-Status') =~ /; hit;/
                && $again[1]->header('Cache-Status') =~ /; hit;/,
                "$case: apart");
    diag(join "\n", map { join ' ', $_->status(), $_->body(),
                          $_->header('Cache-Status') // '-' } @first, @again)
        if !$ok;
}

# … and that they do
sub together {
    my ($case, $one, $two) = @_;

    my $first = http(@$one);
    my $second = http(@$two);

    is($second->body(), $first->body(), "$case: the same bytes");
    like($second->header('Cache-Status'), qr/; hit;/, "$case: a hit");
}

my $n = 0;
sub fresh { '/p' . ++$n }
sub as { (as => $alice, @_) }
sub with { (as => $alice, headers => [@_]) }

for my $name (sort grep { $_ ne 'alice' } keys %who) {
    my $uri = fresh();
    apart($name, [GET => $uri, as()], [GET => $uri, as => $who{$name}]);
    is(get($uri, as => $who{$name})->header('X-Whose'),
       'Bearer ' . $name =~ tr/ /-/r, "$name: their own");
}

apart('two callers without user keys', [GET => '/shared', as()],
      [GET => '/shared', as => $who{bob}]);
together('one caller without user keys, two devices',
         [GET => '/shared/2', as()],
         [GET => '/shared/2', as => $who{'alice on a phone'}]);

apart('URIs', [GET => '/x', as()], [GET => '/y', as()]);
apart('arguments', [GET => '/x?a=1', as()], [GET => '/x?a=2', as()]);
apart('an empty argument', [GET => '/z', as()], [GET => '/z?', as()]);
apart('escapes', [GET => '/a%2Fb', as()], [GET => '/a/b', as()]);
apart('case', [GET => '/Case', as()], [GET => '/case', as()]);
apart('slashes', [GET => '/q//q', as()], [GET => '/q/q', as()]);
apart('providers by location', [GET => '/other', as()], [GET => '/', as()]);
apart('hosts', [GET => '/h', as(host => 'localhost')],
      [GET => '/h', as(host => 'www.example.com')]);
apart('methods', [GET => '/m', as()], [POST => '/m', as(body => '')]);
apart('bodies', [POST => '/b', as(body => 'one')],
      [POST => '/b', as(body => 'two')]);
apart('a body and none', [POST => '/b2', as(body => 'one')],
      [POST => '/b2', as()]);
apart('locations that pass on the same', [GET => '/first/t', as()],
      [GET => '/second/t', as()]);

for my $header ('Accept', 'Accept-Encoding', 'Accept-Language') {
    my $uri = fresh();
    apart($header, [GET => $uri, with("$header: a")],
          [GET => $uri, with("$header: b")]);
    apart("no $header", [GET => fresh(), as()], [GET => "/p$n",
                                                with("$header: c")]);
}
apart('values that run into each other',
      [GET => '/r', with('Accept: ab', 'Accept-Encoding: c')],
      [GET => '/r', with('Accept: a', 'Accept-Encoding: bc')]);

apart('a listed header', [GET => '/vary', with('X-Team: red')],
      [GET => '/vary', with('X-Team: blue')]);
together('the list replaces the default', [GET => '/vary/2',
                                           with('Accept: a')],
         [GET => '/vary/2', with('Accept: b')]);
together('its lines are one list',
         [GET => '/vary/3', with('X-Team: red', 'X-Team: blue')],
         [GET => '/vary/3', with('x-team: red, blue')]);

apart('token_cache_key', [GET => '/key/1', with('X-K: 1')],
      [GET => '/key/1', with('X-K: 2')]);
apart('its values do not run into each other',
      [GET => '/key/2?k=ab', with('X-K: c')],
      [GET => '/key/2?k=a', with('X-K: bc')]);

together('two tokens of one caller', [GET => '/t', as()],
         [GET => '/t', as(token => $alice->token(jti => 1))]);
together('other headers', [GET => '/o', as()],
         [GET => '/o', with('User-Agent: x', 'Cookie: a=b', 'Referer: y')]);
together('what a rewrite makes one', [GET => '/same/a', as()],
         [GET => '/same/b', as()]);

done_testing();
