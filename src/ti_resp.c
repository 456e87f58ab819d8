/*
 * Floor 1: Redis commands to bytes and replies to results.
 *
 * hiredis reads; what its replies are made of is made here, so nothing is
 * allocated that the limits forbid.
 */

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "ti_resp_private.h"


#define TI_RESP_MAX_LINE  4096              /* a status, error or number */
#define TI_RESP_MAX_ARGS  1024              /* of one command */


struct ti_resp_reader_s {
    redisReader      *hiredis;
    ti_resp_arena_t   arena;
    size_t            max;
    size_t            weight;               /* strings of the reply so far */
    int               complete;             /* the arena may be used anew */
    ti_rc_t           rc;                   /* not TI_OK: of no more use, */
    const char       *why;                  /*   for this reason */
};


static ti_rc_t
ti_resp_refuse(ti_resp_reader_t *reader, ti_rc_t rc, const char *why)
{
    if (reader->rc == TI_OK) {
        reader->rc = rc;
        reader->why = why;
    }

    return reader->rc;
}


static void *
ti_resp_alloc(ti_resp_reader_t *reader, size_t size)
{
    void  *p;

    p = ti_resp_arena_alloc(&reader->arena, size);
    if (p == NULL) {
        (void) ti_resp_refuse(reader, TI_ERROR, "no memory");
    }

    return p;
}


/* The last reply has been heard: what follows is another one's. */

static void
ti_resp_begin(ti_resp_reader_t *reader)
{
    if (!reader->complete) {
        return;
    }

    reader->complete = 0;
    reader->weight = 0;

    ti_resp_arena_reset(&reader->arena, 1);
}


/* A reply where the task says: in its array's place, or the outermost. */

static ti_resp_reply_t *
ti_resp_reply(const redisReadTask *task, ti_resp_type_t type)
{
    ti_resp_reply_t  *reply, *array;

    reply = ti_resp_alloc(task->privdata, sizeof(ti_resp_reply_t));
    if (reply == NULL) {
        return NULL;
    }

    memset(reply, 0, sizeof(ti_resp_reply_t));
    reply->type = type;

    if (task->parent != NULL) {
        array = task->parent->obj;
        array->elements[task->idx] = reply;
    }

    return reply;
}


static void *
ti_resp_refuse_type(const redisReadTask *task)
{
    (void) ti_resp_refuse(task->privdata, TI_DECLINED,
                          "a reply of a type that was not asked for");

    return NULL;
}


static void *
ti_resp_create_string(const redisReadTask *task, char *str, size_t len)
{
    ti_resp_type_t     type;
    unsigned char     *p;
    ti_resp_reply_t   *reply;
    ti_resp_reader_t  *reader;

    reader = task->privdata;

    switch (task->type) {

    case REDIS_REPLY_STRING:
        /* hiredis has both bytes but does not look at them */
        if (str[len] != '\r' || str[len + 1] != '\n') {
            (void) ti_resp_refuse(reader, TI_DECLINED,
                                  "a string longer than it says");
            return NULL;
        }

        type = TI_RESP_STRING;
        break;

    case REDIS_REPLY_STATUS:
        type = TI_RESP_STATUS;
        break;

    case REDIS_REPLY_ERROR:
        type = TI_RESP_ERROR;
        break;

    default:
        return ti_resp_refuse_type(task);
    }

    if (len > reader->max - reader->weight) {
        (void) ti_resp_refuse(reader, TI_DECLINED, "a reply too large");
        return NULL;
    }

    reader->weight += len;

    reply = ti_resp_reply(task, type);
    p = ti_resp_alloc(reader, len);

    if (reply == NULL || p == NULL) {
        return NULL;
    }

    memcpy(p, str, len);
    reply->str = ti_str_from(p, len);

    return reply;
}


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ti_resp_count_t;
#else
typedef int     ti_resp_count_t;
#endif


