/*
 * One connection to Redis: how it is made, what it carries, how it ends.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_http_token_injector_redis_conn.h"


#define NGX_HTTP_TOKEN_INJECTOR_REDIS_MAX_PAUSE  1000
#define NGX_HTTP_TOKEN_INJECTOR_REDIS_READ       65536
#define NGX_HTTP_TOKEN_INJECTOR_REDIS_KEEP       (256 * 1024)


static void ngx_http_token_injector_redis_connected(
    ngx_http_token_injector_redis_conn_t *conn);
static void ngx_http_token_injector_redis_take(
    ngx_http_token_injector_redis_conn_t *conn, ngx_queue_t *ops);
static void ngx_http_token_injector_redis_greeted(
    ngx_http_token_injector_redis_conn_t *conn);
static void ngx_http_token_injector_redis_fail(
    ngx_http_token_injector_redis_conn_t *conn, ngx_uint_t lost,
    ngx_err_t err, const char *why);
static void ngx_http_token_injector_redis_write_handler(ngx_event_t *wev);
static void ngx_http_token_injector_redis_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_token_injector_redis_read(
    ngx_http_token_injector_redis_conn_t *conn);
static void ngx_http_token_injector_redis_timeout(
    ngx_http_token_injector_redis_conn_t *conn);
static ngx_int_t ngx_http_token_injector_redis_replies(
    ngx_http_token_injector_redis_conn_t *conn);
static ngx_int_t ngx_http_token_injector_redis_reply(
    ngx_http_token_injector_redis_conn_t *conn, const ti_resp_reply_t *reply);
static ngx_err_t ngx_http_token_injector_redis_socket_error(
    ngx_connection_t *c);


/* what a worker reads before it is copied into a reader; sealed or public */

static u_char  ngx_http_token_injector_redis_in
                   [NGX_HTTP_TOKEN_INJECTOR_REDIS_READ];


