/*
 * What a caller's token must be.  Sorted by what could be wrong with it;
 * jwt_policy.h has the issuers and the keys.
 */

#include "jwt_policy.h"


static void
test_algorithms(void **state)
{
    char        *token, *parts[3];
    size_t       i;
    const char  *alg;

    static const struct {
        const char      *alg;
        const char      *kid;
        const jm_key_t  *key;
    } cases[] = {
        { "RS256", "rsa", &rsa },   { "RS384", "rsa", &rsa },
        { "RS512", "rsa", &rsa },   { "PS256", "rsa", &rsa },
        { "PS384", "rsa", &rsa },   { "PS512", "rsa", &rsa },
        { "ES256", "p256", &p256 }, { "ES384", "p384", &p384 },
        { "ES512", "p521", &p521 }, { "EdDSA", "ed", &ed },
        { "HS256", "mac", &mac },   { "HS384", "mac", &mac },
        { "HS512", "mac", &mac }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        alg = cases[i].alg;

        token = jm_jws(cases[i].key, alg,
                       jm_printf("{\"alg\":\"%s\",\"kid\":\"%s\"}", alg,
                                 cases[i].kid), CLAIMS);
        accepted(token);

        split(token, parts);
        refused(joined(parts, 1, jm_b64u_text(with("sub", "\"bob\""))),
                "signature does not verify");
        refused(changed(token, strlen(parts[2]) / 2),
                "signature does not verify");

        /* under another name */

        token = jm_jws(cases[i].key, alg,
                       jm_printf("{\"alg\":\"%s\",\"kid\":\"%s\"}",
                                 cases[(i + 1) % 13].alg, cases[i].kid),
                       CLAIMS);
        assert_int_equal(judge(token), TI_RESULT_TOKEN_INVALID);
    }
}


static void
test_what_stood(void **state)
{
    ti_jwt_t  jwt;

    (void) state;

    assert_int_equal(judge_into(signed_claims(CLAIMS), &jwt), TI_RESULT_OK);

    assert_int_equal(jwt.issuer, 0);
    assert_true(ti_str_eq(jwt.subject, ti_str("alice")));
    assert_int_equal(jwt.tenant.len, 0);
    assert_int_equal(jwt.expires, NOW + 600);
    assert_string_equal(json_string_value(json_object_get(jwt.claims, "iss")),
                        "https://a.example/");

    ti_jwt_clear(&jwt);
    assert_null(jwt.claims);

    assert_int_equal(judge_into(signed_by_b("api://b", NOW + 600), &jwt),
                     TI_RESULT_OK);

    assert_int_equal(jwt.issuer, 1);
    assert_true(ti_str_eq(jwt.subject, ti_str("7")));
    assert_true(ti_str_eq(jwt.tenant, ti_str("acme")));
    assert_int_equal(jwt.expires, NOW + 600 + LEEWAY_B);

    ti_jwt_clear(&jwt);
}


