package TI::Browser;

# A browser, as much of one as signing in and consenting takes: it follows
# redirects, keeps cookies, and fills in and submits the form of a page.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);

use TI::Http;

our @EXPORT = qw(browse form_encode form_decode);


# browse(url, where it ends, field => value, …): what is in the query of the
# URL that begins like that, as a hash reference.  A form's fields have these
# values, or those of the page.
sub browse {
    my ($url, $end, %fields) = @_;

    my (%cookies, $body);

    for (1 .. 20) {
        my ($port, $path) = $url =~ m{^http://127\.0\.0\.1:(\d+)(/[^#]*)}
            or croak "the browser cannot go to $url";
        my $r = http(defined $body ? 'POST' : 'GET', $path, port => $port,
                     host => "127.0.0.1:$port", body => $body, headers => [
            'User-Agent: a browser', _cookies(\%cookies, $path),
            defined $body ? 'Content-Type: application/x-www-form-urlencoded'
                          : (),
        ]);
        _keep(\%cookies, $r);
        undef $body;

        if (defined(my $location = $r->header('Location'))) {
            $location = "http://127.0.0.1:$port$location"
                if $location =~ m{^/};
            return form_decode($1) if $location =~ /^\Q$end\E\?(.*)/;
            $url = $location;
            next;
        }

        croak "$url: " . $r->status() . ' ' . $r->body()
            if $r->status() != 200 || $r->body() !~ /<form method="post">/;
        $body = _fill($r->body(), \%fields);
    }

    croak "no end of redirects at $url";
}

sub _fill {
    my ($page, $fields) = @_;

    my %form;

    for my $input ($page =~ /<input ([^>]*)>/g) {
        my ($name) = $input =~ /name="([^"]*)"/ or next;
        my ($value) = $input =~ /value="([^"]*)"/;
        $form{$name} = $fields->{$name} // $value // '';
    }

    return form_encode(%form);
}

sub form_encode {
    my (%form) = @_;

    return join '&', map { _escape($_) . '=' . _escape($form{$_}) }
                     sort keys %form;
}

sub form_decode {
    my ($text) = @_;

    return { map {
        my ($name, $value) = split /=/, $_, 2;
        (_unescape($name) => _unescape($value // ''))
    } split /&/, $text };
}

sub _escape { $_[0] =~ s/([^A-Za-z0-9._~-])/sprintf('%%%02X', ord $1)/ger }

sub _unescape { $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

sub _keep {
    my ($cookies, $r) = @_;

    for my $line ($r->headers('Set-Cookie')) {
        my ($pair, @attributes) = split /; */, $line;
        my ($name, $value) = split /=/, $pair, 2;
        my ($path) = map { /^path=(.*)/i ? $1 : () } @attributes;
        $cookies->{$name} = [$value, $path // '/'];
    }
}

sub _cookies {
    my ($cookies, $path) = @_;

    my @sent = map { "$_=$cookies->{$_}[0]" }
               grep { length $cookies->{$_}[0]
                      && index($path, $cookies->{$_}[1]) == 0 }
               sort keys %$cookies;

    return @sent ? 'Cookie: ' . join('; ', @sent) : ();
}


1;
