/*
 * Floor 1: hashes, AES-256-GCM, randomness over OpenSSL.
 */

#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "ti_crypto_private.h"


typedef int (*ti_update_pt)(void *ctx, const unsigned char *data, size_t len);


typedef struct {
    ti_update_pt   update;
    void          *ctx;
    size_t         used;
    unsigned char  buf[256];
} ti_gather_t;


typedef struct {
    const char  *name;
    size_t       len;
} ti_hash_info_t;


static int ti_gather(ti_gather_t *g, const unsigned char *data, size_t len);


static const ti_hash_info_t  ti_hashes[TI_HASH_LAST] = {
    [TI_HASH_SHA256] = { "SHA256", 32 },
    [TI_HASH_SHA384] = { "SHA384", 48 },
    [TI_HASH_SHA512] = { "SHA512", 64 }
};


ti_rc_t
ti_crypto_refused(ti_rc_t rc)
{
    ERR_clear_error();

    return rc;
}


static ti_rc_t
ti_hash_create(ti_hash_t *hash, const ti_hash_info_t *info)
{
    EVP_MAC     *mac;
    OSSL_PARAM   params[2];

    hash->len = info->len;
    hash->md = EVP_MD_fetch(NULL, info->name, NULL);
    hash->ctx = EVP_MD_CTX_new();

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return TI_ERROR;
    }

    hash->hmac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);                      /* the context holds its own */

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) info->name, 0);
    params[1] = OSSL_PARAM_construct_end();

    if (hash->md == NULL || hash->ctx == NULL || hash->hmac == NULL
        || EVP_DigestInit_ex2(hash->ctx, hash->md, NULL) != 1
        || EVP_MAC_CTX_set_params(hash->hmac, params) != 1)
    {
        return TI_ERROR;
    }

    return TI_OK;
}


static ti_rc_t
ti_gcm_create(ti_crypto_t *crypto)
{
    crypto->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    crypto->seal = EVP_CIPHER_CTX_new();
    crypto->open = EVP_CIPHER_CTX_new();

    if (crypto->gcm == NULL || crypto->seal == NULL || crypto->open == NULL
        || EVP_EncryptInit_ex2(crypto->seal, crypto->gcm, NULL, NULL, NULL)
           != 1
        || EVP_DecryptInit_ex2(crypto->open, crypto->gcm, NULL, NULL, NULL)
           != 1
        || EVP_CIPHER_get_iv_length(crypto->gcm) != TI_NONCE_LEN)
    {
        return TI_ERROR;
    }

    return TI_OK;
}


ti_crypto_t *
ti_crypto_create(void)
{
    int           i;
    ti_rc_t       rc;
    ti_crypto_t  *crypto;

    crypto = OPENSSL_zalloc(sizeof(ti_crypto_t));
    if (crypto == NULL) {
        (void) ti_crypto_refused(TI_ERROR);
        return NULL;
    }

    rc = ti_gcm_create(crypto);

    for (i = 0; rc == TI_OK && i < TI_HASH_LAST; i++) {
        rc = ti_hash_create(&crypto->hash[i], &ti_hashes[i]);
    }

    crypto->eddsa = EVP_MD_CTX_new();

    if (rc != TI_OK || crypto->eddsa == NULL) {
        (void) ti_crypto_refused(TI_ERROR);
        ti_crypto_free(crypto);
        return NULL;
    }

    return crypto;
}


void
ti_crypto_free(ti_crypto_t *crypto)
{
    int  i;

    if (crypto == NULL) {
        return;
    }

    for (i = 0; i < TI_HASH_LAST; i++) {
        EVP_MD_CTX_free(crypto->hash[i].ctx);
        EVP_MAC_CTX_free(crypto->hash[i].hmac);
        EVP_MD_free(crypto->hash[i].md);
    }

    EVP_CIPHER_CTX_free(crypto->seal);
    EVP_CIPHER_CTX_free(crypto->open);
    EVP_CIPHER_free(crypto->gcm);
    EVP_MD_CTX_free(crypto->eddsa);

    OPENSSL_free(crypto);
}


