package TI::Upstream;

# HTTP servers to proxy to.  Without more said, an upstream answers 200 with
# JSON of what it saw; see TI/Test.pm for how a test says more.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();
use IO::Socket::INET ();
use Time::HiRes qw(time stat);

use TI::Env qw(testdir write_file read_file append_file port define
               fork_server end_process at_end wait_for);
use TI::Loop;

our @EXPORT = qw(upstream);

my $json = JSON::PP->new->latin1->canonical->allow_nonref;
my $count = 0;

# upstream([name], [sub { … } or { path => answer }]): started, and
# %%UPSTREAM%% or %%UPSTREAM_name%% its address
sub upstream {
    my $name = @_ && !ref $_[0] ? shift : '';
    my ($answers) = @_;

    my $up = bless {
        name => $name,
        log => testdir() . "/upstream$name.requests",
        ends => testdir() . "/upstream$name.ends",
        table => testdir() . "/upstream$name.answers",
        port => port("upstream$name"),
        seen => 0,
    }, __PACKAGE__;

    define('UPSTREAM' . ($name eq '' ? '' : "_$name") => $up->address());
    write_file($up->{$_}, '') for qw(log ends);
    $up->start($answers);
    at_end(sub { $up->stop() });

    return $up;
}

sub port_number { $_[0]{port} }
sub address { "127.0.0.1:$_[0]{port}" }

sub start {
    my ($up, $answers) = @_;

    my $callback = ref $answers eq 'CODE' ? $answers : undef;
    # again: as before
    write_file($up->{table}, $json->encode(
        ref $answers eq 'HASH' ? $answers : {}))
        if $answers || !-e $up->{table};

    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $up->{port}, Listen => 256,
        ReuseAddr => 1) or die "upstream: $!\n";

    $up->{pid} = fork_server(sub { $up->_serve($socket, $callback) });
    close($socket);
}

sub stop {
    my ($up) = @_;

    end_process($up->{pid}, 'TERM') if $up->{pid};
    undef $up->{pid};
}

# answer(path => answer, …): from now on; path '*' is for all others
sub answer {
    my ($up, %more) = @_;

    my $all = $json->decode(read_file($up->{table}));
    $all = { %$all, %more };
    write_file("$up->{table}.new", $json->encode($all));
    rename("$up->{table}.new", $up->{table}) or die "$up->{table}: $!\n";
}

# release(name): lets answers with hold => name go
sub release {
    my ($up, $name) = @_;

    write_file("upstream$up->{name}.release.$name", '');
}

