/*
 * Every connection below the prefix, or one user's, in bounded memory: SCAN
 * gives names, a few at a time are asked for together.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tokenctl.h"


#define TOKENCTL_SCAN_COUNT  "256"
#define TOKENCTL_BATCH       64             /* connections, up to 128 KB each */


static volatile sig_atomic_t  tokenctl_scan_stop;


static void
tokenctl_scan_signal(int signo)
{
    tokenctl_scan_stop = 1;
}


int
tokenctl_scan_stopped(void)
{
    return tokenctl_scan_stop;
}


static void
tokenctl_scan_signals(void)
{
    struct sigaction  sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = tokenctl_scan_signal;
    sa.sa_flags = SA_RESTART;

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}


/* A prefix for MATCH, which takes some characters for patterns. */

static tokenctl_exit_t
tokenctl_scan_escape(tokenctl_t *ctl, ti_str_t s, ti_str_t *out)
{
    size_t          i;
    unsigned char  *p;

    p = ti_pool_alloc(&ctl->pool.ti, s.len * 2 + 1);
    if (p == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    out->data = p;

    for (i = 0; i < s.len; i++) {
        if (strchr("*?[]\\", s.data[i]) != NULL) {
            *p++ = '\\';
        }

        *p++ = s.data[i];
    }

    out->len = (size_t) (p - out->data);

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_scan_pattern(tokenctl_t *ctl, ti_str_t user, ti_str_t *pattern)
{
    ti_str_t         parts[4];
    tokenctl_exit_t  rc;

    rc = tokenctl_scan_escape(ctl, ctl->prefix, &parts[0]);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    parts[1] = ti_str("{");
    parts[2] = user.len != 0 ? user : ti_str("*");
    parts[3] = ti_str("}:c:*");

    return tokenctl_concat(ctl, parts, 4, pattern);
}


/* Up to TOKENCTL_BATCH names: asked for together, then handled in turn. */

static tokenctl_exit_t
tokenctl_scan_batch(tokenctl_t *ctl, tokenctl_scan_t *scan,
    redisReply *const *names, size_t n)
{
    size_t                  i, asked;
    tokenctl_exit_t         rc;
    tokenctl_connection_t   conns[TOKENCTL_BATCH], *conn;

    asked = 0;
    rc = TOKENCTL_DONE;

    for (i = 0; i < n && rc == TOKENCTL_DONE; i++) {
        conn = &conns[asked];

        if (tokenctl_connection_parse(ctl->prefix,
                                      ti_str_from(names[i]->str, names[i]->len),
                                      conn)
            != TI_OK)
        {
            scan->skipped++;
            continue;
        }

        rc = tokenctl_connection_ask(ctl, conn->name);
        asked++;
    }

    for (i = 0; i < asked && rc == TOKENCTL_DONE; i++) {
        rc = tokenctl_connection_take(ctl, &conns[i]);

        if (rc == TOKENCTL_NOT_FOUND) {     /* gone since SCAN saw it */
            rc = TOKENCTL_DONE;
        }
    }

    for (i = 0; i < asked; i++) {
        conn = &conns[i];

        if (rc == TOKENCTL_DONE && conn->foreign) {
            scan->skipped++;

        } else if (rc == TOKENCTL_DONE && conn->reply != NULL) {
            scan->seen++;
            rc = scan->each(ctl, scan, conn);
        }

        tokenctl_connection_free(conn);
        tokenctl_pool_reset(&ctl->scratch);
    }

    return rc;
}


static tokenctl_exit_t
tokenctl_scan_names(tokenctl_t *ctl, tokenctl_scan_t *scan,
    const redisReply *names)
{
    size_t           i, n;
    tokenctl_exit_t  rc;

    for (i = 0; i < names->elements; i++) {
        if (names->element[i]->type != REDIS_REPLY_STRING) {
            return tokenctl_store_unexpected(ctl);
        }
    }

    for (i = 0; i < names->elements; i += n) {
        n = names->elements - i;

        if (n > TOKENCTL_BATCH) {
            n = TOKENCTL_BATCH;
        }

        rc = tokenctl_scan_batch(ctl, scan, names->element + i, n);
        if (rc != TOKENCTL_DONE) {
            return rc;
        }
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_scan_step(tokenctl_t *ctl, ti_str_t cursor, ti_str_t pattern,
    redisReply **reply)
{
    redisReply       *r;
    tokenctl_exit_t   rc;

    const ti_str_t  argv[] = {
        ti_string("SCAN"), cursor, ti_string("MATCH"), pattern,
        ti_string("COUNT"), ti_string(TOKENCTL_SCAN_COUNT)
    };

    rc = tokenctl_store_ask(ctl, argv, 6, reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    r = *reply;

    if (r->type == REDIS_REPLY_ERROR) {
        rc = tokenctl_store_refused(ctl, r);

    } else if (r->type != REDIS_REPLY_ARRAY || r->elements != 2
               || r->element[0]->type != REDIS_REPLY_STRING
               || r->element[0]->len > TI_DECIMAL_LEN
               || r->element[1]->type != REDIS_REPLY_ARRAY)
    {
        rc = tokenctl_store_unexpected(ctl);
    }

    if (rc != TOKENCTL_DONE) {
        freeReplyObject(r);
    }

    return rc;
}


/* A cursor is Redis' alone: whoever has it can go on there, at any time. */

tokenctl_exit_t
tokenctl_scan(tokenctl_t *ctl, tokenctl_scan_t *scan)
{
    ti_str_t          pattern;
    redisReply       *reply;
    const char       *cursor;
    tokenctl_exit_t   rc;

    cursor = ctl->value[TOKENCTL_OPT_CURSOR];

    snprintf(scan->cursor, sizeof(scan->cursor), "%s",
             cursor != NULL ? cursor : "0");

    rc = tokenctl_scan_pattern(ctl, scan->user, &pattern);

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    tokenctl_scan_signals();

    do {
        if (tokenctl_scan_stop) {
            return tokenctl_fail(ctl, TOKENCTL_FAILED, "interrupted");
        }

        rc = tokenctl_scan_step(ctl, ti_str_cstr(scan->cursor), pattern,
                                &reply);
        if (rc != TOKENCTL_DONE) {
            return rc;
        }

        rc = tokenctl_scan_names(ctl, scan, reply->element[1]);

        if (rc == TOKENCTL_DONE) {
            memcpy(scan->cursor, reply->element[0]->str,
                   reply->element[0]->len + 1);
        }

        freeReplyObject(reply);

    } while (rc == TOKENCTL_DONE && strcmp(scan->cursor, "0") != 0);

    return rc;
}
