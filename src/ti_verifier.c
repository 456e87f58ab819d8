/*
 * Floor 1: JWS signatures (RFC 7515, RFC 7518 section 3, RFC 8037).
 */

#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

#include "ti_crypto_private.h"


#define TI_NALGS          13
#define TI_ED25519_LEN    64

/* SEQUENCE of two INTEGERs of P-521, each with a byte for its sign */
#define TI_ECDSA_DER_MAX  (3 + 2 * (2 + 1 + 66))


typedef struct {
    ti_alg_t      alg;
    const char   *name;
    ti_hash_id_t  hash;
    int           curve;                    /* of ECDSA */
    size_t        coord;                    /* bytes of r, of s */
} ti_alg_info_t;


struct ti_verifier_s {
    unsigned        algs;
    EVP_PKEY       *pkey;
    size_t          size;                   /* of an RSA signature */
    EVP_PKEY_CTX   *ctx[TI_NALGS];          /* ready to verify; RSA, ECDSA */
    unsigned char  *secret;
    size_t          secret_len;
};


static const ti_alg_info_t  ti_algs[TI_NALGS] = {
    { TI_ALG_RS256, "RS256", TI_HASH_SHA256, NID_undef, 0 },
    { TI_ALG_RS384, "RS384", TI_HASH_SHA384, NID_undef, 0 },
    { TI_ALG_RS512, "RS512", TI_HASH_SHA512, NID_undef, 0 },
    { TI_ALG_PS256, "PS256", TI_HASH_SHA256, NID_undef, 0 },
    { TI_ALG_PS384, "PS384", TI_HASH_SHA384, NID_undef, 0 },
    { TI_ALG_PS512, "PS512", TI_HASH_SHA512, NID_undef, 0 },
    { TI_ALG_ES256, "ES256", TI_HASH_SHA256, NID_X9_62_prime256v1, 32 },
    { TI_ALG_ES384, "ES384", TI_HASH_SHA384, NID_secp384r1, 48 },
    { TI_ALG_ES512, "ES512", TI_HASH_SHA512, NID_secp521r1, 66 },
    { TI_ALG_EDDSA, "EdDSA", TI_HASH_LAST, NID_undef, 0 },
    { TI_ALG_HS256, "HS256", TI_HASH_SHA256, NID_undef, 0 },
    { TI_ALG_HS384, "HS384", TI_HASH_SHA384, NID_undef, 0 },
    { TI_ALG_HS512, "HS512", TI_HASH_SHA512, NID_undef, 0 }
};


ti_alg_t
ti_alg_by_name(ti_str_t name)
{
    int  i;

    for (i = 0; i < TI_NALGS; i++) {
        if (ti_str_eq(name, ti_str_cstr(ti_algs[i].name))) {
            return ti_algs[i].alg;
        }
    }

    return TI_ALG_NONE;
}


const char *
ti_alg_name(ti_alg_t alg)
{
    int  i;

    for (i = 0; i < TI_NALGS; i++) {
        if (ti_algs[i].alg == alg) {
            return ti_algs[i].name;
        }
    }

    return "none";
}


/* OpenSSL knows P-256 by three names; which one it tells depends on who made
 * the key. */

static int
ti_verifier_is_curve(EVP_PKEY *pkey, int nid)
{
    char    name[64];
    size_t  len;

    return EVP_PKEY_get_group_name(pkey, name, sizeof(name), &len) == 1
           && (OBJ_sn2nid(name) == nid || EC_curve_nist2nid(name) == nid);
}


static int
ti_verifier_fits(EVP_PKEY *pkey, const ti_alg_info_t *info)
{
    if (info->alg & TI_ALGS_RSA) {
        return EVP_PKEY_is_a(pkey, "RSA");
    }

    if (info->alg & TI_ALGS_EC) {
        return EVP_PKEY_is_a(pkey, "EC")
               && ti_verifier_is_curve(pkey, info->curve);
    }

    return info->alg == TI_ALG_EDDSA && EVP_PKEY_is_a(pkey, "ED25519");
}


/* RFC 7518 section 3.5: MGF1 with the same hash, a salt of its length */

static int
ti_verifier_set_padding(EVP_PKEY_CTX *ctx, ti_alg_t alg, const EVP_MD *md)
{
    if (!(alg & (TI_ALG_PS256|TI_ALG_PS384|TI_ALG_PS512))) {
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    }

    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1
           && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1
           && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST)
              == 1;
}


