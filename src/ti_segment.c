#include <string.h>

#include "ti_segment.h"


#define TI_SEGMENT_MARK_LEN  43             /* b64u of a HMAC-SHA-256 */


/* A line being taken apart into words; those with quotes go to the pool. */

typedef struct {
    const ti_pool_t  *pool;
    ti_str_t          rest;
    const char       *why;
} ti_segment_line_t;


ti_rc_t
ti_segment_name(const ti_pool_t *pool, ti_str_t prefix, ti_str_t *name)
{
    unsigned char  *p;

    static const ti_str_t  segments = ti_string("segments");

    p = ti_pool_alloc(pool, prefix.len + segments.len);
    if (p == NULL) {
        return TI_ERROR;
    }

    if (prefix.len != 0) {
        memcpy(p, prefix.data, prefix.len);
    }

    memcpy(p + prefix.len, segments.data, segments.len);
    *name = ti_str_from(p, prefix.len + segments.len);

    return TI_OK;
}


static void
ti_segment_skip_spaces(ti_str_t *text)
{
    while (text->len != 0 && text->data[0] == ' ') {
        *text = ti_str_from(text->data + 1, text->len - 1);
    }
}


/* Behind its quote, up to the other one: *n characters of the line. */

static ti_rc_t
ti_segment_quoted(ti_segment_line_t *line, ti_str_t *word, size_t *n)
{
    size_t          i, len;
    unsigned char  *p;

    p = ti_pool_alloc(line->pool, line->rest.len);
    if (p == NULL) {
        return TI_ERROR;
    }

    len = 0;

    for (i = 1; i < line->rest.len && line->rest.data[i] != '"'; i++) {
        if (line->rest.data[i] == '\\' && ++i == line->rest.len) {
            break;
        }

        p[len++] = line->rest.data[i];
    }

    if (i >= line->rest.len) {
        line->why = "a quote that does not end";
        return TI_DECLINED;
    }

    *word = ti_str_from(p, len);
    *n = i + 1;

    return TI_OK;
}


/* TI_OK with an empty rest and data of NULL: there is no more. */

static ti_rc_t
ti_segment_word(ti_segment_line_t *line, ti_str_t *word)
{
    size_t   n;
    ti_rc_t  rc;

    ti_segment_skip_spaces(&line->rest);

    *word = ti_null_str;

    if (line->rest.len == 0) {
        return TI_OK;
    }

    if (line->rest.data[0] == '"') {
        rc = ti_segment_quoted(line, word, &n);
        if (rc != TI_OK) {
            return rc;
        }

    } else {
        for (n = 0; n < line->rest.len && line->rest.data[n] != ' '; n++) {
            if (line->rest.data[n] == '"') {
                line->why = "a quote inside of a word";
                return TI_DECLINED;
            }
        }

        *word = ti_str_from(line->rest.data, n);
    }

    line->rest = ti_str_from(line->rest.data + n, line->rest.len - n);

    if (line->rest.len != 0 && line->rest.data[0] != ' ') {
        line->why = "no space behind a quote";
        return TI_DECLINED;
    }

    return TI_OK;
}


static ti_rc_t
ti_segment_value(ti_segment_line_t *line, ti_str_t value, ti_str_t *values,
    size_t *n)
{
    if (value.len == 0) {
        line->why = "an empty value";
        return TI_DECLINED;
    }

    if (!ti_claims_value_valid(value)) {
        line->why = "\"*@\" without a host name behind it";
        return TI_DECLINED;
    }

    values[(*n)++] = value;

    return TI_OK;
}


/* The claim's name and what stands behind the last "=", of the first word. */

static ti_rc_t
ti_segment_claim(ti_segment_line_t *line, ti_str_t word, ti_json_path_t *path,
    ti_str_t *value)
{
    size_t   n;
    ti_rc_t  rc;

    for (n = word.len; n > 0 && word.data[n - 1] != '='; n--) {
        /* void */
    }

    if (n < 2) {
        line->why = "no CLAIM=VALUE, \"everyone\" or \"nobody\"";
        return TI_DECLINED;
    }

    *value = ti_str_from(word.data + n, word.len - n);

    rc = ti_json_path_compile(line->pool, ti_str_from(word.data, n - 1), path);

    if (rc == TI_DECLINED) {
        line->why = "names a claim by an invalid JSON pointer";
    }

    return rc;
}


