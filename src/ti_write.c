/*
 * Floor 3: a connection's tokens on their way into Redis.
 */

#include <string.h>

#include "ti_write_private.h"


#define TI_WRITE_NUMBERS    4
#define TI_WRITE_CID_BYTES  16


/*
 * Published first: a user without the right to publish changes nothing, and
 * nobody can ask for the connection before the script ends.  One without the
 * rights to write is stopped at what is there, before that is removed; EXPIREAT
 * first, since a script that has written goes on where the memory is full.  A
 * value of another type has no gen and is replaced.
 *
 * Gens begin anew after a removal: one of a later consent is another, whatever
 * its number.  "since" is the last argument, and "cid" four fields before.
 */

static const ti_str_t  ti_write_script = ti_string(
    "local gen = redis.pcall('HGET', KEYS[1], 'gen')\n"
    "if type(gen) ~= 'string' then gen = '' end\n"
    "if gen ~= ARGV[1] then\n"
    "if redis.pcall('HGET', KEYS[1], 'access') == ARGV[5] then return 1 end\n"
    "return 0 end\n"
    "if gen ~= '' then\n"
    "local old = redis.call('HMGET', KEYS[1], 'cid', 'since')\n"
    "if old[1] ~= ARGV[#ARGV - 8] and (tonumber(old[2] or 0) or 0)"
    " > tonumber(ARGV[#ARGV]) then return 0 end end\n"
    "redis.call('PUBLISH', ARGV[2], KEYS[1])\n"
    "if gen ~= '' then\n"
    "redis.call('EXPIREAT', KEYS[1], ARGV[3])\n"
    "redis.call('HSET', KEYS[1], 'gen', gen) end\n"
    "redis.call('DEL', KEYS[1])\n"
    "redis.call('HSET', KEYS[1], unpack(ARGV, 4))\n"
    "redis.call('EXPIREAT', KEYS[1], ARGV[3])\n"
    "return 1\n");

static const ti_str_t  ti_write_mark_script = ti_string(
    "if redis.pcall('HGET', KEYS[1], 'gen') ~= ARGV[1]"
    " or redis.call('HGET', KEYS[1], 'cid') ~= ARGV[3] then return 0 end\n"
    "redis.call('PUBLISH', ARGV[2], KEYS[1])\n"
    "redis.call('HSET', KEYS[1], 'state', 'reconnect')\n"
    "return 1\n");


typedef struct {
    ti_str_t  access;
    ti_str_t  refresh;
    ti_str_t  previous;
    ti_str_t  account;
} ti_write_sealed_t;


ti_rc_t
ti_write_cid(const ti_random_t *random, unsigned char cid[TI_RECORD_CID_LEN])
{
    unsigned char  raw[TI_WRITE_CID_BYTES];

    if (random->fill(random->data, raw, sizeof(raw)) != TI_OK) {
        return TI_ERROR;
    }

    ti_b64u_encode(cid, ti_str_from(raw, sizeof(raw)));

    return TI_OK;
}


/* One more than what is there. */

ti_rc_t
ti_write_gen(ti_str_t before, uint64_t *gen)
{
    if (ti_decimal_parse(before, TI_RECORD_GEN_MAX, gen) != TI_OK) {
        *gen = 0;
    }

    if (*gen == TI_RECORD_GEN_MAX) {
        return TI_DECLINED;
    }

    (*gen)++;

    return TI_OK;
}


/* An account is for who looks without a user key, and outlives its gen. */

static ti_rc_t
ti_write_account(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring,
    const ti_write_t *write, ti_str_t *sealed)
{
    ti_record_t      record = { .token = write->account };
    ti_record_ref_t  ref;

    if (write->account.len == 0) {
        *sealed = write->sealed_account;
        return TI_OK;
    }

    ref = write->ref;
    ref.kind = TI_RECORD_ACCOUNT;
    ref.user_key = NULL;
    ref.gen = 0;

    return ti_record_seal(crypto, pool, random, ring, &ref, &record, sealed);
}


/* A token, none where it is empty. */

static ti_rc_t
ti_write_seal_token(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring,
    const ti_record_ref_t *ref, const ti_record_t *record, ti_str_t *sealed)
{
    if (record->token.len == 0) {
        return TI_OK;
    }

    return ti_record_seal(crypto, pool, random, ring, ref, record, sealed);
}


