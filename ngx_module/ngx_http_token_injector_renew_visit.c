/*
 * A look at a connection that nobody asked for just now: is it time to renew
 * it?  An app-only one's timer asks; and so does whoever is here already with
 * the user key that the caller's other connections need.
 */

#include "ngx_http_token_injector_renew.h"


struct ngx_http_token_injector_visit_s {
    ngx_queue_t                           queue; /* of the worker's */
    ngx_pool_t                           *pool;
    ngx_http_token_injector_renew_conf_t  conf;
    u_char                                key[TI_KEY_LEN];
    ngx_http_token_injector_redis_op_t   *op;
    ti_resp_reply_t                       hlen;
    ngx_http_token_injector_visit_handler_pt  handler;
    void                                 *data;
};


static ngx_int_t ngx_http_token_injector_visit_ask(
    ngx_http_token_injector_visit_t *visit);
static void ngx_http_token_injector_visit_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static int64_t ngx_http_token_injector_visit_judge(
    ngx_http_token_injector_visit_t *visit, const ti_resp_reply_t *reply);
static int64_t ngx_http_token_injector_visit_due(
    ngx_http_token_injector_visit_t *visit,
    const ti_flow_connection_t *connection);
static void ngx_http_token_injector_visit_free(
    ngx_http_token_injector_visit_t *visit);


static ngx_queue_t  ngx_http_token_injector_visits;


ngx_int_t
ngx_http_token_injector_visit(
    const ngx_http_token_injector_renew_conf_t *conf,
    ngx_http_token_injector_visit_handler_pt handler, void *data)
{
    ngx_pool_t                       *pool;
    ngx_http_token_injector_visit_t  *visit;

    if (ngx_http_token_injector_visits.next == NULL) {
        ngx_queue_init(&ngx_http_token_injector_visits);
    }

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    visit = ngx_pcalloc(pool, sizeof(ngx_http_token_injector_visit_t));
    if (visit == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    visit->pool = pool;
    visit->handler = handler;
    visit->data = data;

    ngx_queue_insert_tail(&ngx_http_token_injector_visits, &visit->queue);

    if (ngx_http_token_injector_renew_copy(pool, conf, visit->key,
                                           &visit->conf)
        != NGX_OK
        || ngx_http_token_injector_visit_ask(visit) != NGX_OK)
    {
        ngx_http_token_injector_visit_free(visit);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the worker ends: nobody is told */

void
ngx_http_token_injector_visits_exit(void)
{
    ngx_queue_t  *q;

    if (ngx_http_token_injector_visits.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_token_injector_visits)) {
        q = ngx_queue_head(&ngx_http_token_injector_visits);

        ngx_http_token_injector_visit_free(
                   ngx_queue_data(q, ngx_http_token_injector_visit_t, queue));
    }
}


static ngx_int_t
ngx_http_token_injector_visit_ask(ngx_http_token_injector_visit_t *visit)
{
    ti_str_t                               name;
    ti_pool_t                              pool;
    ngx_http_token_injector_store_t       *store;
    ngx_http_token_injector_redis_op_t    *op;
    ngx_http_token_injector_renew_conf_t  *conf;

    conf = &visit->conf;
    store = conf->provider->store;

    if (store->index >= ngx_http_token_injector_worker.nstores) {
        return NGX_ERROR;
    }

    pool = ngx_http_token_injector_pool(visit->pool);

    op = ngx_http_token_injector_redis_begin(
                          ngx_http_token_injector_worker.stores[store->index],
                          ngx_http_token_injector_visit_reply, visit);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ti_record_connection_name(&pool,
                       ngx_http_token_injector_str(&store->key_prefix),
                       conf->user,
                       ngx_http_token_injector_str(&conf->provider->name),
                       conf->device, &name)
        != TI_OK
        || ngx_http_token_injector_ask_token(op, name) != NGX_OK)
    {
        ngx_http_token_injector_redis_cancel(op);
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_redis_send(op) != NGX_OK) {
        return NGX_ERROR;
    }

    visit->op = op;

    return NGX_OK;
}


static void
ngx_http_token_injector_visit_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_visit_t *visit = data;

    int64_t  due;

    if (rc == NGX_OK && n == 0) {
        /* a number, or an error that the next reply will repeat */
        visit->hlen = *reply;
        visit->hlen.str = ti_null_str;
        return;
    }

    visit->op = NULL;

    due = (rc == NGX_OK) ? ngx_http_token_injector_visit_judge(visit, reply)
                         : -1;

    if (due > 0 && due <= ngx_time()) {
        (void) ngx_http_token_injector_renew(&visit->conf);
    }

    if (visit->handler) {
        visit->handler(visit->data, due);
    }

    ngx_http_token_injector_visit_free(visit);
}


