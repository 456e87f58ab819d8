/*
 * Token records against vectors that another implementation made.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "record_make.h"


#define VECTORS  "t/vectors/record-v1.json"


static ti_crypto_t  *crypto;
static json_t       *vectors;


static int
set_up(void **state)
{
    crypto = ti_crypto_create();

    return crypto == NULL;
}


static int
tear_down(void **state)
{
    ti_crypto_free(crypto);
    rm_reset();

    return 0;
}


static ti_str_t
member(const json_t *v, const char *name)
{
    const json_t  *s;

    s = json_object_get(v, name);

    return json_is_string(s)
           ? ti_str_from(json_string_value(s), json_string_length(s))
           : ti_null_str;
}


/* Its salts and nonces, in the order in which we ask for them */

static struct {
    unsigned char  bytes[56];
    size_t         used;
    size_t         n;
} fixed;


static void
fixed_add(const json_t *layer, const char *name)
{
    size_t  len;

    assert_int_equal(ti_b64u_decode(fixed.bytes + fixed.n, &len,
                                    member(layer, name)), TI_OK);
    fixed.n += len;
}


static ti_rc_t
fixed_fill(void *data, unsigned char *buf, size_t len)
{
    assert_true(fixed.used + len <= fixed.n);
    memcpy(buf, fixed.bytes + fixed.used, len);
    fixed.used += len;

    return TI_OK;
}


static const ti_random_t  fixed_random = { fixed_fill, NULL };


typedef struct {
    ti_record_ref_t  ref;
    unsigned char    key[TI_KEY_LEN];
    unsigned char    user[TI_RECORD_USER_LEN];
    unsigned char    device[TI_RECORD_DEVICE_MAX];
} subject_t;


static ti_keyring_t *
vector_ring(void)
{
    char          *keys;
    const char    *why;
    ti_keyring_t  *of_vectors;

    vectors = json_load_file(VECTORS, 0, NULL);
    assert_non_null(vectors);

    keys = json_dumps(json_object_get(vectors, "keys"), 0);
    assert_int_equal(ti_keyring_parse(ti_str_cstr(keys), &of_vectors, &why),
                     TI_OK);
    free(keys);

    return of_vectors;
}


static void
vector_ref(const json_t *v, const ti_keyring_t *keys, subject_t *subject)
{
    size_t            len;
    ti_str_t          kind;
    ti_record_ref_t  *ref;

    ref = &subject->ref;
    kind = member(v, "kind");

    ref->kind = ti_str_eq(kind, ti_str("access")) ? TI_RECORD_ACCESS
                : ti_str_eq(kind, ti_str("refresh")) ? TI_RECORD_REFRESH
                : ti_str_eq(kind, ti_str("previous")) ? TI_RECORD_PREVIOUS
                : TI_RECORD_PENDING;
    ref->who.issuer = member(v, "issuer");
    ref->who.tenant = member(v, "tenant");
    ref->who.subject = member(v, "subject");
    ref->provider = member(v, "provider");
    ref->gen = (uint64_t) json_integer_value(json_object_get(v, "gen"));
    ref->cid = member(v, "cid");
    ref->user_key = NULL;

    if (member(v, "user_key").data != NULL) {
        assert_int_equal(ti_user_key_decode(member(v, "user_key"),
                                            subject->key), TI_OK);
        ref->user_key = subject->key;
    }

    assert_int_equal(ti_record_user(crypto, keys, &ref->who, subject->user),
                     TI_OK);
    assert_int_equal(ti_record_device(crypto, ref->user_key, subject->device,
                                      &len), TI_OK);
    ref->device = ti_str_from(subject->device, len);
}


static void
vector_names(const json_t *v, const subject_t *subject)
{
    ti_str_t  name, user;

    user = ti_str_from(subject->user, TI_RECORD_USER_LEN);

    assert_true(ti_str_eq(user, member(v, "user")));
    assert_true(ti_str_eq(subject->ref.device, member(v, "device")));

    assert_int_equal(ti_record_connection_name(&rm_pool, ti_str("ti:"), user,
                                               subject->ref.provider,
                                               subject->ref.device, &name),
                     TI_OK);
    assert_true(ti_str_eq(name, member(v, "connection")));
}


static void
vector_sealed(const json_t *v, const ti_keyring_t *keys,
    const subject_t *subject)
{
    json_t       *inner, *outer;
    ti_str_t      sealed;
    ti_record_t   record;

    inner = json_object_get(v, "inner");
    outer = json_object_get(v, "outer");
    memset(&fixed, 0, sizeof(fixed));

    if (json_is_object(inner)) {
        fixed_add(inner, "salt");
        fixed_add(inner, "nonce");
    }

    fixed_add(outer, "salt");
    fixed_add(outer, "nonce");

    memset(&record, 0, sizeof(ti_record_t));
    record.token = member(v, "token");
    record.scope = member(v, "scope");
    record.expires = json_integer_value(json_object_get(v, "exp"));
    record.issued = json_integer_value(json_object_get(v, "iat"));

    assert_int_equal(ti_record_seal(crypto, &rm_pool, &fixed_random, keys,
                                    &subject->ref, &record, &sealed), TI_OK);
    assert_true(ti_str_eq(sealed, member(outer, "jwe")));
}


static void
vectors_open_and_come_out_alike(void **state)
{
    size_t         i;
    json_t        *v;
    ti_str_t       jwe;
    subject_t      subject;
    const char    *why;
    ti_record_t    record;
    ti_keyring_t  *keys;

    keys = vector_ring();
    assert_true(json_array_size(json_object_get(vectors, "records")) >= 9);

    json_array_foreach(json_object_get(vectors, "records"), i, v) {
        vector_ref(v, keys, &subject);
        vector_names(v, &subject);
        vector_sealed(v, keys, &subject);

        jwe = member(json_object_get(v, "outer"), "jwe");

        assert_int_equal(ti_record_open(crypto, &rm_pool, keys, &subject.ref,
                                        jwe, &record, &why), TI_RESULT_OK);
        assert_true(ti_str_eq(record.token, member(v, "token")));
        assert_true(ti_str_eq(record.scope, member(v, "scope")));
        assert_int_equal(record.expires,
                         json_integer_value(json_object_get(v, "exp")));
        assert_int_equal(record.issued,
                         json_integer_value(json_object_get(v, "iat")));
        assert_int_equal(record.token_type.len, 0);
    }

    ti_keyring_free(keys);
    json_decref(vectors);
}


static void
vectors_refused(void **state)
{
    size_t         i;
    json_t        *v;
    subject_t      subject;
    const char    *why;
    ti_record_t    record;
    ti_result_t    result;
    ti_keyring_t  *keys;

    keys = vector_ring();
    assert_true(json_array_size(json_object_get(vectors, "refused")) >= 30);

    json_array_foreach(json_object_get(vectors, "refused"), i, v) {
        vector_ref(v, keys, &subject);

        result = ti_record_open(crypto, &rm_pool, keys, &subject.ref,
                                member(v, "record"), &record, &why);

        if (!ti_str_eq(ti_result_info(result)->name, member(v, "result"))) {
            fail_msg("%s", json_string_value(json_object_get(v, "name")));
        }

        rm_reset();
    }

    ti_keyring_free(keys);
    json_decref(vectors);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(vectors_open_and_come_out_alike),
        cmocka_unit_test(vectors_refused)
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
