# Who waits for an app-only token and goes away, and a worker that is told to
# leave while it asks: the token is stored, and nothing is left behind.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $idp = upstream('idp', {
    '*' => { delay => 1, json => { access_token => 'app-token',
                                   token_type => 'Bearer',
                                   expires_in => 3600 } },
});

write_file('secret', "s3cret\n");
chmod 0600, testdir() . '/secret';

my $provider = sub {
    return <<"CONF";
    token_provider $_[0] {
        store               vault;
        grant               client_credentials;
        token_endpoint      http://%%UPSTREAM_idp%%/$_[0];
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        allow_http          on;
    }
CONF
};

redis_start();
nginx_start(blocks() . join('', map { $provider->($_) } qw(gone left))
    . <<'CONF', workers => 2);

    server {
        listen 127.0.0.1:%%PORT%%;

        location /gone { token_inject gone; proxy_pass http://%%UPSTREAM%%; }
        location /left { token_inject left; proxy_pass http://%%UPSTREAM%%; }
    }
CONF

sub asked {
    my ($uri) = @_;

    return scalar grep { $_->{uri} eq $uri } $idp->requests();
}

sub stored {
    my ($name) = @_;

    return scalar grep { /:c:$name:-$/ } @{redis('KEYS', '*')};
}


# --- all clients go away

my @c = map { connection() } 1 .. 8;
$_->send("GET /gone HTTP/1.1\r\nHost: localhost\r\n\r\n") for @c;
wait_for(sub { asked('/gone') }, 'the provider to be asked');
$_->abort() for @c;
wait_for(sub { stored('gone') }, 'the token in the store');
is(asked('/gone'), 1, 'one call');
is(get('/gone')->json()->{headers}{authorization}, 'Bearer app-token',
   'whose token serves the next');
is(asked('/gone'), 1, 'without another');


# --- the workers are told to leave

my $c = connection();
$c->send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n");
wait_for(sub { asked('/left') }, 'the provider to be asked');
nginx_reload();
my $r = $c->response();
is($r->status(), 200, 'who asked the old worker is served');
is($r->json()->{headers}{authorization}, 'Bearer app-token', 'with the token');
is(get('/left')->status(), 200, 'as is who asks the new');
is(asked('/left'), 1, 'by one call');

wait_for(sub { !grep { /:l:/ } @{redis('KEYS', '*')} }, 'no lock');
pass('no lock is left');

done_testing();
