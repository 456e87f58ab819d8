/*
 * Who consented, by the ID token that came with the tokens, where a nonce was
 * sent (OpenID Connect Core 1.0 section 3.1.3.7).
 */

#include "ngx_http_token_injector_grant_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_IDENTITY_LOOK  50


static ngx_int_t ngx_http_token_injector_grant_signed(
    ngx_http_token_injector_grant_t *grant, json_t **claims);
static ngx_uint_t ngx_http_token_injector_grant_hope(
    ngx_http_token_injector_grant_t *grant,
    ngx_http_token_injector_issuer_t *issuer);
static ngx_int_t ngx_http_token_injector_grant_unsigned(
    ngx_http_token_injector_grant_t *grant, json_t **claims);
static ngx_int_t ngx_http_token_injector_grant_claims(
    ngx_http_token_injector_grant_t *grant, const json_t *claims);
static const char *ngx_http_token_injector_grant_addressed(
    ngx_http_token_injector_grant_t *grant, const json_t *claims);


ngx_int_t
ngx_http_token_injector_grant_identity(ngx_http_token_injector_grant_t *grant)
{
    json_t     *claims;
    ngx_int_t   rc;

    if (grant->conf.grant != TI_OAUTH_CODE || grant->conf.nonce.len == 0) {
        return NGX_OK;
    }

    if (grant->tokens.id_token.len == 0) {
        return ngx_http_token_injector_grant_fail(grant,
                               TI_RESULT_PROVIDER_MISCONFIGURED,
                               "\"scope\" has \"openid\", and the provider's "
                               "reply has no \"id_token\"");
    }

    claims = NULL;

    rc = grant->conf.provider->signer_of_ids
         ? ngx_http_token_injector_grant_signed(grant, &claims)
         : ngx_http_token_injector_grant_unsigned(grant, &claims);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_token_injector_grant_claims(grant, claims);

    json_decref(claims);

    return rc;
}


/*
 * By the provider's keys.  Where they lack the one that it names, they are
 * asked for, as for a caller's token, and this step begins once more; and where
 * they can't be had at all, what remains is that the token came over TLS from
 * the endpoint itself, which stands for a signature (section 3.1.3.7, 6.): the
 * code is spent, and its tokens are not to be lost.
 */

static ngx_int_t
ngx_http_token_injector_grant_signed(ngx_http_token_injector_grant_t *grant,
    json_t **claims)
{
    ti_jwt_t                            jwt;
    ti_result_t                         result;
    const char                         *why;
    const ti_jwt_issuer_t              *policy;
    ngx_http_token_injector_feed_t    **feed;
    ngx_http_token_injector_issuer_t   *issuer;

    issuer = grant->conf.provider->signer_of_ids;
    policy = &issuer->policy;

    feed = issuer->feeds.elts;

    ngx_http_token_injector_keys_sync(issuer);

    result = ti_jwt_verify(feed[0]->crypto, &grant->pool, &policy, 1,
                           grant->tokens.id_token, ngx_time(), &jwt, &why);

    if (result == TI_RESULT_OK) {
        *claims = jwt.claims;
        return NGX_OK;
    }

    if (jwt.newer && ngx_http_token_injector_grant_hope(grant, issuer)) {
        ngx_add_timer(&grant->event, NGX_HTTP_TOKEN_INJECTOR_IDENTITY_LOOK);
        return NGX_AGAIN;
    }

    if (result == TI_RESULT_KEYS_UNAVAILABLE
        && !grant->conf.provider->party.allow_http)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "token injector: the keys of provider \"%V\" can't be "
                      "had: its ID token is taken without a look at its "
                      "signature, since it came over TLS",
                      &grant->conf.provider->name);

        return ngx_http_token_injector_grant_unsigned(grant, claims);
    }

    return ngx_http_token_injector_grant_fail(grant,
                                              TI_RESULT_PROVIDER_UNAVAILABLE,
                                              why);
}


/* may other keys come yet?  They are asked for at the first time. */

static ngx_uint_t
ngx_http_token_injector_grant_hope(ngx_http_token_injector_grant_t *grant,
    ngx_http_token_injector_issuer_t *issuer)
{
    if (grant->identity == 0) {
        grant->identity = ngx_current_msec + issuer->keys_wait;
        ngx_http_token_injector_keys_ask(issuer);

        return 1;
    }

    return (ngx_msec_int_t) (grant->identity - ngx_current_msec) > 0;
}


static ngx_int_t
ngx_http_token_injector_grant_unsigned(ngx_http_token_injector_grant_t *grant,
    json_t **claims)
{
    if (ti_jwt_claims(grant->tokens.id_token, claims) != TI_OK) {
        return ngx_http_token_injector_grant_fail(grant,
                                TI_RESULT_PROVIDER_UNAVAILABLE,
                                "the provider's ID token can't be read");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_grant_claims(ngx_http_token_injector_grant_t *grant,
    const json_t *claims)
{
    ti_str_t                             name;
    const char                          *why;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;

    why = ngx_http_token_injector_grant_addressed(grant, claims);

    if (why) {
        return ngx_http_token_injector_grant_fail(grant,
                                     TI_RESULT_PROVIDER_MISCONFIGURED, why);
    }

    if (ti_oauth_id_token(claims,
                          ngx_http_token_injector_str(&provider->client_id),
                          grant->conf.nonce, &why)
        != TI_OK)
    {
        return ngx_http_token_injector_grant_fail(grant,
                                              TI_RESULT_STATE_INVALID, why);
    }

    /* borrowed from claims that are about to go */

    if (ti_claims_name(&grant->pool, claims, &provider->account, &name)
        != TI_OK
        || name.len > TI_OAUTH_ACCOUNT_MAX
        || ti_pool_copy(&grant->pool, name, &grant->account) != TI_OK)
    {
        grant->account = ti_null_str;
    }

    return NGX_OK;
}


/* "iss", "aud", "exp": of whom, for whom, until when */

static const char *
ngx_http_token_injector_grant_addressed(
    ngx_http_token_injector_grant_t *grant, const json_t *claims)
{
    size_t                               i;
    int64_t                              exp;
    ti_str_t                             iss, id;
    const json_t                        *aud, *one;
    ngx_http_token_injector_provider_t  *provider;

    provider = grant->conf.provider;
    id = ngx_http_token_injector_str(&provider->client_id);

    if (ti_json_string(claims, "iss", &iss) != TI_OK
        || (provider->issuer.len
            && !ti_str_eq(iss,
                          ngx_http_token_injector_str(&provider->issuer))))
    {
        return "the ID token's \"iss\" is not this provider's \"issuer\"";
    }

    aud = json_object_get(claims, "aud");
    one = json_is_array(aud) ? NULL : aud;

    for (i = 0; i < json_array_size(aud); i++) {
        one = json_array_get(aud, i);

        if (json_is_string(one) && ti_str_eq(ti_json_str(one), id)) {
            break;
        }
    }

    if (!json_is_string(one) || !ti_str_eq(ti_json_str(one), id)) {
        return "the ID token's \"aud\" is not this client";
    }

    if (ti_json_integer(claims, "exp", 0, INT64_MAX, &exp) != TI_OK
        || exp <= ngx_time())
    {
        return "the ID token is expired, or this host's clock is wrong";
    }

    return NULL;
}
