/*
 * Four issuers, their keys, and what the tests of tokens ask of them.
 *
 *   A  every algorithm, a key for each, no leeway; "sub" is the user
 *   B  RS256 alone, a leeway; the user is a number, deep; has tenants
 *   C  A's keys but no MAC algorithm, some weak keys, one kid twice
 *   D  RS256, no key
 */

#ifndef JWT_POLICY_H
#define JWT_POLICY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "jws_make.h"
#include "ti_header.h"
#include "ti_jwt.h"


#define NOW            1700000000
#define LEEWAY_B       60

#define PUBLIC_ALGS    (TI_ALGS_RSA|TI_ALGS_EC|TI_ALG_EDDSA)

#define BODY           "\"iss\":\"https://a.example/\",\"aud\":\"api://a\","  \
                       "\"sub\":\"alice\",\"exp\":1700000600"
#define CLAIMS         "{" BODY "}"
#define CLAIMS_C       "{\"iss\":\"https://c.example/\",\"aud\":\"api://c\"," \
                       "\"sub\":\"alice\",\"exp\":1700000600}"

#define BODY_B         "\"iss\":\"https://b.example/\",\"aud\":\"api://b\","  \
                       "\"ids\":{\"u/r\":7},\"tid\":\"acme\""
#define HEADER_B       "{\"alg\":\"RS256\",\"kid\":\"rsa\"}"

#define MAX_ENCODINGS  16


typedef struct {
    const char  *kid;                       /* of the key that it encodes */
    const void  *data;
    size_t       len;
} encoding_t;


static ti_crypto_t            *crypto;
static jm_key_t                rsa, rsa_b, weak_rsa;
static jm_key_t                p256, p384, p521, ed, ed2, mac;
static ti_jwks_t              *set_a, *set_b, *set_c, *set_d;
static const ti_jwks_t        *keys_a[1], *keys_b[1], *keys_c[1], *keys_d[1];
static ti_jwt_issuer_t         issuer_a, issuer_b, issuer_c, issuer_d;
static const ti_jwt_issuer_t  *issuers[4];
static const char             *last_why;
static int                     last_newer;
static size_t                  last_issuer;
static int                     pool_is_empty;


static inline void *
pool_alloc(void *data, size_t size)
{
    return data != NULL || pool_is_empty ? NULL : jm_alloc(size);
}


static ti_pool_t  pool = { pool_alloc, NULL };
static ti_pool_t  no_pool = { pool_alloc, &no_pool };


/* --- judging --- */

static inline ti_result_t
judge_str(ti_str_t token, ti_jwt_t *kept)
{
    ti_jwt_t     jwt;
    ti_result_t  result;

    memset(&jwt, 0xff, sizeof(jwt));
    last_why = NULL;

    result = ti_jwt_verify(crypto, &pool, issuers, 4, token, NOW, &jwt,
                           &last_why);

    assert_int_equal(ERR_peek_error(), 0);

    if (result != TI_RESULT_OK) {
        assert_non_null(last_why);
        assert_null(jwt.claims);
        assert_null(jwt.subject.data);
        assert_null(jwt.tenant.data);
        last_newer = jwt.newer;
        last_issuer = jwt.issuer;

    } else if (kept != NULL) {
        *kept = jwt;

    } else {
        assert_int_equal(jwt.newer, 0);
        ti_jwt_clear(&jwt);
        assert_null(jwt.claims);
    }

    return result;
}


static inline ti_result_t
judge_into(const char *token, ti_jwt_t *jwt)
{
    return judge_str(ti_str_cstr(token), jwt);
}


static inline ti_result_t
judge(const char *token)
{
    return judge_into(token, NULL);
}


static inline void
verdict_is(const char *token, ti_result_t expected, const char *why)
{
    ti_result_t  result;

    result = judge(token);

    if (result != expected
        || (why != NULL && strcmp(last_why, why) != 0))
    {
        fail_msg("result %d (%s), not %d (%s): %.300s", (int) result,
                 last_why == NULL ? "" : last_why, (int) expected,
                 why == NULL ? "" : why, token);
    }
}


static inline void
accepted(const char *token)
{
    verdict_is(token, TI_RESULT_OK, NULL);
}


static inline void
refused(const char *token, const char *why)
{
    verdict_is(token, TI_RESULT_TOKEN_INVALID, why);
}


static inline void
expired(const char *token)
{
    verdict_is(token, TI_RESULT_TOKEN_EXPIRED, "token expired");
}


