/*
 * Any bytes as a JWK Set.  Whatever they are, a key serves algorithms of one
 * family, and none that was not allowed.
 */

#include <stdint.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "ti_jwks.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const unsigned  families[] = {
    TI_ALGS_RSA, TI_ALG_ES256, TI_ALG_ES384, TI_ALG_ES512, TI_ALG_EDDSA,
    TI_ALGS_MAC
};

#define NFAMILIES  (sizeof(families) / sizeof(families[0]))


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
hear(void *data, size_t index, ti_str_t kid, const char *why)
{
    size_t  *n;

    n = data;

    must(index < TI_JWKS_MAX_KEYS);
    must(kid.len == 0 || kid.data != NULL);
    must(why != NULL && why[0] != '\0');

    ++*n;
}


static void
check_key(const ti_jwks_t *set, const ti_jwk_t *key, unsigned allowed)
{
    int              unknown;
    size_t           i, fits;
    unsigned         algs;
    const char      *why;
    const ti_jwk_t  *found;

    algs = ti_verifier_algs(key->verifier);

    must(algs != 0 && (algs & ~allowed) == 0);

    fits = 0;

    for (i = 0; i < NFAMILIES; i++) {
        fits += (algs & families[i]) != 0;
    }

    must(fits == 1);

    /* one algorithm of the key: itself, or two of one name */

    why = NULL;
    found = ti_jwks_select(&set, 1, (ti_alg_t) (algs & -algs), key->kid,
                           &unknown, &why);

    must(found == key || (found == NULL && why != NULL));
    must(unknown == 0);
}


static void
try(ti_crypto_t *crypto, ti_str_t text, unsigned allowed)
{
    size_t            i, n;
    ti_rc_t           rc;
    ti_jwks_t        *set;
    const char       *why;
    ti_jwks_report_t  report;

    n = 0;
    why = NULL;
    report.ignored = hear;
    report.data = &n;

    rc = ti_jwks_parse(crypto, text, allowed, &report, &set, &why);

    must(ERR_peek_error() == 0);

    if (rc != TI_OK) {
        must(rc == TI_DECLINED && why != NULL);
        return;
    }

    must(ti_jwks_count(set) + n <= TI_JWKS_MAX_KEYS);

    for (i = 0; i < ti_jwks_count(set); i++) {
        check_key(set, ti_jwks_key(set, i), allowed);
    }

    ti_jwks_free(set);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_str_t             text;
    static ti_crypto_t  *crypto;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
        must(crypto != NULL);
    }

    text = ti_str_from(data, size);

    try(crypto, text, TI_ALG_RS256);
    try(crypto, text, TI_ALGS_RSA|TI_ALGS_EC|TI_ALG_EDDSA|TI_ALGS_MAC);

    return 0;
}
