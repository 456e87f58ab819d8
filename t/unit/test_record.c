/*
 * Token records: names, seal, open, re-wrap, each rule of the format page.
 */

#include "record_fixture.h"


#define CONNECT  TI_RESULT_CONNECTION_REQUIRED


static ti_str_t
sealed_for(const ti_record_ref_t *ref)
{
    ti_str_t     sealed;
    ti_record_t  record;

    record = token_of(TOKEN);
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, ref,
                                    &record, &sealed), TI_OK);

    return sealed;
}


static ti_record_ref_t
app_ref(void)
{
    ti_record_ref_t  ref;

    ref = rm_ref();
    ref.who.issuer = ref.who.tenant = ref.who.subject = ti_null_str;
    ref.device = ti_str("-");
    ref.user_key = NULL;

    return ref;
}


/* --- names ---------------------------------------------------------------- */

static void
user_keys(void **state)
{
    size_t         i;
    unsigned char  key[TI_KEY_LEN];

    static const char *const  bad[] = {
        "",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        " AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    };

    assert_int_equal(ti_user_key_decode(ti_str("_AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                                               "AAAAAAAAAAAAA"), key), TI_OK);
    assert_int_equal(key[0], 0xFC);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ti_user_key_decode(ti_str_cstr(bad[i]), key),
                         TI_DECLINED);
    }
}


static void
providers(void **state)
{
    int            c;
    char           name[66];
    unsigned char  one;

    for (c = 0; c < 256; c++) {
        one = (unsigned char) c;
        assert_int_equal(ti_record_provider_valid(ti_str_from(&one, 1)),
                         c != 0 && strchr("abcdefghijklmnopqrstuvwxyz"
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-", c) != NULL);
    }

    memset(name, 'p', sizeof(name));
    assert_true(ti_record_provider_valid(ti_str_from(name, 64)));
    assert_false(ti_record_provider_valid(ti_str_from(name, 65)));
    assert_false(ti_record_provider_valid(ti_null_str));
}


static void
names_tell_users_apart(void **state)
{
    size_t         i, j;
    unsigned char  user[5][TI_RECORD_USER_LEN];

    const ti_who_t  who[5] = {
        { ti_str("i"), ti_str("t"), ti_str("s") },
        { ti_str("i"), ti_str(""), ti_str("ts") },
        { ti_str("i"), ti_str("ts"), ti_str("") },
        { ti_str("it"), ti_str(""), ti_str("s") },
        { ti_str("i"), ti_str("t"), ti_str("S") }
    };

    for (i = 0; i < 5; i++) {
        assert_int_equal(ti_record_user(crypto, ring, &who[i], user[i]),
                         TI_OK);

        for (j = 0; j < i; j++) {
            assert_memory_not_equal(user[i], user[j], TI_RECORD_USER_LEN);
        }
    }
}


/* --- what opens ----------------------------------------------------------- */

static void
sealed_opens(void **state)
{
    size_t           i;
    ti_str_t         sealed;
    ti_record_t      record, got;
    ti_record_ref_t  refs[3];

    refs[0] = rm_ref();
    refs[1] = app_ref();
    refs[2] = rm_ref();
    refs[2].kind = TI_RECORD_REFRESH;
    refs[2].gen = TI_RECORD_GEN_MAX;

    for (i = 0; i < 3; i++) {
        record = token_of(TOKEN);
        record.scope = ti_str("Mail.Read \"Files\"");
        record.token_type = ti_str("bEARER");

        if (i == 2) {
            record.expires = 0;
        }

        assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring,
                                        &refs[i], &record, &sealed), TI_OK);
        assert_int_equal(open_as(&refs[i], sealed, &got), TI_RESULT_OK);
        assert_true(ti_str_eq(got.token, record.token));
        assert_true(ti_str_eq(got.scope, record.scope));
        assert_int_equal(got.token_type.len, 0);
        assert_int_equal(got.expires, record.expires);
    }
}


static void
two_seals_differ(void **state)
{
    ti_str_t         a, b;
    ti_record_ref_t  ref;

    ref = rm_ref();
    a = sealed_for(&ref);
    b = sealed_for(&ref);

    assert_false(ti_str_eq(a, b));
}


static void
any_key_opens(void **state)
{
    rm_record_t      r;
    ti_record_t      record;
    ti_record_ref_t  ref;

    ref = rm_ref();
    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "\"one\"", "\"two\"");
    r.outer.secret = RM_SEALING_2;
    assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);

    /* chosen by kid, not by trial */
    r.outer.secret = RM_SEALING_1;
    expect("kid of another key", &ref, rm_wrap(&r), RECONNECT);
}


