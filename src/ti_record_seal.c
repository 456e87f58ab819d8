/*
 * Floor 2: how a record is written.
 */

#include "ti_record_private.h"


static int ti_record_sealable(ti_record_kind_t kind,
    const ti_record_t *record);
static ti_rc_t ti_record_seal_inner(ti_record_env_t *env,
    const ti_record_bond_t *bond, const ti_record_t *record, ti_str_t *text);
static ti_rc_t ti_record_seal_outer(ti_record_env_t *env,
    const ti_record_bond_t *bond, const ti_record_t *record,
    ti_str_t payload, ti_str_t *text);
static json_t *ti_record_header(ti_str_t kid, const char *cty,
    const unsigned char ctx[TI_RECORD_CTX_LEN]);
static ti_rc_t ti_record_header_life(json_t *header,
    const ti_record_ref_t *ref, const ti_record_t *record);
static ti_rc_t ti_record_set_integer(json_t *header, const char *name,
    json_int_t value);


ti_rc_t
ti_record_seal(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring,
    const ti_record_ref_t *ref, const ti_record_t *record, ti_str_t *sealed)
{
    ti_rc_t           rc;
    ti_str_t          payload;
    ti_record_env_t   env = { crypto, pool, random, ring, NULL };
    ti_record_bond_t  bond;

    if (!ti_record_sealable(ref->kind, record)) {
        return TI_DECLINED;
    }

    rc = ti_record_bind(&env, ref, &bond);
    if (rc != TI_OK) {
        return rc;
    }

    payload = record->token;

    if (ref->user_key != NULL) {
        rc = ti_record_seal_inner(&env, &bond, record, &payload);
        if (rc != TI_OK) {
            return rc;
        }
    }

    return ti_record_seal_outer(&env, &bond, record, payload, sealed);
}


/* What a reader would refuse, nobody may write. */

static int
ti_record_sealable(ti_record_kind_t kind, const ti_record_t *record)
{
    size_t  i;

    if (record->expires < 0 || record->expires > TI_RECORD_EXPIRES_MAX
        || (record->expires == 0 && !ti_record_endless(kind)))
    {
        return 0;
    }

    if (record->issued < 0 || record->issued > TI_RECORD_EXPIRES_MAX) {
        return 0;
    }

    if (record->token.len == 0 || record->token.len > TI_RECORD_TOKEN_MAX
        || !ti_record_payload_fits(kind, record->token))
    {
        return 0;
    }

    if (record->token_type.len != 0
        && !ti_str_caseeq(record->token_type, ti_str("Bearer")))
    {
        return 0;
    }

    for (i = 0; i < record->scope.len; i++) {
        if (record->scope.data[i] < 0x20 || record->scope.data[i] > 0x7E) {
            return 0;
        }
    }

    return 1;
}


static ti_rc_t
ti_record_seal_inner(ti_record_env_t *env, const ti_record_bond_t *bond,
    const ti_record_t *record, ti_str_t *text)
{
    json_t           *header;
    ti_rc_t           rc;
    ti_record_key_t   key;

    header = ti_record_header(ti_null_str, "token", bond->ctx);
    if (header == NULL) {
        return TI_ERROR;
    }

    rc = TI_OK;

    if (record->scope.len != 0) {
        rc = ti_record_set(header, "scope", record->scope);
    }

    if (rc == TI_OK) {
        key = ti_record_user_key(bond);
        rc = ti_record_layer_seal(env, header, &key, record->token, text);
    }

    json_decref(header);

    return rc;
}


static ti_rc_t
ti_record_seal_outer(ti_record_env_t *env, const ti_record_bond_t *bond,
    const ti_record_t *record, ti_str_t payload, ti_str_t *text)
{
    int               nested;
    json_t           *header;
    ti_rc_t           rc;
    ti_record_key_t   key;

    nested = bond->ref->user_key != NULL;

    header = ti_record_header(ti_keyring_kid(env->ring, 0),
                              nested ? "JWE" : "token", bond->ctx);
    if (header == NULL) {
        return TI_ERROR;
    }

    rc = ti_record_header_life(header, bond->ref, record);

    if (rc == TI_OK && !nested && record->scope.len != 0) {
        rc = ti_record_set(header, "scope", record->scope);
    }

    if (rc == TI_OK) {
        key = ti_record_seal_key(ti_keyring_first_key(env->ring), bond->ctx);
        rc = ti_record_layer_seal(env, header, &key, payload, text);
    }

    json_decref(header);

    return rc;
}


/*
 * What both layers have, and with a kid the outer's own, in the order of the
 * format page; "salt" holds its place until the layer is sealed.
 */

static json_t *
ti_record_header(ti_str_t kid, const char *cty,
    const unsigned char ctx[TI_RECORD_CTX_LEN])
{
    json_t         *header;
    ti_rc_t         rc;
    unsigned char   text[TI_RECORD_CTX_TEXT];

    header = json_pack("{s:s, s:s, s:n}",
                       "alg", "dir", "enc", "A256GCM", "salt");

    rc = TI_OK;

    if (kid.len != 0) {
        rc = ti_record_set(header, "kid", kid);

        if (rc == TI_OK) {
            rc = ti_record_set(header, "typ", ti_str(TI_RECORD_TYP));
        }
    }

    if (rc == TI_OK) {
        rc = ti_record_set(header, "cty", ti_str_cstr(cty));
    }

    if (rc == TI_OK) {
        ti_b64u_encode(text, ti_str_from(ctx, TI_RECORD_CTX_LEN));
        rc = ti_record_set(header, "ctx", ti_str_from(text, sizeof(text)));
    }

    if (rc != TI_OK) {
        json_decref(header);
        return NULL;
    }

    return header;
}


static ti_rc_t
ti_record_header_life(json_t *header, const ti_record_ref_t *ref,
    const ti_record_t *record)
{
    ti_rc_t  rc;

    rc = ti_record_set_integer(header, "gen", (json_int_t) ref->gen);

    if (rc == TI_OK && ref->kind != TI_RECORD_PENDING) {
        rc = ti_record_set(header, "cid", ref->cid);
    }

    if (rc == TI_OK && record->expires != 0) {
        rc = ti_record_set_integer(header, "exp", record->expires);
    }

    if (rc == TI_OK && ref->kind == TI_RECORD_ACCESS && record->issued != 0) {
        rc = ti_record_set_integer(header, "iat", record->issued);
    }

    return rc;
}


static ti_rc_t
ti_record_set_integer(json_t *header, const char *name, json_int_t value)
{
    return json_object_set_new(header, name, json_integer(value)) == 0
           ? TI_OK : TI_ERROR;
}
