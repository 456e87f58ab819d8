/*
 * When an issuer is asked for its keys, to the second.
 */

#include "unit.h"

#include "ti_refresh.h"


#define NOW   INT64_C(1700000000)
#define MOST  INT64_C(2147483648)          /* 2^31, RFC 9111 section 1.2.2 */


/* as token_issuer's defaults: 10m, 10s, 1d */
static const ti_refresh_policy_t  policy = { 600, 10, 86400 };


static int64_t
max_age(const char *cache_control, const char *age)
{
    return ti_refresh_max_age(ti_str_cstr(cache_control), ti_str_cstr(age));
}


static void
reads_max_age(void **state)
{
    size_t  i;

    static const struct {
        const char  *cache_control;
        int64_t      seconds;
    } cases[] = {
        { "", -1 },
        { "public", -1 },
        { "max-age=0", 0 },
        { "max-age=1", 1 },
        { "max-age=3600", 3600 },
        { "Max-Age=3600", 3600 },
        { "MAX-AGE=3600", 3600 },
        { "max-age=0600", 600 },
        { "max-age=\"3600\"", 3600 },
        { "public, max-age=300, must-revalidate", 300 },
        { "public,max-age=300", 300 },
        { "  public ,  max-age=300  ", 300 },
        { "max-age=300 , public", 300 },
        { "public;max-age=300", -1 },
        { "s-maxage=60", -1 },
        { "s-maxage=60, max-age=300", 300 },
        { "x-max-age=60", -1 },
        { "max-age-x=60", -1 },
        { "x=\"max-age=60\"", -1 },
        { "x=\", max-age=60\"", -1 },
        { "x=\", max-age=60\", max-age=5", 5 },
        { "x=\"\\\", max-age=60, \", max-age=5", 5 },
        { "x=\", max-age=60", 60 },         /* no quoted string */
        { "max-age=5, max-age=6", 5 },
        { "max-age=x, max-age=6", -1 },
        { "max-age", -1 },
        { "max-age=", -1 },
        { "max-age=,", -1 },
        { "max-age =5", -1 },
        { "max-age= 5", -1 },
        { "max-age=\"\"", -1 },
        { "max-age=\"5", -1 },
        { "max-age=\"5\"6", -1 },
        { "max-age=\"\\5\"", -1 },
        { "max-age=5x", -1 },
        { "max-age=5 x", -1 },
        { "max-age=5;x", -1 },
        { "max-age=5=6", -1 },
        { "max-age=5.5", -1 },
        { "max-age=+5", -1 },
        { "max-age=-1", -1 },
        { "max-age=0x10", -1 },
        { "max-age=1e3", -1 },
        { "max-age=2147483647", MOST - 1 },
        { "max-age=2147483648", MOST },
        { "max-age=2147483649", MOST },
        { "max-age=9223372036854775807", MOST },
        { "max-age=9223372036854775808", MOST },
        { "max-age=18446744073709551617", MOST },
        { "max-age=99999999999999999999999999999999999999999999999", MOST },
        { "max-age=00000000000000000000000000000000000000000000005", 5 },
        { "max-age=9999999999999999999999999999999999999999999999x", -1 },
        { "no-cache", 0 },
        { "no-store", 0 },
        { "No-Store", 0 },
        { "no-cache=\"Set-Cookie\"", 0 },
        { "max-age=300, no-cache", 0 },
        { "no-store, max-age=300", 0 },
        { "max-age=x, no-store", 0 },
        { "x=\"no-store\", max-age=300", 300 },
        { "no-stores, max-age=300", 300 },
        { "must-revalidate", -1 },
        { "private, immutable", -1 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (max_age(cases[i].cache_control, "") != cases[i].seconds) {
            fail_msg("%s: %lld", cases[i].cache_control,
                     (long long) max_age(cases[i].cache_control, ""));
        }
    }

    assert_true(ti_refresh_max_age(ti_null_str, ti_null_str) == -1);
    assert_true(ti_refresh_max_age(ti_str("max-age=5\0"), ti_null_str) == -1);
}


static void
takes_the_age_off(void **state)
{
    size_t  i;

    static const struct {
        const char  *age;
        int64_t      left;                  /* of 300 */
    } cases[] = {
        { "", 300 }, { "0", 300 }, { "1", 299 }, { "299", 1 }, { "300", 0 },
        { "301", 0 }, { "99999999999999999999", 0 }, { "0100", 200 },
        { "100, 200", 200 }, { "100,200", 200 }, { "100 \t, 7", 200 },
        { "100 ", 200 }, { ",100", 300 }, { "-1", 300 }, { "x", 300 },
        { "10x", 300 }, { "1.5", 300 }, { " 100", 300 }, { "\"100\"", 300 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (max_age("max-age=300", cases[i].age) != cases[i].left) {
            fail_msg("%s: %lld", cases[i].age,
                     (long long) max_age("max-age=300", cases[i].age));
        }
    }

    /* from nothing nothing is taken */

    assert_true(max_age("", "100") == -1);
    assert_true(max_age("max-age=x", "100") == -1);
    assert_true(max_age("max-age=0", "100") == 0);
    assert_true(max_age("max-age=1", "1") == 0);
    assert_true(max_age("max-age=1", "0") == 1);
    assert_true(max_age("no-store, max-age=300", "100") == 0);

    /* both beyond what is counted */

    assert_true(max_age("max-age=99999999999", "2147483647") == 1);
    assert_true(max_age("max-age=99999999999", "99999999999") == 0);
}


static void
asks_at_once_and_when_due(void **state)
{
    ti_refresh_t  refresh;

    memset(&refresh, 0, sizeof(refresh));

    assert_true(ti_refresh_due(&policy, &refresh, 0));
    assert_true(ti_refresh_due(&policy, &refresh, NOW));

    refresh.due = NOW;
    assert_false(ti_refresh_due(&policy, &refresh, NOW - 1));
    assert_true(ti_refresh_due(&policy, &refresh, NOW));
    assert_true(ti_refresh_due(&policy, &refresh, NOW + 1));

    /* no try is further away than the interval */

    assert_false(ti_refresh_due(&policy, &refresh, NOW - 600));
    assert_true(ti_refresh_due(&policy, &refresh, NOW - 601));
    assert_true(ti_refresh_due(&policy, &refresh, 0));

    refresh.due = INT64_MAX;
    assert_true(ti_refresh_due(&policy, &refresh, NOW));
    assert_false(ti_refresh_due(&policy, &refresh, INT64_MAX - 1));
    assert_true(ti_refresh_due(&policy, &refresh, INT64_MAX));
}


static int64_t
wait_after(const ti_refresh_policy_t *under, int64_t said, uint32_t jitter)
{
    ti_refresh_t  refresh;

    refresh.fetched = 7;
    refresh.due = 8;
    refresh.hinted = 9;
    refresh.failures = 10;

    ti_refresh_succeeded(under, &refresh, NOW, said, jitter);

    assert_true(refresh.fetched == NOW);
    assert_true(refresh.hinted == 9);
    assert_int_equal(refresh.failures, 0);

    return refresh.due - NOW;
}


static void
keeps_max_age_within_bounds(void **state)
{
    size_t  i;

    static const ti_refresh_policy_t  equal = { 50, 50, 50 };
    static const ti_refresh_policy_t  second = { 1, 1, 1 };
    static const ti_refresh_policy_t  endless = { INT64_MAX, 1, INT64_MAX };

    static const struct {
        int64_t  said;
        int64_t  wait;
    } cases[] = {
        { -1, 600 }, { 0, 10 }, { 1, 10 }, { 9, 10 }, { 10, 10 }, { 11, 11 },
        { 599, 599 }, { 600, 600 }, { 601, 600 }, { MOST, 600 },
        { INT64_MAX, 600 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(wait_after(&policy, cases[i].said, 0) == cases[i].wait);
        assert_true(wait_after(&equal, cases[i].said, UINT32_MAX) == 50);
        assert_true(wait_after(&second, cases[i].said, UINT32_MAX) == 1);
    }

    assert_true(wait_after(&endless, -1, 0) == INT64_MAX - NOW);
    assert_true(wait_after(&endless, INT64_MAX, 0) == INT64_MAX - NOW);
}


/* Every second of the last tenth, and none else. */

static void
spreads_over_a_tenth(void **state)
{
    size_t    i;
    int64_t   wait, least, most;
    uint32_t  jitter;

    static const struct {
        int64_t  said;
        int64_t  least;
    } cases[] = {
        { 600, 540 }, { 599, 539 }, { 100, 90 }, { 101, 90 }, { 20, 18 },
        { 12, 10 }, { 11, 10 }, { 10, 10 }, { 0, 10 }, { -1, 540 }
    };
    static const ti_refresh_policy_t  quick = { 600, 1, 86400 };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        least = INT64_MAX;
        most = 0;

        for (jitter = 0; jitter < 1000; jitter++) {
            wait = wait_after(&policy, cases[i].said, jitter * 0x01000193u);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }

        assert_true(least == cases[i].least);
        assert_true(most == wait_after(&policy, cases[i].said, 0));
    }

    for (jitter = 0; jitter < 100; jitter++) {
        assert_true(wait_after(&quick, 3, jitter) == 3);
    }

    assert_true(wait_after(&quick, 4, 0) == 4);
    assert_true(wait_after(&quick, 4, 1) == 3);
    assert_true(wait_after(&quick, 4, 2) == 4);
    assert_true(wait_after(&quick, 10, 1) == 9);
    assert_true(wait_after(&quick, 10, 2) == 10);
    assert_true(wait_after(&quick, 11, 2) == 9);
    assert_true(wait_after(&quick, 11, 3) == 11);
}


static int64_t
wait_failed(ti_refresh_t *refresh, int64_t now, uint32_t jitter)
{
    uint32_t  before;
    int64_t   fetched;

    before = refresh->failures;
    fetched = refresh->fetched;

    ti_refresh_failed(&policy, refresh, now, jitter);

    assert_int_equal(refresh->failures, before + 1);
    assert_true(refresh->fetched == fetched);

    return refresh->due - now;
}


static void
backs_off_with_nothing_to_use(void **state)
{
    size_t        i;
    ti_refresh_t  refresh;

    static const int64_t  waits[] = { 1, 2, 4, 8, 10, 10, 10 };

    memset(&refresh, 0, sizeof(refresh));

    for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        assert_true(wait_failed(&refresh, NOW, 0) == waits[i]);
        assert_false(ti_refresh_due(&policy, &refresh, NOW + waits[i] - 1));
        assert_true(ti_refresh_due(&policy, &refresh, NOW + waits[i]));
    }

    /* what is too old is nothing */

    for (i = 0; i < 100; i++) {
        refresh.fetched = NOW - 86400;
        refresh.failures = (uint32_t) i;
        assert_true(wait_failed(&refresh, NOW, 0) <= 10);
    }

    refresh.fetched = NOW - 86399;
    refresh.failures = 99;
    assert_true(wait_failed(&refresh, NOW, 0) == 600);
}


static void
backs_off_with_old_keys(void **state)
{
    size_t        i;
    ti_refresh_t  refresh;

    static const int64_t  waits[] = {
        1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600
    };
    static const ti_refresh_policy_t  endless = {
        INT64_MAX, 1, INT64_MAX
    };

    memset(&refresh, 0, sizeof(refresh));
    ti_refresh_succeeded(&policy, &refresh, NOW - 1, -1, 0);
    refresh.hinted = 5;

    for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        assert_true(wait_failed(&refresh, NOW, 0) == waits[i]);
    }

    assert_true(refresh.hinted == 5);

    /* up to the last failure that is counted */

    refresh.failures = UINT32_MAX - 1;
    assert_true(wait_failed(&refresh, NOW, 0) == 600);
    ti_refresh_failed(&policy, &refresh, NOW, 0);
    assert_true(refresh.failures == UINT32_MAX);
    assert_true(refresh.due == NOW + 600);

    /* sums that fit no time */

    refresh.failures = UINT32_MAX;
    ti_refresh_failed(&endless, &refresh, NOW, 0);
    assert_true(refresh.due == INT64_MAX);
    ti_refresh_failed(&policy, &refresh, INT64_MAX, 0);
    assert_true(refresh.due == INT64_MAX);

    /* one success begins anew */

    ti_refresh_succeeded(&policy, &refresh, NOW, -1, 0);
    assert_true(wait_failed(&refresh, NOW, 0) == 1);
}


