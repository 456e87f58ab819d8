/*
 * Floor 1: public keys from their numbers (big-endian bytes), weak ones
 * refused.
 *
 * Each returns a key that the caller owns, or NULL with *why a static
 * phrase.  OpenSSL's error queue is left empty.
 */

#ifndef TI_PKEY_H
#define TI_PKEY_H

#include <openssl/evp.h>

#include "ti_base.h"


#define TI_PKEY_RSA_MIN    2048             /* bits of a modulus */
#define TI_PKEY_RSA_MAX    8192
#define TI_PKEY_RSA_E_MAX  64               /* bits of an exponent */

#define TI_PKEY_COORD_MAX  66               /* bytes, P-521 */


EVP_PKEY *ti_pkey_rsa(ti_str_t n, ti_str_t e, const char **why);

/* curve: "P-256", "P-384", "P-521"; both coordinates of its full length */
EVP_PKEY *ti_pkey_ec(const char *curve, ti_str_t x, ti_str_t y,
    const char **why);

EVP_PKEY *ti_pkey_ed25519(ti_str_t x, const char **why);


#endif /* TI_PKEY_H */
