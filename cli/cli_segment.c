/*
 * segment: for whom a provider is, as Redis says it to every node.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenctl.h"


/*
 * ARGV: provider, channel, and the value where there is one.  Published first:
 * who may not publish changes nothing.
 */

static const char  tokenctl_segment_script[] =
    "if not ARGV[3] and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then\n"
    "    return 0\n"
    "end\n"
    "redis.call('PUBLISH', ARGV[2], KEYS[1])\n"
    "if ARGV[3] then\n"
    "    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])\n"
    "else\n"
    "    redis.call('HDEL', KEYS[1], ARGV[1])\n"
    "end\n"
    "return 1\n";


tokenctl_exit_t
tokenctl_rules_parse(tokenctl_t *ctl, tokenctl_rules_t *rules)
{
    size_t       line;
    const char  *why;

    why = "";

    switch (ti_segment_parse(&ctl->scratch.ti, rules->text, &rules->segment,
                             &line, &why))
    {

    case TI_OK:
        return TOKENCTL_DONE;

    case TI_DECLINED:
        rules->why = why;
        rules->line = line;
        return TOKENCTL_NOT_FOUND;

    default:
        return tokenctl_fail_memory(ctl);
    }
}


tokenctl_exit_t
tokenctl_rules_file(tokenctl_t *ctl, tokenctl_rules_t *rules)
{
    const char       *file;
    tokenctl_exit_t   rc;

    file = ctl->value[TOKENCTL_OPT_RULES_FILE];

    memset(rules, 0, sizeof(tokenctl_rules_t));
    rules->provider = ti_str_cstr(ctl->value[TOKENCTL_OPT_PROVIDER]);

    rc = tokenctl_file_read(ctl, file, TI_SEGMENT_MAX_SIZE, 0, &rules->text);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_rules_parse(ctl, rules);
    }

    if (rc == TOKENCTL_NOT_FOUND) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s, line %zu: %s",
                             strcmp(file, "-") == 0 ? "standard input" : file,
                             rules->line, rules->why);
    }

    return rc;
}


/* NOT_FOUND: Redis has none for the provider, or no longer. */

