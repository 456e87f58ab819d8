/*
 * token_issuer NAME { … }: who signs the callers' tokens.
 */

#include "ngx_http_token_injector.h"


typedef struct {
    ngx_conf_t                    *cf;
    ngx_str_t                     *path;
} ngx_http_token_injector_report_t;


static char *ngx_http_token_injector_issuer_keys_uri(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_issuer_validate(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_algorithms(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_claims(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_keys(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids);
static ti_jwks_t *ngx_http_token_injector_issuer_keys_file(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_str_t *path, u_char *id);
static void ngx_http_token_injector_issuer_ignored(void *data, size_t index,
    ti_str_t kid, const char *why);
static void ngx_http_token_injector_issuer_cleanup(void *data);
static char *ngx_http_token_injector_issuer_identity(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids);


static ngx_command_t  ngx_http_token_injector_issuer_commands[] = {

    { ngx_string("issuer"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, issuer),
      NULL },

    { ngx_string("audience"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, audience),
      NULL },

    { ngx_string("algorithms"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, algorithms),
      NULL },

    { ngx_string("keys_file"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, keys_files),
      NULL },

    { ngx_string("keys_uri"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_issuer_keys_uri,
      0,
      0,
      NULL },

    { ngx_string("leeway"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, leeway),
      NULL },

    { ngx_string("user_claim"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, user_claim),
      NULL },

    { ngx_string("tenant_claim"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, tenant_claim),
      NULL },

    { ngx_string("allow_http"),
      NGX_CONF_TAKE1,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, allow_http),
      NULL },

      ngx_null_command
};


char *
ngx_http_token_injector_issuer_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_main_conf_t  *mcf = conf;

    char                              *rv;
    ngx_array_t                        ids;
    ngx_http_token_injector_issuer_t  *issuer;

    issuer = ngx_http_token_injector_conf_named(cf, &mcf->issuers,
                              sizeof(ngx_http_token_injector_issuer_t),
                              "token_issuer");
    if (issuer == NULL) {
        return NGX_CONF_ERROR;
    }

    issuer->leeway = NGX_CONF_UNSET;
    issuer->allow_http = NGX_CONF_UNSET;

    ngx_http_token_injector_conf_place(cf, &issuer->place);

    rv = ngx_http_token_injector_conf_block(cf,
                            ngx_http_token_injector_issuer_commands, issuer);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ngx_conf_init_value(issuer->leeway, 0);
    ngx_conf_init_value(issuer->allow_http, 0);

    if (issuer->user_claim.data == NULL) {
        ngx_str_set(&issuer->user_claim, "sub");
    }

    if (ngx_array_init(&ids, cf->pool, 2, sizeof(ti_str_t)) != NGX_OK
        || ngx_http_token_injector_issuer_algorithms(cf, issuer)
           != NGX_CONF_OK
        || ngx_http_token_injector_issuer_validate(cf, issuer) != NGX_CONF_OK
        || ngx_http_token_injector_issuer_claims(cf, issuer) != NGX_CONF_OK
        || ngx_http_token_injector_issuer_keys(cf, issuer, mcf, &ids)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_issuer_identity(cf, issuer, mcf, &ids);
}


static char *
ngx_http_token_injector_issuer_keys_uri(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    return "is not supported by this version: save the JWK Set to a file and "
           "name it in \"keys_file\"";
}


static char *
ngx_http_token_injector_issuer_validate(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer)
{
    const char  *why;

    why = NULL;

    if (issuer->issuer.len == 0) {
        why = "has no \"issuer\"";

    } else if (issuer->audience == NULL) {
        why = "has no \"audience\": a token made for anybody is nobody's";

    } else if ((issuer->policy.algorithms & TI_ALGS_MAC)
               && issuer->keys_files == NULL)
    {
        why = "allows a MAC algorithm and has no \"keys_file\": such keys "
              "come from nowhere else";

    } else if (issuer->keys_files == NULL) {
        why = "has no \"keys_file\": this version does not fetch keys";
    }

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "token_issuer \"%V\" %s",
                           &issuer->name, why);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_issuer_algorithms(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer)
{
    ti_alg_t     alg;
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (issuer->algorithms == NULL) {
        issuer->policy.algorithms = TI_ALG_RS256;
        return NGX_CONF_OK;
    }

    name = issuer->algorithms->elts;

    for (i = 0; i < issuer->algorithms->nelts; i++) {

        alg = ti_alg_by_name(ngx_http_token_injector_str(&name[i]));

        if (alg == TI_ALG_NONE) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "token_issuer \"%V\" names the algorithm \"%V\", %s",
                       &issuer->name, &name[i],
                       (name[i].len == 4
                        && ngx_strncasecmp(name[i].data, (u_char *) "none", 4)
                           == 0)
                       ? "which is no signature and never accepted"
                       : "which is not one of RS, PS, ES, HS with 256, 384, "
                         "512 and EdDSA");
            return NGX_CONF_ERROR;
        }

        issuer->policy.algorithms |= alg;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_issuer_claims(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer)
{
    ti_str_t         *audience;
    ti_pool_t         pool;
    ngx_str_t        *s;
    ngx_uint_t        i;
    ti_jwt_issuer_t  *policy;

    policy = &issuer->policy;
    pool = ngx_http_token_injector_pool(cf->pool);

    policy->issuer = ngx_http_token_injector_str(&issuer->issuer);
    policy->leeway = issuer->leeway;

    s = issuer->audience->elts;

    audience = ngx_palloc(cf->pool,
                          issuer->audience->nelts * sizeof(ti_str_t));
    if (audience == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < issuer->audience->nelts; i++) {
        audience[i] = ngx_http_token_injector_str(&s[i]);
    }

    policy->audience = audience;
    policy->naudience = issuer->audience->nelts;

    if (ti_json_path_compile(&pool,
                             ngx_http_token_injector_str(&issuer->user_claim),
                             &policy->user_claim)
        != TI_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" has an invalid \"user_claim\" "
                           "\"%V\"", &issuer->name, &issuer->user_claim);
        return NGX_CONF_ERROR;
    }

    if (issuer->tenant_claim.data
        && ti_json_path_compile(&pool,
                           ngx_http_token_injector_str(&issuer->tenant_claim),
                           &policy->tenant_claim)
           != TI_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" has an invalid "
                           "\"tenant_claim\" \"%V\"",
                           &issuer->name, &issuer->tenant_claim);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_issuer_keys(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids)
{
    size_t            count;
    u_char           *digest;
    ti_str_t         *id;
    ngx_str_t        *path;
    ngx_uint_t        i, n;
    const ti_jwks_t **sets;

    n = issuer->keys_files->nelts;
    path = issuer->keys_files->elts;

    sets = ngx_palloc(cf->pool, n * sizeof(ti_jwks_t *));
    digest = ngx_palloc(cf->pool, n * TI_SHA256_LEN);
    if (sets == NULL || digest == NULL) {
        return NGX_CONF_ERROR;
    }

    count = 0;

    for (i = 0; i < n; i++) {

        sets[i] = ngx_http_token_injector_issuer_keys_file(cf, issuer, mcf,
                                                           &path[i], digest);
        if (sets[i] == NULL) {
            return NGX_CONF_ERROR;
        }

        count += ti_jwks_count(sets[i]);

        id = ngx_array_push(ids);
        if (id == NULL) {
            return NGX_CONF_ERROR;
        }

        *id = ti_str_from(digest, TI_SHA256_LEN);
        digest += TI_SHA256_LEN;
    }

    if (count == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" has no key that can be used "
                           "with its \"algorithms\"", &issuer->name);
        return NGX_CONF_ERROR;
    }

    issuer->policy.keys = sets;
    issuer->policy.nkeys = n;

    return NGX_CONF_OK;
}


static ti_jwks_t *
ngx_http_token_injector_issuer_keys_file(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_str_t *path, u_char *id)
{
    ti_rc_t                            rc;
    ti_str_t                           part;
    ngx_str_t                          text;
    ti_jwks_t                         *set;
    const char                        *why;
    ti_jwks_report_t                   report;
    ngx_pool_cleanup_t                *cln;
    ngx_http_token_injector_report_t   to;

    /* a set for MAC algorithms is a set of secrets */

    if (ngx_http_token_injector_conf_file(cf, "keys_file", path,
                            TI_JWKS_MAX_SIZE,
                            issuer->policy.algorithms & TI_ALGS_MAC, &text)
        != NGX_CONF_OK)
    {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    to.cf = cf;
    to.path = path;
    report.ignored = ngx_http_token_injector_issuer_ignored;
    report.data = &to;

    part = ngx_http_token_injector_str(&text);
    why = "out of memory";

    rc = ti_crypto_sha256(mcf->crypto, &part, 1, id);

    if (rc == TI_OK) {
        rc = ti_jwks_parse(mcf->crypto, part, issuer->policy.algorithms,
                           &report, &set, &why);
    }

    ngx_explicit_memzero(text.data, text.len);

    if (rc != TI_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "keys_file \"%V\": %s", path, why);
        return NULL;
    }

    cln->handler = ngx_http_token_injector_issuer_cleanup;
    cln->data = set;

    return set;
}


static void
ngx_http_token_injector_issuer_ignored(void *data, size_t index, ti_str_t kid,
    const char *why)
{
    ngx_http_token_injector_report_t  *to = data;

    ngx_conf_log_error(NGX_LOG_WARN, to->cf, 0,
                       "keys_file \"%V\": key number %uz is not used: %s",
                       to->path, index + 1, why);
}


static void
ngx_http_token_injector_issuer_cleanup(void *data)
{
    ti_jwks_free(data);
}


/* what a verdict on a token depends on */

static char *
ngx_http_token_injector_issuer_identity(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids)
{
    size_t     i;
    u_char     numbers[24];
    ti_str_t  *field;

    ti_put_u64(numbers, issuer->policy.algorithms);
    ti_put_u64(numbers + 8, issuer->policy.leeway);
    ti_put_u64(numbers + 16, ids->nelts);

    field = ngx_array_push_n(ids, 5 + issuer->policy.naudience);
    if (field == NULL) {
        return NGX_CONF_ERROR;
    }

    *field++ = ti_str_from(numbers, sizeof(numbers));
    *field++ = ngx_http_token_injector_str(&issuer->name);
    *field++ = issuer->policy.issuer;
    *field++ = ngx_http_token_injector_str(&issuer->user_claim);
    *field++ = ngx_http_token_injector_str(&issuer->tenant_claim);

    for (i = 0; i < issuer->policy.naudience; i++) {
        *field++ = issuer->policy.audience[i];
    }

    if (ti_crypto_sha256_enc(mcf->crypto, ids->elts, ids->nelts, issuer->id)
        != TI_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
