/*
 * Any bytes as a caller's token; and, so that the fuzzer gets behind the
 * signature, "header LF claims", signed here with the issuer's own secret.
 * What stands must be as the policy says.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/hmac.h>

#include "ti_header.h"
#include "ti_jwt.h"


#define NOW      1700000000
#define LEEWAY   5
#define SECRET   "0123456789abcdef0123456789abcdef"
#define KEYS                                                                  \
    "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"mac\","                            \
    "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"},"                 \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\","                    \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ti_crypto_t      *crypto;
static ti_jwks_t        *keys;
static const ti_jwks_t  *sets[1];
static unsigned char     memory[65536];
static size_t            used;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void *
take(void *data, size_t size)
{
    void  *p;

    (void) data;

    size = (size + 15) & ~(size_t) 15;

    if (size > sizeof(memory) - used) {
        return NULL;
    }

    p = memory + used;
    used += size;

    return p;
}


static const ti_pool_t  pool = { take, NULL };


static void
create(ti_jwt_issuer_t *issuer)
{
    const char             *why;
    static const ti_str_t   audience[] = { ti_string("api://a") };

    used = 0;

    if (crypto == NULL) {
        crypto = ti_crypto_create();
        must(crypto != NULL);

        must(ti_jwks_parse(crypto, ti_str(KEYS), TI_ALG_HS256|TI_ALG_EDDSA,
                           NULL, &keys, &why)
             == TI_OK);
        must(ti_jwks_count(keys) == 2);

        sets[0] = keys;
    }

    memset(issuer, 0, sizeof(ti_jwt_issuer_t));

    issuer->issuer = ti_str("https://a.example/");
    issuer->audience = audience;
    issuer->naudience = 1;
    issuer->algorithms = TI_ALG_HS256|TI_ALG_EDDSA;
    issuer->leeway = LEEWAY;
    issuer->keys = sets;
    issuer->nkeys = 1;

    must(ti_json_path_compile(&pool, ti_str("sub"), &issuer->user_claim)
         == TI_OK);
    must(ti_json_path_compile(&pool, ti_str("/org/0"), &issuer->tenant_claim)
         == TI_OK);
}


/* The same, asking for more. */

static void
restrict_to(ti_jwt_issuer_t *strict, const ti_jwt_issuer_t *issuer,
    ti_json_path_t *required)
{
    static const ti_str_t  typ[] = {
        ti_string("at+jwt"), ti_string("application/x/y")
    };
    static const ti_str_t  azp[] = { ti_string("web"), ti_string("app") };

    *strict = *issuer;

    strict->typ = typ;
    strict->ntyp = 2;
    strict->azp = azp;
    strict->nazp = 2;
    strict->max_age = 300;
    strict->required = required;
    strict->nrequired = 1;

    must(ti_json_path_compile(&pool, ti_str("/org/1"), required) == TI_OK);
}


static void
check_name(ti_str_t name)
{
    size_t  i;

    must(name.len > 0);

    for (i = 0; i < name.len; i++) {
        must(name.data[i] >= 0x20 && name.data[i] != 0x7f);
    }
}


/* What stood for the stricter stood for the other, and for as long. */

static void
judge_strictly(const ti_jwt_issuer_t *issuer, ti_str_t token, int64_t expires)
{
    int64_t                 iat;
    ti_jwt_t                jwt;
    ti_str_t                party;
    const char             *why;
    ti_json_path_t          required;
    ti_jwt_issuer_t         strict;
    const ti_jwt_issuer_t  *policy;

    restrict_to(&strict, issuer, &required);
    policy = &strict;
    why = NULL;

    if (ti_jwt_verify(crypto, &pool, &policy, 1, token, NOW, &jwt, &why)
        != TI_RESULT_OK)
    {
        must(why != NULL && jwt.claims == NULL && jwt.issuer == 0);
        return;
    }

    must(expires != 0 && jwt.expires <= expires && jwt.newer == 0);
    must(ti_json_integer(jwt.claims, "iat", 0, NOW + LEEWAY, &iat) == TI_OK);
    must(jwt.expires <= iat + 300 + LEEWAY);
    must(ti_json_string(jwt.claims, "azp", &party) == TI_OK
         || ti_json_string(jwt.claims, "client_id", &party) == TI_OK);
    must(ti_str_eq(party, ti_str("web")) || ti_str_eq(party, ti_str("app")));
    must(json_array_get(json_object_get(jwt.claims, "org"), 1) != NULL);

    ti_jwt_clear(&jwt);
}


static void
judge(const ti_jwt_issuer_t *issuer, ti_str_t token)
{
    json_t       *claims;
    int64_t       expires;
    ti_jwt_t      jwt;
    const char   *why;
    ti_result_t   result;

    why = NULL;
    result = ti_jwt_verify(crypto, &pool, &issuer, 1, token, NOW, &jwt, &why);

    must(ERR_peek_error() == 0);

    if (result != TI_RESULT_OK) {
        must(result == TI_RESULT_TOKEN_INVALID
             || result == TI_RESULT_TOKEN_EXPIRED);
        must(why != NULL && jwt.claims == NULL);
        must(jwt.issuer == 0 && (jwt.newer == 0 || jwt.newer == 1));
        judge_strictly(issuer, token, 0);
        return;
    }

    must(jwt.issuer == 0 && jwt.newer == 0);
    must(!ti_json_has(jwt.claims, "cnf"));
    must(jwt.expires > NOW && jwt.expires >= LEEWAY);
    check_name(jwt.subject);
    check_name(jwt.tenant);

    must(ti_jwt_claims(token, &claims) == TI_OK);
    must(json_equal(claims, jwt.claims));
    json_decref(claims);

    expires = jwt.expires;
    ti_jwt_clear(&jwt);

    judge_strictly(issuer, token, expires);
}


static ti_str_t
sign(const uint8_t *data, size_t size)
{
    size_t                len, header;
    unsigned              maclen;
    unsigned char         mac[EVP_MAX_MD_SIZE];
    const uint8_t        *lf;
    static unsigned char  token[2 * TI_TOKEN_MAX];

    lf = memchr(data, '\n', size);
    header = lf == NULL ? size : (size_t) (lf - data);

    len = ti_b64u_encode(token, ti_str_from(data, header));
    token[len++] = '.';

    if (lf != NULL) {
        len += ti_b64u_encode(token + len,
                              ti_str_from(lf + 1, size - header - 1));
    }

    must(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, token, len, mac,
              &maclen)
         != NULL);

    token[len++] = '.';
    len += ti_b64u_encode(token + len, ti_str_from(mac, maclen));

    return ti_str_from(token, len);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_str_t         payload;
    const char      *why;
    ti_jwt_issuer_t  issuer;

    create(&issuer);

    judge(&issuer, ti_str_from(data, size));

    (void) ti_jws_verify(crypto, &pool, keys, TI_ALG_HS256,
                         ti_str_from(data, size), &payload, &why);

    if (size > 0 && size <= TI_TOKEN_MAX) {
        judge(&issuer, sign(data, size));
    }

    return 0;
}
