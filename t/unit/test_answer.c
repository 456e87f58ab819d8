/*
 * Cached responses: whose they are, seal, open, what may be kept.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "record_make.h"
#include "ti_answer.h"


#define VECTORS   "t/vectors/record-v1.json"
#define OVERHEAD  (4 + 12 + 16)


static ti_crypto_t    *crypto;
static ti_keyring_t   *ring, *swapped;
static unsigned char   digest[TI_SHA256_LEN], key[TI_KEY_LEN];

#define CID  ti_str(RM_CID)


static int
set_up(void **state)
{
    crypto = ti_crypto_create();
    ring = rm_ring(0);
    swapped = rm_ring(1);
    memset(digest, 'd', sizeof(digest));
    memset(key, 'k', sizeof(key));
    rm_reset();

    return crypto == NULL;
}


static int
tear_down(void **state)
{
    ti_keyring_free(ring);
    ti_keyring_free(swapped);
    ti_crypto_free(crypto);

    return 0;
}


static int
clean(void **state)
{
    rm_reset();

    return 0;
}


/* --- whose ---------------------------------------------------------------- */

static ti_str_t
member(const json_t *v, const char *name)
{
    const json_t  *s;

    s = json_object_get(v, name);
    assert_true(json_is_string(s));

    return ti_str_from(json_string_value(s), json_string_length(s));
}


static void
digest_of_the_vector(void **state)
{
    char                 *keys;
    size_t                i;
    json_t               *file, *v, *parts;
    ti_str_t              name, part[8], body;
    const char           *why;
    unsigned char         out[TI_SHA256_LEN], hash[TI_SHA256_LEN];
    unsigned char         user[TI_RECORD_USER_LEN];
    ti_keyring_t         *of_vectors;
    ti_answer_request_t   request;

    file = json_load_file(VECTORS, 0, NULL);
    assert_non_null(file);
    keys = json_dumps(json_object_get(file, "keys"), 0);
    assert_int_equal(ti_keyring_parse(ti_str_cstr(keys), &of_vectors, &why),
                     TI_OK);
    v = json_object_get(file, "answer");

    request.who.issuer = member(v, "issuer");
    request.who.tenant = member(v, "tenant");
    request.who.subject = member(v, "subject");
    request.provider = member(v, "provider");
    request.device = member(v, "device");
    request.location = member(v, "location");
    request.method = member(v, "method");
    request.scheme = member(v, "scheme");
    request.host = member(v, "host");
    request.uri = member(v, "uri");

    parts = json_object_get(v, "parts");
    assert_in_range(json_array_size(parts), 1, 8);

    for (i = 0; i < json_array_size(parts); i++) {
        part[i] = ti_str_cstr(json_string_value(json_array_get(parts, i)));
    }

    request.parts = part;
    request.nparts = json_array_size(parts);

    body = member(v, "body");
    assert_int_equal(ti_crypto_sha256(crypto, &body, 1, hash), TI_OK);
    request.body = ti_str_from(hash, sizeof(hash));

    assert_int_equal(ti_answer_digest(crypto, of_vectors, &request, out),
                     TI_OK);
    assert_string_equal(rm_b64u(out, sizeof(out)),
                        (const char *) member(v, "digest").data);

    assert_int_equal(ti_record_user(crypto, of_vectors, &request.who, user),
                     TI_OK);
    assert_int_equal(ti_answer_name(&rm_pool, ti_str("ti:"),
                                    ti_str_from(user, sizeof(user)), out,
                                    &name), TI_OK);
    assert_true(ti_str_eq(name, member(v, "name")));

    free(keys);
    json_decref(file);
    ti_keyring_free(of_vectors);
}


/* No two of these requests may share an answer. */

