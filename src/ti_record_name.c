/*
 * Floor 2: what a record is called in Redis, and what goes into a name.
 */

#include <string.h>

#include "ti_record.h"


#define TI_RECORD_USER_BYTES    16
#define TI_RECORD_DEVICE_BYTES  12
#define TI_RECORD_CID_BYTES     16
#define TI_RECORD_DIGEST_TEXT   43              /* b64u of a SHA-256 */


ti_rc_t
ti_user_key_decode(ti_str_t text, unsigned char key[TI_KEY_LEN])
{
    size_t  len;

    if (text.len != ti_b64u_len(TI_KEY_LEN)) {
        return TI_DECLINED;
    }

    return ti_b64u_decode(key, &len, text);
}


ti_rc_t
ti_record_user(ti_crypto_t *crypto, const ti_keyring_t *ring,
    const ti_who_t *who, unsigned char user[TI_RECORD_USER_LEN])
{
    ti_rc_t        rc;
    ti_str_t       fields[4];
    unsigned char  mac[TI_SHA256_LEN];

    fields[0] = ti_str("user");
    fields[1] = who->issuer;
    fields[2] = who->tenant;
    fields[3] = who->subject;

    rc = ti_crypto_hmac_enc(crypto, ti_keyring_index_key(ring), fields, 4,
                            mac);
    if (rc != TI_OK) {
        return rc;
    }

    ti_b64u_encode(user, ti_str_from(mac, TI_RECORD_USER_BYTES));

    return TI_OK;
}


ti_rc_t
ti_record_device(ti_crypto_t *crypto, const unsigned char *user_key,
    unsigned char device[TI_RECORD_DEVICE_MAX], size_t *len)
{
    ti_rc_t        rc;
    unsigned char  id[TI_RECORD_DEVICE_BYTES];

    if (user_key == NULL) {
        device[0] = '-';
        *len = 1;
        return TI_OK;
    }

    rc = ti_crypto_hkdf(crypto, ti_str_from(user_key, TI_KEY_LEN),
                        ti_null_str, ti_str("ngx-token-injector device v1"),
                        id, sizeof(id));
    if (rc != TI_OK) {
        return rc;
    }

    *len = ti_b64u_encode(device, ti_str_from(id, sizeof(id)));

    return TI_OK;
}


int
ti_record_provider_valid(ti_str_t provider)
{
    size_t         i;
    unsigned char  c;

    if (provider.len == 0 || provider.len > TI_PROVIDER_MAX) {
        return 0;
    }

    for (i = 0; i < provider.len; i++) {
        c = provider.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        {
            return 0;
        }
    }

    return 1;
}


int
ti_record_cid_valid(ti_str_t cid)
{
    size_t         len;
    unsigned char  id[TI_RECORD_CID_BYTES];

    return cid.len == TI_RECORD_CID_LEN
           && ti_b64u_decode(id, &len, cid) == TI_OK;
}


int
ti_record_device_valid(ti_str_t device)
{
    size_t         len;
    unsigned char  id[TI_RECORD_DEVICE_BYTES];

    return ti_str_eq(device, ti_str("-"))
           || (device.len == ti_b64u_len(TI_RECORD_DEVICE_BYTES)
               && ti_b64u_decode(id, &len, device) == TI_OK);
}


static ti_rc_t
ti_record_concat(const ti_pool_t *pool, const ti_str_t *parts, size_t n,
    ti_str_t *name)
{
    size_t          i, len;
    unsigned char  *p;

    len = 0;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    p = ti_pool_alloc(pool, len);
    if (p == NULL) {
        return TI_ERROR;
    }

    *name = ti_str_from(p, len);

    for (i = 0; i < n; i++) {
        if (parts[i].len != 0) {
            memcpy(p, parts[i].data, parts[i].len);
            p += parts[i].len;
        }
    }

    return TI_OK;
}


