/*
 * Floor 2: a private key out of what an operator keeps it in.
 */

#include <limits.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "ti_signer_private.h"


#define TI_SIGNER_NUMBER_MAX  1024          /* bytes of one of RSA's */
#define TI_SIGNER_COORD_MAX   66


/* A member of the JWK, and what OpenSSL calls it. */

typedef struct {
    const char  *member;
    const char  *param;
} ti_signer_number_t;


static const ti_signer_number_t  ti_signer_rsa[] = {
    { "n", OSSL_PKEY_PARAM_RSA_N },
    { "e", OSSL_PKEY_PARAM_RSA_E },
    { "d", OSSL_PKEY_PARAM_RSA_D },
    { "p", OSSL_PKEY_PARAM_RSA_FACTOR1 },
    { "q", OSSL_PKEY_PARAM_RSA_FACTOR2 },
    { "dp", OSSL_PKEY_PARAM_RSA_EXPONENT1 },
    { "dq", OSSL_PKEY_PARAM_RSA_EXPONENT2 },
    { "qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1 }
};

#define TI_SIGNER_NRSA   (sizeof(ti_signer_rsa) / sizeof(ti_signer_rsa[0]))
#define TI_SIGNER_NBARE  3                  /* without the primes */


/* The memory of params is this side's, so it may be written to. */

static EVP_PKEY *
ti_signer_from(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY      *pkey;
    OSSL_PARAM    *params, *p;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    params = OSSL_PARAM_BLD_to_param(bld);

    if (ctx == NULL || params == NULL
        || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
    {
        pkey = NULL;
    }

    for (p = params; p != NULL && p->key != NULL; p++) {
        ti_wipe(p->data, p->data_size);
    }

    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


/* NULL: absent, or no base64url of at most TI_SIGNER_NUMBER_MAX bytes */

static BIGNUM *
ti_signer_bn(const json_t *jwk, const char *member)
{
    size_t          len;
    BIGNUM         *bn;
    ti_str_t        text;
    unsigned char   buf[TI_SIGNER_NUMBER_MAX];

    if (ti_json_string(jwk, member, &text) != TI_OK
        || ti_b64u_decoded_len(text.len) > sizeof(buf)
        || ti_b64u_decode(buf, &len, text) != TI_OK)
    {
        return NULL;
    }

    bn = BN_bin2bn(buf, (int) len, NULL);
    ti_wipe(buf, sizeof(buf));

    return bn;
}


/*
 * RFC 7518 section 6.3.2: the numbers of the primes are all there or none is.
 * Of some of them alone, OpenSSL 3.0 leaks those.
 */

static size_t
ti_signer_rsa_count(const json_t *jwk)
{
    size_t  i;

    for (i = TI_SIGNER_NBARE; i < TI_SIGNER_NRSA; i++) {
        if (ti_json_has(jwk, ti_signer_rsa[i].member)) {
            return TI_SIGNER_NRSA;
        }
    }

    return TI_SIGNER_NBARE;
}


static EVP_PKEY *
ti_signer_jwk_rsa(const json_t *jwk)
{
    size_t           i, n;
    BIGNUM          *bn[TI_SIGNER_NRSA];
    EVP_PKEY        *pkey;
    OSSL_PARAM_BLD  *bld;

    pkey = NULL;
    memset(bn, 0, sizeof(bn));

    bld = OSSL_PARAM_BLD_new();
    if (bld == NULL) {
        return NULL;
    }

    n = ti_signer_rsa_count(jwk);

    for (i = 0; i < n; i++) {
        bn[i] = ti_signer_bn(jwk, ti_signer_rsa[i].member);

        if (bn[i] == NULL
            || OSSL_PARAM_BLD_push_BN(bld, ti_signer_rsa[i].param, bn[i]) != 1)
        {
            goto done;
        }
    }

    pkey = ti_signer_from("RSA", bld);

done:

    OSSL_PARAM_BLD_free(bld);

    for (i = 0; i < TI_SIGNER_NRSA; i++) {
        BN_clear_free(bn[i]);
    }

    return pkey;
}


/* The point in its uncompressed form; 0: the coordinates are none of it. */

static size_t
ti_signer_point(const json_t *jwk, unsigned char *point)
{
    size_t    x_len, y_len;
    ti_str_t  x, y;

    if (ti_json_string(jwk, "x", &x) != TI_OK
        || ti_json_string(jwk, "y", &y) != TI_OK
        || x.len != y.len
        || ti_b64u_decoded_len(x.len) > TI_SIGNER_COORD_MAX)
    {
        return 0;
    }

    point[0] = POINT_CONVERSION_UNCOMPRESSED;

    if (ti_b64u_decode(point + 1, &x_len, x) != TI_OK
        || ti_b64u_decode(point + 1 + x_len, &y_len, y) != TI_OK)
    {
        return 0;
    }

    return 1 + x_len + y_len;
}


static EVP_PKEY *
ti_signer_jwk_ec(const json_t *jwk)
{
    size_t           len;
    BIGNUM          *d;
    ti_str_t         crv;
    EVP_PKEY        *pkey;
    OSSL_PARAM_BLD  *bld;
    unsigned char    point[1 + 2 * TI_SIGNER_COORD_MAX];

    if (ti_json_string(jwk, "crv", &crv) != TI_OK) {
        return NULL;
    }

    pkey = NULL;
    len = ti_signer_point(jwk, point);
    d = ti_signer_bn(jwk, "d");
    bld = OSSL_PARAM_BLD_new();

    if (len != 0 && d != NULL && bld != NULL
        && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
                                           (const char *) crv.data, crv.len)
           == 1
        && OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY,
                                            point, len)
           == 1
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1)
    {
        pkey = ti_signer_from("EC", bld);
    }

    OSSL_PARAM_BLD_free(bld);
    BN_clear_free(d);

    return pkey;
}


/* The private numbers do not stay behind in the parser's memory. */

static void
ti_signer_wipe_jwk(json_t *jwk)
{
    size_t    i;
    ti_str_t  text;

    static const char *const  names[] = { "d", "p", "q", "dp", "dq", "qi" };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ti_json_string(jwk, names[i], &text) == TI_OK) {
            ti_wipe((void *) text.data, text.len);
        }
    }

    json_decref(jwk);
}


