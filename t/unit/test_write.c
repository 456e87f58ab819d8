/*
 * A connection's tokens as a command.
 */

#include "record_fixture.h"
#include "ti_write.h"


#define NOW  INT64_C(1795286400)


static size_t          argc;
static ti_str_t        argv[TI_WRITE_ARGS];
static unsigned char   cid[TI_RECORD_CID_LEN];
static unsigned char   user_key[TI_KEY_LEN] = { 1, 2, 3 };


static ti_write_t
connection(void)
{
    ti_write_t  write;

    memset(&write, 0, sizeof(ti_write_t));

    assert_int_equal(ti_write_cid(&rm_random, cid), TI_OK);

    write.prefix = ti_str("ti:");
    write.name = ti_str("ti:{u}:c:outlook:BBBBBBBBBBBBBBBB");
    write.ref.who.issuer = ti_str("https://login.example.com/");
    write.ref.who.subject = ti_str("alice");
    write.ref.provider = ti_str("outlook");
    write.ref.device = ti_str("BBBBBBBBBBBBBBBB");
    write.ref.user_key = user_key;
    write.ref.cid = ti_str_from(cid, sizeof(cid));
    write.access = ti_str("access-token");
    write.now = NOW;
    write.since = NOW - 5;
    write.expires = NOW + 3600;

    return write;
}


static ti_rc_t
command(ti_write_t *write, const char *before)
{
    return ti_write_command(crypto, &rm_pool, &rm_random, ring, write,
                            ti_str_cstr(before), argv, &argc);
}


/* data is NULL: the command does not set it */

static ti_str_t
field(const char *name)
{
    size_t  i;

    for (i = 7; i < argc; i += 2) {
        if (ti_str_eq(argv[i], ti_str_cstr(name))) {
            return argv[i + 1];
        }
    }

    return ti_null_str;
}


static int
field_is(const char *name, const char *text)
{
    return ti_str_eq(field(name), ti_str_cstr(text));
}


static void
writes_the_whole_connection(void **state)
{
    ti_write_t  write;

    write = connection();
    write.scope = ti_str("Mail.Read");
    assert_int_equal(command(&write, ""), TI_OK);

    assert_true(ti_str_eq(argv[0], ti_str("EVAL")));
    assert_true(ti_str_eq(argv[2], ti_str("1")));
    assert_true(ti_str_eq(argv[3], write.name));
    assert_int_equal(argv[4].len, 0);
    assert_true(ti_str_eq(argv[5], ti_str("ti:changes")));

    /* without a refresh token: 30 days after the access token */
    assert_true(ti_str_eq(argv[6], ti_str_cstr(rm_text("%lld",
                              (long long) NOW + 3600 + 30 * 86400))));

    /* what nobody consented to is gone soon after its token */
    write.brief = 1;
    assert_int_equal(command(&write, ""), TI_OK);
    assert_true(ti_str_eq(argv[6], ti_str_cstr(rm_text("%lld",
                              (long long) NOW + 3600 + 600))));

    /* the script looks for it there */
    assert_true(ti_str_eq(argv[7], ti_str("access")));

    assert_int_equal(write.ref.gen, 1);
    assert_true(field_is("gen", "1"));
    assert_true(field_is("cid", rm_text("%.22s", (char *) cid)));
    assert_true(field_is("scope", "Mail.Read"));
    assert_true(field_is("state", "connected"));
    assert_true(field_is("exp", rm_text("%lld", (long long) NOW + 3600)));
    assert_true(field_is("since", rm_text("%lld", (long long) NOW - 5)));
    assert_null(field("refresh").data);
    assert_null(field("account").data);
}


static void
counts_on(void **state)
{
    size_t      i;
    ti_write_t  write;

    static const struct {
        const char  *before;
        uint64_t     gen;
    } gens[] = {
        { "7", 8 }, { "9007199254740990", TI_RECORD_GEN_MAX },
        { "0", 1 }, { "07", 1 }, { "abc", 1 }, { "9007199254740992", 1 }
    };

    for (i = 0; i < sizeof(gens) / sizeof(gens[0]); i++) {
        write = connection();
        assert_int_equal(command(&write, gens[i].before), TI_OK);
        assert_int_equal(write.ref.gen, gens[i].gen);
        assert_true(ti_str_eq(argv[4], ti_str_cstr(gens[i].before)));
    }

    write = connection();
    assert_int_equal(command(&write, "9007199254740991"), TI_DECLINED);
}


static void
seals_both_tokens_and_the_account(void **state)
{
    const char   *why;
    ti_write_t    write;
    ti_record_t   record;

    write = connection();
    write.refresh = ti_str("refresh-token");
    write.account = ti_str("alice@example.com");
    assert_int_equal(command(&write, "41"), TI_OK);
    assert_int_equal(write.ref.gen, 42);

    write.ref.kind = TI_RECORD_ACCESS;
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &write.ref,
                                    field("access"), &record, &why),
                     TI_RESULT_OK);
    assert_true(ti_str_eq(record.token, ti_str("access-token")));
    assert_int_equal(record.expires, NOW + 3600);

    write.ref.kind = TI_RECORD_REFRESH;
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &write.ref,
                                    field("refresh"), &record, &why),
                     TI_RESULT_OK);
    assert_true(ti_str_eq(record.token, ti_str("refresh-token")));

    write.ref.kind = TI_RECORD_ACCOUNT;
    write.ref.gen = 0;
    write.ref.user_key = NULL;
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &write.ref,
                                    field("account"), &record, &why),
                     TI_RESULT_OK);
    assert_true(ti_str_eq(record.token, ti_str("alice@example.com")));
}


