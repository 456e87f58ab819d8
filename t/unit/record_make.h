/*
 * Keys, and records of any header and payload, for the tests: made with
 * OpenSSL alone, so that what no writer of ours would seal can be read.  A
 * pool that remembers what was asked of it and can run dry.  A failure of the
 * maker itself aborts.
 */

#ifndef RECORD_MAKE_H
#define RECORD_MAKE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "ti_record.h"


#define RM_CHUNKS      256
#define RM_SEAL_LABEL  "ngx-token-injector seal v1"
#define RM_USER_LABEL  "ngx-token-injector user v1"
#define RM_CTX_LABEL   "ngx-token-injector ctx v1"

#define rm_check(ok)                                                          \
    do {                                                                      \
        if (!(ok)) {                                                          \
            fprintf(stderr, "record_make.h:%d: " #ok "\n", __LINE__);         \
            abort();                                                          \
        }                                                                     \
    } while (0)


/* --- memory and randomness ----------------------------------------------- */

static struct {
    void    *p[RM_CHUNKS];
    size_t   size[RM_CHUNKS];
    size_t   n;
    size_t   left;                          /* allocations until it is dry */
    int      filled;                        /* nothing old may lie in it */
} rm_arena = { .left = SIZE_MAX };

static size_t  rm_random_left = SIZE_MAX;   /* calls until it fails */


static inline void *
rm_alloc(void *data, size_t size)
{
    void  *p;

    if (rm_arena.left == 0) {
        return NULL;
    }

    rm_arena.left--;
    rm_check(rm_arena.n < RM_CHUNKS);

    p = malloc(size == 0 ? 1 : size);
    rm_check(p != NULL);

    if (rm_arena.filled) {
        memset(p, 0, size);
    }

    rm_arena.p[rm_arena.n] = p;
    rm_arena.size[rm_arena.n++] = size;

    return p;
}


static const ti_pool_t  rm_pool = { rm_alloc, NULL };


static inline void
rm_reset(void)
{
    while (rm_arena.n > 0) {
        free(rm_arena.p[--rm_arena.n]);
    }

    rm_arena.left = SIZE_MAX;
    rm_arena.filled = 0;
    rm_random_left = SIZE_MAX;
}


/*
 * How often what was allocated since "from" chunks has these bytes; the
 * arena is to be "filled" for it.
 */

static inline size_t
rm_count(size_t from, const void *bytes, size_t len)
{
    size_t       i, n;
    const char  *p, *end;

    n = 0;

    for (i = from; i < rm_arena.n; i++) {
        p = rm_arena.p[i];
        end = p + rm_arena.size[i];

        for ( ;; ) {
            p = memmem(p, (size_t) (end - p), bytes, len);
            if (p == NULL) {
                break;
            }

            n++;
            p++;
        }
    }

    return n;
}


static inline ti_rc_t
rm_fill(void *data, unsigned char *buf, size_t len)
{
    size_t                i;
    static unsigned char  next;

    if (rm_random_left == 0) {
        return TI_ERROR;
    }

    rm_random_left--;

    for (i = 0; i < len; i++) {
        buf[i] = next++;
    }

    return TI_OK;
}


static const ti_random_t  rm_random = { rm_fill, NULL };


__attribute__((format(printf, 1, 2)))
static inline char *
rm_text(const char *fmt, ...)
{
    int      n;
    char    *s;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    rm_check(n >= 0);
    s = rm_alloc(NULL, (size_t) n + 1);

    va_start(args, fmt);
    vsnprintf(s, (size_t) n + 1, fmt, args);
    va_end(args);

    return s;
}


/* The text with the first "find" replaced. */

static inline char *
rm_replace(const char *text, const char *find, const char *replace)
{
    const char  *p;

    p = strstr(text, find);
    rm_check(p != NULL);

    return rm_text("%.*s%s%s", (int) (p - text), text, replace,
                   p + strlen(find));
}


/* --- encodings ----------------------------------------------------------- */

static inline char *
rm_b64u(const void *bytes, size_t len)
{
    char                 *s, *p;
    size_t                i, left;
    unsigned long         n;
    const unsigned char  *in;

    static const char  chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789-_";

    in = bytes;
    p = s = rm_alloc(NULL, len * 4 / 3 + 4);

    for (i = 0; i < len; i += 3) {
        left = (len - i < 3) ? len - i : 3;
        n = (unsigned long) in[i] << 16;
        n |= (left > 1) ? (unsigned long) in[i + 1] << 8 : 0;
        n |= (left > 2) ? (unsigned long) in[i + 2] : 0;

        *p++ = chars[n >> 18];
        *p++ = chars[n >> 12 & 63];

        if (left > 1) {
            *p++ = chars[n >> 6 & 63];
        }

        if (left > 2) {
            *p++ = chars[n & 63];
        }
    }

    *p = '\0';

    return s;
}


static inline size_t
rm_enc(unsigned char *dst, const void *bytes, size_t len)
{
    dst[0] = (unsigned char) (len >> 24);
    dst[1] = (unsigned char) (len >> 16);
    dst[2] = (unsigned char) (len >> 8);
    dst[3] = (unsigned char) len;

    if (len != 0) {
        memcpy(dst + 4, bytes, len);
    }

    return 4 + len;
}


/* --- keys ---------------------------------------------------------------- */

/* of 32 bytes each, no NUL */
#define RM_SEALING_1  "sealing-key-one-sealing-key-one-"
#define RM_SEALING_2  "sealing-key-two-sealing-key-two-"
#define RM_INDEX      "index-key-index-key-index-key-12"
#define RM_USER_KEY   "the-user-key-the-user-key-the-us"
#define RM_OTHER_KEY  "another-user-key-another-user-ke"
#define RM_CID        "AAECAwQFBgcICQoLDA0ODw"

#define RM_JWK_SEAL                                                           \
    "{\"kty\":\"oct\",\"use\":\"enc\",\"kid\":\"%s\",\"k\":\"%s\"}"
#define RM_JWK_INDEX                                                          \
    "{\"kty\":\"oct\",\"alg\":\"HS256\",\"use\":\"sig\",\"kid\":\"i\","       \
    "\"k\":\"%s\"}"


/* A ring whose first key seals; swapped, the second does. */

static inline ti_keyring_t *
rm_ring(int swapped)
{
    char          *text;
    const char    *why;
    ti_keyring_t  *ring;

    text = rm_text("{\"keys\":[" RM_JWK_SEAL "," RM_JWK_SEAL "," RM_JWK_INDEX
                   "]}",
                   swapped ? "two" : "one",
                   rm_b64u(swapped ? RM_SEALING_2 : RM_SEALING_1, 32),
                   swapped ? "one" : "two",
                   rm_b64u(swapped ? RM_SEALING_1 : RM_SEALING_2, 32),
                   rm_b64u(RM_INDEX, 32));

    rm_check(ti_keyring_parse(ti_str_cstr(text), &ring, &why) == TI_OK);

    return ring;
}


/* Whose record the tests open, unless they say otherwise. */

static inline ti_record_ref_t
rm_ref(void)
{
    ti_record_ref_t  ref;

    ref.kind = TI_RECORD_ACCESS;
    ref.who.issuer = ti_str("https://login.example.com/");
    ref.who.tenant = ti_str("contoso");
    ref.who.subject = ti_str("alice");
    ref.provider = ti_str("outlook");
    ref.device = ti_str("device-of-alice0");
    ref.user_key = (const unsigned char *) RM_USER_KEY;
    ref.gen = 7;
    ref.cid = ti_str(RM_CID);

    return ref;
}


/* --- records ------------------------------------------------------------- */

static inline void
rm_ctx(const ti_record_ref_t *ref, unsigned char ctx[32])
{
    char           gen[24];
    size_t         n;
    unsigned char  buf[4096];

    static const char *const  kinds[] = {
        "access", "refresh", "pending", "account", "previous"
    };

    snprintf(gen, sizeof(gen), "%llu", (unsigned long long) ref->gen);

    n = rm_enc(buf, RM_CTX_LABEL, strlen(RM_CTX_LABEL));
    n += rm_enc(buf + n, kinds[ref->kind], strlen(kinds[ref->kind]));
    n += rm_enc(buf + n, ref->who.issuer.data, ref->who.issuer.len);
    n += rm_enc(buf + n, ref->who.tenant.data, ref->who.tenant.len);
    n += rm_enc(buf + n, ref->who.subject.data, ref->who.subject.len);
    n += rm_enc(buf + n, ref->provider.data, ref->provider.len);
    n += rm_enc(buf + n, ref->device.data, ref->device.len);
    n += rm_enc(buf + n, gen, strlen(gen));

    rm_check(SHA256(buf, n, ctx) != NULL);
}


#define RM_SALT   "salt-of-16-bytes"
#define RM_NONCE  "nonce-of-12b"


static inline void
rm_layer_key(const void *secret, const char *label,
    const unsigned char ctx[32], const void *salt, unsigned char key[32])
{
    size_t         n;
    unsigned       len;
    unsigned char  prk[32], info[128];

    n = rm_enc(info, label, strlen(label));
    n += rm_enc(info + n, ctx, 32);
    info[n++] = 1;

    rm_check(HMAC(EVP_sha256(), salt, 16, secret, 32, prk, &len) != NULL);
    rm_check(HMAC(EVP_sha256(), prk, 32, info, n, key, &len) != NULL);
}


typedef struct {
    const char           *header;           /* JSON, sealed as it is */
    const void           *secret;           /* 32 bytes */
    const char           *label;
    const unsigned char  *ctx;
    ti_str_t              payload;
    size_t                tag_len;          /* of the 16 bytes, kept */
    const char           *encrypted_key;    /* NULL: empty, as it must be */
} rm_layer_t;


static inline ti_str_t
rm_seal(const rm_layer_t *layer)
{
    int              n;
    char            *protected;
    unsigned char   *buf, tag[16], key[32];
    EVP_CIPHER_CTX  *c;

    rm_layer_key(layer->secret, layer->label, layer->ctx, RM_SALT,
                 key);
    protected = rm_b64u(layer->header, strlen(layer->header));
    buf = rm_alloc(NULL, layer->payload.len + 1);

    c = EVP_CIPHER_CTX_new();
    rm_check(c != NULL);
    rm_check(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key,
                                (const unsigned char *) RM_NONCE));
    rm_check(EVP_EncryptUpdate(c, NULL, &n, (unsigned char *) protected,
                               (int) strlen(protected)));
    n = 0;

    if (layer->payload.len != 0) {
        rm_check(EVP_EncryptUpdate(c, buf, &n, layer->payload.data,
                                   (int) layer->payload.len));
    }

    rm_check(EVP_EncryptFinal_ex(c, buf + n, &n));
    rm_check(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, tag));
    EVP_CIPHER_CTX_free(c);

    return ti_str_cstr(rm_text("%s.%s.%s.%s.%s", protected,
                               layer->encrypted_key == NULL
                                   ? "" : layer->encrypted_key,
                               rm_b64u(RM_NONCE, 12),
                               rm_b64u(buf, layer->payload.len),
                               rm_b64u(tag, layer->tag_len)));
}


