#include "unit.h"

#include "ti_json.h"


#define MAX  65536


static ti_rc_t
parse(ti_str_t text, json_t **object)
{
    char        *exact;
    ti_rc_t      rc;
    const char  *why;

    /* exactly that long, so that a sanitizer sees its end */

    exact = malloc(text.len ? text.len : 1);
    memcpy(exact, text.len ? (const char *) text.data : "", text.len);

    why = NULL;
    rc = ti_json_parse_object(ti_str_from(exact, text.len), MAX, object,
                              &why);
    free(exact);

    if (rc != TI_OK) {
        assert_int_equal(rc, TI_DECLINED);
        assert_non_null(why);
        assert_in_range(strlen(why), 1, 60);
    }

    return rc;
}


static json_t *
object_of(const char *text)
{
    json_t  *object;

    assert_int_equal(parse(ti_str_cstr(text), &object), TI_OK);

    return object;
}


static void
reads_objects(void **state)
{
    json_t    *object;
    ti_str_t   s;

    object = object_of(" {\"a\":\"b\",\"\":\"\",\"\\u00e9\":\"\\ud83d\\ude00\"}"
                       "\r\n");

    assert_int_equal(ti_json_string(object, "a", &s), TI_OK);
    assert_str(s, "b");
    assert_int_equal(ti_json_string(object, "", &s), TI_OK);
    assert_int_equal(s.len, 0);
    assert_int_equal(ti_json_string(object, "\xc3\xa9", &s), TI_OK);
    assert_str(s, "\xf0\x9f\x98\x80");

    assert_true(ti_json_has(object, "a"));
    assert_false(ti_json_has(object, "A"));
    assert_false(ti_json_has(object, "b"));

    json_decref(object);
}


static void
refuses_what_is_no_object(void **state)
{
    size_t              i;
    json_t             *object;
    static const char  *wrong[] = {
        "", " ", "null", "true", "1", "\"a\"", "[]", "[{}]", "{", "}", "{}}",
        "{} {}", "{}x", "{a:1}", "{'a':1}", "{\"a\":1,}", "{\"a\"}",
        "{\"a\":}", "{\"a\":1 \"b\":2}", "{\"a\":01}", "{\"a\":+1}",
        "{\"a\":.5}", "{\"a\":1.}", "{\"a\":NaN}", "{\"a\":Infinity}",
        "{\"a\":0x1}", "{\"a\":1/**/}", "{\"a\":\"\n\"}", "{\"a\":\"\\x41\"}",
        "{\"a\":\"\\ud800\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}",
        "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"", "\xef\xbb\xbf{}"
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (parse(ti_str_cstr(wrong[i]), &object) != TI_DECLINED) {
            fail_msg("accepted: %s", wrong[i]);
        }
    }

    assert_int_equal(parse(ti_null_str, &object), TI_DECLINED);
    assert_int_equal(parse(ti_str("{}\0"), &object), TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"a\0b\":1}"), &object), TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"a\":\"\\u0000\"}"), &object),
                     TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"\\u0000\":1}"), &object), TI_DECLINED);
}


/* jansson lets the last one win, other parsers the first one */

static void
refuses_duplicate_members(void **state)
{
    json_t  *object;

    assert_int_equal(parse(ti_str("{\"alg\":\"RS256\",\"alg\":\"none\"}"),
                           &object),
                     TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"a\":1,\"b\":2,\"\\u0061\":1}"),
                           &object),
                     TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"x\":[{\"a\":1,\"a\":1}]}"), &object),
                     TI_DECLINED);

    json_decref(object_of("{\"x\":{\"a\":1},\"a\":1}"));
}


static char *
nested(size_t depth, const char *open, const char *close, const char *inner)
{
    char    *text, *p;
    size_t   i;

    text = malloc(depth * (strlen(open) + strlen(close)) + strlen(inner) + 1);
    assert_non_null(text);
    p = text;

    for (i = 0; i < depth; i++) {
        p = stpcpy(p, open);
    }

    p = stpcpy(p, inner);

    for (i = 0; i < depth; i++) {
        p = stpcpy(p, close);
    }

    return text;
}


static void
bounds_the_depth(void **state)
{
    char        *text;
    json_t      *object;
    const char  *why;

    text = nested(TI_JSON_DEPTH, "{\"a\":", "}", "1");
    json_decref(object_of(text));
    free(text);

    text = nested(TI_JSON_DEPTH + 1, "{\"a\":", "}", "1");
    assert_int_equal(parse(ti_str_cstr(text), &object), TI_DECLINED);
    free(text);

    /* an attacker need not close what was opened */

    text = nested(100000, "[", "", "");
    assert_int_equal(ti_json_parse_object(ti_str_cstr(text), SIZE_MAX,
                                          &object, &why),
                     TI_DECLINED);
    assert_string_equal(why, "JSON nested too deep");
    free(text);

    text = nested(50000, "{\"a\":[", "]}", "");
    assert_int_equal(ti_json_parse_object(ti_str_cstr(text), SIZE_MAX,
                                          &object, &why),
                     TI_DECLINED);
    assert_string_equal(why, "JSON nested too deep");
    free(text);
}


