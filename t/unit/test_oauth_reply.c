/*
 * OAuth: what a token endpoint's reply means, whatever it is.
 */

#include "unit.h"

#include <openssl/err.h>

#include "ti_oauth.h"


#define NOW   1795286400

#define LATER     TI_RESULT_PROVIDER_UNAVAILABLE
#define SLOWER    TI_RESULT_PROVIDER_THROTTLED
#define OPERATOR  TI_RESULT_PROVIDER_MISCONFIGURED
#define AGAIN     TI_RESULT_RECONNECT_REQUIRED
#define ADMIN     TI_RESULT_ADMIN_CONSENT_REQUIRED


static unit_pool_t         unit;
static ti_oauth_tokens_t   tokens;
static ti_oauth_failure_t  failure;


static int
set_up(void **state)
{
    (void) unit_pool_create(&unit);

    return 0;
}


static int
tear_down(void **state)
{
    unit_pool_free(&unit);

    return 0;
}


static ti_result_t
judge_as(ti_oauth_grant_t grant, unsigned status, ti_str_t body,
    const char *retry_after)
{
    char              *copy;
    ti_result_t        result;
    ti_oauth_reply_t   reply;

    /* as long as it is, so that a byte too many is seen */
    copy = malloc(body.len + (body.len == 0));
    assert_non_null(copy);

    if (body.len != 0) {
        memcpy(copy, body.data, body.len);
    }

    reply.status = status;
    reply.body = ti_str_from(copy, body.len);
    reply.retry_after = ti_str_cstr(retry_after);

    memset(&tokens, 0xff, sizeof(tokens));
    memset(&failure, 0xff, sizeof(failure));

    result = ti_oauth_token_reply(&unit.pool, grant, &reply, NOW, &tokens,
                                  &failure);
    free(copy);

    if (result != TI_RESULT_OK) {
        assert_non_null(failure.why);
        assert_true(failure.why[0] != '\0');
    }

    return result;
}


static ti_result_t
judge(unsigned status, const char *body)
{
    return judge_as(TI_OAUTH_CODE, status, ti_str_cstr(body), "");
}


static void
takes_tokens(void **state)
{
    assert_int_equal(judge(200, "{\"access_token\":\"2YotnFZFEjr1zCsicMWpAA\","
                                "\"token_type\":\"bearer\","
                                "\"expires_in\":7200,"
                                "\"refresh_token\":\"tGzv3JOkF0XG5Qx2TlKWIA\","
                                "\"scope\":\"a b\",\"id_token\":\"h.p.s\","
                                "\"example_parameter\":{\"x\":[1]}}"),
                     TI_RESULT_OK);

    assert_str(tokens.access_token, "2YotnFZFEjr1zCsicMWpAA");
    assert_str(tokens.refresh_token, "tGzv3JOkF0XG5Qx2TlKWIA");
    assert_str(tokens.scope, "a b");
    assert_str(tokens.id_token, "h.p.s");
    assert_int_equal(tokens.expires, NOW + 7200);
    assert_int_equal(tokens.refresh_expires, 0);
    assert_int_equal(tokens.unkept, 0);

    assert_int_equal(judge(201, "{\"access_token\":\"t\","
                                "\"token_type\":\"BEARER\","
                                "\"refresh_token\":null,\"scope\":null,"
                                "\"error\":null,\"expires_in\":null}"),
                     TI_RESULT_OK);

    assert_str(tokens.access_token, "t");
    assert_int_equal(tokens.refresh_token.len, 0);
    assert_int_equal(tokens.scope.len, 0);
    assert_int_equal(tokens.id_token.len, 0);
    assert_int_equal(tokens.expires, NOW + 3600);
}


static void
life_is(const char *expires_in, int64_t life)
{
    char  body[200];

    (void) snprintf(body, sizeof(body), "{\"access_token\":\"t\","
                    "\"token_type\":\"Bearer\",\"expires_in\":%s}",
                    expires_in);

    assert_int_equal(judge(200, body), TI_RESULT_OK);

    if (tokens.expires != NOW + life) {
        fail_msg("%s: %lld", expires_in, (long long) (tokens.expires - NOW));
    }
}


