/*
 * Decisions: what is remembered, what the store said, what a record says.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ti_flow.h"


#define CID  "AAECAwQFBgcICQoLDA0ODw"


/* --- admissions ----------------------------------------------------------- */

static void
admissions(void **state)
{
    size_t          i;
    ti_admission_t  head;

    static const struct {
        uint64_t   gen;
        int64_t    caller_expires;
        int64_t    token_expires;
        int64_t    confirmed;
        int64_t    local_valid;
        ti_flow_t  flow;
    } cases[] = {
        /* now is 1000 */
        { 1, 2000, 2000, 1000, 10, TI_FLOW_USE },
        { 1, 2000, 2000, 991, 10, TI_FLOW_USE },
        { 1, 2000, 2000, 990, 10, TI_FLOW_CONFIRM },
        { 1, 2000, 2000, 0, 10, TI_FLOW_CONFIRM },
        { 1, 2000, 2000, 1000, 0, TI_FLOW_CONFIRM },
        { 1, 2000, 2000, 1001, 10, TI_FLOW_CONFIRM },
        { 1, 2000, 2000, INT64_MAX, 10, TI_FLOW_CONFIRM },
        { 1, 2000, 2000, 0, INT64_MAX, TI_FLOW_USE },

        { 1, 1001, 1001, 1000, 10, TI_FLOW_USE },
        { 1, 2000, 1000, 1000, 10, TI_FLOW_READ },
        { 1, 2000, 0, 1000, 10, TI_FLOW_READ },
        { 0, 2000, 2000, 1000, 10, TI_FLOW_READ },
        { 0, 2000, 0, 1000, 0, TI_FLOW_READ },

        { 1, 1000, 2000, 1000, 10, TI_FLOW_DISCARD },
        { 1, 999, 999, 1000, 10, TI_FLOW_DISCARD },
        { 0, 0, 0, 0, 0, TI_FLOW_DISCARD }
    };

    memset(&head, 0, sizeof(head));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        head.gen = cases[i].gen;
        head.caller_expires = cases[i].caller_expires;
        head.token_expires = cases[i].token_expires;
        head.confirmed = cases[i].confirmed;

        if (ti_flow_admission(&head, 1000, cases[i].local_valid)
            != cases[i].flow)
        {
            fail_msg("cases[%zu]", i);
        }
    }
}


/* --- replies, as ti_resp reads them off the wire -------------------------- */

static ti_resp_reader_t  *reader;


static void
feed(const char *bytes)
{
    const char  *why;

    ti_resp_reader_free(reader);
    reader = ti_resp_reader_create(128 * 1024);
    assert_non_null(reader);
    assert_int_equal(ti_resp_reader_feed(reader, ti_str_cstr(bytes), &why),
                     TI_OK);
}


static const ti_resp_reply_t *
next(void)
{
    const char             *why;
    const ti_resp_reply_t  *reply;

    assert_int_equal(ti_resp_reader_next(reader, &reply, &why), TI_OK);
    assert_non_null(reply);

    return reply;
}


static int
tear_down(void **state)
{
    ti_resp_reader_free(reader);
    reader = NULL;

    return 0;
}


static void
confirmations(void **state)
{
    size_t          i;
    ti_admission_t  head;

    static const struct {
        const char  *bytes;
        ti_flow_t    flow;
    } cases[] = {
        { "*2\r\n$1\r\n7\r\n$22\r\n" CID "\r\n", TI_FLOW_USE },
        { "*2\r\n$1\r\n8\r\n$22\r\n" CID "\r\n", TI_FLOW_READ },
        { "*2\r\n$2\r\n07\r\n$22\r\n" CID "\r\n", TI_FLOW_READ },
        { "*2\r\n$2\r\n+7\r\n$22\r\n" CID "\r\n", TI_FLOW_READ },
        { "*2\r\n$1\r\n7\r\n$22\r\nAQECAwQFBgcICQoLDA0ODw\r\n",
          TI_FLOW_READ },
        { "*2\r\n$1\r\n7\r\n$21\r\nAAECAwQFBgcICQoLDA0OD\r\n", TI_FLOW_READ },
        { "*2\r\n$-1\r\n$-1\r\n", TI_FLOW_READ },
        { "*2\r\n$1\r\n7\r\n$-1\r\n", TI_FLOW_READ },
        { "*2\r\n$-1\r\n$22\r\n" CID "\r\n", TI_FLOW_READ },
        { "*2\r\n:7\r\n$22\r\n" CID "\r\n", TI_FLOW_READ },
        { "*2\r\n$1\r\n7\r\n+" CID "\r\n", TI_FLOW_READ },
        { "*1\r\n$1\r\n7\r\n", TI_FLOW_READ },
        { "*3\r\n$1\r\n7\r\n$22\r\n" CID "\r\n$-1\r\n", TI_FLOW_READ },
        { "*0\r\n", TI_FLOW_READ },
        { "+OK\r\n", TI_FLOW_READ },
        { "$-1\r\n", TI_FLOW_READ },
        { "-LOADING x\r\n", TI_FLOW_READ }
    };

    memset(&head, 0, sizeof(head));
    head.gen = 7;
    head.cid = ti_str(CID);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        feed(cases[i].bytes);

        if (ti_flow_confirm(&head, next()) != cases[i].flow) {
            fail_msg("%s", cases[i].bytes);
        }
    }
}


