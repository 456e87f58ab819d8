package TI::Rotator;

# A third party whose refresh tokens are good once, and whose token endpoint
# misbehaves to order: one server that gives tokens and knows them when they
# come back with a request.
#
#     my $idp = rotator(life => 3);
#                             %%ROTATOR%% is its address; seconds that access
#                             tokens live.  reuse => seconds for which a
#                             refresh token that was used may be used again;
#                             without it that ends the grant, as real ones do.
#                             grace => seconds for which an access token is
#                             still taken after its end, 1 unless said.
#                             name => 'x': %%ROTATOR_x%%
#     $idp->party(lines)      the lines of a token_provider's block
#     my $c = $idp->connect($alice, left => 0, life => 3600)
#                             a connection of hers, in Redis and here: its
#                             access token ends in so many seconds (-1: ended)
#                             and was given for a life of so many; and what
#                             put_connection knows
#     $idp->connect_all([people], …)
#                             the same for many; left may be a sub, asked for
#                             each person
#
# To /token it gives tokens, for grants refresh_token and client_credentials.
# Everywhere else it is the third party's service: 200 for a token that lives,
# with { account, n, newest, left }, n the how manieth it is; else 401 with
# { account, why }.  The account is a person's sub.
#
#     $idp->fault('dies', times => 2, account => 'alice', chance => 0.1)
#     $idp->fault({ before => 1, … }, …)
#     $idp->well()            no fault any more
#     $idp->release(name)     those with hold => name go on
#
# A fault is one of %faults below, or a hash of
#     hold => name            not before release(name)
#     before => seconds       that it takes before anything happens
#     kill => when            the process that asks is killed: before, rotated,
#                             or answered; a pause => seconds later
#     answer => [status, { json } or text, 'Name: value', …]
#                             instead of tokens; nothing is used up, unless
#                             rotate => 1
#     reply => { members }    of the reply, different; undef leaves one out
#     keep => 1               the refresh token that came stays the one
#     after => seconds        that it takes until it answers
#     end => close | reset | mute
#                             instead of an answer
# and of several faults that fit the first one counts.
#
#     $idp->stats()           { calls, granted, replays, unknown, fired =>
#                             { fault => n }, revoked => [accounts], busy =>
#                             the most calls at a time, asked and refused, by
#                             the service }
#     $idp->calls()           of it, since forget()
#     $idp->log()             [{ time, account, what, left }, …] of these: what
#                             came of it, and how long the token before it
#                             had to live
#     $idp->account(name)     { n, refresh, access, used, revoked, granted }
#     $idp->accounts()        all of them, by name

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use IO::Socket::INET ();
use Time::HiRes qw(time);

use TI::Control qw(controlled);
use TI::Env qw(port define write_file wait_for);
use TI::Record qw(put_connection);

our @EXPORT = qw(rotator);

my %faults = (
    late => { before => 1 },
    late_after => { after => 1 },
    dies => { end => 'close' },
    reset => { end => 'reset', answer => [500, ''] },
    reset_after => { end => 'reset' },
    mute => { end => 'mute' },
    deaf => { end => 'mute', answer => [500, ''] },
    e500 => { answer => [500, 'oops'] },
    e503 => { answer => [503, ''] },
    garbage => { answer => [200, '<html>Sign in</html>'] },
    no_refresh => { reply => { refresh_token => undef }, keep => 1 },
    same_refresh => { keep => 1 },
    throttled => { answer => [429, '', 'Retry-After: 2'] },
    (map { $_ => { answer => [$_ eq 'invalid_client' ? 401 : 400,
                              { error => $_ }] } }
         qw(invalid_grant invalid_client invalid_scope unauthorized_client
            interaction_required consent_required login_required
            temporarily_unavailable invalid_request)),
);


sub rotator {
    my (%opt) = @_;

    my $name = defined $opt{name} ? "_$opt{name}" : '';
    my $port = port("rotator$name");
    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1024,
        ReuseAddr => 1) or die "rotator: $!\n";

    define("ROTATOR$name" => "127.0.0.1:$port");

    return bless {
        life => 3600, %opt, port => $port,
        server => controlled(sub {
            TI::Rotator::Child->new($socket, life => 3600, grace => 1,
                                    reuse => 0, %opt)
        }, $socket),
    }, __PACKAGE__;
}

sub port_number { $_[0]{port} }

