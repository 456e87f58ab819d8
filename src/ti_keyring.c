/*
 * Floor 2: the keys that records are sealed with.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_json.h"
#include "ti_record.h"


#define TI_KEYRING_MAX_SIZE  65536          /* of the JWK Set's text */
#define TI_KEYRING_MAX_KEYS  64
#define TI_KEYRING_MAX_KID   255            /* each record carries it */


typedef struct {
    unsigned char  secret[TI_KEY_LEN];
    unsigned char  kid[TI_KEYRING_MAX_KID];
    size_t         kid_len;
} ti_keyring_key_t;

struct ti_keyring_s {
    ti_keyring_key_t  index;
    unsigned          indexed:1;
    size_t            n;
    ti_keyring_key_t  keys[TI_KEYRING_MAX_KEYS];
};


static ti_rc_t ti_keyring_fill(ti_keyring_t *ring, const json_t *set,
    const char **why);
static ti_keyring_key_t *ti_keyring_place(ti_keyring_t *ring,
    const json_t *jwk, const char **why);
static ti_rc_t ti_keyring_read(ti_keyring_key_t *key, const json_t *jwk,
    int named, const char **why);
static int ti_keyring_known(const ti_keyring_t *ring,
    const ti_keyring_key_t *key);
static int ti_keyring_says(const json_t *jwk, const char *member,
    const char *value);
static void ti_keyring_wipe_texts(json_t *set);
static ti_str_t ti_keyring_secret(const ti_keyring_key_t *key);
static ti_str_t ti_keyring_key_kid(const ti_keyring_key_t *key);


ti_rc_t
ti_keyring_parse(ti_str_t text, ti_keyring_t **ring, const char **why)
{
    json_t   *set;
    ti_rc_t   rc;

    *ring = NULL;

    rc = ti_json_parse_object(text, TI_KEYRING_MAX_SIZE, &set, why);
    if (rc != TI_OK) {
        return rc;
    }

    *ring = calloc(1, sizeof(ti_keyring_t));
    if (*ring == NULL) {
        *why = "out of memory";
        rc = TI_ERROR;

    } else {
        rc = ti_keyring_fill(*ring, set, why);
    }

    ti_keyring_wipe_texts(set);
    json_decref(set);

    if (rc != TI_OK) {
        ti_keyring_free(*ring);
        *ring = NULL;
    }

    return rc;
}


void
ti_keyring_free(ti_keyring_t *ring)
{
    if (ring == NULL) {
        return;
    }

    ti_wipe(ring, sizeof(ti_keyring_t));
    free(ring);
}


static ti_rc_t
ti_keyring_fill(ti_keyring_t *ring, const json_t *set, const char **why)
{
    size_t             i;
    json_t            *keys, *jwk;
    ti_keyring_key_t  *key;

    keys = json_object_get(set, "keys");

    if (!json_is_array(keys)) {
        *why = "not a JWK Set: it has no \"keys\" array";
        return TI_DECLINED;
    }

    json_array_foreach(keys, i, jwk) {

        key = ti_keyring_place(ring, jwk, why);
        if (key == NULL) {
            return TI_DECLINED;
        }

        if (ti_keyring_read(key, jwk, key != &ring->index, why) != TI_OK) {
            return TI_DECLINED;
        }

        if (ti_keyring_known(ring, key)) {
            *why = "two keys have one \"kid\"";
            return TI_DECLINED;
        }

        if (key == &ring->index) {
            ring->indexed = 1;

        } else {
            ring->n++;
        }
    }

    if (ring->n == 0) {
        *why = "no sealing key (\"kty\":\"oct\",\"use\":\"enc\")";
        return TI_DECLINED;
    }

    if (!ring->indexed) {
        *why = "no index key (\"kty\":\"oct\",\"alg\":\"HS256\","
               "\"use\":\"sig\")";
        return TI_DECLINED;
    }

    return TI_OK;
}


/*
 * Where a key belongs.  It counts only once it was read, so that it is not
 * found to be its own twin.  A key of another kind is refused rather than
 * ignored: in a file of secrets that we alone read, it is a mistake.
 */

static ti_keyring_key_t *
ti_keyring_place(ti_keyring_t *ring, const json_t *jwk, const char **why)
{
    if (!ti_keyring_says(jwk, "kty", "oct")) {
        *why = "a key whose \"kty\" is not \"oct\"";
        return NULL;
    }

    if (ti_keyring_says(jwk, "use", "enc")) {

        if (ring->n == TI_KEYRING_MAX_KEYS) {
            *why = "more than 64 sealing keys";
            return NULL;
        }

        return &ring->keys[ring->n];
    }

    if (ti_keyring_says(jwk, "use", "sig")
        && ti_keyring_says(jwk, "alg", "HS256"))
    {
        if (ring->indexed) {
            *why = "two index keys (\"use\":\"sig\")";
            return NULL;
        }

        return &ring->index;
    }

    *why = "a key that is neither for sealing (\"use\":\"enc\") nor the index "
           "key (\"alg\":\"HS256\",\"use\":\"sig\")";
    return NULL;
}


