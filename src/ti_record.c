/*
 * Floor 2: what a record must say, and to whom: open, head, re-wrap.
 */

#include "ti_header.h"
#include "ti_record_private.h"


/* The outer layer, and what its header says beyond that of any layer. */

typedef struct {
    ti_record_layer_t  layer;
    ti_record_head_t   head;                /* borrowed from the header */
} ti_record_outer_t;


static ti_rc_t ti_record_outer_parse(ti_record_env_t *env, ti_str_t sealed,
    ti_record_outer_t *outer);
static ti_rc_t ti_record_outer_head(ti_record_env_t *env,
    ti_record_outer_t *outer);
static ti_rc_t ti_record_outer_matches(ti_record_env_t *env,
    const ti_record_outer_t *outer, const ti_record_bond_t *bond);
static ti_rc_t ti_record_outer_open(ti_record_env_t *env,
    const ti_record_outer_t *outer,
    const unsigned char ctx[TI_RECORD_CTX_LEN], ti_str_t *plain);
static ti_result_t ti_record_outer_use(ti_record_env_t *env,
    const ti_record_outer_t *outer, const ti_record_bond_t *bond,
    ti_record_t *record);
static ti_result_t ti_record_inner_use(ti_record_env_t *env, ti_str_t text,
    const ti_record_bond_t *bond, ti_record_t *record);
static ti_rc_t ti_record_inner_open(ti_record_env_t *env,
    const ti_record_layer_t *inner, const ti_record_bond_t *bond,
    ti_str_t *plain);
static ti_rc_t ti_record_accept(ti_record_env_t *env,
    const ti_record_layer_t *layer, ti_record_kind_t kind, ti_str_t payload,
    ti_record_t *record);
static ti_rc_t ti_record_scope(ti_record_env_t *env, const json_t *header,
    ti_str_t *scope);
static ti_rc_t ti_record_rewrap_outer(ti_record_env_t *env,
    const ti_record_outer_t *outer, ti_str_t *rewrapped);
static int ti_record_gen_fits(const ti_record_ref_t *ref);
static int ti_record_cid_fits(const ti_record_ref_t *ref);
static int ti_record_bound(const ti_record_layer_t *layer,
    const ti_record_bond_t *bond);
static ti_result_t ti_record_result(ti_rc_t rc, ti_result_t declined);


static const char  ti_record_broken[] = "no memory, or OpenSSL failed";


ti_result_t
ti_record_open(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_keyring_t *ring, const ti_record_ref_t *ref, ti_str_t sealed,
    ti_record_t *record, const char **why)
{
    ti_rc_t            rc;
    ti_result_t        result;
    ti_record_env_t    env = { crypto, pool, NULL, ring, ti_record_broken };
    ti_record_bond_t   bond;
    ti_record_outer_t  outer;

    rc = ti_record_bind(&env, ref, &bond);

    if (rc == TI_OK) {
        rc = ti_record_outer_parse(&env, sealed, &outer);
    }

    if (rc == TI_OK) {
        result = ti_record_outer_use(&env, &outer, &bond, record);
        ti_record_layer_clear(&outer.layer);

    } else {
        result = ti_record_result(rc, TI_RESULT_RECONNECT_REQUIRED);
    }

    *why = (result == TI_RESULT_INTERNAL_ERROR) ? ti_record_broken : env.why;

    return result;
}


ti_rc_t
ti_record_head(const ti_pool_t *pool, ti_str_t sealed, ti_record_head_t *head,
    const char **why)
{
    ti_rc_t            rc;
    ti_record_env_t    env = { NULL, pool, NULL, NULL, ti_record_broken };
    ti_record_outer_t  outer;

    rc = ti_record_outer_parse(&env, sealed, &outer);

    if (rc == TI_OK) {
        *head = outer.head;

        if (ti_pool_copy(pool, outer.head.kid, &head->kid) != TI_OK
            || ti_pool_copy(pool, outer.head.cid, &head->cid) != TI_OK)
        {
            rc = TI_ERROR;
        }

        ti_record_layer_clear(&outer.layer);
    }

    *why = (rc == TI_ERROR) ? ti_record_broken : env.why;

    return rc;
}


