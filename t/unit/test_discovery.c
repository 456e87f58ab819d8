/*
 * Where an issuer's document is, and what it may say.
 */

#include "unit.h"

#include "ti_discovery.h"


#define ISSUER     "https://login.example.com/"
#define KEYS       "https://login.example.com/keys"
#define WELL_KNOWN "/.well-known/openid-configuration"

#define DOCUMENT(more)  "{\"issuer\":\"" ISSUER "\",\"jwks_uri\":\"" KEYS     \
                        "\"" more "}"
#define ALGS(list)      DOCUMENT(",\"id_token_signing_alg_values_supported"   \
                                 "\":" list)


static unit_pool_t       unit;
static const ti_pool_t  *pool;


static int
setup(void **state)
{
    pool = unit_pool_create(&unit);

    return 0;
}


static int
teardown(void **state)
{
    unit_pool_free(&unit);

    return 0;
}


/* NULL: there is none.  Of bytes that end where the issuer does. */

static const char *
uri_of(const char *issuer, size_t len)
{
    char      *exact;
    ti_rc_t    rc;
    ti_str_t   uri;

    uri = ti_null_str;
    exact = malloc(len == 0 ? 1 : len);
    assert_non_null(exact);
    memcpy(exact, issuer, len);

    rc = ti_discovery_uri(pool, ti_str_from(exact, len), &uri);
    free(exact);

    if (rc != TI_OK) {
        assert_int_equal(rc, TI_DECLINED);
        assert_null(uri.data);
        return NULL;
    }

    assert_int_equal(uri.data[uri.len], '\0');
    assert_int_equal(strlen((const char *) uri.data), uri.len);

    return (const char *) uri.data;
}


