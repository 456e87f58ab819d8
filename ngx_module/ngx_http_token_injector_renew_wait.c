/*
 * The step that waits for a token, and requests that only see that it is time.
 */

#include "ngx_http_token_injector_renew.h"


#define NGX_HTTP_TOKEN_INJECTOR_RENEW_WAIT    10000  /* of a request, at most */
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_ROUNDS  3


static ngx_uint_t ngx_http_token_injector_renew_can(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_renew_conf(
    ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_renew_conf_t *conf);
static ngx_http_token_injector_renew_t *ngx_http_token_injector_renew_here(
    ngx_http_token_injector_renew_conf_t *conf);
static ngx_int_t ngx_http_token_injector_renew_await(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_renew_wait(
    ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_renew_conf_t *conf);
static ngx_int_t ngx_http_token_injector_renew_refuse(
    ngx_http_token_injector_ctx_t *ctx, ti_result_t result, const char *why);
static void ngx_http_token_injector_renew_late(ngx_event_t *ev);


/*
 * There is no token to use.  NGX_OK: the step that brings one will be taken;
 * else what refuse() said.
 */

ngx_int_t
ngx_http_token_injector_lacking(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result, const char *why)
{
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    if (!ngx_http_token_injector_renew_can(ctx)
        || !ngx_http_token_injector_renew_anew(provider)
        || (result != TI_RESULT_CONNECTION_REQUIRED
            && result != TI_RESULT_RECONNECT_REQUIRED))
    {
        return ngx_http_token_injector_refuse(ctx, result, why);
    }

    if (ctx->broken) {
        ctx->broken = 0;

        ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                      "token injector: the token of provider \"%V\" in the "
                      "store can't be used, another is fetched: %s",
                      &provider->name, why);
    }

    ctx->lacks_token = 1;

    return NGX_OK;
}


/* the one that there is has ended, or the third party does not take it */

ngx_int_t
ngx_http_token_injector_ended(ngx_http_token_injector_ctx_t *ctx,
    const char *why)
{
    if (!ngx_http_token_injector_renew_can(ctx)) {
        return ngx_http_token_injector_refuse(ctx,
                                              TI_RESULT_RECONNECT_REQUIRED,
                                              why);
    }

    ctx->lacks_token = 1;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_token_injector_renew_can(ngx_http_token_injector_ctx_t *ctx)
{
    return ctx->conf->provider->talks != 0;
}


ngx_int_t
ngx_http_token_injector_refresh(ngx_http_token_injector_ctx_t *ctx)
{
    if (!ctx->lacks_token) {
        return NGX_OK;
    }

    if (!ctx->told) {
        return ngx_http_token_injector_renew_await(ctx);
    }

    ctx->told = 0;

    if (ctx->fetched != TI_RESULT_OK) {
        return ngx_http_token_injector_renew_refuse(ctx, ctx->fetched,
                                                    ctx->why);
    }

    /* somebody's is in the store now */

    ctx->lacks_token = 0;
    ctx->flow = TI_FLOW_READ;
    ctx->answered = 0;
    ctx->failed = 0;

    return NGX_DECLINED;
}


/* an app-only token is nobody's; an exchange has the caller's for it */

static ngx_int_t
ngx_http_token_injector_renew_conf(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_renew_conf_t *conf)
{
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    ngx_memzero(conf, sizeof(ngx_http_token_injector_renew_conf_t));

    conf->provider = provider;
    conf->user = ctx->head.user;
    conf->device = ctx->head.device;
    conf->seen = ctx->seen;

    if (ctx->read == TI_RESULT_OK) {
        conf->cid = ctx->head.cid;
    }

    if (provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT) {
        conf->who = ctx->head.who;
    }

    if (provider->grant == NGX_HTTP_TOKEN_INJECTOR_EXCHANGE
        || provider->grant == NGX_HTTP_TOKEN_INJECTOR_BEARER)
    {
        conf->subject = ctx->token;
    }

    if (provider->user_key) {
        conf->user_key = ngx_http_token_injector_user_key(ctx);

        if (conf->user_key == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_token_injector_renew_ahead(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                                id[TI_SHA256_LEN];
    ngx_http_token_injector_note_t        note;
    ngx_http_token_injector_renew_conf_t  conf;

    if (!ngx_http_token_injector_renew_can(ctx)) {
        return;
    }

    if (ngx_http_token_injector_renew_conf(ctx, &conf) != NGX_OK) {
        return;
    }

    conf.seen = ctx->head.gen;
    conf.cid = ctx->head.cid;

    if (ngx_http_token_injector_renew_id(&conf, id) != NGX_OK) {
        return;
    }

    ngx_http_token_injector_note(id, &note);

    if (ngx_http_token_injector_note_holds(&note, &conf)) {
        return;
    }

    (void) ngx_http_token_injector_renew_here(&conf);
}


/* one begun by a request, whose caller may have other tokens to be renewed */

static ngx_http_token_injector_renew_t *
ngx_http_token_injector_renew_here(ngx_http_token_injector_renew_conf_t *conf)
{
    ngx_http_token_injector_renew_t  *renew;

    renew = ngx_http_token_injector_renew(conf);

    if (renew && !renew->visited
        && conf->provider->grant == NGX_HTTP_TOKEN_INJECTOR_CODE)
    {
        renew->visited = 1;
        ngx_http_token_injector_visit_others(conf);
    }

    return renew;
}


static ngx_int_t
ngx_http_token_injector_renew_await(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                                id[TI_SHA256_LEN];
    ngx_http_token_injector_note_t        note;
    ngx_http_token_injector_renew_conf_t  conf;

    if (ngx_http_token_injector_renew_conf(ctx, &conf) != NGX_OK
        || ngx_http_token_injector_renew_id(&conf, id) != NGX_OK)
    {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    ngx_http_token_injector_note(id, &note);

    if (ngx_http_token_injector_note_holds(&note, &conf)
        && note.result != TI_RESULT_OK)
    {
        ctx->retry_after = note.until - ngx_time();

        return ngx_http_token_injector_renew_refuse(ctx, note.result,
                               note.result == TI_RESULT_RECONNECT_REQUIRED
                               ? "the access token has expired and the "
                                 "provider ended the grant"
                               : "the token endpoint failed a moment ago and "
                                 "is not asked again yet");
    }

    if (ctx->rounds++ == NGX_HTTP_TOKEN_INJECTOR_RENEW_ROUNDS) {
        return ngx_http_token_injector_renew_refuse(ctx,
                               TI_RESULT_PROVIDER_UNAVAILABLE,
                               "what was fetched is of no use or gone again");
    }

    return ngx_http_token_injector_renew_wait(ctx, &conf);
}


static ngx_int_t
ngx_http_token_injector_renew_wait(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_renew_conf_t *conf)
{
    ngx_event_t                      *ev;
    ngx_msec_t                        wait;
    ngx_http_token_injector_renew_t  *renew;

    renew = ngx_http_token_injector_renew_here(conf);

    if (renew == NULL) {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                               "the provider is not known to this process, or "
                               "it is out of memory");
    }

    if (ctx->late == 0) {
        wait = ngx_min(conf->provider->party.timeout + 2000,
                       NGX_HTTP_TOKEN_INJECTOR_RENEW_WAIT);
        ctx->late = ngx_current_msec + wait;
    }

    ev = &ctx->wait;

    ev->handler = ngx_http_token_injector_renew_late;
    ev->log = ctx->request->connection->log;

    /* nginx with debugging reads a descriptor there */
    ev->data = ctx->request->connection;

    ngx_add_timer(ev, (ngx_msec_t) ngx_max(1, (ngx_msec_int_t)
                                           (ctx->late - ngx_current_msec)));

    ngx_queue_insert_tail(&renew->waiting, &ctx->waiting);
    ctx->waits_token = 1;

    return NGX_AGAIN;
}


/* a token endpoint that fails is no reason to withhold an answer of before */

static ngx_int_t
ngx_http_token_injector_renew_refuse(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result, const char *why)
{
    if ((result == TI_RESULT_PROVIDER_UNAVAILABLE
         || result == TI_RESULT_PROVIDER_THROTTLED)
        && ngx_http_token_injector_answer_stale(ctx) == NGX_OK)
    {
        return NGX_OK;
    }

    return ngx_http_token_injector_refuse(ctx, result, why);
}


static void
ngx_http_token_injector_renew_late(ngx_event_t *ev)
{
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = (ngx_http_token_injector_ctx_t *)
              ((u_char *) ev - offsetof(ngx_http_token_injector_ctx_t, wait));

    ngx_http_token_injector_renew_leave(ctx);

    ctx->told = 1;
    ctx->fetched = TI_RESULT_PROVIDER_UNAVAILABLE;
    ctx->why = "there was no token in time";

    ngx_http_token_injector_resume(ctx);
}


void
ngx_http_token_injector_renew_leave(ngx_http_token_injector_ctx_t *ctx)
{
    if (!ctx->waits_token) {
        return;
    }

    ctx->waits_token = 0;
    ngx_queue_remove(&ctx->waiting);

    if (ctx->wait.timer_set) {
        ngx_del_timer(&ctx->wait);
    }
}


void
ngx_http_token_injector_renew_tell(ngx_queue_t *waiting, ti_result_t result,
    const char *why, int64_t retry_after)
{
    ngx_queue_t                    *q;
    ngx_http_token_injector_ctx_t  *ctx;

    /* one that goes on may end another, which then leaves this queue */

    while (!ngx_queue_empty(waiting)) {
        q = ngx_queue_head(waiting);
        ctx = ngx_queue_data(q, ngx_http_token_injector_ctx_t, waiting);

        ngx_http_token_injector_renew_leave(ctx);

        ctx->told = 1;
        ctx->fetched = result;
        ctx->why = why;
        ctx->retry_after = retry_after;

        ngx_http_token_injector_resume(ctx);
    }
}
