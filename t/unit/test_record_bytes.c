/*
 * Token records as bytes: cut, changed, sized; re-wrapped; what is left in
 * memory; what happens when memory or randomness is not to be had.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "record_make.h"


#define TOKEN      "EwBwA8l6BAAU.abc-_~+/09=="
#define B64_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"     \
                   "0123456789-._~+/"

#define RECONNECT  TI_RESULT_RECONNECT_REQUIRED
#define CONNECT    TI_RESULT_CONNECTION_REQUIRED


static ti_crypto_t   *crypto;
static ti_keyring_t  *ring, *swapped;


static int
set_up(void **state)
{
    crypto = ti_crypto_create();
    ring = rm_ring(0);
    swapped = rm_ring(1);
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


static const char  *why;


static ti_result_t
open_with(const ti_keyring_t *keys, const ti_record_ref_t *ref,
    ti_str_t sealed, ti_record_t *record)
{
    return ti_record_open(crypto, &rm_pool, keys, ref, sealed, record, &why);
}


static ti_result_t
open_result(const ti_record_ref_t *ref, ti_str_t sealed)
{
    ti_record_t  record;

    return open_with(ring, ref, sealed, &record);
}


static ti_rc_t
seal_token(const ti_record_ref_t *ref, ti_str_t token, ti_str_t scope,
    ti_str_t *sealed)
{
    ti_record_t  record;

    memset(&record, 0, sizeof(ti_record_t));
    record.token = token;
    record.scope = scope;
    record.expires = 1795290000;

    return ti_record_seal(crypto, &rm_pool, &rm_random, ring, ref, &record,
                          sealed);
}


static ti_record_ref_t
app_ref(void)
{
    ti_record_ref_t  ref;

    ref = rm_ref();
    ref.device = ti_str("-");
    ref.user_key = NULL;

    return ref;
}


/* A copy that ends where the view does, so that ASan sees a byte too many. */

static ti_str_t
exact(ti_str_t s, size_t len)
{
    unsigned char  *p;

    p = rm_alloc(NULL, len);

    if (len != 0) {
        memcpy(p, s.data, len);
    }

    return ti_str_from(p, len);
}


static void
truncated(void **state)
{
    size_t           len, inner;
    rm_record_t      r;
    unsigned char   *whole;
    ti_str_t         sealed;
    ti_record_ref_t  ref;

    ref = rm_ref();
    assert_int_equal(seal_token(&ref, ti_str(TOKEN), ti_null_str, &sealed),
                     TI_OK);
    whole = malloc(sealed.len);
    assert_non_null(whole);
    memcpy(whole, sealed.data, sealed.len);
    sealed = ti_str_from(whole, sealed.len);

    for (len = 0; len < sealed.len; len++) {
        rm_reset();
        assert_int_equal(open_result(&ref, exact(sealed, len)), RECONNECT);
    }

    free(whole);

    for (len = 0, inner = 1; len < inner; len++) {
        rm_reset();
        rm_record(&r, &ref, ti_str(TOKEN));
        r.outer.payload = rm_seal(&r.inner);
        inner = r.outer.payload.len;
        r.outer.payload.len = len;
        assert_int_equal(open_result(&ref, rm_seal(&r.outer)), CONNECT);
    }
}


static void
changed(void **state)
{
    size_t           i;
    ti_str_t         sealed;
    unsigned char   *whole;
    ti_record_ref_t  ref;

    ref = rm_ref();
    assert_int_equal(seal_token(&ref, ti_str(TOKEN), ti_null_str, &sealed),
                     TI_OK);
    whole = malloc(sealed.len + 1);
    assert_non_null(whole);
    memcpy(whole, sealed.data, sealed.len);
    sealed.data = whole;

    for (i = 0; i < sealed.len; i++) {
        rm_reset();
        whole[i] ^= 1;
        assert_int_equal(open_result(&ref, sealed), RECONNECT);
        whole[i] ^= 1;
    }

    assert_int_equal(open_result(&ref, sealed), TI_RESULT_OK);

    for (i = 0; i < 256; i++) {
        rm_reset();
        whole[sealed.len] = (unsigned char) i;
        assert_int_equal(open_result(&ref, ti_str_from(whole, sealed.len + 1)),
                         RECONNECT);
    }

    free(whole);
}