ti_rc_t
ti_record_rewrap(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring, ti_str_t sealed,
    ti_str_t *rewrapped, const char **why)
{
    ti_rc_t            rc;
    ti_record_env_t    env = { crypto, pool, random, ring, ti_record_broken };
    ti_record_outer_t  outer;

    rc = ti_record_outer_parse(&env, sealed, &outer);

    if (rc == TI_OK) {

        if (ti_str_eq(outer.head.kid, ti_keyring_kid(ring, 0))) {
            *rewrapped = sealed;

        } else {
            rc = ti_record_rewrap_outer(&env, &outer, rewrapped);
        }

        ti_record_layer_clear(&outer.layer);
    }

    *why = (rc == TI_ERROR) ? ti_record_broken : env.why;

    return rc;
}


/* The header stays what it was, members that we do not know included. */

static ti_rc_t
ti_record_rewrap_outer(ti_record_env_t *env, const ti_record_outer_t *outer,
    ti_str_t *rewrapped)
{
    ti_rc_t           rc;
    ti_str_t          plain;
    unsigned char     ctx[TI_RECORD_CTX_LEN];
    ti_record_key_t   key;

    if (ti_record_decode(outer->layer.ctx, ctx, sizeof(ctx)) != TI_OK) {
        env->why = "the \"ctx\" is not base64url";
        return TI_DECLINED;
    }

    rc = ti_record_outer_open(env, outer, ctx, &plain);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_record_set(outer->layer.header, "kid",
                       ti_keyring_kid(env->ring, 0));
    if (rc == TI_OK) {
        key = ti_record_seal_key(ti_keyring_first_key(env->ring), ctx);
        rc = ti_record_layer_seal(env, outer->layer.header, &key, plain,
                                  rewrapped);
    }

    ti_record_wipe(plain);

    return rc;
}


static ti_rc_t
ti_record_outer_parse(ti_record_env_t *env, ti_str_t sealed,
    ti_record_outer_t *outer)
{
    ti_rc_t  rc;

    if (sealed.len > TI_RECORD_MAX) {
        env->why = "a record above 65536 bytes";
        return TI_DECLINED;
    }

    rc = ti_record_layer_parse(env, sealed, &outer->layer);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_record_outer_head(env, outer);
    if (rc != TI_OK) {
        ti_record_layer_clear(&outer->layer);
    }

    return rc;
}


static ti_rc_t
ti_record_outer_head(ti_record_env_t *env, ti_record_outer_t *outer)
{
    int64_t            gen;
    ti_str_t           typ;
    const json_t      *header;
    ti_record_head_t  *head;

    header = outer->layer.header;
    head = &outer->head;

    if (ti_json_string(header, "typ", &typ) != TI_OK
        || !ti_str_eq(typ, ti_str(TI_RECORD_TYP)))
    {
        env->why = "the \"typ\" is not \"" TI_RECORD_TYP "\"";
        return TI_DECLINED;
    }

    if (ti_json_string(header, "kid", &head->kid) != TI_OK) {
        env->why = "no \"kid\"";
        return TI_DECLINED;
    }

    if (ti_json_integer(header, "gen", 0, TI_RECORD_GEN_MAX, &gen) != TI_OK) {
        env->why = "the \"gen\" is not an integer in its range";
        return TI_DECLINED;
    }

    head->gen = (uint64_t) gen;
    head->cid = ti_null_str;

    if (ti_json_has(header, "cid")
        && (ti_json_string(header, "cid", &head->cid) != TI_OK
            || !ti_record_cid_valid(head->cid)))
    {
        env->why = "the \"cid\" is not 16 bytes";
        return TI_DECLINED;
    }

    head->expires = 0;

    if (ti_json_has(header, "exp")
        && ti_json_integer(header, "exp", 1, TI_RECORD_EXPIRES_MAX,
                           &head->expires) != TI_OK)
    {
        env->why = "the \"exp\" is not an integer in its range";
        return TI_DECLINED;
    }

    /* it says when to renew, and nothing of whether to believe */

    if (ti_json_integer(header, "iat", 1, TI_RECORD_EXPIRES_MAX,
                        &head->issued) != TI_OK)
    {
        head->issued = 0;
    }

    return TI_OK;
}


/* Is it the record that was asked for?  The tag will say whether to trust. */

