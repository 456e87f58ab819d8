/*
 * Floor 2: what is asked of a claims set (RFC 7519 section 4).
 */

#ifndef TI_CLAIMS_H
#define TI_CLAIMS_H

#include "ti_json.h"


/*
 * A claim as text, for variables and headers: strings as they are, integers
 * in decimal, reals as JSON writes them, "true" and "false", arrays of these
 * joined by "," ; null, objects, nested arrays and absent claims are empty.
 * A text with a byte below 0x20 or 0x7F is empty, so no claim can split a
 * header.  Memory comes from the pool, or is borrowed from the claims.
 */

ti_rc_t ti_claims_text(const ti_pool_t *pool, const json_t *claims,
    const ti_json_path_t *path, ti_str_t *text);


/*
 * A claim that must name someone: a string, or an integer in decimal, not
 * empty and without a byte below 0x20 or 0x7F.  TI_DECLINED otherwise.
 */

ti_rc_t ti_claims_name(const ti_pool_t *pool, const json_t *claims,
    const ti_json_path_t *path, ti_str_t *name);


/*
 * One "allow CLAIM=VALUE VALUE…": a value equals a string claim or an element
 * of an array of strings, exactly.  A value "*@DOMAIN" stands for every e-mail
 * address of that domain, subdomains not included: one "@" with something
 * before it, the domain compared without regard to case.  It matches nobody
 * whose claims say that "email_verified" is false, or the text "false".
 */

typedef struct {
    ti_json_path_t   path;
    const ti_str_t  *values;
    size_t           nvalues;
} ti_claims_rule_t;

/* is it "*@" and a host name, or a value that does not begin with "*@"? */
int ti_claims_value_valid(ti_str_t value);

/* any rule suffices; no rules: everyone */
int ti_claims_allowed(const json_t *claims, const ti_claims_rule_t *rules,
    size_t nrules);


#endif /* TI_CLAIMS_H */
