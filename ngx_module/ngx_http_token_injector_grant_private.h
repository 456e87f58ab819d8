/*
 * Between the files of a grant.  Nobody else includes this.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_GRANT_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_GRANT_PRIVATE_H_INCLUDED_


#include "ngx_http_token_injector.h"

#include "ti_write.h"

#include "ngx_http_token_injector_endpoints.h"
#include "ngx_http_token_injector_grant.h"
#include "ngx_http_token_injector_journal.h"


typedef struct ngx_http_token_injector_chunk_s
    ngx_http_token_injector_chunk_t;


struct ngx_http_token_injector_grant_s {
    ngx_queue_t                          queue;  /* of the worker's */
    ngx_http_token_injector_chunk_t     *chunks; /* wiped when they go */
    ti_pool_t                            pool;   /* gives them */

    ngx_http_token_injector_grant_conf_t conf;
    ngx_http_token_injector_grant_handler_pt  handler;
    void                                *data;

    ngx_uint_t                           step;
    ngx_event_t                          event;  /* begin; and try again */
    ngx_http_token_injector_granted_t    granted;

    /* find */

    ngx_http_token_injector_find_t       find;

    /* ask, account */

    ngx_http_token_injector_fetch_t     *fetch;
    ngx_uint_t                           first;  /* secret */
    ngx_uint_t                           tried;  /* after it */
    ti_oauth_tokens_t                    tokens;
    ti_str_t                             account;

    /* identity */

    ngx_msec_t                           identity;   /* waits until then */

    /* check, store */

    ngx_http_token_injector_redis_op_t  *op;
    ti_str_t                             gen;    /* as it was found */
    ti_str_t                             cid;
    ti_str_t                             since;
    const char                          *refused;    /* by the store */
    ti_write_t                           write;
    ti_str_t                             argv[TI_WRITE_ARGS];
    size_t                               argc;   /* 0: to be sealed */
    ngx_msec_t                           patience;
    ngx_http_token_injector_entry_t     *entry;  /* of the journal */
    u_char                               fresh[TI_RECORD_CID_LEN];

    unsigned                             finding:1;
    unsigned                             storing:1;
    unsigned                             second:1;   /* "previous" is used */
    unsigned                             kept:1;     /* by the journal */
};


/* what it asks with can be spent once */

static ngx_inline ngx_uint_t
ngx_http_token_injector_grant_spends(ngx_http_token_injector_grant_t *grant)
{
    return grant->conf.grant == TI_OAUTH_CODE
           || grant->conf.grant == TI_OAUTH_REFRESH;
}


/* the refresh token that it asks with */

static ngx_inline ti_str_t
ngx_http_token_injector_grant_token(ngx_http_token_injector_grant_t *grant)
{
    return grant->second ? grant->conf.previous : grant->conf.token;
}


/*
 * A step returns NGX_OK to go on, NGX_AGAIN where it waits, NGX_ERROR where it
 * has failed, which ngx_..._grant_fail() returns.
 */

ngx_int_t ngx_http_token_injector_grant_find(
    ngx_http_token_injector_grant_t *grant);
ngx_int_t ngx_http_token_injector_grant_check(
    ngx_http_token_injector_grant_t *grant);
ngx_int_t ngx_http_token_injector_grant_ask(
    ngx_http_token_injector_grant_t *grant);
ngx_int_t ngx_http_token_injector_grant_identity(
    ngx_http_token_injector_grant_t *grant);
ngx_int_t ngx_http_token_injector_grant_account(
    ngx_http_token_injector_grant_t *grant);
ngx_int_t ngx_http_token_injector_grant_store(
    ngx_http_token_injector_grant_t *grant);

/* why is copied */

ngx_int_t ngx_http_token_injector_grant_fail(
    ngx_http_token_injector_grant_t *grant, ti_result_t result,
    const char *why);

/* what a step waited for is there: rc is what it would have returned */

void ngx_http_token_injector_grant_go(ngx_http_token_injector_grant_t *grant,
    ngx_int_t rc);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_GRANT_PRIVATE_H_INCLUDED_ */
