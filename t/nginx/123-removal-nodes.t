# A connection that is removed on one node is gone on the other, and so are its
# answers: how soon, over 50 times.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Consent;
use TI::Test;
use TI::Watch;

needs_module();

use constant TRIES => 50;

my $up = upstream();

redis_start();

# nothing but the message can tell the other node before the test is over
my $text = blocks(store => 'local_valid 1h; timeout 2s;') . <<'CONF';

    server {
        listen      127.0.0.1:%%PORT%%;
        token_auth  corp;

        location / {
            token_inject  outlook;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /kept/ {
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }

        location /connections {
            token_connections;
        }
    }
CONF
nginx_start($text, log_level => 'info');
other_nginx($text =~ s/%%PORT%%/%%PORT_there%%/r);

my $here = connection();
my $there = connection(port => 'there');

# milliseconds from when it is asked for until the other node refuses
sub removal {
    my ($person, $uri) = @_;

    my $began = time();
    $here->send(TI::Http::http_bytes('DELETE', '/connections/outlook',
                                     as => $person));
    my ($r, $end);
    wait_for(sub {
        $r = $there->request('GET', $uri, as => $person);
        $end = time();
        result($r) ne 'ok';
    }, 'the other node to refuse');

    is($here->response()->status(), 204, 'removed') if $uri eq '/last';
    $here->response() if $uri ne '/last';

    return (result($r), ($end - $began) * 1000);
}

for my $uri ('/search', '/kept/search') {
    my (@took, %results);

    for my $n (1 .. TRIES) {
        my $person = person("$n$uri");
        $person->connect("token-$n");
        for my $c ($here, $there) {
            my $r = $c->request('GET', $uri, as => $person);
            die 'not connected: ', $r->body() if result($r) ne 'ok';
        }
        my ($result, $ms) = removal($person, $uri);
        $results{$result}++;
        push @took, $ms;
    }

    my @sorted = sort { $a <=> $b } @took;
    my ($median, $worst) = @sorted[TRIES / 2, -1];
    is("@{[%results]}", 'connection-required ' . TRIES,
       "$uri: refused, each of them");
    cmp_ok($worst, '<', 1000 * patience(), sprintf(
        '%s: median %.1f ms, worst %.1f ms of %d', $uri, $median, $worst,
        TRIES));
    diag(sprintf('removal on the other node, %s: median %.1f ms, worst '
                 . '%.1f ms of %d', $uri, $median, $worst, TRIES));
}

my $person = person('last');
$person->connect('token');
is(result($there->request('GET', '/last', as => $person)), 'ok', 'one more');
is((removal($person, '/last'))[0], 'connection-required', 'gone');
is((connections($person, port => 'there'))[0]{state}, 'none',
   'and the other node\'s list says so');
is(api('DELETE', '/outlook', $person)->status(), 204,
   'what is not there can be removed');

done_testing();
