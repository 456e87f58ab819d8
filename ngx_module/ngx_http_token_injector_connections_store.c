/*
 * The connections API and the store: whose connections are asked for, and how.
 */

#include "ngx_http_token_injector_connections.h"


static void ngx_http_token_injector_call_found(void *data, const char *why);


/* as Redis knows them: user, and device where the provider asks for a key */

ngx_int_t
ngx_http_token_injector_call_names(ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_provider_t *provider, ti_str_t *user,
    ti_str_t *device)
{
    size_t                                len;
    u_char                               *p;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(call->request);

    p = ngx_pnalloc(call->request->pool,
                    TI_RECORD_USER_LEN + TI_RECORD_DEVICE_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ti_record_user(mcf->crypto, provider->store->ring,
                       &call->ctx->head.who, p)
        != TI_OK
        || ti_record_device(mcf->crypto,
                            provider->user_key ? call->user_key : NULL,
                            p + TI_RECORD_USER_LEN, &len)
           != TI_OK)
    {
        return NGX_ERROR;
    }

    *user = ti_str_from(p, TI_RECORD_USER_LEN);
    *device = ti_str_from(p + TI_RECORD_USER_LEN, len);

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_call_ask(ngx_http_token_injector_provider_t *provider,
    ngx_http_token_injector_call_command_t *commands, ngx_uint_t n,
    ngx_http_token_injector_redis_handler_pt handler, void *data,
    ngx_http_token_injector_redis_op_t **op)
{
    ngx_int_t                            rc;
    ngx_uint_t                           i;
    ngx_http_token_injector_worker_t    *worker;
    ngx_http_token_injector_redis_op_t  *asked;

    worker = &ngx_http_token_injector_worker;

    if (provider->store->index >= worker->nstores) {
        /* "master_process off" and a reload: no worker was begun for it */
        return NGX_ERROR;
    }

    asked = ngx_http_token_injector_redis_begin(
                        worker->stores[provider->store->index], handler, data);
    if (asked == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_token_injector_redis_add(asked, commands[i].argv,
                                              commands[i].argc)
            != NGX_OK)
        {
            ngx_http_token_injector_redis_cancel(asked);
            return NGX_ERROR;
        }
    }

    rc = ngx_http_token_injector_redis_send(asked);

    if (rc == NGX_OK) {
        *op = asked;
    }

    return rc;
}


ngx_int_t
ngx_http_token_injector_call_unasked(ngx_http_token_injector_call_t *call,
    ngx_int_t rc)
{
    if (rc == NGX_BUSY) {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_STORE_UNAVAILABLE,
                                   "the store is away or has too much to do");
    }

    return ngx_http_token_injector_call_refuse(call, TI_RESULT_INTERNAL_ERROR,
                                               "out of memory");
}


/* a provider whose endpoints are not known is who asks' to judge */

ngx_int_t
ngx_http_token_injector_call_find(ngx_http_token_injector_call_t *call)
{
    if (ngx_http_token_injector_endpoints(call->provider)) {
        return NGX_OK;
    }

    call->find.handler = ngx_http_token_injector_call_found;
    call->find.data = call;

    if (ngx_http_token_injector_find(call->provider, &call->find) != NGX_OK) {
        return NGX_OK;
    }

    call->finding = 1;

    return NGX_AGAIN;
}


static void
ngx_http_token_injector_call_found(void *data, const char *why)
{
    ngx_http_token_injector_call_t  *call = data;

    call->finding = 0;

    ngx_http_token_injector_call_resume(call);
}
