/*
 * Operations: begun, sent on one of the connections, answered or failed.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_token_injector_redis_conn.h"


#define NGX_HTTP_TOKEN_INJECTOR_REDIS_MAX_OPS  4096
#define NGX_HTTP_TOKEN_INJECTOR_REDIS_MAX_OUT  (16 * 1024 * 1024)

/*
 * A connection that failed is tried again within a second (the other file),
 * and so is what waits to be written: all nodes have done both by then.
 */
#define NGX_HTTP_TOKEN_INJECTOR_REDIS_SETTLE   2000


static void ngx_http_token_injector_redis_trouble(
    ngx_http_token_injector_redis_t *redis);
static ngx_http_token_injector_redis_conn_t *
    ngx_http_token_injector_redis_choose(
    ngx_http_token_injector_redis_t *redis);


ngx_http_token_injector_redis_t *
ngx_http_token_injector_redis_create(ngx_cycle_t *cycle,
    ngx_http_token_injector_redis_conf_t *conf)
{
    ngx_uint_t                             i;
    ngx_http_token_injector_redis_t       *redis;
    ngx_http_token_injector_redis_conn_t  *conn;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_http_token_injector_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conns = ngx_pcalloc(cycle->pool, conf->connections
                               * sizeof(ngx_http_token_injector_redis_conn_t));
    if (redis->conns == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->log = *cycle->log;
    redis->log.action = "talking to redis";

    /* what nginx says of a failed connect, this file says with a remedy */
    redis->quiet = redis->log;
    redis->quiet.log_level = ngx_min(redis->log.log_level, NGX_LOG_ALERT);

    ngx_queue_init(&redis->free);

    for (i = 0; i < conf->connections; i++) {
        conn = &redis->conns[i];

        conn->redis = redis;
        conn->addr = i;
        conn->flush.data = conn;
        conn->flush.handler = ngx_http_token_injector_redis_flush_handler;
        conn->flush.log = &redis->log;
        ngx_queue_init(&conn->ops);
    }

    return redis;
}


void
ngx_http_token_injector_redis_listen(ngx_http_token_injector_redis_t *redis,
    ngx_http_token_injector_redis_push_pt push, void *data)
{
    redis->push = push;
    redis->push_data = data;

    /* tried all the time, and of each loss its owner says what it means */
    redis->log.log_level = ngx_min(redis->log.log_level, NGX_LOG_ALERT);
}


/* the worker ends: nobody is told, there is nobody left */

void
ngx_http_token_injector_redis_destroy(ngx_http_token_injector_redis_t *redis)
{
    ngx_uint_t    i;
    ngx_queue_t  *q, *next;

    redis->push = NULL;

    for (i = 0; i < redis->conf->connections; i++) {

        for (q = ngx_queue_head(&redis->conns[i].ops);
             q != ngx_queue_sentinel(&redis->conns[i].ops);
             q = ngx_queue_next(q))
        {
            ngx_http_token_injector_redis_forget(
                 ngx_queue_data(q, ngx_http_token_injector_redis_op_t, queue));
        }

        if (redis->conns[i].connection) {
            ngx_http_token_injector_redis_close(&redis->conns[i], 0);
        }
    }

    for (q = ngx_queue_head(&redis->free);
         q != ngx_queue_sentinel(&redis->free);
         q = next)
    {
        next = ngx_queue_next(q);
        ngx_free(ngx_queue_data(q, ngx_http_token_injector_redis_op_t,
                                queue));
    }

    ngx_queue_init(&redis->free);
}


ngx_uint_t
ngx_http_token_injector_redis_up(ngx_http_token_injector_redis_t *redis)
{
    return ngx_http_token_injector_redis_choose(redis)->state
           == ngx_http_token_injector_redis_ready;
}


ngx_uint_t
ngx_http_token_injector_redis_settled(ngx_http_token_injector_redis_t *redis)
{
    /* a worker that is leaving listens no more and hears of no return */

    return (!redis->away || ngx_exiting)
           && (!redis->troubled
               || ngx_current_msec - redis->trouble
                  >= NGX_HTTP_TOKEN_INJECTOR_REDIS_SETTLE);
}


void
ngx_http_token_injector_redis_away(ngx_http_token_injector_redis_t *redis,
    ngx_uint_t away)
{
    redis->away = away;
    ngx_http_token_injector_redis_trouble(redis);
}


void
ngx_http_token_injector_redis_refused(ngx_http_token_injector_redis_t *redis,
    ngx_uint_t refused)
{
    if (refused || redis->refused) {
        ngx_http_token_injector_redis_trouble(redis);
    }

    redis->refused = refused;
}


static void
ngx_http_token_injector_redis_trouble(ngx_http_token_injector_redis_t *redis)
{
    redis->troubled = 1;
    redis->trouble = ngx_current_msec;
}


ngx_http_token_injector_redis_op_t *
ngx_http_token_injector_redis_begin(ngx_http_token_injector_redis_t *redis,
    ngx_http_token_injector_redis_handler_pt handler, void *data)
{
    ngx_queue_t                         *q;
    ngx_http_token_injector_redis_op_t  *op;

    if (!ngx_queue_empty(&redis->free)) {
        q = ngx_queue_head(&redis->free);
        ngx_queue_remove(q);
        op = ngx_queue_data(q, ngx_http_token_injector_redis_op_t, queue);

    } else {
        op = ngx_alloc(sizeof(ngx_http_token_injector_redis_op_t),
                       &redis->log);
        if (op == NULL) {
            return NULL;
        }
    }

    ngx_memzero(op, sizeof(ngx_http_token_injector_redis_op_t));

    op->redis = redis;
    op->began = ngx_current_msec;
    op->handler = handler;
    op->data = data;

    return op;
}


ngx_int_t
ngx_http_token_injector_redis_add(ngx_http_token_injector_redis_op_t *op,
    ngx_str_t *argv, ngx_uint_t argc)
{
    ti_rc_t     rc;
    ti_str_t   *args, few[8];
    ngx_uint_t  i;

    if (argc == 0 || op->ncommands == sizeof(op->commands) / sizeof(ti_str_t))
    {
        return NGX_ERROR;
    }

    args = few;

    if (argc > sizeof(few) / sizeof(ti_str_t)) {
        args = ngx_alloc(argc * sizeof(ti_str_t), &op->redis->log);
        if (args == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < argc; i++) {
        args[i] = ti_str_from(argv[i].data, argv[i].len);
    }

    rc = ti_resp_command(args, argc, &op->commands[op->ncommands]);

    if (args != few) {
        ngx_free(args);
    }

    if (rc != TI_OK) {
        return NGX_ERROR;
    }

    op->ncommands++;

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_redis_send(ngx_http_token_injector_redis_op_t *op)
{
    ngx_int_t                              rc;
    ngx_http_token_injector_redis_conn_t  *conn;

    conn = ngx_http_token_injector_redis_choose(op->redis);

    rc = ngx_http_token_injector_redis_dispatch(conn, op);

    if (rc != NGX_OK) {
        ngx_http_token_injector_redis_trouble(op->redis);
        ngx_http_token_injector_redis_op_count(op,
                                           NGX_HTTP_TOKEN_INJECTOR_N_FAILED);
        ngx_http_token_injector_redis_op_free(op);
    }

    return rc;
}


void
ngx_http_token_injector_redis_cancel(ngx_http_token_injector_redis_op_t *op)
{
    ngx_http_token_injector_redis_op_free(op);
}


void
ngx_http_token_injector_redis_forget(ngx_http_token_injector_redis_op_t *op)
{
    op->handler = NULL;
    op->data = NULL;
}


ngx_int_t
ngx_http_token_injector_redis_dispatch(
    ngx_http_token_injector_redis_conn_t *conn,
    ngx_http_token_injector_redis_op_t *op)
{
    ngx_int_t  rc;

    if (conn->nops >= NGX_HTTP_TOKEN_INJECTOR_REDIS_MAX_OPS) {
        return NGX_BUSY;
    }

    if (conn->state == ngx_http_token_injector_redis_down) {

        if ((ngx_msec_int_t) (conn->retry_at - ngx_current_msec) > 0) {
            return NGX_BUSY;
        }

        rc = ngx_http_token_injector_redis_connect(conn);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_token_injector_redis_enqueue(conn, op);
}


/* the least busy that can be used, else the one whose time comes first */

static ngx_http_token_injector_redis_conn_t *
ngx_http_token_injector_redis_choose(ngx_http_token_injector_redis_t *redis)
{
    ngx_uint_t                             i, usable;
    ngx_http_token_injector_redis_conn_t  *conn, *best;

    best = &redis->conns[0];

    for (i = 1; i < redis->conf->connections; i++) {
        conn = &redis->conns[i];

        usable = conn->state != ngx_http_token_injector_redis_down;

        if (best->state == ngx_http_token_injector_redis_down) {
            if (usable
                || (ngx_msec_int_t) (conn->retry_at - best->retry_at) < 0)
            {
                best = conn;
            }

        } else if ((usable || conn->failures == 0) && conn->nops < best->nops)
        {
            best = conn;
        }
    }

    return best;
}


void
ngx_http_token_injector_redis_op_free(ngx_http_token_injector_redis_op_t *op)
{
    ngx_uint_t  i;

    for (i = 0; i < op->ncommands; i++) {
        ti_resp_command_free(&op->commands[i]);
    }

    ngx_queue_insert_head(&op->redis->free, &op->queue);
}


void
ngx_http_token_injector_redis_op_failed(ngx_http_token_injector_redis_op_t *op)
{
    void                                      *data;
    ngx_http_token_injector_redis_handler_pt   handler;

    data = op->data;
    handler = op->handler;

    ngx_http_token_injector_redis_trouble(op->redis);
    ngx_http_token_injector_redis_op_count(op,
                                           NGX_HTTP_TOKEN_INJECTOR_N_FAILED);
    ngx_http_token_injector_redis_op_free(op);

    if (handler) {
        handler(data, NGX_ERROR, 0, NULL, 1);
    }
}


void
ngx_http_token_injector_redis_op_count(ngx_http_token_injector_redis_op_t *op,
    ngx_uint_t how)
{
    ngx_http_token_injector_row_t  *row;

    row = op->redis->conf->row;

    ngx_http_token_injector_count(row, how, 1);
    ngx_http_token_injector_count(row, NGX_HTTP_TOKEN_INJECTOR_N_MSEC,
                                  ngx_current_msec - op->began);
}


ngx_int_t
ngx_http_token_injector_redis_enqueue(
    ngx_http_token_injector_redis_conn_t *conn,
    ngx_http_token_injector_redis_op_t *op)
{
    ngx_http_token_injector_redis_conf_t  *conf;

    if (conn->state == ngx_http_token_injector_redis_ready) {

        if (ngx_http_token_injector_redis_write(conn, op->commands,
                                                op->ncommands)
            != NGX_OK)
        {
            return NGX_BUSY;
        }

        op->sent = 1;
    }

    if (op->deadline == 0) {
        conf = conn->redis->conf;

        op->deadline = ngx_current_msec + conf->timeout;

        if (conn->state != ngx_http_token_injector_redis_ready) {
            op->deadline += conf->connect_timeout;
        }
    }

    ngx_queue_insert_tail(&conn->ops, &op->queue);
    conn->nops++;

    if (conn->state == ngx_http_token_injector_redis_ready) {
        ngx_http_token_injector_redis_expect(conn);
    }

    return NGX_OK;
}


/*
 * All of an operation or nothing of it: half can't be taken back.  What one
 * turn of the event loop brings leaves in one write.
 */

ngx_int_t
ngx_http_token_injector_redis_write(ngx_http_token_injector_redis_conn_t *conn,
    const ti_str_t *parts, ngx_uint_t n)
{
    u_char      *p;
    size_t       len, size;
    ngx_uint_t   i;

    len = conn->out_len;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    if (len > NGX_HTTP_TOKEN_INJECTOR_REDIS_MAX_OUT) {
        return NGX_ERROR;
    }

    if (len > conn->out_size) {
        size = ngx_max(2 * len, ngx_pagesize);

        p = ngx_alloc(size, &conn->redis->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (conn->out) {
            ngx_memcpy(p, conn->out, conn->out_len);
            ngx_explicit_memzero(conn->out, conn->out_len);
            ngx_free(conn->out);
        }

        conn->out = p;
        conn->out_size = size;
    }

    p = conn->out + conn->out_len;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    conn->out_len = len;

    if (!conn->flush.posted) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
    }

    return NGX_OK;
}


/*
 * The one timer of a connection is the deadline of its first operation.  It
 * is set once and looked at when it fires, not moved with every reply.
 */

void
ngx_http_token_injector_redis_expect(ngx_http_token_injector_redis_conn_t *conn)
{
    ngx_event_t                         *rev;
    ngx_msec_int_t                       left;
    ngx_http_token_injector_redis_op_t  *op;

    rev = conn->connection->read;

    if (ngx_queue_empty(&conn->ops)) {
        rev->cancelable = 1;
        conn->connection->idle = 1;
        return;
    }

    rev->cancelable = 0;
    conn->connection->idle = 0;

    if (!rev->timer_set) {
        op = ngx_queue_data(ngx_queue_head(&conn->ops),
                            ngx_http_token_injector_redis_op_t, queue);

        left = op->deadline - ngx_current_msec;
        ngx_add_timer(rev, (ngx_msec_t) ngx_max(left, 1));
    }
}
