/*
 * Floor 3: cached responses.
 *
 * At rest: the version in 4 bytes, a nonce, AES-256-GCM of what follows, its
 * tag.  Inside, numbers big-endian: stored and expires in 8 bytes each, the
 * count of headers in 4, each header as enc(name, value), then the body up to
 * the end.  Why the key is what it is: docs/decisions/answer-key.md.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_answer.h"
#include "ti_header.h"


#define TI_ANSWER_MAGIC         "TIA1"
#define TI_ANSWER_MAGIC_LEN     4
#define TI_ANSWER_PLAIN         (TI_ANSWER_MAGIC_LEN + TI_NONCE_LEN)
#define TI_ANSWER_OVERHEAD      (TI_ANSWER_PLAIN + TI_TAG_LEN)

#define TI_ANSWER_HEAD          (8 + 8 + 4)
#define TI_ANSWER_HEADER_MIN    (4 + 1 + 4)

#define TI_ANSWER_AAD_MAX       (4 + TI_SHA256_LEN + 4 + TI_RECORD_CID_LEN)
#define TI_ANSWER_DIGEST_FIXED  12


typedef struct {
    const unsigned char  *p;
    size_t                left;
} ti_answer_reader_t;


static ti_rc_t ti_answer_aad(unsigned char *dst, ti_str_t *aad,
    const unsigned char digest[TI_SHA256_LEN], ti_str_t cid);
static size_t ti_answer_plain_len(const ti_answer_t *answer);
static void ti_answer_write(unsigned char *dst, const ti_answer_t *answer);
static ti_rc_t ti_answer_read(const ti_pool_t *pool, ti_str_t plain,
    ti_answer_t *answer);
static ti_rc_t ti_answer_read_headers(ti_answer_reader_t *reader,
    ti_answer_t *answer);
static ti_rc_t ti_answer_read_field(ti_answer_reader_t *reader,
    ti_str_t *field);


ti_rc_t
ti_answer_digest(ti_crypto_t *crypto, const ti_keyring_t *ring,
    const ti_answer_request_t *request, unsigned char digest[TI_SHA256_LEN])
{
    size_t     i, n;
    ti_rc_t    rc;
    ti_str_t  *fields;

    fields = malloc((TI_ANSWER_DIGEST_FIXED + request->nparts)
                    * sizeof(ti_str_t));
    if (fields == NULL) {
        return TI_ERROR;
    }

    n = 0;

    fields[n++] = ti_str("answer");
    fields[n++] = request->who.issuer;
    fields[n++] = request->who.tenant;
    fields[n++] = request->who.subject;
    fields[n++] = request->provider;
    fields[n++] = request->device;
    fields[n++] = request->location;
    fields[n++] = request->method;
    fields[n++] = request->scheme;
    fields[n++] = request->host;
    fields[n++] = request->uri;

    for (i = 0; i < request->nparts; i++) {
        fields[n++] = request->parts[i];
    }

    fields[n++] = request->body;

    rc = ti_crypto_hmac_enc(crypto, ti_keyring_index_key(ring), fields, n,
                            digest);
    free(fields);

    return rc;
}


/*
 * Neither key alone gives the base.  A user key of 32 zero bytes is the same
 * HMAC key as none at all: the label keeps the two apart.
 */

ti_rc_t
ti_answer_base(ti_crypto_t *crypto, const ti_keyring_t *ring,
    const unsigned char *user_key, unsigned char base[TI_KEY_LEN])
{
    ti_str_t  salt, info;

    if (user_key != NULL) {
        salt = ti_str_from(user_key, TI_KEY_LEN);
        info = ti_str("ngx-token-injector answer v1, user");

    } else {
        salt = ti_null_str;
        info = ti_str("ngx-token-injector answer v1, app");
    }

    return ti_crypto_hkdf(crypto, ti_keyring_first_key(ring), salt, info,
                          base, TI_KEY_LEN);
}


ti_rc_t
ti_answer_key(ti_crypto_t *crypto, const unsigned char base[TI_KEY_LEN],
    const unsigned char digest[TI_SHA256_LEN], unsigned char key[TI_KEY_LEN])
{
    ti_str_t  part;

    part = ti_str_from(digest, TI_SHA256_LEN);

    return ti_crypto_hmac(crypto, ti_str_from(base, TI_KEY_LEN), &part, 1,
                          key);
}


size_t
ti_answer_sealed_len(const ti_answer_t *answer)
{
    return TI_ANSWER_OVERHEAD + ti_answer_plain_len(answer);
}


