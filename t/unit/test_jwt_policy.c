/*
 * What an operator may ask of a token on top: its type, its age, whom it was
 * issued to, claims that must be there; and what none may have.  And when a
 * refusal says that the issuer's keys may be newer than ours.
 */

#include "jwt_policy.h"


#define CASES(array)  (sizeof(array) / sizeof((array)[0]))


/* A with something more that is asked, for one test */

static int
as_it_was(void **state)
{
    (void) state;

    issuer_a.typ = NULL;
    issuer_a.ntyp = 0;
    issuer_a.azp = NULL;
    issuer_a.nazp = 0;
    issuer_a.required = NULL;
    issuer_a.nrequired = 0;
    issuer_a.max_age = 0;
    issuer_a.leeway = 0;
    issuer_a.keys = keys_a;
    issuer_a.nkeys = 1;

    return 0;
}


/* ",NAME:VALUE" behind A's claims, signed; "" for nothing */

static char *
and_also(const char *members)
{
    return signed_claims(jm_printf("{" BODY "%s}", members));
}


static char *
of_typ(const char *typ)
{
    return jm_jws(&mac, "HS256",
                  jm_printf("{\"alg\":\"HS256\",\"kid\":\"mac\"%s%s}",
                            typ == NULL ? "" : ",\"typ\":",
                            typ == NULL ? "" : typ), CLAIMS);
}


static void
test_typ(void **state)
{
    size_t  i;

    static const struct {
        const char  *typ;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { "\"at+jwt\"", NULL },
        { "\"AT+JWT\"", NULL },
        { "\"application/at+jwt\"", NULL },
        { "\"Application/At+Jwt\"", NULL },
        { "\"JWT\"", NULL },
        { "\"application/jwt\"", NULL },
        { "\"text/x\"", NULL },
        { "\"TEXT/X\"", NULL },
        { "\"application/a/b\"", NULL },
        { "\"\"", "typ is none of the issuer's types" },
        { "\"at+jw\"", "typ is none of the issuer's types" },
        { "\"at+jwt \"", "typ is none of the issuer's types" },
        { "\"at+jwtx\"", "typ is none of the issuer's types" },
        { "\"application\"", "typ is none of the issuer's types" },
        { "\"application/\"", "typ is none of the issuer's types" },
        { "\"application//jwt\"", "typ is none of the issuer's types" },
        { "\"application/application/jwt\"",
          "typ is none of the issuer's types" },
        { "\"applications/jwt\"", "typ is none of the issuer's types" },
        { "\"application.jwt\"", "typ is none of the issuer's types" },
        { "\"/jwt\"", "typ is none of the issuer's types" },
        { "\"x/jwt\"", "typ is none of the issuer's types" },
        { "\"x\"", "typ is none of the issuer's types" },
        { "\"application/text/x\"", "typ is none of the issuer's types" },
        { "\"a/b\"", "typ is none of the issuer's types" },
        { "\"id+jwt\"", "typ is none of the issuer's types" },
        { NULL, "typ is absent or not a string" },
        { "null", "typ is absent or not a string" },
        { "true", "typ is absent or not a string" },
        { "7", "typ is absent or not a string" },
        { "[\"at+jwt\"]", "typ is absent or not a string" },
        { "{\"at+jwt\":1}", "typ is absent or not a string" }
    };

    static const ti_str_t  typ[] = {
        ti_string("application/at+jwt"), ti_string("jwt"), ti_string("text/x"),
        ti_string("application/a/b"), ti_string("")
    };

    (void) state;

    for (i = 0; i < CASES(cases); i++) {
        accepted(of_typ(cases[i].typ));
    }

    issuer_a.typ = typ;
    issuer_a.ntyp = 4;

    for (i = 0; i < CASES(cases); i++) {
        verdict(of_typ(cases[i].typ), cases[i].why);
    }

    /* each on its own */

    issuer_a.ntyp = 1;
    accepted(of_typ("\"at+jwt\""));
    refused(of_typ("\"JWT\""), "typ is none of the issuer's types");

    issuer_a.typ = &typ[2];
    accepted(of_typ("\"text/x\""));
    refused(of_typ("\"application/at+jwt\""),
            "typ is none of the issuer's types");

    /* a prefix of nothing is none */

    issuer_a.typ = &typ[4];
    accepted(of_typ("\"\""));
    refused(of_typ("\"application/\""), "typ is none of the issuer's types");
}


