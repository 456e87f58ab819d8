#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "jws_make.h"
#include "ti_jwks.h"


#define ALL_PUBLIC  (TI_ALGS_RSA|TI_ALGS_EC|TI_ALG_EDDSA)
#define ALL         (ALL_PUBLIC|TI_ALGS_MAC)


static ti_crypto_t  *crypto;
static jm_key_t      rsa, p256, p384, p521, ed, mac64;


/* What the last parse() said of the keys that it left out. */

static struct {
    size_t   n;
    size_t   index[TI_JWKS_MAX_KEYS];
    char     kid[TI_JWKS_MAX_KEYS][16];
    char     why[TI_JWKS_MAX_KEYS][80];
} ignored;


static void
hear(void *data, size_t index, ti_str_t kid, const char *why)
{
    assert_ptr_equal(data, &ignored);
    assert_true(ignored.n < TI_JWKS_MAX_KEYS);

    ignored.index[ignored.n] = index;

    (void) snprintf(ignored.kid[ignored.n], sizeof(ignored.kid[0]), "%.*s",
                    (int) kid.len, (const char *) kid.data);
    (void) snprintf(ignored.why[ignored.n], sizeof(ignored.why[0]), "%s", why);

    ignored.n++;
}


static ti_jwks_t *
parse(const char *text, unsigned algorithms)
{
    ti_rc_t           rc;
    ti_jwks_t        *set;
    const char       *why;
    ti_jwks_report_t  report = { hear, &ignored };

    memset(&ignored, 0, sizeof(ignored));
    set = NULL;
    why = NULL;

    rc = ti_jwks_parse(crypto, ti_str_cstr(text), algorithms, &report, &set,
                       &why);
    if (rc != TI_OK) {
        fail_msg("parse: %s: %.200s", why, text);
    }

    assert_int_equal(ERR_peek_error(), 0);

    return set;
}


/* The one key of a set of one serves exactly these. */

static void
serves(const char *jwk, unsigned algorithms, unsigned expected)
{
    ti_jwks_t  *set;

    set = parse(jm_printf("{\"keys\":[%s]}", jwk), algorithms);

    if (ti_jwks_count(set) != 1) {
        fail_msg("%s: %.200s", ignored.why[0], jwk);
    }

    assert_int_equal(ti_verifier_algs(ti_jwks_key(set, 0)->verifier),
                     expected);
    assert_int_equal(ignored.n, 0);

    ti_jwks_free(set);
}


/* Left out for this reason, and a key on either side of it still works. */

static void
left_out_of(const char *jwk, unsigned algorithms, const char *why)
{
    ti_jwks_t  *set;

    set = parse(jm_printf("{\"keys\":[%s,%s,%s]}",
                          jm_jwk(&rsa, ",\"kid\":\"before\""), jwk,
                          jm_jwk(&rsa, ",\"kid\":\"behind\"")), algorithms);

    if (ignored.n != 1 || strcmp(ignored.why[0], why) != 0) {
        fail_msg("%zu left out, for \"%s\", not for \"%s\": %.200s", ignored.n,
                 ignored.why[0], why, jwk);
    }

    assert_int_equal(ignored.index[0], 1);
    assert_int_equal(ti_jwks_count(set), 2);
    assert_true(ti_str_eq(ti_jwks_key(set, 0)->kid, ti_str("before")));
    assert_true(ti_str_eq(ti_jwks_key(set, 1)->kid, ti_str("behind")));

    ti_jwks_free(set);
}


static void
left_out(const char *jwk, const char *why)
{
    left_out_of(jwk, ALL, why);
}


/* An odd number of that many bits; nobody looks for its factors. */

static char *
modulus(int bits)
{
    BIGNUM         *bn;
    unsigned char   buf[1200];

    bn = BN_new();
    jm_check(bn != NULL);
    jm_check(BN_rand(bn, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) == 1);
    jm_check(BN_num_bytes(bn) <= (int) sizeof(buf));

    (void) BN_bn2bin(bn, buf);
    bits = BN_num_bytes(bn);
    BN_free(bn);

    return jm_b64u(buf, (size_t) bits);
}


