package TI::Resolver;

# Names that resolve, do not, or make who asks wait: see ti_resolve.c.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use TI::Env qw(root testdir read_file write_file);

our @EXPORT = qw(resolver resolved resolver_release);


# resolver(): before nginx_start(); skips the test where it cannot be done
sub resolver {
    my $shim = testdir() . '/ti_resolve.so';

    Test::More::plan(skip_all => 'something is preloaded already')
        if $ENV{LD_PRELOAD};

    my $cc = $ENV{CC} || 'cc';
    system($cc, qw(-shared -fPIC -O1 -D_GNU_SOURCE -o), $shim,
           root() . '/t/lib/ti_resolve.c', '-ldl') == 0
        or die "cannot build ti_resolve.c\n";

    write_file('resolved', '', 0666);
    $ENV{TI_RESOLVE} = testdir();
    $ENV{LD_PRELOAD} = $shim;

    # the sanitizer would insist on being the first library
    $ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (),
                                   'verify_asan_link_order=0';
}

# what was asked for: [name, 'thread' or 'loop'], …
sub resolved { map { [split] } split /\n/, read_file('resolved') }

# names that hang are found
sub resolver_release { write_file('release', '') }


1;
