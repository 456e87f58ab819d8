/*
 * Floor 2: one layer of a record.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_record_private.h"


#define TI_RECORD_LABEL_MAX  32
#define TI_RECORD_INFO_MAX   (4 + TI_RECORD_LABEL_MAX + 4 + TI_RECORD_CTX_LEN)


static ti_rc_t ti_record_layer_split(ti_str_t text, ti_str_t parts[5]);
static ti_rc_t ti_record_layer_header(ti_record_env_t *env, ti_str_t text,
    json_t **header);
static ti_rc_t ti_record_layer_judge(ti_record_env_t *env,
    ti_record_layer_t *layer);
static int ti_record_layer_says(const json_t *header, const char *name,
    const char *value);
static ti_rc_t ti_record_layer_key(ti_record_env_t *env,
    const ti_record_key_t *key, const unsigned char salt[TI_RECORD_SALT_LEN],
    unsigned char out[TI_KEY_LEN]);
static ti_rc_t ti_record_layer_write(ti_record_env_t *env,
    ti_record_layer_t *layer, ti_str_t header, const unsigned char *key,
    ti_str_t plain, ti_str_t *text);


ti_rc_t
ti_record_layer_parse(ti_record_env_t *env, ti_str_t text,
    ti_record_layer_t *layer)
{
    ti_rc_t   rc;
    ti_str_t  parts[5];

    if (ti_record_layer_split(text, parts) != TI_OK) {
        env->why = "not five parts";
        return TI_DECLINED;
    }

    if (parts[1].len != 0) {
        env->why = "an encrypted key in a \"dir\" record";
        return TI_DECLINED;
    }

    if (ti_record_decode(parts[2], layer->nonce, TI_NONCE_LEN) != TI_OK) {
        env->why = "the nonce is not 12 bytes";
        return TI_DECLINED;
    }

    if (ti_record_decode(parts[4], layer->tag, TI_TAG_LEN) != TI_OK) {
        env->why = "the tag is not 16 bytes";
        return TI_DECLINED;
    }

    layer->additional = parts[0];
    layer->ciphertext = parts[3];

    rc = ti_record_layer_header(env, parts[0], &layer->header);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_record_layer_judge(env, layer);
    if (rc != TI_OK) {
        ti_record_layer_clear(layer);
    }

    return rc;
}


void
ti_record_layer_clear(ti_record_layer_t *layer)
{
    json_decref(layer->header);
    layer->header = NULL;
}


static ti_rc_t
ti_record_layer_split(ti_str_t text, ti_str_t parts[5])
{
    size_t                i;
    const unsigned char  *p, *dot, *end;

    if (text.len == 0) {
        return TI_DECLINED;
    }

    p = text.data;
    end = p + text.len;

    for (i = 0; i < 4; i++) {
        dot = memchr(p, '.', (size_t) (end - p));
        if (dot == NULL) {
            return TI_DECLINED;
        }

        parts[i] = ti_str_from(p, (size_t) (dot - p));
        p = dot + 1;
    }

    /* a sixth part fails as base64url */
    parts[4] = ti_str_from(p, (size_t) (end - p));

    return TI_OK;
}


static ti_rc_t
ti_record_layer_header(ti_record_env_t *env, ti_str_t text, json_t **header)
{
    size_t          len;
    unsigned char  *buf;

    if (text.len == 0) {
        env->why = "no header";
        return TI_DECLINED;
    }

    buf = ti_pool_alloc(env->pool, ti_b64u_decoded_len(text.len) + 1);
    if (buf == NULL) {
        return TI_ERROR;
    }

    if (ti_b64u_decode(buf, &len, text) != TI_OK) {
        env->why = "the header is not base64url";
        return TI_DECLINED;
    }

    return ti_json_parse_object(ti_str_from(buf, len), TI_RECORD_MAX, header,
                                &env->why);
}


/* "crit" names what must be understood: there is nothing that we would */

