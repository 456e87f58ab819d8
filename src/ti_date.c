#include "ti_date.h"


#define TI_DATE_DAY  86400


typedef struct {
    unsigned  year;
    unsigned  month;                        /* from 1 */
    unsigned  day;
    unsigned  hour;
    unsigned  minute;
    unsigned  second;
    unsigned  short_year:1;
} ti_date_t;


/*
 * The forms, a letter for each field: a weekday in three letters or in full,
 * a day, a month, years of four and two digits, hour, minute, second; "_" is
 * a day whose first digit may be a space, "." is a space.  Anything else is
 * itself.
 */

static const char *const  ti_date_forms[] = {
    "w,.d.m.Y.h:i:s.GMT",                   /* IMF-fixdate */
    "W,.d-m-y.h:i:s.GMT",                   /* RFC 850 */
    "w.m._.h:i:s.Y"                         /* asctime() */
};

#define TI_DATE_NFORMS  (sizeof(ti_date_forms) / sizeof(ti_date_forms[0]))


/* Takes n characters off the front; 0: there are not so many. */

static int
ti_date_take(ti_str_t *rest, size_t n, ti_str_t *taken)
{
    if (rest->len < n) {
        return 0;
    }

    *taken = ti_str_from(rest->data, n);
    *rest = ti_str_from(rest->data + n, rest->len - n);

    return 1;
}


static int
ti_date_digits(ti_str_t *rest, size_t n, unsigned *value)
{
    size_t    i;
    ti_str_t  s;

    if (!ti_date_take(rest, n, &s)) {
        return 0;
    }

    *value = 0;

    for (i = 0; i < n; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return 0;
        }

        *value = *value * 10 + (s.data[i] - '0');
    }

    return 1;
}


/* The place of the name, from 1; 0: none of them begins the text. */

static unsigned
ti_date_name(ti_str_t *rest, const char *const *names, size_t n)
{
    unsigned  i;
    ti_str_t  name;

    for (i = 0; i < n; i++) {
        name = ti_str_cstr(names[i]);

        if (rest->len >= name.len
            && ti_str_eq(ti_str_from(rest->data, name.len), name))
        {
            *rest = ti_str_from(rest->data + name.len, rest->len - name.len);
            return i + 1;
        }
    }

    return 0;
}


static int
ti_date_weekday(ti_str_t *rest, int full)
{
    static const char *const  names[] = {
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"
    };
    static const char *const  full_names[] = {
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
        "Sunday"
    };

    return ti_date_name(rest, full ? full_names : names, 7) != 0;
}


static int
ti_date_month(ti_str_t *rest, unsigned *month)
{
    static const char *const  names[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
        "Nov", "Dec"
    };

    *month = ti_date_name(rest, names, 12);

    return *month != 0;
}


static int
ti_date_field(ti_str_t *rest, char field, ti_date_t *date)
{
    ti_str_t  s;

    switch (field) {

    case 'w':
    case 'W':
        return ti_date_weekday(rest, field == 'W');

    case 'm':
        return ti_date_month(rest, &date->month);

    case '_':
        if (rest->len != 0 && rest->data[0] == ' ') {
            (void) ti_date_take(rest, 1, &s);
            return ti_date_digits(rest, 1, &date->day);
        }

        return ti_date_digits(rest, 2, &date->day);

    case 'd':
        return ti_date_digits(rest, 2, &date->day);

    case 'Y':
        return ti_date_digits(rest, 4, &date->year);

    case 'y':
        date->short_year = 1;
        return ti_date_digits(rest, 2, &date->year);

    case 'h':
        return ti_date_digits(rest, 2, &date->hour);

    case 'i':
        return ti_date_digits(rest, 2, &date->minute);

    case 's':
        return ti_date_digits(rest, 2, &date->second);

    case '.':
        return ti_date_take(rest, 1, &s) && s.data[0] == ' ';

    default:
        return ti_date_take(rest, 1, &s) && s.data[0] == (unsigned char) field;
    }
}


static int
ti_date_read(ti_str_t text, const char *form, ti_date_t *date)
{
    *date = (ti_date_t) { 0 };

    while (*form != '\0') {
        if (!ti_date_field(&text, *form++, date)) {
            return 0;
        }
    }

    return text.len == 0;
}


/* Days since 1970-01-01 of the Gregorian calendar; March begins the year. */

static int64_t
ti_date_days(unsigned year, unsigned month, unsigned day)
{
    int64_t  y, m;

    y = (int64_t) year - (month <= 2);
    m = (month + 9) % 12;

    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10
           + (int64_t) day - 1 - 719468;
}


static int64_t
ti_date_seconds(const ti_date_t *date)
{
    return ti_date_days(date->year, date->month, date->day) * TI_DATE_DAY
           + (int64_t) date->hour * 3600 + (int64_t) date->minute * 60
           + (int64_t) date->second;
}


static int
ti_date_valid(const ti_date_t *date)
{
    unsigned  month_days;

    static const unsigned char  days[] = {
        31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    month_days = days[date->month - 1];

    if (date->month == 2
        && (date->year % 4 != 0
            || (date->year % 100 == 0 && date->year % 400 != 0)))
    {
        month_days = 28;
    }

    return date->day >= 1 && date->day <= month_days && date->hour <= 23
           && date->minute <= 59 && date->second <= 60;
}


/* RFC 9110 section 5.6.7: not more than 50 years in the future */

static void
ti_date_century(ti_date_t *date, int64_t now)
{
    unsigned  this_year;

    this_year = (unsigned) (1970 + now / (TI_DATE_DAY * INT64_C(1461) / 4));
    date->year += this_year / 100 * 100;

    if (date->year > this_year + 50) {
        date->year -= 100;

    } else if (date->year + 50 <= this_year) {
        date->year += 100;
    }
}


ti_rc_t
ti_date_parse(ti_str_t text, int64_t now, int64_t *when)
{
    size_t     i;
    ti_date_t  date;

    for (i = 0; i < TI_DATE_NFORMS; i++) {
        if (!ti_date_read(text, ti_date_forms[i], &date)) {
            continue;
        }

        if (date.short_year) {
            ti_date_century(&date, now);
        }

        if (date.year < 1970 || !ti_date_valid(&date)) {
            return TI_DECLINED;
        }

        *when = ti_date_seconds(&date);

        return TI_OK;
    }

    return TI_DECLINED;
}


int64_t
ti_date_retry_after(ti_str_t text, int64_t now, int64_t max)
{
    size_t   i;
    int64_t  delay;

    delay = 0;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            break;
        }

        if (delay <= max) {
            delay = delay * 10 + (text.data[i] - '0');
        }
    }

    if (i == 0 || i < text.len) {
        if (ti_date_parse(text, now, &delay) != TI_OK) {
            return 0;
        }

        delay -= now;
    }

    if (delay < 1) {
        return 1;
    }

    return delay > max ? max : delay;
}
