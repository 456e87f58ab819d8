/*
 * Renewal: one call to the token endpoint for all who need its token, be they
 * requests, workers or nodes.  docs/renewal.md has the states and what becomes
 * of each where somebody dies.
 *
 * A renewal is of one connection.  It owns its memory, which is wiped with it,
 * and goes on to its end when nobody waits any more.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_RENEW_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_RENEW_H_INCLUDED_


#include "ngx_http_token_injector.h"

#include "ti_flow.h"
#include "ti_lock.h"
#include "ti_write.h"

#include "ngx_http_token_injector_grant.h"


/* whose token it is, and which one is to be replaced; all of it is copied */

typedef struct {
    ngx_http_token_injector_provider_t  *provider;
    ti_who_t                       who;          /* empty: app-only */
    ti_str_t                       user;         /* names of the connection */
    ti_str_t                       device;
    const u_char                  *user_key;     /* TI_KEY_LEN, or NULL */
    ti_str_t                       subject;      /* of an exchange */
    uint64_t                       seen;         /* its gen; 0: none */
    ti_str_t                       cid;          /* likewise; empty: unknown */
} ngx_http_token_injector_renew_conf_t;


#define NGX_HTTP_TOKEN_INJECTOR_RENEW_MARKED  3600   /* it is in Redis too */


/* what all workers of a node know of a connection's renewal */

typedef struct {
    uint64_t                       gen;          /* that it is about */
    u_char                         cid[TI_RECORD_CID_LEN];
    int64_t                        until;        /* nobody asks before */
    int64_t                        due;          /* app-only: look then */
    ti_result_t                    result;       /* why not */
} ngx_http_token_injector_note_t;


typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_RENEW_QUEUED = 0,    /* enough is under way */
    NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIM,         /* the node's */
    NGX_HTTP_TOKEN_INJECTOR_RENEW_WATCH,         /* another worker has it */
    NGX_HTTP_TOKEN_INJECTOR_RENEW_LOCK,          /* all nodes', in Redis */
    NGX_HTTP_TOKEN_INJECTOR_RENEW_ASK            /* the token endpoint */
} ngx_http_token_injector_renew_e;


/* the connection as it was found with the lock in the hand */

typedef struct {
    ti_str_t                       gen;
    ti_str_t                       cid;
    ti_str_t                       state;
    ti_str_t                       refresh;
    ti_str_t                       previous;
    ti_str_t                       scope;
    ti_str_t                       since;
    ti_str_t                       account;
} ngx_http_token_injector_stored_t;


typedef struct {
    ngx_str_node_t                 node;         /* by id */
    u_char                         id[TI_SHA256_LEN];
    ngx_queue_t                    queue;        /* of its provider's */
    ngx_queue_t                    waiting;      /* contexts */

    ngx_http_token_injector_renew_conf_t  conf;
    ngx_pool_t                    *pool;
    ngx_pool_t                    *found;        /* of one look */
    ti_str_t                       name;         /* of the connection */
    ti_lock_t                      lock;
    u_char                         owner[TI_LOCK_OWNER_LEN];
    u_char                         key[TI_KEY_LEN];

    ngx_http_token_injector_renew_e  state;
    ngx_event_t                    event;        /* the state's next look */
    ngx_event_t                    lease;        /* of the lock */
    ngx_msec_t                     patience;     /* with others */
    ngx_msec_t                     claim;        /* ours until then */
    ngx_msec_t                     asked;        /* for the lock */

    ngx_http_token_injector_redis_op_t  *op;
    ngx_http_token_injector_stored_t  stored;
    ti_lock_taken_t                taken;
    ti_result_t                    read;
    const char                    *why;
    ngx_http_token_injector_grant_t  *grant;
    ti_str_t                       claims;       /* that it asks for */

    unsigned                       running:1;    /* counts */
    unsigned                       visited:1;    /* the caller's others */
    unsigned                       claimed:1;
    unsigned                       locked:1;
    unsigned                       barred:1;     /* from the lock */
    unsigned                       behind:1;     /* the journal, when asking */
} ngx_http_token_injector_renew_t;


