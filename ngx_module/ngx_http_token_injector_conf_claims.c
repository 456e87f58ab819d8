/*
 * Claims under other names: token_claim_set, token_claim_header.
 */

#include "ngx_http_token_injector.h"


static ngx_uint_t ngx_http_token_injector_prefixed(ngx_conf_t *cf,
    ngx_str_t *name);
static char *ngx_http_token_injector_conf_header(ngx_conf_t *cf,
    ngx_http_token_injector_claim_header_t *header);
static char *ngx_http_token_injector_conf_header_name(ngx_table_elt_t *h,
    ngx_str_t *name);
static char *ngx_http_token_injector_merge_claim_sources(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *conf);


/* token_claim_set $variable CLAIM */

char *
ngx_http_token_injector_conf_claim_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ti_pool_t             pool;
    ngx_str_t            *value, name;
    ti_json_path_t       *path;
    ngx_http_variable_t  *v;

    value = cf->args->elts;
    pool = ngx_http_token_injector_pool(cf->pool);

    name.data = value[1].data + 1;
    name.len = value[1].len - 1;

    if (value[1].len < 2 || value[1].data[0] != '$'
        || !ngx_http_token_injector_conf_word(&name))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in \"%V\" is not a variable",
                           &value[1], &value[0]);
        return NGX_CONF_ERROR;
    }

    path = ngx_palloc(cf->pool, sizeof(ti_json_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ti_json_path_compile(&pool, ngx_http_token_injector_str(&value[2]),
                             path)
        != TI_OK)
    {
        return "takes the name of a claim or a valid JSON pointer";
    }

    v = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
    if (v == NULL) {
        return NGX_CONF_ERROR;
    }

    if (v->get_handler || ngx_http_token_injector_prefixed(cf, &name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the duplicate \"%V\" variable", &name);
        return NGX_CONF_ERROR;
    }

    v->get_handler = ngx_http_token_injector_variable_path;
    v->data = (uintptr_t) path;

    return NGX_CONF_OK;
}


/* a variable whose name says what it is, like $http_NAME */

