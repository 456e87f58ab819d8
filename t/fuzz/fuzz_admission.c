/*
 * The head of an admission, of any bytes: as they are ('r' comes first) or
 * sealed with the right key ('p').  What opens, sealed anew, holds the same.
 */

#include <stdint.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "../unit/record_make.h"
#include "ti_admission.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ti_crypto_t        *crypto;
static ti_admission_id_t   id;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
seal_plain(unsigned char *sealed, const uint8_t *plain, size_t len)
{
    size_t         n;
    unsigned char  aad[64];

    n = rm_enc(aad, id.name, sizeof(id.name));
    n += rm_enc(aad + n, TI_ADMISSION_LAYOUT, strlen(TI_ADMISSION_LAYOUT));

    memcpy(sealed, RM_NONCE, TI_NONCE_LEN);
    must(ti_crypto_seal(crypto, id.key, sealed, ti_str_from(aad, n),
                        ti_str_from(plain, len), sealed + TI_NONCE_LEN,
                        sealed + TI_NONCE_LEN + len)
         == TI_OK);
}


static void
check_opened(const ti_admission_t *head, const uint8_t *plain, size_t len)
{
    size_t           n;
    ti_admission_t   twin;
    unsigned char   *again;

    must(head->caller_expires >= 0 && head->token_expires >= 0);
    must(head->confirmed >= 0);

    n = ti_admission_sealed_len(head);
    must(n == len + TI_ADMISSION_OVERHEAD);

    again = rm_alloc(NULL, n);
    must(ti_admission_seal(crypto, &rm_random, &id, head, again) == TI_OK);
    must(ti_admission_open(crypto, &id, again, n, &twin) == TI_OK);

    /* but for the key in front, which opening wipes */
    must(memcmp(twin.answer_base, plain, TI_KEY_LEN) == 0);
    must(memcmp(again + TI_NONCE_LEN + TI_KEY_LEN, plain + TI_KEY_LEN,
                len - TI_KEY_LEN)
         == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           len;
    ti_rc_t          rc;
    ti_admission_t   head;
    unsigned char   *sealed;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
        must(ti_admission_id(crypto, ti_str("secret"), ti_str("token"),
                             ti_str("key"), ti_str("policy"), &id)
             == TI_OK);
    }

    if (size == 0) {
        return 0;
    }

    len = size - 1;

    if (data[0] == 'p') {
        sealed = rm_alloc(NULL, len + TI_ADMISSION_OVERHEAD);
        seal_plain(sealed, data + 1, len);
        len += TI_ADMISSION_OVERHEAD;

    } else {
        sealed = rm_alloc(NULL, len);
        memcpy(sealed, data + 1, len);
    }

    rc = ti_admission_open(crypto, &id, sealed, len, &head);
    must(ERR_peek_error() == 0);

    must(rc == TI_OK || rc == TI_DECLINED);

    if (rc == TI_OK && data[0] == 'p') {
        check_opened(&head, data + 1, size - 1);
    }

    rm_reset();

    return 0;
}
