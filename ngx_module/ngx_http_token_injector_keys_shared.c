/*
 * What the workers of a node know together about fetched keys.
 *
 * A zone of its own: keys must not go because callers are many.  Its size is
 * always the same, so that every reload finds it, whatever else changed.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>

#include "ngx_http_token_injector_keys.h"


/* pages that nobody writes to are not there: what is used is what it costs */

#define NGX_HTTP_TOKEN_INJECTOR_KEYS_SIZE  (16 * 1024 * 1024)

/* what a worker may take beyond the timeouts of its fetches, milliseconds */

#define NGX_HTTP_TOKEN_INJECTOR_KEYS_SLACK  1000


/* where the generations of a zone begin: admissions may outlive the zone */

#define NGX_HTTP_TOKEN_INJECTOR_KEYS_FIRST  0x7fffffff


typedef struct {
    ngx_slab_pool_t               *shpool;
    ngx_queue_t                    feeds;
    uint32_t                       first;        /* generation */
} ngx_http_token_injector_keys_zone_t;


static ngx_int_t ngx_http_token_injector_keys_init(ngx_shm_zone_t *zone,
    void *data);
static ngx_int_t ngx_http_token_injector_keys_find(ngx_shm_zone_t *zone,
    ngx_http_token_injector_feed_t *feed);
static void ngx_http_token_injector_keys_sweep(ngx_shm_zone_t *zone,
    ngx_array_t *feeds);
static ngx_slab_pool_t *ngx_http_token_injector_keys_lock(
    ngx_http_token_injector_feed_t *feed);
static void ngx_http_token_injector_keys_release(
    ngx_http_token_injector_keys_shared_t *shared);
static ngx_int_t ngx_http_token_injector_keys_replace(ngx_slab_pool_t *shpool,
    ngx_http_token_injector_keys_shared_t *shared, const ngx_str_t *text);
static ngx_uint_t ngx_http_token_injector_keys_equal(
    ngx_http_token_injector_keys_shared_t *shared,
    const ngx_http_token_injector_keys_text_t *text);


ngx_shm_zone_t *
ngx_http_token_injector_keys_zone(ngx_conf_t *cf, ngx_array_t *feeds,
    void *tag)
{
    ngx_str_t                         name;
    ngx_uint_t                        i;
    ngx_shm_zone_t                   *zone;
    ngx_http_token_injector_feed_t  **feed;

    ngx_str_set(&name, "token_injector_keys");

    zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_TOKEN_INJECTOR_KEYS_SIZE,
                                 tag);
    if (zone == NULL) {
        return NULL;
    }

    zone->init = ngx_http_token_injector_keys_init;
    zone->data = feeds;

    feed = feeds->elts;

    for (i = 0; i < feeds->nelts; i++) {
        feed[i]->zone = zone;
    }

    return zone;
}


/* data is what the cycle before had; a reload finds its keys there */

