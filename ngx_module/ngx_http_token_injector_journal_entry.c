/*
 * A write that is sent until its store takes it, or has something newer.
 */

#include "ngx_http_token_injector_journal_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_PAUSE    200
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_AWAY     400     /* at most */
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_REFUSED  1500    /* at most */
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LEAVE    15000
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SILENCE  60      /* seconds */


typedef struct {
    char                                *word;
    const char                          *remedy;
} ngx_http_token_injector_refusal_t;


static void ngx_http_token_injector_entry_event(ngx_event_t *ev);
static ngx_int_t ngx_http_token_injector_entry_send(
    ngx_http_token_injector_entry_t *entry);
static void ngx_http_token_injector_entry_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_entry_refused(
    ngx_http_token_injector_entry_t *entry, const ti_resp_reply_t *reply);
static void ngx_http_token_injector_entry_later(
    ngx_http_token_injector_entry_t *entry, ngx_msec_t most);
static void ngx_http_token_injector_entry_end(
    ngx_http_token_injector_entry_t *entry, ngx_int_t rc);


ngx_http_token_injector_entry_t *
ngx_http_token_injector_entry_create(ngx_http_token_injector_store_t *store,
    ti_str_t packed)
{
    ti_pool_t                             p;
    ngx_pool_t                           *pool;
    ti_write_about_t                      about;
    ngx_http_token_injector_entry_t      *entry;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_journal.conf;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    p = ngx_http_token_injector_pool(pool);

    entry = ngx_pcalloc(pool, sizeof(ngx_http_token_injector_entry_t));

    if (entry == NULL
        || ti_pool_copy(&p, packed, &entry->packed) != TI_OK
        || ti_write_unpack(&p, entry->packed,
                           ngx_http_token_injector_str(&store->key_prefix),
                           entry->argv, &entry->argc, &about)
           != TI_OK
        || ngx_http_token_injector_journal_slot(mcf->crypto, store, about.name,
                                                entry->packed, &entry->slot)
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ngx_queue_insert_tail(&ngx_http_token_injector_journal.entries,
                          &entry->queue);

    entry->pool = pool;
    entry->store = store;
    entry->ends = about.ends;
    entry->pause = NGX_HTTP_TOKEN_INJECTOR_JOURNAL_PAUSE;

    entry->event.handler = ngx_http_token_injector_entry_event;
    entry->event.data = &ngx_http_token_injector_worker.dummy;
    entry->event.log = ngx_cycle->log;

    return entry;
}


void
ngx_http_token_injector_entry_begin(ngx_http_token_injector_entry_t *entry)
{
    if (ngx_http_token_injector_entry_send(entry) != NGX_OK) {
        ngx_http_token_injector_entry_later(entry,
                                        NGX_HTTP_TOKEN_INJECTOR_JOURNAL_AWAY);
    }
}


static void
ngx_http_token_injector_entry_event(ngx_event_t *ev)
{
    ngx_http_token_injector_entry_t  *entry;

    entry = (ngx_http_token_injector_entry_t *)
                ((u_char *) ev - offsetof(ngx_http_token_injector_entry_t,
                                          event));

    if (entry->ends <= ngx_time()) {
        ngx_http_token_injector_entry_end(entry, NGX_DECLINED);
        return;
    }

    ngx_http_token_injector_entry_begin(entry);
}


static ngx_int_t
ngx_http_token_injector_entry_send(ngx_http_token_injector_entry_t *entry)
{
    size_t                               i;
    ngx_str_t                            args[TI_WRITE_ARGS];
    ngx_http_token_injector_redis_op_t  *op;

    if (entry->store->index >= ngx_http_token_injector_worker.nstores) {
        /* "master_process off" and a reload */
        return NGX_ERROR;
    }

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[entry->store->index],
             ngx_http_token_injector_entry_reply, entry);
    if (op == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < entry->argc; i++) {
        args[i].data = (u_char *) entry->argv[i].data;
        args[i].len = entry->argv[i].len;
    }

    if (ngx_http_token_injector_redis_add(op, args, entry->argc) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_redis_send(op) != NGX_OK) {
        return NGX_ERROR;
    }

    entry->op = op;

    return NGX_OK;
}


