/*
 * A worker's part of the journal: what it is given to write, what it finds
 * without anybody who does, and what it leaves behind.
 */

#include "ngx_http_token_injector_journal_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LOOK   300
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_BATCH  16
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LIST   3000


static void ngx_http_token_injector_journal_look(ngx_event_t *ev);
static void ngx_http_token_injector_journal_list(ngx_event_t *ev);
static ngx_uint_t ngx_http_token_injector_journal_take(void);
static void ngx_http_token_injector_journal_leave(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_tally_t *tallies);
static void ngx_http_token_injector_journal_file(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_tally_t *tallies,
    const ngx_http_token_injector_slot_t *slot, ti_str_t packed);


/* of this worker */

ngx_http_token_injector_journal_t  ngx_http_token_injector_journal;


ngx_int_t
ngx_http_token_injector_journal_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_event_t  *ev;

    if (mcf->journal == NULL || ngx_process == NGX_PROCESS_HELPER) {
        return NGX_OK;
    }

    ngx_http_token_injector_journal.tallies = ngx_pcalloc(cycle->pool,
                                    mcf->stores.nelts
                                    * sizeof(ngx_http_token_injector_tally_t));

    if (ngx_http_token_injector_journal.tallies == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_init(&ngx_http_token_injector_journal.entries);
    ngx_http_token_injector_journal.conf = mcf;

    /* a worker of the same number that is no more */
    ngx_http_token_injector_journal_alive(mcf->journal, ngx_pid, 0);

    ev = &ngx_http_token_injector_journal.look;

    ev->handler = ngx_http_token_injector_journal_look;
    ev->data = &ngx_http_token_injector_worker.dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1);

    if (ngx_worker) {
        return NGX_OK;
    }

    ev = &ngx_http_token_injector_journal.list;

    ev->handler = ngx_http_token_injector_journal_list;
    ev->data = &ngx_http_token_injector_worker.dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LIST);

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_journal_write(ngx_http_token_injector_store_t *store,
    const ti_str_t *argv, size_t argc,
    ngx_http_token_injector_journal_handler_pt handler, void *data,
    ngx_http_token_injector_entry_t **entryp)
{
    ti_str_t                              packed;
    ti_pool_t                             p;
    ngx_int_t                             rc;
    ngx_pool_t                           *pool;
    ngx_http_token_injector_entry_t      *entry;

    if (ngx_http_token_injector_journal.conf == NULL) {
        return NGX_BUSY;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_token_injector_pool(pool);
    entry = NULL;

    if (ti_write_pack(&p, argv, argc, &packed) == TI_OK) {
        entry = ngx_http_token_injector_entry_create(store,
                                                             packed);
    }

    ngx_destroy_pool(pool);

    if (entry == NULL) {
        return NGX_ERROR;
    }

    entry->slot.owner = ngx_pid;

    rc = ngx_http_token_injector_journal_put(
                                ngx_http_token_injector_journal.conf->journal,
                                &entry->slot, entry->packed);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "token injector: the journal is full: until "
                      "token_store \"%V\" takes more, this worker alone has "
                      "what was granted now", &store->name);
        ngx_http_token_injector_entry_free(entry);
        return rc;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "token injector: journal of \"%V\": kept", &store->name);

    entry->handler = handler;
    entry->data = data;

    ngx_http_token_injector_entry_begin(entry);

    *entryp = entry;

    return NGX_OK;
}


void
ngx_http_token_injector_journal_forget(ngx_http_token_injector_entry_t *entry)
{
    entry->handler = NULL;
}


ngx_int_t
ngx_http_token_injector_journal_pending(
    ngx_http_token_injector_store_t *store, ti_str_t name)
{
    u_char                                digest[TI_SHA256_LEN];
    ngx_uint_t                            n;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_journal.conf;

    if (mcf == NULL) {
        return NGX_DECLINED;
    }

    n = ngx_http_token_injector_journal_count(mcf->journal);

    if (n == 0) {
        return NGX_DECLINED;
    }

    /* what cannot be looked up may be there */

    return n >= NGX_HTTP_TOKEN_INJECTOR_JOURNAL_CROWD
           || ngx_http_token_injector_journal_name(mcf->crypto, store, name,
                                                   digest)
              != NGX_OK
           || ngx_http_token_injector_journal_named(mcf->journal, digest)
           ? NGX_OK : NGX_DECLINED;
}


/* whose worker is gone; and ours is not */

static void
ngx_http_token_injector_journal_look(ngx_event_t *ev)
{
    ngx_uint_t                            n;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_journal.conf;

    ngx_add_timer(ev, NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LOOK
                      + ngx_random() % 100);

    if (ngx_http_token_injector_journal_count(mcf->journal) == 0) {
        return;
    }

    ngx_http_token_injector_journal_alive(mcf->journal, ngx_pid, 1);

    if (ngx_exiting) {
        return;
    }

    for (n = 0; n < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_BATCH; n++) {
        if (!ngx_http_token_injector_journal_take()) {
            break;
        }
    }
}


