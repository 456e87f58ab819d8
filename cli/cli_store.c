/*
 * Redis: one connection, synchronous.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tokenctl.h"


#define TOKENCTL_CONNECT_TIMEOUT  5         /* seconds */
#define TOKENCTL_COMMAND_TIMEOUT  10
#define TOKENCTL_PASSWORD_MAX     4096
#define TOKENCTL_ARGS_MAX         32


static tokenctl_exit_t
tokenctl_store_broken(tokenctl_t *ctl)
{
    const char  *why;

    why = ctl->redis->errstr;

    if (ctl->redis->err == REDIS_ERR_IO
        && (errno == EAGAIN || errno == EWOULDBLOCK))
    {
        why = "no answer in time";
    }

    return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: %s; is Redis there, and "
                         "is this its address?",
                         ctl->value[TOKENCTL_OPT_SERVER], why);
}


tokenctl_exit_t
tokenctl_store_unexpected(tokenctl_t *ctl)
{
    return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: not an answer that Redis "
                         "gives", ctl->value[TOKENCTL_OPT_SERVER]);
}


tokenctl_exit_t
tokenctl_store_refused(tokenctl_t *ctl, const redisReply *reply)
{
    size_t       i;
    const char  *hint;

    static const struct {
        const char  *code;
        const char  *hint;
    } hints[] = {
        { "NOAUTH ", "; give --user and --password-file" },
        { "NOPERM ", "; the operations page lists the rights it needs" },
        { "WRONGTYPE ", "; tokenctl delete removes what is there" },
        { "READONLY ", "; name the master, this is a replica" },
        { "MOVED ", "; the key is on that node of the cluster" },
        { "OOM ", "; nothing was changed" },
        { "MISCONF ", "; nothing was changed" }
    };

    hint = "";

    for (i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (strncmp(reply->str, hints[i].code, strlen(hints[i].code)) == 0) {
            hint = hints[i].hint;
        }
    }

    return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: Redis says: %.*s%s",
                         ctl->value[TOKENCTL_OPT_SERVER],
                         (int) strcspn(reply->str, "\r\n"), reply->str, hint);
}


static tokenctl_exit_t
tokenctl_store_connect(tokenctl_t *ctl)
{
    const struct timeval  connect = { TOKENCTL_CONNECT_TIMEOUT, 0 };
    const struct timeval  command = { TOKENCTL_COMMAND_TIMEOUT, 0 };

    if (ctl->path != NULL) {
        ctl->redis = redisConnectUnixWithTimeout(ctl->path, connect);

    } else {
        ctl->redis = redisConnectWithTimeout(ctl->host, ctl->port, connect);
    }

    if (ctl->redis == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    if (ctl->redis->err != 0
        || redisSetTimeout(ctl->redis, command) != REDIS_OK)
    {
        return tokenctl_store_broken(ctl);
    }

    return TOKENCTL_DONE;
}


/* NULL: no memory.  What hiredis wants, from what we have. */

static char *
tokenctl_store_format(const ti_str_t *argv, size_t argc, size_t *len)
{
    char        *text;
    size_t       i, lens[TOKENCTL_ARGS_MAX];
    long long    n;
    const char  *args[TOKENCTL_ARGS_MAX];

    for (i = 0; i < argc; i++) {
        args[i] = argv[i].len != 0 ? (const char *) argv[i].data : "";
        lens[i] = argv[i].len;
    }

    n = redisFormatCommandArgv(&text, (int) argc, args, lens);
    if (n < 0) {
        return NULL;
    }

    *len = (size_t) n;

    return text;
}


tokenctl_exit_t
tokenctl_store_send(tokenctl_t *ctl, const ti_str_t *argv, size_t argc)
{
    int      rc;
    char    *text;
    size_t   len;

    text = tokenctl_store_format(argv, argc, &len);
    if (text == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    rc = redisAppendFormattedCommand(ctl->redis, text, len);
    redisFreeCommand(text);

    return rc == REDIS_OK ? TOKENCTL_DONE : tokenctl_fail_memory(ctl);
}


tokenctl_exit_t
tokenctl_store_reply(tokenctl_t *ctl, redisReply **reply)
{
    void  *p;

    p = NULL;
    errno = 0;

    if (redisGetReply(ctl->redis, &p) != REDIS_OK) {
        return tokenctl_store_broken(ctl);
    }

    *reply = p;

    return p != NULL ? TOKENCTL_DONE : tokenctl_store_unexpected(ctl);
}


tokenctl_exit_t
tokenctl_store_ask(tokenctl_t *ctl, const ti_str_t *argv, size_t argc,
    redisReply **reply)
{
    tokenctl_exit_t  rc;

    rc = tokenctl_store_send(ctl, argv, argc);

    return rc == TOKENCTL_DONE ? tokenctl_store_reply(ctl, reply) : rc;
}


/*
 * hiredis frees what it sent without wiping it; a password is therefore sent
 * past it.  Nor is the text of a refusal repeated: of a command that a server
 * does not know, Redis quotes the arguments.
 */

static tokenctl_exit_t
tokenctl_store_auth(tokenctl_t *ctl, const ti_str_t *argv, size_t argc)
{
    char             *text;
    size_t            len, sent;
    ssize_t           n;
    redisReply       *reply;
    tokenctl_exit_t   rc;

    text = tokenctl_store_format(argv, argc, &len);
    if (text == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    for (sent = 0; sent < len; sent += (size_t) n) {
        n = write(ctl->redis->fd, text + sent, len - sent);

        if (n == -1 && errno == EINTR) {
            n = 0;
        }

        if (n == -1) {
            break;
        }
    }

    ti_wipe(text, len);
    redisFreeCommand(text);

    if (sent < len) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: %s",
                             ctl->value[TOKENCTL_OPT_SERVER], strerror(errno));
    }

    rc = tokenctl_store_reply(ctl, &reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        rc = tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: Redis refuses the user "
                           "or the password (%.*s); see --user and %s",
                           ctl->value[TOKENCTL_OPT_SERVER],
                           (int) strcspn(reply->str, " \r\n"), reply->str,
                           ctl->value[TOKENCTL_OPT_PASSWORD_FILE]);

    } else if (reply->type != REDIS_REPLY_STATUS) {
        rc = tokenctl_store_unexpected(ctl);
    }

    freeReplyObject(reply);

    return rc;
}


