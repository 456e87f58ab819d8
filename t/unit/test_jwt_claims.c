/*
 * What a signed token must say: times, audience, names, and to whom.
 */

#include "jwt_policy.h"


static void
test_exp(void **state)
{
    size_t  i;

    static const char *const  bad[] = {
        NULL, "null", "true", "\"1700000600\"", "1700000600.5", "1700000600.0",
        "17000006e2", "1e300", "-1", "-1700000600", "[]", "[1700000600]", "{}",
        "\"\""
    };
    static const char *const  no_number[] = {
        "99999999999999999999", "1e999", "01700000600", "0x7fffffff", "+1",
        "Infinity", "NaN"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(signed_claims(with_exp(bad[i])),
                "exp is absent or not a non-negative integer");
    }

    for (i = 0; i < sizeof(no_number) / sizeof(no_number[0]); i++) {
        assert_int_equal(judge(signed_claims(with_exp(no_number[i]))),
                         TI_RESULT_TOKEN_INVALID);
    }

    expired(signed_claims(with_exp("0")));
    expired(signed_claims(with_exp("1699999999")));
    accepted(signed_claims(with_exp("9223372036854775807")));
}


/* To the second, with a leeway and without; A has none, B has LEEWAY_B. */

static void
test_edges(void **state)
{
    size_t  i;

    static const struct {
        const char  *claim;
        int64_t      shift;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { "nbf", 0, NULL },
        { "nbf", 1, "token is not valid yet" },
        { "iat", 0, NULL },
        { "iat", 1, "token was issued in the future" }
    };

    (void) state;

    accepted(signed_claims(with_exp("1700000001")));
    expired(signed_claims(with_exp("1700000000")));

    accepted(signed_by_b("api://b", NOW - LEEWAY_B + 1));
    expired(signed_by_b("api://b", NOW - LEEWAY_B));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        verdict(signed_claims(jm_printf("{" BODY ",\"%s\":%lld}",
                                        cases[i].claim,
                                        NOW + (long long) cases[i].shift)),
                cases[i].why);

        verdict(jm_jws(&rsa_b, "RS256", HEADER_B,
                       jm_printf("{" BODY_B ",\"exp\":%lld,\"%s\":%lld}",
                                 NOW + 600LL, cases[i].claim,
                                 NOW + LEEWAY_B + (long long) cases[i].shift)),
                cases[i].why);
    }

    /* sums that do not fit a time */

    accepted(jm_jws(&rsa_b, "RS256", HEADER_B,
                    "{" BODY_B ",\"exp\":9223372036854775807}"));
    refused(jm_jws(&rsa_b, "RS256", HEADER_B,
                   "{" BODY_B ",\"exp\":9223372036854775807,"
                   "\"nbf\":9223372036854775807}"), "token is not valid yet");
}


static void
test_begun_types(void **state)
{
    size_t  i;

    static const char *const  bad[] = {
        "null", "true", "\"1\"", "1.5", "1.0", "-1", "[]", "{}"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(signed_claims(jm_printf("{" BODY ",\"nbf\":%s}", bad[i])),
                "nbf is not a non-negative integer");
        refused(signed_claims(jm_printf("{" BODY ",\"iat\":%s}", bad[i])),
                "iat is not a non-negative integer");
    }

    accepted(signed_claims("{" BODY ",\"nbf\":0,\"iat\":0}"));
}


static void
test_iss(void **state)
{
    size_t  i;

    static const char *const  no_name[] = {
        NULL, "null", "1", "true", "\"\"", "[\"https://a.example/\"]", "{}"
    };
    static const char *const  strangers[] = {
        "https://a.example", "https://a.example//", "https://A.example/",
        "http://a.example/", " https://a.example/", "https://a.example/ ",
        "https://a.example/#", "a.example", "*", "https://evil.example/"
    };

    (void) state;

    for (i = 0; i < sizeof(no_name) / sizeof(no_name[0]); i++) {
        refused(signed_claims(with("iss", no_name[i])),
                "iss is absent, empty or not a string");
    }

    for (i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        refused(signed_claims(with("iss", jm_printf("\"%s\"", strangers[i]))),
                "issuer is not trusted here");
    }
}


