#include <limits.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "ti_pkey.h"


static EVP_PKEY *
ti_pkey_from(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY      *pkey;
    EVP_PKEY_CTX  *ctx;

    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx == NULL) {
        return NULL;
    }

    pkey = NULL;

    if (EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    {
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);

    return pkey;
}


/* An even modulus would make every verification an error of ours. */

static const char *
ti_pkey_rsa_weakness(const BIGNUM *n, const BIGNUM *e)
{
    if (BN_num_bits(n) < TI_PKEY_RSA_MIN) {
        return "RSA modulus has fewer than 2048 bits";
    }

    if (BN_num_bits(n) > TI_PKEY_RSA_MAX) {
        return "RSA modulus has more than 8192 bits";
    }

    if (!BN_is_odd(n)) {
        return "RSA modulus is even";
    }

    if (!BN_is_odd(e) || BN_is_one(e)) {
        return "RSA exponent is even or below 3";
    }

    if (BN_num_bits(e) > TI_PKEY_RSA_E_MAX) {
        return "RSA exponent has more than 64 bits";
    }

    return NULL;
}


static EVP_PKEY *
ti_pkey_rsa_from(const BIGNUM *n, const BIGNUM *e)
{
    EVP_PKEY        *pkey;
    OSSL_PARAM      *params;
    OSSL_PARAM_BLD  *bld;

    bld = OSSL_PARAM_BLD_new();
    if (bld == NULL) {
        return NULL;
    }

    pkey = NULL;
    params = NULL;

    if (OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1
        && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
    {
        params = OSSL_PARAM_BLD_to_param(bld);
    }

    if (params != NULL) {
        pkey = ti_pkey_from("RSA", params);
    }

    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);

    return pkey;
}


EVP_PKEY *
ti_pkey_rsa(ti_str_t n, ti_str_t e, const char **why)
{
    BIGNUM      *bn_n, *bn_e;
    EVP_PKEY    *pkey;
    const char  *weakness;

    if (n.len > INT_MAX || e.len > INT_MAX) {
        *why = "RSA modulus has more than 8192 bits";
        return NULL;
    }

    pkey = NULL;
    *why = "OpenSSL does not take the key";

    bn_n = BN_bin2bn(n.data, (int) n.len, NULL);
    bn_e = BN_bin2bn(e.data, (int) e.len, NULL);

    if (bn_n == NULL || bn_e == NULL) {
        goto done;
    }

    weakness = ti_pkey_rsa_weakness(bn_n, bn_e);
    if (weakness != NULL) {
        *why = weakness;
        goto done;
    }

    pkey = ti_pkey_rsa_from(bn_n, bn_e);

done:

    BN_free(bn_n);
    BN_free(bn_e);
    ERR_clear_error();

    return pkey;
}


/* Whether OpenSSL looks at a point before its first use is not its promise. */

static int
ti_pkey_checks(EVP_PKEY *pkey)
{
    int            rc;
    EVP_PKEY_CTX  *ctx;

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx == NULL) {
        return 0;
    }

    rc = EVP_PKEY_public_check_quick(ctx);

    EVP_PKEY_CTX_free(ctx);

    return rc == 1;
}


EVP_PKEY *
ti_pkey_ec(const char *curve, ti_str_t x, ti_str_t y, const char **why)
{
    EVP_PKEY       *pkey;
    OSSL_PARAM      params[3];
    unsigned char   point[1 + 2 * TI_PKEY_COORD_MAX];

    if (x.len > TI_PKEY_COORD_MAX || y.len != x.len) {
        *why = "coordinates are not of the curve's length";
        return NULL;
    }

    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    memcpy(point + 1, x.data, x.len);
    memcpy(point + 1 + x.len, y.data, y.len);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                 (char *) curve, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                  point, 1 + 2 * x.len);
    params[2] = OSSL_PARAM_construct_end();

    pkey = ti_pkey_from("EC", params);

    if (pkey == NULL || !ti_pkey_checks(pkey)) {
        *why = "point is not on its curve";
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }

    ERR_clear_error();

    return pkey;
}


EVP_PKEY *
ti_pkey_ed25519(ti_str_t x, const char **why)
{
    EVP_PKEY  *pkey;

    pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x.data,
                                          x.len);
    if (pkey == NULL) {
        *why = "OpenSSL does not take the key";
        ERR_clear_error();
    }

    return pkey;
}
