/*
 * Headers that tell the upstream who calls (token_claim_header): their values,
 * and the moment when they are added.  What the client sent under these names
 * is gone by then, whatever came of the request.
 */

#include "ngx_http_token_injector.h"


static ngx_uint_t ngx_http_token_injector_sendable(
    ngx_http_variable_value_t *v);


/* a caller stood, and no provider's token is to be injected */

ngx_int_t
ngx_http_token_injector_claim(ngx_http_token_injector_ctx_t *ctx)
{
    if (ctx->conf->claim_headers == NULL) {
        return NGX_OK;
    }

    if (ngx_http_token_injector_present(ctx) != NGX_OK) {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    return NGX_OK;
}


/* no caller was asked for, or none that stood: nothing is added */

ngx_int_t
ngx_http_token_injector_disclaim(ngx_http_request_t *r,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ngx_http_token_injector_state_t  *state;

    if (conf->claim_headers == NULL) {
        return NGX_DECLINED;
    }

    state = ngx_http_token_injector_state(r, 1);

    if (state == NULL
        || ngx_http_token_injector_strip(r, state, conf) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


/* computed once: a kept answer belongs to what would be sent */

ngx_int_t
ngx_http_token_injector_claim_values(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t                               *value;
    ngx_uint_t                               i, n;
    ngx_http_request_t                      *r;
    ngx_http_variable_value_t               *v;
    ngx_http_token_injector_claim_header_t  *header;

    if (ctx->conf->claim_headers == NULL || ctx->claimed) {
        return NGX_OK;
    }

    r = ctx->request;
    n = ctx->conf->claim_headers->nelts;
    header = ctx->conf->claim_headers->elts;

    value = ngx_pcalloc(r->pool, n * sizeof(ngx_str_t));
    if (value == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        v = ngx_http_get_flushed_variable(r, header[i].variable);
        if (v == NULL) {
            return NGX_ERROR;
        }

        if (v->not_found || v->len == 0) {
            continue;
        }

        if (!ngx_http_token_injector_sendable(v)) {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "token injector: the header %V is not sent: its "
                          "value has a control character, or a space at an "
                          "end", &header[i].header.key);
            continue;
        }

        value[i].data = ngx_pnalloc(r->pool, v->len + 1);
        if (value[i].data == NULL) {
            return NGX_ERROR;
        }

        value[i].len = v->len;
        *ngx_cpymem(value[i].data, v->data, v->len) = '\0';
    }

    ctx->claimed = value;

    return NGX_OK;
}


/* would the other side read just this?  It takes spaces at an end away. */

static ngx_uint_t
ngx_http_token_injector_sendable(ngx_http_variable_value_t *v)
{
    size_t  i;

    for (i = 0; i < v->len; i++) {
        if (v->data[i] < 0x20 || v->data[i] == 0x7f) {
            return 0;
        }
    }

    return v->data[0] != ' ' && v->data[v->len - 1] != ' ';
}


/* those that have a value, at h; returns where they end */

ngx_table_elt_t *
ngx_http_token_injector_claim_push(ngx_http_token_injector_ctx_t *ctx,
    ngx_table_elt_t *h)
{
    ngx_uint_t                               i;
    ngx_http_token_injector_claim_header_t  *header;

    if (ctx->conf->claim_headers == NULL) {
        return h;
    }

    header = ctx->conf->claim_headers->elts;

    for (i = 0; i < ctx->conf->claim_headers->nelts; i++) {
        if (ctx->claimed[i].len) {
            *h = header[i].header;
            h->value = ctx->claimed[i];
            h++;
        }
    }

    return h;
}
