/*
 * Floor 1: bounded reading of JSON over jansson.
 */

#include <string.h>

#include "ti_json.h"


/*
 * Brackets outside of strings.  Whether they match is the parser's question;
 * this one is asked before it recurses and allocates.
 */

static int
ti_json_too_deep(ti_str_t text)
{
    int            quoted;
    size_t         i, depth;
    unsigned char  c;

    quoted = 0;
    depth = 0;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        if (quoted) {
            if (c == '\\') {
                i++;

            } else if (c == '"') {
                quoted = 0;
            }

            continue;
        }

        if (c == '"') {
            quoted = 1;

        } else if (c == '{' || c == '[') {
            if (++depth > TI_JSON_DEPTH) {
                return 1;
            }

        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }

    return 0;
}


static const char *
ti_json_why(const json_error_t *error)
{
    switch (json_error_code(error)) {

    case json_error_duplicate_key:
        return "JSON with a duplicate member";

    case json_error_numeric_overflow:
        return "JSON with a number out of range";

    case json_error_end_of_input_expected:
        return "JSON with something behind it";

    case json_error_invalid_utf8:
        return "JSON that is not UTF-8";

    default:
        return "not JSON";
    }
}


ti_rc_t
ti_json_parse_object(ti_str_t text, size_t max_size, json_t **object,
    const char **why)
{
    json_t        *root;
    json_error_t   error;

    if (text.len == 0) {
        *why = "empty, no JSON";
        return TI_DECLINED;
    }

    if (text.len > max_size) {
        *why = "JSON too large";
        return TI_DECLINED;
    }

    if (ti_json_too_deep(text)) {
        *why = "JSON nested too deep";
        return TI_DECLINED;
    }

    root = json_loadb((const char *) text.data, text.len,
                      JSON_REJECT_DUPLICATES, &error);

    if (root == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory) {
            *why = "no memory";
            return TI_ERROR;
        }

        *why = ti_json_why(&error);
        return TI_DECLINED;
    }

    if (!json_is_object(root)) {
        json_decref(root);
        *why = "JSON that is not an object";
        return TI_DECLINED;
    }

    *object = root;

    return TI_OK;
}


ti_rc_t
ti_json_string(const json_t *object, const char *name, ti_str_t *value)
{
    const json_t  *member;

    member = json_object_get(object, name);

    if (!json_is_string(member)) {
        return TI_DECLINED;
    }

    *value = ti_json_str(member);

    return TI_OK;
}


ti_rc_t
ti_json_integer(const json_t *object, const char *name, int64_t min,
    int64_t max, int64_t *value)
{
    json_int_t     n;
    const json_t  *member;

    member = json_object_get(object, name);

    if (!json_is_integer(member)) {
        return TI_DECLINED;
    }

    n = json_integer_value(member);

    if (n < min || n > max) {
        return TI_DECLINED;
    }

    *value = n;

    return TI_OK;
}


int
ti_json_has(const json_t *object, const char *name)
{
    return json_object_get(object, name) != NULL;
}


ti_str_t
ti_json_str(const json_t *string)
{
    return ti_str_from(json_string_value(string), json_string_length(string));
}


/*
 * One reference token of RFC 6901, up to "/" or the end, unescaped to *dst
 * with its NUL.  Moves *p behind it and *dst behind the NUL.
 */

static ti_rc_t
ti_json_pointer_token(const unsigned char **p, const unsigned char *last,
    char **dst)
{
    char                  c;
    const unsigned char  *s;

    for (s = *p; s < last && *s != '/'; s++) {
        c = (char) *s;

        if (c == '~') {
            if (++s == last || (*s != '0' && *s != '1')) {
                return TI_DECLINED;
            }

            c = (*s == '0') ? '~' : '/';
        }

        *(*dst)++ = c;
    }

    *(*dst)++ = '\0';
    *p = s;

    return TI_OK;
}


static ti_rc_t
ti_json_pointer_compile(const ti_pool_t *pool, ti_str_t text,
    ti_json_path_t *path)
{
    char                  *dst;
    size_t                 i, n;
    const char           **names;
    const unsigned char   *p, *last;

    n = 0;

    for (i = 0; i < text.len; i++) {
        n += (text.data[i] == '/');
    }

    /* each "/" makes room for a NUL */
    names = ti_pool_alloc(pool, n * sizeof(char *));
    dst = ti_pool_alloc(pool, text.len);

    if (names == NULL || dst == NULL) {
        return TI_ERROR;
    }

    p = text.data;
    last = p + text.len;

    for (i = 0; i < n; i++) {
        p++;                                /* "/" */
        names[i] = dst;

        if (ti_json_pointer_token(&p, last, &dst) != TI_OK) {
            return TI_DECLINED;
        }
    }

    path->names = names;
    path->n = n;

    return TI_OK;
}


ti_rc_t
ti_json_path_compile(const ti_pool_t *pool, ti_str_t text,
    ti_json_path_t *path)
{
    char         *name;
    const char  **names;

    if (text.len == 0 || memchr(text.data, '\0', text.len) != NULL) {
        return TI_DECLINED;
    }

    if (text.data[0] == '/') {
        return ti_json_pointer_compile(pool, text, path);
    }

    names = ti_pool_alloc(pool, sizeof(char *));
    name = ti_pool_alloc(pool, text.len + 1);

    if (names == NULL || name == NULL) {
        return TI_ERROR;
    }

    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    names[0] = name;

    path->names = names;
    path->n = 1;

    return TI_OK;
}


static const json_t *
ti_json_path_step(const json_t *value, const char *name)
{
    uint64_t  i;

    if (json_is_array(value)) {
        if (ti_decimal_parse(ti_str_cstr(name), SIZE_MAX, &i) != TI_OK) {
            return NULL;
        }

        return json_array_get(value, (size_t) i);
    }

    return json_object_get(value, name);    /* NULL for what is no object */
}


const json_t *
ti_json_path_find(const ti_json_path_t *path, const json_t *root)
{
    size_t         i;
    const json_t  *value;

    if (path->n == 0) {
        return NULL;
    }

    value = root;

    for (i = 0; i < path->n && value != NULL; i++) {
        value = ti_json_path_step(value, path->names[i]);
    }

    return value;
}
