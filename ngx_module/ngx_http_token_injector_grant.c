/*
 * A grant's life: begun, step by step, told.
 */

#include "ngx_http_token_injector_grant_private.h"


struct ngx_http_token_injector_chunk_s {
    ngx_http_token_injector_chunk_t     *next;
    size_t                               size;
};


typedef struct {
    const char                          *name;
    ngx_int_t                          (*handler)(
                                  ngx_http_token_injector_grant_t *grant);
} ngx_http_token_injector_grant_step_t;


/* what it waits for; what may come of it beside going on */

static ngx_http_token_injector_grant_step_t
    ngx_http_token_injector_grant_steps[] =
{
    /* the provider's issuer: where its endpoints are */
    { "find", ngx_http_token_injector_grant_find },

    /* Redis: it answers; no code is spent while it does not (who refreshes
       has seen it: the lock is there) */
    { "check", ngx_http_token_injector_grant_check },

    /* the token endpoint, with each of our secrets in turn */
    { "ask", ngx_http_token_injector_grant_ask },

    /* the provider's keys: who signed the ID token */
    { "identity", ngx_http_token_injector_grant_identity },

    /* the userinfo endpoint: whose account it is */
    { "account", ngx_http_token_injector_grant_account },

    /* Redis: for as long as it may take */
    { "store", ngx_http_token_injector_grant_store },

    { "tell", NULL }
};


static void *ngx_http_token_injector_grant_alloc(void *data, size_t size);
static ngx_int_t ngx_http_token_injector_grant_copy(
    ngx_http_token_injector_grant_t *grant);
static void ngx_http_token_injector_grant_begin(ngx_event_t *ev);
static void ngx_http_token_injector_grant_tell(
    ngx_http_token_injector_grant_t *grant);
static void ngx_http_token_injector_grant_log(
    ngx_http_token_injector_grant_t *grant);
static void ngx_http_token_injector_grant_free(
    ngx_http_token_injector_grant_t *grant);


static ngx_queue_t  ngx_http_token_injector_grants;


ngx_int_t
ngx_http_token_injector_grant_start(
    const ngx_http_token_injector_grant_conf_t *conf,
    ngx_http_token_injector_grant_handler_pt handler, void *data,
    ngx_http_token_injector_grant_t **grantp)
{
    ngx_http_token_injector_grant_t  *grant;

    if (conf->provider->store->index
        >= ngx_http_token_injector_worker.nstores)
    {
        /* "master_process off" and a reload: no worker was begun for it */
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_grants.next == NULL) {
        ngx_queue_init(&ngx_http_token_injector_grants);
    }

    grant = ngx_calloc(sizeof(ngx_http_token_injector_grant_t),
                       ngx_cycle->log);
    if (grant == NULL) {
        return NGX_ERROR;
    }

    grant->pool.alloc = ngx_http_token_injector_grant_alloc;
    grant->pool.data = grant;
    grant->conf = *conf;

    ngx_queue_insert_tail(&ngx_http_token_injector_grants, &grant->queue);

    if (ngx_http_token_injector_grant_copy(grant) != NGX_OK) {
        ngx_http_token_injector_grant_free(grant);
        return NGX_ERROR;
    }

    grant->handler = handler;
    grant->data = data;

    grant->event.handler = ngx_http_token_injector_grant_begin;
    grant->event.data = &ngx_http_token_injector_worker.dummy;
    grant->event.log = ngx_cycle->log;

    /* not cancelable: a worker that is exiting waits for its end */
    ngx_add_timer(&grant->event, 1);

    *grantp = grant;

    return NGX_OK;
}


void
ngx_http_token_injector_grant_forget(ngx_http_token_injector_grant_t *grant)
{
    grant->handler = NULL;
}


void
ngx_http_token_injector_grants_exit(void)
{
    ngx_queue_t  *q;

    if (ngx_http_token_injector_grants.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_token_injector_grants)) {
        q = ngx_queue_head(&ngx_http_token_injector_grants);

        ngx_http_token_injector_grant_free(
                   ngx_queue_data(q, ngx_http_token_injector_grant_t, queue));
    }
}


/* codes, tokens, keys: what is allocated here is wiped when it is freed */

static void *
ngx_http_token_injector_grant_alloc(void *data, size_t size)
{
    ngx_http_token_injector_grant_t *grant = data;

    ngx_http_token_injector_chunk_t  *chunk;

    chunk = ngx_alloc(sizeof(ngx_http_token_injector_chunk_t) + size,
                      ngx_cycle->log);
    if (chunk == NULL) {
        return NULL;
    }

    chunk->next = grant->chunks;
    chunk->size = size;
    grant->chunks = chunk;

    return chunk + 1;
}


