#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

#include "ti_signer_private.h"


#define TI_SIGNER_RSA_MIN   2048            /* bits, RFC 7518 section 3.3 */
#define TI_SIGNER_SIG_MAX   1024            /* bytes: RSA of 8192 bits */
#define TI_SIGNER_JTI_LEN   16


typedef struct {
    const char  *digest;
    const char  *type;                      /* of the key */
    ti_alg_t     alg;
    int          curve;                     /* of ECDSA */
    size_t       coord;                     /* bytes of r, of s */
} ti_signer_alg_t;

struct ti_signer_s {
    const ti_signer_alg_t  *alg;
    EVP_PKEY               *pkey;
    char                   *header;         /* base64url */
};


static const ti_signer_alg_t  ti_signer_algs[] = {
    { "SHA2-256", "RSA", TI_ALG_RS256, NID_undef, 0 },
    { "SHA2-384", "RSA", TI_ALG_RS384, NID_undef, 0 },
    { "SHA2-512", "RSA", TI_ALG_RS512, NID_undef, 0 },
    { "SHA2-256", "RSA", TI_ALG_PS256, NID_undef, 0 },
    { "SHA2-384", "RSA", TI_ALG_PS384, NID_undef, 0 },
    { "SHA2-512", "RSA", TI_ALG_PS512, NID_undef, 0 },
    { "SHA2-256", "EC", TI_ALG_ES256, NID_X9_62_prime256v1, 32 },
    { "SHA2-384", "EC", TI_ALG_ES384, NID_secp384r1, 48 },
    { "SHA2-512", "EC", TI_ALG_ES512, NID_secp521r1, 66 }
};

#define TI_SIGNER_NALGS  (sizeof(ti_signer_algs) / sizeof(ti_signer_algs[0]))


static const char *ti_signer_weakness(const ti_signer_t *signer);
static int ti_signer_pss(const ti_signer_t *signer, EVP_PKEY_CTX *pctx);


/* OpenSSL knows a curve by several names */

static int
ti_signer_curve(EVP_PKEY *pkey)
{
    int     nid;
    char    name[64];
    size_t  len;

    if (EVP_PKEY_get_group_name(pkey, name, sizeof(name), &len) != 1) {
        return NID_undef;
    }

    nid = OBJ_sn2nid(name);

    return nid != NID_undef ? nid : EC_curve_nist2nid(name);
}


/* The first one in the table that the key serves, of alg if one is wanted */

static const ti_signer_alg_t *
ti_signer_choose(EVP_PKEY *pkey, ti_alg_t alg)
{
    size_t                  i;
    const ti_signer_alg_t  *info;

    for (i = 0; i < TI_SIGNER_NALGS; i++) {
        info = &ti_signer_algs[i];

        if ((alg == TI_ALG_NONE || alg == info->alg)
            && EVP_PKEY_is_a(pkey, info->type)
            && (info->curve == NID_undef
                || info->curve == ti_signer_curve(pkey)))
        {
            return info;
        }
    }

    return NULL;
}


/* base64url of the protected header, which is the same in all that it signs */

static ti_rc_t
ti_signer_header(ti_signer_t *signer, const ti_signer_key_t *key, ti_str_t kid)
{
    char    *text;
    size_t   len;
    json_t  *header;

    header = json_pack("{s:s, s:s}", "alg", ti_alg_name(signer->alg->alg),
                       "typ", "JWT");

    if (header == NULL
        || (kid.len != 0
            && json_object_set_new(header, "kid",
                                   json_stringn((const char *) kid.data,
                                                kid.len)) != 0)
        || (kid.len == 0 && key->kid != NULL
            && json_object_set(header, "kid", key->kid) != 0)
        || (key->x5t != NULL
            && json_object_set(header, "x5t#S256", key->x5t) != 0))
    {
        json_decref(header);
        return TI_ERROR;
    }

    text = json_dumps(header, JSON_COMPACT);
    json_decref(header);

    if (text == NULL) {
        return TI_ERROR;
    }

    signer->header = malloc(ti_b64u_len(strlen(text)) + 1);

    if (signer->header != NULL) {
        len = ti_b64u_encode((unsigned char *) signer->header,
                             ti_str_cstr(text));
        signer->header[len] = '\0';
    }

    free(text);

    return signer->header == NULL ? TI_ERROR : TI_OK;
}


/* Takes the key over where it succeeds. */