static tokenctl_exit_t
tokenctl_store_select(tokenctl_t *ctl)
{
    char              number[TI_DECIMAL_LEN];
    redisReply       *reply;
    tokenctl_exit_t   rc;

    const ti_str_t  argv[] = {
        ti_string("SELECT"),
        ti_str_from(number, ti_decimal_format((unsigned char *) number,
                                              ctl->database))
    };

    rc = tokenctl_store_ask(ctl, argv, 2, &reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        rc = tokenctl_store_refused(ctl, reply);
    }

    freeReplyObject(reply);

    return rc;
}


tokenctl_exit_t
tokenctl_store_open(tokenctl_t *ctl)
{
    size_t           argc;
    ti_str_t         argv[3];
    const char      *file;
    tokenctl_exit_t  rc;

    argc = 0;
    file = ctl->value[TOKENCTL_OPT_PASSWORD_FILE];

    if (file != NULL) {
        argv[argc++] = ti_str("AUTH");

        if (ctl->value[TOKENCTL_OPT_USER] != NULL) {
            argv[argc++] = ti_str_cstr(ctl->value[TOKENCTL_OPT_USER]);
        }

        rc = tokenctl_file_read(ctl, file, TOKENCTL_PASSWORD_MAX,
                                TOKENCTL_FILE_PRIVATE, &argv[argc++]);
        if (rc != TOKENCTL_DONE) {
            return rc;
        }
    }

    rc = tokenctl_store_connect(ctl);

    if (rc == TOKENCTL_DONE && argc != 0) {
        rc = tokenctl_store_auth(ctl, argv, argc);
    }

    if (rc == TOKENCTL_DONE && ctl->database != 0) {
        rc = tokenctl_store_select(ctl);
    }

    return rc;
}


tokenctl_exit_t
tokenctl_store_script(tokenctl_t *ctl, const ti_str_t *argv, size_t argc,
    int *changed)
{
    redisReply       *reply;
    tokenctl_exit_t   rc;

    rc = tokenctl_store_ask(ctl, argv, argc, &reply);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    switch (reply->type) {

    case REDIS_REPLY_INTEGER:
        *changed = reply->integer == 1;
        break;

    case REDIS_REPLY_ERROR:
        rc = tokenctl_store_refused(ctl, reply);
        break;

    default:
        rc = tokenctl_store_unexpected(ctl);
    }

    freeReplyObject(reply);

    return rc;
}


tokenctl_exit_t
tokenctl_store_changes(tokenctl_t *ctl, ti_str_t *channel)
{
    const ti_str_t  parts[] = { ctl->prefix, ti_string("changes") };

    return tokenctl_concat(ctl, parts, 2, channel);
}
