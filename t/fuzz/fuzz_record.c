/*
 * A record of any bytes, as they are or with the seals that only a key can
 * make.  The first byte says which:
 *
 *     r  the whole record
 *     o  a header, a line feed, a payload: sealed as the outer layer
 *     i  the same as the inner layer, in a good outer one
 *
 * Whatever opens is a token that may stand in a header field, and opens to
 * the same when it is re-wrapped.
 */

#include <stdint.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "../unit/record_make.h"
#include "ti_header.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ti_crypto_t   *crypto;
static ti_keyring_t  *ring, *swapped;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


/* whose records the seeds are: with a user key and without one */

static ti_record_ref_t
whose(int kind, int app)
{
    ti_record_ref_t  ref;

    ref = rm_ref();
    ref.kind = (ti_record_kind_t) kind;

    if (app) {
        ref.user_key = NULL;
        ref.device = ti_str("-");
    }

    if (kind == TI_RECORD_PENDING) {
        ref.gen = 0;
        ref.cid = ti_null_str;
    }

    return ref;
}


static ti_str_t
sealed_of(char form, ti_str_t body, const ti_record_ref_t *ref)
{
    char        *header, *end;
    rm_layer_t  *layer;
    rm_record_t  record;

    if (form != 'o' && form != 'i') {
        return body;
    }

    if (form == 'i' && ref->user_key == NULL) {
        return ti_null_str;
    }

    rm_record(&record, ref, ti_str("token"));
    layer = (form == 'i') ? &record.inner : &record.outer;

    header = rm_text("%.*s", (int) body.len, (const char *) body.data);
    end = strchr(header, '\n');

    if (end != NULL) {
        *end = '\0';
        layer->payload = ti_str_from(end + 1, strlen(end + 1));
    }

    layer->header = header;

    return form == 'i' ? rm_wrap(&record) : rm_seal(&record.outer);
}


static void
check_opened(const ti_record_ref_t *ref, ti_str_t sealed,
    const ti_record_t *record)
{
    ti_str_t           again;
    const char        *why;
    ti_record_t        twin;
    ti_record_head_t   head;

    must(record->token.len != 0 && record->token.len <= TI_RECORD_TOKEN_MAX);
    must(ref->kind == TI_RECORD_PENDING || ti_header_b64token(record->token));
    must(record->token_type.len == 0);
    must(record->expires > 0 || ref->kind == TI_RECORD_REFRESH);

    must(ti_record_head(&rm_pool, sealed, &head, &why) == TI_OK);
    must(head.gen == ref->gen && ti_str_eq(head.cid, ref->cid));
    must(head.expires == record->expires);

    if (ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped, sealed, &again,
                         &why)
        != TI_OK)
    {
        must(sealed.len > TI_RECORD_MAX / 2);
        return;
    }

    must(ti_record_open(crypto, &rm_pool, swapped, ref, again, &twin, &why)
         == TI_RESULT_OK);
    must(ti_str_eq(twin.token, record->token));
    must(ti_str_eq(twin.scope, record->scope));
    must(twin.expires == record->expires);
}


static void
try(char form, ti_str_t body, int kind, int app)
{
    ti_str_t          sealed;
    const char       *why;
    ti_record_t       record;
    ti_result_t       result;
    ti_record_ref_t   ref;

    ref = whose(kind, app);
    sealed = sealed_of(form, body, &ref);

    why = NULL;
    result = ti_record_open(crypto, &rm_pool, ring, &ref, sealed, &record,
                            &why);
    must(ERR_peek_error() == 0);

    if (result == TI_RESULT_OK) {
        check_opened(&ref, sealed, &record);

    } else {
        must(result == TI_RESULT_RECONNECT_REQUIRED
             || (result == TI_RESULT_CONNECTION_REQUIRED && !app));
        must(why != NULL);
    }

    rm_reset();
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char      form;
    int       kind, app;
    ti_str_t  body;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
        ring = rm_ring(0);
        swapped = rm_ring(1);
        rm_reset();
    }

    if (size == 0) {
        return 0;
    }

    form = (char) data[0];
    body = ti_str_from(data + 1, size - 1);

    for (kind = TI_RECORD_ACCESS; kind <= TI_RECORD_PENDING; kind++) {
        for (app = 0; app < 2; app++) {
            try(form, body, kind, app);
        }
    }

    return 0;
}