static void *
ti_resp_create_array(const redisReadTask *task, ti_resp_count_t n)
{
    size_t                  depth;
    ti_resp_reply_t        *reply;
    const redisReadTask    *parent;

    if (task->type != REDIS_REPLY_ARRAY) {
        return ti_resp_refuse_type(task);
    }

    depth = 1;

    for (parent = task->parent; parent != NULL; parent = parent->parent) {
        depth++;
    }

    if (depth > TI_RESP_MAX_DEPTH) {
        (void) ti_resp_refuse(task->privdata, TI_DECLINED,
                              "a reply nested too deep");
        return NULL;
    }

    if ((size_t) n > TI_RESP_MAX_ELEMENTS) {
        (void) ti_resp_refuse(task->privdata, TI_DECLINED,
                              "a reply of too many elements");
        return NULL;
    }

    reply = ti_resp_reply(task, TI_RESP_ARRAY);
    if (reply == NULL) {
        return NULL;
    }

    reply->n = (size_t) n;
    reply->elements = ti_resp_alloc(task->privdata,
                                    reply->n * sizeof(ti_resp_reply_t *));

    return (reply->elements != NULL) ? reply : NULL;
}


static void *
ti_resp_create_integer(const redisReadTask *task, long long value)
{
    ti_resp_reply_t  *reply;

    reply = ti_resp_reply(task, TI_RESP_INTEGER);
    if (reply != NULL) {
        reply->integer = value;
    }

    return reply;
}


/* RESP2 has "$-1" and "*-1" alone; a nil with a type of its own is RESP3's. */

static void *
ti_resp_create_nil(const redisReadTask *task)
{
    if (task->type != REDIS_REPLY_STRING && task->type != REDIS_REPLY_ARRAY) {
        return ti_resp_refuse_type(task);
    }

    return ti_resp_reply(task, TI_RESP_NIL);
}


#if (HIREDIS_MAJOR >= 1)

/* A creator left out would make hiredis hand out its type as a pointer. */

static void *
ti_resp_create_double(const redisReadTask *task, double value, char *str,
    size_t len)
{
    (void) value;
    (void) str;
    (void) len;

    return ti_resp_refuse_type(task);
}


static void *
ti_resp_create_bool(const redisReadTask *task, int value)
{
    (void) value;

    return ti_resp_refuse_type(task);
}

#endif


static const redisReplyObjectFunctions  ti_resp_functions = {
    .createString = ti_resp_create_string,
    .createArray = ti_resp_create_array,
    .createInteger = ti_resp_create_integer,
    .createNil = ti_resp_create_nil,
#if (HIREDIS_MAJOR >= 1)
    .createDouble = ti_resp_create_double,
    .createBool = ti_resp_create_bool,
#endif
    .freeObject = NULL                      /* the arena's */
};


ti_resp_reader_t *
ti_resp_reader_create(size_t max)
{
    ti_resp_reader_t  *reader;

    reader = calloc(1, sizeof(ti_resp_reader_t));
    if (reader == NULL) {
        return NULL;
    }

    reader->max = (max < INT_MAX / 2) ? max : INT_MAX / 2;

    /* read only there, though not declared so */
    reader->hiredis = redisReaderCreateWithFunctions(
                          (redisReplyObjectFunctions *) &ti_resp_functions);

    if (reader->hiredis == NULL) {
        free(reader);
        return NULL;
    }

    reader->hiredis->privdata = reader;

    /* 0.14 asserts that a large buffer can be replaced: keep it */
    reader->hiredis->maxbuf = 0;

    return reader;
}


void
ti_resp_reader_free(ti_resp_reader_t *reader)
{
    sds  buf;

    if (reader == NULL) {
        return;
    }

    buf = reader->hiredis->buf;

    if (buf != NULL) {
        ti_wipe(buf, sdslen(buf) + sdsavail(buf));
    }

    redisReaderFree(reader->hiredis);
    ti_resp_arena_reset(&reader->arena, 0);
    free(reader);
}


static size_t
ti_resp_pending(const ti_resp_reader_t *reader)
{
    return reader->hiredis->len - reader->hiredis->pos;
}


ti_rc_t
ti_resp_reader_feed(ti_resp_reader_t *reader, ti_str_t bytes,
    const char **why)
{
    ti_resp_begin(reader);

    if (reader->rc == TI_OK
        && bytes.len > reader->max - reader->weight - ti_resp_pending(reader))
    {
        (void) ti_resp_refuse(reader, TI_DECLINED, "a reply too large");
    }

    if (reader->rc == TI_OK
        && redisReaderFeed(reader->hiredis, (const char *) bytes.data,
                           bytes.len)
           != REDIS_OK)
    {
        (void) ti_resp_refuse(reader, TI_ERROR, "no memory");
    }

    *why = reader->why;

    return reader->rc;
}


