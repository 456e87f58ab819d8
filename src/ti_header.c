/*
 * Floor 1: what header fields say.
 */

#include <string.h>

#include "ti_header.h"


static int
ti_is_space(unsigned char c)
{
    return c == ' ' || c == '\t';
}


static ti_str_t
ti_trim(ti_str_t s)
{
    while (s.len > 0 && ti_is_space(s.data[0])) {
        s.data++;
        s.len--;
    }

    while (s.len > 0 && ti_is_space(s.data[s.len - 1])) {
        s.len--;
    }

    return s;
}


/*
 * Takes from *rest what stands before the next separator, and both off.
 * Returns 0 at the end; "a," is "a" and "".
 */

static int
ti_split(ti_str_t *rest, unsigned char separator, ti_str_t *part)
{
    const unsigned char  *p;

    if (rest->data == NULL) {
        return 0;
    }

    *part = *rest;

    p = memchr(rest->data, separator, rest->len);
    if (p == NULL) {
        *rest = ti_null_str;
        return 1;
    }

    part->len = (size_t) (p - rest->data);
    *rest = ti_str_from(p + 1, rest->len - part->len - 1);

    return 1;
}


ti_rc_t
ti_header_bearer(ti_str_t value, ti_str_t *token)
{
    ti_str_t  scheme, rest;

    scheme = ti_str("Bearer");

    if (value.len <= scheme.len || value.data[scheme.len] != ' '
        || !ti_str_caseeq(ti_str_from(value.data, scheme.len), scheme))
    {
        return TI_DECLINED;
    }

    rest = ti_str_from(value.data + scheme.len, value.len - scheme.len);

    while (rest.len > 0 && rest.data[0] == ' ') {
        rest.data++;
        rest.len--;
    }

    while (rest.len > 0 && rest.data[rest.len - 1] == ' ') {
        rest.len--;
    }

    if (rest.len == 0) {
        return TI_DECLINED;
    }

    *token = rest;

    return TI_OK;
}


static int
ti_is_b64token(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= '9')
           || c == '-' || c == '.' || c == '_' || c == '~' || c == '+'
           || c == '/';
}


int
ti_header_b64token(ti_str_t token)
{
    size_t  i;

    for (i = 0; i < token.len && ti_is_b64token(token.data[i]); i++) {
        /* void */
    }

    if (i == 0) {
        return 0;
    }

    while (i < token.len && token.data[i] == '=') {
        i++;
    }

    return i == token.len;
}


/*
 * The value of the cookie in what stands between two ";", where nginx finds
 * it: at the beginning or behind a comma, and up to the end.
 */

static ti_rc_t
ti_cookie_value(ti_str_t pair, ti_str_t name, ti_str_t *value)
{
    ti_str_t  rest, part, after;

    rest = pair;

    while (ti_split(&rest, ',', &part)) {
        part = ti_trim(part);

        if (part.len <= name.len
            || !ti_str_caseeq(ti_str_from(part.data, name.len), name))
        {
            continue;
        }

        after = ti_trim(ti_str_from(part.data + name.len,
                                    part.len - name.len));

        if (after.len > 0 && after.data[0] == '=') {
            after.data++;
            after.len = (size_t) (pair.data + pair.len - after.data);
            *value = ti_trim(after);
            return TI_OK;
        }
    }

    return TI_DECLINED;
}


size_t
ti_header_cookie_strip(unsigned char *dst, ti_str_t value, ti_str_t name)
{
    ti_str_t        rest, pair, ignored;
    unsigned char  *p;

    p = dst;
    rest = value;

    while (ti_split(&rest, ';', &pair)) {

        if (ti_trim(pair).len == 0
            || ti_cookie_value(pair, name, &ignored) == TI_OK)
        {
            continue;
        }

        if (p == dst) {
            pair = ti_trim(pair);

        } else {
            *p++ = ';';
        }

        memcpy(p, pair.data, pair.len);
        p += pair.len;
    }

    return (size_t) (p - dst);
}


