#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>

#include "ngx_http_token_injector_memory.h"


#define NGX_HTTP_TOKEN_INJECTOR_BLOCK  512


/*
 * Blocks are named by number, 0 is none.  The first block of an entry begins
 * with a node, the others with the number of the next.
 */

typedef struct {
    uint32_t                       next;
    u_char                         data[NGX_HTTP_TOKEN_INJECTOR_BLOCK
                                        - sizeof(uint32_t)];
} ngx_http_token_injector_block_t;


typedef struct {
    uint32_t                       next;         /* of this entry's blocks */
    uint32_t                       chain;        /* next in the same bucket */
    uint32_t                       newer;
    uint32_t                       older;
    uint32_t                       len;
    uint32_t                       kind;
    ngx_msec_t                     expires;
    ngx_msec_t                     moved;        /* to the newest */
    u_char                         name[NGX_HTTP_TOKEN_INJECTOR_NAME_LEN];
    u_char                         data[1];
} ngx_http_token_injector_node_t;


struct ngx_http_token_injector_memory_s {
    ngx_http_token_injector_news_t  news;        /* first: found by a cast */
    ngx_slab_pool_t               *shpool;
    u_char                         secret[NGX_HTTP_TOKEN_INJECTOR_SECRET_LEN];

    /*
     * Set while a worker changes what is below.  Found set by the next who
     * gets the lock, it says that a worker died inside: begin empty.
     */
    ngx_uint_t                     changing;

    uint32_t                       nblocks;
    uint32_t                       nfree;
    uint32_t                       free;
    uint32_t                       newest;
    uint32_t                       oldest;
    uint32_t                       mask;         /* of the buckets */
    uint32_t                      *buckets;
    ngx_http_token_injector_block_t  *blocks;    /* [0] is not used */
};


#define ngx_http_token_injector_node(m, n)                                    \
    ((ngx_http_token_injector_node_t *) &(m)->blocks[n])

#define NGX_HTTP_TOKEN_INJECTOR_FIRST                                         \
    (NGX_HTTP_TOKEN_INJECTOR_BLOCK                                            \
     - offsetof(ngx_http_token_injector_node_t, data))
#define NGX_HTTP_TOKEN_INJECTOR_REST                                          \
    (NGX_HTTP_TOKEN_INJECTOR_BLOCK - sizeof(uint32_t))


static ngx_int_t ngx_http_token_injector_memory_init(ngx_shm_zone_t *zone,
    void *data);
static ngx_int_t ngx_http_token_injector_memory_carve(
    ngx_http_token_injector_memory_t *m);
static void ngx_http_token_injector_memory_empty(
    ngx_http_token_injector_memory_t *m);
static void ngx_http_token_injector_memory_lock(
    ngx_http_token_injector_memory_t *m);
static void ngx_http_token_injector_memory_unlock(
    ngx_http_token_injector_memory_t *m);
static uint32_t *ngx_http_token_injector_memory_bucket(
    ngx_http_token_injector_memory_t *m, ngx_http_token_injector_kind_e kind,
    u_char *name);
static uint32_t ngx_http_token_injector_memory_find(
    ngx_http_token_injector_memory_t *m, ngx_http_token_injector_kind_e kind,
    u_char *name);
static void ngx_http_token_injector_memory_drop(
    ngx_http_token_injector_memory_t *m, uint32_t n);
static uint32_t ngx_http_token_injector_memory_insert(
    ngx_http_token_injector_memory_t *m, ngx_http_token_injector_kind_e kind,
    u_char *name, size_t len, ngx_msec_t ttl);
static void ngx_http_token_injector_memory_newest(
    ngx_http_token_injector_memory_t *m, uint32_t n);
static void ngx_http_token_injector_memory_unlink(
    ngx_http_token_injector_memory_t *m, uint32_t n);
static void ngx_http_token_injector_memory_copy(
    ngx_http_token_injector_memory_t *m, uint32_t n, u_char *buf,
    ngx_uint_t out);
static uint32_t ngx_http_token_injector_memory_blocks(size_t len);