static char *
rsa_jwk(const char *n, const char *e)
{
    return jm_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}", n, e);
}


static char *
ec_jwk(const char *crv, const char *x, const char *y)
{
    return jm_printf("{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\","
                     "\"y\":\"%s\"}", crv, x, y);
}


static void
test_types(void **state)
{
    (void) state;

    serves(jm_jwk(&rsa, ""), ALL, TI_ALGS_RSA);
    serves(jm_jwk(&p256, ""), ALL, TI_ALG_ES256);
    serves(jm_jwk(&p384, ""), ALL, TI_ALG_ES384);
    serves(jm_jwk(&p521, ""), ALL, TI_ALG_ES512);
    serves(jm_jwk(&ed, ""), ALL, TI_ALG_EDDSA);
    serves(jm_jwk(&mac64, ""), ALL, TI_ALGS_MAC);

    serves(jm_jwk(&rsa, ""), TI_ALG_RS256|TI_ALG_ES256, TI_ALG_RS256);
    serves(jm_jwk(&mac64, ""), TI_ALG_HS512|TI_ALG_RS256, TI_ALG_HS512);
}


static void
test_type_unsupported(void **state)
{
    size_t       i;
    const char  *why = "key type or curve is absent or not supported";

    static const char *const  keys[] = {
        "{}",
        "{\"kid\":\"a\"}",
        "{\"kty\":1}",
        "{\"kty\":null}",
        "{\"kty\":[\"RSA\"]}",
        "{\"kty\":\"rsa\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
        "{\"kty\":\"\"}",
        "{\"kty\":\"EC\"}",
        "{\"kty\":\"EC\",\"crv\":256}",
        "{\"kty\":\"EC\",\"crv\":\"p-256\"}",
        "{\"kty\":\"EC\",\"crv\":\"prime256v1\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\"}",
        "{\"kty\":\"EC\",\"crv\":\"Ed25519\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed448\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\"}",
        "{\"kty\":\"OKP\",\"crv\":\"P-256\"}"
    };

    (void) state;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        left_out(keys[i], why);
    }
}


static void
test_rsa_sizes(void **state)
{
    char  *big;

    (void) state;

    left_out(rsa_jwk(modulus(512), "AQAB"),
             "RSA modulus has fewer than 2048 bits");
    left_out(rsa_jwk(modulus(1024), "AQAB"),
             "RSA modulus has fewer than 2048 bits");
    left_out(rsa_jwk(modulus(2047), "AQAB"),
             "RSA modulus has fewer than 2048 bits");

    /* zeros in front make it longer, not larger */

    big = jm_alloc(400);
    memset(big, 'A', 344);
    left_out(rsa_jwk(jm_printf("%s%s", big, modulus(1024)), "AQAB"),
             "RSA modulus has fewer than 2048 bits");

    serves(rsa_jwk(modulus(2048), "AQAB"), ALL, TI_ALGS_RSA);
    serves(rsa_jwk(modulus(3000), "AQAB"), ALL, TI_ALGS_RSA);
    serves(rsa_jwk(modulus(8192), "AQAB"), ALL, TI_ALGS_RSA);

    left_out(rsa_jwk(modulus(8193), "AQAB"),
             "RSA modulus has more than 8192 bits");

    big = jm_alloc(4000);
    memset(big, 'B', 2732);
    left_out(rsa_jwk(big, "AQAB"),
             "\"n\" or \"e\" is absent, malformed or too long");
}


