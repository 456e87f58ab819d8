# A reload whose configuration is refused keeps the old one serving; one that
# is good takes over, with the keys that it read.

use strict;
use warnings;

use TI::Test;

needs_module();

my $up = upstream();
my $alice = person('alice');
my $server = <<'EOF';

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth   corp;
            token_inject outlook;
            proxy_pass   http://%%UPSTREAM%%;
        }
    }
EOF

redis_start();
nginx_start(blocks(store => 'local_valid 0;') . $server);
$alice->connect('third-party');

sub works {
    my ($name) = @_;

    my $r = get('/', as => $alice);
    is($r->status(), 200, $name) or return diag($r->body());
    is($r->json()->{headers}{authorization}, 'Bearer third-party',
       "$name: the same token");
}

# refused on HUP with this message, and nothing has changed
sub broken {
    my ($name, $message) = @_;

    my @workers = nginx_workers();
    my $before = log_count($message);

    expect_log($message);
    nginx_signal('HUP');
    wait_for(sub { log_count($message) > $before }, "the message $message");
    works($name);
    is_deeply([nginx_workers()], \@workers, "$name: the same workers");
}

works('at first');

my $sealing = testdir() . '/sealing.jwks';
my $good = read_file('sealing.jwks');

chmod(0644, $sealing);
broken('sealing keys that others may read',
       qr/\[emerg\].*holds secrets and group or others may use it/);

write_file('sealing.jwks', '{"keys":[]}', 0600);
broken('sealing keys without a key', qr/\[emerg\].*no sealing key/);

unlink($sealing);
broken('no sealing keys', qr/\[emerg\].*can't be opened/);
write_file('sealing.jwks', $good, 0600);

my $text = read_file('nginx.conf');
write_file('nginx.conf', "nonsense;\n$text");
broken('nonsense', qr/\[emerg\].*unknown directive "nonsense"/);
write_file('nginx.conf', $text);

my ($old) = nginx_workers();
nginx_reload();
isnt((nginx_workers())[0], $old, 'a good one takes over');
works('after it');

# a key that only opens, then one that seals
sealing_keys_file(undef, 's1', 's2');
nginx_reload();
works('with a key more');
sealing_keys_file(undef, 's2', 's1');
my $both = read_file('sealing.jwks');
nginx_reload();
works('with the keys in another order');
sealing_keys_file(undef, 's2');
nginx_reload();
my $r = get('/', as => $alice);
is($r->status(), 403, 'without the key that sealed it');
is($r->json()->{type}, 'urn:ngx-token-injector:reconnect-required',
   'it no longer opens');
wait_log(qr/\[error\].*reconnect-required/);
write_file('sealing.jwks', $both, 0600);
nginx_reload();
works('and nothing was lost');

# keys of issuers
jwks_file('corp.jwks', key('RS256', 'next'));
nginx_reload();
is(get('/', as => $alice)->status(), 401, 'a key that the issuer took back');
is(get('/', token => jwt({ sub => 'alice' }, key => key('RS256', 'next')),
       user_key => $alice->user_key())->status(), 200, 'its next one');

done_testing();
