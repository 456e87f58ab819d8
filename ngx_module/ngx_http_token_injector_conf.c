/*
 * The directive table, and those directives of locations that have no file
 * of their own.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_MEMORY_MIN  (256 * 1024)


static char *ngx_http_token_injector_conf_memory(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_conf_require(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_conf_inject(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_conf_cache(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_conf_max_size(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_token_injector_conf_vary(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_conf_values(ngx_conf_t *cf,
    ngx_array_t **values, ngx_uint_t from, ngx_uint_t to);


static ngx_conf_bitmask_t  ngx_http_token_injector_methods[] = {
    { ngx_string("GET"), NGX_HTTP_GET },
    { ngx_string("HEAD"), NGX_HTTP_HEAD },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_null_string, 0 }
};


static ngx_conf_post_t  ngx_http_token_injector_max_size_post = {
    ngx_http_token_injector_conf_max_size
};


ngx_command_t  ngx_http_token_injector_commands[] = {

    { ngx_string("token_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_token_injector_store_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_token_injector_issuer_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_provider"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_token_injector_provider_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_shared_memory"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_memory,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_token_injector_main_conf_t, memory_size),
      NULL },

    { ngx_string("token_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_token_injector_conf_auth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_token_injector_conf_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_inject"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_inject,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_user_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_user_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_claim_set"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_token_injector_conf_claim_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_claim_header"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_http_token_injector_conf_claim_header,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_token_injector_loc_conf_t, cache),
      NULL },

    { ngx_string("token_cache_stale"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_token_injector_loc_conf_t, cache_stale),
      NULL },

    { ngx_string("token_cache_methods"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_token_injector_loc_conf_t, cache_methods),
      &ngx_http_token_injector_methods },

    { ngx_string("token_cache_vary"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_token_injector_conf_vary,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_cache_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_token_injector_conf_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_cache_max_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_token_injector_loc_conf_t, cache_max_size),
      &ngx_http_token_injector_max_size_post },

    { ngx_string("token_connections"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_token_injector_conf_connections,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("token_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static char *
ngx_http_token_injector_conf_memory(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_main_conf_t  *mcf = conf;

    char  *rv;

    rv = ngx_conf_set_size_slot(cf, cmd, conf);

    if (rv == NGX_CONF_OK
        && mcf->memory_size < NGX_HTTP_TOKEN_INJECTOR_MEMORY_MIN)
    {
        return "is too small: it needs at least 256k";
    }

    return rv;
}


/* token_require $variable… [error=401|403] */

static char *
ngx_http_token_injector_conf_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    ngx_str_t                          *value, *last;
    ngx_uint_t                          n;
    ngx_http_token_injector_require_t  *require;

    value = cf->args->elts;
    n = cf->args->nelts;

    ngx_http_token_injector_conf_place(cf, &lcf->require_place);

    if (lcf->require == NGX_CONF_UNSET_PTR) {
        lcf->require = ngx_array_create(cf->pool, 2,
                                 sizeof(ngx_http_token_injector_require_t));
        if (lcf->require == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    require = ngx_array_push(lcf->require);
    if (require == NULL) {
        return NGX_CONF_ERROR;
    }

    require->error = NGX_HTTP_UNAUTHORIZED;
    require->values = NULL;

    last = &value[n - 1];

    if (ngx_strncmp(last->data, "error=", 6) == 0) {

        if (ngx_strcmp(last->data + 6, "403") == 0) {
            require->error = NGX_HTTP_FORBIDDEN;

        } else if (ngx_strcmp(last->data + 6, "401") != 0) {
            return "takes error=401 or error=403";
        }

        n--;
    }

    if (n == 1) {
        return "names no variable";
    }

    return ngx_http_token_injector_conf_values(cf, &require->values, 1, n);
}


static char *
ngx_http_token_injector_conf_values(ngx_conf_t *cf, ngx_array_t **values,
    ngx_uint_t from, ngx_uint_t to)
{
    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_http_complex_value_t          *cv;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    *values = ngx_array_create(cf->pool, to - from,
                               sizeof(ngx_http_complex_value_t));
    if (*values == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = from; i < to; i++) {

        if (value[i].len < 2 || value[i].data[0] != '$') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"%V\" is not a variable",
                               &value[i], &value[0]);
            return NGX_CONF_ERROR;
        }

        cv = ngx_array_push(*values);
        if (cv == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &value[i];
        ccv.complex_value = cv;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_conf_inject(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    ngx_str_t                            *value;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (lcf->inject.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_http_token_injector_conf_place(cf, &lcf->inject_place);

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&lcf->inject, "");
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);
    mcf->used = 1;
    lcf->inject = value[1];

    return NGX_CONF_OK;
}


/* token_cache and token_cache_stale TIME | off; token_cache_key $variable… */

static char *
ngx_http_token_injector_conf_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    time_t     *time;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (cmd->offset == 0) {

        if (lcf->cache_key != NGX_CONF_UNSET_PTR) {
            return "is duplicate";
        }

        return ngx_http_token_injector_conf_values(cf, &lcf->cache_key, 1,
                                                   cf->args->nelts);
    }

    time = (time_t *) ((char *) conf + cmd->offset);

    if (*time != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    if (time == &lcf->cache) {
        ngx_http_token_injector_conf_place(cf, &lcf->cache_place);
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        *time = 0;
        return NGX_CONF_OK;
    }

    *time = ngx_parse_time(&value[1], 1);

    if (*time == (time_t) NGX_ERROR || *time == 0) {
        return "takes a time of at least one second, or \"off\"";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_conf_max_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t  *size = data;

    if (*size > NGX_HTTP_TOKEN_INJECTOR_ANSWER_MAX) {
        return "is more than 16m";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_conf_vary(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    ti_str_t    *s;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (lcf->cache_vary != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lcf->cache_vary = ngx_array_create(cf->pool, 4, sizeof(ti_str_t));
    if (lcf->cache_vary == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        s = ngx_array_push(lcf->cache_vary);
        if (s == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_strlow(value[i].data, value[i].data, value[i].len);
        *s = ngx_http_token_injector_str(&value[i]);
    }

    return NGX_CONF_OK;
}
