/*
 * Admissions: their names, heads and tokens.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "record_make.h"
#include "ti_admission.h"


#define FIXED  (32 + 7 * 8 + 4)


static ti_crypto_t        *crypto;
static ti_admission_id_t   id, other;


static int
set_up(void **state)
{
    crypto = ti_crypto_create();

    return crypto == NULL
           || ti_admission_id(crypto, ti_str("secret"), ti_str("jwt"),
                              ti_str("user key"), ti_str("policy"), &id)
              != TI_OK
           || ti_admission_id(crypto, ti_str("secret"), ti_str("JWT"),
                              ti_str("user key"), ti_str("policy"), &other)
              != TI_OK;
}


static int
tear_down(void **state)
{
    ti_crypto_free(crypto);

    return 0;
}


static int
clean(void **state)
{
    rm_reset();

    return 0;
}


static ti_admission_t
head_of(void)
{
    ti_admission_t  head;

    memset(&head, 0, sizeof(head));
    head.issuer = 3;
    head.who.issuer = ti_str("https://login.example.com/");
    head.who.tenant = ti_str("contoso");
    head.who.subject = ti_str("alice");
    head.user = ti_str("J7pc2KE0_w9Pa42cgKAnqA");
    head.device = ti_str("n9hH4NMrRsODd6g1");
    head.cid = ti_str(RM_CID);
    head.gen = TI_RECORD_GEN_MAX;
    head.keys = UINT64_C(0x8123456789abcdef);
    head.heard = 5;
    head.caller_expires = 2000;
    head.token_expires = INT64_MAX;
    head.due = 1999;
    head.confirmed = 1000;
    memset(head.answer_base, 'b', sizeof(head.answer_base));

    return head;
}


static unsigned char *
sealed_head(const ti_admission_t *head, size_t *len)
{
    unsigned char  *sealed;

    *len = ti_admission_sealed_len(head);
    sealed = rm_alloc(NULL, *len);
    assert_int_equal(ti_admission_seal(crypto, &rm_random, &id, head, sealed),
                     TI_OK);

    return sealed;
}


static ti_rc_t
open_copy(const ti_admission_id_t *as, const unsigned char *sealed,
    size_t len, ti_admission_t *head)
{
    unsigned char  *copy;

    copy = rm_alloc(NULL, len);

    if (len != 0) {
        memcpy(copy, sealed, len);
    }

    return ti_admission_open(crypto, as, copy, len, head);
}


/* Each of the four decides, and so does where one ends. */

static void
ids_differ(void **state)
{
    size_t             i, j;
    ti_str_t           name;
    unsigned char      hash[TI_SHA256_LEN];
    ti_admission_id_t  ids[7];

    static const char *const  parts[7][4] = {
        { "s", "t", "u", "p" }, { "S", "t", "u", "p" },
        { "s", "T", "u", "p" }, { "s", "t", "U", "p" },
        { "s", "t", "u", "P" }, { "st", "", "u", "p" },
        { "s", "tu", "", "p" }
    };

    for (i = 0; i < 7; i++) {
        assert_int_equal(ti_admission_id(crypto, ti_str_cstr(parts[i][0]),
                                         ti_str_cstr(parts[i][1]),
                                         ti_str_cstr(parts[i][2]),
                                         ti_str_cstr(parts[i][3]), &ids[i]),
                         TI_OK);

        name = ti_str_from(ids[i].key, TI_KEY_LEN);
        assert_int_equal(ti_crypto_sha256(crypto, &name, 1, hash), TI_OK);
        assert_memory_equal(ids[i].name, hash, TI_SHA256_LEN);

        for (j = 0; j < i; j++) {
            assert_memory_not_equal(ids[i].key, ids[j].key, TI_KEY_LEN);
            assert_memory_not_equal(ids[i].name, ids[j].name, TI_SHA256_LEN);
        }
    }
}


/* K is what architecture.md says: SHA-256(enc(secret, token, key, policy)) */

static void
id_by_hand(void **state)
{
    size_t         n;
    unsigned char  buf[128], hash[32];

    n = rm_enc(buf, "secret", 6);
    n += rm_enc(buf + n, "jwt", 3);
    n += rm_enc(buf + n, "user key", 8);
    n += rm_enc(buf + n, "policy", 6);

    assert_non_null(SHA256(buf, n, hash));
    assert_memory_equal(id.key, hash, 32);
}


