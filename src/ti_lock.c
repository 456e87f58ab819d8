/*
 * Floor 3: who renews a connection.
 */

#include <string.h>

#include "ti_lock.h"


#define TI_LOCK_OWNER_BYTES  16
#define TI_LOCK_NOTE_PARTS   3


/*
 * Whatever is there and is neither a token nor a note of this gen, is as good
 * as nothing.  128000 is TI_LOCK_KEEP, 99 and 86400 are TI_LOCK_FAILURES_MAX
 * and TI_LOCK_WAIT_MAX.  The key's own time is the note's: TIME would be one
 * more right to give.
 */

static const ti_str_t  ti_lock_take_script = ti_string(
    "local value = redis.pcall('GET', KEYS[1])\n"
    "local failures = 0\n"
    "if type(value) == 'string' and value ~= ARGV[1] then\n"
    "local n, gen = string.match(value, '^~(%d+):[%l-]+:(%d+)$')\n"
    "if gen == ARGV[3] then\n"
    "local left ="
    " math.ceil((redis.call('PTTL', KEYS[1]) - 128000) / 1000)\n"
    "if left > 0 then return {0, math.min(left, 86400), value} end\n"
    "failures = math.min(tonumber(n), 99)\n"
    "elseif string.sub(value, 1, 1) ~= '~' then return {0} end\n"
    "end\n"
    "redis.call('PUBLISH', ARGV[4], KEYS[1])\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
    "return {1, failures}\n");

static const ti_str_t  ti_lock_renew_script = ti_string(
    "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])\n");