static void
believes_a_life_within_reason(void **state)
{
    life_is("1", 1);
    life_is("3599", 3599);
    life_is("\"3599\"", 3599);
    life_is("315360000", TI_OAUTH_LIFE_MAX);
    life_is("315360001", TI_OAUTH_LIFE_MAX);
    life_is("9223372036854775807", TI_OAUTH_LIFE_MAX);
    life_is("\"9223372036854775807\"", TI_OAUTH_LIFE_MAX);

    life_is("0", 3600);
    life_is("-1", 3600);
    life_is("-9223372036854775808", 3600);
    life_is("3599.5", 3600);
    life_is("1e9", 3600);
    life_is("\"9223372036854775808\"", 3600);
    life_is("\"-5\"", 3600);
    life_is("\"0x10\"", 3600);
    life_is("\"\"", 3600);
    life_is("true", 3600);
    life_is("[60]", 3600);
}


static void
knows_the_refresh_tokens_life(void **state)
{
#define GRANTED                                                               \
    "{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"refresh_token\":\"r\""

    assert_int_equal(judge(200, GRANTED ",\"refresh_expires_in\":1800}"),
                     TI_RESULT_OK);
    assert_int_equal(tokens.refresh_expires, NOW + 1800);

    assert_int_equal(judge(200, GRANTED ",\"refresh_token_expires_in\":"
                                "\"15811200\"}"), TI_RESULT_OK);
    assert_int_equal(tokens.refresh_expires, NOW + 15811200);

    assert_int_equal(judge(200, GRANTED ",\"refresh_expires_in\":0}"),
                     TI_RESULT_OK);
    assert_int_equal(tokens.refresh_expires, 0);

    assert_int_equal(judge(200, "{\"access_token\":\"t\",\"token_type\":"
                                "\"Bearer\",\"refresh_expires_in\":1800}"),
                     TI_RESULT_OK);
    assert_int_equal(tokens.refresh_expires, 0);
}


static void
refresh_token_is(const char *json, const char *kept, unsigned unkept)
{
    char  body[200];

    (void) snprintf(body, sizeof(body), "{\"access_token\":\"t\","
                    "\"token_type\":\"Bearer\",\"refresh_token\":%s}", json);

    assert_int_equal(judge(200, body), TI_RESULT_OK);
    assert_str(tokens.refresh_token, kept);
    assert_int_equal(tokens.unkept, unkept);
}


static void
keeps_what_a_record_may_hold(void **state)
{
    refresh_token_is("\"1//0g-a.b_c~d+e=\"", "1//0g-a.b_c~d+e=", 0);
    refresh_token_is("\"\"", "", 0);
    refresh_token_is("7", "", 0);

    refresh_token_is("\"M.C5_BAY.-C!x*y$\"", "", 1);
    refresh_token_is("\"a\\r\\nb\"", "", 1);
    refresh_token_is("\"a b\"", "", 1);
}


static void
scopes_are_text(void **state)
{
    char  body[TI_OAUTH_SCOPE_MAX + 200];
    int   n;

    assert_int_equal(judge(200, "{\"access_token\":\"t\",\"token_type\":"
                                "\"Bearer\",\"scope\":\"repo,gist\"}"),
                     TI_RESULT_OK);
    assert_str(tokens.scope, "repo,gist");

    assert_int_equal(judge(200, "{\"access_token\":\"t\",\"token_type\":"
                                "\"Bearer\",\"scope\":\"a\\nb\"}"),
                     TI_RESULT_OK);
    assert_int_equal(tokens.scope.len, 0);

    n = snprintf(body, sizeof(body), "{\"access_token\":\"t\",\"token_type\":"
                 "\"Bearer\",\"scope\":\"");
    memset(body + n, 's', TI_OAUTH_SCOPE_MAX);
    memcpy(body + n + TI_OAUTH_SCOPE_MAX, "\"}", 3);
    assert_int_equal(judge(200, body), TI_RESULT_OK);
    assert_int_equal(tokens.scope.len, TI_OAUTH_SCOPE_MAX);

    memcpy(body + n + TI_OAUTH_SCOPE_MAX, "s\"}", 4);
    assert_int_equal(judge(200, body), TI_RESULT_OK);
    assert_int_equal(tokens.scope.len, 0);
}