size_t
ti_header_cookie(ti_str_t value, ti_str_t name, ti_str_t *out)
{
    size_t    n;
    ti_str_t  rest, pair, found;

    n = 0;
    rest = value;

    while (ti_split(&rest, ';', &pair)) {

        if (ti_cookie_value(pair, name, &found) != TI_OK) {
            continue;
        }

        if (n++ == 0) {
            *out = found;
        }
    }

    return n;
}


/* Behind the quoted string that begins at p (RFC 9110 5.6.4); NULL: no end */

static const unsigned char *
ti_quoted_end(const unsigned char *p, const unsigned char *last)
{
    for (p++; p < last; p++) {
        if (*p == '"') {
            return p + 1;
        }

        if (*p == '\\') {
            p++;
        }
    }

    return NULL;
}


/*
 * Behind the comma that ends the member at p, or last.  A quote without an
 * end is a character like any other: it must not hide what comes behind it.
 * There is none with an end behind it either, so *quotes says not to look.
 */

static const unsigned char *
ti_member_end(const unsigned char *p, const unsigned char *last, int *quotes)
{
    const unsigned char  *end;

    while (p < last) {
        if (*p == ',') {
            return p + 1;
        }

        if (*p == '"' && *quotes) {
            end = ti_quoted_end(p, last);

            if (end != NULL) {
                p = end;
                continue;
            }

            *quotes = 0;
        }

        p++;
    }

    return last;
}


static int
ti_ends_token(unsigned char c)
{
    return ti_is_space(c) || c == ',' || c == ';' || c == '=' || c == '"';
}


static ti_str_t
ti_token(const unsigned char *p, const unsigned char *last)
{
    const unsigned char  *token;

    for (token = p; p < last && !ti_ends_token(*p); p++) {
        /* void */
    }

    return ti_str_from(token, (size_t) (p - token));
}


/* What stands behind the first token of that name; data is NULL: no such. */

static ti_str_t
ti_behind_token(ti_str_t list, ti_str_t name)
{
    int                   quotes;
    ti_str_t              token;
    const unsigned char  *p, *last;

    if (list.len == 0) {
        return ti_null_str;
    }

    quotes = 1;
    p = list.data;
    last = p + list.len;

    while (p < last) {
        while (p < last && ti_is_space(*p)) {
            p++;
        }

        token = ti_token(p, last);
        p += token.len;

        if (ti_str_caseeq(token, name)) {
            return ti_str_from(p, (size_t) (last - p));
        }

        p = ti_member_end(p, last, &quotes);
    }

    return ti_null_str;
}


int
ti_header_lists(ti_str_t list, ti_str_t name)
{
    return ti_behind_token(list, name).data != NULL;
}


ti_rc_t
ti_header_argument(ti_str_t list, ti_str_t name, ti_str_t *argument)
{
    ti_str_t              rest, value;
    const unsigned char  *p, *last;

    rest = ti_behind_token(list, name);

    if (rest.len < 2 || rest.data[0] != '=') {
        return TI_DECLINED;
    }

    p = rest.data + 1;
    last = rest.data + rest.len;

    value = ti_token(p, last);
    p += value.len;

    if (value.len == 0) {
        p = (*p == '"') ? ti_quoted_end(p, last) : NULL;

        if (p == NULL) {
            return TI_DECLINED;
        }

        value = ti_str_from(rest.data + 2, (size_t) (p - rest.data) - 3);
    }

    while (p < last && ti_is_space(*p)) {
        p++;
    }

    if (p < last && *p != ',') {
        return TI_DECLINED;
    }

    *argument = value;

    return TI_OK;
}


static int
ti_one_of(ti_str_t name, const ti_str_t *names, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (ti_str_caseeq(name, names[i])) {
            return 1;
        }
    }

    return 0;
}


int
ti_header_vary_within(ti_str_t vary, const ti_str_t *names, size_t n)
{
    ti_str_t  rest, member;

    rest = vary;

    while (ti_split(&rest, ',', &member)) {
        member = ti_trim(member);

        if (member.len == 0) {
            continue;
        }

        if (ti_str_eq(member, ti_str("*")) || !ti_one_of(member, names, n)) {
            return 0;
        }
    }

    return 1;
}
