/*
 * The keys that records are sealed with.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "record_make.h"


#define K1  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define K2  "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"

#define SEAL(kid, k)                                                          \
    "{\"kty\":\"oct\",\"use\":\"enc\",\"kid\":\"" kid "\",\"k\":\"" k "\"}"
#define INDEX                                                                 \
    "{\"kty\":\"oct\",\"alg\":\"HS256\",\"use\":\"sig\",\"kid\":\"i\","       \
    "\"k\":\"" K2 "\"}"
#define SET(keys)  "{\"keys\":[" keys "]}"


static ti_rc_t
parse(const char *text, ti_keyring_t **ring, const char **why)
{
    *why = NULL;

    return ti_keyring_parse(ti_str_cstr(text), ring, why);
}


static void
good(void **state)
{
    ti_str_t       key;
    const char    *why;
    ti_keyring_t  *ring;

    assert_int_equal(parse(SET(SEAL("b", K1) "," INDEX "," SEAL("a", K2)),
                           &ring, &why), TI_OK);

    assert_int_equal(ti_keyring_count(ring), 2);
    assert_true(ti_str_eq(ti_keyring_kid(ring, 0), ti_str("b")));
    assert_true(ti_str_eq(ti_keyring_kid(ring, 1), ti_str("a")));

    key = ti_keyring_first_key(ring);
    assert_int_equal(key.len, 32);
    assert_memory_equal(key.data, (unsigned char [32]) { 0 }, 32);
    assert_ptr_equal(ti_keyring_find(ring, ti_str("b")).data, key.data);

    key = ti_keyring_find(ring, ti_str("a"));
    assert_int_equal(key.len, 32);
    assert_int_equal(key.data[0], 0x04);
    assert_true(ti_str_eq(key, ti_keyring_index_key(ring)));

    assert_null(ti_keyring_find(ring, ti_str("i")).data);
    assert_null(ti_keyring_find(ring, ti_str("A")).data);
    assert_null(ti_keyring_find(ring, ti_str("aa")).data);
    assert_null(ti_keyring_find(ring, ti_null_str).data);

    ti_keyring_free(ring);
    ti_keyring_free(NULL);
}


static void
index_key_needs_no_kid(void **state)
{
    const char    *why;
    ti_keyring_t  *ring;

    assert_int_equal(parse(SET(SEAL("a", K1) ",{\"kty\":\"oct\",\"alg\":"
                               "\"HS256\",\"use\":\"sig\",\"k\":\"" K2 "\"}"),
                           &ring, &why), TI_OK);
    assert_null(ti_keyring_find(ring, ti_null_str).data);
    ti_keyring_free(ring);
}


static void
unknown_members_are_ignored(void **state)
{
    const char    *why;
    ti_keyring_t  *ring;

    assert_int_equal(parse("{\"x\":1,\"keys\":[{\"iat\":1,\"alg\":\"dir\","
                           "\"kty\":\"oct\",\"use\":\"enc\",\"kid\":\"a\","
                           "\"k\":\"" K1 "\"}," INDEX "]}",
                           &ring, &why), TI_OK);
    ti_keyring_free(ring);
}


static void
bad(void **state)
{
    size_t         i;
    const char    *why;
    ti_keyring_t  *ring;

    static const struct {
        const char  *text;
        const char  *why;
    } sets[] = {
        { "", NULL },
        { "[]", NULL },
        { "{", NULL },
        { "{}", "\"keys\"" },
        { "{\"keys\":{}}", "\"keys\"" },
        { SET(""), "no sealing key" },
        { SET(INDEX), "no sealing key" },
        { SET(SEAL("a", K1)), "no index key" },
        { SET(INDEX "," INDEX), "two index keys" },
        { SET("1," INDEX), "\"kty\"" },
        { SET("null"), "\"kty\"" },
        { SET("{}"), "\"kty\"" },
        { SET(SEAL("a", K1) ",{\"kty\":\"RSA\",\"use\":\"enc\"}," INDEX),
          "\"kty\"" },
        { SET("{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"" K1 "\"}," INDEX),
          "neither" },
        { SET(SEAL("a", K1) ",{\"kty\":\"oct\",\"use\":\"sig\",\"k\":\""
              K2 "\"}"), "neither" },
        { SET(SEAL("a", K1) ",{\"kty\":\"oct\",\"use\":\"sig\",\"alg\":"
              "\"HS512\",\"k\":\"" K2 "\"}"), "neither" },
        { SET(SEAL("a", K1) "," SEAL("a", K2) "," INDEX), "one \"kid\"" },
        { SET(SEAL("i", K1) "," INDEX), "one \"kid\"" },
        { SET(INDEX "," SEAL("i", K1)), "one \"kid\"" },
        { SET(SEAL("", K1) "," INDEX), "empty" },
        { SET("{\"kty\":\"oct\",\"use\":\"enc\",\"k\":\"" K1 "\"}," INDEX),
          "without a \"kid\"" },
        { SET("{\"kty\":\"oct\",\"use\":\"enc\",\"kid\":1,\"k\":\"" K1
              "\"}," INDEX), "without a \"kid\"" },
        { SET(SEAL("a", K1) ",{\"kty\":\"oct\",\"alg\":\"HS256\",\"use\":"
              "\"sig\",\"kid\":7,\"k\":\"" K2 "\"}"), "without a \"kid\"" },
        { SET("{\"kty\":\"oct\",\"use\":\"enc\",\"kid\":\"a\"}," INDEX),
          "32 bytes" },
        { SET("{\"kty\":\"oct\",\"use\":\"enc\",\"kid\":\"a\",\"k\":7},"
              INDEX), "32 bytes" },
        { SET(SEAL("a", "") "," INDEX), "32 bytes" },
        { SET(SEAL("a", "AAAA") "," INDEX), "32 bytes" },
        { SET(SEAL("a", K1 "A") "," INDEX), "32 bytes" },
        { SET(SEAL("a", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
              "," INDEX), "32 bytes" },
        { SET(SEAL("a", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")
              "," INDEX), "32 bytes" },
        { SET(SEAL("a", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+A")
              "," INDEX), "32 bytes" },
        { "{\"keys\":[],\"keys\":[" SEAL("a", K1) "," INDEX "]}", NULL },
        { SET(SEAL("a", K1) "," INDEX) "x", NULL }
    };

    for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        ring = (ti_keyring_t *) &ring;

        assert_int_equal(parse(sets[i].text, &ring, &why), TI_DECLINED);
        assert_null(ring);
        assert_non_null(why);

        if (sets[i].why != NULL && strstr(why, sets[i].why) == NULL) {
            fail_msg("%s: \"%s\" without \"%s\"", sets[i].text, why,
                     sets[i].why);
        }
    }
}


static void
bounds(void **state)
{
    int            i;
    char           kid[257], *text;
    const char    *why;
    ti_keyring_t  *ring;

    memset(kid, 'k', sizeof(kid));
    kid[255] = '\0';

    text = rm_text(SET(RM_JWK_SEAL "," INDEX), kid, K1);
    assert_int_equal(parse(text, &ring, &why), TI_OK);
    assert_int_equal(ti_keyring_kid(ring, 0).len, 255);
    ti_keyring_free(ring);

    kid[255] = 'k';
    kid[256] = '\0';

    text = rm_text(SET(RM_JWK_SEAL "," INDEX), kid, K1);
    assert_int_equal(parse(text, &ring, &why), TI_DECLINED);

    text = rm_text("%s", INDEX);

    for (i = 1; i <= 65; i++) {
        snprintf(kid, sizeof(kid), "%d", i);
        text = rm_text("%s," RM_JWK_SEAL, text, kid, K1);

        if (i == 64) {
            assert_int_equal(parse(rm_text(SET("%s"), text), &ring, &why),
                             TI_OK);
            assert_int_equal(ti_keyring_count(ring), 64);
            ti_keyring_free(ring);
        }
    }

    assert_int_equal(parse(rm_text(SET("%s"), text), &ring, &why),
                     TI_DECLINED);
    assert_non_null(strstr(why, "more than 64"));

    text = rm_text(SET(SEAL("a", K1) "," INDEX) "%*s", 70000, "");
    assert_int_equal(parse(text, &ring, &why), TI_DECLINED);

    rm_reset();
}


/* Equal for the same keys alone: secrets, kids, order, which one is first. */

