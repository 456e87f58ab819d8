# The records that these tests write and read are those of record-format.md:
# the harness opens the format's own vectors.

use strict;
use warnings;

use Encode qw(encode_utf8);
use JSON::PP ();

use TI::Test;

my $vectors = JSON::PP->new->utf8->decode(
    read_file(TI::Env::root() . '/t/vectors/record-v1.json'));

my @keys = @{$vectors->{keys}{keys}};
my ($index) = grep { $_->{use} eq 'sig' } @keys;
sealing_keys({
    sealing => [map { { kid => $_->{kid}, k => b64u_decode($_->{k}) } }
                grep { $_->{use} eq 'enc' } @keys],
    index => b64u_decode($index->{k}),
});

for my $v (@{$vectors->{records}}) {
    my %ref = (
        who => [map { encode_utf8($v->{$_}) } qw(issuer tenant subject)],
        map { $_ => $v->{$_} } qw(kind provider user_key gen cid),
    );

    is(record_user($ref{who}), $v->{user}, "$v->{name}: user");
    is(record_device($ref{user_key}), $v->{device}, "$v->{name}: device");
    is(record_name(%ref, prefix => $vectors->{prefix}), $v->{connection},
       "$v->{name}: connection");

    my $got = eval { record_open($v->{outer}{jwe}, %ref) };
    is($got && $got->{token}, $v->{token}, "$v->{name}: token") or diag($@);
}

done_testing();
