/*
 * The journal's zone: a table of slots, and the room for their bytes.
 *
 * A worker may be killed between any two lines of this.  The slots alone say
 * what is there and where, and "used" makes one whole or nothing: no list, no
 * count that could be left half changed.
 */

#include "ngx_http_token_injector_journal_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SIZE   (4 * 1024 * 1024)

/* an owner that was not seen for so long is gone: its number is another's */
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LEASE  30000


typedef struct {
    ngx_slab_pool_t                 *shpool;
    ngx_atomic_t                     count;      /* at least so many */
    size_t                           size;
    u_char                          *data;
    ngx_http_token_injector_slot_t   slots[
                                      NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS];
} ngx_http_token_injector_journal_zone_t;


static ngx_int_t ngx_http_token_injector_journal_init_zone(
    ngx_shm_zone_t *zone, void *data);
static ngx_int_t ngx_http_token_injector_journal_create(
    ngx_slab_pool_t *shpool);
static ngx_http_token_injector_journal_zone_t *
    ngx_http_token_injector_journal_lock(ngx_shm_zone_t *zone);
static void ngx_http_token_injector_journal_unlock(
    ngx_http_token_injector_journal_zone_t *z);
static ngx_http_token_injector_slot_t *ngx_http_token_injector_journal_find(
    ngx_http_token_injector_journal_zone_t *z, const u_char *id);
static ngx_int_t ngx_http_token_injector_journal_room(
    ngx_http_token_injector_journal_zone_t *z, size_t len, size_t *offset);
static ngx_http_token_injector_slot_t *ngx_http_token_injector_journal_above(
    ngx_http_token_injector_journal_zone_t *z, size_t offset, size_t len);
static ngx_uint_t ngx_http_token_injector_journal_left(
    const ngx_http_token_injector_slot_t *slot);


ngx_int_t
ngx_http_token_injector_journal_zone(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf, void *tag)
{
    ngx_str_t  name;

    ngx_str_set(&name, "token_injector_journal");

    mcf->journal = ngx_shared_memory_add(cf, &name,
                                         NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SIZE,
                                         tag);
    if (mcf->journal == NULL) {
        return NGX_ERROR;
    }

    mcf->core = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                 ngx_core_module);

    mcf->journal->init = ngx_http_token_injector_journal_init_zone;
    mcf->journal->data = mcf;

    return NGX_OK;
}


/*
 * Here the master knows the workers' user, and may still refuse.  What lies in
 * the spools is known to all workers before the first of them is there.
 */