/* A renewal: of the same consent, and what was found of it stays. */

static void
renews(void **state)
{
    const char   *why;
    ti_write_t    write;
    ti_record_t   record;

    write = connection();
    write.refresh = ti_str("refresh-2");
    write.previous = ti_str("refresh-1");
    write.previous_expires = NOW + 600;
    write.sealed_account = ti_str("as it was");
    assert_int_equal(command(&write, "7"), TI_OK);

    assert_true(field_is("account", "as it was"));
    assert_true(ti_str_eq(argv[6], ti_str_cstr(rm_text("%lld",
                              (long long) NOW + 90 * 86400))));

    write.ref.kind = TI_RECORD_PREVIOUS;
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &write.ref,
                                    field("previous"), &record, &why),
                     TI_RESULT_OK);
    assert_true(ti_str_eq(record.token, ti_str("refresh-1")));
    assert_int_equal(record.expires, NOW + 600);
    assert_int_equal(write.ref.gen, 8);

    write.ref.kind = TI_RECORD_ACCESS;
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &write.ref,
                                    field("access"), &record, &why),
                     TI_RESULT_OK);
    assert_int_equal(record.issued, NOW);

    /* a new name of it counts for more than the old one */

    write.account = ti_str("alice");
    assert_int_equal(command(&write, "7"), TI_OK);
    assert_false(field_is("account", "as it was"));
    assert_non_null(field("account").data);

    /* over, or none */

    write.previous_expires = NOW;
    assert_int_equal(command(&write, "7"), TI_OK);
    assert_null(field("previous").data);
    assert_non_null(field("refresh").data);

    write.previous_expires = NOW + 600;
    write.previous = ti_null_str;
    assert_int_equal(command(&write, "7"), TI_OK);
    assert_null(field("previous").data);

    write.previous = ti_str("no token");
    assert_int_equal(command(&write, "7"), TI_DECLINED);
}


static void
marks(void **state)
{
    ti_str_t  name;

    name = ti_str("ti:{u}:c:outlook:-");

    assert_int_equal(ti_write_mark(&rm_pool, ti_str("ti:"), name, ti_str("7"),
                                   ti_str("cid"), argv, &argc), TI_OK);
    assert_int_equal(argc, 7);
    assert_true(ti_str_eq(argv[0], ti_str("EVAL")));
    assert_true(ti_str_eq(argv[2], ti_str("1")));
    assert_true(ti_str_eq(argv[3], name));
    assert_true(ti_str_eq(argv[4], ti_str("7")));
    assert_true(ti_str_eq(argv[5], ti_str("ti:changes")));
    assert_true(ti_str_eq(argv[6], ti_str("cid")));

    rm_arena.left = 0;
    assert_int_equal(ti_write_mark(&rm_pool, ti_str("ti:"), name, ti_str("7"),
                                   ti_str("cid"), argv, &argc), TI_ERROR);
}


static void
ends_with_the_refresh_token(void **state)
{
    ti_write_t  write;

    write = connection();
    write.refresh = ti_str("refresh-token");
    assert_int_equal(command(&write, ""), TI_OK);
    assert_true(ti_str_eq(argv[6], ti_str_cstr(rm_text("%lld",
                              (long long) NOW + 90 * 86400))));

    write.refresh_expires = NOW + 86400;
    assert_int_equal(command(&write, ""), TI_OK);
    assert_true(ti_str_eq(argv[6], ti_str_cstr(rm_text("%lld",
                              (long long) NOW + 86400))));

    write.refresh_expires = NOW + 1;
    assert_int_equal(command(&write, ""), TI_OK);
    assert_true(ti_str_eq(argv[6], ti_str_cstr(rm_text("%lld",
                              (long long) NOW + 3600))));
}


static void
declines_what_no_record_may_hold(void **state)
{
    ti_write_t  write;

    write = connection();
    write.access = ti_str("two words");
    assert_int_equal(command(&write, ""), TI_DECLINED);

    write = connection();
    write.refresh = ti_str("a\r\nb");
    assert_int_equal(command(&write, ""), TI_DECLINED);
}


static void
says_when_something_ends(void **state)
{
    size_t      left;
    ti_rc_t     rc;
    ti_write_t  write;

    rc = TI_ERROR;

    for (left = 0; left < 64 && rc != TI_OK; left++) {
        rm_reset();
        write = connection();
        rm_arena.left = left;
        rc = command(&write, "");
        assert_true(rc == TI_OK || rc == TI_ERROR);
    }

    assert_true(left > 2);
    assert_int_equal(rc, TI_OK);

    rm_reset();
    write = connection();
    rm_random_left = 0;
    assert_int_equal(command(&write, ""), TI_ERROR);
    assert_int_equal(ti_write_cid(&rm_random, cid), TI_ERROR);
}


#define test(f)  cmocka_unit_test_teardown(f, clean)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(writes_the_whole_connection),
        test(counts_on),
        test(seals_both_tokens_and_the_account),
        test(renews),
        test(marks),
        test(ends_with_the_refresh_token),
        test(declines_what_no_record_may_hold),
        test(says_when_something_ends)
    };

    return cmocka_run_group_tests_name("ti_write", tests, set_up, tear_down);
}
