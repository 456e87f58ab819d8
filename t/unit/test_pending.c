/*
 * Consents that have begun, accounts, and the names in Redis that go with
 * them.
 */

#include "record_fixture.h"
#include "ti_pending.h"


#define NOW      1795286400
#define INVALID  TI_RESULT_STATE_INVALID


static int
text_is(ti_str_t s, const char *text)
{
    return ti_str_eq(s, ti_str_cstr(text));
}


/* --- names --- */

static void
names_what_is_pending(void **state)
{
    ti_str_t  name;

    /* SHA-256("abc"), FIPS 180-4's example, as base64url */
    assert_int_equal(ti_record_pending_name(crypto, &rm_pool, ti_str("ti:"),
                         ti_str("AAAAAAAAAAAAAAAAAAAAAA"), ti_str("abc"),
                         &name), TI_OK);
    assert_true(text_is(name, "ti:{AAAAAAAAAAAAAAAAAAAAAA}:p:"
                        "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));

    assert_int_equal(ti_record_changes_name(&rm_pool, ti_str("ti:"), &name),
                     TI_OK);
    assert_true(text_is(name, "ti:changes"));
    assert_int_equal(ti_record_changes_name(&rm_pool, ti_null_str, &name),
                     TI_OK);
    assert_true(text_is(name, "changes"));

    rm_arena.left = 0;
    assert_int_equal(ti_record_changes_name(&rm_pool, ti_str("ti:"), &name),
                     TI_ERROR);
}


#define USER    "AAAAAAAAAAAAAAAAAAAAAA"
#define DEVICE  "BBBBBBBBBBBBBBBB"

static void
reads_changes(void **state)
{
    size_t             i;
    ti_str_t           name;
    ti_record_parts_t  parts;

    static const char *const  bad[] = {
        "", "ti:", "ti:{", "ti:{" USER, "ti:{" USER "}:c:",
        "ti:{" USER "}:c:outlook", "ti:{" USER "}:c:outlook:",
        "ti:{" USER "}:c::" DEVICE, "ti:{" USER "}:c:out look:" DEVICE,
        "ti:{" USER "}:c:outlook:" DEVICE "B", "ti:{" USER "}:c:outlook:--",
        "ti:{" USER "}:c:outlook:BBBBBBBBBBBBBBB*",
        "ti:{" USER "}:c:outlook:" DEVICE ":x",
        "ti:{" USER "}:a:outlook:" DEVICE, "ti:" USER ":c:outlook:" DEVICE,
        "ti:{AAAAAAAAAAAAAAAAAAAAAB}:c:outlook:" DEVICE,
        "ti:{*AAAAAAAAAAAAAAAAAAAAA}:c:outlook:" DEVICE,
        "TI:{" USER "}:c:outlook:" DEVICE, "{" USER "}:c:outlook:" DEVICE,
        "ti:segments"
    };

    name = ti_str("ti:{" USER "}:c:outlook:" DEVICE);
    assert_int_equal(ti_record_connection_parse(ti_str("ti:"), name, &parts),
                     TI_OK);
    assert_true(text_is(parts.user, USER));
    assert_true(text_is(parts.provider, "outlook"));
    assert_true(text_is(parts.device, DEVICE));

    assert_int_equal(ti_record_connection_name(&rm_pool, ti_str("ti:"),
                         parts.user, parts.provider, parts.device, &name),
                     TI_OK);
    assert_true(text_is(name, "ti:{" USER "}:c:outlook:" DEVICE));

    /* no connection's: who hears of it forgets nothing */

    assert_int_equal(ti_record_lock_name(&rm_pool, ti_str("ti:"), &parts,
                                         &name), TI_OK);
    assert_true(text_is(name, "ti:{" USER "}:l:outlook:" DEVICE));
    assert_int_equal(ti_record_connection_parse(ti_str("ti:"), name, &parts),
                     TI_DECLINED);

    assert_int_equal(ti_record_connection_parse(ti_null_str,
                         ti_str("{" USER "}:c:a_b-9:-"), &parts), TI_OK);
    assert_true(text_is(parts.provider, "a_b-9"));
    assert_true(text_is(parts.device, "-"));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ti_record_connection_parse(ti_str("ti:"), ti_str_cstr(bad[i]),
                                       &parts)
            != TI_DECLINED)
        {
            fail_msg("%s", bad[i]);
        }
    }
}


