/*
 * Private keys that sign, and the assertions they make: verified by the code
 * that verifies callers' tokens.
 */

#include "unit.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "jws_make.h"
#include "ti_jwt.h"
#include "ti_signer.h"


#define NOW  1795286400


static ti_crypto_t  *crypto;
static unit_pool_t   unit;
static jm_key_t      rsa, p256, p384, p521;


static int
set_up_all(void **state)
{
    crypto = ti_crypto_create();
    rsa = jm_rsa(2048);
    p256 = jm_ec("P-256");
    p384 = jm_ec("P-384");
    p521 = jm_ec("P-521");

    return crypto == NULL;
}


static int
tear_down_all(void **state)
{
    ti_crypto_free(crypto);
    jm_done();

    return 0;
}


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


/* --- keys --- */

/* the public JWK with its private numbers, and whatever else */

static char *
private_jwk(const jm_key_t *key, const char *extra)
{
    if (key->crv != NULL) {
        extra = jm_printf(",\"d\":\"%s\"%s",
                          jm_number(key, OSSL_PKEY_PARAM_PRIV_KEY,
                                    jm_coord(key->crv)), extra);

    } else {
        extra = jm_printf(",\"d\":\"%s\",\"p\":\"%s\",\"q\":\"%s\","
                          "\"dp\":\"%s\",\"dq\":\"%s\",\"qi\":\"%s\"%s",
                          jm_number(key, OSSL_PKEY_PARAM_RSA_D, 0),
                          jm_number(key, OSSL_PKEY_PARAM_RSA_FACTOR1, 0),
                          jm_number(key, OSSL_PKEY_PARAM_RSA_FACTOR2, 0),
                          jm_number(key, OSSL_PKEY_PARAM_RSA_EXPONENT1, 0),
                          jm_number(key, OSSL_PKEY_PARAM_RSA_EXPONENT2, 0),
                          jm_number(key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, 0),
                          extra);
    }

    return jm_jwk(key, extra);
}


static char *
text_of(BIO *bio)
{
    long   len;
    char  *data, *text;

    len = BIO_get_mem_data(bio, &data);
    text = jm_alloc((size_t) len);
    memcpy(text, data, (size_t) len);
    BIO_free(bio);

    return text;
}


static char *
pem(const jm_key_t *key, const char *passphrase)
{
    BIO  *bio;

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key->pkey,
                         passphrase == NULL ? NULL : EVP_aes_256_cbc(),
                         NULL, 0, NULL, (void *) passphrase), 1);

    return text_of(bio);
}


static X509 *
certificate(const jm_key_t *key)
{
    X509       *cert;
    X509_NAME  *name;

    cert = X509_new();
    assert_non_null(cert);

    name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *) "app", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key->pkey);
    assert_true(X509_sign(cert, key->pkey, EVP_sha256()) > 0);

    return cert;
}


static char *
certificate_pem(X509 *cert)
{
    BIO  *bio;

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, cert), 1);

    return text_of(bio);
}


static ti_signer_t *
signer_of(const char *text, ti_alg_t alg, const char *kid)
{
    ti_rc_t       rc;
    const char   *why;
    ti_signer_t  *signer;

    why = "";
    rc = ti_signer_create(ti_str_cstr(text), alg, ti_str_cstr(kid), &signer,
                          &why);
    if (rc != TI_OK) {
        fail_msg("%s", why);
    }

    assert_int_equal(ERR_peek_error(), 0);

    return signer;
}


static void
no_signer(const char *text, ti_alg_t alg, const char *expected)
{
    ti_rc_t       rc;
    const char   *why;
    ti_signer_t  *signer;

    why = NULL;
    rc = ti_signer_create(ti_str_cstr(text), alg, ti_null_str, &signer, &why);

    assert_int_equal(rc, TI_DECLINED);
    assert_string_equal(why, expected);
    assert_int_equal(ERR_peek_error(), 0);
}


/* --- what it makes --- */

/* the payload of a JWS that this key, and no other, has signed so */

