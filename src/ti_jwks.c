#include <stdlib.h>
#include <string.h>

#include "ti_json.h"
#include "ti_jwks.h"
#include "ti_pkey.h"


#define TI_JWK_MEMBER_MAX  2048             /* bytes of a number or secret */


struct ti_jwks_s {
    size_t    n;
    ti_jwk_t  keys[];
};


/* Rows are disjoint in what they serve: a key never crosses families. */

typedef struct {
    const char  *kty;
    const char  *crv;                       /* NULL: the type has none */
    size_t       coord;                     /* bytes of a coordinate */
    unsigned     algs;
} ti_jwk_type_t;


static const ti_jwk_type_t  ti_jwk_types[] = {
    { "RSA", NULL,      0,  TI_ALGS_RSA },
    { "EC",  "P-256",   32, TI_ALG_ES256 },
    { "EC",  "P-384",   48, TI_ALG_ES384 },
    { "EC",  "P-521",   66, TI_ALG_ES512 },
    { "OKP", "Ed25519", 32, TI_ALG_EDDSA },
    { "oct", NULL,      0,  TI_ALGS_MAC }
};

#define TI_JWK_NTYPES  (sizeof(ti_jwk_types) / sizeof(ti_jwk_types[0]))


/* RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2 */

static const char *const  ti_jwk_private[] = {
    "d", "p", "q", "dp", "dq", "qi", "oth"
};

#define TI_JWK_NPRIVATE  (sizeof(ti_jwk_private) / sizeof(ti_jwk_private[0]))


/* The bytes of a base64url member that has at least one, at most size. */

static ti_rc_t
ti_jwk_bytes(const json_t *jwk, const char *name, unsigned char *buf,
    size_t size, ti_str_t *bytes)
{
    ti_str_t  text;

    if (ti_json_string(jwk, name, &text) != TI_OK
        || text.len == 0
        || ti_b64u_decoded_len(text.len) > size)
    {
        return TI_DECLINED;
    }

    bytes->data = buf;

    return ti_b64u_decode(buf, &bytes->len, text);
}


static EVP_PKEY *
ti_jwk_rsa(const json_t *jwk, const char **why)
{
    ti_str_t       n, e;
    unsigned char  nbuf[TI_JWK_MEMBER_MAX], ebuf[TI_JWK_MEMBER_MAX];

    if (ti_jwk_bytes(jwk, "n", nbuf, sizeof(nbuf), &n) != TI_OK
        || ti_jwk_bytes(jwk, "e", ebuf, sizeof(ebuf), &e) != TI_OK)
    {
        *why = "\"n\" or \"e\" is absent, malformed or too long";
        return NULL;
    }

    return ti_pkey_rsa(n, e, why);
}


/* RFC 7518 section 6.2.1.2: coordinates have their full length. */

static EVP_PKEY *
ti_jwk_ec(const ti_jwk_type_t *type, const json_t *jwk, const char **why)
{
    ti_str_t       x, y;
    unsigned char  xbuf[TI_PKEY_COORD_MAX], ybuf[TI_PKEY_COORD_MAX];

    if (ti_jwk_bytes(jwk, "x", xbuf, type->coord, &x) != TI_OK
        || ti_jwk_bytes(jwk, "y", ybuf, type->coord, &y) != TI_OK
        || x.len != type->coord
        || y.len != type->coord)
    {
        *why = "\"x\" or \"y\" is absent, malformed or of another length";
        return NULL;
    }

    return ti_pkey_ec(type->crv, x, y, why);
}


static EVP_PKEY *
ti_jwk_okp(const ti_jwk_type_t *type, const json_t *jwk, const char **why)
{
    ti_str_t       x;
    unsigned char  xbuf[TI_PKEY_COORD_MAX];

    if (ti_jwk_bytes(jwk, "x", xbuf, type->coord, &x) != TI_OK
        || x.len != type->coord)
    {
        *why = "\"x\" is absent, malformed or of another length";
        return NULL;
    }

    return ti_pkey_ed25519(x, why);
}


