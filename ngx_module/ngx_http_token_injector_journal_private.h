/*
 * Between the files of the journal.  Nobody else includes this.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_JOURNAL_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_JOURNAL_PRIVATE_H_INCLUDED_


#include "ngx_http_token_injector.h"

#include "ti_write.h"

#include "ngx_http_token_injector_journal.h"


#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_SLOTS  256

/* with so many in it nothing more is begun */
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_CROWD  192

/* bytes of a packed write: three tokens at their largest, and some more */
#define NGX_HTTP_TOKEN_INJECTOR_JOURNAL_MAX    (4 * TI_RECORD_MAX)


/*
 * A write in the zone.  It is what its bytes are, found by their digest, which
 * is its file's name, too.
 */

typedef struct {
    u_char                       id[TI_SHA256_LEN];
    u_char                       store[TI_SHA256_LEN];
    u_char                       name[TI_SHA256_LEN];    /* connection's */
    ngx_pid_t                    owner;          /* 0: nobody's */
    ngx_msec_t                   seen;           /* the owner was alive */
    size_t                       offset;
    size_t                       len;
    ngx_uint_t                   filed;          /* there is a file of it */
    ngx_uint_t                   used;           /* set last, cleared first */
} ngx_http_token_injector_slot_t;


/* and in the worker that sends it */

struct ngx_http_token_injector_entry_s {
    ngx_queue_t                          queue;  /* of the worker's */
    ngx_pool_t                          *pool;   /* it lies in */
    ngx_http_token_injector_store_t     *store;
    ngx_http_token_injector_slot_t       slot;
    ti_str_t                             packed;
    ti_str_t                             argv[TI_WRITE_ARGS];
    size_t                               argc;
    int64_t                              ends;   /* it is of use until then */

    ngx_http_token_injector_redis_op_t  *op;
    ngx_event_t                          event;  /* try again */
    ngx_msec_t                           pause;

    ngx_http_token_injector_journal_handler_pt  handler;
    void                                *data;
};


/* of one store */

typedef struct {
    time_t                               said;   /* that it refuses */
    ngx_uint_t                           filed;
    ngx_uint_t                           left;   /* without a file */
} ngx_http_token_injector_tally_t;


/* of one worker; conf is NULL where it has none */

typedef struct {
    ngx_http_token_injector_main_conf_t  *conf;
    ngx_queue_t                           entries;
    ngx_event_t                           look;
    ngx_event_t                           list;  /* of the spools' files */
    ngx_http_token_injector_tally_t      *tallies;   /* by store index */
    ngx_msec_t                            leave; /* it waits until then */
    unsigned                              leaving:1;
} ngx_http_token_injector_journal_t;


extern ngx_http_token_injector_journal_t  ngx_http_token_injector_journal;


/* the zone */

/* how many there are; without the lock */
ngx_uint_t ngx_http_token_injector_journal_count(ngx_shm_zone_t *zone);

/* the slot's id, store, name, owner and filed; NGX_BUSY: there is no room */
ngx_int_t ngx_http_token_injector_journal_put(ngx_shm_zone_t *zone,
    const ngx_http_token_injector_slot_t *slot, ti_str_t packed);

/* by its id */
void ngx_http_token_injector_journal_drop(ngx_shm_zone_t *zone,
    const u_char *id);
void ngx_http_token_injector_journal_filed(ngx_shm_zone_t *zone,
    const u_char *id);
void ngx_http_token_injector_journal_disown(ngx_shm_zone_t *zone,
    const u_char *id);
ngx_uint_t ngx_http_token_injector_journal_here(ngx_shm_zone_t *zone,
    const u_char *id);

/* by the connection's name */
ngx_uint_t ngx_http_token_injector_journal_named(ngx_shm_zone_t *zone,
    const u_char *name);

/* the owner of what it has is there still; or is not, whatever its number */
void ngx_http_token_injector_journal_alive(ngx_shm_zone_t *zone,
    ngx_pid_t owner, ngx_uint_t alive);

/*
 * One that has no owner any more and is of a store of this configuration
 * becomes this process': *slot, and its bytes, to be freed.  NGX_DECLINED:
 * there is none.
 */
ngx_int_t ngx_http_token_injector_journal_adopt(ngx_shm_zone_t *zone,
    ngx_array_t *stores, ngx_http_token_injector_slot_t *slot,
    ngx_str_t *packed);

ngx_http_token_injector_store_t *ngx_http_token_injector_journal_store(
    ngx_array_t *stores, const u_char *id);

/* a slot's digests */
ngx_int_t ngx_http_token_injector_journal_name(ti_crypto_t *crypto,
    ngx_http_token_injector_store_t *store, ti_str_t name, u_char *digest);
ngx_int_t ngx_http_token_injector_journal_slot(ti_crypto_t *crypto,
    ngx_http_token_injector_store_t *store, ti_str_t name, ti_str_t packed,
    ngx_http_token_injector_slot_t *slot);


/* entries */

/*
 * Copied.  NULL: out of memory, or bytes that are no write of this store's.
 * What the slot has beside its digests is the caller's to fill in.
 */

ngx_http_token_injector_entry_t *ngx_http_token_injector_entry_create(
    ngx_http_token_injector_store_t *store, ti_str_t packed);
void ngx_http_token_injector_entry_begin(
    ngx_http_token_injector_entry_t *entry);
void ngx_http_token_injector_entry_free(
    ngx_http_token_injector_entry_t *entry);


/* spool */

/* what lies in the spools goes into the zone, as nobody's */

void ngx_http_token_injector_spool_load(ngx_shm_zone_t *zone,
    ngx_http_token_injector_main_conf_t *mcf, ngx_log_t *log);

ngx_int_t ngx_http_token_injector_spool_save(
    ngx_http_token_injector_store_t *store, const u_char *id,
    ti_str_t packed, ngx_log_t *log);
void ngx_http_token_injector_spool_remove(
    ngx_http_token_injector_store_t *store, const u_char *id, ngx_log_t *log);

/* can a worker keep something there? */

ngx_int_t ngx_http_token_injector_spool_check(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ngx_log_t *log);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_JOURNAL_PRIVATE_H_INCLUDED_ */
