/*
 * tokenctl: the verbs, and what surrounds every run.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tokenctl.h"


#define TOKENCTL_STORE_NEEDS  (tokenctl_bit(SERVER)|tokenctl_bit(KEYS))
#define TOKENCTL_STORE        (TOKENCTL_STORE_NEEDS                           \
                               |tokenctl_bit(KEY_PREFIX)|tokenctl_bit(USER)   \
                               |tokenctl_bit(PASSWORD_FILE)                   \
                               |tokenctl_bit(DATABASE)|tokenctl_bit(HELP))
#define TOKENCTL_WHO          (tokenctl_bit(ISSUER)|tokenctl_bit(TENANT)      \
                               |tokenctl_bit(SUBJECT)|tokenctl_bit(APP))
#define TOKENCTL_ONE          (TOKENCTL_STORE|TOKENCTL_WHO                    \
                               |tokenctl_bit(PROVIDER)                        \
                               |tokenctl_bit(USER_KEY_FILE)                   \
                               |tokenctl_bit(JSON))
#define TOKENCTL_ONE_NEEDS    (TOKENCTL_STORE_NEEDS|tokenctl_bit(PROVIDER))


static const tokenctl_verb_t  tokenctl_verbs[] = {

    { "keygen",
      "--out FILE [--add | --first KID]",
      "make a file of sealing keys, or change its keys; prints the new kid",
      tokenctl_bit(OUT)|tokenctl_bit(ADD)|tokenctl_bit(FIRST)
      |tokenctl_bit(HELP),
      tokenctl_bit(OUT),
      tokenctl_keygen },

    { "userkey",
      "",
      "print a new user key",
      tokenctl_bit(HELP),
      0,
      tokenctl_userkey },

    { "put",
      "STORE WHO --provider P --access-file F|-\n"
      "           [--refresh-file F|-] [--expires-in SECONDS] [--scope S]\n"
      "           [--user-key-file F|-] [--json]",
      "store a consent; it replaces the whole connection",
      TOKENCTL_ONE|tokenctl_bit(ACCESS_FILE)|tokenctl_bit(REFRESH_FILE)
      |tokenctl_bit(EXPIRES_IN)|tokenctl_bit(SCOPE),
      TOKENCTL_ONE_NEEDS|tokenctl_bit(ACCESS_FILE),
      tokenctl_put },

    { "show",
      "STORE WHO --provider P [--user-key-file F|- | --device D]\n"
      "           [--reveal] [--json]",
      "print a connection's state, and with --reveal its access token",
      TOKENCTL_ONE|tokenctl_bit(DEVICE)|tokenctl_bit(REVEAL),
      TOKENCTL_ONE_NEEDS,
      tokenctl_show },

    { "delete",
      "STORE WHO --provider P [--user-key-file F|- | --device D]\n"
      "           [--json]",
      "delete a connection",
      TOKENCTL_ONE|tokenctl_bit(DEVICE),
      TOKENCTL_ONE_NEEDS,
      tokenctl_delete },

    { "list",
      "STORE [WHO] [--cursor C] [--json]",
      "print the connections",
      TOKENCTL_STORE|TOKENCTL_WHO|tokenctl_bit(CURSOR)|tokenctl_bit(JSON),
      TOKENCTL_STORE_NEEDS,
      tokenctl_list },

    { "rotate",
      "STORE [--cursor C]",
      "seal every connection with the first sealing key",
      TOKENCTL_STORE|tokenctl_bit(CURSOR),
      TOKENCTL_STORE_NEEDS,
      tokenctl_rotate },

    { "segment",
      "STORE [--provider P [--rules-file F|- | --clear]]\n"
      "           [--json]",
      "print the rules for whom providers are, or change a provider's",
      TOKENCTL_STORE|tokenctl_bit(PROVIDER)|tokenctl_bit(RULES_FILE)
      |tokenctl_bit(CLEAR)|tokenctl_bit(JSON),
      TOKENCTL_STORE_NEEDS,
      tokenctl_segment },

    { "explain",
      "STORE --claims-file F|- [--provider P\n"
      "           [--rules-file F|-]] [--json]",
      "say which providers are for a caller, and by which rule",
      TOKENCTL_STORE|tokenctl_bit(CLAIMS_FILE)|tokenctl_bit(PROVIDER)
      |tokenctl_bit(RULES_FILE)|tokenctl_bit(JSON),
      TOKENCTL_STORE_NEEDS|tokenctl_bit(CLAIMS_FILE),
      tokenctl_explain },

    { NULL, NULL, NULL, 0, 0, NULL }
};


static const char  tokenctl_store_group[] =
    "STORE is --server unix:PATH|HOST:PORT --keys FILE [--key-prefix P]\n"
    "         [--user U --password-file F] [--database N]\n";

static const char  tokenctl_who_group[] =
    "WHO is --issuer I [--tenant T] --subject S | --app\n";


static const tokenctl_verb_t *
tokenctl_verb(const char *name)
{
    const tokenctl_verb_t  *verb;

    for (verb = tokenctl_verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) == 0) {
            return verb;
        }
    }

    return NULL;
}


static tokenctl_exit_t
tokenctl_help(const tokenctl_verb_t *verb)
{
    if (verb != NULL) {
        printf("usage: tokenctl %s%s%s\n\n%s.\n\n", verb->name,
               verb->synopsis[0] != '\0' ? " " : "", verb->synopsis,
               verb->text);

        if (verb->allowed & tokenctl_bit(SERVER)) {
            printf("%s\n", tokenctl_store_group);
        }

        if (verb->allowed & tokenctl_bit(ISSUER)) {
            printf("%s\n", tokenctl_who_group);
        }

        tokenctl_options_print(verb->allowed);

        return TOKENCTL_DONE;
    }

    printf("usage: tokenctl VERB [OPTION...]\n"
           "       tokenctl help [VERB], tokenctl VERB --help, "
           "tokenctl --version\n\n");

    for (verb = tokenctl_verbs; verb->name != NULL; verb++) {
        printf("  %-8s %s\n", verb->name, verb->text);
    }

    printf("\nExit status: 0 done, 1 failed, 2 wrong usage, 3 not found.\n");

    return TOKENCTL_DONE;
}


/* The words before any verb: help, --help, --version; NOT_FOUND: none. */