/* RFC 7518 section 3.2: the secret is at least as long as the hash. */

static unsigned
ti_jwk_oct_algs(size_t len)
{
    unsigned  algs;

    algs = 0;

    if (len >= 32) {
        algs |= TI_ALG_HS256;
    }

    if (len >= 48) {
        algs |= TI_ALG_HS384;
    }

    if (len >= 64) {
        algs |= TI_ALG_HS512;
    }

    return algs;
}


static ti_verifier_t *
ti_jwk_oct(const json_t *jwk, unsigned algs, const char **why)
{
    ti_str_t        secret;
    ti_verifier_t  *verifier;
    unsigned char   buf[TI_JWK_MEMBER_MAX];

    verifier = NULL;

    if (ti_jwk_bytes(jwk, "k", buf, sizeof(buf), &secret) != TI_OK) {
        *why = "\"k\" is absent, malformed or too long";

    } else if ((algs & ti_jwk_oct_algs(secret.len)) == 0) {
        *why = "secret is shorter than the hash";

    } else {
        algs &= ti_jwk_oct_algs(secret.len);
        verifier = ti_verifier_create_mac(secret, algs);
        *why = "no memory for the key";
    }

    ti_wipe(buf, sizeof(buf));

    return verifier;
}


static ti_verifier_t *
ti_jwk_verifier(ti_crypto_t *crypto, const ti_jwk_type_t *type,
    const json_t *jwk, unsigned algs, const char **why)
{
    EVP_PKEY       *pkey;
    ti_verifier_t  *verifier;

    if (algs & TI_ALGS_MAC) {
        return ti_jwk_oct(jwk, algs, why);
    }

    if (algs & TI_ALGS_RSA) {
        pkey = ti_jwk_rsa(jwk, why);

    } else if (algs & TI_ALGS_EC) {
        pkey = ti_jwk_ec(type, jwk, why);

    } else {
        pkey = ti_jwk_okp(type, jwk, why);
    }

    if (pkey == NULL) {
        return NULL;
    }

    verifier = ti_verifier_create(crypto, pkey, algs);
    if (verifier == NULL) {
        *why = "OpenSSL cannot verify with the key";
    }

    return verifier;
}


static const ti_jwk_type_t *
ti_jwk_type(const json_t *jwk)
{
    size_t                i;
    ti_str_t              kty, crv;
    const ti_jwk_type_t  *type;

    if (ti_json_string(jwk, "kty", &kty) != TI_OK) {
        return NULL;
    }

    if (ti_json_string(jwk, "crv", &crv) != TI_OK) {
        crv = ti_null_str;
    }

    for (i = 0; i < TI_JWK_NTYPES; i++) {
        type = &ti_jwk_types[i];

        if (ti_str_eq(kty, ti_str_cstr(type->kty))
            && (type->crv == NULL || ti_str_eq(crv, ti_str_cstr(type->crv))))
        {
            return type;
        }
    }

    return NULL;
}


static int
ti_jwk_is_private(const json_t *jwk)
{
    size_t  i;

    for (i = 0; i < TI_JWK_NPRIVATE; i++) {
        if (ti_json_has(jwk, ti_jwk_private[i])) {
            return 1;
        }
    }

    return 0;
}


/* RFC 7517 section 4.3; what is no array has no members either. */

static int
ti_jwk_may_verify(const json_t *ops)
{
    int            verify;
    size_t         i;
    const json_t  *op;

    verify = 0;

    for (i = 0; i < json_array_size(ops); i++) {
        op = json_array_get(ops, i);

        if (!json_is_string(op)) {
            return 0;
        }

        verify |= ti_str_eq(ti_json_str(op), ti_str("verify"));
    }

    return verify;
}


/* Why a key may not verify, whatever its numbers are; NULL: it may. */