/* NULL: good */

static inline void
verdict(const char *token, const char *why)
{
    if (why == NULL) {
        accepted(token);

    } else {
        refused(token, why);
    }
}


static inline ti_rc_t
jws_verify(const char *jws, unsigned algorithms, const ti_pool_t *memory,
    ti_str_t *payload, const char **why)
{
    return ti_jws_verify(crypto, memory, set_a, algorithms, ti_str_cstr(jws),
                         payload, why);
}


/* --- making tokens --- */

static inline char *
signed_claims(const char *claims)
{
    return jm_jws(&mac, "HS256", "{\"alg\":\"HS256\",\"kid\":\"mac\"}",
                  claims);
}


/* A's claims with one of them replaced, or left out for NULL */

static inline char *
with(const char *name, const char *value)
{
    char        *claims;
    size_t       i;
    const char  *this;

    static const char *const  members[][2] = {
        { "iss", "\"https://a.example/\"" },
        { "aud", "\"api://a\"" },
        { "sub", "\"alice\"" },
        { "exp", "1700000600" }
    };

    claims = jm_printf("{\"jti\":\"1\"");

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        this = strcmp(members[i][0], name) == 0 ? value : members[i][1];

        if (this != NULL) {
            claims = jm_printf("%s,\"%s\":%s", claims, members[i][0], this);
        }
    }

    return jm_printf("%s}", claims);
}


static inline char *
with_exp(const char *value)
{
    return with("exp", value);
}


static inline char *
claims_b(const char *aud, int64_t exp)
{
    return jm_printf("{\"iss\":\"https://b.example/\",\"aud\":[\"%s\"],"
                     "\"ids\":{\"u/r\":7},\"tid\":\"acme\",\"exp\":%lld}", aud,
                     (long long) exp);
}


static inline char *
signed_by_b(const char *aud, int64_t exp)
{
    return jm_jws(&rsa_b, "RS256", HEADER_B, claims_b(aud, exp));
}


/* Another character of the alphabet, that far from the end */

static inline char *
changed(const char *token, size_t from_end)
{
    char  *copy, *p;

    copy = jm_printf("%s", token);
    p = copy + strlen(copy) - from_end;
    *p = *p == 'A' ? 'Q' : 'A';

    return copy;
}


static inline void
split(const char *token, char *parts[3])
{
    size_t  i;

    for (i = 0; i < 3; i++) {
        parts[i] = jm_printf("%.*s", (int) strcspn(token, "."), token);
        token += strcspn(token, ".") + 1;
    }
}


static inline char *
joined(char *const parts[3], size_t place, const char *part)
{
    return jm_printf("%s.%s.%s", place == 0 ? part : parts[0],
                     place == 1 ? part : parts[1],
                     place == 2 ? part : parts[2]);
}


/* Good but for its length: white space in the header, then in the claims */

static inline char *
token_of_length(size_t len)
{
    char    *header, *claims;
    size_t   spaces, rest;

    for (spaces = 0; spaces < 4; spaces++) {
        header = jm_printf("{\"alg\":\"HS256\",\"kid\":\"mac\"%*s}",
                           (int) spaces, "");
        rest = len - strlen(jm_b64u_text(header)) - 1 - 1 - 43;

        if (rest % 4 == 1) {
            continue;
        }

        claims = jm_printf("%-*s", (int) (rest * 3 / 4), CLAIMS);
        header = jm_jws(&mac, "HS256", header, claims);

        assert_int_equal(strlen(header), len);

        return header;
    }

    fail_msg("no token of %zu bytes", len);

    return NULL;
}


/* --- making trouble --- */

static inline void
curve_order(const char *crv, unsigned char n[66])
{
    int        coord;
    EC_GROUP  *group;

    coord = (int) jm_coord(crv);
    group = EC_GROUP_new_by_curve_name(EC_curve_nist2nid(crv));
    jm_check(group != NULL);
    jm_check(BN_bn2binpad(EC_GROUP_get0_order(group), n, coord) == coord);

    EC_GROUP_free(group);
}


/* EMSA-PKCS1-v1_5 of RFC 8017 section 9.2, for 2048 bits */

