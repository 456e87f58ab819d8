/*
 * Floor 1: what header fields say, as bytes (RFC 9110, RFC 6750, RFC 6265).
 */

#ifndef TI_HEADER_H
#define TI_HEADER_H

#include "ti_base.h"


#define TI_TOKEN_MAX       8192             /* a caller's token */
#define TI_USER_KEY_TEXT   43               /* b64u of 32 bytes */


/*
 * The credentials of "Bearer <token>" (RFC 6750 section 2.1): the scheme
 * without regard to case, one or more spaces, then the rest up to trailing
 * spaces.  TI_DECLINED: another scheme or nothing.  The token is not looked at:
 * judging it is ti_jwt's.
 */

ti_rc_t ti_header_bearer(ti_str_t value, ti_str_t *token);


/* b64token of RFC 6750 section 2.1: at least one character, then "="s. */

int ti_header_b64token(ti_str_t token);


/*
 * A Cookie header without one cookie: every pair in which nginx's $cookie_
 * variable would find that name goes (without regard to case, and behind a
 * comma too), the others keep their bytes and order.  dst needs room for
 * value.len bytes; returns what is left, 0 for none.
 */

size_t ti_header_cookie_strip(unsigned char *dst, ti_str_t value,
    ti_str_t name);

/*
 * How many cookies of that name are in a Cookie header, found as above; *out
 * is the first one's value, borrowed.  More than one is somebody's trick: two
 * who read it need not mean the same.
 */

size_t ti_header_cookie(ti_str_t value, ti_str_t name, ti_str_t *out);


/*
 * Is the name one of the comma-separated, case-insensitive tokens of the
 * list?  Parameters ("max-age=0", "private=\"x, no-store\"") belong to their
 * own token; a quoted string never begins a new one.
 */

int ti_header_lists(ti_str_t list, ti_str_t name);

/*
 * What stands behind "=" of the first such token: a token, or what is between
 * the quotes, as it is.  TI_DECLINED: no such token, or it has nothing of the
 * kind, or something else behind it.
 */

ti_rc_t ti_header_argument(ti_str_t list, ti_str_t name, ti_str_t *argument);


/*
 * Every member of a comma-separated list is in names (case-insensitive) and
 * none is "*": what a Vary may name for its answer to be kept.
 */

int ti_header_vary_within(ti_str_t vary, const ti_str_t *names, size_t n);


#endif /* TI_HEADER_H */