static void
test_alg_none(void **state)
{
    char        *input;
    size_t       i;
    const char  *alg;

    static const struct {
        const char  *alg;
        const char  *why;
    } cases[] = {
        { "\"none\"", "alg is none or unknown" },
        { "\"None\"", "alg is none or unknown" },
        { "\"NONE\"", "alg is none or unknown" },
        { "\"nOnE\"", "alg is none or unknown" },
        { "\"n\\u006fne\"", "alg is none or unknown" },
        { "\"none \"", "alg is none or unknown" },
        { "\"\"", "alg is none or unknown" },
        { "\"rs256\"", "alg is none or unknown" },
        { "\" RS256\"", "alg is none or unknown" },
        { "\"RS256\\n\"", "alg is none or unknown" },
        { "\"RS256,none\"", "alg is none or unknown" },
        { "\"dir\"", "alg is none or unknown" },
        { "\"RS256\\u0000\"", "not JSON" },
        { "null", "header has no \"alg\" string" },
        { "0", "header has no \"alg\" string" },
        { "true", "header has no \"alg\" string" },
        { "{}", "header has no \"alg\" string" },
        { "[]", "header has no \"alg\" string" },
        { "[\"RS256\"]", "header has no \"alg\" string" },
        { "[\"none\"]", "header has no \"alg\" string" }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        alg = jm_printf("{\"alg\":%s,\"kid\":\"rsa\"}", cases[i].alg);
        input = jm_input(alg, CLAIMS);

        refused(jm_printf("%s.", input), "signature is empty or too long");
        refused(jm_printf("%s.bm9uZQ", input), cases[i].why);
        refused(jm_jws(&rsa, "RS256", alg, CLAIMS), cases[i].why);
    }

    refused(jm_jws(&rsa, "RS256", "{\"kid\":\"rsa\"}", CLAIMS),
            "header has no \"alg\" string");
    refused(jm_jws(&rsa, "RS256", "{\"ALG\":\"RS256\",\"kid\":\"rsa\"}",
                   CLAIMS), "header has no \"alg\" string");
}


/* A public key in every form that a library might take for a MAC secret. */

static void
test_confusion(void **state)
{
    size_t      i, k, n;
    jm_key_t    secret;
    encoding_t  encodings[MAX_ENCODINGS];

    static const char *const  algs[] = { "HS256", "HS384", "HS512" };

    (void) state;

    n = public_encodings(encodings);
    assert_int_equal(n, MAX_ENCODINGS);

    for (i = 0; i < n; i++) {
        secret = jm_secret(encodings[i].data, encodings[i].len);

        for (k = 0; k < 3; k++) {

            /* issuer A allows MAC algorithms, and has a MAC key */

            refused(jm_jws(&secret, algs[k],
                           jm_printf("{\"alg\":\"%s\",\"kid\":\"%s\"}",
                                     algs[k], encodings[i].kid), CLAIMS),
                    "the key with this kid does not serve this alg");

            refused(jm_jws(&secret, algs[k],
                           jm_printf("{\"alg\":\"%s\"}", algs[k]), CLAIMS),
                    "signature does not verify");

            /* issuer C has the same keys and allows no MAC */

            refused(jm_jws(&secret, algs[k],
                           jm_printf("{\"alg\":\"%s\",\"kid\":\"%s\"}",
                                     algs[k], encodings[i].kid), CLAIMS_C),
                    "alg is not allowed");
        }
    }
}


static void
test_other_family(void **state)
{
    size_t  i, k;

    static const struct {
        const char  *alg;
        const char  *kid;
    } keys[] = {
        { "RS256", "rsa" }, { "ES256", "p256" }, { "ES384", "p384" },
        { "ES512", "p521" }, { "EdDSA", "ed" }, { "HS256", "mac" }
    };

    (void) state;

    for (i = 0; i < 6; i++) {
        for (k = 0; k < 6; k++) {
            if (i == k) {
                continue;
            }

            refused(jm_jws(&rsa, "RS256",
                           jm_printf("{\"alg\":\"%s\",\"kid\":\"%s\"}",
                                     keys[i].alg, keys[k].kid), CLAIMS),
                    "the key with this kid does not serve this alg");
        }
    }

    /* its JWK says RS256 */

    refused(jm_jws(&rsa, "PS256", "{\"alg\":\"PS256\",\"kid\":\"rs256\"}",
                   CLAIMS), "the key with this kid does not serve this alg");
    accepted(jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"rs256\"}",
                    CLAIMS));
}


/* Members that name a key are no reason to trust, and none to refuse. */

