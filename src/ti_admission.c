/*
 * Floor 3: admissions.
 *
 * A piece at rest: a nonce, AES-256-GCM, its tag.  The additional data say
 * which piece of which entry it is, and of a token whose: one of another
 * generation does not open beside a newer head.
 *
 * The head inside, numbers big-endian: the answer base in TI_KEY_LEN bytes,
 * gen, keys, heard, caller_expires, token_expires, due and confirmed in 8
 * each, issuer in 4; then enc(issuer, tenant, subject, user, device, cid) up
 * to the end.
 */

#include <string.h>

#include "ti_admission.h"


#define TI_ADMISSION_FIXED    (TI_KEY_LEN + 7 * 8 + 4)
#define TI_ADMISSION_FIELDS   6
#define TI_ADMISSION_AAD_MAX  (4 + TI_SHA256_LEN + 4 + 5 + 4 + 8              \
                               + 4 + TI_RECORD_CID_LEN)


static void ti_admission_fields(const ti_admission_t *head,
    ti_str_t fields[TI_ADMISSION_FIELDS]);
static ti_str_t ti_admission_head_aad(unsigned char *dst,
    const ti_admission_id_t *id);
static ti_rc_t ti_admission_token_aad(unsigned char *dst, ti_str_t *aad,
    const ti_admission_id_t *id, const ti_admission_t *head);
static void ti_admission_write(unsigned char *dst,
    const ti_admission_t *head);
static ti_rc_t ti_admission_read(unsigned char *plain, size_t len,
    ti_admission_t *head);
static ti_rc_t ti_admission_read_time(const unsigned char *src,
    int64_t *value);
static ti_rc_t ti_admission_read_fields(const unsigned char *p, size_t left,
    ti_str_t fields[TI_ADMISSION_FIELDS]);


ti_rc_t
ti_admission_id(ti_crypto_t *crypto, ti_str_t secret, ti_str_t token,
    ti_str_t user_key, ti_str_t policy, ti_admission_id_t *id)
{
    ti_rc_t   rc;
    ti_str_t  fields[4], key;

    fields[0] = secret;
    fields[1] = token;
    fields[2] = user_key;
    fields[3] = policy;

    rc = ti_crypto_sha256_enc(crypto, fields, 4, id->key);
    if (rc != TI_OK) {
        return rc;
    }

    key = ti_str_from(id->key, TI_KEY_LEN);

    return ti_crypto_sha256(crypto, &key, 1, id->name);
}


size_t
ti_admission_sealed_len(const ti_admission_t *head)
{
    ti_str_t  fields[TI_ADMISSION_FIELDS];

    ti_admission_fields(head, fields);

    return TI_ADMISSION_OVERHEAD + TI_ADMISSION_FIXED
           + ti_enc_len(fields, TI_ADMISSION_FIELDS);
}


ti_rc_t
ti_admission_seal(ti_crypto_t *crypto, const ti_random_t *random,
    const ti_admission_id_t *id, const ti_admission_t *head,
    unsigned char *dst)
{
    size_t          len;
    ti_rc_t         rc;
    ti_str_t        aad;
    unsigned char  *p, buf[TI_ADMISSION_AAD_MAX];

    len = ti_admission_sealed_len(head);
    if (len > TI_ADMISSION_HEAD_MAX) {
        return TI_DECLINED;
    }

    rc = random->fill(random->data, dst, TI_NONCE_LEN);
    if (rc != TI_OK) {
        return rc;
    }

    p = dst + TI_NONCE_LEN;
    len -= TI_ADMISSION_OVERHEAD;

    ti_admission_write(p, head);
    aad = ti_admission_head_aad(buf, id);

    rc = ti_crypto_seal(crypto, id->key, dst, aad, ti_str_from(p, len), p,
                        p + len);
    if (rc != TI_OK) {
        ti_wipe(p, len);
    }

    return rc;
}


ti_rc_t
ti_admission_open(ti_crypto_t *crypto, const ti_admission_id_t *id,
    unsigned char *sealed, size_t len, ti_admission_t *head)
{
    ti_rc_t         rc;
    ti_str_t        aad;
    unsigned char  *p, buf[TI_ADMISSION_AAD_MAX];

    if (len < TI_ADMISSION_OVERHEAD + TI_ADMISSION_FIXED
        || len > TI_ADMISSION_HEAD_MAX)
    {
        return TI_DECLINED;
    }

    p = sealed + TI_NONCE_LEN;
    len -= TI_ADMISSION_OVERHEAD;

    aad = ti_admission_head_aad(buf, id);

    rc = ti_crypto_open(crypto, id->key, sealed, aad, ti_str_from(p, len),
                        p + len, p);
    if (rc != TI_OK) {
        return rc;
    }

    return ti_admission_read(p, len, head);
}


ti_rc_t
ti_admission_seal_token(ti_crypto_t *crypto, const ti_random_t *random,
    const ti_admission_id_t *id, const ti_admission_t *head, ti_str_t token,
    unsigned char *dst)
{
    ti_rc_t         rc;
    ti_str_t        aad;
    unsigned char  *p, buf[TI_ADMISSION_AAD_MAX];

    rc = ti_admission_token_aad(buf, &aad, id, head);
    if (rc != TI_OK) {
        return rc;
    }

    rc = random->fill(random->data, dst, TI_NONCE_LEN);
    if (rc != TI_OK) {
        return rc;
    }

    p = dst + TI_NONCE_LEN;

    return ti_crypto_seal(crypto, id->key, dst, aad, token, p, p + token.len);
}