static inline void
padded_sha256(const char *input, unsigned char em[256])
{
    static const unsigned char  prefix[] = {
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
        0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20
    };

    memset(em, 0xff, 256);
    em[0] = 0;
    em[1] = 1;
    em[256 - 32 - sizeof(prefix) - 1] = 0;
    memcpy(em + 256 - 32 - sizeof(prefix), prefix, sizeof(prefix));
    (void) SHA256((const unsigned char *) input, strlen(input), em + 256 - 32);
}


static inline void
encode(encoding_t **next, const char *kid, const void *data, size_t len)
{
    void  *copy;

    copy = jm_alloc(len);
    memcpy(copy, data, len);

    (*next)->kid = kid;
    (*next)->data = copy;
    (*next)->len = len;
    (*next)++;
}


/* DER and PEM, the latter with its last line end and without */

static inline void
encode_spki(encoding_t **next, const char *kid, EVP_PKEY *pkey)
{
    int             len;
    BIO            *bio;
    char           *pem;
    unsigned char  *der;

    der = NULL;
    len = i2d_PUBKEY(pkey, &der);
    jm_check(len > 0);
    encode(next, kid, der, (size_t) len);
    OPENSSL_free(der);

    bio = BIO_new(BIO_s_mem());
    jm_check(bio != NULL && PEM_write_bio_PUBKEY(bio, pkey) == 1);
    len = (int) BIO_get_mem_data(bio, &pem);
    encode(next, kid, pem, (size_t) len);
    encode(next, kid, pem, (size_t) len - 1);
    BIO_free(bio);
}


/* RSAPublicKey of RFC 8017 appendix A.1.1 */

static inline void
encode_pkcs1(encoding_t **next, const char *kid, EVP_PKEY *pkey)
{
    int             len;
    BIO            *bio;
    char           *pem;
    unsigned char  *der;

    der = NULL;
    len = i2d_PublicKey(pkey, &der);
    jm_check(len > 0);
    encode(next, kid, der, (size_t) len);

    bio = BIO_new(BIO_s_mem());
    jm_check(bio != NULL
             && PEM_write_bio(bio, "RSA PUBLIC KEY", "", der, len) > 0);
    OPENSSL_free(der);
    len = (int) BIO_get_mem_data(bio, &pem);
    encode(next, kid, pem, (size_t) len);
    BIO_free(bio);
}


static inline size_t
public_encodings(encoding_t *encodings)
{
    char           *n, *text;
    size_t          len;
    encoding_t     *next;
    unsigned char   raw[JM_SIGNATURE_MAX], *point;

    next = encodings;

    encode_spki(&next, "rsa", rsa.pkey);
    encode_pkcs1(&next, "rsa", rsa.pkey);

    text = jm_jwk(&rsa, "");
    encode(&next, "rsa", text, strlen(text));
    text = jm_jwk(&rsa, ",\"kid\":\"rsa\"");
    encode(&next, "rsa", text, strlen(text));

    /* what RFC 7638 digests */

    n = jm_number(&rsa, OSSL_PKEY_PARAM_RSA_N, 0);
    text = jm_printf("{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"%s\"}", n);
    encode(&next, "rsa", text, strlen(text));

    encode(&next, "rsa", n, strlen(n));
    len = jm_number_raw(&rsa, OSSL_PKEY_PARAM_RSA_N, 0, raw);
    encode(&next, "rsa", raw, len);

    encode_spki(&next, "p256", p256.pkey);

    len = EVP_PKEY_get1_encoded_public_key(p256.pkey, &point);
    jm_check(len == 65);
    encode(&next, "p256", point + 1, 64);
    OPENSSL_free(point);

    len = sizeof(raw);
    jm_check(EVP_PKEY_get_raw_public_key(ed.pkey, raw, &len) == 1);
    encode(&next, "ed", raw, len);

    /* HMAC fills up with zeros, so this is the empty secret as well */

    encode(&next, "rsa", "", 1);

    return (size_t) (next - encodings);
}


/* --- the issuers --- */

static inline ti_jwks_t *
parsed(const char *text, unsigned algorithms)
{
    ti_jwks_t   *set;
    const char  *why;

    assert_int_equal(ti_jwks_parse(crypto, ti_str_cstr(text), algorithms, NULL,
                                   &set, &why),
                     TI_OK);

    return set;
}