# party(name => value, …): lines, undef for what is left out
sub party {
    my ($idp, %differ) = @_;

    my $url = "http://127.0.0.1:$idp->{port}";
    my %lines = (
        store => 'vault', authorization_endpoint => "$url/authorize",
        token_endpoint => "$url/token", client_id => 'injector',
        client_secret_file => '%%TESTDIR%%/rotator.secret',
        redirect_uri => 'http://127.0.0.1/connected', allow_http => 'on',
        %differ,
    );
    write_file('rotator.secret', "the rotator's secret\n", 0600);

    return join '', map { "$_ $lines{$_};\n" }
                    grep { defined $lines{$_} } sort keys %lines;
}

sub connect {
    my ($idp, $person, %opt) = @_;

    return ($idp->connect_all([$person], %opt))[0];
}

sub connect_all {
    my ($idp, $people, %opt) = @_;

    my $life = delete $opt{life} // $idp->{life};
    my $left = delete $opt{left} // $life;
    my @all = @$people;
    my @done;

    while (my @some = splice(@all, 0, 200)) {
        my @left = map { ref $left ? $left->($_) : $left } @some;
        my $given = $idp->_tell({ open => [
            map { [$some[$_]{sub}, $left[$_]] } 0 .. $#some
        ] });

        for my $n (0 .. $#some) {
            my $expires = int(time() + $left[$n]);

            push @done, put_connection(
                who => $some[$n]->who(), user_key => $some[$n]->user_key(),
                provider => 'outlook', access => $given->[$n][0],
                refresh => $given->[$n][1], expires => $expires, %opt,
                outer => { iat => $expires - $life, %{$opt{outer} || {}} });
        }
    }

    return @done;
}

sub fault {
    my ($idp, $fault, %opt) = @_;

    my $name = ref $fault ? $opt{name} // 'other' : $fault;
    $fault = $faults{$fault} // croak "no such fault: $fault" if !ref $fault;

    $idp->_tell({ fault => { %$fault, name => $name, %opt } });
}

sub well { $_[0]->_tell({ well => 1 }) }
sub release { $_[0]->_tell({ release => $_[1] }) }
sub forget { $_[0]->_tell({ forget => 1 }) }
sub stats { $_[0]->_tell({ stats => 1 }) }
sub calls { $_[0]->stats()->{calls} }
sub log { @{$_[0]->_tell({ log => 1 })} }
sub accounts { $_[0]->_tell({ accounts => 1 }) }
sub account { $_[0]->_tell({ account => $_[1] }) }

# set(life => …, reuse => …, grace => …): from now on
sub set {
    my ($idp, %what) = @_;

    $idp->{life} = $what{life} if defined $what{life};
    $idp->_tell({ set => \%what });
}

sub wait_calls {
    my ($idp, $n, $seconds) = @_;

    wait_for(sub { $idp->calls() >= $n }, "$n calls of the token endpoint",
             $seconds);
}

sub _tell { $_[0]{server}->tell($_[1]) }


package TI::Rotator::Child;

use JSON::PP ();
use Time::HiRes qw(time);

use TI::Loop;
use TI::Peer qw(peer_pid);

my $json = JSON::PP->new->latin1->canonical;
my %reason = (200 => 'OK', 400 => 'Bad Request', 401 => 'Unauthorized',
              429 => 'Too Many Requests', 500 => 'Internal Server Error',
              503 => 'Service Unavailable');

sub new {
    my ($class, $socket, %opt) = @_;

    my $self = bless {
        %opt, loop => TI::Loop->new(), accounts => {}, access => {},
        refresh => {}, faults => [], released => {}, now => 0,
    }, $class;

    srand();
    $self->forget();
    $self->{loop}->listen($socket, sub { $self->accept(@_) });

    return $self;
}

sub forget {
    my ($self) = @_;

    @$self{qw(calls granted replays unknown asked refused busy)} = (0) x 7;
    @$self{qw(fired log)} = ({}, []);
}

sub obey {
    my ($self, $what) = @_;

    if ($what->{open}) {
        return [map { $self->open_account(@$_) } @{$what->{open}}];
    }
    return $self->told() if $what->{accounts};
    return $self->told($what->{account})->{$what->{account}}
        if defined $what->{account};
    return $self->{log} if $what->{log};

    push @{$self->{faults}}, $what->{fault} if $what->{fault};
    $self->{faults} = [] if $what->{well};
    $self->{released}{$what->{release}} = 1 if defined $what->{release};
    $self->forget() if $what->{forget};
    @$self{keys %{$what->{set}}} = values %{$what->{set}} if $what->{set};

    return {
        (map { $_ => $self->{$_} }
             qw(calls granted replays unknown asked refused busy fired)),
        revoked => [grep { $self->{accounts}{$_}{revoked} }
                    sort keys %{$self->{accounts}}],
    };
}

