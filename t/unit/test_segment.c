/*
 * Rules that are kept in Redis: read, marked, asked, explained.
 */

#include "unit.h"

#include "record_make.h"
#include "ti_segment.h"


static ti_crypto_t   *crypto;
static ti_keyring_t  *ring;
static unit_pool_t    unit;


static int
set_up(void **state)
{
    crypto = ti_crypto_create();
    ring = rm_ring(0);
    rm_reset();
    (void) unit_pool_create(&unit);

    return crypto == NULL;
}


static int
tear_down(void **state)
{
    ti_keyring_free(ring);
    ti_crypto_free(crypto);
    rm_reset();
    unit_pool_free(&unit);

    return 0;
}


static int
clean(void **state)
{
    rm_reset();
    unit_pool_free(&unit);
    unit.left = SIZE_MAX;

    return 0;
}


static ti_segment_t
segment_of(const char *text)
{
    size_t        line;
    ti_rc_t       rc;
    const char   *why;
    ti_segment_t  segment;

    why = "";
    rc = ti_segment_parse(&unit.pool, ti_str_cstr(text), &segment, &line, &why);

    if (rc != TI_OK) {
        fail_msg("line %zu: %s: %s", line, why, text);
    }

    return segment;
}


static void
is_refused(const char *text, size_t expected_line, const char *expected)
{
    size_t        line;
    ti_rc_t       rc;
    const char   *why;
    ti_segment_t  segment;

    why = "";
    rc = ti_segment_parse(&unit.pool, ti_str_cstr(text), &segment, &line, &why);

    if (rc != TI_DECLINED || line != expected_line
        || strcmp(why, expected) != 0)
    {
        fail_msg("%d, line %zu, %s: %s", (int) rc, line, why, text);
    }
}


/* by which rule, from 0; "-1": not at all, "-2": without one */

static int
by_rule(const ti_segment_t *segment, const char *text)
{
    int          allowed;
    size_t       rule;
    json_t      *claims;
    const char  *why;

    assert_int_equal(ti_json_parse_object(ti_str_cstr(text), 4096, &claims,
                                          &why), TI_OK);
    allowed = ti_segment_allows(segment, claims, &rule);
    json_decref(claims);

    if (!allowed) {
        assert_int_equal(rule, segment->nrules);
        return -1;
    }

    return rule == segment->nrules ? -2 : (int) rule;
}


static int
value_is(const ti_segment_t *segment, size_t rule, size_t i, const char *text)
{
    return ti_str_eq(segment->rules[rule].values[i], ti_str_cstr(text));
}


static void
reads_rules(void **state)
{
    ti_segment_t  s;

    s = segment_of("groups=calendar-users mail-users\n"
                   "\n"
                   "  email=*@example.com  \n"
                   "https://x.example/a=b=c \"d e\" \"f\\\"\\\\\"\n"
                   "\"/a b/0=v w\"");

    assert_int_equal(s.kind, TI_SEGMENT_RULES);
    assert_int_equal(s.nrules, 4);

    assert_int_equal(s.rules[0].nvalues, 2);
    assert_true(value_is(&s, 0, 0, "calendar-users"));
    assert_true(value_is(&s, 0, 1, "mail-users"));
    assert_true(ti_str_eq(s.lines[0],
                          ti_str("groups=calendar-users mail-users")));

    assert_int_equal(s.rules[1].nvalues, 1);
    assert_true(ti_str_eq(s.lines[1], ti_str("email=*@example.com")));

    assert_int_equal(s.rules[2].path.n, 1);
    assert_string_equal(s.rules[2].path.names[0], "https://x.example/a=b");
    assert_int_equal(s.rules[2].nvalues, 3);
    assert_true(value_is(&s, 2, 0, "c"));
    assert_true(value_is(&s, 2, 1, "d e"));
    assert_true(value_is(&s, 2, 2, "f\"\\"));

    assert_int_equal(s.rules[3].path.n, 2);
    assert_string_equal(s.rules[3].path.names[0], "a b");
    assert_true(value_is(&s, 3, 0, "v w"));
}


static void
says_who_may_and_why(void **state)
{
    ti_segment_t  s;

    s = segment_of("groups=a b\nemail=*@example.com\n/org/unit=sales");

    assert_int_equal(by_rule(&s, "{\"groups\":[\"x\",\"b\"]}"), 0);
    assert_int_equal(by_rule(&s, "{\"groups\":\"a\"}"), 0);
    assert_int_equal(by_rule(&s, "{\"groups\":\"ab\"}"), -1);
    assert_int_equal(by_rule(&s, "{\"email\":\"u@EXAMPLE.com\"}"), 1);
    assert_int_equal(by_rule(&s, "{\"email\":\"u@example.com.evil\"}"), -1);
    assert_int_equal(by_rule(&s, "{\"email\":\"u@example.com\","
                                 "\"groups\":[\"a\"]}"), 0);
    assert_int_equal(by_rule(&s, "{\"org\":{\"unit\":\"sales\"}}"), 2);
    assert_int_equal(by_rule(&s, "{}"), -1);

    s = segment_of("everyone");
    assert_int_equal(by_rule(&s, "{}"), -2);
    s = segment_of(" nobody \n\n");
    assert_int_equal(by_rule(&s, "{\"groups\":\"a\"}"), -1);

    /* a claim of that name is a rule */
    s = segment_of("everyone=x");
    assert_int_equal(by_rule(&s, "{}"), -1);
    assert_int_equal(by_rule(&s, "{\"everyone\":\"x\"}"), 0);
}


