/*
 * The configuration of the module and of its locations: create, inherit,
 * resolve what blocks and locations call each other.
 */

#include "ngx_http_token_injector.h"

#include "ngx_http_token_injector_journal.h"


static ngx_int_t ngx_http_token_injector_merge_vary(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *prev,
    ngx_http_token_injector_loc_conf_t *conf);
static char *ngx_http_token_injector_merge_alone(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *conf, ngx_uint_t own_cache,
    ngx_uint_t own_require);
static char *ngx_http_token_injector_merge_names(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_loc_conf_t *conf);
static char *ngx_http_token_injector_merge_auth(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_auth_t *auth);
static char *ngx_http_token_injector_merge_inject(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_loc_conf_t *conf);
static ngx_int_t ngx_http_token_injector_merge_row(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *conf);
static ngx_int_t ngx_http_token_injector_merge_policy(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_loc_conf_t *conf);


static ngx_str_t  ngx_http_token_injector_default_vary[] = {
    ngx_string("accept"),
    ngx_string("accept-encoding"),
    ngx_string("accept-language")
};


static ngx_http_token_injector_source_t  ngx_http_token_injector_x_user_key = {
    NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER,
    ngx_string("x_user_key")
};


void *
ngx_http_token_injector_create_main_conf(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t                   *cln;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_token_injector_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    mcf->crypto = ti_crypto_create();
    if (mcf->crypto == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "token injector: OpenSSL has not the algorithms that "
                      "are needed");
        return NULL;
    }

    cln->handler = (ngx_pool_cleanup_pt) ti_crypto_free;
    cln->data = mcf->crypto;

    if (ngx_array_init(&mcf->stores, cf->pool, 2, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mcf->issuers, cf->pool, 2, sizeof(void *))
           != NGX_OK
        || ngx_array_init(&mcf->providers, cf->pool, 4, sizeof(void *))
           != NGX_OK
        || ngx_array_init(&mcf->feeds, cf->pool, 2, sizeof(void *)) != NGX_OK
        || ngx_array_init(&mcf->rows, cf->pool, 8, sizeof(void *)) != NGX_OK)
    {
        return NULL;
    }

    mcf->memory_size = NGX_CONF_UNSET_SIZE;

    return mcf;
}


