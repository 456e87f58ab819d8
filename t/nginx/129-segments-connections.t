# Rules in Redis decide what "GET /connections" lists and what may be consented.

use strict;
use warnings;

use TI::Test;
use TI::Env qw(build_dir);
use TI::Tokenctl;
use TI::Watch;

needs_module();
plan(skip_all => 'no tokenctl is built') if !-x build_dir() . '/tokenctl';

my $provider = <<'EOT';
authorization_endpoint https://idp.example.com/authorize;
token_endpoint https://idp.example.com/token;
client_id client;
client_auth none;
scope Mail.Read;
redirect_uri https://search.example.com/connected;
EOT

redis_start();
nginx_start(blocks(provider => $provider)
            . "token_provider staff {\nstore vault;\nallow groups=staff;\n"
            . "$provider}\n" . <<'EOT');
server {
    listen 127.0.0.1:%%PORT%%;
    location /connections { token_auth corp; token_connections; }
}
EOT

my $alice = person('alice');

sub listed {
    return join ' ', map { $_->{provider} }
        @{get('/connections', as => $alice)->json()->{connections}};
}

sub start {
    my $r = post("/connections/$_[0]", '', as => $alice);

    return $r->status() == 201 ? 'begun' : result($r);
}

is(listed(), 'outlook', 'as configured');
is(start('outlook'), 'begun', 'what is listed may be consented');
my $no = start('staff');
isnt($no, 'begun', "what is not may not: $no");

segment('staff', 'everyone');
wait_for(sub { listed() eq 'outlook staff' }, 'both to be listed');
is(start('staff'), 'begun', 'and consented');

segment('outlook', 'groups=others');
wait_for(sub { listed() eq 'staff' }, 'one to be listed');
is(start('outlook'), $no, 'the other may not be consented any more');

segment($_) for qw(outlook staff);
wait_for(sub { listed() eq 'outlook' }, 'as configured again');
is(start('staff'), $no, 'and consented');

done_testing();
