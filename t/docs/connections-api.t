#!/usr/bin/perl

# docs/connections-api.md: its calls are made as they stand there, with curl,
# and the answers have the members that it shows; its table of what to do has
# every result that the API may give, with its status.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use JSON::PP ();

use TI::Test;
use Docs;

needs_module();
plan(skip_all => 'no curl') if system('command -v curl > /dev/null') != 0;

my $page = page('docs/connections-api.md');

my $idp = upstream({
    '/token' => { json => { access_token => 'access', expires_in => 3600,
                            token_type => 'Bearer', scope => 'Mail.Read' } },
});

redis_start();
nginx_start(blocks(provider => <<'EOT') . <<'EOF2');
    allow_http on;
    authorization_endpoint http://%%UPSTREAM%%/authorize;
    admin_consent_endpoint http://%%UPSTREAM%%/adminconsent;
    token_endpoint http://%%UPSTREAM%%/token;
    client_id client;
    client_auth none;
    redirect_uri https://search.example.com/connected;
EOT
server {
    listen 127.0.0.1:%%PORT%%;
    location /connections { token_auth corp; token_connections; }
}
EOF2

my $alice = person('alice');
$ENV{JWT} = $alice->token();
$ENV{KEY} = $alice->user_key();

my @calls = $page =~ /^```sh\n(.*?)^```$/gms;
is(scalar @calls, 5, 'every call has an example');

# (status, JSON) of an example, with what came back of a visit in its place
sub call {
    my ($command, %back) = @_;

    my $at = '127.0.0.1:' . port(0);
    $command =~ s{https://search\.example\.com/}{http://$at/}
        or die "no call: $command";
    $command =~ s/"$_":"[^"]*"/"$_":"$back{$_}"/ for keys %back;

    chomp($command);
    my $out = `$command -s -w '\n%{http_code}'`;
    my ($body, $status) = $out =~ /^(.*)\n(\d+)$/s;

    return ($status, length $body ? JSON::PP::decode_json($body) : undef);
}

# what the page shows as the answer behind the n-th marker
my @shown = map { JSON::PP->new->decode($_) }
            $page =~ /^<!-- answer: \d+ -->\n```json\n(.*?)^```$/gms;
is(scalar @shown, 2, 'two answers are shown');

sub members { join ' ', sort keys %{$_[0]} }

my ($list, $start, $code, $admin, $remove) = @calls;

my ($status, $json) = call($start);
is($status, 201, 'begin');
is(members($json), members($shown[1]), 'as it is shown');
my ($state) = $json->{authorization_url} =~ /[?&]state=([\w-]+)/;
like($json->{authorization_url}, qr/[?&]$_=/, "$_ is in the URL")
    for $shown[1]{authorization_url} =~ /[?&](\w+)=/g;

($status, $json) = call($code, code => 'code', state => $state);
is($status, 201, 'bring back');
is(members($json), members($shown[0]{connections}[0]), 'the connection');

($status, my $listed) = call($list);
is($status, 200, 'list');
is_deeply($listed, { connections => [$json] }, 'the same in the list');

($status, $json) = call($admin);
is($status, 201, 'an administrator');
is(members($json), members($shown[1]), 'likewise');

($status, $json) = call($remove);
is($status, 204, 'disconnect');
($status, $listed) = call($list);
is($listed->{connections}[0]{state}, 'none', 'gone');


# --- what to do: each result, and its status

my %status;
for my $row (rows(section(page('docs/directives.md'), '## Results'))) {
    my ($name) = $row->[0] =~ /^`(.*)`$/;
    $status{$name} = $row->[1];
}
# those that come of using a connection, or of nothing
delete @status{qw(ok segment-excluded)};

my %said;
for my $row (rows(section($page, '## What to do'))) {
    for my $name (code_spans($row->[0])) {
        $said{$name} = 1;
        like($status{$name} // '', qr/\b$_\b/, "$name: $_")
            for grep { $name ne 'caller-rejected' } $row->[1] =~ /\d{3}/g;
    }
}
is(join(' ', sort keys %said), join(' ', sort keys %status),
   'every result, and no other');

done_testing();
