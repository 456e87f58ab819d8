/*
 * For a group of tests about records: a ring, and nothing left behind by any
 * of them.
 */

#ifndef RECORD_FIXTURE_H
#define RECORD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record_make.h"


#define TOKEN      "EwBwA8l6BAAU.abc-_~+/09=="
#define RECONNECT  TI_RESULT_RECONNECT_REQUIRED


static ti_crypto_t   *crypto;
static ti_keyring_t  *ring;


static int
set_up(void **state)
{
    crypto = ti_crypto_create();
    ring = rm_ring(0);
    rm_reset();

    return crypto == NULL;
}


static int
tear_down(void **state)
{
    ti_keyring_free(ring);
    ti_crypto_free(crypto);
    rm_reset();

    return 0;
}


static int
clean(void **state)
{
    rm_reset();

    return 0;
}


static inline ti_result_t
open_as(const ti_record_ref_t *ref, ti_str_t sealed, ti_record_t *record)
{
    const char   *why;
    ti_result_t   result;

    memset(record, 0, sizeof(ti_record_t));
    why = NULL;

    result = ti_record_open(crypto, &rm_pool, ring, ref, sealed, record, &why);

    if (result != TI_RESULT_OK) {
        assert_non_null(why);
    }

    return result;
}


static inline void
expect(const char *what, const ti_record_ref_t *ref, ti_str_t sealed,
    ti_result_t expected)
{
    ti_result_t  result;
    ti_record_t  record;

    result = open_as(ref, sealed, &record);

    if (result != expected) {
        fail_msg("%s: %s", what,
                 (const char *) ti_result_info(result)->name.data);
    }
}


static inline ti_record_t
token_of(const char *token)
{
    ti_record_t  record;

    memset(&record, 0, sizeof(ti_record_t));
    record.token = ti_str_cstr(token);
    record.expires = 1795290000;

    return record;
}


#endif /* RECORD_FIXTURE_H */
