/*
 * What the files of a fetch share: the fetch itself, and what they call of
 * each other.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_FETCH_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_FETCH_PRIVATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <curl/curl.h>

#include "ngx_http_token_injector_fetch.h"


#define NGX_HTTP_TOKEN_INJECTOR_FETCH_TEXT  192


struct ngx_http_token_injector_fetch_s {
    void                                      *data;
    ngx_http_token_injector_fetch_handler_pt   handler;   /* NULL: forgotten */
    ngx_http_token_injector_fetch_conf_t      *conf;

    /* after 3 pointers as in ngx_connection_t: debug logs of timers read it */
    ngx_socket_t                               ident;

    ngx_msec_t                                 began;
    ngx_event_t                                deadline;
    ngx_msec_t                                 until;
    ngx_queue_t                                queue;
    CURL                                      *easy;

    struct curl_slist                         *sent;      /* header fields */
    ngx_str_t                                  form;      /* a POST's body */

    u_char                                    *body;
    size_t                                     len;
    size_t                                     size;
    size_t                                     headers;   /* bytes of them */
    ngx_uint_t                                 tls;       /* was begun */

    const char                                *objection; /* of a callback */
    u_char                      text[NGX_HTTP_TOKEN_INJECTOR_FETCH_TEXT];
};


/* a fetch under way; the worker's others */

ngx_int_t ngx_http_token_injector_fetch_add(
    ngx_http_token_injector_fetch_t *fetch);
void ngx_http_token_injector_fetch_remove(
    ngx_http_token_injector_fetch_t *fetch);

/* the end of a fetch: its handler is called, its memory freed */

void ngx_http_token_injector_fetch_finish(
    ngx_http_token_injector_fetch_t *fetch, CURLcode code);

/* what went wrong; static, or in the fetch's text */

const char *ngx_http_token_injector_fetch_why(
    ngx_http_token_injector_fetch_t *fetch, CURLcode code);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_FETCH_PRIVATE_H_INCLUDED_ */