static void
refuses_what_is_no_rule(void **state)
{
    char    *text;
    size_t   i;

    static const char  none[] = "no rule, which could mean everyone or nobody";
    static const char  shape[] = "no CLAIM=VALUE, \"everyone\" or \"nobody\"";
    static const char  beside[] = "rules beside \"everyone\" or \"nobody\"";

    is_refused("", 1, none);
    is_refused(" \n \n", 3, none);
    is_refused("a", 1, shape);
    is_refused("=a", 1, shape);
    is_refused("\"\"", 1, shape);
    is_refused("a=b\nc d=e", 2, shape);
    is_refused("a=", 1, "an empty value");
    is_refused("a= b", 1, "an empty value");
    is_refused("a=b \"\"", 1, "an empty value");
    is_refused("a=b \"c", 1, "a quote that does not end");
    is_refused("a=b \"c\\", 1, "a quote that does not end");
    is_refused("a=b \"", 1, "a quote that does not end");
    is_refused("a=b \"c\"d", 1, "no space behind a quote");
    is_refused("a=b c\"d\"", 1, "a quote inside of a word");
    is_refused("/~2=b", 1, "names a claim by an invalid JSON pointer");
    is_refused("email=*@", 1, "\"*@\" without a host name behind it");
    is_refused("a=b\teach", 1, "a control character");
    is_refused("a=b\r\n", 1, "a control character");
    is_refused("everyone\na=b", 2, beside);
    is_refused("a=b\nnobody", 2, beside);
    is_refused("everyone\nnobody", 2, beside);
    is_refused("Everyone", 1, shape);

    text = rm_text("%*s", 1100, "");
    for (i = 0; i < 257; i++) {
        memcpy(text + 4 * i, "a=b\n", 4);
    }
    is_refused(text, 257, "more than 256 rules");
    text[4 * 256] = '\0';
    assert_int_equal(segment_of(text).nrules, 256);

    text = rm_text("a=%*s", TI_SEGMENT_MAX_SIZE, "x");
    is_refused(text, 1, "rules above 65536 bytes");
}


static void
lets_nobody_in_without_the_key(void **state)
{
    size_t           i;
    ti_str_t         value, text;
    unsigned char   *bytes;

    assert_int_equal(ti_segment_sign(crypto, &unit.pool, ring,
                                     ti_str("outlook"), ti_str("groups=a"),
                                     &value), TI_OK);
    assert_int_equal(value.len, 43 + 1 + 8);

    assert_int_equal(ti_segment_verify(crypto, ring, ti_str("outlook"), value,
                                       &text), TI_OK);
    assert_true(ti_str_eq(text, ti_str("groups=a")));

    assert_int_equal(ti_segment_verify(crypto, ring, ti_str("zoom"), value,
                                       &text), TI_DECLINED);

    bytes = (unsigned char *) value.data;

    for (i = 0; i < value.len; i++) {
        bytes[i] ^= 1;
        assert_int_equal(ti_segment_verify(crypto, ring, ti_str("outlook"),
                                           value, &text), TI_DECLINED);
        bytes[i] ^= 1;
        assert_int_equal(ti_segment_verify(crypto, ring, ti_str("outlook"),
                                           ti_str_from(bytes, i), &text),
                         TI_DECLINED);
    }

    assert_int_equal(ti_segment_verify(crypto, ring, ti_str("outlook"),
                                       ti_str("everyone"), &text),
                     TI_DECLINED);

    assert_int_equal(ti_segment_sign(crypto, &unit.pool, ring, ti_str("p"),
                                     ti_null_str, &value), TI_OK);
    assert_int_equal(ti_segment_verify(crypto, ring, ti_str("p"), value,
                                       &text), TI_OK);
    assert_int_equal(text.len, 0);
}


static void
has_a_name(void **state)
{
    ti_str_t  name;

    assert_int_equal(ti_segment_name(&unit.pool, ti_str("ti:"), &name), TI_OK);
    assert_true(ti_str_eq(name, ti_str("ti:segments")));
    assert_int_equal(ti_segment_name(&unit.pool, ti_null_str, &name), TI_OK);
    assert_true(ti_str_eq(name, ti_str("segments")));
}


static void
says_when_memory_ends(void **state)
{
    size_t        left, line;
    ti_rc_t       rc;
    ti_str_t      value;
    const char   *why;
    ti_segment_t  segment;

    for (left = 0; ; left++) {
        unit.left = left;
        rc = ti_segment_parse(&unit.pool, ti_str("a=\"b\"\n\"/c=d\" \"e\""),
                              &segment, &line, &why);
        if (rc != TI_ERROR) {
            break;
        }

        assert_true(left < 20);
    }

    /* "a=\"b\"" has its quote inside of a word */
    assert_int_equal(rc, TI_DECLINED);
    assert_true(left >= 3);

    for (left = 0; ; left++) {
        unit.left = left;
        rc = ti_segment_parse(&unit.pool, ti_str("\"/c=d\" \"e\""), &segment,
                              &line, &why);
        if (rc != TI_ERROR) {
            break;
        }

        assert_true(left < 20);
    }

    assert_int_equal(rc, TI_OK);
    assert_int_equal(left, 7);

    unit.left = 0;
    assert_int_equal(ti_segment_sign(crypto, &unit.pool, ring, ti_str("p"),
                                     ti_str("a=b"), &value), TI_ERROR);
    assert_int_equal(ti_segment_name(&unit.pool, ti_str("ti:"), &value),
                     TI_ERROR);
}


#define test(f)  cmocka_unit_test_teardown(f, clean)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(reads_rules),
        test(says_who_may_and_why),
        test(refuses_what_is_no_rule),
        test(lets_nobody_in_without_the_key),
        test(has_a_name),
        test(says_when_memory_ends)
    };

    return cmocka_run_group_tests_name("ti_segment", tests, set_up, tear_down);
}
