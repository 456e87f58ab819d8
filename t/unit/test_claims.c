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
                                        setup, teardown)
    };

    return cmocka_run_group_tests_name("ti_claims", tests, NULL, NULL);
}
