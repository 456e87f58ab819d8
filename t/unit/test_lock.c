/*
 * The lock of a renewal: its commands, its replies, its notes.  What the
 * scripts do is for a test that has a Redis.
 */

#include "record_fixture.h"
#include "ti_lock.h"


#define NAME     "ti:{AAAAAAAAAAAAAAAAAAAAAA}:l:outlook:-"
#define HELD     "~3:provider-throttled:7"


static size_t    argc;
static ti_str_t  argv[TI_LOCK_ARGS];


static ti_lock_t
lock_of(void)
{
    ti_lock_t  lock;

    lock.name = ti_str(NAME);
    lock.channel = ti_str("ti:changes");
    lock.owner = ti_str("AAECAwQFBgcICQoLDA0ODw");
    lock.gen = 7;
    lock.lease = 15000;

    return lock;
}


/* The arguments behind the script, one after the other. */

static void
sent(const char *expected)
{
    char    text[512];
    size_t  i, n;

    assert_true(argc <= TI_LOCK_ARGS);
    assert_true(ti_str_eq(argv[0], ti_str("EVAL")));

    for (i = 2, n = 0; i < argc; i++) {
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%.*s ",
                               (int) argv[i].len, argv[i].data);
    }

    assert_string_equal(text, expected);
}


#define HEAD  "1 " NAME " AAECAwQFBgcICQoLDA0ODw "

static void
commands(void **state)
{
    size_t             left;
    ti_lock_t          lock;
    unsigned char      owner[2][TI_LOCK_OWNER_LEN];
    ti_lock_failure_t  failure = { 4, 3, TI_RESULT_PROVIDER_UNAVAILABLE };

    lock = lock_of();

    assert_int_equal(ti_lock_take(&rm_pool, &lock, argv, &argc), TI_OK);
    sent(HEAD "15000 7 ti:changes ");

    assert_int_equal(ti_lock_renew(&rm_pool, &lock, argv, &argc), TI_OK);
    sent(HEAD "15000 ");

    ti_lock_release(&lock, argv, &argc);
    sent(HEAD);

    assert_int_equal(ti_lock_fail(&rm_pool, &lock, &failure, argv, &argc),
                     TI_OK);
    sent(HEAD "3 provider-unavailable 7 132 ");

    /* kept within what the reader takes */

    failure.wait = 0;
    failure.failures = 1000;
    assert_int_equal(ti_lock_fail(&rm_pool, &lock, &failure, argv, &argc),
                     TI_OK);
    sent(HEAD "99 provider-unavailable 7 129 ");

    failure.wait = INT64_MAX;
    assert_int_equal(ti_lock_fail(&rm_pool, &lock, &failure, argv, &argc),
                     TI_OK);
    sent(HEAD "99 provider-unavailable 7 86528 ");

    for (left = 0; left < 3; left++) {
        rm_arena.left = left;
        assert_int_equal(ti_lock_fail(&rm_pool, &lock, &failure, argv, &argc),
                         TI_ERROR);
        rm_arena.left = left / 2;
        assert_int_equal(ti_lock_take(&rm_pool, &lock, argv, &argc),
                         TI_ERROR);
        rm_arena.left = 0;
        assert_int_equal(ti_lock_renew(&rm_pool, &lock, argv, &argc),
                         TI_ERROR);
    }

    rm_reset();
    assert_int_equal(ti_lock_owner(&rm_random, owner[0]), TI_OK);
    assert_int_equal(ti_lock_owner(&rm_random, owner[1]), TI_OK);
    assert_memory_not_equal(owner[0], owner[1], TI_LOCK_OWNER_LEN);
    assert_true(ti_record_cid_valid(ti_str_from(owner[0],
                                                TI_LOCK_OWNER_LEN)));

    rm_random_left = 0;
    assert_int_equal(ti_lock_owner(&rm_random, owner[0]), TI_ERROR);
}


