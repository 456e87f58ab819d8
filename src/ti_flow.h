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
 * TI_RESULT_OK fills *access, *gen and *cid, borrowed from the reply.
 * TI_RESULT_CONNECTION_REQUIRED: nothing there.
 * TI_RESULT_RECONNECT_REQUIRED: something that is not as specified.
 * TI_RESULT_STORE_UNAVAILABLE: the store refused.
 */

typedef struct {
    ti_str_t  access;
    ti_str_t  cid;
    uint64_t  gen;
} ti_flow_connection_t;

ti_result_t ti_flow_connection(const ti_resp_reply_t *fields,
    const ti_resp_reply_t *hlen, ti_flow_connection_t *connection,
    const char **why);


/* A record that opened: use it, or not. */

ti_result_t ti_flow_record(const ti_record_t *record, int64_t now,
    const char **why);


#endif /* TI_FLOW_H */
