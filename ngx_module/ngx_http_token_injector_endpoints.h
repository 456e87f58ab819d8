/*
 * Where a provider is asked: as the configuration says, or, for what it does
 * not say, as the provider's issuer does.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_H_INCLUDED_


#include "ngx_http_token_injector_conf.h"


/* URLs, judged, and with a NUL behind them; empty: it has none */

typedef struct {
    ngx_str_t                      authorization;
    ngx_str_t                      token;
    ngx_str_t                      userinfo;
    ngx_str_t                      revocation;
    ngx_uint_t                     iss;          /* sent back: RFC 9207 */
} ngx_http_token_injector_endpoints_t;


/*
 * Who waits for them; it lies in the memory of who asks.  why is NULL where
 * they are known now, else it has been logged.
 */

typedef struct {
    ngx_queue_t                    queue;
    void                         (*handler)(void *data, const char *why);
    void                          *data;
} ngx_http_token_injector_find_t;


/*
 * NULL: they have to be found first.  What is returned is good until the
 * event loop turns.  Those that are old are asked for again, and nobody waits
 * for that.
 */

const ngx_http_token_injector_endpoints_t *ngx_http_token_injector_endpoints(
    ngx_http_token_injector_provider_t *provider);

/*
 * Asked once for all who wait.  Where it does not return NGX_OK the handler
 * will not be called; it never is from within find().  NGX_DECLINED: the
 * issuer failed a moment ago.
 */

ngx_int_t ngx_http_token_injector_find(
    ngx_http_token_injector_provider_t *provider,
    ngx_http_token_injector_find_t *find);

/* nobody waits for it any more */

void ngx_http_token_injector_find_forget(
    ngx_http_token_injector_find_t *find);

/*
 * Which of the provider's secrets goes first: the one that was good the last
 * time.  good: it was this one.
 */

ngx_uint_t ngx_http_token_injector_secret(
    ngx_http_token_injector_provider_t *provider);
void ngx_http_token_injector_secret_good(
    ngx_http_token_injector_provider_t *provider, ngx_uint_t n);

/* the worker begins, ends */

ngx_int_t ngx_http_token_injector_endpoints_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);
void ngx_http_token_injector_endpoints_exit(void);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_H_INCLUDED_ */
