/*
 * Forms and queries, HTTP-dates and delays.
 */

#include "unit.h"

#include "ti_date.h"
#include "ti_form.h"


#define NOW  1795286400                     /* 2026-11-21 18:40:00 */


static unit_pool_t  unit;


static int
set_up(void **state)
{
    (void) unit_pool_create(&unit);

    return 0;
}


static int
tear_down(void **state)
{
    unit_pool_free(&unit);

    return 0;
}


static ti_str_t
encoded(ti_str_t text)
{
    ti_form_t  form;

    form.dst = NULL;
    form.len = 0;
    ti_form_text(&form, text);

    form.dst = ti_pool_alloc(&unit.pool, form.len);
    form.len = 0;
    ti_form_text(&form, text);

    return ti_str_from(form.dst, form.len);
}


static void
encodes_all_but_unreserved(void **state)
{
    size_t         i;
    ti_str_t       text;
    unsigned char  c;

    static const char  unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    assert_str(encoded(ti_str(unreserved)), unreserved);
    assert_str(encoded(ti_str("a b+c&d=e/f?g#h%i")),
               "a%20b%2Bc%26d%3De%2Ff%3Fg%23h%25i");
    assert_str(encoded(ti_str("\0\r\n\x7f")), "%00%0D%0A%7F");
    assert_str(encoded(ti_str("\xc3\xbc")), "%C3%BC");
    assert_str(encoded(ti_null_str), "");

    for (i = 0; i < 256; i++) {
        c = (unsigned char) i;
        text = encoded(ti_str_from(&c, 1));
        assert_int_equal(text.len, i != 0 && strchr(unreserved, c) != NULL
                                   ? 1 : 3);
    }
}


static void
writes_parameters(void **state)
{
    ti_form_t      form;
    unsigned char  buf[64];

    const ti_form_param_t  params[] = {
        { ti_string("b c"), ti_string("1&2") }, { ti_string("d"), { NULL, 0 } }
    };

    form.dst = buf;
    form.len = 0;
    ti_form_param(&form, 0, ti_str("a"), ti_str("x y"));
    ti_form_params(&form, params, 2);

    assert_str(ti_str_from(buf, form.len), "a=x%20y&b%20c=1%262&d=");
}


/* RFC 6749 section 2.3.1, and its own example */

static void
says_who_a_client_is(void **state)
{
    size_t    left;
    ti_str_t  value;

    assert_int_equal(ti_form_basic(&unit.pool, ti_str("s6BhdRkqt3"),
                                   ti_str("gX1fBat3bV"), &value), TI_OK);
    assert_str(value, "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");

    /* "a%3Ab:c%25%20d", not "a:b:c% d" */
    assert_int_equal(ti_form_basic(&unit.pool, ti_str("a:b"), ti_str("c% d"),
                                   &value), TI_OK);
    assert_str(value, "Basic YSUzQWI6YyUyNSUyMGQ=");

    assert_int_equal(ti_form_basic(&unit.pool, ti_null_str, ti_null_str,
                                   &value), TI_OK);
    assert_str(value, "Basic Og==");

    for (left = 0; left < 2; left++) {
        unit.left = left;
        assert_int_equal(ti_form_basic(&unit.pool, ti_str("a"), ti_str("b"),
                                       &value), TI_ERROR);
    }
}


static void
date_is(const char *text, int64_t expected)
{
    int64_t  when;

    if (ti_date_parse(ti_str_cstr(text), NOW, &when) != TI_OK) {
        fail_msg("not a date: %s", text);
    }

    assert_int_equal(when, expected);
}


static void
no_date(const char *text)
{
    int64_t  when;

    if (ti_date_parse(ti_str_cstr(text), NOW, &when) != TI_DECLINED) {
        fail_msg("a date: %s", text);
    }
}


/* the examples of RFC 9110 section 5.6.7 first; the others by date(1) */

static void
reads_dates(void **state)
{
    date_is("Sun, 06 Nov 1994 08:49:37 GMT", 784111777);
    date_is("Sunday, 06-Nov-94 08:49:37 GMT", 784111777);
    date_is("Sun Nov  6 08:49:37 1994", 784111777);

    date_is("Thu, 01 Jan 1970 00:00:00 GMT", 0);
    date_is("Tue, 29 Feb 2000 23:59:59 GMT", 951868799);
    date_is("Wed, 31 Dec 2025 23:59:60 GMT", 1767225600);
    date_is("Fri, 01 Mar 2024 00:00:00 GMT", 1709251200);
    date_is("Mon Nov 16 00:00:00 2026", 1794787200);
    date_is("Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799));

    /* two digits: not more than 50 years ahead */
    date_is("Wednesday, 01-Jan-76 00:00:00 GMT", 3345062400);
    date_is("Saturday, 01-Jan-77 00:00:00 GMT", 220924800);

    no_date("");
    no_date("Sun, 06 Nov 1994 08:49:37");
    no_date("Sun, 06 Nov 1994 08:49:37 GMT ");
    no_date("Sun, 06 Nov 1994 08:49:37 UTC");
    no_date("Sun, 6 Nov 1994 08:49:37 GMT");
    no_date("sun, 06 nov 1994 08:49:37 GMT");
    no_date("Sun, 29 Feb 2023 00:00:00 GMT");
    no_date("Thu, 29 Feb 2100 00:00:00 GMT");
    no_date("Sun, 00 Nov 1994 08:49:37 GMT");
    no_date("Sun, 31 Nov 1994 08:49:37 GMT");
    no_date("Sun, 06 Nov 1994 24:00:00 GMT");
    no_date("Sun, 06 Nov 1994 08:60:00 GMT");
    no_date("Wed, 31 Dec 1969 23:59:59 GMT");
    no_date("1794787200");
}


static int64_t
retry_after(const char *text)
{
    return ti_date_retry_after(ti_str_cstr(text), NOW, 3600);
}


static void
reads_delays(void **state)
{
    assert_int_equal(retry_after("120"), 120);
    assert_int_equal(retry_after("007"), 7);
    assert_int_equal(retry_after("0"), 1);
    assert_int_equal(retry_after("3600"), 3600);
    assert_int_equal(retry_after("3601"), 3600);
    assert_int_equal(retry_after("99999999999999999999999999"), 3600);

    assert_int_equal(retry_after("Sat, 21 Nov 2026 18:41:30 GMT"), 90);
    assert_int_equal(retry_after("Sat, 21 Nov 2026 18:40:00 GMT"), 1);
    assert_int_equal(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), 1);
    assert_int_equal(retry_after("Fri, 31 Dec 9999 23:59:59 GMT"), 3600);

    assert_int_equal(retry_after(""), 0);
    assert_int_equal(retry_after("-1"), 0);
    assert_int_equal(retry_after("1.5"), 0);
    assert_int_equal(retry_after("10s"), 0);
    assert_int_equal(retry_after(" 10"), 0);
    assert_int_equal(retry_after("soon"), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(encodes_all_but_unreserved, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(writes_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_who_a_client_is, set_up,
                                        tear_down),
        cmocka_unit_test(reads_dates),
        cmocka_unit_test(reads_delays)
    };

    return cmocka_run_group_tests_name("ti_form, ti_date", tests, NULL, NULL);
}
