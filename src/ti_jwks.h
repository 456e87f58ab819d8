/*
 * Floor 2: a JWK Set (RFC 7517) to keys that verify.
 *
 * A key that is weak, malformed, private where it need not be, of an unknown
 * type or meant for another use is left out on its own; its neighbours still
 * work.  Weak: RSA under 2048 or above 8192 bits, an even exponent or one
 * below 3 or above 64 bits; a point off its curve; a MAC secret shorter than
 * its hash (RFC 7518 section 3.2).
 */

#ifndef TI_JWKS_H
#define TI_JWKS_H

#include "ti_crypto.h"


#define TI_JWKS_MAX_SIZE  (512 * 1024)
#define TI_JWKS_MAX_KEYS  256


typedef struct {
    ti_str_t              kid;              /* {NULL, 0}: has none */
    const ti_verifier_t  *verifier;         /* says which algorithms */
} ti_jwk_t;

typedef struct ti_jwks_s  ti_jwks_t;


/*
 * algorithms: what may be used; MAC algorithms admit "oct" keys, which are
 * ignored otherwise.  ignored(), where given, hears of each key left out:
 * its place in the set from 0, its kid (may be empty; escape before logging)
 * and a static phrase.  TI_OK: *set is ti_jwks_free()'s to end, with 0 keys
 * or more.  TI_DECLINED: not a JWK Set, *why is a static phrase.
 */

typedef struct {
    void  (*ignored)(void *data, size_t index, ti_str_t kid, const char *why);
    void   *data;
} ti_jwks_report_t;

ti_rc_t ti_jwks_parse(ti_crypto_t *crypto, ti_str_t text, unsigned algorithms,
    const ti_jwks_report_t *report, ti_jwks_t **set, const char **why);
void ti_jwks_free(ti_jwks_t *set);
size_t ti_jwks_count(const ti_jwks_t *set); /* NULL: 0 */
const ti_jwk_t *ti_jwks_key(const ti_jwks_t *set, size_t i);


/*
 * The key for a JWS among several sets (NULL among them has no key): the only
 * one that serves alg and, where kid.data is not NULL, has exactly that kid.
 * NULL where none fits or more than one does; *why tells them apart, and
 * *unknown is 1 where another set might have it, the sign that the issuer's is
 * newer: no key has that kid at all, or without a kid none serves alg.
 */

const ti_jwk_t *ti_jwks_select(const ti_jwks_t *const *sets, size_t nsets,
    ti_alg_t alg, ti_str_t kid, int *unknown, const char **why);


#endif /* TI_JWKS_H */
