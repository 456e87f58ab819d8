/*
 * A third party that says "not now" is left alone for as long as it said: by
 * the caller whom it said it to, on all devices, or by everybody, as
 * "throttle" has it.  Meanwhile what is kept will do, and be it past its time.
 */

#include "ngx_http_token_injector.h"

#include "ti_date.h"


#define NGX_HTTP_TOKEN_INJECTOR_HOLD_MAX  (60 * 60)


static ngx_uint_t ngx_http_token_injector_asks_another(ngx_http_request_t *r);
static int64_t ngx_http_token_injector_retry_after(ngx_http_upstream_t *u);
static ngx_msec_t ngx_http_token_injector_hold_left(
    ngx_http_token_injector_ctx_t *ctx, u_char *name);
static ngx_int_t ngx_http_token_injector_hold_name(
    ngx_http_token_injector_ctx_t *ctx, u_char *name);
static void ngx_http_token_injector_hold_note(
    ngx_http_token_injector_ctx_t *ctx, u_char *name, int64_t seconds);


/*
 * A response 429, or 503: does it hold others back?  NGX_DONE: it need not be
 * shown, there is an answer to take its place.
 */

ngx_int_t
ngx_http_token_injector_hold(ngx_http_token_injector_ctx_t *ctx)
{
    u_char               name[TI_SHA256_LEN];
    int64_t              seconds;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->conf->provider->throttle == NGX_HTTP_TOKEN_INJECTOR_THROTTLE_OFF
        || ngx_http_token_injector_asks_another(r))
    {
        return NGX_OK;
    }

    seconds = ngx_http_token_injector_retry_after(r->upstream);

    /* who does not say until when, may mean this one request */

    if (seconds == 0
        || ngx_http_token_injector_hold_name(ctx, name) != NGX_OK)
    {
        return NGX_OK;
    }

    ngx_http_token_injector_count(ctx->conf->row,
                                  NGX_HTTP_TOKEN_INJECTOR_N_THROTTLED, 1);

    if (ngx_http_token_injector_hold_left(ctx, name)
        < (ngx_msec_t) seconds * 1000)
    {
        ngx_http_token_injector_hold_note(ctx, name, seconds);
    }

    if (ngx_http_token_injector_repeatable(r)
        && ngx_http_token_injector_answer_stale(ctx) == NGX_OK)
    {
        return NGX_DONE;
    }

    return NGX_OK;
}


/* as ngx_http_upstream_test_next() will find */

static ngx_uint_t
ngx_http_token_injector_asks_another(ngx_http_request_t *r)
{
    ngx_uint_t            mask;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    mask = (u->headers_in.status_n == NGX_HTTP_TOO_MANY_REQUESTS)
           ? NGX_HTTP_UPSTREAM_FT_HTTP_429 : NGX_HTTP_UPSTREAM_FT_HTTP_503;

    if (r->method & (NGX_HTTP_POST|NGX_HTTP_LOCK|NGX_HTTP_PATCH)) {
        mask |= NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;
    }

    return u->peer.tries > 1 && (u->conf->next_upstream & mask) == mask
           && !r->request_body_no_buffering;
}


static int64_t
ngx_http_token_injector_retry_after(ngx_http_upstream_t *u)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &u->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ti_str_caseeq(ngx_http_token_injector_str(&h[i].key),
                              ti_str("Retry-After")))
            {
                return ti_date_retry_after(
                                ngx_http_token_injector_str(&h[i].value),
                                ngx_time(), NGX_HTTP_TOKEN_INJECTOR_HOLD_MAX);
            }
        }
    }

    return 0;
}


/*
 * Before a request is sent.  NGX_OK: it may be, or there is an answer after
 * all; else what refuse() said.
 */

ngx_int_t
ngx_http_token_injector_held(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                           name[TI_SHA256_LEN];
    ngx_msec_t                       left;
    ngx_http_token_injector_news_t  *news;

    news = ngx_http_token_injector_memory_news(
                        ngx_http_token_injector_main(ctx->request)->memory);

    /* nobody is, as a rule, and that takes no lock to know */

    if ((ngx_msec_int_t) (news->held - ngx_current_msec) <= 0
        || ctx->conf->provider->throttle
           == NGX_HTTP_TOKEN_INJECTOR_THROTTLE_OFF)
    {
        return NGX_OK;
    }

    if (ngx_http_token_injector_hold_name(ctx, name) != NGX_OK) {
        return NGX_OK;
    }

    left = ngx_http_token_injector_hold_left(ctx, name);

    if (left == 0 || ngx_http_token_injector_answer_stale(ctx) == NGX_OK) {
        return NGX_OK;
    }

    ctx->retry_after = (left + 999) / 1000;

    return ngx_http_token_injector_refuse(ctx, TI_RESULT_PROVIDER_THROTTLED,
                          "the third party has asked to slow down and is not "
                          "asked again yet");
}


static ngx_int_t
ngx_http_token_injector_hold_name(ngx_http_token_injector_ctx_t *ctx,
    u_char *name)
{
    ti_str_t                              fields[2];
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    provider = ctx->conf->provider;
    mcf = ngx_http_token_injector_main(ctx->request);

    fields[0] = ti_str_from(provider->id, TI_SHA256_LEN);
    fields[1] = ti_null_str;

    if (provider->throttle == NGX_HTTP_TOKEN_INJECTOR_THROTTLE_CALLER) {
        fields[1] = ctx->head.user;
    }

    return ti_crypto_sha256_enc(mcf->crypto, fields, 2, name) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


/* milliseconds, 0: it is not held */

static ngx_msec_t
ngx_http_token_injector_hold_left(ngx_http_token_injector_ctx_t *ctx,
    u_char *name)
{
    ngx_str_t   value;
    ngx_msec_t  until;

    if (ngx_http_token_injector_memory_get(
                        ngx_http_token_injector_main(ctx->request)->memory,
                        NGX_HTTP_TOKEN_INJECTOR_HELD, name,
                        ctx->request->pool, &value)
        != NGX_OK
        || value.len != sizeof(until))
    {
        return 0;
    }

    ngx_memcpy(&until, value.data, sizeof(until));

    return (ngx_msec_int_t) (until - ngx_current_msec) > 0
           ? until - ngx_current_msec : 0;
}


static void
ngx_http_token_injector_hold_note(ngx_http_token_injector_ctx_t *ctx,
    u_char *name, int64_t seconds)
{
    ngx_str_t                        value;
    ngx_msec_t                       until;
    ngx_shm_zone_t                  *memory;
    ngx_atomic_uint_t                held;
    ngx_http_token_injector_news_t  *news;

    memory = ngx_http_token_injector_main(ctx->request)->memory;
    until = ngx_current_msec + (ngx_msec_t) seconds * 1000;

    value.data = (u_char *) &until;
    value.len = sizeof(until);

    if (ngx_http_token_injector_memory_put(memory,
                               NGX_HTTP_TOKEN_INJECTOR_HELD, name, &value,
                               (time_t) seconds)
        != NGX_OK)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "token injector: the third party behind provider \"%V\" "
                  "asks to slow down, its requests are held back for %L s",
                  &ctx->conf->provider->name, seconds);

    news = ngx_http_token_injector_memory_news(memory);

    do {
        held = news->held;

        if ((ngx_msec_int_t) (until - held) <= 0) {
            return;
        }

    } while (!ngx_atomic_cmp_set(&news->held, held, until));
}
