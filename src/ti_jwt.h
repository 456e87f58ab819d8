/*
 * Floor 3: a compact JWS (RFC 7515) to a verdict and claims (RFC 7519),
 * against a policy (RFC 8725).
 */

#ifndef TI_JWT_H
#define TI_JWT_H

#include "ti_claims.h"
#include "ti_jwks.h"


/* One issuer whom a location trusts.  Const after it was configured. */

typedef struct {
    ti_str_t                 issuer;        /* "iss", exact */
    const ti_str_t          *audience;      /* any may match */
    size_t                   naudience;
    unsigned                 algorithms;    /* ti_alg_t bits */
    int64_t                  leeway;
    int64_t                  max_age;       /* since "iat"; 0: any */
    ti_json_path_t           user_claim;
    ti_json_path_t           tenant_claim;  /* n = 0: no tenants */
    const ti_str_t          *typ;           /* any may match; none: any typ */
    size_t                   ntyp;
    const ti_str_t          *azp;           /* any may match; none: anybody */
    size_t                   nazp;
    const ti_json_path_t    *required;      /* claims that must be there */
    size_t                   nrequired;
    const ti_jwks_t *const  *keys;          /* NULL among them: not there yet */
    size_t                   nkeys;
} ti_jwt_issuer_t;


/*
 * A caller's token that stood.  Of one that did not, issuer and newer are
 * filled where the issuer was found: newer says that the issuer's present
 * keys, if they are newer than those here, may know better (no usable key at
 * all, an unknown kid, or no kid and no key that fits).
 */

typedef struct {
    size_t    issuer;                       /* its place in the policy */
    int       newer;                        /* 0 in one that stood */
    json_t   *claims;                       /* ti_jwt_clear() ends it */
    ti_str_t  subject;                      /* borrowed from claims or pool */
    ti_str_t  tenant;                       /* empty where not asked for */
    int64_t   expires;                      /* exp, or iat + max_age, whatever
                                               is first, + leeway: itself too
                                               late */
} ti_jwt_t;


/*
 * Judges a token of at most TI_TOKEN_MAX bytes.  In order: form, header,
 * issuer by "iss", algorithm, type, key, signature, claims (no "cnf"; exp is
 * there, nbf, iat, aud, azp, required ones, user and tenant hold), and last
 * whether it is expired: now >= exp + leeway, or iat + max_age + leeway.  nbf
 * and iat may be leeway ahead.  "crit", "b64", an encrypted or nested token,
 * "exp" that is not a non-negative integer: TI_RESULT_TOKEN_INVALID.  Keys in
 * the header are never looked at.
 *
 * typ is compared without regard to case and to an "application/" in front of
 * what has no other slash (RFC 7515 section 4.1.9).  Of "azp" and "client_id"
 * (RFC 8693 section 4.3) at least one is there, and each that is there is in
 * the list.  A required claim is not null, nor an empty string, array or
 * object.  With max_age, "iat" is there.  A token with "cnf" (RFC 7800), of
 * whatever type, is good only together with a proof that is not asked for
 * here: TI_RESULT_TOKEN_INVALID.
 *
 * Returns TI_RESULT_OK with *jwt filled; TI_RESULT_TOKEN_INVALID,
 * TI_RESULT_TOKEN_EXPIRED, TI_RESULT_KEYS_UNAVAILABLE (an issuer without a
 * usable key) or TI_RESULT_INTERNAL_ERROR with *why a static phrase without
 * a byte of the token in it, and nothing to clear.  ti_jwt_clear() leaves
 * issuer and newer as they are.
 */

ti_result_t ti_jwt_verify(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_jwt_issuer_t *const *issuers, size_t nissuers, ti_str_t token,
    int64_t now, ti_jwt_t *jwt, const char **why);
void ti_jwt_clear(ti_jwt_t *jwt);


/*
 * The claims of a token that stood before, for who asks later.  Verifies
 * nothing.  *claims is the caller's, json_decref() ends it.
 */

ti_rc_t ti_jwt_claims(ti_str_t token, json_t **claims);


/*
 * The signature layer alone: any payload, one set of keys, at most
 * TI_TOKEN_MAX bytes.  The payload is decoded into memory of the pool.
 */

ti_rc_t ti_jws_verify(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_jwks_t *keys, unsigned algorithms, ti_str_t jws,
    ti_str_t *payload, const char **why);


#endif /* TI_JWT_H */