/* --- pending --- */

static ti_pending_t
begun(void)
{
    ti_pending_t  pending;

    memset(&pending, 0, sizeof(pending));
    assert_int_equal(ti_pending_begin(&rm_random, &pending), TI_OK);

    pending.scope = ti_str("openid Mail.Read");
    pending.redirect_uri = ti_str("https://s.example/connected?a=\"b\"");

    return pending;
}


static ti_str_t
state_of(const ti_pending_t *pending)
{
    return ti_str_from(pending->state, TI_OAUTH_SECRET_LEN);
}


static ti_str_t
sealed_of(const ti_record_ref_t *ref, const ti_pending_t *pending)
{
    ti_str_t  sealed;

    assert_int_equal(ti_pending_seal(crypto, &rm_pool, &rm_random, ring, ref,
                                     pending, NOW, &sealed), TI_OK);

    return sealed;
}


static ti_result_t
open_at(const ti_record_ref_t *ref, ti_str_t sealed, ti_str_t state,
    int64_t now, ti_pending_t *pending)
{
    const char   *why;
    ti_result_t   result;
    ti_pending_t  ignored;

    why = NULL;
    result = ti_pending_open(crypto, &rm_pool, ring, ref, sealed, state, now,
                             pending == NULL ? &ignored : pending, &why);
    assert_true(result == TI_RESULT_OK || why != NULL);

    return result;
}


static void
brings_back_what_began(void **state)
{
    ti_str_t         sealed;
    ti_pending_t     pending, again;
    ti_record_ref_t  ref;

    ref = rm_ref();
    pending = begun();
    sealed = sealed_of(&ref, &pending);

    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW, &again),
                     TI_RESULT_OK);
    assert_memory_equal(again.state, pending.state, TI_OAUTH_SECRET_LEN);
    assert_memory_equal(again.verifier, pending.verifier, TI_OAUTH_SECRET_LEN);
    assert_memory_equal(again.nonce, pending.nonce, TI_OAUTH_SECRET_LEN);
    assert_true(text_is(again.scope, "openid Mail.Read"));
    assert_true(text_is(again.redirect_uri,
                        "https://s.example/connected?a=\"b\""));

    assert_memory_not_equal(pending.state, pending.verifier,
                            TI_OAUTH_SECRET_LEN);
    assert_memory_not_equal(pending.verifier, pending.nonce,
                            TI_OAUTH_SECRET_LEN);

    /* a connection's gen and cid are nothing to it, nor has it a user key
       that its provider does not ask for */
    ref.gen = 99;
    ref.cid = ti_null_str;
    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW, NULL),
                     TI_RESULT_OK);

    ref.user_key = NULL;
    ref.device = ti_str("-");
    pending.scope = ti_null_str;
    sealed = sealed_of(&ref, &pending);
    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW, &again),
                     TI_RESULT_OK);
    assert_int_equal(again.scope.len, 0);
    assert_false(again.admin);

    pending.admin = 1;
    sealed = sealed_of(&ref, &pending);
    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW, &again),
                     TI_RESULT_OK);
    assert_true(again.admin);
}


static void
ends_in_ten_minutes(void **state)
{
    ti_str_t         sealed;
    ti_pending_t     pending;
    ti_record_ref_t  ref;

    ref = rm_ref();
    pending = begun();
    sealed = sealed_of(&ref, &pending);

    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW + 599,
                             NULL), TI_RESULT_OK);
    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW + 600,
                             NULL), INVALID);
}


