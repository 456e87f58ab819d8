/*
 * Variables: evaluated when asked for, in any phase and in the access log.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_SECRET_MIN  16


static ngx_int_t ngx_http_token_injector_variable_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_claim_at(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ti_json_path_t *path);
static ngx_int_t ngx_http_token_injector_variable_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_variable_issuer(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_variable_provider(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_variable_result(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_variable_cache_status(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_variable_expires(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_token_injector_value(ngx_http_variable_value_t *v,
    ti_str_t value);


static ngx_http_variable_t  ngx_http_token_injector_variables[] = {

    { ngx_string("token_claim_"), NULL,
      ngx_http_token_injector_variable_claim, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

    { ngx_string("token_user"), NULL,
      ngx_http_token_injector_variable_user, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("token_issuer"), NULL,
      ngx_http_token_injector_variable_issuer, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("token_provider"), NULL,
      ngx_http_token_injector_variable_provider, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("token_result"), NULL,
      ngx_http_token_injector_variable_result, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("token_cache_status"), NULL,
      ngx_http_token_injector_variable_cache_status, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("token_expires"), NULL,
      ngx_http_token_injector_variable_expires, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_token_injector_variables_init(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_token_injector_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_value(ngx_http_variable_value_t *v, ti_str_t value)
{
    if (value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = (u_char *) value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* data is the whole name, "token_claim_…" */

static ngx_int_t
ngx_http_token_injector_variable_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  *name = (ngx_str_t *) data;

    char            *claim;
    size_t           len;
    const char      *names[1];
    ti_json_path_t   path;

    len = name->len - (sizeof("token_claim_") - 1);

    claim = ngx_pnalloc(r->pool, len + 1);
    if (claim == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(claim, name->data + sizeof("token_claim_") - 1, len);
    claim[len] = '\0';

    names[0] = claim;
    path.names = names;
    path.n = 1;

    return ngx_http_token_injector_claim_at(r, v, &path);
}


/* those of token_claim_set: data is the path */

ngx_int_t
ngx_http_token_injector_variable_path(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    return ngx_http_token_injector_claim_at(r, v, (ti_json_path_t *) data);
}


static ngx_int_t
ngx_http_token_injector_claim_at(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ti_json_path_t *path)
{
    json_t                         *claims;
    ti_str_t                        text;
    ti_pool_t                       pool;
    ngx_http_token_injector_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);
    if (ctx == NULL) {
        return NGX_OK;
    }

    claims = ngx_http_token_injector_claims(ctx);
    if (claims == NULL) {
        return NGX_OK;
    }

    pool = ngx_http_token_injector_pool(r->pool);

    if (ti_claims_text(&pool, claims, path, &text) != TI_OK) {
        return NGX_ERROR;
    }

    return ngx_http_token_injector_value(v, text);
}


/* the name that Redis knows: computed here where no step needed it yet */

static ngx_int_t
ngx_http_token_injector_variable_user(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ti_result_t                     result;
    const char                     *why;
    ngx_http_token_injector_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);

    if (ctx == NULL || ctx->conf->provider == NULL
        || ngx_http_token_injector_identify(ctx, &result, &why) != NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_http_token_injector_user_name(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_token_injector_value(v, ctx->head.user);
}


static ngx_int_t
ngx_http_token_injector_variable_issuer(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ti_result_t                     result;
    const char                     *why;
    ngx_http_token_injector_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);

    if (ctx == NULL || ctx->conf->auth == NULL
        || ngx_http_token_injector_identify(ctx, &result, &why) != NGX_OK)
    {
        return NGX_OK;
    }

    return ngx_http_token_injector_value(v,
                ngx_http_token_injector_str(
                      &ctx->conf->auth->blocks[ctx->head.issuer]->name));
}


static ngx_int_t
ngx_http_token_injector_variable_provider(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_token_injector_ctx_t       *ctx;
    ngx_http_token_injector_provider_t  *provider;

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);

    provider = ctx ? ngx_http_token_injector_about(ctx) : NULL;

    if (provider == NULL) {
        return NGX_OK;
    }

    return ngx_http_token_injector_value(v,
                               ngx_http_token_injector_str(&provider->name));
}


static ngx_int_t
ngx_http_token_injector_variable_result(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_token_injector_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);

    if (ctx == NULL || (!ctx->refused && !ctx->finished && !ctx->passed)) {
        return NGX_OK;
    }

    return ngx_http_token_injector_value(v, ti_result_info(ctx->result)->name);
}


static ngx_int_t
ngx_http_token_injector_variable_cache_status(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_token_injector_ctx_t  *ctx;

    static const ti_str_t  names[] = {
        ti_string(""),
        ti_string("MISS"),
        ti_string("HIT"),
        ti_string("BYPASS")
    };

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);

    if (ctx == NULL || !ctx->finished || ctx->refused) {
        return NGX_OK;
    }

    return ngx_http_token_injector_value(v, names[ctx->cache]);
}


static ngx_int_t
ngx_http_token_injector_variable_expires(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                         *p;
    size_t                          len;
    ngx_http_token_injector_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_token_injector_ctx(r);

    if (ctx == NULL || ctx->conf->provider == NULL
        || ctx->head.token_expires == 0)
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = ngx_sprintf(p, "%L", ctx->head.token_expires) - p;

    return ngx_http_token_injector_value(v, ti_str_from(p, len));
}


/*
 * A "map" or a "set" may have put a secret elsewhere while it could be seen.
 * Where it did, its value is forgotten: a "map" is evaluated anew, a "set" is
 * empty.  What is too short to be a secret could be anything's value.
 */

void
ngx_http_token_injector_forget(ngx_http_request_t *r, ti_str_t secret)
{
    ngx_uint_t                  i;
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_variable_value_t  *v;

    if (secret.len < NGX_HTTP_TOKEN_INJECTOR_SECRET_MIN) {
        return;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    v = r->variables;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].valid && v[i].len >= secret.len
            && memmem(v[i].data, v[i].len, secret.data, secret.len))
        {
            v[i].valid = 0;
            v[i].not_found = 0;
        }
    }
}