static void
digests_differ(void **state)
{
    size_t               i, j, n;
    unsigned char        out[20][TI_SHA256_LEN], hash[TI_SHA256_LEN] = "";
    unsigned char        other[TI_SHA256_LEN] = "x";
    ti_answer_request_t  base, request[20];

    static const ti_str_t  parts[] = {
        ti_string("Accept"), ti_string("a"), ti_string("Accept-Language"),
        ti_string("b")
    };
    static const ti_str_t  moved[] = {
        ti_string("Accept"), ti_string("aA"), ti_string("ccept-Language"),
        ti_string("b")
    };

    memset(&base, 0, sizeof(base));
    base.who.issuer = ti_str("i");
    base.who.tenant = ti_str("t");
    base.who.subject = ti_str("s");
    base.provider = ti_str("p");
    base.device = ti_str("d");
    base.location = ti_str("/l");
    base.method = ti_str("GET");
    base.scheme = ti_str("https");
    base.host = ti_str("h");
    base.uri = ti_str("/l?q");
    base.parts = parts;
    base.nparts = 4;
    base.body = ti_str_from(hash, sizeof(hash));

    for (i = 0; i < 20; i++) {
        request[i] = base;
    }

    n = 1;
    request[n++].who.issuer = ti_str("I");
    request[n++].who.tenant = ti_str("T");
    request[n++].who.subject = ti_str("S");
    request[n++].provider = ti_str("P");
    request[n++].device = ti_str("-");
    request[n++].location = ti_str("/L");
    request[n++].method = ti_str("POST");
    request[n++].scheme = ti_str("http");
    request[n++].host = ti_str("H");
    request[n++].uri = ti_str("/l?Q");
    request[n++].parts = moved;
    request[n++].nparts = 3;
    request[n++].nparts = 0;
    request[n++].body = ti_str_from(other, sizeof(other));
    request[n].who.tenant = ti_null_str;
    request[n++].who.subject = ti_str("ts");

    for (i = 0; i < n; i++) {
        assert_int_equal(ti_answer_digest(crypto, ring, &request[i], out[i]),
                         TI_OK);

        for (j = 0; j < i; j++) {
            assert_memory_not_equal(out[i], out[j], TI_SHA256_LEN);
        }
    }

    assert_int_equal(ti_answer_digest(crypto, ring, &base, out[1]), TI_OK);
    assert_memory_equal(out[1], out[0], TI_SHA256_LEN);
}


static void
keys_differ(void **state)
{
    size_t         i, j;
    unsigned char  base[5][TI_KEY_LEN], k[3][TI_KEY_LEN], zeros[TI_KEY_LEN];

    memset(zeros, 0, sizeof(zeros));

    assert_int_equal(ti_answer_base(crypto, ring, NULL, base[0]), TI_OK);
    assert_int_equal(ti_answer_base(crypto, ring, zeros, base[1]), TI_OK);
    assert_int_equal(ti_answer_base(crypto, ring,
                                    (const unsigned char *) RM_USER_KEY,
                                    base[2]), TI_OK);
    assert_int_equal(ti_answer_base(crypto, ring,
                                    (const unsigned char *) RM_OTHER_KEY,
                                    base[3]), TI_OK);
    assert_int_equal(ti_answer_base(crypto, swapped,
                                    (const unsigned char *) RM_USER_KEY,
                                    base[4]), TI_OK);

    for (i = 0; i < 5; i++) {
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(base[i], base[j], TI_KEY_LEN);
        }
    }

    assert_int_equal(ti_answer_key(crypto, base[2], digest, k[0]), TI_OK);
    assert_int_equal(ti_answer_key(crypto, base[3], digest, k[1]), TI_OK);
    assert_int_equal(ti_answer_key(crypto, base[2], base[0], k[2]), TI_OK);
    assert_memory_not_equal(k[0], k[1], TI_KEY_LEN);
    assert_memory_not_equal(k[0], k[2], TI_KEY_LEN);
    assert_memory_not_equal(k[0], base[2], TI_KEY_LEN);
}


/* --- seal and open -------------------------------------------------------- */

