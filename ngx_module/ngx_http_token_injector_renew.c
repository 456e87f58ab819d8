/*
 * Renewals of a worker: found by their connection, begun, ended.
 */

#include "ngx_http_token_injector_renew.h"


#define NGX_HTTP_TOKEN_INJECTOR_RENEW_RUNNING  32    /* of a provider */
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_LEASE    5000  /* beyond the timeout */


/* those of one provider */

typedef struct {
    ngx_uint_t                     running;
    ngx_queue_t                    queued;
} ngx_http_token_injector_renew_slot_t;


static ngx_http_token_injector_renew_t *ngx_http_token_injector_renew_create(
    const ngx_http_token_injector_renew_conf_t *conf, u_char *id,
    uint32_t hash);
static ngx_int_t ngx_http_token_injector_renew_names(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_begin(ngx_event_t *ev);
static void ngx_http_token_injector_renew_leave_slot(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_claims(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_free(
    ngx_http_token_injector_renew_t *renew);


static ngx_http_token_injector_renew_slot_t
                          *ngx_http_token_injector_renew_slots;
static ngx_uint_t          ngx_http_token_injector_renew_nslots;

static ngx_rbtree_t        ngx_http_token_injector_renewals;
static ngx_rbtree_node_t   ngx_http_token_injector_renewals_sentinel;


ngx_int_t
ngx_http_token_injector_renew_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                             i, n;
    ngx_http_token_injector_renew_slot_t  *slot;

    ngx_rbtree_init(&ngx_http_token_injector_renewals,
                    &ngx_http_token_injector_renewals_sentinel,
                    ngx_str_rbtree_insert_value);

    n = mcf->providers.nelts;

    if (n == 0) {
        return NGX_OK;
    }

    slot = ngx_palloc(cycle->pool,
                      n * sizeof(ngx_http_token_injector_renew_slot_t));
    if (slot == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        slot[i].running = 0;
        ngx_queue_init(&slot[i].queued);
    }

    ngx_http_token_injector_renew_slots = slot;
    ngx_http_token_injector_renew_nslots = n;

    return NGX_OK;
}


/* before grants and stores end: nobody is told, there is nobody left */

void
ngx_http_token_injector_renew_exit(void)
{
    ngx_rbtree_t  *tree;

    ngx_http_token_injector_visits_exit();

    if (ngx_http_token_injector_renew_nslots == 0) {
        return;
    }

    tree = &ngx_http_token_injector_renewals;

    while (tree->root != tree->sentinel) {
        /* the node is the first of it */
        ngx_http_token_injector_renew_free(
                         (ngx_http_token_injector_renew_t *) tree->root);
    }

    ngx_http_token_injector_renew_nslots = 0;
}


ngx_uint_t
ngx_http_token_injector_renew_anew(
    ngx_http_token_injector_provider_t *provider)
{
    return provider->grant != NGX_HTTP_TOKEN_INJECTOR_CODE;
}


ngx_int_t
ngx_http_token_injector_renew_id(
    const ngx_http_token_injector_renew_conf_t *conf, u_char *id)
{
    ti_str_t                              fields[4];
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    fields[0] = ti_str("renewal");
    fields[1] = ti_str_from(conf->provider->id, TI_SHA256_LEN);
    fields[2] = conf->user;
    fields[3] = conf->device;

    return ti_crypto_sha256_enc(mcf->crypto, fields, 4, id) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_http_token_injector_renew_t *
ngx_http_token_injector_renew(
    const ngx_http_token_injector_renew_conf_t *conf)
{
    u_char                            id[TI_SHA256_LEN];
    uint32_t                          hash;
    ngx_str_t                         name;
    ngx_http_token_injector_renew_t  *renew;

    if (conf->provider->index >= ngx_http_token_injector_renew_nslots
        || conf->provider->store->index
           >= ngx_http_token_injector_worker.nstores
        || ngx_http_token_injector_renew_id(conf, id) != NGX_OK)
    {
        /* "master_process off" and a reload: no worker was begun for it */
        return NULL;
    }

    name.data = id;
    name.len = TI_SHA256_LEN;

    /* any four bytes of a digest are a hash */
    ngx_memcpy(&hash, id, sizeof(uint32_t));

    renew = (ngx_http_token_injector_renew_t *)
                ngx_str_rbtree_lookup(&ngx_http_token_injector_renewals,
                                      &name, hash);

    return renew ? renew
                 : ngx_http_token_injector_renew_create(conf, id, hash);
}


static ngx_http_token_injector_renew_t *
ngx_http_token_injector_renew_create(
    const ngx_http_token_injector_renew_conf_t *conf, u_char *id,
    uint32_t hash)
{
    ngx_http_token_injector_renew_t  *renew;

    renew = ngx_calloc(sizeof(ngx_http_token_injector_renew_t),
                       ngx_cycle->log);
    if (renew == NULL) {
        return NULL;
    }

    ngx_memcpy(renew->id, id, TI_SHA256_LEN);

    renew->node.node.key = hash;
    renew->node.str.data = renew->id;
    renew->node.str.len = TI_SHA256_LEN;

    ngx_queue_init(&renew->waiting);
    ngx_queue_init(&renew->queue);

    ngx_rbtree_insert(&ngx_http_token_injector_renewals, &renew->node.node);

    renew->event.handler = ngx_http_token_injector_renew_begin;
    renew->event.data = &ngx_http_token_injector_worker.dummy;
    renew->event.log = ngx_cycle->log;

    renew->pool = ngx_create_pool(1024, ngx_cycle->log);

    if (renew->pool == NULL
        || ngx_http_token_injector_renew_copy(renew->pool, conf, renew->key,
                                              &renew->conf)
           != NGX_OK
        || ngx_http_token_injector_renew_names(renew) != NGX_OK)
    {
        ngx_http_token_injector_renew_free(renew);
        return NULL;
    }

    ngx_post_event(&renew->event, &ngx_posted_events);

    return renew;
}


ngx_int_t
ngx_http_token_injector_renew_copy(ngx_pool_t *pool,
    const ngx_http_token_injector_renew_conf_t *from, u_char *key,
    ngx_http_token_injector_renew_conf_t *to)
{
    ti_str_t    *field[6];
    ti_pool_t    memory;
    ngx_uint_t   i;

    *to = *from;
    to->subject = ti_null_str;

    if (from->user_key) {
        ngx_memcpy(key, from->user_key, TI_KEY_LEN);
        to->user_key = key;
    }

    field[0] = &to->who.issuer;
    field[1] = &to->who.tenant;
    field[2] = &to->who.subject;
    field[3] = &to->user;
    field[4] = &to->device;
    field[5] = &to->cid;

    memory = ngx_http_token_injector_pool(pool);

    for (i = 0; i < 6; i++) {
        if (field[i]->len && ti_pool_copy(&memory, *field[i], field[i])
                             != TI_OK)
        {
            return NGX_ERROR;
        }
    }

    if (from->subject.len
        && ti_pool_copy(&memory, from->subject, &to->subject) != TI_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* of its connection, of its lock, and ours as the owner of that */

static ngx_int_t
ngx_http_token_injector_renew_names(ngx_http_token_injector_renew_t *renew)
{
    ti_str_t                               prefix;
    ti_lock_t                             *lock;
    ti_pool_t                              pool;
    ti_random_t                            random;
    ti_record_parts_t                      parts;
    ngx_http_token_injector_renew_conf_t  *conf;

    conf = &renew->conf;
    lock = &renew->lock;

    pool = ngx_http_token_injector_pool(renew->pool);
    random = ti_crypto_random();
    prefix = ngx_http_token_injector_str(&conf->provider->store->key_prefix);

    parts.user = conf->user;
    parts.provider = ngx_http_token_injector_str(&conf->provider->name);
    parts.device = conf->device;

    lock->gen = conf->seen;
    lock->owner = ti_str_from(renew->owner, TI_LOCK_OWNER_LEN);

    /* longer than the token endpoint may take, and renewed meanwhile */
    lock->lease = conf->provider->party.timeout
                  + NGX_HTTP_TOKEN_INJECTOR_RENEW_LEASE;

    return ti_lock_owner(&random, renew->owner) == TI_OK
           && ti_record_connection_name(&pool, prefix, parts.user,
                                        parts.provider, parts.device,
                                        &renew->name)
              == TI_OK
           && ti_record_lock_name(&pool, prefix, &parts, &lock->name) == TI_OK
           && ti_record_changes_name(&pool, prefix, &lock->channel) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


/* an endpoint that is slow has to do with so many, the others wait here */

static void
ngx_http_token_injector_renew_begin(ngx_event_t *ev)
{
    ngx_http_token_injector_renew_t       *renew;
    ngx_http_token_injector_renew_slot_t  *slot;

    renew = (ngx_http_token_injector_renew_t *)
                ((u_char *) ev - offsetof(ngx_http_token_injector_renew_t,
                                          event));

    slot = &ngx_http_token_injector_renew_slots[renew->conf.provider->index];

    if (slot->running == NGX_HTTP_TOKEN_INJECTOR_RENEW_RUNNING) {
        ngx_queue_insert_tail(&slot->queued, &renew->queue);
        return;
    }

    slot->running++;
    renew->running = 1;

    renew->state = NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIM;
    renew->event.handler = ngx_http_token_injector_renew_run;

    ngx_http_token_injector_renew_run(ev);
}


static void
ngx_http_token_injector_renew_leave_slot(
    ngx_http_token_injector_renew_t *renew)
{
    ngx_queue_t                           *q;
    ngx_http_token_injector_renew_t       *next;
    ngx_http_token_injector_renew_slot_t  *slot;

    ngx_queue_remove(&renew->queue);
    ngx_queue_init(&renew->queue);

    if (!renew->running) {
        return;
    }

    renew->running = 0;

    slot = &ngx_http_token_injector_renew_slots[renew->conf.provider->index];
    slot->running--;

    if (!ngx_queue_empty(&slot->queued)) {
        q = ngx_queue_head(&slot->queued);
        ngx_queue_remove(q);
        ngx_queue_init(q);

        next = ngx_queue_data(q, ngx_http_token_injector_renew_t, queue);
        ngx_post_event(&next->event, &ngx_posted_events);
    }
}


void
ngx_http_token_injector_renew_end(ngx_http_token_injector_renew_t *renew,
    ti_result_t result, const char *why)
{
    ngx_queue_t                           waiting;
    ngx_http_token_injector_note_t        note;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    if (renew->locked) {
        ngx_http_token_injector_renew_release(renew, NULL);
    }

    /* past its time the claim is another's */

    if (renew->claimed
        && (ngx_msec_int_t) (renew->claim - ngx_current_msec) > 0)
    {
        ngx_http_token_injector_memory_remove(mcf->memory,
                                         NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIMED,
                                         renew->id);
    }

    ngx_http_token_injector_note(renew->id, &note);

    ngx_queue_init(&waiting);

    if (!ngx_queue_empty(&renew->waiting)) {
        ngx_http_token_injector_renew_claims(renew);

        ngx_queue_add(&waiting, &renew->waiting);
        ngx_queue_init(&renew->waiting);
    }

    /* who goes on may begin the next one of this connection */

    ngx_http_token_injector_renew_free(renew);

    ngx_http_token_injector_renew_tell(&waiting, result, why,
                                       ngx_max(note.until - ngx_time(), 0));
}


/* what the provider asks for is for whoever waits to pass on */

static void
ngx_http_token_injector_renew_claims(ngx_http_token_injector_renew_t *renew)
{
    ti_pool_t                       pool;
    ngx_queue_t                    *q;
    ngx_http_token_injector_ctx_t  *ctx;

    for (q = ngx_queue_head(&renew->waiting);
         renew->claims.len && q != ngx_queue_sentinel(&renew->waiting);
         q = ngx_queue_next(q))
    {
        ctx = ngx_queue_data(q, ngx_http_token_injector_ctx_t, waiting);
        pool = ngx_http_token_injector_pool(ctx->request->pool);

        (void) ti_pool_copy(&pool, renew->claims, &ctx->claims_wanted);
    }
}


static void
ngx_http_token_injector_renew_free(ngx_http_token_injector_renew_t *renew)
{
    ngx_rbtree_delete(&ngx_http_token_injector_renewals, &renew->node.node);

    ngx_http_token_injector_renew_leave_slot(renew);

    if (renew->event.timer_set) {
        ngx_del_timer(&renew->event);
    }

    if (renew->event.posted) {
        ngx_delete_posted_event(&renew->event);
    }

    if (renew->lease.timer_set) {
        ngx_del_timer(&renew->lease);
    }

    if (renew->op) {
        ngx_http_token_injector_redis_forget(renew->op);
    }

    if (renew->found) {
        ngx_destroy_pool(renew->found);
    }

    if (renew->pool) {
        ti_wipe((void *) renew->conf.subject.data, renew->conf.subject.len);
        ngx_destroy_pool(renew->pool);
    }

    ti_wipe(renew->key, TI_KEY_LEN);
    ngx_free(renew);
}