static tokenctl_exit_t
tokenctl_words(tokenctl_t *ctl, int argc, char **argv)
{
    if (argc < 2) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE,
                             "a verb is missing; see: tokenctl help");
    }

    if (strcmp(argv[1], "--version") == 0) {
        printf("tokenctl %s\n", TOKENCTL_VERSION);
        return TOKENCTL_DONE;
    }

    if (strcmp(argv[1], "--help") == 0
        || (strcmp(argv[1], "help") == 0 && argc == 2))
    {
        return tokenctl_help(NULL);
    }

    if (strcmp(argv[1], "help") == 0 && argc == 3
        && tokenctl_verb(argv[2]) != NULL)
    {
        return tokenctl_help(tokenctl_verb(argv[2]));
    }

    ctl->verb = tokenctl_verb(argv[1]);

    if (ctl->verb == NULL) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE,
                             "no such verb; see: tokenctl help");
    }

    return TOKENCTL_NOT_FOUND;
}


static tokenctl_exit_t
tokenctl_run(tokenctl_t *ctl, int argc, char **argv)
{
    tokenctl_exit_t  rc;

    rc = tokenctl_words(ctl, argc, argv);
    if (rc != TOKENCTL_NOT_FOUND) {
        return rc;
    }

    rc = tokenctl_options_parse(ctl, argc - 1, argv + 1);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (ctl->value[TOKENCTL_OPT_HELP] != NULL) {
        return tokenctl_help(ctl->verb);
    }

    rc = tokenctl_options_check(ctl);

    if (rc == TOKENCTL_DONE && (ctl->verb->allowed & tokenctl_bit(KEYS))) {
        rc = tokenctl_crypto_open(ctl);

        if (rc == TOKENCTL_DONE) {
            rc = tokenctl_keys_load(ctl);
        }
    }

    return rc == TOKENCTL_DONE ? ctl->verb->handler(ctl) : rc;
}


/*
 * No file and no socket may get the number of a standard stream that was
 * closed, nothing of this process may end up in a core file, and a reader
 * that goes away is an error like others.
 */

static void
tokenctl_prepare(tokenctl_t *ctl)
{
    int                  fd;
    const struct rlimit  none = { 0, 0 };

    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd != -1 && fd <= STDERR_FILENO);

    if (fd != -1) {
        close(fd);
    }

    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
    json_set_alloc_funcs(malloc, tokenctl_free);

    memset(ctl, 0, sizeof(tokenctl_t));
    tokenctl_pool_init(&ctl->pool);
    tokenctl_pool_init(&ctl->scratch);
}


static void
tokenctl_finish(tokenctl_t *ctl)
{
    if (ctl->redis != NULL) {
        redisFree(ctl->redis);
    }

    ti_keyring_free(ctl->ring);
    ti_crypto_free(ctl->crypto);
    tokenctl_pool_reset(&ctl->scratch);
    tokenctl_pool_reset(&ctl->pool);
    ti_wipe(ctl->user_key, sizeof(ctl->user_key));
}


int
main(int argc, char **argv)
{
    tokenctl_t       ctl;
    tokenctl_exit_t  rc;

    tokenctl_prepare(&ctl);

    rc = tokenctl_run(&ctl, argc, argv);

    if (fflush(stdout) != 0 && rc == TOKENCTL_DONE) {
        rc = tokenctl_fail(&ctl, TOKENCTL_FAILED, "standard output: %s",
                           strerror(errno));
    }

    if (ctl.message[0] != '\0') {
        fprintf(stderr, "tokenctl: %s\n", ctl.message);
    }

    tokenctl_finish(&ctl);

    return rc;
}