static void
knows_where_to_ask(void **state)
{
    char         expected[256];
    size_t       i;
    const char  *uri;

    static const struct {
        const char  *issuer;
        const char  *base;
    } cases[] = {
        { "https://host", "https://host" },
        { "https://host/", "https://host" },
        { "https://host//", "https://host/" },
        { "https://host/tenant", "https://host/tenant" },
        { "https://host/tenant/", "https://host/tenant" },
        { "https://host/a/b/v2.0", "https://host/a/b/v2.0" },
        { "http://host", "http://host" },
        { "http://h/", "http://h" },
        { "HTTPS://Host/Tenant", "HTTPS://Host/Tenant" },
        { "hTTp://host", "hTTp://host" },
        { "https://host:8443", "https://host:8443" },
        { "https://host:8443/", "https://host:8443" },
        { "https://host:1/t", "https://host:1/t" },
        { "https://host:9090/", "https://host:9090" },
        { "https://host:65535/", "https://host:65535" },
        { "https://127.0.0.1:8080/", "https://127.0.0.1:8080" },
        { "https://[::1]", "https://[::1]" },
        { "https://[2001:db8::1]:8443/t/", "https://[2001:db8::1]:8443/t" },
        { "https://[::ffff:192.0.2.1]/", "https://[::ffff:192.0.2.1]" },
        { "https://sub.host-name.example_x.com.", "https://sub.host-name."
          "example_x.com." },
        { "https://host/a:b@c/~d;e,f=g&h!$'()*+%20-._", "https://host/a:b@c/~d"
          ";e,f=g&h!$'()*+%20-._" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uri = uri_of(cases[i].issuer, strlen(cases[i].issuer));
        assert_non_null(uri);
        (void) snprintf(expected, sizeof(expected), "%s" WELL_KNOWN,
                        cases[i].base);
        assert_string_equal(uri, expected);
    }
}


static void
asks_nothing_else(void **state)
{
    int       c;
    char      byte[] = "https://host/a?b";
    size_t    i;

    static const char *const  issuers[] = {
        "", "https", "https:", "https:/", "https://", "http://", "https:///",
        "https:///path", "https://:443", "https://:443/", "https://?x",
        "https://#x", "https://@host", "https://@", "https://user@host",
        "https://user:secret@host/", "https://host@evil.example/",
        "https://host?x", "https://host/?x", "https://host/t?x=1",
        "https://host/?", "https://host?", "https://host#", "https://host/#x",
        "https://host:", "https://host:/", "https://host:0",
        "https://host:00", "https://host:080", "https://host:65536",
        "https://host:99999999999999999999999", "https://host:-1",
        "https://host:+1", "https://host:80a", "https://host:a",
        "https://host:80:80", "https://host:80?x", "https://host: 80",
        "https://[", "https://[]", "https://[/", "https://[::1",
        "https://[::1/", "https://[::1]x", "https://[::1]]",
        "https://[fe80::1%25eth0]/", "https://::1/", "https://[::1]:",
        "https://ho st", "https://host /", "https://host/a b", " https://host",
        "https://host ", "https://host/a\tb", "https://host/\r\nX: y",
        "https://host\\evil.example", "https://host/a\\b", "https://host/{a}",
        "https://host/<a>", "https://host/\"", "https://host/^", "https://h`",
        "https://host/|", "https://h\xc3\xb6st/", "https://host/\xc3\xb6",
        "https://host/\x7f", "https://ho%73t/", "https://host,b/",
        "https://host!/", "https://-\n", "ftp://host/", "file:///etc/passwd",
        "javascript:alert(1)", "login.example.com", "//host/", "/path",
        "httpss://host", "https//host", "https:host", "xhttps://host",
        "urn:example:issuer", "accounts.google.com"
    };

    for (i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++) {
        if (uri_of(issuers[i], strlen(issuers[i])) != NULL) {
            fail_msg("%s", issuers[i]);
        }
    }

    /* not even by its NULs */

    assert_null(uri_of("https://host\0/", 14));
    assert_null(uri_of("https://host/\0", 14));
    assert_null(uri_of("https://\0", 9));
    assert_null(uri_of("https://[::\0]", 13));
    assert_int_equal(ti_discovery_uri(pool, ti_null_str, NULL), TI_DECLINED);

    /* every byte, in a path */

    for (c = 0; c < 256; c++) {
        byte[14] = (char) c;

        assert_int_equal(uri_of(byte, 16) != NULL,
                         c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "abcdefghijklmnopqrstuvwxyz"
                                          "0123456789-._~!$&'()*+,;=:@%/", c)
                                   != NULL);
    }
}


static ti_rc_t
read_document(const char *text, const char *issuer, unsigned allowed,
    unsigned *algorithms, const char **why)
{
    ti_rc_t   rc;
    ti_str_t  uri;

    *algorithms = 0;
    *why = NULL;

    rc = ti_discovery_read(pool, ti_str_cstr(text), ti_str_cstr(issuer),
                           allowed, &uri, algorithms, why);

    if (rc == TI_OK) {
        assert_int_equal(uri.data[uri.len], '\0');
        assert_str(uri, KEYS);

    } else {
        assert_non_null(*why);
        assert_int_equal(*algorithms, 0);
    }

    return rc;
}


