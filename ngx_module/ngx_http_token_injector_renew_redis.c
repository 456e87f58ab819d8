/*
 * A renewal's words with Redis: the lock, and what is there with it in hand.
 */

#include "ngx_http_token_injector_renew.h"


#define NGX_HTTP_TOKEN_INJECTOR_RENEW_FIELDS  8


static void ngx_http_token_injector_renew_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_renew_took(
    ngx_http_token_injector_renew_t *renew, const ti_resp_reply_t *reply);
static void ngx_http_token_injector_renew_found(
    ngx_http_token_injector_renew_t *renew, const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_renew_field(
    ngx_http_token_injector_renew_t *renew, const ti_resp_reply_t *reply,
    ti_str_t *field);
static void ngx_http_token_injector_renew_again(ngx_event_t *ev);
static void ngx_http_token_injector_renew_mark_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_renew_send(
    ngx_http_token_injector_renew_t *renew, const ti_str_t *argv, size_t argc);
static void ngx_http_token_injector_renew_sent(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static ngx_int_t ngx_http_token_injector_renew_add(
    ngx_http_token_injector_redis_op_t *op, const ti_str_t *argv, size_t argc);


ngx_int_t
ngx_http_token_injector_renew_look(ngx_http_token_injector_renew_t *renew)
{
    size_t                               argc;
    ti_str_t                             argv[TI_WRITE_ARGS];
    ti_pool_t                            pool;
    ngx_http_token_injector_store_t     *store;
    ngx_http_token_injector_redis_op_t  *op;

    if (renew->found) {
        ngx_destroy_pool(renew->found);
    }

    renew->found = ngx_create_pool(4096, ngx_cycle->log);
    if (renew->found == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&renew->stored, sizeof(ngx_http_token_injector_stored_t));
    ngx_memzero(&renew->taken, sizeof(ti_lock_taken_t));

    store = renew->conf.provider->store;
    pool = ngx_http_token_injector_pool(renew->found);

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[store->index],
             ngx_http_token_injector_renew_reply, renew);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ti_lock_take(&pool, &renew->lock, argv, &argc) != TI_OK
        || ngx_http_token_injector_renew_add(op, argv, argc) != NGX_OK)
    {
        ngx_http_token_injector_redis_cancel(op);
        return NGX_ERROR;
    }

    argv[0] = ti_str("HMGET");
    argv[1] = renew->name;
    argv[2] = ti_str("gen");
    argv[3] = ti_str("cid");
    argv[4] = ti_str("state");
    argv[5] = ti_str("refresh");
    argv[6] = ti_str("previous");
    argv[7] = ti_str("scope");
    argv[8] = ti_str("since");
    argv[9] = ti_str("account");

    if (ngx_http_token_injector_renew_add(op, argv, 10) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_redis_send(op) != NGX_OK) {
        return NGX_ERROR;
    }

    renew->op = op;
    renew->asked = ngx_current_msec;

    return NGX_OK;
}


static void
ngx_http_token_injector_renew_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_renew_t *renew = data;

    if (rc != NGX_OK) {
        /* and may have taken it nevertheless */
        renew->locked = 1;
        renew->read = TI_RESULT_STORE_UNAVAILABLE;
        renew->why = "the store did not answer";

    } else if (n == 0) {
        ngx_http_token_injector_renew_took(renew, reply);

    } else {
        ngx_http_token_injector_renew_found(renew, reply);
    }

    if (!last) {
        return;
    }

    renew->op = NULL;

    ngx_http_token_injector_renew_looked(renew);
}


static void
ngx_http_token_injector_renew_took(ngx_http_token_injector_renew_t *renew,
    const ti_resp_reply_t *reply)
{
    renew->barred = (ti_lock_taken(reply, ngx_time(), &renew->taken)
                     != TI_OK);
    renew->locked = (!renew->barred && renew->taken.taken);

    if (renew->barred || renew->locked) {
        ngx_http_token_injector_redis_refused(
            ngx_http_token_injector_worker.stores[
                                     renew->conf.provider->store->index],
            renew->barred);
    }
}


static void
ngx_http_token_injector_renew_found(ngx_http_token_injector_renew_t *renew,
    const ti_resp_reply_t *reply)
{
    ngx_uint_t                         i;
    ti_str_t                          *field[
                                      NGX_HTTP_TOKEN_INJECTOR_RENEW_FIELDS];
    ngx_http_token_injector_stored_t  *stored;

    stored = &renew->stored;

    field[0] = &stored->gen;
    field[1] = &stored->cid;
    field[2] = &stored->state;
    field[3] = &stored->refresh;
    field[4] = &stored->previous;
    field[5] = &stored->scope;
    field[6] = &stored->since;
    field[7] = &stored->account;

    renew->read = TI_RESULT_OK;

    if (reply->type == TI_RESP_ERROR
        && reply->str.len >= 9
        && ngx_strncmp(reply->str.data, "WRONGTYPE", 9) == 0)
    {
        /* no connection, and whoever reads it says so */
        return;
    }

    if (reply->type != TI_RESP_ARRAY
        || reply->n != NGX_HTTP_TOKEN_INJECTOR_RENEW_FIELDS)
    {
        renew->read = TI_RESULT_STORE_UNAVAILABLE;
        renew->why = "the store refuses to read: look at its log";
        return;
    }

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_RENEW_FIELDS; i++) {
        if (ngx_http_token_injector_renew_field(renew, reply->elements[i],
                                                field[i])
            != NGX_OK)
        {
            renew->read = TI_RESULT_INTERNAL_ERROR;
            renew->why = "out of memory";
            return;
        }
    }
}


