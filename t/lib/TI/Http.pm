package TI::Http;

# A client over raw sockets: what is sent is what the test says, byte for
# byte, and what comes back is told as it came.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select ();
use IO::Socket::INET ();
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

use TI::Env qw(port patience);

our @EXPORT = qw(get post http http_bytes http_raw parallel connection);

# get(uri, options), post(uri, body, options), http(method, uri, options): a
# TI::Http::Response
sub get { http('GET', @_) }

sub post {
    my ($uri, $body, %opt) = @_;

    return http('POST', $uri, body => $body, %opt);
}

sub http {
    my ($method, $uri, %opt) = @_;

    my $c = connection(%opt) or return _no_connection();
    $c->send(http_bytes($method, $uri, _join(%opt)));

    return $c->response(head => $method eq 'HEAD');
}

# a request of its own connection says so
sub _join {
    my (%opt) = @_;

    my $own = grep { /^connection:/i } @{$opt{headers} || []};
    $opt{headers} = [($own ? () : 'Connection: close'),
                     @{$opt{headers} || []}];

    return %opt;
}

# http_raw(bytes, options): sends them as they are, reads one response
sub http_raw {
    my ($bytes, %opt) = @_;

    my $c = connection(%opt) or return _no_connection();
    $c->send($bytes);

    return $c->response(%opt);
}

# the bytes of a request
sub http_bytes {
    my ($method, $uri, %opt) = @_;

    my @fields = @{$opt{headers} || []};
    my $version = $opt{version} // '1.1';

    if (my $person = $opt{as}) {
        $opt{token} //= $person->token();
        $opt{user_key} = $person->user_key() if !exists $opt{user_key};
    }

    unshift @fields, 'Host: ' . ($opt{host} // 'localhost')
        unless grep { /^host:/i } @fields;
    push @fields, "Authorization: Bearer $opt{token}" if defined $opt{token};
    push @fields, "X-User-Key: $opt{user_key}" if defined $opt{user_key};
    push @fields, 'Content-Length: ' . length $opt{body}
        if defined $opt{body}
           && !grep { /^(?:content-length|transfer-encoding):/i } @fields;

    return join("\r\n", "$method $uri HTTP/$version", @fields, '',
                $opt{body} // '');
}

# parallel([method, uri, options], …): all at once, their responses in order
sub parallel {
    my (@requests) = @_;

    my (@responses, %open);
    my $select = IO::Select->new();
    my $end = time() + 10 * patience();

    for my $i (0 .. $#requests) {
        my ($method, $uri, %opt) = @{$requests[$i]};
        my $c = connection(%opt);

        if (!$c) {
            $responses[$i] = _no_connection();
            next;
        }
        $c->send(http_bytes($method, $uri, _join(%opt)));
        $open{fileno $c->{socket}} = [$i, $c, $method eq 'HEAD'];
        $select->add($c->{socket});
    }

    while ($select->count() && time() < $end) {
        for my $socket ($select->can_read(0.1)) {
            my ($i, $c, $head) = @{$open{fileno $socket}};
            my $more = $c->fill();
            my $r = $c->parsed(head => $head, eof => !$more);

            if ($r) {
                $responses[$i] = $r;
                $select->remove($socket);
                $c->close();
            }
        }
    }

    for my $left (values %open) {
        my ($i, $c) = @$left;
        $responses[$i] //= $c->failed('timeout');
    }

    return @responses;
}

# connection(port => …, from => a local address): to be used by hand; nothing
# if it is refused
sub connection {
    my (%opt) = @_;

    my $port = $opt{port} // 0;
    $port = port($port) if $port !~ /^\d{4,}$/;

    my $socket = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5,
        defined $opt{from} ? (LocalAddr => $opt{from}) : ()) or return;
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);

    return bless {
        socket => $socket, buffer => '', began => time(),
        timeout => $opt{timeout} // 10,
    }, 'TI::Http::Connection';
}

sub _no_connection {
    return bless {
        status => 0, error => "connect: $!", headers => [], body => '',
        raw => '', time => 0,
    }, 'TI::Http::Response';
}


package TI::Http::Connection;

use IO::Select ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

