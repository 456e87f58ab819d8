/*
 * Floor 2: challenges.
 */

#include <string.h>

#include "ti_challenge.h"


typedef struct {
    const unsigned char  *p;
    const unsigned char  *end;
} ti_challenge_reader_t;


/* Of one challenge, as they stand there; without data where they do not. */

typedef struct {
    ti_str_t  error;
    ti_str_t  claims;
} ti_challenge_params_t;


static int ti_challenge_read_params(ti_challenge_reader_t *reader,
    ti_challenge_params_t *params);
static void ti_challenge_note(ti_challenge_params_t *params, ti_str_t name,
    ti_str_t value);
static int ti_challenge_read_token68(ti_challenge_reader_t *reader);
static int ti_challenge_read_value(ti_challenge_reader_t *reader,
    ti_str_t *value);
static int ti_challenge_read_quoted(ti_challenge_reader_t *reader,
    ti_str_t *value);
static ti_rc_t ti_challenge_error(const ti_pool_t *pool, ti_str_t raw,
    ti_str_t *error);
static ti_rc_t ti_challenge_claims(const ti_pool_t *pool, ti_str_t raw,
    ti_str_t *claims);


static int
ti_challenge_is_alnum(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9');
}


/* of a set of punctuation; a NUL is in none */

static int
ti_challenge_among(unsigned char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}


static void
ti_challenge_skip(ti_challenge_reader_t *reader, const char *set)
{
    while (reader->p != reader->end && ti_challenge_among(*reader->p, set)) {
        reader->p++;
    }
}


/* token, RFC 9110 section 5.6.2; empty where none is */

static ti_str_t
ti_challenge_read_token(ti_challenge_reader_t *reader)
{
    const unsigned char  *start;

    start = reader->p;

    while (reader->p != reader->end
           && (ti_challenge_is_alnum(*reader->p)
               || ti_challenge_among(*reader->p, "!#$%&'*+-.^_`|~")))
    {
        reader->p++;
    }

    return ti_str_from(start, (size_t) (reader->p - start));
}


ti_rc_t
ti_challenge_bearer(const ti_pool_t *pool, ti_str_t value,
    ti_challenge_t *challenge)
{
    int                     bearer, whole;
    ti_rc_t                 rc;
    ti_str_t                scheme;
    ti_challenge_params_t   params;
    ti_challenge_reader_t   reader;

    memset(challenge, 0, sizeof(ti_challenge_t));
    memset(&params, 0, sizeof(ti_challenge_params_t));

    reader.p = value.data;
    reader.end = value.data + value.len;

    bearer = 0;
    whole = 1;

    while (whole && params.error.data == NULL) {

        ti_challenge_skip(&reader, ", \t");

        scheme = ti_challenge_read_token(&reader);
        if (scheme.len == 0) {
            break;
        }

        if (ti_str_caseeq(scheme, ti_str("Bearer"))) {
            memset(&params, 0, sizeof(ti_challenge_params_t));
            whole = ti_challenge_read_params(&reader, &params);
            bearer |= whole || params.error.data != NULL;

        } else {
            whole = ti_challenge_read_params(&reader, NULL);
        }
    }

    if (!bearer) {
        return TI_DECLINED;
    }

    if (params.error.data == NULL) {
        return TI_OK;
    }

    rc = ti_challenge_error(pool, params.error, &challenge->error);

    if (rc == TI_OK) {
        rc = ti_challenge_claims(pool, params.claims, &challenge->claims);
    }

    return rc;
}


/*
 * What follows a scheme, up to the next one; 0 where it cannot be read on.  A
 * name without "=" behind a comma is the next scheme.
 */

static int
ti_challenge_read_params(ti_challenge_reader_t *reader,
    ti_challenge_params_t *params)
{
    int                    first;
    ti_str_t               name, value;
    const unsigned char   *start;

    start = reader->p;
    ti_challenge_skip(reader, " ");

    if (reader->p == reader->end || *reader->p == ','
        || (reader->p != start && ti_challenge_read_token68(reader)))
    {
        return 1;
    }

    if (reader->p == start) {
        return 0;
    }

    for (first = 1; reader->p != reader->end; first = 0) {

        start = reader->p;
        name = ti_challenge_read_token(reader);
        ti_challenge_skip(reader, " \t");

        if (name.len == 0) {
            return 0;
        }

        if (reader->p == reader->end || *reader->p != '=') {
            reader->p = start;
            return !first;
        }

        reader->p++;
        ti_challenge_skip(reader, " \t");

        if (!ti_challenge_read_value(reader, &value)) {
            return 0;
        }

        if (params != NULL) {
            ti_challenge_note(params, name, value);
        }

        ti_challenge_skip(reader, " \t");

        if (reader->p != reader->end && *reader->p != ',') {
            return 0;
        }

        ti_challenge_skip(reader, ", \t");
    }

    return 1;
}


/* no parameter comes twice: the first one counts */

