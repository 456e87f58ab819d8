/*
 * Floor 2, for ti_signer*.c alone: a private key, read.
 */

#ifndef TI_SIGNER_PRIVATE_H
#define TI_SIGNER_PRIVATE_H

#include <openssl/evp.h>

#include "ti_signer.h"


typedef struct {
    EVP_PKEY       *pkey;                   /* EVP_PKEY_free() ends it */
    ti_alg_t        alg;                    /* TI_ALG_NONE: does not say */
    json_t         *kid;                    /* a string, or NULL */
    json_t         *x5t;                    /* the same; "x5t#S256" */
} ti_signer_key_t;


/* TI_DECLINED leaves nothing to end; *why is a static phrase */

ti_rc_t ti_signer_read_jwk(ti_str_t text, ti_signer_key_t *key,
    const char **why);
ti_rc_t ti_signer_read_pem(ti_str_t text, ti_signer_key_t *key,
    const char **why);

void ti_signer_key_clear(ti_signer_key_t *key);


#endif /* TI_SIGNER_PRIVATE_H */