/* OpenSSL takes tags of 1 to 15 bytes if told to; a record has 16. */

static void
short_tags(void **state)
{
    size_t           len;
    rm_record_t      r;
    ti_record_ref_t  ref;

    ref = rm_ref();

    for (len = 0; len < 16; len++) {
        rm_record(&r, &ref, ti_str(TOKEN));
        r.outer.tag_len = len;
        assert_int_equal(open_result(&ref, rm_wrap(&r)), RECONNECT);
        assert_string_equal(why, "the tag is not 16 bytes");

        rm_record(&r, &ref, ti_str(TOKEN));
        r.inner.tag_len = len;
        assert_int_equal(open_result(&ref, rm_wrap(&r)), CONNECT);
        assert_string_equal(why, "the tag is not 16 bytes");
        rm_reset();
    }

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.encrypted_key = "AAAA";
    assert_int_equal(open_result(&ref, rm_wrap(&r)), RECONNECT);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.inner.encrypted_key = "AAAA";
    assert_int_equal(open_result(&ref, rm_wrap(&r)), CONNECT);
}


/* A nonce of another length is refused even under a header that allows it. */

static void
nonces(void **state)
{
    size_t           i;
    char            *text;
    rm_record_t      r;
    ti_record_ref_t  ref;

    static const char *const  bad[] = {
        "", "AAAA", "bm9uY2Utb2YtMTJ", "bm9uY2Utb2YtMTJiAA",
        "bm9uY2Utb2YtMTJi====", "bm9uY2Utb2YtMTJ+"
    };

    ref = rm_ref();

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rm_record(&r, &ref, ti_str(TOKEN));
        text = rm_replace((const char *) rm_wrap(&r).data,
                          rm_b64u(RM_NONCE, 12), bad[i]);
        assert_int_equal(open_result(&ref, ti_str_cstr(text)), RECONNECT);
        assert_string_equal(why, "the nonce is not 12 bytes");
        rm_reset();
    }
}


static void
ciphertexts(void **state)
{
    size_t           i;
    char            *text;
    rm_record_t      r;
    ti_record_ref_t  ref;

    static const char *const  bad[] = { "A", "+", "AA=", "AB", "A A" };

    ref = rm_ref();

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rm_record(&r, &ref, ti_str(TOKEN));
        text = rm_text("%s..%s.%s.%s",
                       rm_b64u(r.outer.header, strlen(r.outer.header)),
                       rm_b64u(RM_NONCE, 12), bad[i], rm_b64u(RM_SALT, 16));
        assert_int_equal(open_result(&ref, ti_str_cstr(text)), RECONNECT);
        assert_string_equal(why, "the ciphertext is not base64url");
        rm_reset();
    }
}


static void
sizes(void **state)
{
    int              nested, good;
    size_t           i;
    rm_record_t      r;
    ti_str_t         sealed, view;
    ti_record_ref_t  ref;
    unsigned char    token[TI_RECORD_TOKEN_MAX + 1];

    static const size_t  lens[] = { 0, 1, TI_RECORD_TOKEN_MAX,
                                    TI_RECORD_TOKEN_MAX + 1 };

    memset(token, 'a', sizeof(token));

    for (nested = 0; nested < 2; nested++) {
        ref = nested ? rm_ref() : app_ref();

        for (i = 0; i < 4; i++) {
            view = ti_str_from(token, lens[i]);
            good = (i == 1 || i == 2);

            assert_int_equal(seal_token(&ref, view, ti_null_str, &sealed),
                             good ? TI_OK : TI_DECLINED);

            rm_record(&r, &ref, view);
            assert_int_equal(open_result(&ref, rm_wrap(&r)),
                             good ? TI_RESULT_OK : RECONNECT);
            rm_reset();
        }
    }
}