sub send {
    my ($c, @bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';

    $c->{began} = time();
    for my $bytes (@bytes) {
        my $sent = 0;
        while ($sent < length $bytes) {
            my $n = syswrite($c->{socket}, $bytes, length($bytes) - $sent,
                             $sent);
            return 0 if !defined $n;
            $sent += $n;
        }
    }

    return 1;
}

# request(method, uri, options): on this connection, which stays open
sub request {
    my ($c, $method, $uri, %opt) = @_;

    $c->send(TI::Http::http_bytes($method, $uri, %opt));

    return $c->response(head => $method eq 'HEAD');
}

# pipeline([method, uri, options], …): all sent in one write
sub pipeline {
    my ($c, @requests) = @_;

    $c->send(join '', map { TI::Http::http_bytes(@$_) } @requests);

    return map { $c->response(head => $_->[0] eq 'HEAD') } @requests;
}

# reads what is there; false at the end of the stream
sub fill {
    my ($c) = @_;

    my $n = sysread($c->{socket}, my $bytes, 65536);
    $c->{reset} = $!{ECONNRESET} if !defined $n;
    $c->{buffer} .= $bytes if $n;

    return $n;
}

# the next response, whatever it takes; status 0 and an error() if none came
sub response {
    my ($c, %opt) = @_;

    my $end = time() + ($opt{timeout} // $c->{timeout}) * TI::Env::patience();
    my $select = IO::Select->new($c->{socket});
    my $eof = 0;

    while (1) {
        my $r = $c->parsed(head => $opt{head}, eof => $eof);
        return $r if $r;

        my $left = $end - time();
        if ($left <= 0 || !$select->can_read($left)) {
            return $c->failed('timeout');
        }
        $eof = !$c->fill();
    }
}

sub failed {
    my ($c, $error) = @_;

    return bless {
        status => 0, error => $error, headers => [], body => '',
        raw => $c->{buffer}, time => time() - $c->{began},
    }, 'TI::Http::Response';
}

# A response out of the buffer, nothing if it is not whole.  At the end of
# the stream what there is will do, told as truncated.
sub parsed {
    my ($c, %opt) = @_;

    my $end = index($c->{buffer}, "\r\n\r\n");

    if ($end < 0) {
        return if !$opt{eof};
        return $c->failed($c->{reset} ? 'reset' : 'closed');
    }

    my ($line, @fields) = split /\r\n/, substr($c->{buffer}, 0, $end);
    my ($version, $status, $reason) =
        $line =~ m{^HTTP/(\d\.\d) (\d{3}) ?(.*)$}
        or return $c->failed("not HTTP: $line");
    my $r = bless {
        version => $version, status => $status, reason => $reason,
        headers => [map { [/^([^:]*):\s*(.*?)\s*$/s] } @fields],
        body => '', time => time() - $c->{began}, line => $line,
    }, 'TI::Http::Response';

    my $rest = substr($c->{buffer}, $end + 4);

    if ($status =~ /^1/) {
        $c->{buffer} = $rest;
        return $c->parsed(%opt);
    }

    my $used = $opt{head} || $status =~ /^(?:204|304)$/
               ? 0 : $r->_body($rest, $opt{eof});
    return if !defined $used;

    $r->{raw} = substr($c->{buffer}, 0, $end + 4 + $used);
    $c->{buffer} = substr($c->{buffer}, $end + 4 + $used);

    return $r;
}

# nothing more came, and the server closed within seconds
sub closed {
    my ($c, $seconds) = @_;

    my $select = IO::Select->new($c->{socket});

    return 0 if length $c->{buffer};
    return 0 if !$select->can_read(($seconds // 5) * TI::Env::patience());

    return !$c->fill() && !length $c->{buffer};
}

sub close { CORE::close($_[0]{socket}) }

# gone at once, with RST
sub abort {
    my ($c) = @_;

    setsockopt($c->{socket}, SOL_SOCKET, SO_LINGER, pack('II', 1, 0));
    CORE::close($c->{socket});
}


package TI::Http::Response;

use JSON::PP ();

sub status { $_[0]{status} }
sub reason { $_[0]{reason} }
sub body { $_[0]{body} }
sub raw { $_[0]{raw} }              # everything, as it came
sub error { $_[0]{error} }          # timeout, closed, reset, …
sub seconds { $_[0]{time} }
sub truncated { $_[0]{truncated} }  # the stream ended before the body did
sub json { JSON::PP->new->latin1->allow_nonref->decode($_[0]{body}) }

# a header's value, several joined by ", "; undef if there is none
sub header {
    my ($r, $name) = @_;

    my @values = $r->headers($name);

    return @values ? join(', ', @values) : undef;
}

sub headers {
    my ($r, $name) = @_;

    return map { $_->[1] } grep { lc $_->[0] eq lc $name } @{$r->{headers}};
}

# how many bytes of rest are the body; undef: more has to come
sub _body {
    my ($r, $rest, $eof) = @_;

    my $encoding = lc($r->header('Transfer-Encoding') // '');
    my $length = $r->header('Content-Length');

    if ($encoding eq 'chunked') {
        return $r->_chunks($rest, $eof);
    }

    if (defined $length && length $rest >= $length) {
        $r->{body} = substr($rest, 0, $length);
        return $length;
    }

    return undef if !$eof;
    $r->{truncated} = defined $length;
    $r->{body} = $rest;

    return length $rest;
}

sub _chunks {
    my ($r, $rest, $eof) = @_;

    my $at = 0;

    while (substr($rest, $at) =~ /^([0-9a-fA-F]+)[^\r\n]*\r\n/) {
        my $size = hex $1;
        last if length $rest < $at + length($&) + $size + 2;
        $at += length $&;
        $r->{body} .= substr($rest, $at, $size);
        $at += $size + 2;
        return $at if $size == 0;
    }

    return undef if !$eof;
    $r->{truncated} = 1;

    return length $rest;
}


1;