sub told {
    my ($self, @names) = @_;

    my %all;

    for my $name (@names ? @names : keys %{$self->{accounts}}) {
        my %c = %{$self->{accounts}{$name} || {}};
        delete $c{recent};
        $c{used} = keys %{$c{used}};
        $all{$name} = \%c;
    }

    return \%all;
}

# [access token, refresh token] of somebody who consented just now
sub open_account {
    my ($self, $name, $left) = @_;

    my $old = $self->{accounts}{$name};
    my $c = $self->{accounts}{$name} = {
        n => 0, granted => 0, used => {}, recent => [], revoked => 0,
    };
    delete $self->{access}{$_} for $old ? @{$old->{recent}} : ();
    my @pair = $self->pair($name, $c, $left);

    return \@pair;
}

sub pair {
    my ($self, $name, $c, $left) = @_;

    my $n = ++$c->{n};
    my ($a, $r) = map { sprintf '%s.%s.%d.%08x%08x', $_, $name, $n,
                        rand(2 ** 32), rand(2 ** 32) } qw(at rt);

    @$c{qw(access refresh expires)} = ($a, $r, time() + $left);
    $self->{access}{$a} = [$name, $n, $c->{expires}];
    $self->{refresh}{$r} = $name;
    push @{$c->{recent}}, $a;
    delete $self->{access}{shift @{$c->{recent}}} while @{$c->{recent}} > 4;

    return ($a, $r);
}


# --- requests ---------------------------------------------------------------

sub accept {
    my ($self, $socket) = @_;

    my $buffer = '';

    $self->{loop}->add($socket, sub {
        my ($stream, $bytes) = @_;

        $buffer .= $bytes;
        while ((my $end = index($buffer, "\r\n\r\n")) >= 0) {
            my $head = substr($buffer, 0, $end);
            my $length = $head =~ /^content-length:\s*(\d+)/mi ? $1 : 0;
            last if length $buffer < $end + 4 + $length;
            my $body = substr($buffer, $end + 4, $length);
            substr($buffer, 0, $end + 4 + $length, '');

            $head =~ m{^POST /token[ ?]} ? $self->called($stream, $body)
                                         : $self->service($stream, $head);
        }
    });
}

sub answer {
    my ($self, $stream, $status, $body, @headers) = @_;

    if (ref $body) {
        $body = $json->encode($body);
        push @headers, 'Content-Type: application/json';
    }

    $stream->send(join("\r\n", "HTTP/1.1 $status $reason{$status}", @headers,
                       'Content-Length: ' . length $body, '', $body));
}

