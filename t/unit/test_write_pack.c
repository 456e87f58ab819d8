/*
 * Writes as bytes, and back: what comes out is what went in, and nothing else
 * goes in.
 */

#include "record_fixture.h"
#include "ti_write.h"


#define NOW     INT64_C(1795286400)
#define PREFIX  ti_str("ti:")
#define NAME    "ti:{AAAAAAAAAAAAAAAAAAAAAA}:c:outlook:BBBBBBBBBBBBBBBB"

/* where what is, of a write with everything */
enum {
    MAGIC = 2, KEY, BEFORE, CHANNEL, ENDS, ACCESS, REFRESH = ACCESS + 2,
    PREVIOUS = REFRESH + 2, ACCOUNT = PREVIOUS + 2, SCOPE = ACCOUNT + 2,
    CID = SCOPE + 2, STATE = CID + 2, GEN = STATE + 2, EXP = GEN + 2,
    SINCE = EXP + 2, ALL = SINCE + 2
};


static size_t    argc;
static ti_str_t  argv[TI_WRITE_ARGS];


/* argv: of the gen after that, with every field that there is */

static void
write_after(const char *before)
{
    ti_write_t  write;

    memset(&write, 0, sizeof(ti_write_t));

    write.prefix = PREFIX;
    write.name = ti_str(NAME);
    write.ref = rm_ref();
    write.ref.device = ti_str("BBBBBBBBBBBBBBBB");
    write.access = ti_str("access-token");
    write.refresh = ti_str("refresh-token");
    write.previous = ti_str("refresh-token-before");
    write.previous_expires = NOW + 600;
    write.scope = ti_str("Mail.Read");
    write.account = ti_str("alice@example.com");
    write.now = NOW;
    write.since = NOW - 86400;
    write.expires = NOW + 3600;

    assert_int_equal(ti_write_command(crypto, &rm_pool, &rm_random, ring,
                                      &write, ti_str_cstr(before), argv,
                                      &argc), TI_OK);
    assert_int_equal(argc, ALL);
}


static void
write_all(void)
{
    write_after("7");
}


static ti_rc_t
unpack(ti_str_t packed, ti_write_about_t *about)
{
    size_t    n;
    ti_str_t  got[TI_WRITE_ARGS];

    /* what lies behind the arguments would do as one */

    for (n = 0; n < TI_WRITE_ARGS; n++) {
        got[n] = ti_str("1");
    }

    return ti_write_unpack(&rm_pool, packed, PREFIX, got, &n, about);
}


/* what enc() makes of argv as it is, from the magic on */

static ti_str_t
packed_as_is(void)
{
    unsigned char  *p;

    argv[MAGIC] = ti_str("ti-write-1");
    p = rm_alloc(NULL, ti_enc_len(argv + MAGIC, argc - MAGIC));

    return ti_str_from(p, ti_enc(p, argv + MAGIC, argc - MAGIC));
}


static void
refused(const char *what)
{
    ti_write_about_t  about;

    if (unpack(packed_as_is(), &about) != TI_DECLINED) {
        fail_msg("%s", what);
    }
}


static void
comes_back(void **state)
{
    size_t            i, n;
    ti_str_t          packed, got[TI_WRITE_ARGS];
    ti_write_about_t  about;

    write_all();
    assert_int_equal(ti_write_pack(&rm_pool, argv, argc, &packed), TI_OK);
    assert_int_equal(ti_write_unpack(&rm_pool, packed, PREFIX, got, &n,
                                     &about), TI_OK);

    assert_int_equal(n, argc);

    for (i = 0; i < n; i++) {
        assert_true(ti_str_eq(got[i], argv[i]));
    }

    assert_true(ti_str_eq(about.name, ti_str(NAME)));
    assert_true(ti_str_eq(about.parts.provider, ti_str("outlook")));
    assert_true(ti_str_eq(about.cid, ti_str(RM_CID)));
    assert_int_equal(about.gen, 8);
    assert_int_equal(about.ends, NOW + 90 * 86400);

    /* and it is those bytes that packed_as_is() makes */

    assert_true(ti_str_eq(packed, packed_as_is()));
}