static ti_rc_t
ti_signer_make(ti_signer_key_t *key, ti_alg_t alg, ti_str_t kid,
    ti_signer_t **made, const char **why)
{
    ti_signer_t  *signer;

    if (alg != TI_ALG_NONE && key->alg != TI_ALG_NONE && alg != key->alg) {
        *why = "the JWK's \"alg\" is not the one that is wanted";
        return TI_DECLINED;
    }

    signer = calloc(1, sizeof(ti_signer_t));
    if (signer == NULL) {
        *why = "no memory";
        return TI_ERROR;
    }

    signer->alg = ti_signer_choose(key->pkey,
                                   alg != TI_ALG_NONE ? alg : key->alg);
    if (signer->alg == NULL) {
        free(signer);
        *why = "the key does not serve this algorithm";
        return TI_DECLINED;
    }

    if (ti_signer_header(signer, key, kid) != TI_OK) {
        free(signer);
        *why = "no memory, or a kid that is not UTF-8";
        return TI_ERROR;
    }

    signer->pkey = key->pkey;
    key->pkey = NULL;

    *why = ti_signer_weakness(signer);
    if (*why != NULL) {
        ti_signer_free(signer);
        return TI_DECLINED;
    }

    *made = signer;

    return TI_OK;
}


ti_rc_t
ti_signer_create(ti_str_t text, ti_alg_t alg, ti_str_t kid,
    ti_signer_t **signer, const char **why)
{
    ti_rc_t          rc;
    ti_signer_key_t  key;

    while (text.len != 0 && strchr(" \t\r\n", text.data[0]) != NULL
           && text.data[0] != '\0')
    {
        text = ti_str_from(text.data + 1, text.len - 1);
    }

    if (text.len != 0 && text.data[0] == '{') {
        rc = ti_signer_read_jwk(text, &key, why);

    } else {
        rc = ti_signer_read_pem(text, &key, why);
    }

    if (rc == TI_OK) {
        rc = ti_signer_make(&key, alg, kid, signer, why);
    }

    ti_signer_key_clear(&key);
    ERR_clear_error();

    return rc;
}


void
ti_signer_free(ti_signer_t *signer)
{
    if (signer == NULL) {
        return;
    }

    EVP_PKEY_free(signer->pkey);            /* wipes its numbers */
    free(signer->header);
    free(signer);
}


ti_alg_t
ti_signer_alg(const ti_signer_t *signer)
{
    return signer->alg->alg;
}


/* RFC 7518 section 3.5: MGF1 with the same hash, a salt of its length */

static int
ti_signer_pss(const ti_signer_t *signer, EVP_PKEY_CTX *pctx)
{
    if (!(signer->alg->alg & (TI_ALG_PS256|TI_ALG_PS384|TI_ALG_PS512))) {
        return 1;
    }

    return EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1
           && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST)
              == 1;
}


/* In OpenSSL's form; returns its length, 0 where it does not sign. */

static size_t
ti_signer_raw(const ti_signer_t *signer, ti_str_t input,
    unsigned char sig[TI_SIGNER_SIG_MAX])
{
    size_t         len;
    EVP_MD_CTX    *ctx;
    EVP_PKEY_CTX  *pctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return 0;
    }

    len = TI_SIGNER_SIG_MAX;

    if (EVP_DigestSignInit_ex(ctx, &pctx, signer->alg->digest, NULL, NULL,
                              signer->pkey, NULL) != 1
        || !ti_signer_pss(signer, pctx)
        || EVP_DigestSign(ctx, sig, &len, input.data, input.len) != 1)
    {
        len = 0;
    }

    EVP_MD_CTX_free(ctx);

    return len;
}


/*
 * Both halves are asked, since OpenSSL's own check of a pair wants RSA's
 * primes, which a JWK need not have.
 */

static int
ti_signer_is_pair(const ti_signer_t *signer)
{
    int             ok;
    size_t          len;
    ti_str_t        input;
    EVP_MD_CTX     *ctx;
    EVP_PKEY_CTX   *pctx;
    unsigned char   sig[TI_SIGNER_SIG_MAX];

    input = ti_str("pair");

    len = ti_signer_raw(signer, input, sig);
    ctx = EVP_MD_CTX_new();

    ok = len != 0 && ctx != NULL
         && EVP_DigestVerifyInit_ex(ctx, &pctx, signer->alg->digest, NULL,
                                    NULL, signer->pkey, NULL) == 1
         && ti_signer_pss(signer, pctx)
         && EVP_DigestVerify(ctx, sig, len, input.data, input.len) == 1;

    EVP_MD_CTX_free(ctx);

    return ok;
}


