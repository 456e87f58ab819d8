/*
 * Floor 2: what is asked of a claims set.
 */

#include <string.h>

#include "ti_claims.h"


/* What is written with up to 15 digits (DBL_DIG) comes back as it was. */

#define TI_CLAIMS_REAL      (JSON_ENCODE_ANY|JSON_REAL_PRECISION(15))

#define TI_CLAIMS_SCALAR    32              /* "-1.23456789012345e-300" */


static int
ti_claims_printable(ti_str_t text)
{
    size_t  i;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


static ti_str_t
ti_claims_integer(json_int_t n, unsigned char buf[TI_CLAIMS_SCALAR])
{
    size_t    len;
    uint64_t  magnitude;

    len = 0;
    magnitude = (uint64_t) n;

    if (n < 0) {
        buf[len++] = '-';
        magnitude = 0 - magnitude;
    }

    len += ti_decimal_format(buf + len, magnitude);

    return ti_str_from(buf, len);
}


/* Borrowed from the value, or written to buf.  TI_DECLINED: no scalar. */

static ti_rc_t
ti_claims_scalar(const json_t *value, unsigned char buf[TI_CLAIMS_SCALAR],
    ti_str_t *text)
{
    size_t  len;

    switch (json_typeof(value)) {

    case JSON_STRING:
        *text = ti_json_str(value);
        return TI_OK;

    case JSON_INTEGER:
        *text = ti_claims_integer(json_integer_value(value), buf);
        return TI_OK;

    case JSON_REAL:
        len = json_dumpb(value, (char *) buf, TI_CLAIMS_SCALAR,
                         TI_CLAIMS_REAL);
        *text = ti_str_from(buf, len);
        return (len != 0 && len <= TI_CLAIMS_SCALAR) ? TI_OK : TI_DECLINED;

    case JSON_TRUE:
        *text = ti_str("true");
        return TI_OK;

    case JSON_FALSE:
        *text = ti_str("false");
        return TI_OK;

    default:
        return TI_DECLINED;
    }
}


/*
 * The elements with a comma between each; dst may be NULL, to learn the
 * length.  TI_DECLINED: one of them is no scalar.
 */

static ti_rc_t
ti_claims_join(const json_t *array, unsigned char *dst, size_t *len)
{
    size_t         i;
    ti_str_t       text;
    unsigned char  buf[TI_CLAIMS_SCALAR];

    *len = 0;

    for (i = 0; i < json_array_size(array); i++) {
        if (ti_claims_scalar(json_array_get(array, i), buf, &text) != TI_OK) {
            return TI_DECLINED;
        }

        if (i > 0) {
            if (dst != NULL) {
                dst[*len] = ',';
            }

            *len += 1;
        }

        if (dst != NULL && text.len != 0) {
            memcpy(dst + *len, text.data, text.len);
        }

        *len += text.len;
    }

    return TI_OK;
}


static ti_rc_t
ti_claims_array(const ti_pool_t *pool, const json_t *array, ti_str_t *text)
{
    size_t          len;
    unsigned char  *p;

    if (ti_claims_join(array, NULL, &len) != TI_OK || len == 0) {
        *text = ti_null_str;
        return TI_OK;
    }

    p = ti_pool_alloc(pool, len);
    if (p == NULL) {
        return TI_ERROR;
    }

    (void) ti_claims_join(array, p, &len);
    *text = ti_str_from(p, len);

    return TI_OK;
}


ti_rc_t
ti_claims_text(const ti_pool_t *pool, const json_t *claims,
    const ti_json_path_t *path, ti_str_t *text)
{
    ti_rc_t        rc;
    const json_t  *value;
    unsigned char  buf[TI_CLAIMS_SCALAR];

    rc = TI_OK;
    *text = ti_null_str;

    value = ti_json_path_find(path, claims);
    if (value == NULL) {
        return TI_OK;
    }

    if (json_is_array(value)) {
        rc = ti_claims_array(pool, value, text);

    } else if (ti_claims_scalar(value, buf, text) != TI_OK) {
        *text = ti_null_str;

    } else if (text->data == buf) {
        rc = ti_pool_copy(pool, *text, text);
    }

    if (rc == TI_OK && !ti_claims_printable(*text)) {
        *text = ti_null_str;
    }

    return rc;
}


ti_rc_t
ti_claims_name(const ti_pool_t *pool, const json_t *claims,
    const ti_json_path_t *path, ti_str_t *name)
{
    ti_rc_t        rc;
    const json_t  *value;

    value = ti_json_path_find(path, claims);

    if (!json_is_string(value) && !json_is_integer(value)) {
        return TI_DECLINED;
    }

    rc = ti_claims_text(pool, claims, path, name);

    if (rc == TI_OK && name->len == 0) {
        return TI_DECLINED;
    }

    return rc;
}


/* "@DOMAIN" of a value that stands for a domain; else empty */

static ti_str_t
ti_claims_domain(ti_str_t value)
{
    if (value.len < 2 || value.data[0] != '*' || value.data[1] != '@') {
        return ti_null_str;
    }

    return ti_str_from(value.data + 1, value.len - 1);
}


static int
ti_claims_is_ldh(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '-';
}


/* RFC 1123 section 2.1, RFC 1035 section 2.3.4; IDNs are A-labels */

static int
ti_claims_is_host(ti_str_t host)
{
    size_t  i, label;

    label = 0;

    for (i = 0; i < host.len; i++) {

        if (host.data[i] == '.') {
            if (label == 0 || host.data[i - 1] == '-') {
                return 0;
            }

            label = 0;
            continue;
        }

        if (!ti_claims_is_ldh(host.data[i])
            || (label == 0 && host.data[i] == '-')
            || ++label > 63)
        {
            return 0;
        }
    }

    return label != 0 && host.len <= 253 && host.data[i - 1] != '-';
}


int
ti_claims_value_valid(ti_str_t value)
{
    ti_str_t  domain;

    domain = ti_claims_domain(value);

    return domain.len == 0
           || ti_claims_is_host(ti_str_from(domain.data + 1, domain.len - 1));
}


/* domain: with its "@", which is then the only one */

static int
ti_claims_of_domain(ti_str_t address, ti_str_t domain)
{
    size_t  local;

    if (address.len <= domain.len) {
        return 0;
    }

    local = address.len - domain.len;

    return memchr(address.data, '@', local) == NULL
           && ti_str_caseeq(ti_str_from(address.data + local, domain.len),
                            domain);
}


static int
ti_claims_unverified(const json_t *claims)
{
    ti_str_t  text;

    return json_is_false(json_object_get(claims, "email_verified"))
           || (ti_json_string(claims, "email_verified", &text) == TI_OK
               && ti_str_eq(text, ti_str("false")));
}


static int
ti_claims_listed(const json_t *claims, const json_t *value,
    const ti_claims_rule_t *rule)
{
    size_t    i;
    ti_str_t  text, domain;

    if (!json_is_string(value)) {
        return 0;
    }

    text = ti_json_str(value);

    for (i = 0; i < rule->nvalues; i++) {
        domain = ti_claims_domain(rule->values[i]);

        if (domain.len == 0 ? ti_str_eq(text, rule->values[i])
                            : ti_claims_of_domain(text, domain)
                              && !ti_claims_unverified(claims))
        {
            return 1;
        }
    }

    return 0;
}


static int
ti_claims_rule_matches(const json_t *claims, const ti_claims_rule_t *rule)
{
    size_t         i;
    const json_t  *value;

    value = ti_json_path_find(&rule->path, claims);

    if (!json_is_array(value)) {
        return ti_claims_listed(claims, value, rule);
    }

    for (i = 0; i < json_array_size(value); i++) {
        if (ti_claims_listed(claims, json_array_get(value, i), rule)) {
            return 1;
        }
    }

    return 0;
}


int
ti_claims_allowed(const json_t *claims, const ti_claims_rule_t *rules,
    size_t nrules)
{
    size_t  i;

    if (nrules == 0) {
        return 1;
    }

    for (i = 0; i < nrules; i++) {
        if (ti_claims_rule_matches(claims, &rules[i])) {
            return 1;
        }
    }

    return 0;
}
