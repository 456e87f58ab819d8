/*
 * token_issuer NAME { … }: who signs the callers' tokens.
 */

#include "ngx_http_token_injector.h"


static void ngx_http_token_injector_issuer_unset(
    ngx_http_token_injector_issuer_t *issuer);
static void ngx_http_token_injector_issuer_defaults(
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_validate(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_algorithms(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_claims(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_list(ngx_conf_t *cf,
    ngx_array_t *from, const ti_str_t **list, size_t *n);
static char *ngx_http_token_injector_issuer_path(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer, const char *directive,
    ngx_str_t *text, ti_json_path_t *path);
static char *ngx_http_token_injector_issuer_required(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
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
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, keys_uris),
      NULL },

    { ngx_string("keys_interval"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, keys_interval),
      NULL },

    { ngx_string("keys_min_interval"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, keys_min_interval),
      NULL },

    { ngx_string("keys_max_stale"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, keys_max_stale),
      NULL },

    { ngx_string("keys_wait"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, keys_wait),
      NULL },

    { ngx_string("connect_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, party.connect_timeout),
      NULL },

    { ngx_string("timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, party.timeout),
      NULL },

    { ngx_string("ssl_trusted_certificate"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, party.trusted_certificate),
      NULL },

    { ngx_string("http_proxy"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, party.http_proxy),
      NULL },

    { ngx_string("no_proxy"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, party.no_proxy),
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

    { ngx_string("typ"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, typ),
      NULL },

    { ngx_string("azp"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, azp),
      NULL },

    { ngx_string("required_claims"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_issuer_t, required),
      NULL },

    { ngx_string("max_age"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, max_age),
      NULL },

    { ngx_string("allow_http"),
      NGX_CONF_TAKE1,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_token_injector_issuer_t, party.allow_http),
      NULL },

      ngx_null_command
};


char *
ngx_http_token_injector_issuer_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_main_conf_t  *mcf = conf;

    char                              *rv;
    ngx_http_token_injector_issuer_t  *issuer;

    issuer = ngx_http_token_injector_conf_named(cf, &mcf->issuers,
                              sizeof(ngx_http_token_injector_issuer_t),
                              "token_issuer");
    if (issuer == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_token_injector_issuer_unset(issuer);
    ngx_http_token_injector_conf_place(cf, &issuer->place);

    rv = ngx_http_token_injector_conf_block(cf,
                            ngx_http_token_injector_issuer_commands, issuer);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_token_injector_issuer_trust(cf, issuer, mcf);
}


static void
ngx_http_token_injector_issuer_unset(ngx_http_token_injector_issuer_t *issuer)
{
    issuer->leeway = NGX_CONF_UNSET;
    issuer->max_age = NGX_CONF_UNSET;
    issuer->keys_interval = NGX_CONF_UNSET;
    issuer->keys_min_interval = NGX_CONF_UNSET;
    issuer->keys_max_stale = NGX_CONF_UNSET;
    issuer->keys_wait = NGX_CONF_UNSET_MSEC;

    ngx_http_token_injector_party_unset(&issuer->party);
}


/* one that no block describes: a provider that signs ID tokens */

ngx_http_token_injector_issuer_t *
ngx_http_token_injector_issuer_create(ngx_conf_t *cf)
{
    ngx_http_token_injector_issuer_t  *issuer;

    issuer = ngx_pcalloc(cf->pool, sizeof(ngx_http_token_injector_issuer_t));
    if (issuer) {
        ngx_http_token_injector_issuer_unset(issuer);
    }

    return issuer;
}


/* what is said of it becomes a policy, and keys to be fetched */

char *
ngx_http_token_injector_issuer_trust(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_array_t  ids;

    ngx_http_token_injector_issuer_defaults(issuer);

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


static void
ngx_http_token_injector_issuer_defaults(
    ngx_http_token_injector_issuer_t *issuer)
{
    ngx_conf_init_value(issuer->leeway, 0);
    ngx_conf_init_value(issuer->max_age, 0);
    ngx_conf_init_value(issuer->keys_interval, 600);
    ngx_conf_init_value(issuer->keys_min_interval,
                        ngx_min(issuer->keys_interval, 10));
    ngx_conf_init_value(issuer->keys_max_stale,
                        ngx_max(issuer->keys_interval, 86400));
    ngx_conf_init_msec_value(issuer->keys_wait, 3000);

    ngx_http_token_injector_party_defaults(&issuer->party);

    if (issuer->user_claim.data == NULL) {
        ngx_str_set(&issuer->user_claim, "sub");
    }
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

    } else if (issuer->keys_min_interval == 0) {
        why = "has a \"keys_min_interval\" of nothing: it takes a second or "
              "more";

    } else if (issuer->keys_interval < issuer->keys_min_interval) {
        why = "has a \"keys_interval\" shorter than its "
              "\"keys_min_interval\"";

    } else if (issuer->keys_max_stale < issuer->keys_interval) {
        why = "has a \"keys_max_stale\" shorter than its \"keys_interval\": "
              "keys would end before they are asked for again";
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
    ti_jwt_issuer_t  *policy;

    policy = &issuer->policy;

    policy->issuer = ngx_http_token_injector_str(&issuer->issuer);
    policy->leeway = issuer->leeway;
    policy->max_age = issuer->max_age;

    if (ngx_http_token_injector_issuer_list(cf, issuer->audience,
                                            &policy->audience,
                                            &policy->naudience)
        != NGX_CONF_OK
        || ngx_http_token_injector_issuer_list(cf, issuer->typ, &policy->typ,
                                               &policy->ntyp)
           != NGX_CONF_OK
        || ngx_http_token_injector_issuer_list(cf, issuer->azp, &policy->azp,
                                               &policy->nazp)
           != NGX_CONF_OK
        || ngx_http_token_injector_issuer_path(cf, issuer, "user_claim",
                                               &issuer->user_claim,
                                               &policy->user_claim)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (issuer->tenant_claim.data
        && ngx_http_token_injector_issuer_path(cf, issuer, "tenant_claim",
                                               &issuer->tenant_claim,
                                               &policy->tenant_claim)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_issuer_required(cf, issuer);
}


static char *
ngx_http_token_injector_issuer_list(ngx_conf_t *cf, ngx_array_t *from,
    const ti_str_t **list, size_t *n)
{
    ti_str_t    *to;
    ngx_str_t   *s;
    ngx_uint_t   i;

    if (from == NULL) {
        return NGX_CONF_OK;
    }

    to = ngx_palloc(cf->pool, from->nelts * sizeof(ti_str_t));
    if (to == NULL) {
        return NGX_CONF_ERROR;
    }

    s = from->elts;

    for (i = 0; i < from->nelts; i++) {
        to[i] = ngx_http_token_injector_str(&s[i]);
    }

    *list = to;
    *n = from->nelts;

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_issuer_path(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer, const char *directive,
    ngx_str_t *text, ti_json_path_t *path)
{
    ti_pool_t  pool;

    pool = ngx_http_token_injector_pool(cf->pool);

    if (ti_json_path_compile(&pool, ngx_http_token_injector_str(text), path)
        != TI_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" has an invalid \"%s\" "
                           "\"%V\"", &issuer->name, directive, text);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_issuer_required(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer)
{
    ngx_str_t       *name;
    ngx_uint_t       i;
    ti_json_path_t  *path;

    if (issuer->required == NULL) {
        return NGX_CONF_OK;
    }

    name = issuer->required->elts;

    path = ngx_palloc(cf->pool,
                      issuer->required->nelts * sizeof(ti_json_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < issuer->required->nelts; i++) {

        if (ngx_http_token_injector_issuer_path(cf, issuer, "required_claims",
                                                &name[i], &path[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    issuer->policy.required = path;
    issuer->policy.nrequired = issuer->required->nelts;

    return NGX_CONF_OK;
}


/*
 * What a verdict on a token depends on, apart from keys that are fetched.
 * Lists follow their lengths, so that none reads as another.
 */

static char *
ngx_http_token_injector_issuer_identity(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids)
{
    u_char        *p, numbers[7 * 8];
    ti_str_t      *field;
    ngx_str_t     *s;
    ngx_uint_t     i, j, n;
    ngx_array_t   *list[4];

    list[0] = issuer->audience;
    list[1] = issuer->typ;
    list[2] = issuer->azp;
    list[3] = issuer->required;

    p = numbers;

    ti_put_u64(p, issuer->policy.algorithms);
    ti_put_u64(p += 8, issuer->policy.leeway);
    ti_put_u64(p += 8, issuer->policy.max_age);
    ti_put_u64(p += 8, ids->nelts);

    n = 0;

    for (i = 1; i < 4; i++) {
        ti_put_u64(p += 8, list[i] ? list[i]->nelts : 0);
        n += list[i] ? list[i]->nelts : 0;
    }

    field = ngx_array_push_n(ids, 5 + list[0]->nelts + n);
    if (field == NULL) {
        return NGX_CONF_ERROR;
    }

    *field++ = ti_str_from(numbers, sizeof(numbers));
    *field++ = ngx_http_token_injector_str(&issuer->name);
    *field++ = issuer->policy.issuer;
    *field++ = ngx_http_token_injector_str(&issuer->user_claim);
    *field++ = ngx_http_token_injector_str(&issuer->tenant_claim);

    for (i = 0; i < 4; i++) {
        s = list[i] ? list[i]->elts : NULL;

        for (j = 0; list[i] && j < list[i]->nelts; j++) {
            *field++ = ngx_http_token_injector_str(&s[j]);
        }
    }

    if (ti_crypto_sha256_enc(mcf->crypto, ids->elts, ids->nelts, issuer->id)
        != TI_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