static ti_rc_t
ti_crypto_random_fill(void *data, unsigned char *buf, size_t len)
{
    (void) data;

    if (len > INT_MAX || RAND_bytes(buf, (int) len) != 1) {
        return ti_crypto_refused(TI_ERROR);
    }

    return TI_OK;
}


ti_random_t
ti_crypto_random(void)
{
    ti_random_t  random;

    random.fill = ti_crypto_random_fill;
    random.data = NULL;

    return random;
}


static int
ti_hash_update(void *ctx, const unsigned char *data, size_t len)
{
    return EVP_DigestUpdate(ctx, data, len);
}


static int
ti_hmac_update(void *ctx, const unsigned char *data, size_t len)
{
    return EVP_MAC_update(ctx, data, len);
}


/*
 * Small pieces are gathered first: a call into OpenSSL costs more than to copy
 * them.
 */

static int
ti_update_fields(ti_update_pt update, void *ctx, const ti_str_t *fields,
    size_t n, ti_form_t form)
{
    int            ok;
    size_t         i;
    ti_gather_t    g;
    unsigned char  len[4];

    g.update = update;
    g.ctx = ctx;
    g.used = 0;

    ok = 1;

    for (i = 0; ok && i < n; i++) {
        if (form == TI_ENC) {
            ti_put_u32(len, (uint32_t) fields[i].len);
            ok = ti_gather(&g, len, sizeof(len));
        }

        if (ok && fields[i].len != 0) {
            ok = ti_gather(&g, fields[i].data, fields[i].len);
        }
    }

    if (ok && g.used != 0) {
        ok = update(ctx, g.buf, g.used);
    }

    ti_wipe(g.buf, sizeof(g.buf));

    return ok == 1;
}


static int
ti_gather(ti_gather_t *g, const unsigned char *data, size_t len)
{
    if (len > sizeof(g->buf) - g->used) {

        if (g->used != 0 && g->update(g->ctx, g->buf, g->used) != 1) {
            return 0;
        }

        g->used = 0;

        if (len > sizeof(g->buf)) {
            return g->update(g->ctx, data, len);
        }
    }

    memcpy(g->buf + g->used, data, len);
    g->used += len;

    return 1;
}


ti_rc_t
ti_hash(ti_hash_t *hash, const ti_str_t *fields, size_t n, ti_form_t form,
    unsigned char *out)
{
    if (EVP_DigestInit_ex2(hash->ctx, NULL, NULL) != 1
        || !ti_update_fields(ti_hash_update, hash->ctx, fields, n, form)
        || EVP_DigestFinal_ex(hash->ctx, out, NULL) != 1)
    {
        return ti_crypto_refused(TI_ERROR);
    }

    return TI_OK;
}


ti_rc_t
ti_hmac(ti_hash_t *hash, ti_str_t key, const ti_str_t *fields, size_t n,
    ti_form_t form, unsigned char *out)
{
    size_t  len;

    if (key.len == 0) {
        key = ti_str("");                   /* NULL would be the last key */
    }

    if (EVP_MAC_init(hash->hmac, key.data, key.len, NULL) != 1
        || !ti_update_fields(ti_hmac_update, hash->hmac, fields, n, form)
        || EVP_MAC_final(hash->hmac, out, &len, hash->len) != 1)
    {
        return ti_crypto_refused(TI_ERROR);
    }

    return TI_OK;
}


ti_rc_t
ti_crypto_sha256(ti_crypto_t *crypto, const ti_str_t *parts, size_t n,
    unsigned char out[TI_SHA256_LEN])
{
    return ti_hash(&crypto->hash[TI_HASH_SHA256], parts, n, TI_PLAIN, out);
}


ti_rc_t
ti_crypto_sha256_enc(ti_crypto_t *crypto, const ti_str_t *fields, size_t n,
    unsigned char out[TI_SHA256_LEN])
{
    return ti_hash(&crypto->hash[TI_HASH_SHA256], fields, n, TI_ENC, out);
}


