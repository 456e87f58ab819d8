/*
 * DELETE: a connection taken out of the store, and its tokens revoked at the
 * provider (RFC 7009), as well as that can be done.
 */

#include "ngx_http_token_injector_connections.h"


#define NGX_HTTP_TOKEN_INJECTOR_REMOVAL_POOL  4096


/* a token to revoke, with one client secret after the other */

typedef struct {
    ngx_http_token_injector_removal_t    *removal;
    ngx_http_token_injector_fetch_t      *fetch;
    ti_str_t                              hint;
    ti_str_t                              token;
    ngx_uint_t                            first;     /* secret */
    ngx_uint_t                            secret;    /* the next, after it */
    unsigned                              tried:1;
} ngx_http_token_injector_revocation_t;


struct ngx_http_token_injector_removal_s {
    ngx_pool_t                           *pool;
    ngx_http_token_injector_provider_t   *provider;
    ti_crypto_t                          *crypto;
    ti_who_t                              who;
    ti_str_t                              user;
    ti_str_t                              device;
    ti_str_t                              name;
    u_char                                key[TI_KEY_LEN];
    unsigned                              has_key:1;

    ngx_http_token_injector_revocation_t  revocations[2];
    ngx_uint_t                            left;      /* of them */

    ngx_http_token_injector_removal_handler_pt  handler;
    void                                 *data;
};


/* KEYS: the connection.  ARGV: the channel.  A value of any type goes. */

static ngx_str_t  ngx_http_token_injector_removal_script = ngx_string(
    "local v=redis.pcall('HMGET',KEYS[1],'access','refresh','gen','cid') "
    "if redis.call('DEL',KEYS[1])==1 then "
    "redis.call('PUBLISH',ARGV[1],KEYS[1]) end "
    "if v.err then return {} end "
    "return v");


