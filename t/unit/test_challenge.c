/*
 * What a third party says with its 401.
 */

#include "unit.h"

#include "ti_challenge.h"


static unit_pool_t     unit;
static ti_challenge_t  challenge;


static int
set_up(void **state)
{
    (void) unit_pool_create(&unit);

    return 0;
}


static int
tear_down(void **state)
{
    unit_pool_free(&unit);

    return 0;
}


static ti_rc_t
read_bytes(ti_str_t value)
{
    char     *copy;
    ti_rc_t   rc;

    /* as long as it is, so that a byte too many is seen */
    copy = malloc(value.len + (value.len == 0));
    assert_non_null(copy);

    if (value.len != 0) {
        memcpy(copy, value.data, value.len);
    }

    memset(&challenge, 0xff, sizeof(challenge));
    rc = ti_challenge_bearer(&unit.pool, ti_str_from(copy, value.len),
                             &challenge);
    free(copy);

    return rc;
}


static ti_rc_t
read_field(const char *value)
{
    return read_bytes(ti_str_cstr(value));
}


static void
finds_the_bearer_challenge(void **state)
{
    size_t  i;

    static const struct {
        const char  *value;
        const char  *error;                 /* NULL: there is none */
    } cases[] = {
        /* RFC 6750 section 3, RFC 9110 section 11.6.1 */
        { "Bearer realm=\"example\"", "" },
        { "Bearer realm=\"example\",\r\n error=\"invalid_token\"", NULL },
        { "Bearer realm=\"example\", error=\"invalid_token\", "
          "error_description=\"The access token expired\"", "invalid_token" },
        { "Basic realm=\"simple\", Newauth realm=\"apps\", type=1, "
          "title=\"Login to \\\"apps\\\"\"", NULL },
        { "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", "
          "Bearer error=invalid_token, Basic realm=\"simple\"",
          "invalid_token" },

        { "Bearer", "" }, { "bEARER", "" }, { "Bearer ", "" },
        { " ,, Bearer ,, ", "" },
        { "Bearer error=\"e\"", "e" }, { "BEARER ERROR=\"e\"", "e" },
        { "Bearer error = \"e\" ", "e" }, { "Bearer   error=e", "e" },
        { "Bearer a=\"\", error=\"e\"", "e" },
        { "Bearer a=b,error=\"e\"", "e" }, { "Bearer a=b ,, error=e", "e" },
        { "Bearer error=\"\"", "" },
        { "Bearer error=\"a b\"", "a b" },
        { "Bearer error=\"a\\b\"", "ab" }, { "Bearer error=\"a\\\"\"", "" },
        { "Bearer error=\"first\", error=\"second\"", "first" },

        /* others, which may look like it */
        { "Negotiate", NULL }, { "Negotiate Bearer", NULL },
        { "Negotiate abc==, Bearer error=e", "e" },
        { "Negotiate abc/+~==, Bearer error=e", "e" },
        { "Basic realm=\"Bearer error=\\\"no\\\", Bearer error=no\"", NULL },
        { "Basic realm=\", Bearer error=no\", Bearer error=e", "e" },
        { "Basic error=no, Bearer realm=x", "" },
        { "Bearer realm=x, Basic error=no", "" },
        { "Bearers error=no", NULL }, { "X-Bearer error=no", NULL },
        { "Bearer, Basic error=no", "" },
        { "Bearer abc, Basic error=no", "" },
        { "Bearer abc==, Bearer error=e", "e" },
        { "Bearer realm=x, Bearer error=e, Bearer error=f", "e" },
        { "Bearer realm=x, Bearer", "" },
        { "Bearer error_description=\"error=no\", x-error=no", "" },

        /* as far as it can be read */
        { "", NULL }, { ",", NULL }, { "\"Bearer\"", NULL },
        { "=Bearer", NULL }, { "Basic a=\"b, Bearer error=no", NULL },
        { "Basic a b, Bearer error=no", NULL },
        { "Basic @, Bearer error=no", NULL },
        { "Bearer error=\"e", NULL }, { "Bearer error=\"e\\", NULL },
        { "Bearer error=\"e\\\"", NULL }, { "Bearer=r", NULL },
        { "Bearer =r", NULL }, { "Bearer a=b, error=\"e", NULL },
        { "Bearer error=", "" }, { "Bearer error=,", "" },
        { "Bearer error=\"e\" x", "e" }, { "Bearer error=\"e\"x=y", "e" },
        { "Bearer error=e, \"", "e" }, { "Bearer@ error=no", NULL },
        { "Bearer a b=c, error=no", NULL }, { "Bearer\terror=no", NULL },
        { "Bearer, Basic error=\"no", "" },
        { "Bearer error=\"\x80\"", "" }, { "Bearer error=\"a\tb\"", "" },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        if (read_field(cases[i].value)
            != (cases[i].error == NULL ? TI_DECLINED : TI_OK)
            || !ti_str_eq(challenge.error,
                          ti_str_cstr(cases[i].error == NULL
                                      ? "" : cases[i].error)))
        {
            fail_msg("%s", cases[i].value);
        }

        assert_int_equal(challenge.claims.len, 0);
    }

    assert_int_equal(read_bytes(ti_str("Bearer error=a\0b")), TI_OK);
    assert_str(challenge.error, "a");
}


/* Microsoft Graph's, of continuous access evaluation, shortened */

