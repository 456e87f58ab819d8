/*
 * Floor 3: the lock under which one of all nodes renews a connection, as
 * commands and their replies.
 *
 * The value is the owner's token, random text without "~", for as long as the
 * lease runs; or, once a renewal failed, a note of how: "~failures:result:gen".
 * Nobody asks the provider again until the key has no more than TI_LOCK_KEEP
 * seconds left.  No clock is compared with another.
 */

#ifndef TI_LOCK_H
#define TI_LOCK_H

#include "ti_record.h"
#include "ti_resp.h"


#define TI_LOCK_ARGS         10
#define TI_LOCK_OWNER_LEN    22             /* b64u of 16 bytes */
#define TI_LOCK_BACKOFF_MAX  64             /* seconds, unless told */
#define TI_LOCK_WAIT_MAX     86400          /* told or not */
#define TI_LOCK_KEEP         128            /* a note stays so long after it
                                               held: who fails by then, counts
                                               on */
#define TI_LOCK_FAILURES_MAX 99             /* counted */


typedef struct {
    ti_str_t  name;                         /* ti_record_lock_name() */
    ti_str_t  channel;                      /* ti_record_changes_name() */
    ti_str_t  owner;
    uint64_t  gen;                          /* what is to be renewed; 0: there
                                               is none that counts */
    uint64_t  lease;                        /* milliseconds */
} ti_lock_t;

/* 16 random bytes as text: every attempt has its own */
ti_rc_t ti_lock_owner(const ti_random_t *random,
    unsigned char owner[TI_LOCK_OWNER_LEN]);


/*
 * Commands.  argv has TI_LOCK_ARGS places; numbers are the pool's, the rest is
 * borrowed from *lock.  TI_OK or TI_ERROR.
 *
 * take     replies what ti_lock_taken() reads.  It publishes the lock's name,
 *          which is no connection's, so that who took it knows that the store
 *          lets it write and publish.  A note of another gen is none.  What is
 *          ours already, is ours for another lease.
 * renew    1: ours for another lease; 0: no longer ours
 * release  1: it was ours, and is gone; 0: it was not
 * fail     1: it was ours, and is a note now; 0: it was not
 */

ti_rc_t ti_lock_take(const ti_pool_t *pool, const ti_lock_t *lock,
    ti_str_t *argv, size_t *argc);
ti_rc_t ti_lock_renew(const ti_pool_t *pool, const ti_lock_t *lock,
    ti_str_t *argv, size_t *argc);
void ti_lock_release(const ti_lock_t *lock, ti_str_t *argv, size_t *argc);


/* How it failed; wait: the seconds until somebody may try again. */

typedef struct {
    int64_t      wait;
    uint64_t     failures;                  /* in a row, this one included */
    ti_result_t  result;
} ti_lock_failure_t;

ti_rc_t ti_lock_fail(const ti_pool_t *pool, const ti_lock_t *lock,
    const ti_lock_failure_t *failure, ti_str_t *argv, size_t *argc);

/*
 * Seconds after so many failures in a row: 1, 2, 4 up to
 * TI_LOCK_BACKOFF_MAX, or what the provider asked for (0: nothing) where
 * that is more.
 */

int64_t ti_lock_backoff(uint64_t failures, int64_t retry_after);


/*
 * The reply to take, an array: [1, failures] or [0] or [0, seconds, note].
 *
 * TI_OK with taken: it is ours, and failures is how many renewals of this gen
 * failed in a row before, as far as somebody remembers.  Without: another is
 * at it (result is TI_RESULT_OK), or nobody is to ask before held_until, since
 * a renewal failed with this result.  TI_DECLINED: the store refused, or it is
 * no such reply.
 */

typedef struct {
    unsigned     taken:1;
    uint64_t     failures;
    int64_t      held_until;                /* by the clock that now is of */
    ti_result_t  result;
} ti_lock_taken_t;

ti_rc_t ti_lock_taken(const ti_resp_reply_t *reply, int64_t now,
    ti_lock_taken_t *taken);


/* A note, taken apart.  TI_DECLINED: it is none. */

typedef struct {
    uint64_t     failures;
    ti_result_t  result;
    uint64_t     gen;
} ti_lock_note_t;

ti_rc_t ti_lock_note_parse(ti_str_t text, ti_lock_note_t *note);


#endif /* TI_LOCK_H */
