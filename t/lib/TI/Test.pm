package TI::Test;

# The harness of t/nginx.  A test reads like this:
#
#     use strict;
#     use warnings;
#
#     use TI::Test;
#
#     my $up = upstream();
#     my $alice = person('alice');
#
#     redis_start();
#     nginx_start(blocks(store => 'local_valid 0;') . <<'EOF');
#
#         server {
#             listen 127.0.0.1:%%PORT%%;
#
#             location / {
#                 token_auth    corp;
#                 token_inject  outlook;
#                 proxy_pass    http://%%UPSTREAM%%;
#             }
#         }
#     EOF
#
#     $alice->connect('third-party-token');
#
#     my $r = get('/mail?q=1', as => $alice);
#
#     is($r->status(), 200, 'the search goes through');
#     is($r->json()->{headers}{authorization}, 'Bearer third-party-token',
#        'with the token of the third party');
#     secrets_absent('no log shows it', 'third-party-token', $alice->token());
#
#     done_testing();
#
# Everything that a test starts is ended with it, by process id.  Nothing
# waits for a time to pass: every wait is for a condition, bounded, and dies
# with the ends of the logs.  done_testing() stops nginx and fails the test
# for an [alert], an [emerg], a death by signal or a sanitizer's report that
# expect_log() did not announce.
#
# Test::More comes along.  The rest, by where it is described:
#
# TI/Env.pm       testdir, write_file, append_file, read_file: by name there
#                 port(n): free; %%PORT%%, %%PORT_n%%
#                 define(NAME => text): %%NAME%%; also %%TESTDIR%%
#                 subst(text), wait_for(sub { … }, 'what', seconds)
#                 patience(): by how much this run is slower than usual
# TI/Nginx.pm     nginx_start, nginx_reload, nginx_stop, nginx_kill,
#                 nginx_signal, nginx_pid, nginx_workers, nginx_has_debug
#                 nginx_test(text): (exit code, output) of "nginx -t"
#                 error_log, access_log, log_like, log_unlike, log_count,
#                 wait_log, expect_log, secrets_absent
# TI/Redis.pm     redis_start, redis_stop, redis_kill, redis_pause,
#                 redis_resume, redis_running, redis_listened(n);
#                 redis('GET', $name), redis_hash($name); %%REDIS_SOCK%%,
#                 %%REDIS_PORT%%
# TI/Proxy.pm     my $p = proxy(); %%PROXY%% is its port, %%PROXY_SOCK%%
#                 $p->mode(delay => 0.1), inject, drop, stats, forget
#                 $p->aim(qr/command/, at => 'before', do => 'kill'), fired,
#                 wait_fired, calm: to strike at one command
# TI/Upstream.pm  my $up = upstream(); %%UPSTREAM%% is its address
#                 my $two = upstream('two'); %%UPSTREAM_two%%
#                 $up->calls, requests, last, forget, wait_calls(n), ended,
#                 stop, start; what it answers: below
# TI/Issuer.pm    my $idp = issuer(keys => [key('RS256')]); %%ISSUER%% is its
#                 URL; issuer('two', tls => 1), %%ISSUER_two%%: an upstream
#                 that publishes its keys at /keys and WELL_KNOWN
#                 $idp->block('corp', lines): the token_issuer that trusts it
#                 $idp->token({ claims }), keys, headers, document, url
#                 $idp->calls(path), requests(path), wait_calls(n, path)
#                 $idp->fault(path => what its answer has instead), stop, start
#                 deaf_port(): neither refuses nor accepts
# TI/Forward.pm   my $f = forward_proxy(); %%FORWARD%%; $f->mode, requests,
#                 calls, forget
# TI/Tls.pm       to be used by name: authority, certificate; an issuer's
#                 $idp->front()->certificate_is, handshakes
# TI/Resolver.pm  by name: resolver, resolved, resolver_release: names *.test
# TI/Rotator.pm   by name: rotator(…), a third party whose refresh tokens are
#                 good once and whose token endpoint misbehaves to order
# TI/Nodes.pm     by name: nodes_start(text), two nodes of two workers
# TI/Load.pm      by name: burst([requests]), load(sub { … }): many at a time
# TI/Http.pm      get, post, http, http_raw, parallel: TI::Http::Response
#                 my $c = connection(); $c->send, request, pipeline,
#                 response, closed, close, abort
# TI/Token.pm     jwt, claims, key, jwk, jwks_file; jws_raw and jws_sign for
#                 what no library would make; b64u, b64u_decode, algorithms
# TI/Record.pm    sealing_keys_file, new_user_key, put_connection,
#                 get_connection, record_seal, record_open, record_name, …
# TI/Person.pm    person(subject): token, user_key, who, user, connect,
#                 connection, on_device
# here            blocks, needs_module
#
# Options of a request: as => person (its token and user key), token => text,
# user_key => text or undef, headers => ['Name: value', …], body, host, port
# (an n of port(n), or a number), from => a local address, version => '1.0',
# timeout.
#
# Responses: status (0: none, and error() says why), reason, header(name),
# headers(name), body, json, raw, seconds, truncated.
#
# An upstream answers 200 with JSON: { method, uri, version, headers => {
# lower case => value }, raw => [[Name, value], …], body, connection, time }.
# Another answer is bytes (sent as they are, then closed) or a hash of
#     status, headers => ['Name: value', …], body or json
#     ends => length | chunked | close | none
#     raw => bytes, instead of all of the above
#     close => 1, reset => 1      after it
#     cut => n                    only n bytes of it, then closed
#     delay => seconds            before it
#     drip => [bytes, seconds]    in pieces, with pauses
#     flood => [bytes, n]         after the rest, n times
#     hold => name                not before $up->release(name)
# and is given by path, upstream({ '/slow' => { delay => 1 } }), later with
# $up->answer('/slow' => …), '*' for all other paths, or by
# upstream(sub { my ($request) = @_; … }), which runs in the server's process
# and returns undef for the usual answer.
#
# Environment: TI_NGINX, TI_MODULE, TI_NGINX_STATIC=1, TI_BUILD, TI_PATIENCE=n,
# TI_KEEP=1 keeps the test's directory and says where it is.

