/*
 * Floor 2: token records, version 1 (docs/record-format.md): the keys they
 * are sealed with, their names in Redis, seal, open, re-wrap.  JWE compact
 * (RFC 7516), "dir" with A256GCM (RFC 7518 sections 4.5 and 5.3), keys by
 * HKDF-SHA-256 (RFC 5869).
 */

#ifndef TI_RECORD_H
#define TI_RECORD_H

#include "ti_crypto.h"


#define TI_RECORD_MAX        65536          /* a sealed record */
#define TI_RECORD_TOKEN_MAX  16384          /* the token in it */
#define TI_RECORD_USER_LEN   22             /* b64u of 16 bytes */
#define TI_RECORD_DEVICE_MAX 16             /* b64u of 12 bytes, or "-" */
#define TI_RECORD_CID_LEN    22             /* b64u of 16 bytes */
#define TI_RECORD_LIFE       3600           /* of a token that tells none */
#define TI_RECORD_GEN_MAX    ((UINT64_C(1) << 53) - 1)
#define TI_PROVIDER_MAX      64


/*
 * The sealing keys and the index key, from a JWK Set.  TI_DECLINED names in
 * *why what is wrong: no sealing key, one of not 32 bytes, two of one kid,
 * no index key or two.  The secrets are wiped by ti_keyring_free().
 */

typedef struct ti_keyring_s  ti_keyring_t;

ti_rc_t ti_keyring_parse(ti_str_t text, ti_keyring_t **ring, const char **why);
void ti_keyring_free(ti_keyring_t *ring);
size_t ti_keyring_count(const ti_keyring_t *ring);      /* of sealing keys */
ti_str_t ti_keyring_kid(const ti_keyring_t *ring, size_t i);    /* 0 seals */
ti_str_t ti_keyring_index_key(const ti_keyring_t *ring);
ti_str_t ti_keyring_first_key(const ti_keyring_t *ring);
/* the sealing key of that kid, {NULL, 0} where there is none */
ti_str_t ti_keyring_find(const ti_keyring_t *ring, ti_str_t kid);

/* a fingerprint of all keys, in order; not secret */
ti_rc_t ti_keyring_id(const ti_keyring_t *ring, ti_crypto_t *crypto,
    unsigned char out[TI_SHA256_LEN]);


/* Who owns a connection; all empty for an app-only one. */

typedef struct {
    ti_str_t  issuer;
    ti_str_t  tenant;
    ti_str_t  subject;
} ti_who_t;


/*
 * The user key as sent: 43 characters, canonical.  TI_DECLINED otherwise.
 */

ti_rc_t ti_user_key_decode(ti_str_t text, unsigned char key[TI_KEY_LEN]);


/*
 * Names.  user is TI_RECORD_USER_LEN characters; device up to
 * TI_RECORD_DEVICE_MAX, "-" where user_key is NULL.
 */

ti_rc_t ti_record_user(ti_crypto_t *crypto, const ti_keyring_t *ring,
    const ti_who_t *who, unsigned char user[TI_RECORD_USER_LEN]);
ti_rc_t ti_record_device(ti_crypto_t *crypto, const unsigned char *user_key,
    unsigned char device[TI_RECORD_DEVICE_MAX], size_t *len);

int ti_record_provider_valid(ti_str_t provider);
int ti_record_device_valid(ti_str_t device);    /* "-" is one */
int ti_record_cid_valid(ti_str_t cid);

/* "<prefix>{user}:c:<provider>:<device>", from the pool */
ti_rc_t ti_record_connection_name(const ti_pool_t *pool, ti_str_t prefix,
    ti_str_t user, ti_str_t provider, ti_str_t device, ti_str_t *name);

/*
 * The way back, which is how a message on "changes" is read: its views borrow
 * from the name.  TI_DECLINED: it is no connection's name below this prefix.
 */
typedef struct {
    ti_str_t  user;
    ti_str_t  provider;
    ti_str_t  device;
} ti_record_parts_t;

ti_rc_t ti_record_connection_parse(ti_str_t prefix, ti_str_t name,
    ti_record_parts_t *parts);

