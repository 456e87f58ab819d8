#include <stdlib.h>
#include <string.h>

#include "ti_pending.h"


static ti_record_ref_t
ti_pending_ref(const ti_record_ref_t *whose)
{
    ti_record_ref_t  ref;

    ref = *whose;
    ref.kind = TI_RECORD_PENDING;
    ref.gen = 0;
    ref.cid = ti_null_str;

    return ref;
}


ti_rc_t
ti_pending_begin(const ti_random_t *random, ti_pending_t *pending)
{
    if (ti_oauth_secret(random, pending->state) != TI_OK
        || ti_oauth_secret(random, pending->verifier) != TI_OK)
    {
        return TI_ERROR;
    }

    return ti_oauth_secret(random, pending->nonce);
}


/* The secrets do not stay behind in the parser's memory. */

static void
ti_pending_forget(json_t *object)
{
    size_t    i;
    ti_str_t  text;

    static const char *const  secrets[] = { "verifier", "nonce" };

    for (i = 0; i < 2; i++) {
        if (ti_json_string(object, secrets[i], &text) == TI_OK) {
            ti_wipe((void *) text.data, text.len);
        }
    }

    json_decref(object);
}


/* free() ends it, after ti_wipe(); NULL: no memory, or not UTF-8 */

static char *
ti_pending_json(const ti_pending_t *pending)
{
    char    *text;
    json_t  *object;

    object = json_pack("{s:s%, s:s%, s:s%, s:s%, s:s%, s:b}",
                       "state", (const char *) pending->state,
                       (size_t) TI_OAUTH_SECRET_LEN,
                       "verifier", (const char *) pending->verifier,
                       (size_t) TI_OAUTH_SECRET_LEN,
                       "nonce", (const char *) pending->nonce,
                       (size_t) TI_OAUTH_SECRET_LEN,
                       "scope", pending->scope.len == 0 ? ""
                                : (const char *) pending->scope.data,
                       pending->scope.len,
                       "redirect_uri", pending->redirect_uri.len == 0 ? ""
                                : (const char *) pending->redirect_uri.data,
                       pending->redirect_uri.len,
                       "admin", (int) pending->admin);
    if (object == NULL) {
        return NULL;
    }

    text = json_dumps(object, JSON_COMPACT);
    ti_pending_forget(object);

    return text;
}


ti_rc_t
ti_pending_seal(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring,
    const ti_record_ref_t *ref, const ti_pending_t *pending, int64_t now,
    ti_str_t *sealed)
{
    char             *text;
    ti_rc_t           rc;
    ti_record_t       record;
    ti_record_ref_t   whose;

    text = ti_pending_json(pending);
    if (text == NULL) {
        return TI_ERROR;
    }

    memset(&record, 0, sizeof(ti_record_t));
    record.token = ti_str_cstr(text);
    record.expires = now + TI_PENDING_LIFE;

    whose = ti_pending_ref(ref);

    rc = ti_record_seal(crypto, pool, random, ring, &whose, &record, sealed);

    ti_wipe(text, record.token.len);
    free(text);

    return rc;
}


static ti_rc_t
ti_pending_secret(const json_t *object, const char *name, unsigned char *dst)
{
    ti_str_t  text;

    if (ti_json_string(object, name, &text) != TI_OK
        || text.len != TI_OAUTH_SECRET_LEN)
    {
        return TI_DECLINED;
    }

    memcpy(dst, text.data, text.len);

    return TI_OK;
}


static ti_rc_t
ti_pending_take(const ti_pool_t *pool, const json_t *object,
    ti_pending_t *pending)
{
    ti_str_t  scope, redirect_uri;

    if (ti_pending_secret(object, "state", pending->state) != TI_OK
        || ti_pending_secret(object, "verifier", pending->verifier) != TI_OK
        || ti_pending_secret(object, "nonce", pending->nonce) != TI_OK
        || ti_json_string(object, "scope", &scope) != TI_OK
        || ti_json_string(object, "redirect_uri", &redirect_uri) != TI_OK)
    {
        return TI_DECLINED;
    }

    pending->admin = json_is_true(json_object_get(object, "admin"));

    if (ti_pool_copy(pool, scope, &pending->scope) != TI_OK) {
        return TI_ERROR;
    }

    return ti_pool_copy(pool, redirect_uri, &pending->redirect_uri);
}


static ti_rc_t
ti_pending_read(const ti_pool_t *pool, ti_str_t text, ti_pending_t *pending,
    const char **why)
{
    json_t   *object;
    ti_rc_t   rc;

    rc = ti_json_parse_object(text, TI_RECORD_TOKEN_MAX, &object, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_pending_take(pool, object, pending);

    if (rc == TI_DECLINED) {
        *why = "a pending consent of another version";

    } else if (rc == TI_ERROR) {
        *why = "no memory";
    }

    ti_pending_forget(object);

    return rc;
}


ti_result_t
ti_pending_open(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_keyring_t *ring, const ti_record_ref_t *ref, ti_str_t sealed,
    ti_str_t state, int64_t now, ti_pending_t *pending, const char **why)
{
    ti_rc_t          rc;
    ti_result_t      result;
    ti_record_t      record;
    ti_record_ref_t  whose;

    whose = ti_pending_ref(ref);

    result = ti_record_open(crypto, pool, ring, &whose, sealed, &record, why);

    if (result != TI_RESULT_OK) {
        return result == TI_RESULT_INTERNAL_ERROR ? result
                                                  : TI_RESULT_STATE_INVALID;
    }

    rc = ti_pending_read(pool, record.token, pending, why);
    ti_wipe((void *) record.token.data, record.token.len);

    if (rc == TI_OK && now >= record.expires) {
        *why = "the pending consent has ended";
        rc = TI_DECLINED;
    }

    /* who can write to the store can give it another name */

    if (rc == TI_OK
        && !ti_equal_ct(state, ti_str_from(pending->state,
                                           TI_OAUTH_SECRET_LEN)))
    {
        *why = "a pending consent of another state";
        rc = TI_DECLINED;
    }

    if (rc == TI_OK) {
        return TI_RESULT_OK;
    }

    ti_wipe(pending, sizeof(ti_pending_t));

    return rc == TI_ERROR ? TI_RESULT_INTERNAL_ERROR : TI_RESULT_STATE_INVALID;
}
