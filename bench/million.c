/*
 * Writes connections as Redis' protocol, for "redis-cli --pipe": N of them, of
 * as many users with a device each, sealed with the keys of FILE.
 *
 * usage: million FILE N
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ti_record.h"


#define MILLION_KEYS_MAX  65536
#define MILLION_POOL      65536
#define MILLION_LIFE      (90 * 86400)


/* What one connection takes, begun anew with the next. */

typedef struct {
    size_t         used;
    unsigned char  data[MILLION_POOL];
} million_pool_t;

typedef struct {
    ti_crypto_t    *crypto;
    ti_keyring_t   *ring;
    ti_random_t     random;
    ti_pool_t       pool;
    ti_str_t        access;
    ti_str_t        refresh;
    int64_t         now;
} million_t;


static million_pool_t  million_pool;


static void *
million_alloc(void *data, size_t size)
{
    million_pool_t  *pool = data;
    unsigned char   *p;

    size = (size + 15) & ~(size_t) 15;

    if (size > MILLION_POOL - pool->used) {
        return NULL;
    }

    p = pool->data + pool->used;
    pool->used += size;

    return p;
}


static void
million_command(const ti_str_t *argv, size_t argc)
{
    size_t  i;

    printf("*%zu\r\n", argc);

    for (i = 0; i < argc; i++) {
        printf("$%zu\r\n", argv[i].len);
        fwrite(argv[i].data, 1, argv[i].len, stdout);
        fputs("\r\n", stdout);
    }
}


static ti_str_t
million_number(char buf[TI_DECIMAL_LEN], int64_t n)
{
    return ti_str_from(buf, ti_decimal_format((unsigned char *) buf,
                                              (uint64_t) n));
}


static int
million_one(million_t *m, uint64_t n)
{
    char             subject[32], exp[TI_DECIMAL_LEN], now[TI_DECIMAL_LEN],
                     end[TI_DECIMAL_LEN];
    size_t           len;
    ti_str_t         name, device, cid, sealed[2];
    ti_record_t      record;
    unsigned char    user[TI_RECORD_USER_LEN], key[TI_KEY_LEN], raw[16],
                     text[TI_RECORD_DEVICE_MAX], encoded[32];
    ti_record_ref_t  ref;

    snprintf(subject, sizeof(subject), "user-%llu", (unsigned long long) n);

    memset(&ref, 0, sizeof(ref));
    memset(&record, 0, sizeof(record));
    million_pool.used = 0;

    ref.kind = TI_RECORD_ACCESS;
    ref.who.issuer = ti_str("https://login.example.com/");
    ref.who.subject = ti_str_cstr(subject);
    ref.provider = ti_str("outlook");
    ref.user_key = key;
    ref.gen = 1;

    if (m->random.fill(m->random.data, key, sizeof(key)) != TI_OK
        || m->random.fill(m->random.data, raw, sizeof(raw)) != TI_OK
        || ti_record_user(m->crypto, m->ring, &ref.who, user) != TI_OK
        || ti_record_device(m->crypto, key, text, &len) != TI_OK)
    {
        return -1;
    }

    device = ti_str_from(text, len);
    ti_b64u_encode(encoded, ti_str_from(raw, sizeof(raw)));
    cid = ti_str_from(encoded, ti_b64u_len(sizeof(raw)));

    ref.device = device;
    ref.cid = cid;

    record.token = m->access;
    record.expires = m->now + 3600;

    if (ti_record_connection_name(&m->pool, ti_str("ti:"),
                                  ti_str_from(user, sizeof(user)),
                                  ref.provider, device, &name) != TI_OK
        || ti_record_seal(m->crypto, &m->pool, &m->random, m->ring, &ref,
                          &record, &sealed[0]) != TI_OK)
    {
        return -1;
    }

    ref.kind = TI_RECORD_REFRESH;
    record.token = m->refresh;
    record.expires = 0;

    if (ti_record_seal(m->crypto, &m->pool, &m->random, m->ring, &ref,
                       &record, &sealed[1]) != TI_OK)
    {
        return -1;
    }

    {
        const ti_str_t  hset[] = {
            ti_string("HSET"), name, ti_string("access"), sealed[0],
            ti_string("refresh"), sealed[1], ti_string("gen"), ti_string("1"),
            ti_string("cid"), cid, ti_string("exp"),
            million_number(exp, m->now + 3600), ti_string("scope"),
            ti_string("offline_access Mail.Read"), ti_string("since"),
            million_number(now, m->now), ti_string("state"),
            ti_string("connected")
        };
        const ti_str_t  expire[] = {
            ti_string("EXPIREAT"), name, million_number(end, m->now
                                                             + MILLION_LIFE)
        };

        million_command(hset, sizeof(hset) / sizeof(ti_str_t));
        million_command(expire, 3);
    }

    return 0;
}


static int
million_keys(million_t *m, const char *file)
{
    FILE         *f;
    size_t        n;
    const char   *why;

    static char   text[MILLION_KEYS_MAX];

    f = fopen(file, "r");
    if (f == NULL) {
        perror(file);
        return -1;
    }

    n = fread(text, 1, sizeof(text), f);
    fclose(f);

    return ti_keyring_parse(ti_str_from(text, n), &m->ring, &why) == TI_OK
           ? 0 : -1;
}


int
main(int argc, char **argv)
{
    uint64_t   i, n;
    million_t  m;

    static char  access[800], refresh[400];

    if (argc != 3
        || ti_decimal_parse(ti_str_cstr(argv[2]), 100000000, &n) != TI_OK)
    {
        fprintf(stderr, "usage: million FILE N\n");
        return 2;
    }

    memset(&m, 0, sizeof(m));
    memset(access, 'a', sizeof(access));
    memset(refresh, 'r', sizeof(refresh));

    m.pool = (ti_pool_t) { million_alloc, &million_pool };
    m.access = ti_str_from(access, sizeof(access));
    m.refresh = ti_str_from(refresh, sizeof(refresh));
    m.random = ti_crypto_random();
    m.crypto = ti_crypto_create();
    m.now = time(NULL);

    if (m.crypto == NULL || million_keys(&m, argv[1]) != 0) {
        fprintf(stderr, "million: no keys\n");
        return 1;
    }

    for (i = 0; i < n; i++) {
        if (million_one(&m, i) != 0 || ferror(stdout)) {
            fprintf(stderr, "million: failed\n");
            return 1;
        }
    }

    ti_keyring_free(m.ring);
    ti_crypto_free(m.crypto);

    return fflush(stdout) == 0 ? 0 : 1;
}
