#include "unit.h"

#include "ti_resp.h"


#define MAX  65536


static ti_rc_t
feed(ti_resp_reader_t *reader, const char *bytes, size_t len)
{
    char        *exact;
    ti_rc_t      rc;
    const char  *why;

    why = NULL;
    exact = malloc(len ? len : 1);
    memcpy(exact, bytes, len);
    rc = ti_resp_reader_feed(reader, ti_str_from(exact, len), &why);
    free(exact);

    assert_true(rc == TI_OK || why != NULL);

    return rc;
}


static ti_rc_t
next(ti_resp_reader_t *reader, const ti_resp_reply_t **reply)
{
    ti_rc_t      rc;
    const char  *why;

    why = NULL;
    rc = ti_resp_reader_next(reader, reply, &why);

    if (rc != TI_OK) {
        assert_null(*reply);
        assert_non_null(why);
        assert_in_range(strlen(why), 1, 60);
    }

    return rc;
}


/* One reply as text: +s, -e, :1, "s", nil, [a b]. */

static void
print(const ti_resp_reply_t *reply, FILE *out)
{
    size_t  i;

    switch (reply->type) {
    case TI_RESP_STRING:
        fprintf(out, "\"%.*s\"", (int) reply->str.len, reply->str.data);
        break;
    case TI_RESP_STATUS:
        fprintf(out, "+%.*s", (int) reply->str.len, reply->str.data);
        break;
    case TI_RESP_ERROR:
        fprintf(out, "-%.*s", (int) reply->str.len, reply->str.data);
        break;
    case TI_RESP_INTEGER:
        fprintf(out, ":%lld", (long long) reply->integer);
        break;
    case TI_RESP_NIL:
        fprintf(out, "nil");
        break;
    case TI_RESP_ARRAY:
        fprintf(out, "[");
        for (i = 0; i < reply->n; i++) {
            fprintf(out, "%s", i ? " " : "");
            print(reply->elements[i], out);
        }
        fprintf(out, "]");
        break;
    }
}


/* All that bytes mean, fed in pieces of step: replies, then the verdict. */

static char *
read_all(const char *bytes, size_t len, size_t step)
{
    FILE                   *out;
    char                   *text;
    size_t                  size, i, n;
    ti_rc_t                 rc;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    out = open_memstream(&text, &size);
    reader = ti_resp_reader_create(MAX);
    assert_non_null(reader);
    rc = TI_OK;

    for (i = 0; i < len && rc == TI_OK; i += n) {
        n = (len - i < step) ? len - i : step;
        rc = feed(reader, bytes + i, n);

        while (rc == TI_OK) {
            rc = next(reader, &reply);
            if (rc != TI_OK || reply == NULL) {
                break;
            }

            print(reply, out);
            fprintf(out, ";");
        }
    }

    if (rc != TI_OK) {
        fprintf(out, "REFUSED");
        assert_int_equal(rc, TI_DECLINED);
        assert_int_equal(next(reader, &reply), TI_DECLINED);
        assert_int_equal(feed(reader, "+OK\r\n", 5), TI_DECLINED);
        assert_int_equal(next(reader, &reply), TI_DECLINED);
    }

    ti_resp_reader_free(reader);
    fclose(out);

    return text;
}


static void
reads_as(const char *bytes, size_t len, const char *expected)
{
    char                 *text;
    size_t                step;
    static const size_t   steps[] = { 1, 2, 3, 7, SIZE_MAX };

    for (step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
        text = read_all(bytes, len, steps[step]);
        assert_string_equal(text, expected);
        free(text);
    }
}

#define assert_reads(bytes, expected)                                         \
    reads_as(bytes, sizeof(bytes) - 1, expected)


