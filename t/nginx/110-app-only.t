# An app-only token that nobody has yet: fetched once, however many ask, by
# whichever worker of whichever node.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $n = 0;
my $idp = upstream('idp', sub {
    my ($request) = @_;

    # each answer is another token, and late enough for all to wait for it
    return { delay => 0.3, json => { access_token => 'app-' . ++$n,
                                     token_type => 'Bearer',
                                     expires_in => 3600 } };
});

write_file('secret', "s3cret of the client\n");
chmod 0600, testdir() . '/secret';

redis_start();

my $text = blocks() . <<'CONF';

    token_provider mailer {
        store               vault;
        grant               client_credentials;
        token_endpoint      http://%%UPSTREAM_idp%%/token;
        client_id           me;
        client_secret_file  %%TESTDIR%%/secret;
        scope               https://outlook.office365.com/.default;
        token_parameters    resource=https://outlook.office365.com/;
        allow_http          on;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        token_inject mailer;

        location / {
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
CONF
nginx_start($text, workers => 2);
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r, workers => 2);


# --- a hundred at once, two nodes of two workers

my @r = parallel(map { ['GET', "/$_", $_ % 2 ? (port => 'there') : ()] }
                     1 .. 100);

is(scalar(grep { $_->status() == 200 } @r), 100, 'a hundred are served');
is(scalar(grep { $_->json()->{headers}{authorization} eq 'Bearer app-1' }
               grep { $_->status() == 200 } @r), 100, 'with one token');
is($idp->calls(), 1, 'for which the provider was asked once');

my $request = $idp->last();
is($request->{method}, 'POST', 'by a POST');
is($request->{headers}{'content-type'}, 'application/x-www-form-urlencoded',
   'of a form');
like($request->{headers}{authorization}, qr/^Basic /, 'as this client');
is($request->{body},
   'grant_type=client_credentials'
   . '&scope=https%3A%2F%2Foutlook.office365.com%2F.default'
   . '&resource=https%3A%2F%2Foutlook.office365.com%2F', 'for this');

get('/again');
get('/again', port => 'there');
is($idp->calls(), 1, 'and not again');


# --- in the store: a connection like others, nobody's lock

my ($name) = grep { /:c:mailer:-$/ } @{redis('KEYS', '*')};
my %hash = %{redis_hash($name)};
is($hash{gen}, 1, 'written once');
is($hash{state}, 'connected', 'as connected');
is($hash{scope}, 'https://outlook.office365.com/.default', 'for its scope');
cmp_ok(abs($hash{exp} - time() - 3600), '<', 30, 'until its end');
wait_for(sub { !grep { /:l:/ } @{redis('KEYS', '*')} }, 'no lock');
pass('the lock is gone');


# --- gone again, or of no use

redis('DEL', $name);
redis('PUBLISH', 'ti:changes', $name);
wait_for(sub { get('/gone')->json()->{headers}{authorization}
               eq 'Bearer app-2' }, 'another token');
is($idp->calls(), 2, 'removed: another is fetched');

redis('HSET', $name, 'access', 'garbage', 'gen', 5);
redis('PUBLISH', 'ti:changes', $name);
wait_for(sub { get('/gone')->json()->{headers}{authorization}
               eq 'Bearer app-3' }, 'another token');
is($idp->calls(), 3, 'damaged: another is fetched');
is(redis_hash($name)->{gen}, 6, 'the next in its place');
expect_log(qr/app-only token of provider "mailer" in the store can't be used/);

secrets_absent('no log shows a token or the secret',
               'app-1', 'app-2', 'app-3', 's3cret');

done_testing();