static const char *
ti_signer_weakness(const ti_signer_t *signer)
{
    if (EVP_PKEY_is_a(signer->pkey, "RSA")
        && (EVP_PKEY_get_bits(signer->pkey) < TI_SIGNER_RSA_MIN
            || EVP_PKEY_get_size(signer->pkey) > TI_SIGNER_SIG_MAX))
    {
        return "an RSA key below 2048 or above 8192 bits";
    }

    return ti_signer_is_pair(signer)
           ? NULL : "the private and the public key are not a pair";
}


/* RFC 7518 section 3.4: r||s in place of OpenSSL's DER; 0: it is not one */

static size_t
ti_signer_flatten(unsigned char *sig, size_t len, size_t coord)
{
    int                   ok;
    ECDSA_SIG            *ecdsa;
    const unsigned char  *p;

    p = sig;

    ecdsa = d2i_ECDSA_SIG(NULL, &p, (long) len);
    if (ecdsa == NULL) {
        return 0;
    }

    ok = BN_bn2binpad(ECDSA_SIG_get0_r(ecdsa), sig, (int) coord) >= 0
         && BN_bn2binpad(ECDSA_SIG_get0_s(ecdsa), sig + coord, (int) coord)
            >= 0;

    ECDSA_SIG_free(ecdsa);

    return ok ? 2 * coord : 0;
}


static size_t
ti_signer_sign(const ti_signer_t *signer, ti_str_t input,
    unsigned char sig[TI_SIGNER_SIG_MAX])
{
    size_t  len;

    len = ti_signer_raw(signer, input, sig);

    if (len != 0 && signer->alg->coord != 0) {
        len = ti_signer_flatten(sig, len, signer->alg->coord);
    }

    return len;
}


ti_rc_t
ti_signer_jws(const ti_signer_t *signer, const ti_pool_t *pool,
    ti_str_t payload, ti_str_t *jws)
{
    size_t          len, header;
    unsigned char  *p, sig[TI_SIGNER_SIG_MAX];

    header = strlen(signer->header);

    p = ti_pool_alloc(pool, header + 1 + ti_b64u_len(payload.len) + 1
                            + ti_b64u_len(TI_SIGNER_SIG_MAX));
    if (p == NULL) {
        return TI_ERROR;
    }

    memcpy(p, signer->header, header);
    p[header] = '.';
    len = header + 1;
    len += ti_b64u_encode(p + len, payload);

    jws->len = ti_signer_sign(signer, ti_str_from(p, len), sig);
    ERR_clear_error();

    if (jws->len == 0) {
        return TI_ERROR;
    }

    p[len++] = '.';
    len += ti_b64u_encode(p + len, ti_str_from(sig, jws->len));

    *jws = ti_str_from(p, len);

    return TI_OK;
}


/* RFC 7523 section 3 */

ti_rc_t
ti_signer_assertion(const ti_signer_t *signer, const ti_pool_t *pool,
    const ti_random_t *random, ti_str_t client_id, ti_str_t audience,
    int64_t now, ti_str_t *assertion)
{
    char           *text;
    size_t          len;
    json_t         *claims;
    ti_rc_t         rc;
    json_int_t      end;
    unsigned char   id[TI_SIGNER_JTI_LEN], jti[32];

    if (random->fill(random->data, id, sizeof(id)) != TI_OK) {
        return TI_ERROR;
    }

    end = now + TI_SIGNER_LIFE;
    len = ti_b64u_encode(jti, ti_str_from(id, sizeof(id)));

    claims = json_pack("{s:s%, s:s%, s:s%, s:s%, s:I, s:I, s:I}",
                       "iss", (const char *) client_id.data, client_id.len,
                       "sub", (const char *) client_id.data, client_id.len,
                       "aud", (const char *) audience.data, audience.len,
                       "jti", (const char *) jti, len,
                       "iat", (json_int_t) now,
                       "nbf", (json_int_t) now,
                       "exp", end);
    if (claims == NULL) {
        return TI_ERROR;
    }

    text = json_dumps(claims, JSON_COMPACT);
    json_decref(claims);

    if (text == NULL) {
        return TI_ERROR;
    }

    rc = ti_signer_jws(signer, pool, ti_str_cstr(text), assertion);
    free(text);

    return rc;
}