static void
test_header_keys(void **state)
{
    char        *jwk;
    size_t       i;
    jm_key_t     own;
    const char  *members[6];

    (void) state;

    own = jm_ec("P-256");
    jwk = jm_jwk(&own, "");

    members[0] = jm_printf("\"jwk\":%s", jwk);
    members[1] = jm_printf("\"jwk\":%s,\"jku\":\"https://evil.example/\"",
                           jwk);
    members[2] = "\"jku\":\"https://127.0.0.1:1/jwks.json\"";
    members[3] = "\"x5u\":\"file:///etc/passwd\"";
    members[4] = "\"x5c\":[\"MIIBAAAA\"],\"x5t\":\"AAAA\","
                 "\"x5t#S256\":\"AAAA\"";
    members[5] = "\"jwk\":[],\"jku\":1,\"x5u\":null,\"x5c\":{}";

    for (i = 0; i < 6; i++) {
        refused(jm_jws(&own, "ES256",
                       jm_printf("{\"alg\":\"ES256\",\"kid\":\"p256\",%s}",
                                 members[i]), CLAIMS),
                "signature does not verify");
        refused(jm_jws(&own, "ES256",
                       jm_printf("{\"alg\":\"ES256\",%s}", members[i]),
                       CLAIMS),
                "signature does not verify");

        accepted(jm_jws(&p256, "ES256",
                        jm_printf("{\"alg\":\"ES256\",\"kid\":\"p256\",%s}",
                                  members[i]), CLAIMS));
    }
}


