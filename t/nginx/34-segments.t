# Segments: whom a provider's "allow" is for, by equality, by membership, by
# the domain of an e-mail address, by pointer and by namespaced name; and that
# one provider's verdict is not another's.

use strict;
use warnings;

use TI::Test;

needs_module();

my $ns = 'https://example.com/claims/level';
my $mail = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/'
           . 'emailaddress';

my %allow = (
    equal => 'allow dept=sales marketing;',
    member => 'allow groups=red;',
    domain => 'allow email=*@example.com;',
    domains => 'allow email=*@example.com *@example.org;',
    either => 'allow email=*@example.com boss@other.org; allow dept=sales;',
    pointer => 'allow /realm/roles=mail;',
    element => 'allow /groups/0=red;',
    escaped => 'allow /a~1b/c~0d=yes;',
    namespaced => "allow $ns=gold;",
    soap => "allow $mail=*\@example.com;",
    deep => 'allow /user/email=*@example.com;',
    equals => 'allow a=b=yes;',
    star => 'allow dept=*;',
    quoted => 'allow "full name=Jane Doe";',
    everyone => '',
);

my $up = upstream();

sub text {
    return blocks()
           . join('', map {
                 "token_provider $_ {\nstore vault;\nuser_key off;\n"
                 . "$allow{$_}\n}\n"
             } sort keys %allow)
           . "server {\nlisten 127.0.0.1:%%PORT%%;\ntoken_auth corp;\n"
           . join('', map {
                 "location /$_/ {\ntoken_inject $_;\n"
                 . "proxy_pass http://%%UPSTREAM%%;\n}\n"
             } sort keys %allow)
           . "}\n";
}

redis_start();
nginx_start(text());

my %connected;

# "200", or the result
sub verdict {
    my ($provider, $claims, %opt) = @_;

    my $sub = $opt{sub} // 'alice';
    $connected{"$provider $sub"} //= put_connection(
        who => ['https://login.example.com/', '', $sub],
        provider => $provider, access => "of-$provider");

    my $token = ref $claims ? jwt({ sub => $sub, %$claims }) : $claims;
    my $r = get("/$provider/", token => $token);

    if ($r->status() == 200) {
        is($up->last()->{headers}{authorization}, "Bearer of-$provider",
           'with the token of that provider');
        return '200';
    }

    return $r->status() . ' ' . ($r->json()->{type} =~ s/.*://r);
}

my $no = '403 segment-excluded';

for my $case (
    [equal => { dept => 'sales' }, '200'],
    [equal => { dept => 'marketing' }, '200'],
    [equal => { dept => 'Sales' }, $no],
    [equal => { dept => 'sales ' }, $no],
    [equal => { dept => 'sale' }, $no],
    [equal => { dept => 'sales marketing' }, $no],
    [equal => { dept => ['it', 'sales'] }, '200'],
    [equal => { dept => 'sales,marketing' }, $no],
    [equal => { dept => { sales => 1 } }, $no],
    [equal => { dept => \1 }, $no],
    [equal => { dept => undef }, $no],
    [equal => { Dept => 'sales' }, $no],
    [equal => {}, $no],

    [member => { groups => ['blue', 'red'] }, '200'],
    [member => { groups => 'red' }, '200'],
    [member => { groups => ['reddish', 'Red', ''] }, $no],
    [member => { groups => [['red']] }, $no],
    [member => { groups => [{ red => 'red' }] }, $no],
    [member => { groups => [] }, $no],
    [member => { groups => ['blue,red'] }, $no],
    [member => { groups => [undef, 1, 'red'] }, '200'],

    [domain => { email => 'alice@example.com' }, '200'],
    [domain => { email => 'alice@EXAMPLE.Com' }, '200'],
    [domain => { email => 'a+b@example.com', email_verified => \1 }, '200'],
    [domain => { email => 'alice@example.com', email_verified => \0 }, $no],
    [domain => { email => 'alice@sub.example.com' }, $no],
    [domain => { email => 'alice@notexample.com' }, $no],
    [domain => { email => 'alice@example.com.evil.org' }, $no],
    [domain => { email => 'alice@example.com@evil.org' }, $no],
    [domain => { email => 'alice@evil.org@example.com' }, $no],
    [domain => { email => '@example.com' }, $no],
    [domain => { email => 'example.com' }, $no],
    [domain => { email => '*@example.org' }, $no],
    [domain => { email => 'alice@example.com ' }, $no],
    [domain => { email => "alice\@example.com\n" }, $no],
    [domain => { email => "alice\@ex\x{430}mple.com" }, $no],
    [domain => { email => ['x@evil.org', 'alice@example.com'] }, '200'],
    [domain => { email => ['x@evil.org'] }, $no],
    [domain => { mail => 'alice@example.com' }, $no],
    [domain => { email => { 0 => 'alice@example.com' } }, $no],
    [domain => {}, $no],

    [domains => { email => 'alice@example.org' }, '200'],
    [domains => { email => 'alice@example.com' }, '200'],
    [domains => { email => 'alice@example.net' }, $no],

    [either => { email => 'x@example.com' }, '200'],
    [either => { email => 'boss@other.org' }, '200'],
    [either => { email => 'other@other.org' }, $no],
    [either => { email => 'other@other.org', dept => 'sales' }, '200'],
    [either => { email => 'x@example.com', dept => 'it' }, '200'],

    [pointer => { realm => { roles => ['read', 'mail'] } }, '200'],
    [pointer => { realm => { roles => 'mail' } }, '200'],
    [pointer => { realm => { roles => ['read'] } }, $no],
    [pointer => { '/realm/roles' => 'mail' }, $no],
    [pointer => { realm => 'mail' }, $no],
    [pointer => { roles => 'mail' }, $no],
    [element => { groups => ['red', 'blue'] }, '200'],
    [element => { groups => ['blue', 'red'] }, $no],
    [element => { groups => 'red' }, $no],
    [escaped => { 'a/b' => { 'c~d' => 'yes' } }, '200'],
    [escaped => { a => { b => { 'c~d' => 'yes' } } }, $no],

    [namespaced => { $ns => 'gold' }, '200'],
    [namespaced => { $ns => ['silver', 'gold'] }, '200'],
    [namespaced => { $ns => 'silver' }, $no],
    [namespaced => { https => { '' => 'gold' } }, $no],
    [soap => { $mail => 'alice@example.com' }, '200'],
    [soap => { $mail => 'alice@example.org' }, $no],
    [soap => { email => 'alice@example.com' }, $no],
    [deep => { user => { email => 'alice@example.com' } }, '200'],
    [deep => { email => 'alice@example.com' }, $no],

    [equals => { 'a=b' => 'yes' }, '200'],
    [equals => { a => 'b=yes' }, $no],
    [star => { dept => '*' }, '200'],
    [star => { dept => 'sales' }, $no],
    [quoted => { 'full name' => 'Jane Doe' }, '200'],
    [quoted => { 'full name' => 'Jane' }, $no],
    [everyone => {}, '200'])
{
    my ($provider, $claims, $wanted) = @$case;
    is(verdict($provider, $claims), $wanted,
       "$allow{$provider} of "
       . JSON::PP->new->canonical->ascii->encode($claims));
}

