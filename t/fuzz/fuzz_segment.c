/*
 * Rules of any bytes.  Whatever is taken has rules with values, or none at
 * all and says for whom it is; each line of it is taken alone as well.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ti_segment.h"


#define BLOCKS  8192


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void    *blocks[BLOCKS];
static size_t   nblocks;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


/* a line may have any number of quotes, each of which takes memory */

static void *
alloc(void *data, size_t size)
{
    if (nblocks == BLOCKS) {
        return NULL;
    }

    return blocks[nblocks++] = malloc(size == 0 ? 1 : size);
}


static const ti_pool_t  pool = { alloc, NULL };


static void
check(const ti_segment_t *segment)
{
    size_t         i, j, line, rule;
    json_t        *claims;
    const char    *why;
    ti_segment_t   one;

    claims = json_pack("{s:s, s:[s, s]}", "a", "b", "groups", "x", "y");
    must(claims != NULL);

    if (ti_segment_allows(segment, claims, &rule)) {
        must(rule < segment->nrules
             || segment->kind == TI_SEGMENT_EVERYONE);

    } else {
        must(rule == segment->nrules
             && segment->kind != TI_SEGMENT_EVERYONE);
    }

    json_decref(claims);

    must((segment->kind == TI_SEGMENT_RULES) == (segment->nrules != 0));

    for (i = 0; i < segment->nrules; i++) {
        must(segment->rules[i].nvalues != 0 && segment->rules[i].path.n != 0);

        for (j = 0; j < segment->rules[i].nvalues; j++) {
            must(segment->rules[i].values[j].len != 0);
        }

        if (ti_segment_parse(&pool, segment->lines[i], &one, &line, &why)
            == TI_OK)
        {
            must(one.nrules == 1
                 && one.rules[0].nvalues == segment->rules[i].nvalues);

        } else {
            must(nblocks == BLOCKS);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t        line;
    ti_rc_t       rc;
    const char   *why;
    ti_segment_t  segment;

    why = NULL;
    rc = ti_segment_parse(&pool, ti_str_from(data, size), &segment, &line,
                          &why);

    if (rc == TI_OK) {
        check(&segment);

    } else {
        must(why != NULL && line >= 1 && line <= size + 1);
        must(rc == TI_DECLINED || nblocks == BLOCKS);
    }

    while (nblocks > 0) {
        free(blocks[--nblocks]);
    }

    return 0;
}