static void
test_kid(void **state)
{
    char    *kid;
    size_t   i;

    static const char *const  strangers[] = {
        "", " ", "rsA", "rs", "rsaa", "rsa ", " rsa", "*", "rs?", "rs[a]",
        "r%73a", "../rsa", "../../../../etc/passwd", "/dev/null", "file:rsa",
        "rsa\\r\\nSET x y\\r\\n", "\\n", "rsa' OR '1'='1", "$(id)", "%s%n",
        "rsa\\u0007", "\\u00e9", "{ti:u}", "ti:*"
    };

    static const char *const  no_strings[] = {
        "null", "0", "true", "[]", "[\"rsa\"]", "{}", "{\"kid\":\"rsa\"}"
    };

    (void) state;

    for (i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        refused(jm_jws(&rsa, "RS256",
                       jm_printf("{\"alg\":\"RS256\",\"kid\":\"%s\"}",
                                 strangers[i]), CLAIMS),
                "no key has this kid");
    }

    for (i = 0; i < sizeof(no_strings) / sizeof(no_strings[0]); i++) {
        refused(jm_jws(&rsa, "RS256",
                       jm_printf("{\"alg\":\"RS256\",\"kid\":%s}",
                                 no_strings[i]), CLAIMS),
                "kid is not a string");
    }

    refused(jm_jws(&rsa, "RS256",
                   "{\"alg\":\"RS256\",\"kid\":\"rsa\\u0000\"}", CLAIMS),
            "not JSON");

    kid = jm_alloc(65536);
    memset(kid, 'k', 65536);
    refused(jm_jws(&rsa, "RS256",
                   jm_printf("{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid),
                   CLAIMS), "longer than 8192 bytes");

    kid[5000] = '\0';
    refused(jm_jws(&rsa, "RS256",
                   jm_printf("{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid),
                   CLAIMS), "no key has this kid");

    /* any bytes that a key set names so, and only those */

    accepted(jm_jws(&ed2, "EdDSA",
                    "{\"alg\":\"EdDSA\",\"kid\":\"../*\\r\\n\"}", CLAIMS));
    refused(jm_jws(&ed2, "EdDSA",
                   "{\"alg\":\"EdDSA\",\"kid\":\"../*\\n\"}", CLAIMS),
            "no key has this kid");
}


static void
test_no_kid(void **state)
{
    (void) state;

    accepted(jm_jws(&p256, "ES256", "{\"alg\":\"ES256\"}", CLAIMS));
    accepted(jm_jws(&mac, "HS256", "{\"alg\":\"HS256\"}", CLAIMS));

    /* "rsa" and "rs256" both fit; one of them signed */

    refused(jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\"}", CLAIMS),
            "no kid, and more than one key serves this alg");
    accepted(jm_jws(&rsa, "RS384", "{\"alg\":\"RS384\"}", CLAIMS));

    refused(jm_jws(&rsa, "RS256",
                   "{\"alg\":\"RS256\",\"kid\":\"twin\"}", CLAIMS),
            "no key has this kid");
    refused(jm_jws(&p384, "ES384",
                   "{\"alg\":\"ES384\",\"kid\":\"twin\"}", CLAIMS_C),
            "more than one key has this kid");
}


static void
test_weak_keys(void **state)
{
    char           *input;
    jm_key_t        weak;
    unsigned char   em[256];

    (void) state;

    /* issuer C's set has both, among good ones */

    weak = weak_rsa;
    refused(jm_jws(&weak, "RS256", "{\"alg\":\"RS256\",\"kid\":\"weak\"}",
                   CLAIMS_C), "no key has this kid");

    /* with an exponent of 1 the padded digest is its own signature */

    input = jm_input("{\"alg\":\"RS256\",\"kid\":\"e1\"}", CLAIMS_C);
    padded_sha256(input, em);
    refused(jm_with(input, em, sizeof(em)), "no key has this kid");

    accepted(jm_jws(&rsa, "RS256", "{\"alg\":\"RS256\",\"kid\":\"rsa\"}",
                    CLAIMS_C));
}


static void
test_ecdsa_form(void **state)
{
    char           *input, *in_der;
    size_t          i, len, coord;
    jm_key_t        key;
    unsigned char   sig[JM_SIGNATURE_MAX], n[66], bad[132];

    static const char *const  algs[] = { "ES256", "ES384", "ES512" };

    (void) state;

    for (i = 0; i < 3; i++) {
        key = i == 0 ? p256 : i == 1 ? p384 : p521;
        coord = jm_coord(key.crv);
        curve_order(key.crv, n);

        input = jm_input(jm_printf("{\"alg\":\"%s\"}", algs[i]), CLAIMS);

        len = jm_sign_raw(&key, algs[i], input, sig);
        in_der = jm_with(input, sig, len);

        len = jm_ecdsa_raw(sig, len, coord);
        accepted(jm_with(input, sig, len));

        refused(in_der, "signature does not verify");
        refused(jm_with(input, sig, len - 1), "signature does not verify");
        refused(jm_with(input, sig, coord), "signature does not verify");
        refused(jm_with(input, sig + 1, len - 1), "signature does not verify");

        sig[len] = 0;
        refused(jm_with(input, sig, len + 1), "signature does not verify");

        /* r, then s, then both: 0, n */

        memcpy(bad, sig, len);
        memset(bad, 0, coord);
        refused(jm_with(input, bad, len), "signature does not verify");
        memcpy(bad, n, coord);
        refused(jm_with(input, bad, len), "signature does not verify");
        memcpy(bad + coord, n, coord);
        refused(jm_with(input, bad, len), "signature does not verify");
        memset(bad, 0, len);
        refused(jm_with(input, bad, len), "signature does not verify");
        memcpy(bad, sig, coord);
        refused(jm_with(input, bad, len), "signature does not verify");
        memcpy(bad + coord, n, coord);
        refused(jm_with(input, bad, len), "signature does not verify");
        memset(bad, 0xff, len);
        refused(jm_with(input, bad, len), "signature does not verify");

        memcpy(bad, sig + coord, coord);
        memcpy(bad + coord, sig, coord);
        refused(jm_with(input, bad, len), "signature does not verify");
    }
}


static void
test_signature_lengths(void **state)
{
    char           *input;
    size_t          i, k, len;
    unsigned char   sig[JM_SIGNATURE_MAX + 1];

    static const struct {
        const char      *alg;
        const jm_key_t  *key;
    } cases[] = {
        { "RS384", &rsa }, { "PS256", &rsa }, { "EdDSA", &ed },
        { "HS256", &mac }, { "HS512", &mac }
    };
    static const size_t  lengths[] = {
        1, 16, 31, 33, 63, 65, 255, 257, JM_SIGNATURE_MAX
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        input = jm_input(jm_printf("{\"alg\":\"%s\",\"kid\":\"%s\"}",
                                   cases[i].alg,
                                   cases[i].key == &rsa ? "rsa"
                                   : cases[i].key == &ed ? "ed" : "mac"),
                         CLAIMS);

        memset(sig, 0, sizeof(sig));
        len = jm_sign(cases[i].key, cases[i].alg, input, sig);
        accepted(jm_with(input, sig, len));

        for (k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
            refused(jm_with(input, sig, lengths[k]),
                    "signature does not verify");
        }

        refused(jm_with(input, sig, sizeof(sig)),
                "signature is empty or too long");
        refused(jm_printf("%s.", input), "signature is empty or too long");
    }
}


static void
test_base64url(void **state)
{
    char    *good, *parts[3], *whole;
    size_t   i, k;

    static const char *const  whys[] = {
        "header is not canonical base64url",
        "payload is not canonical base64url",
        "signature is not canonical base64url"
    };
    static const char *const  tails[] = {
        "=", "==", " ", "\n", "\r\n", "\t", "+", "/", "%", "\x01",
        "\xff", "\xc3\xa9", "&"
    };

    (void) state;

    /* every part ends in an unfinished group */

    good = jm_jws(&mac, "HS256", "{\"alg\":\"HS256\",\"kid\":\"mac\" }",
                  CLAIMS " ");
    accepted(good);
    split(good, parts);

    for (i = 0; i < 3; i++) {
        assert_int_not_equal(strlen(parts[i]) % 4, 0);

        for (k = 0; k < sizeof(tails) / sizeof(tails[0]); k++) {

            /* behind what is there, in front of it, in its place */

            whole = jm_printf("%s%s", parts[i], tails[k]);
            refused(joined(parts, i, whole), whys[i]);

            whole = jm_printf("%s%s", tails[k], parts[i]);
            refused(joined(parts, i, whole), whys[i]);

            whole = jm_printf("%s", parts[i]);
            whole[2] = tails[k][0];
            refused(joined(parts, i, whole), whys[i]);
        }

        /* six bits are no byte */

        refused(joined(parts, i, "A"), whys[i]);
        refused(joined(parts, i, "AAAAA"), whys[i]);

        /* the bits after the last whole byte */

        whole = jm_printf("%s", parts[i]);
        whole[strlen(whole) - 1]++;
        refused(joined(parts, i, whole), whys[i]);
    }
}


static void
test_nul(void **state)
{
    char      *token;
    size_t     len;
    ti_str_t   text;

    (void) state;

    token = jm_printf("%s??", signed_claims(CLAIMS));
    len = strlen(token) - 2;

    token[len] = '\0';
    text = ti_str_from(token, len + 1);
    assert_int_equal(judge_str(text, NULL), TI_RESULT_TOKEN_INVALID);
    assert_string_equal(last_why, "signature is not canonical base64url");

    token[3] = '\0';
    text = ti_str_from(token, len);
    assert_int_equal(judge_str(text, NULL), TI_RESULT_TOKEN_INVALID);
    assert_string_equal(last_why, "header is not canonical base64url");

    assert_int_equal(judge_str(ti_null_str, NULL), TI_RESULT_TOKEN_INVALID);
    assert_string_equal(last_why, "has not three parts");
}


static void
test_duplicates(void **state)
{
    size_t  i;

    static const char *const  claims[] = {
        "{\"iss\":\"https://evil.example/\"," BODY "}",
        "{" BODY ",\"exp\":99999999999}",
        "{" BODY ",\"sub\":\"bob\"}",
        "{" BODY ",\"s\\u0075b\":\"bob\"}",
        "{" BODY ",\"x\":{\"a\":1,\"a\":2}}"
    };
    static const char *const  headers[] = {
        "{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"mac\"}",
        "{\"alg\":\"HS256\",\"kid\":\"mac\",\"kid\":\"rsa\"}",
        "{\"alg\":\"HS256\",\"\\u0061lg\":\"none\",\"kid\":\"mac\"}"
    };

    (void) state;

    for (i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        refused(signed_claims(claims[i]), "JSON with a duplicate member");
    }

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        refused(jm_jws(&mac, "HS256", headers[i], CLAIMS),
                "JSON with a duplicate member");
    }
}


