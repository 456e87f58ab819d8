/*
 * A grant's questions to its provider: where its endpoints are, the tokens,
 * whose they are.
 */

#include "ngx_http_token_injector_grant_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_GRANT_WHY  512


static void ngx_http_token_injector_grant_found(void *data, const char *why);
static ti_rc_t ngx_http_token_injector_grant_request(
    ngx_http_token_injector_grant_t *grant, ngx_str_t *endpoint,
    ti_oauth_request_t *request);
static ti_rc_t ngx_http_token_injector_grant_client(
    ngx_http_token_injector_grant_t *grant, ngx_str_t *endpoint,
    ti_oauth_client_t *client);
static void ngx_http_token_injector_grant_reply(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why);
static ngx_int_t ngx_http_token_injector_grant_judge(
    ngx_http_token_injector_grant_t *grant,
    ngx_http_token_injector_fetch_reply_t *reply);
static ngx_int_t ngx_http_token_injector_grant_userinfo(
    ngx_http_token_injector_grant_t *grant, const ngx_str_t *endpoint);
static void ngx_http_token_injector_grant_who(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why);
static ngx_int_t ngx_http_token_injector_grant_match(
    ngx_http_token_injector_grant_t *grant);


ngx_int_t
ngx_http_token_injector_grant_find(ngx_http_token_injector_grant_t *grant)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;

    if (ngx_http_token_injector_endpoints(provider)) {
        return NGX_OK;
    }

    grant->find.handler = ngx_http_token_injector_grant_found;
    grant->find.data = grant;

    rc = ngx_http_token_injector_find(provider, &grant->find);

    if (rc == NGX_DECLINED) {
        return ngx_http_token_injector_grant_fail(grant,
                                TI_RESULT_PROVIDER_UNAVAILABLE,
                                "its endpoints are not known");
    }

    if (rc != NGX_OK) {
        return ngx_http_token_injector_grant_fail(grant,
                               TI_RESULT_INTERNAL_ERROR,
                               "its issuer could not be asked: out of memory "
                               "or of connections");
    }

    grant->finding = 1;

    return NGX_AGAIN;
}


static void
ngx_http_token_injector_grant_found(void *data, const char *why)
{
    ngx_http_token_injector_grant_t *grant = data;

    ngx_int_t  rc;

    grant->finding = 0;
    rc = NGX_OK;

    if (why || ngx_http_token_injector_endpoints(grant->conf.provider)
               == NULL)
    {
        rc = ngx_http_token_injector_grant_fail(grant,
                                TI_RESULT_PROVIDER_UNAVAILABLE,
                                "its endpoints are not known");
    }

    ngx_http_token_injector_grant_go(grant, rc);
}


ngx_int_t
ngx_http_token_injector_grant_ask(ngx_http_token_injector_grant_t *grant)
{
    ngx_int_t                                   rc;
    ti_oauth_request_t                          request;
    ngx_http_token_injector_provider_t         *provider;
    const ngx_http_token_injector_endpoints_t  *endpoints;
    ngx_http_token_injector_fetch_request_t     fetch;

    provider = grant->conf.provider;
    endpoints = ngx_http_token_injector_endpoints(provider);

    if (endpoints == NULL) {
        return ngx_http_token_injector_grant_fail(grant,
                                            TI_RESULT_PROVIDER_UNAVAILABLE,
                                            "its endpoints are not known");
    }

    ngx_memzero(&fetch, sizeof(ngx_http_token_injector_fetch_request_t));

    fetch.url = endpoints->token;

    if (ngx_http_token_injector_grant_request(grant, &fetch.url, &request)
        != TI_OK)
    {
        return ngx_http_token_injector_grant_fail(grant,
                                                  TI_RESULT_INTERNAL_ERROR,
                                                  "out of memory");
    }

    fetch.authorization.data = (u_char *) request.authorization.data;
    fetch.authorization.len = request.authorization.len;
    fetch.body.data = (u_char *) request.body.data;
    fetch.body.len = request.body.len;

    rc = ngx_http_token_injector_fetch_start(&provider->party.fetch, &fetch,
                                        ngx_http_token_injector_grant_reply,
                                        grant, &grant->fetch);

    if (rc != NGX_OK) {
        grant->fetch = NULL;

        return ngx_http_token_injector_grant_fail(grant,
                               rc == NGX_BUSY ? TI_RESULT_PROVIDER_UNAVAILABLE
                                              : TI_RESULT_INTERNAL_ERROR,
                               "its token endpoint could not be asked: out of "
                               "memory or of connections");
    }

    return NGX_AGAIN;
}


