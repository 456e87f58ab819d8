/*
 * Floor 1: what ti_crypto.c and ti_verifier.c share; nobody else's.
 */

#ifndef TI_CRYPTO_PRIVATE_H
#define TI_CRYPTO_PRIVATE_H

#include "ti_crypto.h"


typedef enum {
    TI_HASH_SHA256,
    TI_HASH_SHA384,
    TI_HASH_SHA512,
    TI_HASH_LAST
} ti_hash_id_t;

#define TI_HASH_MAX  64                     /* SHA-512 */


typedef struct {
    EVP_MD       *md;
    EVP_MD_CTX   *ctx;                      /* begun with md, never another */
    EVP_MAC_CTX  *hmac;
    size_t        len;
} ti_hash_t;


struct ti_crypto_s {
    ti_hash_t        hash[TI_HASH_LAST];
    EVP_CIPHER      *gcm;
    EVP_CIPHER_CTX  *seal;
    EVP_CIPHER_CTX  *open;
    EVP_MD_CTX      *eddsa;
};


/* Are fields taken as they are, or each behind its length, as enc() does? */

typedef enum {
    TI_PLAIN,
    TI_ENC
} ti_form_t;


/* hash->len bytes to out; TI_OK or TI_ERROR */

ti_rc_t ti_hash(ti_hash_t *hash, const ti_str_t *fields, size_t n,
    ti_form_t form, unsigned char *out);
ti_rc_t ti_hmac(ti_hash_t *hash, ti_str_t key, const ti_str_t *fields,
    size_t n, ti_form_t form, unsigned char *out);


/*
 * Gives rc back with OpenSSL's error queue empty: what is left there, nginx
 * would take for an error of its next TLS connection.
 */

ti_rc_t ti_crypto_refused(ti_rc_t rc);


#endif /* TI_CRYPTO_PRIVATE_H */
