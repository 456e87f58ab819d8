/*
 * App-only tokens: who waits for one, and when it is time for another.
 */

#include "ngx_http_token_injector_app.h"


#define NGX_HTTP_TOKEN_INJECTOR_APP_WAIT    10000    /* of a request, at most */
#define NGX_HTTP_TOKEN_INJECTOR_APP_ROUNDS  3
#define NGX_HTTP_TOKEN_INJECTOR_APP_PAUSE   10       /* seconds, at most */


static ngx_http_token_injector_app_t *ngx_http_token_injector_app_of(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_app_await(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_app_late(ngx_event_t *ev);
static void ngx_http_token_injector_app_renew(ngx_event_t *ev);


static ngx_http_token_injector_app_t  *ngx_http_token_injector_apps;
static ngx_uint_t                      ngx_http_token_injector_napps;
static ngx_connection_t                ngx_http_token_injector_app_dummy;


ngx_int_t
ngx_http_token_injector_app_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                            i, n;
    ngx_http_token_injector_app_t        *app;
    ngx_http_token_injector_provider_t  **provider;

    n = mcf->providers.nelts;
    provider = mcf->providers.elts;

    if (n == 0) {
        return NGX_OK;
    }

    app = ngx_pcalloc(cycle->pool, n * sizeof(ngx_http_token_injector_app_t));
    if (app == NULL) {
        return NGX_ERROR;
    }

    /* nginx with debugging reads a descriptor there */
    ngx_http_token_injector_app_dummy.fd = (ngx_socket_t) -1;

    for (i = 0; i < n; i++) {
        app[i].provider = provider[i];
        ngx_queue_init(&app[i].waiting);

        app[i].renew.handler = ngx_http_token_injector_app_renew;
        app[i].renew.data = &ngx_http_token_injector_app_dummy;
        app[i].renew.log = cycle->log;
        app[i].renew.cancelable = 1;

        app[i].event.data = &ngx_http_token_injector_app_dummy;
        app[i].event.log = cycle->log;

        if (provider[i]->grant == NGX_HTTP_TOKEN_INJECTOR_CLIENT
            && provider[i]->talks && provider[i]->used)
        {
            ngx_add_timer(&app[i].renew, 1000 + ngx_random() % 1000);
        }
    }

    ngx_http_token_injector_apps = app;
    ngx_http_token_injector_napps = n;

    return NGX_OK;
}


/* before grants and stores end: nobody is told, there is nobody left */

void
ngx_http_token_injector_app_exit(void)
{
    ngx_uint_t                      i;
    ngx_http_token_injector_app_t  *app;

    for (i = 0; i < ngx_http_token_injector_napps; i++) {
        app = &ngx_http_token_injector_apps[i];

        if (app->op) {
            ngx_http_token_injector_redis_forget(app->op);
            app->op = NULL;
        }

        if (app->pool) {
            ngx_destroy_pool(app->pool);
            app->pool = NULL;
        }
    }

    ngx_http_token_injector_napps = 0;
}


/*
 * There is no token to use.  NGX_OK: the step that fetches one will be taken;
 * else what refuse() said.
 */

ngx_int_t
ngx_http_token_injector_lacking(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result, const char *why)
{
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    if (provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT || !provider->talks
        || (result != TI_RESULT_CONNECTION_REQUIRED
            && result != TI_RESULT_RECONNECT_REQUIRED))
    {
        return ngx_http_token_injector_refuse(ctx, result, why);
    }

    if (ctx->broken) {
        ctx->broken = 0;

        ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                      "token injector: the app-only token of provider \"%V\" "
                      "in the store can't be used, another is fetched: %s",
                      &provider->name, why);
    }

    ctx->lacks_token = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_refresh(ngx_http_token_injector_ctx_t *ctx)
{
    if (!ctx->lacks_token) {
        return NGX_OK;
    }

    if (!ctx->told) {
        return ngx_http_token_injector_app_await(ctx);
    }

    ctx->told = 0;

    if (ctx->fetched != TI_RESULT_OK) {
        return ngx_http_token_injector_refuse(ctx, ctx->fetched, ctx->why);
    }

    /* somebody's is in the store now */

    ctx->lacks_token = 0;
    ctx->flow = TI_FLOW_READ;
    ctx->answered = 0;
    ctx->failed = 0;

    return NGX_DECLINED;
}


static ngx_http_token_injector_app_t *
ngx_http_token_injector_app_of(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    return provider->index < ngx_http_token_injector_napps
           ? &ngx_http_token_injector_apps[provider->index] : NULL;
}


static ngx_int_t
ngx_http_token_injector_app_await(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_event_t                     *ev;
    ngx_msec_t                       wait;
    ngx_http_token_injector_app_t   *app;
    ngx_http_token_injector_note_t   note;

    app = ngx_http_token_injector_app_of(ctx);

    if (app == NULL) {
        /* "master_process off" and a reload */
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                 "the provider is not known to this process");
    }

    ngx_http_token_injector_app_note(app, &note);

    if (note.until > ngx_time()) {
        ctx->retry_after = note.until - ngx_time();

        return ngx_http_token_injector_refuse(ctx, note.result,
                               "the token endpoint failed a moment ago and is "
                               "not asked again yet");
    }

    if (ctx->rounds++ == NGX_HTTP_TOKEN_INJECTOR_APP_ROUNDS) {
        return ngx_http_token_injector_refuse(ctx,
                               TI_RESULT_PROVIDER_UNAVAILABLE,
                               "what was fetched is of no use or gone again");
    }

    if (ctx->late == 0) {
        wait = ngx_min(app->provider->party.timeout + 2000,
                       NGX_HTTP_TOKEN_INJECTOR_APP_WAIT);
        ctx->late = ngx_current_msec + wait;
    }

    ev = &ctx->wait;

    ev->handler = ngx_http_token_injector_app_late;
    ev->log = ctx->request->connection->log;

    /* nginx with debugging reads a descriptor there */
    ev->data = ctx->request->connection;

    ngx_add_timer(ev, (ngx_msec_t) ngx_max(1, (ngx_msec_int_t)
                                           (ctx->late - ngx_current_msec)));

    ngx_queue_insert_tail(&app->waiting, &ctx->waiting);
    ctx->waits_token = 1;

    ngx_http_token_injector_app_begin(app);

    return NGX_AGAIN;
}