/* A record of up to 65536 bytes is read, one above is not looked at. */

static void
record_sizes(void **state)
{
    int              pad;
    rm_record_t      r;
    ti_str_t         sealed;
    ti_record_ref_t  ref;
    static char      scope[60000];

    ref = rm_ref();
    memset(scope, 's', sizeof(scope));

    for (pad = 48000; ; pad++) {
        rm_reset();
        rm_record(&r, &ref, ti_str(TOKEN));
        r.outer.header = rm_replace(r.outer.header, "{",
                                    rm_text("{\"x\":\"%*s\",", pad, ""));
        sealed = rm_wrap(&r);

        if (sealed.len > TI_RECORD_MAX) {
            break;
        }

        pad += (int) (TI_RECORD_MAX - sealed.len) / 2;
        assert_int_equal(open_result(&ref, sealed), TI_RESULT_OK);
    }

    assert_in_range(sealed.len, TI_RECORD_MAX + 1, TI_RECORD_MAX + 2);
    assert_int_equal(open_result(&ref, sealed), RECONNECT);

    assert_int_equal(seal_token(&ref, ti_str(TOKEN),
                                ti_str_from(scope, sizeof(scope)), &sealed),
                     TI_DECLINED);
    ref = app_ref();
    assert_int_equal(seal_token(&ref, ti_str(TOKEN),
                                ti_str_from(scope, sizeof(scope)), &sealed),
                     TI_DECLINED);
}


static void
token_bytes(void **state)
{
    int              c, good;
    rm_record_t      r;
    ti_str_t         sealed, view;
    ti_record_ref_t  ref;
    unsigned char    token[3];

    ref = rm_ref();

    for (c = 0; c < 256; c++) {
        token[0] = 'a';
        token[1] = (unsigned char) c;
        token[2] = 'b';
        view = ti_str_from(token, 3);
        good = (c != 0 && strchr(B64_CHARS, c) != NULL);

        assert_int_equal(seal_token(&ref, view, ti_null_str, &sealed),
                         good ? TI_OK : TI_DECLINED);
        rm_record(&r, &ref, view);
        assert_int_equal(open_result(&ref, rm_wrap(&r)),
                         good ? TI_RESULT_OK : RECONNECT);
        rm_reset();
    }
}


static void
not_sealable(void **state)
{
    size_t           i;
    ti_str_t         sealed;
    ti_record_t      record;
    ti_record_ref_t  ref;

    static const struct {
        ti_record_kind_t  kind;
        const char       *type;
        const char       *scope;
        int64_t           expires;
        ti_rc_t           rc;
    } cases[] = {
        { TI_RECORD_ACCESS, "", "a b", 1, TI_OK },
        { TI_RECORD_ACCESS, "bearer", "", (INT64_C(1) << 53) - 1, TI_OK },
        { TI_RECORD_REFRESH, "", "", 0, TI_OK },
        { TI_RECORD_ACCESS, "mac", "", 1, TI_DECLINED },
        { TI_RECORD_ACCESS, "Bearer ", "", 1, TI_DECLINED },
        { TI_RECORD_ACCESS, "", "a\r\nb", 1, TI_DECLINED },
        { TI_RECORD_ACCESS, "", "\xc3\xa9", 1, TI_DECLINED },
        { TI_RECORD_ACCESS, "", "\x7f", 1, TI_DECLINED },
        { TI_RECORD_ACCESS, "", "", 0, TI_DECLINED },
        { TI_RECORD_ACCESS, "", "", -1, TI_DECLINED },
        { TI_RECORD_REFRESH, "", "", -1, TI_DECLINED },
        { TI_RECORD_ACCESS, "", "", INT64_C(1) << 53, TI_DECLINED }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ref = rm_ref();
        ref.kind = cases[i].kind;
        memset(&record, 0, sizeof(record));
        record.token = ti_str(TOKEN);
        record.token_type = ti_str_cstr(cases[i].type);
        record.scope = ti_str_cstr(cases[i].scope);
        record.expires = cases[i].expires;

        assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring,
                                        &ref, &record, &sealed), cases[i].rc);
    }
}