/*
 * A code has no scope, which was given with it, and a refresh none, which is
 * that of the tokens that it renews (RFC 6749 section 6).
 */

static ti_rc_t
ngx_http_token_injector_grant_request(ngx_http_token_injector_grant_t *grant,
    ngx_str_t *endpoint, ti_oauth_request_t *request)
{
    ti_oauth_ask_t                       ask;
    ti_oauth_client_t                    client;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;

    ngx_memzero(&ask, sizeof(ti_oauth_ask_t));

    ask.grant = grant->conf.grant;

    switch (ask.grant) {

    case TI_OAUTH_CODE:
        ask.grant_token = grant->conf.code;
        ask.redirect_uri = grant->conf.redirect_uri;
        ask.verifier = grant->conf.verifier;
        break;

    case TI_OAUTH_REFRESH:
        ask.grant_token = ngx_http_token_injector_grant_token(grant);
        break;

    case TI_OAUTH_EXCHANGE:
    case TI_OAUTH_JWT_BEARER:
        ask.grant_token = grant->conf.token;
        ask.subject_type = ngx_http_token_injector_str(
                                               &provider->subject_token_type);
        /* fall through */

    case TI_OAUTH_CLIENT_CREDENTIALS:
        ask.scope = grant->conf.scope;
    }

    if (provider->token_params) {
        ask.extra = provider->token_params->elts;
        ask.nextra = provider->token_params->nelts;
    }

    if (ngx_http_token_injector_grant_client(grant, endpoint, &client)
        != TI_OK)
    {
        return TI_ERROR;
    }

    return ti_oauth_token_request(&grant->pool, &client, &ask, request);
}


/*
 * The secret that was good the last time goes first; which one that is may
 * change while this grant is at it.
 */

static ti_rc_t
ngx_http_token_injector_grant_client(ngx_http_token_injector_grant_t *grant,
    ngx_str_t *endpoint, ti_oauth_client_t *client)
{
    ngx_uint_t                           n;
    ti_random_t                          random;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;

    client->auth = provider->client_auth;
    client->id = ngx_http_token_injector_str(&provider->client_id);
    client->secret = ti_null_str;

    switch (client->auth) {

    case TI_OAUTH_BASIC:
    case TI_OAUTH_POST:
        if (grant->tried == 0) {
            grant->first = ngx_http_token_injector_secret(provider);
        }

        n = (grant->first + grant->tried) % provider->nsecrets;

        client->secret = provider->secrets[n];

        return TI_OK;

    case TI_OAUTH_ASSERTION:
        random = ti_crypto_random();

        return ti_signer_assertion(provider->signer, &grant->pool, &random,
                                   client->id,
                                   ngx_http_token_injector_str(endpoint),
                                   ngx_time(), &client->secret);

    default:
        return TI_OK;
    }
}


static void
ngx_http_token_injector_grant_reply(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why)
{
    ngx_http_token_injector_grant_t *grant = data;

    u_char  buf[NGX_HTTP_TOKEN_INJECTOR_GRANT_WHY];

    grant->fetch = NULL;

    if (rc == NGX_OK) {
        rc = ngx_http_token_injector_grant_judge(grant, reply);

    } else {
        (void) ngx_snprintf(buf, sizeof(buf), "its token endpoint %s%Z", why);
        buf[sizeof(buf) - 1] = '\0';

        rc = ngx_http_token_injector_grant_fail(grant,
                                            TI_RESULT_PROVIDER_UNAVAILABLE,
                                            (char *) buf);
    }

    ngx_http_token_injector_grant_go(grant, rc);
}


static ngx_int_t
ngx_http_token_injector_grant_judge(ngx_http_token_injector_grant_t *grant,
    ngx_http_token_injector_fetch_reply_t *reply)
{
    ti_result_t                          result;
    ti_oauth_reply_t                     said;
    ti_oauth_failure_t                   failure;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;

    said.status = (unsigned) reply->status;
    said.body = ngx_http_token_injector_str(&reply->body);
    said.retry_after = ngx_http_token_injector_str(&reply->retry_after);

    result = ti_oauth_token_reply(&grant->pool, grant->conf.grant, &said,
                                  ngx_time(), &grant->tokens, &failure);

    if (result != TI_RESULT_OK) {

        if (failure.bad_client && grant->tried + 1 < provider->nsecrets) {
            grant->tried++;
            return ngx_http_token_injector_grant_ask(grant);
        }

        if (failure.permanent && grant->conf.previous.len && !grant->second) {
            grant->second = 1;
            return ngx_http_token_injector_grant_ask(grant);
        }

        grant->granted.retry_after = failure.retry_after;
        grant->granted.permanent = failure.permanent;
        grant->granted.error = failure.error;
        grant->granted.claims = failure.claims;

        return ngx_http_token_injector_grant_fail(grant, result, failure.why);
    }

    if (grant->tried) {
        ngx_http_token_injector_secret_good(provider,
                                            (grant->first + grant->tried)
                                            % provider->nsecrets);
    }

    if (grant->tokens.unkept) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "token injector: provider \"%V\" sent a refresh token "
                      "that no record may hold: it is not kept, consent may "
                      "be asked for again when the access token ends",
                      &provider->name);
    }

    return NGX_OK;
}


