/*
 * rotate: every connection under the first sealing key, without its user.
 *
 * One connection is written by one script, so the run may end anywhere and
 * begin again: what is under the first key already is passed over.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tokenctl.h"


#define TOKENCTL_ROTATE_TRIES  16


/*
 * ARGV: gen, then field, old bytes, new bytes, for each field.  HSET keeps the
 * key's expiry; gen and cid are not touched, so nobody has anything to hear.
 * What became a value of another type has an error for a gen, which is none.
 */

static const char  tokenctl_rotate_script[] =
    "local gen = redis.pcall('HGET', KEYS[1], 'gen') or ''\n"
    "if gen ~= ARGV[1] then return 0 end\n"
    "for i = 2, #ARGV, 3 do\n"
    "    if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then\n"
    "        return 0\n"
    "    end\n"
    "end\n"
    "for i = 2, #ARGV, 3 do\n"
    "    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])\n"
    "end\n"
    "return 1\n";


/* All that is sealed; a script's arguments have room for it. */

static const tokenctl_field_t  tokenctl_rotate_fields[] = {
    TOKENCTL_FIELD_ACCESS, TOKENCTL_FIELD_REFRESH, TOKENCTL_FIELD_PREVIOUS,
    TOKENCTL_FIELD_ACCOUNT
};

#define TOKENCTL_ROTATE_FIELDS                                                \
    (sizeof(tokenctl_rotate_fields) / sizeof(tokenctl_rotate_fields[0]))


typedef struct {
    uint64_t  rotated;
    uint64_t  left;
    char      first[512];                   /* of those left, and why */
} tokenctl_rotation_t;


static void
tokenctl_rotate_left(tokenctl_rotation_t *rotation,
    const tokenctl_connection_t *conn, const char *why)
{
    if (rotation->left++ == 0) {
        snprintf(rotation->first, sizeof(rotation->first), "%.*s: %s",
                 tokenctl_arg(conn->name), why);
    }
}


/*
 * Adds one field's old and new bytes to the script's arguments, unless it is
 * absent or under the first key.  NOT_FOUND: *why it does not open.
 */

static tokenctl_exit_t
tokenctl_rotate_field(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    tokenctl_field_t which, ti_str_t *argv, size_t *argc, const char **why)
{
    ti_str_t          sealed, rewrapped;
    ti_record_head_t  head;

    sealed = conn->field[which];

    if (sealed.data == NULL) {
        return TOKENCTL_DONE;
    }

    switch (ti_record_head(&ctl->scratch.ti, sealed, &head, why)) {

    case TI_OK:
        break;

    case TI_DECLINED:
        return TOKENCTL_NOT_FOUND;

    default:
        return tokenctl_fail_memory(ctl);
    }

    if (ti_str_eq(head.kid, ti_keyring_kid(ctl->ring, 0))) {
        return TOKENCTL_DONE;
    }

    switch (ti_record_rewrap(ctl->crypto, &ctl->scratch.ti, &ctl->random,
                             ctl->ring, sealed, &rewrapped, why))
    {

    case TI_OK:
        break;

    case TI_DECLINED:
        return TOKENCTL_NOT_FOUND;

    default:
        return tokenctl_fail_memory(ctl);
    }

    argv[(*argc)++] = tokenctl_field_names[which];
    argv[(*argc)++] = sealed;
    argv[(*argc)++] = rewrapped;

    return TOKENCTL_DONE;
}


/* One attempt; *changed where it succeeded or nothing was to be done. */

