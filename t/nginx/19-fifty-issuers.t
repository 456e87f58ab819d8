# Fifty issuers in one location: each token is judged by the policy and the
# keys of the issuer that it names and by no other's, in whatever order they
# are written, at first and when it is remembered.

use strict;
use warnings;

use List::Util qw(shuffle);

use TI::Test;
use TI::Watch;

use constant ISSUERS => 50;

needs_module();

my $up = upstream();
my $host = issuer();
my $n = 0;

# by turns: how keys come, what they are, what the issuer wants to be said
my @sources = qw(file uri discovered);
my @algorithms = qw(RS256 ES256 EdDSA ES384);
my @policies = (
    { name => 'plain', lines => '', claims => {} },
    { name => 'tenants', lines => 'tenant_claim tid;',
      claims => { tid => 'tenant-1' } },
    { name => 'elsewhere', lines => 'user_claim /profile/id;',
      claims => { sub => undef, profile => { id => 'alice' } } },
    { name => 'picky', lines => "typ at+jwt;\nazp search-page;\n"
                               . 'required_claims email;',
      claims => { azp => 'search-page', email => 'alice@example.com' },
      header => { typ => 'at+jwt' } },
    { name => 'recent', lines => 'max_age 10m;', claims => {} },
);
my @issuers = map { an_issuer($_) } 0 .. ISSUERS - 1;

sub an_issuer {
    my ($i) = @_;

    my $alg = $algorithms[$i % @algorithms];
    my $source = $sources[$i % @sources];
    # four of RSA are as good as twelve, and sooner made
    my $key = key($alg, $alg eq 'RS256' ? 'fifty-' . $i % 16 : "fifty-$i",
                  kid => "key-of-$i");
    my %self = (
        i => $i, alg => $alg, key => $key, source => $source,
        policy => $policies[$i % @policies],
        iss => $host->url("/issuer-$i"), aud => "api://issuer-$i",
    );

    my @lines = ("issuer $self{iss};", "audience $self{aud};",
                 "algorithms $alg;", $self{policy}{lines});

    if ($source eq 'file') {
        jwks_file("$i.jwks", $key);
        push @lines, "keys_file %%TESTDIR%%/$i.jwks;";
    } else {
        push @lines, 'allow_http on;', 'keys_min_interval 1h;',
                     'keys_interval 1h;';
        $host->answer("/keys-$i" => { json => { keys => [jwk($key)] } });
    }

    push @lines, 'keys_uri ' . $host->url("/keys-$i") . ';'
        if $source eq 'uri';
    $host->answer("/issuer-$i/.well-known/openid-configuration" => { json => {
        issuer => $self{iss}, jwks_uri => $host->url("/keys-$i") } })
        if $source eq 'discovered';

    $self{block} = join "\n", "token_issuer issuer-$i {", @lines, "}\n";

    return \%self;
}

# a token that the issuer's policy is content with, but for what differs
sub token {
    my ($issuer, $differ, %opt) = @_;

    my $policy = $issuer->{policy};

    return jwt({ iss => $issuer->{iss}, aud => $issuer->{aud}, jti => ++$n,
                 %{$policy->{claims}}, %{$differ || {}} },
               alg => $issuer->{alg}, key => $issuer->{key},
               header => $policy->{header}, %opt);
}

# the order of the location, and two others
srand(19);
my %order = (
    forth => [@issuers], back => [reverse @issuers],
    mixed => [shuffle @issuers],
);

