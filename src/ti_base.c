/*
 * Floor 0: views, results, base64url, decimals, enc(), secrets.
 */

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE                     /* explicit_bzero() */
#endif

#include <string.h>

#include <openssl/crypto.h>

#include "ti_base.h"


#define TI_RESULT(name, status, title, retry)                                 \
    { ti_string(name), status, ti_string(title),                              \
      ti_string("urn:ngx-token-injector:" name), retry }


static const ti_result_info_t  ti_results[TI_RESULT_LAST] = {

    [TI_RESULT_OK] =
        TI_RESULT("ok", 200, "OK", 0),

    [TI_RESULT_TOKEN_MISSING] =
        TI_RESULT("token-missing", 401, "No token in the request", 0),

    [TI_RESULT_TOKEN_INVALID] =
        TI_RESULT("token-invalid", 401, "The token is not valid", 0),

    [TI_RESULT_TOKEN_EXPIRED] =
        TI_RESULT("token-expired", 401, "The token has expired", 0),

    [TI_RESULT_CALLER_REJECTED] =
        TI_RESULT("caller-rejected", 401, "The caller is not accepted", 0),

    [TI_RESULT_SEGMENT_EXCLUDED] =
        TI_RESULT("segment-excluded", 403,
                  "This provider is not available to the caller", 0),

    [TI_RESULT_USER_KEY_REQUIRED] =
        TI_RESULT("user-key-required", 400, "A valid user key is required", 0),

    [TI_RESULT_CONNECTION_REQUIRED] =
        TI_RESULT("connection-required", 403,
                  "Connect this provider first", 0),

    [TI_RESULT_RECONNECT_REQUIRED] =
        TI_RESULT("reconnect-required", 403,
                  "Connect this provider again", 0),

    [TI_RESULT_ADMIN_CONSENT_REQUIRED] =
        TI_RESULT("admin-consent-required", 403,
                  "An administrator must consent first", 0),

    [TI_RESULT_STORE_UNAVAILABLE] =
        TI_RESULT("store-unavailable", 503,
                  "The token store is unavailable", 1),

    [TI_RESULT_KEYS_UNAVAILABLE] =
        TI_RESULT("keys-unavailable", 503,
                  "The issuer's keys are unavailable", 1),

    [TI_RESULT_PROVIDER_UNAVAILABLE] =
        TI_RESULT("provider-unavailable", 502,
                  "The provider is unavailable", 0),

    [TI_RESULT_PROVIDER_THROTTLED] =
        TI_RESULT("provider-throttled", 429,
                  "The provider asks to slow down", 1),

    [TI_RESULT_REQUEST_INVALID] =
        TI_RESULT("request-invalid", 400, "The request is not valid", 0),

    [TI_RESULT_STATE_INVALID] =
        TI_RESULT("state-invalid", 400, "The state is not valid", 0),

    [TI_RESULT_PROVIDER_UNKNOWN] =
        TI_RESULT("provider-unknown", 404, "No such provider", 0),

    [TI_RESULT_INTERNAL_ERROR] =
        TI_RESULT("internal-error", 500, "Internal error", 0),

    [TI_RESULT_PROVIDER_MISCONFIGURED] =
        TI_RESULT("provider-misconfigured", 502,
                  "The provider is misconfigured", 0)
};


static const unsigned char  ti_b64u_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


#define XX  255                             /* no other value has bit 7 */

static const unsigned char  ti_b64u_values[256] = {
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, 62, XX, XX,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, XX, XX, XX, XX, XX, XX,
    XX,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, XX, XX, XX, XX, 63,
    XX, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX
};

#undef XX


ti_str_t
ti_str_from(const void *data, size_t len)
{
    ti_str_t  s;

    s.data = data;
    s.len = len;

    return s;
}


ti_str_t
ti_str_cstr(const char *s)
{
    return ti_str_from(s, strlen(s));
}


int
ti_str_eq(ti_str_t a, ti_str_t b)
{
    return a.len == b.len
           && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


static unsigned char
ti_lower(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') ? (unsigned char) (c | 0x20) : c;
}


int
ti_str_caseeq(ti_str_t a, ti_str_t b)
{
    size_t  i;

    if (a.len != b.len) {
        return 0;
    }

    for (i = 0; i < a.len; i++) {
        if (ti_lower(a.data[i]) != ti_lower(b.data[i])) {
            return 0;
        }
    }

    return 1;
}


const ti_result_info_t *
ti_result_info(ti_result_t result)
{
    if ((unsigned) result >= TI_RESULT_LAST) {
        result = TI_RESULT_INTERNAL_ERROR;
    }

    return &ti_results[result];
}


void *
ti_pool_alloc(const ti_pool_t *pool, size_t size)
{
    return pool->alloc(pool->data, size);
}


ti_rc_t
ti_pool_copy(const ti_pool_t *pool, ti_str_t s, ti_str_t *copy)
{
    unsigned char  *p;

    if (s.len == 0) {
        *copy = (s.data == NULL) ? ti_null_str : ti_str("");
        return TI_OK;
    }

    p = ti_pool_alloc(pool, s.len);
    if (p == NULL) {
        return TI_ERROR;
    }

    memcpy(p, s.data, s.len);
    *copy = ti_str_from(p, s.len);

    return TI_OK;
}


size_t
ti_b64u_len(size_t len)
{
    return len / 3 * 4 + (len % 3 ? len % 3 + 1 : 0);
}


size_t
ti_b64u_decoded_len(size_t len)
{
    return len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0);
}


