/*
 * Files: secrets in, key files out.
 */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenctl.h"


static tokenctl_exit_t
tokenctl_fail_file(tokenctl_t *ctl, const char *path)
{
    return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: %s", path,
                         strerror(errno));
}


static tokenctl_exit_t
tokenctl_file_judge(tokenctl_t *ctl, int fd, const char *path, unsigned flags)
{
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        return tokenctl_fail_file(ctl, path);
    }

    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return tokenctl_fail_file(ctl, path);
    }

    if ((flags & TOKENCTL_FILE_PRIVATE)
        && (st.st_mode & (S_IRWXG|S_IRWXO)) != 0)
    {
        return tokenctl_fail(ctl, TOKENCTL_FAILED,
                             "%s: group or others may read it (mode %04o); "
                             "run: chmod 600 %s",
                             path, (unsigned) st.st_mode & 07777, path);
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_file_drain(tokenctl_t *ctl, int fd, const char *path, size_t max,
    ti_str_t *text)
{
    size_t          len;
    ssize_t         n;
    unsigned char  *buf;

    /* room for the newline, and for one byte too many */

    buf = ti_pool_alloc(&ctl->pool.ti, max + 2);
    if (buf == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    len = 0;

    while (len < max + 2) {
        n = read(fd, buf + len, max + 2 - len);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            return tokenctl_fail_file(ctl, path);
        }

        if (n == 0) {
            break;
        }

        len += (size_t) n;
    }

    if (len != 0 && buf[len - 1] == '\n') {
        len--;
    }

    if (len > max) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED,
                             "%s: more than %zu bytes", path, max);
    }

    *text = ti_str_from(buf, len);

    return TOKENCTL_DONE;
}


tokenctl_exit_t
tokenctl_file_read(tokenctl_t *ctl, const char *path, size_t max,
    unsigned flags, ti_str_t *text)
{
    int              fd;
    tokenctl_exit_t  rc;

    if (strcmp(path, "-") == 0) {
        return tokenctl_file_drain(ctl, STDIN_FILENO, "standard input", max,
                                   text);
    }

    fd = open(path, O_RDONLY|O_CLOEXEC|O_NOCTTY);
    if (fd == -1) {
        return tokenctl_fail_file(ctl, path);
    }

    rc = tokenctl_file_judge(ctl, fd, path, flags);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_file_drain(ctl, fd, path, max, text);
    }

    close(fd);

    return rc;
}


static int
tokenctl_file_sync_dir(const char *path)
{
    int    fd, rc;
    char  *copy;

    copy = strdup(path);
    if (copy == NULL) {
        return -1;
    }

    fd = open(dirname(copy), O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    free(copy);

    if (fd == -1) {
        return -1;
    }

    rc = fsync(fd);
    close(fd);

    return rc;
}


static int
tokenctl_file_fill(int fd, ti_str_t text, const struct stat *like)
{
    ssize_t  n;

    while (text.len != 0) {
        n = write(fd, text.data, text.len);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            return -1;
        }

        text.data += n;
        text.len -= (size_t) n;
    }

    if (like != NULL
        && (fchown(fd, like->st_uid, like->st_gid) == -1
            || fchmod(fd, like->st_mode & S_IRWXU) == -1))
    {
        return -1;
    }

    return fsync(fd);
}


/*
 * The file gets its name when it is complete: by link(), which refuses a
 * name that is taken, or by rename(), which replaces what was there.
 */

static int
tokenctl_file_place(const char *temp, const char *path,
    const struct stat *like)
{
    if (like != NULL) {
        return rename(temp, path);
    }

    if (link(temp, path) == -1) {
        return -1;
    }

    return unlink(temp);
}


/* temp: a template of mkostemp(); -1 leaves errno and no file */

static int
tokenctl_file_make(char *temp, const char *path, ti_str_t text,
    const struct stat *like)
{
    int  fd, rc, err;

    fd = mkostemp(temp, O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    rc = tokenctl_file_fill(fd, text, like);

    if (rc == 0) {
        rc = tokenctl_file_place(temp, path, like);
    }

    err = errno;

    if (rc == -1) {
        unlink(temp);
    }

    close(fd);
    errno = err;

    return rc == 0 ? tokenctl_file_sync_dir(path) : -1;
}


tokenctl_exit_t
tokenctl_file_write(tokenctl_t *ctl, const char *path, ti_str_t text,
    const struct stat *like)
{
    sigset_t         all, old;
    ti_str_t         temp;
    tokenctl_exit_t  rc;

    const ti_str_t  parts[] = { ti_str_cstr(path), ti_string(".XXXXXX") };

    rc = tokenctl_concat(ctl, parts, 2, &temp);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    /* no key is left behind under a name that nobody looks for */

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);

    if (tokenctl_file_make((char *) temp.data, path, text, like) == -1) {
        rc = (errno == EEXIST)
             ? tokenctl_fail(ctl, TOKENCTL_FAILED,
                             "%s: it exists and is never overwritten; name "
                             "another file, or give --add to add a key to it",
                             path)
             : tokenctl_fail_file(ctl, path);
    }

    sigprocmask(SIG_SETMASK, &old, NULL);

    return rc;
}
