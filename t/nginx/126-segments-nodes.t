# Rules in Redis on two nodes of two workers each: a change is everywhere within
# a second; where nobody heard of it, after local_valid; and after a reconnect.

use strict;
use warnings;

use List::Util qw(max);
use Time::HiRes qw(time);

use TI::Test;
use TI::Env qw(build_dir);
use TI::Tokenctl;
use TI::Watch;

needs_module();
plan(skip_all => 'no tokenctl is built') if !-x build_dir() . '/tokenctl';

my $up = upstream();
my $proxy = proxy();

sub text {
    my ($server, $port) = @_;

    return blocks(store => "server $server;\nlocal_valid 4s;") . <<"CONF";
        server {
            listen 127.0.0.1:$port;
            token_auth    corp;
            token_inject  outlook;
            location / { proxy_pass http://%%UPSTREAM%%; }
        }
CONF
}

redis_start();
nginx_start(text('unix:%%REDIS_SOCK%%', '%%PORT%%'), workers => 2);
other_nginx(text('127.0.0.1:%%PROXY%%', '%%PORT_there%%'), workers => 2);

my $alice = person('alice');
$alice->connect('token-of-alice');

my %token = map { $_ => $alice->token(groups => [$_]) } qw(red green);

sub says {
    my ($group, $where) = @_;

    return result(get('/', as => $alice, token => $token{$group},
                      $where ? (port => $where) : ()));
}

# connections of their own go to either worker: many in a row say the same
sub everywhere {
    my ($group, $want, @where) = @_;

    return !grep {
        my $where = $_;
        grep { says($group, $where) ne $want } 1 .. 6
    } @where ? @where : ('', 'there');
}

sub within {
    my ($seconds, $group, $want, $name, @where) = @_;

    my $began = time();
    wait_for(sub { everywhere($group, $want, @where) }, $name);
    my $took = time() - $began;
    ok($took < $seconds * patience(), "$name: within $seconds s");

    return $took;
}

ok(everywhere($_, 'ok'), "$_ may, without rules") for sort keys %token;


# --- heard at once

my @took;
for my $round (1 .. 3) {
    for my $in (qw(red green)) {
        my $out = $in eq 'red' ? 'green' : 'red';

        segment('outlook', "groups=$in");
        push @took, within(1, $out, 'segment-excluded', "$out is out");
        push @took, within(1, $in, 'ok', "$in is in");
    }
}
diag(sprintf('seen on two nodes, four workers: %.0f ms at most',
             1000 * max(@took)));


# --- a message that nobody published

my $red = redis('HGET', 'ti:segments', 'outlook');
segment('outlook', 'groups=red');
within(1, 'red', 'ok', 'red is in');
redis('HSET', 'ti:segments', outlook => $red);
within(5, 'green', 'ok', 'green is in, not published');
within(5, 'red', 'segment-excluded', 'red is out, not published');


# --- lost connections

$proxy->mode('refuse');
$proxy->drop();
segment('outlook', 'groups=red');
within(1, 'red', 'ok', 'red is in, here', '');
wait_for(sub { says('red', 'there') eq 'store-unavailable' },
         'the other node knows nothing of her');
$proxy->mode('pass');
within(2, 'red', 'ok', 'red is in, there', 'there');
within(2, 'green', 'segment-excluded', 'green is out, there', 'there');

done_testing();
