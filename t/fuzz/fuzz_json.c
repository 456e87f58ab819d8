/*
 * "path\0text": what the way leads to in the JSON, as claims have it.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_claims.h"


#define MAX     65536
#define MEMORY  (4 * MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct {
    size_t                              used;
    _Alignas(max_align_t) unsigned char bytes[MEMORY];
} memory_t;


static void *
memory_alloc(void *data, size_t size)
{
    void      *p;
    memory_t  *memory;

    memory = data;
    size = (size + 15) & ~(size_t) 15;

    if (size > MEMORY - memory->used) {
        return NULL;
    }

    p = memory->bytes + memory->used;
    memory->used += size;

    return p;
}


static void
must(int so)
{
    if (!so) {
        abort();
    }
}


/* The other way around: by what an address is, not by where it begins. */

static int
is_address(ti_str_t text)
{
    size_t  i, at, n;

    at = 0;
    n = 0;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] == '@') {
            at = i;
            n++;
        }
    }

    return n == 1 && at != 0
           && ti_str_caseeq(ti_str_from(text.data + at + 1,
                                        text.len - at - 1),
                            ti_str("example.com"));
}


static void
allow_domain(const json_t *claims, const ti_json_path_t *path)
{
    int                    allowed, unverified;
    size_t                 i, n;
    ti_str_t               text;
    const json_t          *value;
    ti_claims_rule_t       rule;
    static const ti_str_t  domain = ti_string("*@Example.COM");

    rule.path = *path;
    rule.values = &domain;
    rule.nvalues = 1;
    allowed = ti_claims_allowed(claims, &rule, 1);

    n = 0;
    value = ti_json_path_find(path, claims);

    if (json_is_string(value)) {
        n = (size_t) is_address(ti_json_str(value));
    }

    for (i = 0; i < json_array_size(value); i++) {
        if (json_is_string(json_array_get(value, i))) {
            n += (size_t) is_address(ti_json_str(json_array_get(value, i)));
        }
    }

    value = json_object_get(claims, "email_verified");
    unverified = json_is_false(value);

    if (json_is_string(value)) {
        text = ti_json_str(value);
        unverified = ti_str_eq(text, ti_str("false"));
    }

    must(allowed == (n != 0 && !unverified));
}


static void
read_claims(const ti_pool_t *pool, const json_t *claims, ti_str_t way)
{
    size_t            i;
    int64_t           n;
    ti_rc_t           rc;
    ti_str_t          text, name;
    ti_json_path_t    path;
    ti_claims_rule_t  rule;

    if (ti_json_path_compile(pool, way, &path) != TI_OK) {
        return;
    }

    if (ti_claims_text(pool, claims, &path, &text) != TI_OK) {
        return;
    }

    for (i = 0; i < text.len; i++) {
        must(text.data[i] >= 0x20 && text.data[i] != 0x7f);
    }

    rc = ti_claims_name(pool, claims, &path, &name);
    must(rc != TI_OK || (name.len != 0 && ti_str_eq(text, name)));

    rule.path = path;
    rule.values = &text;
    rule.nvalues = 1;
    (void) ti_claims_allowed(claims, &rule, 1);

    allow_domain(claims, &path);

    if (ti_json_integer(claims, path.names[0], -5, 5, &n) == TI_OK) {
        must(n >= -5 && n <= 5 && ti_json_has(claims, path.names[0]));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char           *again;
    json_t         *object, *same;
    memory_t       *memory;
    ti_str_t        way, text;
    ti_pool_t       pool;
    const char     *why;
    const uint8_t  *nul;

    nul = size ? memchr(data, '\0', size) : NULL;

    if (nul == NULL) {
        return 0;
    }

    way = ti_str_from(data, (size_t) (nul - data));
    text = ti_str_from(nul + 1, size - way.len - 1);

    if (ti_json_parse_object(text, MAX, &object, &why) != TI_OK) {
        must(why != NULL);
        return 0;
    }

    must(text.len <= MAX);

    memory = malloc(sizeof(memory_t));
    memory->used = 0;
    pool.alloc = memory_alloc;
    pool.data = memory;

    read_claims(&pool, object, way);

    /* what was accepted is JSON, and the same again */

    again = json_dumps(object, JSON_COMPACT);
    must(again != NULL);

    must(ti_json_parse_object(ti_str_cstr(again), 8 * MAX, &same, &why)
         == TI_OK);
    must(json_equal(object, same));

    json_decref(same);
    free(again);
    free(memory);
    json_decref(object);

    return 0;
}
