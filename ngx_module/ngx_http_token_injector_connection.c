/*
 * The steps that lead to the third party's token: recall, unseal, inject; and
 * what is remembered of them.
 */

#include "ngx_http_token_injector.h"


static ngx_int_t ngx_http_token_injector_names(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_ask(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_http_token_injector_redis_op_t *ngx_http_token_injector_question(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_reply_read(
    ngx_http_token_injector_ctx_t *ctx, ngx_uint_t n,
    const ti_resp_reply_t *reply);
static void ngx_http_token_injector_reply_answer(
    ngx_http_token_injector_ctx_t *ctx, const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_connected(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_open_record(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_open_admission(
    ngx_http_token_injector_ctx_t *ctx);


#define NGX_HTTP_TOKEN_INJECTOR_BEARER  (sizeof("Bearer ") - 1)


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
        if (rc != NGX_OK) {
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
    u_char                               *p;
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

    if (ti_record_device(mcf->crypto, provider->user_key ? ctx->key : NULL, p,
                         &len)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    ctx->head.device = ti_str_from(p, len);

    if (ti_answer_base(mcf->crypto, provider->store->ring,
                       provider->user_key ? ctx->key : NULL,
                       ctx->head.answer_base)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_ask(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_redis_op_t  *op;

    op = ngx_http_token_injector_question(ctx);

    rc = op ? ngx_http_token_injector_redis_send(op) : NGX_ERROR;

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


static ngx_http_token_injector_redis_op_t *
ngx_http_token_injector_question(ngx_http_token_injector_ctx_t *ctx)
{
    ti_str_t                              name;
    ngx_int_t                             rc;
    ti_pool_t                             pool;
    ngx_str_t                             argv[5];
    ngx_uint_t                            n;
    ngx_http_token_injector_redis_op_t   *op;
    ngx_http_token_injector_provider_t   *provider;

    provider = ctx->conf->provider;
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[provider->store->index],
             ngx_http_token_injector_reply, ctx);
    if (op == NULL) {
        return NULL;
    }

    rc = NGX_OK;

    if (ctx->flow != TI_FLOW_USE) {

        if (ti_record_connection_name(&pool,
                       ngx_http_token_injector_str(&provider->store->key_prefix),
                       ctx->head.user,
                       ngx_http_token_injector_str(&provider->name),
                       ctx->head.device, &name)
            != TI_OK)
        {
            ngx_http_token_injector_redis_cancel(op);
            return NULL;
        }

        argv[1].data = (u_char *) name.data;
        argv[1].len = name.len;

        if (ctx->flow == TI_FLOW_READ) {
            ngx_str_set(&argv[0], "HLEN");

            rc = ngx_http_token_injector_redis_add(op, argv, 2);
        }

        n = 2;
        ngx_str_set(&argv[0], "HMGET");

        if (ctx->flow == TI_FLOW_READ) {
            ngx_str_set(&argv[2], "access");
            n = 3;
        }

        ngx_str_set(&argv[n], "gen");
        ngx_str_set(&argv[n + 1], "cid");
        n += 2;

        if (rc == NGX_OK) {
            rc = ngx_http_token_injector_redis_add(op, argv, n);
        }
    }

    if (rc == NGX_OK && ctx->cacheable && !ctx->asked
        && !ngx_http_token_injector_answer_here(ctx))
    {
        ngx_str_set(&argv[0], "GET");

        if (ngx_http_token_injector_answer_name(ctx, &argv[1]) != NGX_OK) {
            ngx_http_token_injector_redis_cancel(op);
            return NULL;
        }

        rc = ngx_http_token_injector_redis_add(op, argv, 2);
        ctx->asked = 1;
    }

    return rc == NGX_OK ? op : NULL;
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
    if (reply->type != TI_RESP_STRING) {
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
    if (ctx->read != TI_RESULT_OK) {
        ctx->broken = (ctx->read == TI_RESULT_RECONNECT_REQUIRED);

        return ngx_http_token_injector_refuse(ctx, ctx->read, ctx->why);
    }

    ctx->head.gen = ctx->connection.gen;
    ctx->head.cid = ctx->connection.cid;

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_unseal(ngx_http_token_injector_ctx_t *ctx)
{
    if (ctx->flow == TI_FLOW_READ) {
        return ngx_http_token_injector_open_record(ctx);
    }

    if (ctx->renewed) {
        ngx_http_token_injector_admit(ctx, NULL);
    }

    if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
        return NGX_OK;
    }

    return ngx_http_token_injector_open_admission(ctx);
}


static ngx_int_t
ngx_http_token_injector_open_record(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                               *p;
    ti_pool_t                             pool;
    ti_result_t                           result;
    const char                           *why;
    ti_record_t                           record;
    ti_record_ref_t                       ref;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    provider = ctx->conf->provider;
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    ngx_memzero(&ref, sizeof(ti_record_ref_t));

    ref.kind = TI_RECORD_ACCESS;
    ref.provider = ngx_http_token_injector_str(&provider->name);
    ref.device = ctx->head.device;
    ref.user_key = provider->user_key ? ctx->key : NULL;
    ref.gen = ctx->head.gen;
    ref.cid = ctx->head.cid;

    if (provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT) {
        ref.who = ctx->head.who;
    }

    result = ti_record_open(mcf->crypto, &pool, provider->store->ring, &ref,
                            ctx->connection.access, &record, &why);

    if (result != TI_RESULT_OK) {
        ctx->broken = (result == TI_RESULT_RECONNECT_REQUIRED);
        return ngx_http_token_injector_refuse(ctx, result, why);
    }

    ctx->head.token_expires = record.expires;
    ctx->head.confirmed = ngx_time();

    result = ti_flow_record(&record, ngx_time(), &why);

    if (result != TI_RESULT_OK
        && ctx->cache != NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT)
    {
        ti_wipe((void *) record.token.data, record.token.len);
        return ngx_http_token_injector_refuse(ctx, result, why);
    }

    p = ngx_pnalloc(ctx->request->pool,
                    NGX_HTTP_TOKEN_INJECTOR_BEARER + record.token.len + 1);

    if (p == NULL) {
        ti_wipe((void *) record.token.data, record.token.len);
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    ctx->bearer.data = p;
    ctx->bearer.len = NGX_HTTP_TOKEN_INJECTOR_BEARER + record.token.len;

    p = ngx_cpymem(p, "Bearer ", NGX_HTTP_TOKEN_INJECTOR_BEARER);
    p = ngx_cpymem(p, record.token.data, record.token.len);
    *p = '\0';

    if (result == TI_RESULT_OK) {
        ngx_http_token_injector_admit(ctx, &record.token);
    }

    ti_wipe((void *) record.token.data, record.token.len);

    return NGX_OK;
}


/*
 * Opened where it lies, behind the room for the scheme that its nonce leaves.
 * Where it had to make room for others, or belongs to another generation
 * (a worker wrote it while this one read), the store is asked after all.
 */

static ngx_int_t
ngx_http_token_injector_open_admission(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                               *token;
    ngx_str_t                             sealed;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);

    if (ngx_http_token_injector_memory_get(mcf->memory,
                                NGX_HTTP_TOKEN_INJECTOR_TOKEN, ctx->id.name,
                                ctx->request->pool, &sealed)
        != NGX_OK)
    {
        goto again;
    }

    token = sealed.data + TI_NONCE_LEN;

    if (ti_admission_open_token(mcf->crypto, &ctx->id, &ctx->head,
                                ngx_http_token_injector_str(&sealed), token)
        != TI_OK)
    {
        goto again;
    }

    ctx->bearer.data = token - NGX_HTTP_TOKEN_INJECTOR_BEARER;
    ctx->bearer.len = sealed.len - TI_ADMISSION_OVERHEAD
                      + NGX_HTTP_TOKEN_INJECTOR_BEARER;

    ngx_memcpy(ctx->bearer.data, "Bearer ", NGX_HTTP_TOKEN_INJECTOR_BEARER);

    /* the tag is of no more use, and headers end in a NUL */
    ctx->bearer.data[ctx->bearer.len] = '\0';

    return NGX_OK;

again:

    ctx->flow = TI_FLOW_READ;
    ctx->answered = 0;
    ctx->failed = 0;

    return NGX_DECLINED;
}


/*
 * Remembers what these credentials led to, until whatever of it ends first.
 * Nothing depends on success: without an admission the next request takes the
 * longer way.
 */

void
ngx_http_token_injector_admit(ngx_http_token_injector_ctx_t *ctx,
    ti_str_t *token)
{
    size_t                                len;
    time_t                                ttl, now;
    ngx_str_t                             sealed;
    ti_random_t                           random;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    random = ti_crypto_random();
    now = ngx_time();

    ttl = ctx->head.caller_expires - now;
    ttl = ngx_min(ttl, 24 * 60 * 60);

    if (ttl <= 0) {
        return;
    }

    ctx->head.confirmed = now;

    len = ti_admission_sealed_len(&ctx->head);

    if (len > TI_ADMISSION_HEAD_MAX) {
        return;
    }

    sealed.len = len;
    sealed.data = ngx_pnalloc(ctx->request->pool,
                              len + (token ? token->len : 0)
                              + TI_ADMISSION_OVERHEAD);

    if (sealed.data == NULL
        || ti_admission_seal(mcf->crypto, &random, &ctx->id, &ctx->head,
                             sealed.data)
           != TI_OK)
    {
        return;
    }

    (void) ngx_http_token_injector_memory_put(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ADMISSION,
                                 ctx->id.name, &sealed, ttl);

    if (token == NULL) {
        return;
    }

    sealed.data += len;
    sealed.len = token->len + TI_ADMISSION_OVERHEAD;

    if (ti_admission_seal_token(mcf->crypto, &random, &ctx->id, &ctx->head,
                                *token, sealed.data)
        != TI_OK)
    {
        return;
    }

    ttl = ngx_min(ttl, ctx->head.token_expires - now);

    (void) ngx_http_token_injector_memory_put(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_TOKEN,
                                 ctx->id.name, &sealed, ttl);
}


ngx_int_t
ngx_http_token_injector_inject(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
        r->content_handler = ngx_http_token_injector_answer_handler;

    } else if (clcf->handler) {

        if (ngx_http_token_injector_prepare(ctx) != NGX_OK) {
            return ngx_http_token_injector_refuse(ctx,
                                                  TI_RESULT_INTERNAL_ERROR,
                                                  "out of memory");
        }

        r->content_handler = ngx_http_token_injector_content_handler;
    }

    ctx->finished = 1;

    ngx_http_token_injector_flush(r);

    return NGX_OK;
}
