/*
 * Keys, JWKs and compact JWS for the tests, made with OpenSSL alone: none of
 * the code under test signs, encodes or reads here.  What is returned lives
 * until jm_done().  A failure of the maker itself aborts.
 */

#ifndef JWS_MAKE_H
#define JWS_MAKE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>


#define JM_SIGNATURE_MAX  1024

#define jm_check(ok)                                                          \
    do {                                                                      \
        if (!(ok)) {                                                          \
            fprintf(stderr, "jws_make.h:%d: " #ok "\n", __LINE__);            \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    const char     *crv;                    /* NULL: RSA or a secret */
    EVP_PKEY       *pkey;                   /* NULL: a secret */
    unsigned char  *secret;
    size_t          secret_len;
} jm_key_t;

typedef struct jm_kept_s  jm_kept_t;

struct jm_kept_s {
    jm_kept_t  *next;
    void       *p;
    EVP_PKEY   *pkey;
};


static jm_kept_t  *jm_kept;


static inline void
jm_keep(void *p, EVP_PKEY *pkey)
{
    jm_kept_t  *kept;

    kept = malloc(sizeof(jm_kept_t));
    jm_check(kept != NULL);

    kept->p = p;
    kept->pkey = pkey;
    kept->next = jm_kept;
    jm_kept = kept;
}


static inline void
jm_done(void)
{
    jm_kept_t  *kept;

    while (jm_kept != NULL) {
        kept = jm_kept;
        jm_kept = kept->next;

        EVP_PKEY_free(kept->pkey);
        free(kept->p);
        free(kept);
    }
}


static inline void *
jm_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size + 1);
    jm_check(p != NULL);
    jm_keep(p, NULL);

    return p;
}


__attribute__((format(printf, 1, 2)))
static inline char *
jm_printf(const char *format, ...)
{
    int      n;
    char    *text;
    va_list  args;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    jm_check(n >= 0);

    text = jm_alloc((size_t) n);

    va_start(args, format);
    (void) vsnprintf(text, (size_t) n + 1, format, args);
    va_end(args);

    return text;
}


/* OpenSSL's base64 with the letters of RFC 4648 section 5 and no padding */

static inline char *
jm_b64u(const void *data, size_t len)
{
    char  *text, *p;

    text = jm_alloc(4 * (len / 3 + 1));
    (void) EVP_EncodeBlock((unsigned char *) text, data, (int) len);

    for (p = text; *p != '\0'; p++) {

        switch (*p) {

        case '+':
            *p = '-';
            break;

        case '/':
            *p = '_';
            break;

        case '=':
            *p = '\0';
            return text;
        }
    }

    return text;
}


static inline char *
jm_b64u_text(const char *text)
{
    return jm_b64u(text, strlen(text));
}


static inline jm_key_t
jm_pkey(const char *crv, EVP_PKEY *pkey)
{
    jm_key_t  key;

    jm_check(pkey != NULL);
    jm_keep(NULL, pkey);

    memset(&key, 0, sizeof(key));
    key.crv = crv;
    key.pkey = pkey;

    return key;
}


static inline jm_key_t
jm_rsa(size_t bits)
{
    return jm_pkey(NULL, EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits));
}


static inline jm_key_t
jm_ec(const char *crv)
{
    return jm_pkey(crv, EVP_PKEY_Q_keygen(NULL, NULL, "EC", crv));
}


static inline jm_key_t
jm_ed25519(void)
{
    return jm_pkey("Ed25519", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
}


static inline jm_key_t
jm_secret(const void *secret, size_t len)
{
    jm_key_t  key;

    memset(&key, 0, sizeof(key));

    key.secret = jm_alloc(len);
    key.secret_len = len;
    memcpy(key.secret, secret, len);

    return key;
}


static inline jm_key_t
jm_oct(size_t len)
{
    unsigned char  secret[256];

    jm_check(len <= sizeof(secret) && RAND_bytes(secret, (int) len) == 1);

    return jm_secret(secret, len);
}


static inline size_t
jm_coord(const char *crv)
{
    if (strcmp(crv, "P-256") == 0) {
        return 32;
    }

    return strcmp(crv, "P-384") == 0 ? 48 : 66;
}


/* One number of a key, as wide as said, 0: as wide as it is. */

static inline size_t
jm_number_raw(const jm_key_t *key, const char *name, size_t width,
    unsigned char buf[JM_SIGNATURE_MAX])
{
    BIGNUM  *bn;

    bn = NULL;
    jm_check(EVP_PKEY_get_bn_param(key->pkey, name, &bn) == 1);

    if (width == 0) {
        width = (size_t) BN_num_bytes(bn);
    }

    jm_check(width <= JM_SIGNATURE_MAX
             && BN_bn2binpad(bn, buf, (int) width) == (int) width);
    BN_free(bn);

    return width;
}


static inline char *
jm_number(const jm_key_t *key, const char *name, size_t width)
{
    unsigned char  buf[JM_SIGNATURE_MAX];

    width = jm_number_raw(key, name, width, buf);

    return jm_b64u(buf, width);
}


/* extra: further members, each with its comma before it; may be "" */

static inline char *
jm_jwk(const jm_key_t *key, const char *extra)
{
    size_t         len;
    unsigned char  x[32];

    if (key->pkey == NULL) {
        return jm_printf("{\"kty\":\"oct\",\"k\":\"%s\"%s}",
                         jm_b64u(key->secret, key->secret_len), extra);
    }

    if (key->crv == NULL) {
        return jm_printf("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
                         jm_number(key, OSSL_PKEY_PARAM_RSA_N, 0),
                         jm_number(key, OSSL_PKEY_PARAM_RSA_E, 0), extra);
    }

    if (strcmp(key->crv, "Ed25519") == 0) {
        len = sizeof(x);
        jm_check(EVP_PKEY_get_raw_public_key(key->pkey, x, &len) == 1);

        return jm_printf("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}",
                         jm_b64u(x, len), extra);
    }

    len = jm_coord(key->crv);

    return jm_printf("{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\""
                     "%s}", key->crv,
                     jm_number(key, OSSL_PKEY_PARAM_EC_PUB_X, len),
                     jm_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, len), extra);
}