static void
reads_every_type(void **state)
{
    assert_reads("+OK\r\n", "+OK;");
    assert_reads("+\r\n", "+;");
    assert_reads("-ERR unknown command\r\n", "-ERR unknown command;");
    assert_reads("-NOAUTH Authentication required.\r\n",
                 "-NOAUTH Authentication required.;");
    assert_reads(":0\r\n", ":0;");
    assert_reads(":-9223372036854775808\r\n", ":-9223372036854775808;");
    assert_reads(":9223372036854775807\r\n", ":9223372036854775807;");
    assert_reads("$5\r\nhello\r\n", "\"hello\";");
    assert_reads("$0\r\n\r\n", "\"\";");
    assert_reads("$4\r\n\r\n\r\n\r\n", "\"\r\n\r\n\";");
    assert_reads("$-1\r\n", "nil;");
    assert_reads("*-1\r\n", "nil;");
    assert_reads("*0\r\n", "[];");
    assert_reads("*3\r\n$1\r\na\r\n$-1\r\n:7\r\n", "[\"a\" nil :7];");
    assert_reads("*2\r\n*2\r\n+a\r\n-b\r\n*0\r\n", "[[+a -b] []];");
    assert_reads("*2\r\n*-1\r\n+a\r\n", "[nil +a];");
}


static void
reads_replies_in_a_row(void **state)
{
    assert_reads("*3\r\n$2\r\nA1\r\n$1\r\n3\r\n$1\r\nc\r\n:5\r\n+PONG\r\n"
                 "-LOADING Redis is loading\r\n$-1\r\n",
                 "[\"A1\" \"3\" \"c\"];:5;+PONG;-LOADING Redis is loading;"
                 "nil;");
}


static void
waits_for_what_is_missing(void **state)
{
    assert_reads("", "");
    assert_reads("$", "");
    assert_reads("$5\r", "");
    assert_reads("$5\r\nhello", "");
    assert_reads("$5\r\nhello\r", "");
    assert_reads("+OK\r", "");
    assert_reads("*2\r\n:1\r\n", "");
    assert_reads("*2\r\n*1\r\n:1\r\n$3\r\nab", "");
    assert_reads(":1\r\n:99999999\r", ":1;");
}


static void
refuses_garbage(void **state)
{
    assert_reads("HTTP/1.1 400 Bad Request\r\n", "REFUSED");
    assert_reads("\r\n", "REFUSED");
    assert_reads("\0", "REFUSED");
    assert_reads("OK\r\n", "REFUSED");
    assert_reads(":\r\n", "REFUSED");
    assert_reads(":abc\r\n", "REFUSED");
    assert_reads(":1.5\r\n", "REFUSED");
    assert_reads(": 1\r\n", "REFUSED");
    assert_reads(":9223372036854775808\r\n", "REFUSED");
    assert_reads("$abc\r\n", "REFUSED");
    assert_reads("$\r\n", "REFUSED");
    assert_reads("*x\r\n", "REFUSED");
    assert_reads("*\r\n", "REFUSED");
    assert_reads("+OK\r\ngarbage", "+OK;REFUSED");
    assert_reads("*2\r\n:1\r\nx", "REFUSED");
}


/* A string is followed by CRLF, or the reply has lost its place: what comes
 * next would be another caller's. */

static void
refuses_strings_of_another_length(void **state)
{
    assert_reads("$3\r\nhello\r\n", "REFUSED");
    assert_reads("$4\r\nhello\r\n", "REFUSED");
    assert_reads("$5\r\nhello\n\r", "REFUSED");
    assert_reads("$5\r\nhelloXY+OK\r\n", "REFUSED");
    assert_reads("$5\r\nhelloX\n", "REFUSED");
    assert_reads("$5\r\nhello\rX", "REFUSED");
    assert_reads("$0\r\nXY", "REFUSED");
    assert_reads("*2\r\n$1\r\nab\r\n$1\r\nc\r\n", "REFUSED");
}


static void
refuses_lengths_out_of_bounds(void **state)
{
    assert_reads("*1000000000\r\n", "REFUSED");
    assert_reads("*1025\r\n", "REFUSED");
    assert_reads("*4294967296\r\n", "REFUSED");
    assert_reads("*9223372036854775807\r\n", "REFUSED");
    assert_reads("*-2\r\n", "REFUSED");
    assert_reads("*2\r\n*1025\r\n", "REFUSED");
    assert_reads("$9999999999\r\n", "REFUSED");
    assert_reads("$9223372036854775807\r\n", "REFUSED");
    assert_reads("$18446744073709551615\r\n", "REFUSED");
    assert_reads("$65537\r\n", "REFUSED");
    assert_reads("$-2\r\n", "REFUSED");
    assert_reads("$-0\r\n", "REFUSED");
    assert_reads("$01\r\n", "REFUSED");

    assert_reads("$65000\r\n", "");
}


