#include "unit.h"

#include <time.h>

#include "ti_header.h"


static void
takes_the_bearer_token(void **state)
{
    size_t    i;
    ti_str_t  token;

    static const struct {
        const char  *value;
        const char  *token;
    } bearers[] = {
        { "Bearer a.b.c", "a.b.c" },
        { "bearer a.b.c", "a.b.c" },
        { "BEARER a.b.c", "a.b.c" },
        { "bEaReR    a.b.c   ", "a.b.c" },
        { "Bearer a b", "a b" },            /* ti_jwt's to refuse */
        { "Bearer a,Bearer b", "a,Bearer b" },
        { "Bearer \ta", "\ta" }
    };
    static const char  *others[] = {
        "", "B", "Beare", "Bearer", "Bearer ", "Bearer     ", "Bearera.b.c",
        "Bearer\ta.b.c", "Bearer=a", " Bearer a", "Basic dXNlcjpwYXNz",
        "Bearers a", "DPoP a", "a.b.c", "B\345arer a", "Token Bearer a"
    };

    for (i = 0; i < sizeof(bearers) / sizeof(bearers[0]); i++) {
        assert_int_equal(ti_header_bearer(ti_str_cstr(bearers[i].value),
                                          &token),
                         TI_OK);
        assert_str(token, bearers[i].token);
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(ti_header_bearer(ti_str_cstr(others[i]), &token),
                         TI_DECLINED);
    }

    assert_int_equal(ti_header_bearer(ti_null_str, &token), TI_DECLINED);
}


static void
knows_b64token(void **state)
{
    int            c;
    unsigned char  token[3];

    assert_true(ti_header_b64token(ti_str("a")));
    assert_true(ti_header_b64token(ti_str("AZaz09-._~+/")));
    assert_true(ti_header_b64token(ti_str("ya29.a0Af_B-x/y+z==")));
    assert_true(ti_header_b64token(ti_str("a====")));

    assert_false(ti_header_b64token(ti_null_str));
    assert_false(ti_header_b64token(ti_str("")));
    assert_false(ti_header_b64token(ti_str("=")));
    assert_false(ti_header_b64token(ti_str("==")));
    assert_false(ti_header_b64token(ti_str("a=b")));
    assert_false(ti_header_b64token(ti_str("a=\0")));
    assert_false(ti_header_b64token(ti_str("a\r\nX-Evil: 1")));

    for (c = 0; c < 256; c++) {
        token[0] = 'a';
        token[1] = (unsigned char) c;
        token[2] = 'a';

        assert_int_equal(
            ti_header_b64token(ti_str_from(token, 3)),
            c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz"
                             "0123456789-._~+/", c) != NULL);
    }
}


static ti_str_t
strip(const char *value, const char *name)
{
    static unsigned char  buf[256];

    size_t          n, len;
    unsigned char  *exact;

    len = strlen(value);
    exact = malloc(len ? len : 1);          /* room for value.len, no more */

    n = ti_header_cookie_strip(exact, ti_str_cstr(value), ti_str_cstr(name));
    assert_in_range(n, 0, len);

    memcpy(buf, exact, n);
    free(exact);

    return ti_str_from(buf, n);
}


static void
strips_one_cookie(void **state)
{
    assert_str(strip("s=1", "s"), "");
    assert_str(strip("s=1; b=2", "s"), "b=2");
    assert_str(strip("a=1; s=2", "s"), "a=1");
    assert_str(strip("a=1; s=2; b=3", "s"), "a=1; b=3");
    assert_str(strip("a=1;s=2;b=3", "s"), "a=1;b=3");
    assert_str(strip("s=1; s=2; s=3", "s"), "");
    assert_str(strip("s=1; a=1; s=2", "s"), "a=1");
    assert_str(strip("s=; a=1", "s"), "a=1");
    assert_str(strip("s=a=b; a=1", "s"), "a=1");
    assert_str(strip("a=1;   s=2  ;  b=3", "s"), "a=1;  b=3");
    assert_str(strip("", "s"), "");
    assert_str(strip(" ; ;", "s"), "");
    assert_int_equal(ti_header_cookie_strip(NULL, ti_null_str, ti_str("s")),
                     0);
}