/* --- re-wrapping ---------------------------------------------------------- */

static ti_str_t
payload_of(const ti_record_ref_t *ref, ti_str_t sealed, const char *secret)
{
    int              n;
    size_t           i, len, dots[4];
    ti_str_t         ciphertext;
    unsigned char   *plain, key[32], ctx[32], salt[64], nonce[12], header[2048];
    const char      *p;
    EVP_CIPHER_CTX  *c;

    for (i = 0, n = 0; i < sealed.len; i++) {
        if (sealed.data[i] == '.') {
            dots[n++] = i;
        }
    }

    assert_int_equal(n, 4);

    /* the salt of the layer is in its header, the maker's is fixed */
    assert_int_equal(ti_b64u_decode(header, &len,
                                    ti_str_from(sealed.data, dots[0])), TI_OK);
    header[len] = '\0';
    p = strstr((char *) header, "\"salt\":\"");
    assert_non_null(p);
    assert_int_equal(ti_b64u_decode(salt, &len, ti_str_from(p + 8, 22)),
                     TI_OK);
    assert_int_equal(ti_b64u_decode(nonce, &len,
                                    ti_str_from(sealed.data + dots[1] + 1,
                                                16)), TI_OK);

    ciphertext = ti_str_from(sealed.data + dots[2] + 1,
                             dots[3] - dots[2] - 1);
    plain = rm_alloc(NULL, ciphertext.len);
    assert_int_equal(ti_b64u_decode(plain, &len, ciphertext), TI_OK);

    rm_ctx(ref, ctx);
    rm_layer_key(secret, RM_SEAL_LABEL, ctx, salt, key);

    c = EVP_CIPHER_CTX_new();
    assert_non_null(c);
    assert_true(EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce));
    assert_true(EVP_DecryptUpdate(c, plain, &n, plain, (int) len));
    EVP_CIPHER_CTX_free(c);

    return ti_str_from(plain, len);
}


static void
rewrapped(void **state)
{
    int                nested;
    rm_record_t        r;
    ti_str_t           sealed, again, twice, payload;
    ti_record_t        record;
    ti_record_ref_t    ref;
    ti_record_head_t   head;

    for (nested = 0; nested < 2; nested++) {
        ref = nested ? rm_ref() : app_ref();
        rm_record(&r, &ref, ti_str(TOKEN));
        r.outer.header = rm_replace(r.outer.header, "{",
                                    "{\"scope\":\"s\",\"x\":[1,{\"y\":null}],");
        sealed = rm_wrap(&r);

        assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random,
                                          swapped, sealed, &again, &why),
                         TI_OK);
        assert_false(ti_str_eq(again, sealed));
        assert_int_equal(open_with(swapped, &ref, again, &record),
                         TI_RESULT_OK);
        assert_true(ti_str_eq(record.token, ti_str(TOKEN)));
        assert_true(ti_str_eq(record.scope,
                              nested ? ti_null_str : ti_str("s")));
        assert_int_equal(record.expires, 1795290000);

        /* the payload of the new layer is the old one's, byte for byte */
        payload = payload_of(&ref, again, RM_SEALING_2);
        assert_true(ti_str_eq(payload, r.outer.payload));

        assert_int_equal(ti_record_head(&rm_pool, again, &head, &why), TI_OK);
        assert_true(ti_str_eq(head.kid, ti_str("two")));
        assert_true(ti_str_eq(head.cid, ref.cid));
        assert_int_equal(head.gen, ref.gen);
        assert_int_equal(head.expires, 1795290000);

        assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random,
                                          swapped, again, &twice, &why),
                         TI_OK);
        assert_ptr_equal(twice.data, again.data);
        assert_int_equal(twice.len, again.len);
        rm_reset();
    }
}