#define CAE                                                                   \
    "{\"access_token\":{\"nbf\":{\"essential\":true,\"value\":"               \
    "\"1604106651\"}}}"


static void
decodes_claims(void **state)
{
    size_t  i;

    static const struct {
        const char  *claims;                /* as they stand there */
        const char  *text;
    } cases[] = {
        { "\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUi"
          "OiIxNjA0MTA2NjUxIn19fQ==\"", CAE },
        { "\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUi"
          "OiIxNjA0MTA2NjUxIn19fQ\"", CAE },
        { "\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUi"
          "OiIxNjA0MTA2NjUxIn19fQ=\"", CAE },
        { "eyJhIjoxfQ", "{\"a\":1}" },
        { "\"e\\yJhIjoxf\\Q=\\=\"", "{\"a\":1}" },
        { "\"eyAiYSIgOiAxIH0K\"", "{ \"a\" : 1 }\n" },
        { "\"eyJhIjoiw7_Dvj8ifQ\"", "{\"a\":\"\xc3\xbf\xc3\xbe?\"}" },
        { "\"eyJhIjoiw7/Dvj8ifQ==\"", "{\"a\":\"\xc3\xbf\xc3\xbe?\"}" },
        { "\"eyJhIjoi8J+YgCJ9\"", "{\"a\":\"\xf0\x9f\x98\x80\"}" },
        { "\"eyJhIjoi8J-YgCJ9\"", "{\"a\":\"\xf0\x9f\x98\x80\"}" },

        { "\"\"", "" },
        { "\"{\\\"a\\\":1}\"", "" },            /* not base64 */
        { "\"eyJhIjoxfR\"", "" },               /* not canonical */
        { "\"eyJhIjoxfQ===\"", "" },
        { "\"ey JhIjoxfQ\"", "" },
        { "\"WzFd\"", "" },                     /* [1] */
        { "\"eyJhIjoxfXg\"", "" },              /* {"a":1}x */
        { "\"eyJhIjoi_yJ9\"", "" },             /* not UTF-8 */
        { "\"==\"", "" }, { "\"=\"", "" }
    };

    char  field[512];

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(field, sizeof(field), "Bearer realm=\"\", "
                        "error=\"insufficient_claims\", claims=%s, x=y",
                        cases[i].claims);
        assert_int_equal(read_field(field), TI_OK);
        assert_str(challenge.error, "insufficient_claims");

        if (!ti_str_eq(challenge.claims, ti_str_cstr(cases[i].text))) {
            fail_msg("%s", cases[i].claims);
        }
    }

    /* they go with an error, whatever comes first */

    assert_int_equal(read_field("Bearer claims=eyJhIjoxfQ, error=e"), TI_OK);
    assert_str(challenge.claims, "{\"a\":1}");
    assert_int_equal(read_field("Bearer claims=eyJhIjoxfQ"), TI_OK);
    assert_int_equal(challenge.claims.len, 0);
    assert_int_equal(read_field("Bearer claims=eyJhIjoxfQ, Bearer error=e"),
                     TI_OK);
    assert_int_equal(challenge.claims.len, 0);
    assert_int_equal(read_field("Basic claims=eyJhIjoxfQ, Bearer error=e"),
                     TI_OK);
    assert_int_equal(challenge.claims.len, 0);
}


/* An object of exactly so many bytes, in a challenge. */

static ti_rc_t
read_claims_of(size_t len)
{
    size_t          n;
    ti_rc_t         rc;
    unsigned char  *json, *field;

    json = malloc(len);
    field = malloc(2 * len + 64);
    assert_non_null(json);
    assert_non_null(field);

    memset(json, ' ', len);
    json[0] = '{';
    json[len - 1] = '}';

    n = (size_t) sprintf((char *) field, "Bearer error=e, claims=\"");
    n += ti_b64u_encode(field + n, ti_str_from(json, len));
    field[n++] = '"';

    rc = read_bytes(ti_str_from(field, n));

    free(field);
    free(json);

    return rc;
}


static void
has_bounds(void **state)
{
    size_t  left;
    char    field[128];

    assert_int_equal(read_claims_of(TI_CHALLENGE_CLAIMS_MAX), TI_OK);
    assert_int_equal(challenge.claims.len, TI_CHALLENGE_CLAIMS_MAX);
    assert_int_equal(read_claims_of(TI_CHALLENGE_CLAIMS_MAX + 1), TI_OK);
    assert_int_equal(challenge.claims.len, 0);
    assert_int_equal(read_claims_of(100000), TI_OK);
    assert_int_equal(challenge.claims.len, 0);
    assert_str(challenge.error, "e");

    (void) snprintf(field, sizeof(field), "Bearer error=\"%064d\"", 0);
    assert_int_equal(read_field(field), TI_OK);
    assert_int_equal(challenge.error.len, TI_CHALLENGE_ERROR_MAX);

    (void) snprintf(field, sizeof(field), "Bearer error=\"%065d\"", 0);
    assert_int_equal(read_field(field), TI_OK);
    assert_int_equal(challenge.error.len, 0);

    for (left = 0; left < 3; left++) {
        unit.left = left;
        assert_int_equal(read_field("Bearer error=e, claims=eyJhIjoxfQ"),
                         TI_ERROR);
    }
}


#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(finds_the_bearer_challenge),
        test(decodes_claims),
        test(has_bounds)
    };

    return cmocka_run_group_tests_name("ti_challenge", tests, NULL, NULL);
}
