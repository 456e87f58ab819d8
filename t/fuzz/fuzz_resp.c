/*
 * Replies mean the same in one piece and in pieces of any size: the first
 * byte says which.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ti_resp.h"


#define MAX  4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* What was read, written down in order to be compared. */

typedef struct {
    size_t         len;
    unsigned char  bytes[64 * MAX];
} record_t;


static void
must(int so)
{
    if (!so) {
        abort();
    }
}


static void
note(record_t *record, const void *data, size_t len)
{
    must(len <= sizeof(record->bytes) - record->len);

    if (len != 0) {
        memcpy(record->bytes + record->len, data, len);
        record->len += len;
    }
}


static void
note_reply(record_t *record, const ti_resp_reply_t *reply, int depth)
{
    size_t         i;
    unsigned char  head[17];

    must(depth <= TI_RESP_MAX_DEPTH);
    must(reply->str.len <= MAX && reply->n <= TI_RESP_MAX_ELEMENTS);
    must(reply->type == TI_RESP_ARRAY || reply->n == 0);

    head[0] = (unsigned char) reply->type;
    ti_put_u64(head + 1, (uint64_t) reply->integer);
    ti_put_u64(head + 9, reply->str.len + reply->n);

    note(record, head, sizeof(head));
    note(record, reply->str.data, reply->str.len);

    for (i = 0; i < reply->n; i++) {
        note_reply(record, reply->elements[i], depth + 1);
    }
}


static void
read_all(record_t *record, const uint8_t *data, size_t size, size_t step)
{
    size_t                  i, n;
    ti_rc_t                 rc;
    const char             *why;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    record->len = 0;
    why = NULL;
    rc = TI_OK;

    reader = ti_resp_reader_create(MAX);
    must(reader != NULL);

    for (i = 0; i < size && rc == TI_OK; i += n) {
        n = (size - i < step) ? size - i : step;
        rc = ti_resp_reader_feed(reader, ti_str_from(data + i, n), &why);

        while (rc == TI_OK) {
            rc = ti_resp_reader_next(reader, &reply, &why);

            if (rc != TI_OK || reply == NULL) {
                break;
            }

            note_reply(record, reply, 0);
        }
    }

    must(rc == TI_OK || why != NULL);
    note(record, &rc, sizeof(rc));

    ti_resp_reader_free(reader);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    record_t  *whole, *pieces;

    if (size < 2 || size > MAX) {
        return 0;
    }

    whole = malloc(sizeof(record_t));
    pieces = malloc(sizeof(record_t));

    read_all(whole, data + 1, size - 1, size);
    read_all(pieces, data + 1, size - 1, 1 + data[0] % 16);

    must(whole->len == pieces->len);
    must(memcmp(whole->bytes, pieces->bytes, whole->len) == 0);

    free(whole);
    free(pieces);

    return 0;
}