static void
test_header_members(void **state)
{
    size_t  i;

    static const struct {
        const char  *member;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { "\"crit\":[]", "header has \"crit\"" },
        { "\"crit\":[\"exp\"],\"exp\":1", "header has \"crit\"" },
        { "\"crit\":[\"b64\"],\"b64\":false", "header has \"crit\"" },
        { "\"crit\":null", "header has \"crit\"" },
        { "\"crit\":\"\"", "header has \"crit\"" },
        { "\"b64\":false", "header has \"b64\"" },
        { "\"b64\":true", "header has \"b64\"" },
        { "\"b64\":null", "header has \"b64\"" },
        { "\"typ\":\"JWT\"", NULL },
        { "\"typ\":\"at+jwt\"", NULL },
        { "\"typ\":7", NULL },
        { "\"unknown\":{\"a\":[1,2,3]}", NULL }
    };
    static const char *const  headers[] = {
        "[\"alg\"]", "\"HS256\"", "null", "7", "true"
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        verdict(jm_jws(&mac, "HS256",
                       jm_printf("{\"alg\":\"HS256\",\"kid\":\"mac\",%s}",
                                 cases[i].member), CLAIMS),
                cases[i].why);
    }

    refused(jm_jws(&mac, "HS256", "[]", CLAIMS), "JSON that is not an object");
    refused(jm_jws(&mac, "HS256", "{}", CLAIMS),
            "header has no \"alg\" string");
    refused(jm_jws(&mac, "HS256", "", CLAIMS), "empty, no JSON");
    refused(jm_jws(&mac, "HS256", "{\"alg\":\"HS256\"}x", CLAIMS),
            "JSON with something behind it");

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_int_equal(judge(jm_jws(&mac, "HS256", headers[i], CLAIMS)),
                         TI_RESULT_TOKEN_INVALID);
    }

    /* b64:false as RFC 7797 means it: the payload as it is */

    refused(jm_printf("%s.%s.%s",
                      jm_b64u_text("{\"alg\":\"HS256\",\"b64\":false}"),
                      CLAIMS, "AAAA"), "has not three parts");
}


