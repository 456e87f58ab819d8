/*
 * Any bytes as a body of the connections API, as a message on "changes", as
 * what lies in a connection's hash, and as the JSON of a pending consent.
 */

#include <stdint.h>
#include <stdlib.h>

#include "../unit/record_make.h"
#include "ti_connections.h"
#include "ti_pending.h"


#define NOW  1795286400


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ti_crypto_t   *crypto;
static ti_keyring_t  *ring;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
try_body(ti_str_t body)
{
    const char             *why;
    ti_connections_code_t   code;

    why = NULL;

    if (ti_connections_read_code(&rm_pool, body, &code, &why)
        == TI_RESULT_OK)
    {
        must(code.state.len != 0);
        must(code.code.len != 0 || code.error.len != 0);
        must(ti_connections_read_empty(body, &why) == TI_RESULT_OK);

    } else {
        must(why != NULL);
    }
}


static void
try_name(ti_str_t name)
{
    ti_str_t           again;
    ti_record_parts_t  parts;

    if (ti_record_connection_parse(ti_str("ti:"), name, &parts) != TI_OK) {
        return;
    }

    must(ti_record_connection_name(&rm_pool, ti_str("ti:"), parts.user,
                                   parts.provider, parts.device, &again)
         == TI_OK);
    must(ti_str_eq(name, again));
}


static void
try_fields(ti_str_t text)
{
    json_t                 *object;
    ti_str_t                json;
    const char             *why;
    ti_connection_t         connection;
    ti_connection_fields_t  fields;

    memset(&fields, 0, sizeof(fields));
    fields.exp = fields.scope = fields.since = fields.state = text;

    ti_connection_read(&fields, NOW, &connection);
    connection.provider = ti_str("p");
    connection.account = text;

    must(ti_connections_write_one(&rm_pool, &connection, &json) == TI_OK);
    must(ti_json_parse_object(json, SIZE_MAX, &object, &why) == TI_OK);
    must(json_object_size(object) == 7);
    json_decref(object);
}


static void
try_pending(ti_str_t text)
{
    ti_str_t          sealed;
    const char       *why;
    ti_record_t       record;
    ti_result_t       result;
    ti_pending_t      pending;
    ti_record_ref_t   ref;

    ref = rm_ref();
    ref.kind = TI_RECORD_PENDING;
    ref.gen = 0;
    ref.cid = ti_null_str;
    ref.user_key = NULL;

    memset(&record, 0, sizeof(record));
    record.token = text;
    record.expires = NOW + 1;

    if (ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref, &record,
                       &sealed)
        != TI_OK)
    {
        return;
    }

    why = NULL;
    result = ti_pending_open(crypto, &rm_pool, ring, &ref, sealed,
                 ti_str("0123456789012345678901234567890123456789012"), NOW,
                 &pending, &why);
    must(result == TI_RESULT_OK
         || (result == TI_RESULT_STATE_INVALID && why != NULL));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_str_t  text;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
        ring = rm_ring(0);
    }

    text = ti_str_from(data, size);

    try_body(text);
    try_name(text);
    try_fields(text);
    try_pending(text);

    rm_reset();

    return 0;
}