static const char *
ti_jwk_objection(const json_t *jwk)
{
    ti_str_t  text;

    if (!json_is_object(jwk)) {
        return "not an object";
    }

    if (ti_json_has(jwk, "kid")
        && ti_json_string(jwk, "kid", &text) != TI_OK)
    {
        return "\"kid\" is not a string";
    }

    if (ti_jwk_is_private(jwk)) {
        return "holds a private key";
    }

    if (ti_json_has(jwk, "use")
        && (ti_json_string(jwk, "use", &text) != TI_OK
            || !ti_str_eq(text, ti_str("sig"))))
    {
        return "\"use\" is not \"sig\"";
    }

    if (ti_json_has(jwk, "key_ops")
        && !ti_jwk_may_verify(json_object_get(jwk, "key_ops")))
    {
        return "\"key_ops\" is not an array of strings with \"verify\"";
    }

    return NULL;
}


static ti_verifier_t *
ti_jwk_read(ti_crypto_t *crypto, const json_t *jwk, unsigned algorithms,
    const char **why)
{
    unsigned              algs;
    ti_str_t              alg;
    const ti_jwk_type_t  *type;

    *why = ti_jwk_objection(jwk);
    if (*why != NULL) {
        return NULL;
    }

    type = ti_jwk_type(jwk);
    if (type == NULL) {
        *why = "key type or curve is absent or not supported";
        return NULL;
    }

    algs = type->algs;

    if (ti_json_has(jwk, "alg")) {

        if (ti_json_string(jwk, "alg", &alg) != TI_OK) {
            *why = "\"alg\" is not a string";
            return NULL;
        }

        algs &= (unsigned) ti_alg_by_name(alg);

        if (algs == 0) {
            *why = "\"alg\" does not fit the key type";
            return NULL;
        }
    }

    algs &= algorithms;

    if (algs == 0) {
        *why = "no allowed algorithm fits the key";
        return NULL;
    }

    return ti_jwk_verifier(crypto, type, jwk, algs, why);
}


/* A secret shall not outlive the parse in the parser's memory. */

static void
ti_jwk_wipe(const json_t *jwk)
{
    ti_str_t  k;

    if (ti_json_string(jwk, "k", &k) == TI_OK) {
        ti_wipe((void *) k.data, k.len);
    }
}


/* Takes over the verifier, on failure too. */

static ti_rc_t
ti_jwks_add(ti_jwks_t *set, const json_t *jwk, ti_verifier_t *verifier)
{
    ti_str_t        kid;
    ti_jwk_t       *key;
    unsigned char  *copy;

    key = &set->keys[set->n++];
    key->kid = ti_null_str;
    key->verifier = verifier;

    if (ti_json_string(jwk, "kid", &kid) != TI_OK) {
        return TI_OK;
    }

    copy = malloc(kid.len + 1);             /* an empty kid is a kid too */
    if (copy == NULL) {
        return TI_ERROR;
    }

    memcpy(copy, kid.data, kid.len);
    key->kid.data = copy;
    key->kid.len = kid.len;

    return TI_OK;
}


static ti_rc_t
ti_jwks_fill(ti_crypto_t *crypto, ti_jwks_t *set, const json_t *keys,
    unsigned algorithms, const ti_jwks_report_t *report)
{
    size_t          i;
    ti_str_t        kid;
    const char     *why;
    const json_t   *jwk;
    ti_verifier_t  *verifier;

    for (i = 0; i < json_array_size(keys); i++) {
        jwk = json_array_get(keys, i);

        verifier = ti_jwk_read(crypto, jwk, algorithms, &why);
        ti_jwk_wipe(jwk);

        if (verifier != NULL) {

            if (ti_jwks_add(set, jwk, verifier) != TI_OK) {
                return TI_ERROR;
            }

            continue;
        }

        if (report != NULL) {

            if (ti_json_string(jwk, "kid", &kid) != TI_OK) {
                kid = ti_null_str;
            }

            report->ignored(report->data, i, kid, why);
        }
    }

    return TI_OK;
}


