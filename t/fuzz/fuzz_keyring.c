/*
 * Any bytes as the file of sealing keys.  Whatever is taken has keys whose
 * kids find them, and them alone.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ti_record.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
check_ring(const ti_keyring_t *ring)
{
    size_t                i, j, n;
    ti_str_t              kid, key;
    unsigned char         id[TI_SHA256_LEN];
    static ti_crypto_t   *crypto;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
    }

    n = ti_keyring_count(ring);
    must(n > 0);
    must(ti_keyring_index_key(ring).len == TI_KEY_LEN);
    must(ti_keyring_first_key(ring).len == TI_KEY_LEN);

    for (i = 0; i < n; i++) {
        kid = ti_keyring_kid(ring, i);
        key = ti_keyring_find(ring, kid);

        must(kid.len > 0 && kid.len <= 255);
        must(key.len == TI_KEY_LEN);
        must((i == 0) == (key.data == ti_keyring_first_key(ring).data));

        for (j = 0; j < i; j++) {
            must(!ti_str_eq(kid, ti_keyring_kid(ring, j)));
        }
    }

    must(ti_keyring_find(ring, ti_null_str).data == NULL);
    must(ti_keyring_id(ring, crypto, id) == TI_OK);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_rc_t        rc;
    const char    *why;
    ti_keyring_t  *ring;

    why = NULL;
    rc = ti_keyring_parse(ti_str_from(data, size), &ring, &why);

    if (rc == TI_OK) {
        check_ring(ring);
        ti_keyring_free(ring);

    } else {
        must(rc == TI_DECLINED && ring == NULL && why != NULL);
    }

    return 0;
}
