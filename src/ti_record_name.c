/*
 * Floor 2: what a record is called in Redis, and what goes into a name.
 */

#include <string.h>

#include "ti_record.h"


#define TI_RECORD_USER_BYTES    16
#define TI_RECORD_DEVICE_BYTES  12
#define TI_RECORD_CID_BYTES     16


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


ti_rc_t
ti_record_connection_name(const ti_pool_t *pool, ti_str_t prefix,
    ti_str_t user, ti_str_t provider, ti_str_t device, ti_str_t *name)
{
    size_t          i, len;
    ti_str_t        parts[7];
    unsigned char  *p;

    parts[0] = prefix;
    parts[1] = ti_str("{");
    parts[2] = user;
    parts[3] = ti_str("}:c:");
    parts[4] = provider;
    parts[5] = ti_str(":");
    parts[6] = device;

    len = 0;

    for (i = 0; i < 7; i++) {
        len += parts[i].len;
    }

    p = ti_pool_alloc(pool, len);
    if (p == NULL) {
        return TI_ERROR;
    }

    *name = ti_str_from(p, len);

    for (i = 0; i < 7; i++) {
        if (parts[i].len != 0) {
            memcpy(p, parts[i].data, parts[i].len);
            p += parts[i].len;
        }
    }

    return TI_OK;
}
