package TI::Person;

# A caller: who the token says, the user key of the device, a connection.

use strict;
use warnings;

use Exporter qw(import);

use TI::Record qw(new_user_key put_connection get_connection record_user);
use TI::Token qw(jwt);

our @EXPORT = qw(person);

# person(subject, iss => …, tid => …, user_key => … or undef, claims => { … },
# alg => …, key => …): a new caller with a device of their own
sub person {
    my ($subject, %opt) = @_;

    return bless {
        iss => 'https://login.example.com/', sub => $subject,
        user_key => new_user_key(), %opt,
    }, __PACKAGE__;
}

sub user_key { $_[0]{user_key} }

sub who {
    my ($p) = @_;

    return [$p->{iss}, $p->{tid} // '', $p->{sub}];
}

# record-format.md's user
sub user { record_user($_[0]->who()) }

# The same token each time; token(claim => value, …) is a new one.
sub token {
    my ($p, %claims) = @_;

    return $p->{token} if $p->{token} && !%claims;

    my %sign = map { $_ => $p->{$_} } grep { $p->{$_} } qw(alg key header);
    my $token = jwt({ iss => $p->{iss}, sub => $p->{sub}, tid => $p->{tid},
                      %{$p->{claims} || {}}, %claims }, %sign);
    $p->{token} = $token if !%claims;

    return $token;
}

# the same caller on another machine, or with a key said
sub on_device {
    my ($p, $user_key) = @_;

    return bless { %$p, user_key => $user_key // new_user_key() }, ref $p;
}

# connect(access token, provider => 'outlook', and what put_connection knows)
sub connect {
    my ($p, $access, %opt) = @_;

    return put_connection(who => $p->who(), user_key => $p->{user_key},
                          provider => 'outlook', access => $access, %opt);
}

# get_connection() of this caller
sub connection {
    my ($p, %opt) = @_;

    return get_connection(who => $p->who(), user_key => $p->{user_key},
                          provider => 'outlook', %opt);
}


1;
