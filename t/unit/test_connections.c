/*
 * The connections API's bodies.
 */

#include "unit.h"

#include "ti_connections.h"


#define NOW      1795286400
#define INVALID  TI_RESULT_REQUEST_INVALID


static unit_pool_t  unit;


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


/* --- read --- */

static ti_result_t
read_code(ti_str_t body, ti_connections_code_t *code)
{
    const char              *why;
    ti_result_t              result;
    ti_connections_code_t    ignored;

    why = NULL;
    result = ti_connections_read_code(&unit.pool, body,
                                      code == NULL ? &ignored : code, &why);
    assert_true(result == TI_RESULT_OK || why != NULL);

    return result;
}


static void
reads_codes(void **state)
{
    ti_connections_code_t  code;

    assert_int_equal(read_code(ti_str("{\"code\":\"c\\/1\",\"state\":\"s\"}"),
                               &code), TI_RESULT_OK);
    assert_str(code.code, "c/1");
    assert_str(code.state, "s");
    assert_null(code.iss.data);
    assert_null(code.error.data);

    assert_int_equal(read_code(ti_str("{\"code\":\"c\",\"state\":\"s\","
                                      "\"iss\":\"https://i\",\"x\":[{}]}"),
                               &code), TI_RESULT_OK);
    assert_str(code.iss, "https://i");

    assert_int_equal(read_code(ti_str("{\"state\":\"s\",\"error\":"
                                      "\"access_denied\",\"code\":\"\"}"),
                               &code), TI_RESULT_OK);
    assert_null(code.code.data);
    assert_str(code.error, "access_denied");
    assert_null(code.admin_consent.data);

    assert_int_equal(read_code(ti_str("{\"state\":\"s\",\"admin_consent\":"
                                      "\"True\",\"tenant\":\"t\"}"),
                               &code), TI_RESULT_OK);
    assert_str(code.admin_consent, "True");
    assert_null(code.error.data);
}


static void
refuses_other_bodies(void **state)
{
    size_t  i;

    static const char *const  bad[] = {
        "", "null", "[]", "\"x\"", "{", "{}", "code=c&state=s",
        "{\"code\":\"c\"}", "{\"state\":\"s\"}",
        "{\"code\":\"\",\"state\":\"s\"}", "{\"code\":\"c\",\"state\":\"\"}",
        "{\"code\":null,\"state\":\"s\"}", "{\"code\":\"c\",\"state\":1}",
        "{\"code\":[\"c\"],\"state\":\"s\"}",
        "{\"code\":\"c\",\"state\":\"s\",\"iss\":null}",
        "{\"code\":\"c\",\"state\":\"s\",\"iss\":{}}",
        "{\"code\":\"c\",\"state\":\"s\",\"error\":true}",
        "{\"state\":\"s\",\"admin_consent\":true}",
        "{\"state\":\"s\",\"admin_consent\":\"\"}",
        "{\"code\":\"c\",\"code\":\"d\",\"state\":\"s\"}",
        "{\"code\":\"c\\u0000\",\"state\":\"s\"}",
        "{\"code\":\"c\",\"state\":\"s\"}x"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (read_code(ti_str_cstr(bad[i]), NULL) != INVALID) {
            fail_msg("%s", bad[i]);
        }
    }
}


static void
bounds_bodies(void **state)
{
    char        *body;
    int          n;
    const char  *why;

    body = malloc(TI_CONNECTIONS_BODY_MAX + 1);
    assert_non_null(body);
    memset(body, ' ', TI_CONNECTIONS_BODY_MAX + 1);

    n = sprintf(body, "{\"code\":\"c\",\"state\":\"s\"}");
    body[n] = ' ';

    assert_int_equal(read_code(ti_str_from(body, 16384), NULL), TI_RESULT_OK);
    assert_int_equal(read_code(ti_str_from(body, 16385), NULL), INVALID);
    assert_int_equal(ti_connections_read_empty(ti_str_from(body, 16384), &why),
                     TI_RESULT_OK);
    assert_int_equal(ti_connections_read_empty(ti_str_from(body, 16385), &why),
                     INVALID);

    free(body);
}


static void
reads_bodies_that_say_nothing(void **state)
{
    const char  *why;

    assert_int_equal(ti_connections_read_empty(ti_null_str, &why),
                     TI_RESULT_OK);
    assert_int_equal(ti_connections_read_empty(ti_str("{}"), &why),
                     TI_RESULT_OK);
    assert_int_equal(ti_connections_read_empty(ti_str("{\"x\":1}"), &why),
                     TI_RESULT_OK);
    assert_int_equal(ti_connections_read_empty(ti_str("[]"), &why), INVALID);
    assert_int_equal(ti_connections_read_empty(ti_str("x"), &why), INVALID);
}


static void
says_when_memory_ends(void **state)
{
    size_t           left;
    ti_str_t         json;
    ti_connection_t  connection;

    for (left = 0; left < 2; left++) {
        unit.left = left;
        assert_int_equal(read_code(ti_str("{\"code\":\"c\",\"state\":\"s\"}"),
                                   NULL), TI_RESULT_INTERNAL_ERROR);
    }

    memset(&connection, 0, sizeof(connection));
    unit.left = 0;
    assert_int_equal(ti_connections_write_one(&unit.pool, &connection, &json),
                     TI_ERROR);
}


/* --- what lies in the hash --- */

static ti_connection_t
shown(const char *exp, const char *state, int refresh)
{
    ti_connection_t         connection;
    ti_connection_fields_t  fields;

    memset(&connection, 0xff, sizeof(connection));
    memset(&fields, 0, sizeof(fields));

    fields.exp = ti_str_cstr(exp);
    fields.state = ti_str_cstr(state);
    fields.since = ti_str("1795000000");
    fields.scope = ti_str("a b");
    fields.refresh = refresh;

    ti_connection_read(&fields, NOW, &connection);

    return connection;
}


