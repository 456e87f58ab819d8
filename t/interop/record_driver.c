/*
 * Our reader and writer of token records, for t/interop/record.t: a JSON
 * object a line in, one a line out, as record.py says, and beyond that
 *
 *     {"op": "rewrap", …, "record"}  -> {"record"} or {"error"}
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ti_json.h"
#include "ti_record.h"


#define QUERY_MAX   (256 * 1024)
#define CHUNKS_MAX  64


typedef struct {
    void    *chunks[CHUNKS_MAX];
    size_t   n;
} arena_t;

typedef struct {
    arena_t           arena;
    ti_pool_t         pool;
    ti_random_t       random;
    ti_crypto_t      *crypto;
    ti_keyring_t     *ring;
    json_t           *query;
    unsigned char     user_key[TI_KEY_LEN];
    unsigned char     user[TI_RECORD_USER_LEN];
    unsigned char     device[TI_RECORD_DEVICE_MAX];
    ti_record_ref_t   ref;
} driver_t;


static _Noreturn void
die(const char *what)
{
    fprintf(stderr, "record_driver: %s\n", what);
    exit(2);
}


static void *
arena_alloc(void *data, size_t size)
{
    void     *p;
    arena_t  *arena;

    arena = data;

    if (arena->n == CHUNKS_MAX) {
        return NULL;
    }

    p = malloc(size);
    if (p != NULL) {
        arena->chunks[arena->n++] = p;
    }

    return p;
}


/* A string member; null and absent are empty. */

static ti_str_t
text(const driver_t *driver, const char *name)
{
    ti_str_t  s;

    return ti_json_string(driver->query, name, &s) == TI_OK ? s : ti_null_str;
}


static int64_t
number(const driver_t *driver, const char *name)
{
    int64_t  n;

    return ti_json_integer(driver->query, name, 0, INT64_MAX, &n) == TI_OK
           ? n : 0;
}


static void
set_up(driver_t *driver, ti_str_t line)
{
    char        *keys;
    const char  *why;

    if (ti_json_parse_object(line, QUERY_MAX, &driver->query, &why) != TI_OK) {
        die(why);
    }

    keys = json_dumps(json_object_get(driver->query, "keys"), JSON_COMPACT);
    if (keys == NULL) {
        die("no \"keys\"");
    }

    if (ti_keyring_parse(ti_str_cstr(keys), &driver->ring, &why) != TI_OK) {
        die(why);
    }

    free(keys);
}


static void
tear_down(driver_t *driver)
{
    json_decref(driver->query);
    ti_keyring_free(driver->ring);

    while (driver->arena.n > 0) {
        free(driver->arena.chunks[--driver->arena.n]);
    }
}


static ti_record_kind_t
kind(const driver_t *driver)
{
    size_t  i;

    static const char *const  names_of[] = {
        [TI_RECORD_ACCESS] = "access", [TI_RECORD_REFRESH] = "refresh",
        [TI_RECORD_PENDING] = "pending", [TI_RECORD_PREVIOUS] = "previous"
    };

    for (i = 0; i < sizeof(names_of) / sizeof(names_of[0]); i++) {
        if (names_of[i] != NULL
            && ti_str_eq(text(driver, "kind"), ti_str_cstr(names_of[i])))
        {
            return (ti_record_kind_t) i;
        }
    }

    die("an unknown kind");
}


static void
set_ref(driver_t *driver)
{
    size_t            len;
    ti_str_t          user_key;
    ti_record_ref_t  *ref;

    ref = &driver->ref;

    ref->kind = kind(driver);
    ref->who.issuer = text(driver, "issuer");
    ref->who.tenant = text(driver, "tenant");
    ref->who.subject = text(driver, "subject");
    ref->provider = text(driver, "provider");
    ref->gen = (uint64_t) number(driver, "gen");
    ref->cid = text(driver, "cid");
    ref->user_key = NULL;

    user_key = text(driver, "user_key");

    if (user_key.data != NULL) {
        if (ti_user_key_decode(user_key, driver->user_key) != TI_OK) {
            die("not a user key");
        }

        ref->user_key = driver->user_key;
    }

    if (ti_record_user(driver->crypto, driver->ring, &ref->who, driver->user)
        != TI_OK
        || ti_record_device(driver->crypto, ref->user_key, driver->device,
                            &len)
           != TI_OK)
    {
        die("no names");
    }

    ref->device = ti_str_from(driver->device, len);
}