static void
ngx_http_token_injector_app_late(ngx_event_t *ev)
{
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = (ngx_http_token_injector_ctx_t *)
              ((u_char *) ev - offsetof(ngx_http_token_injector_ctx_t, wait));

    ngx_http_token_injector_app_leave(ctx);

    ctx->told = 1;
    ctx->fetched = TI_RESULT_PROVIDER_UNAVAILABLE;
    ctx->why = "there was no token in time";

    ngx_http_token_injector_resume(ctx);
}


void
ngx_http_token_injector_app_leave(ngx_http_token_injector_ctx_t *ctx)
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


/* those who come while the others go on wait for the next time */

void
ngx_http_token_injector_app_tell(ngx_queue_t *waiting, ti_result_t result,
    const char *why, int64_t retry_after)
{
    ngx_queue_t                    *q, ready;
    ngx_http_token_injector_ctx_t  *ctx;

    ngx_queue_init(&ready);

    if (!ngx_queue_empty(waiting)) {
        ngx_queue_add(&ready, waiting);
        ngx_queue_init(waiting);
    }

    /* one that goes on may end another, which then leaves this queue */

    while (!ngx_queue_empty(&ready)) {
        q = ngx_queue_head(&ready);
        ctx = ngx_queue_data(q, ngx_http_token_injector_ctx_t, waiting);

        ngx_http_token_injector_app_leave(ctx);

        ctx->told = 1;
        ctx->fetched = result;
        ctx->why = why;
        ctx->retry_after = retry_after;

        ngx_http_token_injector_resume(ctx);
    }
}


/*
 * A token that some location uses is replaced before it ends, for as long as
 * there is one: the first is fetched for a request.
 */

static void
ngx_http_token_injector_app_renew(ngx_event_t *ev)
{
    int64_t                          pause;
    ngx_http_token_injector_app_t   *app;
    ngx_http_token_injector_note_t   note;

    if (ngx_exiting) {
        return;
    }

    app = (ngx_http_token_injector_app_t *)
              ((u_char *) ev - offsetof(ngx_http_token_injector_app_t, renew));

    ngx_http_token_injector_app_note(app, &note);

    if (note.due <= ngx_time() && note.until <= ngx_time()
        && app->state == NGX_HTTP_TOKEN_INJECTOR_APP_IDLE)
    {
        app->renewing = 1;
        ngx_http_token_injector_app_begin(app);
    }

    pause = ngx_min(note.due - ngx_time(), NGX_HTTP_TOKEN_INJECTOR_APP_PAUSE);

    ngx_add_timer(ev, (ngx_msec_t) ngx_max(pause, 1) * 1000
                      + ngx_random() % 500);
}


/* of its connection, of its lock, and ours as the owner of that */

ngx_int_t
ngx_http_token_injector_app_names(ngx_http_token_injector_app_t *app)
{
    u_char                               *p;
    ti_str_t                              prefix, provider;
    ti_who_t                              nobody;
    ti_pool_t                             pool;
    ti_random_t                           random;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    app->pool = ngx_create_pool(1024, ngx_cycle->log);
    if (app->pool == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&nobody, sizeof(ti_who_t));

    pool = ngx_http_token_injector_pool(app->pool);
    random = ti_crypto_random();
    prefix = ngx_http_token_injector_str(&app->provider->store->key_prefix);
    provider = ngx_http_token_injector_str(&app->provider->name);

    p = ngx_pnalloc(app->pool, TI_RECORD_USER_LEN + prefix.len + provider.len
                               + TI_RECORD_USER_LEN + sizeof("{}:l::-"));
    if (p == NULL
        || ti_record_user(mcf->crypto, app->provider->store->ring, &nobody, p)
           != TI_OK
        || ti_write_cid(&random, app->owner) != TI_OK)
    {
        return NGX_ERROR;
    }

    app->user = ti_str_from(p, TI_RECORD_USER_LEN);
    app->lock.data = p + TI_RECORD_USER_LEN;
    app->lock.len = ngx_sprintf(p + TI_RECORD_USER_LEN, "%*s{%*s}:l:%*s:-",
                                prefix.len, prefix.data, app->user.len,
                                app->user.data, provider.len, provider.data)
                    - app->lock.data;

    return ti_record_connection_name(&pool, prefix, app->user, provider,
                                     ti_str("-"), &app->name)
           == TI_OK ? NGX_OK : NGX_ERROR;
}