static void
test_rsa_numbers(void **state)
{
    char    *n;
    size_t   i;

    static const struct {
        const char  *e;
        const char  *why;                   /* NULL: good */
    } exponents[] = {
        { "AA", "RSA exponent is even or below 3" },             /* 0 */
        { "AQ", "RSA exponent is even or below 3" },             /* 1 */
        { "AAAB", "RSA exponent is even or below 3" },           /* 1 */
        { "Ag", "RSA exponent is even or below 3" },             /* 2 */
        { "AQAA", "RSA exponent is even or below 3" },           /* 65536 */
        { "Aw", NULL },                                          /* 3 */
        { "AQAB", NULL },                                        /* 65537 */
        { "__________8", NULL },                                 /* 2^64-1 */
        { "AQAAAAAAAAAB", "RSA exponent has more than 64 bits" },
        { "", "\"n\" or \"e\" is absent, malformed or too long" },
        { "AQAB=", "\"n\" or \"e\" is absent, malformed or too long" },
        { "AR", "\"n\" or \"e\" is absent, malformed or too long" },
        { "A", "\"n\" or \"e\" is absent, malformed or too long" },
        { " AQAB", "\"n\" or \"e\" is absent, malformed or too long" },
        { "65537", "\"n\" or \"e\" is absent, malformed or too long" }
    };

    (void) state;

    n = jm_number(&rsa, OSSL_PKEY_PARAM_RSA_N, 0);

    for (i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++) {

        if (exponents[i].why == NULL) {
            serves(rsa_jwk(n, exponents[i].e), ALL, TI_ALGS_RSA);

        } else {
            left_out(rsa_jwk(n, exponents[i].e), exponents[i].why);
        }
    }

    /* one bit taken from the last byte */

    n = modulus(2048);
    n[strlen(n) - 2] = 'A';
    n[strlen(n) - 1] = 'A';
    left_out(rsa_jwk(n, "AQAB"), "RSA modulus is even");
}


static void
test_rsa_members(void **state)
{
    char        *n;
    const char  *why = "\"n\" or \"e\" is absent, malformed or too long";

    (void) state;

    n = jm_number(&rsa, OSSL_PKEY_PARAM_RSA_N, 0);

    left_out("{\"kty\":\"RSA\"}", why);
    left_out("{\"kty\":\"RSA\",\"n\":null,\"e\":\"AQAB\"}", why);
    left_out(jm_printf("{\"kty\":\"RSA\",\"n\":\"%s\"}", n), why);
    left_out(jm_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":65537}", n), why);
    left_out(jm_printf("{\"kty\":\"RSA\",\"n\":[\"%s\"],\"e\":\"AQAB\"}", n),
             why);
    left_out(rsa_jwk("", "AQAB"), why);
    left_out(rsa_jwk(jm_printf("%s==", n), "AQAB"), why);
    left_out(rsa_jwk(jm_printf("%s\\n", n), "AQAB"), why);
    left_out(rsa_jwk(jm_printf("+/%s", n + 2), "AQAB"), why);
}