static void
replies(void **state)
{
    size_t                  i;
    ti_rc_t                 rc;
    const char             *why;
    ti_lock_taken_t         taken;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    static const struct {
        const char       *bytes;
        ti_rc_t           rc;
        ti_lock_taken_t   taken;
    } cases[] = {
        { "*2\r\n:1\r\n:0\r\n", TI_OK, { 1, 0, 0, TI_RESULT_OK } },
        { "*2\r\n:1\r\n:6\r\n", TI_OK, { 1, 6, 0, TI_RESULT_OK } },
        { "*1\r\n:0\r\n", TI_OK, { 0, 0, 0, TI_RESULT_OK } },
        { "*3\r\n:0\r\n:5\r\n$23\r\n" HELD "\r\n", TI_OK,
          { 0, 3, 1005, TI_RESULT_PROVIDER_THROTTLED } },
        { "*3\r\n:0\r\n:86400\r\n$4\r\n~new\r\n", TI_OK,
          { 0, 0, 87400, TI_RESULT_PROVIDER_UNAVAILABLE } },

        { "*3\r\n:0\r\n:86401\r\n$23\r\n" HELD "\r\n", TI_DECLINED,
          { 0, 0, 0, TI_RESULT_OK } },
        { "*3\r\n:0\r\n:-1\r\n$23\r\n" HELD "\r\n", TI_DECLINED,
          { 0, 0, 0, TI_RESULT_OK } },
        { "*3\r\n:1\r\n:5\r\n$23\r\n" HELD "\r\n", TI_DECLINED,
          { 0, 0, 0, TI_RESULT_OK } },
        { "*3\r\n:0\r\n:5\r\n:5\r\n", TI_DECLINED,
          { 0, 0, 0, TI_RESULT_OK } },
        { "*2\r\n:0\r\n:5\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "*2\r\n:1\r\n:-1\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "*2\r\n:1\r\n$1\r\n1\r\n", TI_DECLINED,
          { 0, 0, 0, TI_RESULT_OK } },
        { "*1\r\n:1\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "*1\r\n:2\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "*0\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { ":1\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "$1\r\n1\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "$-1\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "-OOM\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } },
        { "*1\r\n$1\r\n0\r\n", TI_DECLINED, { 0, 0, 0, TI_RESULT_OK } }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reader = ti_resp_reader_create(1024);
        assert_non_null(reader);
        assert_int_equal(ti_resp_reader_feed(reader,
                                             ti_str_cstr(cases[i].bytes),
                                             &why), TI_OK);
        assert_int_equal(ti_resp_reader_next(reader, &reply, &why), TI_OK);
        assert_non_null(reply);

        memset(&taken, 0xa5, sizeof(taken));
        rc = ti_lock_taken(reply, 1000, &taken);

        if (rc != cases[i].rc || taken.taken != cases[i].taken.taken
            || taken.failures != cases[i].taken.failures
            || taken.held_until != cases[i].taken.held_until
            || taken.result != cases[i].taken.result)
        {
            fail_msg("%s", cases[i].bytes);
        }

        ti_resp_reader_free(reader);
    }
}


static void
notes(void **state)
{
    size_t          i;
    ti_lock_note_t  note;

    static const char *const  bad[] = {
        "", "~", "~::", HELD " ", HELD ":", HELD ":1", " " HELD,
        "3:provider-throttled:7",
        "~3:provider-throttled",
        "~3:provider-throttled:",
        "~3:provider-throttled:07",
        "~3:provider-throttled:9007199254740992",
        "~100:provider-throttled:7",
        "~-3:provider-throttled:7", "~03:provider-throttled:7",
        "~3:ok:7", "~3::7", "~:provider-throttled:7",
        "~3:Provider-throttled:7",
        "~3:provider-throttle:7",
        "~1795286400:3:provider-throttled:7", "AAECAwQFBgcICQoLDA0ODw"
    };

    assert_int_equal(ti_lock_note_parse(ti_str(HELD), &note), TI_OK);
    assert_int_equal(note.failures, 3);
    assert_int_equal(note.result, TI_RESULT_PROVIDER_THROTTLED);
    assert_int_equal(note.gen, 7);

    assert_int_equal(ti_lock_note_parse(
                         ti_str("~99:internal-error:9007199254740991"),
                         &note), TI_OK);
    assert_int_equal(note.gen, TI_RECORD_GEN_MAX);
    assert_int_equal(note.result, TI_RESULT_INTERNAL_ERROR);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ti_lock_note_parse(ti_str_cstr(bad[i]), &note) != TI_DECLINED) {
            fail_msg("%s", bad[i]);
        }
    }
}


static void
backs_off(void **state)
{
    size_t  i;

    static const int64_t  waits[] = { 1, 1, 2, 4, 8, 16, 32, 64, 64, 64 };

    for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        assert_int_equal(ti_lock_backoff(i, 0), waits[i]);
        assert_int_equal(ti_lock_backoff(i, 10),
                         waits[i] < 10 ? 10 : waits[i]);
        assert_int_equal(ti_lock_backoff(i, 86400), 86400);
    }

    assert_int_equal(ti_lock_backoff(UINT64_MAX, 0), 64);
}


#define test(f)  cmocka_unit_test_teardown(f, clean)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(commands),
        test(replies),
        test(notes),
        test(backs_off)
    };

    return cmocka_run_group_tests_name("ti_lock", tests, set_up, tear_down);
}
