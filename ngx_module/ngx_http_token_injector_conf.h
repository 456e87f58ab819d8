/*
 * The configuration, const once it is merged, and who reads it.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_CONF_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ti_claims.h"
#include "ti_jwt.h"
#include "ti_oauth.h"
#include "ti_record.h"
#include "ti_signer.h"

#include "ngx_http_token_injector_fetch.h"
#include "ngx_http_token_injector_keys.h"
#include "ngx_http_token_injector_redis.h"
#include "ngx_http_token_injector_status.h"


/* token_status */

#define NGX_HTTP_TOKEN_INJECTOR_STATUS_JSON        1
#define NGX_HTTP_TOKEN_INJECTOR_STATUS_PROMETHEUS  2


/* what token_cache_max_size may be at most */

#define NGX_HTTP_TOKEN_INJECTOR_ANSWER_MAX  (16 * 1024 * 1024)


/* where a block or a name stands, for errors that come up after parsing */

typedef struct {
    ngx_str_t                      file;
    ngx_uint_t                     line;
} ngx_http_token_injector_place_t;


typedef struct {
    ngx_str_t                      name;
    ngx_http_token_injector_place_t  place;
    ngx_uint_t                     index;

    ngx_array_t                   *servers;      /* ngx_str_t, as written */
    ngx_str_t                      topology;
    ngx_int_t                      database;
    ngx_str_t                      user;
    ngx_str_t                      password_file;
    ngx_flag_t                     ssl;
    ngx_int_t                      connections;
    ngx_msec_t                     connect_timeout;
    ngx_msec_t                     timeout;
    ngx_str_t                      key_prefix;
    ngx_str_t                      sealing_keys;
    time_t                         local_valid;
    ngx_str_t                      spool;        /* a directory, or empty */

    ti_keyring_t                  *ring;
    ngx_http_token_injector_redis_conf_t  redis;
    u_char                         id[TI_SHA256_LEN];
    u_char                         journal[TI_SHA256_LEN];
} ngx_http_token_injector_store_t;


/* somebody whom we ask over HTTP */

typedef struct {
    ngx_msec_t                     connect_timeout;
    ngx_msec_t                     timeout;
    ngx_str_t                      http_proxy;
    ngx_array_t                   *no_proxy;     /* ngx_str_t */
    ngx_str_t                      trusted_certificate;
    ngx_flag_t                     allow_http;
    ngx_uint_t                     https;        /* it has such a URL */

    ngx_http_token_injector_fetch_conf_t  fetch;
} ngx_http_token_injector_party_t;


typedef struct {
    ngx_str_t                      name;
    ngx_http_token_injector_place_t  place;

    ngx_str_t                      issuer;
    ngx_array_t                   *audience;     /* ngx_str_t */
    ngx_array_t                   *algorithms;   /* ngx_str_t */
    ngx_array_t                   *keys_files;   /* ngx_str_t */
    ngx_array_t                   *keys_uris;    /* ngx_str_t */
    time_t                         leeway;
    ngx_str_t                      user_claim;
    ngx_str_t                      tenant_claim;
    ngx_array_t                   *typ;          /* ngx_str_t */
    ngx_array_t                   *azp;          /* ngx_str_t */
    ngx_array_t                   *required;     /* ngx_str_t */
    time_t                         max_age;

    /* where keys are fetched */

    time_t                         keys_interval;
    time_t                         keys_min_interval;
    time_t                         keys_max_stale;
    ngx_msec_t                     keys_wait;
    ngx_http_token_injector_party_t  party;
    ngx_uint_t                     discovery;    /* the URI is found so */
    ngx_array_t                    feeds;        /* pointers to feeds */

    ti_jwt_issuer_t                policy;
    u_char                         id[TI_SHA256_LEN];
} ngx_http_token_injector_issuer_t;


typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_CODE = 0,
    NGX_HTTP_TOKEN_INJECTOR_CLIENT,
    NGX_HTTP_TOKEN_INJECTOR_EXCHANGE,
    NGX_HTTP_TOKEN_INJECTOR_BEARER
} ngx_http_token_injector_grant_e;


/* whom the third party's "not now" holds back */

typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_THROTTLE_OFF = 0,
    NGX_HTTP_TOKEN_INJECTOR_THROTTLE_CALLER,
    NGX_HTTP_TOKEN_INJECTOR_THROTTLE_PROVIDER
} ngx_http_token_injector_throttle_e;


