# Everything that a polite identity provider would not do: what was fetched
# before goes on serving, the log says what is wrong, and it costs neither
# memory nor time.  One issuer for each fault, all at once.

use strict;
use warnings;

use IO::Compress::Gzip qw(gzip);
use JSON::PP ();
use Time::HiRes qw(time sleep);

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $idp = issuer();
my $gone = issuer('gone');
my $deaf = deaf_port();
my $n = 0;

my ($old, $new) = (key('RS256', 'a'), key('RS256', 'b'));
my $set = JSON::PP->new->canonical->encode({ keys => [jwk($old)] });
my $encoded = qr/Content-Encoding that nobody asked for/;
my $cut = qr/closed the connection in the middle of its answer/;
my $many = 'x' x 1024;
my $large = qr/answered more than 524288 bytes, which is refused/;

gzip(\$set => \my $zipped);
gzip(\($set . ' ' x (20 << 20)) => \my $bomb);

sub length_of { 'Content-Length: ' . length $_[0] }

# name, what its answer has instead, what the log says
my @faults = (
    ['status-500', { status => 500 }, qr/answered 500/],
    ['status-503', { status => 503, headers => ['Retry-After: 1'] },
     qr/answered 503/],
    ['status-404', { status => 404 }, qr/answered 404/],
    ['status-401', { status => 401,
                     headers => ['WWW-Authenticate: Basic realm="x"'] },
     qr/answered 401/],
    ['status-204', { status => 204, ends => 'none', body => '' },
     qr/answered 204/],
    ['status-206', { status => 206 }, qr/answered 206/],
    (map { ["redirect-$_", { status => $_,
                             headers => ['Location: /elsewhere'] },
            qr/answered $_: redirects are not followed/] }
         qw(301 302 303 307 308)),

    ['html', { body => '<html><body>Sign in</body></html>',
               headers => ['Content-Type: text/html'] }, qr/not JSON/],
    ['truncated', { body => substr($set, 0, -20) }, qr/not JSON/],
    ['twice', { body => '{"keys":[],' . substr($set, 1) },
     qr/JSON with a duplicate member/],
    ['behind', { body => "$set {}" }, qr/JSON with something behind it/],
    ['array', { body => '[]' }, qr/JSON that is not an object/],
    ['no-keys', { body => '{"kees":[]}' }, qr/has no "keys" array/],
    ['keys-string', { body => '{"keys":"x"}' }, qr/has no "keys" array/],
    ['nul', { body => "$set\0" }, qr/JSON with something behind it/],
    ['deep', { body => '[' x 50_000 }, qr/JSON nested too deep/],
    ['empty', { body => '' }, qr/empty, no JSON/],

    ['gzip', { body => $zipped, headers => ['Content-Encoding: gzip'] },
     $encoded],
    ['gzip-said', { body => $set, headers => ['Content-Encoding: gzip'] },
     $encoded],
    ['bomb', { raw => join "\r\n", 'HTTP/1.1 200 OK',
               'Transfer-Encoding: gzip', '', $bomb },
     qr/$large|Transfer-Encoding that nobody asked for/],
    ['flood', { flood => [$many, 100 << 10] }, $large],
    ['flood-closed', { flood => [$many, 100 << 10], ends => 'close' },
     $large],
    ['flood-chunks', { raw => "HTTP/1.1 200 OK\r\n"
                              . "Transfer-Encoding: chunked\r\n\r\n",
                       flood => ["400\r\n$many\r\n", 100 << 10] },
     $large],
    ['headers', { raw => "HTTP/1.1 200 OK\r\n",
                  flood => ['X-Header: ' . 'x' x 8000 . "\r\n", 12_000] },
     qr/headers larger than 64k/],
    ['continue', { raw => '', flood => ["HTTP/1.1 100 Continue\r\n\r\n",
                                        4_000_000] },
     qr/headers larger than 64k/],

    ['cut', { cut => 300 }, $cut],
    ['cut-header', { cut => 20 }, qr/empty, no JSON/],
    ['cut-chunk', { raw => "HTTP/1.1 200 OK\r\n"
                           . "Transfer-Encoding: chunked\r\n\r\n"
                           . "fff\r\n$set" }, $cut],
    ['reset', { reset => 1, cut => 300 }, qr/closed the connection/],
    ['silent', { raw => '' }, qr/closed the connection without an answer/],
    ['not-http', { raw => "SSH-2.0-OpenSSH_9.2\r\n" },
     qr/something that is not HTTP/],
    ['holds', { hold => 'never' }, qr/timed out without an answer/],
    ['drips', { drip => [3, 0.05] },
     qr/timed out in the middle of its answer/],
);