/* Both layers as they should be, for a test to change before it seals. */

typedef struct {
    unsigned char  ctx[32];
    rm_layer_t     inner;
    rm_layer_t     outer;
} rm_record_t;


static inline void
rm_record(rm_record_t *r, const ti_record_ref_t *ref, ti_str_t token)
{
    int    nested;
    char  *cid;

    nested = ref->user_key != NULL;
    rm_ctx(ref, r->ctx);
    memset(&r->inner, 0, sizeof(rm_layer_t));
    memset(&r->outer, 0, sizeof(rm_layer_t));

    r->inner.header = rm_text("{\"alg\":\"dir\",\"enc\":\"A256GCM\","
                              "\"salt\":\"%s\",\"cty\":\"token\","
                              "\"ctx\":\"%s\"}",
                              rm_b64u(RM_SALT, 16), rm_b64u(r->ctx, 32));
    r->inner.secret = ref->user_key;
    r->inner.label = RM_USER_LABEL;
    r->inner.ctx = r->ctx;
    r->inner.payload = token;
    r->inner.tag_len = 16;

    cid = (ref->cid.len == 0) ? rm_text("%s", "")
                              : rm_text(",\"cid\":\"%.*s\"",
                                        (int) ref->cid.len, ref->cid.data);

    r->outer.header = rm_text("{\"alg\":\"dir\",\"enc\":\"A256GCM\","
                              "\"salt\":\"%s\",\"kid\":\"one\","
                              "\"typ\":\"ti-record\",\"cty\":\"%s\","
                              "\"ctx\":\"%s\",\"gen\":%llu%s,"
                              "\"exp\":1795290000}",
                              rm_b64u(RM_SALT, 16), nested ? "JWE" : "token",
                              rm_b64u(r->ctx, 32),
                              (unsigned long long) ref->gen, cid);
    r->outer.secret = RM_SEALING_1;
    r->outer.label = RM_SEAL_LABEL;
    r->outer.ctx = r->ctx;
    r->outer.payload = token;
    r->outer.tag_len = 16;
}


/* What the record's layers say now, one inside the other. */

static inline ti_str_t
rm_wrap(rm_record_t *r)
{
    if (r->inner.secret != NULL) {
        r->outer.payload = rm_seal(&r->inner);
    }

    return rm_seal(&r->outer);
}


#endif /* RECORD_MAKE_H */