static inline const EVP_MD *
jm_md(const char *alg)
{
    if (strcmp(alg + 2, "256") == 0) {
        return EVP_sha256();
    }

    return strcmp(alg + 2, "384") == 0 ? EVP_sha384() : EVP_sha512();
}


/* r||s of RFC 7518 section 3.4 */

static inline size_t
jm_ecdsa_raw(unsigned char *sig, size_t len, size_t coord)
{
    ECDSA_SIG            *ecdsa;
    const unsigned char  *p;

    p = sig;
    ecdsa = d2i_ECDSA_SIG(NULL, &p, (long) len);
    jm_check(ecdsa != NULL);

    jm_check(BN_bn2binpad(ECDSA_SIG_get0_r(ecdsa), sig, (int) coord)
             == (int) coord);
    jm_check(BN_bn2binpad(ECDSA_SIG_get0_s(ecdsa), sig + coord, (int) coord)
             == (int) coord);

    ECDSA_SIG_free(ecdsa);

    return 2 * coord;
}


/* What OpenSSL makes of it; of ECDSA that is DER. */

static inline size_t
jm_sign_raw(const jm_key_t *key, const char *alg, const char *input,
    unsigned char sig[JM_SIGNATURE_MAX])
{
    size_t         len;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *pctx;

    len = JM_SIGNATURE_MAX;
    ctx = EVP_MD_CTX_new();
    jm_check(ctx != NULL);

    jm_check(EVP_DigestSignInit(ctx, &pctx,
                                alg[0] == 'E' && alg[1] == 'd' ? NULL
                                                               : jm_md(alg),
                                NULL, key->pkey) == 1);

    if (alg[0] == 'P') {
        jm_check(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING)
                 == 1);
        jm_check(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST)
                 == 1);
    }

    jm_check(EVP_DigestSign(ctx, sig, &len, (const unsigned char *) input,
                            strlen(input)) == 1);

    EVP_MD_CTX_free(ctx);

    return len;
}


static inline size_t
jm_sign(const jm_key_t *key, const char *alg, const char *input,
    unsigned char sig[JM_SIGNATURE_MAX])
{
    size_t    len;
    unsigned  n;

    if (alg[0] == 'H') {
        jm_check(HMAC(jm_md(alg), key->secret, (int) key->secret_len,
                      (const unsigned char *) input, strlen(input), sig, &n)
                 != NULL);
        return n;
    }

    len = jm_sign_raw(key, alg, input, sig);

    if (alg[0] == 'E' && alg[1] == 'S') {
        return jm_ecdsa_raw(sig, len, jm_coord(key->crv));
    }

    return len;
}


/* "header.payload" as it is signed */

static inline char *
jm_input(const char *header, const char *payload)
{
    return jm_printf("%s.%s", jm_b64u_text(header), jm_b64u_text(payload));
}


static inline char *
jm_with(const char *input, const void *sig, size_t len)
{
    return jm_printf("%s.%s", input, jm_b64u(sig, len));
}


/* Signs with alg, whatever the header says. */

static inline char *
jm_jws(const jm_key_t *key, const char *alg, const char *header,
    const char *payload)
{
    char           *input;
    size_t          len;
    unsigned char   sig[JM_SIGNATURE_MAX];

    input = jm_input(header, payload);
    len = jm_sign(key, alg, input, sig);

    return jm_with(input, sig, len);
}


#endif /* JWS_MAKE_H */