# all requests since the last forget(), oldest first
sub requests {
    my ($up) = @_;

    my @lines = split /\n/, read_file($up->{log});

    return map { $json->decode($_) } @lines[$up->{seen} .. $#lines];
}

sub calls { scalar(my @all = $_[0]->requests()) }
sub last { ($_[0]->requests())[-1] }

sub forget {
    my ($up) = @_;

    my @lines = split /\n/, read_file($up->{log});
    $up->{seen} = @lines;
}

sub wait_calls {
    my ($up, $n) = @_;

    wait_for(sub { $up->calls() >= $n }, "$n calls of the upstream");
}

# connections that are over, oldest first: { connection, requests, sent }, the
# last in bytes
sub ended {
    my ($up) = @_;

    return map { $json->decode($_) } split /\n/, read_file($up->{ends});
}


# --- in the child -----------------------------------------------------------

sub _serve {
    my ($up, $socket, $callback) = @_;

    my $loop = TI::Loop->new();

    $loop->listen($socket, sub {
        my ($client) = @_;
        my $buffer = '';
        my $connection = ++$count;
        my $requests = 0;

        $loop->add($client, sub {
            my ($stream, $bytes) = @_;

            $buffer .= $bytes;
            while (my $request = _take_request(\$buffer)) {
                $requests++;
                $request->{connection} = $connection;
                $request->{time} = time();
                append_file($up->{log}, $json->encode($request) . "\n");
                $up->_answer($stream, $request, $callback);
            }
        }, sub {
            append_file($up->{ends}, $json->encode({
                connection => $connection, requests => $requests,
                sent => $_[0]{sent} }) . "\n");
        });
    });

    $loop->run();
}

# one whole request out of the buffer, or nothing yet
sub _take_request {
    my ($buffer) = @_;

    my $end = index($$buffer, "\r\n\r\n");
    return if $end < 0;

    my ($line, @fields) = split /\r\n/, substr($$buffer, 0, $end);
    my ($method, $uri, $version) = split / /, $line, 3;
    my @raw = map { [/^([^:]*):\s*(.*?)\s*$/s] } @fields;
    my %headers;

    for my $field (@raw) {
        my $name = lc $field->[0];
        $headers{$name} = exists $headers{$name}
                          ? "$headers{$name}, $field->[1]" : $field->[1];
    }

    my $rest = substr($$buffer, $end + 4);
    my $body = '';

    if (lc($headers{'transfer-encoding'} // '') eq 'chunked') {
        while (1) {
            $rest =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n// or return;
            my $size = hex $1;
            return if length $rest < $size + 2;
            $body .= substr($rest, 0, $size);
            $rest = substr($rest, $size + 2);
            last if $size == 0;
        }
    } else {
        my $size = $headers{'content-length'} || 0;
        return if length $rest < $size;
        $body = substr($rest, 0, $size);
        $rest = substr($rest, $size);
    }

    $$buffer = $rest;

    return {
        method => $method, uri => $uri, version => $version,
        headers => \%headers, raw => \@raw, body => $body,
    };
}

sub _answer {
    my ($up, $stream, $request, $callback) = @_;

    my ($path) = $request->{uri} =~ /^([^?]*)/;
    my $table = $up->_table();
    my $answer = $table->{$path} // $table->{'*'};

    $answer = $callback->($request) if !defined $answer && $callback;
    $answer = { json => $request } if !defined $answer;
    $answer = { raw => $answer } if !ref $answer;

    my ($bytes, $close) = _bytes($request, $answer);
    my @queue;

    if (defined(my $name = $answer->{hold})) {
        my $gate = testdir() . "/upstream$up->{name}.release.$name";
        push @queue, sub { -e $gate };
    }
    push @queue, \$answer->{delay} if $answer->{delay};

    if (defined $answer->{cut}) {
        $bytes = substr($bytes, 0, $answer->{cut});
        $close = 1;
    }

    if (my $drip = $answer->{drip}) {
        my ($size, $pause) = @$drip;
        push @queue, map { ($_, \$pause) } unpack("(a$size)*", $bytes);
    } else {
        push @queue, $bytes;
    }

    if (my $flood = $answer->{flood}) {
        my ($bytes, $n) = @$flood;
        my $many = int((1 << 20) / length $bytes) || 1;
        my $block = $bytes x $many;
        push @queue, (map { $block } 1 .. int($n / $many)),
                     $bytes x ($n % $many);
    }

    push @queue, [ $answer->{reset} ? 'reset' : 'close' ]
        if $close || $answer->{reset};

    $stream->send(@queue);
}

# read again when it is another: a large one takes its time
sub _table {
    my ($up) = @_;

    my $mark = join ' ', (stat($up->{table}))[1, 7, 9];

    if ($mark ne ($up->{mark} // '')) {
        $up->{mark} = $mark;
        $up->{answers} = $json->decode(read_file($up->{table}));
    }

    return $up->{answers};
}

# (bytes of a response, close after it)
sub _bytes {
    my ($request, $answer) = @_;

    return ($answer->{raw}, $answer->{close} // 1) if defined $answer->{raw};

    my $status = $answer->{status} // 200;
    my $body = $answer->{body} // '';
    my @fields = @{$answer->{headers} || []};
    my $ends = $answer->{ends} // 'length';
    my $close = $answer->{close}
                || $ends eq 'close'
                || $request->{version} eq 'HTTP/1.0'
                || lc($request->{headers}{connection} // '') eq 'close';

    if (exists $answer->{json}) {
        $body = $json->encode($answer->{json});
        push @fields, 'Content-Type: application/json';
    } elsif (!grep { /^content-type:/i } @fields) {
        push @fields, 'Content-Type: text/plain';
    }

    if ($ends eq 'length') {
        my ($flood, $n) = @{$answer->{flood} || ['', 0]};
        push @fields, 'Content-Length: '
                      . (length($body) + length($flood) * $n);
    } elsif ($ends eq 'chunked') {
        push @fields, 'Transfer-Encoding: chunked';
        $body = join '', map { sprintf("%x\r\n%s\r\n", length $_, $_) }
                         unpack('(a1000)*', $body), '';
    }

    push @fields, 'Connection: close' if $close;
    $body = '' if $request->{method} eq 'HEAD';

    return (join("\r\n", "HTTP/1.1 $status Test", @fields, '', $body),
            $close);
}


1;
