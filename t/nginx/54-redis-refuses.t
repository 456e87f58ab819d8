# Whatever error Redis has for us, the caller hears store-unavailable and the
# operator what to do.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $up = upstream();
my $proxy = proxy();

my $server = <<'CONF';

    server {
        listen 127.0.0.1:%%PORT%%;

        location / {
            token_auth    corp;
            token_inject  outlook;
            token_cache   5m;
            proxy_pass    http://%%UPSTREAM%%;
        }
    }
CONF
my $alice = person('alice');
my $n = 0;

# a request that neither an admission nor an answer stands for
sub ask {
    $n++;

    return get("/$n", as => $alice, token => $alice->token(jti => $n));
}


# --- errors as replies

redis_start();
nginx_start(blocks(store => "server 127.0.0.1:%%PROXY%%;\nlocal_valid 0;")
            . $server, log_level => 'info');
$alice->connect('token-of-alice');
is(result(ask()), 'ok', 'works');
my $fds = worker_fds();

my @errors = (
    ['LOADING Redis is loading the dataset in memory', 'wait'],
    ['MASTERDOWN Link with MASTER is down', 'primary'],
    ['READONLY You can\'t write', 'primary'],
    ['OOM command not allowed', 'maxmemory'],
    ['NOAUTH Authentication required.', 'password_file'],
    ['WRONGPASS invalid username-password pair', 'password_file'],
    ['NOPERM User has no permissions', 'ACL'],
    ['MOVED 3999 127.0.0.1:6381', 'topology'],
    ['CLUSTERDOWN The cluster is down', 'cluster'],
    ['BUSY Redis is busy running a script.', 'SCRIPT KILL'],
    ['ERR max number of clients reached', 'maxclients'],
    ['ERR unknown command', 'log'],
    ['', 'log'],
    ['SOMETHING new', 'log'],
);

for (@errors) {
    my ($error, $remedy) = @$_;
    my $case = substr($error, 0, 20);

    $proxy->mode(reply => "-$error\r\n");
    log_mark();
    refused(ask(), 'store-unavailable', "'$case': is the store's trouble");
    like(log_since(), qr/\[warn\].*store-unavailable.*\Q$remedy\E/,
         "'$case': the operator reads of \"$remedy\"");
    refused(get('/', as => $alice), 'store-unavailable',
            "'$case': with an admission to confirm");

    $proxy->mode('pass');
    is(result(ask()), 'ok', "'$case': and then all is well");
}
fds_are($fds);


# --- too many clients

redis('CONFIG', 'SET', 'maxclients', 1);
$proxy->drop();
log_mark();
refused(ask(), 'store-unavailable', 'maxclients');
redis('CONFIG', 'SET', 'maxclients', 1000);
wait_for(sub { result(ask()) eq 'ok' }, 'recovery');
pass('maxclients: recovered');
fds_are($fds);
nginx_stop();


# --- who we are

redis_stop();
redis_start(acl => [
    'user default on nopass ~* &* +@all',
    'user injector on >secret ~ti:* &ti:changes +@all',
    'user readonly on >secret ~ti:* +@read +@connection',
    'user blind on >secret ~ti:* +@connection',
    'user elsewhere on >secret ~other:* +@all',
    'user off off >secret ~ti:* +@all',
]);
$alice->connect('token-of-alice');
write_file('good', "secret\n", 0600);
write_file('bad', "canary-password\n", 0600);

sub with {
    my (%login) = @_;

    nginx_start(blocks(store => join ' ', 'local_valid 0;',
                       "user $login{user};",
                       "password_file %%TESTDIR%%/$login{password};")
                . $server, log_level => 'info');
    $up->forget();
    log_mark();
    my $r = ask();
    my $log = log_since();
    is($up->calls(), $r->status() == 200 ? 1 : 0,
       "$login{user}: nothing goes upstream without a token");
    nginx_stop();

    return ($r, $log);
}

my ($r, $log) = with(user => 'injector', password => 'good');
is(result($r), 'ok', 'the right user and password');

($r, $log) = with(user => 'injector', password => 'bad');
refused($r, 'store-unavailable', 'a wrong password');
# said when it is tried, which may have been before the request
log_like(qr/\[error\].*AUTH or SELECT was refused: check user, password_file/,
         'and what to do');

($r, $log) = with(user => 'nobody', password => 'good');
refused($r, 'store-unavailable', 'an unknown user');

($r, $log) = with(user => 'off', password => 'good');
refused($r, 'store-unavailable', 'a user that is off');

($r, $log) = with(user => 'blind', password => 'good');
refused($r, 'store-unavailable', 'a user that may not read');
like($log, qr/\[warn\].*ACL/, 'and what to do');

($r, $log) = with(user => 'elsewhere', password => 'good');
refused($r, 'store-unavailable', 'a user of other keys');

($r, $log) = with(user => 'readonly', password => 'good');
is(result($r), 'ok', 'a user that may only read serves');
wait_log(qr/\[warn\].*does not take answers.*ACL/);
pass('and the operator knows');

# a password that nobody told us of
redis_stop();
redis_start(password => 'hush');
$alice->connect('token-of-alice');
nginx_start(blocks() . $server, log_level => 'info');
log_mark();
refused(ask(), 'store-unavailable', 'no password where one is wanted');
like(log_since(), qr/\[warn\].*password_file/, 'and what to do');

secrets_absent('no log shows a password', 'secret', 'canary-password',
               'token-of-alice', $alice->user_key());

done_testing();
