/*
 * Every write or removal of a connection is published on a channel.  Each
 * worker listens; what one has heard is known to the node at once.  Where
 * nobody listened for a while, whatever was known from before is asked again.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_CHANGES_PULSE    1000
#define NGX_HTTP_TOKEN_INJECTOR_CHANGES_AGAIN    100
#define NGX_HTTP_TOKEN_INJECTOR_CHANGES_REFUSED  10000
#define NGX_HTTP_TOKEN_INJECTOR_CHANGES_MAX      (256 * 1024)


struct ngx_http_token_injector_changes_s {
    ngx_http_token_injector_store_t       *store;
    ngx_shm_zone_t                        *memory;
    ti_crypto_t                           *crypto;

    ngx_http_token_injector_redis_conf_t   conf;
    ngx_http_token_injector_redis_t       *redis;
    ngx_http_token_injector_redis_op_t    *op;
    ngx_str_t                              channel;
    ngx_event_t                            timer;

    unsigned                               subscribing:1; /* op does */
    unsigned                               listening:1;
    unsigned                               refused:1;    /* and said so */
    unsigned                               away:1;   /* since it was lost */
};


static void ngx_http_token_injector_changes_timer(ngx_event_t *ev);
static ngx_int_t ngx_http_token_injector_changes_ask(
    ngx_http_token_injector_changes_t *changes);
static void ngx_http_token_injector_changes_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_changes_begun(
    ngx_http_token_injector_changes_t *changes);
static void ngx_http_token_injector_changes_away(
    ngx_http_token_injector_changes_t *changes, ngx_uint_t away);
static void ngx_http_token_injector_changes_push(void *data,
    const ti_resp_reply_t *message);
static ngx_int_t ngx_http_token_injector_change_id(ti_crypto_t *crypto,
    ngx_http_token_injector_store_t *store, ti_str_t name, u_char *id);


/* a connection of its own: one that listens can't be asked for anything else */

ngx_http_token_injector_changes_t *
ngx_http_token_injector_changes_create(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store)
{
    ngx_http_token_injector_changes_t  *changes;

    changes = ngx_pcalloc(cycle->pool,
                          sizeof(ngx_http_token_injector_changes_t));
    if (changes == NULL) {
        return NULL;
    }

    changes->store = store;
    changes->memory = mcf->memory;
    changes->crypto = mcf->crypto;

    changes->channel.len = store->key_prefix.len + sizeof("changes") - 1;
    changes->channel.data = ngx_pnalloc(cycle->pool, changes->channel.len);
    if (changes->channel.data == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(changes->channel.data, "%Vchanges",
                       &store->key_prefix);

    changes->conf = store->redis;
    changes->conf.connections = 1;
    changes->conf.row = NULL;

    /* what one read may bring are many messages */
    changes->conf.max_reply = NGX_HTTP_TOKEN_INJECTOR_CHANGES_MAX;

    changes->redis = ngx_http_token_injector_redis_create(cycle,
                                                          &changes->conf);
    if (changes->redis == NULL) {
        return NULL;
    }

    ngx_http_token_injector_redis_listen(changes->redis,
                                ngx_http_token_injector_changes_push, changes);

    changes->timer.handler = ngx_http_token_injector_changes_timer;
    changes->timer.data = &ngx_http_token_injector_worker.dummy;
    changes->timer.log = cycle->log;
    changes->timer.cancelable = 1;

    ngx_add_timer(&changes->timer, 1);

    return changes;
}


void
ngx_http_token_injector_changes_destroy(
    ngx_http_token_injector_changes_t *changes)
{
    ngx_http_token_injector_redis_destroy(changes->redis);
}


/* listens, or begins to; while it does, it asks whether Redis is there still */

static void
ngx_http_token_injector_changes_timer(ngx_event_t *ev)
{
    ngx_msec_t                          pause;
    ngx_http_token_injector_changes_t  *changes;

    changes = (ngx_http_token_injector_changes_t *)
             ((u_char *) ev
              - offsetof(ngx_http_token_injector_changes_t, timer));

    if (ngx_exiting) {
        return;
    }

    if (changes->op == NULL) {
        (void) ngx_http_token_injector_changes_ask(changes);
    }

    pause = changes->listening ? NGX_HTTP_TOKEN_INJECTOR_CHANGES_PULSE
            : changes->refused ? NGX_HTTP_TOKEN_INJECTOR_CHANGES_REFUSED
                               : NGX_HTTP_TOKEN_INJECTOR_CHANGES_AGAIN;

    ngx_add_timer(ev, pause);
}


static ngx_int_t
ngx_http_token_injector_changes_ask(ngx_http_token_injector_changes_t *changes)
{
    ngx_int_t                            rc;
    ngx_str_t                            argv[2];
    ngx_http_token_injector_redis_op_t  *op;

    op = ngx_http_token_injector_redis_begin(changes->redis,
                              ngx_http_token_injector_changes_reply, changes);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (changes->listening) {
        ngx_str_set(&argv[0], "PING");
        rc = ngx_http_token_injector_redis_add(op, argv, 1);

    } else {
        ngx_str_set(&argv[0], "SUBSCRIBE");
        argv[1] = changes->channel;

        rc = ngx_http_token_injector_redis_add(op, argv, 2);
    }

    if (rc != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return rc;
    }

    rc = ngx_http_token_injector_redis_send(op);

    if (rc == NGX_OK) {
        changes->op = op;
        changes->subscribing = !changes->listening;
    }

    return rc;
}


static void
ngx_http_token_injector_changes_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_changes_t  *changes = data;

    changes->op = NULL;

    /* a PING may be asked once more on a connection that listens no longer */

    if (rc != NGX_OK || !changes->subscribing) {
        return;
    }

    if (reply->type == TI_RESP_ARRAY) {
        ngx_http_token_injector_changes_begun(changes);
        return;
    }

    ngx_http_token_injector_changes_away(changes, 0);

    if (!changes->refused) {
        changes->refused = 1;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "token_store \"%V\" does not let us listen on "
                      "\"%V\": a removed connection is used for "
                      "\"local_valid\" more; give \"user\" the channel and "
                      "the commands that the operations page lists",
                      &changes->store->name, &changes->channel);
    }
}


