/*
 * Floor 4: pure decisions.  Given what the store said, what is remembered,
 * a clock and a policy: what to do next.
 */

#ifndef TI_FLOW_H
#define TI_FLOW_H

#include "ti_admission.h"
#include "ti_resp.h"


/*
 * What to do with an admission that opened.
 */

typedef enum {
    TI_FLOW_USE,                            /* as it is, no store */
    TI_FLOW_CONFIRM,                        /* ask the store for gen and cid */
    TI_FLOW_READ,                           /* who still stands; read again */
    TI_FLOW_DISCARD                         /* begin anew */
} ti_flow_t;

/*
 * local_valid: seconds that a node may act on what it knows, 0 for never.
 * The caller's token past its end: DISCARD, and the token will be judged
 * expired by who knows how.  The third party's token past its end: READ.
 */
ti_flow_t ti_flow_admission(const ti_admission_t *head, int64_t now,
    int64_t local_valid);


/* The reply to HMGET <connection> gen cid: is it still this one? */

ti_flow_t ti_flow_confirm(const ti_admission_t *head,
    const ti_resp_reply_t *gen_cid);


/*
 * The replies to HMGET <connection> access gen cid and HLEN <connection>.
 * TI_RESULT_OK fills access, gen and cid, borrowed from the reply.  Whatever
 * the result, seen is the gen that is there, 0 where it is none: what has to
 * be there still when the connection is renewed.
 * TI_RESULT_CONNECTION_REQUIRED: nothing there.
 * TI_RESULT_RECONNECT_REQUIRED: something that is not as specified.
 * TI_RESULT_STORE_UNAVAILABLE: the store refused.
 */

typedef struct {
    ti_str_t  access;
    ti_str_t  cid;
    uint64_t  gen;
    uint64_t  seen;
} ti_flow_connection_t;

ti_result_t ti_flow_connection(const ti_resp_reply_t *fields,
    const ti_resp_reply_t *hlen, ti_flow_connection_t *connection,
    const char **why);


/* A record that opened: use it, or not. */

ti_result_t ti_flow_record(const ti_record_t *record, int64_t now,
    const char **why);


/*
 * When a token is to be renewed that ends at expires: that less a half to the
 * whole of a window, by cid and gen alike on every node, so that what was
 * granted together does not come back together.  The window is ahead seconds,
 * but at most a quarter of the token's life and at least one second; a life
 * that is not known (issued is 0, or not before expires) is taken for
 * TI_RECORD_LIFE.  ahead 0: expires.  Never before 0.
 */

int64_t ti_flow_due(int64_t issued, int64_t expires, int64_t ahead,
    ti_str_t cid, uint64_t gen);


/*
 * Who is to renew a connection holds the lock and looks what is there: the
 * fields as found, without data where they are not there.
 */

typedef enum {
    TI_FLOW_RENEW,
    TI_FLOW_RENEWED,                        /* another did: look again */
    TI_FLOW_ENDED                           /* reconnect-required */
} ti_flow_renewal_t;

typedef struct {
    ti_str_t  gen;
    ti_str_t  cid;
    ti_str_t  state;
    unsigned  exists:1;                     /* a hash of that name */
    unsigned  refresh:1;                    /* it has a refresh token */
} ti_flow_stored_t;

/* What the token was found wanting of, and how another is had. */

typedef struct {
    uint64_t  gen;                          /* "seen" above */
    ti_str_t  cid;                          /* empty: unknown */
    unsigned  anew:1;                       /* by a grant that needs nothing
                                               of what is stored */
} ti_flow_seen_t;

/* *why, a static phrase, is set with TI_FLOW_ENDED */
ti_flow_renewal_t ti_flow_renewal(const ti_flow_stored_t *stored,
    const ti_flow_seen_t *seen, const char **why);


#endif /* TI_FLOW_H */