static void
refuses_deep_nesting(void **state)
{
    assert_reads("*1\r\n*1\r\n:1\r\n", "[[:1]];");
    assert_reads("*1\r\n*1\r\n*0\r\n", "REFUSED");
    assert_reads("*1\r\n*1\r\n*1\r\n:1\r\n", "REFUSED");
    assert_reads("*1\r\n*1\r\n*-1\r\n", "[[nil]];");
    assert_reads("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
                 "*1\r\n*1\r\n*1\r\n", "REFUSED");
}


/* We never say HELLO 3. */

static void
refuses_resp3(void **state)
{
    assert_reads(",3.14\r\n", "REFUSED");
    assert_reads("#t\r\n", "REFUSED");
    assert_reads("_\r\n", "REFUSED");
    assert_reads("(12345678901234567890\r\n", "REFUSED");
    assert_reads("=7\r\ntxt:abc\r\n", "REFUSED");
    assert_reads("%1\r\n+a\r\n+b\r\n", "REFUSED");
    assert_reads("~1\r\n+a\r\n", "REFUSED");
    assert_reads(">1\r\n+a\r\n", "REFUSED");
    assert_reads("|1\r\n+a\r\n+b\r\n", "REFUSED");
    assert_reads("*1\r\n#t\r\n", "REFUSED");
    assert_reads("*1\r\n,1.5\r\n", "REFUSED");
    assert_reads("*2\r\n_\r\n+a\r\n", "REFUSED");
}


static void
bounds_an_array(void **state)
{
    char                   *text;
    size_t                  i, n;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    text = malloc(8 + 1024 * 4);
    n = (size_t) sprintf(text, "*1024\r\n");

    for (i = 0; i < 1024; i++) {
        n += (size_t) sprintf(text + n, ":%zu\r\n", i % 10);
    }

    reader = ti_resp_reader_create(MAX);
    assert_int_equal(feed(reader, text, n), TI_OK);
    assert_int_equal(next(reader, &reply), TI_OK);
    assert_non_null(reply);
    assert_int_equal(reply->n, TI_RESP_MAX_ELEMENTS);
    assert_int_equal(reply->elements[1023]->integer, 3);

    ti_resp_reader_free(reader);
    free(text);
}


/* The whole reply counts, however it is split, and each begins at none. */

static void
bounds_a_reply(void **state)
{
    int                     i;
    char                    chunk[1010];
    size_t                  n;
    ti_rc_t                 rc;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    n = (size_t) sprintf(chunk, "$1000\r\n");
    memset(chunk + n, 'x', 1000);
    memcpy(chunk + n + 1000, "\r\n", 3);
    n += 1002;

    reader = ti_resp_reader_create(4096);

    for (i = 0; i < 100; i++) {             /* 100 KB in all */
        assert_int_equal(feed(reader, chunk, n), TI_OK);
        assert_int_equal(next(reader, &reply), TI_OK);
        assert_non_null(reply);
        assert_int_equal(reply->str.len, 1000);
    }

    assert_int_equal(feed(reader, "*60\r\n", 5), TI_OK);
    rc = TI_OK;

    for (i = 0; i < 60 && rc == TI_OK; i++) {
        rc = feed(reader, chunk, n);

        if (rc == TI_OK) {
            rc = next(reader, &reply);
            assert_true(rc != TI_OK || reply == NULL);
        }
    }

    assert_int_equal(rc, TI_DECLINED);
    assert_in_range(i, 4, 5);
    ti_resp_reader_free(reader);

    /* at once */

    reader = ti_resp_reader_create(1000);
    assert_int_equal(feed(reader, chunk, n), TI_DECLINED);
    ti_resp_reader_free(reader);

    /* a string that fits where nothing else would */

    reader = ti_resp_reader_create(1009);
    assert_int_equal(feed(reader, chunk, n), TI_OK);
    assert_int_equal(next(reader, &reply), TI_OK);
    assert_non_null(reply);
    ti_resp_reader_free(reader);
}