static void
counts_brackets_outside_of_strings(void **state)
{
    char    *text;
    json_t  *object;

    json_decref(object_of("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}"));
    json_decref(object_of("{\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\":1}"));

    /* an escaped backslash does not escape the quote behind it */

    text = nested(TI_JSON_DEPTH + 1, "{\"\\\\\":", "}", "1");
    assert_int_equal(parse(ti_str_cstr(text), &object), TI_DECLINED);
    free(text);

    /* side by side is not nested */

    json_decref(object_of("{\"a\":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                          "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                          "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]}"));
}


static void
bounds_the_size(void **state)
{
    json_t      *object;
    const char  *why;

    assert_int_equal(ti_json_parse_object(ti_str("{\"a\":1}"), 7, &object,
                                          &why),
                     TI_OK);
    json_decref(object);

    assert_int_equal(ti_json_parse_object(ti_str("{\"a\":1}"), 6, &object,
                                          &why),
                     TI_DECLINED);
    assert_string_equal(why, "JSON too large");
    assert_int_equal(ti_json_parse_object(ti_str("{\"a\":1}"), 0, &object,
                                          &why),
                     TI_DECLINED);
}


static void
reads_exact_integers(void **state)
{
    size_t              i;
    json_t             *object;
    int64_t             n;
    static const char  *names[] = {
        "float", "half", "exp", "huge", "string", "true", "null", "array",
        "object", "absent"
    };

    object = object_of("{\"n\":1795286400,\"zero\":0,\"neg\":-5,"
                       "\"max\":9223372036854775807,"
                       "\"min\":-9223372036854775808,"
                       "\"float\":1.0,\"half\":1700000000.5,\"exp\":1e3,"
                       "\"huge\":1e300,\"string\":\"1\",\"true\":true,"
                       "\"null\":null,\"array\":[1],\"object\":{}}");

    assert_int_equal(ti_json_integer(object, "n", 0, INT64_MAX, &n), TI_OK);
    assert_int_equal(n, 1795286400);
    assert_int_equal(ti_json_integer(object, "zero", 0, 0, &n), TI_OK);
    assert_int_equal(n, 0);
    assert_int_equal(ti_json_integer(object, "neg", 0, INT64_MAX, &n),
                     TI_DECLINED);
    assert_int_equal(ti_json_integer(object, "neg", -5, -5, &n), TI_OK);
    assert_int_equal(n, -5);
    assert_int_equal(ti_json_integer(object, "n", 0, 1795286399, &n),
                     TI_DECLINED);
    assert_int_equal(ti_json_integer(object, "max", INT64_MIN, INT64_MAX, &n),
                     TI_OK);
    assert_true(n == INT64_MAX);
    assert_int_equal(ti_json_integer(object, "min", INT64_MIN, INT64_MAX, &n),
                     TI_OK);
    assert_true(n == INT64_MIN);

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(ti_json_integer(object, names[i], INT64_MIN,
                                         INT64_MAX, &n),
                         TI_DECLINED);
    }

    json_decref(object);
}


static void
refuses_numbers_that_fit_no_type(void **state)
{
    json_t  *object;

    assert_int_equal(parse(ti_str("{\"exp\":9223372036854775808}"), &object),
                     TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"exp\":-9223372036854775809}"), &object),
                     TI_DECLINED);
    assert_int_equal(parse(ti_str("{\"exp\":1e999}"), &object), TI_DECLINED);
}


static void
takes_strings_for_strings_only(void **state)
{
    json_t    *object;
    ti_str_t   s;

    object = object_of("{\"n\":1,\"null\":null,\"a\":[\"x\"],\"o\":{}}");

    assert_int_equal(ti_json_string(object, "n", &s), TI_DECLINED);
    assert_int_equal(ti_json_string(object, "null", &s), TI_DECLINED);
    assert_int_equal(ti_json_string(object, "a", &s), TI_DECLINED);
    assert_int_equal(ti_json_string(object, "o", &s), TI_DECLINED);
    assert_int_equal(ti_json_string(object, "absent", &s), TI_DECLINED);

    /* present as null is present */

    assert_true(ti_json_has(object, "null"));

    json_decref(object);
}


static const char *
find(const ti_pool_t *pool, const json_t *root, const char *text)
{
    ti_json_path_t   path;
    const json_t    *value;

    assert_int_equal(ti_json_path_compile(pool, ti_str_cstr(text), &path),
                     TI_OK);

    value = ti_json_path_find(&path, root);

    if (value == NULL) {
        return NULL;
    }

    return json_is_string(value) ? json_string_value(value) : "(other)";
}