ti_rc_t
ti_jwks_parse(ti_crypto_t *crypto, ti_str_t text, unsigned algorithms,
    const ti_jwks_report_t *report, ti_jwks_t **set, const char **why)
{
    json_t        *root;
    size_t         size;
    ti_rc_t        rc;
    ti_jwks_t     *jwks;
    const json_t  *keys;

    rc = ti_json_parse_object(text, TI_JWKS_MAX_SIZE, &root, why);
    if (rc != TI_OK) {
        return rc;
    }

    rc = TI_DECLINED;
    keys = json_object_get(root, "keys");

    if (!json_is_array(keys)) {
        *why = "has no \"keys\" array";
        goto done;
    }

    if (json_array_size(keys) > TI_JWKS_MAX_KEYS) {
        *why = "has more than 256 keys";
        goto done;
    }

    rc = TI_ERROR;
    *why = "no memory for the keys";

    size = sizeof(ti_jwks_t) + json_array_size(keys) * sizeof(ti_jwk_t);

    jwks = calloc(1, size);
    if (jwks == NULL) {
        goto done;
    }

    rc = ti_jwks_fill(crypto, jwks, keys, algorithms, report);
    if (rc != TI_OK) {
        ti_jwks_free(jwks);
        goto done;
    }

    *set = jwks;

done:

    json_decref(root);

    return rc;
}


void
ti_jwks_free(ti_jwks_t *set)
{
    size_t  i;

    if (set == NULL) {
        return;
    }

    for (i = 0; i < set->n; i++) {
        ti_verifier_free((ti_verifier_t *) set->keys[i].verifier);
        free((void *) set->keys[i].kid.data);
    }

    free(set);
}


size_t
ti_jwks_count(const ti_jwks_t *set)
{
    return (set == NULL) ? 0 : set->n;
}


const ti_jwk_t *
ti_jwks_key(const ti_jwks_t *set, size_t i)
{
    return &set->keys[i];
}


/* What one look through the sets found. */

typedef struct {
    const ti_jwk_t  *key;
    size_t           named;                 /* keys that have the kid */
    size_t           fit;                   /* and serve the algorithm */
} ti_jwks_found_t;


static void
ti_jwks_find(const ti_jwks_t *set, ti_alg_t alg, ti_str_t kid,
    ti_jwks_found_t *found)
{
    size_t           i;
    const ti_jwk_t  *key;

    for (i = 0; i < ti_jwks_count(set); i++) {
        key = &set->keys[i];

        if (kid.data != NULL
            && (key->kid.data == NULL || !ti_str_eq(key->kid, kid)))
        {
            continue;
        }

        found->named++;

        if (ti_verifier_algs(key->verifier) & (unsigned) alg) {
            found->key = key;
            found->fit++;
        }
    }
}


const ti_jwk_t *
ti_jwks_select(const ti_jwks_t *const *sets, size_t nsets, ti_alg_t alg,
    ti_str_t kid, int *unknown, const char **why)
{
    size_t           i;
    ti_jwks_found_t  found;

    memset(&found, 0, sizeof(found));

    for (i = 0; i < nsets; i++) {
        ti_jwks_find(sets[i], alg, kid, &found);
    }

    *unknown = (kid.data == NULL ? found.fit : found.named) == 0;

    if (found.fit == 1) {
        return found.key;
    }

    if (kid.data == NULL) {
        *why = found.fit == 0 ? "no kid, and no key serves this alg"
                              : "no kid, and more than one key serves this alg";

    } else if (*unknown) {
        *why = "no key has this kid";

    } else {
        *why = found.fit == 0 ? "the key with this kid does not serve this alg"
                              : "more than one key has this kid";
    }

    return NULL;
}
