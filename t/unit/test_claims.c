#include "unit.h"

#include "ti_claims.h"


static unit_pool_t       unit;
static const ti_pool_t  *pool;


static int
setup(void **state)
{
    pool = unit_pool_create(&unit);

    return 0;
}


static int
teardown(void **state)
{
    unit_pool_free(&unit);

    return 0;
}


static json_t *
claims_of(const char *text)
{
    json_t      *claims;
    const char  *why;

    assert_int_equal(ti_json_parse_object(ti_str_cstr(text), 65536, &claims,
                                          &why),
                     TI_OK);

    return claims;
}


static ti_json_path_t
path_of(const char *text)
{
    ti_json_path_t  path;

    assert_int_equal(ti_json_path_compile(pool, ti_str_cstr(text), &path),
                     TI_OK);

    return path;
}


/* The text of the claim "a". */

static ti_str_t
text_of(const char *json)
{
    json_t          *claims;
    ti_str_t         text;
    ti_json_path_t   path;

    claims = claims_of(json);
    path = path_of("a");

    assert_int_equal(ti_claims_text(pool, claims, &path, &text), TI_OK);

    /* keep it beyond the claims */

    assert_int_equal(ti_pool_copy(pool, text, &text), TI_OK);
    json_decref(claims);

    return text;
}


static void
writes_scalars(void **state)
{
    assert_str(text_of("{\"a\":\"Zo\\u00eb, \\\"q\\\"\"}"),
               "Zo\xc3\xab, \"q\"");
    assert_str(text_of("{\"a\":\"\"}"), "");
    assert_str(text_of("{\"a\":0}"), "0");
    assert_str(text_of("{\"a\":1795286400}"), "1795286400");
    assert_str(text_of("{\"a\":-12}"), "-12");
    assert_str(text_of("{\"a\":9223372036854775807}"), "9223372036854775807");
    assert_str(text_of("{\"a\":-9223372036854775808}"),
               "-9223372036854775808");
    assert_str(text_of("{\"a\":true}"), "true");
    assert_str(text_of("{\"a\":false}"), "false");
}


static void
writes_reals_as_they_were(void **state)
{
    assert_str(text_of("{\"a\":0.1}"), "0.1");
    assert_str(text_of("{\"a\":1.0}"), "1.0");
    assert_str(text_of("{\"a\":1700000000.5}"), "1700000000.5");
    assert_str(text_of("{\"a\":-2.5e-300}"), "-2.5e-300");
    assert_str(text_of("{\"a\":-1.23456789012345e-300}"),
               "-1.23456789012345e-300");
}


static void
joins_arrays(void **state)
{
    assert_str(text_of("{\"a\":[\"x\",\"y z\",3,-4,0.5,true,false]}"),
               "x,y z,3,-4,0.5,true,false");
    assert_str(text_of("{\"a\":[\"x\"]}"), "x");
    assert_str(text_of("{\"a\":[\"\",\"\"]}"), ",");
    assert_str(text_of("{\"a\":[]}"), "");
    assert_str(text_of("{\"a\":[\"\"]}"), "");
}


static void
has_no_text_for_the_rest(void **state)
{
    assert_str(text_of("{\"a\":null}"), "");
    assert_str(text_of("{\"a\":{}}"), "");
    assert_str(text_of("{\"a\":{\"b\":1}}"), "");
    assert_str(text_of("{\"b\":1}"), "");
    assert_str(text_of("{\"a\":[\"x\",null]}"), "");
    assert_str(text_of("{\"a\":[\"x\",{}]}"), "");
    assert_str(text_of("{\"a\":[\"x\",[\"y\"]]}"), "");
}


static void
splits_no_header(void **state)
{
    int   c;
    char  json[32];

    for (c = 1; c < 0x100; c++) {
        if (c == '"' || c == '\\') {
            continue;
        }

        snprintf(json, sizeof(json), "{\"a\":\"x\\u%04xy\"}", (unsigned) c);
        assert_int_equal(text_of(json).len == 0, c < 0x20 || c == 0x7f);
    }

    assert_str(text_of("{\"a\":[\"x\",\"y\\r\\nX-Evil: 1\"]}"), "");
    assert_str(text_of("{\"a\":\"\\t\"}"), "");
}


