/*
 * A cached answer of any bytes, as they are ('r' comes first) or sealed with
 * the right key ('p').  What opens, sealed anew, holds the same bytes.
 */

#include <stdint.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "../unit/record_make.h"
#include "ti_answer.h"


#define OVERHEAD  (4 + TI_NONCE_LEN + TI_TAG_LEN)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ti_crypto_t          *crypto;
static const unsigned char   key[TI_KEY_LEN] = "key";
static const unsigned char   digest[TI_SHA256_LEN] = "digest";


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


/* The seal of a good answer, for another content. */

static void
seal_plain(unsigned char *sealed, const uint8_t *plain, size_t len)
{
    size_t         n;
    unsigned char  aad[128];

    n = rm_enc(aad, digest, sizeof(digest));
    n += rm_enc(aad + n, RM_CID, strlen(RM_CID));

    memcpy(sealed, "TIA1" RM_NONCE, 16);
    must(ti_crypto_seal(crypto, key, sealed + 4, ti_str_from(aad, n),
                        ti_str_from(plain, len), sealed + 16,
                        sealed + 16 + len)
         == TI_OK);
}


static void
check_opened(const ti_answer_t *answer, const unsigned char *plain, size_t len)
{
    size_t          i, n;
    ti_answer_t     twin;
    unsigned char  *again;

    must(answer->stored >= 0 && answer->stored <= answer->expires);
    must(answer->expires > 0);

    for (i = 0, n = 0; i < answer->nheaders; i++) {
        must(answer->headers[i].name.len != 0);
        n += answer->headers[i].name.len + answer->headers[i].value.len;
    }

    must(n + answer->body.len <= len);

    n = ti_answer_sealed_len(answer);
    must(n == len + OVERHEAD);

    again = rm_alloc(NULL, n);
    must(ti_answer_seal(crypto, &rm_random, key, digest, ti_str(RM_CID),
                        answer, again)
         == TI_OK);
    must(ti_answer_open(crypto, &rm_pool, key, digest, ti_str(RM_CID), 0,
                        again, n, &twin)
         == TI_OK);
    must(memcmp(again + 4 + TI_NONCE_LEN, plain, len) == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          len;
    ti_rc_t         rc;
    ti_answer_t     answer;
    unsigned char  *sealed;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
    }

    if (size == 0) {
        return 0;
    }

    len = size - 1;

    if (data[0] == 'p') {
        sealed = rm_alloc(NULL, len + OVERHEAD);
        seal_plain(sealed, data + 1, len);
        len += OVERHEAD;

    } else {
        sealed = rm_alloc(NULL, len);
        memcpy(sealed, data + 1, len);
    }

    rc = ti_answer_open(crypto, &rm_pool, key, digest, ti_str(RM_CID), 0,
                        sealed, len, &answer);
    must(ERR_peek_error() == 0);

    must(rc == TI_OK || rc == TI_DECLINED);

    if (rc == TI_OK && data[0] == 'p') {
        check_opened(&answer, data + 1, size - 1);
    }

    rm_reset();

    return 0;
}