redis_start();
sealing_keys_file();
nginx_start(join('', map { $_->{block} } @issuers)
            . <<'CONF' . join('', map { <<"EOL" } sort keys %order) . '}');

    token_store vault {
        server        unix:%%REDIS_SOCK%%;
        sealing_keys  %%TESTDIR%%/sealing.jwks;
    }

    token_provider outlook {
        store vault;
    }

    server {
        listen 127.0.0.1:%%PORT%%;
        proxy_set_header X-Issuer $token_issuer;
CONF
        location /$_/ {
            token_auth @{[map { "issuer-$_->{i}" } @{$order{$_}}]};
            proxy_pass http://%%UPSTREAM%%;
        }

        location /outlook/$_/ {
            token_auth @{[map { "issuer-$_->{i}" } @{$order{$_}}]};
            token_inject outlook;
            proxy_pass http://%%UPSTREAM%%;
        }
EOL

# another that uses the same algorithm, with another key
sub another {
    my ($i) = @_;

    return $issuers[$i + @algorithms]
           // $issuers[$i % @algorithms + @algorithms];
}

# one test for all of them: who is not what they should be
sub all_are {
    my ($want, $name, $ask) = @_;

    my @other;
    for my $i (0 .. $#issuers) {
        my $got = $ask->($issuers[$i], another($i));
        push @other, "issuer-$i: $got"
            if $got ne ($want eq 'itself' ? "issuer-$i" : $want);
    }

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply(\@other, [], $name);
}

# the issuer that it was taken for, or why it was for none
sub asked {
    my ($path, $token, %opt) = @_;

    my $r = get($path, token => $token, %opt);

    return result($r) eq 'ok' ? $r->json()->{headers}{'x-issuer'}
                              : result($r);
}

my @kept = map { token($_) } @issuers;

for my $order (sort keys %order) {
    for my $time ('at first', 'again') {
        all_are('itself', "each by its iss, $order, $time",
                sub { asked("/$order/", $kept[$_[0]{i}]) });
    }
}

for my $order (qw(forth mixed)) {
    all_are('token-invalid', "signed by another of them, $order", sub {
        asked("/$order/", token($_[0], {}, key => $_[1]{key}));
    });
    all_are('token-invalid', "the same, under its kid, $order", sub {
        asked("/$order/", token($_[0], {}, key => {
            %{$_[1]{key}}, kid => $_[0]{key}{kid} }));
    });
    all_are('token-invalid', "without a kid, $order", sub {
        asked("/$order/", token($_[0], {}, key => $_[1]{key}, header => {
            %{$_[0]{policy}{header} || {}}, kid => undef }));
    });
    all_are('itself', "its own without a kid, $order", sub {
        asked("/$order/", token($_[0], {}, header => {
            %{$_[0]{policy}{header} || {}}, kid => undef }));
    });
    all_are('token-invalid', "for the audience of another, $order", sub {
        asked("/$order/", token($_[0], { aud => $_[1]{aud} }));
    });
}

all_are('token-invalid', 'with the algorithm of another', sub {
    my ($issuer) = @_;
    my $other = $issuers[($issuer->{i} + 1) % @algorithms];

    return asked('/forth/', token($issuer, {}, alg => $other->{alg},
                                  key => { %{$other->{key}},
                                           kid => $issuer->{key}{kid} }));
});

# what one wants to be said is asked of its tokens alone
for my $not (['tenants', tid => undef], ['elsewhere', profile => undef],
             ['picky', azp => 'other'], ['picky', email => undef])
{
    my ($name, $claim, $value) = @$not;

    all_are('itself', "$name: $claim matters to nobody else", sub {
        my ($issuer) = @_;
        my $got = asked('/mixed/', token($issuer, { $claim => $value }));

        return $issuer->{policy}{name} ne $name ? $got
             : $got eq 'token-invalid' ? "issuer-$issuer->{i}"
             : "$got, not token-invalid";
    });
}

is(asked('/forth/', token($issuers[0], { iss => $host->url("/issuer-$_") })),
   'token-invalid', "the issuer $_ is nobody")
    for '', ISSUERS, '1/', '01';

# one name, other people: of every issuer, and of two tenants of one
my $user_key = new_user_key();
my @alices = map { {
    token => $kept[$_->{i}], said => "outlook-of-$_->{i}",
    who => [$_->{iss}, $_->{policy}{claims}{tid} // '', 'alice'],
} } @issuers;
push @alices, map { {
    token => token($_, { tid => 'tenant-2' }), said => "tenant-2-of-$_->{i}",
    who => [$_->{iss}, 'tenant-2', 'alice'],
} } grep { $_->{policy}{name} eq 'tenants' } @issuers;

put_connection(who => $_->{who}, provider => 'outlook',
               user_key => $user_key, access => $_->{said}) for @alices;

for my $order (sort keys %order) {
    for my $time ('at first', 'again') {
        my @sent = map {
            my $r = get("/outlook/$order/", token => $_->{token},
                        user_key => $user_key);
            result($r) eq 'ok'
            ? $r->json()->{headers}{authorization} =~ s/^Bearer //r
            : result($r);
        } @alices;

        is_deeply(\@sent, [map { $_->{said} } @alices],
                  "each their own connection, $order, $time");
    }
}

is(scalar(@{redis('KEYS', '*')}), scalar(@alices), 'as many as there are');

# unknown kids ask once in an hour; the first keys are asked for once
my @calls = map { $host->calls("/keys-$_->{i}") }
            grep { $_->{source} ne 'file' } @issuers;
is_deeply([grep { $_ != 2 } @calls], [], 'each was asked twice');

secrets_absent('no token in a log', @kept, map { $_->{said} } @alices);

done_testing();
