/*
 * Floor 3: for whom a provider is, as a text that is kept in Redis.
 *
 * A text is rules, one to a line, each as behind "allow" in the
 * configuration: CLAIM=VALUE VALUE…, the last "=" of the first word ending
 * the claim's name.  Words stand between spaces; one that has a space, or a
 * quote, or is empty is written in double quotes, where a backslash takes the
 * next character as it is.  One line of "everyone" or "nobody" is what it
 * says.  Lines of nothing but spaces are none.
 *
 * In Redis, the text stands behind a mark that only who has the index key can
 * make, and that binds it to its provider: "<b64u HMAC-SHA-256> <text>".
 * Whoever can write to Redis alone can remove rules or bring back older ones,
 * and cannot let anybody in that never was.
 */

#ifndef TI_SEGMENT_H
#define TI_SEGMENT_H

#include "ti_claims.h"
#include "ti_record.h"


#define TI_SEGMENT_MAX_SIZE   65536
#define TI_SEGMENT_MAX_RULES  256


typedef enum {
    TI_SEGMENT_RULES,
    TI_SEGMENT_EVERYONE,
    TI_SEGMENT_NOBODY
} ti_segment_kind_t;

typedef struct {
    ti_segment_kind_t        kind;
    const ti_claims_rule_t  *rules;
    const ti_str_t          *lines;         /* each rule as it was written */
    size_t                   nrules;
} ti_segment_t;


/*
 * The hash "<prefix>segments" holds a field for each provider that has rules;
 * its name is what a change of any publishes on "changes".
 */

ti_rc_t ti_segment_name(const ti_pool_t *pool, ti_str_t prefix,
    ti_str_t *name);


/*
 * Memory is the pool's; lines borrow from the text.  TI_DECLINED: *line is
 * the number of the one that is wrong, from 1, and *why a static phrase.
 */

ti_rc_t ti_segment_parse(const ti_pool_t *pool, ti_str_t text,
    ti_segment_t *segment, size_t *line, const char **why);


/* Between the text and what is kept of it in Redis, for one provider. */

ti_rc_t ti_segment_sign(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_keyring_t *ring, ti_str_t provider, ti_str_t text,
    ti_str_t *value);

/* text borrows from value; TI_DECLINED: the mark is not this provider's */
ti_rc_t ti_segment_verify(ti_crypto_t *crypto, const ti_keyring_t *ring,
    ti_str_t provider, ti_str_t value, ti_str_t *text);


/*
 * Is the provider for who has these claims?  *rule is the place of the first
 * rule that says so; it is nrules where none does or none is asked.
 */

int ti_segment_allows(const ti_segment_t *segment, const json_t *claims,
    size_t *rule);


#endif /* TI_SEGMENT_H */
