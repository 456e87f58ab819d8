#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "ti_crypto.h"


#define SIGNATURE_MAX  512

static ti_crypto_t  *crypto;
static EVP_PKEY     *rsa;
static EVP_PKEY     *p256;


static int
setup(void **state)
{
    crypto = ti_crypto_create();
    rsa = EVP_RSA_gen(2048);
    p256 = EVP_EC_gen("P-256");

    return crypto == NULL || rsa == NULL || p256 == NULL;
}


static int
teardown(void **state)
{
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
    ti_crypto_free(crypto);

    return ERR_peek_error() != 0;
}


static ti_verifier_t *
verifier_of(EVP_PKEY *pkey, unsigned algs)
{
    ti_verifier_t  *verifier;

    assert_int_equal(EVP_PKEY_up_ref(pkey), 1);

    verifier = ti_verifier_create(crypto, pkey, algs);
    assert_non_null(verifier);

    return verifier;
}


static ti_rc_t
verify(const ti_verifier_t *verifier, ti_alg_t alg, ti_str_t input,
    const void *signature, size_t len)
{
    ti_rc_t  rc;

    rc = ti_crypto_verify(crypto, verifier, alg, input,
                          ti_str_from(signature, len));

    assert_int_equal(ERR_peek_error(), 0);

    return rc;
}


/* saltlen: 0 for PKCS #1 version 1.5, else PSS' */

static size_t
sign(EVP_PKEY *pkey, const char *md, int saltlen, const char *mgf1,
    ti_str_t input, unsigned char *signature)
{
    size_t         len;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *params;

    len = SIGNATURE_MAX;
    ctx = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit_ex(ctx, &params, md, NULL, NULL, pkey,
                                           NULL),
                     1);

    if (saltlen != 0) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(params,
                                                      RSA_PKCS1_PSS_PADDING),
                         1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(params, saltlen),
                         1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md_name(params, mgf1,
                                                           NULL),
                         1);
    }

    assert_int_equal(EVP_DigestSign(ctx, signature, &len, input.data,
                                    input.len),
                     1);
    EVP_MD_CTX_free(ctx);

    return len;
}


/* Signs with ECDSA and gives r||s. */

static void
sign_ecdsa(EVP_PKEY *pkey, const char *md, ti_str_t input, size_t coord,
    unsigned char *signature)
{
    size_t                len;
    ECDSA_SIG            *sig;
    unsigned char         der[SIGNATURE_MAX];
    const unsigned char  *p;

    len = sign(pkey, md, 0, NULL, input, der);

    p = der;
    sig = d2i_ECDSA_SIG(NULL, &p, (long) len);
    assert_non_null(sig);

    BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, (int) coord);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + coord, (int) coord);
    ECDSA_SIG_free(sig);
}


/* What a key may do is its type's and curve's to say, whoever asks. */

static void
fits_algorithms_to_keys(void **state)
{
    size_t           i;
    EVP_PKEY        *pkey;
    ti_verifier_t   *verifier;
    static const struct {
        const char  *type;
        const char  *curve;
        unsigned     algs;
    } keys[] = {
        { "EC", "P-256", TI_ALG_ES256 },
        { "EC", "P-384", TI_ALG_ES384 },
        { "EC", "P-521", TI_ALG_ES512 },
        { "EC", "secp256k1", 0 },
        { "EC", "P-224", 0 },
        { "EC", "brainpoolP256r1", 0 },
        { "ED25519", NULL, TI_ALG_EDDSA },
        { "ED448", NULL, 0 },
        { "X25519", NULL, 0 }
    };

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, keys[i].type, keys[i].curve);
        assert_non_null(pkey);

        verifier = ti_verifier_create(crypto, pkey, ~0u);
        assert_non_null(verifier);
        assert_int_equal(ti_verifier_algs(verifier), keys[i].algs);
        assert_int_equal(ERR_peek_error(), 0);
        ti_verifier_free(verifier);
    }

    verifier = verifier_of(rsa, ~0u);
    assert_int_equal(ti_verifier_algs(verifier), TI_ALGS_RSA);
    ti_verifier_free(verifier);

    verifier = verifier_of(rsa, TI_ALG_PS384|TI_ALG_ES256|TI_ALG_HS256);
    assert_int_equal(ti_verifier_algs(verifier), TI_ALG_PS384);
    ti_verifier_free(verifier);

    verifier = ti_verifier_create_mac(ti_str("secret"), TI_ALG_HS512
                                      |TI_ALG_RS256|TI_ALG_EDDSA);
    assert_int_equal(ti_verifier_algs(verifier), TI_ALG_HS512);
    ti_verifier_free(verifier);

    assert_null(ti_verifier_create(crypto, NULL, ~0u));
    assert_null(ti_verifier_create_mac(ti_null_str, TI_ALG_HS256));
    ti_verifier_free(NULL);
}


