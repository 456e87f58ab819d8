/*
 * A provider that signs ID tokens: whose keys they are verified with.  The
 * same machinery fetches them that fetches those of the callers' issuers.
 */

#include "ngx_http_token_injector.h"


/*
 * Seconds that the provider's clock may be ahead of ours: its tokens are
 * judged in the moment in which they are made, and the code is spent.
 */

#define NGX_HTTP_TOKEN_INJECTOR_SIGNS_LEEWAY  60


static char *ngx_http_token_injector_signs_keys(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static char *ngx_http_token_injector_signs_algorithms(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static ngx_uint_t ngx_http_token_injector_signs_openid(ngx_str_t *scope);


char *
ngx_http_token_injector_provider_signs(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    if (provider->issuer.len == 0) {

        if (provider->keys_uris || provider->algorithms) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "token_provider \"%V\" has \"keys_uri\" or "
                               "\"algorithms\" and no \"issuer\": whose ID "
                               "tokens would they be", &provider->name);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (ngx_http_token_injector_signs_algorithms(cf, provider)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (provider->grant != NGX_HTTP_TOKEN_INJECTOR_CODE
        || !ngx_http_token_injector_signs_openid(&provider->scope))
    {
        return NGX_CONF_OK;
    }

    return ngx_http_token_injector_signs_keys(cf, provider);
}


static char *
ngx_http_token_injector_signs_keys(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ngx_str_t                            *client;
    ngx_http_token_injector_issuer_t     *issuer;
    ngx_http_token_injector_main_conf_t  *mcf;

    issuer = ngx_http_token_injector_issuer_create(cf);
    if (issuer == NULL) {
        return NGX_CONF_ERROR;
    }

    issuer->audience = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
    if (issuer->audience == NULL) {
        return NGX_CONF_ERROR;
    }

    client = ngx_array_push(issuer->audience);
    *client = provider->client_id;

    issuer->name = provider->name;
    issuer->place = provider->place;
    issuer->issuer = provider->issuer;
    issuer->algorithms = provider->algorithms;
    issuer->keys_uris = provider->keys_uris;
    issuer->party = provider->party;
    issuer->leeway = NGX_HTTP_TOKEN_INJECTOR_SIGNS_LEEWAY;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);

    if (ngx_http_token_injector_issuer_trust(cf, issuer, mcf)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_token_injector_issuer_used(issuer);

    provider->signer_of_ids = issuer;

    return NGX_CONF_OK;
}


/* those of MAC would be verified with the client's secret: not done */

static char *
ngx_http_token_injector_signs_algorithms(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ti_alg_t     alg;
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (provider->algorithms == NULL) {
        return NGX_CONF_OK;
    }

    name = provider->algorithms->elts;

    for (i = 0; i < provider->algorithms->nelts; i++) {

        alg = ti_alg_by_name(ngx_http_token_injector_str(&name[i]));

        if (alg == TI_ALG_NONE || (alg & TI_ALGS_MAC)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "token_provider \"%V\" names the algorithm "
                               "\"%V\", which is not one of RS, PS, ES with "
                               "256, 384, 512 and EdDSA",
                               &provider->name, &name[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_token_injector_signs_openid(ngx_str_t *scope)
{
    u_char  *p, *last, *word;

    p = scope->data;
    last = p + scope->len;

    while (p < last) {

        for (word = p; p < last && *p != ' '; p++) { /* void */ }

        if (p - word == 6 && ngx_strncmp(word, "openid", 6) == 0) {
            return 1;
        }

        while (p < last && *p == ' ') {
            p++;
        }
    }

    return 0;
}