/* iat and max_age without a leeway and with; whatever is over first counts. */

static void
test_max_age(void **state)
{
    size_t    i;
    ti_jwt_t  jwt;

    static const struct {
        int64_t      max_age;
        int64_t      leeway;
        int64_t      iat;
        int64_t      exp;
        int64_t      expires;               /* as it is judged */
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { 300, 0, NOW, NOW + 600, NOW + 300, NULL },
        { 300, 0, NOW - 299, NOW + 600, NOW + 1, NULL },
        { 300, 0, NOW - 300, NOW + 600, 0, "token is older than allowed" },
        { 300, 0, 0, NOW + 600, 0, "token is older than allowed" },
        { 300, 60, NOW - 359, NOW + 600, NOW + 1, NULL },
        { 300, 60, NOW - 360, NOW + 600, 0, "token is older than allowed" },
        { 300, 60, NOW + 60, NOW + 600, NOW + 420, NULL },
        { 300, 0, NOW - 1, NOW + 1, NOW + 1, NULL },
        { 300, 0, NOW - 300, NOW, 0, "token expired" },
        { 300, 0, NOW - 301, NOW, 0, "token is older than allowed" },
        { 300, 0, NOW - 1, NOW - 2, 0, "token expired" },
        { 300, 0, NOW, NOW + 300, NOW + 300, NULL },
        { 1, 0, NOW, INT64_MAX, NOW + 1, NULL },
        { 1, 0, NOW - 1, INT64_MAX, 0, "token is older than allowed" },
        { INT64_MAX, 0, NOW, NOW + 600, NOW + 600, NULL },
        { INT64_MAX, 60, NOW, INT64_MAX, INT64_MAX, NULL },
        { INT64_MAX, 60, NOW, INT64_MAX - 60, INT64_MAX, NULL },
        { INT64_MAX, 60, NOW, INT64_MAX - 61, INT64_MAX - 1, NULL },
        { INT64_MAX - NOW, 60, NOW, INT64_MAX, INT64_MAX, NULL },
        { INT64_MAX - NOW - 61, 60, NOW, INT64_MAX, INT64_MAX - 1, NULL },
        { 0, 0, 0, NOW + 600, NOW + 600, NULL }
    };

    (void) state;

    for (i = 0; i < CASES(cases); i++) {
        issuer_a.max_age = cases[i].max_age;
        issuer_a.leeway = cases[i].leeway;

        memset(&jwt, 0, sizeof(jwt));

        if (judge_into(signed_claims(jm_printf("{\"iss\":\"https://a.example/"
                                               "\",\"aud\":\"api://a\",\"sub\""
                                               ":\"alice\",\"exp\":%lld,"
                                               "\"iat\":%lld}",
                                               (long long) cases[i].exp,
                                               (long long) cases[i].iat)),
                       &jwt)
            != (cases[i].why == NULL ? TI_RESULT_OK : TI_RESULT_TOKEN_EXPIRED))
        {
            fail_msg("case %zu: %s", i, last_why);
        }

        if (cases[i].why != NULL) {
            assert_string_equal(last_why, cases[i].why);
            continue;
        }

        assert_true(jwt.expires == cases[i].expires);
        ti_jwt_clear(&jwt);
        assert_int_equal(jwt.expires, 0);
    }
}