/* "<prefix>{user}:l:<provider>:<device>", who is renewing it; the same way */
ti_rc_t ti_record_lock_name(const ti_pool_t *pool, ti_str_t prefix,
    const ti_record_parts_t *parts, ti_str_t *name);

/* "<prefix>{user}:p:<b64u SHA-256 of state>", from the pool */
ti_rc_t ti_record_pending_name(ti_crypto_t *crypto, const ti_pool_t *pool,
    ti_str_t prefix, ti_str_t user, ti_str_t state, ti_str_t *name);

/* "<prefix>changes", from the pool */
ti_rc_t ti_record_changes_name(const ti_pool_t *pool, ti_str_t prefix,
    ti_str_t *name);


/*
 * What a record is for: its ctx is computed from this and nothing else.
 *
 * An account is the name under which the user is known to the provider, for
 * who looks at the status without a user key: bound to the cid alone, so that
 * new tokens leave it as it is.
 *
 * A previous is the refresh token before the present one, where its provider
 * takes it once more for a while: bound like a refresh token, and sealed anew
 * with it.
 */

typedef enum {
    TI_RECORD_ACCESS,
    TI_RECORD_REFRESH,
    TI_RECORD_PENDING,
    TI_RECORD_ACCOUNT,
    TI_RECORD_PREVIOUS
} ti_record_kind_t;

typedef struct {
    ti_record_kind_t      kind;
    ti_who_t              who;
    ti_str_t              provider;
    ti_str_t              device;           /* text, "-" without user key */
    const unsigned char  *user_key;         /* TI_KEY_LEN bytes or NULL; an
                                               account's is NULL */
    uint64_t              gen;              /* 0 for pending and account */
    ti_str_t              cid;              /* text; empty for pending */
} ti_record_ref_t;

typedef struct {
    ti_str_t  token;                        /* or pending's JSON, a name */
    ti_str_t  token_type;                   /* empty: Bearer */
    ti_str_t  scope;                        /* empty: the connection's */
    int64_t   expires;                      /* 0: absent (refresh, account);
                                               a previous': until when it may
                                               be tried */
    int64_t   issued;                       /* of an access token: when it was
                                               granted; 0: unknown.  Another's
                                               is not written */
} ti_record_t;


/*
 * Seals under the ring's first key.  *sealed comes from the pool.
 * TI_DECLINED: a token that no record may hold (size, b64token, gen).
 */

ti_rc_t ti_record_seal(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring,
    const ti_record_ref_t *ref, const ti_record_t *record, ti_str_t *sealed);


/*
 * Opens what ref names: its ctx, gen and cid must be the record's.  Memory
 * for everything in *record comes from the pool; the token there is the
 * caller's to wipe, every other copy is wiped here.
 *
 * TI_RESULT_OK; TI_RESULT_CONNECTION_REQUIRED (the outer layer opened and the
 * inner did not); TI_RESULT_RECONNECT_REQUIRED (anything else that is not as
 * specified); TI_RESULT_INTERNAL_ERROR.  *why is a static phrase.
 */

ti_result_t ti_record_open(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_keyring_t *ring, const ti_record_ref_t *ref, ti_str_t sealed,
    ti_record_t *record, const char **why);


/*
 * What the outer header says, unauthenticated and for display.  Strings come
 * from the pool.
 */

typedef struct {
    ti_str_t  kid;
    ti_str_t  cid;
    uint64_t  gen;
    int64_t   expires;                      /* 0: absent */
    int64_t   issued;                       /* 0: absent, or no such time */
} ti_record_head_t;

ti_rc_t ti_record_head(const ti_pool_t *pool, ti_str_t sealed,
    ti_record_head_t *head, const char **why);


/*
 * Takes the outer layer off with the key that its kid names and puts a new
 * one on under the ring's first key: same ctx, gen, cid, exp, the payload
 * byte for byte.  Needs no user key.  TI_DECLINED: it does not open.
 * A record already under the first key gives sealed back as it is.
 */

ti_rc_t ti_record_rewrap(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring, ti_str_t sealed,
    ti_str_t *rewrapped, const char **why);


#endif /* TI_RECORD_H */