static ngx_uint_t
ngx_http_token_injector_prefixed(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    v = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {
        if (name->len >= v[i].name.len
            && ngx_strncasecmp(name->data, v[i].name.data, v[i].name.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* token_claim_header NAME $variable */

char *
ngx_http_token_injector_conf_claim_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    char                                    *rv;
    ngx_uint_t                               i;
    ngx_http_token_injector_main_conf_t     *mcf;
    ngx_http_token_injector_claim_header_t  *header, new;

    rv = ngx_http_token_injector_conf_header(cf, &new);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (lcf->claim_headers == NGX_CONF_UNSET_PTR) {
        lcf->claim_headers = ngx_array_create(cf->pool, 4,
                            sizeof(ngx_http_token_injector_claim_header_t));
        if (lcf->claim_headers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    header = lcf->claim_headers->elts;

    for (i = 0; i < lcf->claim_headers->nelts; i++) {
        if (ngx_http_token_injector_named(&new.header, &header[i].name)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"token_claim_header %V\"",
                               &new.header.key);
            return NGX_CONF_ERROR;
        }
    }

    header = ngx_array_push(lcf->claim_headers);
    if (header == NULL) {
        return NGX_CONF_ERROR;
    }

    *header = new;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);
    mcf->used = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_conf_header(ngx_conf_t *cf,
    ngx_http_token_injector_claim_header_t *header)
{
    char             *why;
    size_t            i;
    ngx_str_t        *value, variable;
    ngx_table_elt_t  *h;

    value = cf->args->elts;
    h = &header->header;

    ngx_memzero(header, sizeof(ngx_http_token_injector_claim_header_t));
    ngx_http_token_injector_conf_place(cf, &header->place);

    h->key = value[1];
    h->lowcase_key = ngx_pnalloc(cf->pool, h->key.len);
    header->name.data = ngx_pnalloc(cf->pool, h->key.len);
    header->name.len = h->key.len;

    if (h->lowcase_key == NULL || header->name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    h->hash = ngx_hash_strlow(h->lowcase_key, h->key.data, h->key.len);

    for (i = 0; i < h->key.len; i++) {
        header->name.data[i] = (h->lowcase_key[i] == '-') ? '_'
                                                          : h->lowcase_key[i];
    }

    why = ngx_http_token_injector_conf_header_name(h, &header->name);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"token_claim_header\" can't send \"%V\": %s",
                           &h->key, why);
        return NGX_CONF_ERROR;
    }

    variable.data = value[2].data + 1;
    variable.len = value[2].len - 1;

    if (value[2].len < 2 || value[2].data[0] != '$'
        || !ngx_http_token_injector_conf_word(&variable))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in \"%V\" is not a variable",
                           &value[2], &value[0]);
        return NGX_CONF_ERROR;
    }

    header->variable = ngx_http_get_variable_index(cf, &variable);

    return header->variable == NGX_ERROR ? NGX_CONF_ERROR : NGX_CONF_OK;
}


/* what is wrong with it as the name of a header that is ours alone */

static char *
ngx_http_token_injector_conf_header_name(ngx_table_elt_t *h, ngx_str_t *name)
{
    u_char              c;
    size_t              i;
    ngx_str_t           user_key = ngx_string("x_user_key");
    ngx_table_elt_t     known;
    ngx_http_header_t  *in;

    for (i = 0; i < h->key.len; i++) {
        c = h->lowcase_key[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9')
            && (c == '\0' || ngx_strchr("!#$%&'*+-.^_`|~", c) == NULL))
        {
            return "that is not the name of a header";
        }
    }

    if (h->key.len == 0) {
        return "that is not the name of a header";
    }

    for (in = ngx_http_headers_in; in->name.len; in++) {
        known.key = in->name;

        if (ngx_http_token_injector_named(&known, name)) {
            return "nginx gives that header a meaning of its own";
        }
    }

    if (ngx_http_token_injector_named(h, &user_key)) {
        return "a user key is taken from there";
    }

    return NULL;
}


char *
ngx_http_token_injector_merge_claim_headers(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *prev,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ngx_uint_t                               own;
    ngx_http_core_loc_conf_t                *clcf;
    ngx_http_token_injector_claim_header_t  *header;

    own = (conf->claim_headers != NGX_CONF_UNSET_PTR);

    ngx_conf_merge_ptr_value(conf->claim_headers, prev->claim_headers, NULL);

    if (conf->claim_headers == NULL) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    header = conf->claim_headers->elts;

    /* inherited it does no harm: what the client sent is removed */

    if (own && conf->auth == NULL && conf->inject.len == 0 && clcf->name.len) {
        ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                          &header->place,
                          "\"token_claim_header\" without \"token_auth\" in "
                          "location \"%V\" has no caller to speak of",
                          &clcf->name);
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_merge_claim_sources(cf, conf);
}


/* one header can't be a secret and a statement */

static char *
ngx_http_token_injector_merge_claim_sources(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ngx_uint_t                               i, j;
    ngx_http_token_injector_source_t        *source[2];
    ngx_http_token_injector_claim_header_t  *header;

    source[0] = conf->auth ? &conf->auth->source : NULL;
    source[1] = conf->user_key;

    header = conf->claim_headers->elts;

    for (i = 0; i < conf->claim_headers->nelts; i++) {
        for (j = 0; j < 2; j++) {

            if (source[j] == NULL
                || source[j]->from != NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER
                || !ngx_http_token_injector_named(&header[i].header,
                                                  &source[j]->name))
            {
                continue;
            }

            ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                          &header[i].place,
                          "\"token_claim_header\" can't send \"%V\": a "
                          "secret of the caller's is taken from there",
                          &header[i].header.key);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
