/*
 * What unit tests share: cmocka, a pool that remembers what it gave, hex.
 */

#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ti_base.h"


/* Views as text, so that a failure shows what was there. */

#define assert_str(s, text)                                                   \
    do {                                                                      \
        ti_str_t  s_ = (s);                                                   \
                                                                              \
        assert_int_equal(s_.len, strlen(text));                               \
        assert_memory_equal(s_.len ? (const char *) s_.data : "", text,       \
                            s_.len);                                          \
    } while (0)

#define assert_bytes(p, hex)                                                  \
    do {                                                                      \
        unsigned char  b_[1024];                                              \
        size_t         n_ = unit_hex(b_, sizeof(b_), hex);                    \
                                                                              \
        assert_memory_equal(p, b_, n_);                                       \
    } while (0)


static inline size_t
unit_hex(unsigned char *dst, size_t size, const char *hex)
{
    size_t        n;
    unsigned int  byte;

    for (n = 0; hex[2 * n] != '\0'; n++) {
        assert_true(n < size);
        assert_int_equal(sscanf(hex + 2 * n, "%2x", &byte), 1);
        dst[n] = (unsigned char) byte;
    }

    return n;
}


/*
 * A pool of single malloc()s, so that a sanitizer sees where each ends.
 * Gives "left" of them, then none.
 */

typedef struct unit_block_s  unit_block_t;

struct unit_block_s {
    unit_block_t                        *next;
    _Alignas(max_align_t) unsigned char  data[];
};

typedef struct {
    unit_block_t  *blocks;
    size_t         left;
    ti_pool_t      pool;
} unit_pool_t;


static inline void *
unit_pool_alloc(void *data, size_t size)
{
    unit_pool_t   *unit;
    unit_block_t  *block;

    unit = data;

    if (unit->left == 0) {
        return NULL;
    }

    unit->left--;

    block = malloc(sizeof(unit_block_t) + size);
    assert_non_null(block);
    memset(block->data, 0xa5, size);

    block->next = unit->blocks;
    unit->blocks = block;

    return block->data;
}


static inline const ti_pool_t *
unit_pool_create(unit_pool_t *unit)
{
    unit->blocks = NULL;
    unit->left = SIZE_MAX;
    unit->pool.alloc = unit_pool_alloc;
    unit->pool.data = unit;

    return &unit->pool;
}


static inline void
unit_pool_free(unit_pool_t *unit)
{
    unit_block_t  *block;

    while (unit->blocks != NULL) {
        block = unit->blocks;
        unit->blocks = block->next;
        free(block);
    }
}


#endif /* UNIT_H */