static void
keeps_the_others(void **state)
{
    assert_str(strip("a=1; b=2", "s"), "a=1; b=2");
    assert_str(strip("ss=1; s2=2; xs=3; s=4", "s"), "ss=1; s2=2; xs=3");
    assert_str(strip("session=1; session_id=2", "session"), "session_id=2");
    assert_str(strip("s; a=1", "s"), "s; a=1");
    assert_str(strip("a=s; b=\"s=1\"", "s"), "a=s; b=\"s=1\"");
    assert_str(strip("a=s=1", "s"), "a=s=1");
    assert_str(strip("a=x s=1", "s"), "a=x s=1");
    assert_str(strip("a=1,2; b=3", "s"), "a=1,2; b=3");
}


/* What nginx's $cookie_ finds, it must not find again. */

static void
strips_what_nginx_would_find(void **state)
{
    assert_str(strip("Session=1; a=2", "session"), "a=2");
    assert_str(strip("session=1; a=2", "SESSION"), "a=2");
    assert_str(strip("a=1; SESSION =2", "session"), "a=1");
    assert_str(strip("a=1; session   = 2", "session"), "a=1");
    assert_str(strip("a=1,session=2; b=3", "session"), "b=3");
    assert_str(strip("a=1,  Session=2", "session"), "");
    assert_str(strip(",,session=2; b=3", "session"), "b=3");
    assert_str(strip("x,y=\"session=1\"", "session"), "x,y=\"session=1\"");
}


static void
reads_one_cookie(void **state)
{
    ti_str_t  v, cookies;

    cookies = ti_str("a=1; s2=no; S= yes ; s=later; t=\"q, s=x\"; e=");

    assert_int_equal(ti_header_cookie(cookies, ti_str("s"), &v), 3);
    assert_str(v, "yes");
    assert_int_equal(ti_header_cookie(cookies, ti_str("a"), &v), 1);
    assert_str(v, "1");
    assert_int_equal(ti_header_cookie(cookies, ti_str("e"), &v), 1);
    assert_str(v, "");
    assert_int_equal(ti_header_cookie(cookies, ti_str("t"), &v), 1);
    assert_str(v, "\"q, s=x\"");
    assert_int_equal(ti_header_cookie(ti_str("a=1,s=2,b=3; c"), ti_str("s"),
                                      &v),
                     1);
    assert_str(v, "2,b=3");                 /* as nginx has it */

    assert_int_equal(ti_header_cookie(cookies, ti_str("b"), &v), 0);
    assert_int_equal(ti_header_cookie(ti_str("s"), ti_str("s"), &v),
                     0);
    assert_int_equal(ti_header_cookie(ti_null_str, ti_str("s"), &v),
                     0);
}


static void
finds_tokens_in_lists(void **state)
{
    size_t              i;
    static const char  *with[] = {
        "no-store", "No-Store", " no-store ", "private, no-store",
        "private,no-store", "max-age=0,\tno-store,", ",,no-store",
        "no-store=1", "no-store;x", "a=\"b\", no-store",
        "a=\"b\\\"\", no-store", "private=\"x, y\", no-store",
        "a=\"b, no-store", "\"x\", no-store", "a=\", b, no-store"
    };
    static const char  *without[] = {
        "", ",", "private", "no-stor", "no-storex", "xno-store", "no store",
        "no-cache", "private=\"x, no-store\"", "private=\"x\\\", no-store\"",
        "\"no-store\"", "\"a, no-store, b\"", "x no-store", "x=no-store",
        "x;no-store"
    };

    for (i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
        if (!ti_header_lists(ti_str_cstr(with[i]), ti_str("no-store"))) {
            fail_msg("not found: %s", with[i]);
        }
    }

    for (i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        if (ti_header_lists(ti_str_cstr(without[i]), ti_str("no-store"))) {
            fail_msg("found: %s", without[i]);
        }
    }

    assert_false(ti_header_lists(ti_null_str, ti_str("no-store")));
}


/* 64 KB of quotes that do not end must not be searched once each. */