static void
bound_to_whom(void **state)
{
    size_t           i;
    ti_str_t         sealed;
    ti_record_t      record;
    ti_record_ref_t  ref, others[11];

    ref = rm_ref();
    sealed = sealed_for(&ref);
    assert_int_equal(open_as(&ref, sealed, &record), TI_RESULT_OK);

    for (i = 0; i < 11; i++) {
        others[i] = ref;
    }

    others[0].who.subject = ti_str("bob");
    others[1].who.subject = ti_str("");
    others[2].who.tenant = ti_str("fabrikam");
    others[3].who.tenant = ti_null_str;
    others[4].who.issuer = ti_str("https://login.example.com");
    others[5].provider = ti_str("Outlook");
    others[6].device = ti_str("device-of-bob000");
    others[7].kind = TI_RECORD_REFRESH;
    others[8].gen = 8;
    others[9].cid = ti_str("AQECAwQFBgcICQoLDA0ODw");
    others[10].who.tenant = ti_str("contosoalice");
    others[10].who.subject = ti_null_str;

    for (i = 0; i < 11; i++) {
        expect("another's record", &others[i], sealed, RECONNECT);
    }
}


static void
wrong_user_key(void **state)
{
    ti_str_t         sealed;
    rm_record_t      r;
    ti_record_ref_t  ref;

    ref = rm_ref();
    sealed = sealed_for(&ref);
    ref.user_key = (const unsigned char *) RM_OTHER_KEY;
    expect("wrong user key", &ref, sealed, CONNECT);

    /* the wrong layers: there was a key, or there was none */
    ref.user_key = NULL;
    expect("no user key", &ref, sealed, RECONNECT);

    rm_record(&r, &ref, ti_str(TOKEN));
    ref = rm_ref();
    expect("no inner layer", &ref, rm_wrap(&r), RECONNECT);
}


/* An inner layer's text that is none, under a good outer layer. */

static void
broken_inner(void **state)
{
    size_t           i;
    rm_record_t      r;
    ti_record_ref_t  ref;

    static const char *const  texts[] = {
        "", ".", "....", ".....", TOKEN, "a.b.c.d.e",
        "e30..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA"
    };

    ref = rm_ref();

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        rm_record(&r, &ref, ti_null_str);
        r.outer.payload = ti_str_cstr(texts[i]);
        expect(texts[i], &ref, rm_seal(&r.outer), CONNECT);
        rm_reset();
    }
}


/* --- headers -------------------------------------------------------------- */

#define CTX    "\"ctx\":\""
#define OUTER  0
#define INNER  1


