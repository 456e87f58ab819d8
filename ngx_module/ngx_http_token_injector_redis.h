/*
 * Connections to one Redis, of one worker: pipelined, bounded in number, in
 * queue and in time.
 *
 * An operation is one or more commands whose replies come together.  It owns
 * its memory; who waits for it may go away at any time (ngx_..._forget()), and
 * the operation finishes quietly.
 *
 * A connection that is late, that says what nobody asked for, or that says it
 * in another language is closed, never used again: a reply can only ever reach
 * the one it belongs to.  Operations which it had not answered are sent once
 * more on a new connection where it was lost, and fail where it was late.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_REDIS_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ti_resp.h"

#include "ngx_http_token_injector_status.h"


/* const configuration of a pool of connections */

typedef struct {
    ngx_str_t                    name;           /* for the log */
    ngx_addr_t                  *addrs;
    ngx_uint_t                   naddrs;
    ngx_uint_t                   connections;
    ngx_msec_t                   connect_timeout;
    ngx_msec_t                   timeout;
    ngx_str_t                    hello;          /* AUTH, SELECT: as bytes */
    ngx_uint_t                   nhello;         /* and how many they are */
    size_t                       max_reply;
    ngx_http_token_injector_row_t  *row;         /* where it is counted */
} ngx_http_token_injector_redis_conf_t;


typedef struct ngx_http_token_injector_redis_s
    ngx_http_token_injector_redis_t;
typedef struct ngx_http_token_injector_redis_op_s
    ngx_http_token_injector_redis_op_t;


/*
 * Called once for each reply in order (rc NGX_OK, the reply valid during the
 * call) or once with NGX_ERROR where there will be none.  "last" says that the
 * operation is over: it is gone after the call.
 */

typedef void (*ngx_http_token_injector_redis_handler_pt)(void *data,
    ngx_int_t rc, ngx_uint_t n, const ti_resp_reply_t *reply,
    ngx_uint_t last);


/*
 * What Redis says without having been asked, on a connection that subscribed
 * to a channel: a message; or NULL, where the connection is gone and with it
 * the subscription.
 */

typedef void (*ngx_http_token_injector_redis_push_pt)(void *data,
    const ti_resp_reply_t *message);


ngx_http_token_injector_redis_t *ngx_http_token_injector_redis_create(
    ngx_cycle_t *cycle, ngx_http_token_injector_redis_conf_t *conf);
void ngx_http_token_injector_redis_destroy(
    ngx_http_token_injector_redis_t *redis);

/* whose connections may be spoken to; right after they were created */
void ngx_http_token_injector_redis_listen(
    ngx_http_token_injector_redis_t *redis,
    ngx_http_token_injector_redis_push_pt push, void *data);

/* is there a connection that could be written to at once? */
ngx_uint_t ngx_http_token_injector_redis_up(
    ngx_http_token_injector_redis_t *redis);

/*
 * Has the store been there for a while?  Not so while it is away and for a
 * moment after it came back: whoever has tokens that it lacks goes first, and
 * no refresh token is spent meanwhile.
 */
ngx_uint_t ngx_http_token_injector_redis_settled(
    ngx_http_token_injector_redis_t *redis);

/* what another connection to the same store has seen: it is away, or back */
void ngx_http_token_injector_redis_away(
    ngx_http_token_injector_redis_t *redis, ngx_uint_t away);

/* it is there, and refuses to write, which is no better; or does it again */
void ngx_http_token_injector_redis_refused(
    ngx_http_token_injector_redis_t *redis, ngx_uint_t refused);

/*
 * An operation is begun, gets up to three commands one by one and is sent, or
 * cancelled instead.  Where send() does not return NGX_OK the operation is
 * gone and its handler will not be called: NGX_BUSY where the store is known
 * to be away or the queue is full, NGX_ERROR where memory is.
 */

ngx_http_token_injector_redis_op_t *ngx_http_token_injector_redis_begin(
    ngx_http_token_injector_redis_t *redis,
    ngx_http_token_injector_redis_handler_pt handler, void *data);
ngx_int_t ngx_http_token_injector_redis_add(
    ngx_http_token_injector_redis_op_t *op, ngx_str_t *argv, ngx_uint_t argc);
ngx_int_t ngx_http_token_injector_redis_send(
    ngx_http_token_injector_redis_op_t *op);

/* it was begun and will not be sent */
void ngx_http_token_injector_redis_cancel(
    ngx_http_token_injector_redis_op_t *op);

/* nobody waits for it any more; what was sent is sent */
void ngx_http_token_injector_redis_forget(
    ngx_http_token_injector_redis_op_t *op);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_REDIS_H_INCLUDED_ */
