#include <string.h>

#include "ti_header.h"
#include "ti_jwt.h"


#define TI_JWS_SIGNATURE_MAX  1024          /* bytes, RSA of 8192 bits */


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


static ti_result_t
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


/* RFC 7515 section 3.1: three parts, so two dots. */

static ti_rc_t
ti_jws_split(ti_str_t jws, ti_str_t parts[3])
{
    size_t                i;
    const unsigned char  *dot;

    for (i = 0; i < 2; i++) {

        dot = (jws.len == 0) ? NULL : memchr(jws.data, '.', jws.len);
        if (dot == NULL) {
            return TI_DECLINED;
        }

        parts[i] = ti_str_from(jws.data, (size_t) (dot - jws.data));

        jws = ti_str_from(dot + 1, jws.len - parts[i].len - 1);
    }

    parts[2] = jws;

    if (jws.len != 0 && memchr(jws.data, '.', jws.len) != NULL) {
        return TI_DECLINED;
    }

    return TI_OK;
}


/*
 * RFC 7515 section 4.1.  What has to be understood is not: "crit", and
 * "b64", which RFC 7797 wants there anyway.  "jwk", "jku", "x5u" and "x5c"
 * are the sender's word on whom to trust, and nobody asks for it.
 */

static ti_rc_t
ti_jws_judge_header(ti_jws_t *jws, const char **why)
{
    ti_str_t  alg;

    if (ti_json_string(jws->header, "alg", &alg) != TI_OK) {
        *why = "header has no \"alg\" string";
        return TI_DECLINED;
    }

    jws->alg = ti_alg_by_name(alg);

    if (jws->alg == TI_ALG_NONE) {
        *why = "alg is none or unknown";
        return TI_DECLINED;
    }

    if (ti_json_has(jws->header, "crit")) {
        *why = "header has \"crit\"";
        return TI_DECLINED;
    }

    if (ti_json_has(jws->header, "b64")) {
        *why = "header has \"b64\"";
        return TI_DECLINED;
    }

    jws->kid = ti_null_str;

    if (ti_json_has(jws->header, "kid")
        && ti_json_string(jws->header, "kid", &jws->kid) != TI_OK)
    {
        *why = "kid is not a string";
        return TI_DECLINED;
    }

    return TI_OK;
}


