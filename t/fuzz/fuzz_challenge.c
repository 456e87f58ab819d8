/*
 * A WWW-Authenticate of any bytes.  What is taken from it can go into a log, a
 * header and a JSON text; what is there keeps its place behind another scheme.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/record_make.h"
#include "ti_challenge.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
check(const ti_challenge_t *challenge)
{
    size_t       i;
    json_t      *object;
    const char  *why;

    must(challenge->error.len <= TI_CHALLENGE_ERROR_MAX);

    for (i = 0; i < challenge->error.len; i++) {
        must(challenge->error.data[i] >= 0x20
             && challenge->error.data[i] <= 0x7E
             && challenge->error.data[i] != '"');
    }

    if (challenge->claims.len != 0) {
        must(ti_json_parse_object(challenge->claims, TI_CHALLENGE_CLAIMS_MAX,
                                  &object, &why)
             == TI_OK);
        json_decref(object);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_rc_t          rc;
    unsigned char   *longer;
    ti_challenge_t   challenge, behind;

    static const char    basic[] = "Basic realm=\", Bearer error=x\", ";
    static const size_t  len = sizeof(basic) - 1;

    rc = ti_challenge_bearer(&rm_pool, ti_str_from(data, size), &challenge);
    must(rc == TI_OK || rc == TI_DECLINED);
    check(&challenge);

    longer = rm_alloc(NULL, len + size);
    memcpy(longer, basic, len);

    if (size != 0) {
        memcpy(longer + len, data, size);
    }

    must(rc == TI_DECLINED
         || ti_challenge_bearer(&rm_pool, ti_str_from(longer, len + size),
                                &behind)
            == TI_OK);

    if (rc == TI_OK) {
        must(ti_str_eq(behind.error, challenge.error));
        must(ti_str_eq(behind.claims, challenge.claims));
    }

    rm_reset();

    return 0;
}