static void
spreads_failures_too(void **state)
{
    uint32_t      i, jitter;
    int64_t       wait;
    ti_refresh_t  refresh;

    static const int64_t  least[] = {
        1, 2, 3, 7, 14, 28, 57, 115, 230, 460, 540, 540
    };

    for (i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
        wait = INT64_MAX;

        for (jitter = 0; jitter < 200; jitter++) {
            memset(&refresh, 0, sizeof(refresh));
            refresh.fetched = NOW;
            refresh.failures = i;
            ti_refresh_failed(&policy, &refresh, NOW, jitter);
            wait = refresh.due - NOW < wait ? refresh.due - NOW : wait;
        }

        assert_true(wait == least[i]);
    }
}


static unsigned
hints(ti_refresh_t *refresh, int64_t now, unsigned n)
{
    unsigned  i, yes;

    yes = 0;

    for (i = 0; i < n; i++) {
        yes += (unsigned) ti_refresh_hint(&policy, refresh, now);
    }

    return yes;
}


static void
takes_one_hint_in_min_interval(void **state)
{
    int64_t       t;
    unsigned      yes;
    ti_refresh_t  refresh;

    /* the first of all */

    memset(&refresh, 0, sizeof(refresh));
    assert_int_equal(hints(&refresh, 9, 10), 1);

    memset(&refresh, 0, sizeof(refresh));
    ti_refresh_succeeded(&policy, &refresh, NOW, -1, 0);

    assert_int_equal(hints(&refresh, NOW, 1000), 1);
    assert_true(refresh.hinted == NOW);
    assert_true(refresh.due == NOW + 600);
    assert_int_equal(hints(&refresh, NOW + 9, 1000), 0);
    assert_true(refresh.hinted == NOW);
    assert_int_equal(hints(&refresh, NOW + 10, 1000), 1);
    assert_true(refresh.hinted == NOW + 10);

    /* a flood of 100 seconds, each fetch that it causes a success */

    yes = 0;

    for (t = NOW + 20; t < NOW + 120; t++) {
        if (hints(&refresh, t, 1000) != 0) {
            ti_refresh_succeeded(&policy, &refresh, t, -1, 0);
            yes++;
        }
    }

    assert_int_equal(yes, 10);
}


