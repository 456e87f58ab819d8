/*
 * token_provider NAME { … }: a third party.
 */

#include "ngx_http_token_injector.h"


static char *ngx_http_token_injector_provider_allow(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_provider_values(ngx_conf_t *cf,
    ti_str_t first, ti_claims_rule_t *rule);
static char *ngx_http_token_injector_provider_validate(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
static ngx_int_t ngx_http_token_injector_provider_identity(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_provider_t *provider);


static ngx_conf_enum_t  ngx_http_token_injector_grants[] = {
    { ngx_string("authorization_code"), NGX_HTTP_TOKEN_INJECTOR_CODE },
    { ngx_string("client_credentials"), NGX_HTTP_TOKEN_INJECTOR_CLIENT },
    { ngx_string("token_exchange"), NGX_HTTP_TOKEN_INJECTOR_EXCHANGE },
    { ngx_string("jwt_bearer"), NGX_HTTP_TOKEN_INJECTOR_BEARER },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_token_injector_user_keys[] = {
    { ngx_string("required"), 1 },
    { ngx_string("off"), 0 },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_token_injector_client_auths[] = {
    { ngx_string("basic"), TI_OAUTH_BASIC },
    { ngx_string("post"), TI_OAUTH_POST },
    { ngx_string("none"), TI_OAUTH_PUBLIC },
    { ngx_string("private_key_jwt"), TI_OAUTH_ASSERTION },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_token_injector_userinfo_auths[] = {
    { ngx_string("header"), TI_OAUTH_IN_HEADER },
    { ngx_string("body"), TI_OAUTH_IN_BODY },
    { ngx_string("query"), TI_OAUTH_IN_QUERY },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_token_injector_throttles[] = {
    { ngx_string("caller"), NGX_HTTP_TOKEN_INJECTOR_THROTTLE_CALLER },
    { ngx_string("provider"), NGX_HTTP_TOKEN_INJECTOR_THROTTLE_PROVIDER },
    { ngx_string("off"), NGX_HTTP_TOKEN_INJECTOR_THROTTLE_OFF },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_token_injector_provider_commands[] = {

    { ngx_string("store"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, store_name),
      NULL },

    { ngx_string("grant"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, grant),
      &ngx_http_token_injector_grants },

    { ngx_string("user_key"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, user_key),
      &ngx_http_token_injector_user_keys },

    { ngx_string("allow"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_provider_allow,
      0,
      0,
      NULL },

    { ngx_string("algorithms"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_provider_t, algorithms),
      NULL },

    { ngx_string("keys_uri"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_provider_t, keys_uris),
      NULL },

    { ngx_string("issuer"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, issuer),
      NULL },

    { ngx_string("authorization_endpoint"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, authorization_endpoint),
      NULL },

    { ngx_string("token_endpoint"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, token_endpoint),
      NULL },

    { ngx_string("userinfo_endpoint"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, userinfo_endpoint),
      NULL },

    { ngx_string("revocation_endpoint"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, revocation_endpoint),
      NULL },

    { ngx_string("admin_consent_endpoint"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, admin_consent_endpoint),
      NULL },

    { ngx_string("client_id"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, client_id),
      NULL },

    { ngx_string("client_secret_file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, client_secret_file),
      NULL },

    { ngx_string("client_key_file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, client_key_file),
      NULL },

    { ngx_string("client_auth"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, client_auth),
      &ngx_http_token_injector_client_auths },

    { ngx_string("scope"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, scope),
      NULL },

    { ngx_string("redirect_uri"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, redirect_uri),
      NULL },

    { ngx_string("authorization_parameters"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_params,
      0,
      offsetof(ngx_http_token_injector_provider_t, visit_params),
      NULL },

    { ngx_string("token_parameters"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_params,
      0,
      offsetof(ngx_http_token_injector_provider_t, token_params),
      NULL },

    { ngx_string("subject_token_type"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, subject_token_type),
      NULL },

    { ngx_string("refresh_ahead"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, refresh_ahead),
      NULL },

    { ngx_string("refresh_reuse"),
      NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_reuse,
      0,
      0,
      NULL },

    { ngx_string("userinfo_auth"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, userinfo_auth),
      &ngx_http_token_injector_userinfo_auths },

    { ngx_string("account_claim"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, account_claim),
      NULL },

    { ngx_string("match_account"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, match_account),
      NULL },

    { ngx_string("throttle"),
      NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, throttle),
      &ngx_http_token_injector_throttles },

    { ngx_string("connect_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, party.connect_timeout),
      NULL },

    { ngx_string("timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, party.timeout),
      NULL },

    { ngx_string("ssl_trusted_certificate"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, party.trusted_certificate),
      NULL },

    { ngx_string("http_proxy"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, party.http_proxy),
      NULL },

    { ngx_string("no_proxy"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_provider_t, party.no_proxy),
      NULL },

    { ngx_string("allow_http"),
      NGX_CONF_TAKE1,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_token_injector_provider_t, party.allow_http),
      NULL },

      ngx_null_command
};


char *
ngx_http_token_injector_provider_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_main_conf_t  *mcf = conf;

    char                                *rv;
    ngx_http_token_injector_provider_t  *provider;

    provider = ngx_http_token_injector_conf_named(cf, &mcf->providers,
                              sizeof(ngx_http_token_injector_provider_t),
                              "token_provider");
    if (provider == NULL) {
        return NGX_CONF_ERROR;
    }

    provider->grant = NGX_CONF_UNSET_UINT;
    provider->user_key = NGX_CONF_UNSET_UINT;
    provider->client_auth = NGX_CONF_UNSET_UINT;
    provider->userinfo_auth = NGX_CONF_UNSET_UINT;
    provider->throttle = NGX_CONF_UNSET_UINT;
    provider->refresh_ahead = NGX_CONF_UNSET;
    provider->refresh_reuse = NGX_CONF_UNSET;
    ngx_http_token_injector_party_unset(&provider->party);

    ngx_http_token_injector_conf_place(cf, &provider->place);

    rv = ngx_http_token_injector_conf_block(cf,
                        ngx_http_token_injector_provider_commands, provider);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ngx_conf_init_uint_value(provider->grant, NGX_HTTP_TOKEN_INJECTOR_CODE);
    ngx_conf_init_uint_value(provider->user_key,
                    provider->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT);
    ngx_conf_init_uint_value(provider->client_auth, TI_OAUTH_BASIC);
    ngx_conf_init_uint_value(provider->userinfo_auth, TI_OAUTH_IN_HEADER);
    ngx_conf_init_uint_value(provider->throttle,
                             NGX_HTTP_TOKEN_INJECTOR_THROTTLE_CALLER);
    ngx_http_token_injector_party_defaults(&provider->party);

    return ngx_http_token_injector_provider_validate(cf, provider);
}


/* allow CLAIM=VALUE VALUE…; */

static char *
ngx_http_token_injector_provider_allow(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_provider_t  *provider = conf;

    u_char            *p;
    ti_str_t           claim, first;
    ti_pool_t          pool;
    ngx_str_t         *value;
    ti_claims_rule_t  *rule;

    value = cf->args->elts;
    pool = ngx_http_token_injector_pool(cf->pool);

    /* a namespaced claim is a URL: the last "=" ends the name */

    for (p = value[1].data + value[1].len; p > value[1].data; p--) {
        if (p[-1] == '=') {
            break;
        }
    }

    if (p <= value[1].data + 1 || p == value[1].data + value[1].len) {
        return "takes CLAIM=VALUE and more values";
    }

    if (provider->allow == NULL) {
        provider->allow = ngx_array_create(cf->pool, 2,
                                           sizeof(ti_claims_rule_t));
        if (provider->allow == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    rule = ngx_array_push(provider->allow);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    claim = ti_str_from(value[1].data, p - 1 - value[1].data);
    first = ti_str_from(p, value[1].data + value[1].len - p);

    if (ti_json_path_compile(&pool, claim, &rule->path) != TI_OK) {
        return "names a claim by an invalid JSON pointer";
    }

    return ngx_http_token_injector_provider_values(cf, first, rule);
}


static char *
ngx_http_token_injector_provider_values(ngx_conf_t *cf, ti_str_t first,
    ti_claims_rule_t *rule)
{
    ti_str_t    *values;
    ngx_str_t   *value;
    ngx_uint_t   i, n;

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    values = ngx_palloc(cf->pool, n * sizeof(ti_str_t));
    if (values == NULL) {
        return NGX_CONF_ERROR;
    }

    values[0] = first;

    for (i = 1; i < n; i++) {
        values[i] = ngx_http_token_injector_str(&value[i + 1]);
    }

    for (i = 0; i < n; i++) {
        if (!ti_claims_value_valid(values[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%*s\" in \"allow\" is neither *@ and a "
                               "domain nor a value without that in front",
                               values[i].len, values[i].data);
            return NGX_CONF_ERROR;
        }
    }

    rule->values = values;
    rule->nvalues = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_provider_validate(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider)
{
    const char  *why;

    why = NULL;

    if (provider->store_name.len == 0) {
        why = "has no \"store\"";

    } else if (provider->grant == NGX_HTTP_TOKEN_INJECTOR_CLIENT
               && provider->user_key)
    {
        why = "asks for a user key: an app-only token "
              "(\"grant client_credentials\") has no user";
    }

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "token_provider \"%V\" %s",
                           &provider->name, why);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_conf_grant(cf, provider) != NGX_CONF_OK
        || ngx_http_token_injector_client(cf, provider) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* only now: which of them were written has been asked until here */

    ngx_conf_init_value(provider->refresh_ahead, 300);
    ngx_conf_init_value(provider->refresh_reuse, 0);

    if (provider->subject_token_type.len == 0) {
        ngx_str_set(&provider->subject_token_type,
                    "urn:ietf:params:oauth:token-type:access_token");
    }

    return ngx_http_token_injector_provider_signs(cf, provider);
}


/* once all blocks are read: they may stand in any order */

char *
ngx_http_token_injector_provider_resolve(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                            i;
    ngx_http_token_injector_provider_t  **provider;

    provider = mcf->providers.elts;

    for (i = 0; i < mcf->providers.nelts; i++) {

        provider[i]->index = i;
        provider[i]->store = ngx_http_token_injector_conf_find(&mcf->stores,
                                                    &provider[i]->store_name);

        if (provider[i]->store == NULL) {
            ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                            &provider[i]->place,
                            "token_provider \"%V\" names the store \"%V\", "
                            "which is not there: add "
                            "\"token_store %V { … }\"",
                            &provider[i]->name, &provider[i]->store_name,
                            &provider[i]->store_name);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_token_injector_provider_identity(mcf, provider[i])
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_token_injector_provider_identity(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_provider_t *provider)
{
    size_t             i, j, n;
    u_char             kind[2], *id;
    ti_str_t           fields[8];
    ti_claims_rule_t  *rule;

    kind[0] = (u_char) provider->grant;
    kind[1] = (u_char) provider->user_key;

    id = provider->id;

    /* whose tokens these are, and for what: another's are no longer good */

    fields[0] = ngx_http_token_injector_str(&provider->name);
    fields[1] = ti_str_from(kind, sizeof(kind));
    fields[2] = ti_str_from(provider->store->id, TI_SHA256_LEN);
    fields[3] = ngx_http_token_injector_str(&provider->issuer);
    fields[4] = ngx_http_token_injector_str(&provider->token_endpoint);
    fields[5] = ngx_http_token_injector_str(&provider->client_id);
    fields[6] = ngx_http_token_injector_str(&provider->scope);
    fields[7] = ngx_http_token_injector_str(&provider->subject_token_type);

    if (ti_crypto_sha256_enc(mcf->crypto, fields, 8, id) != TI_OK) {
        return NGX_ERROR;
    }

    /* each rule is folded into what stands before it, piece by piece */

    n = provider->allow ? provider->allow->nelts : 0;
    rule = provider->allow ? provider->allow->elts : NULL;

    for (i = 0; i < n; i++) {

        for (j = 0; j < rule[i].path.n + rule[i].nvalues; j++) {

            kind[0] = (j < rule[i].path.n) ? 'p' : 'v';

            fields[0] = ti_str_from(id, TI_SHA256_LEN);
            fields[1] = ti_str_from(kind, 1);
            fields[2] = (j < rule[i].path.n)
                        ? ti_str_cstr(rule[i].path.names[j])
                        : rule[i].values[j - rule[i].path.n];

            if (ti_crypto_sha256_enc(mcf->crypto, fields, 3, id) != TI_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