static void
says_when_memory_is_out(void **state)
{
    json_t          *claims;
    ti_str_t         text;
    ti_json_path_t   path, array;

    claims = claims_of("{\"n\":12,\"a\":[\"x\",\"y\"],\"s\":\"x\"}");
    path = path_of("n");
    array = path_of("a");

    unit.left = 0;
    assert_int_equal(ti_claims_text(pool, claims, &path, &text), TI_ERROR);
    assert_int_equal(ti_claims_name(pool, claims, &path, &text), TI_ERROR);
    assert_int_equal(ti_claims_text(pool, claims, &array, &text), TI_ERROR);

    unit.left = SIZE_MAX;
    path = path_of("s");
    unit.left = 0;
    assert_int_equal(ti_claims_name(pool, claims, &path, &text), TI_OK);
    assert_str(text, "x");                  /* borrowed */

    unit.left = SIZE_MAX;
    json_decref(claims);
}


static ti_rc_t
name_of(const char *json, ti_str_t *name)
{
    json_t          *claims;
    ti_rc_t          rc;
    ti_json_path_t   path;

    claims = claims_of(json);
    path = path_of("/who/sub");

    rc = ti_claims_name(pool, claims, &path, name);

    if (rc == TI_OK) {
        assert_int_equal(ti_pool_copy(pool, *name, name), TI_OK);
    }

    json_decref(claims);

    return rc;
}


static void
names_someone_or_nobody(void **state)
{
    size_t              i;
    ti_str_t            name;
    static const char  *wrong[] = {
        "{}", "{\"who\":\"x\"}", "{\"who\":{\"sub\":\"\"}}",
        "{\"who\":{\"sub\":null}}", "{\"who\":{\"sub\":true}}",
        "{\"who\":{\"sub\":1.0}}", "{\"who\":{\"sub\":[\"alice\"]}}",
        "{\"who\":{\"sub\":{}}}", "{\"who\":{\"sub\":\"a\\nb\"}}",
        "{\"who\":{\"sub\":\"a\\u007f\"}}", "{\"/who/sub\":\"alice\"}"
    };

    assert_int_equal(name_of("{\"who\":{\"sub\":\"alice\"}}", &name), TI_OK);
    assert_str(name, "alice");
    assert_int_equal(name_of("{\"who\":{\"sub\":-1042}}", &name), TI_OK);
    assert_str(name, "-1042");
    assert_int_equal(name_of("{\"who\":{\"sub\":\" \"}}", &name), TI_OK);
    assert_str(name, " ");

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(name_of(wrong[i], &name), TI_DECLINED);
    }
}


static int
allowed(const char *json, const ti_claims_rule_t *rules, size_t n)
{
    int      rc;
    json_t  *claims;

    claims = claims_of(json);
    rc = ti_claims_allowed(claims, rules, n);
    json_decref(claims);

    return rc;
}


static void
allows_by_any_rule_and_value(void **state)
{
    ti_claims_rule_t       rules[2];
    static const ti_str_t  groups[] = {
        ti_string("calendar-users"), ti_string("admins")
    };
    static const ti_str_t  plans[] = { ti_string("gold") };

    rules[0].path = path_of("groups");
    rules[0].values = groups;
    rules[0].nvalues = 2;
    rules[1].path = path_of("/app/plan");
    rules[1].values = plans;
    rules[1].nvalues = 1;

    assert_true(allowed("{}", NULL, 0));
    assert_false(allowed("{}", rules, 2));

    assert_true(allowed("{\"groups\":\"admins\"}", rules, 2));
    assert_true(allowed("{\"groups\":[\"x\",\"calendar-users\"]}", rules, 2));
    assert_true(allowed("{\"groups\":[1,null,\"admins\"]}", rules, 2));
    assert_true(allowed("{\"app\":{\"plan\":\"gold\"}}", rules, 2));
    assert_false(allowed("{\"app\":{\"plan\":\"gold\"}}", rules, 1));

    assert_false(allowed("{\"groups\":\"Admins\"}", rules, 2));
    assert_false(allowed("{\"groups\":\"admin\"}", rules, 2));
    assert_false(allowed("{\"groups\":\"admins \"}", rules, 2));
    assert_false(allowed("{\"groups\":\"x,admins\"}", rules, 2));
    assert_false(allowed("{\"groups\":[\"x,admins\"]}", rules, 2));
    assert_false(allowed("{\"groups\":[[\"admins\"]]}", rules, 2));
    assert_false(allowed("{\"groups\":{\"0\":\"admins\"}}", rules, 2));
    assert_false(allowed("{\"groups\":{\"admins\":true}}", rules, 2));
    assert_false(allowed("{\"groups\":[]}", rules, 2));
    assert_false(allowed("{\"groups\":null}", rules, 2));
    assert_false(allowed("{\"Groups\":\"admins\"}", rules, 2));
    assert_false(allowed("{\"app\":\"gold\"}", rules, 2));
}