static void
test_aud(void **state)
{
    size_t  i;

    static const struct {
        const char  *aud;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { "\"api://a\"", NULL },
        { "\"api://a2\"", NULL },
        { "[\"api://a\"]", NULL },
        { "[\"api://x\",\"api://a2\",\"\"]", NULL },
        { "\"api://A\"", "aud names none of the issuer's audiences" },
        { "\"api://a/\"", "aud names none of the issuer's audiences" },
        { "\"api://\"", "aud names none of the issuer's audiences" },
        { "\"api://a api://a2\"", "aud names none of the issuer's audiences" },
        { "\"\"", "aud names none of the issuer's audiences" },
        { "[]", "aud names none of the issuer's audiences" },
        { "[\"\"]", "aud names none of the issuer's audiences" },
        { "[\"api://b\"]", "aud names none of the issuer's audiences" },
        { "[\"api://a\",1]", "aud has an element that is not a string" },
        { "[null,\"api://a\"]", "aud has an element that is not a string" },
        { "[[\"api://a\"]]", "aud has an element that is not a string" },
        { NULL, "aud is absent or neither a string nor an array" },
        { "null", "aud is absent or neither a string nor an array" },
        { "1", "aud is absent or neither a string nor an array" },
        { "{\"api://a\":1}", "aud is absent or neither a string nor an array" }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        verdict(signed_claims(with("aud", cases[i].aud)), cases[i].why);
    }
}


static void
test_names(void **state)
{
    size_t  i;

    static const char *const  no_name[] = {
        NULL, "null", "true", "1.5", "\"\"", "[]", "[\"alice\"]",
        "{\"a\":\"alice\"}", "\"al\\nice\"", "\"alice\\u007f\"",
        "\"\\u0001\""
    };

    (void) state;

    for (i = 0; i < sizeof(no_name) / sizeof(no_name[0]); i++) {
        refused(signed_claims(with("sub", no_name[i])),
                "user claim is absent, empty or no name");

        refused(jm_jws(&rsa_b, "RS256", HEADER_B,
                       jm_printf("{\"iss\":\"https://b.example/\",\"aud\":"
                                 "\"api://b\",\"exp\":%lld,\"ids\":{\"u/r\":7}"
                                 "%s%s}", NOW + 600LL,
                                 no_name[i] == NULL ? "" : ",\"tid\":",
                                 no_name[i] == NULL ? "" : no_name[i])),
                "tenant claim is absent, empty or no name");
    }

    /* a name that is a number is written out, into the caller's memory */

    pool_is_empty = 1;
    assert_int_equal(judge(signed_by_b("api://b", NOW + 600)),
                     TI_RESULT_INTERNAL_ERROR);
    assert_string_equal(last_why, "no memory for the claims");
    pool_is_empty = 0;
    accepted(signed_by_b("api://b", NOW + 600));
}


static void
test_no_claims(void **state)
{
    size_t  i;

    static const char *const  payloads[] = {
        "", "null", "true", "7", "\"https://a.example/\"", "[]",
        "[{" BODY "}]", "{" BODY, "{" BODY "}}", "{" BODY "}\n{}",
        "{" BODY ",}", "{'iss':1}", "{" BODY ",\"x\":\"\xff\"}",
        "{" BODY ",\"x\":\"\\ud800\"}", "{" BODY ",\"x\":\"\\u0000\"}",
        "\xef\xbb\xbf{" BODY "}"
    };

    (void) state;

    for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        assert_int_equal(judge(signed_claims(payloads[i])),
                         TI_RESULT_TOKEN_INVALID);
    }

    refused(signed_claims("{}"), "iss is absent, empty or not a string");

    /* claims that nobody asked for */

    accepted(signed_claims("{" BODY ",\"azp\":7,\"client_id\":[],\"typ\":1,"
                           "\"email_verified\":false,\"x\":null}"));
}


/* Each issuer by its own rules: what is good for one is not for the other. */

static void
test_two_issuers(void **state)
{
    (void) state;

    accepted(signed_by_b("api://b", NOW + 600));
    refused(signed_by_b("api://a", NOW + 600),
            "aud names none of the issuer's audiences");

    /* B's leeway is not A's */

    accepted(signed_by_b("api://b", NOW - 1));
    expired(signed_claims(with_exp("1699999999")));

    /* B does not allow what A does, although it has the key */

    refused(jm_jws(&rsa_b, "PS256", "{\"alg\":\"PS256\",\"kid\":\"rsa\"}",
                   claims_b("api://b", NOW + 600)), "alg is not allowed");

    /* the same kid names another key there */

    refused(jm_jws(&rsa, "RS256", HEADER_B, claims_b("api://b", NOW + 600)),
            "signature does not verify");
    refused(jm_jws(&rsa_b, "RS256", HEADER_B, CLAIMS),
            "signature does not verify");

    /* and A's other keys are none of B's */

    refused(jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                   claims_b("api://b", NOW + 600)), "no key has this kid");
}