static void
ngx_http_token_injector_changes_begun(
    ngx_http_token_injector_changes_t *changes)
{
    ngx_http_token_injector_news_t  *news;

    changes->listening = 1;
    changes->refused = 0;

    ngx_http_token_injector_changes_away(changes, 0);

    news = ngx_http_token_injector_memory_news(changes->memory);

    /* what was said before nobody may have heard */
    news->missed = ngx_atomic_fetch_add(&news->heard, 1) + 1;

    ngx_http_token_injector_segments_load(
        ngx_http_token_injector_worker.segments[changes->store->index]);
}


/* a restart that nobody else noticed: this connection is there all the time */

static void
ngx_http_token_injector_changes_away(
    ngx_http_token_injector_changes_t *changes, ngx_uint_t away)
{
    if (changes->away != away) {
        changes->away = away;
        ngx_http_token_injector_redis_away(
            ngx_http_token_injector_worker.stores[changes->store->index],
            away);
    }
}


static void
ngx_http_token_injector_changes_push(void *data,
    const ti_resp_reply_t *message)
{
    u_char                              id[TI_SHA256_LEN];
    u_char                              number[8];
    ti_str_t                            name;
    ngx_str_t                           value;
    ngx_http_token_injector_news_t     *news;
    ngx_http_token_injector_changes_t  *changes = data;

    if (message == NULL) {

        if (changes->listening && !ngx_exiting) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "token_store \"%V\": the connection that listens on "
                          "\"%V\" was lost: until there is another, a removed "
                          "connection is used for \"local_valid\" more",
                          &changes->store->name, &changes->channel);
        }

        if (changes->listening && !ngx_exiting) {
            ngx_http_token_injector_changes_away(changes, 1);
        }

        changes->listening = 0;

        if (!ngx_exiting && changes->timer.timer_set) {
            ngx_add_timer(&changes->timer,
                          NGX_HTTP_TOKEN_INJECTOR_CHANGES_AGAIN);
        }

        return;
    }

    name = message->elements[2]->str;

    if (ngx_http_token_injector_segments_changed(
             ngx_http_token_injector_worker.segments[changes->store->index],
             name)
        == NGX_OK
        || ngx_http_token_injector_change_id(changes->crypto, changes->store,
                                             name, id)
           != NGX_OK)
    {
        return;
    }

    news = ngx_http_token_injector_memory_news(changes->memory);

    /* first where it is found, then that there is something to be found */

    ti_put_u64(number, news->heard + 1);
    value.data = number;
    value.len = sizeof(number);

    (void) ngx_http_token_injector_memory_put(changes->memory,
                             NGX_HTTP_TOKEN_INJECTOR_CHANGED, id, &value,
                             changes->store->local_valid + 1);

    (void) ngx_atomic_fetch_add(&news->heard, 1);
}


static ngx_int_t
ngx_http_token_injector_change_id(ti_crypto_t *crypto,
    ngx_http_token_injector_store_t *store, ti_str_t name, u_char *id)
{
    ti_str_t  fields[3];

    fields[0] = ti_str("change");
    fields[1] = ti_str_from(store->id, TI_SHA256_LEN);
    fields[2] = name;

    return ti_crypto_sha256_enc(crypto, fields, 3, id) == TI_OK ? NGX_OK
                                                                : NGX_ERROR;
}


uint64_t
ngx_http_token_injector_changes_heard(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);

    return ngx_http_token_injector_memory_news(mcf->memory)->heard;
}


/* has this connection changed since Redis was asked about it? */

ngx_uint_t
ngx_http_token_injector_changed(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                                id[TI_SHA256_LEN];
    ti_str_t                              name;
    ti_pool_t                             pool;
    ngx_str_t                             number;
    ngx_http_token_injector_news_t       *news;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    news = ngx_http_token_injector_memory_news(mcf->memory);

    if (ctx->head.heard == news->heard) {
        return 0;
    }

    if (ctx->head.heard < news->missed) {
        return 1;
    }

    provider = ctx->conf->provider;
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    if (ti_record_connection_name(&pool,
               ngx_http_token_injector_str(&provider->store->key_prefix),
               ctx->head.user, ngx_http_token_injector_str(&provider->name),
               ctx->head.device, &name)
        != TI_OK
        || ngx_http_token_injector_change_id(mcf->crypto, provider->store,
                                             name, id)
           != NGX_OK)
    {
        return 1;
    }

    return ngx_http_token_injector_memory_get(mcf->memory,
                                   NGX_HTTP_TOKEN_INJECTOR_CHANGED, id,
                                   ctx->request->pool, &number)
           == NGX_OK
           && ti_get_u64(number.data) > ctx->head.heard;
}