/* What of a user's is at one provider on one device, by its kind's letter. */

static ti_rc_t
ti_record_own_name(const ti_pool_t *pool, ti_str_t prefix,
    const ti_record_parts_t *parts, ti_str_t kind, ti_str_t *name)
{
    const ti_str_t  texts[] = {
        prefix, ti_string("{"), parts->user, ti_string("}"), kind,
        parts->provider, ti_string(":"), parts->device
    };

    return ti_record_concat(pool, texts, 8, name);
}


ti_rc_t
ti_record_connection_name(const ti_pool_t *pool, ti_str_t prefix,
    ti_str_t user, ti_str_t provider, ti_str_t device, ti_str_t *name)
{
    const ti_record_parts_t  parts = { user, provider, device };

    return ti_record_own_name(pool, prefix, &parts, ti_str(":c:"), name);
}


ti_rc_t
ti_record_lock_name(const ti_pool_t *pool, ti_str_t prefix,
    const ti_record_parts_t *parts, ti_str_t *name)
{
    return ti_record_own_name(pool, prefix, parts, ti_str(":l:"), name);
}


/* Takes what the text begins with off it. */

static int
ti_record_skip(ti_str_t *text, ti_str_t prefix)
{
    if (text->len < prefix.len
        || !ti_str_eq(ti_str_from(text->data, prefix.len), prefix))
    {
        return 0;
    }

    *text = ti_str_from(text->data + prefix.len, text->len - prefix.len);

    return 1;
}


ti_rc_t
ti_record_connection_parse(ti_str_t prefix, ti_str_t name,
    ti_record_parts_t *parts)
{
    size_t                n;
    ti_str_t              rest;
    unsigned char         raw[TI_RECORD_USER_BYTES];
    const unsigned char  *colon;

    rest = name;

    if (!ti_record_skip(&rest, prefix) || !ti_record_skip(&rest, ti_str("{"))
        || rest.len < TI_RECORD_USER_LEN)
    {
        return TI_DECLINED;
    }

    parts->user = ti_str_from(rest.data, TI_RECORD_USER_LEN);

    if (ti_b64u_decode(raw, &n, parts->user) != TI_OK
        || !ti_record_skip(&rest, parts->user)
        || !ti_record_skip(&rest, ti_str("}:c:")) || rest.len == 0)
    {
        return TI_DECLINED;
    }

    colon = memchr(rest.data, ':', rest.len);
    if (colon == NULL) {
        return TI_DECLINED;
    }

    n = (size_t) (colon - rest.data);

    parts->provider = ti_str_from(rest.data, n);
    parts->device = ti_str_from(colon + 1, rest.len - n - 1);

    return ti_record_provider_valid(parts->provider)
           && ti_record_device_valid(parts->device) ? TI_OK : TI_DECLINED;
}


ti_rc_t
ti_record_pending_name(ti_crypto_t *crypto, const ti_pool_t *pool,
    ti_str_t prefix, ti_str_t user, ti_str_t state, ti_str_t *name)
{
    ti_str_t       parts[5];
    unsigned char  digest[TI_SHA256_LEN], text[TI_RECORD_DIGEST_TEXT];

    if (ti_crypto_sha256(crypto, &state, 1, digest) != TI_OK) {
        return TI_ERROR;
    }

    ti_b64u_encode(text, ti_str_from(digest, sizeof(digest)));

    parts[0] = prefix;
    parts[1] = ti_str("{");
    parts[2] = user;
    parts[3] = ti_str("}:p:");
    parts[4] = ti_str_from(text, sizeof(text));

    return ti_record_concat(pool, parts, 5, name);
}


ti_rc_t
ti_record_changes_name(const ti_pool_t *pool, ti_str_t prefix,
    ti_str_t *name)
{
    const ti_str_t  parts[] = { prefix, ti_string("changes") };

    return ti_record_concat(pool, parts, 2, name);
}