static ti_rc_t
ti_record_layer_judge(ti_record_env_t *env, ti_record_layer_t *layer)
{
    ti_str_t      salt;
    const json_t  *header;

    header = layer->header;

    if (ti_json_has(header, "crit") || ti_json_has(header, "zip")) {
        env->why = "\"crit\" or \"zip\" in the header";
        return TI_DECLINED;
    }

    if (!ti_record_layer_says(header, "alg", "dir")
        || !ti_record_layer_says(header, "enc", "A256GCM"))
    {
        env->why = "not \"dir\" with \"A256GCM\"";
        return TI_DECLINED;
    }

    if (ti_json_string(header, "salt", &salt) != TI_OK
        || ti_record_decode(salt, layer->salt, TI_RECORD_SALT_LEN) != TI_OK)
    {
        env->why = "the \"salt\" is not 16 bytes";
        return TI_DECLINED;
    }

    if (ti_json_string(header, "ctx", &layer->ctx) != TI_OK
        || layer->ctx.len != TI_RECORD_CTX_TEXT)
    {
        env->why = "the \"ctx\" is not 32 bytes";
        return TI_DECLINED;
    }

    if (ti_json_string(header, "cty", &layer->cty) != TI_OK) {
        env->why = "no \"cty\"";
        return TI_DECLINED;
    }

    return TI_OK;
}


static int
ti_record_layer_says(const json_t *header, const char *name,
    const char *value)
{
    ti_str_t  s;

    return ti_json_string(header, name, &s) == TI_OK
           && ti_str_eq(s, ti_str_cstr(value));
}


ti_rc_t
ti_record_layer_open(ti_record_env_t *env, const ti_record_layer_t *layer,
    const ti_record_key_t *key, ti_str_t *plain)
{
    size_t          len;
    ti_rc_t         rc;
    unsigned char  *buf, cek[TI_KEY_LEN];

    buf = ti_pool_alloc(env->pool,
                        ti_b64u_decoded_len(layer->ciphertext.len) + 1);
    if (buf == NULL) {
        return TI_ERROR;
    }

    if (ti_b64u_decode(buf, &len, layer->ciphertext) != TI_OK) {
        env->why = "the ciphertext is not base64url";
        return TI_DECLINED;
    }

    rc = ti_record_layer_key(env, key, layer->salt, cek);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_crypto_open(env->crypto, cek, layer->nonce, layer->additional,
                        ti_str_from(buf, len), layer->tag, buf);

    ti_wipe(cek, TI_KEY_LEN);

    if (rc == TI_DECLINED) {
        env->why = "the tag is not this key's";
    }

    *plain = ti_str_from(buf, len);

    return rc;
}


ti_rc_t
ti_record_layer_seal(ti_record_env_t *env, json_t *header,
    const ti_record_key_t *key, ti_str_t plain, ti_str_t *text)
{
    char               *json;
    ti_rc_t             rc;
    unsigned char       salt[22], cek[TI_KEY_LEN];
    ti_record_layer_t   layer;

    if (env->random->fill(env->random->data, layer.salt, TI_RECORD_SALT_LEN)
        != TI_OK
        || env->random->fill(env->random->data, layer.nonce, TI_NONCE_LEN)
           != TI_OK)
    {
        return TI_ERROR;
    }

    ti_b64u_encode(salt, ti_str_from(layer.salt, TI_RECORD_SALT_LEN));

    rc = ti_record_set(header, "salt", ti_str_from(salt, sizeof(salt)));
    if (rc != TI_OK) {
        return rc;
    }

    json = json_dumps(header, JSON_COMPACT);
    if (json == NULL) {
        return TI_ERROR;
    }

    rc = ti_record_layer_key(env, key, layer.salt, cek);
    if (rc == TI_OK) {
        rc = ti_record_layer_write(env, &layer, ti_str_cstr(json), cek, plain,
                                   text);
    }

    ti_wipe(cek, TI_KEY_LEN);
    free(json);

    return rc;
}