static void
test_subset_of_issuers(void **state)
{
    ti_jwt_t     jwt;
    const char  *why;

    (void) state;

    assert_int_equal(ti_jwt_verify(crypto, &pool, &issuers[1], 1,
                                   ti_str_cstr(signed_claims(CLAIMS)), NOW,
                                   &jwt, &why),
                     TI_RESULT_TOKEN_INVALID);
    assert_string_equal(why, "issuer is not trusted here");

    assert_int_equal(ti_jwt_verify(crypto, &pool, NULL, 0,
                                   ti_str_cstr(signed_claims(CLAIMS)), NOW,
                                   &jwt, &why),
                     TI_RESULT_TOKEN_INVALID);
    assert_string_equal(why, "issuer is not trusted here");

    assert_int_equal(ti_jwt_verify(crypto, &pool, &issuers[1], 1,
                                   ti_str_cstr(signed_by_b("api://b",
                                                           NOW + 600)),
                                   NOW, &jwt, &why),
                     TI_RESULT_OK);
    assert_int_equal(jwt.issuer, 0);
    ti_jwt_clear(&jwt);
}


static char *
from_d(const char *alg)
{
    return jm_jws(&rsa, "RS256",
                  jm_printf("{\"alg\":\"%s\",\"kid\":\"rsa\"}", alg),
                  "{\"iss\":\"https://d.example/\"}");
}


/* The first objection is the one that is told. */

static void
test_order(void **state)
{
    char  *token;

    (void) state;

    /* form, header, issuer, algorithm, keys, signature */

    refused(changed(signed_claims(with("iss", "\"https://x/\"")), 20),
            "issuer is not trusted here");
    refused(from_d("ES256"), "alg is not allowed");
    assert_int_equal(judge(from_d("RS256")), TI_RESULT_KEYS_UNAVAILABLE);
    assert_string_equal(last_why, "the issuer has no usable key");

    /* nothing that is signed counts before the signature */

    token = signed_claims(with_exp("1"));
    expired(token);
    refused(changed(token, 20), "signature does not verify");

    /* exp is there, nbf, iat, aud, user; only then is it past */

    refused(signed_claims("{\"iss\":\"https://a.example/\",\"exp\":1,"
                          "\"nbf\":null}"),
            "nbf is not a non-negative integer");
    refused(signed_claims("{\"iss\":\"https://a.example/\",\"exp\":1,"
                          "\"aud\":\"api://else\"}"),
            "aud names none of the issuer's audiences");
    refused(signed_claims("{\"iss\":\"https://a.example/\",\"exp\":1,"
                          "\"aud\":\"api://a\"}"),
            "user claim is absent, empty or no name");
    refused(signed_claims("{\"iss\":\"https://a.example/\",\"exp\":1800000000,"
                          "\"nbf\":1700000001,\"iat\":null}"),
            "token is not valid yet");
    refused(signed_claims("{\"iss\":\"https://a.example/\",\"exp\":1800000000,"
                          "\"iat\":1700000001}"),
            "token was issued in the future");
    refused(signed_claims("{\"iss\":\"https://a.example/\","
                          "\"exp\":1800000000}"),
            "aud is absent or neither a string nor an array");
    refused(signed_claims("{\"iss\":\"https://a.example/\",\"aud\":\"api://a\","
                          "\"exp\":1800000000}"),
            "user claim is absent, empty or no name");
}


static void
test_claims_again(void **state)
{
    char    *good, *parts[3];
    size_t   i;
    json_t  *claims;

    static const char *const  bad[] = {
        "", "a", "a.b", "a.b.c.d", "..", ".e30=.", ".e31.", ".W10.",
        ".eyJhIjoxLCJhIjoyfQ."
    };

    (void) state;

    good = signed_claims(CLAIMS);
    split(good, parts);

    assert_int_equal(ti_jwt_claims(ti_str_cstr(good), &claims), TI_OK);
    assert_string_equal(json_string_value(json_object_get(claims, "sub")),
                        "alice");
    json_decref(claims);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ti_jwt_claims(ti_str_cstr(bad[i]), &claims),
                         TI_DECLINED);
    }

    assert_int_equal(
        ti_jwt_claims(ti_str_cstr(token_of_length(TI_TOKEN_MAX + 1)), &claims),
        TI_DECLINED);
    assert_int_equal(
        ti_jwt_claims(ti_str_cstr(token_of_length(TI_TOKEN_MAX)), &claims),
        TI_OK);
    json_decref(claims);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_begun_types),
        cmocka_unit_test(test_iss),
        cmocka_unit_test(test_aud),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_claims),
        cmocka_unit_test(test_two_issuers),
        cmocka_unit_test(test_subset_of_issuers),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_claims_again)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
