/*
 * Floor 1: what ti_resp.c and ti_resp_arena.c share; nobody else's.
 */

#ifndef TI_RESP_PRIVATE_H
#define TI_RESP_PRIVATE_H

#include "ti_resp.h"


/*
 * Memory for one reply after the other: what a reset gives back is given out
 * anew, so that a reply costs no malloc() once there was one of its size.
 * An arena begins as zeros and ends with ti_resp_arena_reset(arena, 0).
 */

typedef struct ti_resp_chunk_s  ti_resp_chunk_t;

typedef struct {
    ti_resp_chunk_t  *chunks;               /* the newest and largest first */
} ti_resp_arena_t;

/* aligned for any type; NULL: no memory */
void *ti_resp_arena_alloc(ti_resp_arena_t *arena, size_t size);

/* all of it at once, but for the largest chunk if keep is not 0 */
void ti_resp_arena_reset(ti_resp_arena_t *arena, int keep);


#endif /* TI_RESP_PRIVATE_H */
