/*
 * The connections API: which call a request is, about which provider, with
 * which key; and whether it may be.
 */

#include "ngx_http_token_injector_connections.h"


typedef struct {
    ngx_str_t                             tail;      /* behind the name */
    ngx_uint_t                            list;      /* there is no name */
    ngx_uint_t                            methods;
    ngx_http_token_injector_call_step_t  *steps;
} ngx_http_token_injector_route_t;


static ngx_http_token_injector_route_t *ngx_http_token_injector_call_match(
    ngx_http_token_injector_call_t *call, ngx_str_t *name,
    ngx_uint_t *methods);
static ngx_int_t ngx_http_token_injector_call_allow(
    ngx_http_token_injector_call_t *call, ngx_uint_t methods);
static ngx_int_t ngx_http_token_injector_call_forged(
    ngx_http_token_injector_call_t *call);
static ngx_http_token_injector_provider_t *
    ngx_http_token_injector_call_provider(
    ngx_http_token_injector_call_t *call, ngx_str_t *name);
static ngx_int_t ngx_http_token_injector_call_key(
    ngx_http_token_injector_call_t *call);


static ngx_http_token_injector_route_t  ngx_http_token_injector_routes[] = {

    { ngx_string(""), 1, NGX_HTTP_GET|NGX_HTTP_HEAD,
      ngx_http_token_injector_call_list },

    { ngx_string(""), 0, NGX_HTTP_POST,
      ngx_http_token_injector_call_start },

    { ngx_string(""), 0, NGX_HTTP_DELETE,
      ngx_http_token_injector_call_remove },

    { ngx_string("/code"), 0, NGX_HTTP_POST,
      ngx_http_token_injector_call_code },

    { ngx_string("/admin-consent"), 0, NGX_HTTP_POST,
      ngx_http_token_injector_call_admin },

    { ngx_null_string, 0, 0, NULL }
};


/* NGX_OK: there is such a call, and it may be this caller's */

ngx_int_t
ngx_http_token_injector_call_route(ngx_http_token_injector_call_t *call)
{
    ngx_str_t                         name;
    ngx_uint_t                        methods;
    ngx_http_token_injector_route_t  *route;

    route = ngx_http_token_injector_call_match(call, &name, &methods);

    if (methods == 0) {
        call->ctx->status = NGX_HTTP_NOT_FOUND;
        return ngx_http_token_injector_call_refuse(call,
                                                   TI_RESULT_REQUEST_INVALID,
                                                   "no such call");
    }

    if (route == NULL) {
        return ngx_http_token_injector_call_allow(call, methods);
    }

    if (ngx_http_token_injector_call_forged(call)) {
        return ngx_http_token_injector_call_refuse(call,
                                         TI_RESULT_REQUEST_INVALID,
                                         "the token is a cookie, and the body "
                                         "is not said to be JSON");
    }

    call->steps = route->steps;

    if (!route->list) {
        call->provider = ngx_http_token_injector_call_provider(call, &name);

        if (call->provider == NULL) {
            return ngx_http_token_injector_call_refuse(call,
                                           TI_RESULT_PROVIDER_UNKNOWN,
                                           "no such provider for this caller");
        }

        call->ctx->provider = call->provider;
    }

    return ngx_http_token_injector_call_key(call);
}


/* NULL: not with this method, nor with any where methods is 0 */

static ngx_http_token_injector_route_t *
ngx_http_token_injector_call_match(ngx_http_token_injector_call_t *call,
    ngx_str_t *name, ngx_uint_t *methods)
{
    u_char                           *p, *last;
    ngx_str_t                         tail;
    ngx_uint_t                        list;
    ngx_http_request_t               *r;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_token_injector_route_t  *route, *found;

    r = call->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    p = r->uri.data;
    last = p + r->uri.len;

    *methods = 0;

    /* a "rewrite" may have led elsewhere since the location was found */

    if (r->uri.len < clcf->name.len
        || ngx_strncmp(p, clcf->name.data, clcf->name.len) != 0)
    {
        return NULL;
    }

    p += clcf->name.len;

    if (clcf->name.len && p[-1] == '/') {
        p--;
    }

    if (p < last && *p != '/') {
        return NULL;
    }

    name->data = (p < last) ? p + 1 : p;

    for (p = name->data; p < last && *p != '/'; p++) { /* void */ }

    name->len = p - name->data;
    tail.data = p;
    tail.len = last - p;
    list = (name->len == 0);
    found = NULL;

    for (route = ngx_http_token_injector_routes; route->steps; route++) {

        if (route->list != list || route->tail.len != tail.len
            || ngx_strncmp(route->tail.data, tail.data, tail.len) != 0)
        {
            continue;
        }

        *methods |= route->methods;

        if (route->methods & r->method) {
            found = route;
        }
    }

    return found;
}


