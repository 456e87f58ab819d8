# A POST's body that has been passed on as it came, before a redirect led to
# an injecting location whose POSTs are cached: what is left of it is no key.
# Two bodies must never share an answer.

use strict;
use warnings;

use IO::Socket::INET;

use TI::Env qw(fork_server end_process at_end);
use TI::Test;

needs_module();

# A server that answers as soon as it has the headers: nginx has nothing left
# to send after them.
sub hasty {
    my ($name, $status) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 9)
                 or die "listen: $!\n";
    my $server = fork_server(sub {
        my $n = 0;

        while (my $s = $listen->accept()) {
            my $read = '';
            while ($read !~ /\r\n\r\n/) {
                sysread($s, $read, 4096, length $read) or last;
            }
            my $body = 'answer ' . ++$n;
            syswrite($s, "HTTP/1.1 $status Test\r\nContent-Length: "
                         . length($body) . "\r\n\r\n$body");
            # until nginx has read that
            1 while sysread($s, $read, 4096);
            close($s);
        }
    });
    at_end(sub { end_process($server, 'TERM') });
    define($name => '127.0.0.1:' . $listen->sockport());
}

my $whole = upstream({ '*' => { status => 404, body => 'nothing here' } });
my $up = upstream('second');
hasty('REFUSES', 404);
hasty('ANSWERS', 200);

my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;

        client_body_buffer_size  64k;
        proxy_http_version       1.1;
        proxy_intercept_errors   on;

        # refuses when it has all of the body
        location /whole/ {
            error_page               404 = @hasty;
            proxy_request_buffering  off;
            proxy_pass               http://%%UPSTREAM%%;
        }

        # and before
        location /part/ {
            error_page               404 = @hasty;
            proxy_request_buffering  off;
            proxy_pass               http://%%REFUSES%%;
        }

        location /buffered/ {
            error_page               404 = @cached;
            proxy_pass               http://%%UPSTREAM%%;
        }

        location @hasty {
            token_auth               corp;
            token_inject             outlook;
            token_cache              5m;
            token_cache_methods      GET POST;
            proxy_pass               http://%%ANSWERS%%;
        }

        location @cached {
            token_auth               corp;
            token_inject             outlook;
            token_cache              5m;
            token_cache_methods      GET POST;
            proxy_pass               http://%%UPSTREAM_second%%;
        }
    }
EOF

$alice->connect('third-party');

# headers, then the parts, each when the one before is on its way
sub ask {
    my ($uri, $size, @parts) = @_;

    my $c = connection();

    $c->send(http_bytes('POST', $uri, as => $alice, headers => [
        'Connection: close', "Content-Length: $size"]));
    for my $part (@parts) {
        select(undef, undef, undef, 0.1);
        $c->send($part);
    }

    return $c->response();
}

my $bypass = 'token-injector; fwd=bypass';
my %answers;

for my $parts (['one' x 1000], ['two' x 1000], ['one' x 500, 'one' x 500],
               ['one' x 500, 'two' x 500], ['two' x 1000])
{
    my $body = join '', @$parts;
    my $r = ask('/whole/x', 3000, @$parts);
    my $name = @$parts . ' parts';

    is($whole->last()->{body}, $body, "$name went elsewhere first");
    is($r->header('Cache-Status'), $bypass, 'then no answer is shared');
    $answers{$r->body()}++;

    # half of it is not there yet
    $r = ask('/part/x', 3000, substr($body, 0, 1500));
    is($r->header('Cache-Status'), $bypass, 'nor with a part of the body');
    $answers{$r->body()}++;
}

is(scalar(keys %answers), 10, 'each has an answer of its own');
is(scalar(@{redis('KEYS', '*:a:*')}), 0, 'none is kept');

# whole in memory, the same redirect has its key
for my $case (['one' x 1000, 'fwd=miss; stored'], ['one' x 1000, 'hit'],
              ['two' x 1000, 'fwd=miss; stored'], ['two' x 1000, 'hit'])
{
    my ($body, $expected) = @$case;
    my $r = ask('/buffered/x', 3000, $body);

    like($r->header('Cache-Status'), qr/; $expected/, "buffered: $expected");
    is($r->json()->{body}, $body, 'this body\'s answer');
}

done_testing();