ngx_int_t
ngx_http_token_injector_redis_connect(
    ngx_http_token_injector_redis_conn_t *conn)
{
    ngx_err_t                              err;
    ngx_int_t                              rc;
    ngx_addr_t                            *addr;
    ngx_connection_t                      *c;
    ngx_peer_connection_t                  peer;
    ngx_http_token_injector_redis_conf_t  *conf;

    conf = conn->redis->conf;
    addr = &conf->addrs[conn->addr++ % conf->naddrs];

    conn->reader = ti_resp_reader_create(conf->max_reply);
    if (conn->reader == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&peer, sizeof(ngx_peer_connection_t));

    peer.sockaddr = addr->sockaddr;
    peer.socklen = addr->socklen;
    peer.name = &addr->name;
    peer.get = ngx_event_get_peer;
    peer.log = &conn->redis->quiet;
    peer.log_error = NGX_ERROR_ERR;

    rc = ngx_event_connect_peer(&peer);
    err = ngx_socket_errno;

    c = peer.connection;
    conn->connection = c;

    if (c) {
        c->data = conn;
        c->log = &conn->redis->log;
        c->read->log = c->log;
        c->write->log = c->log;
        c->read->handler = ngx_http_token_injector_redis_read_handler;
        c->write->handler = ngx_http_token_injector_redis_write_handler;
    }

    if (c == NULL || (rc != NGX_OK && rc != NGX_AGAIN)) {
        ngx_http_token_injector_redis_fail(conn, 0, err, "connect failed");
        return NGX_BUSY;
    }

    conn->state = ngx_http_token_injector_redis_connecting;

    if (rc == NGX_OK) {
        ngx_http_token_injector_redis_connected(conn);

    } else {
        ngx_add_timer(c->read, conf->connect_timeout);
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_redis_connected(
    ngx_http_token_injector_redis_conn_t *conn)
{
    ti_str_t                               hello;
    ngx_connection_t                      *c;
    ngx_http_token_injector_redis_conf_t  *conf;

    c = conn->connection;
    conf = conn->redis->conf;

    if (c->tcp_nodelay == NGX_TCP_NODELAY_UNSET) {
        (void) ngx_tcp_nodelay(c);
    }

    conn->greetings = conf->nhello;
    if (conn->greetings == 0) {
        ngx_http_token_injector_redis_greeted(conn);
        return;
    }

    conn->state = ngx_http_token_injector_redis_greeting;

    ngx_add_timer(c->read, conf->timeout);

    hello = ti_str_from(conf->hello.data, conf->hello.len);

    /* without memory for it the deadline ends the connection */
    (void) ngx_http_token_injector_redis_write(conn, &hello, 1);
}


/* all operations of a connection: what becomes of them may add new ones */

static void
ngx_http_token_injector_redis_take(ngx_http_token_injector_redis_conn_t *conn,
    ngx_queue_t *ops)
{
    ngx_queue_init(ops);

    if (!ngx_queue_empty(&conn->ops)) {
        ngx_queue_add(ops, &conn->ops);
        ngx_queue_init(&conn->ops);
    }

    conn->nops = 0;
}


/* what was asked while the connection was being made is sent now */

static void
ngx_http_token_injector_redis_greeted(
    ngx_http_token_injector_redis_conn_t *conn)
{
    ngx_queue_t                          ops, *q;
    ngx_http_token_injector_redis_op_t  *op;

    if (conn->connection->read->timer_set) {
        ngx_del_timer(conn->connection->read);
    }

    conn->state = ngx_http_token_injector_redis_ready;
    conn->failures = 0;

    ngx_http_token_injector_redis_take(conn, &ops);

    while (!ngx_queue_empty(&ops)) {
        q = ngx_queue_head(&ops);
        ngx_queue_remove(q);
        op = ngx_queue_data(q, ngx_http_token_injector_redis_op_t, queue);

        if (op->handler == NULL) {
            ngx_http_token_injector_redis_op_free(op);
            continue;
        }

        if (ngx_http_token_injector_redis_enqueue(conn, op) != NGX_OK) {
            ngx_http_token_injector_redis_op_failed(op);
        }
    }

    ngx_http_token_injector_redis_expect(conn);
}


/*
 * The only way out of a connection.  Its operations are sent once more where
 * it was lost while they were under way: Redis may have closed an idle
 * connection in that very moment, and the others with it.
 */

void
ngx_http_token_injector_redis_close(ngx_http_token_injector_redis_conn_t *conn,
    ngx_uint_t lost)
{
    ngx_queue_t                          ops, *q;
    ngx_http_token_injector_redis_op_t  *op;

    if (conn->connection) {
        ngx_close_connection(conn->connection);
        conn->connection = NULL;
    }

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    ti_resp_reader_free(conn->reader);
    conn->reader = NULL;

    if (conn->out) {
        ngx_explicit_memzero(conn->out, conn->out_len);
        ngx_free(conn->out);
    }

    conn->out = NULL;
    conn->out_pos = 0;
    conn->out_len = 0;
    conn->out_size = 0;
    conn->state = ngx_http_token_injector_redis_down;

    if (conn->redis->push) {
        conn->redis->push(conn->redis->push_data, NULL);
    }

    ngx_http_token_injector_redis_take(conn, &ops);

    while (!ngx_queue_empty(&ops)) {
        q = ngx_queue_head(&ops);
        ngx_queue_remove(q);
        op = ngx_queue_data(q, ngx_http_token_injector_redis_op_t, queue);

        if (lost && op->handler && op->sent && !op->again) {
            op->again = 1;
            op->sent = 0;
            op->deadline = 0;
            op->nreplies = 0;

            if (ngx_http_token_injector_redis_dispatch(conn, op) == NGX_OK) {
                continue;
            }
        }

        ngx_http_token_injector_redis_op_failed(op);
    }
}


/* a connection that failed is not tried again at once: 50 ms, 100 … 1 s */

static void
ngx_http_token_injector_redis_fail(ngx_http_token_injector_redis_conn_t *conn,
    ngx_uint_t lost, ngx_err_t err, const char *why)
{
    ngx_uint_t                             level;
    ngx_msec_t                             pause;
    ngx_http_token_injector_redis_conf_t  *conf;

    conf = conn->redis->conf;
    level = lost ? NGX_LOG_WARN : NGX_LOG_ERR;
    pause = 0;

    if (conn->state != ngx_http_token_injector_redis_ready || !lost) {
        pause = 50 << ngx_min(conn->failures, 5);
        pause = ngx_min(pause, NGX_HTTP_TOKEN_INJECTOR_REDIS_MAX_PAUSE);
        pause = pause / 2 + (ngx_msec_t) ngx_random() % (pause / 2 + 1);

        conn->failures++;
    }

    conn->retry_at = ngx_current_msec + pause;

    ngx_log_error(level, &conn->redis->log, err,
                  "token_store \"%V\": %s, next try in %M ms; "
                  "requests that need it are refused with store-unavailable "
                  "meanwhile: check that Redis is up and reachable",
                  &conf->name, why, pause);

    ngx_http_token_injector_redis_close(conn, lost);
}


void
ngx_http_token_injector_redis_flush_handler(ngx_event_t *ev)
{
    ssize_t                                n;
    ngx_connection_t                      *c;
    ngx_http_token_injector_redis_conn_t  *conn;

    conn = ev->data;
    c = conn->connection;

    while (conn->out_pos < conn->out_len) {

        n = c->send(c, conn->out + conn->out_pos,
                    conn->out_len - conn->out_pos);

        if (n == NGX_AGAIN) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                ngx_http_token_injector_redis_fail(conn, 0, 0,
                                                   "the event failed");
            }

            return;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_token_injector_redis_fail(conn, 1, 0,
                                               "the connection was lost");
            return;
        }

        conn->out_pos += n;
    }

    if (conn->state == ngx_http_token_injector_redis_greeting) {
        /* there was a password in it */
        ngx_explicit_memzero(conn->out, conn->out_len);
    }

    conn->out_pos = 0;
    conn->out_len = 0;

    if (conn->out_size > NGX_HTTP_TOKEN_INJECTOR_REDIS_KEEP) {
        ngx_free(conn->out);
        conn->out = NULL;
        conn->out_size = 0;
    }
}