static ti_rc_t
ti_record_layer_key(ti_record_env_t *env, const ti_record_key_t *key,
    const unsigned char salt[TI_RECORD_SALT_LEN],
    unsigned char out[TI_KEY_LEN])
{
    size_t         len;
    ti_str_t       fields[2];
    unsigned char  info[TI_RECORD_INFO_MAX];

    fields[0] = key->label;
    fields[1] = ti_str_from(key->ctx, TI_RECORD_CTX_LEN);

    len = ti_enc(info, fields, 2);

    return ti_crypto_hkdf(env->crypto, key->secret,
                          ti_str_from(salt, TI_RECORD_SALT_LEN),
                          ti_str_from(info, len), out, TI_KEY_LEN);
}


/* header "." no encrypted key "." nonce "." ciphertext "." tag */

static ti_rc_t
ti_record_layer_write(ti_record_env_t *env, ti_record_layer_t *layer,
    ti_str_t header, const unsigned char *key, ti_str_t plain, ti_str_t *text)
{
    size_t          len, protected;
    ti_rc_t         rc;
    unsigned char  *p, *buf, *ciphertext;

    protected = ti_b64u_len(header.len);
    len = protected + 2 + ti_b64u_len(TI_NONCE_LEN) + 1
          + ti_b64u_len(plain.len) + 1 + ti_b64u_len(TI_TAG_LEN);

    if (len > TI_RECORD_MAX) {
        env->why = "a record would be above 65536 bytes";
        return TI_DECLINED;
    }

    buf = ti_pool_alloc(env->pool, len);
    ciphertext = ti_pool_alloc(env->pool, plain.len);

    if (buf == NULL || ciphertext == NULL) {
        return TI_ERROR;
    }

    ti_b64u_encode(buf, header);

    rc = ti_crypto_seal(env->crypto, key, layer->nonce,
                        ti_str_from(buf, protected), plain, ciphertext,
                        layer->tag);
    if (rc != TI_OK) {
        return rc;
    }

    p = buf + protected;
    *p++ = '.';
    *p++ = '.';
    p += ti_b64u_encode(p, ti_str_from(layer->nonce, TI_NONCE_LEN));
    *p++ = '.';
    p += ti_b64u_encode(p, ti_str_from(ciphertext, plain.len));
    *p++ = '.';
    p += ti_b64u_encode(p, ti_str_from(layer->tag, TI_TAG_LEN));

    *text = ti_str_from(buf, (size_t) (p - buf));

    return TI_OK;
}


ti_rc_t
ti_record_decode(ti_str_t text, unsigned char *dst, size_t len)
{
    size_t  n;

    if (text.len != ti_b64u_len(len)) {
        return TI_DECLINED;
    }

    return ti_b64u_decode(dst, &n, text);
}


ti_rc_t
ti_record_set(json_t *header, const char *name, ti_str_t value)
{
    json_t  *s;

    s = json_stringn((const char *) value.data, value.len);

    return json_object_set_new(header, name, s) == 0 ? TI_OK : TI_ERROR;
}


void
ti_record_wipe(ti_str_t plain)
{
    ti_wipe((void *) plain.data, plain.len);
}


ti_record_key_t
ti_record_user_key(const ti_record_bond_t *bond)
{
    ti_record_key_t  key;

    key.secret = ti_str_from(bond->ref->user_key, TI_KEY_LEN);
    key.label = ti_str("ngx-token-injector user v1");
    key.ctx = bond->ctx;

    return key;
}


ti_record_key_t
ti_record_seal_key(ti_str_t secret, const unsigned char ctx[TI_RECORD_CTX_LEN])
{
    ti_record_key_t  key;

    key.secret = secret;
    key.label = ti_str("ngx-token-injector seal v1");
    key.ctx = ctx;

    return key;
}