static ti_rc_t
ti_record_outer_matches(ti_record_env_t *env, const ti_record_outer_t *outer,
    const ti_record_bond_t *bond)
{
    ti_str_t                 cty;
    const ti_record_ref_t   *ref;
    const ti_record_head_t  *head;

    ref = bond->ref;
    head = &outer->head;

    if (!ti_record_bound(&outer->layer, bond)) {
        env->why = "the \"ctx\" is another's";
        return TI_DECLINED;
    }

    if (head->gen != ref->gen) {
        env->why = "the \"gen\" is not the connection's";
        return TI_DECLINED;
    }

    if (!ti_str_eq(head->cid, ref->cid)) {
        env->why = "the \"cid\" is not the connection's";
        return TI_DECLINED;
    }

    if (head->expires == 0 && !ti_record_endless(ref->kind)) {
        env->why = "no \"exp\"";
        return TI_DECLINED;
    }

    cty = (ref->user_key != NULL) ? ti_str("JWE") : ti_str("token");

    if (!ti_str_eq(outer->layer.cty, cty)) {
        env->why = "the \"cty\" is not what the use of user keys demands";
        return TI_DECLINED;
    }

    return TI_OK;
}


static ti_rc_t
ti_record_outer_open(ti_record_env_t *env, const ti_record_outer_t *outer,
    const unsigned char ctx[TI_RECORD_CTX_LEN], ti_str_t *plain)
{
    ti_str_t         secret;
    ti_record_key_t  key;

    secret = ti_keyring_find(env->ring, outer->head.kid);

    if (secret.data == NULL) {
        env->why = "no sealing key has the \"kid\"";
        return TI_DECLINED;
    }

    key = ti_record_seal_key(secret, ctx);

    return ti_record_layer_open(env, &outer->layer, &key, plain);
}


static ti_result_t
ti_record_outer_use(ti_record_env_t *env, const ti_record_outer_t *outer,
    const ti_record_bond_t *bond, ti_record_t *record)
{
    ti_rc_t      rc;
    ti_str_t     payload;
    ti_result_t  result;

    rc = ti_record_outer_matches(env, outer, bond);

    if (rc == TI_OK) {
        rc = ti_record_outer_open(env, outer, bond->ctx, &payload);
    }

    if (rc != TI_OK) {
        return ti_record_result(rc, TI_RESULT_RECONNECT_REQUIRED);
    }

    if (bond->ref->user_key != NULL) {
        result = ti_record_inner_use(env, payload, bond, record);
        ti_record_wipe(payload);

    } else {
        rc = ti_record_accept(env, &outer->layer, bond->ref->kind, payload,
                              record);
        result = ti_record_result(rc, TI_RESULT_RECONNECT_REQUIRED);
    }

    if (result == TI_RESULT_OK) {
        record->expires = outer->head.expires;
        record->issued = outer->head.issued;
    }

    return result;
}


/*
 * From here on the user's key decides: a layer that does not open, whatever
 * it is that keeps it from opening, is for another key than the one sent.
 */

static ti_result_t
ti_record_inner_use(ti_record_env_t *env, ti_str_t text,
    const ti_record_bond_t *bond, ti_record_t *record)
{
    ti_rc_t            rc;
    ti_str_t           payload;
    ti_result_t        result;
    ti_record_layer_t  inner;

    rc = ti_record_layer_parse(env, text, &inner);
    if (rc != TI_OK) {
        return ti_record_result(rc, TI_RESULT_CONNECTION_REQUIRED);
    }

    rc = ti_record_inner_open(env, &inner, bond, &payload);

    if (rc == TI_OK) {
        rc = ti_record_accept(env, &inner, bond->ref->kind, payload, record);
        result = ti_record_result(rc, TI_RESULT_RECONNECT_REQUIRED);

    } else {
        result = ti_record_result(rc, TI_RESULT_CONNECTION_REQUIRED);
    }

    ti_record_layer_clear(&inner);

    return result;
}


static ti_rc_t
ti_record_inner_open(ti_record_env_t *env, const ti_record_layer_t *inner,
    const ti_record_bond_t *bond, ti_str_t *plain)
{
    ti_record_key_t  key;

    if (!ti_str_eq(inner->cty, ti_str("token"))) {
        env->why = "the inner \"cty\" is not \"token\"";
        return TI_DECLINED;
    }

    if (!ti_record_bound(inner, bond)) {
        env->why = "the inner \"ctx\" is another's";
        return TI_DECLINED;
    }

    key = ti_record_user_key(bond);

    return ti_record_layer_open(env, inner, &key, plain);
}


/*
 * The payload, and what the header of its own layer says of it.  A token
 * becomes a header field's value, so no byte may pass that could end one.
 */

