/*
 * Whom a provider is for, as Redis says it: rules that stand in the place of
 * the configured "allow".  Each worker has its own copy, asked for when it
 * starts, when a change is published, and again before it is as old as
 * local_valid.  Where there is no copy, or an older one, requests wait for it.
 */

#include "ngx_http_token_injector.h"

#include "ngx_http_token_injector_rules.h"


#define NGX_HTTP_TOKEN_INJECTOR_SEGMENTS_VALID  1000     /* at the least */


struct ngx_http_token_injector_segments_s {
    ngx_http_token_injector_store_t     *store;
    ti_crypto_t                         *crypto;
    ngx_shm_zone_t                      *memory;
    ngx_str_t                            name;       /* of the hash */

    ngx_http_token_injector_rules_t     *rules;      /* by provider index */
    ngx_uint_t                           nrules;
    ngx_str_t                           *argv;
    ngx_uint_t                           n;          /* ours of these */

    ngx_http_token_injector_redis_op_t  *op;
    ngx_msec_t                           asked;      /* by that operation */
    ngx_msec_t                           known;      /* as of then */
    ngx_queue_t                          waiting;    /* contexts */
    ngx_event_t                          timer;

    const char                          *why;        /* not, if known */

    unsigned                             loaded:1;   /* since "known" */
    unsigned                             again:1;    /* when op is over */
    unsigned                             refused:1;  /* and said so */
};


static ngx_int_t ngx_http_token_injector_segments_names(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_segments_t *segments);
static ngx_msec_t ngx_http_token_injector_segments_valid(
    ngx_http_token_injector_segments_t *segments);
static void ngx_http_token_injector_segments_timer(ngx_event_t *ev);
static ngx_int_t ngx_http_token_injector_segments_ask(
    ngx_http_token_injector_segments_t *segments);