static void
believes_its_own_issuer(void **state)
{
    size_t       i;
    unsigned     algs;
    const char  *why;

    static const struct {
        const char  *text;
        const char  *why;                   /* NULL: good */
    } cases[] = {
        { DOCUMENT(""), NULL },
        { DOCUMENT(",\"token_endpoint\":7,\"x\":{\"issuer\":\"y\"}"), NULL },
        { "", "empty, no JSON" },
        { "[]", "JSON that is not an object" },
        { "<html>", "not JSON" },
        { DOCUMENT("") "x", "JSON with something behind it" },
        { DOCUMENT(",\"issuer\":\"https://evil.example/\""),
          "JSON with a duplicate member" },
        { "{}", "\"issuer\" in it is not this issuer" },
        { "{\"jwks_uri\":\"" KEYS "\"}",
          "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":\"https://login.example.com\",\"jwks_uri\":\"" KEYS
          "\"}", "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":\"https://login.example.com//\",\"jwks_uri\":\"" KEYS
          "\"}", "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":\"https://Login.example.com/\",\"jwks_uri\":\"" KEYS
          "\"}", "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":\"HTTPS://login.example.com/\",\"jwks_uri\":\"" KEYS
          "\"}", "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":\"\",\"jwks_uri\":\"" KEYS "\"}",
          "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":null,\"jwks_uri\":\"" KEYS "\"}",
          "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":[\"" ISSUER "\"],\"jwks_uri\":\"" KEYS "\"}",
          "\"issuer\" in it is not this issuer" },
        { "{\"issuer\":\"" ISSUER "\"}",
          "\"jwks_uri\" is absent, empty or not a string" },
        { "{\"issuer\":\"" ISSUER "\",\"jwks_uri\":\"\"}",
          "\"jwks_uri\" is absent, empty or not a string" },
        { "{\"issuer\":\"" ISSUER "\",\"jwks_uri\":null}",
          "\"jwks_uri\" is absent, empty or not a string" },
        { "{\"issuer\":\"" ISSUER "\",\"jwks_uri\":[\"" KEYS "\"]}",
          "\"jwks_uri\" is absent, empty or not a string" },
        { "{\"issuer\":\"" ISSUER "\",\"jwks\":{\"keys\":[]}}",
          "\"jwks_uri\" is absent, empty or not a string" },
        { "{\"issuer\":\"" ISSUER "\",\"jwks_uri\":\"a\\u0000b\"}",
          "not JSON" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(read_document(cases[i].text, ISSUER, TI_ALG_RS256,
                                       &algs, &why),
                         cases[i].why == NULL ? TI_OK : TI_DECLINED);

        if (cases[i].why != NULL) {
            assert_string_equal(why, cases[i].why);

        } else {
            assert_int_equal(algs, TI_ALG_RS256);
        }
    }
}


static void
intersects_algorithms(void **state)
{
    size_t       i;
    unsigned     algs;
    const char  *why;

    static const struct {
        const char  *text;
        unsigned     allowed;
        unsigned     left;                  /* 0: refused */
    } cases[] = {
        { DOCUMENT(""), TI_ALG_RS256|TI_ALG_ES256, TI_ALG_RS256|TI_ALG_ES256 },
        { ALGS("[\"RS256\"]"), TI_ALG_RS256|TI_ALG_ES256, TI_ALG_RS256 },
        { ALGS("[\"RS256\",\"ES256\",\"EdDSA\"]"), TI_ALG_ES256,
          TI_ALG_ES256 },
        { ALGS("[\"PS256\",\"ES256\"]"), TI_ALG_RS256, 0 },
        { ALGS("[\"RS256\",\"RS256\",\"x\",7,null,[\"ES256\"],\"none\"]"),
          TI_ALG_RS256|TI_ALG_ES256, TI_ALG_RS256 },
        { ALGS("[]"), TI_ALG_RS256, 0 },
        { ALGS("[\"none\"]"), TI_ALG_RS256, 0 },
        { ALGS("[\"rs256\"]"), TI_ALG_RS256, 0 },
        { ALGS("[\"RS256 \"]"), TI_ALG_RS256, 0 },
        { ALGS("\"RS256\""), TI_ALG_RS256, 0 },
        { ALGS("{\"RS256\":true}"), TI_ALG_RS256, 0 },
        { ALGS("null"), TI_ALG_RS256, 0 },
        { ALGS("[\"HS256\",\"RS256\"]"), TI_ALG_RS256, TI_ALG_RS256 },
        { DOCUMENT(""), 0, 0 },
        { ALGS("[\"RS256\"]"), 0, 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(read_document(cases[i].text, ISSUER, cases[i].allowed,
                                       &algs, &why),
                         cases[i].left != 0 ? TI_OK : TI_DECLINED);
        assert_int_equal(algs, cases[i].left);

        if (cases[i].left == 0) {
            assert_string_equal(why, "it lists none of the allowed "
                                "algorithms");
        }
    }
}


static void
says_when_memory_is_out(void **state)
{
    unsigned     algs;
    ti_str_t     uri;
    const char  *why;

    unit.left = 0;

    assert_int_equal(ti_discovery_uri(pool, ti_str(ISSUER), &uri), TI_ERROR);

    algs = 0;
    assert_int_equal(ti_discovery_read(pool, ti_str(DOCUMENT("")),
                                       ti_str(ISSUER), TI_ALG_RS256, &uri,
                                       &algs, &why),
                     TI_ERROR);
    assert_string_equal(why, "no memory");
}


/* Exactly as much as is allowed, and one byte more. */

static void
reads_no_more_than_its_size(void **state)
{
    char        *text;
    size_t       len;
    unsigned     algs;
    const char  *why;

    text = malloc(TI_DISCOVERY_MAX_SIZE + 2);
    assert_non_null(text);
    memset(text, ' ', TI_DISCOVERY_MAX_SIZE + 1);
    len = strlen(DOCUMENT(""));
    memcpy(text, DOCUMENT(""), len);

    text[TI_DISCOVERY_MAX_SIZE] = '\0';
    assert_int_equal(read_document(text, ISSUER, TI_ALG_RS256, &algs, &why),
                     TI_OK);

    text[TI_DISCOVERY_MAX_SIZE] = ' ';
    text[TI_DISCOVERY_MAX_SIZE + 1] = '\0';
    assert_int_equal(read_document(text, ISSUER, TI_ALG_RS256, &algs, &why),
                     TI_DECLINED);

    free(text);
}


static void
finds_endpoints(void **state)
{
    const char                *why;
    ti_discovery_endpoints_t   found;

    assert_int_equal(ti_discovery_endpoints(pool,
                         ti_str(DOCUMENT(",\"token_endpoint\":\"https://a/t\""
                                ",\"userinfo_endpoint\":17,"
                                "\"revocation_endpoint\":\"\","
                                "\"authorization_response_iss_parameter"
                                "_supported\":true")),
                         ti_str(ISSUER), &found, &why), TI_OK);
    assert_true(ti_str_eq(found.token, ti_str("https://a/t")));
    assert_int_equal(found.token.data[found.token.len], '\0');
    assert_int_equal(found.authorization.len, 0);
    assert_int_equal(found.userinfo.len, 0);
    assert_int_equal(found.revocation.len, 0);
    assert_int_equal(found.iss, 1);

    assert_int_equal(ti_discovery_endpoints(pool, ti_str(DOCUMENT("")),
                                            ti_str(ISSUER), &found, &why),
                     TI_OK);
    assert_int_equal(found.iss, 0);

    assert_int_equal(ti_discovery_endpoints(pool, ti_str(DOCUMENT("")),
                                            ti_str("https://other/"), &found,
                                            &why),
                     TI_DECLINED);
    assert_string_equal(why, "\"issuer\" in it is not this issuer");
    assert_int_equal(ti_discovery_endpoints(pool, ti_str("<html>"),
                                            ti_str(ISSUER), &found, &why),
                     TI_DECLINED);

    unit.left = 0;
    assert_int_equal(ti_discovery_endpoints(pool, ti_str(DOCUMENT("")),
                                            ti_str(ISSUER), &found, &why),
                     TI_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(knows_where_to_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(asks_nothing_else, setup, teardown),
        cmocka_unit_test_setup_teardown(believes_its_own_issuer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(intersects_algorithms, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(finds_endpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_memory_is_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(reads_no_more_than_its_size, setup,
                                        teardown)
    };

    return cmocka_run_group_tests_name("ti_discovery", tests, NULL, NULL);
}