static ti_rc_t
ti_jws_read_header(ti_jws_t *jws, ti_str_t header, const char **why)
{
    ti_rc_t  rc;

    rc = ti_json_parse_object(header, TI_TOKEN_MAX, &jws->header, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_jws_judge_header(jws, why);
    if (rc != TI_OK) {
        json_decref(jws->header);
        jws->header = NULL;
    }

    return rc;
}


/*
 * The form and the header.  Lengths come before bytes and bytes before JSON,
 * so that garbage costs little.  TI_OK: ti_jws_clear() ends it.
 */

static ti_rc_t
ti_jws_read(ti_jws_t *jws, ti_str_t text, const char **why)
{
    ti_str_t        parts[3], header;
    unsigned char  *p;

    if (text.len > TI_TOKEN_MAX) {
        *why = "longer than 8192 bytes";
        return TI_DECLINED;
    }

    if (ti_jws_split(text, parts) != TI_OK) {
        *why = "has not three parts";
        return TI_DECLINED;
    }

    if (parts[2].len == 0
        || ti_b64u_decoded_len(parts[2].len) > TI_JWS_SIGNATURE_MAX)
    {
        *why = "signature is empty or too long";
        return TI_DECLINED;
    }

    p = jws->buf;
    header.data = p;

    if (ti_b64u_decode(p, &header.len, parts[0]) != TI_OK) {
        *why = "header is not canonical base64url";
        return TI_DECLINED;
    }

    p += header.len;
    jws->payload.data = p;

    if (ti_b64u_decode(p, &jws->payload.len, parts[1]) != TI_OK) {
        *why = "payload is not canonical base64url";
        return TI_DECLINED;
    }

    p += jws->payload.len;
    jws->signature.data = p;

    if (ti_b64u_decode(p, &jws->signature.len, parts[2]) != TI_OK) {
        *why = "signature is not canonical base64url";
        return TI_DECLINED;
    }

    jws->input = ti_str_from(text.data, parts[0].len + 1 + parts[1].len);

    return ti_jws_read_header(jws, header, why);
}


static void
ti_jws_clear(ti_jws_t *jws)
{
    json_decref(jws->header);
}


static ti_rc_t
ti_jws_check_alg(const ti_jws_t *jws, unsigned algorithms, const char **why)
{
    if (algorithms & (unsigned) jws->alg) {
        return TI_OK;
    }

    *why = "alg is not allowed";

    return TI_DECLINED;
}


static ti_rc_t
ti_jws_check_signature(ti_crypto_t *crypto, const ti_jws_t *jws,
    const ti_jwks_t *const *sets, size_t nsets, const char **why)
{
    int              unknown;
    ti_rc_t          rc;
    const ti_jwk_t  *key;

    key = ti_jwks_select(sets, nsets, jws->alg, jws->kid, &unknown, why);
    if (key == NULL) {
        return TI_DECLINED;
    }

    rc = ti_crypto_verify(crypto, key->verifier, jws->alg, jws->input,
                          jws->signature);

    if (rc == TI_DECLINED) {
        *why = "signature does not verify";

    } else if (rc != TI_OK) {
        *why = "signature could not be checked";
    }

    return rc;
}


ti_rc_t
ti_jws_verify(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_jwks_t *keys, unsigned algorithms, ti_str_t text,
    ti_str_t *payload, const char **why)
{
    ti_rc_t   rc;
    ti_jws_t  jws;

    rc = ti_jws_read(&jws, text, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_jws_check_alg(&jws, algorithms, why);

    if (rc == TI_OK) {
        rc = ti_jws_check_signature(crypto, &jws, &keys, 1, why);
    }

    if (rc == TI_OK) {
        rc = ti_pool_copy(pool, jws.payload, payload);

        if (rc != TI_OK) {
            *why = "no memory for the payload";
        }
    }

    ti_jws_clear(&jws);

    return rc;
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
    const ti_jws_t *jws, const char **why)
{
    ti_rc_t  rc;

    rc = ti_jws_check_alg(jws, issuer->algorithms, why);
    if (rc != TI_OK) {
        return ti_jwt_result(rc);
    }

    if (!ti_jwt_has_keys(issuer)) {
        *why = "the issuer has no usable key";
        return TI_RESULT_KEYS_UNAVAILABLE;
    }

    rc = ti_jws_check_signature(crypto, jws, issuer->keys, issuer->nkeys, why);

    return ti_jwt_result(rc);
}


/* RFC 7519 section 4.1.4, stricter: the claim must be there, whole, >= 0. */

static ti_rc_t
ti_jwt_check_exp(const ti_jwt_issuer_t *issuer, ti_jwt_t *jwt,
    const char **why)
{
    int64_t  exp;

    if (ti_json_integer(jwt->claims, "exp", 0, INT64_MAX, &exp) != TI_OK) {
        *why = "exp is absent or not a non-negative integer";
        return TI_DECLINED;
    }

    jwt->expires = (exp > INT64_MAX - issuer->leeway) ? INT64_MAX
                                                      : exp + issuer->leeway;

    return TI_OK;
}


/* RFC 7519 sections 4.1.5 and 4.1.6; both claims may be absent. */

static ti_rc_t
ti_jwt_check_begun(const ti_jwt_issuer_t *issuer, int64_t now,
    const json_t *claims, const char **why)
{
    int64_t  nbf, iat;

    nbf = 0;
    iat = 0;

    if (ti_json_has(claims, "nbf")
        && ti_json_integer(claims, "nbf", 0, INT64_MAX, &nbf) != TI_OK)
    {
        *why = "nbf is not a non-negative integer";
        return TI_DECLINED;
    }

    if (nbf - issuer->leeway > now) {
        *why = "token is not valid yet";
        return TI_DECLINED;
    }

    if (ti_json_has(claims, "iat")
        && ti_json_integer(claims, "iat", 0, INT64_MAX, &iat) != TI_OK)
    {
        *why = "iat is not a non-negative integer";
        return TI_DECLINED;
    }

    if (iat - issuer->leeway > now) {
        *why = "token was issued in the future";
        return TI_DECLINED;
    }

    return TI_OK;
}


static int
ti_jwt_is_audience(const ti_jwt_issuer_t *issuer, const json_t *aud)
{
    size_t  i;

    for (i = 0; i < issuer->naudience; i++) {
        if (ti_str_eq(issuer->audience[i], ti_json_str(aud))) {
            return 1;
        }
    }

    return 0;
}


/* RFC 7519 section 4.1.3: a string, or an array of nothing but strings. */

static ti_rc_t
ti_jwt_check_aud(const ti_jwt_issuer_t *issuer, const json_t *claims,
    const char **why)
{
    int            meant;
    size_t         i;
    const json_t  *aud, *element;

    meant = 0;
    aud = json_object_get(claims, "aud");

    if (json_is_string(aud)) {
        meant = ti_jwt_is_audience(issuer, aud);

    } else if (!json_is_array(aud)) {
        *why = "aud is absent or neither a string nor an array";
        return TI_DECLINED;
    }

    for (i = 0; i < json_array_size(aud); i++) {
        element = json_array_get(aud, i);

        if (!json_is_string(element)) {
            *why = "aud has an element that is not a string";
            return TI_DECLINED;
        }

        meant |= ti_jwt_is_audience(issuer, element);
    }

    if (!meant) {
        *why = "aud names none of the issuer's audiences";
        return TI_DECLINED;
    }

    return TI_OK;
}


static ti_rc_t
ti_jwt_check_caller(const ti_pool_t *pool, const ti_jwt_issuer_t *issuer,
    ti_jwt_t *jwt, const char **why)
{
    ti_rc_t  rc;

    *why = "user claim is absent, empty or no name";

    rc = ti_claims_name(pool, jwt->claims, &issuer->user_claim, &jwt->subject);

    if (rc == TI_OK && issuer->tenant_claim.n != 0) {
        *why = "tenant claim is absent, empty or no name";

        rc = ti_claims_name(pool, jwt->claims, &issuer->tenant_claim,
                            &jwt->tenant);
    }

    if (rc == TI_ERROR) {
        *why = "no memory for the claims";
    }

    return rc;
}


/*
 * Does what was said hold, here and now?  Expiry comes last: that a token is
 * over says that it was good before.
 */

static ti_result_t
ti_jwt_check_claims(const ti_pool_t *pool, const ti_jwt_issuer_t *issuer,
    int64_t now, ti_jwt_t *jwt, const char **why)
{
    ti_rc_t  rc;

    rc = ti_jwt_check_exp(issuer, jwt, why);

    if (rc == TI_OK) {
        rc = ti_jwt_check_begun(issuer, now, jwt->claims, why);
    }

    if (rc == TI_OK) {
        rc = ti_jwt_check_aud(issuer, jwt->claims, why);
    }

    if (rc == TI_OK) {
        rc = ti_jwt_check_caller(pool, issuer, jwt, why);
    }

    if (rc == TI_OK && now >= jwt->expires) {
        *why = "token expired";
        return TI_RESULT_TOKEN_EXPIRED;
    }

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
        result = ti_jwt_check_origin(crypto, issuer, &jws, why);
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
    memset(jwt, 0, sizeof(ti_jwt_t));
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
