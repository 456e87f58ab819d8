/*
 * Any bytes as a client's private key.  Whatever is taken signs.
 */

#include <stdint.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "ti_signer.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void  *block;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void *
alloc(void *data, size_t size)
{
    must(block == NULL);

    return block = malloc(size);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_rc_t       rc;
    ti_str_t      jws;
    const char   *why;
    ti_pool_t     pool = { alloc, NULL };
    ti_signer_t  *signer;

    why = NULL;
    rc = ti_signer_create(ti_str_from(data, size), TI_ALG_NONE, ti_null_str,
                          &signer, &why);
    must(ERR_peek_error() == 0);

    if (rc == TI_OK) {
        must(ti_signer_alg(signer) != TI_ALG_NONE);
        must(ti_signer_jws(signer, &pool, ti_str("{}"), &jws) == TI_OK);
        ti_signer_free(signer);
        free(block);
        block = NULL;

    } else {
        must(rc == TI_DECLINED && why != NULL);
    }

    return 0;
}
