/*
 * Floor 2: what an issuer publishes about itself (OpenID Connect Discovery
 * 1.0 section 4, RFC 8414 section 3).
 */

#ifndef TI_DISCOVERY_H
#define TI_DISCOVERY_H

#include "ti_crypto.h"
#include "ti_json.h"


#define TI_DISCOVERY_MAX_SIZE  (64 * 1024)


/*
 * Where the document of an issuer is: the issuer without a slash at its end
 * and "/.well-known/openid-configuration" (Discovery section 4.1).  Memory
 * comes from the pool; the text is followed by a NUL that is not part of it.
 * TI_DECLINED: the issuer is not a URL of the kind that can be asked (https
 * or http, a host, neither query nor fragment).
 */

ti_rc_t ti_discovery_uri(const ti_pool_t *pool, ti_str_t issuer,
    ti_str_t *uri);


/*
 * Reads a document that must be issuer's own: its "issuer" member equals
 * issuer to the byte (Discovery section 4.3).  TI_OK: *keys_uri is the text
 * of "jwks_uri", copied to the pool with a NUL behind it, not judged as a URL;
 * *algorithms is allowed, without what the document does not list in
 * "id_token_signing_alg_values_supported" where it has that member.
 * TI_DECLINED: *why is a static phrase (no document, another issuer's, no
 * "jwks_uri", none of the allowed algorithms left).
 */

ti_rc_t ti_discovery_read(const ti_pool_t *pool, ti_str_t text,
    ti_str_t issuer, unsigned allowed, ti_str_t *keys_uri,
    unsigned *algorithms, const char **why);


/*
 * The endpoints in such a document, each copied to the pool with a NUL behind
 * it and not judged as a URL; one that is absent is empty.  iss is 1 where
 * the authorization endpoint says that it sends "iss" (RFC 9207 section 3).
 * TI_DECLINED as above, with no word on keys.
 */

typedef struct {
    ti_str_t  authorization;
    ti_str_t  token;
    ti_str_t  userinfo;
    ti_str_t  revocation;
    int       iss;
} ti_discovery_endpoints_t;

ti_rc_t ti_discovery_endpoints(const ti_pool_t *pool, ti_str_t text,
    ti_str_t issuer, ti_discovery_endpoints_t *endpoints, const char **why);


#endif /* TI_DISCOVERY_H */