static inline void
set_up_keys(void)
{
    char  *good;

    rsa = jm_rsa(2048);
    rsa_b = jm_rsa(2048);
    weak_rsa = jm_rsa(1024);
    p256 = jm_ec("P-256");
    p384 = jm_ec("P-384");
    p521 = jm_ec("P-521");
    ed = jm_ed25519();
    ed2 = jm_ed25519();
    mac = jm_oct(64);

    good = jm_printf("%s,%s,%s,%s,%s,%s,%s,%s",
                     jm_jwk(&rsa, ",\"kid\":\"rsa\""),
                     jm_jwk(&rsa, ",\"kid\":\"rs256\",\"alg\":\"RS256\""),
                     jm_jwk(&p256, ",\"kid\":\"p256\""),
                     jm_jwk(&p384, ",\"kid\":\"p384\""),
                     jm_jwk(&p521, ",\"kid\":\"p521\""),
                     jm_jwk(&ed, ",\"kid\":\"ed\""),
                     jm_jwk(&ed2, ",\"kid\":\"../*\\r\\n\""),
                     jm_jwk(&mac, ",\"kid\":\"mac\""));

    set_a = parsed(jm_printf("{\"keys\":[%s]}", good),
                   PUBLIC_ALGS|TI_ALGS_MAC);

    set_b = parsed(jm_printf("{\"keys\":[%s]}",
                             jm_jwk(&rsa_b, ",\"kid\":\"rsa\"")), PUBLIC_ALGS);

    set_c = parsed(jm_printf("{\"keys\":[%s,{\"kty\":\"RSA\",\"kid\":\"e1\","
                             "\"n\":\"%s\",\"e\":\"AQ\"},%s,%s,%s]}",
                             jm_jwk(&weak_rsa, ",\"kid\":\"weak\""),
                             jm_number(&rsa, OSSL_PKEY_PARAM_RSA_N, 0),
                             jm_jwk(&p384, ",\"kid\":\"twin\""),
                             jm_jwk(&p384, ",\"kid\":\"twin\""), good),
                   PUBLIC_ALGS);

    set_d = parsed("{\"keys\":[]}", PUBLIC_ALGS);
}


static inline void
set_up_issuer(ti_jwt_issuer_t *issuer, const char *name,
    const ti_str_t *audience, unsigned algorithms, const ti_jwks_t **keys,
    const ti_jwks_t *set)
{
    keys[0] = set;

    memset(issuer, 0, sizeof(ti_jwt_issuer_t));

    issuer->issuer = ti_str_cstr(name);
    issuer->audience = audience;
    issuer->naudience = 1;
    issuer->algorithms = algorithms;
    issuer->keys = keys;
    issuer->nkeys = 1;

    assert_int_equal(ti_json_path_compile(&pool, ti_str("sub"),
                                          &issuer->user_claim),
                     TI_OK);
}


static inline int
set_up(void **state)
{
    static const ti_str_t  aud_a[] = {
        ti_string("api://a"), ti_string("api://a2")
    };
    static const ti_str_t  aud_b = ti_string("api://b");
    static const ti_str_t  aud_c = ti_string("api://c");

    (void) state;

    crypto = ti_crypto_create();
    assert_non_null(crypto);

    set_up_keys();

    set_up_issuer(&issuer_a, "https://a.example/", aud_a,
                  PUBLIC_ALGS|TI_ALGS_MAC, keys_a, set_a);
    set_up_issuer(&issuer_b, "https://b.example/", &aud_b, TI_ALG_RS256,
                  keys_b, set_b);
    set_up_issuer(&issuer_c, "https://c.example/", &aud_c, PUBLIC_ALGS,
                  keys_c, set_c);
    set_up_issuer(&issuer_d, "https://d.example/", &aud_c, TI_ALG_RS256,
                  keys_d, set_d);

    issuer_a.naudience = 2;
    issuer_b.leeway = LEEWAY_B;

    assert_int_equal(ti_json_path_compile(&pool, ti_str("/ids/u~1r"),
                                          &issuer_b.user_claim),
                     TI_OK);
    assert_int_equal(ti_json_path_compile(&pool, ti_str("tid"),
                                          &issuer_b.tenant_claim),
                     TI_OK);

    issuers[0] = &issuer_a;
    issuers[1] = &issuer_b;
    issuers[2] = &issuer_c;
    issuers[3] = &issuer_d;

    return 0;
}


static inline int
tear_down(void **state)
{
    (void) state;

    ti_jwks_free(set_a);
    ti_jwks_free(set_b);
    ti_jwks_free(set_c);
    ti_jwks_free(set_d);
    ti_crypto_free(crypto);
    jm_done();

    return 0;
}


#endif /* JWT_POLICY_H */
