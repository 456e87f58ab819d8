/*
 * A connection for eyes and for programs.  What Redis holds is anybody's: a
 * terminal gets no control characters of it, JSON no bytes that are not UTF-8.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tokenctl.h"


#define TOKENCTL_TIME_MAX  INT64_C(253402300799)    /* 9999-12-31 23:59:59 */

typedef struct {
    ti_str_t  kid;                          /* empty: unknown */
    ti_str_t  state;
    ti_str_t  account;                      /* empty: unknown */
    int64_t   gen;                          /* 0: unknown, as below */
    int64_t   since;
    int64_t   expires;
} tokenctl_facts_t;


static int64_t
tokenctl_fact_number(ti_str_t field, int64_t max)
{
    uint64_t  value;

    if (field.data == NULL
        || ti_decimal_parse(field, (uint64_t) max, &value) != TI_OK)
    {
        return 0;
    }

    return (int64_t) value;
}


/* It names somebody, so it opens for who knows whose connection it is. */

static ti_str_t
tokenctl_fact_account(tokenctl_t *ctl, const tokenctl_connection_t *conn)
{
    const char       *why;
    ti_record_t       record;
    ti_record_ref_t   ref;

    memset(&ref, 0, sizeof(ref));

    ref.kind = TI_RECORD_ACCOUNT;
    ref.who = ctl->who;
    ref.provider = conn->provider;
    ref.device = conn->device;
    ref.cid = conn->field[TOKENCTL_FIELD_CID];

    if (!ctl->has_who || conn->field[TOKENCTL_FIELD_ACCOUNT].data == NULL
        || ti_record_open(ctl->crypto, &ctl->scratch.ti, ctl->ring, &ref,
                          conn->field[TOKENCTL_FIELD_ACCOUNT], &record, &why)
           != TI_RESULT_OK)
    {
        return ti_null_str;
    }

    return record.token;
}


static void
tokenctl_facts(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    tokenctl_facts_t *facts)
{
    const char        *why;
    const ti_str_t    *field;
    ti_record_head_t   head;

    field = conn->field;

    memset(facts, 0, sizeof(tokenctl_facts_t));

    facts->account = tokenctl_fact_account(ctl, conn);
    facts->gen = tokenctl_fact_number(field[TOKENCTL_FIELD_GEN],
                                      (int64_t) TI_RECORD_GEN_MAX);
    facts->since = tokenctl_fact_number(field[TOKENCTL_FIELD_SINCE],
                                        TOKENCTL_TIME_MAX);
    facts->expires = tokenctl_fact_number(field[TOKENCTL_FIELD_EXP],
                                          TOKENCTL_TIME_MAX);

    if (ti_str_eq(field[TOKENCTL_FIELD_STATE], ti_str("connected"))
        || ti_str_eq(field[TOKENCTL_FIELD_STATE], ti_str("reconnect")))
    {
        facts->state = field[TOKENCTL_FIELD_STATE];
    }

    /* what the record says of its end decides, what the hash says does not */

    if (field[TOKENCTL_FIELD_ACCESS].data != NULL
        && ti_record_head(&ctl->scratch.ti, field[TOKENCTL_FIELD_ACCESS],
                          &head, &why) == TI_OK)
    {
        facts->kid = head.kid;

        if (head.expires > 0 && head.expires <= TOKENCTL_TIME_MAX) {
            facts->expires = head.expires;
        }
    }
}


static json_t *
tokenctl_json_str(ti_str_t s)
{
    json_t  *string;

    if (s.len == 0) {
        return json_null();
    }

    string = json_stringn((const char *) s.data, s.len);

    return string != NULL ? string : json_null();
}


static json_t *
tokenctl_json_number(int64_t n)
{
    return n != 0 ? json_integer(n) : json_null();
}