static ti_str_t
verified(const jm_key_t *key, ti_alg_t alg, const char *kid, ti_str_t jws)
{
    char        *text;
    ti_rc_t      rc;
    ti_str_t     payload;
    ti_jwks_t   *set;
    const char  *why;

    text = jm_printf("{\"keys\":[%s]}", jm_jwk(key, kid));
    assert_int_equal(ti_jwks_parse(crypto, ti_str_cstr(text), (unsigned) alg,
                                   NULL, &set, &why), TI_OK);
    assert_int_equal(ti_jwks_count(set), 1);

    why = "";
    rc = ti_jws_verify(crypto, &unit.pool, set, (unsigned) alg, jws, &payload,
                       &why);
    ti_jwks_free(set);

    if (rc != TI_OK) {
        fail_msg("%s: %s", ti_alg_name(alg), why);
    }

    return payload;
}


static json_t *
object_of(ti_str_t text)
{
    json_t      *object;
    const char  *why;

    assert_int_equal(ti_json_parse_object(text, 4096, &object, &why), TI_OK);

    return object;
}


static json_t *
header_of(ti_str_t jws)
{
    size_t          len;
    ti_str_t        text;
    unsigned char  *buf;

    text = jws;
    text.len = (size_t) ((unsigned char *) memchr(jws.data, '.', jws.len)
                         - jws.data);
    buf = jm_alloc(text.len);
    assert_int_equal(ti_b64u_decode(buf, &len, text), TI_OK);

    return object_of(ti_str_from(buf, len));
}


static void
signs(const jm_key_t *key, const char *text, ti_alg_t wanted, ti_alg_t alg)
{
    int           i;
    ti_str_t      jws;
    ti_signer_t  *signer;

    signer = signer_of(text, wanted, "");
    assert_int_equal(ti_signer_alg(signer), alg);

    for (i = 0; i < 4; i++) {
        assert_int_equal(ti_signer_jws(signer, &unit.pool, ti_str("{\"a\":1}"),
                                       &jws), TI_OK);
        assert_str(verified(key, alg, "", jws), "{\"a\":1}");
    }

    ti_signer_free(signer);
}