static void
holds_hints_back_after_failures(void **state)
{
    int64_t       t;
    unsigned      yes;
    ti_refresh_t  refresh;

    memset(&refresh, 0, sizeof(refresh));
    ti_refresh_succeeded(&policy, &refresh, NOW, -1, 0);

    refresh.failures = 5;
    ti_refresh_failed(&policy, &refresh, NOW, 0);
    assert_true(refresh.due == NOW + 32);

    assert_int_equal(hints(&refresh, NOW + 31, 10), 0);
    assert_true(refresh.hinted == 0);
    assert_int_equal(hints(&refresh, NOW + 32, 10), 1);
    assert_true(refresh.hinted == NOW + 32);

    /* all that a flood gets out of a dead issuer is what is due anyway */

    memset(&refresh, 0, sizeof(refresh));
    ti_refresh_succeeded(&policy, &refresh, NOW, -1, 0);
    yes = 0;

    for (t = NOW + 1; t < NOW + 600; t++) {
        if (hints(&refresh, t, 10) != 0 || ti_refresh_due(&policy, &refresh, t))
        {
            ti_refresh_failed(&policy, &refresh, t, 0);
            yes++;
        }
    }

    assert_int_equal(yes, 10);              /* +1 +2 +4 … +256, +512 */
}


static void
survives_a_clock_set_back(void **state)
{
    ti_refresh_t  refresh;

    memset(&refresh, 0, sizeof(refresh));
    ti_refresh_succeeded(&policy, &refresh, NOW, -1, 0);
    assert_int_equal(hints(&refresh, NOW, 10), 1);

    assert_true(ti_refresh_due(&policy, &refresh, NOW - 3600));
    assert_int_equal(hints(&refresh, NOW - 3600, 10), 1);
    assert_int_equal(hints(&refresh, NOW - 3591, 10), 0);
    assert_int_equal(hints(&refresh, NOW - 3590, 10), 1);

    /* failing then is no reason to ask all the time */

    ti_refresh_failed(&policy, &refresh, NOW - 3600, 0);
    assert_false(ti_refresh_due(&policy, &refresh, NOW - 3600));
    assert_true(ti_refresh_due(&policy, &refresh, NOW - 3599));

    ti_refresh_succeeded(&policy, &refresh, NOW - 3600, -1, 0);
    assert_false(ti_refresh_due(&policy, &refresh, NOW - 3600));
    assert_true(ti_refresh_usable(&policy, &refresh) == NOW - 3600 + 86400);
}