ngx_shm_zone_t *
ngx_http_token_injector_memory_add(ngx_conf_t *cf, size_t size, void *tag)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    ngx_str_set(&name, "token_injector");

    zone = ngx_shared_memory_add(cf, &name, size, tag);
    if (zone == NULL) {
        return NULL;
    }

    zone->init = ngx_http_token_injector_memory_init;

    return zone;
}


static ngx_int_t
ngx_http_token_injector_memory_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t                   *shpool;
    ngx_http_token_injector_memory_t  *m;

    if (data) {
        /* a reload: what is known stays known */
        zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    m = ngx_slab_calloc(shpool, sizeof(ngx_http_token_injector_memory_t));
    if (m == NULL) {
        return NGX_ERROR;
    }

    m->shpool = shpool;

    if (RAND_bytes(m->secret, sizeof(m->secret)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "token injector: no randomness for the shared zone");
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_memory_carve(m) != NGX_OK) {
        return NGX_ERROR;
    }

    shpool->data = m;
    zone->data = m;

    return NGX_OK;
}


/* nearly all pages in two pieces: a bucket for every four blocks, and those */

static ngx_int_t
ngx_http_token_injector_memory_carve(ngx_http_token_injector_memory_t *m)
{
    size_t            size, nbuckets;
    ngx_slab_pool_t  *shpool;

    shpool = m->shpool;
    size = shpool->pfree * ngx_pagesize;

    for (nbuckets = 64;
         nbuckets * 4 * NGX_HTTP_TOKEN_INJECTOR_BLOCK < size;
         nbuckets *= 2)
    {
        /* void */
    }

    m->mask = nbuckets - 1;
    m->buckets = ngx_slab_calloc(shpool, nbuckets * sizeof(uint32_t));
    if (m->buckets == NULL) {
        return NGX_ERROR;
    }

    size = (shpool->pfree - 1) * ngx_pagesize;

    m->nblocks = size / NGX_HTTP_TOKEN_INJECTOR_BLOCK;
    m->blocks = ngx_slab_alloc(shpool, size);
    if (m->blocks == NULL) {
        return NGX_ERROR;
    }

    ngx_http_token_injector_memory_empty(m);

    return NGX_OK;
}


static void
ngx_http_token_injector_memory_empty(ngx_http_token_injector_memory_t *m)
{
    uint32_t  n;

    ngx_memzero(m->buckets, ((size_t) m->mask + 1) * sizeof(uint32_t));

    for (n = 1; n < m->nblocks; n++) {
        m->blocks[n].next = (n + 1 < m->nblocks) ? n + 1 : 0;
    }

    m->free = 1;
    m->nfree = m->nblocks - 1;
    m->newest = 0;
    m->oldest = 0;
    m->changing = 0;
}


u_char *
ngx_http_token_injector_memory_secret(ngx_shm_zone_t *zone)
{
    ngx_http_token_injector_memory_t  *m = zone->data;

    return m->secret;
}


ngx_int_t
ngx_http_token_injector_memory_get_for(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name, ngx_msec_t left,
    ngx_pool_t *pool, ngx_str_t *value)
{
    uint32_t                           n;
    ngx_int_t                          rc;
    ngx_http_token_injector_node_t    *node;
    ngx_http_token_injector_memory_t  *m = zone->data;

    ngx_http_token_injector_memory_lock(m);

    n = ngx_http_token_injector_memory_find(m, kind, name);
    node = ngx_http_token_injector_node(m, n);

    rc = (n && node->expires - ngx_current_msec > left) ? NGX_OK
                                                        : NGX_DECLINED;

    if (rc == NGX_OK && value) {
        value->len = node->len;
        value->data = ngx_pnalloc(pool, value->len);

        if (value->data) {
            ngx_http_token_injector_memory_copy(m, n, value->data, 1);

        } else {
            rc = NGX_DECLINED;
        }
    }

    ngx_http_token_injector_memory_unlock(m);

    return rc;
}