static EVP_PKEY_CTX *
ti_verifier_context(ti_crypto_t *crypto, EVP_PKEY *pkey,
    const ti_alg_info_t *info)
{
    EVP_MD        *md;
    EVP_PKEY_CTX  *ctx;

    md = crypto->hash[info->hash].md;

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx == NULL) {
        return NULL;
    }

    if (EVP_PKEY_verify_init(ctx) != 1
        || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1
        || ((info->alg & TI_ALGS_RSA)
            && !ti_verifier_set_padding(ctx, info->alg, md)))
    {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


ti_verifier_t *
ti_verifier_create(ti_crypto_t *crypto, EVP_PKEY *pkey, unsigned algs)
{
    int             i;
    ti_verifier_t  *verifier;

    if (pkey == NULL) {
        return NULL;
    }

    verifier = OPENSSL_zalloc(sizeof(ti_verifier_t));
    if (verifier == NULL) {
        EVP_PKEY_free(pkey);
        (void) ti_crypto_refused(TI_ERROR);
        return NULL;
    }

    verifier->pkey = pkey;
    verifier->size = (size_t) EVP_PKEY_get_size(pkey);

    for (i = 0; i < TI_NALGS; i++) {
        if (!(algs & ti_algs[i].alg) || !ti_verifier_fits(pkey, &ti_algs[i])) {
            continue;
        }

        if (ti_algs[i].alg != TI_ALG_EDDSA) {
            verifier->ctx[i] = ti_verifier_context(crypto, pkey, &ti_algs[i]);

            if (verifier->ctx[i] == NULL) {
                ti_verifier_free(verifier);
                (void) ti_crypto_refused(TI_ERROR);
                return NULL;
            }
        }

        verifier->algs |= ti_algs[i].alg;
    }

    (void) ti_crypto_refused(TI_OK);        /* a curve asked for in vain */

    return verifier;
}


ti_verifier_t *
ti_verifier_create_mac(ti_str_t secret, unsigned algs)
{
    ti_verifier_t  *verifier;

    verifier = OPENSSL_zalloc(sizeof(ti_verifier_t));
    if (verifier == NULL) {
        (void) ti_crypto_refused(TI_ERROR);
        return NULL;
    }

    verifier->secret = OPENSSL_memdup(secret.data, secret.len);

    if (verifier->secret == NULL) {
        ti_verifier_free(verifier);
        (void) ti_crypto_refused(TI_ERROR);
        return NULL;
    }

    verifier->secret_len = secret.len;
    verifier->algs = algs & TI_ALGS_MAC;

    return verifier;
}


void
ti_verifier_free(ti_verifier_t *verifier)
{
    int  i;

    if (verifier == NULL) {
        return;
    }

    for (i = 0; i < TI_NALGS; i++) {
        EVP_PKEY_CTX_free(verifier->ctx[i]);
    }

    EVP_PKEY_free(verifier->pkey);
    OPENSSL_clear_free(verifier->secret, verifier->secret_len);
    OPENSSL_free(verifier);
}


unsigned
ti_verifier_algs(const ti_verifier_t *verifier)
{
    return verifier->algs;
}


/*
 * r||s, each of exactly the curve's length, to what OpenSSL takes.  Zero and
 * n or above it refuses itself.  Returns the length of der, 0 for a refusal.
 */

static size_t
ti_ecdsa_der(ti_str_t signature, size_t coord, unsigned char *der)
{
    int         n;
    BIGNUM     *r, *s;
    ECDSA_SIG  *sig;

    if (signature.len != 2 * coord) {
        return 0;
    }

    r = BN_bin2bn(signature.data, (int) coord, NULL);
    s = BN_bin2bn(signature.data + coord, (int) coord, NULL);
    sig = ECDSA_SIG_new();

    if (sig == NULL || r == NULL || s == NULL
        || ECDSA_SIG_set0(sig, r, s) != 1)
    {
        ECDSA_SIG_free(sig);
        BN_free(r);
        BN_free(s);
        return 0;
    }

    n = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);

    return (n > 0) ? (size_t) n : 0;
}