static void
signs_with_every_algorithm(void **state)
{
    size_t  i;

    const struct {
        const jm_key_t  *key;
        ti_alg_t         alg;
    } cases[] = {
        { &rsa, TI_ALG_RS256 }, { &rsa, TI_ALG_RS384 }, { &rsa, TI_ALG_RS512 },
        { &rsa, TI_ALG_PS256 }, { &rsa, TI_ALG_PS384 }, { &rsa, TI_ALG_PS512 },
        { &p256, TI_ALG_ES256 }, { &p384, TI_ALG_ES384 },
        { &p521, TI_ALG_ES512 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        signs(cases[i].key, private_jwk(cases[i].key, ""), cases[i].alg,
              cases[i].alg);
        signs(cases[i].key, pem(cases[i].key, NULL), cases[i].alg,
              cases[i].alg);
    }

    signs(&rsa, private_jwk(&rsa, ""), TI_ALG_NONE, TI_ALG_RS256);
    signs(&rsa, private_jwk(&rsa, ",\"alg\":\"PS256\""), TI_ALG_NONE,
          TI_ALG_PS256);
    signs(&p384, private_jwk(&p384, ""), TI_ALG_NONE, TI_ALG_ES384);
    signs(&p256, jm_printf(" \r\n\t%s\n", private_jwk(&p256, "")), TI_ALG_NONE,
          TI_ALG_ES256);

    /* RFC 7518 section 6.3.2: the primes are a help, not the key */
    signs(&rsa, jm_jwk(&rsa, jm_printf(",\"d\":\"%s\"",
                                       jm_number(&rsa, OSSL_PKEY_PARAM_RSA_D,
                                                 0))),
          TI_ALG_NONE, TI_ALG_RS256);
}


static ti_rc_t
fill(void *data, unsigned char *buf, size_t len)
{
    int  *n;

    n = data;

    if (*n < 0) {
        return TI_ERROR;
    }

    memset(buf, (*n)++, len);

    return TI_OK;
}


static void
claim_is(const json_t *claims, const char *name, const char *expected)
{
    ti_str_t  text;

    assert_int_equal(ti_json_string(claims, name, &text), TI_OK);
    assert_str(text, expected);
}


static void
asserts_who_the_client_is(void **state)
{
    int           n;
    json_t       *header, *claims;
    ti_str_t      jws;
    ti_random_t   random;
    ti_signer_t  *signer;

    n = 0;
    random.fill = fill;
    random.data = &n;

    signer = signer_of(private_jwk(&p256, ",\"kid\":\"k1\""), TI_ALG_NONE, "");

    assert_int_equal(ti_signer_assertion(signer, &unit.pool, &random,
                         ti_str("my \"id\""), ti_str("https://p/token"), NOW,
                         &jws), TI_OK);

    header = header_of(jws);
    assert_int_equal(json_object_size(header), 3);
    claim_is(header, "alg", "ES256");
    claim_is(header, "typ", "JWT");
    claim_is(header, "kid", "k1");
    json_decref(header);

    claims = object_of(verified(&p256, TI_ALG_ES256,
                                ",\"kid\":\"k1\"", jws));
    claim_is(claims, "iss", "my \"id\"");
    claim_is(claims, "sub", "my \"id\"");
    claim_is(claims, "aud", "https://p/token");
    claim_is(claims, "jti", "AAAAAAAAAAAAAAAAAAAAAA");
    assert_int_equal(json_integer_value(json_object_get(claims, "iat")), NOW);
    assert_int_equal(json_integer_value(json_object_get(claims, "nbf")), NOW);
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")),
                     NOW + 60);
    json_decref(claims);

    assert_int_equal(ti_signer_assertion(signer, &unit.pool, &random,
                         ti_str("c"), ti_str("a"), NOW, &jws), TI_OK);
    claims = object_of(verified(&p256, TI_ALG_ES256,
                                ",\"kid\":\"k1\"", jws));
    claim_is(claims, "jti", "AQEBAQEBAQEBAQEBAQEBAQ");
    json_decref(claims);

    n = -1;
    assert_int_equal(ti_signer_assertion(signer, &unit.pool, &random,
                         ti_str("c"), ti_str("a"), NOW, &jws), TI_ERROR);
    n = 0;
    unit.left = 0;
    assert_int_equal(ti_signer_assertion(signer, &unit.pool, &random,
                         ti_str("c"), ti_str("a"), NOW, &jws), TI_ERROR);

    ti_signer_free(signer);
}


static void
header_has(const char *text, const char *kid, const char *member,
    const char *expected)
{
    json_t       *header;
    ti_str_t      jws;
    ti_signer_t  *signer;

    signer = signer_of(text, TI_ALG_NONE, kid);
    assert_int_equal(ti_signer_jws(signer, &unit.pool, ti_str("{}"), &jws),
                     TI_OK);

    header = header_of(jws);

    if (expected == NULL) {
        assert_null(json_object_get(header, member));

    } else {
        claim_is(header, member, expected);
    }

    json_decref(header);
    ti_signer_free(signer);
}


static void
names_its_key(void **state)
{
    X509           *own, *other;
    char           *thumbprint, *both;
    unsigned        len;
    unsigned char   digest[32];

    own = certificate(&rsa);
    other = certificate(&p256);

    assert_int_equal(X509_digest(own, EVP_sha256(), digest, &len), 1);
    thumbprint = jm_b64u(digest, len);

    both = jm_printf("%s%s", certificate_pem(other), certificate_pem(own));

    header_has(jm_printf("%s%s", pem(&rsa, NULL), both), "", "x5t#S256",
               thumbprint);
    header_has(jm_printf("%s%s", both, pem(&rsa, NULL)), "", "x5t#S256",
               thumbprint);
    header_has(jm_printf("%s%s", pem(&rsa, NULL), certificate_pem(other)), "",
               "x5t#S256", NULL);
    header_has(pem(&rsa, NULL), "", "x5t#S256", NULL);
    header_has(private_jwk(&rsa, ",\"x5t#S256\":\"abc\""), "", "x5t#S256",
               "abc");

    header_has(pem(&rsa, NULL), "", "kid", NULL);
    header_has(pem(&rsa, NULL), "k2", "kid", "k2");
    header_has(private_jwk(&rsa, ",\"kid\":\"k1\""), "", "kid", "k1");
    header_has(private_jwk(&rsa, ",\"kid\":\"k1\""), "k2", "kid", "k2");

    X509_free(own);
    X509_free(other);
}


