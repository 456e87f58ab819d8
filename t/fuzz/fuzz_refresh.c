/*
 * "AGE LF CACHE-CONTROL LF any bytes": what the fields say; and the bytes as
 * what happens to an issuer's keys, two each: what, and how much later.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_header.h"
#include "ti_refresh.h"


#define NOW  INT64_C(1700000000)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const ti_refresh_policy_t  policy = { 600, 10, 3600 };


static void
must(int so)
{
    if (!so) {
        abort();
    }
}


static ti_str_t
line(ti_str_t *rest)
{
    ti_str_t              s;
    const unsigned char  *lf;

    s = *rest;
    lf = s.len == 0 ? NULL : memchr(s.data, '\n', s.len);

    if (lf == NULL) {
        *rest = ti_null_str;
        return s;
    }

    s.len = (size_t) (lf - s.data);
    *rest = ti_str_from(lf + 1, rest->len - s.len - 1);

    return s;
}


static int64_t
max_age(ti_str_t age, ti_str_t cache_control)
{
    int64_t  left, whole;

    left = ti_refresh_max_age(cache_control, age);
    whole = ti_refresh_max_age(cache_control, ti_null_str);

    must(left >= -1 && left <= whole && whole <= INT64_C(1) << 31);
    must((left == -1) == (whole == -1));

    if (ti_header_lists(cache_control, ti_str("no-store"))) {
        must(left == 0);

    } else if (!ti_header_lists(cache_control, ti_str("no-cache"))) {
        must(whole == -1 || ti_header_lists(cache_control, ti_str("max-age")));
    }

    return left;
}


/* a tenth, rounded up, may be missing */

static void
check_due(const ti_refresh_t *refresh, int64_t now, int64_t least,
    int64_t most)
{
    must(refresh->due >= now + least - (least + 9) / 10);
    must(refresh->due <= now + most);
    must(!ti_refresh_due(&policy, refresh, now));
    must(ti_refresh_due(&policy, refresh, refresh->due));
}


static void
happen(ti_refresh_t *refresh, uint8_t what, int64_t now, int64_t said)
{
    int64_t       most;
    ti_refresh_t  before;

    before = *refresh;

    switch (what % 4) {

    case 0:
        ti_refresh_succeeded(&policy, refresh, now, said, what * 0x01000193u);
        check_due(refresh, now, policy.min_interval, policy.interval);
        must(refresh->due >= now + policy.min_interval);
        must(ti_refresh_usable(&policy, refresh) == now + policy.max_stale);
        must(refresh->failures == 0 && refresh->hinted == before.hinted);
        break;

    case 1:
        most = now < ti_refresh_usable(&policy, refresh)
               ? policy.interval : policy.min_interval;

        ti_refresh_failed(&policy, refresh, now, what * 0x01000193u);
        check_due(refresh, now, 1, most);
        must(refresh->fetched == before.fetched);
        must(refresh->failures == before.failures + 1);
        must(refresh->hinted == before.hinted);
        break;

    case 2:
        if (!ti_refresh_hint(&policy, refresh, now)) {
            must(memcmp(refresh, &before, sizeof(before)) == 0);
            must(before.hinted != 0 || before.failures != 0);
            break;
        }

        must(refresh->hinted == now && refresh->due == before.due);
        must(before.hinted == 0 || before.hinted > now
             || now - before.hinted >= policy.min_interval);
        must(before.failures == 0 || ti_refresh_due(&policy, &before, now));
        must(!ti_refresh_hint(&policy, refresh, now));
        break;

    default:
        /* the clock goes on, or back */
        break;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t        i;
    int64_t       now, said;
    ti_str_t      rest, age;
    ti_refresh_t  refresh;

    rest = ti_str_from(data, size);
    age = line(&rest);
    said = max_age(age, line(&rest));

    now = NOW;
    memset(&refresh, 0, sizeof(refresh));
    must(ti_refresh_due(&policy, &refresh, now));

    for (i = 0; i + 1 < rest.len; i += 2) {
        now += (rest.data[i] & 0x80) ? -10 * (int64_t) rest.data[i + 1]
                                     : rest.data[i + 1];

        happen(&refresh, rest.data[i] & 0x7f, now, said);
    }

    return 0;
}