static ngx_int_t
ngx_http_token_injector_keys_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_uint_t                            i;
    ngx_array_t                          *feeds;
    ngx_slab_pool_t                      *shpool;
    ngx_http_token_injector_feed_t      **feed;
    ngx_http_token_injector_keys_zone_t  *z;

    feeds = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data == NULL && !zone->shm.exists) {

        z = ngx_slab_calloc(shpool,
                            sizeof(ngx_http_token_injector_keys_zone_t));
        if (z == NULL) {
            return NGX_ERROR;
        }

        z->shpool = shpool;
        ngx_queue_init(&z->feeds);

        if (RAND_bytes((u_char *) &z->first, sizeof(z->first)) != 1) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "token injector: no randomness for the zone of "
                          "keys");
            return NGX_ERROR;
        }

        z->first = 1 + z->first % NGX_HTTP_TOKEN_INJECTOR_KEYS_FIRST;

        shpool->data = z;
    }

    zone->data = shpool->data;

    feed = feeds->elts;

    for (i = 0; i < feeds->nelts; i++) {
        if (ngx_http_token_injector_keys_find(zone, feed[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_http_token_injector_keys_sweep(zone, feeds);

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_keys_find(ngx_shm_zone_t *zone,
    ngx_http_token_injector_feed_t *feed)
{
    ngx_queue_t                            *q;
    ngx_http_token_injector_keys_zone_t    *z;
    ngx_http_token_injector_keys_shared_t  *shared;

    z = zone->data;

    for (q = ngx_queue_head(&z->feeds);
         q != ngx_queue_sentinel(&z->feeds);
         q = ngx_queue_next(q))
    {
        shared = ngx_queue_data(q, ngx_http_token_injector_keys_shared_t,
                                queue);

        if (ngx_memcmp(shared->id, feed->id, TI_SHA256_LEN) == 0) {
            feed->shared = shared;
            return NGX_OK;
        }
    }

    shared = ngx_slab_calloc(z->shpool,
                             sizeof(ngx_http_token_injector_keys_shared_t));
    if (shared == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "token injector: no room for the keys of issuer \"%V\" "
                      "in shared memory: restart nginx", &feed->name);
        return NGX_ERROR;
    }

    ngx_memcpy(shared->id, feed->id, TI_SHA256_LEN);

    /* only the master is here: workers never look for a feed */
    ngx_queue_insert_tail(&z->feeds, &shared->queue);

    feed->shared = shared;

    return NGX_OK;
}


/*
 * Texts that this configuration does not use.  Workers of the one before may
 * still look at them, under the lock, and find nothing; they have what they
 * parsed.  If this configuration fails later, the old one fetches anew.
 */

static void
ngx_http_token_injector_keys_sweep(ngx_shm_zone_t *zone, ngx_array_t *feeds)
{
    u_char                                 *p;
    ngx_uint_t                              i;
    ngx_queue_t                            *q;
    ngx_http_token_injector_feed_t        **feed;
    ngx_http_token_injector_keys_zone_t    *z;
    ngx_http_token_injector_keys_shared_t  *shared;

    z = zone->data;
    feed = feeds->elts;

    ngx_shmtx_lock(&z->shpool->mutex);

    for (q = ngx_queue_head(&z->feeds);
         q != ngx_queue_sentinel(&z->feeds);
         q = ngx_queue_next(q))
    {
        shared = ngx_queue_data(q, ngx_http_token_injector_keys_shared_t,
                                queue);

        for (i = 0; i < feeds->nelts; i++) {
            if (feed[i]->shared == shared) {
                break;
            }
        }

        if (i == feeds->nelts && shared->text) {
            p = shared->text;

            shared->len = 0;
            shared->text = NULL;

            ngx_slab_free_locked(z->shpool, p);
            ngx_memzero(&shared->refresh, sizeof(ti_refresh_t));
        }
    }

    ngx_shmtx_unlock(&z->shpool->mutex);
}


static ngx_slab_pool_t *
ngx_http_token_injector_keys_lock(ngx_http_token_injector_feed_t *feed)
{
    ngx_http_token_injector_keys_zone_t  *z = feed->zone->data;

    ngx_shmtx_lock(&z->shpool->mutex);

    return z->shpool;
}


ngx_int_t
ngx_http_token_injector_keys_claim(ngx_http_token_injector_feed_t *feed,
    ngx_http_token_injector_keys_e why)
{
    int64_t                                 now;
    ngx_int_t                               rc;
    ngx_slab_pool_t                        *shpool;
    ngx_http_token_injector_keys_shared_t  *shared;

    now = ngx_time();
    shared = feed->shared;

    shpool = ngx_http_token_injector_keys_lock(feed);

    if (ngx_http_token_injector_keys_claimed(feed)) {
        rc = NGX_BUSY;

    } else if (ti_refresh_due(&feed->refresh, &shared->refresh, now)
               || (why == NGX_HTTP_TOKEN_INJECTOR_KEYS_HINT
                   && ti_refresh_hint(&feed->refresh, &shared->refresh, now)))
    {
        shared->claimed = ngx_current_msec
                          + (feed->discovery ? 2 : 1) * feed->fetch->timeout
                          + NGX_HTTP_TOKEN_INJECTOR_KEYS_SLACK;
        shared->owner = ngx_pid;
        rc = NGX_OK;

    } else {
        rc = NGX_DECLINED;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


/* a claim whose owner died is over when its time is */

ngx_uint_t
ngx_http_token_injector_keys_claimed(ngx_http_token_injector_feed_t *feed)
{
    ngx_msec_t  claimed;

    claimed = (ngx_msec_t) feed->shared->claimed;

    return claimed && (ngx_msec_int_t) (claimed - ngx_current_msec) > 0;
}


ngx_int_t
ngx_http_token_injector_keys_put(ngx_http_token_injector_feed_t *feed,
    const ngx_http_token_injector_keys_text_t *text, int64_t max_age,
    ngx_uint_t *generation)
{
    ngx_int_t                               rc;
    ngx_slab_pool_t                        *shpool;
    ngx_http_token_injector_keys_zone_t    *z;
    ngx_http_token_injector_keys_shared_t  *shared;

    z = feed->zone->data;
    shared = feed->shared;

    shpool = ngx_http_token_injector_keys_lock(feed);

    if (ngx_http_token_injector_keys_equal(shared, text)) {
        rc = NGX_DECLINED;

    } else {
        rc = ngx_http_token_injector_keys_replace(shpool, shared,
                                                  &text->text);

        if (rc == NGX_OK) {
            ngx_memcpy(shared->digest, text->digest, TI_SHA256_LEN);
            shared->algorithms = text->algorithms;
            shared->generation = shared->generation ? shared->generation + 1
                                                    : z->first;
        }
    }

    if (rc != NGX_ERROR) {
        ti_refresh_succeeded(&feed->refresh, &shared->refresh, ngx_time(),
                             max_age, (uint32_t) ngx_random());

        shared->fetched = shared->refresh.fetched;
        *generation = shared->generation;

        ngx_http_token_injector_keys_release(shared);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


/* past its time a claim may be another's */

static void
ngx_http_token_injector_keys_release(
    ngx_http_token_injector_keys_shared_t *shared)
{
    if (shared->owner == ngx_pid) {
        shared->claimed = 0;
    }
}


/*
 * In this order: a worker that dies in between leaves what can be lost, not
 * what would be freed twice.
 */

static ngx_int_t
ngx_http_token_injector_keys_replace(ngx_slab_pool_t *shpool,
    ngx_http_token_injector_keys_shared_t *shared, const ngx_str_t *text)
{
    u_char  *p, *old;

    p = ngx_slab_alloc_locked(shpool, text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, text->data, text->len);

    old = shared->text;

    shared->len = 0;
    shared->text = p;
    shared->len = text->len;

    if (old) {
        ngx_slab_free_locked(shpool, old);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_token_injector_keys_equal(
    ngx_http_token_injector_keys_shared_t *shared,
    const ngx_http_token_injector_keys_text_t *text)
{
    return shared->text
           && shared->algorithms == text->algorithms
           && ngx_memcmp(shared->digest, text->digest, TI_SHA256_LEN) == 0;
}


ngx_uint_t
ngx_http_token_injector_keys_same(ngx_http_token_injector_feed_t *feed,
    const ngx_http_token_injector_keys_text_t *text)
{
    ngx_uint_t        same;
    ngx_slab_pool_t  *shpool;

    shpool = ngx_http_token_injector_keys_lock(feed);

    same = ngx_http_token_injector_keys_equal(feed->shared, text);

    ngx_shmtx_unlock(&shpool->mutex);

    return same;
}


void
ngx_http_token_injector_keys_failed(ngx_http_token_injector_feed_t *feed)
{
    ngx_slab_pool_t                        *shpool;
    ngx_http_token_injector_keys_shared_t  *shared;

    shared = feed->shared;

    shpool = ngx_http_token_injector_keys_lock(feed);

    ti_refresh_failed(&feed->refresh, &shared->refresh, ngx_time(),
                      (uint32_t) ngx_random());

    ngx_http_token_injector_keys_release(shared);

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_int_t
ngx_http_token_injector_keys_get(ngx_http_token_injector_feed_t *feed,
    ngx_str_t *text, unsigned *algorithms, ngx_uint_t *generation)
{
    size_t                                  size;
    ngx_slab_pool_t                        *shpool;
    ngx_http_token_injector_keys_shared_t  *shared;

    shared = feed->shared;

    for ( ;; ) {

        /* may be another's by the time that we have the lock */
        size = shared->len;

        if (size == 0) {
            return NGX_DECLINED;
        }

        text->data = ngx_alloc(size, ngx_cycle->log);
        if (text->data == NULL) {
            return NGX_DECLINED;
        }

        shpool = ngx_http_token_injector_keys_lock(feed);

        if (shared->len <= size) {
            break;
        }

        ngx_shmtx_unlock(&shpool->mutex);

        ngx_free(text->data);
    }

    if (shared->len == 0) {
        ngx_shmtx_unlock(&shpool->mutex);
        ngx_free(text->data);

        return NGX_DECLINED;
    }

    text->len = shared->len;
    ngx_memcpy(text->data, shared->text, text->len);

    *algorithms = shared->algorithms;
    *generation = shared->generation;

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}