/*
 * The reader's reply is good until its next, so the second one has a reader
 * of its own.
 */

static ti_result_t
connection(const char *fields, const char *hlen, ti_flow_connection_t *c,
    const char **why)
{
    ti_result_t             result;
    ti_resp_reader_t       *first;
    const ti_resp_reply_t  *a, *b;

    *why = NULL;

    feed(fields);
    a = next();
    first = reader;
    reader = NULL;

    feed(hlen);
    b = next();

    result = ti_flow_connection(a, b, c, why);

    if (result == TI_RESULT_OK) {
        assert_true(ti_str_eq(c->access, ti_str("a.b.c.d.e")));
        assert_true(ti_str_eq(c->cid, ti_str(CID)));
    }

    ti_resp_reader_free(first);

    return result;
}


#define ACCESS  "$9\r\na.b.c.d.e\r\n"
#define GEN     "$1\r\n7\r\n"
#define CIDS    "$22\r\n" CID "\r\n"
#define NIL     "$-1\r\n"

#define RECONNECT  TI_RESULT_RECONNECT_REQUIRED
#define AWAY       TI_RESULT_STORE_UNAVAILABLE


static void
connections(void **state)
{
    size_t                 i;
    const char            *why;
    ti_flow_connection_t   c;

    static const struct {
        const char   *fields;
        const char   *hlen;
        ti_result_t   result;
    } cases[] = {
        { "*3\r\n" ACCESS GEN CIDS, ":3\r\n", TI_RESULT_OK },
        { "*3\r\n" ACCESS "$16\r\n9007199254740991\r\n" CIDS, ":7\r\n",
          TI_RESULT_OK },

        { "*3\r\n" NIL NIL NIL, ":0\r\n", TI_RESULT_CONNECTION_REQUIRED },
        { "*3\r\n" ACCESS GEN CIDS, ":0\r\n", TI_RESULT_CONNECTION_REQUIRED },

        { "*3\r\n" NIL NIL NIL, ":1\r\n", RECONNECT },
        { "*3\r\n" NIL GEN CIDS, ":2\r\n", RECONNECT },
        { "*3\r\n" ACCESS NIL CIDS, ":2\r\n", RECONNECT },
        { "*3\r\n" ACCESS GEN NIL, ":2\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$1\r\n0\r\n" CIDS, ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$2\r\n07\r\n" CIDS, ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$2\r\n-7\r\n" CIDS, ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$2\r\n7 \r\n" CIDS, ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$3\r\n7.0\r\n" CIDS, ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$0\r\n\r\n" CIDS, ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS "$16\r\n9007199254740992\r\n" CIDS, ":3\r\n",
          RECONNECT },
        { "*3\r\n" ACCESS "$20\r\n18446744073709551617\r\n" CIDS, ":3\r\n",
          RECONNECT },
        { "*3\r\n" ACCESS GEN "$0\r\n\r\n", ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS GEN "$21\r\nAAECAwQFBgcICQoLDA0OD\r\n", ":3\r\n",
          RECONNECT },
        { "*3\r\n" ACCESS GEN "$23\r\n" CID "A\r\n", ":3\r\n", RECONNECT },
        { "*3\r\n" ACCESS GEN "$22\r\nAAECAwQFBgcICQoLDA0ODx\r\n", ":3\r\n",
          RECONNECT },
        { "*3\r\n" ACCESS GEN "$22\r\nAAECAwQFBgcICQoLDA0O=w\r\n", ":3\r\n",
          RECONNECT },

        { "-WRONGTYPE Operation\r\n", "-WRONGTYPE Operation\r\n", RECONNECT },
        { "*3\r\n" NIL NIL NIL, "-WRONGTYPE Operation\r\n", RECONNECT },
        { "-WRONGTYPES\r\n", ":0\r\n", AWAY },

        { "*2\r\n" ACCESS GEN, ":3\r\n", AWAY },
        { "*4\r\n" ACCESS GEN CIDS NIL, ":3\r\n", AWAY },
        { "*3\r\n" ACCESS ":7\r\n" CIDS, ":3\r\n", AWAY },
        { "*3\r\n" ACCESS GEN "*0\r\n", ":3\r\n", AWAY },
        { "*3\r\n+x\r\n" GEN CIDS, ":3\r\n", AWAY },
        { "*3\r\n-x\r\n" GEN CIDS, ":3\r\n", AWAY },
        { "+OK\r\n", ":3\r\n", AWAY },
        { ":3\r\n", ":3\r\n", AWAY },
        { NIL, ":0\r\n", AWAY },
        { "*-1\r\n", ":0\r\n", AWAY },
        { "*3\r\n" ACCESS GEN CIDS, "$1\r\n3\r\n", AWAY },
        { "*3\r\n" ACCESS GEN CIDS, "+OK\r\n", AWAY },
        { "*3\r\n" ACCESS GEN CIDS, ":-1\r\n", AWAY },
        { "*3\r\n" NIL NIL NIL, NIL, AWAY }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (connection(cases[i].fields, cases[i].hlen, &c, &why)
            != cases[i].result)
        {
            fail_msg("%s %s", cases[i].fields, cases[i].hlen);
        }

        if (cases[i].result != TI_RESULT_OK) {
            assert_non_null(why);
        }
    }

    assert_int_equal(connection(cases[1].fields, ":3\r\n", &c, &why),
                     TI_RESULT_OK);
    assert_int_equal(c.gen, TI_RECORD_GEN_MAX);
}