# its first keys are good
$idp->answer(map { ("/$_->[0]" => { body => $set }) } @faults);

sub conf {
    my $blocks = '';
    my $locations = '';

    for ((map { $_->[0] } @faults), 'refuses', 'deaf') {
        my $url = $_ eq 'refuses' ? $gone->url("/keys")
                : $_ eq 'deaf' ? "http://127.0.0.1:$deaf/keys"
                : $idp->url("/$_");

        $blocks .= $idp->block($_, <<"EOB");
            keys_uri           $url;
            keys_interval      1s;
            keys_min_interval  1s;
            keys_wait          5s;
            connect_timeout    2s;
            timeout            2s;
EOB
        $locations .= "location /$_/ { token_auth $_; empty_gif; }\n";
    }

    return <<"CONF";
        $blocks
        server {
            listen 127.0.0.1:%%PORT%%;
            location / { empty_gif; }
            $locations
        }
CONF
}

# the status of each, from a token that nobody has seen
sub all {
    my ($key, @names) = @_;

    my @answers = parallel(map {
        [GET => "/$_/", token => $idp->token({ jti => ++$n }, key => $key)]
    } @names);

    return { map { $names[$_] => $answers[$_]->status() } 0 .. $#names };
}

# descriptors of a worker between its fetches, of which some begin each second
sub quiet_fds {
    my $end = time() + 2 * patience();
    my $least = worker_fds();

    while (time() < $end) {
        my $now = worker_fds();
        $least = $now if $now < $least;
        sleep(0.005);
    }

    return $least;
}

my @names = map { $_->[0] } @faults;
my %good = map { $_ => 200 } @names;

$gone->keys($old);
nginx_start(conf(), log_level => 'info');
is_deeply(all($old, @names, 'refuses'), { %good, refuses => 200 },
          'all is well');

wait_log(qr/\[error\].*"deaf": .*timed out while connecting/);
pass('and one that does not even accept is told of');

my $memory = worker_memory();
my $fds = quiet_fds();

$idp->answer(map { ("/$_->[0]" => { body => $set, %{$_->[1]} }) } @faults);
$gone->stop();

sub line {
    my ($name) = @_;

    my ($line) = error_log() =~
                 /^(\S+ \S+ \[warn\] .* keys of issuer "$name": .*)$/m;

    return $line;
}

for (@faults, ['refuses', {}, qr/refuses connections/]) {
    my ($name, undef, $wanted) = @$_;
    my $line = wait_for(sub { line($name) }, "a line on $name", 10);
    my ($why) = $line =~ m{"http://[^"]*" (.*); the present}
                or diag($line);

    like($why // '', $wanted, "$name: the log says what");
    like($line, qr/present ones serve for \d+ seconds more/,
         "$name: and what follows");
}

is_deeply(all($old, @names, 'refuses'), { %good, refuses => 200 },
          'all of them serve by what was there');

# how long a location without us takes meanwhile
my @seconds = sort { $a <=> $b } map { get('/')->seconds() } 1 .. 100;
cmp_ok($seconds[-2], '<', 0.1 * patience(), 'nobody else is held up');

# what was read of what was too much
my %connection = map { $_->{connection} => $_->{uri} } $idp->requests();
my %sent;
for my $end ($idp->ended()) {
    my $name = $connection{$end->{connection}} // next;
    $sent{$name} = $end->{sent} if $end->{sent} > ($sent{$name} // 0);
}
for (qw(flood flood-closed flood-chunks headers continue)) {
    cmp_ok($sent{"/$_"} // 1e9, '<', 16 << 20, "$_: not read to its end");
}
is($idp->calls('/elsewhere'), 0, 'no redirect was followed');

# well again, with another key
$gone->start();
$gone->keys($new);
my $other = JSON::PP->new->encode({ keys => [jwk($new)] });
$idp->answer(map { ("/$_" => { body => $other }) } @names);
$idp->release('never');
wait_for(sub {
    my $all = all($new, @names, 'refuses');
    return !grep { $_ != 200 } values %$all;
}, 'all to be well again', 10);
pass('all are well again');
is_deeply(all($old, @names), { map { $_ => 401 } @names },
          'and the old key is gone');

cmp_ok(quiet_fds(), '<=', $fds, 'no descriptor is left');
SKIP: {
    skip('a sanitizer keeps what was freed', 1) if patience() > 1;
    cmp_ok(worker_memory(), '<', $memory + 4096, 'no memory either');
}
secrets_absent('no token in the logs', $idp->token({}, key => $old));

done_testing();