static ngx_int_t
ngx_http_token_injector_renew_field(ngx_http_token_injector_renew_t *renew,
    const ti_resp_reply_t *reply, ti_str_t *field)
{
    ti_pool_t  pool;

    if (reply->type != TI_RESP_STRING || reply->str.len == 0
        || reply->str.len > TI_RECORD_MAX)
    {
        return NGX_OK;
    }

    pool = ngx_http_token_injector_pool(renew->found);

    return ti_pool_copy(&pool, reply->str, field) == TI_OK ? NGX_OK
                                                           : NGX_ERROR;
}


void
ngx_http_token_injector_renew_hold(ngx_http_token_injector_renew_t *renew)
{
    renew->lease.handler = ngx_http_token_injector_renew_again;
    renew->lease.data = &ngx_http_token_injector_worker.dummy;
    renew->lease.log = ngx_cycle->log;
    renew->lease.cancelable = 1;

    ngx_add_timer(&renew->lease, (ngx_msec_t) renew->lock.lease / 3);
}


/* where it fails another may have it by now: what was asked is asked */

static void
ngx_http_token_injector_renew_again(ngx_event_t *ev)
{
    size_t                            argc;
    ti_str_t                          argv[TI_LOCK_ARGS];
    ti_pool_t                         pool;
    ngx_http_token_injector_renew_t  *renew;

    renew = (ngx_http_token_injector_renew_t *)
                ((u_char *) ev - offsetof(ngx_http_token_injector_renew_t,
                                          lease));

    pool = ngx_http_token_injector_pool(renew->pool);

    if (ti_lock_renew(&pool, &renew->lock, argv, &argc) == TI_OK) {
        ngx_http_token_injector_renew_send(renew, argv, argc);
    }

    ngx_http_token_injector_renew_hold(renew);
}


/* nobody waits for it; where it is lost, its time ends it */

void
ngx_http_token_injector_renew_release(ngx_http_token_injector_renew_t *renew,
    const ti_lock_failure_t *failure)
{
    size_t     argc;
    ti_str_t   argv[TI_LOCK_ARGS];
    ti_pool_t  pool;

    renew->locked = 0;

    pool = ngx_http_token_injector_pool(renew->pool);

    if (failure == NULL
        || ti_lock_fail(&pool, &renew->lock, failure, argv, &argc) != TI_OK)
    {
        ti_lock_release(&renew->lock, argv, &argc);
    }

    ngx_http_token_injector_renew_send(renew, argv, argc);
}


/* whoever shows the connection can say that it ended */

ngx_int_t
ngx_http_token_injector_renew_mark(ngx_http_token_injector_renew_t *renew)
{
    size_t                               argc;
    ti_str_t                             argv[TI_WRITE_ARGS];
    ti_pool_t                            pool;
    ngx_http_token_injector_store_t     *store;
    ngx_http_token_injector_redis_op_t  *op;

    store = renew->conf.provider->store;
    pool = ngx_http_token_injector_pool(renew->pool);

    if (ti_write_mark(&pool, ngx_http_token_injector_str(&store->key_prefix),
                      renew->name, renew->stored.gen, renew->stored.cid, argv,
                      &argc)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[store->index],
             ngx_http_token_injector_renew_mark_reply, renew);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_renew_add(op, argv, argc) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_redis_send(op) != NGX_OK) {
        return NGX_ERROR;
    }

    renew->op = op;

    return NGX_OK;
}


static void
ngx_http_token_injector_renew_mark_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_renew_t *renew = data;

    renew->op = NULL;

    if (rc == NGX_OK) {
        rc = (reply->type != TI_RESP_INTEGER) ? NGX_ERROR
             : (reply->integer == 1) ? NGX_OK : NGX_DECLINED;
    }

    ngx_http_token_injector_renew_marked(renew, rc);
}


static void
ngx_http_token_injector_renew_send(ngx_http_token_injector_renew_t *renew,
    const ti_str_t *argv, size_t argc)
{
    ngx_http_token_injector_redis_op_t  *op;

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[
                                     renew->conf.provider->store->index],
             ngx_http_token_injector_renew_sent, NULL);
    if (op == NULL) {
        return;
    }

    if (ngx_http_token_injector_renew_add(op, argv, argc) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return;
    }

    (void) ngx_http_token_injector_redis_send(op);
}


/* without a handler it would count as forgotten, and not be sent again */

static void
ngx_http_token_injector_renew_sent(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    /* void */
}


static ngx_int_t
ngx_http_token_injector_renew_add(ngx_http_token_injector_redis_op_t *op,
    const ti_str_t *argv, size_t argc)
{
    size_t     i;
    ngx_str_t  args[TI_WRITE_ARGS];

    for (i = 0; i < argc; i++) {
        args[i].data = (u_char *) argv[i].data;
        args[i].len = argv[i].len;
    }

    return ngx_http_token_injector_redis_add(op, args, argc);
}