json_t *
tokenctl_connection_json(tokenctl_t *ctl, const tokenctl_connection_t *conn)
{
    const ti_str_t    *field;
    tokenctl_facts_t   facts;

    tokenctl_facts(ctl, conn, &facts);
    field = conn->field;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, "
                     "s:o}",
                     "name", tokenctl_json_str(conn->name),
                     "provider", tokenctl_json_str(conn->provider),
                     "device", tokenctl_json_str(conn->device),
                     "state", tokenctl_json_str(facts.state),
                     "gen", tokenctl_json_number(facts.gen),
                     "cid", tokenctl_json_str(field[TOKENCTL_FIELD_CID]),
                     "kid", tokenctl_json_str(facts.kid),
                     "scope", tokenctl_json_str(field[TOKENCTL_FIELD_SCOPE]),
                     "since", tokenctl_json_number(facts.since),
                     "expires_at", tokenctl_json_number(facts.expires),
                     "refreshable", field[TOKENCTL_FIELD_REFRESH].data != NULL,
                     "account", tokenctl_json_str(facts.account));
}


tokenctl_exit_t
tokenctl_print_json(tokenctl_t *ctl, json_t *object)
{
    char  *text;

    text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);

    if (text == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    printf("%s\n", text);
    tokenctl_free(text);

    return TOKENCTL_DONE;
}


static const char *
tokenctl_text(tokenctl_t *ctl, ti_str_t s)
{
    const char  *text;

    text = s.len != 0 ? tokenctl_printable(ctl, s) : "-";

    return text != NULL ? text : "?";
}


static const char *
tokenctl_time(char buf[32], int64_t t)
{
    time_t     tt;
    struct tm  tm;

    tt = (time_t) t;

    if (t == 0 || gmtime_r(&tt, &tm) == NULL
        || strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    {
        return "-";
    }

    return buf;
}


void
tokenctl_print_connection(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    ti_str_t token)
{
    char               buf[32];
    const ti_str_t    *field;
    tokenctl_facts_t   facts;

    tokenctl_facts(ctl, conn, &facts);
    field = conn->field;

    printf("name         %s\n", tokenctl_text(ctl, conn->name));
    printf("provider     %s\n", tokenctl_text(ctl, conn->provider));
    printf("device       %s\n", tokenctl_text(ctl, conn->device));
    printf("state        %s\n", tokenctl_text(ctl, facts.state));
    printf("gen          %lld\n", (long long) facts.gen);
    printf("cid          %s\n", tokenctl_text(ctl, field[TOKENCTL_FIELD_CID]));
    printf("kid          %s\n", tokenctl_text(ctl, facts.kid));
    printf("scope        %s\n",
           tokenctl_text(ctl, field[TOKENCTL_FIELD_SCOPE]));
    printf("since        %s\n", tokenctl_time(buf, facts.since));
    printf("expires_at   %s\n", tokenctl_time(buf, facts.expires));
    printf("refreshable  %s\n",
           field[TOKENCTL_FIELD_REFRESH].data != NULL ? "yes" : "no");

    printf("account      %s\n", tokenctl_text(ctl, facts.account));

    if (token.len != 0) {
        printf("access       %.*s\n", tokenctl_arg(token));
    }
}


void
tokenctl_print_row(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    int first)
{
    char              since[32], expires[32];
    const ti_str_t   *field;
    tokenctl_facts_t  facts;

    tokenctl_facts(ctl, conn, &facts);
    field = conn->field;

    if (first) {
        printf("%-16s %-16s %-9s %4s %-20s %-20s %-7s %-16s %s  %s\n",
               "PROVIDER", "DEVICE", "STATE", "GEN", "SINCE", "EXPIRES_AT",
               "REFRESH", "KID", "NAME", "SCOPE");
    }

    printf("%-16s %-16s %-9s %4lld %-20s %-20s %-7s %-16s %s  %s\n",
           tokenctl_text(ctl, conn->provider), tokenctl_text(ctl, conn->device),
           tokenctl_text(ctl, facts.state), (long long) facts.gen,
           tokenctl_time(since, facts.since),
           tokenctl_time(expires, facts.expires),
           field[TOKENCTL_FIELD_REFRESH].data != NULL ? "yes" : "no",
           tokenctl_text(ctl, facts.kid), tokenctl_text(ctl, conn->name),
           tokenctl_text(ctl, field[TOKENCTL_FIELD_SCOPE]));
}