static void
finds_the_way_of_rfc_6901(void **state)
{
    json_t           *root;
    unit_pool_t       unit;
    const ti_pool_t  *pool;

    pool = unit_pool_create(&unit);
    root = object_of("{\"sub\":\"s\",\"realm/access\":\"slash\",\"\":\"none\","
                     "\"m~n\":\"tilde\",\"~1\":\"tilde one\",\"a.b\":\"dot\","
                     "\"https://x.example/roles\":[\"r0\",\"r1\"],"
                     "\"o\":{\"\":\"deep\",\"0\":\"member\","
                            "\"p\":{\"q\":[\"a\",[\"b\"]]}}}");

    /* a name as it is */

    assert_string_equal(find(pool, root, "sub"), "s");
    assert_string_equal(find(pool, root, "realm/access"), "slash");
    assert_string_equal(find(pool, root, "m~n"), "tilde");
    assert_string_equal(find(pool, root, "a.b"), "dot");
    assert_string_equal(find(pool, root, "https://x.example/roles"),
                        "(other)");
    assert_null(find(pool, root, "Sub"));
    assert_null(find(pool, root, "su"));
    assert_null(find(pool, root, "sub "));

    /* a pointer */

    assert_string_equal(find(pool, root, "/sub"), "s");
    assert_string_equal(find(pool, root, "/"), "none");
    assert_string_equal(find(pool, root, "/realm~1access"), "slash");
    assert_string_equal(find(pool, root, "/m~0n"), "tilde");
    assert_string_equal(find(pool, root, "/~01"), "tilde one");
    assert_string_equal(find(pool, root, "/https:~1~1x.example~1roles/1"),
                        "r1");
    assert_string_equal(find(pool, root, "/o/"), "deep");
    assert_string_equal(find(pool, root, "/o/0"), "member");
    assert_string_equal(find(pool, root, "/o/p/q/1/0"), "b");
    assert_string_equal(find(pool, root, "/o/p"), "(other)");

    /* nothing there */

    assert_null(find(pool, root, "/realm/access"));
    assert_null(find(pool, root, "/sub/x"));
    assert_null(find(pool, root, "/o/p/q/2"));
    assert_null(find(pool, root, "/o/p/q/-"));
    assert_null(find(pool, root, "/o/p/q/00"));
    assert_null(find(pool, root, "/o/p/q/01"));
    assert_null(find(pool, root, "/o/p/q/-1"));
    assert_null(find(pool, root, "/o/p/q/1e0"));
    assert_null(find(pool, root, "/o/p/q/18446744073709551616"));
    assert_null(find(pool, root, "/o//p"));
    assert_null(find(pool, root, "/sub/"));

    json_decref(root);
    unit_pool_free(&unit);
}


static void
compiles_paths_that_make_sense(void **state)
{
    size_t            i;
    json_t           *root;
    unit_pool_t       unit;
    ti_json_path_t    path;
    const ti_pool_t  *pool;
    static const char  *wrong[] = {
        "", "/~", "/a~", "/~2", "/~~0", "/a/~x/b", "/a~/b"
    };

    pool = unit_pool_create(&unit);

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(ti_json_path_compile(pool, ti_str_cstr(wrong[i]),
                                              &path),
                         TI_DECLINED);
    }

    assert_int_equal(ti_json_path_compile(pool, ti_str("a\0b"), &path),
                     TI_DECLINED);
    assert_int_equal(ti_json_path_compile(pool, ti_str("/a\0b"), &path),
                     TI_DECLINED);

    for (i = 0; i < 2; i++) {
        unit.left = i;
        assert_int_equal(ti_json_path_compile(pool, ti_str("/a"), &path),
                         TI_ERROR);
        unit.left = i;
        assert_int_equal(ti_json_path_compile(pool, ti_str("a"), &path),
                         TI_ERROR);
    }

    root = object_of("{\"a\":1}");
    memset(&path, 0, sizeof(path));
    assert_null(ti_json_path_find(&path, root));

    json_decref(root);
    unit_pool_free(&unit);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(reads_objects),
        cmocka_unit_test(refuses_what_is_no_object),
        cmocka_unit_test(refuses_duplicate_members),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(counts_brackets_outside_of_strings),
        cmocka_unit_test(bounds_the_size),
        cmocka_unit_test(reads_exact_integers),
        cmocka_unit_test(refuses_numbers_that_fit_no_type),
        cmocka_unit_test(takes_strings_for_strings_only),
        cmocka_unit_test(finds_the_way_of_rfc_6901),
        cmocka_unit_test(compiles_paths_that_make_sense)
    };

    return cmocka_run_group_tests_name("ti_json", tests, NULL, NULL);
}