static void
ngx_http_token_injector_redis_write_handler(ngx_event_t *wev)
{
    ngx_err_t                              err;
    ngx_connection_t                      *c;
    ngx_http_token_injector_redis_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    if (conn->state == ngx_http_token_injector_redis_connecting) {

        err = ngx_http_token_injector_redis_socket_error(c);
        if (err) {
            ngx_http_token_injector_redis_fail(conn, 0, err,
                                               "connect failed");
            return;
        }

        ngx_del_timer(c->read);

        ngx_http_token_injector_redis_connected(conn);
    }

    if (conn->out_len && !conn->flush.posted) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_token_injector_redis_fail(conn, 0, 0, "the event failed");
    }
}


static ngx_err_t
ngx_http_token_injector_redis_socket_error(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    return err;
}


static void
ngx_http_token_injector_redis_read_handler(ngx_event_t *rev)
{
    ngx_connection_t                      *c;
    ngx_http_token_injector_redis_conn_t  *conn;

    c = rev->data;
    conn = c->data;

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_http_token_injector_redis_timeout(conn);
        return;
    }

    if (c->close && conn->nops == 0) {
        ngx_http_token_injector_redis_close(conn, 0);
        return;
    }

    /* the write event says how a connect ended */

    if (conn->state == ngx_http_token_injector_redis_connecting
        || ngx_http_token_injector_redis_read(conn) != NGX_OK)
    {
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_token_injector_redis_fail(conn, 0, 0, "the event failed");
        return;
    }

    if (conn->state == ngx_http_token_injector_redis_ready) {
        ngx_http_token_injector_redis_expect(conn);

        if (conn->nops == 0 && (c->close || ngx_exiting)) {
            ngx_http_token_injector_redis_close(conn, 0);
        }
    }
}


/* NGX_DONE: the connection is gone */

