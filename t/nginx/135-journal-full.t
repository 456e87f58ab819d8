# More tokens on their way than the journal has room for: the rest is kept by
# the workers themselves, and everything is stored.

use strict;
use warnings;

use JSON::PP ();

use TI::Consent;
use TI::Journal;
use TI::Test;

needs_module();

use constant PEOPLE => 90;

# as large as a record may hold
my $vendor = vendor();
$vendor->answer('/token' => { hold => 'tokens', json => {
    token_type => 'Bearer', expires_in => 3600,
    access_token => 'a' x 16384, refresh_token => 'r' x 16384,
} });

redis_start();

# over all workers: one has 64 calls of a provider under way at most
nginx_start(journal_conf(provider => 'timeout 60s;')
            =~ s/(listen\s+127\.0\.0\.1:%%PORT%%)/$1 reuseport/r,
            workers => 4, log_level => 'info');

my @people = map { person("p$_") } 1 .. PEOPLE;
my @states = map {
    api('POST', '/outlook', $_)->json()->{authorization_url}
        =~ /[?&]state=([\w-]{43})/;
} @people;
my @c = map {
    my $state = shift @states;
    my $c = connection();
    $c->send(TI::Http::http_bytes(
        'POST', '/connections/outlook/code', as => $_,
        body => JSON::PP::encode_json({ code => 'x', state => $state }),
        headers => ['Content-Type: application/json']));
    $c;
} @people;

$vendor->wait_calls(PEOPLE, 20);
redis_pause();
$vendor->release('tokens');
wait_log(qr/"vault": no answer in time/);
redis_resume();

my %status;
$status{$_->response(timeout => 30)->status()}++ for @c;
is(join(' ', map { "$status{$_} x $_" } sort keys %status), PEOPLE . ' x 201',
   'all who wait hear of it');

log_like(qr/\[warn\].* the journal is full: until token_store "vault" takes /,
         'though there was no room for all');

my $right = grep {
    my $c = $_->connection();
    $c && $c->{access}{token} eq 'a' x 16384
       && $c->{refresh}{token} eq 'r' x 16384;
} @people;
is($right, PEOPLE, 'and all is stored, byte for byte');

# --- and there is room again

$vendor->answer('/token' => { json => {
    token_type => 'Bearer', expires_in => 3600, access_token => 'small' } });
my $person = person('after');
my $url = api('POST', '/outlook', $person)->json()->{authorization_url};
is(api('POST', '/outlook/code', $person, body => {
       code => 'x', state => $url =~ /[?&]state=([\w-]{43})/
   })->status(), 201, 'and there is room again');

done_testing();
