/*
 * What the files of the glue share: the context of one request, what a worker
 * has, who calls whom.
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

#include "ngx_http_token_injector_conf.h"
#include "ngx_http_token_injector_memory.h"
#include "ngx_http_token_injector_redis.h"


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
    int64_t                               retry_after;   /* 0: not said */
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
    uint64_t                              ruled;     /* edition of the rules */
    ngx_queue_t                           ruling;
    ngx_msec_t                            lacks;     /* others until then */
    ngx_queue_t                           awaiting;
    ti_flow_t                             flow;
    json_t                               *claims;

    /* authorize */

    ngx_http_token_injector_provider_t   *provider;  /* a call is about it */
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

    /* refresh */

    uint64_t                              seen;      /* gen; 0: none */
    ti_result_t                           fetched;
    ngx_msec_t                            late;      /* it waits until then */
    ngx_uint_t                            rounds;

    /* join; refresh waits with the same */

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
    ngx_int_t                           (*reinit_request)(
                                              ngx_http_request_t *r);
    ngx_int_t                           (*process_header)(
                                              ngx_http_request_t *r);
    ngx_int_t                             phase;     /* of the steps */
    uint64_t                              unwanted;  /* gen of a token that
                                                        was refused; 0: none */
    ti_str_t                              claims_wanted; /* JSON, of a user */

    /* keep */

    ngx_buf_t                            *body;
    off_t                                 length;    /* -1: not announced */

    unsigned                              identified:1;
    unsigned                              hinted:1;     /* at newer keys */
    unsigned                              awaits:1;     /* them */
    unsigned                              wonders:1;    /* about rules */
    unsigned                              unruled:1;    /* none to be had */
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
    unsigned                              lacks_token:1;
    unsigned                              waits_token:1;
    unsigned                              told:1;
    unsigned                              retried:1;    /* after a 401 */
    unsigned                              asks_claims:1;
    unsigned                              again:1;      /* as if no upstream
                                                           had answered */
    unsigned                              cacheable:1;  /* has a digest */
    unsigned                              asked:1;      /* for the answer */
    unsigned                              stale:1;      /* that one is */
    unsigned                              keepable:1;   /* as requests go */
    unsigned                              keep:1;
    unsigned                              kept_now:1;
    unsigned                              fetching:1;   /* for all who wait */
    unsigned                              unkept:1;     /* and won't be */
    unsigned                              joined:1;
    unsigned                              waits:1;
};


typedef struct ngx_http_token_injector_changes_s
    ngx_http_token_injector_changes_t;
typedef struct ngx_http_token_injector_segments_s
    ngx_http_token_injector_segments_t;


/* what a worker has, made when it starts */

typedef struct {
    ngx_http_token_injector_main_conf_t  *conf;      /* it began with */
    ngx_http_token_injector_redis_t     **stores;    /* by store index */
    ngx_http_token_injector_changes_t   **changes;   /* by store index */
    ngx_http_token_injector_segments_t  **segments;  /* by store index */
    ngx_uint_t                            nstores;
    ngx_queue_t                           waiting;   /* contexts that join */

    ngx_http_token_injector_live_t       *live;      /* by feed index */
    ngx_uint_t                            nlive;
    ngx_queue_t                           awaiting;  /* contexts, for keys */
    ngx_event_t                           look;      /* is there news? */
    ngx_event_t                           refresh;   /* of keys */
    ngx_connection_t                      dummy;     /* of all timers */
} ngx_http_token_injector_worker_t;


extern ngx_module_t  ngx_http_token_injector_module;
extern ngx_http_token_injector_worker_t  ngx_http_token_injector_worker;


#define ngx_http_token_injector_main(r)                                       \
    ((ngx_http_token_injector_main_conf_t *)                                  \
     ngx_http_get_module_main_conf(r, ngx_http_token_injector_module))

#define ngx_http_token_injector_loc(r)                                        \
    ((ngx_http_token_injector_loc_conf_t *)                                   \
     ngx_http_get_module_loc_conf(r, ngx_http_token_injector_module))


/* the one that a request is about, if any */

static ngx_inline ngx_http_token_injector_provider_t *
ngx_http_token_injector_about(ngx_http_token_injector_ctx_t *ctx)
{
    return ctx->conf->provider ? ctx->conf->provider : ctx->provider;
}


/* what a location takes from the request, and nobody else may see */

