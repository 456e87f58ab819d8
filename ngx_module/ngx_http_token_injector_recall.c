/*
 * The steps that lead to the third party's token: recall, unseal, inject; and
 * what is remembered of them.
 */

#include "ngx_http_token_injector.h"


static ngx_int_t ngx_http_token_injector_names(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_ask(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_ask_connection(
    ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_redis_op_t *op);
static ngx_int_t ngx_http_token_injector_ask_answer(
    ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_redis_op_t *op);
static void ngx_http_token_injector_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_reply_read(
    ngx_http_token_injector_ctx_t *ctx, ngx_uint_t n,
    const ti_resp_reply_t *reply);
static void ngx_http_token_injector_reply_answer(
    ngx_http_token_injector_ctx_t *ctx, const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_connected(
    ngx_http_token_injector_ctx_t *ctx);


/*
 * The connection and the answer.  An admission that may be used as it is
 * needs neither from Redis, only an answer that this node does not hold; one
 * that must be confirmed asks for two small fields; without one the sealed
 * token is read.  Whatever is asked is asked in one round trip.
 */

ngx_int_t
ngx_http_token_injector_recall(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->failed && ctx->flow != TI_FLOW_USE) {
        return ngx_http_token_injector_refuse(ctx,
                                              TI_RESULT_STORE_UNAVAILABLE,
                                              "the store did not answer");
    }

    if (!ctx->planned) {
        ctx->planned = 1;

        if (ngx_http_token_injector_names(ctx) != NGX_OK
            || ngx_http_token_injector_answer_plan(ctx) != NGX_OK)
        {
            return ngx_http_token_injector_refuse(ctx,
                                                  TI_RESULT_INTERNAL_ERROR,
                                                  "out of memory");
        }
    }

    if (ctx->flow == TI_FLOW_CONFIRM
        || (ctx->flow == TI_FLOW_READ && !ctx->answered))
    {
        return ngx_http_token_injector_ask(ctx);
    }

    if (ctx->flow == TI_FLOW_READ) {
        rc = ngx_http_token_injector_connected(ctx);
        if (rc != NGX_OK || ctx->lacks_token) {
            return rc;
        }
    }

    if (ctx->cacheable
        && ngx_http_token_injector_answer_known(ctx) != NGX_OK
        && ctx->flow == TI_FLOW_USE && !ctx->asked)
    {
        rc = ngx_http_token_injector_ask(ctx);

        /* with the store away, who is admitted is served without the cache */

        return rc == NGX_BUSY ? NGX_OK : rc;
    }

    return NGX_OK;
}


/* what the connection is called; an admission knows */

ngx_int_t
ngx_http_token_injector_user_name(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                               *p;
    ti_who_t                              nobody;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (ctx->head.user.len) {
        return NGX_OK;
    }

    mcf = ngx_http_token_injector_main(ctx->request);
    provider = ctx->conf->provider;

    p = ngx_pnalloc(ctx->request->pool, TI_RECORD_USER_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&nobody, sizeof(ti_who_t));

    if (ti_record_user(mcf->crypto, provider->store->ring,
                       provider->grant == NGX_HTTP_TOKEN_INJECTOR_CLIENT
                       ? &nobody : &ctx->head.who, p)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    ctx->head.user = ti_str_from(p, TI_RECORD_USER_LEN);

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_names(ngx_http_token_injector_ctx_t *ctx)
{
    size_t                                len;
    u_char                               *p, *key;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (ctx->head.device.len) {
        return NGX_OK;
    }

    if (ngx_http_token_injector_user_name(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    mcf = ngx_http_token_injector_main(ctx->request);
    provider = ctx->conf->provider;

    p = ngx_pnalloc(ctx->request->pool, TI_RECORD_DEVICE_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key = NULL;

    if (provider->user_key) {
        key = ngx_http_token_injector_user_key(ctx);
        if (key == NULL) {
            return NGX_ERROR;
        }
    }

    if (ti_record_device(mcf->crypto, key, p, &len)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    ctx->head.device = ti_str_from(p, len);

    if (ti_answer_base(mcf->crypto, provider->store->ring, key,
                       ctx->head.answer_base)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NGX_BUSY: the store is away, and this request can do without it */

static ngx_int_t
ngx_http_token_injector_ask(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_store_t     *store;
    ngx_http_token_injector_redis_op_t  *op;

    store = ctx->conf->provider->store;

    if (store->index >= ngx_http_token_injector_worker.nstores) {
        /* "master_process off" and a reload: no worker was begun for it */
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                 "the store is not open in this process");
    }

    if (ctx->flow != TI_FLOW_USE) {
        /* what changes from here on the reply need not know */
        ctx->head.heard = ngx_http_token_injector_changes_heard(ctx);
    }

    op = ngx_http_token_injector_redis_begin(
                          ngx_http_token_injector_worker.stores[store->index],
                          ngx_http_token_injector_reply, ctx);
    rc = NGX_ERROR;

    if (op) {
        rc = ngx_http_token_injector_ask_connection(ctx, op);

        if (rc == NGX_OK) {
            rc = ngx_http_token_injector_ask_answer(ctx, op);
        }

        if (rc == NGX_OK) {
            rc = ngx_http_token_injector_redis_send(op);

        } else {
            ngx_http_token_injector_redis_cancel(op);
        }
    }

    if (rc == NGX_OK) {
        ctx->op = op;
        return NGX_AGAIN;
    }

    if (rc == NGX_BUSY && ctx->flow == TI_FLOW_USE) {
        return NGX_BUSY;
    }

    if (rc == NGX_BUSY) {
        return ngx_http_token_injector_refuse(ctx,
                               TI_RESULT_STORE_UNAVAILABLE,
                               "the store is away or has too much to do");
    }

    return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                          "out of memory");
}


static ngx_int_t
ngx_http_token_injector_ask_connection(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_redis_op_t *op)
{
    ti_str_t                             name;
    ti_pool_t                            pool;
    ngx_str_t                            argv[4];
    ngx_http_token_injector_store_t     *store;
    ngx_http_token_injector_provider_t  *provider;

    if (ctx->flow == TI_FLOW_USE) {
        return NGX_OK;
    }

    provider = ctx->conf->provider;
    store = provider->store;
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    if (ti_record_connection_name(&pool,
                           ngx_http_token_injector_str(&store->key_prefix),
                           ctx->head.user,
                           ngx_http_token_injector_str(&provider->name),
                           ctx->head.device, &name)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->flow == TI_FLOW_CONFIRM) {
        ngx_str_set(&argv[0], "HMGET");
        argv[1].data = (u_char *) name.data;
        argv[1].len = name.len;
        ngx_str_set(&argv[2], "gen");
        ngx_str_set(&argv[3], "cid");

        return ngx_http_token_injector_redis_add(op, argv, 4);
    }

    return ngx_http_token_injector_ask_token(op, name);
}


/*
 * Whether there is a connection at all is asked apart: HMGET says the same of
 * none and of one that lacks what it should have.
 */

ngx_int_t
ngx_http_token_injector_ask_token(ngx_http_token_injector_redis_op_t *op,
    ti_str_t name)
{
    ngx_str_t  argv[5];

    ngx_str_set(&argv[0], "HLEN");
    argv[1].data = (u_char *) name.data;
    argv[1].len = name.len;

    if (ngx_http_token_injector_redis_add(op, argv, 2) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "access");
    ngx_str_set(&argv[3], "gen");
    ngx_str_set(&argv[4], "cid");

    return ngx_http_token_injector_redis_add(op, argv, 5);
}


static ngx_int_t
ngx_http_token_injector_ask_answer(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_redis_op_t *op)
{
    ngx_str_t  argv[2];

    if (!ctx->cacheable || ctx->asked) {
        return NGX_OK;
    }

    /* TI_FLOW_USE has looked: what is here does not open, or is not here */

    if (ctx->flow != TI_FLOW_USE && ngx_http_token_injector_answer_here(ctx)) {
        return NGX_OK;
    }

    ctx->asked = 1;

    ngx_str_set(&argv[0], "GET");

    if (ngx_http_token_injector_answer_name(ctx, &argv[1]) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_token_injector_redis_add(op, argv, 2);
}


static void
ngx_http_token_injector_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_uint_t                      about;
    ngx_http_token_injector_ctx_t  *ctx = data;

    if (rc == NGX_OK) {

        /* how many of the replies are about the connection */

        about = (ctx->flow == TI_FLOW_READ) ? 2
                : (ctx->flow == TI_FLOW_CONFIRM) ? 1 : 0;

        if (n >= about) {
            ngx_http_token_injector_reply_answer(ctx, reply);

        } else if (about == 2) {
            ngx_http_token_injector_reply_read(ctx, n, reply);

        } else {
            ctx->confirmed = ti_flow_confirm(&ctx->head, reply);
        }
    }

    if (!last) {
        return;
    }

    ctx->op = NULL;

    if (rc != NGX_OK) {
        ctx->failed = 1;

    } else if (ctx->flow == TI_FLOW_CONFIRM) {
        ctx->flow = ctx->confirmed;
        ctx->renewed = (ctx->flow == TI_FLOW_USE
                        && ctx->conf->provider->store->local_valid);

    } else {
        ctx->answered = 1;
    }

    ngx_http_token_injector_resume(ctx);
}


static void
ngx_http_token_injector_reply_read(ngx_http_token_injector_ctx_t *ctx,
    ngx_uint_t n, const ti_resp_reply_t *reply)
{
    ti_pool_t  pool;

    if (n == 0) {
        /* a number, or an error that the next reply will repeat */
        ctx->hlen = *reply;
        ctx->hlen.str = ti_null_str;
        return;
    }

    ctx->read = ti_flow_connection(reply, &ctx->hlen, &ctx->connection,
                                   &ctx->why);

    if (ctx->read != TI_RESULT_OK) {
        return;
    }

    pool = ngx_http_token_injector_pool(ctx->request->pool);

    if (ti_pool_copy(&pool, ctx->connection.access, &ctx->connection.access)
        != TI_OK
        || ti_pool_copy(&pool, ctx->connection.cid, &ctx->connection.cid)
           != TI_OK)
    {
        ctx->read = TI_RESULT_INTERNAL_ERROR;
        ctx->why = "out of memory";
    }
}


static void
ngx_http_token_injector_reply_answer(ngx_http_token_injector_ctx_t *ctx,
    const ti_resp_reply_t *reply)
{
    /* twice the size leaves room for headers, and for who kept it */

    if (reply->type != TI_RESP_STRING
        || reply->str.len > 2 * ctx->conf->cache_max_size + TI_RECORD_MAX)
    {
        return;
    }

    ctx->kept.data = ngx_pnalloc(ctx->request->pool, reply->str.len);

    if (ctx->kept.data) {
        ctx->kept.len = reply->str.len;
        ngx_memcpy(ctx->kept.data, reply->str.data, reply->str.len);
    }
}


/* the store has said what it knows */

static ngx_int_t
ngx_http_token_injector_connected(ngx_http_token_injector_ctx_t *ctx)
{
    ctx->seen = ctx->connection.seen;

    if (ctx->read != TI_RESULT_OK) {
        ctx->broken = (ctx->read == TI_RESULT_RECONNECT_REQUIRED);

        return ngx_http_token_injector_lacking(ctx, ctx->read, ctx->why);
    }

    ctx->head.gen = ctx->connection.gen;
    ctx->head.cid = ctx->connection.cid;

    return NGX_OK;
}
