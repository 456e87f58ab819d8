/*
 * What a token_provider's grant has use for: a directive that would change
 * nothing is refused, for who wrote it meant something by it.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_REUSE_MAX  86400


static const char *ngx_http_token_injector_grant_objection(
    ngx_http_token_injector_provider_t *provider, const char **directive);


static const char  *ngx_http_token_injector_grant_names[] = {
    "authorization_code", "client_credentials", "token_exchange", "jwt_bearer"
};


/* "off", or how long a provider takes a refresh token that it replaced */

char *
ngx_http_token_injector_conf_reuse(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_provider_t  *provider = conf;

    ngx_str_t  *value;

    if (provider->refresh_reuse != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        provider->refresh_reuse = 0;
        return NGX_CONF_OK;
    }

    provider->refresh_reuse = ngx_parse_time(&value[1], 1);

    if (provider->refresh_reuse < 1
        || provider->refresh_reuse > NGX_HTTP_TOKEN_INJECTOR_REUSE_MAX)
    {
        return "takes a time from one second to one day, or \"off\"";
    }

    return NGX_CONF_OK;
}


/* asked before defaults hide what was written */

char *
ngx_http_token_injector_conf_grant(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    ngx_str_t   *type;
    const char  *why, *directive;

    why = ngx_http_token_injector_grant_objection(provider, &directive);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_provider \"%V\" has \"%s\" and \"grant "
                           "%s\": %s; remove it",
                           &provider->name, directive,
                           ngx_http_token_injector_grant_names[
                                                           provider->grant],
                           why);
        return NGX_CONF_ERROR;
    }

    type = &provider->subject_token_type;

    if (type->len && ngx_strlchr(type->data, type->data + type->len, ':')
                     == NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_provider \"%V\" has \"%V\" as "
                           "\"subject_token_type\": it is a URI, "
                           "urn:ietf:params:oauth:token-type:jwt for instance",
                           &provider->name, type);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static const char *
ngx_http_token_injector_grant_objection(
    ngx_http_token_injector_provider_t *provider, const char **directive)
{
    ngx_uint_t  i;

    const ngx_uint_t  code = 1 << NGX_HTTP_TOKEN_INJECTOR_CODE;
    const ngx_uint_t  app = 1 << NGX_HTTP_TOKEN_INJECTOR_CLIENT;
    const ngx_uint_t  exchange = 1 << NGX_HTTP_TOKEN_INJECTOR_EXCHANGE;
    const ngx_uint_t  bearer = 1 << NGX_HTTP_TOKEN_INJECTOR_BEARER;

    struct {
        const char  *directive;
        ngx_uint_t   given;
        ngx_uint_t   grants;
        const char  *why;
    } uses[] = {
        { "authorization_endpoint", provider->authorization_endpoint.len,
          code|app, "nobody is sent there to consent" },
        { "redirect_uri", provider->redirect_uri.len,
          code|app, "nobody comes back from a consent" },
        { "admin_consent_endpoint", provider->admin_consent_endpoint.len,
          code|app, "nobody is sent there to consent" },
        { "authorization_parameters", provider->visit_params != NULL,
          code, "nobody visits the provider" },
        { "match_account", provider->match_account.len,
          code, "nobody chose an account there" },
        { "account_claim", provider->account_claim.len,
          code|app, "nobody chose an account there" },
        { "userinfo_endpoint", provider->userinfo_endpoint.len,
          code|app, "nobody chose an account there" },
        { "keys_uri", provider->keys_uris != NULL,
          code|app, "no ID token of it is looked at" },
        { "algorithms", provider->algorithms != NULL,
          code|app, "no ID token of it is looked at" },
        { "subject_token_type", provider->subject_token_type.len,
          exchange, "only \"grant token_exchange\" says what it exchanges" },
        { "refresh_ahead", provider->refresh_ahead != NGX_CONF_UNSET,
          code|exchange|bearer, "a timer keeps app-only tokens fresh" },
        { "refresh_reuse", provider->refresh_reuse != NGX_CONF_UNSET,
          code, "it has no refresh tokens" }
    };

    for (i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {

        if (uses[i].given && !(uses[i].grants & (1 << provider->grant))) {
            *directive = uses[i].directive;
            return uses[i].why;
        }
    }

    return NULL;
}
