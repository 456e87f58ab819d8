/*
 * A consent begun here, to be given or not at the provider's.
 *
 * Until it is brought back it lies in the store under its state's name, sealed
 * for this caller, this device and this provider.  The names of a caller's
 * pending consents are kept beside them, in the order in which they began, so
 * that there are never more than some: a new one takes the place of the
 * oldest.
 */

#include "ngx_http_token_injector_connections.h"


/*
 * KEYS: the consent, the list of those that are pending.  ARGV: the record,
 * its life, now in milliseconds.  What was there already is this very record:
 * sent again, because nobody knew what had become of it.
 */

static ngx_str_t  ngx_http_token_injector_pending_add = ngx_string(
    "redis.call('SET',KEYS[1],ARGV[1],'EX',ARGV[2],'NX') "
    "redis.call('ZREMRANGEBYSCORE',KEYS[2],'-inf',ARGV[3]-ARGV[2]*1000) "
    "redis.call('ZADD',KEYS[2],ARGV[3],KEYS[1]) "
    "redis.call('EXPIRE',KEYS[2],ARGV[2]) "
    "local n=redis.call('ZCARD',KEYS[2])-16 "
    "if n>0 then "
    "for _,old in ipairs(redis.call('ZRANGE',KEYS[2],0,n-1)) do "
    "redis.call('DEL',old) redis.call('ZREM',KEYS[2],old) "
    "end end "
    "return 1");


static ngx_int_t ngx_http_token_injector_consent_begin(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_consent_begin_admin(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_consent_pend(
    ngx_http_token_injector_call_t *call, ti_str_t endpoint);
static ti_rc_t ngx_http_token_injector_consent_url(
    ngx_http_token_injector_call_t *call, ti_str_t endpoint);
static ti_rc_t ngx_http_token_injector_consent_seal(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_consent_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static ngx_int_t ngx_http_token_injector_consent_begun(
    ngx_http_token_injector_call_t *call);


ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_start[] = {

    /* waits for: the provider's issuer, which says where its pages are */
    { ngx_string("find"), ngx_http_token_injector_call_find },

    /* waits for: Redis, which keeps what is pending */
    { ngx_string("begin"), ngx_http_token_injector_consent_begin },

    { ngx_string("begun"), ngx_http_token_injector_consent_begun }
};


ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_admin[] = {

    /* waits for: the provider's issuer, which says where its pages are */
    { ngx_string("find"), ngx_http_token_injector_call_find },

    /* waits for: Redis, likewise */
    { ngx_string("begin admin"), ngx_http_token_injector_consent_begin_admin },

    { ngx_string("begun"), ngx_http_token_injector_consent_begun }
};


static ngx_int_t
ngx_http_token_injector_consent_begin(ngx_http_token_injector_call_t *call)
{
    ngx_str_t                                   endpoint;
    const ngx_http_token_injector_endpoints_t  *endpoints;

    endpoints = ngx_http_token_injector_endpoints(call->provider);

    if (endpoints == NULL) {
        return ngx_http_token_injector_consent_lost(call);
    }

    endpoint = endpoints->authorization;

    if (endpoint.len == 0) {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_REQUEST_INVALID,
                                   "the provider has no "
                                   "\"authorization_endpoint\"");
    }

    return ngx_http_token_injector_consent_pend(call,
                                      ngx_http_token_injector_str(&endpoint));
}


ngx_int_t
ngx_http_token_injector_consent_lost(ngx_http_token_injector_call_t *call)
{
    return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_PROVIDER_UNAVAILABLE,
                                   "its endpoints are not known");
}


static ngx_int_t
ngx_http_token_injector_consent_begin_admin(
    ngx_http_token_injector_call_t *call)
{
    ngx_str_t  *endpoint;

    endpoint = &call->provider->admin_consent_endpoint;

    if (endpoint->len == 0) {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_REQUEST_INVALID,
                                   "the provider has no "
                                   "\"admin_consent_endpoint\"");
    }

    call->pending.admin = 1;

    return ngx_http_token_injector_consent_pend(call,
                                       ngx_http_token_injector_str(endpoint));
}