static ngx_int_t
ngx_http_token_injector_grant_copy(ngx_http_token_injector_grant_t *grant)
{
    ti_str_t                              *field[18], key;
    ngx_uint_t                             i;
    ngx_http_token_injector_grant_conf_t  *conf;

    conf = &grant->conf;

    field[0] = &conf->who.issuer;
    field[1] = &conf->who.tenant;
    field[2] = &conf->who.subject;
    field[3] = &conf->user;
    field[4] = &conf->device;
    field[5] = &conf->code;
    field[6] = &conf->redirect_uri;
    field[7] = &conf->verifier;
    field[8] = &conf->nonce;
    field[9] = &conf->scope;
    field[10] = &conf->account;
    field[11] = &conf->token;
    field[12] = &conf->previous;
    field[13] = &conf->before.gen;
    field[14] = &conf->before.cid;
    field[15] = &conf->before.since;
    field[16] = &conf->before.scope;
    field[17] = &conf->before.account;

    for (i = 0; i < sizeof(field) / sizeof(ti_str_t *); i++) {
        if (field[i]->len
            && ti_pool_copy(&grant->pool, *field[i], field[i]) != TI_OK)
        {
            return NGX_ERROR;
        }
    }

    if (conf->user_key) {
        if (ti_pool_copy(&grant->pool,
                         ti_str_from(conf->user_key, TI_KEY_LEN), &key)
            != TI_OK)
        {
            return NGX_ERROR;
        }

        conf->user_key = key.data;
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_grant_begin(ngx_event_t *ev)
{
    ngx_http_token_injector_grant_t  *grant;

    grant = (ngx_http_token_injector_grant_t *)
                ((u_char *) ev - offsetof(ngx_http_token_injector_grant_t,
                                          event));

    /* the present step, from its beginning or once more */

    ngx_http_token_injector_grant_go(grant,
             ngx_http_token_injector_grant_steps[grant->step].handler(grant));
}


void
ngx_http_token_injector_grant_go(ngx_http_token_injector_grant_t *grant,
    ngx_int_t rc)
{
    ngx_http_token_injector_grant_step_t  *step;

    while (rc == NGX_OK) {

        step = &ngx_http_token_injector_grant_steps[++grant->step];

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "token injector: grant of \"%V\": %s",
                       &grant->conf.provider->name, step->name);

        if (step->handler == NULL) {
            break;
        }

        rc = step->handler(grant);
    }

    if (rc != NGX_AGAIN) {
        ngx_http_token_injector_grant_tell(grant);
    }
}


ngx_int_t
ngx_http_token_injector_grant_fail(ngx_http_token_injector_grant_t *grant,
    ti_result_t result, const char *why)
{
    u_char  *p;
    size_t   len;

    len = ngx_strlen(why) + 1;

    p = ti_pool_alloc(&grant->pool, len);

    grant->granted.result = result;
    grant->granted.why = "out of memory";

    if (p) {
        ngx_memcpy(p, why, len);
        grant->granted.why = (char *) p;
    }

    return NGX_ERROR;
}


/* its end: one line where it failed, and whoever waits */

static void
ngx_http_token_injector_grant_tell(ngx_http_token_injector_grant_t *grant)
{
    ti_connection_t                     *connection;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;

    if (grant->granted.result == TI_RESULT_OK) {
        connection = &grant->granted.connection;

        connection->provider = ngx_http_token_injector_str(&provider->name);
        connection->state = TI_CONNECTION_CONNECTED;
        connection->scope = grant->write.scope;
        connection->since = grant->write.since;
        connection->expires_at = grant->write.expires;
        connection->refreshable = grant->write.refresh.len != 0;
        connection->account = grant->write.account;

        grant->granted.gen = grant->write.ref.gen;

    } else {
        ngx_http_token_injector_grant_log(grant);
    }

    if (grant->handler) {
        grant->handler(grant->data, &grant->granted);
    }

    ngx_http_token_injector_grant_free(grant);
}


static void
ngx_http_token_injector_grant_log(ngx_http_token_injector_grant_t *grant)
{
    ngx_uint_t               level;
    const ti_result_info_t  *info;

    info = ti_result_info(grant->granted.result);

    switch (grant->granted.result) {

    case TI_RESULT_PROVIDER_MISCONFIGURED:
    case TI_RESULT_INTERNAL_ERROR:
        level = NGX_LOG_ERR;
        break;

    case TI_RESULT_PROVIDER_UNAVAILABLE:
    case TI_RESULT_PROVIDER_THROTTLED:
    case TI_RESULT_STORE_UNAVAILABLE:
        level = NGX_LOG_WARN;
        break;

    default:
        level = NGX_LOG_INFO;
    }

    if (grant->storing && !grant->kept) {
        /* tokens were given and nobody has them now */
        level = NGX_LOG_ERR;
    }

    ngx_log_error(level, ngx_cycle->log, 0,
                  grant->conf.grant == TI_OAUTH_REFRESH
                  ? "token injector: a refresh brought no tokens of provider "
                    "\"%V\", %s: %s"
                  : "token injector: no tokens of provider \"%V\", %s: %s",
                  &grant->conf.provider->name, info->name.data,
                  grant->granted.why);
}


static void
ngx_http_token_injector_grant_free(ngx_http_token_injector_grant_t *grant)
{
    ngx_http_token_injector_chunk_t  *chunk;

    ngx_queue_remove(&grant->queue);

    if (grant->event.timer_set) {
        ngx_del_timer(&grant->event);
    }

    if (grant->finding) {
        ngx_http_token_injector_find_forget(&grant->find);
    }

    if (grant->fetch) {
        ngx_http_token_injector_fetch_forget(grant->fetch);
    }

    if (grant->op) {
        ngx_http_token_injector_redis_forget(grant->op);
    }

    if (grant->entry) {
        ngx_http_token_injector_journal_forget(grant->entry);
    }

    while (grant->chunks) {
        chunk = grant->chunks;
        grant->chunks = chunk->next;

        ngx_explicit_memzero(chunk + 1, chunk->size);
        ngx_free(chunk);
    }

    ngx_free(grant);
}