/*
 * hiredis waits for the rest of a reply.  A length that will be refused is
 * refused now, and so is a line without an end, which it would search again
 * from its beginning with every byte.  A whole line that still waits can
 * only be the length of a string: it would have been taken otherwise.
 */

static ti_rc_t
ti_resp_check_pending(ti_resp_reader_t *reader)
{
    size_t       n;
    uint64_t     len;
    const char  *line, *end;

    n = ti_resp_pending(reader);

    if (n == 0) {
        return TI_OK;
    }

    line = reader->hiredis->buf + reader->hiredis->pos;
    end = memchr(line, '\n', (n < TI_RESP_MAX_LINE) ? n : TI_RESP_MAX_LINE);

    if (end != NULL && end > line && end[-1] == '\r') {
        if (ti_decimal_parse(ti_str_from(line, (size_t) (end - line - 1)),
                             reader->max - reader->weight, &len)
            != TI_OK)
        {
            return ti_resp_refuse(reader, TI_DECLINED, "a reply too large");
        }

    } else if (n > TI_RESP_MAX_LINE) {
        return ti_resp_refuse(reader, TI_DECLINED, "a line too long");
    }

    return TI_OK;
}


ti_rc_t
ti_resp_reader_next(ti_resp_reader_t *reader, const ti_resp_reply_t **reply,
    const char **why)
{
    void  *object;

    ti_resp_begin(reader);

    *reply = NULL;

    if (reader->rc == TI_OK) {

        if (redisReaderGetReply(reader->hiredis, &object) != REDIS_OK) {
            (void) ti_resp_refuse(reader, TI_DECLINED, "not a Redis reply");

        } else if (object != NULL) {
            reader->complete = 1;
            *reply = object;

        } else {
            (void) ti_resp_check_pending(reader);
        }
    }

    *why = reader->why;

    return reader->rc;
}


static ti_rc_t
ti_resp_format(const ti_str_t *argv, size_t argc, const char **args,
    size_t *lens, ti_str_t *out)
{
    char       *command;
    size_t      i, total;
    long long   len;

    total = 0;

    for (i = 0; i < argc; i++) {
        args[i] = (argv[i].len != 0) ? (const char *) argv[i].data : "";
        lens[i] = argv[i].len;

        if (lens[i] > INT_MAX / 2 - total) {
            return TI_ERROR;                /* hiredis counts in an int */
        }

        total += lens[i];
    }

    len = redisFormatCommandArgv(&command, (int) argc, args, lens);
    if (len < 0) {
        return TI_ERROR;
    }

    *out = ti_str_from(command, (size_t) len);

    return TI_OK;
}


ti_rc_t
ti_resp_command(const ti_str_t *argv, size_t argc, ti_str_t *out)
{
    size_t       *lens;
    ti_rc_t       rc;
    const char  **args;

    if (argc == 0 || argc > TI_RESP_MAX_ARGS) {
        return TI_ERROR;
    }

    args = malloc(argc * sizeof(char *));
    lens = malloc(argc * sizeof(size_t));

    rc = (args != NULL && lens != NULL)
         ? ti_resp_format(argv, argc, args, lens, out)
         : TI_ERROR;

    free(args);
    free(lens);

    return rc;
}


void
ti_resp_command_free(ti_str_t *command)
{
    char  *p;

    p = (char *) command->data;             /* AUTH has a password in it */

    ti_wipe(p, command->len);
    redisFreeCommand(p);

    *command = ti_null_str;
}


int
ti_resp_is_message(const ti_resp_reply_t *reply)
{
    return reply->type == TI_RESP_ARRAY
           && reply->n == 3
           && reply->elements[0]->type == TI_RESP_STRING
           && ti_str_eq(reply->elements[0]->str, ti_str("message"))
           && reply->elements[1]->type == TI_RESP_STRING
           && reply->elements[2]->type == TI_RESP_STRING;
}