static void
not_rewrapped(void **state)
{
    rm_record_t      r;
    ti_str_t         sealed, again;
    ti_record_ref_t  ref;

    ref = rm_ref();

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "\"one\"", "\"three\"");
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      rm_wrap(&r), &again, &why),
                     TI_DECLINED);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.secret = RM_INDEX;
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      rm_wrap(&r), &again, &why),
                     TI_DECLINED);

    /* 43 characters, and none of base64url's */
    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, rm_b64u(r.ctx, 32),
                                rm_text("%043d+", 0) + 1);
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      rm_wrap(&r), &again, &why),
                     TI_DECLINED);

    assert_int_equal(seal_token(&ref, ti_str(TOKEN), ti_null_str, &sealed),
                     TI_OK);
    sealed.len--;
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      sealed, &again, &why), TI_DECLINED);
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      ti_null_str, &again, &why),
                     TI_DECLINED);
}


static void
heads(void **state)
{
    rm_record_t        r;
    ti_record_ref_t    ref;
    ti_record_head_t   head;

    ref = rm_ref();
    ref.kind = TI_RECORD_REFRESH;
    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, ",\"exp\":1795290000", "");
    r.outer.secret = RM_INDEX;              /* no key is needed */

    assert_int_equal(ti_record_head(&rm_pool, rm_wrap(&r), &head, &why),
                     TI_OK);
    assert_true(ti_str_eq(head.kid, ti_str("one")));
    assert_true(ti_str_eq(head.cid, ti_str(RM_CID)));
    assert_int_equal(head.gen, 7);
    assert_int_equal(head.expires, 0);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "ti-record", "JOSE");
    assert_int_equal(ti_record_head(&rm_pool, rm_wrap(&r), &head, &why),
                     TI_DECLINED);
    assert_non_null(strstr(why, "typ"));

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "DA0ODw\"", "DA0ODx\"");
    assert_int_equal(ti_record_head(&rm_pool, rm_wrap(&r), &head, &why),
                     TI_DECLINED);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "\"gen\":7",
                                "\"gen\":9007199254740992");
    assert_int_equal(ti_record_head(&rm_pool, rm_wrap(&r), &head, &why),
                     TI_DECLINED);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "\"ctx\":\"", "\"ctx\":\"A");
    assert_int_equal(ti_record_head(&rm_pool, rm_wrap(&r), &head, &why),
                     TI_DECLINED);
}


/* --- memory --------------------------------------------------------------- */

/* What is left of a token where it opened, and where it did not. */

static void
nothing_stays_behind(void **state)
{
    int              i;
    size_t           from;
    rm_record_t      r;
    ti_str_t         sealed, inner;
    ti_record_t      record;
    ti_record_ref_t  ref;

    rm_arena.filled = 1;
    ref = rm_ref();

    for (i = 0; i < 3; i++) {
        rm_record(&r, &ref, ti_str(TOKEN));

        if (i == 1) {
            r.inner.header = rm_replace(r.inner.header, "{",
                                        "{\"token_type\":\"mac\",");
        }

        sealed = rm_wrap(&r);
        inner = r.outer.payload;
        from = rm_arena.n;

        if (i == 2) {
            ref.user_key = (const unsigned char *) RM_OTHER_KEY;
        }

        assert_int_equal(open_with(ring, &ref, sealed, &record),
                         i == 0 ? TI_RESULT_OK : i == 1 ? RECONNECT : CONNECT);
        assert_true(rm_arena.n > from);
        assert_int_equal(rm_count(from, TOKEN, strlen(TOKEN)), i == 0);
        assert_int_equal(rm_count(from, inner.data, inner.len), 0);

        /* not even its end */
        assert_int_equal(rm_count(from, inner.data + inner.len - 16, 16), 0);

        if (i == 0) {
            ti_wipe((void *) record.token.data, record.token.len);
            assert_int_equal(rm_count(from, TOKEN, strlen(TOKEN)), 0);
        }
    }

    /* re-wrapping sees the token of an app-only record */
    ref = app_ref();
    rm_record(&r, &ref, ti_str(TOKEN));
    sealed = rm_wrap(&r);
    from = rm_arena.n;
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      sealed, &inner, &why),
                     TI_OK);
    assert_int_equal(rm_count(from, TOKEN, strlen(TOKEN)), 0);
}


