/*
 * What the files of the glue share: the configuration, const once it is
 * merged, and the context of one request.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ti_answer.h"
#include "ti_flow.h"
#include "ti_header.h"
#include "ti_jwt.h"

#include "ngx_http_token_injector_keys.h"
#include "ngx_http_token_injector_memory.h"
#include "ngx_http_token_injector_redis.h"


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

    ti_keyring_t                  *ring;
    ngx_http_token_injector_redis_conf_t  redis;
    u_char                         id[TI_SHA256_LEN];
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
    NGX_HTTP_TOKEN_INJECTOR_CLIENT
} ngx_http_token_injector_grant_e;


typedef struct {
    ngx_str_t                      name;
    ngx_http_token_injector_place_t  place;

    ngx_str_t                      store_name;
    ngx_uint_t                     grant;
    ngx_uint_t                     user_key;     /* required or not */
    ngx_array_t                   *allow;        /* ti_claims_rule_t */

    /* read and judged here, for who will talk to the provider */

    ngx_str_t                      authorization_endpoint;
    ngx_str_t                      token_endpoint;
    ngx_str_t                      client_id;
    ngx_str_t                      client_secret_file;
    ngx_uint_t                     client_auth;
    ngx_str_t                      scope;
    ngx_str_t                      redirect_uri;
    ngx_flag_t                     allow_http;

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
    ngx_array_t                   *trusts;       /* what was read of them */

    size_t                         memory_size;
    ngx_shm_zone_t                *memory;
    ti_crypto_t                   *crypto;
    ngx_flag_t                     used;

    ngx_array_t                   *volatiles;    /* see views */
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

    ngx_http_token_injector_provider_t  *provider;
    u_char                         policy[TI_SHA256_LEN];
} ngx_http_token_injector_loc_conf_t;


/* nginx's list of all headers of one name: since 1.23.0 they are linked */

#if (nginx_version >= 1023000)

typedef ngx_table_elt_t  *ngx_http_token_injector_multi_t;

#define ngx_http_token_injector_cookies(r)  (r)->headers_in.cookie

#else

typedef ngx_array_t  ngx_http_token_injector_multi_t;

#define ngx_http_token_injector_cookies(r)  (r)->headers_in.cookies

#endif


/*
 * The headers of a request as somebody may see them.  Swapped in and out of
 * r->headers_in whole; the elements of the original are never touched.
 */

typedef struct {
    ngx_list_t                       headers;
    ngx_table_elt_t                 *authorization;
    ngx_http_token_injector_multi_t  cookies;
} ngx_http_token_injector_view_t;


typedef struct ngx_http_token_injector_ctx_s  ngx_http_token_injector_ctx_t;


/*
 * What outlives internal redirects, which clear the contexts of modules: one
 * for a request and all its subrequests, found by its cleanup in the pool.
 */

typedef struct {
    ngx_http_token_injector_view_t  original;
    ngx_http_token_injector_view_t  stripped;
    ngx_http_token_injector_ctx_t  *contexts;    /* the newest first */
    unsigned                        viewed:1;    /* there are two views */
} ngx_http_token_injector_state_t;


typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_CACHE_NONE = 0,
    NGX_HTTP_TOKEN_INJECTOR_CACHE_MISS,
    NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT,
    NGX_HTTP_TOKEN_INJECTOR_CACHE_BYPASS
} ngx_http_token_injector_cache_e;


struct ngx_http_token_injector_ctx_s {
    ngx_http_request_t                   *request;
    ngx_http_token_injector_loc_conf_t   *conf;
    ngx_http_token_injector_state_t      *state;
    ngx_http_token_injector_ctx_t        *next;

    ngx_uint_t                            step;
    ti_result_t                           result;
    const char                           *why;
    ngx_uint_t                            status;    /* of a refusal */
    ngx_table_elt_t                      *headers[3];   /* its own */

    /* authenticate */

    ti_str_t                              token;     /* the caller's */
    ti_str_t                              user_key;  /* as sent */
    ti_admission_id_t                     id;
    ti_admission_t                        head;
    ti_result_t                           verdict;   /* on the token */
    ngx_http_token_injector_issuer_t     *lacking;   /* newer keys, maybe */
    uint64_t                              tried;     /* a mark of its keys */
    ngx_msec_t                            lacks;     /* others until then */
    ngx_queue_t                           awaiting;
    ti_flow_t                             flow;
    json_t                               *claims;

