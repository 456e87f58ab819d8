/*
 * Floor 2: when to ask an issuer for its keys again, and for how long those
 * that are here may be used.  Pure decisions: told the time, they change
 * nothing but the state that they are given, which is plain numbers and may
 * lie in shared memory.
 */

#ifndef TI_REFRESH_H
#define TI_REFRESH_H

#include "ti_base.h"


/* seconds; 0 < min_interval <= interval <= max_stale */

typedef struct {
    int64_t  interval;                      /* asked again after it at most */
    int64_t  min_interval;                  /* and not before it */
    int64_t  max_stale;                     /* used for so long after fetched,
                                               however often asking failed */
} ti_refresh_policy_t;


/* all zero: nothing was asked yet, which is due at once */

typedef struct {
    int64_t   fetched;                      /* the last success; 0: none */
    int64_t   due;                          /* the next try */
    int64_t   hinted;                       /* the last fetch for a hint */
    uint32_t  failures;                     /* since the last success */
} ti_refresh_t;


/*
 * max-age of a Cache-Control field's value, less age, the value of an Age
 * field (RFC 9111 sections 5.2.2.1, 5.1), and not below 0; either may be
 * empty.  0 for "no-cache" and "no-store"; -1 where nothing is said that can
 * be read.  No number is above 2^31 (section 1.2.2), and of several the first
 * counts.
 */

int64_t ti_refresh_max_age(ti_str_t cache_control, ti_str_t age);

/*
 * Is it time to ask?  It is, too, where the next try is further away than
 * interval: the clock was set back, or interval is shorter since a reload.
 */

int ti_refresh_due(const ti_refresh_policy_t *policy,
    const ti_refresh_t *state, int64_t now);

/*
 * The answer came and was good: asked again after max_age (-1: not said),
 * kept within min_interval and interval, a little before it is over: jitter,
 * any random number, takes up to a tenth off (rounded up; nothing of less than
 * 4 seconds, and never so much that min_interval is not kept), so that nodes
 * don't all ask at once.
 */

void ti_refresh_succeeded(const ti_refresh_policy_t *policy,
    ti_refresh_t *state, int64_t now, int64_t max_age, uint32_t jitter);

/*
 * It did not: again after 1 second, then 2, 4, …, never more than
 * min_interval while there is nothing to use, nor interval otherwise, less
 * the jitter as above, which here min_interval does not limit.
 */

void ti_refresh_failed(const ti_refresh_policy_t *policy,
    ti_refresh_t *state, int64_t now, uint32_t jitter);

/*
 * Somebody has seen a sign that what is here is old, an unknown kid.  1: ask
 * now (and it is noted that this was the reason); 0: too soon after the last
 * time that this was the reason, or while failures hold back.  However often
 * it is called, it says yes once in min_interval (a clock that was set back
 * begins a new one).
 */

int ti_refresh_hint(const ti_refresh_policy_t *policy, ti_refresh_t *state,
    int64_t now);

/* Until when may what was fetched be used?  0: there is nothing. */

int64_t ti_refresh_usable(const ti_refresh_policy_t *policy,
    const ti_refresh_t *state);


#endif /* TI_REFRESH_H */