static void
test_parts(void **state)
{
    char    *good, *parts[3];
    size_t   i;

    static const char *const  texts[] = {
        "", ".", "...", "....", "a", "a.b", "a.b.c.d", "a.b.c.d.e",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAA"
    };

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        refused(texts[i], "has not three parts");
    }

    good = signed_claims(CLAIMS);
    split(good, parts);

    refused("..", "signature is empty or too long");
    refused(jm_printf("..%s", parts[2]), "empty, no JSON");
    refused(jm_printf(".%s.%s", parts[1], parts[2]), "empty, no JSON");
    refused(jm_printf("%s..%s", parts[0], parts[2]), "empty, no JSON");
    refused(jm_printf("%s.%s", parts[0], parts[1]), "has not three parts");
    refused(jm_printf("%s.", good), "has not three parts");
    refused(jm_printf(".%s", good), "has not three parts");
    refused(jm_printf("%s.%s", good, parts[1]), "has not three parts");
    refused(jm_printf("%s.%s", good, good), "has not three parts");

    /* a JWS in JSON, RFC 7515 section 7.2 */

    refused(jm_printf("{\"payload\":\"%s\",\"protected\":\"%s\","
                      "\"signature\":\"%s\"}", parts[1], parts[0], parts[2]),
            "has not three parts");

    /* a token in a token, RFC 7519 section 11.2 */

    refused(jm_jws(&mac, "HS256",
                   "{\"alg\":\"HS256\",\"kid\":\"mac\",\"cty\":\"JWT\"}", good),
            "not JSON");
}