static ngx_inline ngx_uint_t
ngx_http_token_injector_takes(ngx_http_token_injector_loc_conf_t *conf)
{
    return conf->provider || conf->connections;
}


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
ngx_int_t ngx_http_token_injector_connections_await(
    ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_receive(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_recall(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_join(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_unseal(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_refresh(ngx_http_token_injector_ctx_t *ctx);
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

/*
 * Renewal: a fresh token, once for all who need it.
 *
 * lacking(), ended(): the request has no token to use, since there is none or
 * none that opens, or since what there is has had its time.  NGX_OK: the step
 * that brings one will be taken; else what refuse() said.
 *
 * ahead() begins one that nobody waits for: the token in hand is good still,
 * or the third party refused it.
 */

ngx_int_t ngx_http_token_injector_lacking(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result, const char *why);
ngx_int_t ngx_http_token_injector_ended(ngx_http_token_injector_ctx_t *ctx,
    const char *why);
void ngx_http_token_injector_renew_ahead(ngx_http_token_injector_ctx_t *ctx);
void ngx_http_token_injector_renew_leave(ngx_http_token_injector_ctx_t *ctx);

/*
 * The request, whose answer was taken back, goes on: with another that is
 * there, else at the step that asks the store.  Not from within a call of its
 * upstream.
 */

void ngx_http_token_injector_again(ngx_http_token_injector_ctx_t *ctx);

/* app-only tokens */

ngx_int_t ngx_http_token_injector_app_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);

/* what is needed to use a connection: ti_flow_connection() takes the replies */

ngx_int_t ngx_http_token_injector_ask_token(
    ngx_http_token_injector_redis_op_t *op, ti_str_t name);

/* changes of connections, made by whomever */

ngx_http_token_injector_changes_t *ngx_http_token_injector_changes_create(
    ngx_cycle_t *cycle, ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store);
void ngx_http_token_injector_changes_destroy(
    ngx_http_token_injector_changes_t *changes);
uint64_t ngx_http_token_injector_changes_heard(
    ngx_http_token_injector_ctx_t *ctx);
ngx_uint_t ngx_http_token_injector_changed(
    ngx_http_token_injector_ctx_t *ctx);

/*
 * Segments: whom a provider is for.  Rules that Redis has for it stand in the
 * place of its "allow".
 */

ngx_http_token_injector_segments_t *ngx_http_token_injector_segments_create(
    ngx_cycle_t *cycle, ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store);
void ngx_http_token_injector_segments_destroy(
    ngx_http_token_injector_segments_t *segments);

/* NGX_OK: it was about rules, which are being loaded now */
ngx_int_t ngx_http_token_injector_segments_changed(
    ngx_http_token_injector_segments_t *segments, ti_str_t name);
void ngx_http_token_injector_segments_load(
    ngx_http_token_injector_segments_t *segments);

/*
 * Are the rules here that Redis has for the provider?  NGX_AGAIN: the request
 * waits, and its steps go on when they are.  NGX_BUSY: the store is away,
 * and ctx->why.
 */
ngx_int_t ngx_http_token_injector_segment_await(
    ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_provider_t *provider);
void ngx_http_token_injector_segment_leave(
    ngx_http_token_injector_ctx_t *ctx);

/*
 * NGX_OK: the provider is for this request's caller.  NGX_DECLINED: it is not,
 * and *why, where it is not NULL.  NGX_BUSY: nothing is known; see above.
 */
ngx_int_t ngx_http_token_injector_segment_allows(
    ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_provider_t *provider, const char **why);

/*
 * Which edition of the provider's rules this worker has, never 0, which is
 * none; *mark is of the rules themselves and empty where Redis has none.
 */
uint64_t ngx_http_token_injector_segment_edition(
    ngx_http_token_injector_provider_t *provider, ti_str_t *mark);

/* keys */

ngx_int_t ngx_http_token_injector_keys_init_process(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);
void ngx_http_token_injector_keys_exit_process(void);
void ngx_http_token_injector_keys_ask(
    ngx_http_token_injector_issuer_t *issuer);
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

/* what the third party says to the token */

void ngx_http_token_injector_watch(ngx_http_token_injector_ctx_t *ctx);
ngx_uint_t ngx_http_token_injector_repeatable(ngx_http_request_t *r);
ngx_int_t ngx_http_token_injector_hold(ngx_http_token_injector_ctx_t *ctx);
ngx_int_t ngx_http_token_injector_held(ngx_http_token_injector_ctx_t *ctx);

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
ngx_int_t ngx_http_token_injector_answer_stale(
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

/* numbers */

void ngx_http_token_injector_count_request(
    ngx_http_token_injector_ctx_t *ctx);

/* variables */

ngx_int_t ngx_http_token_injector_variables_init(ngx_conf_t *cf);
ngx_int_t ngx_http_token_injector_variable_path(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
void ngx_http_token_injector_forget(ngx_http_request_t *r, ti_str_t secret);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_H_INCLUDED_ */
