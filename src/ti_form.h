/*
 * Floor 1: names and values as they stand in a query or in a body of
 * application/x-www-form-urlencoded.
 *
 * Whatever is not unreserved (RFC 3986 section 2.3) is percent-encoded, a
 * space too: every reader of either form takes "%20" for one, and "+" means
 * something in one of them only.
 */

#ifndef TI_FORM_H
#define TI_FORM_H

#include "ti_base.h"


typedef struct {
    ti_str_t  name;
    ti_str_t  value;
} ti_form_param_t;


/*
 * A text that is written where it is, or, with a dst of NULL, counted: what
 * writes a form does so twice.
 */

typedef struct {
    unsigned char  *dst;
    size_t          len;
} ti_form_t;

/* as it is */
void ti_form_raw(ti_form_t *form, ti_str_t text);

/* percent-encoded */
void ti_form_text(ti_form_t *form, ti_str_t text);

/* name "=" value, both percent-encoded, after a "&" unless separator is 0 */
void ti_form_param(ti_form_t *form, int separator, ti_str_t name,
    ti_str_t value);
void ti_form_params(ti_form_t *form, const ti_form_param_t *params, size_t n);


/*
 * The value of an Authorization field, "Basic …" (RFC 7617), of a client's
 * id and secret, each form-encoded before they are joined (RFC 6749 section
 * 2.3.1).  The memory is the pool's, and the caller's to wipe.
 */

ti_rc_t ti_form_basic(const ti_pool_t *pool, ti_str_t id, ti_str_t secret,
    ti_str_t *value);


#endif /* TI_FORM_H */
