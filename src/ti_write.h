/*
 * Floor 3: a connection's tokens on their way into Redis, as a command
 * (docs/record-format.md, "A connection").
 */

#ifndef TI_WRITE_H
#define TI_WRITE_H

#include "ti_record.h"


#define TI_WRITE_ARGS   32
#define TI_WRITE_REFRESH_LIFE  (90 * INT64_C(86400))  /* where it is unknown */
#define TI_WRITE_ACCESS_LIFE   (30 * INT64_C(86400))  /* after its end */
#define TI_WRITE_BRIEF_LIFE    600                    /* likewise */


typedef struct {
    ti_str_t         prefix;
    ti_str_t         name;                  /* of the connection */
    ti_record_ref_t  ref;                   /* whose; kind and gen are set */
    ti_str_t         access;
    ti_str_t         refresh;               /* empty: none */
    ti_str_t         previous;              /* the refresh token before; empty:
                                               none that may be tried */
    ti_str_t         scope;                 /* empty: unknown */
    ti_str_t         account;               /* empty: unknown, or */
    ti_str_t         sealed_account;        /* kept: the field as it was found,
                                               of the same cid */
    int64_t          now;
    int64_t          since;                 /* of the consent */
    int64_t          expires;
    int64_t          refresh_expires;       /* 0: unknown */
    int64_t          previous_expires;      /* until when it may be tried */
    unsigned         brief:1;               /* nobody consented: of no use
                                               without its token */
} ti_write_t;


/*
 * An EVAL which replaces the whole connection, tells everybody on "changes",
 * and replies 1; or 0 where its "gen" is no longer before, the field as it was
 * found (empty: none), or is that of a later consent, and nothing was changed.
 * Sent once more, because
 * nobody knows what became of the first, it recognises what it wrote and
 * replies 1.
 *
 * All tokens are sealed under the next gen, write->ref.gen afterwards; one
 * that is not as specified counts as 0, since nothing opens under it.  The
 * access token counts as issued now.  A previous whose time is over is left
 * out.  A consent has a new cid and is since now; who renews one gives the cid
 * and the since that were found, and the account.  argv has TI_WRITE_ARGS
 * places, memory is the pool's, and it holds nothing that needs to be wiped.
 * TI_DECLINED: a token that no record may hold, or gen is at its end.
 */

ti_rc_t ti_write_command(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring, ti_write_t *write,
    ti_str_t before, ti_str_t *argv, size_t *argc);


/*
 * An EVAL which says that the provider ended this grant: "state" becomes
 * "reconnect", "changes" hears of it, and the reply is 1; or 0 where "gen" and
 * "cid" are no longer these, and nothing was changed.  The tokens stay: an
 * access token is good for as long as it is.  Memory as above; name, gen and
 * cid, the fields as they were found, are borrowed.
 */

ti_rc_t ti_write_mark(const ti_pool_t *pool, ti_str_t prefix, ti_str_t name,
    ti_str_t gen, ti_str_t cid, ti_str_t *argv, size_t *argc);


/*
 * What ti_write_command() made, as bytes for who has to send it when its maker
 * is no more: "ti-write-1" and every argument behind the script's, by enc().
 * They hold no more than Redis will, and are from the pool.
 */

ti_rc_t ti_write_pack(const ti_pool_t *pool, const ti_str_t *argv, size_t argc,
    ti_str_t *packed);

/* What such a write is about; views borrow from the bytes. */

typedef struct {
    ti_str_t           name;                /* of the connection */
    ti_record_parts_t  parts;               /* of that name */
    ti_str_t           cid;
    uint64_t           gen;                 /* the new one */
    int64_t            ends;                /* when the connection does, in
                                               Redis: of no use from then on */
} ti_write_about_t;

/*
 * The way back, with the script of today; argv has TI_WRITE_ARGS places and
 * borrows from the bytes.  They may come from anywhere.  TI_DECLINED: anything
 * that ti_write_command() would not have written below this prefix, as far as
 * can be told without a key.
 */

ti_rc_t ti_write_unpack(const ti_pool_t *pool, ti_str_t packed,
    ti_str_t prefix, ti_str_t *argv, size_t *argc, ti_write_about_t *about);


/* 16 random bytes as text: every consent has its own */

ti_rc_t ti_write_cid(const ti_random_t *random,
    unsigned char cid[TI_RECORD_CID_LEN]);


#endif /* TI_WRITE_H */