static void
matches_no_number_by_its_digits(void **state)
{
    ti_claims_rule_t       rule;
    static const ti_str_t  values[] = {
        ti_string("1"), ti_string("true"), ti_string("")
    };

    rule.path = path_of("a");
    rule.values = values;
    rule.nvalues = 3;

    assert_false(allowed("{\"a\":1}", &rule, 1));
    assert_false(allowed("{\"a\":[1]}", &rule, 1));
    assert_false(allowed("{\"a\":true}", &rule, 1));
    assert_false(allowed("{\"a\":null}", &rule, 1));
    assert_false(allowed("{}", &rule, 1));
    assert_true(allowed("{\"a\":\"1\"}", &rule, 1));

    rule.nvalues = 0;
    assert_false(allowed("{\"a\":\"1\"}", &rule, 1));
}


static void
allows_a_domain_s_addresses(void **state)
{
    size_t            i;
    char             *json;
    char              text[256];
    ti_claims_rule_t  rule;

    static const ti_str_t  values[] = {
        ti_string("*@Example.com"), ti_string("*"), ti_string("bob@x.example")
    };

    static const struct {
        const char  *email;
        int          allowed;
    } cases[] = {
        { "alice@example.com", 1 },
        { "ALICE@EXAMPLE.COM", 1 },
        { "a@Example.com", 1 },
        { "*@example.com", 1 },
        { "first.last+tag@example.com", 1 },
        { "example.com@example.com", 1 },
        { "bob@x.example", 1 },
        { "Bob@x.example", 0 },
        { "bob@X.example", 0 },
        { "*", 1 },
        { "", 0 },
        { "@", 0 },
        { "@example.com", 0 },
        { "example.com", 0 },
        { "aexample.com", 0 },
        { "alice@", 0 },
        { "alice@sub.example.com", 0 },
        { "alice@example.com.evil.example", 0 },
        { "alice@evilexample.com", 0 },
        { "alice@evil-example.com", 0 },
        { "alice@example.co", 0 },
        { "alice@example.com.", 0 },
        { "alice@example.com ", 0 },
        { "alice@ example.com", 0 },
        { "alice@@example.com", 0 },
        { "@@example.com", 0 },
        { "alice@evil.example@example.com", 0 },
        { "alice@example.com@evil.example", 0 },
        { "\\\"a@b\\\"@example.com", 0 },
        { "alice@example,com", 0 },
        { "alice@examp\\u0142e.com", 0 },
        { "alice%40example.com", 0 },
        { "alice@*", 0 },
        { "*@*", 0 },
        { "*@", 0 }
    };

    rule.path = path_of("email");
    rule.values = values;
    rule.nvalues = 3;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(text, sizeof(text), "{\"email\":\"%s\"}",
                        cases[i].email);

        if (allowed(text, &rule, 1) != cases[i].allowed) {
            fail_msg("%s", text);
        }

        json = strstr(text, ":\"") + 1;
        memmove(json + 1, json, strlen(json) + 1);
        json[0] = '[';
        memcpy(json + strlen(json) - 1, ",7]}", 5);

        if (allowed(text, &rule, 1) != cases[i].allowed) {
            fail_msg("%s", text);
        }
    }

    assert_true(allowed("{\"email\":[\"x\",\"a@example.com\"]}", &rule, 1));
    assert_false(allowed("{\"email\":{\"a@example.com\":1}}", &rule, 1));
    assert_false(allowed("{\"email\":[[\"a@example.com\"]]}", &rule, 1));

    /* a list of domains */

    rule.nvalues = 1;
    assert_false(allowed("{\"email\":\"bob@x.example\"}", &rule, 1));
}


