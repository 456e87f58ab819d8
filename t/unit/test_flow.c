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


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(admissions),
        cmocka_unit_test_teardown(confirmations, tear_down),
        cmocka_unit_test_teardown(connections, tear_down),
        cmocka_unit_test_teardown(refusals, tear_down),
        cmocka_unit_test(records)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
