/*
 * The scripts that our commands run in Redis, for t/interop/scripts.t: the
 * arguments of one command, each with a NUL behind it.
 *
 *     scripts_driver take|renew|release NAME OWNER LEASE GEN CHANNEL
 *     scripts_driver fail NAME OWNER LEASE GEN CHANNEL WAIT FAILURES
 *     scripts_driver mark PREFIX NAME GEN
 *     scripts_driver write PREFIX NAME BEFORE ACCESS
 *
 * A write goes through its bytes, as one does that has to wait.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/record_make.h"
#include "ti_lock.h"
#include "ti_write.h"


static size_t    argc_out;
static ti_str_t  argv_out[TI_WRITE_ARGS];


static void
must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "scripts_driver: %s\n", what);
        exit(2);
    }
}


static int
lock_command(const char *op, int argc, char **argv)
{
    ti_rc_t            rc;
    ti_lock_t          lock;
    ti_lock_failure_t  failure;

    lock.name = ti_str_cstr(argv[0]);
    lock.owner = ti_str_cstr(argv[1]);
    lock.lease = strtoull(argv[2], NULL, 10);
    lock.gen = strtoull(argv[3], NULL, 10);
    lock.channel = ti_str_cstr(argv[4]);
    rc = TI_OK;

    if (strcmp(op, "take") == 0) {
        rc = ti_lock_take(&rm_pool, &lock, argv_out, &argc_out);

    } else if (strcmp(op, "renew") == 0) {
        rc = ti_lock_renew(&rm_pool, &lock, argv_out, &argc_out);

    } else if (strcmp(op, "release") == 0) {
        ti_lock_release(&lock, argv_out, &argc_out);

    } else if (strcmp(op, "fail") == 0 && argc == 7) {
        failure.wait = strtoll(argv[5], NULL, 10);
        failure.failures = strtoull(argv[6], NULL, 10);
        failure.result = TI_RESULT_PROVIDER_UNAVAILABLE;

        rc = ti_lock_fail(&rm_pool, &lock, &failure, argv_out, &argc_out);

    } else {
        return 0;
    }

    must(rc == TI_OK, op);

    return 1;
}


static void
write_command(char **argv)
{
    ti_str_t          packed;
    ti_write_t        write;
    ti_crypto_t      *crypto;
    ti_random_t       random;
    ti_keyring_t     *ring;
    ti_write_about_t  about;

    crypto = ti_crypto_create();
    must(crypto != NULL, "OpenSSL");

    ring = rm_ring(0);
    random = ti_crypto_random();
    memset(&write, 0, sizeof(ti_write_t));

    write.prefix = ti_str_cstr(argv[0]);
    write.name = ti_str_cstr(argv[1]);
    write.ref = rm_ref();
    write.access = ti_str_cstr(argv[3]);
    write.refresh = ti_str("refresh");
    write.now = 1795286400;
    write.since = 1795200000;
    write.expires = INT64_C(4102444800);    /* in 2100 */
    write.refresh_expires = write.expires;

    must(ti_write_command(crypto, &rm_pool, &random, ring, &write,
                          ti_str_cstr(argv[2]), argv_out, &argc_out) == TI_OK
         && ti_write_pack(&rm_pool, argv_out, argc_out, &packed) == TI_OK
         && ti_write_unpack(&rm_pool, packed, write.prefix, argv_out,
                            &argc_out, &about) == TI_OK,
         "not written");

    ti_keyring_free(ring);
    ti_crypto_free(crypto);
}


int
main(int argc, char **argv)
{
    size_t  i;

    if (argc == 6 && strcmp(argv[1], "mark") == 0) {
        must(ti_write_mark(&rm_pool, ti_str_cstr(argv[2]),
                           ti_str_cstr(argv[3]), ti_str_cstr(argv[4]),
                           ti_str_cstr(argv[5]), argv_out, &argc_out)
             == TI_OK, "mark");

    } else if (argc == 6 && strcmp(argv[1], "write") == 0) {
        write_command(argv + 2);

    } else {
        must(argc >= 7 && lock_command(argv[1], argc - 2, argv + 2), "usage");
    }

    for (i = 0; i < argc_out; i++) {
        fwrite(argv_out[i].data, 1, argv_out[i].len, stdout);
        putchar('\0');
    }

    rm_reset();

    return 0;
}
