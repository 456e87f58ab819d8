#include <string.h>

#include "ti_discovery.h"


/* of a path, RFC 3986 section 3.3, besides letters and digits */
#define TI_URI_PATH  "-._~!$&'()*+,;=:@%/"


static int
ti_uri_is_alnum(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9');
}


/* Behind letters, digits and others, which has no NUL. */

static const unsigned char *
ti_uri_skip(const unsigned char *p, const unsigned char *last,
    const char *others)
{
    while (p < last
           && (ti_uri_is_alnum(*p)
               || (*p != '\0' && strchr(others, *p) != NULL)))
    {
        p++;
    }

    return p;
}


/* Behind "https://" or "http://"; NULL: it is neither. */

static const unsigned char *
ti_uri_scheme(ti_str_t uri)
{
    size_t  i;

    static const ti_str_t  schemes[] = {
        ti_string("https://"), ti_string("http://")
    };

    for (i = 0; i < 2; i++) {
        if (uri.len > schemes[i].len
            && ti_str_caseeq(ti_str_from(uri.data, schemes[i].len),
                             schemes[i]))
        {
            return uri.data + schemes[i].len;
        }
    }

    return NULL;
}


/* Behind a name or an address, "[…]" if of IPv6; NULL: there is none. */

static const unsigned char *
ti_uri_host(const unsigned char *p, const unsigned char *last)
{
    const unsigned char  *host;

    if (p == last || *p != '[') {
        host = p;
        p = ti_uri_skip(p, last, "-._");

        return (p == host) ? NULL : p;
    }

    host = ++p;
    p = ti_uri_skip(p, last, ":.");

    if (p == host || p == last || *p != ']') {
        return NULL;
    }

    return p + 1;
}


/* Behind ":PORT", which may be absent; NULL: it is none. */

static const unsigned char *
ti_uri_port(const unsigned char *p, const unsigned char *last)
{
    uint64_t  port;
    ti_str_t  digits;

    if (p == last || *p != ':') {
        return p;
    }

    digits.data = ++p;

    while (p < last && *p >= '0' && *p <= '9') {
        p++;
    }

    digits.len = (size_t) (p - digits.data);

    if (ti_decimal_parse(digits, 65535, &port) != TI_OK || port == 0) {
        return NULL;
    }

    return p;
}


/* No user information: an issuer's name is no place for a password. */

static int
ti_uri_is_issuer(ti_str_t issuer)
{
    const unsigned char  *p, *last;

    p = ti_uri_scheme(issuer);
    last = issuer.data + issuer.len;

    if (p != NULL) {
        p = ti_uri_host(p, last);
    }

    if (p != NULL) {
        p = ti_uri_port(p, last);
    }

    if (p == NULL || (p < last && *p != '/')) {
        return 0;
    }

    return ti_uri_skip(p, last, TI_URI_PATH) == last;
}


ti_rc_t
ti_discovery_uri(const ti_pool_t *pool, ti_str_t issuer, ti_str_t *uri)
{
    unsigned char  *p;

    static const char  known[] = "/.well-known/openid-configuration";

    if (!ti_uri_is_issuer(issuer)) {
        return TI_DECLINED;
    }

    if (issuer.data[issuer.len - 1] == '/') {
        issuer.len--;
    }

    p = ti_pool_alloc(pool, issuer.len + sizeof(known));
    if (p == NULL) {
        return TI_ERROR;
    }

    memcpy(p, issuer.data, issuer.len);
    memcpy(p + issuer.len, known, sizeof(known));

    *uri = ti_str_from(p, issuer.len + sizeof(known) - 1);

    return TI_OK;
}


/* What the document lists; it need not say, and then restricts nothing. */

static unsigned
ti_discovery_algorithms(const json_t *document)
{
    size_t         i;
    unsigned       algorithms;
    const json_t  *listed, *name;

    listed = json_object_get(document,
                             "id_token_signing_alg_values_supported");
    if (listed == NULL) {
        return ~0U;
    }

    algorithms = 0;

    for (i = 0; i < json_array_size(listed); i++) {
        name = json_array_get(listed, i);

        if (json_is_string(name)) {
            algorithms |= (unsigned) ti_alg_by_name(ti_json_str(name));
        }
    }

    return algorithms;
}


static ti_rc_t
ti_discovery_copy(const ti_pool_t *pool, ti_str_t s, ti_str_t *copy)
{
    unsigned char  *p;

    p = ti_pool_alloc(pool, s.len + 1);
    if (p == NULL) {
        return TI_ERROR;
    }

    if (s.len != 0) {
        memcpy(p, s.data, s.len);
    }

    p[s.len] = '\0';

    *copy = ti_str_from(p, s.len);

    return TI_OK;
}


ti_rc_t
ti_discovery_read(const ti_pool_t *pool, ti_str_t text, ti_str_t issuer,
    unsigned allowed, ti_str_t *keys_uri, unsigned *algorithms,
    const char **why)
{
    json_t    *document;
    ti_rc_t    rc;
    ti_str_t   s;

    rc = ti_json_parse_object(text, TI_DISCOVERY_MAX_SIZE, &document, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = TI_DECLINED;
    allowed &= ti_discovery_algorithms(document);

    if (ti_json_string(document, "issuer", &s) != TI_OK
        || !ti_str_eq(s, issuer))
    {
        *why = "\"issuer\" in it is not this issuer";

    } else if (ti_json_string(document, "jwks_uri", &s) != TI_OK
               || s.len == 0)
    {
        *why = "\"jwks_uri\" is absent, empty or not a string";

    } else if (allowed == 0) {
        *why = "it lists none of the allowed algorithms";

    } else {
        *why = "no memory";
        *algorithms = allowed;
        rc = ti_discovery_copy(pool, s, keys_uri);
    }

    json_decref(document);

    return rc;
}


static ti_rc_t
ti_discovery_endpoint(const ti_pool_t *pool, const json_t *document,
    const char *name, ti_str_t *endpoint)
{
    ti_str_t  s;

    if (ti_json_string(document, name, &s) != TI_OK) {
        s = ti_null_str;
    }

    return ti_discovery_copy(pool, s, endpoint);
}


ti_rc_t
ti_discovery_endpoints(const ti_pool_t *pool, ti_str_t text, ti_str_t issuer,
    ti_discovery_endpoints_t *endpoints, const char **why)
{
    json_t    *document;
    ti_rc_t    rc;
    ti_str_t   s;

    rc = ti_json_parse_object(text, TI_DISCOVERY_MAX_SIZE, &document, why);
    if (rc != TI_OK) {
        return rc;
    }

    if (ti_json_string(document, "issuer", &s) != TI_OK
        || !ti_str_eq(s, issuer))
    {
        *why = "\"issuer\" in it is not this issuer";
        json_decref(document);

        return TI_DECLINED;
    }

    endpoints->iss = json_is_true(json_object_get(document,
                          "authorization_response_iss_parameter_supported"));

    if (ti_discovery_endpoint(pool, document, "authorization_endpoint",
                              &endpoints->authorization) != TI_OK
        || ti_discovery_endpoint(pool, document, "token_endpoint",
                                 &endpoints->token) != TI_OK
        || ti_discovery_endpoint(pool, document, "userinfo_endpoint",
                                 &endpoints->userinfo) != TI_OK
        || ti_discovery_endpoint(pool, document, "revocation_endpoint",
                                 &endpoints->revocation) != TI_OK)
    {
        *why = "no memory";
        rc = TI_ERROR;
    }

    json_decref(document);

    return rc;
}