/* made, sealed, and on its way to the store */

static ngx_int_t
ngx_http_token_injector_consent_pend(ngx_http_token_injector_call_t *call,
    ti_str_t endpoint)
{
    ti_random_t   random;
    ti_result_t   result;
    const char   *why;

    result = ti_connections_read_empty(call->body, &why);

    if (result != TI_RESULT_OK) {
        return ngx_http_token_injector_call_refuse(call, result, why);
    }

    random = ti_crypto_random();

    if (ti_pending_begin(&random, &call->pending) != TI_OK
        || ngx_http_token_injector_call_names(call, call->provider,
                                              &call->user, &call->device)
           != NGX_OK
        || ngx_http_token_injector_consent_url(call, endpoint) != TI_OK
        || ngx_http_token_injector_consent_seal(call) != TI_OK)
    {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_INTERNAL_ERROR,
                                   "a consent could not be begun");
    }

    return ngx_http_token_injector_consent_eval(call,
                           &ngx_http_token_injector_pending_add,
                           ti_str_from(call->pending.state,
                                       TI_OAUTH_SECRET_LEN));
}


static ti_rc_t
ngx_http_token_injector_consent_url(ngx_http_token_injector_call_t *call,
    ti_str_t endpoint)
{
    ti_pool_t                             pool;
    ti_oauth_visit_t                      visit;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(call->request);
    provider = call->provider;
    pool = ngx_http_token_injector_pool(call->request->pool);

    call->pending.scope = ngx_http_token_injector_str(&provider->scope);
    call->pending.redirect_uri = ngx_http_token_injector_str(
                                                    &provider->redirect_uri);

    ngx_memzero(&visit, sizeof(ti_oauth_visit_t));

    visit.endpoint = endpoint;
    visit.client_id = ngx_http_token_injector_str(&provider->client_id);
    visit.redirect_uri = call->pending.redirect_uri;
    visit.scope = call->pending.scope;
    visit.state = ti_str_from(call->pending.state, TI_OAUTH_SECRET_LEN);
    visit.nonce = ngx_http_token_injector_consent_nonce(call);
    visit.verifier = ti_str_from(call->pending.verifier, TI_OAUTH_SECRET_LEN);

    if (provider->visit_params) {
        visit.extra = provider->visit_params->elts;
        visit.nextra = provider->visit_params->nelts;
    }

    return call->pending.admin
           ? ti_oauth_admin_consent_url(&pool, &visit, &call->url)
           : ti_oauth_authorization_url(mcf->crypto, &pool, &visit,
                                        &call->url);
}


/* only where an ID token will come back: some refuse it otherwise */

ti_str_t
ngx_http_token_injector_consent_nonce(ngx_http_token_injector_call_t *call)
{
    const u_char  *p, *last, *word;

    p = call->pending.scope.data;
    last = p + call->pending.scope.len;

    while (p < last) {

        for (word = p; p < last && *p != ' '; p++) { /* void */ }

        if (ti_str_eq(ti_str_from(word, p - word), ti_str("openid"))) {
            return ti_str_from(call->pending.nonce, TI_OAUTH_SECRET_LEN);
        }

        p++;
    }

    return ti_null_str;
}


static ti_rc_t
ngx_http_token_injector_consent_seal(ngx_http_token_injector_call_t *call)
{
    ti_rc_t                               rc;
    ti_str_t                              sealed;
    ti_pool_t                             pool;
    ti_random_t                           random;
    ti_record_ref_t                       ref;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(call->request);
    pool = ngx_http_token_injector_pool(call->request->pool);
    random = ti_crypto_random();

    ngx_http_token_injector_consent_ref(call, &ref);

    rc = ti_pending_seal(mcf->crypto, &pool, &random,
                         call->provider->store->ring, &ref, &call->pending,
                         ngx_time(), &sealed);

    if (rc == TI_OK) {
        call->sealed.data = (u_char *) sealed.data;
        call->sealed.len = sealed.len;
    }

    return rc;
}