ti_rc_t
ti_crypto_hmac(ti_crypto_t *crypto, ti_str_t key, const ti_str_t *parts,
    size_t n, unsigned char out[TI_SHA256_LEN])
{
    return ti_hmac(&crypto->hash[TI_HASH_SHA256], key, parts, n, TI_PLAIN,
                   out);
}


ti_rc_t
ti_crypto_hmac_enc(ti_crypto_t *crypto, ti_str_t key, const ti_str_t *fields,
    size_t n, unsigned char out[TI_SHA256_LEN])
{
    return ti_hmac(&crypto->hash[TI_HASH_SHA256], key, fields, n, TI_ENC,
                   out);
}


/* One block of output, so the expansion is one HMAC over info and 1. */

ti_rc_t
ti_crypto_hkdf(ti_crypto_t *crypto, ti_str_t key, ti_str_t salt,
    ti_str_t info, unsigned char *out, size_t len)
{
    ti_rc_t        rc;
    ti_str_t       parts[2];
    unsigned char  prk[TI_SHA256_LEN], okm[TI_SHA256_LEN];

    if (len > TI_SHA256_LEN) {
        return TI_ERROR;
    }

    rc = ti_crypto_hmac(crypto, salt, &key, 1, prk);

    if (rc == TI_OK) {
        parts[0] = info;
        parts[1] = ti_str("\001");

        rc = ti_crypto_hmac(crypto, ti_str_from(prk, sizeof(prk)), parts, 2,
                            okm);
    }

    if (rc == TI_OK) {
        memcpy(out, okm, len);
    }

    ti_wipe(prk, sizeof(prk));
    ti_wipe(okm, sizeof(okm));

    return rc;
}


ti_rc_t
ti_crypto_seal(ti_crypto_t *crypto, const unsigned char key[TI_KEY_LEN],
    const unsigned char nonce[TI_NONCE_LEN], ti_str_t aad, ti_str_t in,
    unsigned char *out, unsigned char tag[TI_TAG_LEN])
{
    int              n;
    unsigned char    none[TI_TAG_LEN];
    EVP_CIPHER_CTX  *ctx;

    ctx = crypto->seal;

    if (aad.len > INT_MAX || in.len > INT_MAX
        || EVP_EncryptInit_ex2(ctx, NULL, key, nonce, NULL) != 1
        || (aad.len != 0
            && EVP_EncryptUpdate(ctx, NULL, &n, aad.data, (int) aad.len) != 1)
        || (in.len != 0
            && EVP_EncryptUpdate(ctx, out, &n, in.data, (int) in.len) != 1)
        || EVP_EncryptFinal_ex(ctx, none, &n) != 1
        || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TI_TAG_LEN, tag)
           != 1)
    {
        return ti_crypto_refused(TI_ERROR);
    }

    return TI_OK;
}


ti_rc_t
ti_crypto_open(ti_crypto_t *crypto, const unsigned char key[TI_KEY_LEN],
    const unsigned char nonce[TI_NONCE_LEN], ti_str_t aad, ti_str_t in,
    const unsigned char tag[TI_TAG_LEN], unsigned char *out)
{
    int              n;
    unsigned char    none[TI_TAG_LEN], expected[TI_TAG_LEN];
    EVP_CIPHER_CTX  *ctx;

    ctx = crypto->open;
    memcpy(expected, tag, TI_TAG_LEN);      /* OpenSSL's argument isn't const */

    if (aad.len > INT_MAX || in.len > INT_MAX
        || EVP_DecryptInit_ex2(ctx, NULL, key, nonce, NULL) != 1
        || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TI_TAG_LEN,
                               expected)
           != 1
        || (aad.len != 0
            && EVP_DecryptUpdate(ctx, NULL, &n, aad.data, (int) aad.len) != 1)
        || (in.len != 0
            && EVP_DecryptUpdate(ctx, out, &n, in.data, (int) in.len) != 1))
    {
        ti_wipe(out, in.len);
        return ti_crypto_refused(TI_ERROR);
    }

    if (EVP_DecryptFinal_ex(ctx, none, &n) != 1) {
        ti_wipe(out, in.len);
        return ti_crypto_refused(TI_DECLINED);
    }

    return TI_OK;
}
