#include <string.h>

#include "ti_jwt_private.h"


ti_result_t
ti_jwt_result(ti_rc_t rc)
{
    switch (rc) {

    case TI_OK:
        return TI_RESULT_OK;

    case TI_DECLINED:
        return TI_RESULT_TOKEN_INVALID;

    default:
        return TI_RESULT_INTERNAL_ERROR;
    }
}


static const ti_jwt_issuer_t *
ti_jwt_find_issuer(const ti_jwt_issuer_t *const *issuers, size_t nissuers,
    ti_jwt_t *jwt, const char **why)
{
    size_t    i;
    ti_str_t  iss;

    if (ti_json_string(jwt->claims, "iss", &iss) != TI_OK || iss.len == 0) {
        *why = "iss is absent, empty or not a string";
        return NULL;
    }

    for (i = 0; i < nissuers; i++) {
        if (ti_str_eq(issuers[i]->issuer, iss)) {
            jwt->issuer = i;
            return issuers[i];
        }
    }

    *why = "issuer is not trusted here";

    return NULL;
}


static int
ti_jwt_has_keys(const ti_jwt_issuer_t *issuer)
{
    size_t  i;

    for (i = 0; i < issuer->nkeys; i++) {
        if (ti_jwks_count(issuer->keys[i]) != 0) {
            return 1;
        }
    }

    return 0;
}


/* Did this issuer say it? */

static ti_result_t
ti_jwt_check_origin(ti_crypto_t *crypto, const ti_jwt_issuer_t *issuer,
    const ti_jws_t *jws, int *newer, const char **why)
{
    ti_rc_t  rc;

    rc = ti_jws_check_alg(jws, issuer->algorithms, why);

    if (rc == TI_OK) {
        rc = ti_jwt_check_typ(issuer, jws, why);
    }

    if (rc != TI_OK) {
        return ti_jwt_result(rc);
    }

    if (!ti_jwt_has_keys(issuer)) {
        *why = "the issuer has no usable key";
        *newer = 1;
        return TI_RESULT_KEYS_UNAVAILABLE;
    }

    rc = ti_jws_check_signature(crypto, jws, issuer->keys, issuer->nkeys,
                                newer, why);

    return ti_jwt_result(rc);
}


ti_result_t
ti_jwt_verify(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_jwt_issuer_t *const *issuers, size_t nissuers, ti_str_t token,
    int64_t now, ti_jwt_t *jwt, const char **why)
{
    ti_rc_t                 rc;
    ti_jws_t                jws;
    ti_result_t             result;
    const ti_jwt_issuer_t  *issuer;

    memset(jwt, 0, sizeof(ti_jwt_t));

    rc = ti_jws_read(&jws, token, why);
    if (rc != TI_OK) {
        return ti_jwt_result(rc);
    }

    rc = ti_json_parse_object(jws.payload, TI_TOKEN_MAX, &jwt->claims, why);
    if (rc != TI_OK) {
        ti_jws_clear(&jws);
        return ti_jwt_result(rc);
    }

    result = TI_RESULT_TOKEN_INVALID;

    issuer = ti_jwt_find_issuer(issuers, nissuers, jwt, why);

    if (issuer != NULL) {
        result = ti_jwt_check_origin(crypto, issuer, &jws, &jwt->newer, why);
    }

    if (result == TI_RESULT_OK) {
        result = ti_jwt_check_claims(pool, issuer, now, jwt, why);
    }

    ti_jws_clear(&jws);

    if (result != TI_RESULT_OK) {
        ti_jwt_clear(jwt);
    }

    return result;
}


void
ti_jwt_clear(ti_jwt_t *jwt)
{
    json_decref(jwt->claims);

    jwt->claims = NULL;
    jwt->subject = ti_null_str;
    jwt->tenant = ti_null_str;
    jwt->expires = 0;
}


ti_rc_t
ti_jwt_claims(ti_str_t token, json_t **claims)
{
    size_t          len;
    ti_str_t        parts[3];
    const char     *why;
    unsigned char   buf[TI_TOKEN_MAX];

    if (token.len > TI_TOKEN_MAX
        || ti_jws_split(token, parts) != TI_OK
        || ti_b64u_decode(buf, &len, parts[1]) != TI_OK)
    {
        return TI_DECLINED;
    }

    return ti_json_parse_object(ti_str_from(buf, len), TI_TOKEN_MAX, claims,
                                &why);
}
