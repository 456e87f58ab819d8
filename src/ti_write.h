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


typedef struct {
    ti_str_t         prefix;
    ti_str_t         name;                  /* of the connection */
    ti_record_ref_t  ref;                   /* whose; kind and gen are set */
    ti_str_t         access;
    ti_str_t         refresh;               /* empty: none */
    ti_str_t         scope;                 /* empty: unknown */
    ti_str_t         account;               /* empty: unknown */
    int64_t          now;
    int64_t          since;                 /* of the consent */
    int64_t          expires;
    int64_t          refresh_expires;       /* 0: unknown */
} ti_write_t;


/*
 * An EVAL which replaces the whole connection, tells everybody on "changes",
 * and replies 1; or 0 where its "gen" is no longer before, the field as it was
 * found (empty: none), and nothing was changed.  Sent once more, because
 * nobody knows what became of the first, it recognises what it wrote and
 * replies 1.
 *
 * Both tokens are sealed under the next gen, write->ref.gen afterwards; one
 * that is not as specified counts as 0, since nothing opens under it.  argv
 * has TI_WRITE_ARGS places, memory is the pool's, and it holds nothing that
 * needs to be wiped.  TI_DECLINED: a token that no record may hold, or gen is
 * at its end.
 */

ti_rc_t ti_write_command(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring, ti_write_t *write,
    ti_str_t before, ti_str_t *argv, size_t *argc);

/* 16 random bytes as text: every consent has its own */

ti_rc_t ti_write_cid(const ti_random_t *random,
    unsigned char cid[TI_RECORD_CID_LEN]);


#endif /* TI_WRITE_H */