static ti_answer_header_t  headers[] = {
    { ti_string("Content-Type"), ti_string("application/json") },
    { ti_string("X-Empty"), ti_string("") },
    { ti_string("ETag"), ti_string("\"1\"") }
};


static ti_answer_t
answer_of(const char *body)
{
    ti_answer_t  answer;

    answer.stored = 1000;
    answer.expires = 1300;
    answer.headers = headers;
    answer.nheaders = 3;
    answer.body = ti_str_cstr(body);

    return answer;
}


static unsigned char *
sealed_answer(const ti_answer_t *answer, size_t *len)
{
    unsigned char  *sealed;

    *len = ti_answer_sealed_len(answer);
    sealed = rm_alloc(NULL, *len);
    assert_int_equal(ti_answer_seal(crypto, &rm_random, key, digest, CID,
                                    answer, sealed), TI_OK);

    return sealed;
}


/* Opens a copy of exactly that length. */

static ti_rc_t
open_at(int64_t now, ti_str_t cid, const unsigned char *sealed, size_t len,
    ti_answer_t *answer)
{
    unsigned char  *copy;

    copy = rm_alloc(NULL, len);

    if (len != 0) {
        memcpy(copy, sealed, len);
    }

    return ti_answer_open(crypto, &rm_pool, key, digest, cid, now, copy, len,
                          answer);
}


static void
sealed_opens(void **state)
{
    size_t          i, n, len;
    ti_answer_t     answer, got;
    unsigned char  *sealed;

    static const char *const  bodies[] = { "", "b", "{\"value\":[]}" };

    for (i = 0; i < 3; i++) {
        answer = answer_of(bodies[i]);
        answer.nheaders = 3 - i;
        sealed = sealed_answer(&answer, &len);

        assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_OK);
        assert_int_equal(got.stored, 1000);
        assert_int_equal(got.expires, 1300);
        assert_int_equal(got.nheaders, answer.nheaders);
        assert_true(ti_str_eq(got.body, answer.body));

        for (n = 0; n < got.nheaders; n++) {
            assert_true(ti_str_eq(got.headers[n].name, headers[n].name));
            assert_true(ti_str_eq(got.headers[n].value, headers[n].value));
        }
    }

    answer.nheaders = 0;
    sealed = sealed_answer(&answer, &len);
    assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_OK);
    assert_int_equal(got.nheaders, 0);
}


static void
ends_with_its_time(void **state)
{
    size_t          len;
    ti_answer_t     answer, got;
    unsigned char  *sealed;

    answer = answer_of("b");
    sealed = sealed_answer(&answer, &len);

    assert_int_equal(open_at(1299, CID, sealed, len, &got), TI_OK);
    assert_int_equal(open_at(1300, CID, sealed, len, &got), TI_DECLINED);
    assert_int_equal(open_at(INT64_MAX, CID, sealed, len, &got), TI_DECLINED);
    assert_int_equal(open_at(0, CID, sealed, len, &got), TI_OK);
}


static void
bound_to_key_digest_and_cid(void **state)
{
    size_t          len;
    ti_answer_t     answer, got;
    unsigned char  *sealed;

    answer = answer_of("b");
    sealed = sealed_answer(&answer, &len);

    assert_int_equal(open_at(1000, ti_str("AQECAwQFBgcICQoLDA0ODw"), sealed,
                             len, &got), TI_DECLINED);
    assert_int_equal(open_at(1000, ti_null_str, sealed, len, &got),
                     TI_DECLINED);
    assert_int_equal(open_at(1000, ti_str(RM_CID "A"), sealed, len, &got),
                     TI_DECLINED);

    digest[31] ^= 1;
    assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_DECLINED);
    digest[31] ^= 1;

    key[0] ^= 1;
    assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_DECLINED);
    key[0] ^= 1;

    assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_OK);

    assert_int_equal(ti_answer_seal(crypto, &rm_random, key, digest,
                                    ti_str(RM_CID "A"), &answer, sealed),
                     TI_DECLINED);
}


