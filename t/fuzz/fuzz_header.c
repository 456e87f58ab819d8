/*
 * "name\0value": a cookie, a list's member or a scheme in a header field.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_header.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int so)
{
    if (!so) {
        abort();
    }
}


/*
 * The other way around: is there a name, then "=", with nothing but spaces
 * between it and the separator or the beginning?
 */

static int
nginx_could_find(ti_str_t value, ti_str_t name)
{
    size_t  i, k;

    for (i = 0; i + name.len < value.len; i++) {
        if (!ti_str_caseeq(ti_str_from(value.data + i, name.len), name)) {
            continue;
        }

        k = i;

        while (k > 0 && value.data[k - 1] == ' ') {
            k--;
        }

        if (k > 0 && value.data[k - 1] != ';' && value.data[k - 1] != ',') {
            continue;
        }

        k = i + name.len;

        while (k < value.len && value.data[k] == ' ') {
            k++;
        }

        if (k < value.len && value.data[k] == '=') {
            return 1;
        }
    }

    return 0;
}


static int
holds(ti_str_t whole, ti_str_t part)
{
    size_t  i;

    for (i = 0; i + part.len <= whole.len; i++) {
        if (ti_str_caseeq(ti_str_from(whole.data + i, part.len), part)) {
            return 1;
        }
    }

    return 0;
}


static void
strip(ti_str_t value, ti_str_t name)
{
    size_t          n;
    ti_str_t        found, left;
    unsigned char  *dst, *again;

    dst = malloc(value.len + 1);
    again = malloc(value.len + 1);

    n = ti_header_cookie_strip(dst, value, name);
    must(n <= value.len);

    left = ti_str_from(dst, n);
    must(!nginx_could_find(left, name));
    must(ti_header_cookie(left, name, &found) == 0);

    must(ti_header_cookie_strip(again, left, name) == n);
    must(n == 0 || memcmp(dst, again, n) == 0);

    if (ti_header_cookie(value, name, &found) != 0) {
        must(found.data >= value.data
             && found.data + found.len <= value.data + value.len);

    } else {
        must(!nginx_could_find(value, name));
    }

    free(dst);
    free(again);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_str_t        name, value, token;
    const uint8_t  *nul;

    nul = size ? memchr(data, '\0', size) : NULL;

    if (nul == NULL) {
        return 0;
    }

    name = ti_str_from(data, (size_t) (nul - data));
    value = ti_str_from(nul + 1, size - name.len - 1);

    /* names that a variable can have */

    if (name.len != 0
        && strspn((const char *) name.data, "abcdefghijklmnopqrstuvwxyz"
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
           == name.len)
    {
        strip(value, name);
    }

    if (ti_header_bearer(value, &token) == TI_OK) {
        must(token.len != 0 && token.data[0] != ' '
             && token.data[token.len - 1] != ' ');
        must(token.data >= value.data
             && token.data + token.len <= value.data + value.len);
    }

    if (ti_header_b64token(value)) {
        must(memchr(value.data, '\r', value.len) == NULL
             && memchr(value.data, '\n', value.len) == NULL
             && memchr(value.data, '\0', value.len) == NULL
             && memchr(value.data, ' ', value.len) == NULL);
    }

    if (name.len != 0 && ti_header_lists(value, name)) {
        must(holds(value, name));
    }

    if (name.len != 0 && ti_header_argument(value, name, &token) == TI_OK) {
        must(ti_header_lists(value, name));
        must(token.data >= value.data + name.len + 1
             && token.data + token.len <= value.data + value.len);
        must(token.data[-1] == '=' || token.data[-1] == '"');
    }

    if (name.len != 0 && holds(value, name)
        && ti_header_vary_within(value, &name, 1))
    {
        must(ti_header_lists(value, name) || name.data[0] == '"'
             || strpbrk((const char *) name.data, "\" \t;=,") != NULL);
    }

    return 0;
}