static ti_rc_t
ti_write_seal(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring, ti_write_t *write,
    ti_write_sealed_t *sealed)
{
    ti_rc_t      rc;
    ti_record_t  access = { .token = write->access,
                            .expires = write->expires,
                            .issued = write->now };
    ti_record_t  refresh = { .token = write->refresh,
                             .expires = write->refresh_expires };
    ti_record_t  previous = { .token = write->previous,
                              .expires = write->previous_expires };

    write->ref.kind = TI_RECORD_ACCESS;

    rc = ti_record_seal(crypto, pool, random, ring, &write->ref, &access,
                        &sealed->access);

    if (rc == TI_OK) {
        write->ref.kind = TI_RECORD_REFRESH;

        rc = ti_write_seal_token(crypto, pool, random, ring, &write->ref,
                                 &refresh, &sealed->refresh);
    }

    if (rc == TI_OK && write->previous_expires > write->now) {
        write->ref.kind = TI_RECORD_PREVIOUS;

        rc = ti_write_seal_token(crypto, pool, random, ring, &write->ref,
                                 &previous, &sealed->previous);
    }

    if (rc != TI_OK) {
        return rc;
    }

    return ti_write_account(crypto, pool, random, ring, write,
                            &sealed->account);
}


/* When nobody can do anything with it any more. */

static int64_t
ti_write_end(const ti_write_t *write)
{
    if (write->refresh.len == 0) {
        return write->expires + (write->brief ? TI_WRITE_BRIEF_LIFE
                                              : TI_WRITE_ACCESS_LIFE);
    }

    if (write->refresh_expires == 0) {
        return write->now + TI_WRITE_REFRESH_LIFE;
    }

    return write->refresh_expires < write->expires ? write->expires
                                                   : write->refresh_expires;
}


static void
ti_write_field(ti_str_t *argv, size_t *n, ti_str_t name, ti_str_t value)
{
    if (value.len != 0) {
        argv[(*n)++] = name;
        argv[(*n)++] = value;
    }
}


static ti_str_t
ti_write_number(unsigned char **p, int64_t value)
{
    ti_str_t  text;

    text = ti_str_from(*p, ti_decimal_format(*p, (uint64_t) value));
    *p += TI_DECIMAL_LEN;

    return text;
}


void
ti_write_eval(ti_str_t *argv)
{
    argv[0] = ti_str("EVAL");
    argv[1] = ti_write_script;
    argv[2] = ti_str("1");
}


ti_rc_t
ti_write_command(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_random_t *random, const ti_keyring_t *ring, ti_write_t *write,
    ti_str_t before, ti_str_t *argv, size_t *argc)
{
    size_t              n;
    ti_rc_t             rc;
    unsigned char      *p;
    ti_write_sealed_t   sealed;

    memset(&sealed, 0, sizeof(ti_write_sealed_t));

    rc = ti_write_gen(before, &write->ref.gen);

    if (rc == TI_OK) {
        rc = ti_write_seal(crypto, pool, random, ring, write, &sealed);
    }

    if (rc != TI_OK) {
        return rc;
    }

    p = ti_pool_alloc(pool, TI_WRITE_NUMBERS * TI_DECIMAL_LEN);

    if (p == NULL
        || ti_record_changes_name(pool, write->prefix, &argv[TI_WRITE_CHANNEL])
           != TI_OK)
    {
        return TI_ERROR;
    }

    ti_write_eval(argv);
    argv[TI_WRITE_NAME] = write->name;
    argv[TI_WRITE_BEFORE] = before;
    argv[TI_WRITE_ENDS] = ti_write_number(&p, ti_write_end(write));

    n = TI_WRITE_PAIRS;

    ti_write_field(argv, &n, ti_str("access"), sealed.access);
    ti_write_field(argv, &n, ti_str("refresh"), sealed.refresh);
    ti_write_field(argv, &n, ti_str("previous"), sealed.previous);
    ti_write_field(argv, &n, ti_str("account"), sealed.account);
    ti_write_field(argv, &n, ti_str("scope"), write->scope);
    ti_write_field(argv, &n, ti_str("cid"), write->ref.cid);
    ti_write_field(argv, &n, ti_str("state"), ti_str("connected"));
    ti_write_field(argv, &n, ti_str("gen"),
                   ti_write_number(&p, (int64_t) write->ref.gen));
    ti_write_field(argv, &n, ti_str("exp"),
                   ti_write_number(&p, write->expires));
    ti_write_field(argv, &n, ti_str("since"),
                   ti_write_number(&p, write->since));

    *argc = n;

    return TI_OK;
}


ti_rc_t
ti_write_mark(const ti_pool_t *pool, ti_str_t prefix, ti_str_t name,
    ti_str_t gen, ti_str_t cid, ti_str_t *argv, size_t *argc)
{
    argv[0] = ti_str("EVAL");
    argv[1] = ti_write_mark_script;
    argv[2] = ti_str("1");
    argv[3] = name;
    argv[4] = gen;
    argv[6] = cid;
    *argc = 7;

    return ti_record_changes_name(pool, prefix, &argv[5]);
}
