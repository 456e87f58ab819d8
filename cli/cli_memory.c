/*
 * Memory that is wiped when it goes: for the pools, and for jansson, which
 * holds sealing keys while keygen works on them.
 */

#include <malloc.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "tokenctl.h"


struct tokenctl_block_s {
    tokenctl_block_t    *next;
    alignas(max_align_t) unsigned char  data[];
};


void
tokenctl_free(void *p)
{
    ti_wipe(p, malloc_usable_size(p));
    free(p);
}


static void *
tokenctl_pool_alloc(void *data, size_t size)
{
    tokenctl_block_t  *block;
    tokenctl_pool_t   *pool = data;

    if (size > SIZE_MAX - sizeof(tokenctl_block_t)) {
        return NULL;
    }

    block = malloc(sizeof(tokenctl_block_t) + size);
    if (block == NULL) {
        return NULL;
    }

    block->next = pool->blocks;
    pool->blocks = block;

    return block->data;
}


void
tokenctl_pool_init(tokenctl_pool_t *pool)
{
    pool->ti.alloc = tokenctl_pool_alloc;
    pool->ti.data = pool;
    pool->blocks = NULL;
}


void
tokenctl_pool_reset(tokenctl_pool_t *pool)
{
    tokenctl_block_t  *block;

    while (pool->blocks != NULL) {
        block = pool->blocks;
        pool->blocks = block->next;
        tokenctl_free(block);
    }
}


tokenctl_exit_t
tokenctl_concat(tokenctl_t *ctl, const ti_str_t *parts, size_t n,
    ti_str_t *out)
{
    size_t          i, len;
    unsigned char  *p, *start;

    len = 0;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    start = ti_pool_alloc(&ctl->pool.ti, len + 1);
    if (start == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    p = start;

    for (i = 0; i < n; i++) {
        if (parts[i].len != 0) {
            memcpy(p, parts[i].data, parts[i].len);
            p += parts[i].len;
        }
    }

    *p = '\0';

    /* last: it may be one of the parts */

    *out = ti_str_from(start, len);

    return TOKENCTL_DONE;
}