static void
head_opens(void **state)
{
    size_t          len, from;
    ti_admission_t  head, got;
    unsigned char  *sealed;

    rm_arena.filled = 1;
    head = head_of();
    sealed = sealed_head(&head, &len);
    assert_int_equal(rm_count(0, "alice", 5), 0);

    from = rm_arena.n;
    assert_int_equal(open_copy(&id, sealed, len, &got), TI_OK);

    assert_int_equal(got.issuer, 3);
    assert_true(ti_str_eq(got.who.issuer, head.who.issuer));
    assert_true(ti_str_eq(got.who.tenant, head.who.tenant));
    assert_true(ti_str_eq(got.who.subject, head.who.subject));
    assert_true(ti_str_eq(got.user, head.user));
    assert_true(ti_str_eq(got.device, head.device));
    assert_true(ti_str_eq(got.cid, head.cid));
    assert_int_equal(got.gen, head.gen);
    assert_true(got.keys == UINT64_C(0x8123456789abcdef));
    assert_int_equal(got.heard, 5);
    assert_int_equal(got.caller_expires, head.caller_expires);
    assert_int_equal(got.token_expires, head.token_expires);
    assert_int_equal(got.due, head.due);
    assert_int_equal(got.confirmed, head.confirmed);
    assert_memory_equal(got.answer_base, head.answer_base, TI_KEY_LEN);

    /* a key that lies in one place only */
    assert_int_equal(rm_count(from, head.answer_base, TI_KEY_LEN), 0);
}


static void
head_without_a_connection(void **state)
{
    size_t          len;
    ti_admission_t  head, got;
    unsigned char  *sealed;

    memset(&head, 0, sizeof(head));
    head.who.subject = ti_str("s");
    sealed = sealed_head(&head, &len);

    assert_int_equal(open_copy(&id, sealed, len, &got), TI_OK);
    assert_int_equal(got.gen, 0);
    assert_int_equal(got.cid.len, 0);
    assert_int_equal(got.who.issuer.len, 0);
    assert_true(ti_str_eq(got.who.subject, ti_str("s")));
}


static void
head_changed_and_truncated(void **state)
{
    size_t          i, len;
    ti_admission_t  head, got;
    unsigned char   sealed[512];

    head = head_of();
    len = ti_admission_sealed_len(&head);
    assert_true(len < sizeof(sealed));
    memcpy(sealed, sealed_head(&head, &len), len);

    for (i = 0; i < len; i++) {
        rm_reset();
        assert_int_equal(open_copy(&id, sealed, i, &got), TI_DECLINED);

        sealed[i] ^= 1;
        assert_int_equal(open_copy(&id, sealed, len, &got), TI_DECLINED);
        sealed[i] ^= 1;
    }

    assert_int_equal(open_copy(&id, sealed, len + 1, &got), TI_DECLINED);
    assert_int_equal(open_copy(&other, sealed, len, &got), TI_DECLINED);
    assert_int_equal(open_copy(&id, sealed, len, &got), TI_OK);
}


/* The name is part of it: under one key, too, an entry is not another's. */

static void
head_bound_to_its_name(void **state)
{
    size_t             len;
    ti_admission_t     head, got;
    unsigned char     *sealed;
    ti_admission_id_t  moved;

    head = head_of();
    sealed = sealed_head(&head, &len);

    moved = id;
    moved.name[0] ^= 1;
    assert_int_equal(open_copy(&moved, sealed, len, &got), TI_DECLINED);
}


static void
head_sizes(void **state)
{
    static char     long_name[TI_ADMISSION_HEAD_MAX];
    size_t          len;
    ti_admission_t  head, got;
    unsigned char  *sealed;

    memset(long_name, 'n', sizeof(long_name));
    head = head_of();
    len = ti_admission_sealed_len(&head) - head.who.subject.len;
    head.who.subject = ti_str_from(long_name, TI_ADMISSION_HEAD_MAX - len);

    sealed = sealed_head(&head, &len);
    assert_int_equal(len, TI_ADMISSION_HEAD_MAX);
    assert_int_equal(open_copy(&id, sealed, len, &got), TI_OK);
    assert_true(ti_str_eq(got.who.subject, head.who.subject));

    head.who.subject.len++;
    len = ti_admission_sealed_len(&head);
    sealed = rm_alloc(NULL, len);
    assert_int_equal(ti_admission_seal(crypto, &rm_random, &id, &head, sealed),
                     TI_DECLINED);
    assert_int_equal(open_copy(&id, sealed, len, &got), TI_DECLINED);
}


/* What a reader makes of bytes that only their sealing made good. */

