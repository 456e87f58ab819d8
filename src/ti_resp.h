/*
 * Floor 1: Redis commands to bytes and replies to results, on hiredis'
 * formatter and reader.  No socket: bytes in, bytes or replies out.
 */

#ifndef TI_RESP_H
#define TI_RESP_H

#include "ti_base.h"


#define TI_RESP_MAX_ELEMENTS  1024          /* of one array: all segments */
#define TI_RESP_MAX_DEPTH     2


typedef enum {
    TI_RESP_STRING,
    TI_RESP_STATUS,
    TI_RESP_ERROR,
    TI_RESP_INTEGER,
    TI_RESP_NIL,
    TI_RESP_ARRAY
} ti_resp_type_t;

typedef struct ti_resp_reply_s  ti_resp_reply_t;

struct ti_resp_reply_s {
    ti_resp_type_t     type;
    ti_str_t           str;                 /* string, status, error */
    int64_t            integer;
    size_t             n;                   /* array */
    ti_resp_reply_t  **elements;
};


/*
 * One command.  TI_OK: *out is malloc()ed, ti_resp_command_free() ends it.
 */

ti_rc_t ti_resp_command(const ti_str_t *argv, size_t argc, ti_str_t *out);
void ti_resp_command_free(ti_str_t *command);


/*
 * A reader of one connection's replies.  max is what one reply may weigh,
 * all told; more is TI_DECLINED, as is anything that is not RESP2, an array
 * of more than TI_RESP_MAX_ELEMENTS or nested deeper than TI_RESP_MAX_DEPTH:
 * such a connection is to be closed, the reader is of no more use.
 */

typedef struct ti_resp_reader_s  ti_resp_reader_t;

ti_resp_reader_t *ti_resp_reader_create(size_t max);    /* NULL: no memory */
void ti_resp_reader_free(ti_resp_reader_t *reader);     /* wipes what it held */

/* copies the bytes */
ti_rc_t ti_resp_reader_feed(ti_resp_reader_t *reader, ti_str_t bytes,
    const char **why);

/*
 * TI_OK: *reply is the next one, valid until the next call with this reader,
 * or NULL where the bytes end before it does.
 */
ti_rc_t ti_resp_reader_next(ti_resp_reader_t *reader,
    const ti_resp_reply_t **reply, const char **why);

/* a message of a channel, ["message", channel, text]: no command's reply */

int ti_resp_is_message(const ti_resp_reply_t *reply);


#endif /* TI_RESP_H */