static void
refuses_what_is_no_token(void **state)
{
    size_t  i;

    static const char *const  lies[] = {
        "",
        "<!doctype html><title>Sign in</title>",
        "[]",
        "null",
        "{}",
        "{\"token_type\":\"Bearer\",\"expires_in\":3600}",
        "{\"access_token\":\"\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":null,\"token_type\":\"Bearer\"}",
        "{\"access_token\":1,\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"t\"}",
        "{\"access_token\":\"t\",\"token_type\":\"mac\"}",
        "{\"access_token\":\"t\",\"token_type\":\"DPoP\"}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer \"}",
        "{\"access_token\":\"t\",\"token_type\":[\"Bearer\"]}",
        "{\"access_token\":\"a\\r\\nX: y\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"a b\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"t\\u00fc\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"a\",\"access_token\":\"b\","
            "\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\"} {}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\"",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\","
            "\"expires_in\":99999999999999999999}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\","
            "\"expires_in\":1e999}",
        "{\"access_token\":\"t\",\"token_type\":\"Bearer\",\"error\":{}}",
        "access_token=t&token_type=bearer"
    };

    for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        if (judge(200, lies[i]) != LATER) {
            fail_msg("taken: %s", lies[i]);
        }

        assert_int_equal(tokens.access_token.len, 0);
    }
}


static void
bounds_what_it_reads(void **state)
{
    char    *body;
    int      n;
    size_t   len;

    body = malloc(TI_OAUTH_REPLY_MAX + 2);
    assert_non_null(body);

    n = sprintf(body, "{\"token_type\":\"Bearer\",\"access_token\":\"");
    memset(body + n, 't', TI_OAUTH_TOKEN_MAX);
    len = (size_t) n + TI_OAUTH_TOKEN_MAX;
    memcpy(body + len, "\"}", 3);
    assert_int_equal(judge(200, body), TI_RESULT_OK);
    assert_int_equal(tokens.access_token.len, TI_OAUTH_TOKEN_MAX);

    memcpy(body + len, "t\"}", 4);
    assert_int_equal(judge(200, body), LATER);

    n = sprintf(body, "{\"token_type\":\"Bearer\",\"access_token\":\"t\"}");
    memset(body + n, ' ', TI_OAUTH_REPLY_MAX + 1 - (size_t) n);
    assert_int_equal(judge_as(TI_OAUTH_CODE, 200,
                              ti_str_from(body, TI_OAUTH_REPLY_MAX), ""),
                     TI_RESULT_OK);
    assert_int_equal(judge_as(TI_OAUTH_CODE, 200,
                              ti_str_from(body, TI_OAUTH_REPLY_MAX + 1), ""),
                     LATER);

    free(body);
}