static void ngx_http_token_injector_segments_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_segments_refused(
    ngx_http_token_injector_segments_t *segments,
    const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_segments_take(
    ngx_http_token_injector_segments_t *segments,
    const ti_resp_reply_t *reply);
static void ngx_http_token_injector_segments_wake(
    ngx_http_token_injector_segments_t *segments, ngx_int_t rc);
static ngx_http_token_injector_rules_t *ngx_http_token_injector_rules(
    ngx_http_token_injector_provider_t *provider);


ngx_http_token_injector_segments_t *
ngx_http_token_injector_segments_create(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store)
{
    ngx_http_token_injector_segments_t  *segments;

    segments = ngx_pcalloc(cycle->pool,
                           sizeof(ngx_http_token_injector_segments_t));
    if (segments == NULL) {
        return NULL;
    }

    segments->store = store;
    segments->crypto = mcf->crypto;
    segments->memory = mcf->memory;
    ngx_queue_init(&segments->waiting);

    if (ngx_http_token_injector_segments_names(cycle, mcf, segments)
        != NGX_OK)
    {
        return NULL;
    }

    segments->timer.handler = ngx_http_token_injector_segments_timer;
    segments->timer.data = &ngx_http_token_injector_worker.dummy;
    segments->timer.log = cycle->log;
    segments->timer.cancelable = 1;

    if (segments->n) {
        ngx_add_timer(&segments->timer, 1);
    }

    return segments;
}


/* what is asked for, always the same: the fields of the store's providers */

static ngx_int_t
ngx_http_token_injector_segments_names(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_segments_t *segments)
{
    ti_str_t                              name;
    ti_pool_t                             pool;
    ngx_uint_t                            i, n;
    ngx_http_token_injector_provider_t  **provider;

    n = mcf->providers.nelts;
    segments->nrules = n;
    provider = mcf->providers.elts;
    pool = ngx_http_token_injector_pool(cycle->pool);

    segments->rules = ngx_pcalloc(cycle->pool,
                             n * sizeof(ngx_http_token_injector_rules_t) + 1);
    segments->argv = ngx_palloc(cycle->pool, (n + 2) * sizeof(ngx_str_t));

    if (segments->rules == NULL || segments->argv == NULL
        || ti_segment_name(&pool,
               ngx_http_token_injector_str(&segments->store->key_prefix),
               &name)
           != TI_OK)
    {
        return NGX_ERROR;
    }

    segments->name.data = (u_char *) name.data;
    segments->name.len = name.len;

    ngx_str_set(&segments->argv[0], "HMGET");
    segments->argv[1] = segments->name;

    for (i = 0; i < n; i++) {

        if (provider[i]->store == segments->store) {
            segments->argv[2 + segments->n] = provider[i]->name;
            segments->rules[i].provider = provider[i];
            segments->n++;

            ngx_http_token_injector_rules_recall(&segments->rules[i],
                                                 segments->crypto,
                                                 segments->memory);
        }
    }

    return NGX_OK;
}


/* the worker ends */

void
ngx_http_token_injector_segments_destroy(
    ngx_http_token_injector_segments_t *segments)
{
    ngx_uint_t  i;

    if (segments->timer.timer_set) {
        ngx_del_timer(&segments->timer);
    }

    for (i = 0; i < segments->nrules; i++) {
        ngx_http_token_injector_rules_drop(&segments->rules[i]);
    }

    segments->nrules = 0;
}


static ngx_msec_t
ngx_http_token_injector_segments_valid(
    ngx_http_token_injector_segments_t *segments)
{
    return ngx_max((ngx_msec_t) segments->store->local_valid * 1000,
                   NGX_HTTP_TOKEN_INJECTOR_SEGMENTS_VALID);
}


/* in time: requests should not have to wait for what may be known before */

static void
ngx_http_token_injector_segments_timer(ngx_event_t *ev)
{
    ngx_http_token_injector_segments_t  *segments;

    segments = (ngx_http_token_injector_segments_t *)
               ((u_char *) ev
                - offsetof(ngx_http_token_injector_segments_t, timer));

    if (ngx_exiting) {
        return;
    }

    if (segments->op == NULL) {
        (void) ngx_http_token_injector_segments_ask(segments);
    }

    ngx_add_timer(ev, ngx_http_token_injector_segments_valid(segments) / 2);
}


void
ngx_http_token_injector_segments_load(
    ngx_http_token_injector_segments_t *segments)
{
    if (segments->op) {
        /* it may have been answered before */
        segments->again = 1;

    } else if (segments->n && !ngx_exiting) {
        (void) ngx_http_token_injector_segments_ask(segments);
    }
}


ngx_int_t
ngx_http_token_injector_segments_changed(
    ngx_http_token_injector_segments_t *segments, ti_str_t name)
{
    if (!ti_str_eq(name, ngx_http_token_injector_str(&segments->name))) {
        return NGX_DECLINED;
    }

    ngx_http_token_injector_segments_load(segments);

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_segments_ask(
    ngx_http_token_injector_segments_t *segments)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_redis_op_t  *op;

    op = ngx_http_token_injector_redis_begin(
            ngx_http_token_injector_worker.stores[segments->store->index],
            ngx_http_token_injector_segments_reply, segments);
    if (op == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_token_injector_redis_add(op, segments->argv,
                                           segments->n + 2);
    if (rc != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return rc;
    }

    rc = ngx_http_token_injector_redis_send(op);

    if (rc == NGX_OK) {
        segments->op = op;
        segments->asked = ngx_current_msec;
        segments->again = 0;
    }

    return rc;
}


static void
ngx_http_token_injector_segments_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_segments_t  *segments = data;

    segments->op = NULL;
    segments->why = NULL;

    if (rc == NGX_OK) {
        rc = ngx_http_token_injector_segments_take(segments, reply);
    }

    if (rc == NGX_OK) {
        segments->loaded = 1;
        segments->known = segments->asked;
    }

    if (segments->again) {
        ngx_http_token_injector_segments_load(segments);
    }

    ngx_http_token_injector_segments_wake(segments, rc);
}


static ngx_int_t
ngx_http_token_injector_segments_take(
    ngx_http_token_injector_segments_t *segments, const ti_resp_reply_t *reply)
{
    ngx_uint_t                        i, n;
    const ti_str_t                   *value;
    const ti_resp_reply_t            *element;
    ngx_http_token_injector_rules_t  *rules;

    if (reply->type != TI_RESP_ARRAY || reply->n != segments->n) {
        ngx_http_token_injector_segments_refused(segments, reply);
        return NGX_ERROR;
    }

    segments->refused = 0;

    n = 0;

    for (i = 0; i < segments->nrules; i++) {
        rules = &segments->rules[i];

        if (rules->provider == NULL) {
            continue;
        }

        element = reply->elements[n++];
        value = (element->type == TI_RESP_STRING) ? &element->str : NULL;

        if (ngx_http_token_injector_rules_take(rules, segments->crypto, value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_http_token_injector_rules_share(rules, segments->crypto,
                                            segments->memory, value);
    }

    return NGX_OK;
}


/* an error, or something that no Redis says */

static void
ngx_http_token_injector_segments_refused(
    ngx_http_token_injector_segments_t *segments, const ti_resp_reply_t *reply)
{
    ti_resp_reply_t       hlen;
    ti_flow_connection_t  connection;

    ngx_memzero(&hlen, sizeof(ti_resp_reply_t));

    (void) ti_flow_connection(reply, &hlen, &connection, &segments->why);

    if (segments->refused) {
        return;
    }

    segments->refused = 1;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "token_store \"%V\" does not say whom its providers are for, "
                  "and until it does they are for nobody new: \"%V\" is no "
                  "hash, or may not be read",
                  &segments->store->name, &segments->name);
}


ngx_int_t
ngx_http_token_injector_segment_await(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_provider_t *provider)
{
    ngx_http_token_injector_segments_t  *segments;

    ctx->why = "the store did not say whom the provider is for";

    if (ngx_http_token_injector_rules(provider) == NULL) {
        return NGX_BUSY;
    }

    segments = ngx_http_token_injector_worker.segments[provider->store->index];

    if (segments->loaded
        && ngx_current_msec - segments->known
           <= ngx_http_token_injector_segments_valid(segments))
    {
        return NGX_OK;
    }

    if (ctx->unruled) {

        if (segments->why) {
            ctx->why = segments->why;
        }

        return NGX_BUSY;
    }

    if (segments->op == NULL
        && ngx_http_token_injector_segments_ask(segments) != NGX_OK)
    {
        return NGX_BUSY;
    }

    ngx_queue_insert_tail(&segments->waiting, &ctx->ruling);
    ctx->wonders = 1;

    return NGX_AGAIN;
}


static void
ngx_http_token_injector_segments_wake(
    ngx_http_token_injector_segments_t *segments, ngx_int_t rc)
{
    ngx_queue_t                    *q, ready;
    ngx_http_token_injector_ctx_t  *ctx;

    if (ngx_queue_empty(&segments->waiting)) {
        return;
    }

    /* who goes on may wait anew, and may end another, which then leaves */

    ngx_queue_init(&ready);
    ngx_queue_add(&ready, &segments->waiting);
    ngx_queue_init(&segments->waiting);

    while (!ngx_queue_empty(&ready)) {
        q = ngx_queue_head(&ready);
        ctx = ngx_queue_data(q, ngx_http_token_injector_ctx_t, ruling);

        ngx_http_token_injector_segment_leave(ctx);
        ctx->unruled = (rc != NGX_OK);

        ngx_http_token_injector_resume(ctx);
    }
}


void
ngx_http_token_injector_segment_leave(ngx_http_token_injector_ctx_t *ctx)
{
    if (ctx->wonders) {
        ctx->wonders = 0;
        ngx_queue_remove(&ctx->ruling);
    }
}


/* NULL: this process has not begun with this configuration */

static ngx_http_token_injector_rules_t *
ngx_http_token_injector_rules(ngx_http_token_injector_provider_t *provider)
{
    ngx_http_token_injector_rules_t     *rules;
    ngx_http_token_injector_segments_t  *segments;

    if (provider->store->index >= ngx_http_token_injector_worker.nstores) {
        return NULL;
    }

    segments = ngx_http_token_injector_worker.segments[provider->store->index];

    if (provider->index >= segments->nrules) {
        return NULL;
    }

    rules = &segments->rules[provider->index];

    return rules->provider == provider ? rules : NULL;
}


uint64_t
ngx_http_token_injector_segment_edition(
    ngx_http_token_injector_provider_t *provider, ti_str_t *mark)
{
    ngx_http_token_injector_rules_t  *rules;

    *mark = ti_null_str;

    rules = ngx_http_token_injector_rules(provider);
    if (rules == NULL) {
        return 0;
    }

    if (rules->present) {
        *mark = ti_str_from(rules->mark, TI_SHA256_LEN);
    }

    return rules->edition;
}


ngx_int_t
ngx_http_token_injector_segment_allows(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_provider_t *provider, const char **why)
{
    const char                       *reason;
    ngx_http_token_injector_rules_t  *rules;

    rules = ngx_http_token_injector_rules(provider);

    if (rules == NULL || rules->edition == 0) {
        return NGX_BUSY;
    }

    reason = ngx_http_token_injector_rules_judge(rules, ctx);

    if (why) {
        *why = reason;
    }

    return reason ? NGX_DECLINED : NGX_OK;
}
