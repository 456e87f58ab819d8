/*
 * LD_PRELOADed into nginx: names below "test" without any name server.
 * hang*.test is not found before a file "release" is there, gone*.test never
 * is, two*.test is 127.0.0.9 and then 127.0.0.1, every other is 127.0.0.1.
 * Each is logged, with "loop" where it was asked for on the process' first
 * thread, which is nginx's event loop.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>


typedef int (*getaddrinfo_pt)(const char *, const char *,
    const struct addrinfo *, struct addrinfo **);


static char            log_file[512];
static char            release_file[512];
static getaddrinfo_pt  next;


/* nginx takes its environment away, so it is read first of all */

__attribute__((constructor))
static void
begin(void)
{
    const char  *dir;

    dir = getenv("TI_RESOLVE");

    if (dir != NULL) {
        snprintf(log_file, sizeof(log_file), "%s/resolved", dir);
        snprintf(release_file, sizeof(release_file), "%s/release", dir);
    }

    next = (getaddrinfo_pt) dlsym(RTLD_NEXT, "getaddrinfo");
}


static void
say(const char *name)
{
    int   fd, n;
    char  line[512];

    fd = open(log_file, O_WRONLY|O_CREAT|O_APPEND, 0666);
    if (fd == -1) {
        return;
    }

    n = snprintf(line, sizeof(line), "%s %s\n", name,
                 syscall(SYS_gettid) == getpid() ? "loop" : "thread");

    if (n > 0 && write(fd, line, (size_t) n) != n) {
        abort();
    }

    close(fd);
}


int
getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **found)
{
    int               rc;
    size_t            len;
    struct addrinfo  *last;

    len = name != NULL ? strlen(name) : 0;

    if (len < 5 || strcmp(name + len - 5, ".test") != 0) {
        return next(name, service, hints, found);
    }

    say(name);

    if (strncmp(name, "gone", 4) == 0) {
        return EAI_NONAME;
    }

    if (strncmp(name, "hang", 4) == 0) {
        while (access(release_file, F_OK) != 0) {
            usleep(10000);
        }
    }

    if (strncmp(name, "two", 3) != 0) {
        return next("127.0.0.1", service, hints, found);
    }

    /* each element of a list is freed by itself */

    rc = next("127.0.0.9", service, hints, found);
    if (rc != 0) {
        return rc;
    }

    for (last = *found; last->ai_next != NULL; last = last->ai_next) {
        /* void */
    }

    return next("127.0.0.1", service, hints, &last->ai_next);
}