static const struct {
    ti_alg_t     alg;
    const char  *md;
    int          saltlen;
} rsas[] = {
    { TI_ALG_RS256, "SHA256", 0 },
    { TI_ALG_RS384, "SHA384", 0 },
    { TI_ALG_RS512, "SHA512", 0 },
    { TI_ALG_PS256, "SHA256", 32 },
    { TI_ALG_PS384, "SHA384", 48 },
    { TI_ALG_PS512, "SHA512", 64 }
};


static void
takes_no_rsa_algorithm_for_another(void **state)
{
    size_t          i, k, n;
    ti_str_t        input;
    ti_verifier_t  *verifier;
    unsigned char   sig[SIGNATURE_MAX];

    input = ti_str("header.payload");
    verifier = verifier_of(rsa, ~0u);

    for (i = 0; i < 6; i++) {
        n = sign(rsa, rsas[i].md, rsas[i].saltlen, rsas[i].md, input, sig);

        for (k = 0; k < 6; k++) {
            assert_int_equal(verify(verifier, rsas[k].alg, input, sig, n),
                             (k == i) ? TI_OK : TI_DECLINED);
        }
    }

    ti_verifier_free(verifier);
}


static void
refuses_other_rsa_signatures(void **state)
{
    size_t          n;
    ti_str_t        input;
    ti_verifier_t  *verifier;
    unsigned char   sig[SIGNATURE_MAX], longer[SIGNATURE_MAX];

    input = ti_str("header.payload");
    verifier = verifier_of(rsa, ~0u);

    /* PSS with another salt length, or MGF1 with another hash */

    n = sign(rsa, "SHA256", 20, "SHA256", input, sig);
    assert_int_equal(verify(verifier, TI_ALG_PS256, input, sig, n),
                     TI_DECLINED);
    n = sign(rsa, "SHA256", 32, "SHA1", input, sig);
    assert_int_equal(verify(verifier, TI_ALG_PS256, input, sig, n),
                     TI_DECLINED);

    /* the same number, of another length */

    n = sign(rsa, "SHA256", 0, NULL, input, sig);
    memcpy(longer + 1, sig, n);
    longer[0] = 0;
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, longer, n + 1),
                     TI_DECLINED);
    sig[n] = 0;
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, sig, n + 1),
                     TI_DECLINED);

    /* 0, 1, and above the modulus */

    memset(longer, 0, n);
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, longer, n),
                     TI_DECLINED);
    longer[n - 1] = 1;
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, longer, n),
                     TI_DECLINED);
    memset(longer, 0xff, n);
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, longer, n),
                     TI_DECLINED);

    assert_int_equal(verify(verifier, TI_ALG_RS256, input, sig, n), TI_OK);

    ti_verifier_free(verifier);
}


/* r and s by what they are: 0 good, 1 zero, 2 n, 3 the good one and n */

static void
ecdsa_with(unsigned char *dst, const unsigned char *good, int what)
{
    BIGNUM                *n, *v;
    static const char      order[] = "ffffffff00000000ffffffffffffffff"
                                     "bce6faada7179e84f3b9cac2fc632551";

    n = NULL;
    BN_hex2bn(&n, order);
    v = BN_bin2bn(good, 32, NULL);

    switch (what) {
    case 1:
        BN_zero(v);
        break;
    case 2:
        BN_copy(v, n);
        break;
    case 3:
        BN_add(v, v, n);
        break;
    }

    if (BN_num_bytes(v) > 32) {
        BN_copy(v, n);
    }

    BN_bn2binpad(v, dst, 32);
    BN_free(n);
    BN_free(v);
}


static void
refuses_other_ecdsa_signatures(void **state)
{
    int             r, s;
    size_t          n;
    ti_str_t        input;
    ti_verifier_t  *verifier;
    unsigned char   sig[65], made[64], der[SIGNATURE_MAX];

    input = ti_str("header.payload");
    verifier = verifier_of(p256, ~0u);

    sign_ecdsa(p256, "SHA256", input, 32, sig);
    sig[64] = 0;

    assert_int_equal(verify(verifier, TI_ALG_ES256, input, sig, 64), TI_OK);
    assert_int_equal(verify(verifier, TI_ALG_ES256, input, sig, 63),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_ES256, input, sig, 65),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_ES256, input, sig, 32),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_ES384, input, sig, 64),
                     TI_DECLINED);

    n = sign(p256, "SHA256", 0, NULL, input, der);
    assert_int_equal(verify(verifier, TI_ALG_ES256, input, der, n),
                     TI_DECLINED);

    for (r = 0; r < 4; r++) {
        for (s = 0; s < 4; s++) {
            ecdsa_with(made, sig, r);
            ecdsa_with(made + 32, sig + 32, s);

            assert_int_equal(verify(verifier, TI_ALG_ES256, input, made, 64),
                             (r == 0 && s == 0) ? TI_OK : TI_DECLINED);
        }
    }

    /* the right curve with another hash */

    sign_ecdsa(p256, "SHA384", input, 32, sig);
    assert_int_equal(verify(verifier, TI_ALG_ES256, input, sig, 64),
                     TI_DECLINED);

    ti_verifier_free(verifier);
}