static void
changed_and_truncated(void **state)
{
    size_t          i, len;
    ti_answer_t     answer, got;
    unsigned char   sealed[256];

    answer = answer_of("body");
    len = ti_answer_sealed_len(&answer);
    assert_true(len < sizeof(sealed));
    memcpy(sealed, sealed_answer(&answer, &len), len);

    for (i = 0; i < len; i++) {
        rm_reset();
        assert_int_equal(open_at(1000, CID, sealed, i, &got), TI_DECLINED);

        sealed[i] ^= 1;
        assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_DECLINED);
        sealed[i] ^= 1;
    }

    assert_int_equal(open_at(1000, CID, sealed, len + 1, &got), TI_DECLINED);
    assert_int_equal(open_at(1000, CID, sealed, len, &got), TI_OK);
}


/* Text that a node of another build might have sealed with our keys. */

static ti_rc_t
open_plain(const void *plain, size_t len)
{
    ti_str_t        aad;
    ti_answer_t     got;
    unsigned char  *sealed, buf[128];
    size_t          n;

    n = rm_enc(buf, digest, sizeof(digest));
    n += rm_enc(buf + n, RM_CID, strlen(RM_CID));
    aad = ti_str_from(buf, n);

    sealed = rm_alloc(NULL, len + OVERHEAD);
    memcpy(sealed, "TIA1" RM_NONCE, 16);
    assert_int_equal(ti_crypto_seal(crypto, key, sealed + 4, aad,
                                    ti_str_from(plain, len), sealed + 16,
                                    sealed + 16 + len), TI_OK);

    return ti_answer_open(crypto, &rm_pool, key, digest, CID, 1, sealed,
                          len + OVERHEAD, &got);
}


#define TIMES    "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\7"
#define PLAIN(s)  { s, sizeof(s) - 1 }


static void
read_strictly(void **state)
{
    size_t  i;

    static const struct {
        const char  *bytes;
        size_t       len;
    } good[] = {
        PLAIN(TIMES "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\0" "body"),
        PLAIN(TIMES "\0\0\0\1" "\0\0\0\1" "n" "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\1" "\0\0\0\1" "n" "\0\0\0\1" "v" "body")
    }, bad[] = {
        PLAIN(""),
        PLAIN(TIMES),
        PLAIN(TIMES "\0\0\0"),
        PLAIN("\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\6" "\0\0\0\0"),
        PLAIN("\0\0\0\0\0\0\0\1\x80\0\0\0\0\0\0\7" "\0\0\0\0"),
        PLAIN("\x80\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0" "\0\0\0\0"),
        PLAIN("\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\7" "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\1"),
        PLAIN(TIMES "\xff\xff\xff\xff"),
        PLAIN(TIMES "\xff\xff\xff\xff" "\0\0\0\1" "n" "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\2" "\0\0\0\1" "n" "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\2" "\0\0\0\1" "n" "\0\0\0\1" "v"
              "\0\0\0\1" "n" "\0\0\0"),
        PLAIN(TIMES "\0\0\0\1" "\0\0\0\0" "\0\0\0\1" "v"),
        PLAIN(TIMES "\0\0\0\1" "\0\0\0\x07" "name" "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\1" "\xff\xff\xff\xff" "name" "\0\0\0\0"),
        PLAIN(TIMES "\0\0\0\1" "\0\0\0\1" "n" "\0\0\0\2" "v"),
        PLAIN(TIMES "\0\0\0\1" "\0\0\0\1" "n" "\xff\xff\xff\xff" "v")
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(open_plain(good[i].bytes, good[i].len), TI_OK);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (open_plain(bad[i].bytes, bad[i].len) != TI_DECLINED) {
            fail_msg("bad[%zu] opened", i);
        }
    }
}


