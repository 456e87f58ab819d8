/*
 * Floor 1: dates and delays in header fields (RFC 9110 sections 5.6.7 and
 * 10.2.3).
 */

#ifndef TI_DATE_H
#define TI_DATE_H

#include "ti_base.h"


/*
 * An HTTP-date in any of its three forms to Unix seconds.  A year of two
 * digits is the one that is at most 50 years ahead of now.  The day's name is
 * not compared with the day.  TI_DECLINED: not a date, or before 1970.
 */

ti_rc_t ti_date_parse(ti_str_t text, int64_t now, int64_t *when);


/*
 * The seconds of a Retry-After, a date less now, kept within 1 and max;
 * 0 where the text says nothing that can be read.
 */

int64_t ti_date_retry_after(ti_str_t text, int64_t now, int64_t max);


#endif /* TI_DATE_H */