/* Each allocation in turn is the one that fails. */

static void
memory_runs_out(void **state)
{
    size_t             n, failed;
    ti_rc_t            rc;
    ti_str_t           sealed, out;
    ti_record_t        record;
    ti_record_ref_t    ref;
    ti_record_head_t   head;

    ref = rm_ref();
    assert_int_equal(seal_token(&ref, ti_str(TOKEN), ti_str("s"), &sealed),
                     TI_OK);

    for (n = 0, failed = 0; ; n++) {
        rm_arena.left = n;

        if (open_with(ring, &ref, sealed, &record) == TI_RESULT_OK) {
            break;
        }

        rm_arena.left = n;
        assert_int_equal(open_result(&ref, sealed), TI_RESULT_INTERNAL_ERROR);
        failed++;
    }

    assert_true(failed >= 4);

    for (n = 0; ; n++) {
        rm_arena.left = n;
        rc = seal_token(&ref, ti_str(TOKEN), ti_str("s"), &out);
        if (rc == TI_OK) {
            break;
        }

        assert_int_equal(rc, TI_ERROR);
    }

    assert_true(n >= 4);

    for (n = 0; ; n++) {
        rm_arena.left = n;
        rc = ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped, sealed,
                              &out, &why);
        if (rc == TI_OK) {
            break;
        }

        assert_int_equal(rc, TI_ERROR);
    }

    assert_true(n >= 4);

    for (n = 0; n < 3; n++) {
        rm_arena.left = n;
        assert_int_equal(ti_record_head(&rm_pool, sealed, &head, &why),
                         TI_ERROR);
        assert_non_null(why);
    }

    rm_arena.left = 0;
    assert_int_equal(ti_record_connection_name(&rm_pool, ti_str("ti:"),
                                               ti_str("u"), ti_str("p"),
                                               ti_str("-"), &out), TI_ERROR);
}


static void
randomness_fails(void **state)
{
    size_t           n;
    ti_str_t         sealed;
    ti_record_ref_t  ref;

    ref = rm_ref();

    for (n = 0; n < 4; n++) {
        rm_random_left = n;
        assert_int_equal(seal_token(&ref, ti_str(TOKEN), ti_null_str, &sealed),
                         TI_ERROR);
    }

    rm_random_left = 4;
    assert_int_equal(seal_token(&ref, ti_str(TOKEN), ti_null_str, &sealed),
                     TI_OK);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_teardown(truncated, clean),
        cmocka_unit_test_teardown(changed, clean),
        cmocka_unit_test_teardown(short_tags, clean),
        cmocka_unit_test_teardown(nonces, clean),
        cmocka_unit_test_teardown(ciphertexts, clean),
        cmocka_unit_test_teardown(sizes, clean),
        cmocka_unit_test_teardown(record_sizes, clean),
        cmocka_unit_test_teardown(token_bytes, clean),
        cmocka_unit_test_teardown(not_sealable, clean),
        cmocka_unit_test_teardown(rewrapped, clean),
        cmocka_unit_test_teardown(not_rewrapped, clean),
        cmocka_unit_test_teardown(heads, clean),
        cmocka_unit_test_teardown(nothing_stays_behind, clean),
        cmocka_unit_test_teardown(memory_runs_out, clean),
        cmocka_unit_test_teardown(randomness_fails, clean)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
