/*
 * Floor 3: a cached response: whose it is, its key, seal, open; which
 * responses may be kept (RFC 9111 as far as directives.md adopts it).
 */

#ifndef TI_ANSWER_H
#define TI_ANSWER_H

#include "ti_record.h"


/*
 * digest = HMAC-SHA-256(index key, enc("answer", …)) of record-format.md,
 * "Cached answers": computable before the connection is known.
 */

typedef struct {
    ti_who_t         who;
    ti_str_t         provider;
    ti_str_t         device;
    ti_str_t         location;
    ti_str_t         method;                /* GET for HEAD */
    ti_str_t         scheme;
    ti_str_t         host;
    ti_str_t         uri;                   /* as it would be passed on */
    const ti_str_t  *parts;                 /* cache_key values, then each */
    size_t           nparts;                /* listed header, name and value */
    ti_str_t         body;                  /* its SHA-256, 32 bytes */
} ti_answer_request_t;

ti_rc_t ti_answer_digest(ti_crypto_t *crypto, const ti_keyring_t *ring,
    const ti_answer_request_t *request, unsigned char digest[TI_SHA256_LEN]);


/*
 * The key of one answer, in two steps: what depends on the keys alone is
 * derived once per caller (and kept where the caller's admission is), what
 * depends on the request is one HMAC.  user_key may be NULL.
 */

ti_rc_t ti_answer_base(ti_crypto_t *crypto, const ti_keyring_t *ring,
    const unsigned char *user_key, unsigned char base[TI_KEY_LEN]);
ti_rc_t ti_answer_key(ti_crypto_t *crypto,
    const unsigned char base[TI_KEY_LEN],
    const unsigned char digest[TI_SHA256_LEN], unsigned char key[TI_KEY_LEN]);


/* A response as it is kept: status 200 goes without saying. */

typedef struct {
    ti_str_t  name;
    ti_str_t  value;
} ti_answer_header_t;

typedef struct {
    int64_t              stored;
    int64_t              expires;
    ti_answer_header_t  *headers;
    size_t               nheaders;
    ti_str_t             body;
} ti_answer_t;


/*
 * Sealing writes exactly ti_answer_sealed_len() bytes to dst; opening works
 * in place and lets headers (from the pool) and body point into sealed.
 * TI_DECLINED from opening is a miss: another version, key, digest or cid,
 * truncated, or past its time.
 *
 * Where one past its time will do, now is said to be as many seconds earlier
 * as it may be stale: answer->expires tells whether it is.
 */

size_t ti_answer_sealed_len(const ti_answer_t *answer);
ti_rc_t ti_answer_seal(ti_crypto_t *crypto, const ti_random_t *random,
    const unsigned char key[TI_KEY_LEN],
    const unsigned char digest[TI_SHA256_LEN], ti_str_t cid,
    const ti_answer_t *answer, unsigned char *dst);
ti_rc_t ti_answer_open(ti_crypto_t *crypto, const ti_pool_t *pool,
    const unsigned char key[TI_KEY_LEN],
    const unsigned char digest[TI_SHA256_LEN], ti_str_t cid, int64_t now,
    unsigned char *sealed, size_t len, ti_answer_t *answer);


/* "<prefix>{user}:a:<b64u digest>", from the pool */

ti_rc_t ti_answer_name(const ti_pool_t *pool, ti_str_t prefix, ti_str_t user,
    const unsigned char digest[TI_SHA256_LEN], ti_str_t *name);


/*
 * May a response with this header be kept?  Ask of each field; 0 forbids.
 * "varies": the request headers that are part of the key.
 */

int ti_answer_header_keepable(ti_str_t name, ti_str_t value,
    const ti_str_t *varies, size_t nvaries);

/* An end-to-end header that belongs into a kept answer (RFC 9110 7.6.1). */

int ti_answer_header_end_to_end(ti_str_t name);


#endif /* TI_ANSWER_H */