static void
test_ec(void **state)
{
    char        *x, *y, *flipped, *zero;
    ti_jwks_t   *set;
    const char  *prime;
    const char  *form = "\"x\" or \"y\" is absent, malformed or of another "
                        "length";

    static const unsigned char  nil[67];

    (void) state;

    x = jm_number(&p256, OSSL_PKEY_PARAM_EC_PUB_X, 32);
    y = jm_number(&p256, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    zero = jm_b64u(nil, 32);

    flipped = jm_printf("%s", y);
    flipped[5] = flipped[5] == 'A' ? 'B' : 'A';

    left_out(ec_jwk("P-256", x, flipped), "point is not on its curve");
    left_out(ec_jwk("P-256", y, x), "point is not on its curve");
    left_out(ec_jwk("P-256", zero, zero), "point is not on its curve");

    /* alone, so that no good key clears OpenSSL's errors behind it */

    set = parse(jm_printf("{\"keys\":[%s]}", ec_jwk("P-256", y, x)), ALL);
    assert_int_equal(ti_jwks_count(set), 0);
    ti_jwks_free(set);

    /* x = p, which is 0 to who forgets to look */

    prime = "_____wAAAAEAAAAAAAAAAAAAAAD_______________8";
    left_out(ec_jwk("P-256", prime, y), "point is not on its curve");

    left_out(ec_jwk("P-384", x, y), form);
    left_out(ec_jwk("P-521", x, y), form);
    left_out(ec_jwk("P-256", jm_b64u(nil, 31), y), form);
    left_out(ec_jwk("P-256", jm_b64u(nil, 33), y), form);
    left_out(ec_jwk("P-256", x, jm_b64u(nil, 31)), form);
    left_out(ec_jwk("P-256", x, jm_b64u(nil, 33)), form);
    left_out(ec_jwk("P-521", jm_b64u(nil, 67), jm_b64u(nil, 67)), form);
    left_out(ec_jwk("P-256", "", ""), form);
    left_out(ec_jwk("P-256", x, jm_printf("%s=", y)), form);
    left_out("{\"kty\":\"EC\",\"crv\":\"P-256\"}", form);
    left_out(jm_printf("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\"}", x),
             form);
    left_out(jm_printf("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\","
                       "\"y\":true}", x), form);
}


static void
test_okp(void **state)
{
    size_t       i;
    const char  *why = "\"x\" is absent, malformed or of another length";

    static const unsigned char  nil[64];
    static const size_t         lengths[] = { 1, 31, 33, 57, 64 };

    (void) state;

    left_out("{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", why);
    left_out("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":32}", why);
    left_out("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"\"}", why);

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        left_out(jm_printf("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                           "\"x\":\"%s\"}", jm_b64u(nil, lengths[i])), why);
    }
}


static void
test_oct(void **state)
{
    size_t    i;
    char     *big;
    jm_key_t  key;

    static const struct {
        size_t    len;
        unsigned  algs;
    } secrets[] = {
        { 32, TI_ALG_HS256 },
        { 47, TI_ALG_HS256 },
        { 48, TI_ALG_HS256|TI_ALG_HS384 },
        { 63, TI_ALG_HS256|TI_ALG_HS384 },
        { 64, TI_ALGS_MAC },
        { 200, TI_ALGS_MAC }
    };

    (void) state;

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        key = jm_oct(secrets[i].len);
        serves(jm_jwk(&key, ""), ALL, secrets[i].algs);
    }

    key = jm_oct(31);
    left_out(jm_jwk(&key, ""), "secret is shorter than the hash");

    key = jm_oct(1);
    left_out(jm_jwk(&key, ""), "secret is shorter than the hash");

    key = jm_oct(63);
    left_out(jm_jwk(&key, ",\"alg\":\"HS512\""),
             "secret is shorter than the hash");
    left_out_of(jm_jwk(&key, ""), TI_ALG_RS256|TI_ALG_HS512,
                "secret is shorter than the hash");

    left_out("{\"kty\":\"oct\"}", "\"k\" is absent, malformed or too long");
    left_out("{\"kty\":\"oct\",\"k\":\"\"}",
             "\"k\" is absent, malformed or too long");
    left_out("{\"kty\":\"oct\",\"k\":{}}",
             "\"k\" is absent, malformed or too long");

    big = jm_printf("%s", jm_jwk(&mac64, ""));
    big[strlen(big) - 2] = '=';
    left_out(jm_printf("%s\"}", big), "\"k\" is absent, malformed or too long");

    big = jm_alloc(4000);
    memset(big, 'A', 2732);
    left_out(jm_printf("{\"kty\":\"oct\",\"k\":\"%s\"}", big),
             "\"k\" is absent, malformed or too long");
}


/* Without a MAC algorithm no secret is read at all, and never for another. */

static void
test_oct_unasked(void **state)
{
    (void) state;

    left_out_of(jm_jwk(&mac64, ""), ALL_PUBLIC,
                "no allowed algorithm fits the key");
    left_out_of(jm_jwk(&mac64, ",\"alg\":\"HS256\""), TI_ALG_RS256,
                "no allowed algorithm fits the key");
    left_out(jm_jwk(&mac64, ",\"alg\":\"RS256\""),
             "\"alg\" does not fit the key type");
}