sub service {
    my ($self, $stream, $head) = @_;

    my ($token) = $head =~ /^authorization: Bearer (\S+)/mi;
    my $known = $self->{access}{$token // ''};
    my ($told) = ($token // '') =~ /^at\.(.+)\.\d+\.\w+$/;
    my $left = $known ? $known->[2] - time() : 0;

    $self->{asked}++;
    if (!$known || $left < -$self->{grace}) {
        $self->{refused}++;
        return $self->answer($stream, 401, {
            account => $told, why => $known ? 'ended' : 'unknown',
            left => $left,
        }, 'WWW-Authenticate: Bearer error="invalid_token"');
    }

    my ($name, $n) = @$known;
    $self->answer($stream, 200, {
        account => $name, n => $n, left => $left,
        newest => $n == $self->{accounts}{$name}{n} ? 1 : 0,
    });
}

sub called {
    my ($self, $stream, $body) = @_;

    my %form = map { s/%(..)/chr hex $1/ger } split /[&=]/, $body;
    my $name = $self->{refresh}{$form{refresh_token} // ''};
    $name //= 'app' if ($form{grant_type} // '') eq 'client_credentials';

    my $call = { stream => $stream, form => \%form, account => $name,
                 fault => $self->fault($name) };
    my $fault = $call->{fault};

    $self->{calls}++;
    $self->{fired}{$fault->{name}}++ if $fault->{name};
    $self->{running}++;
    $self->{busy} = $self->{running} if $self->{running} > $self->{busy};

    if (defined $fault->{hold}) {
        return $self->hold($call);
    }
    if ($fault->{before}) {
        return $self->{loop}->after($fault->{before},
                                    sub { $self->act($call) });
    }
    $self->act($call);
}

sub hold {
    my ($self, $call) = @_;

    if ($self->{released}{$call->{fault}{hold}}) {
        return $self->act($call);
    }
    $self->{loop}->after(0.005, sub { $self->hold($call) });
}

sub fault {
    my ($self, $name) = @_;

    for my $fault (@{$self->{faults}}) {
        next if defined $fault->{account}
                && $fault->{account} ne ($name // '');
        next if defined $fault->{chance} && rand() >= $fault->{chance};
        next if defined $fault->{times} && $fault->{times}-- <= 0;
        return $fault;
    }

    return {};
}

sub act {
    my ($self, $call) = @_;

    my $fault = $call->{fault};
    my @answer;

    $self->kill($call) if ($fault->{kill} // '') eq 'before';

    if (!$fault->{answer} || $fault->{rotate}) {
        @answer = $self->give($call);
    } else {
        $self->note($call, 'fault');
    }
    @answer = @{$fault->{answer}} if $fault->{answer};

    $self->kill($call) if ($fault->{kill} // '') eq 'rotated';

    $fault->{after}
        ? $self->{loop}->after($fault->{after},
                               sub { $self->end($call, @answer) })
        : $self->end($call, @answer);
}

sub end {
    my ($self, $call, @answer) = @_;

    my ($stream, $fault) = @$call{qw(stream fault)};
    my $end = $fault->{end} // '';

    $self->{running}--;
    return if $end eq 'mute' || $stream->{closed};
    return $stream->reset() if $end eq 'reset';
    return $stream->close() if $end eq 'close';

    $self->answer($stream, @answer);
    $stream->advance(time());
    if (($fault->{kill} // '') eq 'answered') {
        my $pid = peer_pid($stream->{socket});
        $stream->flush();
        $self->kill($call, $pid);
    }
}

sub kill {
    my ($self, $call, $pid) = @_;

    return if !$pid && $call->{stream}{closed};
    $pid //= peer_pid($call->{stream}{socket}) // return;
    if (my $pause = $call->{fault}{pause}) {
        return $self->{loop}->after($pause, sub { CORE::kill(KILL => $pid) });
    }
    CORE::kill(KILL => $pid);
}


# --- tokens -----------------------------------------------------------------

sub note {
    my ($self, $call, $what) = @_;

    my $c = $self->{accounts}{$call->{account} // ''};

    push @{$self->{log}}, {
        time => time(), account => $call->{account}, what => $what,
        left => $c ? $c->{expires} - time() : undef,
    };
}

# the answer: tokens, or why not
sub give {
    my ($self, $call) = @_;

    my ($form, $fault, $name) = @$call{qw(form fault account)};
    my $app = $form->{grant_type} eq 'client_credentials';
    my $c = $self->{accounts}{$name // ''};

    if ($app && !$c) {
        $self->open_account($name, 0);
        $c = $self->{accounts}{$name};
    }
    if (!$c || (!$app && $form->{grant_type} ne 'refresh_token')) {
        $self->{unknown}++;
        $self->note($call, 'unknown');
        return (400, { error => 'invalid_grant' });
    }
    if (!$app && !$self->usable($c, $form->{refresh_token})) {
        $self->note($call, 'refused');
        return (400, { error => 'invalid_grant' });
    }

    my $kept = $c->{refresh};
    $self->note($call, 'granted');
    $self->{granted}++;
    $c->{granted}++;
    $c->{used}{$form->{refresh_token}} //= time() if !$app && !$fault->{keep};

    my ($access, $refresh) = $self->pair($name, $c, $self->{life});
    if ($fault->{keep}) {
        delete $self->{refresh}{$refresh};
        $refresh = $c->{refresh} = $kept;
    }

    my %reply = (access_token => $access, token_type => 'Bearer',
                 expires_in => $self->{life},
                 $app ? () : (refresh_token => $refresh),
                 %{$fault->{reply} || {}});
    delete @reply{grep { !defined $reply{$_} } keys %reply};

    return (200, \%reply);
}

# May it be used?  One that was used already ends the grant, or not yet.
sub usable {
    my ($self, $c, $token) = @_;

    return 0 if $c->{revoked};

    my $used = $c->{used}{$token} // return 1;
    return 1 if time() < $used + $self->{reuse};

    $c->{revoked} = 1;
    $self->{replays}++;

    return 0;
}


1;