static ti_rc_t
open_layout(const char *layout, const unsigned char *plain, size_t len)
{
    size_t          n;
    ti_admission_t  got;
    unsigned char  *sealed, aad[64];

    n = rm_enc(aad, id.name, 32);
    n += rm_enc(aad + n, layout, strlen(layout));

    sealed = rm_alloc(NULL, len + TI_ADMISSION_OVERHEAD);
    memcpy(sealed, RM_NONCE, 12);
    assert_int_equal(ti_crypto_seal(crypto, id.key, sealed,
                                    ti_str_from(aad, n),
                                    ti_str_from(plain, len), sealed + 12,
                                    sealed + 12 + len), TI_OK);

    return ti_admission_open(crypto, &id, sealed, len + TI_ADMISSION_OVERHEAD,
                             &got);
}


static ti_rc_t
open_plain(const unsigned char *plain, size_t len)
{
    return open_layout("head 4", plain, len);
}


/*
 * What another version left in memory that outlives it: a head without the
 * keys' mark would read as one with the token's end for it.
 */

static void
head_of_another_layout(void **state)
{
    unsigned char  plain[FIXED + 6 * 4];

    memset(plain, 0, sizeof(plain));

    assert_int_equal(open_layout("head 4", plain, sizeof(plain)), TI_OK);
    assert_int_equal(open_layout("head", plain, sizeof(plain)), TI_DECLINED);
    assert_int_equal(open_layout("head", plain, sizeof(plain) - 8),
                     TI_DECLINED);
    assert_int_equal(open_layout("head 3", plain, sizeof(plain)), TI_DECLINED);
    assert_int_equal(open_layout("head 3", plain, sizeof(plain) - 8),
                     TI_DECLINED);
    assert_int_equal(open_layout("token", plain, sizeof(plain)), TI_DECLINED);
}


static void
head_read_strictly(void **state)
{
    size_t         i, len;
    unsigned char  plain[FIXED + 6 * 4 + 1], large[TI_ADMISSION_HEAD_MAX];

    len = FIXED + 6 * 4;
    memset(plain, 0, sizeof(plain));
    assert_int_equal(open_plain(plain, len), TI_OK);
    assert_int_equal(open_plain(plain, len + 1), TI_DECLINED);

    for (i = 0; i < len; i++) {
        assert_int_equal(open_plain(plain, i), TI_DECLINED);
    }

    /* a field longer than what is left, by one and by far */
    for (i = FIXED; i < len; i += 4) {
        plain[i + 3] = (unsigned char) (len - i - 4 + 1);
        assert_int_equal(open_plain(plain, len), TI_DECLINED);
        memset(plain + i, 0xFF, 4);
        assert_int_equal(open_plain(plain, len), TI_DECLINED);
        memset(plain + i, 0, 4);
    }

    /* good but for its size: one long field, then five empty ones */
    for (i = TI_ADMISSION_HEAD_MAX; i <= TI_ADMISSION_HEAD_MAX + 1; i++) {
        memset(large, 0, sizeof(large));
        ti_put_u32(large + FIXED, (uint32_t) (i - TI_ADMISSION_OVERHEAD
                                              - FIXED - 24));
        assert_int_equal(open_plain(large, i - TI_ADMISSION_OVERHEAD),
                         i == TI_ADMISSION_HEAD_MAX ? TI_OK : TI_DECLINED);
    }

    /* times are no more than INT64_MAX */
    for (i = 32 + 24; i < 32 + 56; i += 8) {
        plain[i] = 0x80;
        assert_int_equal(open_plain(plain, len), TI_DECLINED);
        plain[i] = 0;
    }

    /* gen, the mark and the number of changes are any number */
    memset(plain + 32, 0xFF, 24);
    assert_int_equal(open_plain(plain, len), TI_OK);
}