static void
test_alg(void **state)
{
    (void) state;

    serves(jm_jwk(&rsa, ",\"alg\":\"RS256\""), ALL, TI_ALG_RS256);
    serves(jm_jwk(&rsa, ",\"alg\":\"PS512\""), ALL, TI_ALG_PS512);
    serves(jm_jwk(&p521, ",\"alg\":\"ES512\""), ALL, TI_ALG_ES512);
    serves(jm_jwk(&ed, ",\"alg\":\"EdDSA\""), ALL, TI_ALG_EDDSA);
    serves(jm_jwk(&mac64, ",\"alg\":\"HS384\""), ALL, TI_ALG_HS384);

    left_out(jm_jwk(&rsa, ",\"alg\":\"ES256\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&rsa, ",\"alg\":\"HS256\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&rsa, ",\"alg\":\"none\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&rsa, ",\"alg\":\"rs256\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&rsa, ",\"alg\":\"RSA-OAEP\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&rsa, ",\"alg\":\"\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&p256, ",\"alg\":\"ES384\""),
             "\"alg\" does not fit the key type");
    left_out(jm_jwk(&ed, ",\"alg\":\"ES256\""),
             "\"alg\" does not fit the key type");

    left_out(jm_jwk(&rsa, ",\"alg\":[\"RS256\"]"), "\"alg\" is not a string");
    left_out(jm_jwk(&rsa, ",\"alg\":null"), "\"alg\" is not a string");

    left_out_of(jm_jwk(&rsa, ",\"alg\":\"PS256\""), TI_ALG_RS256,
                "no allowed algorithm fits the key");
    left_out_of(jm_jwk(&p256, ""), TI_ALG_RS256,
                "no allowed algorithm fits the key");
}


static void
test_purpose(void **state)
{
    size_t       i;
    const char  *ops;

    static const char *const  bad_use[] = {
        "\"enc\"", "\"\"", "\"SIG\"", "null", "1", "[\"sig\"]"
    };
    static const char *const  bad_ops[] = {
        "[]", "[\"sign\"]", "[\"encrypt\",\"wrapKey\"]", "[\"Verify\"]",
        "[\"verify\",1]", "[null,\"verify\"]", "\"verify\"", "null", "{}",
        "[[\"verify\"]]"
    };

    (void) state;

    serves(jm_jwk(&rsa, ",\"use\":\"sig\""), ALL, TI_ALGS_RSA);
    serves(jm_jwk(&rsa, ",\"key_ops\":[\"verify\"]"), ALL, TI_ALGS_RSA);
    serves(jm_jwk(&mac64, ",\"key_ops\":[\"sign\",\"verify\"]"), ALL,
           TI_ALGS_MAC);
    serves(jm_jwk(&mac64, ",\"key_ops\":[\"verify\",\"sign\"]"), ALL,
           TI_ALGS_MAC);

    for (i = 0; i < sizeof(bad_use) / sizeof(bad_use[0]); i++) {
        left_out(jm_jwk(&rsa, jm_printf(",\"use\":%s", bad_use[i])),
                 "\"use\" is not \"sig\"");
    }

    ops = "\"key_ops\" is not an array of strings with \"verify\"";

    for (i = 0; i < sizeof(bad_ops) / sizeof(bad_ops[0]); i++) {
        left_out(jm_jwk(&p256, jm_printf(",\"key_ops\":%s", bad_ops[i])), ops);
    }
}


static void
test_private(void **state)
{
    size_t     i, k;
    jm_key_t  *keys[3];

    static const char *const  members[] = {
        "d", "p", "q", "dp", "dq", "qi", "oth"
    };

    (void) state;

    keys[0] = &rsa;
    keys[1] = &p256;
    keys[2] = &ed;

    for (i = 0; i < 3; i++) {
        for (k = 0; k < sizeof(members) / sizeof(members[0]); k++) {
            left_out(jm_jwk(keys[i], jm_printf(",\"%s\":\"AQAB\"",
                                               members[k])),
                     "holds a private key");
            left_out(jm_jwk(keys[i], jm_printf(",\"%s\":null", members[k])),
                     "holds a private key");
        }
    }
}