/* Who could have written any address may not come in by its domain. */

static void
allows_no_unverified_address(void **state)
{
    size_t            i;
    char              text[128];
    ti_claims_rule_t  rules[2];

    static const ti_str_t  values[] = {
        ti_string("*@example.com"), ti_string("carol@example.com")
    };
    static const ti_str_t  groups[] = { ti_string("admins") };

    static const struct {
        const char  *verified;
        int          allowed;
    } cases[] = {
        { "true", 1 }, { "\"true\"", 1 }, { "null", 1 }, { "\"\"", 1 },
        { "1", 1 }, { "0", 1 }, { "false", 0 }, { "\"false\"", 0 },
        { "\"False\"", 1 }, { "[false]", 1 }
    };

    rules[0].path = path_of("mail");
    rules[0].values = values;
    rules[0].nvalues = 2;
    rules[1].path = path_of("groups");
    rules[1].values = groups;
    rules[1].nvalues = 1;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(text, sizeof(text), "{\"mail\":\"a@example.com\","
                        "\"email_verified\":%s}", cases[i].verified);
        assert_int_equal(allowed(text, rules, 2), cases[i].allowed);
    }

    /* what names somebody or something else is not about that */

    assert_true(allowed("{\"mail\":\"carol@example.com\","
                        "\"email_verified\":false}", rules, 2));
    assert_true(allowed("{\"mail\":\"a@example.com\",\"groups\":\"admins\","
                        "\"email_verified\":false}", rules, 2));
    assert_true(allowed("{\"mail\":\"a@example.com\","
                        "\"x\":{\"email_verified\":false}}", rules, 2));
}


static void
knows_values(void **state)
{
    int            c;
    char           text[300];
    size_t         i;
    unsigned char  value[] = "*@a?b";

    static const char *const  good[] = {
        "", "*", "@", "a", "admins", "a@b", "*a@b", "**@b", " *@b", "@*",
        "*@a", "*@example.com", "*@EXAMPLE.com", "*@a-b.c1", "*@1.2",
        "*@xn--bcher-kva.example"
    };
    static const char *const  bad[] = {
        "*@", "*@.", "*@.a", "*@a.", "*@a..b", "*@-a", "*@a-", "*@a.-b",
        "*@a-.b", "*@*", "*@*.a", "*@@a", "*@a@b", "*@a b", "*@a ", "*@a_b",
        "*@a/b", "*@a:25", "*@[::1]", "*@b\xc3\xbc.example"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(ti_claims_value_valid(ti_str_cstr(good[i])));
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(ti_claims_value_valid(ti_str_cstr(bad[i])));
    }

    assert_true(ti_claims_value_valid(ti_null_str));
    assert_false(ti_claims_value_valid(ti_str("*@a\0")));

    for (c = 0; c < 256; c++) {
        value[3] = (unsigned char) c;
        assert_int_equal(ti_claims_value_valid(ti_str_from(value, 5)),
                         c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "abcdefghijklmnopqrstuvwxyz"
                                          "0123456789-.", c) != NULL);
    }

    /* a label of 63, a name of 253 */

    memset(text, 'a', sizeof(text));
    memcpy(text, "*@", 2);
    assert_true(ti_claims_value_valid(ti_str_from(text, 2 + 63)));
    assert_false(ti_claims_value_valid(ti_str_from(text, 2 + 64)));

    for (i = 2 + 63; i < sizeof(text); i += 64) {
        text[i] = '.';
    }

    assert_true(ti_claims_value_valid(ti_str_from(text, 2 + 253)));
    assert_false(ti_claims_value_valid(ti_str_from(text, 2 + 254)));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(writes_scalars, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_reals_as_they_were, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(joins_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(has_no_text_for_the_rest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(splits_no_header, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_memory_is_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_someone_or_nobody, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(allows_by_any_rule_and_value, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(matches_no_number_by_its_digits,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(allows_a_domain_s_addresses, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(allows_no_unverified_address, setup,
                                        teardown),
        cmocka_unit_test(knows_values)
    };

    return cmocka_run_group_tests_name("ti_claims", tests, NULL, NULL);
}