# --- a verdict belongs to a token and a provider

my $sales = jwt({ dept => 'sales', sub => 'carol' });
my $both = jwt({ dept => 'sales', groups => 'red', sub => 'carol' });

for my $time ('at first', 'again', 'once more') {
    is(verdict('equal', $sales, sub => 'carol'), '200', "in, $time");
    is(verdict('member', $sales, sub => 'carol'), $no,
       "not in at another provider, $time");
    is(verdict('domain', $sales, sub => 'carol'), $no, 'nor there');
    is(verdict('member', $both, sub => 'carol'), '200',
       "the same user with another token, $time");
    is(verdict('equal', jwt({ sub => 'carol' }), sub => 'carol'), $no,
       "and with one that says less, $time");
}

# a reload that takes a segment away takes it from those who were in
is(verdict('everyone', $sales, sub => 'carol'), '200', 'before a reload');
$allow{everyone} = 'allow dept=it;';
nginx_reload(text());
is(verdict('everyone', $sales, sub => 'carol'), $no, 'out after it');
is(verdict('everyone', jwt({ dept => 'it', sub => 'carol' }),
           sub => 'carol'), '200', 'others are in');

# --- what "nginx -t" refuses

sub checked {
    my ($allow, $message) = @_;

    my ($code, $out) = nginx_test(blocks(provider => "allow $allow;"));
    my ($got) = $out =~ /^nginx: \[emerg\] (.*?) in \S+:\d+$/m;

    is($got, $message, "allow $allow") or diag($out);
    is($code, defined $message ? 1 : 0, 'the verdict');
}

checked($_) for 'email=*@example.com', 'email=*@localhost',
                'email=*@xn--exmple-cua.com', 'email=*@a-b.c1', 'a=*', 'a=**',
                'a=x*@example.com', 'a=@example.com';
for my $bad ('*@', '*@.', '*@.example.com', '*@example.com.', '*@a..b',
             '*@*.example.com', '*@a@b', '"*@a b"', '*@a_b', '*@-a', '*@a-',
             "*\@ex\x{c3}\x{a4}mple.com", '*@' . 'a' x 64 . '.com')
{
    my $shown = $bad =~ s/"//gr;
    my $value = $bad =~ /^"(.*)"$/ ? "\"email=$1\"" : "email=$bad";
    checked($_, "\"$shown\" in \"allow\" is neither *@ and a domain nor a "
            . 'value without that in front')
        for $value, "email=x $bad";
}

done_testing();
