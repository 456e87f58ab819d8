/*
 * The module: its structure, the phases and filters that it registers for,
 * what a worker has.
 */

#include "ngx_http_token_injector.h"

#include "ngx_http_token_injector_endpoints.h"
#include "ngx_http_token_injector_grant.h"
#include "ngx_http_token_injector_journal.h"
#include "ngx_http_token_injector_renew.h"


static ngx_int_t ngx_http_token_injector_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_token_injector_phase(
    ngx_http_core_main_conf_t *cmcf, ngx_uint_t phase,
    ngx_http_handler_pt handler);
static ngx_int_t ngx_http_token_injector_log_first(
    ngx_http_core_main_conf_t *cmcf);
static ngx_int_t ngx_http_token_injector_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_token_injector_init_stores(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);
static void ngx_http_token_injector_exit_process(ngx_cycle_t *cycle);
static void ngx_http_token_injector_exit_master(ngx_cycle_t *cycle);


ngx_http_token_injector_worker_t  ngx_http_token_injector_worker;


static ngx_http_module_t  ngx_http_token_injector_module_ctx = {
    ngx_http_token_injector_variables_init,  /* preconfiguration */
    ngx_http_token_injector_init,            /* postconfiguration */

    ngx_http_token_injector_create_main_conf,    /* create main conf */
    ngx_http_token_injector_init_main_conf,  /* init main configuration */

    NULL,                                    /* create server configuration */
    NULL,                                    /* merge server configuration */

    ngx_http_token_injector_create_loc_conf, /* create location conf */
    ngx_http_token_injector_merge_loc_conf   /* merge location conf */
};