static ti_rc_t
ti_segment_rule(ti_segment_line_t *line, ti_claims_rule_t *rule)
{
    size_t    n;
    ti_rc_t   rc;
    ti_str_t  word, *values;

    /* a word takes a character and a space, the last one no space */

    n = 0;
    values = ti_pool_alloc(line->pool,
                           (line->rest.len / 2 + 1) * sizeof(ti_str_t));
    if (values == NULL) {
        return TI_ERROR;
    }

    rc = ti_segment_word(line, &word);

    if (rc == TI_OK) {
        rc = ti_segment_claim(line, word, &rule->path, &word);
    }

    while (rc == TI_OK) {
        rc = ti_segment_value(line, word, values, &n);

        if (rc == TI_OK) {
            rc = ti_segment_word(line, &word);
        }

        if (rc == TI_OK && word.data == NULL) {
            break;
        }
    }

    rule->values = values;
    rule->nvalues = n;

    return rc;
}


/* Takes a line off the text, without what is white at its ends. */

static ti_str_t
ti_segment_next(ti_str_t *text)
{
    ti_str_t              line;
    const unsigned char  *end;

    line = *text;
    end = memchr(text->data, '\n', text->len);

    if (end == NULL) {
        *text = ti_null_str;

    } else {
        line.len = (size_t) (end - line.data);
        *text = ti_str_from(end + 1, text->len - line.len - 1);
    }

    ti_segment_skip_spaces(&line);

    while (line.len != 0 && line.data[line.len - 1] == ' ') {
        line.len--;
    }

    return line;
}


static const char *
ti_segment_objection(ti_str_t text)
{
    size_t  i;

    if (text.len > TI_SEGMENT_MAX_SIZE) {
        return "rules above 65536 bytes";
    }

    for (i = 0; i < text.len; i++) {
        if ((text.data[i] < 0x20 && text.data[i] != '\n')
            || text.data[i] == 0x7F)
        {
            return "a control character";
        }
    }

    return NULL;
}


/* "everyone" and "nobody" are whole texts, not rules among others. */

static ti_rc_t
ti_segment_take(const ti_pool_t *pool, ti_str_t text, ti_segment_t *segment,
    ti_claims_rule_t *rule, const char **why)
{
    ti_rc_t            rc;
    ti_segment_line_t  line = { pool, text, NULL };

    if (segment->kind != TI_SEGMENT_RULES) {
        *why = "rules beside \"everyone\" or \"nobody\"";
        return TI_DECLINED;
    }

    if (ti_str_eq(text, ti_str("everyone"))
        || ti_str_eq(text, ti_str("nobody")))
    {
        if (segment->nrules != 0) {
            *why = "rules beside \"everyone\" or \"nobody\"";
            return TI_DECLINED;
        }

        segment->kind = ti_str_eq(text, ti_str("nobody"))
                        ? TI_SEGMENT_NOBODY : TI_SEGMENT_EVERYONE;
        return TI_OK;
    }

    if (segment->nrules == TI_SEGMENT_MAX_RULES) {
        *why = "more than 256 rules";
        return TI_DECLINED;
    }

    rc = ti_segment_rule(&line, rule);
    *why = (rc == TI_ERROR) ? "no memory" : line.why;

    segment->nrules += (rc == TI_OK);

    return rc;
}


static size_t
ti_segment_count(ti_str_t text)
{
    size_t  i, n;

    n = 1;

    for (i = 0; i < text.len; i++) {
        n += (text.data[i] == '\n');
    }

    return n > TI_SEGMENT_MAX_RULES ? TI_SEGMENT_MAX_RULES + 1 : n;
}


