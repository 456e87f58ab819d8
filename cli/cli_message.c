/*
 * What tokenctl says besides its results: one line of error, and progress.
 */

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tokenctl.h"


#define TOKENCTL_PROGRESS_MS  200


static uint64_t
tokenctl_now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


void
tokenctl_say(tokenctl_t *ctl, const char *fmt, ...)
{
    char     *p;
    va_list   args;

    va_start(args, fmt);
    vsnprintf(ctl->message, sizeof(ctl->message), fmt, args);
    va_end(args);

    /* names of files and answers of servers: one line, no escape sequences */

    for (p = ctl->message; *p != '\0'; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }
}


void
tokenctl_progress(tokenctl_t *ctl, const char *fmt, ...)
{
    uint64_t  now;
    va_list   args;

    now = tokenctl_now_ms();

    if (now < ctl->progress_next || !isatty(STDERR_FILENO)) {
        return;
    }

    ctl->progress_next = now + TOKENCTL_PROGRESS_MS;
    ctl->progress = 1;

    fputc('\r', stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs("\033[K", stderr);
}


void
tokenctl_progress_end(tokenctl_t *ctl)
{
    if (ctl->progress) {
        fputs("\r\033[K", stderr);
        ctl->progress = 0;
    }
}


const char *
tokenctl_printable(tokenctl_t *ctl, ti_str_t s)
{
    char    *dst, *p;
    size_t   i;

    static const char  hex[] = "0123456789abcdef";

    dst = ti_pool_alloc(&ctl->scratch.ti, s.len * 4 + 1);
    if (dst == NULL) {
        return NULL;
    }

    p = dst;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] >= 0x20 && s.data[i] < 0x7f) {
            *p++ = (char) s.data[i];

        } else {
            *p++ = '\\';
            *p++ = 'x';
            *p++ = hex[s.data[i] >> 4];
            *p++ = hex[s.data[i] & 0xf];
        }
    }

    *p = '\0';

    return dst;
}