static void
test_max_age_needs_iat(void **state)
{
    size_t  i;

    static const char *const  bad[] = {
        "null", "true", "\"1700000000\"", "1700000000.0", "17e8", "-1",
        "[1700000000]", "{}"
    };

    (void) state;

    issuer_a.max_age = 1;

    refused(and_also(""), "iat is absent or not a non-negative integer");

    for (i = 0; i < CASES(bad); i++) {
        refused(and_also(jm_printf(",\"iat\":%s", bad[i])),
                "iat is absent or not a non-negative integer");
    }

    refused(and_also(",\"iat\":1700000001"), "token was issued in the future");
    refused(and_also(",\"iat\":9223372036854775807"),
            "token was issued in the future");
    accepted(and_also(",\"iat\":1700000000"));
}


static void
test_azp(void **state)
{
    size_t  i;

    static const struct {
        const char  *members;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { ",\"azp\":\"web\"", NULL },
        { ",\"azp\":\"app\"", NULL },
        { ",\"client_id\":\"web\"", NULL },
        { ",\"client_id\":\"app\"", NULL },
        { ",\"azp\":\"web\",\"client_id\":\"web\"", NULL },
        { ",\"azp\":\"web\",\"client_id\":\"app\"", NULL },
        { ",\"azp\":\"w\\u0065b\"", NULL },
        { "", "neither azp nor client_id" },
        { ",\"AZP\":\"web\",\"clientid\":\"web\"",
          "neither azp nor client_id" },
        { ",\"azp\":\"x\"", "token was issued to another party" },
        { ",\"azp\":\"\"", "token was issued to another party" },
        { ",\"azp\":\"Web\"", "token was issued to another party" },
        { ",\"azp\":\"web \"", "token was issued to another party" },
        { ",\"azp\":\"we\"", "token was issued to another party" },
        { ",\"azp\":\"web app\"", "token was issued to another party" },
        { ",\"client_id\":\"x\"", "token was issued to another party" },
        { ",\"azp\":\"x\",\"client_id\":\"web\"",
          "token was issued to another party" },
        { ",\"azp\":\"web\",\"client_id\":\"x\"",
          "token was issued to another party" },
        { ",\"azp\":null", "token was issued to another party" },
        { ",\"azp\":null,\"client_id\":\"web\"",
          "token was issued to another party" },
        { ",\"azp\":\"web\",\"client_id\":null",
          "token was issued to another party" },
        { ",\"azp\":[\"web\"]", "token was issued to another party" },
        { ",\"client_id\":{\"web\":1}", "token was issued to another party" },
        { ",\"azp\":1", "token was issued to another party" },
        { ",\"client_id\":true", "token was issued to another party" }
    };

    static const ti_str_t  azp[] = { ti_string("web"), ti_string("app") };

    (void) state;

    for (i = 0; i < CASES(cases); i++) {
        accepted(and_also(cases[i].members));
    }

    issuer_a.azp = azp;
    issuer_a.nazp = 2;

    for (i = 0; i < CASES(cases); i++) {
        verdict(and_also(cases[i].members), cases[i].why);
    }

    refused(and_also(",\"azp\":\"web\\u0000\""), "not JSON");
    refused(and_also(",\"azp\":\"x\",\"azp\":\"web\""),
            "JSON with a duplicate member");

    issuer_a.nazp = 1;
    accepted(and_also(",\"azp\":\"web\""));
    refused(and_also(",\"azp\":\"app\""), "token was issued to another party");
}


