/*
 * list: the connections, all of them or one caller's.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tokenctl.h"


static tokenctl_exit_t
tokenctl_list_each(tokenctl_t *ctl, tokenctl_scan_t *scan,
    tokenctl_connection_t *conn)
{
    tokenctl_exit_t  rc;

    rc = TOKENCTL_DONE;

    if (ctl->value[TOKENCTL_OPT_JSON] != NULL) {
        rc = tokenctl_print_json(ctl, tokenctl_connection_json(ctl, conn));

    } else {
        tokenctl_print_row(ctl, conn, scan->seen == 1);
    }

    if (rc == TOKENCTL_DONE && ferror(stdout)) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "standard output: %s",
                             strerror(errno));
    }

    /* a list that goes to the terminal is its own progress */

    if (!isatty(STDOUT_FILENO)) {
        tokenctl_progress(ctl, "%llu connections",
                          (unsigned long long) scan->seen);
    }

    return rc;
}


tokenctl_exit_t
tokenctl_list(tokenctl_t *ctl)
{
    unsigned char    user[TI_RECORD_USER_LEN];
    tokenctl_exit_t  rc;
    tokenctl_scan_t  scan;

    memset(&scan, 0, sizeof(scan));
    scan.each = tokenctl_list_each;

    if (ctl->has_who) {
        if (ti_record_user(ctl->crypto, ctl->ring, &ctl->who, user) != TI_OK) {
            return tokenctl_fail_memory(ctl);
        }

        scan.user = ti_str_from(user, sizeof(user));
    }

    rc = tokenctl_store_open(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_scan(ctl, &scan);
    }

    tokenctl_progress_end(ctl);

    if (rc != TOKENCTL_DONE && tokenctl_scan_stopped()) {
        return tokenctl_fail(ctl, rc, "interrupted after %llu connections; "
                             "to go on: --cursor %s",
                             (unsigned long long) scan.seen, scan.cursor);
    }

    if (rc == TOKENCTL_DONE && scan.skipped != 0) {
        return tokenctl_fail(ctl, TOKENCTL_DONE, "%llu keys that are named "
                             "like connections, and are none, were skipped",
                             (unsigned long long) scan.skipped);
    }

    return rc;
}
