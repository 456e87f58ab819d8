/*
 * App-only tokens: one for all callers of a provider, fetched once however
 * many ask, by whichever worker of whichever node is first.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_APP_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_APP_H_INCLUDED_


#include "ngx_http_token_injector.h"

#include "ti_write.h"

#include "ngx_http_token_injector_grant.h"


#define NGX_HTTP_TOKEN_INJECTOR_APP_OWNER  22    /* characters */


/* what all workers of a node know of a provider's token */

typedef struct {
    int64_t                        expires;      /* 0: unknown, or none */
    int64_t                        due;          /* to be looked after */
    int64_t                        until;        /* nobody asks before */
    ti_result_t                    result;       /* why not */
    uint32_t                       failures;
} ngx_http_token_injector_note_t;


typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_APP_IDLE = 0,
    NGX_HTTP_TOKEN_INJECTOR_APP_WATCH,           /* another worker's fetch */
    NGX_HTTP_TOKEN_INJECTOR_APP_LOCK,            /* other nodes' */
    NGX_HTTP_TOKEN_INJECTOR_APP_FETCH
} ngx_http_token_injector_app_e;


/* a provider in one worker */

typedef struct {
    ngx_http_token_injector_provider_t  *provider;
    ngx_queue_t                    waiting;      /* contexts */
    ngx_http_token_injector_app_e  state;
    ngx_event_t                    event;        /* the state's next look */
    ngx_event_t                    renew;        /* is it time? */
    ngx_msec_t                     patience;     /* in this state */
    ngx_msec_t                     lease;        /* the claim is ours */
    ngx_pool_t                    *pool;         /* of this fetch */

    ngx_http_token_injector_redis_op_t  *op;
    ti_str_t                       user;
    ti_str_t                       name;         /* of the connection */
    ti_str_t                       lock;         /* its name */
    u_char                         owner[NGX_HTTP_TOKEN_INJECTOR_APP_OWNER];
    ti_resp_reply_t                hlen;
    ti_result_t                    read;         /* what is in the store */
    const char                    *why;
    int64_t                        expires;      /* of it; 0: nothing opens */

    unsigned                       renewing:1;   /* nobody need wait */
    unsigned                       claimed:1;
    unsigned                       locked:1;
    unsigned                       barred:1;     /* from the lock */
} ngx_http_token_injector_app_t;


/* begins to fetch, or to wait for who does; never ends within the call */

void ngx_http_token_injector_app_begin(ngx_http_token_injector_app_t *app);

/* it is over: who waits goes on */

void ngx_http_token_injector_app_end(ngx_http_token_injector_app_t *app,
    ti_result_t result, const char *why);

void ngx_http_token_injector_app_tell(ngx_queue_t *waiting,
    ti_result_t result, const char *why, int64_t retry_after);

ngx_int_t ngx_http_token_injector_app_names(
    ngx_http_token_injector_app_t *app);

/* notes; good: of a token's end, bad: of why there is none */

void ngx_http_token_injector_app_note(ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_note_t *note);
void ngx_http_token_injector_app_keep(ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_note_t *note);
void ngx_http_token_injector_app_good(ngx_http_token_injector_app_t *app,
    int64_t expires);
void ngx_http_token_injector_app_bad(ngx_http_token_injector_app_t *app,
    const ngx_http_token_injector_granted_t *granted);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_APP_H_INCLUDED_ */
