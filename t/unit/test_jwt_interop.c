/*
 * Tokens and keys that others made: data/make-jwt-interop.py (jwcrypto) and
 * data/make-jwt-interop.pl (Crypt::JWT), every algorithm by each.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "ti_jwt.h"


#define FIXTURE  "t/unit/data/jwt-interop.jsonl"
#define NOW      1700000000
#define EXP      4102444800


static void *
none_left(void *data, size_t size)
{
    (void) data;
    (void) size;

    return NULL;
}


static ti_jwks_t *
key_of(ti_crypto_t *crypto, const json_t *line, unsigned algorithms)
{
    char        *text;
    json_t      *root;
    ti_jwks_t   *keys;
    const char  *why;

    root = json_pack("{s:[O]}", "keys", json_object_get(line, "jwk"));
    assert_non_null(root);
    text = json_dumps(root, 0);
    assert_non_null(text);

    assert_int_equal(ti_jwks_parse(crypto, ti_str_cstr(text), algorithms, NULL,
                                   &keys, &why),
                     TI_OK);
    assert_int_equal(ti_jwks_count(keys), 1);

    free(text);
    json_decref(root);

    return keys;
}


static void
judge(ti_crypto_t *crypto, const json_t *line, ti_alg_t alg,
    const char *issuer, const char *user)
{
    char                   *token, *mid;
    ti_jwt_t                jwt;
    ti_pool_t               pool = { none_left, NULL };
    const char             *why;
    const ti_jwks_t        *keys;
    ti_jwt_issuer_t         policy;
    const ti_jwt_issuer_t  *policies[1] = { &policy };
    const char             *user_claim[1] = { "sub" };
    static const ti_str_t   audience = ti_string("api://search");

    keys = key_of(crypto, line, (unsigned) alg);
    token = strdup(json_string_value(json_object_get(line, "token")));
    assert_non_null(token);

    memset(&policy, 0, sizeof(policy));
    policy.issuer = ti_str_cstr(issuer);
    policy.audience = &audience;
    policy.naudience = 1;
    policy.algorithms = (unsigned) alg;
    policy.user_claim.names = user_claim;
    policy.user_claim.n = 1;
    policy.keys = &keys;
    policy.nkeys = 1;

    why = "";

    if (ti_jwt_verify(crypto, &pool, policies, 1, ti_str_cstr(token), NOW,
                      &jwt, &why)
        != TI_RESULT_OK)
    {
        fail_msg("%s: %s", why, token);
    }

    assert_true(ti_str_eq(jwt.subject, ti_str_cstr(user)));
    assert_int_equal(jwt.expires, EXP);
    ti_jwt_clear(&jwt);

    assert_int_equal(ti_jwt_verify(crypto, &pool, policies, 1,
                                   ti_str_cstr(token), EXP, &jwt, &why),
                     TI_RESULT_TOKEN_EXPIRED);

    mid = strrchr(token, '.');
    mid += strlen(mid) / 2;
    *mid = *mid == 'A' ? 'B' : 'A';

    assert_int_equal(ti_jwt_verify(crypto, &pool, policies, 1,
                                   ti_str_cstr(token), NOW, &jwt, &why),
                     TI_RESULT_TOKEN_INVALID);
    assert_string_equal(why, "signature does not verify");

    free(token);
    ti_jwks_free((ti_jwks_t *) keys);
}


static void
judge_all(const char *by, const char *issuer, const char *user)
{
    FILE         *file;
    char          text[8192];
    json_t       *line;
    unsigned      seen, alg;
    ti_crypto_t  *crypto;

    crypto = ti_crypto_create();
    assert_non_null(crypto);

    file = fopen(FIXTURE, "r");
    assert_non_null(file);

    seen = 0;

    while (fgets(text, sizeof(text), file) != NULL) {
        line = json_loads(text, 0, NULL);
        assert_non_null(line);

        if (strcmp(json_string_value(json_object_get(line, "by")), by) == 0) {
            alg = (unsigned) ti_alg_by_name(
                      ti_str_cstr(json_string_value(json_object_get(line,
                                                                    "alg"))));
            judge(crypto, line, (ti_alg_t) alg, issuer, user);
            seen |= alg;
        }

        json_decref(line);
    }

    (void) fclose(file);
    ti_crypto_free(crypto);

    assert_int_equal(seen, TI_ALGS_RSA|TI_ALGS_EC|TI_ALG_EDDSA|TI_ALGS_MAC);
}


static void
test_jwcrypto(void **state)
{
    (void) state;

    judge_all("jwcrypto", "https://jwcrypto.example/", "zo\xc3\xab");
}


static void
test_crypt_jwt(void **state)
{
    (void) state;

    judge_all("Crypt::JWT", "https://crypt-jwt.example/", "bob");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_jwcrypto),
        cmocka_unit_test(test_crypt_jwt)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
