# Who else a request reaches once a location with token_claim_header has judged
# it: none of them sees what the client said under that name, and none is told
# what was said to another.

use strict;
use warnings;

use IO::Socket::INET ();

use TI::Env qw(fork_server end_process at_end);
use TI::Test;

needs_module();

my $html = sub {
    return { status => 200, headers => ['Content-Type: text/html'],
             body => $_[0] };
};

my $other = upstream('other');
my $up = upstream(sub {
    my ($request) = @_;

    my ($kind, $what) = $request->{uri} =~ m{^/(?:auth|inject)/([\w-]+)/(\w+)}
        or return;

    return { status => 502 } if $what eq 'fail';
    return { headers => ['X-Accel-Redirect: /other/accel'] }
        if $what eq 'accel';
    return { headers => ['X-Accel-Redirect: @other'] } if $what eq 'named';
    return { headers => ['X-Accel-Redirect: /second/accel'] }
        if $what eq 'second';
    return $html->('a') if $kind eq 'add';
    return $html->('a <!--# include virtual="/other/ssi" --> b')
        if $what eq 'ssi';
    return $html->('a <!--# include virtual="/second/ssi" --> b')
        if $what eq 'ssitwo';
    return;
});
my $alice = person('alice');

# the same headers as environment variables
my $scgi = IO::Socket::INET->new(Listen => 10, LocalAddr => '127.0.0.1')
    or die "listen: $!\n";
my $server = fork_server(sub {
    while (my $s = $scgi->accept()) {
        local $/ = ':';
        my $length = <$s>;
        chop $length;
        read($s, my $params, $length);
        print $s "Status: 200\r\nContent-Type: text/plain\r\n\r\n$params";
        close $s;
    }
});
at_end(sub { end_process($server, 'TERM') });
define(SCGI => '127.0.0.1:' . $scgi->sockport());