char *
ngx_http_token_injector_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_token_injector_main_conf_t  *mcf = conf;

    ngx_conf_init_size_value(mcf->memory_size, 32 * 1024 * 1024);

    if (mcf->used) {
        mcf->memory = ngx_http_token_injector_memory_add(cf, mcf->memory_size,
                                             &ngx_http_token_injector_module);
        if (mcf->memory == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (mcf->used && mcf->stores.nelts
        && ngx_http_token_injector_journal_zone(cf, mcf,
                                             &ngx_http_token_injector_module)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (mcf->used && mcf->feeds.nelts
        && ngx_http_token_injector_keys_zone(cf, &mcf->feeds,
                                             &ngx_http_token_injector_module)
           == NULL)
    {
        return NGX_CONF_ERROR;
    }

    if (mcf->used && mcf->counted
        && (ngx_http_token_injector_status_blocks(cf, mcf) != NGX_OK
            || ngx_http_token_injector_status_zone(cf, &mcf->rows,
                                             &ngx_http_token_injector_module)
               != NGX_OK))
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_provider_resolve(cf, mcf);
}


void *
ngx_http_token_injector_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_token_injector_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_token_injector_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->inject = { 0, NULL };
     *     conf->cache_methods = 0;
     *     conf->provider = NULL;
     */

    conf->auth = NGX_CONF_UNSET_PTR;
    conf->require = NGX_CONF_UNSET_PTR;
    conf->user_key = NGX_CONF_UNSET_PTR;
    conf->claim_headers = NGX_CONF_UNSET_PTR;
    conf->cache = NGX_CONF_UNSET;
    conf->cache_vary = NGX_CONF_UNSET_PTR;
    conf->cache_key = NGX_CONF_UNSET_PTR;
    conf->cache_max_size = NGX_CONF_UNSET_SIZE;
    conf->cache_stale = NGX_CONF_UNSET;

    return conf;
}


char *
ngx_http_token_injector_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_token_injector_loc_conf_t  *prev = parent;
    ngx_http_token_injector_loc_conf_t  *conf = child;

    ngx_uint_t                            own_cache, own_require;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);

    own_cache = (conf->cache != NGX_CONF_UNSET && conf->cache != 0);
    own_require = (conf->require != NGX_CONF_UNSET_PTR);

    ngx_conf_merge_ptr_value(conf->auth, prev->auth, NULL);
    ngx_conf_merge_ptr_value(conf->require, prev->require, NULL);
    ngx_conf_merge_ptr_value(conf->user_key, prev->user_key,
                             &ngx_http_token_injector_x_user_key);
    ngx_conf_merge_value(conf->cache, prev->cache, 0);
    /* no NGX_CONF_BITMASK_SET: a method that nginx does not know is that bit */
    ngx_conf_merge_bitmask_value(conf->cache_methods, prev->cache_methods,
                                 NGX_HTTP_GET|NGX_HTTP_HEAD);
    ngx_conf_merge_ptr_value(conf->cache_key, prev->cache_key, NULL);
    ngx_conf_merge_size_value(conf->cache_max_size, prev->cache_max_size,
                              1024 * 1024);
    ngx_conf_merge_value(conf->cache_stale, prev->cache_stale, 5 * 60);

    if (conf->inject.data == NULL) {
        conf->inject = prev->inject;
        conf->inject_place = prev->inject_place;
    }

    if (ngx_http_token_injector_merge_vary(cf, prev, conf) != NGX_OK
        || ngx_http_token_injector_merge_claim_headers(cf, prev, conf)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_merge_alone(cf, conf, own_cache, own_require)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_merge_connections(cf, prev, conf)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_merge_names(cf, mcf, conf);
}


/* what means nothing without another directive */