ti_rc_t
ti_answer_seal(ti_crypto_t *crypto, const ti_random_t *random,
    const unsigned char key[TI_KEY_LEN],
    const unsigned char digest[TI_SHA256_LEN], ti_str_t cid,
    const ti_answer_t *answer, unsigned char *dst)
{
    size_t          len;
    ti_rc_t         rc;
    ti_str_t        aad;
    unsigned char  *nonce, *p, buf[TI_ANSWER_AAD_MAX];

    rc = ti_answer_aad(buf, &aad, digest, cid);
    if (rc != TI_OK) {
        return rc;
    }

    memcpy(dst, TI_ANSWER_MAGIC, TI_ANSWER_MAGIC_LEN);

    nonce = dst + TI_ANSWER_MAGIC_LEN;
    p = nonce + TI_NONCE_LEN;

    rc = random->fill(random->data, nonce, TI_NONCE_LEN);
    if (rc != TI_OK) {
        return rc;
    }

    len = ti_answer_plain_len(answer);
    ti_answer_write(p, answer);

    rc = ti_crypto_seal(crypto, key, nonce, aad, ti_str_from(p, len), p,
                        p + len);
    if (rc != TI_OK) {
        ti_wipe(p, len);
    }

    return rc;
}


ti_rc_t
ti_answer_open(ti_crypto_t *crypto, const ti_pool_t *pool,
    const unsigned char key[TI_KEY_LEN],
    const unsigned char digest[TI_SHA256_LEN], ti_str_t cid, int64_t now,
    unsigned char *sealed, size_t len, ti_answer_t *answer)
{
    ti_rc_t         rc;
    ti_str_t        aad, plain;
    unsigned char  *nonce, *p, buf[TI_ANSWER_AAD_MAX];

    if (len < TI_ANSWER_OVERHEAD
        || memcmp(sealed, TI_ANSWER_MAGIC, TI_ANSWER_MAGIC_LEN) != 0)
    {
        return TI_DECLINED;
    }

    rc = ti_answer_aad(buf, &aad, digest, cid);
    if (rc != TI_OK) {
        return rc;
    }

    nonce = sealed + TI_ANSWER_MAGIC_LEN;
    p = nonce + TI_NONCE_LEN;
    plain = ti_str_from(p, len - TI_ANSWER_OVERHEAD);

    rc = ti_crypto_open(crypto, key, nonce, aad, plain, p + plain.len, p);
    if (rc != TI_OK) {
        return rc;
    }

    rc = ti_answer_read(pool, plain, answer);

    if (rc == TI_OK && now >= answer->expires) {
        rc = TI_DECLINED;
    }

    return rc;
}


static ti_rc_t
ti_answer_aad(unsigned char *dst, ti_str_t *aad,
    const unsigned char digest[TI_SHA256_LEN], ti_str_t cid)
{
    ti_str_t  fields[2];

    if (cid.len > TI_RECORD_CID_LEN) {
        return TI_DECLINED;
    }

    fields[0] = ti_str_from(digest, TI_SHA256_LEN);
    fields[1] = cid;

    *aad = ti_str_from(dst, ti_enc(dst, fields, 2));

    return TI_OK;
}


static size_t
ti_answer_plain_len(const ti_answer_t *answer)
{
    size_t  i, len;

    len = TI_ANSWER_HEAD + answer->body.len;

    for (i = 0; i < answer->nheaders; i++) {
        len += 4 + answer->headers[i].name.len
               + 4 + answer->headers[i].value.len;
    }

    return len;
}


static void
ti_answer_write(unsigned char *dst, const ti_answer_t *answer)
{
    size_t          i;
    ti_str_t        fields[2];
    unsigned char  *p;

    p = dst;

    ti_put_u64(p, (uint64_t) answer->stored);
    ti_put_u64(p + 8, (uint64_t) answer->expires);
    ti_put_u32(p + 16, (uint32_t) answer->nheaders);
    p += TI_ANSWER_HEAD;

    for (i = 0; i < answer->nheaders; i++) {
        fields[0] = answer->headers[i].name;
        fields[1] = answer->headers[i].value;
        p += ti_enc(p, fields, 2);
    }

    if (answer->body.len != 0) {
        memcpy(p, answer->body.data, answer->body.len);
    }
}


/*
 * The tag said that a node with these keys wrote it.  It is read as if it
 * had not: a node of another build may have the same keys.
 */