static void
test_required(void **state)
{
    size_t          i;
    ti_json_path_t  required[2];

    static const struct {
        const char  *members;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { ",\"x\":\"a\",\"o\":{\"y\":[0]}", NULL },
        { ",\"x\":0,\"o\":{\"y\":[null]}", NULL },
        { ",\"x\":false,\"o\":{\"y\":[\"\"]}", NULL },
        { ",\"x\":0.0,\"o\":{\"y\":[[]]}", NULL },
        { ",\"x\":\" \",\"o\":{\"y\":[{}]}", NULL },
        { ",\"x\":{\"a\":null},\"o\":{\"y\":true}", NULL },
        { "", "a required claim is absent or empty" },
        { ",\"x\":\"a\"", "a required claim is absent or empty" },
        { ",\"o\":{\"y\":1}", "a required claim is absent or empty" },
        { ",\"x\":\"a\",\"o\":{\"z\":1}",
          "a required claim is absent or empty" },
        { ",\"x\":\"a\",\"o\":\"y\"", "a required claim is absent or empty" },
        { ",\"x\":\"a\",\"/o/y\":1", "a required claim is absent or empty" },
        { ",\"x\":null,\"o\":{\"y\":1}",
          "a required claim is absent or empty" },
        { ",\"x\":\"\",\"o\":{\"y\":1}",
          "a required claim is absent or empty" },
        { ",\"x\":[],\"o\":{\"y\":1}", "a required claim is absent or empty" },
        { ",\"x\":{},\"o\":{\"y\":1}", "a required claim is absent or empty" },
        { ",\"x\":1,\"o\":{\"y\":null}",
          "a required claim is absent or empty" },
        { ",\"X\":1,\"o\":{\"y\":1}", "a required claim is absent or empty" }
    };

    (void) state;

    for (i = 0; i < CASES(cases); i++) {
        accepted(and_also(cases[i].members));
    }

    assert_int_equal(ti_json_path_compile(&pool, ti_str("x"), &required[0]),
                     TI_OK);
    assert_int_equal(ti_json_path_compile(&pool, ti_str("/o/y"), &required[1]),
                     TI_OK);

    issuer_a.required = required;
    issuer_a.nrequired = 2;

    for (i = 0; i < CASES(cases); i++) {
        verdict(and_also(cases[i].members), cases[i].why);
    }
}


/* RFC 7800: of whatever form, and whatever else is asked or not. */

static void
test_cnf(void **state)
{
    size_t  i;

    static const char *const  cnf[] = {
        "{\"jkt\":\"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I\"}",
        "{\"x5t#S256\":\"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2\"}",
        "{\"jwk\":{\"kty\":\"EC\"}}", "{}", "[]", "\"\"", "null", "false", "0"
    };

    (void) state;

    for (i = 0; i < CASES(cnf); i++) {
        refused(and_also(jm_printf(",\"cnf\":%s", cnf[i])),
                "token has \"cnf\": proof of possession is not supported");
        assert_int_equal(last_newer, 0);
    }

    accepted(and_also(",\"CNF\":{},\"cnf2\":1,\"x\":{\"cnf\":{}}"));

    /* one that is over or not for us is no better */

    refused(signed_claims("{\"iss\":\"https://a.example/\",\"exp\":1,"
                          "\"cnf\":{}}"),
            "token has \"cnf\": proof of possession is not supported");

    /* said by whom it says, first */

    refused(changed(and_also(",\"cnf\":{}"), 20), "signature does not verify");
}


static void
newer_is(int newer, size_t issuer, const char *token, const char *why)
{
    verdict_is(token, strcmp(why, "the issuer has no usable key") == 0
                      ? TI_RESULT_KEYS_UNAVAILABLE : TI_RESULT_TOKEN_INVALID,
               why);

    if (last_newer != newer || last_issuer != issuer) {
        fail_msg("newer %d, issuer %zu: %s: %.200s", last_newer, last_issuer,
                 why, token);
    }
}


