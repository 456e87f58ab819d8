/*
 * Floor 1: bounded reading of JSON (RFC 8259) over jansson.
 *
 * Refused before they cost anything: texts above the size, nesting above
 * TI_JSON_DEPTH.  Refused by the parser: duplicate members, U+0000, numbers
 * that fit no type, anything behind the value, an empty text.
 */

#ifndef TI_JSON_H
#define TI_JSON_H

#include <jansson.h>

#include "ti_base.h"


#define TI_JSON_DEPTH  32


/*
 * Parses an object of at most max_size bytes.  TI_OK: *object is owned by the
 * caller, json_decref() ends it.  TI_DECLINED: *why is a static phrase.
 */

ti_rc_t ti_json_parse_object(ti_str_t text, size_t max_size, json_t **object,
    const char **why);


/*
 * Members by name.  TI_OK; TI_DECLINED where the member is absent or of
 * another type or range.  Integers are exact: 1.0 and 1e3 are not integers.
 * Strings borrow from the object.
 */

ti_rc_t ti_json_string(const json_t *object, const char *name, ti_str_t *value);
ti_rc_t ti_json_integer(const json_t *object, const char *name, int64_t min,
    int64_t max, int64_t *value);
int ti_json_has(const json_t *object, const char *name);

/* The view of a value that json_is_string() said yes to. */

ti_str_t ti_json_str(const json_t *string);


/*
 * The way to a value: the name of a member of the root object, taken as it
 * is, or, beginning with "/", a JSON pointer (RFC 6901).  Compiled once, at
 * start, into memory of the pool.  An empty path has n = 0 and finds nothing.
 */

typedef struct {
    const char  **names;                    /* NUL-terminated, unescaped */
    size_t        n;
} ti_json_path_t;

/* TI_DECLINED: a bad escape, a NUL, an empty text */
ti_rc_t ti_json_path_compile(const ti_pool_t *pool, ti_str_t text,
    ti_json_path_t *path);

/* borrowed from root; NULL where nothing is there */
const json_t *ti_json_path_find(const ti_json_path_t *path, const json_t *root);


#endif /* TI_JSON_H */