/* the worker begins, ends */

ngx_int_t ngx_http_token_injector_renew_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);
void ngx_http_token_injector_renew_exit(void);

/*
 * The one of this connection, begun where there is none.  It never ends
 * within the call.  NULL: no memory, or no worker was begun for the provider.
 */

ngx_http_token_injector_renew_t *ngx_http_token_injector_renew(
    const ngx_http_token_injector_renew_conf_t *conf);

/* which one: the name of its notes, and of its claim */

ngx_int_t ngx_http_token_injector_renew_id(
    const ngx_http_token_injector_renew_conf_t *conf, u_char *id);

/* it is over: who waits goes on */

void ngx_http_token_injector_renew_end(ngx_http_token_injector_renew_t *renew,
    ti_result_t result, const char *why);

void ngx_http_token_injector_renew_run(ngx_event_t *ev);
void ngx_http_token_injector_renew_ask(ngx_http_token_injector_renew_t *renew);
void ngx_http_token_injector_renew_tell(ngx_queue_t *waiting,
    ti_result_t result, const char *why, int64_t retry_after);

/*
 * Is it time?  Begins a renewal where it is; where it returns NGX_OK the
 * handler, if any, is told when: 0: there is nothing to be renewed, -1: the
 * store does not say.
 */

typedef struct ngx_http_token_injector_visit_s
    ngx_http_token_injector_visit_t;

typedef void (*ngx_http_token_injector_visit_handler_pt)(void *data,
    int64_t due);

ngx_int_t ngx_http_token_injector_visit(
    const ngx_http_token_injector_renew_conf_t *conf,
    ngx_http_token_injector_visit_handler_pt handler, void *data);
void ngx_http_token_injector_visit_others(
    const ngx_http_token_injector_renew_conf_t *conf);
void ngx_http_token_injector_visits_exit(void);

/* key: TI_KEY_LEN bytes, which the caller wipes, as it does the subject */

ngx_int_t ngx_http_token_injector_renew_copy(ngx_pool_t *pool,
    const ngx_http_token_injector_renew_conf_t *from, u_char *key,
    ngx_http_token_injector_renew_conf_t *to);

/* will the provider do it again and again, without anybody's consent? */

ngx_uint_t ngx_http_token_injector_renew_anew(
    ngx_http_token_injector_provider_t *provider);

/*
 * In Redis.  Where look() and mark() return NGX_OK looked() and marked() are
 * called; the latter with NGX_DECLINED where there are newer tokens.
 */

ngx_int_t ngx_http_token_injector_renew_look(
    ngx_http_token_injector_renew_t *renew);
void ngx_http_token_injector_renew_looked(
    ngx_http_token_injector_renew_t *renew);
void ngx_http_token_injector_renew_hold(
    ngx_http_token_injector_renew_t *renew);
void ngx_http_token_injector_renew_release(
    ngx_http_token_injector_renew_t *renew,
    const ti_lock_failure_t *failure);
ngx_int_t ngx_http_token_injector_renew_mark(
    ngx_http_token_injector_renew_t *renew);
void ngx_http_token_injector_renew_marked(
    ngx_http_token_injector_renew_t *renew, ngx_int_t rc);

/* notes: all zero where nothing is known */

void ngx_http_token_injector_note(u_char *id,
    ngx_http_token_injector_note_t *note);
void ngx_http_token_injector_note_keep(u_char *id,
    ngx_http_token_injector_note_t *note);
ngx_uint_t ngx_http_token_injector_note_holds(
    const ngx_http_token_injector_note_t *note,
    const ngx_http_token_injector_renew_conf_t *conf);
void ngx_http_token_injector_renew_note(ngx_http_token_injector_renew_t *renew,
    ti_result_t result, int64_t until);
ngx_int_t ngx_http_token_injector_renew_provider_id(
    ngx_http_token_injector_renew_t *renew, u_char *id);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_RENEW_H_INCLUDED_ */