typedef struct {
    ngx_str_t                      name;
    ngx_http_token_injector_place_t  place;
    ngx_uint_t                     index;        /* among all providers */

    ngx_str_t                      store_name;
    ngx_uint_t                     grant;
    ngx_uint_t                     user_key;     /* required or not */
    ngx_array_t                   *allow;        /* ti_claims_rule_t */

    /* whom we talk to: endpoints are written out, or found at its issuer */

    ngx_str_t                      issuer;
    ngx_str_t                      authorization_endpoint;
    ngx_str_t                      token_endpoint;
    ngx_str_t                      userinfo_endpoint;
    ngx_str_t                      revocation_endpoint;
    ngx_str_t                      admin_consent_endpoint;
    ngx_str_t                      discovery;    /* URL; empty: all written */
    ngx_http_token_injector_party_t  party;
    ngx_uint_t                     talks;        /* it has any of these */

    /* its ID tokens, where "openid" is in the scope */

    ngx_array_t                   *algorithms;   /* ngx_str_t */
    ngx_array_t                   *keys_uris;    /* ngx_str_t */
    ngx_http_token_injector_issuer_t  *signer_of_ids;    /* NULL: unknown */

    /* as whom */

    ngx_str_t                      client_id;
    ngx_uint_t                     client_auth;  /* ti_oauth_auth_t */
    ngx_str_t                      client_secret_file;
    ngx_str_t                      client_key_file;
    ti_str_t                      *secrets;      /* tried in order */
    ngx_uint_t                     nsecrets;
    ti_signer_t                   *signer;

    /* for what */

    ngx_str_t                      scope;
    ngx_str_t                      redirect_uri;
    ngx_array_t                   *visit_params; /* ti_form_param_t */
    ngx_array_t                   *token_params; /* ti_form_param_t */
    ngx_str_t                      subject_token_type;

    /* when its tokens are renewed */

    time_t                         refresh_ahead;
    time_t                         refresh_reuse;
    ngx_uint_t                     throttle;

    /* whose account it turned out to be */

    ngx_uint_t                     userinfo_auth;  /* ti_oauth_binding_t */
    ngx_str_t                      account_claim;
    ti_json_path_t                 account;
    ngx_str_t                      match_account;  /* the caller's claim */
    ti_json_path_t                 match;

    ngx_uint_t                     used;         /* by some location */
    ngx_http_token_injector_store_t  *store;
    u_char                         id[TI_SHA256_LEN];
} ngx_http_token_injector_provider_t;


/* where a caller's secret comes from: never a URL, which ends up in logs */

typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_FROM_AUTHORIZATION = 0,
    NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER,
    NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE
} ngx_http_token_injector_from_e;


typedef struct {
    ngx_http_token_injector_from_e from;
    ngx_str_t                      name;         /* as in the variable */
} ngx_http_token_injector_source_t;


typedef struct {
    ngx_array_t                    names;        /* ngx_str_t */
    ngx_http_token_injector_place_t  place;
    ngx_str_t                      realm;
    ngx_str_t                      metadata;     /* URL, RFC 9728 */
    ngx_http_token_injector_source_t  source;
    const ti_jwt_issuer_t        **issuers;
    ngx_http_token_injector_issuer_t  **blocks;
    ngx_uint_t                     n;
} ngx_http_token_injector_auth_t;


typedef struct {
    ngx_array_t                   *values;       /* ngx_http_complex_value_t */
    ngx_uint_t                     error;
} ngx_http_token_injector_require_t;


/* a header that tells the upstream who calls */

typedef struct {
    ngx_table_elt_t                header;       /* but for its value */
    ngx_str_t                      name;         /* as variables spell it */
    ngx_int_t                      variable;     /* its index */
    ngx_http_token_injector_place_t  place;
} ngx_http_token_injector_claim_header_t;


typedef struct {
    ngx_array_t                    stores;       /* pointers to blocks */
    ngx_array_t                    issuers;
    ngx_array_t                    providers;
    ngx_array_t                    feeds;

    size_t                         memory_size;
    ngx_shm_zone_t                *memory;
    ngx_shm_zone_t                *journal;
    ngx_core_conf_t               *core;         /* whose workers they are */
    ti_crypto_t                   *crypto;
    ngx_flag_t                     used;

    ngx_array_t                   *volatiles;    /* see views */

    ngx_flag_t                     counted;      /* there is a token_status */
    ngx_array_t                    rows;         /* pointers to rows */
} ngx_http_token_injector_main_conf_t;


