/*
 * A connection: its name, and its fields in Redis (record-format.md).
 */

#include <string.h>

#include "tokenctl.h"


#define TOKENCTL_USER_KEY_MAX  43           /* characters */


const ti_str_t  tokenctl_field_names[TOKENCTL_FIELD_LAST] = {
    [TOKENCTL_FIELD_GEN] = ti_string("gen"),
    [TOKENCTL_FIELD_CID] = ti_string("cid"),
    [TOKENCTL_FIELD_EXP] = ti_string("exp"),
    [TOKENCTL_FIELD_SCOPE] = ti_string("scope"),
    [TOKENCTL_FIELD_SINCE] = ti_string("since"),
    [TOKENCTL_FIELD_STATE] = ti_string("state"),
    [TOKENCTL_FIELD_ACCESS] = ti_string("access"),
    [TOKENCTL_FIELD_REFRESH] = ti_string("refresh"),
    [TOKENCTL_FIELD_PREVIOUS] = ti_string("previous"),
    [TOKENCTL_FIELD_ACCOUNT] = ti_string("account")
};


static tokenctl_exit_t
tokenctl_user_key_load(tokenctl_t *ctl, const char *path)
{
    ti_str_t         text;
    tokenctl_exit_t  rc;

    rc = tokenctl_file_read(ctl, path, TOKENCTL_USER_KEY_MAX, 0, &text);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (ti_user_key_decode(text, ctl->user_key) != TI_OK) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: a user key is 43 "
                             "characters of base64url, as tokenctl userkey "
                             "makes them",
                             strcmp(path, "-") == 0 ? "standard input" : path);
    }

    ctl->has_user_key = 1;

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_device_name(tokenctl_t *ctl)
{
    size_t          len;
    unsigned char  *device;

    if (ctl->value[TOKENCTL_OPT_DEVICE] != NULL) {
        ctl->device = ti_str_cstr(ctl->value[TOKENCTL_OPT_DEVICE]);
        return TOKENCTL_DONE;
    }

    device = ti_pool_alloc(&ctl->pool.ti, TI_RECORD_DEVICE_MAX);

    if (device == NULL
        || ti_record_device(ctl->crypto,
                            ctl->has_user_key ? ctl->user_key : NULL,
                            device, &len) != TI_OK)
    {
        return tokenctl_fail_memory(ctl);
    }

    ctl->device = ti_str_from(device, len);

    return TOKENCTL_DONE;
}


tokenctl_exit_t
tokenctl_connection_locate(tokenctl_t *ctl)
{
    const char       *key, *provider;
    unsigned char     user[TI_RECORD_USER_LEN];
    tokenctl_exit_t   rc;

    key = ctl->value[TOKENCTL_OPT_USER_KEY_FILE];
    provider = ctl->value[TOKENCTL_OPT_PROVIDER];

    rc = key != NULL ? tokenctl_user_key_load(ctl, key) : TOKENCTL_DONE;

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_device_name(ctl);
    }

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (ti_record_user(ctl->crypto, ctl->ring, &ctl->who, user) != TI_OK
        || ti_record_connection_name(&ctl->pool.ti, ctl->prefix,
                                     ti_str_from(user, sizeof(user)),
                                     ti_str_cstr(provider), ctl->device,
                                     &ctl->name) != TI_OK)
    {
        return tokenctl_fail_memory(ctl);
    }

    return TOKENCTL_DONE;
}


void
tokenctl_connection_here(tokenctl_t *ctl, tokenctl_connection_t *conn)
{
    memset(conn, 0, sizeof(tokenctl_connection_t));

    conn->name = ctl->name;
    conn->provider = ti_str_cstr(ctl->value[TOKENCTL_OPT_PROVIDER]);
    conn->device = ctl->device;
}


ti_rc_t
tokenctl_connection_parse(ti_str_t prefix, ti_str_t name,
    tokenctl_connection_t *conn)
{
    ti_rc_t            rc;
    ti_record_parts_t  parts;

    rc = ti_record_connection_parse(prefix, name, &parts);
    if (rc != TI_OK) {
        return rc;
    }

    memset(conn, 0, sizeof(tokenctl_connection_t));

    conn->name = name;
    conn->provider = parts.provider;
    conn->device = parts.device;

    return TI_OK;
}


tokenctl_exit_t
tokenctl_connection_ask(tokenctl_t *ctl, ti_str_t name)
{
    ti_str_t  argv[TOKENCTL_FIELD_LAST + 2];

    argv[0] = ti_str("HMGET");
    argv[1] = name;
    memcpy(&argv[2], tokenctl_field_names, sizeof(tokenctl_field_names));

    return tokenctl_store_send(ctl, argv, TOKENCTL_FIELD_LAST + 2);
}


static tokenctl_exit_t
tokenctl_connection_fill(tokenctl_t *ctl, tokenctl_connection_t *conn)
{
    size_t             i, found;
    const redisReply  *e, *reply;

    reply = conn->reply;

    if (reply->type == REDIS_REPLY_ERROR) {

        if (strncmp(reply->str, "WRONGTYPE ", 10) != 0) {
            return tokenctl_store_refused(ctl, reply);
        }

        conn->foreign = 1;
        return TOKENCTL_DONE;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements != TOKENCTL_FIELD_LAST)
    {
        return tokenctl_store_unexpected(ctl);
    }

    found = 0;

    for (i = 0; i < TOKENCTL_FIELD_LAST; i++) {
        e = reply->element[i];

        if (e->type == REDIS_REPLY_NIL) {
            continue;
        }

        if (e->type != REDIS_REPLY_STRING) {
            return tokenctl_store_unexpected(ctl);
        }

        conn->field[i] = ti_str_from(e->str, e->len);
        found++;
    }

    return found != 0 ? TOKENCTL_DONE : TOKENCTL_NOT_FOUND;
}


tokenctl_exit_t
tokenctl_connection_take(tokenctl_t *ctl, tokenctl_connection_t *conn)
{
    tokenctl_exit_t  rc;

    memset(conn->field, 0, sizeof(conn->field));
    conn->foreign = 0;

    rc = tokenctl_store_reply(ctl, &conn->reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    rc = tokenctl_connection_fill(ctl, conn);

    if (rc != TOKENCTL_DONE) {
        tokenctl_connection_free(conn);
    }

    return rc;
}


tokenctl_exit_t
tokenctl_connection_fetch(tokenctl_t *ctl, tokenctl_connection_t *conn)
{
    tokenctl_exit_t  rc;

    tokenctl_connection_free(conn);

    rc = tokenctl_connection_ask(ctl, conn->name);

    return rc == TOKENCTL_DONE ? tokenctl_connection_take(ctl, conn) : rc;
}


void
tokenctl_connection_free(tokenctl_connection_t *conn)
{
    if (conn->reply != NULL) {
        freeReplyObject(conn->reply);
        conn->reply = NULL;
    }

    memset(conn->field, 0, sizeof(conn->field));
}
