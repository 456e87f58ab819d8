#include <string.h>

#include <openssl/evp.h>

#include "ti_form.h"


static int
ti_form_is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= '9')
           || c == '-' || c == '.' || c == '_' || c == '~';
}


void
ti_form_raw(ti_form_t *form, ti_str_t text)
{
    if (form->dst != NULL && text.len != 0) {
        memcpy(form->dst + form->len, text.data, text.len);
    }

    form->len += text.len;
}


void
ti_form_text(ti_form_t *form, ti_str_t text)
{
    size_t         i;
    unsigned char  c, escape[3];

    static const char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (ti_form_is_unreserved(c)) {
            ti_form_raw(form, ti_str_from(&text.data[i], 1));
            continue;
        }

        escape[0] = '%';
        escape[1] = (unsigned char) hex[c >> 4];
        escape[2] = (unsigned char) hex[c & 0x0f];

        ti_form_raw(form, ti_str_from(escape, 3));
    }
}


void
ti_form_param(ti_form_t *form, int separator, ti_str_t name, ti_str_t value)
{
    if (separator) {
        ti_form_raw(form, ti_str("&"));
    }

    ti_form_text(form, name);
    ti_form_raw(form, ti_str("="));
    ti_form_text(form, value);
}


void
ti_form_params(ti_form_t *form, const ti_form_param_t *params, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        ti_form_param(form, 1, params[i].name, params[i].value);
    }
}


ti_rc_t
ti_form_basic(const ti_pool_t *pool, ti_str_t id, ti_str_t secret,
    ti_str_t *value)
{
    int              n;
    size_t           size;
    ti_form_t        pair;
    unsigned char   *p;

    static const ti_str_t  scheme = ti_string("Basic ");

    /* "%XX" for each byte at most, in base64, and EVP's NUL behind it */

    size = 3 * (id.len + secret.len) + 1;

    if (size > INT32_MAX / 4) {
        return TI_ERROR;
    }

    p = ti_pool_alloc(pool, scheme.len + (size + 2) / 3 * 4 + 1);
    pair.dst = ti_pool_alloc(pool, size);
    pair.len = 0;

    if (p == NULL || pair.dst == NULL) {
        return TI_ERROR;
    }

    ti_form_text(&pair, id);
    ti_form_raw(&pair, ti_str(":"));
    ti_form_text(&pair, secret);

    memcpy(p, scheme.data, scheme.len);
    n = EVP_EncodeBlock(p + scheme.len, pair.dst, (int) pair.len);

    ti_wipe(pair.dst, pair.len);

    *value = ti_str_from(p, scheme.len + (size_t) n);

    return TI_OK;
}