static void
is_usable_until_stale(void **state)
{
    ti_refresh_t  refresh;

    static const ti_refresh_policy_t  endless = { 600, 10, INT64_MAX };

    memset(&refresh, 0, sizeof(refresh));
    assert_true(ti_refresh_usable(&policy, &refresh) == 0);
    assert_true(ti_refresh_usable(&endless, &refresh) == 0);

    refresh.due = NOW;
    refresh.failures = 3;
    assert_true(ti_refresh_usable(&policy, &refresh) == 0);

    refresh.fetched = NOW;
    assert_true(ti_refresh_usable(&policy, &refresh) == NOW + 86400);
    assert_true(ti_refresh_usable(&endless, &refresh) == INT64_MAX);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(reads_max_age),
        cmocka_unit_test(takes_the_age_off),
        cmocka_unit_test(asks_at_once_and_when_due),
        cmocka_unit_test(keeps_max_age_within_bounds),
        cmocka_unit_test(spreads_over_a_tenth),
        cmocka_unit_test(backs_off_with_nothing_to_use),
        cmocka_unit_test(backs_off_with_old_keys),
        cmocka_unit_test(spreads_failures_too),
        cmocka_unit_test(takes_one_hint_in_min_interval),
        cmocka_unit_test(holds_hints_back_after_failures),
        cmocka_unit_test(survives_a_clock_set_back),
        cmocka_unit_test(is_usable_until_stale)
    };

    return cmocka_run_group_tests_name("ti_refresh", tests, NULL, NULL);
}
