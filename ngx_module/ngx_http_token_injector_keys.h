/*
 * Issuers' keys that are fetched: who fetches, who waits, who knows what.
 *
 * A feed is one JWK Set of one issuer at a URI, or where its discovery
 * document says.  What was fetched lies in shared memory, so that one worker
 * asks for all, a reload finds it there, and each worker parses a generation
 * once.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_KEYS_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_KEYS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ti_jwks.h"
#include "ti_refresh.h"

#include "ngx_http_token_injector_fetch.h"


/*
 * What all workers know of a feed.  generation and fetched are read without
 * the lock: a request asks for no more.
 */

typedef struct {
    ngx_queue_t                    queue;        /* of all feeds */
    u_char                         id[TI_SHA256_LEN];

    ngx_atomic_t                   generation;   /* of the text; 0: none */
    ngx_atomic_t                   fetched;      /* when, at last */
    ngx_atomic_t                   claimed;      /* until then, milliseconds */

    ti_refresh_t                   refresh;
    ngx_pid_t                      owner;        /* of the last claim */
    unsigned                       algorithms;   /* that the issuer lists */
    u_char                         digest[TI_SHA256_LEN];    /* of the text */
    size_t                         len;
    u_char                        *text;
} ngx_http_token_injector_keys_shared_t;


/* const configuration; text ends in a NUL */

typedef struct {
    ngx_str_t                      name;         /* of the issuer's block */
    ngx_str_t                      issuer;
    ngx_str_t                      uri;
    ngx_uint_t                     discovery;    /* uri is the document's */
    unsigned                       algorithms;   /* that are allowed */
    ti_refresh_policy_t            refresh;
    ngx_http_token_injector_fetch_conf_t   *fetch;
    ti_crypto_t                   *crypto;
    ngx_uint_t                     index;        /* among all feeds */
    ngx_uint_t                     used;         /* by some location */
    u_char                         id[TI_SHA256_LEN];

    ngx_shm_zone_t                *zone;
    ngx_http_token_injector_keys_shared_t  *shared;

    /*
     * Where the issuer's policy looks for the set.  Each worker has its own
     * copy of that place since it was forked, and fills it itself.
     */

    const ti_jwks_t              **place;
} ngx_http_token_injector_feed_t;


/* a feed as one worker has it */

typedef struct {
    ngx_http_token_injector_feed_t  *feed;
    ngx_uint_t                     generation;   /* of what was parsed */
    ti_jwks_t                     *set;          /* NULL: none to use */

    /* while this worker fetches it */

    ngx_uint_t                     fetching;
    ngx_pool_t                    *pool;         /* of what was discovered */
    ngx_str_t                      uri;          /* what is being asked */
    unsigned                       algorithms;
} ngx_http_token_injector_live_t;


/* a set as it came */

typedef struct {
    ngx_str_t                      text;
    unsigned                       algorithms;
    u_char                         digest[TI_SHA256_LEN];
} ngx_http_token_injector_keys_text_t;


typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_KEYS_DUE = 0,
    NGX_HTTP_TOKEN_INJECTOR_KEYS_HINT
} ngx_http_token_injector_keys_e;


/*
 * The zone.  feeds: pointers to all of them; their shared places are found
 * or made when it is mapped.
 */

ngx_shm_zone_t *ngx_http_token_injector_keys_zone(ngx_conf_t *cf,
    ngx_array_t *feeds, void *tag);

/*
 * NGX_OK: it is ours to fetch, for as long as its timeouts allow.  NGX_BUSY:
 * somebody does.  NGX_DECLINED: it is not time.
 */

ngx_int_t ngx_http_token_injector_keys_claim(
    ngx_http_token_injector_feed_t *feed, ngx_http_token_injector_keys_e why);
ngx_uint_t ngx_http_token_injector_keys_claimed(
    ngx_http_token_injector_feed_t *feed);

/*
 * The end of a fetch of ours.  put: NGX_OK where the text is another than
 * before, NGX_DECLINED where it is the same, NGX_ERROR where there is no room
 * (it has not ended then: it failed).
 */

ngx_int_t ngx_http_token_injector_keys_put(
    ngx_http_token_injector_feed_t *feed,
    const ngx_http_token_injector_keys_text_t *text, int64_t max_age,
    ngx_uint_t *generation);

/* is it what is there already? */

ngx_uint_t ngx_http_token_injector_keys_same(
    ngx_http_token_injector_feed_t *feed,
    const ngx_http_token_injector_keys_text_t *text);
void ngx_http_token_injector_keys_failed(
    ngx_http_token_injector_feed_t *feed);

/*
 * A copy of the text, ngx_free()'s to end, and its generation.
 * NGX_DECLINED: there is none, or memory is none.
 */

ngx_int_t ngx_http_token_injector_keys_get(
    ngx_http_token_injector_feed_t *feed, ngx_str_t *text,
    unsigned *algorithms, ngx_uint_t *generation);

/* asks, where it can be claimed, and ends the claim in any case */

void ngx_http_token_injector_keys_fetch(ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_keys_e why);

/* parses what other workers fetched; drops what is too old */

void ngx_http_token_injector_keys_load(ngx_http_token_injector_live_t *live);

/* this set is that generation */

void ngx_http_token_injector_keys_adopt(ngx_http_token_injector_live_t *live,
    ti_jwks_t *set, ngx_uint_t generation);

/* until when may what was fetched be used? */

time_t ngx_http_token_injector_keys_until(
    ngx_http_token_injector_feed_t *feed);

/* was something fetched that is not too old?  It may be a set of no keys. */

ngx_uint_t ngx_http_token_injector_keys_usable(
    ngx_http_token_injector_feed_t *feed);

/* a fetch has ended: who waits for it may look */

void ngx_http_token_injector_keys_news(void);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_KEYS_H_INCLUDED_ */
