/*
 * Between the two files of the Redis client: operations, and the connections
 * that carry them.  Nobody else includes this.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_REDIS_CONN_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_REDIS_CONN_H_INCLUDED_


#include "ngx_http_token_injector_redis.h"


typedef enum {
    ngx_http_token_injector_redis_down = 0,
    ngx_http_token_injector_redis_connecting,
    ngx_http_token_injector_redis_greeting,      /* AUTH, SELECT */
    ngx_http_token_injector_redis_ready
} ngx_http_token_injector_redis_state_e;


typedef struct {
    ngx_http_token_injector_redis_t       *redis;
    ngx_http_token_injector_redis_state_e  state;
    ngx_connection_t                      *connection;
    ti_resp_reader_t                      *reader;

    ngx_queue_t                            ops;  /* in the order of replies */
    ngx_uint_t                             nops;
    ngx_uint_t                             greetings;    /* yet to be heard */

    u_char                                *out;
    size_t                                 out_pos;
    size_t                                 out_len;
    size_t                                 out_size;
    ngx_event_t                            flush;

    ngx_uint_t                             addr;
    ngx_uint_t                             failures;
    ngx_msec_t                             retry_at;
} ngx_http_token_injector_redis_conn_t;


struct ngx_http_token_injector_redis_op_s {
    ngx_queue_t                                 queue;
    ngx_http_token_injector_redis_t            *redis;
    ngx_http_token_injector_redis_handler_pt    handler;
    void                                       *data;
    ti_str_t                                    commands[3];
    ngx_uint_t                                  ncommands;
    ngx_uint_t                                  nreplies;
    ngx_msec_t                                  began;
    ngx_msec_t                                  deadline;
    unsigned                                    sent:1;
    unsigned                                    again:1;
};


struct ngx_http_token_injector_redis_s {
    ngx_http_token_injector_redis_conf_t  *conf;
    ngx_log_t                              log;
    ngx_log_t                              quiet;    /* while connecting */
    ngx_queue_t                            free; /* operations to use again */
    ngx_http_token_injector_redis_conn_t  *conns;

    ngx_http_token_injector_redis_push_pt  push;     /* NULL: never */
    void                                  *push_data;

    ngx_msec_t                             trouble;  /* the last of it */
    unsigned                               troubled:1;   /* ever */
    unsigned                               away:1;   /* as others see it */
    unsigned                               refused:1;    /* to write */
};


/* operations */

ngx_int_t ngx_http_token_injector_redis_dispatch(
    ngx_http_token_injector_redis_conn_t *conn,
    ngx_http_token_injector_redis_op_t *op);
ngx_int_t ngx_http_token_injector_redis_enqueue(
    ngx_http_token_injector_redis_conn_t *conn,
    ngx_http_token_injector_redis_op_t *op);
void ngx_http_token_injector_redis_op_free(
    ngx_http_token_injector_redis_op_t *op);
void ngx_http_token_injector_redis_op_failed(
    ngx_http_token_injector_redis_op_t *op);
void ngx_http_token_injector_redis_op_count(
    ngx_http_token_injector_redis_op_t *op, ngx_uint_t how);
ngx_int_t ngx_http_token_injector_redis_write(
    ngx_http_token_injector_redis_conn_t *conn, const ti_str_t *parts,
    ngx_uint_t n);
void ngx_http_token_injector_redis_expect(
    ngx_http_token_injector_redis_conn_t *conn);

/* their connection */

ngx_int_t ngx_http_token_injector_redis_connect(
    ngx_http_token_injector_redis_conn_t *conn);
void ngx_http_token_injector_redis_close(
    ngx_http_token_injector_redis_conn_t *conn, ngx_uint_t lost);
void ngx_http_token_injector_redis_flush_handler(ngx_event_t *ev);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_REDIS_CONN_H_INCLUDED_ */