static ngx_uint_t
ngx_http_token_injector_journal_take(void)
{
    ngx_str_t                             packed;
    ngx_http_token_injector_slot_t        slot;
    ngx_http_token_injector_entry_t      *entry;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_journal.conf;

    if (ngx_http_token_injector_journal_adopt(mcf->journal, &mcf->stores,
                                              &slot, &packed)
        != NGX_OK)
    {
        return 0;
    }

    entry = ngx_http_token_injector_entry_create(
                ngx_http_token_injector_journal_store(&mcf->stores,
                                                      slot.store),
                ngx_http_token_injector_str(&packed));

    ngx_free(packed.data);

    if (entry == NULL) {
        /* no memory for one of ours: whoever has some may send them all */
        ngx_http_token_injector_journal_alive(mcf->journal, ngx_pid, 0);
        return 0;
    }

    entry->slot.filed = slot.filed;

    ngx_http_token_injector_entry_begin(entry);

    return 1;
}


static void
ngx_http_token_injector_journal_list(ngx_event_t *ev)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_journal.conf;

    if (ngx_exiting) {
        return;
    }

    ngx_http_token_injector_spool_load(mcf->journal, mcf, ngx_cycle->log);

    ngx_add_timer(ev, NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LIST);
}


void
ngx_http_token_injector_journal_exit(void)
{
    ngx_uint_t                            i;
    ngx_queue_t                          *q;
    ngx_http_token_injector_tally_t      *tally;
    ngx_http_token_injector_entry_t      *entry;
    ngx_http_token_injector_store_t     **store;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_journal.conf;

    if (mcf == NULL) {
        return;
    }

    tally = ngx_http_token_injector_journal.tallies;

    ngx_http_token_injector_journal_leave(mcf, tally);

    while (!ngx_queue_empty(&ngx_http_token_injector_journal.entries)) {
        q = ngx_queue_head(&ngx_http_token_injector_journal.entries);
        entry = ngx_queue_data(q, ngx_http_token_injector_entry_t, queue);

        ngx_http_token_injector_journal_file(mcf, tally, &entry->slot,
                                             entry->packed);
        ngx_http_token_injector_entry_free(entry);
    }

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {

        if (tally[i].filed) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "token injector: %ui sets of tokens that "
                          "token_store \"%V\" did not take are files in "
                          "\"%V\" now, and are written from there",
                          tally[i].filed, &store[i]->name, &store[i]->spool);
        }

        if (tally[i].left) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "token injector: %ui sets of tokens that "
                          "token_store \"%V\" did not take are left to the "
                          "next worker, and lost where nginx ends: set "
                          "\"spool\"", tally[i].left, &store[i]->name);
        }
    }

    ngx_http_token_injector_journal.conf = NULL;
}


/* the workers are gone, and some of them were killed */

void
ngx_http_token_injector_journal_exit_master(
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                         i;
    ngx_http_token_injector_tally_t   *tally;
    ngx_http_token_injector_store_t  **store;

    if (mcf->journal == NULL
        || ngx_http_token_injector_journal_count(mcf->journal) == 0)
    {
        return;
    }

    tally = ngx_alloc(mcf->stores.nelts
                      * sizeof(ngx_http_token_injector_tally_t),
                      ngx_cycle->log);
    if (tally == NULL) {
        return;
    }

    ngx_memzero(tally, mcf->stores.nelts
                       * sizeof(ngx_http_token_injector_tally_t));

    ngx_http_token_injector_journal_leave(mcf, tally);

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {

        if (tally[i].left) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "token injector: %ui sets of tokens that "
                          "token_store \"%V\" did not take are lost, and "
                          "their users have to consent again: set \"spool\"",
                          tally[i].left, &store[i]->name);
        }
    }

    ngx_free(tally);
}


/* what nobody has, while there is somebody to find it */

static void
ngx_http_token_injector_journal_leave(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_tally_t *tallies)
{
    ngx_str_t                       packed;
    ngx_http_token_injector_slot_t  slot;

    while (ngx_http_token_injector_journal_adopt(mcf->journal, &mcf->stores,
                                                 &slot, &packed)
           == NGX_OK)
    {
        ngx_http_token_injector_journal_file(mcf, tallies, &slot,
                                    ngx_http_token_injector_str(&packed));
        ngx_free(packed.data);
    }
}


static void
ngx_http_token_injector_journal_file(ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_tally_t *tallies,
    const ngx_http_token_injector_slot_t *slot, ti_str_t packed)
{
    ngx_http_token_injector_store_t  *store;

    if (slot->filed
        || !ngx_http_token_injector_journal_here(mcf->journal, slot->id))
    {
        /* or another worker has brought it home */
        return;
    }

    store = ngx_http_token_injector_journal_store(&mcf->stores, slot->store);

    if (store->spool.len == 0
        || ngx_http_token_injector_spool_save(store, slot->id, packed,
                                              ngx_cycle->log)
           != NGX_OK)
    {
        tallies[store->index].left++;
        return;
    }

    tallies[store->index].filed++;

    ngx_http_token_injector_journal_filed(mcf->journal, slot->id);
}