static void
bounds_a_line(void **state)
{
    int                     i;
    char                    line[1024];
    ti_rc_t                 rc;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    memset(line, 'x', sizeof(line));
    line[0] = '+';

    reader = ti_resp_reader_create(1 << 20);
    rc = TI_OK;

    for (i = 0; i < 100 && rc == TI_OK; i++) {
        rc = feed(reader, line, sizeof(line));

        if (rc == TI_OK) {
            rc = next(reader, &reply);
        }
    }

    assert_int_equal(rc, TI_DECLINED);
    assert_in_range(i, 4, 6);

    ti_resp_reader_free(reader);
}


static void
keeps_a_reply_until_the_next_call(void **state)
{
    char                   *text;
    size_t                  i, n;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply;

    /* strings from none to more than a chunk, one reply after the other */

    reader = ti_resp_reader_create(MAX);
    text = malloc(MAX);

    for (i = 0; i < 40000; i = i * 2 + 1) {
        n = (size_t) sprintf(text, "*2\r\n$%zu\r\n", i);
        memset(text + n, 'a' + (int) (i % 26), i);
        n += i;
        n += (size_t) sprintf(text + n, "\r\n$1\r\nz\r\n");

        assert_int_equal(feed(reader, text, n), TI_OK);
        assert_int_equal(next(reader, &reply), TI_OK);
        assert_non_null(reply);
        assert_int_equal(reply->elements[0]->str.len, i);
        assert_true(i == 0 || reply->elements[0]->str.data[i - 1]
                              == 'a' + (int) (i % 26));
        assert_str(reply->elements[1]->str, "z");

        assert_int_equal(next(reader, &reply), TI_OK);
        assert_null(reply);
    }

    free(text);
    ti_resp_reader_free(reader);
    ti_resp_reader_free(NULL);
}


/* A worker reads millions: each lies where the one before lay. */

static void
reads_on_in_the_same_memory(void **state)
{
    int                     i;
    ti_resp_reader_t       *reader;
    const ti_resp_reply_t  *reply, *first;
    static const char       bytes[] = "*2\r\n$5\r\nhello\r\n:1\r\n";

    reader = ti_resp_reader_create(MAX);
    first = NULL;

    for (i = 0; i < 1000; i++) {
        assert_int_equal(feed(reader, bytes, sizeof(bytes) - 1), TI_OK);
        assert_int_equal(next(reader, &reply), TI_OK);
        assert_non_null(reply);

        first = (first == NULL) ? reply : first;
        assert_ptr_equal(reply, first);
    }

    ti_resp_reader_free(reader);
}


static void
writes_commands(void **state)
{
    ti_str_t               out;
    static const char      bytes[] = "*4\r\n$3\r\nSET\r\n"
                                     "$10\r\nti:{u}:a\r\n\r\n"
                                     "$0\r\n\r\n$3\r\na\0b\r\n";
    static const ti_str_t  argv[] = {
        ti_string("SET"), ti_string("ti:{u}:a\r\n"), { NULL, 0 },
        ti_string("a\0b")
    };

    assert_int_equal(ti_resp_command(argv, 4, &out), TI_OK);
    assert_int_equal(out.len, sizeof(bytes) - 1);
    assert_memory_equal(out.data, bytes, out.len);

    ti_resp_command_free(&out);
    assert_null(out.data);
    assert_int_equal(out.len, 0);
    ti_resp_command_free(&out);

    assert_int_equal(ti_resp_command(argv, 0, &out), TI_ERROR);
    assert_int_equal(ti_resp_command(argv, 100000, &out), TI_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(reads_replies_in_a_row),
        cmocka_unit_test(waits_for_what_is_missing),
        cmocka_unit_test(refuses_garbage),
        cmocka_unit_test(refuses_strings_of_another_length),
        cmocka_unit_test(refuses_lengths_out_of_bounds),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(refuses_resp3),
        cmocka_unit_test(bounds_an_array),
        cmocka_unit_test(bounds_a_reply),
        cmocka_unit_test(bounds_a_line),
        cmocka_unit_test(keeps_a_reply_until_the_next_call),
        cmocka_unit_test(reads_on_in_the_same_memory),
        cmocka_unit_test(writes_commands)
    };

    return cmocka_run_group_tests_name("ti_resp", tests, NULL, NULL);
}