static void
goes_by_the_errors_name(void **state)
{
    char    body[200];
    size_t  i;

    static const struct {
        const char   *error;
        ti_result_t   user;
        ti_result_t   app;
        int           known;
    } cases[] = {
        { "invalid_grant", AGAIN, OPERATOR, 1 },
        { "interaction_required", AGAIN, OPERATOR, 1 },
        { "account_selection_required", AGAIN, OPERATOR, 1 },
        { "login_required", AGAIN, OPERATOR, 1 },
        { "consent_required", AGAIN, ADMIN, 1 },
        { "access_denied", AGAIN, OPERATOR, 1 },
        { "invalid_client", OPERATOR, OPERATOR, 1 },
        { "unauthorized_client", OPERATOR, OPERATOR, 1 },
        { "invalid_scope", OPERATOR, OPERATOR, 1 },
        { "invalid_target", OPERATOR, OPERATOR, 1 },
        { "unsupported_grant_type", OPERATOR, OPERATOR, 1 },
        { "invalid_request", OPERATOR, OPERATOR, 1 },
        { "admin_policy_enforced", ADMIN, ADMIN, 1 },
        { "temporarily_unavailable", LATER, LATER, 1 },
        { "server_error", LATER, LATER, 1 },
        { "slow_down", SLOWER, SLOWER, 1 },
        { "INVALID_GRANT", LATER, LATER, 0 },
        { "something_else", LATER, LATER, 0 },
        { "", LATER, LATER, 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(body, sizeof(body), "{\"error\":\"%s\","
                        "\"error_codes\":[65001],\"error_description\":"
                        "\"AADSTS90094: see your administrator\","
                        "\"access_token\":\"t\",\"token_type\":\"Bearer\"}",
                        cases[i].error);

        assert_int_equal(judge_as(TI_OAUTH_EXCHANGE, 400, ti_str_cstr(body),
                                  ""), cases[i].user);
        assert_int_equal(judge_as(TI_OAUTH_JWT_BEARER, 400, ti_str_cstr(body),
                                  ""), cases[i].user);
        assert_int_equal(judge(400, body), cases[i].user);
        assert_int_equal(judge(200, body), cases[i].user);
        assert_int_equal(failure.permanent, cases[i].user == AGAIN);
        assert_str(failure.error, cases[i].known ? cases[i].error : "");
        assert_int_equal(judge_as(TI_OAUTH_REFRESH, 401, ti_str_cstr(body),
                                  ""), cases[i].user);
        assert_int_equal(judge_as(TI_OAUTH_CLIENT_CREDENTIALS, 400,
                                  ti_str_cstr(body), ""), cases[i].app);

        assert_int_equal(failure.permanent, 0);
        assert_str(failure.error, cases[i].known ? cases[i].error : "");
        assert_int_equal(failure.bad_client,
                         strcmp(cases[i].error, "invalid_client") == 0);

        /* nothing is given up while the provider is not itself */
        assert_int_equal(judge(500, body), LATER);
        assert_int_equal(failure.permanent, 0);
        assert_int_equal(judge(503, body), LATER);
        assert_int_equal(judge(429, body), SLOWER);
        assert_int_equal(failure.permanent, 0);
        assert_int_equal(tokens.access_token.len, 0);
    }
}


/* What an exchange gives beside its token is not for keeping. */

static void
takes_tokens_of_an_exchange(void **state)
{
    size_t    i;
    ti_str_t  body;

    static const ti_oauth_grant_t  grants[] = {
        TI_OAUTH_EXCHANGE, TI_OAUTH_JWT_BEARER
    };

    body = ti_str("{\"access_token\":\"t\",\"token_type\":\"Bearer\","
                  "\"issued_token_type\":[7],\"expires_in\":60,"
                  "\"refresh_token\":\"not\\nkept\","
                  "\"refresh_token_expires_in\":600}");

    for (i = 0; i < 2; i++) {
        assert_int_equal(judge_as(grants[i], 200, body, ""), TI_RESULT_OK);
        assert_str(tokens.access_token, "t");
        assert_int_equal(tokens.expires, NOW + 60);
        assert_int_equal(tokens.refresh_token.len, 0);
        assert_int_equal(tokens.refresh_expires, 0);
        assert_int_equal(tokens.unkept, 0);

        /* RFC 8693 section 2.2.1: it is no access token then */

        assert_int_equal(judge_as(grants[i], 200,
                                  ti_str("{\"access_token\":\"t\","
                                         "\"token_type\":\"N_A\"}"), ""),
                         LATER);
    }

    assert_int_equal(judge_as(TI_OAUTH_REFRESH, 200, body, ""), TI_RESULT_OK);
    assert_int_equal(tokens.unkept, 1);
}


static void
hears_what_else_is_asked_for(void **state)
{
    char    body[5000];
    size_t  i;

    static const char  claims[] =
        "{\\\"access_token\\\":{\\\"capolids\\\":"
        "{\\\"essential\\\":true}}}";

    static const char *const  none[] = {
        "\"\"", "null", "7", "{\"a\":1}", "\"a\\nb\"", "\"\xc3\xa4\"",
        "\"\\u007f\""
    };

    (void) snprintf(body, sizeof(body), "{\"error\":\"interaction_required\","
                    "\"claims\":\"%s\"}", claims);
    assert_int_equal(judge(400, body), AGAIN);
    assert_str(failure.claims,
               "{\"access_token\":{\"capolids\":{\"essential\":true}}}");

    for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        (void) snprintf(body, sizeof(body), "{\"error\":\"invalid_grant\","
                        "\"claims\":%s}", none[i]);
        assert_int_equal(judge(400, body), AGAIN);
        assert_int_equal(failure.claims.len, 0);
    }

    for (i = TI_OAUTH_CLAIMS_MAX; i <= TI_OAUTH_CLAIMS_MAX + 1; i++) {
        (void) snprintf(body, sizeof(body), "{\"error\":\"invalid_grant\","
                        "\"claims\":\"%0*d\"}", (int) i, 0);
        assert_int_equal(judge(400, body), AGAIN);
        assert_int_equal(failure.claims.len,
                         i > TI_OAUTH_CLAIMS_MAX ? 0 : i);
    }

    (void) snprintf(body, sizeof(body), "{\"error\":\"interaction_required\","
                    "\"claims\":\"%s\"}", claims);
    unit.left = 0;
    assert_int_equal(judge(400, body), TI_RESULT_INTERNAL_ERROR);
    unit.left = SIZE_MAX;
}


