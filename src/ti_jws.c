/*
 * Floor 3: the signature layer.
 */

#include <string.h>

#include "ti_jwt_private.h"


#define TI_JWS_SIGNATURE_MAX  1024          /* bytes, RSA of 8192 bits */


ti_rc_t
ti_jws_split(ti_str_t text, ti_str_t parts[3])
{
    size_t                i;
    const unsigned char  *dot;

    for (i = 0; i < 2; i++) {

        dot = (text.len == 0) ? NULL : memchr(text.data, '.', text.len);
        if (dot == NULL) {
            return TI_DECLINED;
        }

        parts[i] = ti_str_from(text.data, (size_t) (dot - text.data));

        text = ti_str_from(dot + 1, text.len - parts[i].len - 1);
    }

    parts[2] = text;

    if (text.len != 0 && memchr(text.data, '.', text.len) != NULL) {
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
 * Lengths come before bytes and bytes before JSON, so that garbage costs
 * little.
 */

ti_rc_t
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


void
ti_jws_clear(ti_jws_t *jws)
{
    json_decref(jws->header);
}


ti_rc_t
ti_jws_check_alg(const ti_jws_t *jws, unsigned algorithms, const char **why)
{
    if (algorithms & (unsigned) jws->alg) {
        return TI_OK;
    }

    *why = "alg is not allowed";

    return TI_DECLINED;
}


ti_rc_t
ti_jws_check_signature(ti_crypto_t *crypto, const ti_jws_t *jws,
    const ti_jwks_t *const *sets, size_t nsets, int *newer, const char **why)
{
    ti_rc_t          rc;
    const ti_jwk_t  *key;

    key = ti_jwks_select(sets, nsets, jws->alg, jws->kid, newer, why);
    if (key == NULL) {
        return TI_DECLINED;
    }

    rc = ti_crypto_verify(crypto, key->verifier, jws->alg, jws->input,
                          jws->signature);

    if (rc == TI_DECLINED) {
        *why = "signature does not verify";
        *newer = (jws->kid.data == NULL);

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
    int       newer;
    ti_rc_t   rc;
    ti_jws_t  jws;

    rc = ti_jws_read(&jws, text, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_jws_check_alg(&jws, algorithms, why);

    if (rc == TI_OK) {
        rc = ti_jws_check_signature(crypto, &jws, &keys, 1, &newer, why);
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
