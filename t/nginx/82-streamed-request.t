# A body that is passed on as it comes (proxy_request_buffering off), in every
# timing of body and answer.  By the time that such a request ends, its
# upstream has given the buffers that held the token to others: "make asan"
# sees who writes there.

use strict;
use warnings;

use TI::Test;

needs_module();

# in pieces of many sizes, and over when the connection is
my %answers;

for my $size (200, 5000, 20000) {
    my $body = join '', map { chr(97 + $_ % 26) } 1 .. $size;

    $answers{"/$size/whole"} = { ends => 'close', body => $body };
    $answers{"/$size/$_"} = { ends => 'close', body => $body,
                              drip => [$_, 0.01] }
        for grep { $_ < $size } 3000, 15000;
}

my $up = upstream(\%answers);
my $alice = person('alice');

redis_start();
nginx_start(blocks() . <<'EOF');

    server {
        listen 127.0.0.1:%%PORT%%;

        token_auth               corp;
        token_inject             outlook;
        proxy_request_buffering  off;
        proxy_http_version       1.1;

        location / {
            proxy_pass           http://%%UPSTREAM%%;
        }

        location /unbuffered/ {
            proxy_buffering      off;
            proxy_pass           http://%%UPSTREAM%%/;
        }
    }
EOF

$alice->connect('third-party');

# Head and body in parts, the first two in one write: what nginx has already
# read and what it reads later take different ways.
sub upload {
    my ($uri, @parts) = @_;

    my $c = connection(timeout => 30);
    my $size = 0;
    $size += length for @parts;

    my $head = http_bytes('POST', $uri, as => $alice, headers => [
        'Connection: close', "Content-Length: $size"]);

    $c->send($head . shift @parts);
    for my $part (@parts) {
        select(undef, undef, undef, 0.02);
        $c->send($part);
    }

    return $c->response();
}

# sizes of the parts
my @uploads = ([0, 200], [50, 150], [50, 40, 110],
               [5000, 5000, 5000, 5000]);

for my $prefix ('', '/unbuffered') {
    for my $path (sort keys %answers) {
        for my $sizes (@uploads) {
            my @parts = map { chr(65 + $_) x $sizes->[$_] } 0 .. $#$sizes;

            $up->forget();
            my $r = upload("$prefix$path", @parts);
            my $name = "$prefix$path to " . join('+', @$sizes);

            is($r->status(), 200, "$name: an answer");
            ok($r->body() eq $answers{$path}{body}, 'all of it');

            my $saw = $up->last();
            ok($saw->{body} eq join('', @parts), 'to all of the request');
            is($saw->{headers}{authorization}, 'Bearer third-party',
               'with the third party\'s token');
            is($up->calls(), 1, 'asked once');
        }
    }
}

secrets_absent('no log shows a token', 'third-party', $alice->token());

done_testing();