static ti_rc_t
ti_answer_read(const ti_pool_t *pool, ti_str_t plain, ti_answer_t *answer)
{
    uint64_t            stored, expires;
    ti_answer_reader_t  reader;

    if (plain.len < TI_ANSWER_HEAD) {
        return TI_DECLINED;
    }

    stored = ti_get_u64(plain.data);
    expires = ti_get_u64(plain.data + 8);

    if (stored > expires || expires > INT64_MAX) {
        return TI_DECLINED;
    }

    reader.p = plain.data + TI_ANSWER_HEAD;
    reader.left = plain.len - TI_ANSWER_HEAD;

    answer->stored = (int64_t) stored;
    answer->expires = (int64_t) expires;
    answer->nheaders = ti_get_u32(plain.data + 16);
    answer->headers = NULL;

    if (answer->nheaders > reader.left / TI_ANSWER_HEADER_MIN) {
        return TI_DECLINED;
    }

    if (answer->nheaders != 0) {
        answer->headers = ti_pool_alloc(pool, answer->nheaders
                                              * sizeof(ti_answer_header_t));
        if (answer->headers == NULL) {
            return TI_ERROR;
        }
    }

    if (ti_answer_read_headers(&reader, answer) != TI_OK) {
        return TI_DECLINED;
    }

    answer->body = ti_str_from(reader.p, reader.left);

    return TI_OK;
}


static ti_rc_t
ti_answer_read_headers(ti_answer_reader_t *reader, ti_answer_t *answer)
{
    size_t               i;
    ti_answer_header_t  *header;

    for (i = 0; i < answer->nheaders; i++) {
        header = &answer->headers[i];

        if (ti_answer_read_field(reader, &header->name) != TI_OK
            || ti_answer_read_field(reader, &header->value) != TI_OK
            || header->name.len == 0)
        {
            return TI_DECLINED;
        }
    }

    return TI_OK;
}


static ti_rc_t
ti_answer_read_field(ti_answer_reader_t *reader, ti_str_t *field)
{
    size_t  len;

    if (reader->left < 4) {
        return TI_DECLINED;
    }

    len = ti_get_u32(reader->p);
    reader->p += 4;
    reader->left -= 4;

    if (len > reader->left) {
        return TI_DECLINED;
    }

    *field = ti_str_from(reader->p, len);
    reader->p += len;
    reader->left -= len;

    return TI_OK;
}


ti_rc_t
ti_answer_name(const ti_pool_t *pool, ti_str_t prefix, ti_str_t user,
    const unsigned char digest[TI_SHA256_LEN], ti_str_t *name)
{
    size_t          i, len;
    ti_str_t        parts[4];
    unsigned char  *p;

    parts[0] = prefix;
    parts[1] = ti_str("{");
    parts[2] = user;
    parts[3] = ti_str("}:a:");

    len = ti_b64u_len(TI_SHA256_LEN);

    for (i = 0; i < 4; i++) {
        len += parts[i].len;
    }

    p = ti_pool_alloc(pool, len);
    if (p == NULL) {
        return TI_ERROR;
    }

    *name = ti_str_from(p, len);

    for (i = 0; i < 4; i++) {
        if (parts[i].len != 0) {
            memcpy(p, parts[i].data, parts[i].len);
            p += parts[i].len;
        }
    }

    ti_b64u_encode(p, ti_str_from(digest, TI_SHA256_LEN));

    return TI_OK;
}


int
ti_answer_header_keepable(ti_str_t name, ti_str_t value,
    const ti_str_t *varies, size_t nvaries)
{
    if (ti_str_caseeq(name, ti_str("Set-Cookie"))) {
        return 0;
    }

    if (ti_str_caseeq(name, ti_str("Cache-Control"))) {
        return !ti_header_lists(value, ti_str("no-store"));
    }

    if (ti_str_caseeq(name, ti_str("Vary"))) {
        return ti_header_vary_within(value, varies, nvaries);
    }

    return 1;
}


/* Age is end-to-end, but a hit says its own. */

int
ti_answer_header_end_to_end(ti_str_t name)
{
    size_t  i;

    static const ti_str_t  dropped[] = {
        ti_string("Age"),
        ti_string("Connection"),
        ti_string("Keep-Alive"),
        ti_string("TE"),
        ti_string("Trailer"),
        ti_string("Transfer-Encoding"),
        ti_string("Upgrade")
    };

    for (i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        if (ti_str_caseeq(name, dropped[i])) {
            return 0;
        }
    }

    return name.len < 6
           || !ti_str_caseeq(ti_str_from(name.data, 6), ti_str("Proxy-"));
}
