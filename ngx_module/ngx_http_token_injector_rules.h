/*
 * The rules that Redis has for one provider, as a worker knows them.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_RULES_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_RULES_H_INCLUDED_


#include "ngx_http_token_injector.h"

#include "ti_segment.h"


typedef struct {
    ngx_http_token_injector_provider_t  *provider;
    uint64_t                             edition;    /* 0: not known yet */
    u_char                               mark[TI_SHA256_LEN];
    ti_segment_t                         segment;
    ngx_pool_t                          *pool;       /* its memory */
    unsigned                             present:1;  /* Redis has rules */
    unsigned                             broken:1;   /* which can't be used */
} ngx_http_token_injector_rules_t;


/* what Redis says of them; NULL: there are none */
ngx_int_t ngx_http_token_injector_rules_take(
    ngx_http_token_injector_rules_t *rules, ti_crypto_t *crypto,
    const ti_str_t *value);

/*
 * The shared zone has what a worker of this node was told last, for a worker
 * that starts while the store is away.
 */
void ngx_http_token_injector_rules_share(
    ngx_http_token_injector_rules_t *rules, ti_crypto_t *crypto,
    ngx_shm_zone_t *memory, const ti_str_t *value);
void ngx_http_token_injector_rules_recall(
    ngx_http_token_injector_rules_t *rules, ti_crypto_t *crypto,
    ngx_shm_zone_t *memory);
void ngx_http_token_injector_rules_drop(
    ngx_http_token_injector_rules_t *rules);

/* NULL: the provider is for the request's caller; or why it is not */
const char *ngx_http_token_injector_rules_judge(
    ngx_http_token_injector_rules_t *rules,
    ngx_http_token_injector_ctx_t *ctx);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_RULES_H_INCLUDED_ */