static void
test_newer(void **state)
{
    jm_key_t  own;

    (void) state;

    own = jm_ed25519();

    /* C's issuer is third: its set has two keys for RS256, ES384 */

    newer_is(1, 2, jm_jws(&rsa, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"new\"}", CLAIMS_C),
             "no key has this kid");
    newer_is(0, 2, jm_jws(&rsa_b, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"rsa\"}", CLAIMS_C),
             "signature does not verify");
    newer_is(0, 2, jm_jws(&rsa, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"p256\"}", CLAIMS_C),
             "the key with this kid does not serve this alg");
    newer_is(0, 2, jm_jws(&p384, "ES384",
                          "{\"alg\":\"ES384\",\"kid\":\"twin\"}", CLAIMS_C),
             "more than one key has this kid");
    newer_is(0, 2, jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\"}", CLAIMS_C),
             "no kid, and more than one key serves this alg");

    /* without a kid the only key that fits may be the one before */

    newer_is(1, 2, jm_jws(&p384, "ES256", "{\"alg\":\"ES256\"}", CLAIMS_C),
             "signature does not verify");
    newer_is(1, 1, jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\"}",
                          claims_b("api://b", NOW + 600)),
             "signature does not verify");

    /* nobody asks for what would not be allowed anyway */

    newer_is(0, 1, jm_jws(&own, "EdDSA", "{\"alg\":\"EdDSA\"}",
                          claims_b("api://b", NOW + 600)),
             "alg is not allowed");
    newer_is(0, 2, jm_jws(&mac, "HS256",
                          "{\"alg\":\"HS256\",\"kid\":\"new\"}", CLAIMS_C),
             "alg is not allowed");
    newer_is(0, 0, jm_jws(&rsa, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"new\"}",
                          "{\"iss\":\"https://evil.example/\"}"),
             "issuer is not trusted here");
    newer_is(0, 0, jm_jws(&rsa, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"new\"}", "{}"),
             "iss is absent, empty or not a string");
    newer_is(0, 0, "a.b.c", "header is not canonical base64url");

    /* D's has no key */

    newer_is(1, 3, jm_jws(&rsa, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"rsa\"}",
                          "{\"iss\":\"https://d.example/\"}"),
             "the issuer has no usable key");

    /* and claims are no matter of keys */

    newer_is(0, 1, signed_by_b("api://a", NOW + 600),
             "aud names none of the issuer's audiences");
}


static void
test_newer_types(void **state)
{
    static const ti_str_t  typ = ti_string("at+jwt");

    (void) state;

    issuer_a.typ = &typ;
    issuer_a.ntyp = 1;

    /* of another type, with a kid that nobody has: nobody is asked */

    newer_is(0, 0, jm_jws(&rsa, "RS256",
                          "{\"alg\":\"RS256\",\"kid\":\"new\"}", CLAIMS),
             "typ is absent or not a string");
    newer_is(1, 0, jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"new\","
                          "\"typ\":\"at+jwt\"}", CLAIMS),
             "no key has this kid");
}


/* Sets that are not there yet are no set. */

static void
test_absent_sets(void **state)
{
    char             *token;
    const ti_jwks_t  *sets[3];

    (void) state;

    token = signed_claims(CLAIMS);

    sets[0] = NULL;
    sets[1] = set_a;
    sets[2] = NULL;
    issuer_a.keys = sets;

    issuer_a.nkeys = 3;
    accepted(token);

    issuer_a.nkeys = 1;
    newer_is(1, 0, token, "the issuer has no usable key");

    issuer_a.nkeys = 0;
    newer_is(1, 0, token, "the issuer has no usable key");

    /* another set is there, this one's key is to come */

    sets[1] = set_b;
    issuer_a.nkeys = 3;
    newer_is(1, 0, token, "no key has this kid");

    sets[1] = set_d;
    newer_is(1, 0, token, "the issuer has no usable key");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_teardown(test_typ, as_it_was),
        cmocka_unit_test_teardown(test_max_age, as_it_was),
        cmocka_unit_test_teardown(test_max_age_needs_iat, as_it_was),
        cmocka_unit_test_teardown(test_azp, as_it_was),
        cmocka_unit_test_teardown(test_required, as_it_was),
        cmocka_unit_test_teardown(test_cnf, as_it_was),
        cmocka_unit_test_teardown(test_newer, as_it_was),
        cmocka_unit_test_teardown(test_newer_types, as_it_was),
        cmocka_unit_test_teardown(test_absent_sets, as_it_was)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
