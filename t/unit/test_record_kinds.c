/*
 * Token records: what is different about each kind.
 */

#include "record_fixture.h"


static void
pending_and_refresh(void **state)
{
    rm_record_t      r;
    ti_record_t      record;
    ti_record_ref_t  ref;

    ref = rm_ref();
    ref.kind = TI_RECORD_REFRESH;
    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, ",\"exp\":1795290000", "");
    assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);
    assert_int_equal(record.expires, 0);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "1795290000", "0");
    expect("refresh with exp 0", &ref, rm_wrap(&r), RECONNECT);

    ref = rm_ref();
    ref.kind = TI_RECORD_PENDING;
    ref.gen = 0;
    ref.cid = ti_null_str;
    rm_record(&r, &ref, ti_str("{\"state\": \"x\"}"));
    assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);
    assert_true(ti_str_eq(record.token, ti_str("{\"state\": \"x\"}")));

    r.outer.header = rm_replace(r.outer.header, ",\"exp\":1795290000", "");
    expect("pending without exp", &ref, rm_wrap(&r), RECONNECT);

    rm_record(&r, &ref, ti_null_str);
    expect("pending, empty", &ref, rm_wrap(&r), RECONNECT);

    rm_record(&r, &ref, ti_str("{}"));
    r.outer.header = rm_replace(r.outer.header, "{",
                                "{\"cid\":\"" RM_CID "\",");
    expect("pending with cid", &ref, rm_wrap(&r), RECONNECT);
}


/* The refresh token before this one: for a while, so it says until when. */

static void
previous(void **state)
{
    ti_str_t         sealed;
    rm_record_t      r;
    ti_record_t      record;
    ti_record_ref_t  ref;

    ref = rm_ref();
    ref.kind = TI_RECORD_PREVIOUS;
    rm_record(&r, &ref, ti_str(TOKEN));
    assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);
    assert_true(ti_str_eq(record.token, ti_str(TOKEN)));
    assert_int_equal(record.expires, 1795290000);

    ref.kind = TI_RECORD_REFRESH;
    expect("a previous for a refresh", &ref, rm_wrap(&r), RECONNECT);

    ref.kind = TI_RECORD_PREVIOUS;
    r.outer.header = rm_replace(r.outer.header, ",\"exp\":1795290000", "");
    expect("previous without exp", &ref, rm_wrap(&r), RECONNECT);

    rm_record(&r, &ref, ti_str("{}"));
    expect("previous that is no token", &ref, rm_wrap(&r), RECONNECT);

    record = token_of(TOKEN);
    record.expires = 0;
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_DECLINED);
}


/* When it was granted is no more than a hint: nothing is refused for it. */

static void
issued(void **state)
{
    size_t            i;
    char             *iat;
    ti_str_t          sealed;
    const char       *why;
    rm_record_t       r;
    ti_record_t       record;
    ti_record_ref_t   ref;
    ti_record_head_t  head;

    static const struct {
        const char  *text;
        int64_t      issued;
    } cases[] = {
        { "1795286400", 1795286400 }, { "1", 1 },
        { "9007199254740991", INT64_C(9007199254740991) },
        { "9007199254740992", 0 }, { "0", 0 }, { "-1", 0 }, { "1.0", 0 },
        { "1e9", 0 }, { "\"1795286400\"", 0 }, { "null", 0 }, { "[1]", 0 }
    };

    ref = rm_ref();

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rm_record(&r, &ref, ti_str(TOKEN));
        iat = rm_text("{\"iat\":%s,", cases[i].text);
        r.outer.header = rm_replace(r.outer.header, "{", iat);
        assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);
        assert_int_equal(record.issued, cases[i].issued);
        rm_reset();
    }

    /* the inner layer has nothing to say of it */

    rm_record(&r, &ref, ti_str(TOKEN));
    r.inner.header = rm_replace(r.inner.header, "{", "{\"iat\":1,");
    assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);
    assert_int_equal(record.issued, 0);

    record = token_of(TOKEN);
    record.issued = 1795286400;
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_OK);
    assert_int_equal(open_as(&ref, sealed, &record), TI_RESULT_OK);
    assert_int_equal(record.issued, 1795286400);
    assert_int_equal(ti_record_head(&rm_pool, sealed, &head, &why), TI_OK);
    assert_int_equal(head.issued, 1795286400);

    record = token_of(TOKEN);
    record.issued = -1;
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_DECLINED);

    /* another kind does not have it */

    ref.kind = TI_RECORD_REFRESH;
    record.issued = 1795286400;
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_OK);
    assert_int_equal(open_as(&ref, sealed, &record), TI_RESULT_OK);
    assert_int_equal(record.issued, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_teardown(pending_and_refresh, clean),
        cmocka_unit_test_teardown(previous, clean),
        cmocka_unit_test_teardown(issued, clean)
    };

    return cmocka_run_group_tests_name("ti_record, kinds", tests, set_up,
                                       tear_down);
}
