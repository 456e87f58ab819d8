/*
 * How a token_provider is talked to: its endpoints, as whom, for what, and
 * whose account it turned out to be.
 */

#include "ngx_http_token_injector.h"

#include "ti_discovery.h"


#define NGX_HTTP_TOKEN_INJECTOR_SECRET_MAX  16384
#define NGX_HTTP_TOKEN_INJECTOR_SECRETS     8


static ngx_uint_t ngx_http_token_injector_client_talks(
    ngx_http_token_injector_provider_t *provider);
static const char *ngx_http_token_injector_client_missing(
    ngx_http_token_injector_provider_t *provider);
static const char *ngx_http_token_injector_client_proof(
    ngx_http_token_injector_provider_t *provider);
static char *ngx_http_token_injector_client_discovery(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static char *ngx_http_token_injector_client_urls(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static char *ngx_http_token_injector_client_secrets(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static const char *ngx_http_token_injector_client_lines(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider, ngx_str_t *text);
static void ngx_http_token_injector_client_wipe(void *data);
static char *ngx_http_token_injector_client_key(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static void ngx_http_token_injector_client_free(void *data);
static char *ngx_http_token_injector_client_account(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);


/* endpoints are given whole or not at all */

char *
ngx_http_token_injector_client(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    const char  *why;

    if (!ngx_http_token_injector_client_talks(provider)) {
        return NGX_CONF_OK;
    }

    provider->talks = 1;

    why = ngx_http_token_injector_client_missing(provider);

    if (why == NULL) {
        why = ngx_http_token_injector_client_proof(provider);
    }

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_provider \"%V\" talks to its provider and "
                           "%s", &provider->name, why);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_client_discovery(cf, provider) != NGX_CONF_OK
        || ngx_http_token_injector_client_urls(cf, provider) != NGX_CONF_OK
        || ngx_http_token_injector_client_secrets(cf, provider) != NGX_CONF_OK
        || ngx_http_token_injector_client_key(cf, provider) != NGX_CONF_OK
        || ngx_http_token_injector_client_account(cf, provider)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_party(cf, &provider->party);
}


static ngx_uint_t
ngx_http_token_injector_client_talks(
    ngx_http_token_injector_provider_t *provider)
{
    return provider->issuer.len || provider->authorization_endpoint.len
           || provider->token_endpoint.len || provider->userinfo_endpoint.len
           || provider->revocation_endpoint.len
           || provider->admin_consent_endpoint.len
           || provider->client_id.len || provider->client_secret_file.len
           || provider->client_key_file.len || provider->redirect_uri.len
           || provider->scope.len || provider->visit_params
           || provider->token_params || provider->account_claim.len
           || provider->match_account.len
           || provider->refresh_ahead != NGX_CONF_UNSET
           || provider->refresh_reuse != NGX_CONF_UNSET
           || provider->grant == NGX_HTTP_TOKEN_INJECTOR_EXCHANGE
           || provider->grant == NGX_HTTP_TOKEN_INJECTOR_BEARER;
}


static const char *
ngx_http_token_injector_client_missing(
    ngx_http_token_injector_provider_t *provider)
{
    ngx_uint_t  code;

    code = (provider->grant == NGX_HTTP_TOKEN_INJECTOR_CODE);

    if (provider->token_endpoint.len == 0 && provider->issuer.len == 0) {
        return "has no \"token_endpoint\"";
    }

    if (provider->client_id.len == 0) {
        return "has no \"client_id\"";
    }

    if (code && provider->authorization_endpoint.len == 0
        && provider->issuer.len == 0)
    {
        return "has no \"authorization_endpoint\"";
    }

    if (code && provider->redirect_uri.len == 0) {
        return "has no \"redirect_uri\"";
    }

    if (provider->match_account.len && provider->userinfo_endpoint.len == 0
        && provider->issuer.len == 0)
    {
        return "has a \"match_account\" and neither \"userinfo_endpoint\" nor "
               "\"issuer\": nobody says whose account it is";
    }

    return NULL;
}


/* how it says who it is */

static const char *
ngx_http_token_injector_client_proof(
    ngx_http_token_injector_provider_t *provider)
{
    ngx_uint_t  proof;

    /* an app-only token is for whoever asks as the client */
    proof = (provider->grant == NGX_HTTP_TOKEN_INJECTOR_CLIENT);

    if (provider->client_auth == TI_OAUTH_ASSERTION) {

        if (provider->client_key_file.len == 0) {
            return "has no \"client_key_file\" for \"client_auth "
                   "private_key_jwt\"";
        }

        if (provider->client_secret_file.len) {
            return "has a \"client_secret_file\", which \"client_auth "
                   "private_key_jwt\" does not use";
        }

        return NULL;
    }

    if (provider->client_key_file.len) {
        return "has a \"client_key_file\", which only \"client_auth "
               "private_key_jwt\" uses";
    }

    if (provider->client_auth == TI_OAUTH_PUBLIC && !proof) {
        return provider->client_secret_file.len == 0 ? NULL
               : "has a \"client_secret_file\", which \"client_auth none\" "
                 "does not use";
    }

    if (provider->client_secret_file.len == 0
        || provider->client_auth == TI_OAUTH_PUBLIC)
    {
        return proof ? "has no \"client_secret_file\""
                     : "has neither \"client_secret_file\" nor "
                       "\"client_auth none\"";
    }

    return NULL;
}


/* whatever of it is not written out, its issuer publishes */

static char *
ngx_http_token_injector_client_discovery(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ti_str_t   uri;
    ti_pool_t  pool;

    if (provider->token_endpoint.len
        && (provider->authorization_endpoint.len
            || provider->grant != NGX_HTTP_TOKEN_INJECTOR_CODE))
    {
        return NGX_CONF_OK;
    }

    pool = ngx_http_token_injector_pool(cf->pool);

    switch (ti_discovery_uri(&pool,
                             ngx_http_token_injector_str(&provider->issuer),
                             &uri))
    {
    case TI_OK:
        provider->discovery.data = (u_char *) uri.data;
        provider->discovery.len = uri.len;

        return NGX_CONF_OK;

    case TI_DECLINED:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_provider \"%V\": its \"issuer\" \"%V\" is "
                           "not a URL that could be asked for the endpoints "
                           "that are not written out",
                           &provider->name, &provider->issuer);
        return NGX_CONF_ERROR;

    default:
        return NGX_CONF_ERROR;
    }
}


static char *
ngx_http_token_injector_client_urls(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ngx_uint_t  i;

    struct {
        const char  *directive;
        ngx_str_t   *url;
        ngx_uint_t   asked;                      /* by us, not by browsers */
    } urls[] = {
        { "issuer", &provider->discovery, 1 },
        { "token_endpoint", &provider->token_endpoint, 1 },
        { "userinfo_endpoint", &provider->userinfo_endpoint, 1 },
        { "revocation_endpoint", &provider->revocation_endpoint, 1 },
        { "authorization_endpoint", &provider->authorization_endpoint, 0 },
        { "admin_consent_endpoint", &provider->admin_consent_endpoint, 0 },
        { "redirect_uri", &provider->redirect_uri, 0 }
    };

    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {

        if (urls[i].url->len == 0) {
            continue;
        }

        if (ngx_http_token_injector_conf_url(cf, urls[i].directive,
                                             urls[i].url,
                                             provider->party.allow_http)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        if (urls[i].asked
            && ngx_strncasecmp(urls[i].url->data, (u_char *) "https:", 6) == 0)
        {
            provider->party.https = 1;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_client_secrets(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ngx_str_t           *text;
    const char          *why;
    ngx_pool_cleanup_t  *cln;

    if (provider->client_secret_file.len == 0) {
        return NGX_CONF_OK;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_str_t));
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    text = cln->data;
    ngx_str_null(text);
    cln->handler = ngx_http_token_injector_client_wipe;

    if (ngx_http_token_injector_conf_file(cf, "client_secret_file",
                                          &provider->client_secret_file,
                                          NGX_HTTP_TOKEN_INJECTOR_SECRET_MAX,
                                          1, text)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    why = ngx_http_token_injector_client_lines(cf, provider, text);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "client_secret_file \"%V\" %s",
                           &provider->client_secret_file, why);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* RFC 6749 appendix A.2: client-secret = *VSCHAR */

static const char *
ngx_http_token_injector_client_lines(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider, ngx_str_t *text)
{
    u_char    *p, *end, *last;
    ti_str_t  *secret;

    provider->secrets = ngx_palloc(cf->pool, NGX_HTTP_TOKEN_INJECTOR_SECRETS
                                             * sizeof(ti_str_t));
    if (provider->secrets == NULL) {
        return "can't be kept: out of memory";
    }

    last = text->data + text->len;

    for (p = text->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '\n');
        if (end == NULL) {
            end = last;
        }

        if (provider->nsecrets == NGX_HTTP_TOKEN_INJECTOR_SECRETS) {
            return "has more than eight lines: a client has one secret, and a "
                   "new one while it is changed";
        }

        secret = &provider->secrets[provider->nsecrets++];
        *secret = ti_str_from(p, end - p);

        if (!ti_oauth_is_vschar(*secret)) {
            return "has a line that is empty, or a character that no secret "
                   "has";
        }
    }

    return NULL;
}


static void
ngx_http_token_injector_client_wipe(void *data)
{
    ngx_str_t  *text = data;

    ti_wipe(text->data, text->len);
}


static char *
ngx_http_token_injector_client_key(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ti_rc_t              rc;
    ngx_str_t            text;
    const char          *why;
    ngx_pool_cleanup_t  *cln;

    if (provider->client_key_file.len == 0) {
        return NGX_CONF_OK;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_conf_file(cf, "client_key_file",
                                          &provider->client_key_file,
                                          TI_SIGNER_MAX_SIZE, 1, &text)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    why = "can't be kept: out of memory";

    rc = ti_signer_create(ngx_http_token_injector_str(&text), TI_ALG_NONE,
                          ti_null_str, &provider->signer, &why);

    ngx_explicit_memzero(text.data, text.len);

    if (rc != TI_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "client_key_file \"%V\": %s",
                           &provider->client_key_file, why);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_token_injector_client_free;
    cln->data = provider->signer;

    return NGX_CONF_OK;
}


static void
ngx_http_token_injector_client_free(void *data)
{
    ti_signer_free(data);
}


static char *
ngx_http_token_injector_client_account(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ti_pool_t   pool;
    ngx_uint_t  i;

    struct {
        const char      *directive;
        ngx_str_t       *text;
        ti_json_path_t  *path;
    } claims[] = {
        { "account_claim", &provider->account_claim, &provider->account },
        { "match_account", &provider->match_account, &provider->match }
    };

    pool = ngx_http_token_injector_pool(cf->pool);

    if (provider->account_claim.len == 0) {
        ngx_str_set(&provider->account_claim, "email");
    }

    for (i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {

        if (claims[i].text->len
            && ti_json_path_compile(&pool,
                                 ngx_http_token_injector_str(claims[i].text),
                                 claims[i].path)
               != TI_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "token_provider \"%V\" has an invalid \"%s\" "
                               "\"%V\"", &provider->name,
                               claims[i].directive, claims[i].text);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* NAME=VALUE…: sent along, but for what is ours to say */

char *
ngx_http_token_injector_conf_params(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    u_char            *p;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_array_t      **params;
    ti_form_param_t   *param;

    params = (ngx_array_t **) ((u_char *) conf + cmd->offset);

    if (*params == NULL) {
        *params = ngx_array_create(cf->pool, 2, sizeof(ti_form_param_t));
        if (*params == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (p == NULL || p == value[i].data) {
            return "takes NAME=VALUE and more of these";
        }

        param = ngx_array_push(*params);
        if (param == NULL) {
            return NGX_CONF_ERROR;
        }

        param->name = ti_str_from(value[i].data, p - value[i].data);
        param->value = ti_str_from(p + 1, value[i].data + value[i].len
                                          - p - 1);

        if (ti_oauth_reserved(param->name)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" gives \"%*s\", which is not the "
                               "configuration's to give",
                               &cmd->name, param->name.len, param->name.data);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
