/*
 * The shared zone: admissions, tokens, answers, and who is fetching what.
 *
 * A bounded, keyed memory of sealed bytes, shared by all workers.  An entry is
 * found by its kind and a 32-byte name, lives until its time is over or until
 * room is needed, the least recently used first.  Putting never fails for want
 * of room; it declines only what is larger than a quarter of the zone.
 *
 * Memory is cut into equal blocks once, so it cannot fragment.  All functions
 * take the zone's lock themselves and hold it for copying alone.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_MEMORY_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_MEMORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TOKEN_INJECTOR_NAME_LEN    32
#define NGX_HTTP_TOKEN_INJECTOR_SECRET_LEN  32


typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_ADMISSION = 1,
    NGX_HTTP_TOKEN_INJECTOR_TOKEN,
    NGX_HTTP_TOKEN_INJECTOR_ANSWER,
    NGX_HTTP_TOKEN_INJECTOR_FETCHING,
    NGX_HTTP_TOKEN_INJECTOR_UNKEPT,
    NGX_HTTP_TOKEN_INJECTOR_RULES,
    NGX_HTTP_TOKEN_INJECTOR_CHANGED,
    NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIMED,
    NGX_HTTP_TOKEN_INJECTOR_RENEW_NOTE,
    NGX_HTTP_TOKEN_INJECTOR_RETRIED,
    NGX_HTTP_TOKEN_INJECTOR_HELD
} ngx_http_token_injector_kind_e;


typedef struct {
    ngx_atomic_t                   heard;        /* the last number */
    ngx_atomic_t                   missed;       /* anything before this one */
    ngx_atomic_t                   held;         /* somebody, until then */
} ngx_http_token_injector_news_t;


typedef struct ngx_http_token_injector_memory_s
    ngx_http_token_injector_memory_t;


/* conf is the tag: two modules' zones never meet */
ngx_shm_zone_t *ngx_http_token_injector_memory_add(ngx_conf_t *cf,
    size_t size, void *tag);

/* the zone's random secret: made with the zone, gone with it */
u_char *ngx_http_token_injector_memory_secret(ngx_shm_zone_t *zone);

/*
 * NGX_OK: value is a copy in the pool.  NGX_DECLINED: not there, or its time
 * is over, or will be in as many milliseconds as should be left of it.  A null
 * value asks only whether there is one.
 */
ngx_int_t ngx_http_token_injector_memory_get_for(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name, ngx_msec_t left,
    ngx_pool_t *pool, ngx_str_t *value);

#define ngx_http_token_injector_memory_get(zone, kind, name, pool, value)     \
    ngx_http_token_injector_memory_get_for(zone, kind, name, 0, pool, value)

/* replaces what was there; ttl in seconds */
ngx_int_t ngx_http_token_injector_memory_put(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name, ngx_str_t *value,
    time_t ttl);

/*
 * NGX_OK: the name was free and is taken now, for ttl milliseconds at most.
 * NGX_BUSY: somebody has it.
 */
ngx_int_t ngx_http_token_injector_memory_claim(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name, ngx_msec_t ttl);

void ngx_http_token_injector_memory_remove(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name);

/*
 * Changes of connections that this node has heard of, numbered.  Where the
 * number is what it was nothing has changed: no lock is needed to know.
 */

#define ngx_http_token_injector_memory_news(zone)                             \
    ((ngx_http_token_injector_news_t *) (zone)->data)


#endif /* _NGX_HTTP_TOKEN_INJECTOR_MEMORY_H_INCLUDED_ */