static ngx_int_t
ngx_http_token_injector_redis_read(ngx_http_token_injector_redis_conn_t *conn)
{
    ssize_t            n;
    const char        *why;
    ngx_connection_t  *c;

    c = conn->connection;

    for ( ;; ) {

        n = c->recv(c, ngx_http_token_injector_redis_in,
                    NGX_HTTP_TOKEN_INJECTOR_REDIS_READ);

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n == NGX_ERROR || n == 0) {
            break;
        }

        if (ti_resp_reader_feed(conn->reader,
                  ti_str_from(ngx_http_token_injector_redis_in, n), &why)
            != TI_OK)
        {
            ngx_http_token_injector_redis_fail(conn, 0, 0, why);
            return NGX_DONE;
        }

        if (ngx_http_token_injector_redis_replies(conn) != NGX_OK) {
            return NGX_DONE;
        }
    }

    if (conn->nops == 0 && conn->state == ngx_http_token_injector_redis_ready)
    {
        /* idle for longer than Redis likes: nobody's loss */
        ngx_http_token_injector_redis_close(conn, 0);

    } else {
        ngx_http_token_injector_redis_fail(conn, 1, 0,
                                           "the connection was lost");
    }

    return NGX_DONE;
}


static void
ngx_http_token_injector_redis_timeout(
    ngx_http_token_injector_redis_conn_t *conn)
{
    ngx_queue_t                         *q;
    ngx_http_token_injector_redis_op_t  *op;

    if (conn->state != ngx_http_token_injector_redis_ready) {
        ngx_http_token_injector_redis_fail(conn, 0, NGX_ETIMEDOUT,
                  conn->state == ngx_http_token_injector_redis_connecting
                  ? "connect timed out" : "no answer to AUTH or SELECT");
        return;
    }

    if (!ngx_queue_empty(&conn->ops)) {
        q = ngx_queue_head(&conn->ops);
        op = ngx_queue_data(q, ngx_http_token_injector_redis_op_t, queue);

        if ((ngx_msec_int_t) (op->deadline - ngx_current_msec) <= 0) {
            ngx_http_token_injector_redis_fail(conn, 0, NGX_ETIMEDOUT,
                                               "no answer in time");
            return;
        }
    }

    ngx_http_token_injector_redis_expect(conn);
}


/* NGX_DONE: the connection is gone */

static ngx_int_t
ngx_http_token_injector_redis_replies(
    ngx_http_token_injector_redis_conn_t *conn)
{
    const char             *why;
    const ti_resp_reply_t  *reply;

    for ( ;; ) {

        if (ti_resp_reader_next(conn->reader, &reply, &why) != TI_OK) {
            ngx_http_token_injector_redis_fail(conn, 0, 0, why);
            return NGX_DONE;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        if (ngx_http_token_injector_redis_reply(conn, reply) != NGX_OK) {
            return NGX_DONE;
        }
    }
}


static ngx_int_t
ngx_http_token_injector_redis_reply(ngx_http_token_injector_redis_conn_t *conn,
    const ti_resp_reply_t *reply)
{
    void                                      *data;
    ngx_uint_t                                 n, last;
    ngx_queue_t                               *q;
    ngx_http_token_injector_redis_op_t        *op;
    ngx_http_token_injector_redis_handler_pt   handler;

    if (conn->state == ngx_http_token_injector_redis_greeting) {

        if (reply->type != TI_RESP_STATUS) {
            ngx_http_token_injector_redis_fail(conn, 0, 0,
                     "AUTH or SELECT was refused: check user, password_file "
                     "and database");
            return NGX_DONE;
        }

        if (--conn->greetings == 0) {
            ngx_http_token_injector_redis_greeted(conn);
        }

        return NGX_OK;
    }

    if (conn->redis->push && ti_resp_is_message(reply)) {
        conn->redis->push(conn->redis->push_data, reply);
        return NGX_OK;
    }

    if (ngx_queue_empty(&conn->ops)) {
        ngx_http_token_injector_redis_fail(conn, 0, 0,
                                           "a reply that nobody asked for");
        return NGX_DONE;
    }

    q = ngx_queue_head(&conn->ops);
    op = ngx_queue_data(q, ngx_http_token_injector_redis_op_t, queue);

    n = op->nreplies++;
    last = (op->nreplies == op->ncommands);

    data = op->data;
    handler = op->handler;

    if (last) {
        ngx_queue_remove(q);
        conn->nops--;
        ngx_http_token_injector_redis_op_count(op,
                                         NGX_HTTP_TOKEN_INJECTOR_N_ANSWERED);
        ngx_http_token_injector_redis_op_free(op);
    }

    if (handler) {
        handler(data, NGX_OK, n, reply, last);
    }

    return NGX_OK;
}
