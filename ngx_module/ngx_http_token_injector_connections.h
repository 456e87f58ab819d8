/*
 * A call of the connections API: what its files share.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_CONNECTIONS_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_CONNECTIONS_H_INCLUDED_


#include "ngx_http_token_injector.h"
#include "ngx_http_token_injector_endpoints.h"
#include "ngx_http_token_injector_grant.h"

#include "ti_connections.h"
#include "ti_pending.h"


typedef struct ngx_http_token_injector_call_s
    ngx_http_token_injector_call_t;
typedef struct ngx_http_token_injector_removal_s
    ngx_http_token_injector_removal_t;


/*
 * A step returns NGX_OK to go on, NGX_AGAIN to go on with the next one when
 * what it began is over, NGX_DONE when it has answered, and what
 * ngx_http_token_injector_refuse() returns to stop.
 */

typedef struct {
    ngx_str_t                             name;
    ngx_int_t                           (*handler)(
                                         ngx_http_token_injector_call_t *call);
} ngx_http_token_injector_call_step_t;


/* a provider in the list, and what the store says of its connection */

typedef struct {
    ngx_http_token_injector_call_t       *call;
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_redis_op_t   *op;
    ti_str_t                              user;
    ti_str_t                              device;
    ti_connection_t                       connection;
    ti_connection_fields_t                fields;
    ti_str_t                              cid;
    ti_str_t                              account;   /* sealed */
    unsigned                              found:1;
    unsigned                              broken:1;  /* no hash */
} ngx_http_token_injector_listed_t;


struct ngx_http_token_injector_call_s {
    ngx_http_request_t                   *request;
    ngx_http_token_injector_ctx_t        *ctx;
    ngx_http_token_injector_provider_t   *provider;  /* NULL: the list's */

    ngx_http_token_injector_call_step_t  *steps;
    ngx_int_t                             answered;  /* how it was sent */

    /* whose */

    ti_str_t                              user;
    ti_str_t                              device;
    const u_char                         *user_key;  /* NULL: none */

    /* what it waits for: one of these */

    ngx_http_token_injector_redis_op_t   *op;
    ngx_http_token_injector_grant_t      *grant;
    ngx_http_token_injector_removal_t    *removal;
    ngx_http_token_injector_find_t        find;
    ngx_uint_t                            asking;    /* for the list */

    /* a consent */

    ti_str_t                              body;
    ti_connections_code_t                 code;
    ti_pending_t                          pending;
    ti_str_t                              url;
    ngx_str_t                             sealed;    /* as it was stored */

    /* what came of it */

    ti_result_t                           result;
    const char                           *why;
    ti_connection_t                       connection;
    ngx_http_token_injector_listed_t     *listed;
    ngx_uint_t                            nlisted;

    unsigned                              finding:1;
    unsigned                              failed:1;  /* by the store */
    unsigned                              iss:1;     /* comes back */
    unsigned                              consented:1;   /* administrator */
};


/* the steps of each call */

extern ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_list[];
extern ngx_http_token_injector_call_step_t
    ngx_http_token_injector_call_start[];
extern ngx_http_token_injector_call_step_t
    ngx_http_token_injector_call_admin[];
extern ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_code[];
extern ngx_http_token_injector_call_step_t
    ngx_http_token_injector_call_remove[];


/* NGX_OK: there is such a call, and it may be this caller's */

ngx_int_t ngx_http_token_injector_call_route(
    ngx_http_token_injector_call_t *call);


/* for the steps */

ngx_uint_t ngx_http_token_injector_call_allowed(
    ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_provider_t *provider);
ngx_int_t ngx_http_token_injector_call_names(
    ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_provider_t *provider, ti_str_t *user,
    ti_str_t *device);

/*
 * Commands that go to a provider's store together.  NGX_OK: they are under
 * way; NGX_BUSY: the store is away.
 */

typedef struct {
    ngx_str_t                            *argv;
    ngx_uint_t                            argc;
} ngx_http_token_injector_call_command_t;

ngx_int_t ngx_http_token_injector_call_ask(
    ngx_http_token_injector_provider_t *provider,
    ngx_http_token_injector_call_command_t *commands, ngx_uint_t n,
    ngx_http_token_injector_redis_handler_pt handler, void *data,
    ngx_http_token_injector_redis_op_t **op);

/* what a step returns then, and where the store did not answer */

ngx_int_t ngx_http_token_injector_call_unasked(
    ngx_http_token_injector_call_t *call, ngx_int_t rc);

/* a step: the provider's endpoints are known, or they cannot be */

ngx_int_t ngx_http_token_injector_call_find(
    ngx_http_token_injector_call_t *call);

ngx_int_t ngx_http_token_injector_call_refuse(
    ngx_http_token_injector_call_t *call, ti_result_t result,
    const char *why);
ngx_int_t ngx_http_token_injector_call_answer(
    ngx_http_token_injector_call_t *call, ngx_uint_t status, ti_str_t *json);

/* what the step waited for is over; the request may be gone afterwards */

void ngx_http_token_injector_call_resume(
    ngx_http_token_injector_call_t *call);


/* of consents; a script of both calls, which gets what is sealed, if any */

ngx_int_t ngx_http_token_injector_consent_lost(
    ngx_http_token_injector_call_t *call);
ti_str_t ngx_http_token_injector_consent_nonce(
    ngx_http_token_injector_call_t *call);
void ngx_http_token_injector_consent_ref(
    ngx_http_token_injector_call_t *call, ti_record_ref_t *ref);
ngx_int_t ngx_http_token_injector_consent_eval(
    ngx_http_token_injector_call_t *call, ngx_str_t *script, ti_str_t state);


/*
 * The end of a connection: deleted in the store, revoked at the provider.  It
 * owns its memory, and goes on when nobody waits for it any more.
 */

typedef void (*ngx_http_token_injector_removal_handler_pt)(void *data,
    ngx_int_t rc);

/*
 * Where it does not return NGX_OK the handler will not be called: NGX_BUSY
 * where the store is away.  The handler hears NGX_OK when the connection is
 * gone and the provider was told, or was given its time; NGX_ERROR where the
 * store did not answer.  It is never called from within begin().
 */

ngx_int_t ngx_http_token_injector_removal_begin(
    ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_removal_handler_pt handler, void *data,
    ngx_http_token_injector_removal_t **removal);
void ngx_http_token_injector_removal_forget(
    ngx_http_token_injector_removal_t *removal);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_CONNECTIONS_H_INCLUDED_ */