    /* authorize */

    u_char                                key[TI_KEY_LEN];

    /* recall */

    ngx_http_token_injector_redis_op_t   *op;
    ti_resp_reply_t                       hlen;
    ti_flow_connection_t                  connection;
    ti_result_t                           read;      /* what came of it */
    ti_flow_t                             confirmed;
    ngx_str_t                             kept;      /* an answer, sealed */
    u_char                                digest[TI_SHA256_LEN];
    ti_answer_t                           answer;
    ngx_http_token_injector_cache_e       cache;

    /* join */

    ngx_event_t                           wait;
    ngx_msec_t                            patience;  /* until then */
    ngx_queue_t                           waiting;

    /* unseal, inject */

    ngx_str_t                             bearer;    /* "Bearer …": wiped */
    ngx_str_t                             written;   /* upstream's: wiped */
    ngx_str_t                            *claimed;   /* by claim headers */
    ngx_http_token_injector_view_t        injected;
    ngx_http_handler_pt                   handler;   /* the location's */
    ngx_int_t                           (*create_request)(
                                              ngx_http_request_t *r);

    /* keep */

    ngx_buf_t                            *body;
    off_t                                 length;    /* -1: not announced */

    unsigned                              identified:1;
    unsigned                              hinted:1;     /* at newer keys */
    unsigned                              awaits:1;     /* them */
    unsigned                              admitted:1;   /* by an admission */
    unsigned                              has_key:1;
    unsigned                              passed:1;     /* no provider */
    unsigned                              finished:1;
    unsigned                              refused:1;
    unsigned                              broken:1;     /* log it loudly */
    unsigned                              problem:1;    /* is being sent */
    unsigned                              problem_sent:1;
    unsigned                              planned:1;
    unsigned                              answered:1;   /* by Redis */
    unsigned                              failed:1;     /* by Redis */
    unsigned                              renewed:1;    /* by a confirmation */
    unsigned                              cacheable:1;  /* has a digest */
    unsigned                              asked:1;      /* for the answer */
    unsigned                              keepable:1;   /* as requests go */
    unsigned                              keep:1;
    unsigned                              kept_now:1;
    unsigned                              fetching:1;   /* for all who wait */
    unsigned                              unkept:1;     /* and won't be */
    unsigned                              joined:1;
    unsigned                              waits:1;
};


/* what a worker has, made when it starts */

typedef struct {
    ngx_http_token_injector_redis_t     **stores;    /* by store index */
    ngx_uint_t                            nstores;
    ngx_queue_t                           waiting;   /* contexts that join */

    ngx_http_token_injector_live_t       *live;      /* by feed index */
    ngx_uint_t                            nlive;
    ngx_queue_t                           awaiting;  /* contexts, for keys */
    ngx_event_t                           look;      /* is there news? */
    ngx_event_t                           refresh;   /* of keys */
    ngx_connection_t                      dummy;     /* for those two */
} ngx_http_token_injector_worker_t;


extern ngx_module_t  ngx_http_token_injector_module;
extern ngx_http_token_injector_worker_t  ngx_http_token_injector_worker;


#define ngx_http_token_injector_main(r)                                       \
    ((ngx_http_token_injector_main_conf_t *)                                  \
     ngx_http_get_module_main_conf(r, ngx_http_token_injector_module))

#define ngx_http_token_injector_loc(r)                                        \
    ((ngx_http_token_injector_loc_conf_t *)                                   \
     ngx_http_get_module_loc_conf(r, ngx_http_token_injector_module))


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

void *ngx_http_token_injector_create_main_conf(ngx_conf_t *cf);
char *ngx_http_token_injector_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_token_injector_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_token_injector_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

/* steps */

ngx_int_t ngx_http_token_injector_access_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_token_injector_precontent_handler(ngx_http_request_t *r);
ngx_http_token_injector_ctx_t *ngx_http_token_injector_ctx(
    ngx_http_request_t *r);