static ti_rc_t
ti_verify_digest(ti_crypto_t *crypto, EVP_PKEY_CTX *ctx,
    const ti_alg_info_t *info, ti_str_t input, ti_str_t signature)
{
    ti_rc_t        rc;
    ti_hash_t     *hash;
    unsigned char  digest[TI_HASH_MAX];

    hash = &crypto->hash[info->hash];

    rc = ti_hash(hash, &input, 1, TI_PLAIN, digest);
    if (rc != TI_OK) {
        return rc;
    }

    if (EVP_PKEY_verify(ctx, signature.data, signature.len, digest, hash->len)
        != 1)
    {
        return ti_crypto_refused(TI_DECLINED);
    }

    return TI_OK;
}


static ti_rc_t
ti_verify_rsa(ti_crypto_t *crypto, const ti_verifier_t *verifier,
    int i, ti_str_t input, ti_str_t signature)
{
    if (signature.len != verifier->size) {
        return TI_DECLINED;
    }

    return ti_verify_digest(crypto, verifier->ctx[i], &ti_algs[i], input,
                            signature);
}


static ti_rc_t
ti_verify_ecdsa(ti_crypto_t *crypto, const ti_verifier_t *verifier,
    int i, ti_str_t input, ti_str_t signature)
{
    size_t         len;
    unsigned char  der[TI_ECDSA_DER_MAX];

    len = ti_ecdsa_der(signature, ti_algs[i].coord, der);
    if (len == 0) {
        return ti_crypto_refused(TI_DECLINED);
    }

    return ti_verify_digest(crypto, verifier->ctx[i], &ti_algs[i], input,
                            ti_str_from(der, len));
}


/*
 * The context begins anew with each signature: whether one may verify twice
 * differs between OpenSSL's versions, and the curve's arithmetic takes fifty
 * times as long.
 */

static ti_rc_t
ti_verify_eddsa(ti_crypto_t *crypto, const ti_verifier_t *verifier,
    ti_str_t input, ti_str_t signature)
{
    ti_rc_t      rc;
    EVP_MD_CTX  *ctx;

    if (signature.len != TI_ED25519_LEN) {
        return TI_DECLINED;
    }

    rc = TI_DECLINED;
    ctx = crypto->eddsa;

    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, verifier->pkey,
                                NULL)
        != 1)
    {
        rc = TI_ERROR;

    } else if (EVP_DigestVerify(ctx, signature.data, signature.len,
                                input.data, input.len)
               == 1)
    {
        rc = TI_OK;
    }

    (void) EVP_MD_CTX_reset(ctx);

    return (rc == TI_OK) ? TI_OK : ti_crypto_refused(rc);
}


static ti_rc_t
ti_verify_mac(ti_crypto_t *crypto, const ti_verifier_t *verifier, int i,
    ti_str_t input, ti_str_t signature)
{
    ti_rc_t         rc;
    ti_str_t        secret;
    ti_hash_t      *hash;
    unsigned char   mac[TI_HASH_MAX];

    hash = &crypto->hash[ti_algs[i].hash];
    secret = ti_str_from(verifier->secret, verifier->secret_len);

    rc = ti_hmac(hash, secret, &input, 1, TI_PLAIN, mac);

    if (rc == TI_OK && !ti_equal_ct(ti_str_from(mac, hash->len), signature)) {
        rc = TI_DECLINED;
    }

    ti_wipe(mac, sizeof(mac));

    return rc;
}


ti_rc_t
ti_crypto_verify(ti_crypto_t *crypto, const ti_verifier_t *verifier,
    ti_alg_t alg, ti_str_t input, ti_str_t signature)
{
    int  i;

    for (i = 0; i < TI_NALGS; i++) {
        if (ti_algs[i].alg == alg) {
            break;
        }
    }

    if (i == TI_NALGS || !(verifier->algs & alg)) {
        return TI_DECLINED;
    }

    if (alg & TI_ALGS_RSA) {
        return ti_verify_rsa(crypto, verifier, i, input, signature);
    }

    if (alg & TI_ALGS_EC) {
        return ti_verify_ecdsa(crypto, verifier, i, input, signature);
    }

    if (alg & TI_ALGS_MAC) {
        return ti_verify_mac(crypto, verifier, i, input, signature);
    }

    return ti_verify_eddsa(crypto, verifier, input, signature);
}
