# A key that nobody has heard of: asked for at once, so that a rotation goes
# unnoticed; but not more often than keys_min_interval, whatever the flood.

use strict;
use warnings;

use Time::HiRes qw(time);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer(keys => [key('RS256', 'a')]);
my $gone = issuer('gone', keys => [key('RS256', 'a')]);
my $n = 0;

# an interval that this test does not see the end of
nginx_start($idp->block('corp', <<'EOB')
    keys_uri           %%ISSUER%%/keys;
    keys_min_interval  2s;
EOB
            . $gone->block('gone', <<'EOB') . <<'CONF', log_level => 'info');
    keys_uri           %%ISSUER_gone%%/keys;
    keys_min_interval  1s;
EOB
    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth corp;
            proxy_pass http://%%UPSTREAM%%;
        }

        location /gone/ {
            token_auth gone;
            proxy_pass http://%%UPSTREAM%%;
        }
    }
CONF

sub fresh {
    my ($key, %opt) = @_;

    return get('/', token => $idp->token({ jti => ++$n }, key => $key, %opt));
}

my $known = $idp->token({ sub => 'known' });

is(result(fresh(key('RS256', 'a'))), 'ok', 'the first key');
is($idp->calls('/keys'), 1, 'asked once');

# a rotation: the first who comes with the new key goes through
$idp->keys(key('RS256', 'b'));
is(result(fresh(key('RS256', 'b'))), 'ok', 'a new key, in the same request');
is($idp->calls('/keys'), 2, 'for which the issuer was asked again');
is(result(fresh(key('RS256', 'b'))), 'ok', 'and again');
is(result(get('/', token => $known)), 'token-invalid', 'the old key is gone');
is($idp->calls('/keys'), 2, 'too soon to ask for that one');

# bad in other ways: no reason to ask
my $asked = $idp->calls('/keys');
my $good = $idp->token();
for (['a bad signature', substr($good, 0, -8) . 'AAAAAAAA'],
     ['another audience', $idp->token({ aud => 'x' })],
     ['too late', $idp->token({ exp => time() - 60 })],
     ['nonsense', 'nonsense'],
     ['another issuer', jwt({ iss => 'https://x.example.com' })],
     ['another algorithm', $idp->token({}, alg => 'ES256',
                                       key => key('ES256', 'x'))])
{
    my ($name, $token) = @$_;

    is(get('/', token => $token)->status(), 401, $name);
}

# a flood of ten thousand would take the tests' client too long: what counts
# is that it lasts for several intervals
sub flood {
    my ($seconds) = @_;

    my $header = { alg => 'RS256' };
    my $claims = claims(iss => $idp->url());
    my $c = connection();
    my ($sent, $known_ok, %results) = (0, 0);
    my $end = time() + $seconds;

    while (time() < $end) {
        my @tokens = map {
            jws_raw({ alg => 'RS256', kid => "unknown-$_-" . ++$n }, $claims,
                    signature => 'x' x 256)
        } 1 .. 50;
        $results{result($_)}++
            for $c->pipeline(map { ['GET', '/', token => $_] } @tokens);
        $sent += @tokens;
        $known_ok++ if get('/', token => $good)->status() == 200;
        if ($sent % 900 == 0) {
            $c->close();
            $c = connection();
        }
    }

    return ($sent, $known_ok, \%results);
}

$idp->forget();
my $began = time();
my ($sent, $known_ok, $results) = flood(5);
my $allowed = 1 + int((time() - $began) / 2) + 1;
my $calls = $idp->calls('/keys');
note("$sent unknown keys, $calls fetches");
is_deeply([keys %$results], ['token-invalid'], 'a flood is told so');
cmp_ok($sent, '>', 500, 'and was one');
cmp_ok($calls, '>', 0, 'the issuer was asked');
cmp_ok($calls, '<=', $allowed, 'no more often than configured');
is($known_ok, $sent / 50, 'others do not notice');

my @times = map { $_->{time} } $idp->requests('/keys');
is(scalar(grep { $times[$_] - $times[$_ - 1] < 1 } 1 .. $#times), 0,
   'nor at once');

# a rotation in the flood's wake
$idp->keys(key('RS256', 'c'));
wait_for(sub { fresh(key('RS256', 'c'))->status() == 200 },
         'a new key after a flood', 5);
pass('a rotation after it');

# a fetch that fails closes the door
is(result(get('/gone/', token => $gone->token())), 'ok', 'another issuer');
$gone->fault('/keys' => { status => 500 });
my $r = get('/gone/', token => $gone->token({}, key => key('RS256', 'b')));
is(result($r), 'token-invalid', 'an unknown key, and nobody to ask');
is(result(get('/gone/', token => $gone->token({ jti => 2 }))), 'ok',
   'known ones serve');
log_like(qr/\[warn\].*keys of issuer "gone": .*500/, 'said in the log');

# one that hangs: others go on
$gone->fault('/keys' => { hold => 'long' });
my @waiting;
wait_for(sub {
    my $c = connection();
    $c->send(http_bytes(GET => '/gone/',
                        token => $gone->token({ jti => ++$n },
                                              key => key('RS256', 'b'))));
    push @waiting, $c;
    return $gone->calls('/keys') >= 3;
}, 'another fetch', 8);
is(result(get('/gone/', token => $gone->token({ jti => 3 }))), 'ok',
   'while one is waited for');
$gone->fault('/keys' => undef);
$gone->keys(key('RS256', 'a'), key('RS256', 'b'));
$gone->release('long');
is(result($waiting[-1]->response()), 'token-invalid',
   'what had been asked before is what counts');
wait_for(sub {
    get('/gone/', token => $gone->token({ jti => ++$n },
                                        key => key('RS256', 'b')))->status()
    == 200
}, 'the new key', 5);
$_->close() for @waiting;

# a kid never shows in the log as it came
my $evil = "a\r\n[alert] b\x1b[31m" . 'c' x 500;
get('/', token => jws_raw({ alg => 'RS256', kid => $evil },
                          claims(iss => $idp->url()), signature => 'x'));
log_unlike(qr/^\[alert\] b/m, 'a kid does not write the log');
log_unlike(qr/\x1b/, 'nor colour it');

done_testing();