void ngx_http_token_injector_resume(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_refuse(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result, const char *why);

ngx_int_t ngx_http_token_injector_authenticate(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_authorize(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_receive(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_recall(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_join(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_unseal(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_inject(ngx_http_token_injector_ctx_t *ctx);

/* the caller, for who asks before or beside the steps */
ngx_int_t ngx_http_token_injector_identify(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t *result, const char **why);
ngx_int_t ngx_http_token_injector_user_name(
    ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_admit(ngx_http_token_injector_ctx_t *ctx,
    ti_str_t *token);
u_char *ngx_http_token_injector_user_key(ngx_http_token_injector_ctx_t *ctx);
json_t *ngx_http_token_injector_claims(ngx_http_token_injector_ctx_t *ctx);

/* keys */

ngx_int_t ngx_http_token_injector_keys_init_process(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);
void ngx_http_token_injector_keys_exit_process(void);
void ngx_http_token_injector_keys_sync(
    ngx_http_token_injector_issuer_t *issuer);
uint64_t ngx_http_token_injector_keys_mark(
    ngx_http_token_injector_issuer_t *issuer);
ngx_uint_t ngx_http_token_injector_keys_marked(
    ngx_http_token_injector_issuer_t *issuer, uint64_t mark);
ngx_int_t ngx_http_token_injector_keys_await(
    ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_keys_leave(ngx_http_token_injector_ctx_t *ctx);

/* views */

void ngx_http_token_injector_save(ngx_http_request_t *r,
    ngx_http_token_injector_view_t *view);
ngx_int_t ngx_http_token_injector_named(ngx_table_elt_t *h,
    ngx_str_t *name);
ngx_int_t ngx_http_token_injector_link(ngx_http_request_t *r,
    ngx_http_token_injector_multi_t *multi, ngx_table_elt_t *h);
ngx_http_token_injector_state_t *ngx_http_token_injector_state(
    ngx_http_request_t *r, ngx_uint_t create);
ngx_int_t ngx_http_token_injector_strip(ngx_http_request_t *r,
    ngx_http_token_injector_state_t *state,
    ngx_http_token_injector_loc_conf_t *conf);
ngx_int_t ngx_http_token_injector_present(ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_view(ngx_http_request_t *r,
    ngx_http_token_injector_view_t *view);
void ngx_http_token_injector_flush(ngx_http_request_t *r);
ngx_int_t ngx_http_token_injector_read(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_source_t *source, ti_str_t *value);
ngx_int_t ngx_http_token_injector_content_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_token_injector_rewrite_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_token_injector_log_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_token_injector_views_init(ngx_cycle_t *cycle);
ngx_table_elt_t *ngx_http_token_injector_header(ngx_http_request_t *r,
    ti_str_t name, ngx_table_elt_t *after);

/* claim headers */

ngx_int_t ngx_http_token_injector_claim(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_disclaim(ngx_http_request_t *r,
    ngx_http_token_injector_loc_conf_t *conf);
ngx_int_t ngx_http_token_injector_claim_values(
    ngx_http_token_injector_ctx_t *ctx);
ngx_table_elt_t *ngx_http_token_injector_claim_push(
    ngx_http_token_injector_ctx_t *ctx, ngx_table_elt_t *h);

/* answers */

ngx_int_t ngx_http_token_injector_answer_plan(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_answer_known(
    ngx_http_token_injector_ctx_t *ctx);
ngx_uint_t ngx_http_token_injector_answer_here(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_answer_name(
    ngx_http_token_injector_ctx_t *ctx, ngx_str_t *name);
ngx_int_t ngx_http_token_injector_answer_handler(ngx_http_request_t *r);
ngx_table_elt_t *ngx_http_token_injector_add_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);

/* the join is over for this request, whatever it was in it */
void ngx_http_token_injector_fetched(ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_leave(ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_redirected(ngx_http_request_t *r,
    ngx_http_token_injector_state_t *state);

ngx_int_t ngx_http_token_injector_filter_init(ngx_conf_t *cf);

/* refusals */

ngx_int_t ngx_http_token_injector_problem_begin(
    ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_problem_withdraw(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_problem_header(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_problem_body(
    ngx_http_token_injector_ctx_t *ctx, ngx_chain_t **out);

/* variables */

ngx_int_t ngx_http_token_injector_variables_init(ngx_conf_t *cf);
ngx_int_t ngx_http_token_injector_variable_path(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
void ngx_http_token_injector_forget(ngx_http_request_t *r, ti_str_t secret);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_H_INCLUDED_ */
