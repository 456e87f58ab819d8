# Clients that go away at any moment of a request that is sent twice, workers
# that are told to leave meanwhile: nothing is left over, nothing is lost.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream(sub {
    my ($request) = @_;
    my ($not) = $request->{uri} =~ /not=([\w-]+)/;

    return { status => 401, body => 'no ' x 10_000, delay => 0.02,
             ends => $request->{uri} =~ /odd/ ? 'chunked' : 'length' }
        if ($request->{headers}{authorization} // '') eq "Bearer token-$not";

    return { body => 'yes ' x 5000, drip => [5000, 0.02] };
});

my $n = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;
    my ($name) = $request->{body} =~ /refresh_token=(\w+)/;

    return { json => { access_token => 'fresh-' . ++$n, expires_in => 3600,
                       token_type => 'Bearer', refresh_token => $name },
             delay => 0.1 };
});

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';

redis_start();
nginx_start(blocks(provider => <<'PROVIDER') . <<'CONF', workers => 2,
    token_endpoint          http://%%UPSTREAM_idp%%/token;
    authorization_endpoint  http://%%UPSTREAM_idp%%/authorize;
    redirect_uri            http://%%UPSTREAM_idp%%/back;
    client_id               me;
    client_secret_file      %%TESTDIR%%/secret;
    allow_http              on;
PROVIDER

    upstream kept {
        server     %%UPSTREAM%%;
        keepalive  8;
    }

    server {
        listen 127.0.0.1:%%PORT%% reuseport;

        token_auth          corp;
        token_inject        outlook;
        proxy_http_version  1.1;
        proxy_set_header    Connection "";

        location / {
            proxy_pass  http://kept;
        }

        location /cached {
            token_cache          1m;
            token_cache_methods  GET POST;
            proxy_pass           http://kept;
        }
    }
CONF
    log_level => nginx_has_debug() ? 'debug' : 'info');

my $yes = 'yes ' x 5000;
my $people = 0;

sub newcomer {
    my $name = 'p' . ++$people;
    my $who = person($name);

    $who->connect("token-$name", refresh => $name);

    return ($who, $name);
}

# the requests of a caller, of which each is left after a while of its own
sub round {
    my ($path, $many) = @_;
    my ($who, $name) = newcomer();
    my @c;

    for my $i (1 .. $many) {
        my $c = connection();
        my $kind = $i % 2 ? 'odd' : 'even';

        $c->send($i % 3 ? http_bytes(GET => "$path/$kind?not=$name",
                                     as => $who)
                        : http_bytes(POST => "$path/$kind?not=$name",
                                     as => $who, body => 'x' x 20_000));
        push @c, $c;
    }

    return ($who, $name, @c);
}

# who is not left hanging
sub whole {
    my ($who, $name, $path) = @_;
    my $r = get("$path/after?not=$name", as => $who);

    return $r->status() == 200 && $r->body() eq $yes;
}

get('/warm?not=none', as => (newcomer())[0]) for 1 .. 8;


my $whole = 0;
my $rounds = 0;

for my $path ('/plain', '/cached') {
    for my $after (0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.13, 0.16, 0.2) {
        my ($who, $name, @c) = round($path, 12);

        select(undef, undef, undef, $after) if $after;
        $c[$_]->abort() for grep { $_ % 4 } 0 .. $#c;

        my @stay = map { $c[$_]->response() } grep { !($_ % 4) } 0 .. $#c;

        $rounds++;
        $whole++ if 3 == grep { $_->status() == 200 && $_->body() eq $yes }
                              @stay;
        $whole-- if !whole($who, $name, $path);
    }
}
is($whole, $rounds, "$rounds rounds: who stays is served, and the next");

my $calls = $idp->calls();
cmp_ok($calls, '<=', $rounds, 'no token was replaced twice');
cmp_ok($calls, '>=', $rounds - 4, 'nearly all were, whoever left');

# all in one connection, one after the other
my ($who, $name) = newcomer();
my $c = connection();
$c->send(join '', map { http_bytes(GET => "/plain/$_?not=$name", as => $who) }
                      1 .. 5);
is(scalar(grep { $c->response()->body() eq $yes } 1 .. 5), 5,
   'pipelined: all are answered, in order');
$c->close();

# workers leave, and finish what they have begun
my ($one, $his, @c) = round('/plain', 12);
$idp->wait_calls($calls + 2);
nginx_reload();
is(scalar(grep { $_->response()->body() eq $yes } @c), 12,
   'a reload meanwhile: all are served');

secrets_absent('no log shows a secret', 's3cret of')
    if !nginx_has_debug();

done_testing();
