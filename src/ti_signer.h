/*
 * Floor 2: a private key made ready to sign, and the assertion by which a
 * client says who it is (RFC 7523, "private_key_jwt").
 */

#ifndef TI_SIGNER_H
#define TI_SIGNER_H

#include "ti_crypto.h"
#include "ti_json.h"


#define TI_SIGNER_MAX_SIZE  65536           /* of the key's text */
#define TI_SIGNER_LIFE      60              /* seconds, of an assertion */


typedef struct ti_signer_s  ti_signer_t;


/*
 * From a private key in JWK form (RFC 7517; RSA or EC) or in PEM, which is
 * not encrypted, and where a certificate of that key may be beside it.  alg
 * is RS, PS or ES; TI_ALG_NONE: the JWK's own "alg", else RS256 for RSA and
 * what goes with the curve for EC.  The header of what is signed has "kid",
 * where it is given or the JWK has one, and "x5t#S256", where there is a
 * certificate or the JWK has the member.
 *
 * TI_OK: *signer is ti_signer_free()'s to end, which wipes it.  TI_DECLINED:
 * *why is a static phrase.  The text is the caller's to wipe.
 */

ti_rc_t ti_signer_create(ti_str_t text, ti_alg_t alg, ti_str_t kid,
    ti_signer_t **signer, const char **why);
void ti_signer_free(ti_signer_t *signer);   /* NULL is allowed */
ti_alg_t ti_signer_alg(const ti_signer_t *signer);


/*
 * A JWS of claims that say: I am this client, to this audience, from now for
 * TI_SIGNER_LIFE seconds, once ("jti" is random).  Memory is the pool's.
 */

ti_rc_t ti_signer_assertion(const ti_signer_t *signer, const ti_pool_t *pool,
    const ti_random_t *random, ti_str_t client_id, ti_str_t audience,
    int64_t now, ti_str_t *assertion);


/* A compact JWS of any payload; what the above is made of. */

ti_rc_t ti_signer_jws(const ti_signer_t *signer, const ti_pool_t *pool,
    ti_str_t payload, ti_str_t *jws);


#endif /* TI_SIGNER_H */
