#include "unit.h"

#include <openssl/err.h>

#include "ti_crypto.h"


static ti_crypto_t  *crypto;


static int
setup(void **state)
{
    crypto = ti_crypto_create();

    return crypto == NULL;
}


/* nginx logs what OpenSSL's queue holds as an alert of someone else's */

static int
teardown(void **state)
{
    ti_crypto_free(crypto);
    ti_crypto_free(NULL);

    return ERR_peek_error() != 0;
}


static void
hashes_fips_180(void **state)
{
    ti_str_t       parts[3];
    unsigned char  out[TI_SHA256_LEN];

    assert_int_equal(ti_crypto_sha256(crypto, NULL, 0, out), TI_OK);
    assert_bytes(out, "e3b0c44298fc1c149afbf4c8996fb924"
                      "27ae41e4649b934ca495991b7852b855");

    parts[0] = ti_str("abc");
    assert_int_equal(ti_crypto_sha256(crypto, parts, 1, out), TI_OK);
    assert_bytes(out, "ba7816bf8f01cfea414140de5dae2223"
                      "b00361a396177a9cb410ff61f20015ad");

    parts[0] = ti_str("abcdbcdecdefdefgefghfghighij");
    parts[1] = ti_null_str;
    parts[2] = ti_str("hijkijkljklmklmnlmnomnopnopq");
    assert_int_equal(ti_crypto_sha256(crypto, parts, 3, out), TI_OK);
    assert_bytes(out, "248d6a61d20638b8e5c026930c3e6039"
                      "a33ce45964ff2167f6ecedd419db06c1");
}


/* RFC 4231: what HMAC-SHA-256, -384 and -512 make of one key and text */

typedef struct {
    const char  *key;                       /* hex */
    const char  *data;                      /* hex */
    const char  *mac[3];
} hmac_t;

