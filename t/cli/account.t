# The name of a provider's account: shown to who names its owner, to nobody
# else, and rotated like the tokens.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use Test::More;

use TI::Env qw(testdir);
use TI::Person;
use TI::Record;
use TI::Redis;
use Tokenctl;

redis_start();
sealing_keys_file(undef, 'old');

my $alice = person('alice');
my $device = record_device($alice->user_key());
my $cid = 'AAECAwQFBgcICQoLDA0ODw';

sub account {
    my ($who) = @_;

    return record_seal(kind => 'account', who => $who, provider => 'outlook',
                       device => $device, gen => 0, cid => $cid,
                       token => 'alice@example.com');
}

my $name = $alice->connect('token', cid => $cid,
                           fields => { account => account($alice->who()) })
           ->{name};
my @one = (store(), who($alice), '--provider', 'outlook', '--device', $device);

is(json(ok_run('show', @one, '--json'))->{account}, 'alice@example.com',
   'show');
like(ok_run('show', @one), qr/^account +alice\@example\.com$/m, 'as text');
is(json(ok_run('list', store(), who($alice), '--json'))->{account},
   'alice@example.com', 'list of one user');
is(json(ok_run('list', store(), '--json'))->{account}, undef,
   'not in the list of all, which knows no names');

chomp(my $new = ok_run('keygen', '--out', testdir() . '/sealing.jwks',
                       '--add'));
ok_run('keygen', '--out', testdir() . '/sealing.jwks', '--first', $new);
my $before = redis('HGET', $name, 'account');
is(ok_run('rotate', store()), "1 rotated, 0 left\n", 'rotated');
isnt(redis('HGET', $name, 'account'), $before, 'the account too');
is(ok_run('rotate', store()), "0 rotated, 0 left\n", 'once');
is(json(ok_run('show', @one, '--json'))->{account}, 'alice@example.com',
   'and it opens');

# another's, put there by hand
redis('HSET', $name, account => account(person('bob')->who()));
is(json(ok_run('show', @one, '--json'))->{account}, undef,
   "another user's does not");

done_testing();
