/*
 * Floor 3: what a policy asks of a token's claims.
 */

#include <string.h>

#include "ti_jwt_private.h"


/*
 * A media type without the "application/" that may be left out (RFC 7515
 * section 4.1.9).
 */

static ti_str_t
ti_jwt_short_typ(ti_str_t typ)
{
    ti_str_t  prefix, rest;

    prefix = ti_str("application/");

    if (typ.len <= prefix.len
        || !ti_str_caseeq(ti_str_from(typ.data, prefix.len), prefix))
    {
        return typ;
    }

    rest = ti_str_from(typ.data + prefix.len, typ.len - prefix.len);

    return memchr(rest.data, '/', rest.len) == NULL ? rest : typ;
}


ti_rc_t
ti_jwt_check_typ(const ti_jwt_issuer_t *issuer, const ti_jws_t *jws,
    const char **why)
{
    size_t    i;
    ti_str_t  typ;

    if (issuer->ntyp == 0) {
        return TI_OK;
    }

    if (ti_json_string(jws->header, "typ", &typ) != TI_OK) {
        *why = "typ is absent or not a string";
        return TI_DECLINED;
    }

    typ = ti_jwt_short_typ(typ);

    for (i = 0; i < issuer->ntyp; i++) {
        if (ti_str_caseeq(typ, ti_jwt_short_typ(issuer->typ[i]))) {
            return TI_OK;
        }
    }

    *why = "typ is none of the issuer's types";

    return TI_DECLINED;
}


static int64_t
ti_jwt_sum(int64_t time, int64_t seconds)
{
    return (time > INT64_MAX - seconds) ? INT64_MAX : time + seconds;
}


/*
 * RFC 7519 section 4.1.4, stricter: the claim must be there, whole, >= 0.
 * *over: what is to be said once the token is over.
 */

static ti_rc_t
ti_jwt_check_end(const ti_jwt_issuer_t *issuer, ti_jwt_t *jwt,
    const char **over, const char **why)
{
    int64_t  end, iat;

    *over = "token expired";

    if (ti_json_integer(jwt->claims, "exp", 0, INT64_MAX, &end) != TI_OK) {
        *why = "exp is absent or not a non-negative integer";
        return TI_DECLINED;
    }

    if (issuer->max_age > 0) {

        if (ti_json_integer(jwt->claims, "iat", 0, INT64_MAX, &iat) != TI_OK) {
            *why = "iat is absent or not a non-negative integer";
            return TI_DECLINED;
        }

        iat = ti_jwt_sum(iat, issuer->max_age);

        if (iat < end) {
            end = iat;
            *over = "token is older than allowed";
        }
    }

    jwt->expires = ti_jwt_sum(end, issuer->leeway);

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
ti_jwt_one_of(ti_str_t s, const ti_str_t *list, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (ti_str_eq(s, list[i])) {
            return 1;
        }
    }

    return 0;
}


static int
ti_jwt_is_audience(const ti_jwt_issuer_t *issuer, const json_t *aud)
{
    return ti_jwt_one_of(ti_json_str(aud), issuer->audience,
                         issuer->naudience);
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


/* The party it was issued to, by either name: both must be known, if both. */

static ti_rc_t
ti_jwt_check_azp(const ti_jwt_issuer_t *issuer, const json_t *claims,
    const char **why)
{
    size_t    i, found;
    ti_str_t  party;

    static const char *const  names[] = { "azp", "client_id" };

    if (issuer->nazp == 0) {
        return TI_OK;
    }

    found = 0;

    for (i = 0; i < 2; i++) {
        if (!ti_json_has(claims, names[i])) {
            continue;
        }

        if (ti_json_string(claims, names[i], &party) != TI_OK
            || !ti_jwt_one_of(party, issuer->azp, issuer->nazp))
        {
            *why = "token was issued to another party";
            return TI_DECLINED;
        }

        found++;
    }

    if (found == 0) {
        *why = "neither azp nor client_id";
        return TI_DECLINED;
    }

    return TI_OK;
}


static int
ti_jwt_is_empty(const json_t *value)
{
    switch (json_typeof(value)) {

    case JSON_STRING:
        return json_string_length(value) == 0;

    case JSON_ARRAY:
        return json_array_size(value) == 0;

    case JSON_OBJECT:
        return json_object_size(value) == 0;

    default:
        return json_is_null(value);
    }
}


static ti_rc_t
ti_jwt_check_required(const ti_jwt_issuer_t *issuer, const json_t *claims,
    const char **why)
{
    size_t         i;
    const json_t  *value;

    for (i = 0; i < issuer->nrequired; i++) {
        value = ti_json_path_find(&issuer->required[i], claims);

        if (value == NULL || ti_jwt_is_empty(value)) {
            *why = "a required claim is absent or empty";
            return TI_DECLINED;
        }
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


/* Expiry comes last: that a token is over says that it was good before. */

ti_result_t
ti_jwt_check_claims(const ti_pool_t *pool, const ti_jwt_issuer_t *issuer,
    int64_t now, ti_jwt_t *jwt, const char **why)
{
    ti_rc_t      rc;
    const char  *over;

    if (ti_json_has(jwt->claims, "cnf")) {
        *why = "token has \"cnf\": proof of possession is not supported";
        return TI_RESULT_TOKEN_INVALID;
    }

    rc = ti_jwt_check_end(issuer, jwt, &over, why);

    if (rc == TI_OK) {
        rc = ti_jwt_check_begun(issuer, now, jwt->claims, why);
    }

    if (rc == TI_OK) {
        rc = ti_jwt_check_aud(issuer, jwt->claims, why);
    }

    if (rc == TI_OK) {
        rc = ti_jwt_check_azp(issuer, jwt->claims, why);
    }

    if (rc == TI_OK) {
        rc = ti_jwt_check_required(issuer, jwt->claims, why);
    }

    if (rc == TI_OK) {
        rc = ti_jwt_check_caller(pool, issuer, jwt, why);
    }

    if (rc == TI_OK && now >= jwt->expires) {
        *why = over;
        return TI_RESULT_TOKEN_EXPIRED;
    }

    return ti_jwt_result(rc);
}
