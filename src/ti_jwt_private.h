/*
 * Floor 3, for ti_jws.c and ti_jwt*.c alone: the two layers of a token.
 */

#ifndef TI_JWT_PRIVATE_H
#define TI_JWT_PRIVATE_H

#include "ti_header.h"
#include "ti_jwt.h"


/* A JWS taken apart; nothing of it is trusted by being here. */

typedef struct {
    ti_str_t        input;                  /* what the signature is over */
    ti_str_t        payload;
    ti_str_t        signature;
    json_t         *header;                 /* kid borrows from it */
    ti_str_t        kid;                    /* data is NULL: has none */
    ti_alg_t        alg;
    unsigned char   buf[TI_TOKEN_MAX];      /* the parts, decoded */
} ti_jws_t;


/* RFC 7515 section 3.1: three parts, so two dots. */

ti_rc_t ti_jws_split(ti_str_t text, ti_str_t parts[3]);


/*
 * The form and the header, of a text that outlives *jws.  TI_OK:
 * ti_jws_clear() ends it.
 */

ti_rc_t ti_jws_read(ti_jws_t *jws, ti_str_t text, const char **why);
void ti_jws_clear(ti_jws_t *jws);


/*
 * May it have been signed so, and was it?  TI_DECLINED: *newer is 1 where a
 * newer set of keys could say otherwise, a key that was found by its kid
 * could not.
 */

ti_rc_t ti_jws_check_alg(const ti_jws_t *jws, unsigned algorithms,
    const char **why);
ti_rc_t ti_jws_check_signature(ti_crypto_t *crypto, const ti_jws_t *jws,
    const ti_jwks_t *const *sets, size_t nsets, int *newer, const char **why);


/*
 * Is it of a type that the issuer's tokens have, and does what was said hold,
 * here and now?  The latter fills *jwt from its claims.
 */

ti_rc_t ti_jwt_check_typ(const ti_jwt_issuer_t *issuer, const ti_jws_t *jws,
    const char **why);
ti_result_t ti_jwt_check_claims(const ti_pool_t *pool,
    const ti_jwt_issuer_t *issuer, int64_t now, ti_jwt_t *jwt,
    const char **why);

ti_result_t ti_jwt_result(ti_rc_t rc);


#endif /* TI_JWT_PRIVATE_H */
