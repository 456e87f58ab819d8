/*
 * HTTP to identity providers: libcurl's multi interface on nginx's events.
 *
 * A fetch is one request and its answer.  It owns its memory, which is wiped
 * and freed when it is over; who waits for it may go away at any time
 * (ngx_..._fetch_forget()), and it finishes quietly, within its timeout, in a
 * worker that is exiting too.  It has a connection for itself.
 *
 * https with the server's certificate and name verified, unless the
 * configuration allows http; no redirect is followed, no proxy taken from the
 * environment, no cookie kept, no compression asked for or accepted, no name
 * resolved on the event loop, no file read.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_FETCH_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_FETCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/x509_vfy.h>

#include "ngx_http_token_injector_status.h"


/* const configuration of how to talk to one party; texts end in a NUL */

typedef struct {
    ngx_str_t                    proxy;          /* URL; empty: none */
    ngx_str_t                    no_proxy;       /* hosts, by commas */
    ngx_msec_t                   connect_timeout;
    ngx_msec_t                   timeout;        /* for all of it */
    size_t                       max_size;       /* of a body */
    ngx_uint_t                   allow_http;
    X509_STORE                  *trust;          /* NULL: no https */
    ngx_http_token_injector_row_t  *row;         /* where it is counted */
    ngx_uint_t                   n;              /* in this worker, under way */
} ngx_http_token_injector_fetch_conf_t;


/* what came back, whatever its status; valid during the handler's call */

typedef struct {
    ngx_uint_t                   status;
    ngx_str_t                    body;
    ngx_str_t                    content_type;   /* empty: not said */
    ngx_str_t                    cache_control;
    ngx_str_t                    age;
    ngx_str_t                    retry_after;
} ngx_http_token_injector_fetch_reply_t;


typedef struct ngx_http_token_injector_fetch_s
    ngx_http_token_injector_fetch_t;


/*
 * Called once, and the fetch is gone after the call.  NGX_OK: reply.
 * NGX_ERROR: reply is NULL, and why a phrase for the operator, valid during
 * the call, that says what went wrong and what to look at; without a secret.
 * It follows the name of what was asked: "https://..." timed out ....
 */

typedef void (*ngx_http_token_injector_fetch_handler_pt)(void *data,
    ngx_int_t rc, ngx_http_token_injector_fetch_reply_t *reply,
    const char *why);


/*
 * The store of certificates for a file of the operator's, or for the
 * system's where path is empty: read now, when the configuration is.  NULL:
 * refused, and said why.  Freed with the configuration's pool.
 */

X509_STORE *ngx_http_token_injector_fetch_trust(ngx_conf_t *cf,
    const char *directive, ngx_str_t *path);

/*
 * Can the libcurl that is here do without blocking?  NULL, or why not.  Asked
 * with the configuration, since it prepares libcurl for the workers.
 */

const char *ngx_http_token_injector_fetch_objection(void);


/*
 * What is asked: a GET, or with a body a POST of it as a form.  Copied; the
 * copy is wiped with the fetch.  url ends in a NUL.
 */

typedef struct {
    ngx_str_t                    url;
    ngx_str_t                    authorization;  /* field's value, or empty */
    ngx_str_t                    body;           /* data is NULL: a GET */
} ngx_http_token_injector_fetch_request_t;


/*
 * Where start() does not return NGX_OK the handler will not be called: NGX_BUSY
 * where enough is under way, for this party or for all.  The handler is never
 * called from within start().
 */

ngx_int_t ngx_http_token_injector_fetch_start(
    ngx_http_token_injector_fetch_conf_t *conf,
    const ngx_http_token_injector_fetch_request_t *request,
    ngx_http_token_injector_fetch_handler_pt handler, void *data,
    ngx_http_token_injector_fetch_t **fetch);

/* nobody waits for it any more */

void ngx_http_token_injector_fetch_forget(
    ngx_http_token_injector_fetch_t *fetch);

/* the worker ends: whatever is under way is dropped, no handler called */

void ngx_http_token_injector_fetch_exit(void);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_FETCH_H_INCLUDED_ */