static void
token_pairs_with_its_head(void **state)
{
    size_t             i, len;
    ti_str_t           token, sealed;
    ti_admission_t     head, heads[4];
    unsigned char     *p, out[64];
    ti_admission_id_t  moved;

    rm_arena.filled = 1;
    token = ti_str("third party's token");
    head = head_of();
    len = token.len + TI_ADMISSION_OVERHEAD;
    p = rm_alloc(NULL, len);
    sealed = ti_str_from(p, len);

    assert_int_equal(ti_admission_seal_token(crypto, &rm_random, &id, &head,
                                             token, p), TI_OK);
    assert_int_equal(rm_count(0, token.data, token.len), 0);
    assert_int_equal(ti_admission_open_token(crypto, &id, &head, sealed, out),
                     TI_OK);
    assert_memory_equal(out, token.data, token.len);

    /* times of the head change with each confirmation, its token does not */
    head.confirmed++;
    assert_int_equal(ti_admission_open_token(crypto, &id, &head, sealed, out),
                     TI_OK);

    for (i = 0; i < 4; i++) {
        heads[i] = head;
    }

    heads[0].gen--;
    heads[1].cid = ti_str("AQECAwQFBgcICQoLDA0ODw");
    heads[2].cid = ti_null_str;
    heads[3].cid = ti_str(RM_CID "A");

    for (i = 0; i < 4; i++) {
        assert_int_equal(ti_admission_open_token(crypto, &id, &heads[i],
                                                 sealed, out), TI_DECLINED);
    }

    assert_int_equal(ti_admission_seal_token(crypto, &rm_random, &id,
                                             &heads[3], token, p),
                     TI_DECLINED);

    assert_int_equal(ti_admission_open_token(crypto, &other, &head, sealed,
                                             out), TI_DECLINED);
    moved = id;
    moved.name[31] ^= 1;
    assert_int_equal(ti_admission_open_token(crypto, &moved, &head, sealed,
                                             out), TI_DECLINED);
}


static void
token_changed_and_truncated(void **state)
{
    size_t          i;
    ti_str_t        copy;
    ti_admission_t  head;
    unsigned char  *p, out[16], sealed[TI_ADMISSION_OVERHEAD + 5];

    head = head_of();
    assert_int_equal(ti_admission_seal_token(crypto, &rm_random, &id, &head,
                                             ti_str("token"), sealed), TI_OK);

    for (i = 0; i < sizeof(sealed); i++) {
        p = rm_alloc(NULL, i);

        if (i != 0) {
            memcpy(p, sealed, i);
        }

        copy = ti_str_from(p, i);
        assert_int_equal(ti_admission_open_token(crypto, &id, &head, copy,
                                                 out), TI_DECLINED);

        sealed[i] ^= 1;
        copy = ti_str_from(sealed, sizeof(sealed));
        assert_int_equal(ti_admission_open_token(crypto, &id, &head, copy,
                                                 out), TI_DECLINED);
        sealed[i] ^= 1;
    }
}


/* The pieces lie side by side: neither passes for the other. */

static void
pieces_are_not_each_other(void **state)
{
    size_t          len;
    ti_str_t        copy;
    ti_admission_t  head, got;
    unsigned char  *sealed, out[512], plain[FIXED + 24], *p;

    head = head_of();
    sealed = sealed_head(&head, &len);
    copy = ti_str_from(sealed, len);
    assert_int_equal(ti_admission_open_token(crypto, &id, &head, copy, out),
                     TI_DECLINED);

    memset(plain, 0, sizeof(plain));
    p = rm_alloc(NULL, sizeof(plain) + TI_ADMISSION_OVERHEAD);
    assert_int_equal(ti_admission_seal_token(crypto, &rm_random, &id, &head,
                                             ti_str_from(plain, sizeof(plain)),
                                             p), TI_OK);
    assert_int_equal(ti_admission_open(crypto, &id, p,
                                       sizeof(plain) + TI_ADMISSION_OVERHEAD,
                                       &got), TI_DECLINED);
}


static void
randomness_fails(void **state)
{
    ti_admission_t  head;
    unsigned char   buf[512];

    head = head_of();
    rm_random_left = 0;

    assert_int_equal(ti_admission_seal(crypto, &rm_random, &id, &head, buf),
                     TI_ERROR);
    assert_int_equal(ti_admission_seal_token(crypto, &rm_random, &id, &head,
                                             ti_str("t"), buf), TI_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_teardown(ids_differ, clean),
        cmocka_unit_test_teardown(id_by_hand, clean),
        cmocka_unit_test_teardown(head_opens, clean),
        cmocka_unit_test_teardown(head_without_a_connection, clean),
        cmocka_unit_test_teardown(head_changed_and_truncated, clean),
        cmocka_unit_test_teardown(head_bound_to_its_name, clean),
        cmocka_unit_test_teardown(head_sizes, clean),
        cmocka_unit_test_teardown(head_read_strictly, clean),
        cmocka_unit_test_teardown(head_of_another_layout, clean),
        cmocka_unit_test_teardown(token_pairs_with_its_head, clean),
        cmocka_unit_test_teardown(token_changed_and_truncated, clean),
        cmocka_unit_test_teardown(pieces_are_not_each_other, clean),
        cmocka_unit_test_teardown(randomness_fails, clean)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