static void
ngx_http_token_injector_entry_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_entry_t *entry = data;

    entry->op = NULL;

    if (rc != NGX_OK) {
        ngx_http_token_injector_entry_later(entry,
                                        NGX_HTTP_TOKEN_INJECTOR_JOURNAL_AWAY);
        return;
    }

    if (reply->type == TI_RESP_INTEGER
        && (reply->integer == 0 || reply->integer == 1))
    {
        ngx_http_token_injector_entry_end(entry, reply->integer ? NGX_OK
                                                             : NGX_DECLINED);
        return;
    }

    ngx_http_token_injector_entry_refused(entry, reply);
    ngx_http_token_injector_entry_later(entry,
                                     NGX_HTTP_TOKEN_INJECTOR_JOURNAL_REFUSED);
}


static void
ngx_http_token_injector_entry_refused(ngx_http_token_injector_entry_t *entry,
    const ti_resp_reply_t *reply)
{
    time_t                             *said;
    ngx_http_token_injector_refusal_t  *refusal;

    static ngx_http_token_injector_refusal_t  refusals[] = {
        { "OOM", "its memory is full: give it more \"maxmemory\"" },
        { "READONLY", "it is a replica: let \"server\" be the master" },
        { "NOPERM", "give \"user\" the commands that the operations page "
                    "lists" },
        { "MISCONF", "it can't save to its disk: look at its log" },
        { "", "look at its log" }
    };

    said = &ngx_http_token_injector_journal.tallies[entry->store->index].said;

    if (*said && ngx_time() - *said < NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SILENCE)
    {
        return;
    }

    *said = ngx_time();

    for (refusal = refusals; refusal->word[0]; refusal++) {

        /* older ones say it behind where in the script they were */

        if (reply->type == TI_RESP_ERROR
            && ngx_strnstr((u_char *) reply->str.data, refusal->word,
                           reply->str.len))
        {
            break;
        }
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "token_store \"%V\" does not take tokens that were granted; "
                  "they are kept, and sent again until it does: %s",
                  &entry->store->name, refusal->remedy);
}


/* a worker that leaves tries for so long, or for who waits; then another may */

static void
ngx_http_token_injector_entry_later(ngx_http_token_injector_entry_t *entry,
    ngx_msec_t most)
{
    ngx_http_token_injector_journal_t  *journal;

    journal = &ngx_http_token_injector_journal;

    if (ngx_exiting && !journal->leaving) {
        journal->leaving = 1;
        journal->leave = ngx_current_msec
                         + NGX_HTTP_TOKEN_INJECTOR_JOURNAL_LEAVE;
    }

    if (journal->leaving && entry->handler == NULL
        && (ngx_msec_int_t) (journal->leave - ngx_current_msec) <= 0)
    {
        ngx_http_token_injector_journal_disown(journal->conf->journal,
                                               entry->slot.id);
        ngx_http_token_injector_entry_free(entry);
        return;
    }

    ngx_add_timer(&entry->event, entry->pause / 2
                                 + ngx_random() % (entry->pause / 2 + 1));

    entry->pause = ngx_min(2 * entry->pause, most);
}


static void
ngx_http_token_injector_entry_end(ngx_http_token_injector_entry_t *entry,
    ngx_int_t rc)
{
    void                                        *data;
    ngx_http_token_injector_journal_handler_pt   handler;

    handler = entry->handler;
    data = entry->data;

    ngx_http_token_injector_journal_drop(
                                ngx_http_token_injector_journal.conf->journal,
                                entry->slot.id);

    if (entry->slot.filed) {
        ngx_http_token_injector_spool_remove(entry->store, entry->slot.id,
                                             ngx_cycle->log);
    }

    ngx_http_token_injector_entry_free(entry);

    if (handler) {
        handler(data, rc);
    }
}


void
ngx_http_token_injector_entry_free(ngx_http_token_injector_entry_t *entry)
{
    ngx_queue_remove(&entry->queue);

    if (entry->event.timer_set) {
        ngx_del_timer(&entry->event);
    }

    if (entry->op) {
        ngx_http_token_injector_redis_forget(entry->op);
    }

    ngx_destroy_pool(entry->pool);
}
