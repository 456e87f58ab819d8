/*
 * The steps from a sealed token to the rewritten request: unseal, inject; and
 * what is remembered of them.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_SCHEME    (sizeof("Bearer ") - 1)
#define NGX_HTTP_TOKEN_INJECTOR_ADMITTED  (24 * 60 * 60)


static ngx_int_t ngx_http_token_injector_open_record(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_use_record(
    ngx_http_token_injector_ctx_t *ctx, ti_record_t *record);
static void ngx_http_token_injector_admit_token(
    ngx_http_token_injector_ctx_t *ctx, ti_str_t *token, time_t ttl);
static ngx_int_t ngx_http_token_injector_open_admission(
    ngx_http_token_injector_ctx_t *ctx);


ngx_int_t
ngx_http_token_injector_unseal(ngx_http_token_injector_ctx_t *ctx)
{
    if (ctx->lacks_token) {
        return NGX_OK;
    }

    if (ctx->flow == TI_FLOW_READ) {
        return ngx_http_token_injector_open_record(ctx);
    }

    if (ctx->renewed) {
        ngx_http_token_injector_admit(ctx, NULL);
    }

    if (ctx->head.due && ngx_time() >= ctx->head.due) {
        ngx_http_token_injector_renew_ahead(ctx);
    }

    if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
        return NGX_OK;
    }

    return ngx_http_token_injector_open_admission(ctx);
}


static ngx_int_t
ngx_http_token_injector_open_record(ngx_http_token_injector_ctx_t *ctx)
{
    ti_pool_t                             pool;
    ngx_int_t                             rc;
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
    ref.gen = ctx->head.gen;
    ref.cid = ctx->head.cid;

    if (provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT) {
        ref.who = ctx->head.who;
    }

    if (provider->user_key) {
        ref.user_key = ngx_http_token_injector_user_key(ctx);

        if (ref.user_key == NULL) {
            return ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_USER_KEY_REQUIRED,
                                   "no user key in the request, or not 43 "
                                   "canonical characters");
        }
    }

    result = ti_record_open(mcf->crypto, &pool, provider->store->ring, &ref,
                            ctx->connection.access, &record, &why);

    if (result != TI_RESULT_OK) {
        ctx->broken = (result == TI_RESULT_RECONNECT_REQUIRED);
        return ngx_http_token_injector_lacking(ctx, result, why);
    }

    rc = ngx_http_token_injector_use_record(ctx, &record);

    ti_wipe((void *) record.token.data, record.token.len);

    return rc;
}


/* a kept answer is served past the end of the token that fetched it */

static ngx_int_t
ngx_http_token_injector_use_record(ngx_http_token_injector_ctx_t *ctx,
    ti_record_t *record)
{
    u_char                              *p;
    ti_result_t                          result;
    const char                          *why;
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    ctx->head.token_expires = record->expires;
    ctx->head.confirmed = ngx_time();

    if (provider->talks && provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT) {
        ctx->head.due = ti_flow_due(record->issued, record->expires,
                                    provider->refresh_ahead, ctx->head.cid,
                                    ctx->head.gen);
    }

    result = ti_flow_record(record, ngx_time(), &why);

    if (result == TI_RESULT_OK && ctx->head.gen == ctx->unwanted) {
        result = TI_RESULT_RECONNECT_REQUIRED;
        why = "the third party does not take the access token";
    }

    if (result != TI_RESULT_OK) {

        if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
            return NGX_OK;
        }

        return ngx_http_token_injector_ended(ctx, why);
    }

    if (ctx->head.due && ngx_time() >= ctx->head.due) {
        ngx_http_token_injector_renew_ahead(ctx);
    }

    p = ngx_pnalloc(ctx->request->pool,
                    NGX_HTTP_TOKEN_INJECTOR_SCHEME + record->token.len + 1);
    if (p == NULL) {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    ctx->bearer.data = p;
    ctx->bearer.len = NGX_HTTP_TOKEN_INJECTOR_SCHEME + record->token.len;

    p = ngx_cpymem(p, "Bearer ", NGX_HTTP_TOKEN_INJECTOR_SCHEME);
    p = ngx_cpymem(p, record->token.data, record->token.len);
    *p = '\0';

    ngx_http_token_injector_admit(ctx, &record->token);

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

    ctx->bearer.data = token - NGX_HTTP_TOKEN_INJECTOR_SCHEME;
    ctx->bearer.len = sealed.len - TI_ADMISSION_OVERHEAD
                      + NGX_HTTP_TOKEN_INJECTOR_SCHEME;

    ngx_memcpy(ctx->bearer.data, "Bearer ", NGX_HTTP_TOKEN_INJECTOR_SCHEME);

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
    time_t                                ttl;
    ngx_str_t                             sealed;
    ti_random_t                           random;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    random = ti_crypto_random();

    ctx->head.confirmed = ngx_time();

    ttl = ctx->head.caller_expires - ngx_time();
    ttl = ngx_min(ttl, NGX_HTTP_TOKEN_INJECTOR_ADMITTED);

    sealed.len = ti_admission_sealed_len(&ctx->head);

    if (ttl <= 0 || sealed.len > TI_ADMISSION_HEAD_MAX) {
        return;
    }

    sealed.data = ngx_pnalloc(ctx->request->pool, sealed.len);

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

    if (token) {
        ngx_http_token_injector_admit_token(ctx, token, ttl);
    }
}


static void
ngx_http_token_injector_admit_token(ngx_http_token_injector_ctx_t *ctx,
    ti_str_t *token, time_t ttl)
{
    ngx_str_t                             sealed;
    ti_random_t                           random;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    random = ti_crypto_random();

    sealed.len = token->len + TI_ADMISSION_OVERHEAD;
    sealed.data = ngx_pnalloc(ctx->request->pool, sealed.len);

    if (sealed.data == NULL
        || ti_admission_seal_token(mcf->crypto, &random, &ctx->id, &ctx->head,
                                   *token, sealed.data)
           != TI_OK)
    {
        return;
    }

    ttl = ngx_min(ttl, (time_t) ctx->head.token_expires - ngx_time());

    (void) ngx_http_token_injector_memory_put(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_TOKEN,
                                 ctx->id.name, &sealed, ttl);
}


ngx_int_t
ngx_http_token_injector_inject(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
        r->content_handler = ngx_http_token_injector_answer_handler;

    } else if (ngx_http_token_injector_present(ctx) != NGX_OK) {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    ctx->finished = 1;

    ngx_http_token_injector_flush(r);

    return NGX_OK;
}