static void
gives_nothing_up_on_doubt(void **state)
{
    assert_int_equal(judge(400, ""), LATER);
    assert_int_equal(judge(401, "Unauthorized"), LATER);
    assert_int_equal(judge(403, "{}"), LATER);
    assert_int_equal(judge(404, "<html>"), LATER);
    assert_int_equal(judge(302, "{\"access_token\":\"t\","
                                "\"token_type\":\"Bearer\"}"), LATER);
    assert_int_equal(judge(400, "{\"error\":\"invalid_grant\","
                                "\"error\":\"server_error\"}"), LATER);
    assert_int_equal(judge(400, "{\"error\":{\"code\":\"invalid_grant\"}}"),
                     LATER);
    assert_int_equal(judge(0, ""), LATER);
}


static void
hears_when_to_come_again(void **state)
{
    assert_int_equal(judge_as(TI_OAUTH_CODE, 429, ti_null_str, "17"), SLOWER);
    assert_int_equal(failure.retry_after, 17);

    assert_int_equal(judge_as(TI_OAUTH_CODE, 503, ti_str("down"),
                              "Sat, 21 Nov 2026 18:41:30 GMT"), LATER);
    assert_int_equal(failure.retry_after, 90);

    assert_int_equal(judge_as(TI_OAUTH_CODE, 400,
                              ti_str("{\"error\":\"slow_down\"}"), "5"),
                     SLOWER);
    assert_int_equal(failure.retry_after, 5);

    assert_int_equal(judge_as(TI_OAUTH_CODE, 429, ti_null_str, "99999999"),
                     SLOWER);
    assert_int_equal(failure.retry_after, TI_OAUTH_RETRY_MAX);

    assert_int_equal(judge(429, ""), SLOWER);
    assert_int_equal(failure.retry_after, 0);
}


static ti_result_t
revoked(unsigned status, const char *body)
{
    ti_oauth_reply_t  reply;

    reply.status = status;
    reply.body = ti_str_cstr(body);
    reply.retry_after = ti_null_str;

    return ti_oauth_revocation_reply(&reply, NOW, &failure);
}


static void
reads_replies_to_revocations(void **state)
{
    assert_int_equal(revoked(200, ""), TI_RESULT_OK);
    assert_int_equal(revoked(200, "<html>"), TI_RESULT_OK);
    assert_int_equal(revoked(204, ""), TI_RESULT_OK);
    assert_int_equal(revoked(302, ""), LATER);
    assert_int_equal(revoked(503, ""), LATER);
    assert_int_equal(revoked(429, ""), SLOWER);
    assert_int_equal(revoked(400, "{\"error\":\"invalid_client\"}"), OPERATOR);
    assert_int_equal(failure.bad_client, 1);
    assert_int_equal(revoked(400, "{\"error\":\"unsupported_token_type\"}"),
                     LATER);
}


static void
says_when_memory_ends(void **state)
{
    size_t  left;

    for (left = 0; left < 4; left++) {
        unit.left = left;
        assert_int_equal(judge(200, "{\"access_token\":\"t\",\"token_type\":"
                                    "\"Bearer\",\"refresh_token\":\"r\","
                                    "\"scope\":\"s\",\"id_token\":\"i\"}"),
                         TI_RESULT_INTERNAL_ERROR);
    }
}


#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(takes_tokens),
        test(believes_a_life_within_reason),
        test(knows_the_refresh_tokens_life),
        test(keeps_what_a_record_may_hold),
        test(scopes_are_text),
        test(refuses_what_is_no_token),
        test(bounds_what_it_reads),
        test(goes_by_the_errors_name),
        test(takes_tokens_of_an_exchange),
        test(hears_what_else_is_asked_for),
        test(gives_nothing_up_on_doubt),
        test(hears_when_to_come_again),
        test(reads_replies_to_revocations),
        test(says_when_memory_ends)
    };

    return cmocka_run_group_tests_name("ti_oauth_reply", tests, NULL, NULL);
}