static ti_rc_t
ti_keyring_read(ti_keyring_key_t *key, const json_t *jwk, int named,
    const char **why)
{
    size_t    len;
    ti_str_t  kid, k;

    if (ti_json_string(jwk, "kid", &kid) != TI_OK) {

        if (named || ti_json_has(jwk, "kid")) {
            *why = "a key without a \"kid\" string";
            return TI_DECLINED;
        }

        kid = ti_null_str;

    } else if (kid.len == 0 || kid.len > TI_KEYRING_MAX_KID) {
        *why = "a key whose \"kid\" is empty or longer than 255 bytes";
        return TI_DECLINED;
    }

    if (ti_json_string(jwk, "k", &k) != TI_OK
        || k.len != ti_b64u_len(TI_KEY_LEN)
        || ti_b64u_decode(key->secret, &len, k) != TI_OK)
    {
        *why = "a key whose \"k\" is not 32 bytes in base64url";
        return TI_DECLINED;
    }

    if (kid.len != 0) {
        memcpy(key->kid, kid.data, kid.len);
    }

    key->kid_len = kid.len;

    return TI_OK;
}


static int
ti_keyring_known(const ti_keyring_t *ring, const ti_keyring_key_t *key)
{
    size_t    i;
    ti_str_t  kid;

    kid = ti_keyring_key_kid(key);

    if (ring->indexed && ti_str_eq(ti_keyring_key_kid(&ring->index), kid)) {
        return 1;
    }

    for (i = 0; i < ring->n; i++) {
        if (ti_str_eq(ti_keyring_key_kid(&ring->keys[i]), kid)) {
            return 1;
        }
    }

    return 0;
}


static int
ti_keyring_says(const json_t *jwk, const char *member, const char *value)
{
    ti_str_t  s;

    return ti_json_string(jwk, member, &s) == TI_OK
           && ti_str_eq(s, ti_str_cstr(value));
}


/*
 * jansson would give the secrets back to the heap as they are.  Its strings
 * are its own memory, so writing over them is safe before they are let go.
 */

static void
ti_keyring_wipe_texts(json_t *set)
{
    size_t   i;
    json_t  *jwk, *k;

    json_array_foreach(json_object_get(set, "keys"), i, jwk) {

        k = json_object_get(jwk, "k");

        if (json_is_string(k)) {
            ti_wipe((void *) json_string_value(k), json_string_length(k));
        }
    }
}


size_t
ti_keyring_count(const ti_keyring_t *ring)
{
    return ring->n;
}


ti_str_t
ti_keyring_kid(const ti_keyring_t *ring, size_t i)
{
    return ti_keyring_key_kid(&ring->keys[i]);
}


ti_str_t
ti_keyring_index_key(const ti_keyring_t *ring)
{
    return ti_keyring_secret(&ring->index);
}


ti_str_t
ti_keyring_first_key(const ti_keyring_t *ring)
{
    return ti_keyring_secret(&ring->keys[0]);
}


ti_str_t
ti_keyring_find(const ti_keyring_t *ring, ti_str_t kid)
{
    size_t  i;

    for (i = 0; i < ring->n; i++) {
        if (ti_str_eq(ti_keyring_kid(ring, i), kid)) {
            return ti_keyring_secret(&ring->keys[i]);
        }
    }

    return ti_null_str;
}


ti_rc_t
ti_keyring_id(const ti_keyring_t *ring, ti_crypto_t *crypto,
    unsigned char out[TI_SHA256_LEN])
{
    size_t    i, n;
    ti_str_t  fields[2 + 2 * TI_KEYRING_MAX_KEYS];

    n = 0;

    fields[n++] = ti_str("ngx-token-injector keyring v1");
    fields[n++] = ti_keyring_index_key(ring);

    for (i = 0; i < ring->n; i++) {
        fields[n++] = ti_keyring_kid(ring, i);
        fields[n++] = ti_keyring_secret(&ring->keys[i]);
    }

    return ti_crypto_sha256_enc(crypto, fields, n, out);
}


static ti_str_t
ti_keyring_secret(const ti_keyring_key_t *key)
{
    return ti_str_from(key->secret, TI_KEY_LEN);
}


static ti_str_t
ti_keyring_key_kid(const ti_keyring_key_t *key)
{
    return ti_str_from(key->kid, key->kid_len);
}