static void
test_kid(void **state)
{
    ti_jwks_t  *set;

    (void) state;

    left_out(jm_jwk(&rsa, ",\"kid\":1"), "\"kid\" is not a string");
    left_out(jm_jwk(&rsa, ",\"kid\":null"), "\"kid\" is not a string");
    left_out(jm_jwk(&rsa, ",\"kid\":[\"a\"]"), "\"kid\" is not a string");

    set = parse(jm_printf("{\"keys\":[%s,%s,%s]}", jm_jwk(&rsa, ""),
                          jm_jwk(&rsa, ",\"kid\":\"\""),
                          jm_jwk(&rsa, ",\"kid\":\"../a\\r\\nb\"")), ALL);

    assert_int_equal(ti_jwks_count(set), 3);
    assert_null(ti_jwks_key(set, 0)->kid.data);
    assert_non_null(ti_jwks_key(set, 1)->kid.data);
    assert_int_equal(ti_jwks_key(set, 1)->kid.len, 0);
    assert_true(ti_str_eq(ti_jwks_key(set, 2)->kid, ti_str("../a\r\nb")));

    ti_jwks_free(set);
}


/* Everything at once: what is good works, what is not is told, in order. */

static void
test_neighbours(void **state)
{
    size_t      i;
    ti_jwks_t  *set;

    static const struct {
        size_t       index;
        const char  *kid;
        const char  *why;
    } expected[] = {
        { 0, "weak", "RSA modulus has fewer than 2048 bits" },
        { 2, "", "not an object" },
        { 3, "", "not an object" },
        { 4, "", "not an object" },
        { 6, "off", "point is not on its curve" },
        { 7, "", "\"kid\" is not a string" },
        { 8, "sealing", "\"use\" is not \"sig\"" }
    };

    (void) state;

    set = parse(jm_printf(
        "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"weak\",\"n\":\"%s\","
        "\"e\":\"AQAB\"},%s,null,[],\"key\",%s,"
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"off\",\"x\":\"%s\","
        "\"y\":\"%s\"},{\"kid\":7},%s,%s],\"next\":{\"keys\":[]}}",
        modulus(1024),
        jm_jwk(&rsa, ",\"kid\":\"a\",\"x5t\":\"AAAA\",\"x5c\":[\"MIIC\"],"
                     "\"issuer\":\"https://a.example/\",\"nbf\":1"),
        jm_jwk(&p256, ",\"kid\":\"b\""),
        jm_number(&p256, OSSL_PKEY_PARAM_EC_PUB_Y, 32),
        jm_number(&p256, OSSL_PKEY_PARAM_EC_PUB_X, 32),
        jm_jwk(&mac64, ",\"kid\":\"sealing\",\"use\":\"enc\""),
        jm_jwk(&ed, ",\"kid\":\"c\"")), ALL);

    assert_int_equal(ti_jwks_count(set), 3);
    assert_true(ti_str_eq(ti_jwks_key(set, 0)->kid, ti_str("a")));
    assert_true(ti_str_eq(ti_jwks_key(set, 1)->kid, ti_str("b")));
    assert_true(ti_str_eq(ti_jwks_key(set, 2)->kid, ti_str("c")));

    assert_int_equal(ignored.n, sizeof(expected) / sizeof(expected[0]));

    for (i = 0; i < ignored.n; i++) {
        assert_int_equal(ignored.index[i], expected[i].index);
        assert_string_equal(ignored.kid[i], expected[i].kid);
        assert_string_equal(ignored.why[i], expected[i].why);
    }

    ti_jwks_free(set);
}


