/*
 * Floor 3: a consent that has begun, between the browser's way to the
 * provider and back (docs/record-format.md, "pending").
 */

#ifndef TI_PENDING_H
#define TI_PENDING_H

#include "ti_oauth.h"
#include "ti_record.h"


#define TI_PENDING_LIFE  600                /* seconds */


/*
 * What the exchange must know of the visit, as it was then, whatever has been
 * configured since.  Wipe it: the verifier and the nonce are secrets.
 */

typedef struct {
    unsigned char  state[TI_OAUTH_SECRET_LEN];
    unsigned char  verifier[TI_OAUTH_SECRET_LEN];
    unsigned char  nonce[TI_OAUTH_SECRET_LEN];
    ti_str_t       scope;
    ti_str_t       redirect_uri;
    unsigned       admin:1;                 /* an administrator's consent */
} ti_pending_t;

/* makes state, verifier and nonce */
ti_rc_t ti_pending_begin(const ti_random_t *random, ti_pending_t *pending);


/*
 * ref says whose: who, provider, device and user key; kind, gen and cid of it
 * are not looked at.  The record ends TI_PENDING_LIFE after now.
 */

ti_rc_t ti_pending_seal(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring,
    const ti_record_ref_t *ref, const ti_pending_t *pending, int64_t now,
    ti_str_t *sealed);


/*
 * state: as the browser brought it back.  TI_RESULT_OK, with scope and
 * redirect_uri from the pool; TI_RESULT_STATE_INVALID: not this caller's on
 * this device, at this provider, of this state and still good;
 * TI_RESULT_INTERNAL_ERROR.  That it is used once is the store's to tell.
 */

ti_result_t ti_pending_open(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_keyring_t *ring, const ti_record_ref_t *ref, ti_str_t sealed,
    ti_str_t state, int64_t now, ti_pending_t *pending, const char **why);


#endif /* TI_PENDING_H */