ngx_int_t
ngx_http_token_injector_memory_put(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name, ngx_str_t *value,
    time_t ttl)
{
    uint32_t                           n;
    ngx_http_token_injector_memory_t  *m = zone->data;

    if (ngx_http_token_injector_memory_blocks(value->len) > m->nblocks / 4) {
        return NGX_DECLINED;
    }

    ngx_http_token_injector_memory_lock(m);

    n = ngx_http_token_injector_memory_find(m, kind, name);
    if (n) {
        ngx_http_token_injector_memory_drop(m, n);
    }

    n = ngx_http_token_injector_memory_insert(m, kind, name, value->len,
                                              (ngx_msec_t) ttl * 1000);

    ngx_http_token_injector_memory_copy(m, n, value->data, 0);

    ngx_http_token_injector_memory_unlock(m);

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_memory_claim(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name, ngx_msec_t ttl)
{
    ngx_int_t                          rc;
    ngx_http_token_injector_memory_t  *m = zone->data;

    ngx_http_token_injector_memory_lock(m);

    rc = ngx_http_token_injector_memory_find(m, kind, name) ? NGX_BUSY : NGX_OK;

    if (rc == NGX_OK) {
        (void) ngx_http_token_injector_memory_insert(m, kind, name, 0, ttl);
    }

    ngx_http_token_injector_memory_unlock(m);

    return rc;
}


void
ngx_http_token_injector_memory_remove(ngx_shm_zone_t *zone,
    ngx_http_token_injector_kind_e kind, u_char *name)
{
    uint32_t                           n;
    ngx_http_token_injector_memory_t  *m = zone->data;

    ngx_http_token_injector_memory_lock(m);

    n = ngx_http_token_injector_memory_find(m, kind, name);
    if (n) {
        ngx_http_token_injector_memory_drop(m, n);
    }

    ngx_http_token_injector_memory_unlock(m);
}


static void
ngx_http_token_injector_memory_lock(ngx_http_token_injector_memory_t *m)
{
    /* the slab pool's own mutex: nginx unlocks it when a worker dies */

    ngx_shmtx_lock(&m->shpool->mutex);

    if (m->changing) {
        ngx_http_token_injector_memory_empty(m);
    }

    m->changing = 1;
    ngx_memory_barrier();
}


static void
ngx_http_token_injector_memory_unlock(ngx_http_token_injector_memory_t *m)
{
    ngx_memory_barrier();
    m->changing = 0;

    ngx_shmtx_unlock(&m->shpool->mutex);
}


static uint32_t *
ngx_http_token_injector_memory_bucket(ngx_http_token_injector_memory_t *m,
    ngx_http_token_injector_kind_e kind, u_char *name)
{
    uint32_t  hash;

    /* a name is a digest: any four of its bytes are a hash */

    ngx_memcpy(&hash, name, sizeof(hash));

    return &m->buckets[(hash + (uint32_t) kind) & m->mask];
}


static uint32_t
ngx_http_token_injector_memory_find(ngx_http_token_injector_memory_t *m,
    ngx_http_token_injector_kind_e kind, u_char *name)
{
    uint32_t                         n;
    ngx_http_token_injector_node_t  *node;

    n = *ngx_http_token_injector_memory_bucket(m, kind, name);

    while (n) {
        node = ngx_http_token_injector_node(m, n);

        if (node->kind == (uint32_t) kind
            && ngx_memcmp(node->name, name, NGX_HTTP_TOKEN_INJECTOR_NAME_LEN)
               == 0)
        {
            break;
        }

        n = node->chain;
    }

    if (n == 0) {
        return 0;
    }

    if ((ngx_msec_int_t) (node->expires - ngx_current_msec) <= 0) {
        ngx_http_token_injector_memory_drop(m, n);
        return 0;
    }

    /*
     * To the second is exact enough, and an entry that is used all the time
     * does not drag its neighbours through every worker's cache.
     */

    if (n != m->newest && ngx_current_msec - node->moved >= 1000) {
        ngx_http_token_injector_memory_unlink(m, n);
        ngx_http_token_injector_memory_newest(m, n);
    }

    return n;
}


static uint32_t
ngx_http_token_injector_memory_insert(ngx_http_token_injector_memory_t *m,
    ngx_http_token_injector_kind_e kind, u_char *name, size_t len,
    ngx_msec_t ttl)
{
    uint32_t                         i, n, last, count, *bucket;
    ngx_http_token_injector_node_t  *node;

    count = ngx_http_token_injector_memory_blocks(len);

    /* what is over goes first, two a time; then whatever is oldest */

    for (i = 0; i < 2 && m->oldest; i++) {
        node = ngx_http_token_injector_node(m, m->oldest);

        if ((ngx_msec_int_t) (node->expires - ngx_current_msec) > 0) {
            break;
        }

        ngx_http_token_injector_memory_drop(m, m->oldest);
    }

    while (m->nfree < count) {
        ngx_http_token_injector_memory_drop(m, m->oldest);
    }

    n = m->free;

    for (last = n, i = 1; i < count; i++) {
        last = m->blocks[last].next;
    }

    m->free = m->blocks[last].next;
    m->blocks[last].next = 0;
    m->nfree -= count;

    node = ngx_http_token_injector_node(m, n);

    node->len = len;
    node->kind = kind;
    node->expires = ngx_current_msec + ttl;
    ngx_memcpy(node->name, name, NGX_HTTP_TOKEN_INJECTOR_NAME_LEN);

    bucket = ngx_http_token_injector_memory_bucket(m, kind, name);
    node->chain = *bucket;
    *bucket = n;

    ngx_http_token_injector_memory_newest(m, n);

    return n;
}


static void
ngx_http_token_injector_memory_drop(ngx_http_token_injector_memory_t *m,
    uint32_t n)
{
    uint32_t                         last, count, *p;
    ngx_http_token_injector_node_t  *node;

    node = ngx_http_token_injector_node(m, n);

    p = ngx_http_token_injector_memory_bucket(m, node->kind, node->name);

    while (*p != n) {
        p = &ngx_http_token_injector_node(m, *p)->chain;
    }

    *p = node->chain;

    ngx_http_token_injector_memory_unlink(m, n);

    count = 1;

    for (last = n; m->blocks[last].next; last = m->blocks[last].next) {
        count++;
    }

    m->blocks[last].next = m->free;
    m->free = n;
    m->nfree += count;
}


static void
ngx_http_token_injector_memory_newest(ngx_http_token_injector_memory_t *m,
    uint32_t n)
{
    ngx_http_token_injector_node_t  *node;

    node = ngx_http_token_injector_node(m, n);

    node->moved = ngx_current_msec;
    node->newer = 0;
    node->older = m->newest;

    if (m->newest) {
        ngx_http_token_injector_node(m, m->newest)->newer = n;

    } else {
        m->oldest = n;
    }

    m->newest = n;
}


static void
ngx_http_token_injector_memory_unlink(ngx_http_token_injector_memory_t *m,
    uint32_t n)
{
    ngx_http_token_injector_node_t  *node;

    node = ngx_http_token_injector_node(m, n);

    if (node->newer) {
        ngx_http_token_injector_node(m, node->newer)->older = node->older;

    } else {
        m->newest = node->older;
    }

    if (node->older) {
        ngx_http_token_injector_node(m, node->older)->newer = node->newer;

    } else {
        m->oldest = node->newer;
    }
}


/* between the blocks of an entry and buf */

static void
ngx_http_token_injector_memory_copy(ngx_http_token_injector_memory_t *m,
    uint32_t n, u_char *buf, ngx_uint_t out)
{
    u_char                          *data;
    size_t                           len, size;
    ngx_http_token_injector_node_t  *node;

    node = ngx_http_token_injector_node(m, n);

    len = node->len;
    data = node->data;
    size = ngx_min(len, NGX_HTTP_TOKEN_INJECTOR_FIRST);

    for ( ;; ) {

        if (out) {
            ngx_memcpy(buf, data, size);

        } else {
            ngx_memcpy(data, buf, size);
        }

        buf += size;
        len -= size;
        n = m->blocks[n].next;

        if (len == 0 || n == 0) {
            return;
        }

        data = m->blocks[n].data;
        size = ngx_min(len, NGX_HTTP_TOKEN_INJECTOR_REST);
    }
}


static uint32_t
ngx_http_token_injector_memory_blocks(size_t len)
{
    if (len <= NGX_HTTP_TOKEN_INJECTOR_FIRST) {
        return 1;
    }

    len -= NGX_HTTP_TOKEN_INJECTOR_FIRST;

    return 1 + (len + NGX_HTTP_TOKEN_INJECTOR_REST - 1)
               / NGX_HTTP_TOKEN_INJECTOR_REST;
}