static json_t *
string(ti_str_t s)
{
    return s.data == NULL ? json_null()
                          : json_stringn((const char *) s.data, s.len);
}


static json_t *
names(driver_t *driver)
{
    ti_str_t  user, name;

    user = ti_str_from(driver->user, TI_RECORD_USER_LEN);

    if (ti_record_connection_name(&driver->pool, text(driver, "prefix"), user,
                                  driver->ref.provider, driver->ref.device,
                                  &name)
        != TI_OK)
    {
        die("no name");
    }

    return json_pack("{s:o, s:o, s:o}", "user", string(user), "device",
                     string(driver->ref.device), "connection", string(name));
}


static json_t *
seal(driver_t *driver)
{
    ti_str_t     sealed;
    ti_record_t  record;

    memset(&record, 0, sizeof(ti_record_t));

    record.token = text(driver, "token");
    record.scope = text(driver, "scope");
    record.expires = number(driver, "exp");
    record.issued = number(driver, "iat");

    if (ti_record_seal(driver->crypto, &driver->pool, &driver->random,
                       driver->ring, &driver->ref, &record, &sealed)
        != TI_OK)
    {
        die("not sealed");
    }

    return json_pack("{s:o}", "record", string(sealed));
}


static json_t *
time_of(int64_t seconds)
{
    return seconds == 0 ? json_null() : json_integer(seconds);
}


static json_t *
unseal(driver_t *driver)
{
    const char   *why;
    ti_record_t   record;
    ti_result_t   result;

    result = ti_record_open(driver->crypto, &driver->pool, driver->ring,
                            &driver->ref, text(driver, "record"), &record,
                            &why);

    if (result != TI_RESULT_OK) {
        return json_pack("{s:o, s:s}", "error",
                         string(ti_result_info(result)->name), "why", why);
    }

    return json_pack("{s:o, s:o, s:o, s:o}", "token", string(record.token),
                     "exp", time_of(record.expires),
                     "iat", time_of(record.issued),
                     "scope", string(record.scope));
}


static json_t *
rewrap(driver_t *driver)
{
    ti_str_t     rewrapped;
    const char  *why;

    if (ti_record_rewrap(driver->crypto, &driver->pool, &driver->random,
                         driver->ring, text(driver, "record"), &rewrapped,
                         &why)
        != TI_OK)
    {
        return json_pack("{s:s}", "error", why);
    }

    return json_pack("{s:o}", "record", string(rewrapped));
}


static json_t *
answer(driver_t *driver)
{
    size_t    i;
    ti_str_t  op;

    static const struct {
        const char  *op;
        json_t    *(*run)(driver_t *driver);
    } ops[] = {
        { "names", names },
        { "write", seal },
        { "read", unseal },
        { "rewrap", rewrap }
    };

    op = text(driver, "op");

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (ti_str_eq(op, ti_str_cstr(ops[i].op))) {
            return ops[i].run(driver);
        }
    }

    die("no such op");

    return NULL;
}


int
main(void)
{
    char      *line;
    size_t     size;
    ssize_t    len;
    json_t    *reply;
    driver_t   driver;

    memset(&driver, 0, sizeof(driver_t));

    driver.pool.alloc = arena_alloc;
    driver.pool.data = &driver.arena;
    driver.random = ti_crypto_random();
    driver.crypto = ti_crypto_create();

    if (driver.crypto == NULL) {
        die("no crypto");
    }

    line = NULL;
    size = 0;

    for ( ;; ) {
        len = getline(&line, &size, stdin);
        if (len <= 0) {
            break;
        }

        set_up(&driver, ti_str_from(line, (size_t) len));
        set_ref(&driver);

        reply = answer(&driver);

        if (reply == NULL || json_dumpf(reply, stdout, JSON_COMPACT) != 0
            || putchar('\n') == EOF || fflush(stdout) != 0)
        {
            die("no reply");
        }

        json_decref(reply);
        tear_down(&driver);
    }

    free(line);
    ti_crypto_free(driver.crypto);

    return 0;
}