static ngx_int_t
ngx_http_token_injector_journal_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_uint_t                            i;
    ngx_slab_pool_t                      *shpool;
    ngx_http_token_injector_store_t     **store;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        if (ngx_http_token_injector_spool_check(mcf, store[i],
                                                zone->shm.log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (data == NULL && !zone->shm.exists
        && ngx_http_token_injector_journal_create(shpool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    zone->data = shpool->data;

    if (!ngx_test_config) {
        ngx_http_token_injector_spool_load(zone, mcf, zone->shm.log);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_journal_create(ngx_slab_pool_t *shpool)
{
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_slab_calloc(shpool,
                        sizeof(ngx_http_token_injector_journal_zone_t));
    if (z == NULL) {
        return NGX_ERROR;
    }

    z->shpool = shpool;
    z->size = (shpool->pfree - 1) * ngx_pagesize;
    z->data = ngx_slab_alloc(shpool, z->size);

    if (z->data == NULL) {
        return NGX_ERROR;
    }

    shpool->data = z;

    return NGX_OK;
}


static ngx_http_token_injector_journal_zone_t *
ngx_http_token_injector_journal_lock(ngx_shm_zone_t *zone)
{
    ngx_http_token_injector_journal_zone_t  *z;

    z = zone->data;

    /* the slab pool's own mutex: nginx unlocks it when a worker dies */

    ngx_shmtx_lock(&z->shpool->mutex);

    return z;
}


static void
ngx_http_token_injector_journal_unlock(
    ngx_http_token_injector_journal_zone_t *z)
{
    ngx_uint_t  i, n;

    for (i = 0, n = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {
        n += z->slots[i].used;
    }

    z->count = n;

    ngx_shmtx_unlock(&z->shpool->mutex);
}


ngx_uint_t
ngx_http_token_injector_journal_count(ngx_shm_zone_t *zone)
{
    ngx_http_token_injector_journal_zone_t  *z;

    z = zone->data;

    return z->count;
}


static ngx_http_token_injector_slot_t *
ngx_http_token_injector_journal_find(
    ngx_http_token_injector_journal_zone_t *z, const u_char *id)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {
        if (z->slots[i].used
            && ngx_memcmp(z->slots[i].id, id, TI_SHA256_LEN) == 0)
        {
            return &z->slots[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_token_injector_journal_put(ngx_shm_zone_t *zone,
    const ngx_http_token_injector_slot_t *slot, ti_str_t packed)
{
    size_t                                   offset;
    ngx_int_t                                rc;
    ngx_uint_t                               i;
    ngx_http_token_injector_slot_t          *s;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    rc = NGX_OK;

    if (ngx_http_token_injector_journal_find(z, slot->id)) {
        goto done;
    }

    rc = NGX_BUSY;

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {
        if (!z->slots[i].used) {
            break;
        }
    }

    if (i == NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS
        || ngx_http_token_injector_journal_room(z, packed.len, &offset)
           != NGX_OK)
    {
        goto done;
    }

    s = &z->slots[i];

    *s = *slot;
    s->used = 0;
    s->seen = ngx_current_msec;
    s->offset = offset;
    s->len = packed.len;

    ngx_memcpy(z->data + offset, packed.data, packed.len);

    /* rather one too many than one that nobody looks for */
    z->count++;
    ngx_memory_barrier();
    s->used = 1;

    rc = NGX_OK;

done:

    ngx_http_token_injector_journal_unlock(z);

    return rc;
}


/* the first gap that is large enough: at the beginning, or behind a slot */

static ngx_int_t
ngx_http_token_injector_journal_room(
    ngx_http_token_injector_journal_zone_t *z, size_t len, size_t *offset)
{
    ngx_http_token_injector_slot_t  *above;

    *offset = 0;

    while (len <= z->size - *offset) {

        above = ngx_http_token_injector_journal_above(z, *offset, len);

        if (above == NULL) {
            return NGX_OK;
        }

        *offset = above->offset + above->len;
    }

    return NGX_BUSY;
}


/* one that is in the way */

static ngx_http_token_injector_slot_t *
ngx_http_token_injector_journal_above(
    ngx_http_token_injector_journal_zone_t *z, size_t offset, size_t len)
{
    ngx_uint_t                       i;
    ngx_http_token_injector_slot_t  *s;

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {
        s = &z->slots[i];

        if (s->used && s->offset < offset + len
            && offset < s->offset + s->len)
        {
            return s;
        }
    }

    return NULL;
}


void
ngx_http_token_injector_journal_drop(ngx_shm_zone_t *zone, const u_char *id)
{
    ngx_http_token_injector_slot_t          *slot;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    slot = ngx_http_token_injector_journal_find(z, id);

    if (slot) {
        slot->used = 0;
    }

    ngx_http_token_injector_journal_unlock(z);
}


void
ngx_http_token_injector_journal_filed(ngx_shm_zone_t *zone, const u_char *id)
{
    ngx_http_token_injector_slot_t          *slot;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    slot = ngx_http_token_injector_journal_find(z, id);

    if (slot) {
        slot->filed = 1;
    }

    ngx_http_token_injector_journal_unlock(z);
}


void
ngx_http_token_injector_journal_disown(ngx_shm_zone_t *zone, const u_char *id)
{
    ngx_http_token_injector_slot_t          *slot;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    slot = ngx_http_token_injector_journal_find(z, id);

    if (slot && slot->owner == ngx_pid) {
        slot->owner = 0;
    }

    ngx_http_token_injector_journal_unlock(z);
}


ngx_uint_t
ngx_http_token_injector_journal_here(ngx_shm_zone_t *zone, const u_char *id)
{
    ngx_uint_t                               here;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    here = (ngx_http_token_injector_journal_find(z, id) != NULL);

    ngx_http_token_injector_journal_unlock(z);

    return here;
}


ngx_uint_t
ngx_http_token_injector_journal_named(ngx_shm_zone_t *zone,
    const u_char *name)
{
    ngx_uint_t                               i, named;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    named = 0;

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {
        if (z->slots[i].used
            && ngx_memcmp(z->slots[i].name, name, TI_SHA256_LEN) == 0)
        {
            named = 1;
        }
    }

    ngx_http_token_injector_journal_unlock(z);

    return named;
}


void
ngx_http_token_injector_journal_alive(ngx_shm_zone_t *zone, ngx_pid_t owner,
    ngx_uint_t alive)
{
    ngx_uint_t                               i;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {

        if (z->slots[i].owner == owner) {
            z->slots[i].seen = ngx_current_msec;
            z->slots[i].owner = alive ? owner : 0;
        }
    }

    ngx_http_token_injector_journal_unlock(z);
}


ngx_int_t
ngx_http_token_injector_journal_adopt(ngx_shm_zone_t *zone,
    ngx_array_t *stores, ngx_http_token_injector_slot_t *slot,
    ngx_str_t *packed)
{
    ngx_int_t                                rc;
    ngx_uint_t                               i;
    ngx_http_token_injector_slot_t          *s;
    ngx_http_token_injector_journal_zone_t  *z;

    z = ngx_http_token_injector_journal_lock(zone);

    rc = NGX_DECLINED;

    for (i = 0; i < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS; i++) {
        s = &z->slots[i];

        if (!s->used
            || ngx_http_token_injector_journal_store(stores, s->store) == NULL
            || !ngx_http_token_injector_journal_left(s))
        {
            continue;
        }

        packed->len = s->len;
        packed->data = ngx_alloc(s->len, ngx_cycle->log);

        if (packed->data) {
            ngx_memcpy(packed->data, z->data + s->offset, s->len);

            s->owner = ngx_pid;
            s->seen = ngx_current_msec;
            *slot = *s;

            rc = NGX_OK;
        }

        break;
    }

    ngx_http_token_injector_journal_unlock(z);

    return rc;
}


static ngx_uint_t
ngx_http_token_injector_journal_left(
    const ngx_http_token_injector_slot_t *slot)
{
    if (slot->owner == ngx_pid) {
        return 0;
    }

    return slot->owner == 0
           || (kill(slot->owner, 0) == -1 && ngx_errno == NGX_ESRCH)
           || ngx_current_msec - slot->seen
              > NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LEASE;
}


ngx_int_t
ngx_http_token_injector_journal_slot(ti_crypto_t *crypto,
    ngx_http_token_injector_store_t *store, ti_str_t name, ti_str_t packed,
    ngx_http_token_injector_slot_t *slot)
{
    ngx_memzero(slot, sizeof(ngx_http_token_injector_slot_t));
    ngx_memcpy(slot->store, store->journal, TI_SHA256_LEN);

    return ngx_http_token_injector_journal_name(crypto, store, name,
                                                slot->name)
           == NGX_OK
           && ti_crypto_sha256(crypto, &packed, 1, slot->id) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_token_injector_journal_name(ti_crypto_t *crypto,
    ngx_http_token_injector_store_t *store, ti_str_t name, u_char *digest)
{
    ti_str_t  fields[2];

    fields[0] = ti_str_from(store->journal, TI_SHA256_LEN);
    fields[1] = name;

    return ti_crypto_sha256_enc(crypto, fields, 2, digest) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_http_token_injector_store_t *
ngx_http_token_injector_journal_store(ngx_array_t *stores, const u_char *id)
{
    ngx_uint_t                         i;
    ngx_http_token_injector_store_t  **store;

    store = stores->elts;

    for (i = 0; i < stores->nelts; i++) {
        if (ngx_memcmp(store[i]->journal, id, TI_SHA256_LEN) == 0) {
            return store[i];
        }
    }

    return NULL;
}
