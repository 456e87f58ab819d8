# A subrequest whose caller is another one's: it is judged by its own token.
# nginx has one set of variables for a request and all of its subrequests.

use strict;
use warnings;

use TI::Test;
use TI::Watch;

needs_module();

my $include = sub {
    my ($uri) = @_;

    return { headers => ['Content-Type: text/html'],
             body => "<!--# include virtual=\"$uri\" -->." };
};
my $up = upstream({
    '/page/staff' => $include->('/part/staff'),
    '/page/mapped' => $include->('/part/mapped'),
    '/page/volatile' => $include->('/part/volatile'),
    '/page/both' => { headers => ['Content-Type: text/html'],
        body => '<!--# include virtual="/part/staff" -->'
                . '<!--# include virtual="/own/staff" -->.' },
    map { $_ => { body => "[$_]" } } '/part/staff', '/part/volatile',
                                     '/own/staff',
});

redis_start();
nginx_start(blocks() . <<'EOF');

    map $token_claim_staff $is_staff_now {
        volatile;
        1        1;
        default  0;
    }

    log_format who '$uri $token_claim_sub $token_result';
    log_subrequest on;

    server {
        listen 127.0.0.1:%%PORT%%;
        large_client_header_buffers 4 32k;

        access_log %%TESTDIR%%/who.log who;

        # asks for the claim before its subrequest does, each in its way
        location /page/ {
            ssi            on;
            token_auth     corp;
            add_header     X-Staff "[$token_claim_staff$is_staff_now]";
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /part/ {
            token_auth     corp from=$cookie_other;
            token_require  $token_claim_staff;
            token_inject   outlook;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /part/volatile {
            token_auth     corp from=$cookie_other;
            token_require  $is_staff_now;
            token_inject   outlook;
            proxy_pass     http://%%UPSTREAM%%;
        }

        location /own/ {
            token_auth     corp;
            token_require  $token_claim_staff;
            token_inject   outlook;
            proxy_pass     http://%%UPSTREAM%%;
        }
    }
EOF

my %who = map {
    my $person = person($_->[0], claims => { staff => $_->[1] });
    $person->connect("token-of-$_->[0]");
    $_->[0] => $person;
} ['staff', 1], ['guest', 0];

sub page {
    my ($uri, $main, $sub) = @_;

    return get($uri, token => $who{$main}->token(),
               user_key => $who{$sub}->user_key(),
               headers => ['Cookie: other=' . $who{$sub}->token()]);
}

for my $uri ('/page/staff', '/page/volatile') {
    my $part = $uri =~ s/page/part/r;

    for my $round (1, 2) {
        $up->forget();
        my $r = page($uri, 'staff', 'guest');

        is($r->header('X-Staff'), '[11]', "$uri, $round: a page of staff");
        like($r->body(), qr/caller-rejected/, 'with a part of a guest');
        is($up->calls(), 1, 'that is not asked for');

        $up->forget();
        $r = page($uri, 'guest', 'staff');

        is($r->header('X-Staff'), '[00]', "$uri, $round: a guest's page");
        is($r->body(), "[$part].", 'with a part of staff');
        is($up->last()->{headers}{authorization}, 'Bearer token-of-staff',
           'and its token');
    }
}

# one after the other, of one request: back and forth
my $r = page('/page/both', 'staff', 'guest');
like($r->body(), qr/caller-rejected/, 'the guest\'s part of staff\'s page');
$r = page('/page/both', 'guest', 'staff');
like($r->body(), qr{^\[/part/staff\]}, 'staff\'s part of a guest\'s page');
like($r->body(), qr/caller-rejected/, 'whose own part is not staff\'s');

nginx_stop();
my %lines;
$lines{$_}++ for split /\n/, read_file('who.log');

is(join("\n", sort keys %lines), join("\n", sort
    '/page/staff staff ok', '/page/staff guest ok',
    '/page/volatile staff ok', '/page/volatile guest ok',
    '/page/both staff ok', '/page/both guest ok',
    '/part/staff staff ok', '/part/staff guest caller-rejected',
    '/part/volatile staff ok', '/part/volatile guest caller-rejected',
    '/own/staff guest caller-rejected',
    '/own/staff staff connection-required'),
   'each line of the access log names its own caller');

done_testing();