static ngx_int_t ngx_http_token_injector_remove_begin(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_remove_over(void *data, ngx_int_t rc);
static ngx_int_t ngx_http_token_injector_removed(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_removal_copy(
    ngx_http_token_injector_removal_t *removal,
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_removal_eval(
    ngx_http_token_injector_removal_t *removal);
static void ngx_http_token_injector_removal_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_removal_tell(
    ngx_http_token_injector_removal_t *removal, ngx_int_t rc);
static void ngx_http_token_injector_removal_end(
    ngx_http_token_injector_removal_t *removal);
static void ngx_http_token_injector_removal_open(
    ngx_http_token_injector_removal_t *removal, const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_revoke(
    ngx_http_token_injector_revocation_t *revocation);
static ngx_int_t ngx_http_token_injector_revoke_request(
    ngx_http_token_injector_revocation_t *revocation, const ti_pool_t *pool,
    ngx_str_t *endpoint, ti_oauth_request_t *request);
static void ngx_http_token_injector_revoked(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why);


ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_remove[] = {

    /* waits for: the provider's issuer, which says where to revoke */
    { ngx_string("find"), ngx_http_token_injector_call_find },

    /* waits for: Redis, and the revocation endpoint for as long as it has */
    { ngx_string("remove"), ngx_http_token_injector_remove_begin },

    { ngx_string("removed"), ngx_http_token_injector_removed }
};


static ngx_int_t
ngx_http_token_injector_remove_begin(ngx_http_token_injector_call_t *call)
{
    ngx_int_t  rc;

    if (ngx_http_token_injector_call_names(call, call->provider, &call->user,
                                           &call->device)
        != NGX_OK)
    {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    rc = ngx_http_token_injector_removal_begin(call,
                                          ngx_http_token_injector_remove_over,
                                          call, &call->removal);

    return rc == NGX_OK ? NGX_AGAIN
                        : ngx_http_token_injector_call_unasked(call, rc);
}


static void
ngx_http_token_injector_remove_over(void *data, ngx_int_t rc)
{
    ngx_http_token_injector_call_t  *call = data;

    call->removal = NULL;
    call->failed = (rc != NGX_OK);

    ngx_http_token_injector_call_resume(call);
}


/* where there was none, there is none: that is what was asked for */

static ngx_int_t
ngx_http_token_injector_removed(ngx_http_token_injector_call_t *call)
{
    if (call->failed) {
        return ngx_http_token_injector_call_refuse(call,
                                               TI_RESULT_STORE_UNAVAILABLE,
                                               "the store did not answer");
    }

    return ngx_http_token_injector_call_answer(call, NGX_HTTP_NO_CONTENT,
                                               NULL);
}


ngx_int_t
ngx_http_token_injector_removal_begin(ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_removal_handler_pt handler, void *data,
    ngx_http_token_injector_removal_t **removal)
{
    ngx_int_t                           rc;
    ngx_pool_t                         *pool;
    ngx_http_token_injector_removal_t  *begun;

    pool = ngx_create_pool(NGX_HTTP_TOKEN_INJECTOR_REMOVAL_POOL,
                           ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    begun = ngx_pcalloc(pool, sizeof(ngx_http_token_injector_removal_t));
    if (begun == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    begun->pool = pool;
    begun->handler = handler;
    begun->data = data;

    rc = ngx_http_token_injector_removal_copy(begun, call);

    if (rc == NGX_OK) {
        rc = ngx_http_token_injector_removal_eval(begun);
    }

    if (rc != NGX_OK) {
        ngx_http_token_injector_removal_end(begun);
        return rc;
    }

    *removal = begun;

    return NGX_OK;
}


void
ngx_http_token_injector_removal_forget(
    ngx_http_token_injector_removal_t *removal)
{
    removal->handler = NULL;
    removal->data = NULL;
}


static ngx_int_t
ngx_http_token_injector_removal_copy(
    ngx_http_token_injector_removal_t *removal,
    ngx_http_token_injector_call_t *call)
{
    ngx_uint_t                            i;
    ti_pool_t                             pool;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    struct {
        ti_str_t   from;
        ti_str_t  *to;
    } copies[] = {
        { call->ctx->head.who.issuer, &removal->who.issuer },
        { call->ctx->head.who.tenant, &removal->who.tenant },
        { call->ctx->head.who.subject, &removal->who.subject },
        { call->user, &removal->user },
        { call->device, &removal->device }
    };

    mcf = ngx_http_token_injector_main(call->request);
    provider = call->provider;
    pool = ngx_http_token_injector_pool(removal->pool);

    for (i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
        if (ti_pool_copy(&pool, copies[i].from, copies[i].to) != TI_OK) {
            return NGX_ERROR;
        }
    }

    removal->crypto = mcf->crypto;
    removal->provider = provider;

    if (provider->user_key) {
        ngx_memcpy(removal->key, call->user_key, TI_KEY_LEN);
        removal->has_key = 1;
    }

    return ti_record_connection_name(&pool,
                    ngx_http_token_injector_str(&provider->store->key_prefix),
                    removal->user,
                    ngx_http_token_injector_str(&provider->name),
                    removal->device, &removal->name)
           == TI_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_token_injector_removal_eval(
    ngx_http_token_injector_removal_t *removal)
{
    ti_str_t                                 changes;
    ti_pool_t                                pool;
    ngx_str_t                                argv[5];
    ngx_http_token_injector_store_t         *store;
    ngx_http_token_injector_redis_op_t      *op;
    ngx_http_token_injector_call_command_t   command;

    store = removal->provider->store;
    pool = ngx_http_token_injector_pool(removal->pool);

    if (ti_record_changes_name(&pool,
                              ngx_http_token_injector_str(&store->key_prefix),
                              &changes)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_token_injector_removal_script;
    ngx_str_set(&argv[2], "1");
    argv[3].data = (u_char *) removal->name.data;
    argv[3].len = removal->name.len;
    argv[4].data = (u_char *) changes.data;
    argv[4].len = changes.len;

    command.argv = argv;
    command.argc = 5;

    return ngx_http_token_injector_call_ask(removal->provider, &command, 1,
                                         ngx_http_token_injector_removal_reply,
                                         removal, &op);
}


static void
ngx_http_token_injector_removal_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_removal_t  *removal = data;

    ngx_uint_t                                  i;
    const ngx_http_token_injector_endpoints_t  *endpoints;

    if (rc != NGX_OK || reply->type != TI_RESP_ARRAY) {
        ngx_http_token_injector_removal_tell(removal, NGX_ERROR);
        ngx_http_token_injector_removal_end(removal);
        return;
    }

    endpoints = ngx_http_token_injector_endpoints(removal->provider);

    if (endpoints && endpoints->revocation.len) {
        ngx_http_token_injector_removal_open(removal, reply);
    }

    for (i = 0; i < 2; i++) {
        if (removal->revocations[i].token.len
            && ngx_http_token_injector_revoke(&removal->revocations[i])
               == NGX_OK)
        {
            removal->left++;
        }
    }

    if (removal->left == 0) {
        ngx_http_token_injector_removal_tell(removal, NGX_OK);
        ngx_http_token_injector_removal_end(removal);
    }
}


static void
ngx_http_token_injector_removal_tell(
    ngx_http_token_injector_removal_t *removal, ngx_int_t rc)
{
    ngx_http_token_injector_removal_handler_pt  handler;

    handler = removal->handler;
    removal->handler = NULL;

    if (handler) {
        handler(removal->data, rc);
    }
}


static void
ngx_http_token_injector_removal_end(
    ngx_http_token_injector_removal_t *removal)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        ti_wipe((void *) removal->revocations[i].token.data,
                removal->revocations[i].token.len);
    }

    ti_wipe(removal->key, sizeof(removal->key));

    ngx_destroy_pool(removal->pool);
}


/* what was deleted, as far as it opens: the refresh token first */

static void
ngx_http_token_injector_removal_open(
    ngx_http_token_injector_removal_t *removal, const ti_resp_reply_t *reply)
{
    uint64_t          gen;
    ti_pool_t         pool;
    ngx_uint_t        i;
    const char       *why;
    ti_record_t       record;
    ti_record_ref_t   ref;

    static const struct {
        ti_record_kind_t  kind;
        ti_str_t          hint;
        ngx_uint_t        place;
    } tokens[] = {
        { TI_RECORD_REFRESH, ti_string("refresh_token"), 1 },
        { TI_RECORD_ACCESS, ti_string("access_token"), 0 }
    };

    if (reply->n != 4 || reply->elements[2]->type != TI_RESP_STRING
        || reply->elements[3]->type != TI_RESP_STRING
        || ti_decimal_parse(reply->elements[2]->str, TI_RECORD_GEN_MAX, &gen)
           != TI_OK)
    {
        return;
    }

    pool = ngx_http_token_injector_pool(removal->pool);

    ngx_memzero(&ref, sizeof(ti_record_ref_t));

    ref.who = removal->who;
    ref.provider = ngx_http_token_injector_str(&removal->provider->name);
    ref.device = removal->device;
    ref.user_key = removal->has_key ? removal->key : NULL;
    ref.gen = gen;
    ref.cid = reply->elements[3]->str;

    for (i = 0; i < 2; i++) {
        ref.kind = tokens[i].kind;

        if (reply->elements[tokens[i].place]->type == TI_RESP_STRING
            && ti_record_open(removal->crypto, &pool,
                              removal->provider->store->ring, &ref,
                              reply->elements[tokens[i].place]->str, &record,
                              &why)
               == TI_RESULT_OK)
        {
            removal->revocations[i].removal = removal;
            removal->revocations[i].hint = tokens[i].hint;
            removal->revocations[i].token = record.token;
        }
    }
}


/* the next secret that there is; NGX_DECLINED: there is none */

static ngx_int_t
ngx_http_token_injector_revoke(
    ngx_http_token_injector_revocation_t *revocation)
{
    ngx_int_t                                   rc;
    ngx_pool_t                                 *pool;
    ti_pool_t                                   tp;
    ti_oauth_request_t                          request;
    ngx_http_token_injector_provider_t         *provider;
    ngx_http_token_injector_fetch_request_t     asked;
    const ngx_http_token_injector_endpoints_t  *endpoints;

    provider = revocation->removal->provider;
    pool = revocation->removal->pool;
    tp = ngx_http_token_injector_pool(pool);

    endpoints = ngx_http_token_injector_endpoints(provider);

    if (endpoints == NULL) {
        return NGX_DECLINED;
    }

    asked.url = endpoints->revocation;

    rc = ngx_http_token_injector_revoke_request(revocation, &tp, &asked.url,
                                                &request);
    if (rc != NGX_OK) {
        return rc;
    }

    asked.authorization.data = (u_char *) request.authorization.data;
    asked.authorization.len = request.authorization.len;
    asked.body.data = (u_char *) request.body.data;
    asked.body.len = request.body.len;

    rc = ngx_http_token_injector_fetch_start(&provider->party.fetch, &asked,
                                             ngx_http_token_injector_revoked,
                                             revocation, &revocation->fetch);

    ti_wipe(asked.authorization.data, asked.authorization.len);
    ti_wipe(asked.body.data, asked.body.len);

    return rc;
}


static ngx_int_t
ngx_http_token_injector_revoke_request(
    ngx_http_token_injector_revocation_t *revocation, const ti_pool_t *pool,
    ngx_str_t *endpoint, ti_oauth_request_t *request)
{
    ti_rc_t                              rc;
    ngx_uint_t                           n;
    ti_random_t                          random;
    ti_oauth_client_t                    client;
    ngx_http_token_injector_provider_t  *provider;

    provider = revocation->removal->provider;

    ngx_memzero(&client, sizeof(ti_oauth_client_t));

    client.auth = provider->client_auth;
    client.id = ngx_http_token_injector_str(&provider->client_id);

    if (client.auth == TI_OAUTH_ASSERTION) {
        random = ti_crypto_random();

        if (revocation->secret++ > 0 || provider->signer == NULL) {
            return NGX_DECLINED;
        }

        if (ti_signer_assertion(provider->signer, pool, &random, client.id,
                                ngx_http_token_injector_str(endpoint),
                                ngx_time(), &client.secret)
            != TI_OK)
        {
            return NGX_ERROR;
        }

    } else if (client.auth == TI_OAUTH_PUBLIC) {

        if (revocation->secret++ > 0) {
            return NGX_DECLINED;
        }

    } else {

        if (revocation->secret == provider->nsecrets) {
            return NGX_DECLINED;
        }

        if (revocation->secret == 0) {
            revocation->first = ngx_http_token_injector_secret(provider);
        }

        n = (revocation->first + revocation->secret++) % provider->nsecrets;

        client.secret = provider->secrets[n];
    }

    rc = ti_oauth_revocation_request(pool, &client, revocation->token,
                                     revocation->hint, request);

    return rc == TI_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_token_injector_revoked(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why)
{
    ti_result_t                            result;
    ti_oauth_reply_t                       answer;
    ti_oauth_failure_t                     failure;
    ngx_http_token_injector_removal_t     *removal;
    ngx_http_token_injector_provider_t    *provider;
    ngx_http_token_injector_revocation_t  *revocation = data;

    removal = revocation->removal;
    provider = removal->provider;
    revocation->fetch = NULL;
    result = TI_RESULT_PROVIDER_UNAVAILABLE;

    if (rc == NGX_OK) {
        answer.status = reply->status;
        answer.body = ngx_http_token_injector_str(&reply->body);
        answer.retry_after = ngx_http_token_injector_str(&reply->retry_after);

        result = ti_oauth_revocation_reply(&answer, ngx_time(), &failure);
        why = failure.why;

        if (result != TI_RESULT_OK && failure.bad_client
            && ngx_http_token_injector_revoke(revocation) == NGX_OK)
        {
            /* nobody waits for more than one try */
            ngx_http_token_injector_removal_tell(removal, NGX_OK);
            return;
        }
    }

    if (result != TI_RESULT_OK) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "token injector: provider \"%V\": its revocation "
                      "endpoint %s; the connection is gone here, and its %*s "
                      "may be good there until it ends",
                      &provider->name, why, revocation->hint.len,
                      revocation->hint.data);
    }

    if (--removal->left == 0) {
        ngx_http_token_injector_removal_tell(removal, NGX_OK);
        ngx_http_token_injector_removal_end(removal);
    }
}