static void
test_no_set(void **state)
{
    size_t       i;
    ti_jwks_t   *set;
    const char  *why;

    static const struct {
        const char  *text;
        const char  *why;
    } cases[] = {
        { "", "empty, no JSON" },
        { "keys", "not JSON" },
        { "[]", "JSON that is not an object" },
        { "{}", "has no \"keys\" array" },
        { "{\"keys\":null}", "has no \"keys\" array" },
        { "{\"keys\":{}}", "has no \"keys\" array" },
        { "{\"keys\":\"\"}", "has no \"keys\" array" },
        { "{\"Keys\":[]}", "has no \"keys\" array" },
        { "{\"keys\":[],\"keys\":[]}", "JSON with a duplicate member" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"oct\"}]}",
          "JSON with a duplicate member" },
        { "{\"keys\":[]}{\"keys\":[]}", "JSON with something behind it" }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        why = NULL;

        assert_int_equal(ti_jwks_parse(crypto, ti_str_cstr(cases[i].text), ALL,
                                       NULL, &set, &why),
                         TI_DECLINED);
        assert_string_equal(why, cases[i].why);
    }
}


static char *
many(size_t n)
{
    char    *text, *p, *key;
    size_t   i;

    key = jm_jwk(&mac64, "");
    text = jm_alloc(20 + n * (strlen(key) + 1));

    p = text + sprintf(text, "{\"keys\":[");

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s%s", i == 0 ? "" : ",", key);
    }

    (void) sprintf(p, "]}");

    return text;
}


static void
test_bounds(void **state)
{
    char        *text;
    ti_jwks_t   *set;
    const char  *why;

    (void) state;

    set = parse("{\"keys\":[]}", ALL);
    assert_int_equal(ti_jwks_count(set), 0);
    ti_jwks_free(set);

    set = parse(many(TI_JWKS_MAX_KEYS), ALL);
    assert_int_equal(ti_jwks_count(set), TI_JWKS_MAX_KEYS);
    ti_jwks_free(set);

    text = many(TI_JWKS_MAX_KEYS + 1);
    assert_int_equal(ti_jwks_parse(crypto, ti_str_cstr(text), ALL, NULL, &set,
                                   &why),
                     TI_DECLINED);
    assert_string_equal(why, "has more than 256 keys");

    text = jm_alloc(TI_JWKS_MAX_SIZE + 1);
    memset(text, ' ', TI_JWKS_MAX_SIZE + 1);
    memcpy(text, "{\"keys\":[]}", 11);

    assert_int_equal(ti_jwks_parse(crypto, ti_str_from(text, TI_JWKS_MAX_SIZE),
                                   ALL, NULL, &set, &why),
                     TI_OK);
    ti_jwks_free(set);

    assert_int_equal(ti_jwks_parse(crypto,
                                   ti_str_from(text, TI_JWKS_MAX_SIZE + 1),
                                   ALL, NULL, &set, &why),
                     TI_DECLINED);
    assert_string_equal(why, "JSON too large");

    ti_jwks_free(NULL);
}


static void
selects(const ti_jwks_t *const *sets, size_t nsets, ti_alg_t alg,
    const char *kid, const ti_jwk_t *key, int unknown, const char *why)
{
    int          is_unknown;
    ti_str_t     name;
    const char  *reason;

    is_unknown = -1;
    reason = NULL;
    name = kid == NULL ? ti_null_str : ti_str_cstr(kid);

    assert_ptr_equal(ti_jwks_select(sets, nsets, alg, name, &is_unknown,
                                    &reason), key);
    assert_int_equal(is_unknown, unknown);

    if (key == NULL) {
        assert_string_equal(reason, why);
    }
}