static ngx_int_t
ngx_http_token_injector_call_allow(ngx_http_token_injector_call_t *call,
    ngx_uint_t methods)
{
    ngx_str_t  value;

    if (methods & NGX_HTTP_GET) {
        ngx_str_set(&value, "GET, HEAD");

    } else if (methods & NGX_HTTP_DELETE) {
        ngx_str_set(&value, "POST, DELETE");

    } else {
        ngx_str_set(&value, "POST");
    }

    if (ngx_http_token_injector_add_header(call->request, "Allow", &value)
        == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    call->ctx->status = NGX_HTTP_NOT_ALLOWED;

    return ngx_http_token_injector_call_refuse(call,
                                               TI_RESULT_REQUEST_INVALID,
                                               "no such method here");
}


/*
 * A browser adds cookies to what another site's page makes it send, and asks
 * before it sends what no form could: DELETE, or a body of this type.
 */

static ngx_int_t
ngx_http_token_injector_call_forged(ngx_http_token_injector_call_t *call)
{
    u_char              *p;
    size_t               len;
    ngx_table_elt_t     *type;
    ngx_http_request_t  *r;

    static ngx_str_t  json = ngx_string("application/json");

    r = call->request;
    type = r->headers_in.content_type;

    if (r->method != NGX_HTTP_POST
        || call->ctx->conf->auth->source.from
           != NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE)
    {
        return 0;
    }

    if (type == NULL || type->value.len < json.len
        || ngx_strncasecmp(type->value.data, json.data, json.len) != 0)
    {
        return 1;
    }

    p = type->value.data + json.len;
    len = type->value.len - json.len;

    return len != 0 && *p != ';' && *p != ' ' && *p != '\t';
}


static ngx_http_token_injector_provider_t *
ngx_http_token_injector_call_provider(ngx_http_token_injector_call_t *call,
    ngx_str_t *name)
{
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(call->request);
    provider = ngx_http_token_injector_conf_find(&mcf->providers, name);

    if (provider == NULL
        || !ngx_http_token_injector_call_allowed(call, provider))
    {
        return NULL;
    }

    return provider;
}


/*
 * The list does without one, as far as it can; one that is wrong is wrong
 * everywhere.
 */

static ngx_int_t
ngx_http_token_injector_call_key(ngx_http_token_injector_call_t *call)
{
    ti_str_t                        value;
    ngx_int_t                       rc;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = call->ctx;

    if (call->provider && !call->provider->user_key) {
        return NGX_OK;
    }

    rc = ngx_http_token_injector_read(ctx, ctx->conf->user_key, &value);

    if (rc == NGX_DECLINED && call->provider == NULL) {
        return NGX_OK;
    }

    /* two keys are as good as none */

    ctx->user_key = (rc == NGX_OK) ? value : ti_null_str;
    ngx_http_token_injector_forget(call->request, ctx->user_key);

    call->user_key = ngx_http_token_injector_user_key(ctx);

    if (call->user_key == NULL) {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_USER_KEY_REQUIRED,
                                   "no user key in the request, or not 43 "
                                   "canonical characters");
    }

    return NGX_OK;
}


/* has who calls something of the provider's that the call could be about? */

ngx_uint_t
ngx_http_token_injector_call_allowed(ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_provider_t *provider)
{
    switch (provider->grant) {

    case NGX_HTTP_TOKEN_INJECTOR_CODE:
        break;

    case NGX_HTTP_TOKEN_INJECTOR_CLIENT:
        /* an app-only token is nobody's to connect */
        return 0;

    default:
        /* nobody consents to an exchange; what it gave may be dropped */

        if (call->steps != ngx_http_token_injector_call_remove) {
            return 0;
        }
    }

    return ngx_http_token_injector_segment_allows(call->ctx, provider, NULL)
           == NGX_OK;
}


/*
 * A part of the step "authorize": rules that Redis has for providers are here
 * before anything is said of them.
 */

ngx_int_t
ngx_http_token_injector_connections_await(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                             rc;
    ngx_uint_t                            i;
    ngx_http_token_injector_provider_t  **provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    provider = mcf->providers.elts;

    for (i = 0; i < mcf->providers.nelts; i++) {

        if (provider[i]->grant == NGX_HTTP_TOKEN_INJECTOR_CLIENT) {
            continue;
        }

        rc = ngx_http_token_injector_segment_await(ctx, provider[i]);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc != NGX_OK) {
            return ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_STORE_UNAVAILABLE,
                                   "the store did not say whom the provider "
                                   "is for");
        }
    }

    return NGX_OK;
}