/* best effort, unless it must be the caller's own */

ngx_int_t
ngx_http_token_injector_grant_account(ngx_http_token_injector_grant_t *grant)
{
    const ngx_http_token_injector_endpoints_t  *endpoints;

    endpoints = ngx_http_token_injector_endpoints(grant->conf.provider);

    if (grant->conf.grant == TI_OAUTH_CODE && endpoints
        && endpoints->userinfo.len
        && ngx_http_token_injector_grant_userinfo(grant, &endpoints->userinfo)
           == NGX_OK)
    {
        return NGX_AGAIN;
    }

    return ngx_http_token_injector_grant_match(grant);
}


static ngx_int_t
ngx_http_token_injector_grant_userinfo(ngx_http_token_injector_grant_t *grant,
    const ngx_str_t *endpoint)
{
    u_char                                   *p;
    ti_oauth_request_t                        request;
    ngx_http_token_injector_provider_t       *provider;
    ngx_http_token_injector_fetch_request_t   fetch;

    provider = grant->conf.provider;

    if (ti_oauth_userinfo_request(&grant->pool, provider->userinfo_auth,
                                  ti_str_from(endpoint->data, endpoint->len),
                                  grant->tokens.access_token, &request)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    fetch.url.len = endpoint->len + request.query.len;
    fetch.url.data = ti_pool_alloc(&grant->pool, fetch.url.len + 1);

    if (fetch.url.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(fetch.url.data, endpoint->data, endpoint->len);

    if (request.query.len) {
        p = ngx_cpymem(p, request.query.data, request.query.len);
    }

    *p = '\0';

    fetch.authorization.data = (u_char *) request.authorization.data;
    fetch.authorization.len = request.authorization.len;
    fetch.body.data = request.body.len ? (u_char *) request.body.data : NULL;
    fetch.body.len = request.body.len;

    if (ngx_http_token_injector_fetch_start(&provider->party.fetch, &fetch,
                                            ngx_http_token_injector_grant_who,
                                            grant, &grant->fetch)
        != NGX_OK)
    {
        grant->fetch = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_grant_who(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why)
{
    ngx_http_token_injector_grant_t *grant = data;

    ti_str_t                             account;
    ti_oauth_reply_t                     said;
    ngx_http_token_injector_provider_t  *provider;

    grant->fetch = NULL;
    provider = grant->conf.provider;

    if (rc == NGX_OK) {
        said.status = (unsigned) reply->status;
        said.body = ngx_http_token_injector_str(&reply->body);
        said.retry_after = ti_null_str;

        why = "out of memory";

        if (ti_oauth_account(&grant->pool, &said, &provider->account, &account,
                             &why)
            == TI_OK)
        {
            grant->account = account;
            why = NULL;
        }
    }

    if (why) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "token injector: the account's name at provider \"%V\" "
                      "stays unknown, \"userinfo_endpoint\": %s",
                      &provider->name, why);
    }

    ngx_http_token_injector_grant_go(grant,
                                  ngx_http_token_injector_grant_match(grant));
}


/* nothing of another's account is stored */

static ngx_int_t
ngx_http_token_injector_grant_match(ngx_http_token_injector_grant_t *grant)
{
    if (grant->conf.account.len == 0) {
        return NGX_OK;
    }

    if (grant->account.len == 0) {
        return ngx_http_token_injector_grant_fail(grant,
                               TI_RESULT_PROVIDER_UNAVAILABLE,
                               "\"match_account\" asks whose account it is, "
                               "and the provider does not say");
    }

    if (!ti_oauth_account_is(grant->account, grant->conf.account)) {
        return ngx_http_token_injector_grant_fail(grant,
                               TI_RESULT_CONNECTION_REQUIRED,
                               "\"match_account\": the account is not the "
                               "caller's own");
    }

    return NGX_OK;
}