static void
test_select(void **state)
{
    size_t            i;
    ti_jwks_t        *one, *two;
    const ti_jwks_t  *sets[2], *absent[4];

    static const char *const  strangers[] = {
        "", "A", "aa", "a ", " a", "*", "?", "[a]", ".", "../a", "%61"
    };

    (void) state;

    one = parse(jm_printf("{\"keys\":[%s,%s,%s,%s]}",
                          jm_jwk(&rsa, ",\"kid\":\"a\""),
                          jm_jwk(&p256, ",\"kid\":\"a\""),
                          jm_jwk(&p384, ",\"kid\":\"twin\""),
                          jm_jwk(&p384, ",\"kid\":\"twin\"")), ALL);
    two = parse(jm_printf("{\"keys\":[%s,%s]}",
                          jm_jwk(&rsa, ",\"kid\":\"b\""),
                          jm_jwk(&ed, "")), ALL);
    sets[0] = one;
    sets[1] = two;

    selects(sets, 2, TI_ALG_RS256, "a", ti_jwks_key(one, 0), 0, NULL);
    selects(sets, 2, TI_ALG_PS512, "a", ti_jwks_key(one, 0), 0, NULL);
    selects(sets, 2, TI_ALG_ES256, "a", ti_jwks_key(one, 1), 0, NULL);
    selects(sets, 2, TI_ALG_RS256, "b", ti_jwks_key(two, 0), 0, NULL);
    selects(sets, 1, TI_ALG_RS256, "b", NULL, 1, "no key has this kid");
    selects(sets, 2, TI_ALG_EDDSA, NULL, ti_jwks_key(two, 1), 0, NULL);
    selects(sets, 2, TI_ALG_ES256, NULL, ti_jwks_key(one, 1), 0, NULL);
    selects(sets, 1, TI_ALG_RS256, NULL, ti_jwks_key(one, 0), 0, NULL);

    selects(sets, 2, TI_ALG_EDDSA, "a", NULL, 0,
            "the key with this kid does not serve this alg");
    selects(sets, 2, TI_ALG_ES384, "twin", NULL, 0,
            "more than one key has this kid");
    selects(sets, 2, TI_ALG_RS256, NULL, NULL, 0,
            "no kid, and more than one key serves this alg");
    selects(sets, 2, TI_ALG_HS256, NULL, NULL, 1,
            "no kid, and no key serves this alg");
    selects(sets, 2, TI_ALG_NONE, "a", NULL, 0,
            "the key with this kid does not serve this alg");
    selects(NULL, 0, TI_ALG_RS256, "a", NULL, 1, "no key has this kid");
    selects(NULL, 0, TI_ALG_RS256, NULL, NULL, 1,
            "no kid, and no key serves this alg");

    /* sets that are not there yet */

    absent[0] = NULL;
    absent[1] = one;
    absent[2] = NULL;
    absent[3] = two;

    assert_int_equal(ti_jwks_count(NULL), 0);
    selects(absent, 4, TI_ALG_ES256, "a", ti_jwks_key(one, 1), 0, NULL);
    selects(absent, 4, TI_ALG_EDDSA, NULL, ti_jwks_key(two, 1), 0, NULL);
    selects(absent, 3, TI_ALG_RS256, "b", NULL, 1, "no key has this kid");
    selects(absent, 1, TI_ALG_RS256, NULL, NULL, 1,
            "no kid, and no key serves this alg");

    for (i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        selects(sets, 2, TI_ALG_RS256, strangers[i], NULL, 1,
                "no key has this kid");
    }

    ti_jwks_free(one);
    ti_jwks_free(two);
}


static int
set_up(void **state)
{
    (void) state;

    crypto = ti_crypto_create();
    rsa = jm_rsa(2048);
    p256 = jm_ec("P-256");
    p384 = jm_ec("P-384");
    p521 = jm_ec("P-521");
    ed = jm_ed25519();
    mac64 = jm_oct(64);

    return crypto == NULL;
}


static int
tear_down(void **state)
{
    (void) state;

    ti_crypto_free(crypto);
    jm_done();

    return 0;
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_type_unsupported),
        cmocka_unit_test(test_rsa_sizes),
        cmocka_unit_test(test_rsa_numbers),
        cmocka_unit_test(test_rsa_members),
        cmocka_unit_test(test_ec),
        cmocka_unit_test(test_okp),
        cmocka_unit_test(test_oct),
        cmocka_unit_test(test_oct_unasked),
        cmocka_unit_test(test_alg),
        cmocka_unit_test(test_purpose),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_kid),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_no_set),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_select)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