static void
is_nobody_elses(void **state)
{
    ti_str_t              sealed;
    ti_pending_t          pending, other;
    ti_record_ref_t       ref, wrong;
    static unsigned char  key[TI_KEY_LEN];

    ref = rm_ref();
    pending = begun();
    other = begun();
    sealed = sealed_of(&ref, &pending);

    assert_int_equal(open_at(&ref, sealed, state_of(&other), NOW, NULL),
                     INVALID);
    assert_int_equal(open_at(&ref, sealed, ti_null_str, NOW, NULL), INVALID);

    wrong = ref;
    wrong.who.subject = ti_str("bob");
    assert_int_equal(open_at(&wrong, sealed, state_of(&pending), NOW, NULL),
                     INVALID);
    wrong = ref;
    wrong.who.tenant = ti_str("fabrikam");
    assert_int_equal(open_at(&wrong, sealed, state_of(&pending), NOW, NULL),
                     INVALID);
    wrong = ref;
    wrong.provider = ti_str("zoom");
    assert_int_equal(open_at(&wrong, sealed, state_of(&pending), NOW, NULL),
                     INVALID);
    wrong = ref;
    wrong.device = ti_str("device-of-alice1");
    assert_int_equal(open_at(&wrong, sealed, state_of(&pending), NOW, NULL),
                     INVALID);
    wrong = ref;
    wrong.user_key = key;
    assert_int_equal(open_at(&wrong, sealed, state_of(&pending), NOW, NULL),
                     INVALID);

    assert_int_equal(open_at(&ref, ti_str("a.b.c.d.e"), state_of(&pending),
                             NOW, NULL), INVALID);
    assert_int_equal(open_at(&ref, ti_null_str, state_of(&pending), NOW, NULL),
                     INVALID);
}


/* what is sealed, and yet not of this version */

static void
takes_no_other_payload(void **state)
{
    size_t            i;
    char              text[400];
    ti_str_t          sealed;
    ti_record_t       record;
    ti_record_ref_t   ref;

#define S43  "0123456789012345678901234567890123456789012"

    static const char *const  members[] = {
        "\"state\":\"" S43 "\"", "\"verifier\":\"" S43 "\"",
        "\"nonce\":\"" S43 "\"", "\"scope\":\"\"", "\"redirect_uri\":\"r\""
    };
    static const char *const  wrong[] = {
        "\"state\":\"" S43 "3\"", "\"verifier\":\"\"", "\"nonce\":1",
        "\"scope\":null", "\"redirect_uri\":[]"
    };

    ref = rm_ref();
    ref.kind = TI_RECORD_PENDING;
    ref.gen = 0;
    ref.cid = ti_null_str;

    memset(&record, 0, sizeof(record));
    record.expires = NOW + 1;

    for (i = 0; i <= 5; i++) {
        (void) snprintf(text, sizeof(text), "{%s,%s,%s,%s,%s}",
                        i == 0 ? wrong[0] : members[0],
                        i == 1 ? wrong[1] : members[1],
                        i == 2 ? wrong[2] : members[2],
                        i == 3 ? wrong[3] : members[3],
                        i == 4 ? wrong[4] : members[4]);
        record.token = ti_str_cstr(text);

        assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring,
                                        &ref, &record, &sealed), TI_OK);
        assert_int_equal(open_at(&ref, sealed, ti_str(S43), NOW, NULL),
                         i == 5 ? TI_RESULT_OK : INVALID);
    }

    record.token = ti_str("no JSON");
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_OK);
    assert_int_equal(open_at(&ref, sealed, ti_str(S43), NOW, NULL), INVALID);
}


static void
leaves_no_secret_behind(void **state)
{
    size_t            from;
    ti_str_t          sealed;
    ti_pending_t      pending, again;
    ti_record_ref_t   ref;

    ref = rm_ref();
    pending = begun();

    rm_arena.filled = 1;
    from = rm_arena.n;
    sealed = sealed_of(&ref, &pending);
    assert_int_equal(open_at(&ref, sealed, state_of(&pending), NOW, &again),
                     TI_RESULT_OK);

    assert_int_equal(rm_count(from, pending.verifier, TI_OAUTH_SECRET_LEN), 0);
    assert_int_equal(rm_count(from, pending.nonce, TI_OAUTH_SECRET_LEN), 0);
}


