/*
 * Floor 2: who it was that consented.
 */

#include <string.h>

#include "ti_oauth_private.h"


/* C0, DEL, and C1 in UTF-8, which is 0xC2 and a byte below 0xA0 */

static int
ti_oauth_is_name(ti_str_t text)
{
    size_t  i;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7F
            || (text.data[i] == 0xC2 && i + 1 < text.len
                && text.data[i + 1] < 0xA0))
        {
            return 0;
        }
    }

    return text.len != 0 && text.len <= TI_OAUTH_ACCOUNT_MAX;
}


static ti_rc_t
ti_oauth_account_copy(const ti_pool_t *pool, const json_t *value,
    ti_str_t *account, const char **why)
{
    size_t         len;
    ti_str_t       text;
    unsigned char  decimal[TI_DECIMAL_LEN];

    if (json_is_string(value)) {
        text = ti_json_str(value);

    } else if (json_is_integer(value) && json_integer_value(value) >= 0) {
        len = ti_decimal_format(decimal, (uint64_t) json_integer_value(value));
        text = ti_str_from(decimal, len);

    } else {
        *why = "no account's name in the userinfo reply";
        return TI_DECLINED;
    }

    if (!ti_oauth_is_name(text)) {
        *why = "the account's name is empty, too long or has control "
               "characters";
        return TI_DECLINED;
    }

    return ti_pool_copy(pool, text, account);
}


ti_rc_t
ti_oauth_account(const ti_pool_t *pool, const ti_oauth_reply_t *reply,
    const ti_json_path_t *path, ti_str_t *account, const char **why)
{
    json_t   *object;
    ti_rc_t   rc;

    if (reply->status != 200) {
        *why = "the userinfo reply is not 200";
        return TI_DECLINED;
    }

    rc = ti_json_parse_object(reply->body, TI_OAUTH_REPLY_MAX, &object, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_oauth_account_copy(pool, ti_json_path_find(path, object), account,
                               why);
    json_decref(object);

    return rc;
}


static int
ti_oauth_is_address(ti_str_t text)
{
    return text.len != 0 && memchr(text.data, '@', text.len) != NULL;
}


int
ti_oauth_account_is(ti_str_t account, ti_str_t name)
{
    if (account.len == 0) {
        return 0;
    }

    if (ti_oauth_is_address(account) && ti_oauth_is_address(name)) {
        return ti_str_caseeq(account, name);
    }

    return ti_str_eq(account, name);
}


ti_rc_t
ti_oauth_id_token(const json_t *claims, ti_str_t client_id, ti_str_t nonce,
    const char **why)
{
    ti_str_t       text;
    const json_t  *aud;

    if (nonce.len == 0 || ti_json_string(claims, "nonce", &text) != TI_OK
        || !ti_equal_ct(text, nonce))
    {
        *why = "the ID token's \"nonce\" is not the one that was sent";
        return TI_DECLINED;
    }

    aud = json_object_get(claims, "aud");

    if (!ti_json_has(claims, "azp")) {

        if (json_is_array(aud) && json_array_size(aud) > 1) {
            *why = "the ID token is for several, and has no \"azp\"";
            return TI_DECLINED;
        }

        return TI_OK;
    }

    if (ti_json_string(claims, "azp", &text) != TI_OK
        || !ti_str_eq(text, client_id))
    {
        *why = "the ID token's \"azp\" is not this client";
        return TI_DECLINED;
    }

    return TI_OK;
}
