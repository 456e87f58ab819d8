# Keys change: a new one is known and a withdrawn one is forgotten within the
# interval, by who is remembered too; the issuer says how long an interval is,
# within bounds.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my @keys = map { key('RS256', $_) } qw(a b c);
my $idp = issuer(keys => [$keys[0]]);
my $n = 0;

# how long an answer is good for: what it says, and what is made of it
my %age = (
    said => ['max-age=2', undef, 2],
    over => ['max-age=86400', undef, 3],
    under => ['max-age=0', undef, 1],
    aged => ['public, max-age=600', 598, 2],
    old => ['max-age=600', 601, 1],
    store => ['no-store', undef, 1],
    cache => ['no-cache, max-age=60', undef, 1],
    broken => ['max-age=soon', undef, 3],
    nothing => [undef, undef, 3],
);
my $blocks = '';
my $locations = '';

for my $name (sort keys %age) {
    my ($control, $age) = @{$age{$name}};

    $idp->answer("/$name" => {
        headers => [defined $control ? "Cache-Control: $control" : (),
                    defined $age ? "Age: $age" : ()],
        json => { keys => [jwk($keys[0])] },
    });
    $blocks .= $idp->block($name, "keys_uri %%ISSUER%%/$name;"
                           . 'keys_interval 3s; keys_min_interval 1s;');
    $locations .= "location /$name/ { token_auth $name; empty_gif; }\n";
}

redis_start();
nginx_start(blocks(store => 'local_valid 1h;') . $blocks
            . $idp->block('live', <<'EOB')
    keys_uri           %%ISSUER%%/keys;
    keys_interval      1s;
    keys_min_interval  1s;
EOB
            . <<"CONF");

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth live;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /outlook/ {
            token_auth   live;
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }

        $locations
    }
CONF

sub fresh {
    my ($key) = @_;

    return result(get('/', token => $idp->token({ jti => ++$n },
                                                key => $key)));
}

# the answer of a set that was fetched after now
sub asked_again {
    my $seen = $idp->calls('/keys');

    $idp->wait_calls($seen + 2);
}

my $alice = person('alice', iss => $idp->url(), key => $keys[0]);
$alice->connect('token-of-alice');

is(fresh($keys[0]), 'ok', 'the first key');
is(result(get('/outlook/', as => $alice)), 'ok', 'alice is known')
    for 1 .. 2;

# a second key beside it, the first withdrawn
$idp->keys(@keys[0, 1]);
asked_again();
is(fresh($keys[0]), 'ok', 'the old key');
is(fresh($keys[1]), 'ok', 'and the new');
is(result(get('/outlook/', as => $alice)), 'ok', 'alice still');

$idp->keys(@keys[1, 2]);
asked_again();
is(fresh($keys[0]), 'token-invalid', 'the old key is withdrawn');
is(result(get('/outlook/', as => $alice)), 'token-invalid',
   'who was remembered by it is not any more');
is(result(get('/', as => $alice)), 'token-invalid', 'nowhere');
is(fresh($keys[1]), 'ok', 'the second stays');
is(fresh($keys[2]), 'ok', 'a third');

# another key of the same name
my $impostor = { %{$keys[0]}, kid => $keys[2]{kid} };
is(fresh($impostor), 'token-invalid', 'a kid is a name, not a key');
$idp->keys($keys[1], $impostor);
asked_again();
is(fresh($impostor), 'ok', 'which may get another key');
is(fresh($keys[2]), 'token-invalid', 'the one before is gone');

# back again
$idp->keys($keys[0]);
asked_again();
is(result(get('/outlook/', as => $alice)), 'ok', 'a key that came back');
log_like(qr/\[notice\].*issuer "live" has 1 keys now/, 'all told in the log');

# the lengths of intervals, from the times of the requests
for my $name (sort keys %age) {
    my $wanted = $age{$name}[2];
    my @times = map { $_->{time} }
                wait_for(sub { my @all = $idp->requests("/$name");
                               @all > 2 && \@all }, "/$name", 10)->@*;
    my $gap = $times[2] - $times[1];

    # nginx counts in seconds and looks every second
    ok($gap > $wanted - 1.1 && $gap < $wanted + 1.6 * patience(),
       "$name: asked again after $wanted s") or diag("after $gap s");
}

done_testing();