static void
says_when_something_ends(void **state)
{
    size_t           left;
    ti_str_t         sealed;
    ti_result_t      result;
    ti_pending_t     pending;
    ti_record_ref_t  ref;

    ref = rm_ref();
    pending = begun();
    sealed = sealed_of(&ref, &pending);

    for (left = 0; ; left++) {
        rm_arena.left = left;
        result = open_at(&ref, sealed, state_of(&pending), NOW, NULL);

        if (result == TI_RESULT_OK) {
            break;
        }

        assert_int_equal(result, TI_RESULT_INTERNAL_ERROR);
        assert_true(left < 20);
    }

    assert_true(left > 3);

    rm_arena.left = 0;
    assert_int_equal(ti_pending_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                     &pending, NOW, &sealed), TI_ERROR);

    for (left = 0; left < 3; left++) {
        rm_random_left = left;
        assert_int_equal(ti_pending_begin(&rm_random, &pending), TI_ERROR);
    }
}


/* --- accounts --- */

static void
seals_accounts(void **state)
{
    ti_str_t          sealed, again;
    const char       *why;
    ti_record_t       record;
    ti_keyring_t     *swapped;
    ti_record_ref_t   ref;

    ref = rm_ref();
    ref.kind = TI_RECORD_ACCOUNT;
    ref.user_key = NULL;
    ref.gen = 0;

    memset(&record, 0, sizeof(record));
    record.token = ti_str("J\xc3\xb6rg <j@b.example>");

    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_OK);
    assert_null(memmem(sealed.data, sealed.len, "example", 7));

    swapped = rm_ring(1);
    assert_int_equal(ti_record_rewrap(crypto, &rm_pool, &rm_random, swapped,
                                      sealed, &again, &why), TI_OK);
    assert_int_equal(ti_record_open(crypto, &rm_pool, swapped, &ref, again,
                                    &record, &why), TI_RESULT_OK);
    assert_true(text_is(record.token, "J\xc3\xb6rg <j@b.example>"));
    assert_int_equal(record.expires, 0);
    ti_keyring_free(swapped);

    /* of another consent, of another device, or another kind of record */

    ref.cid = ti_str("AAAAAAAAAAAAAAAAAAAAAA");
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &ref, sealed,
                                    &record, &why),
                     TI_RESULT_RECONNECT_REQUIRED);
    ref.cid = rm_ref().cid;
    ref.device = ti_str("-");
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &ref, sealed,
                                    &record, &why),
                     TI_RESULT_RECONNECT_REQUIRED);
    ref.device = rm_ref().device;
    ref.kind = TI_RECORD_REFRESH;
    ref.gen = 1;
    assert_int_equal(ti_record_open(crypto, &rm_pool, ring, &ref, sealed,
                                    &record, &why),
                     TI_RESULT_RECONNECT_REQUIRED);

    /* it has a cid and no gen */

    ref.kind = TI_RECORD_ACCOUNT;
    record.token = ti_str("a");
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_DECLINED);
    ref.gen = 0;
    ref.cid = ti_null_str;
    assert_int_equal(ti_record_seal(crypto, &rm_pool, &rm_random, ring, &ref,
                                    &record, &sealed), TI_DECLINED);
}


#define test(f)  cmocka_unit_test_teardown(f, clean)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(names_what_is_pending),
        test(reads_changes),
        test(brings_back_what_began),
        test(ends_in_ten_minutes),
        test(is_nobody_elses),
        test(takes_no_other_payload),
        test(leaves_no_secret_behind),
        test(says_when_something_ends),
        test(seals_accounts)
    };

    return cmocka_run_group_tests_name("ti_pending", tests, set_up, tear_down);
}