static ti_rc_t
ti_record_accept(ti_record_env_t *env, const ti_record_layer_t *layer,
    ti_record_kind_t kind, ti_str_t payload, ti_record_t *record)
{
    ti_rc_t   rc;
    ti_str_t  type;

    rc = TI_DECLINED;

    if (payload.len == 0 || payload.len > TI_RECORD_TOKEN_MAX) {
        env->why = "the token is empty or above 16384 bytes";

    } else if (!ti_record_payload_fits(kind, payload)) {
        env->why = "the token has bytes that no token has";

    } else if (ti_json_has(layer->header, "token_type")
               && (ti_json_string(layer->header, "token_type", &type) != TI_OK
                   || !ti_str_caseeq(type, ti_str("Bearer"))))
    {
        env->why = "the \"token_type\" is not \"Bearer\"";

    } else {
        rc = ti_record_scope(env, layer->header, &record->scope);
    }

    if (rc != TI_OK) {
        ti_record_wipe(payload);
        return rc;
    }

    record->token = payload;
    record->token_type = ti_null_str;

    return TI_OK;
}


static ti_rc_t
ti_record_scope(ti_record_env_t *env, const json_t *header, ti_str_t *scope)
{
    ti_str_t  text;

    *scope = ti_null_str;

    if (!ti_json_has(header, "scope")) {
        return TI_OK;
    }

    if (ti_json_string(header, "scope", &text) != TI_OK) {
        env->why = "the \"scope\" is not a string";
        return TI_DECLINED;
    }

    return ti_pool_copy(env->pool, text, scope);
}


static int
ti_record_gen_fits(const ti_record_ref_t *ref)
{
    if (ref->kind == TI_RECORD_PENDING || ref->kind == TI_RECORD_ACCOUNT) {
        return ref->gen == 0;
    }

    return ref->gen != 0 && ref->gen <= TI_RECORD_GEN_MAX;
}


static int
ti_record_cid_fits(const ti_record_ref_t *ref)
{
    return ref->kind == TI_RECORD_PENDING ? ref->cid.len == 0
                                          : ti_record_cid_valid(ref->cid);
}


/* Only a token has to be what a header field can hold. */

int
ti_record_payload_fits(ti_record_kind_t kind, ti_str_t payload)
{
    return kind == TI_RECORD_PENDING || kind == TI_RECORD_ACCOUNT
           || ti_header_b64token(payload);
}


int
ti_record_endless(ti_record_kind_t kind)
{
    return kind == TI_RECORD_REFRESH || kind == TI_RECORD_ACCOUNT;
}


ti_rc_t
ti_record_bind(ti_record_env_t *env, const ti_record_ref_t *ref,
    ti_record_bond_t *bond)
{
    ti_str_t       fields[8];
    unsigned char  gen[TI_DECIMAL_LEN];

    static const ti_str_t  kinds[] = {
        [TI_RECORD_ACCESS] = ti_string("access"),
        [TI_RECORD_REFRESH] = ti_string("refresh"),
        [TI_RECORD_PENDING] = ti_string("pending"),
        [TI_RECORD_ACCOUNT] = ti_string("account"),
        [TI_RECORD_PREVIOUS] = ti_string("previous")
    };

    if (!ti_record_gen_fits(ref) || !ti_record_cid_fits(ref)) {
        env->why = "a gen or a cid that no record has";
        return TI_DECLINED;
    }

    fields[0] = ti_str("ngx-token-injector ctx v1");
    fields[1] = kinds[ref->kind];
    fields[2] = ref->who.issuer;
    fields[3] = ref->who.tenant;
    fields[4] = ref->who.subject;
    fields[5] = ref->provider;
    fields[6] = ref->device;
    fields[7] = ti_str_from(gen, ti_decimal_format(gen, ref->gen));

    bond->ref = ref;

    return ti_crypto_sha256_enc(env->crypto, fields, 8, bond->ctx);
}


/* base64url is canonical here, so that texts are equal where bytes are */

static int
ti_record_bound(const ti_record_layer_t *layer, const ti_record_bond_t *bond)
{
    unsigned char  text[TI_RECORD_CTX_TEXT];

    ti_b64u_encode(text, ti_str_from(bond->ctx, TI_RECORD_CTX_LEN));

    return ti_equal_ct(layer->ctx, ti_str_from(text, sizeof(text)));
}


static ti_result_t
ti_record_result(ti_rc_t rc, ti_result_t declined)
{
    switch (rc) {

    case TI_OK:
        return TI_RESULT_OK;

    case TI_DECLINED:
        return declined;

    default:
        return TI_RESULT_INTERNAL_ERROR;
    }
}
