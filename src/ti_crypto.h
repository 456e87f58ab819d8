/*
 * Floor 1: the few OpenSSL calls.
 *
 * A ti_crypto_t holds algorithms fetched once and contexts that are used
 * again and again; it belongs to one thread of one process (created before
 * fork() it may be used by each child).  Nothing but secrets' copies inside
 * those contexts stays behind, and ti_crypto_free() wipes them.
 */

#ifndef TI_CRYPTO_H
#define TI_CRYPTO_H

#include <openssl/evp.h>

#include "ti_base.h"


#define TI_SHA256_LEN  32
#define TI_KEY_LEN     32                   /* of every secret key here */
#define TI_NONCE_LEN   12                   /* GCM, never another length */
#define TI_TAG_LEN     16                   /* GCM, never a shorter one */


typedef struct ti_crypto_s  ti_crypto_t;

ti_crypto_t *ti_crypto_create(void);        /* NULL: OpenSSL refused */
void ti_crypto_free(ti_crypto_t *crypto);   /* NULL is allowed */

/* OpenSSL's generator, for who has no other */
ti_random_t ti_crypto_random(void);


/*
 * SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104) over the parts in order,
 * and HKDF-SHA-256 (RFC 5869) with at most 32 bytes out; an empty salt is
 * the RFC's zeros.  TI_OK or TI_ERROR.
 */

ti_rc_t ti_crypto_sha256(ti_crypto_t *crypto, const ti_str_t *parts, size_t n,
    unsigned char out[TI_SHA256_LEN]);
ti_rc_t ti_crypto_hmac(ti_crypto_t *crypto, ti_str_t key,
    const ti_str_t *parts, size_t n, unsigned char out[TI_SHA256_LEN]);
ti_rc_t ti_crypto_hkdf(ti_crypto_t *crypto, ti_str_t key, ti_str_t salt,
    ti_str_t info, unsigned char *out, size_t len);


/*
 * SHA-256 of enc(fields), without building it: the digest of a list.
 */

ti_rc_t ti_crypto_sha256_enc(ti_crypto_t *crypto, const ti_str_t *fields,
    size_t n, unsigned char out[TI_SHA256_LEN]);
ti_rc_t ti_crypto_hmac_enc(ti_crypto_t *crypto, ti_str_t key,
    const ti_str_t *fields, size_t n, unsigned char out[TI_SHA256_LEN]);


/*
 * AES-256-GCM (SP 800-38D).  in and out may be the same memory, of in.len
 * bytes.  Opening returns TI_DECLINED and wipes out when the tag is wrong.
 */

ti_rc_t ti_crypto_seal(ti_crypto_t *crypto, const unsigned char key[TI_KEY_LEN],
    const unsigned char nonce[TI_NONCE_LEN], ti_str_t aad, ti_str_t in,
    unsigned char *out, unsigned char tag[TI_TAG_LEN]);
ti_rc_t ti_crypto_open(ti_crypto_t *crypto, const unsigned char key[TI_KEY_LEN],
    const unsigned char nonce[TI_NONCE_LEN], ti_str_t aad, ti_str_t in,
    const unsigned char tag[TI_TAG_LEN], unsigned char *out);


/* JWS algorithms, RFC 7518 section 3.1 and RFC 8037; bits of a set. */

typedef enum {
    TI_ALG_NONE = 0,                        /* none, and never in a set */
    TI_ALG_RS256 = 1 << 0,
    TI_ALG_RS384 = 1 << 1,
    TI_ALG_RS512 = 1 << 2,
    TI_ALG_PS256 = 1 << 3,
    TI_ALG_PS384 = 1 << 4,
    TI_ALG_PS512 = 1 << 5,
    TI_ALG_ES256 = 1 << 6,
    TI_ALG_ES384 = 1 << 7,
    TI_ALG_ES512 = 1 << 8,
    TI_ALG_EDDSA = 1 << 9,
    TI_ALG_HS256 = 1 << 10,
    TI_ALG_HS384 = 1 << 11,
    TI_ALG_HS512 = 1 << 12
} ti_alg_t;

#define TI_ALGS_RSA  (TI_ALG_RS256|TI_ALG_RS384|TI_ALG_RS512                  \
                      |TI_ALG_PS256|TI_ALG_PS384|TI_ALG_PS512)
#define TI_ALGS_EC   (TI_ALG_ES256|TI_ALG_ES384|TI_ALG_ES512)
#define TI_ALGS_MAC  (TI_ALG_HS256|TI_ALG_HS384|TI_ALG_HS512)

/* exact spelling, or TI_ALG_NONE */
ti_alg_t ti_alg_by_name(ti_str_t name);
const char *ti_alg_name(ti_alg_t alg);


/*
 * A key made ready for verification: one verification context per algorithm
 * that it may serve, so that a signature costs no set-up.
 */

typedef struct ti_verifier_s  ti_verifier_t;

/*
 * Takes over pkey (freed with the verifier, or on failure).  algs: those that
 * fit the key's type and curve; the rest are left out silently.
 */
ti_verifier_t *ti_verifier_create(ti_crypto_t *crypto, EVP_PKEY *pkey,
    unsigned algs);
/* copies the secret; wiped when freed */
ti_verifier_t *ti_verifier_create_mac(ti_str_t secret, unsigned algs);
void ti_verifier_free(ti_verifier_t *verifier);
unsigned ti_verifier_algs(const ti_verifier_t *verifier);

/*
 * The signature in JWS form (RFC 7518 section 3.4: r||s for ECDSA).
 * TI_OK: it is this key's.  TI_DECLINED: it is not.  alg must be one of
 * ti_verifier_algs().
 */
ti_rc_t ti_crypto_verify(ti_crypto_t *crypto, const ti_verifier_t *verifier,
    ti_alg_t alg, ti_str_t input, ti_str_t signature);


#endif /* TI_CRYPTO_H */