static tokenctl_exit_t
tokenctl_rotate_try(tokenctl_t *ctl, tokenctl_rotation_t *rotation,
    const tokenctl_connection_t *conn, int *changed)
{
    size_t            i, argc;
    ti_str_t          argv[5 + 3 * TOKENCTL_ROTATE_FIELDS];
    const char       *why;
    tokenctl_exit_t   rc;

    why = "";
    *changed = 1;

    argv[0] = ti_str("EVAL");
    argv[1] = ti_str_cstr(tokenctl_rotate_script);
    argv[2] = ti_str("1");
    argv[3] = conn->name;
    argv[4] = conn->field[TOKENCTL_FIELD_GEN];
    argc = 5;

    rc = TOKENCTL_DONE;

    for (i = 0; rc == TOKENCTL_DONE && i < TOKENCTL_ROTATE_FIELDS; i++) {
        rc = tokenctl_rotate_field(ctl, conn, tokenctl_rotate_fields[i], argv,
                                   &argc, &why);
    }

    if (rc == TOKENCTL_NOT_FOUND) {
        tokenctl_rotate_left(rotation, conn, why);
        return TOKENCTL_DONE;
    }

    if (rc != TOKENCTL_DONE || argc == 5) {
        return rc;
    }

    rc = tokenctl_store_script(ctl, argv, argc, changed);

    if (rc == TOKENCTL_DONE && *changed) {
        rotation->rotated++;
    }

    return rc;
}


/* A connection that was written meanwhile is read again. */

static tokenctl_exit_t
tokenctl_rotate_connection(tokenctl_t *ctl, tokenctl_rotation_t *rotation,
    tokenctl_connection_t *conn)
{
    int              changed, tries;
    tokenctl_exit_t  rc;

    for (tries = 0; tries < TOKENCTL_ROTATE_TRIES; tries++) {

        rc = tokenctl_rotate_try(ctl, rotation, conn, &changed);
        if (rc != TOKENCTL_DONE || changed) {
            return rc;
        }

        rc = tokenctl_connection_fetch(ctl, conn);

        if (rc == TOKENCTL_NOT_FOUND || conn->foreign) {
            return TOKENCTL_DONE;
        }

        if (rc != TOKENCTL_DONE) {
            return rc;
        }
    }

    tokenctl_rotate_left(rotation, conn, "others keep writing it");

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_rotate_each(tokenctl_t *ctl, tokenctl_scan_t *scan,
    tokenctl_connection_t *conn)
{
    tokenctl_exit_t       rc;
    tokenctl_rotation_t  *rotation = scan->data;

    if (tokenctl_scan_stopped()) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "interrupted");
    }

    rc = tokenctl_rotate_connection(ctl, rotation, conn);

    tokenctl_progress(ctl, "%llu connections seen, %llu rotated, %llu left",
                      (unsigned long long) scan->seen,
                      (unsigned long long) rotation->rotated,
                      (unsigned long long) rotation->left);

    return rc;
}


static tokenctl_exit_t
tokenctl_rotate_end(tokenctl_t *ctl, const tokenctl_scan_t *scan,
    tokenctl_exit_t rc)
{
    size_t                      len;
    const tokenctl_rotation_t  *rotation = scan->data;

    if (rc != TOKENCTL_DONE) {
        len = strlen(ctl->message);
        snprintf(ctl->message + len, sizeof(ctl->message) - len,
                 "; %llu rotated so far, run it again to go on, with "
                 "--cursor %s to begin here",
                 (unsigned long long) rotation->rotated, scan->cursor);
        return rc;
    }

    printf("%llu rotated, %llu left\n",
           (unsigned long long) rotation->rotated,
           (unsigned long long) rotation->left);

    if (rotation->left != 0) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%llu left as they are; "
                             "the first is %s",
                             (unsigned long long) rotation->left,
                             rotation->first);
    }

    return TOKENCTL_DONE;
}


tokenctl_exit_t
tokenctl_rotate(tokenctl_t *ctl)
{
    tokenctl_exit_t      rc;
    tokenctl_scan_t      scan;
    tokenctl_rotation_t  rotation;

    memset(&scan, 0, sizeof(scan));
    memset(&rotation, 0, sizeof(rotation));

    scan.each = tokenctl_rotate_each;
    scan.data = &rotation;

    rc = tokenctl_store_open(ctl);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    rc = tokenctl_scan(ctl, &scan);

    tokenctl_progress_end(ctl);

    return tokenctl_rotate_end(ctl, &scan, rc);
}