static void
refuses_other_keys(void **state)
{
    jm_key_t     weak, ed;
    const char  *bare;

    static const char  half[] = "the JWK is not a whole private key";
    static const char  no_pem[] =
        "neither a JWK nor a private key in PEM without a passphrase";
    static const char  kind[] = "the \"kty\" is neither \"RSA\" nor \"EC\"";
    static const char  unfit[] = "the key does not serve this algorithm";

    weak = jm_rsa(1024);
    ed = jm_ed25519();

    no_signer("", TI_ALG_NONE, no_pem);
    no_signer("secret", TI_ALG_NONE, no_pem);
    no_signer(pem(&rsa, "passphrase"), TI_ALG_NONE, no_pem);
    no_signer("{", TI_ALG_NONE, "not JSON");
    no_signer("{}", TI_ALG_NONE, kind);
    no_signer("{\"kty\":\"oct\",\"k\":\"AAAA\"}", TI_ALG_NONE, kind);
    no_signer("{\"kty\":\"RSA\"}", TI_ALG_NONE, half);
    no_signer(jm_jwk(&rsa, ""), TI_ALG_NONE, half);
    no_signer(jm_jwk(&p256, ""), TI_ALG_NONE, half);
    no_signer(jm_jwk(&p256, ",\"d\":\"****\""), TI_ALG_NONE, half);
    no_signer(jm_jwk(&rsa, jm_printf(",\"d\":\"%s\",\"p\":\"%s\"",
                                     jm_number(&rsa, OSSL_PKEY_PARAM_RSA_D, 0),
                                     jm_number(&rsa,
                                               OSSL_PKEY_PARAM_RSA_FACTOR1,
                                               0))),
              TI_ALG_NONE, half);
    no_signer("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\","
              "\"d\":\"AQ\"}", TI_ALG_NONE, half);

    no_signer(private_jwk(&weak, ""), TI_ALG_NONE,
              "an RSA key below 2048 or above 8192 bits");
    no_signer(pem(&weak, NULL), TI_ALG_NONE,
              "an RSA key below 2048 or above 8192 bits");

    bare = jm_jwk(&p256, ",\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
                         "\"");
    no_signer(bare, TI_ALG_NONE,
              "the private and the public key are not a pair");

    no_signer(private_jwk(&rsa, ""), TI_ALG_ES256, unfit);
    no_signer(private_jwk(&p256, ""), TI_ALG_ES384, unfit);
    no_signer(private_jwk(&p256, ""), TI_ALG_RS256, unfit);
    no_signer(private_jwk(&p256, ""), TI_ALG_HS256, unfit);
    no_signer(pem(&ed, NULL), TI_ALG_NONE, unfit);
    no_signer(private_jwk(&rsa, ",\"alg\":\"RS256\""), TI_ALG_PS256,
              "the JWK's \"alg\" is not the one that is wanted");
    no_signer(private_jwk(&rsa, ",\"alg\":\"none\""), TI_ALG_NONE,
              "an \"alg\" that is not known");
    no_signer(private_jwk(&rsa, ",\"alg\":1"), TI_ALG_NONE,
              "an \"alg\" that is not known");

    ti_signer_free(NULL);
}


#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(signs_with_every_algorithm),
        test(asserts_who_the_client_is),
        test(names_its_key),
        test(refuses_other_keys)
    };

    return cmocka_run_group_tests_name("ti_signer", tests, set_up_all,
                                       tear_down_all);
}
