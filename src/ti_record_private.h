/*
 * Floor 2, for ti_record*.c alone: what they share, and one layer of a
 * record, a JWE in compact form (RFC 7516 section 7.1).
 */

#ifndef TI_RECORD_PRIVATE_H
#define TI_RECORD_PRIVATE_H

#include "ti_json.h"
#include "ti_record.h"


#define TI_RECORD_SALT_LEN  16
#define TI_RECORD_CTX_LEN   TI_SHA256_LEN
#define TI_RECORD_CTX_TEXT  43              /* b64u of it */
#define TI_RECORD_TYP       "ti-record"

#define TI_RECORD_EXPIRES_MAX  ((INT64_C(1) << 53) - 1)


/*
 * What every function here works with; random where it seals.  why says what
 * a refusal or an error was about.
 */

typedef struct {
    ti_crypto_t         *crypto;
    const ti_pool_t     *pool;
    const ti_random_t   *random;
    const ti_keyring_t  *ring;
    const char          *why;
} ti_record_env_t;


/* What a record is bound to: who may open it, and the digest of that. */

typedef struct {
    const ti_record_ref_t  *ref;
    unsigned char           ctx[TI_RECORD_CTX_LEN];
} ti_record_bond_t;

/* TI_DECLINED: a gen or a cid that no such record has */
ti_rc_t ti_record_bind(ti_record_env_t *env, const ti_record_ref_t *ref,
    ti_record_bond_t *bond);


/* may a record of this kind hold it?  And may it have no end? */
int ti_record_payload_fits(ti_record_kind_t kind, ti_str_t payload);
int ti_record_endless(ti_record_kind_t kind);


/*
 * The key of a layer: HKDF(secret, the layer's salt, enc(label, ctx)).
 */

typedef struct {
    ti_str_t              secret;
    ti_str_t              label;
    const unsigned char  *ctx;              /* TI_RECORD_CTX_LEN bytes */
} ti_record_key_t;

ti_record_key_t ti_record_user_key(const ti_record_bond_t *bond);
ti_record_key_t ti_record_seal_key(ti_str_t secret,
    const unsigned char ctx[TI_RECORD_CTX_LEN]);


/* A layer taken apart; all views borrow from its text or its header. */

typedef struct {
    json_t         *header;
    ti_str_t        additional;             /* the header as it was sealed */
    ti_str_t        ciphertext;             /* still base64url */
    ti_str_t        cty;
    ti_str_t        ctx;                    /* TI_RECORD_CTX_TEXT characters */
    unsigned char   salt[TI_RECORD_SALT_LEN];
    unsigned char   nonce[TI_NONCE_LEN];
    unsigned char   tag[TI_TAG_LEN];
} ti_record_layer_t;


/*
 * Judges what can be judged without a key.  TI_OK: the caller ends the layer
 * with ti_record_layer_clear(); after anything else there is nothing to end.
 */

ti_rc_t ti_record_layer_parse(ti_record_env_t *env, ti_str_t text,
    ti_record_layer_t *layer);
void ti_record_layer_clear(ti_record_layer_t *layer);

/* plain comes from the pool and is the caller's to wipe */
ti_rc_t ti_record_layer_open(ti_record_env_t *env,
    const ti_record_layer_t *layer, const ti_record_key_t *key,
    ti_str_t *plain);

/* puts a fresh "salt" into the header; text comes from the pool */
ti_rc_t ti_record_layer_seal(ti_record_env_t *env, json_t *header,
    const ti_record_key_t *key, ti_str_t plain, ti_str_t *text);


/* base64url of exactly len bytes, which are written to dst */
ti_rc_t ti_record_decode(ti_str_t text, unsigned char *dst, size_t len);

/* a string member of a header; a header that is NULL is TI_ERROR */
ti_rc_t ti_record_set(json_t *header, const char *name, ti_str_t value);

/* what a layer held; the memory is the pool's, so it may be written to */
void ti_record_wipe(ti_str_t plain);


#endif /* TI_RECORD_PRIVATE_H */
