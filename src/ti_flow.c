/*
 * Floor 4: decisions.
 */

#include "ti_flow.h"


/* What an error reply begins with, what it means here, and what to do. */

typedef struct {
    ti_str_t      prefix;
    ti_result_t   result;
    const char   *why;
} ti_flow_refusal_t;


static ti_result_t ti_flow_refused(const ti_resp_reply_t *reply,
    const char **why);
static ti_result_t ti_flow_odd(const char **why);
static ti_result_t ti_flow_fields(ti_resp_reply_t *const *fields,
    ti_flow_connection_t *connection, const char **why);
static uint64_t ti_flow_gen(ti_str_t text);
static uint64_t ti_flow_mix(ti_str_t cid, uint64_t gen);
static int ti_flow_text(const ti_resp_reply_t *reply);
static int ti_flow_begins(ti_str_t s, ti_str_t prefix);


static const ti_flow_refusal_t  ti_flow_refusals[] = {

    { ti_string("WRONGTYPE"), TI_RESULT_RECONNECT_REQUIRED,
      "the connection's name holds another type: something else writes "
      "under key_prefix" },

    { ti_string("LOADING"), TI_RESULT_STORE_UNAVAILABLE,
      "the store is still reading its data: wait" },

    { ti_string("MASTERDOWN"), TI_RESULT_STORE_UNAVAILABLE,
      "the store is a replica that lost its primary: name the primary as "
      "\"server\", or bring it back" },

    { ti_string("READONLY"), TI_RESULT_STORE_UNAVAILABLE,
      "the store is a replica: name the primary as \"server\"" },

    { ti_string("OOM"), TI_RESULT_STORE_UNAVAILABLE,
      "the store is out of memory: raise its maxmemory" },

    { ti_string("NOAUTH"), TI_RESULT_STORE_UNAVAILABLE,
      "the store wants to know who we are: set \"user\" and "
      "\"password_file\"" },

    { ti_string("WRONGPASS"), TI_RESULT_STORE_UNAVAILABLE,
      "the store does not know this user or password: check \"user\" and "
      "\"password_file\"" },

    { ti_string("NOPERM"), TI_RESULT_STORE_UNAVAILABLE,
      "the store's ACL forbids it: give \"user\" the commands and the "
      "key_prefix that the operations page lists" },

    { ti_string("MOVED"), TI_RESULT_STORE_UNAVAILABLE,
      "the store is a node of a cluster: set \"topology\"" },

    { ti_string("CLUSTERDOWN"), TI_RESULT_STORE_UNAVAILABLE,
      "the store's cluster is down: look at its nodes" },

    { ti_string("BUSY"), TI_RESULT_STORE_UNAVAILABLE,
      "the store is busy with a script: wait, or SCRIPT KILL" },

    { ti_string("ERR max number of clients"), TI_RESULT_STORE_UNAVAILABLE,
      "the store has no connection left: raise its maxclients" }
};


/*
 * A head from the future (a clock was set back) is confirmed rather than
 * believed.
 */

ti_flow_t
ti_flow_admission(const ti_admission_t *head, int64_t now,
    int64_t local_valid)
{
    if (now >= head->caller_expires) {
        return TI_FLOW_DISCARD;
    }

    if (head->gen == 0 || now >= head->token_expires) {
        return TI_FLOW_READ;
    }

    if (head->confirmed <= now && now - head->confirmed < local_valid) {
        return TI_FLOW_USE;
    }

    return TI_FLOW_CONFIRM;
}


/*
 * Whatever else the store says, errors included, is said again and judged
 * where the connection is read.
 */

ti_flow_t
ti_flow_confirm(const ti_admission_t *head, const ti_resp_reply_t *gen_cid)
{
    uint64_t                gen;
    const ti_resp_reply_t  *first, *second;

    if (gen_cid->type != TI_RESP_ARRAY || gen_cid->n != 2) {
        return TI_FLOW_READ;
    }

    first = gen_cid->elements[0];
    second = gen_cid->elements[1];

    if (!ti_flow_text(first) || !ti_flow_text(second)
        || ti_decimal_parse(first->str, TI_RECORD_GEN_MAX, &gen) != TI_OK
        || gen != head->gen || !ti_str_eq(second->str, head->cid))
    {
        return TI_FLOW_READ;
    }

    return TI_FLOW_USE;
}


ti_result_t
ti_flow_connection(const ti_resp_reply_t *fields, const ti_resp_reply_t *hlen,
    ti_flow_connection_t *connection, const char **why)
{
    connection->seen = 0;

    if (fields->type == TI_RESP_ERROR) {
        return ti_flow_refused(fields, why);
    }

    if (hlen->type == TI_RESP_ERROR) {
        return ti_flow_refused(hlen, why);
    }

    if (fields->type != TI_RESP_ARRAY || fields->n != 3
        || hlen->type != TI_RESP_INTEGER || hlen->integer < 0)
    {
        return ti_flow_odd(why);
    }

    if (hlen->integer == 0) {
        *why = "no such connection";
        return TI_RESULT_CONNECTION_REQUIRED;
    }

    return ti_flow_fields(fields->elements, connection, why);
}


