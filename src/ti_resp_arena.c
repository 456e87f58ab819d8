/*
 * Floor 1: the memory that a reply lies in.
 */

#include <stdlib.h>

#include "ti_resp_private.h"


#define TI_RESP_CHUNK  4096


struct ti_resp_chunk_s {
    ti_resp_chunk_t                    *next;
    size_t                              size;
    size_t                              used;
    _Alignas(max_align_t) unsigned char data[];
};


static ti_resp_chunk_t *
ti_resp_chunk_create(ti_resp_arena_t *arena, size_t size)
{
    size_t            room;
    ti_resp_chunk_t  *chunk;

    room = TI_RESP_CHUNK;

    if (arena->chunks != NULL) {
        room = 2 * arena->chunks->size;
    }

    if (room < size) {
        room = size;
    }

    chunk = malloc(sizeof(ti_resp_chunk_t) + room);
    if (chunk == NULL) {
        return NULL;
    }

    chunk->next = arena->chunks;
    chunk->size = room;
    chunk->used = 0;

    arena->chunks = chunk;

    return chunk;
}


void *
ti_resp_arena_alloc(ti_resp_arena_t *arena, size_t size)
{
    void             *p;
    ti_resp_chunk_t  *chunk;

    size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    chunk = arena->chunks;

    if (chunk == NULL || size > chunk->size - chunk->used) {
        chunk = ti_resp_chunk_create(arena, size);
        if (chunk == NULL) {
            return NULL;
        }
    }

    p = chunk->data + chunk->used;
    chunk->used += size;

    return p;
}


void
ti_resp_arena_reset(ti_resp_arena_t *arena, int keep)
{
    ti_resp_chunk_t  *chunk, *next;

    chunk = arena->chunks;

    if (keep && chunk != NULL) {
        next = chunk->next;

        chunk->next = NULL;
        chunk->used = 0;

        chunk = next;

    } else {
        arena->chunks = NULL;
    }

    while (chunk != NULL) {
        next = chunk->next;

        ti_wipe(chunk->data, chunk->size);
        free(chunk);

        chunk = next;
    }
}
