package TI::Nodes;

# Two nodes of two workers: what only both together show.
#
#     my @nodes = nodes_start(text, options of nginx_start);
#                         the text as for nginx_start, on %%PORT%%; the other
#                         one is on %%PORT_there%%
#     $node->port()       for requests
#     $node->workers()    their process ids
#     $node->reload()     returns when new workers serve; wait_old => 1: when
#                         the old ones have ended
#     $node->kill(pid)    a worker, and waits for the one in its place
#     $node->quit()       gracefully, to its end;  $node->start()  again
#     $node->log()        what its error log has
#     nodes_log(re)       how many lines of both logs look like that
#
# workers => 2, log_level => 'info' unless said.  done_testing() looks at the
# first node's log only: nodes_quiet(name, re, …) is a test that neither has
# what it looks for there, but for what looks like one of these.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use TI::Env qw(testdir read_file wait_for end_process diagnose_with);
use TI::Nginx qw(:DEFAULT nginx_children);
use TI::Watch qw(other_nginx);

our @EXPORT = qw(nodes_start nodes_log nodes_quiet);

my @nodes;


sub nodes_start {
    my ($text, %opt) = @_;

    %opt = (workers => 2, log_level => 'info', %opt);
    my $there = $text =~ s/%%PORT%%/%%PORT_there%%/gr;

    @nodes = map { bless { %$_, opt => \%opt }, __PACKAGE__ } (
        { port => 0, text => $text, log => testdir() . '/error.log' },
        { port => 'there', text => $there },
    );
    $_->start() for @nodes;
    diagnose_with($_->{log}) for @nodes;

    return @nodes;
}

sub start {
    my ($node) = @_;

    if ($node->{port} eq '0') {
        $node->{pid} = nginx_start($node->{text}, %{$node->{opt}});
    } else {
        my $other = other_nginx($node->{text}, %{$node->{opt}});
        $node->{pid} = $other->{pid};
        $node->{before} .= $node->log() if defined $node->{log};
        $node->{log} = $other->{log};
    }

    wait_for(sub { $node->workers() >= $node->{opt}{workers} }, 'workers');
}

sub port { $_[0]{port} }
sub workers { nginx_workers($_[0]{pid}) }
sub log { ($_[0]{before} // '') . (read_file($_[0]{log}) // '') }

sub quit {
    my ($node) = @_;

    return nginx_stop() if $node->{port} eq '0';
    end_process($node->{pid}, 'QUIT', 15)
        or die "the other node did not end on QUIT\n";
}

sub kill {
    my ($node, $pid) = @_;

    $pid //= ($node->workers())[0];
    CORE::kill(KILL => $pid);
    $node->whole($pid);
}

# waits for as many workers as there should be, without this one
sub whole {
    my ($node, $pid) = @_;

    wait_for(sub {
        my @now = $node->workers();
        @now >= $node->{opt}{workers} && !grep { $_ == ($pid // 0) } @now;
    }, 'a worker in its place');
}

sub reload {
    my ($node, %opt) = @_;

    my %old = map { $_ => 1 } $node->workers();

    CORE::kill(HUP => $node->{pid});
    wait_for(sub {
        my @now = $node->workers();
        @now >= $node->{opt}{workers} && !grep { $old{$_} } @now;
    }, 'the workers of the new configuration', 20);
    return if !$opt{wait_old};

    wait_for(sub { !grep { $old{$_} } nginx_children($node->{pid}) },
             'the old workers to end', 20);
}

sub nodes_log {
    my ($re) = @_;

    return scalar(grep { $_ =~ $re } map { split /^/, $_->log() } @nodes);
}

sub nodes_quiet {
    my ($name, @expected) = @_;

    my @bad;
    for my $line (map { split /^/, $_->log() } @nodes) {
        next if $line !~ /\[alert\]|\[emerg\]|exited\ on\ signal
                          |AddressSanitizer|LeakSanitizer|runtime\ error/x;
        next if grep { $line =~ $_ } @expected;
        push @bad, $line;
    }

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = Test::More::ok(!@bad, $name);
    Test::More::diag($_) for @bad[0 .. ($#bad < 9 ? $#bad : 9)];

    return $ok;
}


1;
