/*
 * Whose token, and where it and the user key are taken from: token_auth,
 * token_user_key.
 */

#include "ngx_http_token_injector.h"


static char *ngx_http_token_injector_conf_auth_arg(ngx_conf_t *cf,
    ngx_http_token_injector_auth_t *auth, ngx_str_t *arg);
static ngx_uint_t ngx_http_token_injector_conf_quotable(ngx_str_t *s);
static char *ngx_http_token_injector_conf_source(ngx_conf_t *cf,
    const char *directive, ngx_str_t *variable,
    ngx_http_token_injector_source_t *source);


/*
 * token_auth ISSUER… [realm=…] [from=$variable] [resource_metadata=URL] | off
 */

char *
ngx_http_token_injector_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    char                                 *rv;
    ngx_str_t                            *value;
    ngx_uint_t                            i;
    ngx_http_token_injector_auth_t       *auth;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (lcf->auth != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        lcf->auth = NULL;
        return NGX_CONF_OK;
    }

    auth = ngx_pcalloc(cf->pool, sizeof(ngx_http_token_injector_auth_t));
    if (auth == NULL
        || ngx_array_init(&auth->names, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_token_injector_conf_place(cf, &auth->place);

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_token_injector_conf_auth_arg(cf, auth, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (auth->names.nelts == 0) {
        return "names no token_issuer";
    }

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);
    mcf->used = 1;
    lcf->auth = auth;

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_conf_auth_arg(ngx_conf_t *cf,
    ngx_http_token_injector_auth_t *auth, ngx_str_t *arg)
{
    ngx_str_t  *name, s;

    if (ngx_strncmp(arg->data, "from=", 5) == 0) {
        s.data = arg->data + 5;
        s.len = arg->len - 5;

        return ngx_http_token_injector_conf_source(cf, "from", &s,
                                                   &auth->source);
    }

    if (ngx_strncmp(arg->data, "realm=", 6) == 0) {
        auth->realm.data = arg->data + 6;
        auth->realm.len = arg->len - 6;

        return ngx_http_token_injector_conf_quotable(&auth->realm)
               ? NGX_CONF_OK
               : "has a realm with a quote, a backslash or a character "
                 "outside of ASCII";
    }

    if (ngx_strncmp(arg->data, "resource_metadata=", 18) == 0) {
        auth->metadata.data = arg->data + 18;
        auth->metadata.len = arg->len - 18;

        if (ngx_http_token_injector_conf_url(cf, "resource_metadata",
                                             &auth->metadata, 1)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        return ngx_http_token_injector_conf_quotable(&auth->metadata)
               ? NGX_CONF_OK
               : "has a resource_metadata with a quote or a backslash";
    }

    name = ngx_array_push(&auth->names);
    if (name == NULL) {
        return NGX_CONF_ERROR;
    }

    *name = *arg;

    return NGX_CONF_OK;
}


/* can it stand between the quotes of a challenge as it is? */

static ngx_uint_t
ngx_http_token_injector_conf_quotable(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x20 || s->data[i] > 0x7e || s->data[i] == '"'
            || s->data[i] == '\\')
        {
            return 0;
        }
    }

    return 1;
}


char *
ngx_http_token_injector_conf_user_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    ngx_str_t  *value;

    if (lcf->user_key != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lcf->user_key = ngx_pcalloc(cf->pool,
                                sizeof(ngx_http_token_injector_source_t));
    if (lcf->user_key == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_conf_source(cf, "token_user_key",
                                               &value[1], lcf->user_key);
}


/*
 * The variable is only how the source is written: the bytes are read from the
 * original view, which no variable sees.
 */

static char *
ngx_http_token_injector_conf_source(ngx_conf_t *cf, const char *directive,
    ngx_str_t *variable, ngx_http_token_injector_source_t *source)
{
    size_t     prefix;
    ngx_str_t  cookie = ngx_string("cookie");

    if (variable->len > 6
        && ngx_strncmp(variable->data, "$http_", 6) == 0)
    {
        prefix = 6;
        source->from = NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER;

    } else if (variable->len > 8
               && ngx_strncmp(variable->data, "$cookie_", 8) == 0)
    {
        prefix = 8;
        source->from = NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" can't be a source of \"%s\": it takes "
                           "$http_NAME or $cookie_NAME (a URL ends up in "
                           "logs)", variable, directive);
        return NGX_CONF_ERROR;
    }

    source->name.data = variable->data + prefix;
    source->name.len = variable->len - prefix;

    if (!ngx_http_token_injector_conf_word(&source->name)
        || (source->from == NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER
            && source->name.len == cookie.len
            && ngx_strncasecmp(source->name.data, cookie.data, cookie.len)
               == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" can't be a source of \"%s\": name one "
                           "header or one cookie as its variable is spelt",
                           variable, directive);
        return NGX_CONF_ERROR;
    }

    if (source->from == NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER) {
        ngx_strlow(source->name.data, source->name.data, source->name.len);
    }

    return NGX_CONF_OK;
}


/* what can be in the name of a variable, and so can be found by one */

ngx_uint_t
ngx_http_token_injector_conf_word(ngx_str_t *s)
{
    u_char  c;
    size_t  i;

    for (i = 0; i < s->len; i++) {
        c = ngx_tolower(s->data[i]);

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_') {
            return 0;
        }
    }

    return 1;
}