static char *
ngx_http_token_injector_merge_alone(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *conf, ngx_uint_t own_cache,
    ngx_uint_t own_require)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (own_cache && conf->inject.len == 0 && clcf->name.len) {
        ngx_http_token_injector_conf_error(cf, NGX_LOG_WARN,
                          &conf->cache_place,
                          "\"token_cache\" without \"token_inject\" keeps "
                          "nothing");
    }

    if (own_require && conf->auth == NULL && conf->inject.len == 0
        && clcf->name.len)
    {
        ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                          &conf->require_place,
                          "\"token_require\" without \"token_auth\" in "
                          "location \"%V\" would let everybody in",
                          &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* what blocks are called becomes the blocks themselves */

static char *
ngx_http_token_injector_merge_names(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_loc_conf_t *conf)
{
    if (conf->auth
        && ngx_http_token_injector_merge_auth(cf, mcf, conf->auth)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->inject.len
        && ngx_http_token_injector_merge_inject(cf, mcf, conf)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if ((conf->auth || conf->provider)
        && (ngx_http_token_injector_merge_policy(mcf, conf) != NGX_OK
            || ngx_http_token_injector_merge_row(cf, conf) != NGX_OK))
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* what is counted here; a server's own settings are no place */

static ngx_int_t
ngx_http_token_injector_merge_row(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    if (clcf->name.len == 0) {
        return NGX_OK;
    }

    conf->row = ngx_http_token_injector_status_row(cf,
                           NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION,
                           &cscf->server_name, &clcf->name,
                           conf->provider ? &conf->provider->name : NULL);

    return conf->row ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_token_injector_merge_vary(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *prev,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ti_str_t    *s;
    ngx_uint_t   i;

    ngx_conf_merge_ptr_value(conf->cache_vary, prev->cache_vary,
                             NGX_CONF_UNSET_PTR);

    if (conf->cache_vary != NGX_CONF_UNSET_PTR) {
        return NGX_OK;
    }

    conf->cache_vary = ngx_array_create(cf->pool, 3, sizeof(ti_str_t));
    if (conf->cache_vary == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {
        s = ngx_array_push(conf->cache_vary);
        *s = ngx_http_token_injector_str(
                                    &ngx_http_token_injector_default_vary[i]);
    }

    /* all that inherit the default share it */
    prev->cache_vary = conf->cache_vary;

    return NGX_OK;
}


static char *
ngx_http_token_injector_merge_auth(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_auth_t *auth)
{
    ngx_str_t                         *name;
    ngx_uint_t                         i, j, n;
    ngx_http_token_injector_issuer_t  *issuer;

    if (auth->n) {
        return NGX_CONF_OK;
    }

    n = auth->names.nelts;
    name = auth->names.elts;

    auth->issuers = ngx_palloc(cf->pool, n * sizeof(ti_jwt_issuer_t *));
    auth->blocks = ngx_palloc(cf->pool,
                           n * sizeof(ngx_http_token_injector_issuer_t *));

    if (auth->issuers == NULL || auth->blocks == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < n; i++) {

        issuer = ngx_http_token_injector_conf_find(&mcf->issuers, &name[i]);

        if (issuer == NULL) {
            ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                            &auth->place,
                            "\"token_auth\" names the issuer \"%V\", which is "
                            "not there: add \"token_issuer %V { … }\"",
                            &name[i], &name[i]);
            return NGX_CONF_ERROR;
        }

        for (j = 0; j < i; j++) {
            if (ti_str_eq(auth->issuers[j]->issuer, issuer->policy.issuer)) {
                ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                            &auth->place,
                            "\"token_auth\" names two issuers with the same "
                            "issuer string \"%V\": \"%V\" and \"%V\"",
                            &issuer->issuer, &name[j], &name[i]);
                return NGX_CONF_ERROR;
            }
        }

        auth->issuers[i] = &issuer->policy;
        auth->blocks[i] = issuer;

        ngx_http_token_injector_issuer_used(issuer);
    }

    auth->n = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_merge_inject(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    conf->provider = ngx_http_token_injector_conf_find(&mcf->providers,
                                                       &conf->inject);

    if (conf->provider == NULL) {
        ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                        &conf->inject_place,
                        "\"token_inject\" names the provider \"%V\", which is "
                        "not there: add \"token_provider %V { … }\"",
                        &conf->inject, &conf->inject);
        return NGX_CONF_ERROR;
    }

    conf->provider->used = 1;

    /* a server's own settings are refused at run time: locations inherit */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->auth == NULL && clcf->name.len
        && conf->provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT)
    {
        ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                        &conf->inject_place,
                        "\"token_inject %V\" without \"token_auth\" in "
                        "location \"%V\": say whose token it is",
                        &conf->inject, &clcf->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * The identity of a location's policy: everything that the verdict on a
 * caller depends on, so that no admission outlives it or crosses over.
 */

static ngx_int_t
ngx_http_token_injector_merge_policy(ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_loc_conf_t *conf)
{
    u_char                            *id, kind[2];
    ti_str_t                           fields[5];
    ngx_uint_t                         i;
    ngx_http_token_injector_auth_t    *auth;

    auth = conf->auth;
    id = conf->policy;

    kind[0] = auth ? (u_char) auth->source.from : 0;
    kind[1] = (u_char) conf->user_key->from;

    fields[0] = ti_str_from(kind, sizeof(kind));
    fields[1] = auth ? ngx_http_token_injector_str(&auth->source.name)
                     : ti_null_str;
    fields[2] = ngx_http_token_injector_str(&conf->user_key->name);
    fields[3] = conf->provider ? ti_str_from(conf->provider->id,
                                             TI_SHA256_LEN)
                               : ti_null_str;

    if (ti_crypto_sha256_enc(mcf->crypto, fields, 4, id) != TI_OK) {
        return NGX_ERROR;
    }

    for (i = 0; auth && i < auth->n; i++) {
        fields[0] = ti_str_from(id, TI_SHA256_LEN);
        fields[1] = ti_str_from(auth->blocks[i]->id, TI_SHA256_LEN);

        if (ti_crypto_sha256_enc(mcf->crypto, fields, 2, id) != TI_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
