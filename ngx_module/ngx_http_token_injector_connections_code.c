/*
 * A consent that was given or not, brought back: taken out of the store, which
 * gives it once, judged, and its code exchanged.
 */

#include "ngx_http_token_injector_connections.h"


/* used once: who reads it takes it away */

static ngx_str_t  ngx_http_token_injector_pending_take = ngx_string(
    "local v=redis.call('GET',KEYS[1]) "
    "redis.call('DEL',KEYS[1]) "
    "redis.call('ZREM',KEYS[2],KEYS[1]) "
    "return v");


static ngx_int_t ngx_http_token_injector_consent_take(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_consent_exchange(
    ngx_http_token_injector_call_t *call);
static ti_result_t ngx_http_token_injector_consent_open(
    ngx_http_token_injector_call_t *call, const char **why);
static ti_result_t ngx_http_token_injector_consent_return(
    ngx_http_token_injector_call_t *call, const char **why);
static ngx_int_t ngx_http_token_injector_consent_grant(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_consent_account(
    ngx_http_token_injector_call_t *call, ti_str_t *account);
static void ngx_http_token_injector_consent_granted(void *data,
    const ngx_http_token_injector_granted_t *granted);
static const char *ngx_http_token_injector_consent_why(
    ngx_http_token_injector_call_t *call, const char *why);
static ngx_int_t ngx_http_token_injector_consent_connected(
    ngx_http_token_injector_call_t *call);


ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_code[] = {

    /* waits for: the provider's issuer, which says where its pages are */
    { ngx_string("find"), ngx_http_token_injector_call_find },

    /* waits for: Redis, which gives it back once */
    { ngx_string("take"), ngx_http_token_injector_consent_take },

    /* waits for: the token endpoint, and Redis again */
    { ngx_string("exchange"), ngx_http_token_injector_consent_exchange },

    { ngx_string("connected"), ngx_http_token_injector_consent_connected }
};


static ngx_int_t
ngx_http_token_injector_consent_take(ngx_http_token_injector_call_t *call)
{
    ti_pool_t                                   pool;
    ti_result_t                                 result;
    const char                                 *why;
    const ngx_http_token_injector_endpoints_t  *endpoints;

    pool = ngx_http_token_injector_pool(call->request->pool);

    result = ti_connections_read_code(&pool, call->body, &call->code, &why);

    ti_wipe((void *) call->body.data, call->body.len);

    if (result != TI_RESULT_OK) {
        return ngx_http_token_injector_call_refuse(call, result, why);
    }

    endpoints = ngx_http_token_injector_endpoints(call->provider);

    if (endpoints == NULL) {
        /* whether it is this provider's answer cannot be told */
        return ngx_http_token_injector_consent_lost(call);
    }

    call->iss = endpoints->iss;

    if (ngx_http_token_injector_call_names(call, call->provider, &call->user,
                                           &call->device)
        != NGX_OK)
    {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    return ngx_http_token_injector_consent_eval(call,
                                       &ngx_http_token_injector_pending_take,
                                       call->code.state);
}


static ngx_int_t
ngx_http_token_injector_consent_exchange(ngx_http_token_injector_call_t *call)
{
    ti_result_t   result;
    const char   *why;

    result = ngx_http_token_injector_consent_open(call, &why);

    if (result == TI_RESULT_OK) {
        result = ngx_http_token_injector_consent_return(call, &why);
    }

    if (result != TI_RESULT_OK) {
        return ngx_http_token_injector_call_refuse(call, result, why);
    }

    if (call->pending.admin) {
        /* nothing to exchange: from now on users can consent */
        call->consented = 1;
        return NGX_OK;
    }

    return ngx_http_token_injector_consent_grant(call);
}


static ti_result_t
ngx_http_token_injector_consent_open(ngx_http_token_injector_call_t *call,
    const char **why)
{
    ti_pool_t                             pool;
    ti_record_ref_t                       ref;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (call->failed) {
        *why = "the store did not answer";
        return TI_RESULT_STORE_UNAVAILABLE;
    }

    if (call->sealed.len == 0) {
        *why = "no consent of this state is pending";
        return TI_RESULT_STATE_INVALID;
    }

    mcf = ngx_http_token_injector_main(call->request);
    pool = ngx_http_token_injector_pool(call->request->pool);

    ngx_http_token_injector_consent_ref(call, &ref);

    return ti_pending_open(mcf->crypto, &pool, call->provider->store->ring,
                           &ref, ngx_http_token_injector_str(&call->sealed),
                           call->code.state, ngx_time(), &call->pending, why);
}


/* what the browser came back with, now that it is this caller's */

static ti_result_t
ngx_http_token_injector_consent_return(ngx_http_token_injector_call_t *call,
    const char **why)
{
    ti_oauth_return_t  back;

    back.code = call->code.code;
    back.state = call->code.state;
    back.iss = call->code.iss;
    back.error = call->code.error;

    if (!call->pending.admin) {
        return ti_oauth_code_return(&back,
                      ngx_http_token_injector_str(&call->provider->issuer),
                      call->iss, why);
    }

    if (back.error.data == NULL
        && !ti_str_caseeq(call->code.admin_consent, ti_str("true")))
    {
        *why = "neither \"admin_consent\" nor \"error\"";
        return TI_RESULT_REQUEST_INVALID;
    }

    return ti_oauth_admin_return(&back, why);
}


static ngx_int_t
ngx_http_token_injector_consent_grant(ngx_http_token_injector_call_t *call)
{
    ngx_http_token_injector_grant_conf_t  conf;

    ngx_memzero(&conf, sizeof(ngx_http_token_injector_grant_conf_t));

    conf.provider = call->provider;
    conf.who = call->ctx->head.who;
    conf.user = call->user;
    conf.device = call->device;
    conf.user_key = call->provider->user_key ? call->user_key : NULL;
    conf.grant = TI_OAUTH_CODE;
    conf.code = call->code.code;
    conf.redirect_uri = call->pending.redirect_uri;
    conf.verifier = ti_str_from(call->pending.verifier, TI_OAUTH_SECRET_LEN);
    conf.nonce = ngx_http_token_injector_consent_nonce(call);
    conf.scope = call->pending.scope;

    if (ngx_http_token_injector_consent_account(call, &conf.account)
        != NGX_OK)
    {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_CONNECTION_REQUIRED,
                                   "the caller's token does not say which "
                                   "account is theirs");
    }

    if (ngx_http_token_injector_grant_start(&conf,
                                   ngx_http_token_injector_consent_granted,
                                   call, &call->grant)
        != NGX_OK)
    {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    return NGX_AGAIN;
}


/* empty: any will do */

static ngx_int_t
ngx_http_token_injector_consent_account(ngx_http_token_injector_call_t *call,
    ti_str_t *account)
{
    json_t     *claims;
    ti_pool_t   pool;

    if (call->provider->match_account.len == 0) {
        return NGX_OK;
    }

    claims = ngx_http_token_injector_claims(call->ctx);
    pool = ngx_http_token_injector_pool(call->request->pool);

    if (claims == NULL
        || ti_claims_name(&pool, claims, &call->provider->match, account)
           != TI_OK)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_consent_granted(void *data,
    const ngx_http_token_injector_granted_t *granted)
{
    ti_pool_t                        pool;
    ngx_http_token_injector_call_t  *call = data;

    call->grant = NULL;
    call->result = granted->result;
    call->connection = granted->connection;
    pool = ngx_http_token_injector_pool(call->request->pool);

    if (granted->result != TI_RESULT_OK) {
        call->ctx->retry_after = granted->retry_after;
        call->why = ngx_http_token_injector_consent_why(call, granted->why);

    } else if (ti_pool_copy(&pool, granted->connection.scope,
                            &call->connection.scope)
               != TI_OK
               || ti_pool_copy(&pool, granted->connection.account,
                               &call->connection.account)
                  != TI_OK)
    {
        call->result = TI_RESULT_INTERNAL_ERROR;
        call->why = "out of memory";
    }

    ngx_http_token_injector_call_resume(call);
}


static const char *
ngx_http_token_injector_consent_why(ngx_http_token_injector_call_t *call,
    const char *why)
{
    u_char  *p;
    size_t   len;

    len = ngx_strlen(why) + 1;

    p = ngx_pnalloc(call->request->pool, len);
    if (p == NULL) {
        return "out of memory";
    }

    ngx_memcpy(p, why, len);

    return (const char *) p;
}


static ngx_int_t
ngx_http_token_injector_consent_connected(ngx_http_token_injector_call_t *call)
{
    ti_str_t   json;
    ti_pool_t  pool;

    if (call->consented) {
        return ngx_http_token_injector_call_answer(call, NGX_HTTP_NO_CONTENT,
                                                   NULL);
    }

    if (call->result != TI_RESULT_OK) {
        return ngx_http_token_injector_call_refuse(call, call->result,
                                                   call->why);
    }

    call->connection.provider = ngx_http_token_injector_str(
                                                       &call->provider->name);
    pool = ngx_http_token_injector_pool(call->request->pool);

    if (ti_connections_write_one(&pool, &call->connection, &json) != TI_OK) {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    return ngx_http_token_injector_call_answer(call, NGX_HTTP_CREATED, &json);
}