ti_rc_t
ti_admission_open_token(ti_crypto_t *crypto, const ti_admission_id_t *id,
    const ti_admission_t *head, ti_str_t sealed, unsigned char *token)
{
    ti_rc_t               rc;
    ti_str_t              aad, in;
    unsigned char         buf[TI_ADMISSION_AAD_MAX];
    const unsigned char  *p;

    if (sealed.len < TI_ADMISSION_OVERHEAD) {
        return TI_DECLINED;
    }

    rc = ti_admission_token_aad(buf, &aad, id, head);
    if (rc != TI_OK) {
        return rc;
    }

    p = sealed.data + TI_NONCE_LEN;
    in = ti_str_from(p, sealed.len - TI_ADMISSION_OVERHEAD);

    return ti_crypto_open(crypto, id->key, sealed.data, aad, in, p + in.len,
                          token);
}


static ti_str_t
ti_admission_head_aad(unsigned char *dst, const ti_admission_id_t *id)
{
    ti_str_t  fields[2];

    fields[0] = ti_str_from(id->name, TI_SHA256_LEN);
    fields[1] = ti_str(TI_ADMISSION_LAYOUT);

    return ti_str_from(dst, ti_enc(dst, fields, 2));
}


static ti_rc_t
ti_admission_token_aad(unsigned char *dst, ti_str_t *aad,
    const ti_admission_id_t *id, const ti_admission_t *head)
{
    ti_str_t       fields[4];
    unsigned char  gen[8];

    if (head->cid.len > TI_RECORD_CID_LEN) {
        return TI_DECLINED;
    }

    ti_put_u64(gen, head->gen);

    fields[0] = ti_str_from(id->name, TI_SHA256_LEN);
    fields[1] = ti_str("token");
    fields[2] = ti_str_from(gen, sizeof(gen));
    fields[3] = head->cid;

    *aad = ti_str_from(dst, ti_enc(dst, fields, 4));

    return TI_OK;
}


static void
ti_admission_fields(const ti_admission_t *head,
    ti_str_t fields[TI_ADMISSION_FIELDS])
{
    fields[0] = head->who.issuer;
    fields[1] = head->who.tenant;
    fields[2] = head->who.subject;
    fields[3] = head->user;
    fields[4] = head->device;
    fields[5] = head->cid;
}


static void
ti_admission_write(unsigned char *dst, const ti_admission_t *head)
{
    ti_str_t        fields[TI_ADMISSION_FIELDS];
    unsigned char  *p;

    memcpy(dst, head->answer_base, TI_KEY_LEN);
    p = dst + TI_KEY_LEN;

    ti_put_u64(p, head->gen);
    ti_put_u64(p + 8, head->keys);
    ti_put_u64(p + 16, head->heard);
    ti_put_u64(p + 24, (uint64_t) head->caller_expires);
    ti_put_u64(p + 32, (uint64_t) head->token_expires);
    ti_put_u64(p + 40, (uint64_t) head->due);
    ti_put_u64(p + 48, (uint64_t) head->confirmed);
    ti_put_u32(p + 56, head->issuer);

    ti_admission_fields(head, fields);
    ti_enc(dst + TI_ADMISSION_FIXED, fields, TI_ADMISSION_FIELDS);
}


/* The base is a key: *head has the only copy that stays. */

static ti_rc_t
ti_admission_read(unsigned char *plain, size_t len, ti_admission_t *head)
{
    ti_str_t        fields[TI_ADMISSION_FIELDS];
    unsigned char  *p;

    memcpy(head->answer_base, plain, TI_KEY_LEN);
    ti_wipe(plain, TI_KEY_LEN);

    p = plain + TI_KEY_LEN;

    head->gen = ti_get_u64(p);
    head->keys = ti_get_u64(p + 8);
    head->heard = ti_get_u64(p + 16);
    head->issuer = ti_get_u32(p + 56);

    if (ti_admission_read_time(p + 24, &head->caller_expires) != TI_OK
        || ti_admission_read_time(p + 32, &head->token_expires) != TI_OK
        || ti_admission_read_time(p + 40, &head->due) != TI_OK
        || ti_admission_read_time(p + 48, &head->confirmed) != TI_OK
        || ti_admission_read_fields(plain + TI_ADMISSION_FIXED,
                                    len - TI_ADMISSION_FIXED, fields)
           != TI_OK)
    {
        ti_wipe(head->answer_base, TI_KEY_LEN);
        return TI_DECLINED;
    }

    head->who.issuer = fields[0];
    head->who.tenant = fields[1];
    head->who.subject = fields[2];
    head->user = fields[3];
    head->device = fields[4];
    head->cid = fields[5];

    return TI_OK;
}


static ti_rc_t
ti_admission_read_time(const unsigned char *src, int64_t *value)
{
    uint64_t  n;

    n = ti_get_u64(src);

    if (n > INT64_MAX) {
        return TI_DECLINED;
    }

    *value = (int64_t) n;

    return TI_OK;
}


static ti_rc_t
ti_admission_read_fields(const unsigned char *p, size_t left,
    ti_str_t fields[TI_ADMISSION_FIELDS])
{
    size_t  i, len;

    for (i = 0; i < TI_ADMISSION_FIELDS; i++) {

        if (left < 4) {
            return TI_DECLINED;
        }

        len = ti_get_u32(p);
        p += 4;
        left -= 4;

        if (len > left) {
            return TI_DECLINED;
        }

        fields[i] = ti_str_from(p, len);
        p += len;
        left -= len;
    }

    return left == 0 ? TI_OK : TI_DECLINED;
}
