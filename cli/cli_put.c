/*
 * put: a consent, given by the operator.  It replaces the whole connection.
 */

#include <string.h>
#include <time.h>

#include "tokenctl.h"
#include "ti_header.h"
#include "ti_write.h"


#define TOKENCTL_PUT_TRIES  16


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
tokenctl_put_consent(tokenctl_t *ctl, ti_write_t *write)
{
    const char       *refresh, *scope;
    tokenctl_exit_t   rc;

    refresh = ctl->value[TOKENCTL_OPT_REFRESH_FILE];
    scope = ctl->value[TOKENCTL_OPT_SCOPE];

    memset(write, 0, sizeof(ti_write_t));

    write->prefix = ctl->prefix;
    write->name = ctl->name;
    write->ref.who = ctl->who;
    write->ref.user_key = ctl->has_user_key ? ctl->user_key : NULL;
    write->now = (int64_t) time(NULL);
    write->since = write->now;
    write->expires = write->now + (int64_t) ctl->expires_in;

    if (scope != NULL) {
        write->scope = ti_str_cstr(scope);
    }

    rc = tokenctl_put_token(ctl, ctl->value[TOKENCTL_OPT_ACCESS_FILE],
                            &write->access);

    if (rc == TOKENCTL_DONE && refresh != NULL) {
        rc = tokenctl_put_token(ctl, refresh, &write->refresh);
    }

    return rc;
}


/* *changed: 0 where somebody else wrote it meanwhile */

static tokenctl_exit_t
tokenctl_put_try(tokenctl_t *ctl, tokenctl_connection_t *conn,
    ti_write_t *write, int *changed)
{
    size_t           n;
    ti_str_t         before, argv[TI_WRITE_ARGS];
    tokenctl_exit_t  rc;

    rc = tokenctl_connection_fetch(ctl, conn);

    if (rc != TOKENCTL_DONE && rc != TOKENCTL_NOT_FOUND) {
        return rc;
    }

    before = conn->field[TOKENCTL_FIELD_GEN];

    switch (ti_write_command(ctl->crypto, &ctl->pool.ti, &ctl->random,
                             ctl->ring, write, before, argv, &n))
    {
    case TI_OK:
        return tokenctl_store_script(ctl, argv, n, changed);

    case TI_DECLINED:
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "the connection's gen is at"
                             " its end; tokenctl delete it first");

    default:
        return tokenctl_fail(ctl, TOKENCTL_FAILED,
                             "the token cannot be sealed");
    }
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
    ti_write_t             write;
    unsigned char          cid[TI_RECORD_CID_LEN];
    tokenctl_exit_t        rc;
    tokenctl_connection_t  conn;

    rc = tokenctl_connection_locate(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_put_consent(ctl, &write);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_open(ctl);
    }

    if (rc == TOKENCTL_DONE && ti_write_cid(&ctl->random, cid) != TI_OK) {
        rc = tokenctl_fail(ctl, TOKENCTL_FAILED, "no random bytes");
    }

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    tokenctl_connection_here(ctl, &conn);

    write.ref.provider = conn.provider;
    write.ref.device = conn.device;
    write.ref.cid = ti_str_from(cid, sizeof(cid));

    changed = 0;

    for (tries = 0; tries < TOKENCTL_PUT_TRIES; tries++) {
        rc = tokenctl_put_try(ctl, &conn, &write, &changed);

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