static void
reads_display_fields(void **state)
{
    ti_connection_t  c;

    c = shown("1795290000", "connected", 1);
    assert_int_equal(c.state, TI_CONNECTION_CONNECTED);
    assert_int_equal(c.expires_at, 1795290000);
    assert_int_equal(c.since, 1795000000);
    assert_int_equal(c.refreshable, 1);
    assert_int_equal(c.account.len, 0);
    assert_str(c.scope, "a b");

    c = shown("1795290000", "reconnect", 1);
    assert_int_equal(c.state, TI_CONNECTION_RECONNECT);
    c = shown("1795290000", "connected", 0);
    assert_int_equal(c.state, TI_CONNECTION_CONNECTED);
    assert_int_equal(c.refreshable, 0);

    c = shown("1795286400", "connected", 0);
    assert_int_equal(c.state, TI_CONNECTION_RECONNECT);
    c = shown("1795286400", "connected", 1);
    assert_int_equal(c.state, TI_CONNECTION_CONNECTED);
    c = shown("1795286401", "connected", 0);
    assert_int_equal(c.state, TI_CONNECTION_CONNECTED);

    c = shown("soon", "what", 0);
    assert_int_equal(c.state, TI_CONNECTION_CONNECTED);
    assert_int_equal(c.expires_at, 0);
    c = shown("9007199254740992", "", 0);
    assert_int_equal(c.expires_at, 0);
    c = shown("-1", "", 0);
    assert_int_equal(c.expires_at, 0);
}


/* --- written --- */

static ti_connection_t
outlook(void)
{
    ti_connection_t  connection;

    memset(&connection, 0, sizeof(connection));

    connection.provider = ti_str("outlook");
    connection.state = TI_CONNECTION_CONNECTED;
    connection.scope = ti_str("Mail.Read");
    connection.since = 1795286400;
    connection.expires_at = 1795290000;
    connection.refreshable = 1;

    return connection;
}


#define OUTLOOK                                                               \
    "{\"provider\":\"outlook\",\"state\":\"connected\","                      \
    "\"scope\":\"Mail.Read\",\"since\":1795286400,\"expires_at\":1795290000," \
    "\"refreshable\":true,\"account\":null}"

#define ZOOM                                                                  \
    "{\"provider\":\"zoom\",\"state\":\"none\",\"scope\":null,"               \
    "\"since\":null,\"expires_at\":null,\"refreshable\":null,"                \
    "\"account\":null}"

static void
writes_connections(void **state)
{
    ti_str_t         json;
    ti_connection_t  list[2];

    memset(list, 0, sizeof(list));
    list[0] = outlook();
    list[1].provider = ti_str("zoom");
    list[1].refreshable = -1;

    assert_int_equal(ti_connections_write_one(&unit.pool, &list[0], &json),
                     TI_OK);
    assert_str(json, OUTLOOK);
    assert_int_equal(ti_connections_write_one(&unit.pool, &list[1], &json),
                     TI_OK);
    assert_str(json, ZOOM);

    assert_int_equal(ti_connections_write_list(&unit.pool, list, 2, &json),
                     TI_OK);
    assert_str(json, "{\"connections\":[" OUTLOOK "," ZOOM "]}");
    assert_int_equal(ti_connections_write_list(&unit.pool, NULL, 0, &json),
                     TI_OK);
    assert_str(json, "{\"connections\":[]}");
}


static void
writes_what_must_be_escaped(void **state)
{
    ti_str_t         json;
    ti_connection_t  connection;

    connection = outlook();
    connection.state = TI_CONNECTION_RECONNECT;
    connection.refreshable = 0;
    connection.scope = ti_str("a\"b\\c</script>");
    connection.account = ti_str("J\xc3\xb6rg\n");

    assert_int_equal(ti_connections_write_one(&unit.pool, &connection, &json),
                     TI_OK);
    assert_str(json, "{\"provider\":\"outlook\",\"state\":\"reconnect\","
                     "\"scope\":\"a\\\"b\\\\c</script>\",\"since\":1795286400,"
                     "\"expires_at\":1795290000,\"refreshable\":false,"
                     "\"account\":\"J\xc3\xb6rg\\n\"}");

    /* somebody else's bytes in the hash */
    connection.scope = ti_str("\xff\xfe");
    connection.account = ti_str("a\0b");
    assert_int_equal(ti_connections_write_one(&unit.pool, &connection, &json),
                     TI_OK);
    assert_non_null(memmem(json.data, json.len, "\"scope\":null", 12));
    assert_non_null(memmem(json.data, json.len, "\"account\":null", 14));
}


static void
writes_the_start(void **state)
{
    ti_str_t  json;

    assert_int_equal(ti_connections_write_start(&unit.pool,
                         ti_str("https://p.example/a?b=c&d=%20"), 600, &json),
                     TI_OK);
    assert_str(json, "{\"authorization_url\":\"https://p.example/a?b=c&d=%20\""
                     ",\"expires_in\":600}");

    assert_int_equal(ti_connections_write_start(&unit.pool, ti_str("\xff"),
                                                600, &json), TI_ERROR);
}


#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(reads_codes),
        test(refuses_other_bodies),
        test(bounds_bodies),
        test(reads_bodies_that_say_nothing),
        test(says_when_memory_ends),
        test(reads_display_fields),
        test(writes_connections),
        test(writes_what_must_be_escaped),
        test(writes_the_start)
    };

    return cmocka_run_group_tests_name("ti_connections", tests, NULL, NULL);
}