static const ti_str_t  ti_lock_release_script = ti_string(
    "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "return redis.call('DEL', KEYS[1])\n");

static const ti_str_t  ti_lock_fail_script = ti_string(
    "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "redis.call('SET', KEYS[1], string.format('~%s:%s:%s', ARGV[2], ARGV[3],"
    " ARGV[4]), 'EX', ARGV[5])\n"
    "return 1\n");


ti_rc_t
ti_lock_owner(const ti_random_t *random, unsigned char owner[TI_LOCK_OWNER_LEN])
{
    unsigned char  raw[TI_LOCK_OWNER_BYTES];

    if (random->fill(random->data, raw, sizeof(raw)) != TI_OK) {
        return TI_ERROR;
    }

    ti_b64u_encode(owner, ti_str_from(raw, sizeof(raw)));

    return TI_OK;
}


/* EVAL, the script, its key, and the first argument of all: the owner. */

static void
ti_lock_command(const ti_lock_t *lock, ti_str_t script, ti_str_t *argv,
    size_t *argc)
{
    argv[0] = ti_str("EVAL");
    argv[1] = script;
    argv[2] = ti_str("1");
    argv[3] = lock->name;
    argv[4] = lock->owner;
    *argc = 5;
}


static ti_rc_t
ti_lock_add(const ti_pool_t *pool, ti_str_t *argv, size_t *argc,
    uint64_t value)
{
    unsigned char  *p;

    p = ti_pool_alloc(pool, TI_DECIMAL_LEN);
    if (p == NULL) {
        return TI_ERROR;
    }

    argv[(*argc)++] = ti_str_from(p, ti_decimal_format(p, value));

    return TI_OK;
}


ti_rc_t
ti_lock_take(const ti_pool_t *pool, const ti_lock_t *lock, ti_str_t *argv,
    size_t *argc)
{
    ti_lock_command(lock, ti_lock_take_script, argv, argc);

    if (ti_lock_add(pool, argv, argc, lock->lease) != TI_OK
        || ti_lock_add(pool, argv, argc, lock->gen) != TI_OK)
    {
        return TI_ERROR;
    }

    argv[(*argc)++] = lock->channel;

    return TI_OK;
}


ti_rc_t
ti_lock_renew(const ti_pool_t *pool, const ti_lock_t *lock, ti_str_t *argv,
    size_t *argc)
{
    ti_lock_command(lock, ti_lock_renew_script, argv, argc);

    return ti_lock_add(pool, argv, argc, lock->lease);
}


void
ti_lock_release(const ti_lock_t *lock, ti_str_t *argv, size_t *argc)
{
    ti_lock_command(lock, ti_lock_release_script, argv, argc);
}


ti_rc_t
ti_lock_fail(const ti_pool_t *pool, const ti_lock_t *lock,
    const ti_lock_failure_t *failure, ti_str_t *argv, size_t *argc)
{
    uint64_t  wait, failures;

    wait = failure->wait < 1 ? 1 : (uint64_t) failure->wait;

    if (wait > TI_LOCK_WAIT_MAX) {
        wait = TI_LOCK_WAIT_MAX;
    }

    failures = failure->failures;

    if (failures > TI_LOCK_FAILURES_MAX) {
        failures = TI_LOCK_FAILURES_MAX;
    }

    ti_lock_command(lock, ti_lock_fail_script, argv, argc);

    if (ti_lock_add(pool, argv, argc, failures) != TI_OK) {
        return TI_ERROR;
    }

    argv[(*argc)++] = ti_result_info(failure->result)->name;

    if (ti_lock_add(pool, argv, argc, lock->gen) != TI_OK) {
        return TI_ERROR;
    }

    return ti_lock_add(pool, argv, argc, wait + TI_LOCK_KEEP);
}


int64_t
ti_lock_backoff(uint64_t failures, int64_t retry_after)
{
    int64_t  wait;

    for (wait = 1; failures > 1 && wait < TI_LOCK_BACKOFF_MAX; failures--) {
        wait *= 2;
    }

    return wait < retry_after ? retry_after : wait;
}


ti_rc_t
ti_lock_taken(const ti_resp_reply_t *reply, int64_t now,
    ti_lock_taken_t *taken)
{
    ti_lock_note_t           note;
    ti_resp_reply_t *const  *e;

    memset(taken, 0, sizeof(ti_lock_taken_t));

    if (reply->type != TI_RESP_ARRAY || reply->n == 0
        || reply->elements[0]->type != TI_RESP_INTEGER)
    {
        return TI_DECLINED;
    }

    e = reply->elements;

    if (e[0]->integer == 0 && reply->n == 1) {
        return TI_OK;
    }

    if (reply->n == 1 || e[1]->type != TI_RESP_INTEGER || e[1]->integer < 0) {
        return TI_DECLINED;
    }

    if (e[0]->integer == 1 && reply->n == 2) {
        taken->taken = 1;
        taken->failures = (uint64_t) e[1]->integer;
        return TI_OK;
    }

    if (e[0]->integer != 0 || reply->n != 3 || e[2]->type != TI_RESP_STRING
        || e[1]->integer > TI_LOCK_WAIT_MAX)
    {
        return TI_DECLINED;
    }

    taken->held_until = now + e[1]->integer;
    taken->result = TI_RESULT_PROVIDER_UNAVAILABLE;

    /* else a node of another version wrote it: to be heeded all the same */

    if (ti_lock_note_parse(e[2]->str, &note) == TI_OK) {
        taken->failures = note.failures;
        taken->result = note.result;
    }

    return TI_OK;
}


static ti_rc_t
ti_lock_result(ti_str_t name, ti_result_t *result)
{
    ti_result_t  r;

    for (r = TI_RESULT_OK + 1; r < TI_RESULT_LAST; r++) {
        if (ti_str_eq(name, ti_result_info(r)->name)) {
            *result = r;
            return TI_OK;
        }
    }

    return TI_DECLINED;
}


/* What is between the colons; of the last part there is no other. */

static ti_rc_t
ti_lock_split(ti_str_t text, ti_str_t parts[TI_LOCK_NOTE_PARTS])
{
    size_t                n;
    const unsigned char  *p, *end, *colon;

    p = text.data;
    end = p + text.len;

    for (n = 0; n < TI_LOCK_NOTE_PARTS - 1; n++) {

        colon = memchr(p, ':', (size_t) (end - p));
        if (colon == NULL) {
            return TI_DECLINED;
        }

        parts[n] = ti_str_from(p, (size_t) (colon - p));
        p = colon + 1;
    }

    parts[n] = ti_str_from(p, (size_t) (end - p));

    return TI_OK;
}


ti_rc_t
ti_lock_note_parse(ti_str_t text, ti_lock_note_t *note)
{
    ti_str_t  parts[TI_LOCK_NOTE_PARTS];

    if (text.len == 0 || text.data[0] != '~'
        || ti_lock_split(ti_str_from(text.data + 1, text.len - 1), parts)
           != TI_OK
        || ti_decimal_parse(parts[0], TI_LOCK_FAILURES_MAX, &note->failures)
           != TI_OK
        || ti_lock_result(parts[1], &note->result) != TI_OK
        || ti_decimal_parse(parts[2], TI_RECORD_GEN_MAX, &note->gen) != TI_OK)
    {
        return TI_DECLINED;
    }

    return TI_OK;
}
