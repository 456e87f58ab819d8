/*
 * Floor 0: what every other file of the core stands on.
 *
 * The core takes pointers and lengths, borrows its input for the time of the
 * call, is told the time, and keeps no state of its own.  Lengths are bytes,
 * times are Unix seconds.  Memory and randomness are handed in.
 */

#ifndef TI_BASE_H
#define TI_BASE_H

#include <stddef.h>
#include <stdint.h>


/* Borrowed bytes; never NUL-terminated, never owned by who holds the view. */

typedef struct {
    const unsigned char  *data;
    size_t                len;
} ti_str_t;

#define ti_string(lit)                                                        \
    { (const unsigned char *) (lit), sizeof(lit) - 1 }
#define ti_str(lit)      ((ti_str_t) ti_string(lit))
#define ti_null_str      ((ti_str_t) { NULL, 0 })

ti_str_t ti_str_from(const void *data, size_t len);
ti_str_t ti_str_cstr(const char *s);
int ti_str_eq(ti_str_t a, ti_str_t b);

/* ASCII letters fold, nothing else does */
int ti_str_caseeq(ti_str_t a, ti_str_t b);


/*
 * What a core function says of its work.  TI_DECLINED is a verdict on the
 * input; TI_ERROR is about us: memory, randomness, the crypto library.
 */

typedef enum {
    TI_OK = 0,
    TI_DECLINED,
    TI_ERROR
} ti_rc_t;


/*
 * What a caller of the service may hear.  The one table of results
 * (directives.md, "Results") is behind ti_result_info(): module, API,
 * metrics and docs read it there.
 */

typedef enum {
    TI_RESULT_OK = 0,
    TI_RESULT_TOKEN_MISSING,
    TI_RESULT_TOKEN_INVALID,
    TI_RESULT_TOKEN_EXPIRED,
    TI_RESULT_CALLER_REJECTED,
    TI_RESULT_SEGMENT_EXCLUDED,
    TI_RESULT_USER_KEY_REQUIRED,
    TI_RESULT_CONNECTION_REQUIRED,
    TI_RESULT_RECONNECT_REQUIRED,
    TI_RESULT_ADMIN_CONSENT_REQUIRED,
    TI_RESULT_STORE_UNAVAILABLE,
    TI_RESULT_KEYS_UNAVAILABLE,
    TI_RESULT_PROVIDER_UNAVAILABLE,
    TI_RESULT_PROVIDER_THROTTLED,
    TI_RESULT_REQUEST_INVALID,
    TI_RESULT_STATE_INVALID,
    TI_RESULT_PROVIDER_UNKNOWN,
    TI_RESULT_INTERNAL_ERROR,
    TI_RESULT_PROVIDER_MISCONFIGURED,
    TI_RESULT_LAST                          /* how many there are */
} ti_result_t;

typedef struct {
    ti_str_t  name;                         /* "token-missing"; "ok" */
    unsigned  status;                       /* HTTP; 200 for ok */
    ti_str_t  title;                        /* RFC 9457 title, one phrase */
    ti_str_t  type;                         /* "urn:ngx-token-injector:…" */
    unsigned  retry_after:1;                /* the answer says Retry-After */
} ti_result_info_t;

/* never NULL: a value outside of the enum reads as internal-error */
const ti_result_info_t *ti_result_info(ti_result_t result);


/*
 * Memory handed in.  What alloc() returns is aligned for any type and lives
 * as long as the pool's owner says; the core never frees it.  NULL means
 * none is left.
 */

typedef struct {
    void  *(*alloc)(void *data, size_t size);
    void   *data;
} ti_pool_t;

void *ti_pool_alloc(const ti_pool_t *pool, size_t size);
ti_rc_t ti_pool_copy(const ti_pool_t *pool, ti_str_t s, ti_str_t *copy);


/* Randomness handed in: fill() returns TI_OK or TI_ERROR. */

typedef struct {
    ti_rc_t  (*fill)(void *data, unsigned char *buf, size_t len);
    void      *data;
} ti_random_t;


/*
 * base64url without padding, RFC 4648 section 5, RFC 7515 appendix C.
 *
 * Encoding writes exactly ti_b64u_len(len) characters and no NUL.  Decoding
 * accepts the canonical form only: no padding, no white space, no "+/", and
 * the bits after the last whole byte zero.  dst needs room for
 * ti_b64u_decoded_len(src.len) bytes and may not overlap src.
 */

size_t ti_b64u_len(size_t len);
size_t ti_b64u_decoded_len(size_t len);
size_t ti_b64u_encode(unsigned char *dst, ti_str_t src);
ti_rc_t ti_b64u_decode(unsigned char *dst, size_t *len, ti_str_t src);


/*
 * A decimal in its minimal form (no sign, no leading zero) up to max;
 * formatting needs room for 20 characters and returns how many it wrote.
 */

#define TI_DECIMAL_LEN  20

ti_rc_t ti_decimal_parse(ti_str_t s, uint64_t max, uint64_t *value);
size_t ti_decimal_format(unsigned char *dst, uint64_t value);


/*
 * enc(a, b, …) of record-format.md: each field as a 4-byte big-endian length
 * and its bytes.  ti_enc() writes ti_enc_len() bytes and returns that count;
 * a field of 2^32 bytes or more is the caller's bug.
 */

size_t ti_enc_len(const ti_str_t *fields, size_t n);
size_t ti_enc(unsigned char *dst, const ti_str_t *fields, size_t n);
void ti_put_u32(unsigned char *dst, uint32_t value);
void ti_put_u64(unsigned char *dst, uint64_t value);
uint32_t ti_get_u32(const unsigned char *src);
uint64_t ti_get_u64(const unsigned char *src);


/* Zeros that the compiler may not leave out; NULL with 0 is allowed. */

void ti_wipe(void *p, size_t len);

/* Equal or not, in time that depends on the lengths alone. */

int ti_equal_ct(ti_str_t a, ti_str_t b);


#endif /* TI_BASE_H */