static ti_result_t
ti_flow_fields(ti_resp_reply_t *const *fields,
    ti_flow_connection_t *connection, const char **why)
{
    size_t  i;

    for (i = 0; i < 3; i++) {
        if (!ti_flow_text(fields[i]) && fields[i]->type != TI_RESP_NIL) {
            return ti_flow_odd(why);
        }
    }

    if (ti_flow_text(fields[1])) {
        connection->seen = ti_flow_gen(fields[1]->str);
    }

    if (!ti_flow_text(fields[0])) {
        *why = "the connection has no \"access\"";
        return TI_RESULT_RECONNECT_REQUIRED;
    }

    if (connection->seen == 0) {
        *why = "the connection's \"gen\" is not as specified";
        return TI_RESULT_RECONNECT_REQUIRED;
    }

    if (!ti_flow_text(fields[2]) || !ti_record_cid_valid(fields[2]->str)) {
        *why = "the connection's \"cid\" is not as specified";
        return TI_RESULT_RECONNECT_REQUIRED;
    }

    connection->access = fields[0]->str;
    connection->gen = connection->seen;
    connection->cid = fields[2]->str;

    return TI_RESULT_OK;
}


ti_result_t
ti_flow_record(const ti_record_t *record, int64_t now, const char **why)
{
    if (now >= record->expires) {
        *why = "the access token has expired";
        return TI_RESULT_RECONNECT_REQUIRED;
    }

    return TI_RESULT_OK;
}


int64_t
ti_flow_due(int64_t issued, int64_t expires, int64_t ahead, ti_str_t cid,
    uint64_t gen)
{
    int64_t   life, window, least, due;
    uint64_t  spread;

    life = (issued > 0 && issued < expires) ? expires - issued
                                            : TI_RECORD_LIFE;

    if (ahead <= 0 || life < 2) {
        return expires;
    }

    window = life / 4;

    if (window > ahead) {
        window = ahead;
    }

    if (window < 1) {
        window = 1;
    }

    least = (window + 1) / 2;
    spread = (uint64_t) (window - least + 1);

    due = expires - least - (int64_t) (ti_flow_mix(cid, gen) % spread);

    return due < 0 ? 0 : due;
}


/*
 * A gen or a cid that is another says that somebody was faster, a name with
 * nothing behind it that the user, or time, took the connection away: what
 * that means is told by who looks again.
 */

ti_flow_renewal_t
ti_flow_renewal(const ti_flow_stored_t *stored, const ti_flow_seen_t *seen,
    const char **why)
{
    if (!stored->exists) {
        return seen->anew && seen->gen == 0 ? TI_FLOW_RENEW : TI_FLOW_RENEWED;
    }

    if (ti_flow_gen(stored->gen) != seen->gen
        || (seen->cid.len != 0 && !ti_str_eq(stored->cid, seen->cid)))
    {
        return TI_FLOW_RENEWED;
    }

    if (seen->anew) {
        return TI_FLOW_RENEW;
    }

    if (ti_str_eq(stored->state, ti_str("reconnect"))) {
        *why = "the provider has ended the grant";
        return TI_FLOW_ENDED;
    }

    if (!stored->refresh) {
        *why = "there is nothing to renew the access token with";
        return TI_FLOW_ENDED;
    }

    return TI_FLOW_RENEW;
}


static ti_result_t
ti_flow_refused(const ti_resp_reply_t *reply, const char **why)
{
    size_t                    i, n;
    const ti_flow_refusal_t  *refusal;

    n = sizeof(ti_flow_refusals) / sizeof(ti_flow_refusals[0]);

    for (i = 0; i < n; i++) {
        refusal = &ti_flow_refusals[i];

        if (ti_flow_begins(reply->str, refusal->prefix)) {
            *why = refusal->why;
            return refusal->result;
        }
    }

    *why = "the store refused a command: look at its log";

    return TI_RESULT_STORE_UNAVAILABLE;
}


static ti_result_t
ti_flow_odd(const char **why)
{
    *why = "the store's reply is not one to what was asked: is it Redis?";

    return TI_RESULT_STORE_UNAVAILABLE;
}


/* a gen as it is written, 0 where it is none */

static uint64_t
ti_flow_gen(ti_str_t text)
{
    uint64_t  gen;

    return ti_decimal_parse(text, TI_RECORD_GEN_MAX, &gen) == TI_OK ? gen : 0;
}


/*
 * FNV-1a, and its bits stirred: without it close gens would be close in time.
 * Nothing depends on it but when.
 */

static uint64_t
ti_flow_mix(ti_str_t cid, uint64_t gen)
{
    size_t         i;
    uint64_t       h;
    unsigned char  bytes[8];

    h = UINT64_C(0xcbf29ce484222325);

    for (i = 0; i < cid.len; i++) {
        h = (h ^ cid.data[i]) * UINT64_C(0x100000001b3);
    }

    ti_put_u64(bytes, gen);

    for (i = 0; i < sizeof(bytes); i++) {
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    }

    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);

    return h ^ (h >> 32);
}


static int
ti_flow_text(const ti_resp_reply_t *reply)
{
    return reply->type == TI_RESP_STRING;
}


/* the word itself, not a longer one that begins like it */

static int
ti_flow_begins(ti_str_t s, ti_str_t prefix)
{
    return s.len >= prefix.len
           && ti_str_eq(ti_str_from(s.data, prefix.len), prefix)
           && (s.len == prefix.len || s.data[prefix.len] == ' ');
}