static int64_t
ngx_http_token_injector_visit_judge(ngx_http_token_injector_visit_t *visit,
    const ti_resp_reply_t *reply)
{
    const char            *why;
    ti_flow_connection_t   connection;

    switch (ti_flow_connection(reply, &visit->hlen, &connection, &why)) {

    case TI_RESULT_OK:
        visit->conf.seen = connection.gen;
        visit->conf.cid = connection.cid;
        return ngx_http_token_injector_visit_due(visit, &connection);

    case TI_RESULT_STORE_UNAVAILABLE:
        return -1;

    default:
        return 0;
    }
}


/* the user key of another device opens nothing of this one */

static int64_t
ngx_http_token_injector_visit_due(ngx_http_token_injector_visit_t *visit,
    const ti_flow_connection_t *connection)
{
    ti_pool_t                              pool;
    const char                            *why;
    ti_record_t                            record;
    ti_record_ref_t                        ref;
    ngx_http_token_injector_main_conf_t   *mcf;
    ngx_http_token_injector_renew_conf_t  *conf;

    conf = &visit->conf;
    mcf = ngx_http_token_injector_worker.conf;
    pool = ngx_http_token_injector_pool(visit->pool);

    ngx_memzero(&ref, sizeof(ti_record_ref_t));

    ref.kind = TI_RECORD_ACCESS;
    ref.who = conf->who;
    ref.provider = ngx_http_token_injector_str(&conf->provider->name);
    ref.device = conf->device;
    ref.user_key = conf->user_key;
    ref.gen = connection->gen;
    ref.cid = connection->cid;

    if (ti_record_open(mcf->crypto, &pool, conf->provider->store->ring, &ref,
                       connection->access, &record, &why)
        != TI_RESULT_OK)
    {
        return 0;
    }

    ti_wipe((void *) record.token.data, record.token.len);

    return ti_flow_due(record.issued, record.expires,
                       conf->provider->grant == NGX_HTTP_TOKEN_INJECTOR_CLIENT
                       ? INT64_MAX : conf->provider->refresh_ahead,
                       connection->cid, connection->gen);
}


static void
ngx_http_token_injector_visit_free(ngx_http_token_injector_visit_t *visit)
{
    ngx_queue_remove(&visit->queue);

    if (visit->op) {
        ngx_http_token_injector_redis_forget(visit->op);
    }

    ti_wipe(visit->key, TI_KEY_LEN);
    ti_wipe((void *) visit->conf.subject.data, visit->conf.subject.len);

    ngx_destroy_pool(visit->pool);
}


/*
 * The caller is here, with the key: what else of theirs, at the providers of
 * the same store, has come to its time?
 */

void
ngx_http_token_injector_visit_others(
    const ngx_http_token_injector_renew_conf_t *conf)
{
    ngx_uint_t                             i;
    ngx_http_token_injector_main_conf_t   *mcf;
    ngx_http_token_injector_provider_t   **provider;
    ngx_http_token_injector_renew_conf_t   other;

    mcf = ngx_http_token_injector_worker.conf;
    provider = mcf->providers.elts;

    for (i = 0; i < mcf->providers.nelts; i++) {

        if (provider[i] == conf->provider
            || provider[i]->grant != NGX_HTTP_TOKEN_INJECTOR_CODE
            || !provider[i]->talks || !provider[i]->used
            || provider[i]->store != conf->provider->store
            || provider[i]->user_key != conf->provider->user_key)
        {
            continue;
        }

        other = *conf;
        other.provider = provider[i];
        other.seen = 0;
        other.cid = ti_null_str;

        (void) ngx_http_token_injector_visit(&other, NULL, NULL);
    }
}
