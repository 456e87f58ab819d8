/*
 * The steps that judge a caller: authenticate, authorize.  They run in the
 * access phase for main requests; the first may wait for an issuer's keys.
 */

#include "ngx_http_token_injector.h"


static ti_result_t ngx_http_token_injector_verdict(
    ngx_http_token_injector_ctx_t *ctx, const char **why);
static ti_result_t ngx_http_token_injector_verify(
    ngx_http_token_injector_ctx_t *ctx, const char **why);
static ti_result_t ngx_http_token_injector_credentials(
    ngx_http_token_injector_ctx_t *ctx, const char **why);
static ngx_int_t ngx_http_token_injector_id(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_admission(
    ngx_http_token_injector_ctx_t *ctx);
static ti_flow_t ngx_http_token_injector_admitted(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_segment(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_required(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_uint_t ngx_http_token_injector_passes(ngx_str_t *value);


ngx_int_t
ngx_http_token_injector_authenticate(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t     rc;
    ti_result_t   result;
    const char   *why;

    if ((ngx_http_token_injector_takes(ctx->conf) || ctx->conf->claim_headers)
        && !ctx->hinted
        && ngx_http_token_injector_strip(ctx->request, ctx->state, ctx->conf)
           != NGX_OK)
    {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    do {
        rc = ngx_http_token_injector_identify(ctx, &result, &why);

        if (ngx_http_token_injector_takes(ctx->conf)) {
            ngx_http_token_injector_forget(ctx->request, ctx->token);
            ngx_http_token_injector_forget(ctx->request, ctx->user_key);
        }

        if (rc == NGX_OK) {
            return NGX_OK;
        }

        rc = ctx->lacking ? ngx_http_token_injector_keys_await(ctx)
                          : NGX_DECLINED;

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

    } while (rc == NGX_OK);

    /* the last word, for variables too */
    ctx->identified = 1;

    return ngx_http_token_injector_refuse(ctx, result, why);
}


/*
 * Who calls, without consequences: variables may ask before the steps do.
 * Remembered in the context, unless newer keys may change it; an admission
 * stands for a verdict of before.
 */

ngx_int_t
ngx_http_token_injector_identify(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t *result, const char **why)
{
    if (!ctx->identified) {
        ctx->lacking = NULL;
        ctx->verdict = ngx_http_token_injector_verdict(ctx, &ctx->why);
        ctx->identified = (ctx->lacking == NULL);
    }

    *result = ctx->verdict;
    *why = ctx->why;

    return ctx->verdict == TI_RESULT_OK ? NGX_OK : NGX_DECLINED;
}


static ti_result_t
ngx_http_token_injector_verdict(ngx_http_token_injector_ctx_t *ctx,
    const char **why)
{
    ngx_int_t    rc;
    ti_result_t  result;

    result = ngx_http_token_injector_credentials(ctx, why);

    if (result != TI_RESULT_OK) {
        return result;
    }

    rc = ngx_http_token_injector_admission(ctx);

    if (rc == NGX_ERROR) {
        *why = "an admission could not be looked up";
        return TI_RESULT_INTERNAL_ERROR;
    }

    if (rc == NGX_OK) {
        ctx->admitted = 1;
        return TI_RESULT_OK;
    }

    if (ctx->conf->auth == NULL) {
        ctx->head.caller_expires = NGX_MAX_INT_T_VALUE;
        return TI_RESULT_OK;
    }

    return ngx_http_token_injector_verify(ctx, why);
}


static ti_result_t
ngx_http_token_injector_verify(ngx_http_token_injector_ctx_t *ctx,
    const char **why)
{
    ti_jwt_t                              jwt;
    ti_pool_t                             pool;
    ngx_uint_t                            i;
    ti_result_t                           result;
    ngx_http_token_injector_auth_t       *auth;
    ngx_http_token_injector_main_conf_t  *mcf;

    auth = ctx->conf->auth;
    mcf = ngx_http_token_injector_main(ctx->request);
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    for (i = 0; i < auth->n; i++) {
        ngx_http_token_injector_keys_sync(auth->blocks[i]);
    }

    result = ti_jwt_verify(mcf->crypto, &pool, auth->issuers, auth->n,
                           ctx->token, ngx_time(), &jwt, why);

    if (result != TI_RESULT_OK) {

        if (jwt.newer) {
            ctx->lacking = auth->blocks[jwt.issuer];
            ctx->tried = ngx_http_token_injector_keys_mark(ctx->lacking);
        }

        return result;
    }

    /* who is borrowed from the claims, which live as long as the context */

    ctx->claims = jwt.claims;
    ctx->head.issuer = jwt.issuer;
    ctx->head.who.issuer = auth->issuers[jwt.issuer]->issuer;
    ctx->head.who.tenant = jwt.tenant;
    ctx->head.who.subject = jwt.subject;
    ctx->head.keys = ngx_http_token_injector_keys_mark(
                                                  auth->blocks[jwt.issuer]);
    ctx->head.caller_expires = jwt.expires;

    return TI_RESULT_OK;
}


static ti_result_t
ngx_http_token_injector_credentials(ngx_http_token_injector_ctx_t *ctx,
    const char **why)
{
    ti_str_t                             value;
    ngx_int_t                            rc;
    ngx_http_token_injector_loc_conf_t  *conf;

    conf = ctx->conf;

    if (conf->provider && conf->provider->user_key) {

        rc = ngx_http_token_injector_read(ctx, conf->user_key, &value);

        /* two keys are as good as none */
        ctx->user_key = (rc == NGX_OK) ? value : ti_null_str;
    }

    if (conf->auth == NULL) {

        if (conf->provider == NULL
            || conf->provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT)
        {
            *why = "\"token_inject\" of the server without \"token_auth\"";
            return TI_RESULT_TOKEN_MISSING;
        }

        return TI_RESULT_OK;
    }

    rc = ngx_http_token_injector_read(ctx, &conf->auth->source, &value);

    if (rc == NGX_ABORT) {
        *why = "more than one token";
        return TI_RESULT_TOKEN_INVALID;
    }

    if (rc == NGX_OK
        && conf->auth->source.from
           == NGX_HTTP_TOKEN_INJECTOR_FROM_AUTHORIZATION
        && ti_header_bearer(value, &value) != TI_OK)
    {
        rc = NGX_DECLINED;
    }

    if (rc != NGX_OK || value.len == 0) {
        *why = "no token in the request";
        return TI_RESULT_TOKEN_MISSING;
    }

    if (value.len > TI_TOKEN_MAX) {
        *why = "the token is longer than 8192 bytes";
        return TI_RESULT_TOKEN_INVALID;
    }

    ctx->token = value;

    return TI_RESULT_OK;
}


/*
 * What these credentials are called at this policy.  Rules in Redis are a part
 * of it: when they change, what was admitted by others is not found.
 */

static ngx_int_t
ngx_http_token_injector_id(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                                policy[2 * TI_SHA256_LEN], *p;
    ti_str_t                              token, mark;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    provider = ctx->conf->provider;

    p = ngx_cpymem(policy, ctx->conf->policy, TI_SHA256_LEN);

    if (provider) {
        ctx->ruled = ngx_http_token_injector_segment_edition(provider, &mark);

        if (mark.len) {
            p = ngx_cpymem(p, mark.data, mark.len);
        }
    }

    /*
     * Without a caller nobody presents a secret: the sealing key stands in,
     * so that a dump of the zone opens nothing here either.
     */

    token = ctx->token;

    if (ctx->conf->auth == NULL && provider) {
        token = ti_keyring_first_key(provider->store->ring);
    }

    if (ti_admission_id(mcf->crypto,
               ti_str_from(ngx_http_token_injector_memory_secret(mcf->memory),
                           NGX_HTTP_TOKEN_INJECTOR_SECRET_LEN),
               token, ctx->user_key,
               ti_str_from(policy, (size_t) (p - policy)), &ctx->id)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * What these credentials led to before.  NGX_DECLINED: nothing is known, the
 * caller's token is over by now, or the keys that it was verified with are no
 * longer the issuer's.
 */

static ngx_int_t
ngx_http_token_injector_admission(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                             rc;
    ngx_str_t                             sealed;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (ngx_http_token_injector_id(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->conf->provider && ctx->ruled == 0) {
        return NGX_DECLINED;
    }

    mcf = ngx_http_token_injector_main(ctx->request);

    rc = ngx_http_token_injector_memory_get(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ADMISSION,
                                 ctx->id.name, ctx->request->pool, &sealed);

    if (rc != NGX_OK
        || ti_admission_open(mcf->crypto, &ctx->id, sealed.data, sealed.len,
                             &ctx->head)
           != TI_OK)
    {
        ngx_memzero(&ctx->head, sizeof(ti_admission_t));
        return NGX_DECLINED;
    }

    ctx->flow = ngx_http_token_injector_admitted(ctx);

    if (ctx->flow == TI_FLOW_DISCARD) {
        ctx->flow = TI_FLOW_READ;
        ngx_memzero(&ctx->head, sizeof(ti_admission_t));
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* does it still hold, as clocks, issuers' keys and Redis' changes go? */

static ti_flow_t
ngx_http_token_injector_admitted(ngx_http_token_injector_ctx_t *ctx)
{
    ti_flow_t                            flow;
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    flow = ti_flow_admission(&ctx->head, ngx_time(),
                             provider ? provider->store->local_valid : 0);

    if (ctx->conf->auth
        && !ngx_http_token_injector_keys_marked(
                             ctx->conf->auth->blocks[ctx->head.issuer],
                             ctx->head.keys))
    {
        return TI_FLOW_DISCARD;
    }

    if (flow == TI_FLOW_USE && provider
        && ngx_http_token_injector_changed(ctx))
    {
        return TI_FLOW_CONFIRM;
    }

    return flow;
}


/*
 * What an admission stands for is not judged again: the segment and the form
 * of the user key.  What may differ between two requests is.
 */

ngx_int_t
ngx_http_token_injector_authorize(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    if (ctx->conf->require
        && ngx_http_token_injector_required(ctx) != NGX_OK)
    {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_CALLER_REJECTED,
                                   "a variable of \"token_require\" is empty, "
                                   "0 or false");
    }

    if (provider == NULL) {

        if (ctx->conf->connections) {
            rc = ngx_http_token_injector_connections_await(ctx);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        if (!ctx->admitted) {
            ngx_http_token_injector_admit(ctx, NULL);
        }

        ctx->passed = 1;

        return NGX_OK;
    }

    rc = ngx_http_token_injector_segment(ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    if (provider->user_key && !ctx->admitted
        && ngx_http_token_injector_user_key(ctx) == NULL)
    {
        return ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_USER_KEY_REQUIRED,
                                   "no user key in the request, or not 43 "
                                   "canonical characters");
    }

    return NGX_OK;
}


/*
 * An admission that is used as it is asks Redis for nothing, its rules neither:
 * they were here when it was last confirmed.
 */

static ngx_int_t
ngx_http_token_injector_segment(ngx_http_token_injector_ctx_t *ctx)
{
    ti_str_t                             mark;
    ngx_int_t                            rc;
    const char                          *why;
    ngx_http_token_injector_provider_t  *provider;

    provider = ctx->conf->provider;

    if (!ctx->admitted || ctx->flow != TI_FLOW_USE) {

        rc = ngx_http_token_injector_segment_await(ctx, provider);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc != NGX_OK) {
            return ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_STORE_UNAVAILABLE, ctx->why);
        }
    }

    if (ctx->ruled
        != ngx_http_token_injector_segment_edition(provider, &mark))
    {
        /* changed since the caller was looked up */

        if (ngx_http_token_injector_id(ctx) != NGX_OK) {
            return ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_INTERNAL_ERROR, "out of memory");
        }

        ctx->admitted = 0;
        ctx->flow = TI_FLOW_READ;
    }

    if (ctx->admitted
        || ngx_http_token_injector_segment_allows(ctx, provider, &why)
           == NGX_OK)
    {
        return NGX_OK;
    }

    return ngx_http_token_injector_refuse(ctx, TI_RESULT_SEGMENT_EXCLUDED,
                                          why);
}


/* the caller's key, decoded when it is needed; NULL: it is none */

u_char *
ngx_http_token_injector_user_key(ngx_http_token_injector_ctx_t *ctx)
{
    if (!ctx->has_key) {
        if (ti_user_key_decode(ctx->user_key, ctx->key) != TI_OK) {
            return NULL;
        }

        ctx->has_key = 1;
    }

    return ctx->key;
}


static ngx_int_t
ngx_http_token_injector_required(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t                           value;
    ngx_uint_t                          i, j;
    ngx_http_complex_value_t           *cv;
    ngx_http_token_injector_require_t  *require;

    require = ctx->conf->require->elts;

    for (i = 0; i < ctx->conf->require->nelts; i++) {
        cv = require[i].values->elts;

        for (j = 0; j < require[i].values->nelts; j++) {

            if (ngx_http_complex_value(ctx->request, &cv[j], &value)
                != NGX_OK
                || !ngx_http_token_injector_passes(&value))
            {
                ctx->status = require[i].error;
                return NGX_DECLINED;
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_token_injector_passes(ngx_str_t *value)
{
    if (value->len == 0) {
        return 0;
    }

    if (value->len == 1 && value->data[0] == '0') {
        return 0;
    }

    return value->len != 5 || ngx_strncmp(value->data, "false", 5) != 0;
}


/* parsed again only where a variable asks */

json_t *
ngx_http_token_injector_claims(ngx_http_token_injector_ctx_t *ctx)
{
    ti_result_t   result;
    const char   *why;

    if (ngx_http_token_injector_identify(ctx, &result, &why) != NGX_OK) {
        return NULL;
    }

    if (ctx->claims == NULL && ctx->conf->auth
        && ti_jwt_claims(ctx->token, &ctx->claims) != TI_OK)
    {
        ctx->claims = NULL;
    }

    return ctx->claims;
}