static void
memory_and_randomness(void **state)
{
    size_t          len;
    ti_str_t        name;
    ti_answer_t     answer, got;
    unsigned char  *sealed;

    answer = answer_of("b");
    sealed = sealed_answer(&answer, &len);

    rm_random_left = 0;
    assert_int_equal(ti_answer_seal(crypto, &rm_random, key, digest, CID,
                                    &answer, sealed), TI_ERROR);
    rm_random_left = 1;
    assert_int_equal(ti_answer_seal(crypto, &rm_random, key, digest, CID,
                                    &answer, sealed), TI_OK);

    rm_arena.left = 0;
    assert_int_equal(ti_answer_open(crypto, &rm_pool, key, digest, CID, 1,
                                    sealed, len, &got), TI_ERROR);
    assert_int_equal(ti_answer_name(&rm_pool, ti_str("ti:"), ti_str("u"),
                                    digest, &name), TI_ERROR);
}


/* --- what may be kept ----------------------------------------------------- */

static void
keepable(void **state)
{
    size_t  i;

    static const ti_str_t  varies[] = {
        ti_string("Accept"), ti_string("Accept-Encoding")
    };

    static const struct {
        const char  *name;
        const char  *value;
        int          kept;
    } cases[] = {
        { "Content-Type", "text/html", 1 },
        { "Cache-Control", "private, max-age=0, no-cache", 1 },
        { "Cache-Control", "no-store", 0 },
        { "cache-control", "private,NO-STORE", 0 },
        { "Cache-Control", "private=\"no-store\"", 1 },
        { "Cache-Control", "no-storeroom", 1 },
        { "Expires", "0", 1 },
        { "Pragma", "no-cache", 1 },
        { "Set-Cookie", "a=b", 0 },
        { "SET-COOKIE", "", 0 },
        { "Set-Cookies", "", 1 },
        { "Vary", "Accept", 1 },
        { "vary", "accept-encoding , ACCEPT", 1 },
        { "Vary", "Accept, Cookie", 0 },
        { "Vary", "*", 0 },
        { "Vary", "Accept, *", 0 },
        { "Vary", "", 1 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ti_answer_header_keepable(ti_str_cstr(cases[i].name),
                                      ti_str_cstr(cases[i].value), varies, 2)
            != cases[i].kept)
        {
            fail_msg("%s: %s", cases[i].name, cases[i].value);
        }
    }

    assert_false(ti_answer_header_keepable(ti_str("Vary"), ti_str("Accept"),
                                           NULL, 0));
}


static void
end_to_end(void **state)
{
    size_t  i;

    static const char *const  dropped[] = {
        "Age", "age", "Connection", "Keep-Alive", "TE", "Trailer",
        "transfer-encoding", "Upgrade", "Proxy-Authenticate",
        "PROXY-CONNECTION", "Proxy-"
    };
    static const char *const  kept[] = {
        "", "Content-Type", "Content-Encoding", "ETag", "Last-Modified",
        "Cache-Status", "Connections", "T", "Proxy", "XProxy-Status", "Via"
    };

    for (i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        assert_false(ti_answer_header_end_to_end(ti_str_cstr(dropped[i])));
    }

    for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        assert_true(ti_answer_header_end_to_end(ti_str_cstr(kept[i])));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_teardown(digest_of_the_vector, clean),
        cmocka_unit_test_teardown(digests_differ, clean),
        cmocka_unit_test_teardown(keys_differ, clean),
        cmocka_unit_test_teardown(sealed_opens, clean),
        cmocka_unit_test_teardown(ends_with_its_time, clean),
        cmocka_unit_test_teardown(bound_to_key_digest_and_cid, clean),
        cmocka_unit_test_teardown(changed_and_truncated, clean),
        cmocka_unit_test_teardown(read_strictly, clean),
        cmocka_unit_test_teardown(memory_and_randomness, clean),
        cmocka_unit_test_teardown(keepable, clean),
        cmocka_unit_test_teardown(end_to_end, clean)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