/* Only what must be there; of a hash without a gen, or with a broken one. */

static void
comes_back_bare(void **state)
{
    size_t            i, n;
    ti_str_t          packed, got[TI_WRITE_ARGS];
    ti_write_t        write;
    ti_write_about_t  about;

    static const char *const  before[] = { "", "07", "0", "x:\n" };

    for (i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        memset(&write, 0, sizeof(ti_write_t));

        write.prefix = ti_null_str;
        write.name = ti_str("{AAAAAAAAAAAAAAAAAAAAAA}:c:exchange:-");
        write.ref = rm_ref();
        write.ref.user_key = NULL;
        write.access = ti_str("a");
        write.now = NOW;
        write.expires = NOW + 1;

        assert_int_equal(ti_write_command(crypto, &rm_pool, &rm_random, ring,
                                          &write, ti_str_cstr(before[i]), argv,
                                          &argc), TI_OK);
        assert_int_equal(ti_write_pack(&rm_pool, argv, argc, &packed), TI_OK);
        assert_int_equal(ti_write_unpack(&rm_pool, packed, ti_null_str, got,
                                         &n, &about), TI_OK);
        assert_int_equal(n, argc);
        assert_int_equal(about.gen, 1);
        assert_true(ti_str_eq(got[4], ti_str_cstr(before[i])));

        /* not under another prefix */

        assert_int_equal(ti_write_unpack(&rm_pool, packed, ti_str("t"), got,
                                         &n, &about), TI_DECLINED);
    }
}


static void
refuses_any_other_value(void **state)
{
    char      *large;
    size_t     i;
    ti_str_t   other;

    static const struct {
        int          place;
        const char  *value;
    } cases[] = {
        { KEY, "" },
        { KEY, "ti:{AAAAAAAAAAAAAAAAAAAAAA}:l:outlook:BBBBBBBBBBBBBBBB" },
        { KEY, "ti:{AAAAAAAAAAAAAAAAAAAAAA}:c:outlook:B" },
        { KEY, "tx:{AAAAAAAAAAAAAAAAAAAAAA}:c:outlook:BBBBBBBBBBBBBBBB" },
        { BEFORE, "6" }, { BEFORE, "8" }, { BEFORE, "" },
        { BEFORE, "9007199254740991" },
        { CHANNEL, "ti:segments" }, { CHANNEL, "changes" }, { CHANNEL, "" },
        { ENDS, "" }, { ENDS, "-1" }, { ENDS, "01" },
        { ENDS, "9007199254740992" },
        { ACCESS, "refresh" }, { ACCESS, "Access" }, { ACCESS + 1, "" },
        { ACCESS + 1, "access-token" }, { ACCESS + 1, "a.b.c.d.e" },
        { REFRESH, "access" }, { REFRESH, "" }, { REFRESH, "x" },
        { REFRESH + 1, "refresh-token" }, { REFRESH + 1, "" },
        { PREVIOUS, "refresh" }, { PREVIOUS + 1, "x" },
        { ACCOUNT, "scope" }, { ACCOUNT + 1, "" },
        { SCOPE, "cid" }, { SCOPE, "gen" },
        { CID, "gen" }, { CID + 1, "AAECAwQFBgcICQoLDA0ODx" },
        { CID + 1, "AQECAwQFBgcICQoLDA0ODw" }, { CID + 1, "" },
        { STATE, "cid" }, { STATE + 1, "reconnect" }, { STATE + 1, "" },
        { GEN + 1, "7" }, { GEN + 1, "9" }, { GEN + 1, "08" },
        { GEN + 1, "" },
        { EXP + 1, "x" }, { EXP + 1, "9007199254740992" },
        { SINCE, "exp" }, { SINCE, "sinc" }, { SINCE + 1, "-1" },
        { SINCE + 1, "9007199254740992" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_all();
        argv[cases[i].place] = ti_str_cstr(cases[i].value);
        refused(rm_text("%d %s", cases[i].place, cases[i].value));
        rm_reset();
    }

    for (i = ACCESS + 1; i <= PREVIOUS + 1; i += 2) {
        write_after("8");
        other = argv[i];
        write_all();
        argv[i] = other;
        refused("a token of another gen");
        rm_reset();
    }

    large = rm_alloc(NULL, TI_RECORD_MAX + 1);
    memset(large, 'a', TI_RECORD_MAX + 1);

    write_all();
    argv[ACCOUNT + 1] = ti_str_from(large, TI_RECORD_MAX + 1);
    refused("a long account");

    argv[ACCOUNT + 1].len = TI_RECORD_MAX;
    argc = ALL;
    assert_int_equal(unpack(packed_as_is(), &(ti_write_about_t) { 0 }),
                     TI_OK);
}


/* A field that has to be there and is not, and what is there twice. */

static void
refuses_other_fields(void **state)
{
    size_t  i;

    static const int  needed[] = { ACCESS, CID, STATE, GEN, EXP, SINCE };

    for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        write_all();
        memmove(argv + needed[i], argv + needed[i] + 2,
                (argc - (size_t) needed[i] - 2) * sizeof(ti_str_t));
        argc -= 2;
        refused("a field is missing");
    }

    write_all();
    argc -= 1;
    refused("no value");

    write_all();
    argv[argc++] = ti_str("more");
    refused("a name more");
    argv[argc++] = ti_str("x");
    refused("a field more");

    write_all();
    argv[argc++] = ti_str("since");
    argv[argc++] = ti_str("1");
    refused("a field twice");

    write_all();
    argc = ACCESS;
    refused("no field");
}