# every location twice: without and with a provider's token
sub locations {
    my ($kind, $inject) = @_;

    my %more = (
        'error-uri' => 'error_page 502 /other/uri;',
        'error-named' => 'error_page 502 @other;',
        'error-second' => 'error_page 502 /second/uri;',
        refused => 'error_page 400 401 403 = /other/refused;',
        'refused-named' => 'error_page 400 401 403 = @other;',
        'refused-second' => 'error_page 400 401 403 = /second/refused;',
        ssi => 'ssi on;',
        mirror => 'mirror /other/mirror;',
        'mirror-second' => 'mirror /second/mirror;',
        check => 'auth_request /other/check;',
        'check-second' => 'auth_request /second/check;',
        post => 'post_action /other/post;',
        add => 'add_after_body /other/add;',
        plain => '',
    );
    my $same = "token_auth corp; $inject\n"
               . "token_claim_header X-User \$token_claim_sub;\n";

    return join("\n", map {
            "location /$kind/$_/ {\n$same\nproxy_intercept_errors on;\n"
            . "$more{$_}\nproxy_pass http://%%UPSTREAM%%;\n}\n"
        } sort keys %more)
        . <<"EOT"
        location /$kind/down/ {
            $same
            error_page 502 /other/down;
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /$kind/down-named/ {
            $same
            error_page 502 \@other;
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /$kind/down-second/ {
            $same
            error_page 502 /second/down;
            proxy_pass http://unix:%%TESTDIR%%/nobody.sock;
        }

        location /$kind/try/ {
            $same
            root %%TESTDIR%%;
            try_files /nothing /other/try;
        }

        location /$kind/try-named/ {
            $same
            root %%TESTDIR%%;
            try_files /nothing \@other;
        }

        location /$kind/try-second/ {
            $same
            root %%TESTDIR%%;
            try_files /nothing /second/try;
        }

        location /$kind/early/ {
            if (\$http_x_user = nobody) {
                return 204;
            }
            $same
            proxy_pass http://%%UPSTREAM%%;
        }

        location /$kind/file/ {
            $same
            alias %%TESTDIR%%/pages/;
        }

        location /$kind/scgi/ {
            $same
            scgi_pass %%SCGI%%;
        }

        location /$kind/cache/ {
            $same
            proxy_cache answers;
            proxy_cache_key \$token_claim_sub\$uri;
            proxy_cache_valid 200 1s;
            proxy_cache_use_stale updating;
            proxy_cache_background_update on;
            add_header X-Cached \$upstream_cache_status;
            proxy_pass http://%%UPSTREAM%%;
        }
EOT
}

redis_start();
nginx_start(blocks() . "log_subrequest on;\n"
            . "proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;\n"
            . 'log_format users "$status $uri u=[$http_x_user]";' . "\n"
            . "server {\nlisten 127.0.0.1:%%PORT%%;\n"
            . "underscores_in_headers on;\n"
            . "access_log %%TESTDIR%%/access.log users;\n"
            . "add_header X-Sees \"[\$http_x_user]\" always;\n"
            . "proxy_set_header X-Sees \"[\$http_x_user]\";\n"
            . locations('auth', '') . locations('inject',
                                                'token_inject outlook;')
            . <<'EOT', log_level => 'info');

        location /other/ {
            proxy_pass http://%%UPSTREAM_other%%;
        }

        location @other {
            proxy_pass http://%%UPSTREAM_other%%;
        }

        location /second/ {
            token_auth  corp from=$cookie_other;
            token_claim_header X-User  $token_claim_sub;
            token_claim_header X-Other $token_claim_other;
            proxy_pass  http://%%UPSTREAM_other%%;
        }
    }
EOT

write_file('pages/x', "file\n");
$alice->connect('third-party');

my $token = $alice->token();
my $second = jwt({ sub => 'bob', other => 'thing' });
my @forged = ('X-User: root', 'x_user: root', 'X-USER: root');

sub named {
    my ($request, $name) = @_;

    return [map { $_->[1] } grep { lc($_->[0]) =~ tr/-/_/r eq $name }
            @{$request->{raw}}];
}

# one request, which reaches the other upstream as well
sub reaches {
    my ($name, $uri, $wanted, %opt) = @_;

    $_->forget() for $up, $other;
    my $headers = delete $opt{headers} // [];
    my $r = http($opt{method} // 'GET', $uri, as => $alice, %opt,
                 headers => [@forged, @$headers]);

    wait_for(sub { $other->calls() >= 1 }, "the other upstream, $name");
    is($other->calls(), 1, "$name: reached");
    is_deeply(named($other->last(), 'x_user'), $wanted,
              "$name: what it sees") or diag($r->raw());
    is_deeply([grep { "@{named($_, 'x_user')}" ne 'alice' } $up->requests()],
              [], "$name: and what the location's own does");
    is($r->header('X-Sees') // '[]', '[]', "$name: add_header");

    return $r;
}

for my $kind (qw(auth inject)) {
    for my $what (qw(error-uri/fail error-named/fail down/x down-named/x
                     try/x try-named/x plain/accel plain/named ssi/ssi
                     mirror/x check/x post/x add/x))
    {
        reaches("$kind/$what", "/$kind/$what", []) for 1 .. 2;
    }
    for my $what (qw(error-uri/fail down/x try/x mirror/x)) {
        reaches("$kind/$what, a body", "/$kind/$what", [], method => 'POST',
                body => 'b' x 20000);
    }
    for my $what (qw(refused/x refused-named/x)) {
        reaches("$kind/$what, a bad token", "/$kind/$what", [],
                token => 'bad');
        reaches("$kind/$what, an old token", "/$kind/$what", [],
                token => jwt({ exp => 1 }));
    }

    # where they lead to a location with its own, its own caller is named
    for my $what (qw(error-second/fail down-second/x try-second/x
                     plain/second ssi/ssitwo mirror-second/x check-second/x))
    {
        for my $time ('at first', 'again') {
            reaches("$kind/$what, $time", "/$kind/$what", ['bob'],
                    headers => ["Cookie: other=$second", 'X-Other: root',
                                'x_other: root']);
            is_deeply(named($other->last(), 'x_other'), ['thing'],
                      'once each');
        }
    }
    reaches("$kind, refused, a second", "/$kind/refused-second/x", ['bob'],
            token => 'bad', headers => ["Cookie: other=$second",
                                        'X-Other: root']);
    $other->forget();
    get("/$kind/error-second/fail", as => $alice, headers => \@forged);
    is($other->calls(), 0, "$kind: whom it does not know it refuses");
}

# --- other protocols, files, nginx's own cache

for my $kind (qw(auth inject)) {
    my %seen = split /\0/, get("/$kind/scgi/", as => $alice,
                               headers => \@forged)->body();
    is($seen{HTTP_X_USER}, 'alice', "$kind: in the environment");
    is($seen{HTTP_AUTHORIZATION}, $kind eq 'auth' ? "Bearer $token"
       : 'Bearer third-party', 'with the token that belongs there');

    my $r = get("/$kind/file/x", as => $alice, headers => \@forged);
    is($r->status() . $r->header('X-Sees'), '200[]', "$kind: a file");

    my $stale;
    $up->forget();
    wait_for(sub {
        $stale = get("/$kind/cache/x", as => $alice, headers => \@forged);
        $stale->header('X-Cached') eq 'STALE';
    }, 'the answer to grow old');
    $up->wait_calls(2);
    is_deeply([map { @{named($_, 'x_user')} } $up->requests()],
              [('alice') x $up->calls()],
              "$kind: an update in the background");
}

# --- logs, and variables asked for before

write_file('access.log', '');
my $n = 0;
for my $kind (qw(auth inject)) {
    for my $opt ([as => $alice], [token => 'bad'], [], [token => $token]) {
        for my $what (qw(plain early file scgi down)) {
            my $r = get("/$kind/$what/x", @$opt, headers => \@forged);
            is($r->header('X-Sees'), '[]', "$kind/$what: add_header");
            $n++;
        }
    }
}
wait_for(sub { (() = access_log() =~ /\n/g) >= $n }, 'the access log');
is_deeply([grep { !/ u=\[-\]$/ } split /\n/, access_log()], [],
          'the access log');

done_testing();