ngx_module_t  ngx_http_token_injector_module = {
    NGX_MODULE_V1,
    &ngx_http_token_injector_module_ctx,     /* module context */
    ngx_http_token_injector_commands,        /* module directives */
    NGX_HTTP_MODULE,                         /* module type */
    NULL,                                    /* init master */
    ngx_http_token_injector_views_init,      /* init module */
    ngx_http_token_injector_init_process,    /* init process */
    NULL,                                    /* init thread */
    NULL,                                    /* exit thread */
    ngx_http_token_injector_exit_process,    /* exit process */
    ngx_http_token_injector_exit_master,     /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_token_injector_init(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);

    if (!mcf->used) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (ngx_http_token_injector_phase(cmcf, NGX_HTTP_SERVER_REWRITE_PHASE,
                                      ngx_http_token_injector_rewrite_handler)
        != NGX_OK
        || ngx_http_token_injector_phase(cmcf, NGX_HTTP_REWRITE_PHASE,
                                      ngx_http_token_injector_rewrite_handler)
           != NGX_OK
        || ngx_http_token_injector_phase(cmcf, NGX_HTTP_ACCESS_PHASE,
                                       ngx_http_token_injector_access_handler)
           != NGX_OK
        || ngx_http_token_injector_phase(cmcf, NGX_HTTP_PRECONTENT_PHASE,
                                   ngx_http_token_injector_precontent_handler)
           != NGX_OK
        || ngx_http_token_injector_log_first(cmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_token_injector_filter_init(cf);
}


static ngx_int_t
ngx_http_token_injector_phase(ngx_http_core_main_conf_t *cmcf,
    ngx_uint_t phase, ngx_http_handler_pt handler)
{
    ngx_http_handler_pt  *h;

    h = ngx_array_push(&cmcf->phases[phase].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = handler;

    return NGX_OK;
}


/*
 * Log handlers run in the order in which they were registered, and ours must
 * take the secrets away before the others look.
 */

static ngx_int_t
ngx_http_token_injector_log_first(ngx_http_core_main_conf_t *cmcf)
{
    ngx_uint_t            i;
    ngx_array_t          *handlers;
    ngx_http_handler_pt  *h;

    handlers = &cmcf->phases[NGX_HTTP_LOG_PHASE].handlers;

    if (ngx_array_push(handlers) == NULL) {
        return NGX_ERROR;
    }

    h = handlers->elts;

    for (i = handlers->nelts - 1; i > 0; i--) {
        h[i] = h[i - 1];
    }

    h[0] = ngx_http_token_injector_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_init_process(ngx_cycle_t *cycle)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    ngx_queue_init(&ngx_http_token_injector_worker.waiting);

    /* of a timer, nginx with debugging prints the descriptor */
    ngx_http_token_injector_worker.dummy.fd = (ngx_socket_t) -1;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_token_injector_module);

    if (mcf == NULL || !mcf->used) {
        return NGX_OK;
    }

    ngx_http_token_injector_worker.conf = mcf;

    if (ngx_http_token_injector_keys_init_process(cycle, mcf) != NGX_OK
        || ngx_http_token_injector_endpoints_init(cycle, mcf) != NGX_OK
        || ngx_http_token_injector_renew_init(cycle, mcf) != NGX_OK
        || ngx_http_token_injector_app_init(cycle, mcf) != NGX_OK
        || ngx_http_token_injector_journal_init(cycle, mcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_token_injector_init_stores(cycle, mcf);
}


static ngx_int_t
ngx_http_token_injector_init_stores(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                         i, n;
    ngx_http_token_injector_store_t  **store;
    ngx_http_token_injector_worker_t  *worker;

    worker = &ngx_http_token_injector_worker;

    n = mcf->stores.nelts;

    if (n == 0) {
        return NGX_OK;
    }

    worker->stores = ngx_pcalloc(cycle->pool,
                                 n * sizeof(ngx_http_token_injector_redis_t *));
    worker->changes = ngx_pcalloc(cycle->pool,
                              n * sizeof(ngx_http_token_injector_changes_t *));
    worker->segments = ngx_pcalloc(cycle->pool,
                             n * sizeof(ngx_http_token_injector_segments_t *));

    if (worker->stores == NULL || worker->changes == NULL
        || worker->segments == NULL)
    {
        return NGX_ERROR;
    }

    store = mcf->stores.elts;

    for (i = 0; i < n; i++) {

        /*
         * Not what this configuration would keep: the answers of another
         * node or of yesterday may be larger.
         */
        store[i]->redis.max_reply = 2 * NGX_HTTP_TOKEN_INJECTOR_ANSWER_MAX;

        worker->stores[i] = ngx_http_token_injector_redis_create(cycle,
                                                          &store[i]->redis);
        worker->changes[i] = ngx_http_token_injector_changes_create(cycle,
                                                             mcf, store[i]);
        worker->segments[i] = ngx_http_token_injector_segments_create(cycle,
                                                             mcf, store[i]);

        if (worker->stores[i] == NULL || worker->changes[i] == NULL
            || worker->segments[i] == NULL)
        {
            return NGX_ERROR;
        }

        worker->nstores++;
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    ngx_http_token_injector_renew_exit();
    ngx_http_token_injector_grants_exit();
    ngx_http_token_injector_journal_exit();
    ngx_http_token_injector_endpoints_exit();
    ngx_http_token_injector_keys_exit_process();

    for (i = 0; i < ngx_http_token_injector_worker.nstores; i++) {
        ngx_http_token_injector_redis_destroy(
                                  ngx_http_token_injector_worker.stores[i]);
        ngx_http_token_injector_changes_destroy(
                                  ngx_http_token_injector_worker.changes[i]);
        ngx_http_token_injector_segments_destroy(
                                  ngx_http_token_injector_worker.segments[i]);
    }

    ngx_http_token_injector_worker.nstores = 0;
}


static void
ngx_http_token_injector_exit_master(ngx_cycle_t *cycle)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_token_injector_module);

    if (mcf && mcf->used) {
        ngx_http_token_injector_journal_exit_master(mcf);
    }
}