typedef struct {
    ngx_http_token_injector_auth_t    *auth;
    ngx_array_t                   *require;
    ngx_http_token_injector_place_t  require_place;
    ngx_str_t                      inject;       /* "" or "off": none */
    ngx_http_token_injector_place_t  inject_place;
    ngx_http_token_injector_source_t  *user_key;
    ngx_array_t                   *claim_headers;

    time_t                         cache;        /* 0: off */
    ngx_http_token_injector_place_t  cache_place;
    ngx_uint_t                     cache_methods;
    ngx_array_t                   *cache_vary;   /* ti_str_t */
    ngx_array_t                   *cache_key;    /* ngx_http_complex_value_t */
    size_t                         cache_max_size;
    time_t                         cache_stale;

    ngx_http_token_injector_provider_t  *provider;
    u_char                         policy[TI_SHA256_LEN];

    ngx_uint_t                     connections;
    ngx_http_token_injector_place_t  connections_place;

    ngx_uint_t                     status;       /* token_status: its form */
    ngx_http_token_injector_row_t *row;
} ngx_http_token_injector_loc_conf_t;


/* core types and nginx's */

static ngx_inline ti_str_t
ngx_http_token_injector_str(ngx_str_t *s)
{
    return ti_str_from(s->data, s->len);
}


static ngx_inline ti_pool_t
ngx_http_token_injector_pool(ngx_pool_t *pool)
{
    return (ti_pool_t) { (void *(*)(void *, size_t)) ngx_palloc, pool };
}


/* conf: blocks */

void ngx_http_token_injector_conf_place(ngx_conf_t *cf,
    ngx_http_token_injector_place_t *place);
void ngx_cdecl ngx_http_token_injector_conf_error(ngx_conf_t *cf,
    ngx_uint_t level, ngx_http_token_injector_place_t *place,
    const char *fmt, ...);
char *ngx_http_token_injector_conf_block(ngx_conf_t *cf,
    ngx_command_t *commands, void *block);
char *ngx_http_token_injector_conf_strings(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_token_injector_conf_file(ngx_conf_t *cf,
    const char *directive, ngx_str_t *path, size_t max, ngx_uint_t secret,
    ngx_str_t *text);
void *ngx_http_token_injector_conf_find(ngx_array_t *blocks, ngx_str_t *name);
void *ngx_http_token_injector_conf_named(ngx_conf_t *cf, ngx_array_t *blocks,
    size_t size, const char *directive);
const char *ngx_http_token_injector_url_objection(ngx_str_t *url,
    ngx_uint_t allow_http);
const char *ngx_http_token_injector_proxy_objection(ngx_str_t *url);
ngx_int_t ngx_http_token_injector_conf_url(ngx_conf_t *cf,
    const char *directive, ngx_str_t *url, ngx_uint_t allow_http);

char *ngx_http_token_injector_store_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_token_injector_issuer_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_token_injector_issuer_t *ngx_http_token_injector_issuer_create(
    ngx_conf_t *cf);
char *ngx_http_token_injector_issuer_trust(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf);
char *ngx_http_token_injector_provider_signs(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
char *ngx_http_token_injector_issuer_keys(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids);
void ngx_http_token_injector_issuer_used(
    ngx_http_token_injector_issuer_t *issuer);
void ngx_http_token_injector_party_unset(
    ngx_http_token_injector_party_t *party);
void ngx_http_token_injector_party_defaults(
    ngx_http_token_injector_party_t *party);
char *ngx_http_token_injector_party(ngx_conf_t *cf,
    ngx_http_token_injector_party_t *party);
char *ngx_http_token_injector_provider_block(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_token_injector_client(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
char *ngx_http_token_injector_conf_params(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_token_injector_conf_reuse(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_token_injector_conf_grant(ngx_conf_t *cf,
    ngx_http_token_injector_provider_t *provider);
char *ngx_http_token_injector_provider_resolve(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf);

/* conf: locations */

extern ngx_command_t  ngx_http_token_injector_commands[];

char *ngx_http_token_injector_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_token_injector_conf_user_key(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
ngx_uint_t ngx_http_token_injector_conf_word(ngx_str_t *s);
char *ngx_http_token_injector_conf_claim_set(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_token_injector_conf_claim_header(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_token_injector_merge_claim_headers(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *prev,
    ngx_http_token_injector_loc_conf_t *conf);

char *ngx_http_token_injector_conf_connections(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_token_injector_merge_connections(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *prev,
    ngx_http_token_injector_loc_conf_t *conf);
char *ngx_http_token_injector_conf_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_token_injector_status_blocks(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf);
ngx_int_t ngx_http_token_injector_status_zone(ngx_conf_t *cf,
    ngx_array_t *rows, void *tag);

void *ngx_http_token_injector_create_main_conf(ngx_conf_t *cf);
char *ngx_http_token_injector_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_token_injector_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_token_injector_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_CONF_H_INCLUDED_ */