/* Nothing shorter, and nothing else in any one place, passes. */

static void
test_every_byte(void **state)
{
    char    *good, *bad;
    size_t   i, len;

    (void) state;

    good = signed_claims(CLAIMS);
    len = strlen(good);

    for (i = 0; i < len; i++) {
        bad = jm_printf("%.*s", (int) i, good);
        assert_int_equal(judge(bad), TI_RESULT_TOKEN_INVALID);

        bad = changed(good, len - i);
        assert_int_equal(judge(bad), TI_RESULT_TOKEN_INVALID);

        bad = jm_printf("%s", good);
        bad[i] = '\0';
        assert_int_equal(judge_str(ti_str_from(bad, len), NULL),
                         TI_RESULT_TOKEN_INVALID);
    }
}


static void
test_size(void **state)
{
    (void) state;

    accepted(token_of_length(TI_TOKEN_MAX - 1));
    accepted(token_of_length(TI_TOKEN_MAX));
    refused(token_of_length(TI_TOKEN_MAX + 1), "longer than 8192 bytes");
}


static void
test_nesting(void **state)
{
    char  *brackets;

    (void) state;

    brackets = jm_alloc(100000);
    memset(brackets, '[', 100000);
    refused(brackets, "longer than 8192 bytes");
    refused(jm_jws(&mac, "HS256", "{\"alg\":\"HS256\"}", brackets),
            "longer than 8192 bytes");

    brackets[5000] = '\0';
    refused(jm_jws(&mac, "HS256", "{\"alg\":\"HS256\"}", brackets),
            "JSON nested too deep");
    refused(jm_jws(&mac, "HS256", brackets, CLAIMS), "JSON nested too deep");
    refused(signed_claims(jm_printf("{" BODY ",\"x\":%s}", brackets)),
            "JSON nested too deep");

    memset(brackets, '{', 5000);
    refused(jm_jws(&mac, "HS256", brackets, CLAIMS), "JSON nested too deep");
}


static void
test_jws(void **state)
{
    size_t       i, len;
    ti_rc_t      rc;
    ti_str_t     payload;
    const char  *why;

    static const char *const  payloads[] = {
        "", "\x01", "not JSON", "{\"alg\":\"none\"}", "..."
    };

    (void) state;

    for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        rc = jws_verify(jm_jws(&ed, "EdDSA",
                               "{\"alg\":\"EdDSA\",\"kid\":\"ed\"}",
                               payloads[i]),
                        TI_ALG_EDDSA, &pool, &payload, &why);

        assert_int_equal(rc, TI_OK);

        len = strlen(payloads[i]);
        assert_int_equal(payload.len, len);

        if (len != 0) {
            assert_memory_equal(payload.data, payloads[i], len);
        }
    }

    rc = jws_verify(jm_jws(&ed, "EdDSA", "{\"alg\":\"EdDSA\"}", "a"),
                    TI_ALG_RS256, &pool, &payload, &why);
    assert_int_equal(rc, TI_DECLINED);
    assert_string_equal(why, "alg is not allowed");

    rc = jws_verify(jm_jws(&ed, "EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"ed\"}",
                           "a"),
                    TI_ALG_EDDSA, &no_pool, &payload, &why);
    assert_int_equal(rc, TI_ERROR);
    assert_string_equal(why, "no memory for the payload");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_what_stood),
        cmocka_unit_test(test_alg_none),
        cmocka_unit_test(test_confusion),
        cmocka_unit_test(test_other_family),
        cmocka_unit_test(test_header_keys),
        cmocka_unit_test(test_kid),
        cmocka_unit_test(test_no_kid),
        cmocka_unit_test(test_weak_keys),
        cmocka_unit_test(test_ecdsa_form),
        cmocka_unit_test(test_signature_lengths),
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_header_members),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_jws)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