use strict;
use warnings;

use Exporter ();
use Test::More import => ['!done_testing'];

use TI::Env qw(testdir write_file append_file read_file port define subst
               wait_for patience);
use TI::Forward;
use TI::Http;
use TI::Issuer;
use TI::Nginx qw(:DEFAULT nginx_check);
use TI::Person;
use TI::Proxy;
use TI::Record;
use TI::Redis;
use TI::Token;
use TI::Upstream;

our @EXPORT = (
    qw(blocks needs_module done_testing),
    qw(testdir write_file append_file read_file port define subst wait_for
       patience),
    (grep { $_ ne 'done_testing' } @Test::More::EXPORT),
    map { no strict 'refs'; @{"TI::${_}::EXPORT"} }
        qw(Forward Http Issuer Nginx Person Proxy Record Redis Token Upstream),
);

sub import {
    strict->import();
    warnings->import();
    define(REDIS_SOCK => redis_sock(), REDIS_PORT => redis_port());
    goto &Exporter::import;
}


# blocks(store => '…', issuer => '…', provider => '…'): a token_store vault on
# this test's Redis, a token_issuer corp that signs with key('RS256'), a
# token_provider outlook, each with the lines given here.  A line that begins
# with the name of a default one takes its place.
sub blocks {
    my (%more) = @_;

    sealing_keys_file();
    jwks_file('corp.jwks', key('RS256'));

    return _block('token_store vault', $more{store},
                  'server unix:%%REDIS_SOCK%%;',
                  'sealing_keys %%TESTDIR%%/sealing.jwks;')
         . _block('token_issuer corp', $more{issuer},
                  'issuer https://login.example.com/;',
                  'audience api://search;',
                  'keys_file %%TESTDIR%%/corp.jwks;')
         . _block('token_provider outlook', $more{provider},
                  'store vault;');
}

sub _block {
    my ($name, $more, @lines) = @_;

    $more //= '';
    my %said = map { $_ => 1 } $more =~ /^\s*(\w+)/mg;
    @lines = grep { !$said{(split)[0]} } @lines;

    return join("\n", "$name {", @lines, $more, "}\n\n");
}

# at the top of a test of the module: skips it where none is built
sub needs_module {
    plan(skip_all => 'no module is built') if !nginx_has_module();
}

sub done_testing {
    nginx_check();
    Test::More::done_testing();
}


1;