/* What has to be there still when it is renewed, broken as it may be. */

static void
gens_seen(void **state)
{
    size_t                 i;
    const char            *why;
    ti_flow_connection_t   c;

    static const struct {
        const char  *fields;
        const char  *hlen;
        uint64_t     seen;
    } cases[] = {
        { "*3\r\n" ACCESS GEN CIDS, ":3\r\n", 7 },
        { "*3\r\n" NIL GEN CIDS, ":2\r\n", 7 },
        { "*3\r\n" ACCESS GEN NIL, ":2\r\n", 7 },
        { "*3\r\n" NIL GEN NIL, ":1\r\n", 7 },
        { "*3\r\n" ACCESS GEN "$1\r\nA\r\n", ":3\r\n", 7 },
        { "*3\r\n" ACCESS NIL CIDS, ":3\r\n", 0 },
        { "*3\r\n" ACCESS "$2\r\n07\r\n" CIDS, ":3\r\n", 0 },
        { "*3\r\n" NIL NIL NIL, ":0\r\n", 0 },
        { "-WRONGTYPE Operation\r\n", "-WRONGTYPE Operation\r\n", 0 },
        { "-LOADING\r\n", ":0\r\n", 0 },
        { "+OK\r\n", ":3\r\n", 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c.seen = 99;
        (void) connection(cases[i].fields, cases[i].hlen, &c, &why);

        if (c.seen != cases[i].seen) {
            fail_msg("%s %s", cases[i].fields, cases[i].hlen);
        }
    }
}


/* Each says what to do, whichever of the two commands it came for. */

static void
refusals(void **state)
{
    char                   error[128];
    size_t                 i;
    const char            *why;
    ti_flow_connection_t   c;

    static const struct {
        const char  *error;
        const char  *advice;
    } cases[] = {
        { "LOADING Redis is loading the dataset in memory", "wait" },
        { "MASTERDOWN Link with MASTER is down", "primary" },
        { "READONLY You can't write against a read only replica.",
          "primary" },
        { "OOM command not allowed when used memory > 'maxmemory'.",
          "maxmemory" },
        { "NOAUTH Authentication required.", "password_file" },
        { "WRONGPASS invalid username-password pair", "password_file" },
        { "NOPERM this user has no permissions", "ACL" },
        { "MOVED 3999 127.0.0.1:6381", "topology" },
        { "CLUSTERDOWN Hash slot not served", "cluster" },
        { "BUSY Redis is busy running a script.", "script" },
        { "ERR max number of clients reached", "maxclients" },
        { "ERR unknown command", "log" },
        { "NOAUTHORITY", "log" },
        { "loading", "log" },
        { "", "log" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(error, sizeof(error), "-%s\r\n", cases[i].error);

        assert_int_equal(connection(error, ":0\r\n", &c, &why), AWAY);
        assert_non_null(strstr(why, cases[i].advice));

        assert_int_equal(connection("*3\r\n" ACCESS GEN CIDS, error, &c, &why),
                         AWAY);
        assert_non_null(strstr(why, cases[i].advice));
    }
}


static void
records(void **state)
{
    const char   *why;
    ti_record_t   record;

    memset(&record, 0, sizeof(record));
    record.expires = 1000;

    assert_int_equal(ti_flow_record(&record, 999, &why), TI_RESULT_OK);
    assert_int_equal(ti_flow_record(&record, 1000, &why), RECONNECT);
    assert_non_null(strstr(why, "expired"));
    assert_int_equal(ti_flow_record(&record, INT64_MAX, &why), RECONNECT);
}


/* --- renewal -------------------------------------------------------------- */

#define OTHER_CID  "AQECAwQFBgcICQoLDA0ODw"


/* Within its bounds for any gen, and both of them reached. */

static void
due(void **state)
{
    int64_t   t, first, last;
    size_t    i;
    uint64_t  gen;

    static const struct {
        int64_t  issued;
        int64_t  expires;
        int64_t  ahead;
        int64_t  first;
        int64_t  last;
    } cases[] = {
        /* the window is what was asked for */
        { 10000, 13600, 300, 13300, 13450 },
        /* a quarter of the life */
        { 10000, 10400, 300, 10300, 10350 },
        { 10000, 10003, 300, 10002, 10002 },
        { 10000, 10002, 300, 10001, 10001 },
        { 10000, 10005, 300, 10004, 10004 },
        { 10000, 10012, 300, 10009, 10010 },
        { 10000, 10001, 300, 10001, 10001 },
        { 10000, 13600, 1, 13599, 13599 },
        { 10000, 13600, 2, 13598, 13599 },
        /* not told, or nonsense: an hour */
        { 0, 13600, 3000, 12700, 13150 },
        { 13600, 13600, 3000, 12700, 13150 },
        { 13601, 13600, 3000, 12700, 13150 },
        { -5, 13600, 3000, 12700, 13150 },
        /* not ahead */
        { 10000, 13600, 0, 13600, 13600 },
        { 0, 13600, 0, 13600, 13600 },
        /* never before 0 */
        { 0, 100, 3000, 0, 0 },
        { 1, TI_RECORD_GEN_MAX, INT64_MAX,
          TI_RECORD_GEN_MAX - (TI_RECORD_GEN_MAX - 1) / 4,
          TI_RECORD_GEN_MAX - (TI_RECORD_GEN_MAX - 1) / 8 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        first = INT64_MAX;
        last = INT64_MIN;

        for (gen = 1; gen < 3000; gen++) {
            t = ti_flow_due(cases[i].issued, cases[i].expires, cases[i].ahead,
                            ti_str(CID), gen);
            first = t < first ? t : first;
            last = t > last ? t : last;
        }

        if (first < cases[i].first || last > cases[i].last
            || (cases[i].last - cases[i].first <= 450
                && (first != cases[i].first || last != cases[i].last)))
        {
            fail_msg("cases[%zu]: %lld to %lld", i, (long long) first,
                     (long long) last);
        }
    }
}


/* The same everywhere; what was granted at once is spread over the window. */

static void
due_is_spread(void **state)
{
    char      cid[] = CID;
    int64_t   t;
    size_t    i, slot[10];

    memset(slot, 0, sizeof(slot));

    for (i = 0; i < 10000; i++) {
        snprintf(cid, sizeof(cid), "%022zu", i);
        t = ti_flow_due(10000, 13600, 300, ti_str_cstr(cid), 1);
        assert_int_equal(t, ti_flow_due(10000, 13600, 300, ti_str_cstr(cid),
                                        1));
        assert_in_range(t, 13300, 13450);
        slot[(t - 13300) * 10 / 151]++;
    }

    for (i = 0; i < 10; i++) {
        assert_in_range(slot[i], 800, 1200);
    }

    assert_int_not_equal(ti_flow_due(1, 3600, 900, ti_str(CID), 7),
                         ti_flow_due(1, 3600, 900, ti_str(OTHER_CID), 7));
    assert_int_not_equal(ti_flow_due(1, 3600, 900, ti_str(CID), 7),
                         ti_flow_due(1, 3600, 900, ti_str(CID), 8));
}


#define STORED(gen, cid, state, refresh)                                      \
    { ti_string(gen), ti_string(cid), ti_string(state), 1, refresh }
#define GONE  { { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, 0, 0 }
#define BARE  { { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, 1, 0 }

#define SEEN(gen, cid, anew)  { gen, ti_string(cid), anew }


static void
renewals(void **state)
{
    size_t       i;
    const char  *why;

    static const struct {
        ti_flow_stored_t    stored;
        ti_flow_seen_t      seen;
        ti_flow_renewal_t   next;
        const char         *why;
    } cases[] = {
        { STORED("7", CID, "connected", 1), SEEN(7, CID, 0),
          TI_FLOW_RENEW, NULL },
        { STORED("7", CID, "", 1), SEEN(7, CID, 0), TI_FLOW_RENEW, NULL },
        { STORED("7", CID, "connected", 1), SEEN(7, "", 0),
          TI_FLOW_RENEW, NULL },

        { STORED("8", CID, "connected", 1), SEEN(7, CID, 0),
          TI_FLOW_RENEWED, NULL },
        { STORED("6", CID, "connected", 1), SEEN(7, CID, 0),
          TI_FLOW_RENEWED, NULL },
        { STORED("8", CID, "reconnect", 0), SEEN(7, CID, 0),
          TI_FLOW_RENEWED, NULL },
        { STORED("8", CID, "connected", 1), SEEN(7, CID, 1),
          TI_FLOW_RENEWED, NULL },
        { STORED("7", OTHER_CID, "connected", 1), SEEN(7, CID, 0),
          TI_FLOW_RENEWED, NULL },
        { STORED("7", OTHER_CID, "connected", 1), SEEN(7, CID, 1),
          TI_FLOW_RENEWED, NULL },
        { STORED("07", CID, "connected", 1), SEEN(7, CID, 0),
          TI_FLOW_RENEWED, NULL },

        { STORED("7", CID, "reconnect", 1), SEEN(7, CID, 0),
          TI_FLOW_ENDED, "ended" },
        { STORED("7", CID, "connected", 0), SEEN(7, CID, 0),
          TI_FLOW_ENDED, "nothing" },
        { STORED("7", CID, "reconnect", 0), SEEN(7, CID, 1),
          TI_FLOW_RENEW, NULL },

        { STORED("x", CID, "connected", 0), SEEN(0, "", 1),
          TI_FLOW_RENEW, NULL },
        { STORED("9007199254740992", CID, "connected", 0), SEEN(0, "", 1),
          TI_FLOW_RENEW, NULL },
        { BARE, SEEN(0, "", 1), TI_FLOW_RENEW, NULL },
        { BARE, SEEN(7, CID, 1), TI_FLOW_RENEWED, NULL },
        { BARE, SEEN(0, "", 0), TI_FLOW_ENDED, "nothing" },

        { GONE, SEEN(7, CID, 0), TI_FLOW_RENEWED, NULL },
        { GONE, SEEN(7, CID, 1), TI_FLOW_RENEWED, NULL },
        { GONE, SEEN(0, "", 0), TI_FLOW_RENEWED, NULL },
        { GONE, SEEN(0, "", 1), TI_FLOW_RENEW, NULL }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        why = "";

        if (ti_flow_renewal(&cases[i].stored, &cases[i].seen, &why)
            != cases[i].next)
        {
            fail_msg("cases[%zu]", i);
        }

        if (cases[i].why != NULL) {
            assert_non_null(strstr(why, cases[i].why));
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(admissions),
        cmocka_unit_test_teardown(confirmations, tear_down),
        cmocka_unit_test_teardown(connections, tear_down),
        cmocka_unit_test_teardown(gens_seen, tear_down),
        cmocka_unit_test_teardown(refusals, tear_down),
        cmocka_unit_test(records),
        cmocka_unit_test(due),
        cmocka_unit_test(due_is_spread),
        cmocka_unit_test(renewals)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
