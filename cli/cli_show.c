/*
 * show and delete: one connection, looked at or gone.
 */

#include <string.h>

#include "tokenctl.h"


/* Published first: who may not publish deletes nothing. */

static const char  tokenctl_delete_script[] =
    "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end\n"
    "redis.call('PUBLISH', ARGV[1], KEYS[1])\n"
    "redis.call('DEL', KEYS[1])\n"
    "return 1\n";


static tokenctl_exit_t
tokenctl_not_found(tokenctl_t *ctl)
{
    return tokenctl_fail(ctl, TOKENCTL_NOT_FOUND, "no such connection: %.*s",
                         tokenctl_arg(ctl->name));
}


static tokenctl_exit_t
tokenctl_show_open(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    ti_str_t *token)
{
    const char       *why;
    const ti_str_t   *field;
    ti_record_t       record;
    ti_record_ref_t   ref;

    field = conn->field;
    why = "";

    memset(&ref, 0, sizeof(ref));

    ref.kind = TI_RECORD_ACCESS;
    ref.who = ctl->who;
    ref.provider = conn->provider;
    ref.device = conn->device;
    ref.user_key = ctl->has_user_key ? ctl->user_key : NULL;
    ref.cid = field[TOKENCTL_FIELD_CID];

    if (field[TOKENCTL_FIELD_ACCESS].data == NULL
        || field[TOKENCTL_FIELD_GEN].data == NULL
        || ti_decimal_parse(field[TOKENCTL_FIELD_GEN], TI_RECORD_GEN_MAX,
                            &ref.gen) != TI_OK)
    {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%.*s: without access or "
                             "gen it is no connection; put it again",
                             tokenctl_arg(conn->name));
    }

    switch (ti_record_open(ctl->crypto, &ctl->pool.ti, ctl->ring, &ref,
                           field[TOKENCTL_FIELD_ACCESS], &record, &why))
    {

    case TI_RESULT_OK:
        *token = record.token;
        return TOKENCTL_DONE;

    case TI_RESULT_INTERNAL_ERROR:
        return tokenctl_fail_memory(ctl);

    default:
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%.*s: it does not open: "
                             "%s", tokenctl_arg(conn->name), why);
    }
}


static tokenctl_exit_t
tokenctl_show_print(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    ti_str_t token)
{
    json_t  *object, *value;

    if (ctl->value[TOKENCTL_OPT_JSON] == NULL) {
        tokenctl_print_connection(ctl, conn, token);
        return TOKENCTL_DONE;
    }

    object = tokenctl_connection_json(ctl, conn);

    if (object != NULL && token.len != 0) {
        value = json_stringn((const char *) token.data, token.len);

        if (json_object_set_new(object, "access", value) != 0) {
            json_decref(object);
            object = NULL;
        }
    }

    return tokenctl_print_json(ctl, object);
}


tokenctl_exit_t
tokenctl_show(tokenctl_t *ctl)
{
    ti_str_t               token;
    tokenctl_exit_t        rc;
    tokenctl_connection_t  conn;

    rc = tokenctl_connection_locate(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_open(ctl);
    }

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    tokenctl_connection_here(ctl, &conn);
    token = ti_null_str;

    rc = tokenctl_connection_fetch(ctl, &conn);

    if (rc == TOKENCTL_NOT_FOUND) {
        return tokenctl_not_found(ctl);
    }

    if (rc == TOKENCTL_DONE && conn.foreign) {
        rc = tokenctl_store_refused(ctl, conn.reply);
    }

    if (rc == TOKENCTL_DONE && ctl->value[TOKENCTL_OPT_REVEAL] != NULL) {
        rc = tokenctl_show_open(ctl, &conn, &token);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_show_print(ctl, &conn, token);
    }

    tokenctl_connection_free(&conn);

    return rc;
}


tokenctl_exit_t
tokenctl_delete(tokenctl_t *ctl)
{
    int              changed;
    ti_str_t         argv[5];
    tokenctl_exit_t  rc;

    rc = tokenctl_connection_locate(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_open(ctl);
    }

    argv[0] = ti_str("EVAL");
    argv[1] = ti_str_cstr(tokenctl_delete_script);
    argv[2] = ti_str("1");
    argv[3] = ctl->name;

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_changes(ctl, &argv[4]);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_store_script(ctl, argv, 5, &changed);
    }

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (!changed) {
        return tokenctl_not_found(ctl);
    }

    if (ctl->value[TOKENCTL_OPT_JSON] == NULL) {
        return TOKENCTL_DONE;
    }

    return tokenctl_print_json(ctl,
               json_pack("{s:s%, s:s, s:s%, s:b}",
                         "name", ctl->name.data, ctl->name.len,
                         "provider", ctl->value[TOKENCTL_OPT_PROVIDER],
                         "device", ctl->device.data, ctl->device.len,
                         "deleted", 1));
}
