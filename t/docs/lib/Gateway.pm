package Gateway;

# The gateways of docs/behind-gateways.md, as its tests play them: the page's
# own configuration, and what has to hold for a token in any gateway's header.

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(any);

use TI::Test;
use Docs;

our @EXPORT = qw(gateway_conf result refuses_all_but);

my $page = 'docs/behind-gateways.md';


# gateway_conf(heading, n = 1, replaced => by, …): the nth configuration of a
# section, on this machine.  Keys are those of issuer('gateway'), looked for
# every two seconds.
sub gateway_conf {
    my ($heading, $n, %replace) = @_;

    my $conf = framed(example($page, "## $heading", $n), '%%UPSTREAM%%');

    $conf =~ s{\bkeys_uri\s+\K[^;]+;}{
        join "\n", '%%ISSUER_gateway%%/keys;', 'allow_http on;',
                   'keys_interval 2s;', 'keys_min_interval 1s;'
    }e;

    for my $text (sort keys %replace) {
        $conf =~ s/\Q$text\E/$replace{$text}/g
            or die "\"$text\" is not in the configuration of $heading\n";
    }

    return $conf;
}

# result(uri, options of get): the status, and the result that a refusal names
sub result {
    my $r = get(@_);
    my $type = $r->status() == 200 ? '' : eval { $r->json()->{type} } // '';

    return join ' ', $r->status(), $type =~ /([^:]+)$/ ? $1 : ();
}

# refuses_all_but(
#     up => upstream, person => who is connected with "third-party",
#     header => name, sign => sub { (claims that differ, options of jwt) → a
#     token as this gateway makes it }, beside => ['Name: value', …] it sends
#     as well, uri => '/search/outlook/x')
sub refuses_all_but {
    my (%opt) = @_;

    my ($up, $header, $sign) = @opt{qw(up header sign)};
    my @beside = @{$opt{beside} || []};
    my @key = (user_key => $opt{person}->user_key());
    my $uri = $opt{uri} // '/search/outlook/x';
    my $good = $sign->({});
    my $said = $header eq 'Authorization' ? 'Bearer ' : '';

    my $send = sub {
        my ($token, @more) = @_;

        return result($uri, @key, headers => [
            @beside, defined $token ? "$header: $said$token" : (), @more]);
    };

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    # --- what the gateway sends, and what the third party sees of it

    $up->forget();
    is($send->($good), '200', "$header: accepted");

    my $seen = $up->last();
    my %passed = map { lc $_->[0] => 1 } @{$seen->{raw}};
    my @names = grep { $_ ne 'authorization' }
                map { lc s/:.*//sr } @beside, $header, 'X-User-Key';

    is($seen->{headers}{authorization}, 'Bearer third-party',
       'the third party gets its token');
    is(join(' ', grep { $passed{$_} } @names), '',
       'and nothing that the gateway sent');
    is((any { index($_->[1], $good) >= 0 } @{$seen->{raw}}) ? 1 : 0, 0,
       'in no header is the assertion');

    # --- what the client sends does not matter

    if ($header ne 'Authorization') {
        is($send->($good, 'Authorization: Bearer of-the-client'), '200',
           'beside an Authorization of the client');
        is($up->last()->{headers}{authorization}, 'Bearer third-party',
           'which is replaced');
        is($send->($good, 'Authorization: Basic am9lOnNlY3JldA=='), '200',
           'of any scheme');
        is($send->(undef, "Authorization: Bearer $good"),
           '401 token-missing', 'it is no source');
        is($send->("Bearer $good"), '401 token-invalid',
           'nor is there a scheme in the header');
    }
    is(result($uri, @key, headers => [@beside, uc($header) . ": $said$good"]),
       '200', 'whatever the case of the name');

    # --- refused, and nothing sent on

    $up->forget();

    my ($h, $p, $s) = split /\./, $good;
    my $none = b64u('{"alg":"none","typ":"JWT"}');
    my $forged = $sign->({}, key => key($opt{alg} // 'RS256', 'forger'),
                         kid => $opt{kid});

    is($send->(undef), '401 token-missing', 'without it');
    is($send->(''), '401 token-missing', 'empty') if $said eq '';
    is($send->($forged), '401 token-invalid', 'signed by another key');
    is($send->("$h.$p." . ('A' x length $s)), '401 token-invalid',
       'with no good signature');
    is($send->("$h.$p."), '401 token-invalid', 'with none');
    is($send->("$none.$p."), '401 token-invalid', 'alg none');
    is($send->("$h." . (split /\./, $sign->({ sub => 'mallory' }))[1]
               . ".$s"), '401 token-invalid', 'another person\'s claims');
    is($send->("$h=.$p=.$s="), '401 token-invalid', 'with padding');
    is($send->($sign->({ aud => $opt{other_aud} // 'api://other' })),
       '401 token-invalid', 'for another application');
    is($send->($sign->({ iss => 'https://other.example.com' })),
       '401 token-invalid', 'of another tenant');
    is($send->($sign->({ exp => time() - 3600 })), '401 token-expired',
       'over');
    is($send->($sign->({ exp => undef })), '401 token-invalid', 'for ever');
    # nginx itself logs, at info, the lines that it drops: before those
    secrets_absent('no log shows any of it', $good, $s);

    my $twice = $said ? '400' : '401 token-invalid';

    is($send->($good, "$header: $said$good"), $twice, 'twice');
    is($send->($good, "$header: client's"), $twice,
       'and once by the client');
    is($send->($forged, "$header: $said$good"), $twice, 'in any order');

    if ($header =~ /-/) {
        is($send->(undef, ($header =~ tr/-/_/r) . ": $good"),
           '401 token-missing', 'in a spelling that nginx drops');
    }

    is($up->calls(), 0, 'the third party heard nothing of these');
}


1;
