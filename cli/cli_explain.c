/*
 * explain: who may use what, and which rule says so.
 */

#include <stdio.h>
#include <string.h>

#include "tokenctl.h"


#define TOKENCTL_CLAIMS_MAX  65536


static tokenctl_exit_t
tokenctl_explain_claims(tokenctl_t *ctl, json_t **claims)
{
    ti_str_t          text;
    const char       *file, *why;
    tokenctl_exit_t   rc;

    file = ctl->value[TOKENCTL_OPT_CLAIMS_FILE];

    rc = tokenctl_file_read(ctl, file, TOKENCTL_CLAIMS_MAX, 0, &text);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    switch (ti_json_parse_object(text, TOKENCTL_CLAIMS_MAX, claims, &why)) {

    case TI_OK:
        return TOKENCTL_DONE;

    case TI_DECLINED:
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: %s; claims are the "
                             "JSON object in the middle of a token",
                             strcmp(file, "-") == 0 ? "standard input" : file,
                             why);

    default:
        return tokenctl_fail_memory(ctl);
    }
}


/* Why, in words of the rules; what is the line of a rule. */

static const char *
tokenctl_explain_why(const tokenctl_rules_t *rules, int allowed)
{
    if (rules->why != NULL) {
        return rules->why;
    }

    switch (rules->segment.kind) {

    case TI_SEGMENT_EVERYONE:
        return "everyone";

    case TI_SEGMENT_NOBODY:
        return "nobody";

    default:
        return allowed ? NULL : "no rule is for these claims";
    }
}


static tokenctl_exit_t
tokenctl_explain_print(tokenctl_t *ctl, const tokenctl_rules_t *rules,
    void *data)
{
    int          allowed;
    size_t       n;
    json_t      *claims = data;
    ti_str_t     rule;
    const char  *why, *name, *line;

    allowed = rules->why == NULL
              && ti_segment_allows(&rules->segment, claims, &n);

    why = tokenctl_explain_why(rules, allowed);
    rule = why == NULL ? rules->segment.lines[n] : ti_str_cstr(why);

    if (ctl->value[TOKENCTL_OPT_JSON] != NULL) {
        return tokenctl_print_json(ctl,
                   json_pack("{s:s%, s:b, s:o, s:s%}",
                             "provider", rules->provider.data,
                             rules->provider.len,
                             "allowed", allowed,
                             "rule", why == NULL ? json_integer(n + 1)
                                                 : json_null(),
                             "why", rule.data, rule.len));
    }

    name = tokenctl_printable(ctl, rules->provider);
    line = tokenctl_printable(ctl, rule);

    if (name == NULL || line == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    printf("%s: %s", name, allowed ? "yes" : "no");

    if (why == NULL) {
        printf(", by rule %zu", n + 1);
    }

    printf(": %s\n", line);

    return TOKENCTL_DONE;
}


/* Rules in a file are judged in the place of those in Redis. */

static tokenctl_exit_t
tokenctl_explain_rules(tokenctl_t *ctl, json_t *claims)
{
    tokenctl_exit_t   rc;
    tokenctl_rules_t  rules;

    if (ctl->value[TOKENCTL_OPT_RULES_FILE] != NULL) {
        rc = tokenctl_rules_file(ctl, &rules);

        return rc == TOKENCTL_DONE
               ? tokenctl_explain_print(ctl, &rules, claims) : rc;
    }

    rc = tokenctl_rules_open(ctl);

    return rc == TOKENCTL_DONE
           ? tokenctl_rules_each(ctl, tokenctl_explain_print, claims) : rc;
}


tokenctl_exit_t
tokenctl_explain(tokenctl_t *ctl)
{
    json_t           *claims;
    tokenctl_exit_t   rc;

    rc = tokenctl_explain_claims(ctl, &claims);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_explain_rules(ctl, claims);
        json_decref(claims);
    }

    return rc;
}
