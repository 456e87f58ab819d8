/*
 * A grant: a request to a token endpoint, and its tokens in the store.
 *
 * It owns its memory, borrows nothing from who began it but the provider's
 * configuration, and goes on to its end when nobody waits any more: a code
 * that was spent has its tokens stored.  Its end is bounded by the timeouts
 * of the provider and of the store.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_GRANT_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_GRANT_H_INCLUDED_


#include "ngx_http_token_injector_conf.h"

#include "ti_connections.h"


/* a connection's fields in the store, as whoever holds its lock read them */

typedef struct {
    ti_str_t                       gen;
    ti_str_t                       cid;
    ti_str_t                       since;
    ti_str_t                       scope;
    ti_str_t                       account;      /* sealed */
} ngx_http_token_injector_before_t;


/* all of it is copied */

typedef struct {
    ngx_http_token_injector_provider_t  *provider;
    ti_who_t                       who;          /* empty: app-only */
    ti_str_t                       user;         /* names of the connection */
    ti_str_t                       device;
    const u_char                  *user_key;     /* TI_KEY_LEN, or NULL */

    ti_oauth_grant_t               grant;
    ti_str_t                       code;         /* of TI_OAUTH_CODE alone */
    ti_str_t                       redirect_uri;
    ti_str_t                       verifier;
    ti_str_t                       nonce;
    ti_str_t                       scope;        /* that was asked for */
    ti_str_t                       account;      /* that it must be, if any */

    /*
     * The refresh token, with its end (0: unknown), and another that may be
     * tried once where it is refused for good; or the caller's token, which
     * is to be exchanged.  "before" is of TI_OAUTH_REFRESH.
     */

    ti_str_t                       token;
    ti_str_t                       previous;
    int64_t                        refresh_expires;
    ngx_http_token_injector_before_t  before;
} ngx_http_token_injector_grant_conf_t;


/* how it ended; valid during the handler's call */

typedef struct {
    ti_result_t                    result;
    const char                    *why;          /* not TI_RESULT_OK */
    int64_t                        retry_after;  /* seconds; 0: not said */
    ti_str_t                       error;        /* the provider's, if any */
    ti_str_t                       claims;       /* that it asks for, if any */
    ti_connection_t                connection;   /* TI_RESULT_OK */
    uint64_t                       gen;          /* likewise: stored under it */

    unsigned                       permanent:1;  /* asking again is no use */
    unsigned                       superseded:1; /* TI_RESULT_OK, and others
                                                    have stored newer tokens:
                                                    look again */
} ngx_http_token_injector_granted_t;


typedef struct ngx_http_token_injector_grant_s
    ngx_http_token_injector_grant_t;

typedef void (*ngx_http_token_injector_grant_handler_pt)(void *data,
    const ngx_http_token_injector_granted_t *granted);


/*
 * Where start() does not return NGX_OK the handler will not be called.  It is
 * never called from within start().
 */

ngx_int_t ngx_http_token_injector_grant_start(
    const ngx_http_token_injector_grant_conf_t *conf,
    ngx_http_token_injector_grant_handler_pt handler, void *data,
    ngx_http_token_injector_grant_t **grant);

/* nobody waits for it any more */

void ngx_http_token_injector_grant_forget(
    ngx_http_token_injector_grant_t *grant);

/* the worker ends */

void ngx_http_token_injector_grants_exit(void);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_GRANT_H_INCLUDED_ */
