/*
 * put: a consent, given by the operator.  It replaces the whole connection.
 */

#include <string.h>
#include <time.h>

#include "tokenctl.h"
#include "ti_header.h"


#define TOKENCTL_DAY        86400
#define TOKENCTL_PUT_TRIES  16

/* the longest list of fields: names and values of all eight */
#define TOKENCTL_PUT_ARGS   (7 + 2 * TOKENCTL_FIELD_LAST)


/*
 * Published first: a user without the right to publish changes nothing, and
 * nobody can ask for the connection before the script ends.  A value of
 * another type has no gen and is replaced.
 */

static const char  tokenctl_put_script[] =
    "local gen = redis.pcall('HGET', KEYS[1], 'gen')\n"
    "if type(gen) ~= 'string' then gen = '' end\n"
    "if gen ~= ARGV[1] then return 0 end\n"
    "redis.call('PUBLISH', ARGV[2], KEYS[1])\n"
    "redis.call('DEL', KEYS[1])\n"
    "redis.call('HSET', KEYS[1], unpack(ARGV, 4))\n"
    "redis.call('EXPIREAT', KEYS[1], ARGV[3])\n"
    "return 1\n";


typedef struct {
    ti_str_t  access;
    ti_str_t  refresh;                      /* data NULL: none */
    int64_t   now;
    int64_t   expires;                      /* of the access token */
} tokenctl_consent_t;

typedef struct {
    char  bytes[TI_DECIMAL_LEN];
} tokenctl_number_t;


static ti_str_t
tokenctl_number(tokenctl_number_t *n, uint64_t value)
{
    return ti_str_from(n->bytes,
                       ti_decimal_format((unsigned char *) n->bytes, value));
}


static tokenctl_exit_t
tokenctl_put_token(tokenctl_t *ctl, const char *path, ti_str_t *token)
{
    tokenctl_exit_t  rc;

    rc = tokenctl_file_read(ctl, path, TI_RECORD_TOKEN_MAX, 0, token);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (!ti_header_b64token(*token)) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: not a token: it is "
                             "letters, digits and - . _ ~ + /, then any =, on "
                             "one line",
                             strcmp(path, "-") == 0 ? "standard input" : path);
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_put_consent(tokenctl_t *ctl, tokenctl_consent_t *consent)
{
    const char       *refresh;
    tokenctl_exit_t   rc;

    refresh = ctl->value[TOKENCTL_OPT_REFRESH_FILE];

    memset(consent, 0, sizeof(tokenctl_consent_t));

    consent->now = (int64_t) time(NULL);
    consent->expires = consent->now + (int64_t) ctl->expires_in;

    rc = tokenctl_put_token(ctl, ctl->value[TOKENCTL_OPT_ACCESS_FILE],
                            &consent->access);

    if (rc == TOKENCTL_DONE && refresh != NULL) {
        rc = tokenctl_put_token(ctl, refresh, &consent->refresh);
    }

    return rc;
}


/* One more than what is there; *before: its bytes, as the script compares. */

static tokenctl_exit_t
tokenctl_put_next_gen(tokenctl_t *ctl, tokenctl_connection_t *conn,
    ti_str_t *before, uint64_t *gen)
{
    ti_str_t         field;
    tokenctl_exit_t  rc;

    rc = tokenctl_connection_fetch(ctl, conn);

    if (rc != TOKENCTL_DONE && rc != TOKENCTL_NOT_FOUND) {
        return rc;
    }

    field = conn->field[TOKENCTL_FIELD_GEN];

    if (ti_pool_copy(&ctl->pool.ti, field, before) != TI_OK) {
        return tokenctl_fail_memory(ctl);
    }

    /* not a number: nothing opens under it, and counting begins again */

    if (field.len == 0
        || ti_decimal_parse(field, TI_RECORD_GEN_MAX, gen) != TI_OK)
    {
        *gen = 0;
    }

    if (*gen == TI_RECORD_GEN_MAX) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "the connection's gen is at"
                             " its end; tokenctl delete it first");
    }

    (*gen)++;

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_put_seal(tokenctl_t *ctl, const tokenctl_consent_t *consent,
    ti_record_ref_t *ref, ti_str_t *access, ti_str_t *refresh)
{
    ti_rc_t      rc;
    ti_record_t  record;

    memset(&record, 0, sizeof(ti_record_t));

    ref->kind = TI_RECORD_ACCESS;
    record.token = consent->access;
    record.expires = consent->expires;

    rc = ti_record_seal(ctl->crypto, &ctl->pool.ti, &ctl->random, ctl->ring,
                        ref, &record, access);

    if (rc == TI_OK && consent->refresh.data != NULL) {
        ref->kind = TI_RECORD_REFRESH;
        record.token = consent->refresh;
        record.expires = 0;

        rc = ti_record_seal(ctl->crypto, &ctl->pool.ti, &ctl->random, ctl->ring,
                            ref, &record, refresh);
    }

    return rc == TI_OK ? TOKENCTL_DONE
                       : tokenctl_fail(ctl, TOKENCTL_FAILED,
                                       "the token cannot be sealed");
}


/* The life of a refresh token is not known here. */

