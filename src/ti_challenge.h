/*
 * Floor 2: what a resource server says with its 401: the Bearer challenge of
 * a WWW-Authenticate (RFC 9110 section 11.6.1, RFC 6750 section 3).
 */

#ifndef TI_CHALLENGE_H
#define TI_CHALLENGE_H

#include "ti_json.h"


#define TI_CHALLENGE_ERROR_MAX   64
#define TI_CHALLENGE_CLAIMS_MAX  4096


/*
 * Of the first Bearer challenge with an "error", or empty: error is
 * "invalid_token", "insufficient_claims" and the like, of the characters that
 * RFC 6750 has for it; claims what Microsoft's claims challenges carry in
 * base64 or base64url, decoded: the text of a JSON object, UTF-8, white space
 * and all.  Of anything else, or above their sizes, they are empty.
 */

typedef struct {
    ti_str_t  error;
    ti_str_t  claims;
} ti_challenge_t;

/*
 * Of one field's value, with any number of challenges; memory is the pool's.
 * TI_DECLINED: no Bearer challenge up to where the value can be read.
 */

ti_rc_t ti_challenge_bearer(const ti_pool_t *pool, ti_str_t value,
    ti_challenge_t *challenge);


#endif /* TI_CHALLENGE_H */
