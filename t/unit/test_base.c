#include "unit.h"


static void
compares_bytes(void **state)
{
    assert_true(ti_str_eq(ti_str("a\0b"), ti_str("a\0b")));
    assert_false(ti_str_eq(ti_str("a\0b"), ti_str("a\0c")));
    assert_false(ti_str_eq(ti_str("ab"), ti_str("abc")));
    assert_false(ti_str_eq(ti_str("ab"), ti_str("AB")));
    assert_true(ti_str_eq(ti_null_str, ti_str("")));
    assert_true(ti_str_eq(ti_str_cstr("x=1"), ti_str_from("x=12", 3)));
}


static void
folds_ascii_letters_only(void **state)
{
    int            c;
    unsigned char  a[1], b[1];

    assert_true(ti_str_caseeq(ti_str("BeArEr-9"), ti_str("bEaReR-9")));
    assert_false(ti_str_caseeq(ti_str("bearer"), ti_str("bearer ")));
    assert_true(ti_str_caseeq(ti_null_str, ti_str("")));

    /* "@" and "`", "[" and "{", and Latin letters differ by that bit too */

    for (c = 0; c < 256; c++) {
        a[0] = (unsigned char) c;
        b[0] = (unsigned char) (c ^ 0x20);

        assert_int_equal(
            ti_str_caseeq(ti_str_from(a, 1), ti_str_from(b, 1)),
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'));
    }
}


/* directives.md, "Results", line by line */

static const struct {
    ti_result_t  result;
    const char  *name;
    unsigned     status;
    unsigned     retry_after;
} results[] = {
    { TI_RESULT_OK, "ok", 200, 0 },
    { TI_RESULT_TOKEN_MISSING, "token-missing", 401, 0 },
    { TI_RESULT_TOKEN_INVALID, "token-invalid", 401, 0 },
    { TI_RESULT_TOKEN_EXPIRED, "token-expired", 401, 0 },
    { TI_RESULT_CALLER_REJECTED, "caller-rejected", 401, 0 },
    { TI_RESULT_SEGMENT_EXCLUDED, "segment-excluded", 403, 0 },
    { TI_RESULT_USER_KEY_REQUIRED, "user-key-required", 400, 0 },
    { TI_RESULT_CONNECTION_REQUIRED, "connection-required", 403, 0 },
    { TI_RESULT_RECONNECT_REQUIRED, "reconnect-required", 403, 0 },
    { TI_RESULT_ADMIN_CONSENT_REQUIRED, "admin-consent-required", 403, 0 },
    { TI_RESULT_STORE_UNAVAILABLE, "store-unavailable", 503, 1 },
    { TI_RESULT_KEYS_UNAVAILABLE, "keys-unavailable", 503, 1 },
    { TI_RESULT_PROVIDER_UNAVAILABLE, "provider-unavailable", 502, 0 },
    { TI_RESULT_PROVIDER_THROTTLED, "provider-throttled", 429, 1 },
    { TI_RESULT_REQUEST_INVALID, "request-invalid", 400, 0 },
    { TI_RESULT_STATE_INVALID, "state-invalid", 400, 0 },
    { TI_RESULT_PROVIDER_UNKNOWN, "provider-unknown", 404, 0 },
    { TI_RESULT_INTERNAL_ERROR, "internal-error", 500, 0 },
    { TI_RESULT_PROVIDER_MISCONFIGURED, "provider-misconfigured", 502, 0 }
};


static void
has_the_results_of_the_design(void **state)
{
    char                     type[64];
    size_t                   i, k;
    const ti_result_info_t  *info;

    assert_int_equal(sizeof(results) / sizeof(results[0]), TI_RESULT_LAST);

    for (i = 0; i < TI_RESULT_LAST; i++) {
        info = ti_result_info(results[i].result);

        assert_str(info->name, results[i].name);
        assert_int_equal(info->status, results[i].status);
        assert_int_equal(info->retry_after, results[i].retry_after);

        snprintf(type, sizeof(type), "urn:ngx-token-injector:%s",
                 results[i].name);
        assert_str(info->type, type);

        /* a title goes into JSON and WWW-Authenticate as it is */

        assert_in_range(info->title.len, 2, 60);

        for (k = 0; k < info->title.len; k++) {
            assert_in_range(info->title.data[k], 0x20, 0x7e);
            assert_int_not_equal(info->title.data[k], '"');
            assert_int_not_equal(info->title.data[k], '\\');
        }
    }
}


static void
takes_no_result_for_an_error(void **state)
{
    const ti_result_info_t  *internal;

    internal = ti_result_info(TI_RESULT_INTERNAL_ERROR);

    assert_ptr_equal(ti_result_info(TI_RESULT_LAST), internal);
    assert_ptr_equal(ti_result_info((ti_result_t) -1), internal);
    assert_ptr_equal(ti_result_info((ti_result_t) 0x7fffffff), internal);
}


static void
copies_into_a_pool(void **state)
{
    ti_str_t          source, copy;
    unit_pool_t       unit;
    const ti_pool_t  *pool;

    pool = unit_pool_create(&unit);
    source = ti_str("a\0b");

    assert_int_equal(ti_pool_copy(pool, source, &copy), TI_OK);
    assert_true(ti_str_eq(copy, source));
    assert_ptr_not_equal(copy.data, source.data);

    /* absent stays absent, empty stays empty */

    assert_int_equal(ti_pool_copy(pool, ti_null_str, &copy), TI_OK);
    assert_null(copy.data);
    assert_int_equal(ti_pool_copy(pool, ti_str(""), &copy), TI_OK);
    assert_non_null(copy.data);
    assert_int_equal(copy.len, 0);

    unit.left = 0;
    assert_int_equal(ti_pool_copy(pool, source, &copy), TI_ERROR);

    unit_pool_free(&unit);
}


static ti_rc_t
decode(const char *text, size_t len, unsigned char *dst, size_t *n)
{
    ti_rc_t         rc;
    unsigned char  *exact;

    /* a copy of exactly that length, so that a sanitizer sees its end */

    exact = malloc(len + 1);
    memcpy(exact, text, len);
    exact = realloc(exact, len ? len : 1);

    rc = ti_b64u_decode(dst, n, ti_str_from(exact, len));
    free(exact);

    return rc;
}


static const struct {
    const char  *bytes;
    const char  *text;
} b64u[] = {
    { "", "" },                             /* RFC 4648 section 10 */
    { "f", "Zg" },
    { "fo", "Zm8" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg" },
    { "fooba", "Zm9vYmE" },
    { "foobar", "Zm9vYmFy" },
    { "\xff\xff\xbe", "__--" },
    { "\003\354\377\340\301", "A-z_4ME" }   /* RFC 7515 appendix C */
};


static void
encodes_and_decodes_the_rfcs(void **state)
{
    size_t         i, n, len;
    unsigned char  buf[16];

    for (i = 0; i < sizeof(b64u) / sizeof(b64u[0]); i++) {
        len = strlen(b64u[i].text);

        n = ti_b64u_encode(buf, ti_str_cstr(b64u[i].bytes));
        assert_int_equal(n, len);
        assert_int_equal(n, ti_b64u_len(strlen(b64u[i].bytes)));
        assert_memory_equal(buf, b64u[i].text, n);

        assert_int_equal(decode(b64u[i].text, len, buf, &n), TI_OK);
        assert_int_equal(n, strlen(b64u[i].bytes));
        assert_int_equal(n, ti_b64u_decoded_len(len));
        assert_memory_equal(buf, b64u[i].bytes, n);
    }
}


static void
decodes_what_it_encoded(void **state)
{
    size_t         i, n, len;
    unsigned char  bytes[300], text[401], back[300];

    for (len = 0; len <= sizeof(bytes); len++) {
        for (i = 0; i < len; i++) {
            bytes[i] = (unsigned char) (i * 167 + len * 13);
        }

        /* the byte behind must stay */

        text[ti_b64u_len(len)] = '!';
        n = ti_b64u_encode(text, ti_str_from(bytes, len));
        assert_int_equal(n, ti_b64u_len(len));
        assert_int_equal(text[n], '!');

        assert_int_equal(decode((char *) text, n, back, &n), TI_OK);
        assert_int_equal(n, len);
        assert_memory_equal(back, bytes, len);
    }
}


static void
refuses_any_other_character(void **state)
{
    int            c, known;
    char           text[12];
    size_t         at, len, n;
    unsigned char  buf[16];

    for (len = 2; len <= 11; len++) {
        if (len % 4 == 1) {
            continue;
        }

        for (at = 0; at < len; at++) {
            for (c = 0; c < 256; c++) {
                memset(text, 'A', len);
                text[at] = (char) c;

                known = c != '\0'
                        && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz"
                                  "0123456789-_", c) != NULL;

                /* the bits of the last one are another test's */

                if (known && at == len - 1 && len % 4 != 0) {
                    continue;
                }

                assert_int_equal(decode(text, len, buf, &n),
                                 known ? TI_OK : TI_DECLINED);
            }
        }
    }
}


static void
refuses_what_is_not_canonical(void **state)
{
    size_t              i, n;
    unsigned char       buf[16];
    static const char  *wrong[] = {
        "A", "AAAAA", "Zg=", "Zg==", "Zm8=", "Zm9v====", "=", "====",
        "Zh", "Zm9", "Zm9vYh", "Zm9vYmF", "Z_", "AA\n", "AAAA\n", " AAAA",
        "AA AA", "AAAA\r\n", "++++", "////"
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(decode(wrong[i], strlen(wrong[i]), buf, &n),
                         TI_DECLINED);
    }

    assert_int_equal(decode("Zg\0\0", 4, buf, &n), TI_DECLINED);
}


static void
accepts_one_spelling_of_each_tail(void **state)
{
    int                accepted, v;
    char               text[3];
    size_t             n;
    unsigned char      buf[3];
    static const char  alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz0123456789-_";

    accepted = 0;
    text[0] = 'Z';

    for (v = 0; v < 64; v++) {
        text[1] = alphabet[v];
        accepted += (decode(text, 2, buf, &n) == TI_OK);
    }

    assert_int_equal(accepted, 4);          /* 2 of its 6 bits are free */

    accepted = 0;
    text[1] = 'm';

    for (v = 0; v < 64; v++) {
        text[2] = alphabet[v];
        accepted += (decode(text, 3, buf, &n) == TI_OK);
    }

    assert_int_equal(accepted, 16);
}


static void
reads_minimal_decimals(void **state)
{
    size_t              i;
    uint64_t            value;
    static const char  *wrong[] = {
        "", "-1", "+1", " 1", "1 ", "01", "00", "1.0", "1e3", "0x1", "a",
        "18446744073709551616", "99999999999999999999",
        "100000000000000000000", "184467440737095516150"
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(ti_decimal_parse(ti_str_cstr(wrong[i]), UINT64_MAX,
                                          &value),
                         TI_DECLINED);
    }

    assert_int_equal(ti_decimal_parse(ti_str("0"), 0, &value), TI_OK);
    assert_int_equal(value, 0);
    assert_int_equal(ti_decimal_parse(ti_str("1"), 0, &value), TI_DECLINED);
    assert_int_equal(ti_decimal_parse(ti_str("42"), 42, &value), TI_OK);
    assert_int_equal(value, 42);
    assert_int_equal(ti_decimal_parse(ti_str("43"), 42, &value), TI_DECLINED);
    assert_int_equal(ti_decimal_parse(ti_str("420"), 42, &value),
                     TI_DECLINED);
    assert_int_equal(ti_decimal_parse(ti_str("18446744073709551615"),
                                      UINT64_MAX, &value),
                     TI_OK);
    assert_true(value == UINT64_MAX);
    assert_int_equal(ti_decimal_parse(ti_str("1\0"), UINT64_MAX, &value),
                     TI_DECLINED);
}


static void
writes_what_it_reads(void **state)
{
    size_t                 i, n;
    uint64_t               value;
    unsigned char          buf[TI_DECIMAL_LEN];
    static const uint64_t  values[] = {
        0, 1, 9, 10, 99, 100, 1795286400, (UINT64_C(1) << 53) - 1,
        UINT64_MAX - 1, UINT64_MAX
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        n = ti_decimal_format(buf, values[i]);

        assert_int_equal(ti_decimal_parse(ti_str_from(buf, n), UINT64_MAX,
                                          &value),
                         TI_OK);
        assert_true(value == values[i]);
    }

    n = ti_decimal_format(buf, 1795286400);
    assert_str(ti_str_from(buf, n), "1795286400");
}


static void
encodes_lists_unambiguously(void **state)
{
    size_t                 n;
    unsigned char          a[64], b[64];
    static const ti_str_t  one[] = { ti_string("ab"), ti_string("c") };
    static const ti_str_t  two[] = { ti_string("a"), ti_string("bc") };
    static const ti_str_t  gap[] = { ti_string("user"), { NULL, 0 } };

    n = ti_enc(a, one, 2);
    assert_int_equal(n, ti_enc_len(one, 2));
    assert_int_equal(n, 11);
    assert_memory_equal(a, "\0\0\0\2ab\0\0\0\1c", n);

    assert_int_equal(ti_enc(b, two, 2), n);
    assert_memory_not_equal(a, b, n);

    assert_int_equal(ti_enc(a, gap, 2), 12);
    assert_memory_equal(a, "\0\0\0\4user\0\0\0\0", 12);
    assert_int_equal(ti_enc(a, gap, 0), 0);
}


static void
keeps_integers_big_endian(void **state)
{
    unsigned char  buf[8];

    ti_put_u32(buf, 0x80fe0102u);
    assert_memory_equal(buf, "\x80\xfe\x01\x02", 4);
    assert_int_equal(ti_get_u32(buf), 0x80fe0102u);

    ti_put_u64(buf, UINT64_C(0xfedcba9876543210));
    assert_memory_equal(buf, "\xfe\xdc\xba\x98\x76\x54\x32\x10", 8);
    assert_true(ti_get_u64(buf) == UINT64_C(0xfedcba9876543210));
}


static void
wipes_and_compares_secrets(void **state)
{
    unsigned char  secret[32];

    memset(secret, 0x5a, sizeof(secret));
    ti_wipe(secret + 1, sizeof(secret) - 2);

    assert_int_equal(secret[0], 0x5a);
    assert_int_equal(secret[1], 0);
    assert_int_equal(secret[30], 0);
    assert_int_equal(secret[31], 0x5a);

    ti_wipe(NULL, 0);

    assert_true(ti_equal_ct(ti_str("abc"), ti_str("abc")));
    assert_false(ti_equal_ct(ti_str("abc"), ti_str("abd")));
    assert_false(ti_equal_ct(ti_str("abc"), ti_str("Abc")));
    assert_false(ti_equal_ct(ti_str("abc"), ti_str("ab")));
    assert_true(ti_equal_ct(ti_null_str, ti_str("")));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(compares_bytes),
        cmocka_unit_test(folds_ascii_letters_only),
        cmocka_unit_test(has_the_results_of_the_design),
        cmocka_unit_test(takes_no_result_for_an_error),
        cmocka_unit_test(copies_into_a_pool),
        cmocka_unit_test(encodes_and_decodes_the_rfcs),
        cmocka_unit_test(decodes_what_it_encoded),
        cmocka_unit_test(refuses_any_other_character),
        cmocka_unit_test(refuses_what_is_not_canonical),
        cmocka_unit_test(accepts_one_spelling_of_each_tail),
        cmocka_unit_test(reads_minimal_decimals),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(encodes_lists_unambiguously),
        cmocka_unit_test(keeps_integers_big_endian),
        cmocka_unit_test(wipes_and_compares_secrets)
    };

    return cmocka_run_group_tests_name("ti_base", tests, NULL, NULL);
}