static void
serves_no_algorithm_it_was_not_made_for(void **state)
{
    size_t          n;
    ti_str_t        input;
    ti_verifier_t  *verifier;
    unsigned char   sig[SIGNATURE_MAX], mac[TI_SHA256_LEN];

    input = ti_str("header.payload");
    verifier = verifier_of(rsa, TI_ALG_RS256);

    n = sign(rsa, "SHA384", 0, NULL, input, sig);
    assert_int_equal(verify(verifier, TI_ALG_RS384, input, sig, n),
                     TI_DECLINED);

    n = sign(rsa, "SHA256", 0, NULL, input, sig);
    assert_int_equal(verify(verifier, TI_ALG_NONE, input, sig, n),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_NONE, input, NULL, 0),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_RS256|TI_ALG_RS384, input, sig,
                            n),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_HS256, input, sig, 32),
                     TI_DECLINED);

    /* a public key has no secret, and everyone knows the empty one */

    ti_crypto_hmac(crypto, ti_null_str, &input, 1, mac);
    assert_int_equal(verify(verifier, TI_ALG_HS256, input, mac, 32),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_EDDSA, input, sig, 64),
                     TI_DECLINED);

    ti_verifier_free(verifier);
}


static void
refuses_other_macs(void **state)
{
    ti_str_t        input;
    unsigned char   mac[33];
    ti_verifier_t  *verifier;

    input = ti_str("header.payload");
    verifier = ti_verifier_create_mac(ti_str("secret"), TI_ALGS_MAC);

    memset(mac, 0, sizeof(mac));
    ti_crypto_hmac(crypto, ti_str("secret"), &input, 1, mac);

    assert_int_equal(verify(verifier, TI_ALG_HS256, input, mac, 32), TI_OK);
    assert_int_equal(verify(verifier, TI_ALG_HS256, input, mac, 33),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_HS256, input, mac, 31),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_HS256, input, mac, 0),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, TI_ALG_HS384, input, mac, 32),
                     TI_DECLINED);
    mac[31] ^= 0x80;
    assert_int_equal(verify(verifier, TI_ALG_HS256, input, mac, 32),
                     TI_DECLINED);

    ti_verifier_free(verifier);
}


/* nginx reads keys in the master; its workers verify. */

static void
verifies_on_both_sides_of_a_fork(void **state)
{
    int             i, status;
    pid_t           pid;
    size_t          n;
    ti_str_t        input;
    ti_verifier_t  *verifier;
    unsigned char   sig[SIGNATURE_MAX], out[TI_SHA256_LEN];

    input = ti_str("header.payload");
    n = sign(rsa, "SHA256", 0, NULL, input, sig);
    verifier = verifier_of(rsa, TI_ALG_RS256);
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, sig, n), TI_OK);

    pid = fork();
    assert_int_not_equal(pid, -1);

    if (pid == 0) {
        for (i = 0; i < 3; i++) {
            if (ti_crypto_verify(crypto, verifier, TI_ALG_RS256, input,
                                 ti_str_from(sig, n))
                != TI_OK
                || ti_crypto_sha256(crypto, &input, 1, out) != TI_OK)
            {
                _exit(1);
            }
        }

        _exit(0);
    }

    assert_int_equal(verify(verifier, TI_ALG_RS256, input, sig, n), TI_OK);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(verify(verifier, TI_ALG_RS256, input, sig, n), TI_OK);

    ti_verifier_free(verifier);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(fits_algorithms_to_keys),
        cmocka_unit_test(takes_no_rsa_algorithm_for_another),
        cmocka_unit_test(refuses_other_rsa_signatures),
        cmocka_unit_test(refuses_other_ecdsa_signatures),
        cmocka_unit_test(serves_no_algorithm_it_was_not_made_for),
        cmocka_unit_test(refuses_other_macs),
        cmocka_unit_test(verifies_on_both_sides_of_a_fork)
    };

    return cmocka_run_group_tests_name("ti_verifier", tests, setup, teardown);
}
