#include <string.h>

#include "ti_connections.h"


/* RFC 7493: what every reader of JSON takes for an integer */

#define TI_CONNECTIONS_TIME_MAX  ((UINT64_C(1) << 53) - 1)


static const char  ti_connections_no_memory[] = "no memory";


static ti_result_t
ti_connections_result(ti_rc_t rc, const char **why)
{
    switch (rc) {

    case TI_OK:
        return TI_RESULT_OK;

    case TI_DECLINED:
        return TI_RESULT_REQUEST_INVALID;

    default:
        *why = ti_connections_no_memory;
        return TI_RESULT_INTERNAL_ERROR;
    }
}


ti_result_t
ti_connections_read_empty(ti_str_t body, const char **why)
{
    json_t   *object;
    ti_rc_t   rc;

    if (body.len == 0) {
        return TI_RESULT_OK;
    }

    rc = ti_json_parse_object(body, TI_CONNECTIONS_BODY_MAX, &object, why);

    if (rc == TI_OK) {
        json_decref(object);
    }

    return ti_connections_result(rc, why);
}


static ti_rc_t
ti_connections_text(const ti_pool_t *pool, const json_t *object,
    const char *name, ti_str_t *text)
{
    *text = ti_null_str;

    if (!ti_json_has(object, name)) {
        return TI_OK;
    }

    if (ti_json_string(object, name, text) != TI_OK) {
        return TI_DECLINED;
    }

    if (text->len == 0) {
        *text = ti_null_str;
        return TI_OK;
    }

    return ti_pool_copy(pool, *text, text);
}


static ti_rc_t
ti_connections_take(const ti_pool_t *pool, const json_t *object,
    ti_connections_code_t *code, const char **why)
{
    size_t   i;
    ti_rc_t  rc;

    const struct {
        const char  *name;
        ti_str_t    *text;
    } members[] = {
        { "code", &code->code }, { "state", &code->state },
        { "iss", &code->iss }, { "error", &code->error },
        { "admin_consent", &code->admin_consent }
    };

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        rc = ti_connections_text(pool, object, members[i].name,
                                 members[i].text);
        if (rc != TI_OK) {
            *why = "a member of the body is not a string";
            return rc;
        }
    }

    if (code->state.len == 0) {
        *why = "no \"state\" in the body";
        return TI_DECLINED;
    }

    if (code->code.len == 0 && code->error.len == 0
        && code->admin_consent.len == 0)
    {
        *why = "no \"code\" in the body";
        return TI_DECLINED;
    }

    return TI_OK;
}


ti_result_t
ti_connections_read_code(const ti_pool_t *pool, ti_str_t body,
    ti_connections_code_t *code, const char **why)
{
    json_t    *object;
    ti_rc_t    rc;
    ti_str_t   text;

    memset(code, 0, sizeof(ti_connections_code_t));

    rc = ti_json_parse_object(body, TI_CONNECTIONS_BODY_MAX, &object, why);
    if (rc != TI_OK) {
        return ti_connections_result(rc, why);
    }

    rc = ti_connections_take(pool, object, code, why);

    if (ti_json_string(object, "code", &text) == TI_OK) {
        ti_wipe((void *) text.data, text.len);
    }

    json_decref(object);

    return ti_connections_result(rc, why);
}


static int64_t
ti_connection_time(ti_str_t text)
{
    uint64_t  value;

    if (ti_decimal_parse(text, TI_CONNECTIONS_TIME_MAX, &value) != TI_OK) {
        return 0;
    }

    return (int64_t) value;
}


void
ti_connection_read(const ti_connection_fields_t *fields, int64_t now,
    ti_connection_t *connection)
{
    connection->scope = fields->scope;
    connection->since = ti_connection_time(fields->since);
    connection->expires_at = ti_connection_time(fields->exp);
    connection->refreshable = fields->refresh;
    connection->account = ti_null_str;
    connection->state = TI_CONNECTION_CONNECTED;

    if (ti_str_eq(fields->state, ti_str("reconnect"))
        || (!fields->refresh && connection->expires_at != 0
            && connection->expires_at <= now))
    {
        connection->state = TI_CONNECTION_RECONNECT;
    }
}


/*
 * null for what is empty, or no text that every reader of JSON takes: then
 * somebody else wrote it.
 */

static json_t *
ti_connections_string(ti_str_t text)
{
    json_t  *string;

    if (text.len == 0 || memchr(text.data, '\0', text.len) != NULL) {
        return json_null();
    }

    string = json_stringn((const char *) text.data, text.len);

    return string != NULL ? string : json_null();
}


static json_t *
ti_connections_time(int64_t when)
{
    return when <= 0 ? json_null() : json_integer((json_int_t) when);
}


static json_t *
ti_connections_object(const ti_connection_t *connection)
{
    json_t  *refreshable;

    static const char *const  states[] = {
        [TI_CONNECTION_NONE] = "none",
        [TI_CONNECTION_CONNECTED] = "connected",
        [TI_CONNECTION_RECONNECT] = "reconnect"
    };

    refreshable = connection->refreshable < 0
                  ? json_null() : json_boolean(connection->refreshable);

    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o}",
                     "provider", ti_connections_string(connection->provider),
                     "state", states[connection->state],
                     "scope", ti_connections_string(connection->scope),
                     "since", ti_connections_time(connection->since),
                     "expires_at", ti_connections_time(connection->expires_at),
                     "refreshable", refreshable,
                     "account", ti_connections_string(connection->account));
}


/* Takes the object over; NULL, no memory, included. */

static ti_rc_t
ti_connections_write(const ti_pool_t *pool, json_t *object, ti_str_t *json)
{
    size_t          len;
    unsigned char  *p;

    len = json_dumpb(object, NULL, 0, JSON_COMPACT);
    p = (len == 0) ? NULL : ti_pool_alloc(pool, len);

    if (p != NULL) {
        len = json_dumpb(object, (char *) p, len, JSON_COMPACT);
        *json = ti_str_from(p, len);
    }

    json_decref(object);

    return p == NULL ? TI_ERROR : TI_OK;
}


ti_rc_t
ti_connections_write_one(const ti_pool_t *pool,
    const ti_connection_t *connection, ti_str_t *json)
{
    return ti_connections_write(pool, ti_connections_object(connection), json);
}


ti_rc_t
ti_connections_write_list(const ti_pool_t *pool,
    const ti_connection_t *connections, size_t n, ti_str_t *json)
{
    size_t   i;
    json_t  *list;

    list = json_array();

    for (i = 0; i < n; i++) {
        if (json_array_append_new(list, ti_connections_object(&connections[i]))
            != 0)
        {
            json_decref(list);
            return TI_ERROR;
        }
    }

    return ti_connections_write(pool, json_pack("{s:o}", "connections", list),
                                json);
}


ti_rc_t
ti_connections_write_start(const ti_pool_t *pool, ti_str_t url,
    int64_t expires_in, ti_str_t *json)
{
    return ti_connections_write(pool,
                                json_pack("{s:s%, s:I}", "authorization_url",
                                          (const char *) url.data, url.len,
                                          "expires_in",
                                          (json_int_t) expires_in),
                                json);
}