static void
refuses_other_bytes(void **state)
{
    size_t            i;
    ti_str_t          packed;
    unsigned char    *p, many[4 * TI_WRITE_ARGS * 5];
    ti_write_about_t  about;

    write_all();
    assert_int_equal(ti_write_pack(&rm_pool, argv, argc, &packed), TI_OK);

    for (i = 0; i < packed.len; i++) {
        assert_int_equal(unpack(ti_str_from(packed.data, i), &about),
                         TI_DECLINED);
    }

    p = rm_alloc(NULL, packed.len + 8);
    memcpy(p, packed.data, packed.len);
    memset(p + packed.len, 0, 8);

    for (i = 1; i <= 8; i++) {
        assert_int_equal(unpack(ti_str_from(p, packed.len + i), &about),
                         TI_DECLINED);
    }

    /* more arguments than there is room for */

    for (i = 0; i < 4 * TI_WRITE_ARGS; i++) {
        ti_put_u32(many + 5 * i, 1);
        many[5 * i + 4] = 'x';
        assert_int_equal(unpack(ti_str_from(many, 5 * i + 5), &about),
                         TI_DECLINED);
    }

    /* of a version to come */

    p[13] = '2';
    assert_int_equal(unpack(ti_str_from(p, packed.len), &about), TI_DECLINED);
    p[13] = '1';
    assert_int_equal(unpack(ti_str_from(p, packed.len), &about), TI_OK);

    assert_int_equal(unpack(ti_null_str, &about), TI_DECLINED);
}


static void
says_when_memory_ends(void **state)
{
    size_t            left;
    ti_rc_t           rc;
    ti_str_t          packed;
    ti_write_about_t  about;

    write_all();
    assert_int_equal(ti_write_pack(&rm_pool, argv, argc, &packed), TI_OK);

    rc = TI_ERROR;

    for (left = 0; left < 64 && rc != TI_OK; left++) {
        rm_arena.left = left;
        rc = unpack(packed, &about);
        assert_true(rc == TI_OK || rc == TI_ERROR);
    }

    assert_true(left > 2);
    assert_int_equal(rc, TI_OK);

    rm_arena.left = 0;
    assert_int_equal(ti_write_pack(&rm_pool, argv, argc, &packed), TI_ERROR);
}


#define test(f)  cmocka_unit_test_teardown(f, clean)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(comes_back),
        test(comes_back_bare),
        test(refuses_any_other_value),
        test(refuses_other_fields),
        test(refuses_other_bytes),
        test(says_when_memory_ends)
    };

    return cmocka_run_group_tests_name("ti_write, packed", tests, set_up,
                                       tear_down);
}
