/*
 * The signatures that the RFCs print.
 */

#include "unit.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "ti_crypto.h"


#define SIGNATURE_MAX  512

static ti_crypto_t  *crypto;


static int
setup(void **state)
{
    crypto = ti_crypto_create();

    return crypto == NULL;
}


static int
teardown(void **state)
{
    ti_crypto_free(crypto);

    return ERR_peek_error() != 0;
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


static size_t
b64u(unsigned char *dst, const char *text)
{
    size_t  n;

    assert_int_equal(ti_b64u_decode(dst, &n, ti_str_cstr(text)), TI_OK);

    return n;
}


static EVP_PKEY *
pkey_from(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY      *pkey;
    OSSL_PARAM    *params;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    params = OSSL_PARAM_BLD_to_param(build);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY,
                                       params),
                     1);

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);

    return pkey;
}


static EVP_PKEY *
pkey_from_rsa(const char *n, const char *e)
{
    BIGNUM          *bn, *be;
    EVP_PKEY        *pkey;
    unsigned char    buf[512];
    OSSL_PARAM_BLD  *build;

    bn = BN_bin2bn(buf, (int) b64u(buf, n), NULL);
    be = BN_bin2bn(buf, (int) b64u(buf, e), NULL);

    build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, be);

    pkey = pkey_from("RSA", build);

    BN_free(bn);
    BN_free(be);

    return pkey;
}


static EVP_PKEY *
pkey_from_point(const char *group, const char *x, const char *y)
{
    size_t           n;
    EVP_PKEY        *pkey;
    unsigned char    point[160];
    OSSL_PARAM_BLD  *build;

    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    n = 1 + b64u(point + 1, x);
    n += b64u(point + n, y);

    build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, group,
                                    0);
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                     n);
    pkey = pkey_from("EC", build);

    return pkey;
}


/* The JWS is this key's, and is not with any bit of its signature turned. */

static void
stands_as_it_is(ti_verifier_t *verifier, ti_alg_t alg, const char *input,
    const char *signature)
{
    size_t         at, n;
    unsigned char  sig[SIGNATURE_MAX];

    assert_int_equal(ti_verifier_algs(verifier) & alg, alg);

    n = b64u(sig, signature);
    assert_int_equal(verify(verifier, alg, ti_str_cstr(input), sig, n),
                     TI_OK);

    for (at = 0; at < 8 * n; at += 37) {
        sig[at / 8] ^= (unsigned char) (1 << at % 8);
        assert_int_equal(verify(verifier, alg, ti_str_cstr(input), sig, n),
                         TI_DECLINED);
        sig[at / 8] ^= (unsigned char) (1 << at % 8);
    }

    assert_int_equal(verify(verifier, alg,
                            ti_str_from(input, strlen(input) - 1), sig, n),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, alg, ti_str_cstr(input), sig, n - 1),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, alg, ti_str_cstr(input), NULL, 0),
                     TI_DECLINED);
    assert_int_equal(verify(verifier, alg, ti_str_cstr(input), sig, n),
                     TI_OK);

    ti_verifier_free(verifier);
}


#define RFC_7515_CLAIMS                                                       \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"        \
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"


static void
verifies_rfc_7515_hs256(void **state)
{
    unsigned char  secret[64];

    assert_int_equal(
        b64u(secret, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                     "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
        64);

    stands_as_it_is(
        ti_verifier_create_mac(ti_str_from(secret, 64), TI_ALG_HS256),
        TI_ALG_HS256,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_7515_CLAIMS,
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}


static void
verifies_rfc_7515_rs256(void **state)
{
    EVP_PKEY  *pkey;

    pkey = pkey_from_rsa(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"
        "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"
        "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs"
        "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"
        "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"
        "PAcDTW9gb54h4FRWyuXpoQ", "AQAB");

    stands_as_it_is(
        ti_verifier_create(crypto, pkey, TI_ALG_RS256), TI_ALG_RS256,
        "eyJhbGciOiJSUzI1NiJ9." RFC_7515_CLAIMS,
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
        "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
        "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
        "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
        "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
        "p0igcN_IoypGlUPQGe77Rw");
}


static void
verifies_rfc_7515_es256(void **state)
{
    EVP_PKEY  *pkey;

    pkey = pkey_from_point("P-256",
                           "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                           "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");

    stands_as_it_is(
        ti_verifier_create(crypto, pkey, TI_ALG_ES256), TI_ALG_ES256,
        "eyJhbGciOiJFUzI1NiJ9." RFC_7515_CLAIMS,
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
        "pmWQxfKTUJqPP3-Kg6NU1Q");
}


static void
verifies_rfc_7515_es512(void **state)
{
    EVP_PKEY  *pkey;

    pkey = pkey_from_point(
        "P-521",
        "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_"
        "NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDl"
        "y79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2");

    stands_as_it_is(
        ti_verifier_create(crypto, pkey, TI_ALG_ES512), TI_ALG_ES512,
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZq"
        "wqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp"
        "EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn");
}


static void
verifies_rfc_8037_ed25519(void **state)
{
    EVP_PKEY       *pkey;
    unsigned char   key[32];

    b64u(key, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, 32);

    stands_as_it_is(
        ti_verifier_create(crypto, pkey, TI_ALG_EDDSA), TI_ALG_EDDSA,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B"
        "hVsPt9g7sVvpAr_MuM0KAg");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(verifies_rfc_7515_hs256),
        cmocka_unit_test(verifies_rfc_7515_rs256),
        cmocka_unit_test(verifies_rfc_7515_es256),
        cmocka_unit_test(verifies_rfc_7515_es512),
        cmocka_unit_test(verifies_rfc_8037_ed25519)
    };

    return cmocka_run_group_tests_name("ti_verifier, RFCs", tests, setup,
                                       teardown);
}
