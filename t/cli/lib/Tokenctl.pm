package Tokenctl;

# Runs tokenctl, and holds every run to what all of them owe: nothing or one
# line on standard error, a line where they fail, and no secret anywhere that
# --reveal was not asked for.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();
use POSIX ();
use Test::More;

use TI::Env qw(testdir build_dir read_file write_file patience wait_for
               spawn alive reap at_end end_process);
use TI::Record;
use TI::Redis;

our @EXPORT = qw(
    program tokenctl start finish ok_run fails store who secret secrets json
    keys_of
);

my $json = JSON::PP->new->utf8;
my ($runs, @secrets) = (0);


sub program { build_dir() . '/tokenctl' }

sub json { $json->decode($_[0]) }

# store(opt => value…): STORE of this test's Redis and keys
sub store {
    my (%opt) = ('--server' => 'unix:' . redis_sock(),
                 '--keys' => testdir() . '/sealing.jwks', @_);

    return map { $_ => $opt{$_} } grep { defined $opt{$_} } sort keys %opt;
}

# who(person): WHO
sub who {
    my ($issuer, $tenant, $subject) = @{$_[0]->who()};

    return ('--issuer' => $issuer, length $tenant ? ('--tenant' => $tenant)
            : (), '--subject' => $subject);
}

# secret(bytes): a file that holds it; no run may show it from now on
sub secret {
    my ($bytes, $name) = @_;

    push @secrets, $bytes;

    return write_file($name // 'secret-' . scalar(@secrets), "$bytes\n",
                      0600);
}

sub secrets { @secrets }

# the sealing keys of a file: [kid…], in order
sub keys_of {
    my ($file) = @_;

    return [map { $_->{kid} } grep { $_->{use} eq 'enc' }
            @{json(read_file($file))->{keys}}];
}


# start(arguments…, { in => bytes or undef, env => {…} }): a run
sub start {
    my (@args) = @_;

    my $opt = ref $args[-1] ? pop @args : {};
    my $run = { name => 'run-' . ++$runs, args => [@args] };
    my $base = testdir() . "/$run->{name}";

    write_file("$base.in", $opt->{in} // '');

    my $pid = fork() // die "fork: $!\n";

    if (!$pid) {
        open(STDIN, '<', "$base.in") or POSIX::_exit(126);
        open(STDOUT, '>', $opt->{out} // "$base.out") or POSIX::_exit(126);
        open(STDERR, '>', "$base.err") or POSIX::_exit(126);
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        exec { program() } program(), @args or POSIX::_exit(127);
    }

    $run->{pid} = $pid;
    $run->{reveal} = grep { $_ eq '--reveal' } @args;
    at_end(sub { end_process($pid, 'KILL') });

    return $run;
}

# finish(run): { rc, out, err }
sub finish {
    my ($run) = @_;

    wait_for(sub { !alive($run->{pid}) }, "tokenctl @{$run->{args}}", 60);

    my $status = reap($run->{pid});
    my $base = testdir() . "/$run->{name}";

    $run->{rc} = $status & 127 ? "signal $status" : $status >> 8;
    $run->{out} = read_file("$base.out") // '';
    $run->{err} = read_file("$base.err");
    unlink(map { "$base.$_" } qw(in out err));
    owes($run);

    return $run;
}

sub owes {
    my ($run) = @_;

    my $said = $run->{err};
    my $what = "tokenctl @{$run->{args}}";

    fail("$what: more than one line of error: $said")
        if $said !~ /\A(?:tokenctl: [^\n]+\n)?\z/;
    fail("$what: exit code $run->{rc}") if $run->{rc} !~ /^[0-3]$/;
    fail("$what: fails without a word") if $run->{rc} ne 0 && $said eq '';

    $said .= $run->{out} if !$run->{reveal};
    for my $secret (@secrets) {
        fail("$what: shows a secret") if index($said, $secret) >= 0;
    }
}

sub tokenctl { finish(start(@_)) }

# ok_run(arguments…): standard output; says what went wrong
sub ok_run {
    my $run = tokenctl(@_);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    fail("tokenctl $run->{args}[0]: exit $run->{rc}: $run->{err}")
        if $run->{rc} ne 0;

    return $run->{out};
}

# fails(exit code, pattern, name, arguments…)
sub fails {
    my ($rc, $pattern, $name, @args) = @_;

    my $run = tokenctl(@args);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    subtest($name => sub {
        is($run->{rc}, $rc, 'exit code');
        like($run->{err}, $pattern, 'what it says');
        is($run->{out}, '', 'and no more');
    });
}


1;