static const struct {
    int           layer;
    ti_result_t   result;
    const char   *find;
    const char   *replace;
} headers[] = {
    { OUTER, TI_RESULT_OK, "{", "{\"x\":{\"y\":[1,null,\"z\"]},\"b64\":1," },
    { INNER, TI_RESULT_OK, "{", "{\"typ\":\"x\",\"kid\":3,\"gen\":1.5," },
    { OUTER, TI_RESULT_OK, "{", " {\n" },
    { OUTER, TI_RESULT_OK, "{", "{\"token_type\":\"mac\",\"scope\":7," },
    { INNER, TI_RESULT_OK, "{", "{\"token_type\":\"BEARER\"," },
    { INNER, TI_RESULT_OK, "{", "{\"token_type\":\"bearer\"," },

    { OUTER, RECONNECT, "{", "" },
    { OUTER, RECONNECT, "{", "[" },
    { OUTER, RECONNECT, "}", "} x" },
    { OUTER, RECONNECT, "{", "{\"crit\":[]," },
    { OUTER, RECONNECT, "{", "{\"crit\":null," },
    { OUTER, RECONNECT, "{", "{\"zip\":\"DEF\"," },
    { OUTER, RECONNECT, "{", "{\"zip\":null," },
    { OUTER, RECONNECT, "{", "{\"gen\":7," },
    { OUTER, RECONNECT, "{", "{\"x\":1,\"x\":1," },
    { OUTER, RECONNECT, "\"dir\"", "\"DIR\"" },
    { OUTER, RECONNECT, "\"dir\"", "\"none\"" },
    { OUTER, RECONNECT, "\"dir\"", "[\"dir\"]" },
    { OUTER, RECONNECT, "\"alg\":\"dir\",", "" },
    { OUTER, RECONNECT, "A256GCM", "A128GCM" },
    { OUTER, RECONNECT, "A256GCM", "a256gcm" },
    { OUTER, RECONNECT, "A256GCM", "A256CBC-HS512" },
    { OUTER, RECONNECT, "\"enc\":\"A256GCM\",", "" },
    { OUTER, RECONNECT, "\"salt\"", "\"Salt\"" },
    { OUTER, RECONNECT, "\"salt\":\"", "\"salt\":\"A" },
    { OUTER, RECONNECT, "\"salt\":\"", "\"salt\":7,\"x\":\"" },
    { OUTER, RECONNECT, "\"kid\":\"one\",", "" },
    { OUTER, RECONNECT, "\"one\"", "\"\"" },
    { OUTER, RECONNECT, "\"one\"", "\"One\"" },
    { OUTER, RECONNECT, "\"one\"", "1" },
    { OUTER, RECONNECT, "\"one\"", "\"i\"" },
    { OUTER, RECONNECT, "\"typ\":\"ti-record\",", "" },
    { OUTER, RECONNECT, "ti-record", "JOSE" },
    { OUTER, RECONNECT, "ti-record", "TI-RECORD" },
    { OUTER, RECONNECT, "\"cty\":\"JWE\",", "" },
    { OUTER, RECONNECT, "\"JWE\"", "\"token\"" },
    { OUTER, RECONNECT, "\"JWE\"", "\"JWT\"" },
    { OUTER, RECONNECT, "\"JWE\"", "null" },
    { OUTER, RECONNECT, CTX, "\"x\":\"" },
    { OUTER, RECONNECT, CTX, "\"ctx\":\"A" },
    { OUTER, RECONNECT, CTX, "\"ctx\":null,\"x\":\"" },
    { OUTER, RECONNECT, "\"gen\":7,", "" },
    { OUTER, RECONNECT, "\"gen\":7", "\"gen\":\"7\"" },
    { OUTER, RECONNECT, "\"gen\":7", "\"gen\":7.0" },
    { OUTER, RECONNECT, "\"gen\":7", "\"gen\":8" },
    { OUTER, RECONNECT, "\"gen\":7", "\"gen\":-7" },
    { OUTER, RECONNECT, "\"gen\":7", "\"gen\":9007199254740992" },
    { OUTER, RECONNECT, "\"gen\":7", "\"gen\":1e300" },
    { OUTER, RECONNECT, "\"cid\":\"" RM_CID "\",", "" },
    { OUTER, RECONNECT, "AAECAwQ", "AQECAwQ" },
    { OUTER, RECONNECT, "DA0ODw\"", "DA0ODx\"" },
    { OUTER, RECONNECT, "\"" RM_CID "\"", "null" },
    { OUTER, RECONNECT, ",\"exp\":1795290000", "" },
    { OUTER, RECONNECT, "1795290000", "1795290000.5" },
    { OUTER, RECONNECT, "1795290000", "1795290000.0" },
    { OUTER, RECONNECT, "1795290000", "1e300" },
    { OUTER, RECONNECT, "1795290000", "1e999" },
    { OUTER, RECONNECT, "1795290000", "9007199254740992" },
    { OUTER, RECONNECT, "1795290000", "99999999999999999999" },
    { OUTER, RECONNECT, "1795290000", "0" },
    { OUTER, RECONNECT, "1795290000", "-1" },
    { OUTER, RECONNECT, "1795290000", "\"1795290000\"" },
    { OUTER, RECONNECT, "1795290000", "null" },

    { INNER, CONNECT, "{", "" },
    { INNER, CONNECT, "}", "}}" },
    { INNER, CONNECT, "{", "{\"crit\":[]," },
    { INNER, CONNECT, "{", "{\"zip\":\"DEF\"," },
    { INNER, CONNECT, "{", "{\"cty\":\"token\"," },
    { INNER, CONNECT, "\"dir\"", "\"A256KW\"" },
    { INNER, CONNECT, "\"alg\":\"dir\",", "" },
    { INNER, CONNECT, "A256GCM", "A192GCM" },
    { INNER, CONNECT, "\"enc\":\"A256GCM\",", "" },
    { INNER, CONNECT, "\"salt\":\"", "\"salt\":\"A" },
    { INNER, CONNECT, "\"salt\"", "\"x\"" },
    { INNER, CONNECT, "\"token\"", "\"JWE\"" },
    { INNER, CONNECT, "\"cty\":\"token\",", "" },
    { INNER, CONNECT, CTX, "\"ctx\":\"A" },
    { INNER, CONNECT, CTX, "\"x\":\"" },

    { INNER, RECONNECT, "{", "{\"token_type\":\"mac\"," },
    { INNER, RECONNECT, "{", "{\"token_type\":\"\"," },
    { INNER, RECONNECT, "{", "{\"token_type\":\"Bearer \"," },
    { INNER, RECONNECT, "{", "{\"token_type\":null," },
    { INNER, RECONNECT, "{", "{\"token_type\":[\"Bearer\"]," },
    { INNER, RECONNECT, "{", "{\"scope\":[]," }
};