static const hmac_t  hmacs[] = {
    { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
      "4869205468657265",
      { "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
        "faea9ea9076ede7f4af152e8b2fa9cb6",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" } },
    { "4a656665",
      "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      { "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
        "8e2240ca5e69e2c78b3239ecfab21649",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" } },
    { "0102030405060708090a0b0c0d0e0f10111213141516171819",
      "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
      "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
      { "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e"
        "6801dd23c4a7d679ccf8a386c674cffb",
        "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db"
        "a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd" } }
};


static void
authenticates_rfc_4231(void **state)
{
    int              k;
    size_t           i, n;
    ti_str_t         data;
    unsigned char    key[64], text[64], mac[64];
    ti_verifier_t   *verifier;
    const ti_alg_t   algs[] = { TI_ALG_HS256, TI_ALG_HS384, TI_ALG_HS512 };

    for (i = 0; i < sizeof(hmacs) / sizeof(hmacs[0]); i++) {
        n = unit_hex(key, sizeof(key), hmacs[i].key);
        data = ti_str_from(text, unit_hex(text, sizeof(text), hmacs[i].data));

        assert_int_equal(ti_crypto_hmac(crypto, ti_str_from(key, n), &data, 1,
                                        mac),
                         TI_OK);
        assert_bytes(mac, hmacs[i].mac[0]);

        verifier = ti_verifier_create_mac(ti_str_from(key, n), ~0u);
        assert_non_null(verifier);
        assert_int_equal(ti_verifier_algs(verifier), TI_ALGS_MAC);

        for (k = 0; k < 3; k++) {
            n = unit_hex(mac, sizeof(mac), hmacs[i].mac[k]);
            assert_int_equal(ti_crypto_verify(crypto, verifier, algs[k], data,
                                              ti_str_from(mac, n)),
                             TI_OK);
        }

        ti_verifier_free(verifier);
    }
}


/* RFC 4231 test cases 6 and 7: a key longer than the hash's block */

static void
authenticates_with_a_long_key(void **state)
{
    ti_str_t       data[2];
    unsigned char  key[131], mac[TI_SHA256_LEN];

    memset(key, 0xaa, sizeof(key));

    data[0] = ti_str("Test Using Larger Than Block-Size Key");
    data[1] = ti_str(" - Hash Key First");
    assert_int_equal(ti_crypto_hmac(crypto, ti_str_from(key, sizeof(key)),
                                    data, 2, mac),
                     TI_OK);
    assert_bytes(mac, "60e431591ee0b67f0d8a26aacbf5b77f"
                      "8e0bc6213728c5140546040f0ee37f54");

    data[0] = ti_str("This is a test using a larger than block-size key and "
                     "a larger than block-size data. The key needs to be "
                     "hashed before being used by the HMAC algorithm.");
    assert_int_equal(ti_crypto_hmac(crypto, ti_str_from(key, sizeof(key)),
                                    data, 1, mac),
                     TI_OK);
    assert_bytes(mac, "9b09ffa71b942fcb27635fbcd5b0e944"
                      "bfdc63644f0713938a7f51535c3a35e2");
}


/* The context is kept: no key may mean the empty one, not the last one. */

static void
takes_no_key_for_the_empty_one(void **state)
{
    ti_str_t       data;
    unsigned char  mac[TI_SHA256_LEN];

    data = ti_str("");

    assert_int_equal(ti_crypto_hmac(crypto, ti_str("another"), &data, 1, mac),
                     TI_OK);
    assert_int_equal(ti_crypto_hmac(crypto, ti_null_str, &data, 1, mac),
                     TI_OK);
    assert_bytes(mac, "b613679a0814d9ec772f95d778c35fc5"
                      "ff1697c493715653c6c712144292c5ad");
}


/* RFC 5869 appendix A.1 to A.3, their first 32 bytes */

static void
derives_rfc_5869(void **state)
{
    int            i;
    unsigned char  ikm[80], salt[80], info[80], out[TI_KEY_LEN + 1];

    memset(ikm, 0x0b, sizeof(ikm));

    for (i = 0; i < 80; i++) {
        salt[i] = (unsigned char) i;
        info[i] = (unsigned char) (0xf0 + i);
    }

    assert_int_equal(ti_crypto_hkdf(crypto, ti_str_from(ikm, 22),
                                    ti_str_from(salt, 13),
                                    ti_str_from(info, 10), out, 32),
                     TI_OK);
    assert_bytes(out, "3cb25f25faacd57a90434f64d0362f2a"
                      "2d2d0a90cf1a5a4c5db02d56ecc4c5bf");

    assert_int_equal(ti_crypto_hkdf(crypto, ti_str_from(ikm, 22), ti_null_str,
                                    ti_null_str, out, 32),
                     TI_OK);
    assert_bytes(out, "8da4e775a563c18f715f802a063c5a31"
                      "b8a11f5c5ee1879ec3454e5f3c738d2d");

    for (i = 0; i < 80; i++) {
        ikm[i] = (unsigned char) i;
        salt[i] = (unsigned char) (0x60 + i);
        info[i] = (unsigned char) (0xb0 + i);
    }

    assert_int_equal(ti_crypto_hkdf(crypto, ti_str_from(ikm, 80),
                                    ti_str_from(salt, 80),
                                    ti_str_from(info, 80), out, 32),
                     TI_OK);
    assert_bytes(out, "b11e398dc80327a1c8e7f78c596a4934"
                      "4f012eda2d4efad8a050cc4c19afa97c");

    /* fewer bytes are a prefix and nothing behind them; more are none */

    memset(out, 0xee, sizeof(out));
    assert_int_equal(ti_crypto_hkdf(crypto, ti_str_from(ikm, 80),
                                    ti_str_from(salt, 80),
                                    ti_str_from(info, 80), out, 12),
                     TI_OK);
    assert_bytes(out, "b11e398dc80327a1c8e7f78ceeee");

    assert_int_equal(ti_crypto_hkdf(crypto, ti_str_from(ikm, 80), ti_null_str,
                                    ti_null_str, out, 33),
                     TI_ERROR);
}


static void
digests_lists_as_enc_writes_them(void **state)
{
    size_t           n;
    ti_str_t         whole;
    unsigned char    buf[64], a[TI_SHA256_LEN], b[TI_SHA256_LEN];
    static const ti_str_t  fields[] = {
        ti_string("user"), { NULL, 0 }, ti_string("a\0b"), ti_string("x")
    };

    n = ti_enc(buf, fields, 4);
    whole = ti_str_from(buf, n);

    assert_int_equal(ti_crypto_sha256_enc(crypto, fields, 4, a), TI_OK);
    assert_int_equal(ti_crypto_sha256(crypto, &whole, 1, b), TI_OK);
    assert_memory_equal(a, b, sizeof(a));

    assert_int_equal(ti_crypto_hmac_enc(crypto, ti_str("key"), fields, 4, a),
                     TI_OK);
    assert_int_equal(ti_crypto_hmac(crypto, ti_str("key"), &whole, 1, b),
                     TI_OK);
    assert_memory_equal(a, b, sizeof(a));
}


/* "The Galois/Counter Mode of Operation", test cases 13, 14 and 16 */

static const struct {
    const char  *key;
    const char  *nonce;
    const char  *aad;
    const char  *plain;
    const char  *sealed;
    const char  *tag;
} gcm[] = {
    { "00000000000000000000000000000000"
      "00000000000000000000000000000000",
      "000000000000000000000000", "", "", "",
      "530f8afbc74536b9a963b4f1c4cb738b" },
    { "00000000000000000000000000000000"
      "00000000000000000000000000000000",
      "000000000000000000000000", "", "00000000000000000000000000000000",
      "cea7403d4d606b6e074ec5d3baf39d18",
      "d0d1c8a799996bf0265b98b5d48ab919" },
    { "feffe9928665731c6d6a8f9467308308"
      "feffe9928665731c6d6a8f9467308308",
      "cafebabefacedbaddecaf888",
      "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
      "76fc6ece0f4e1768cddf8853bb2d551b" }
};


static void
seals_and_opens_gcm_vectors(void **state)
{
    size_t         i, n;
    ti_str_t       aad;
    unsigned char  key[32], nonce[12], a[64], buf[64], out[64], tag[16];

    for (i = 0; i < sizeof(gcm) / sizeof(gcm[0]); i++) {
        unit_hex(key, sizeof(key), gcm[i].key);
        unit_hex(nonce, sizeof(nonce), gcm[i].nonce);
        aad = ti_str_from(a, unit_hex(a, sizeof(a), gcm[i].aad));
        n = unit_hex(buf, sizeof(buf), gcm[i].plain);

        assert_int_equal(ti_crypto_seal(crypto, key, nonce, aad,
                                        ti_str_from(buf, n), out, tag),
                         TI_OK);
        assert_bytes(out, gcm[i].sealed);
        assert_bytes(tag, gcm[i].tag);

        /* in place as well */

        assert_int_equal(ti_crypto_seal(crypto, key, nonce, aad,
                                        ti_str_from(buf, n), buf, tag),
                         TI_OK);
        assert_bytes(buf, gcm[i].sealed);

        assert_int_equal(ti_crypto_open(crypto, key, nonce, aad,
                                        ti_str_from(buf, n), tag, buf),
                         TI_OK);
        assert_bytes(buf, gcm[i].plain);
    }
}


/* Every bit of everything: refused, the plain text gone, and the next good
 * one opens with the same context. */

static void
opens_nothing_that_was_touched(void **state)
{
    size_t         at, n, total;
    unsigned char  all[32 + 12 + 20 + 60 + 16], out[60], zeros[60];
    unsigned char *key, *nonce, *aad, *sealed, *tag;

    key = all;
    nonce = key + 32;
    aad = nonce + 12;
    sealed = aad + 20;
    tag = sealed + 60;
    total = sizeof(all);

    unit_hex(key, 32, gcm[2].key);
    unit_hex(nonce, 12, gcm[2].nonce);
    unit_hex(aad, 20, gcm[2].aad);
    n = unit_hex(sealed, 60, gcm[2].sealed);
    unit_hex(tag, 16, gcm[2].tag);
    memset(zeros, 0, sizeof(zeros));

    for (at = 0; at < 8 * total; at++) {
        all[at / 8] ^= (unsigned char) (1 << at % 8);
        memset(out, 0xee, sizeof(out));

        assert_int_equal(ti_crypto_open(crypto, key, nonce,
                                        ti_str_from(aad, 20),
                                        ti_str_from(sealed, n), tag, out),
                         TI_DECLINED);
        assert_memory_equal(out, zeros, n);
        assert_int_equal(ERR_peek_error(), 0);

        all[at / 8] ^= (unsigned char) (1 << at % 8);
    }

    assert_int_equal(ti_crypto_open(crypto, key, nonce, ti_str_from(aad, 20),
                                    ti_str_from(sealed, n), tag, out),
                     TI_OK);
    assert_bytes(out, gcm[2].plain);

    /* shorter, without its additional data, or with its tag as text */

    assert_int_equal(ti_crypto_open(crypto, key, nonce, ti_str_from(aad, 20),
                                    ti_str_from(sealed, n - 1), tag, out),
                     TI_DECLINED);
    assert_int_equal(ti_crypto_open(crypto, key, nonce, ti_null_str,
                                    ti_str_from(sealed, n), tag, out),
                     TI_DECLINED);
    assert_int_equal(ti_crypto_open(crypto, key, nonce, ti_str_from(aad, 20),
                                    ti_null_str, tag, out),
                     TI_DECLINED);
}


static void
fills_with_randomness(void **state)
{
    int            i, seen;
    ti_random_t    random;
    unsigned char  buf[34], before[32];

    random = ti_crypto_random();
    seen = 0;

    for (i = 0; i < 4; i++) {
        memset(buf, 0, sizeof(buf));
        memcpy(before, buf + 1, 32);

        assert_int_equal(random.fill(random.data, buf + 1, 32), TI_OK);
        seen += (memcmp(before, buf + 1, 32) != 0);

        assert_int_equal(buf[0], 0);
        assert_int_equal(buf[33], 0);
    }

    assert_int_equal(seen, 4);
}


static void
knows_algorithms_by_their_exact_names(void **state)
{
    size_t              i;
    unsigned            all;
    ti_alg_t            alg;
    static const char  *names[] = {
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
    };
    static const char  *wrong[] = {
        "", "none", "None", "NONE", "nOnE", "rs256", "RS256 ", " RS256",
        "RS2567", "RS25", "RS1", "ES256K", "Ed25519", "Ed448", "EDDSA",
        "HS1", "A256GCM", "dir"
    };

    all = 0;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        alg = ti_alg_by_name(ti_str_cstr(names[i]));

        assert_int_not_equal(alg, TI_ALG_NONE);
        assert_int_equal(alg & (alg - 1), 0);
        assert_int_equal(all & alg, 0);
        assert_string_equal(ti_alg_name(alg), names[i]);

        all |= alg;
    }

    assert_int_equal(all, TI_ALGS_RSA|TI_ALGS_EC|TI_ALGS_MAC|TI_ALG_EDDSA);

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(ti_alg_by_name(ti_str_cstr(wrong[i])), TI_ALG_NONE);
    }

    assert_int_equal(ti_alg_by_name(ti_str("RS256\0")), TI_ALG_NONE);
    assert_int_equal(ti_alg_by_name(ti_null_str), TI_ALG_NONE);
    assert_string_equal(ti_alg_name(TI_ALG_NONE), "none");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(hashes_fips_180),
        cmocka_unit_test(authenticates_rfc_4231),
        cmocka_unit_test(authenticates_with_a_long_key),
        cmocka_unit_test(takes_no_key_for_the_empty_one),
        cmocka_unit_test(derives_rfc_5869),
        cmocka_unit_test(digests_lists_as_enc_writes_them),
        cmocka_unit_test(seals_and_opens_gcm_vectors),
        cmocka_unit_test(opens_nothing_that_was_touched),
        cmocka_unit_test(fills_with_randomness),
        cmocka_unit_test(knows_algorithms_by_their_exact_names)
    };

    return cmocka_run_group_tests_name("ti_crypto", tests, setup, teardown);
}