ti_rc_t
ti_segment_parse(const ti_pool_t *pool, ti_str_t text, ti_segment_t *segment,
    size_t *line, const char **why)
{
    size_t             n;
    ti_rc_t            rc;
    ti_str_t           this, *lines;
    ti_claims_rule_t  *rules;

    *line = 1;
    memset(segment, 0, sizeof(ti_segment_t));

    *why = ti_segment_objection(text);
    if (*why != NULL) {
        return TI_DECLINED;
    }

    n = ti_segment_count(text);
    rules = ti_pool_alloc(pool, n * sizeof(ti_claims_rule_t));
    lines = ti_pool_alloc(pool, n * sizeof(ti_str_t));

    if (rules == NULL || lines == NULL) {
        *why = "no memory";
        return TI_ERROR;
    }

    segment->rules = rules;
    segment->lines = lines;

    for ( ; text.len != 0; (*line)++) {
        this = ti_segment_next(&text);

        if (this.len == 0) {
            continue;
        }

        n = segment->nrules;
        rc = ti_segment_take(pool, this, segment, &rules[n], why);

        if (rc != TI_OK) {
            return rc;
        }

        if (segment->nrules > n) {
            lines[n] = this;
        }
    }

    if (segment->kind == TI_SEGMENT_RULES && segment->nrules == 0) {
        *why = "no rule, which could mean everyone or nobody";
        return TI_DECLINED;
    }

    return TI_OK;
}


static ti_rc_t
ti_segment_mark(ti_crypto_t *crypto, const ti_keyring_t *ring,
    ti_str_t provider, ti_str_t text, unsigned char *mark)
{
    ti_rc_t        rc;
    ti_str_t       fields[3];
    unsigned char  mac[TI_SHA256_LEN];

    fields[0] = ti_str("segment");
    fields[1] = provider;
    fields[2] = text;

    rc = ti_crypto_hmac_enc(crypto, ti_keyring_index_key(ring), fields, 3,
                            mac);
    if (rc == TI_OK) {
        ti_b64u_encode(mark, ti_str_from(mac, sizeof(mac)));
    }

    return rc;
}


ti_rc_t
ti_segment_sign(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_keyring_t *ring, ti_str_t provider, ti_str_t text,
    ti_str_t *value)
{
    unsigned char  *p;

    p = ti_pool_alloc(pool, TI_SEGMENT_MARK_LEN + 1 + text.len);
    if (p == NULL) {
        return TI_ERROR;
    }

    p[TI_SEGMENT_MARK_LEN] = ' ';

    if (text.len != 0) {
        memcpy(p + TI_SEGMENT_MARK_LEN + 1, text.data, text.len);
    }

    *value = ti_str_from(p, TI_SEGMENT_MARK_LEN + 1 + text.len);

    return ti_segment_mark(crypto, ring, provider, text, p);
}


ti_rc_t
ti_segment_verify(ti_crypto_t *crypto, const ti_keyring_t *ring,
    ti_str_t provider, ti_str_t value, ti_str_t *text)
{
    unsigned char  mark[TI_SEGMENT_MARK_LEN];

    if (value.len <= TI_SEGMENT_MARK_LEN
        || value.len > TI_SEGMENT_MAX_SIZE + TI_SEGMENT_MARK_LEN + 1
        || value.data[TI_SEGMENT_MARK_LEN] != ' ')
    {
        return TI_DECLINED;
    }

    *text = ti_str_from(value.data + TI_SEGMENT_MARK_LEN + 1,
                        value.len - TI_SEGMENT_MARK_LEN - 1);

    if (ti_segment_mark(crypto, ring, provider, *text, mark) != TI_OK) {
        return TI_ERROR;
    }

    return ti_equal_ct(ti_str_from(mark, sizeof(mark)),
                       ti_str_from(value.data, TI_SEGMENT_MARK_LEN))
           ? TI_OK : TI_DECLINED;
}


int
ti_segment_allows(const ti_segment_t *segment, const json_t *claims,
    size_t *rule)
{
    *rule = segment->nrules;

    if (segment->kind != TI_SEGMENT_RULES) {
        return segment->kind == TI_SEGMENT_EVERYONE;
    }

    for (*rule = 0; *rule < segment->nrules; (*rule)++) {
        if (ti_claims_allowed(claims, &segment->rules[*rule], 1)) {
            return 1;
        }
    }

    return 0;
}