static void
header_rules(void **state)
{
    char             what[160];
    size_t           i;
    rm_layer_t      *layer;
    rm_record_t      r;
    ti_record_ref_t  ref;

    ref = rm_ref();

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        rm_record(&r, &ref, ti_str(TOKEN));
        layer = (headers[i].layer == OUTER) ? &r.outer : &r.inner;
        layer->header = rm_replace(layer->header, headers[i].find,
                                   headers[i].replace);

        snprintf(what, sizeof(what), "%s: %s -> %s",
                 headers[i].layer == OUTER ? "outer" : "inner",
                 headers[i].find, headers[i].replace);
        expect(what, &ref, rm_wrap(&r), headers[i].result);
        rm_reset();
    }
}


/* ctx decides in each layer on its own, whatever key that one is under. */

static void
inner_of_another(void **state)
{
    rm_record_t      mine, others;
    ti_record_ref_t  ref, other;

    ref = rm_ref();
    other = rm_ref();
    other.gen = 6;

    rm_record(&mine, &ref, ti_str(TOKEN));
    rm_record(&others, &other, ti_str(TOKEN));

    mine.outer.payload = rm_seal(&others.inner);
    expect("inner of another gen", &ref, rm_seal(&mine.outer), CONNECT);

    /* its header says ours, its key is the other's */
    others.inner.header = mine.inner.header;
    mine.outer.payload = rm_seal(&others.inner);
    expect("inner under another ctx", &ref, rm_seal(&mine.outer), CONNECT);

    others.outer.header = mine.outer.header;
    expect("outer under another ctx", &ref, rm_wrap(&others), RECONNECT);

    /* its key is ours, its header says the other's */
    rm_record(&mine, &ref, ti_str(TOKEN));
    rm_record(&others, &other, ti_str(TOKEN));
    mine.inner.header = others.inner.header;
    expect("inner that says another ctx", &ref, rm_wrap(&mine), CONNECT);

    rm_record(&mine, &ref, ti_str(TOKEN));
    mine.outer.header = rm_replace(mine.outer.header, rm_b64u(mine.ctx, 32),
                                   rm_b64u(others.ctx, 32));
    expect("outer that says another ctx", &ref, rm_wrap(&mine), RECONNECT);
}


/* The header of the layer with the payload speaks for it. */

static void
app_headers(void **state)
{
    rm_record_t      r;
    ti_record_t      record;
    ti_record_ref_t  ref;

    ref = app_ref();
    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "{",
                                "{\"token_type\":\"mac\",");
    expect("token_type", &ref, rm_wrap(&r), RECONNECT);

    rm_record(&r, &ref, ti_str(TOKEN));
    r.outer.header = rm_replace(r.outer.header, "{", "{\"scope\":\"a b\",");
    assert_int_equal(open_as(&ref, rm_wrap(&r), &record), TI_RESULT_OK);
    assert_true(ti_str_eq(record.scope, ti_str("a b")));
}


/* What the hash itself says may be nonsense, too: sealed so or not. */

static void
impossible_refs(void **state)
{
    size_t           i;
    ti_str_t         sealed;
    rm_record_t      r;
    ti_record_t      record;
    ti_record_ref_t  refs[7];

    for (i = 0; i < 7; i++) {
        refs[i] = rm_ref();
    }

    refs[0].gen = 0;
    refs[1].gen = TI_RECORD_GEN_MAX + 1;
    refs[2].cid = ti_null_str;
    refs[3].cid = ti_str("AAECAwQFBgcICQoLDA0ODx");
    refs[4].kind = TI_RECORD_PENDING;
    refs[4].cid = ti_null_str;
    refs[5].kind = TI_RECORD_PENDING;
    refs[5].gen = 0;
    refs[6].kind = TI_RECORD_PREVIOUS;
    refs[6].gen = 0;

    for (i = 0; i < 7; i++) {
        rm_record(&r, &refs[i], ti_str(TOKEN));
        expect("impossible ref", &refs[i], rm_wrap(&r), RECONNECT);

        record = token_of(TOKEN);
        assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring,
                                        &refs[i], &record, &sealed),
                         TI_DECLINED);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_teardown(user_keys, clean),
        cmocka_unit_test_teardown(providers, clean),
        cmocka_unit_test_teardown(names_tell_users_apart, clean),
        cmocka_unit_test_teardown(sealed_opens, clean),
        cmocka_unit_test_teardown(two_seals_differ, clean),
        cmocka_unit_test_teardown(any_key_opens, clean),
        cmocka_unit_test_teardown(bound_to_whom, clean),
        cmocka_unit_test_teardown(wrong_user_key, clean),
        cmocka_unit_test_teardown(broken_inner, clean),
        cmocka_unit_test_teardown(header_rules, clean),
        cmocka_unit_test_teardown(inner_of_another, clean),
        cmocka_unit_test_teardown(app_headers, clean),
        cmocka_unit_test_teardown(impossible_refs, clean)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