static void
takes_the_argument_of_a_token(void **state)
{
    char      *exact;
    size_t     i, len;
    ti_str_t   argument;

    static const struct {
        const char  *list;
        const char  *argument;              /* NULL: none */
    } cases[] = {
        { "a=1", "1" }, { "A=1", "1" }, { "b, a=1", "1" }, { "a=1,b=2", "1" },
        { " a=1 \t, b", "1" }, { "a=1, a=2", "1" }, { "b=\"a=2\", a=1", "1" },
        { "a=\"\"", "" }, { "a=\"1, 2\"", "1, 2" }, { "a=\"1\" , b", "1" },
        { "a=\"\\\"\"", "\\\"" }, { "a=1/2@x", "1/2@x" }, { "a=b\\", "b\\" },
        { "a", NULL }, { "a=", NULL }, { "a=,", NULL }, { "a= 1", NULL },
        { "a =1", NULL }, { "a=\"", NULL }, { "a=\"1", NULL },
        { "a=\"1\\\"", NULL }, { "a=\"1\"2", NULL }, { "a=1\"2\"", NULL },
        { "a=1 2", NULL }, { "a=1;b", NULL }, { "a=1=2", NULL },
        { "a;a=1", NULL }, { "a, a=1", NULL }, { "ab=1", NULL },
        { "", NULL }, { ",,", NULL }, { "b=a=1", NULL }, { "=1", NULL },
        { "b, ", NULL }, { "a=1 ", "1" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        argument = ti_str("unset");
        len = strlen(cases[i].list);

        /* not a byte behind it, for a sanitizer to see */

        exact = malloc(len == 0 ? 1 : len);
        assert_non_null(exact);
        memcpy(exact, cases[i].list, len);

        if ((ti_header_argument(ti_str_from(exact, len), ti_str("a"),
                                &argument)
             == TI_OK)
            != (cases[i].argument != NULL))
        {
            fail_msg("%s", cases[i].list);
        }

        assert_str(argument, cases[i].argument == NULL ? "unset"
                                                       : cases[i].argument);
        free(exact);
    }

    assert_int_equal(ti_header_argument(ti_null_str, ti_str("a"), &argument),
                     TI_DECLINED);
}


static void
reads_hostile_lists_in_time(void **state)
{
    size_t            i, n;
    char             *list;
    struct timespec   begin, end;

    n = 65536;
    list = malloc(n);
    list[0] = '"';

    for (i = 1; i < n; i++) {
        list[i] = ",\\\""[i % 3];
    }

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    assert_false(ti_header_lists(ti_str_from(list, n), ti_str("no-store")));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);

    /* about 1 ms; one search for each would take a thousand times that */

    assert_true((end.tv_sec - begin.tv_sec) * 1000
                + (end.tv_nsec - begin.tv_nsec) / 1000000 < 250);

    free(list);
}


static void
judges_vary(void **state)
{
    static const ti_str_t  names[] = {
        ti_string("Accept"), ti_string("Accept-Encoding")
    };

    assert_true(ti_header_vary_within(ti_null_str, names, 2));
    assert_true(ti_header_vary_within(ti_str(""), names, 2));
    assert_true(ti_header_vary_within(ti_str("accept"), names, 2));
    assert_true(ti_header_vary_within(ti_str("Accept-Encoding , ACCEPT"),
                                      names, 2));
    assert_true(ti_header_vary_within(ti_str(",Accept,,"), names, 2));

    assert_false(ti_header_vary_within(ti_str("*"), names, 2));
    assert_false(ti_header_vary_within(ti_str("Accept, *"), names, 2));
    assert_false(ti_header_vary_within(ti_str("Accept, Cookie"), names, 2));
    assert_false(ti_header_vary_within(ti_str("Accept-"), names, 2));
    assert_false(ti_header_vary_within(ti_str("Accept Accept"), names, 2));
    assert_false(ti_header_vary_within(ti_str("\"Accept\""), names, 2));
    assert_false(ti_header_vary_within(ti_str("Accept;q=1"), names, 2));
    assert_false(ti_header_vary_within(ti_str("Accept"), names, 0));
    assert_false(ti_header_vary_within(ti_str("*"), (ti_str_t[]) {
                                       ti_string("*") }, 1));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(takes_the_bearer_token),
        cmocka_unit_test(knows_b64token),
        cmocka_unit_test(strips_one_cookie),
        cmocka_unit_test(keeps_the_others),
        cmocka_unit_test(strips_what_nginx_would_find),
        cmocka_unit_test(reads_one_cookie),
        cmocka_unit_test(finds_tokens_in_lists),
        cmocka_unit_test(takes_the_argument_of_a_token),
        cmocka_unit_test(reads_hostile_lists_in_time),
        cmocka_unit_test(judges_vary)
    };

    return cmocka_run_group_tests_name("ti_header", tests, NULL, NULL);
}
