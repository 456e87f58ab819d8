package TI::Tokenctl;

# tokenctl, for tests of nginx: t/cli/lib/Tokenctl.pm is for those of tokenctl.

use strict;
use warnings;

use Exporter qw(import);

use TI::Env qw(testdir build_dir write_file read_file);
use TI::Redis qw(redis_sock);

our @EXPORT = qw(tokenctl segment);

my $n = 0;

# (exit code, standard output): of "tokenctl VERB" on this test's store
sub tokenctl {
    my ($verb, @args) = @_;

    my $program = build_dir() . '/tokenctl';
    my $out = testdir() . '/tokenctl.out';

    my $pid = fork() // die "fork: $!\n";
    if ($pid == 0) {
        open(STDOUT, '>', $out) or exit 126;
        exec($program, $verb, '--server', 'unix:' . redis_sock(), '--keys',
             testdir() . '/sealing.jwks', @args) or exit 127;
    }
    waitpid($pid, 0);

    return ($? >> 8, read_file('tokenctl.out'));
}

# sets a provider's rules, or removes them; dies where that fails
sub segment {
    my ($provider, $rules) = @_;

    my ($rc) = tokenctl('segment', '--provider', $provider,
                        defined $rules
                        ? ('--rules-file', write_file('rules-' . $n++, $rules))
                        : '--clear');
    die "tokenctl segment: exit $rc\n" if $rc;
}


1;
