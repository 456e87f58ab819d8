#include "ti_header.h"
#include "ti_refresh.h"


#define TI_REFRESH_SECONDS_MAX  (INT64_C(1) << 31)


static int64_t
ti_refresh_sum(int64_t a, int64_t b)
{
    return (a > INT64_MAX - b) ? INT64_MAX : a + b;
}


/* delta-seconds of RFC 9111 section 1.2.2; -1: none */

static int64_t
ti_refresh_seconds(ti_str_t s)
{
    size_t   i;
    int64_t  n;

    n = 0;

    for (i = 0; i < s.len; i++) {

        if (s.data[i] < '0' || s.data[i] > '9') {
            return -1;
        }

        n = n * 10 + (s.data[i] - '0');

        if (n > TI_REFRESH_SECONDS_MAX) {
            n = TI_REFRESH_SECONDS_MAX;
        }
    }

    return (s.len == 0) ? -1 : n;
}


/* Age is no list, but of one that is the first member counts (section 5.1). */

static ti_str_t
ti_refresh_first(ti_str_t list)
{
    size_t  n;

    for (n = 0; n < list.len && list.data[n] != ','; n++) {
        /* void */
    }

    while (n > 0 && (list.data[n - 1] == ' ' || list.data[n - 1] == '\t')) {
        n--;
    }

    return ti_str_from(list.data, n);
}


int64_t
ti_refresh_max_age(ti_str_t cache_control, ti_str_t age)
{
    int64_t   seconds, spent;
    ti_str_t  value;

    if (ti_header_lists(cache_control, ti_str("no-store"))
        || ti_header_lists(cache_control, ti_str("no-cache")))
    {
        return 0;
    }

    if (ti_header_argument(cache_control, ti_str("max-age"), &value)
        != TI_OK)
    {
        return -1;
    }

    seconds = ti_refresh_seconds(value);
    spent = ti_refresh_seconds(ti_refresh_first(age));

    if (seconds < 0 || spent < 0) {
        return seconds;
    }

    return (spent < seconds) ? seconds - spent : 0;
}


/* What is left of seconds when up to a tenth is taken off. */

static int64_t
ti_refresh_jittered(int64_t seconds, uint32_t jitter)
{
    if (seconds < 4) {
        return seconds;
    }

    return seconds - jitter % (seconds / 10 + (seconds % 10 != 0) + 1);
}


int
ti_refresh_due(const ti_refresh_policy_t *policy, const ti_refresh_t *state,
    int64_t now)
{
    return now >= state->due
           || state->due > ti_refresh_sum(now, policy->interval);
}


void
ti_refresh_succeeded(const ti_refresh_policy_t *policy, ti_refresh_t *state,
    int64_t now, int64_t max_age, uint32_t jitter)
{
    int64_t  wait;

    wait = policy->interval;

    if (max_age >= 0 && max_age < wait) {
        wait = max_age;
    }

    wait = ti_refresh_jittered(wait, jitter);

    if (wait < policy->min_interval) {
        wait = policy->min_interval;
    }

    state->fetched = now;
    state->due = ti_refresh_sum(now, wait);
    state->failures = 0;
}


void
ti_refresh_failed(const ti_refresh_policy_t *policy, ti_refresh_t *state,
    int64_t now, uint32_t jitter)
{
    int64_t   wait, limit;
    uint32_t  n;

    limit = (now < ti_refresh_usable(policy, state)) ? policy->interval
                                                     : policy->min_interval;
    wait = 1;

    for (n = state->failures; n > 0 && wait < limit; n--) {
        wait = ti_refresh_sum(wait, wait);
    }

    if (wait > limit) {
        wait = limit;
    }

    if (state->failures < UINT32_MAX) {
        state->failures++;
    }

    state->due = ti_refresh_sum(now, ti_refresh_jittered(wait, jitter));
}


int
ti_refresh_hint(const ti_refresh_policy_t *policy, ti_refresh_t *state,
    int64_t now)
{
    if (state->failures != 0 && !ti_refresh_due(policy, state, now)) {
        return 0;
    }

    if (state->hinted != 0
        && now >= state->hinted
        && now - state->hinted < policy->min_interval)
    {
        return 0;
    }

    state->hinted = now;

    return 1;
}


int64_t
ti_refresh_usable(const ti_refresh_policy_t *policy,
    const ti_refresh_t *state)
{
    if (state->fetched == 0) {
        return 0;
    }

    return ti_refresh_sum(state->fetched, policy->max_stale);
}