static void
ti_challenge_note(ti_challenge_params_t *params, ti_str_t name, ti_str_t value)
{
    ti_str_t  *param;

    if (ti_str_caseeq(name, ti_str("error"))) {
        param = &params->error;

    } else if (ti_str_caseeq(name, ti_str("claims"))) {
        param = &params->claims;

    } else {
        return;
    }

    if (param->data == NULL) {
        *param = value;
    }
}


/* alone behind its scheme: else it is the name of a parameter */

static int
ti_challenge_read_token68(ti_challenge_reader_t *reader)
{
    const unsigned char  *start;

    start = reader->p;

    while (reader->p != reader->end
           && (ti_challenge_is_alnum(*reader->p)
               || ti_challenge_among(*reader->p, "-._~+/")))
    {
        reader->p++;
    }

    if (reader->p != start) {
        ti_challenge_skip(reader, "=");
        ti_challenge_skip(reader, " \t");

        if (reader->p == reader->end || *reader->p == ',') {
            return 1;
        }
    }

    reader->p = start;

    return 0;
}


static int
ti_challenge_read_value(ti_challenge_reader_t *reader, ti_str_t *value)
{
    if (reader->p != reader->end && *reader->p == '"') {
        return ti_challenge_read_quoted(reader, value);
    }

    *value = ti_challenge_read_token(reader);

    return value->len != 0;
}


/* What is between the quotes, as it stands there. */

static int
ti_challenge_read_quoted(ti_challenge_reader_t *reader, ti_str_t *value)
{
    const unsigned char  *start;

    start = ++reader->p;

    while (reader->p != reader->end && *reader->p != '"') {

        if (*reader->p == '\\' && reader->end - reader->p > 1) {
            reader->p++;
        }

        reader->p++;
    }

    if (reader->p == reader->end) {
        return 0;
    }

    *value = ti_str_from(start, (size_t) (reader->p - start));
    reader->p++;

    return 1;
}


/* Without the backslashes, RFC 9110 section 5.6.4; *p is the pool's. */

static ti_rc_t
ti_challenge_unquote(const ti_pool_t *pool, ti_str_t raw, unsigned char **p,
    size_t *len)
{
    size_t  i;

    *p = ti_pool_alloc(pool, raw.len);
    if (*p == NULL) {
        return TI_ERROR;
    }

    *len = 0;

    for (i = 0; i < raw.len; i++) {

        if (raw.data[i] == '\\' && i + 1 < raw.len) {
            i++;
        }

        (*p)[(*len)++] = raw.data[i];
    }

    return TI_OK;
}


static ti_rc_t
ti_challenge_error(const ti_pool_t *pool, ti_str_t raw, ti_str_t *error)
{
    size_t          i, len;
    unsigned char  *p;

    if (ti_challenge_unquote(pool, raw, &p, &len) != TI_OK) {
        return TI_ERROR;
    }

    if (len > TI_CHALLENGE_ERROR_MAX) {
        return TI_OK;
    }

    for (i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] > 0x7E || p[i] == '"' || p[i] == '\\') {
            return TI_OK;
        }
    }

    *error = ti_str_from(p, len);

    return TI_OK;
}


/* base64's own letters and its padding become base64url */

static size_t
ti_challenge_b64u(unsigned char *p, size_t len)
{
    size_t  i, padding;

    for (padding = 0; padding < 2 && len != 0 && p[len - 1] == '=';
         padding++)
    {
        len--;
    }

    for (i = 0; i < len; i++) {

        if (p[i] == '+') {
            p[i] = '-';

        } else if (p[i] == '/') {
            p[i] = '_';
        }
    }

    return len;
}


static ti_rc_t
ti_challenge_claims(const ti_pool_t *pool, ti_str_t raw, ti_str_t *claims)
{
    size_t          len;
    json_t         *object;
    ti_rc_t         rc;
    ti_str_t        text;
    const char     *why;
    unsigned char  *p, *decoded;

    /* twice that: who quotes may quote each character */

    if (raw.len == 0
        || raw.len > 2 * (ti_b64u_len(TI_CHALLENGE_CLAIMS_MAX) + 2))
    {
        return TI_OK;
    }

    if (ti_challenge_unquote(pool, raw, &p, &len) != TI_OK) {
        return TI_ERROR;
    }

    len = ti_challenge_b64u(p, len);

    decoded = ti_pool_alloc(pool, ti_b64u_decoded_len(len));
    if (decoded == NULL) {
        return TI_ERROR;
    }

    if (ti_b64u_decode(decoded, &len, ti_str_from(p, len)) != TI_OK) {
        return TI_OK;
    }

    text = ti_str_from(decoded, len);

    rc = ti_json_parse_object(text, TI_CHALLENGE_CLAIMS_MAX, &object, &why);

    if (rc == TI_OK) {
        json_decref(object);
        *claims = text;
    }

    return rc == TI_ERROR ? TI_ERROR : TI_OK;
}