static int64_t
tokenctl_put_end(const tokenctl_consent_t *consent)
{
    if (consent->refresh.data != NULL) {
        return consent->now + 90 * TOKENCTL_DAY;
    }

    return consent->expires + 30 * TOKENCTL_DAY;
}


static tokenctl_exit_t
tokenctl_put_write(tokenctl_t *ctl, const tokenctl_consent_t *consent,
    const ti_str_t *field, ti_str_t before, int *changed)
{
    size_t             i, n;
    ti_str_t           argv[TOKENCTL_PUT_ARGS];
    tokenctl_exit_t    rc;
    tokenctl_number_t  end;

    n = 0;
    argv[n++] = ti_str("EVAL");
    argv[n++] = ti_str_cstr(tokenctl_put_script);
    argv[n++] = ti_str("1");
    argv[n++] = ctl->name;
    argv[n++] = before;

    rc = tokenctl_store_changes(ctl, &argv[n++]);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    argv[n++] = tokenctl_number(&end, (uint64_t) tokenctl_put_end(consent));

    for (i = 0; i < TOKENCTL_FIELD_LAST; i++) {
        if (field[i].data != NULL) {
            argv[n++] = tokenctl_field_names[i];
            argv[n++] = field[i];
        }
    }

    return tokenctl_store_script(ctl, argv, n, changed);
}


static tokenctl_exit_t
tokenctl_put_try(tokenctl_t *ctl, const tokenctl_consent_t *consent,
    tokenctl_connection_t *conn, ti_str_t cid, int *changed)
{
    ti_str_t           before, field[TOKENCTL_FIELD_LAST];
    const char        *scope;
    tokenctl_exit_t    rc;
    ti_record_ref_t    ref;
    tokenctl_number_t  gen, exp, since;

    memset(field, 0, sizeof(field));
    memset(&ref, 0, sizeof(ref));

    ref.who = ctl->who;
    ref.provider = conn->provider;
    ref.device = conn->device;
    ref.user_key = ctl->has_user_key ? ctl->user_key : NULL;
    ref.cid = cid;

    rc = tokenctl_put_next_gen(ctl, conn, &before, &ref.gen);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_put_seal(ctl, consent, &ref,
                               &field[TOKENCTL_FIELD_ACCESS],
                               &field[TOKENCTL_FIELD_REFRESH]);
    }

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    scope = ctl->value[TOKENCTL_OPT_SCOPE];

    if (scope != NULL) {
        field[TOKENCTL_FIELD_SCOPE] = ti_str_cstr(scope);
    }

    field[TOKENCTL_FIELD_CID] = cid;
    field[TOKENCTL_FIELD_STATE] = ti_str("connected");
    field[TOKENCTL_FIELD_GEN] = tokenctl_number(&gen, ref.gen);
    field[TOKENCTL_FIELD_EXP] = tokenctl_number(&exp,
                                                (uint64_t) consent->expires);
    field[TOKENCTL_FIELD_SINCE] = tokenctl_number(&since,
                                                  (uint64_t) consent->now);

    return tokenctl_put_write(ctl, consent, field, before, changed);
}


static tokenctl_exit_t
tokenctl_put_print(tokenctl_t *ctl, tokenctl_connection_t *conn)
{
    tokenctl_exit_t  rc;

    if (ctl->value[TOKENCTL_OPT_JSON] == NULL) {
        return TOKENCTL_DONE;
    }

    rc = tokenctl_connection_fetch(ctl, conn);

    if (rc == TOKENCTL_NOT_FOUND) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "the connection was "
                             "written, and is gone again");
    }

    return rc == TOKENCTL_DONE
           ? tokenctl_print_json(ctl, tokenctl_connection_json(ctl, conn)) : rc;
}


tokenctl_exit_t
tokenctl_put(tokenctl_t *ctl)
{
    int                    changed, tries;
    ti_str_t               cid;
    unsigned char          raw[16], text[TI_RECORD_CID_LEN];
    tokenctl_exit_t        rc;
    tokenctl_consent_t     consent;
    tokenctl_connection_t  conn;

    rc = tokenctl_connection_locate(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_put_consent(ctl, &consent);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_open(ctl);
    }

    if (rc == TOKENCTL_DONE
        && ctl->random.fill(ctl->random.data, raw, sizeof(raw)) != TI_OK)
    {
        rc = tokenctl_fail(ctl, TOKENCTL_FAILED, "no random bytes");
    }

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    cid = ti_str_from(text, ti_b64u_encode(text,
                                           ti_str_from(raw, sizeof(raw))));

    tokenctl_connection_here(ctl, &conn);
    changed = 0;

    for (tries = 0; tries < TOKENCTL_PUT_TRIES; tries++) {
        rc = tokenctl_put_try(ctl, &consent, &conn, cid, &changed);

        if (rc != TOKENCTL_DONE || changed) {
            break;
        }
    }

    if (rc == TOKENCTL_DONE && !changed) {
        rc = tokenctl_fail(ctl, TOKENCTL_FAILED, "others keep writing this "
                           "connection; nothing was changed, try again");
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_put_print(ctl, &conn);
    }

    tokenctl_connection_free(&conn);

    return rc;
}