static tokenctl_exit_t
tokenctl_rules_get(tokenctl_t *ctl, ti_str_t name, ti_str_t *value)
{
    redisReply       *reply;
    tokenctl_exit_t   rc;

    const ti_str_t  argv[] = { ti_string("HGET"), ctl->name, name };

    rc = tokenctl_store_ask(ctl, argv, 3, &reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    switch (reply->type) {

    case REDIS_REPLY_STRING:
        *value = ti_str_from(reply->str, reply->len);

        if (ti_pool_copy(&ctl->scratch.ti, *value, value) != TI_OK) {
            rc = tokenctl_fail_memory(ctl);
        }

        break;

    case REDIS_REPLY_NIL:
        rc = TOKENCTL_NOT_FOUND;
        break;

    case REDIS_REPLY_ERROR:
        rc = tokenctl_store_refused(ctl, reply);
        break;

    default:
        rc = tokenctl_store_unexpected(ctl);
    }

    freeReplyObject(reply);

    return rc;
}


/* What is not as it should be is said, as the module will see it. */

static tokenctl_exit_t
tokenctl_rules_fetch(tokenctl_t *ctl, ti_str_t name, tokenctl_rules_t *rules)
{
    ti_str_t         value;
    tokenctl_exit_t  rc;

    memset(rules, 0, sizeof(tokenctl_rules_t));
    rules->provider = name;
    value = ti_null_str;

    rc = tokenctl_rules_get(ctl, name, &value);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    switch (ti_segment_verify(ctl->crypto, ctl->ring, name, value,
                              &rules->text))
    {

    case TI_OK:
        break;

    case TI_DECLINED:
        rules->text = ti_null_str;
        rules->why = "not the mark of these keys";
        return TOKENCTL_DONE;

    default:
        return tokenctl_fail_memory(ctl);
    }

    rc = tokenctl_rules_parse(ctl, rules);

    return rc == TOKENCTL_NOT_FOUND ? TOKENCTL_DONE : rc;
}


static int
tokenctl_rules_order(const void *a, const void *b)
{
    const redisReply *const  *one = a;
    const redisReply *const  *two = b;

    return strcmp((*one)->str, (*two)->str);
}


static tokenctl_exit_t
tokenctl_rules_names(tokenctl_t *ctl, redisReply **reply)
{
    size_t            i;
    redisReply       *r;
    tokenctl_exit_t   rc;

    const ti_str_t  argv[] = { ti_string("HKEYS"), ctl->name };

    rc = tokenctl_store_ask(ctl, argv, 2, reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    r = *reply;

    if (r->type == REDIS_REPLY_ERROR) {
        rc = tokenctl_store_refused(ctl, r);

    } else if (r->type != REDIS_REPLY_ARRAY) {
        rc = tokenctl_store_unexpected(ctl);
    }

    for (i = 0; rc == TOKENCTL_DONE && i < r->elements; i++) {
        if (r->element[i]->type != REDIS_REPLY_STRING) {
            rc = tokenctl_store_unexpected(ctl);
        }
    }

    if (rc != TOKENCTL_DONE) {
        freeReplyObject(r);
        return rc;
    }

    if (r->elements != 0) {
        qsort(r->element, r->elements, sizeof(redisReply *),
              tokenctl_rules_order);
    }

    return TOKENCTL_DONE;
}


/* Names the hash, and opens the store. */

tokenctl_exit_t
tokenctl_rules_open(tokenctl_t *ctl)
{
    if (ti_segment_name(&ctl->pool.ti, ctl->prefix, &ctl->name) != TI_OK) {
        return tokenctl_fail_memory(ctl);
    }

    return tokenctl_store_open(ctl);
}


static tokenctl_exit_t
tokenctl_rules_one(tokenctl_t *ctl, ti_str_t name, tokenctl_rules_pt each,
    void *data)
{
    tokenctl_exit_t   rc;
    tokenctl_rules_t  rules;

    rc = tokenctl_rules_fetch(ctl, name, &rules);

    if (rc == TOKENCTL_DONE) {
        rc = each(ctl, &rules, data);
    }

    tokenctl_pool_reset(&ctl->scratch);

    return rc;
}


tokenctl_exit_t
tokenctl_rules_each(tokenctl_t *ctl, tokenctl_rules_pt each, void *data)
{
    size_t            i;
    ti_str_t          name;
    redisReply       *names;
    const char       *provider;
    tokenctl_exit_t   rc;

    provider = ctl->value[TOKENCTL_OPT_PROVIDER];

    if (provider != NULL) {
        rc = tokenctl_rules_one(ctl, ti_str_cstr(provider), each, data);

        return rc == TOKENCTL_NOT_FOUND
               ? tokenctl_fail(ctl, rc, "no rules in Redis for %s: what "
                               "\"allow\" says in nginx's configuration "
                               "holds", provider)
               : rc;
    }

    rc = tokenctl_rules_names(ctl, &names);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    for (i = 0; i < names->elements; i++) {
        name = ti_str_from(names->element[i]->str, names->element[i]->len);

        rc = tokenctl_rules_one(ctl, name, each, data);

        if (rc == TOKENCTL_NOT_FOUND) {     /* gone meanwhile */
            rc = TOKENCTL_DONE;
        }

        if (rc != TOKENCTL_DONE) {
            break;
        }
    }

    freeReplyObject(names);

    return rc;
}


static json_t *
tokenctl_segment_lines(const tokenctl_rules_t *rules)
{
    size_t                i;
    json_t               *lines;
    const ti_segment_t   *segment;

    segment = &rules->segment;

    if (rules->why != NULL) {
        return json_null();
    }

    if (segment->kind == TI_SEGMENT_EVERYONE) {
        return json_string("everyone");
    }

    if (segment->kind == TI_SEGMENT_NOBODY) {
        return json_string("nobody");
    }

    lines = json_array();

    for (i = 0; lines != NULL && i < segment->nrules; i++) {
        if (json_array_append_new(lines,
                         json_stringn((const char *) segment->lines[i].data,
                                      segment->lines[i].len)) != 0)
        {
            json_decref(lines);
            return NULL;
        }
    }

    return lines;
}


static tokenctl_exit_t
tokenctl_segment_print(tokenctl_t *ctl, const tokenctl_rules_t *rules,
    void *data)
{
    ti_str_t     text, line;
    const char  *end, *name, *shown;

    if (ctl->value[TOKENCTL_OPT_JSON] != NULL) {
        return tokenctl_print_json(ctl,
                   json_pack("{s:s%, s:o, s:s?}",
                             "provider", rules->provider.data,
                             rules->provider.len,
                             "rules", tokenctl_segment_lines(rules),
                             "broken", rules->why));
    }

    name = tokenctl_printable(ctl, rules->provider);
    if (name == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    if (rules->why != NULL) {
        printf("%s: nobody, for the rules can't be used: %s\n", name,
               rules->why);
        return TOKENCTL_DONE;
    }

    text = rules->text;

    while (text.len != 0) {
        end = memchr(text.data, '\n', text.len);
        line = text;

        if (end != NULL) {
            line.len = (size_t) (end - (const char *) text.data);
        }

        shown = tokenctl_printable(ctl, line);
        if (shown == NULL) {
            return tokenctl_fail_memory(ctl);
        }

        printf("%s: %s\n", name, shown);

        text.data += line.len + (end != NULL);
        text.len -= line.len + (end != NULL);
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_segment_change(tokenctl_t *ctl, const ti_str_t *value)
{
    int              changed;
    ti_str_t         argv[7];
    tokenctl_exit_t  rc;

    argv[0] = ti_str("EVAL");
    argv[1] = ti_str_cstr(tokenctl_segment_script);
    argv[2] = ti_str("1");
    argv[3] = ctl->name;
    argv[4] = ti_str_cstr(ctl->value[TOKENCTL_OPT_PROVIDER]);
    argv[6] = value != NULL ? *value : ti_null_str;

    rc = tokenctl_store_changes(ctl, &argv[5]);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_script(ctl, argv, value != NULL ? 7 : 6,
                                   &changed);
    }

    if (rc == TOKENCTL_DONE && !changed) {
        return tokenctl_fail(ctl, TOKENCTL_NOT_FOUND, "no rules in Redis for "
                             "%s", ctl->value[TOKENCTL_OPT_PROVIDER]);
    }

    return rc;
}


/* The rules are read and judged before Redis is asked for anything. */

static tokenctl_exit_t
tokenctl_segment_set(tokenctl_t *ctl)
{
    ti_str_t          value;
    tokenctl_exit_t   rc;
    tokenctl_rules_t  rules;

    rc = tokenctl_rules_file(ctl, &rules);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (ti_segment_sign(ctl->crypto, &ctl->pool.ti, ctl->ring, rules.provider,
                        rules.text, &value) != TI_OK)
    {
        return tokenctl_fail_memory(ctl);
    }

    rc = tokenctl_rules_open(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_segment_change(ctl, &value);
    }

    if (rc == TOKENCTL_DONE && ctl->value[TOKENCTL_OPT_JSON] != NULL) {
        rc = tokenctl_segment_print(ctl, &rules, NULL);
    }

    return rc;
}


tokenctl_exit_t
tokenctl_segment(tokenctl_t *ctl)
{
    tokenctl_exit_t  rc;

    if (ctl->value[TOKENCTL_OPT_RULES_FILE] != NULL) {
        return tokenctl_segment_set(ctl);
    }

    rc = tokenctl_rules_open(ctl);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (ctl->value[TOKENCTL_OPT_CLEAR] == NULL) {
        return tokenctl_rules_each(ctl, tokenctl_segment_print, NULL);
    }

    rc = tokenctl_segment_change(ctl, NULL);

    if (rc == TOKENCTL_DONE && ctl->value[TOKENCTL_OPT_JSON] != NULL) {
        rc = tokenctl_print_json(ctl,
                 json_pack("{s:s, s:b}",
                           "provider", ctl->value[TOKENCTL_OPT_PROVIDER],
                           "cleared", 1));
    }

    return rc;
}