static ti_rc_t
ti_signer_take_jwk(const json_t *jwk, ti_signer_key_t *key, const char **why)
{
    ti_str_t  text;

    if (ti_json_has(jwk, "alg")) {

        if (ti_json_string(jwk, "alg", &text) == TI_OK) {
            key->alg = ti_alg_by_name(text);
        }

        if (key->alg == TI_ALG_NONE) {
            *why = "an \"alg\" that is not known";
            return TI_DECLINED;
        }
    }

    if (ti_json_string(jwk, "kty", &text) != TI_OK) {
        text = ti_null_str;
    }

    if (ti_str_eq(text, ti_str("RSA"))) {
        key->pkey = ti_signer_jwk_rsa(jwk);

    } else if (ti_str_eq(text, ti_str("EC"))) {
        key->pkey = ti_signer_jwk_ec(jwk);

    } else {
        *why = "the \"kty\" is neither \"RSA\" nor \"EC\"";
        return TI_DECLINED;
    }

    if (key->pkey == NULL) {
        *why = "the JWK is not a whole private key";
        return TI_DECLINED;
    }

    if (ti_json_string(jwk, "kid", &text) == TI_OK) {
        key->kid = json_incref(json_object_get(jwk, "kid"));
    }

    if (ti_json_string(jwk, "x5t#S256", &text) == TI_OK) {
        key->x5t = json_incref(json_object_get(jwk, "x5t#S256"));
    }

    return TI_OK;
}


ti_rc_t
ti_signer_read_jwk(ti_str_t text, ti_signer_key_t *key, const char **why)
{
    json_t   *jwk;
    ti_rc_t   rc;

    memset(key, 0, sizeof(ti_signer_key_t));

    rc = ti_json_parse_object(text, TI_SIGNER_MAX_SIZE, &jwk, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_signer_take_jwk(jwk, key, why);

    ti_signer_wipe_jwk(jwk);
    ERR_clear_error();

    return rc;
}


/* Nobody is asked for a passphrase: there may be a terminal. */

static int
ti_signer_no_passphrase(char *buf, int size, int rwflag, void *data)
{
    return -1;
}


/* RFC 7515 section 4.1.8; NULL: no certificate of this key's there */

static json_t *
ti_signer_thumbprint(BIO *bio, EVP_PKEY *pkey)
{
    X509           *cert;
    json_t         *x5t;
    unsigned        len;
    unsigned char   digest[EVP_MAX_MD_SIZE], text[64];

    x5t = NULL;

    for ( ;; ) {
        cert = PEM_read_bio_X509(bio, NULL, ti_signer_no_passphrase, NULL);
        if (cert == NULL) {
            return NULL;
        }

        if (X509_check_private_key(cert, pkey) == 1
            && X509_digest(cert, EVP_sha256(), digest, &len) == 1
            && len == TI_SHA256_LEN)
        {
            len = (unsigned) ti_b64u_encode(text, ti_str_from(digest, len));
            x5t = json_stringn((const char *) text, len);
        }

        X509_free(cert);

        if (x5t != NULL) {
            return x5t;
        }
    }
}


ti_rc_t
ti_signer_read_pem(ti_str_t text, ti_signer_key_t *key, const char **why)
{
    BIO  *bio;

    memset(key, 0, sizeof(ti_signer_key_t));

    if (text.len > TI_SIGNER_MAX_SIZE) {
        *why = "a key above 65536 bytes";
        return TI_DECLINED;
    }

    bio = BIO_new_mem_buf(text.data, (int) text.len);
    if (bio == NULL) {
        *why = "no memory";
        ERR_clear_error();
        return TI_ERROR;
    }

    key->pkey = PEM_read_bio_PrivateKey(bio, NULL, ti_signer_no_passphrase,
                                        NULL);

    if (key->pkey != NULL && BIO_reset(bio) == 1) {
        key->x5t = ti_signer_thumbprint(bio, key->pkey);
    }

    BIO_free(bio);
    ERR_clear_error();

    if (key->pkey == NULL) {
        *why = "neither a JWK nor a private key in PEM without a passphrase";
        return TI_DECLINED;
    }

    return TI_OK;
}


void
ti_signer_key_clear(ti_signer_key_t *key)
{
    EVP_PKEY_free(key->pkey);
    json_decref(key->kid);
    json_decref(key->x5t);
    memset(key, 0, sizeof(ti_signer_key_t));
}