size_t
ti_b64u_encode(unsigned char *dst, ti_str_t src)
{
    size_t                n;
    unsigned char        *d;
    const unsigned char  *s;

    d = dst;
    s = src.data;

    for (n = src.len; n >= 3; n -= 3) {
        d[0] = ti_b64u_chars[s[0] >> 2];
        d[1] = ti_b64u_chars[(s[0] & 0x03) << 4 | s[1] >> 4];
        d[2] = ti_b64u_chars[(s[1] & 0x0f) << 2 | s[2] >> 6];
        d[3] = ti_b64u_chars[s[2] & 0x3f];

        d += 4;
        s += 3;
    }

    if (n > 0) {
        *d++ = ti_b64u_chars[s[0] >> 2];

        if (n == 1) {
            *d++ = ti_b64u_chars[(s[0] & 0x03) << 4];

        } else {
            *d++ = ti_b64u_chars[(s[0] & 0x03) << 4 | s[1] >> 4];
            *d++ = ti_b64u_chars[(s[1] & 0x0f) << 2];
        }
    }

    return ti_b64u_len(src.len);
}


/*
 * What is wrong is gathered in "bad" and asked for once: faster than a branch
 * for each character, and it does not tell where the first wrong one stood.
 */

ti_rc_t
ti_b64u_decode(unsigned char *dst, size_t *len, ti_str_t src)
{
    size_t                n;
    uint32_t              a, b, c, e, bad;
    unsigned char        *d;
    const unsigned char  *s;

    if (src.len % 4 == 1) {
        return TI_DECLINED;
    }

    bad = 0;
    d = dst;
    s = src.data;

    for (n = src.len; n >= 4; n -= 4) {
        a = ti_b64u_values[s[0]];
        b = ti_b64u_values[s[1]];
        c = ti_b64u_values[s[2]];
        e = ti_b64u_values[s[3]];

        bad |= a | b | c | e;

        d[0] = (unsigned char) (a << 2 | b >> 4);
        d[1] = (unsigned char) (b << 4 | c >> 2);
        d[2] = (unsigned char) (c << 6 | e);

        d += 3;
        s += 4;
    }

    if (n > 0) {
        a = ti_b64u_values[s[0]];
        b = ti_b64u_values[s[1]];
        c = (n == 3) ? ti_b64u_values[s[2]] : 0;

        bad |= a | b | c;

        /* the bits after the last whole byte */
        bad |= ((n == 3) ? c & 0x03 : b & 0x0f) ? 0x80 : 0;

        d[0] = (unsigned char) (a << 2 | b >> 4);

        if (n == 3) {
            d[1] = (unsigned char) (b << 4 | c >> 2);
        }
    }

    if (bad & 0x80) {
        return TI_DECLINED;
    }

    *len = ti_b64u_decoded_len(src.len);

    return TI_OK;
}


ti_rc_t
ti_decimal_parse(ti_str_t s, uint64_t max, uint64_t *value)
{
    size_t    i;
    uint64_t  v, digit;

    if (s.len == 0 || s.len > TI_DECIMAL_LEN
        || (s.data[0] == '0' && s.len > 1))
    {
        return TI_DECLINED;
    }

    v = 0;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return TI_DECLINED;
        }

        digit = s.data[i] - '0';

        if (digit > max || v > (max - digit) / 10) {
            return TI_DECLINED;
        }

        v = v * 10 + digit;
    }

    *value = v;

    return TI_OK;
}


size_t
ti_decimal_format(unsigned char *dst, uint64_t value)
{
    size_t         n;
    unsigned char  buf[TI_DECIMAL_LEN];

    n = 0;

    do {
        buf[TI_DECIMAL_LEN - ++n] = (unsigned char) ('0' + value % 10);
        value /= 10;
    } while (value != 0);

    memcpy(dst, buf + TI_DECIMAL_LEN - n, n);

    return n;
}


size_t
ti_enc_len(const ti_str_t *fields, size_t n)
{
    size_t  i, len;

    len = 0;

    for (i = 0; i < n; i++) {
        len += 4 + fields[i].len;
    }

    return len;
}


size_t
ti_enc(unsigned char *dst, const ti_str_t *fields, size_t n)
{
    size_t          i;
    unsigned char  *p;

    p = dst;

    for (i = 0; i < n; i++) {
        ti_put_u32(p, (uint32_t) fields[i].len);
        p += 4;

        if (fields[i].len != 0) {
            memcpy(p, fields[i].data, fields[i].len);
            p += fields[i].len;
        }
    }

    return (size_t) (p - dst);
}


void
ti_put_u32(unsigned char *dst, uint32_t value)
{
    dst[0] = (unsigned char) (value >> 24);
    dst[1] = (unsigned char) (value >> 16);
    dst[2] = (unsigned char) (value >> 8);
    dst[3] = (unsigned char) value;
}


void
ti_put_u64(unsigned char *dst, uint64_t value)
{
    ti_put_u32(dst, (uint32_t) (value >> 32));
    ti_put_u32(dst + 4, (uint32_t) value);
}


uint32_t
ti_get_u32(const unsigned char *src)
{
    return (uint32_t) src[0] << 24 | (uint32_t) src[1] << 16
           | (uint32_t) src[2] << 8 | src[3];
}


uint64_t
ti_get_u64(const unsigned char *src)
{
    return (uint64_t) ti_get_u32(src) << 32 | ti_get_u32(src + 4);
}


void
ti_wipe(void *p, size_t len)
{
    /* as fast as memset(), which OPENSSL_cleanse() is not by far */

    if (len != 0) {
        explicit_bzero(p, len);
    }
}


int
ti_equal_ct(ti_str_t a, ti_str_t b)
{
    return a.len == b.len && CRYPTO_memcmp(a.data, b.data, a.len) == 0;
}