void
ngx_http_token_injector_consent_ref(ngx_http_token_injector_call_t *call,
    ti_record_ref_t *ref)
{
    ngx_memzero(ref, sizeof(ti_record_ref_t));

    ref->who = call->ctx->head.who;
    ref->provider = ngx_http_token_injector_str(&call->provider->name);
    ref->device = call->device;
    ref->user_key = call->provider->user_key ? call->user_key : NULL;
}


ngx_int_t
ngx_http_token_injector_consent_eval(ngx_http_token_injector_call_t *call,
    ngx_str_t *script, ti_str_t state)
{
    u_char                                  *p, now[NGX_INT64_LEN];
    ti_str_t                                 name;
    ti_pool_t                                pool;
    ngx_str_t                                argv[8];
    ngx_int_t                                rc;
    ngx_time_t                              *tp;
    ngx_http_token_injector_store_t         *store;
    ngx_http_token_injector_main_conf_t     *mcf;
    ngx_http_token_injector_call_command_t   command;

    mcf = ngx_http_token_injector_main(call->request);
    store = call->provider->store;
    pool = ngx_http_token_injector_pool(call->request->pool);

    p = ngx_pnalloc(call->request->pool,
                    store->key_prefix.len + call->user.len + sizeof("{}:p"));

    if (p == NULL
        || ti_record_pending_name(mcf->crypto, &pool,
                              ngx_http_token_injector_str(&store->key_prefix),
                              call->user, state, &name)
           != TI_OK)
    {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    tp = ngx_timeofday();

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = *script;
    ngx_str_set(&argv[2], "2");
    argv[3].data = (u_char *) name.data;
    argv[3].len = name.len;
    argv[4].data = p;
    argv[4].len = ngx_sprintf(p, "%V{%*s}:p", &store->key_prefix,
                              call->user.len, call->user.data)
                  - p;
    argv[5] = call->sealed;
    ngx_str_set(&argv[6], "600");
    argv[7].data = now;
    argv[7].len = ngx_sprintf(now, "%L", (int64_t) tp->sec * 1000 + tp->msec)
                  - now;

    command.argv = argv;
    command.argc = call->sealed.len ? 8 : 5;

    rc = ngx_http_token_injector_call_ask(call->provider, &command, 1,
                                         ngx_http_token_injector_consent_reply,
                                         call, &call->op);

    return rc == NGX_OK ? NGX_AGAIN
                        : ngx_http_token_injector_call_unasked(call, rc);
}


static void
ngx_http_token_injector_consent_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ti_str_t                         sealed;
    ti_pool_t                        pool;
    ngx_http_token_injector_call_t  *call = data;

    call->op = NULL;
    ngx_str_null(&call->sealed);

    if (rc != NGX_OK || reply->type == TI_RESP_ERROR) {
        call->failed = 1;

    } else if (reply->type == TI_RESP_STRING) {

        pool = ngx_http_token_injector_pool(call->request->pool);

        if (ti_pool_copy(&pool, reply->str, &sealed) == TI_OK) {
            call->sealed.data = (u_char *) sealed.data;
            call->sealed.len = sealed.len;

        } else {
            call->failed = 1;
        }
    }

    ngx_http_token_injector_call_resume(call);
}


static ngx_int_t
ngx_http_token_injector_consent_begun(ngx_http_token_injector_call_t *call)
{
    ti_str_t   json;
    ti_pool_t  pool;

    if (call->failed) {
        return ngx_http_token_injector_call_refuse(call,
                                               TI_RESULT_STORE_UNAVAILABLE,
                                               "the store did not answer");
    }

    pool = ngx_http_token_injector_pool(call->request->pool);

    if (ti_connections_write_start(&pool, call->url, TI_PENDING_LIFE, &json)
        != TI_OK)
    {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    return ngx_http_token_injector_call_answer(call, NGX_HTTP_CREATED, &json);
}