static void
fingerprint(void **state)
{
    size_t         i, j;
    const char    *why;
    ti_crypto_t   *crypto;
    ti_keyring_t  *ring;
    unsigned char  id[6][TI_SHA256_LEN];

    static const char *const  sets[] = {
        SET(SEAL("a", K1) "," SEAL("b", K2) "," INDEX),
        SET(SEAL("b", K2) "," SEAL("a", K1) "," INDEX),
        SET(SEAL("a", K2) "," SEAL("b", K1) "," INDEX),
        SET(SEAL("a", K1) "," INDEX),
        SET(SEAL("a", K2) "," INDEX),
        SET(INDEX "," SEAL("a", K1) "," SEAL("b", K2))
    };

    crypto = ti_crypto_create();
    assert_non_null(crypto);

    for (i = 0; i < 6; i++) {
        assert_int_equal(parse(sets[i], &ring, &why), TI_OK);
        assert_int_equal(ti_keyring_id(ring, crypto, id[i]), TI_OK);
        ti_keyring_free(ring);
    }

    for (i = 0; i < 5; i++) {
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(id[i], id[j], TI_SHA256_LEN);
        }
    }

    assert_memory_equal(id[5], id[0], TI_SHA256_LEN);

    ti_crypto_free(crypto);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(index_key_needs_no_kid),
        cmocka_unit_test(unknown_members_are_ignored),
        cmocka_unit_test(bad),
        cmocka_unit_test(bounds),
        cmocka_unit_test(fingerprint)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
