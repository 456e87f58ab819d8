/*
 * The command line: names and values, judged one by one.
 *
 * getopt_long() takes an abbreviated name for the whole one.  Here that would
 * make "--access eyJ…" a file's name, and an error message of a token, so
 * names must be given whole.
 */

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tokenctl.h"


static const tokenctl_option_t  tokenctl_options[TOKENCTL_OPT_LAST] = {

    [TOKENCTL_OPT_SERVER] =
        { "server", "unix:PATH|HOST:PORT", "the Redis server" },
    [TOKENCTL_OPT_KEYS] =
        { "keys", "FILE", "the sealing keys, as in sealing_keys of nginx" },
    [TOKENCTL_OPT_KEY_PREFIX] =
        { "key-prefix", "P", "of the names in Redis (ti:)" },
    [TOKENCTL_OPT_USER] =
        { "user", "U", "of Redis' ACL" },
    [TOKENCTL_OPT_PASSWORD_FILE] =
        { "password-file", "F", "that user's password" },
    [TOKENCTL_OPT_DATABASE] =
        { "database", "N", "to select (0)" },

    [TOKENCTL_OPT_ISSUER] =
        { "issuer", "I", "iss of the caller's tokens, exactly" },
    [TOKENCTL_OPT_TENANT] =
        { "tenant", "T", "their tenant, where nginx has tenant_claim" },
    [TOKENCTL_OPT_SUBJECT] =
        { "subject", "S", "the caller, as user_claim says it" },
    [TOKENCTL_OPT_APP] =
        { "app", NULL, "the application's own connection, nobody's" },

    [TOKENCTL_OPT_PROVIDER] =
        { "provider", "P", "the name of nginx's token_provider" },
    [TOKENCTL_OPT_USER_KEY_FILE] =
        { "user-key-file", "F|-", "the user key, 43 characters" },
    [TOKENCTL_OPT_DEVICE] =
        { "device", "D", "the device, as list shows it" },
    [TOKENCTL_OPT_ACCESS_FILE] =
        { "access-file", "F|-", "the access token" },
    [TOKENCTL_OPT_REFRESH_FILE] =
        { "refresh-file", "F|-", "the refresh token" },
    [TOKENCTL_OPT_EXPIRES_IN] =
        { "expires-in", "SECONDS", "of the access token (3600)" },
    [TOKENCTL_OPT_SCOPE] =
        { "scope", "S", "the scope that was granted" },
    [TOKENCTL_OPT_REVEAL] =
        { "reveal", NULL, "print the access token too" },
    [TOKENCTL_OPT_RULES_FILE] =
        { "rules-file", "F|-", "rules: lines of CLAIM=VALUE VALUE..." },
    [TOKENCTL_OPT_CLEAR] =
        { "clear", NULL, "remove the provider's rules" },
    [TOKENCTL_OPT_CLAIMS_FILE] =
        { "claims-file", "F|-", "the claims of a caller's token, as JSON" },
    [TOKENCTL_OPT_CURSOR] =
        { "cursor", "C", "go on where an interrupted run ended" },
    [TOKENCTL_OPT_JSON] =
        { "json", NULL, "one JSON object a line" },

    [TOKENCTL_OPT_OUT] =
        { "out", "FILE", "the file of sealing keys" },
    [TOKENCTL_OPT_ADD] =
        { "add", NULL, "append a key, which opens only" },
    [TOKENCTL_OPT_FIRST] =
        { "first", "KID", "make that key the one that seals" },

    [TOKENCTL_OPT_HELP] =
        { "help", NULL, "this text" }
};


const tokenctl_option_t *
tokenctl_option(tokenctl_opt_t opt)
{
    return &tokenctl_options[opt];
}


void
tokenctl_options_print(unsigned allowed)
{
    int                       i;
    char                      left[64];
    const tokenctl_option_t  *o;

    for (i = 0; i < TOKENCTL_OPT_LAST; i++) {

        if ((allowed & (1u << i)) == 0) {
            continue;
        }

        o = &tokenctl_options[i];

        snprintf(left, sizeof(left), "--%s%s%s", o->name,
                 o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        printf("  %-30s %s\n", left, o->text);
    }
}


static void
tokenctl_options_table(struct option *table)
{
    int  i;

    memset(table, 0, sizeof(struct option) * (TOKENCTL_OPT_LAST + 1));

    for (i = 0; i < TOKENCTL_OPT_LAST; i++) {
        table[i].name = tokenctl_options[i].name;
        table[i].has_arg = tokenctl_options[i].value != NULL
                           ? required_argument : no_argument;
        table[i].val = 1;
    }
}


/* The argument as far as it may be repeated: the option without a value. */

static tokenctl_exit_t
tokenctl_options_refuse(tokenctl_t *ctl, const char *arg, const char *why)
{
    size_t  len;

    len = strncmp(arg, "--", 2) == 0 ? strcspn(arg, "=") : 2;

    return tokenctl_fail(ctl, TOKENCTL_USAGE, "%.*s: %s; see: tokenctl %s "
                         "--help", (int) len, arg, why, ctl->verb->name);
}


static tokenctl_exit_t
tokenctl_options_take(tokenctl_t *ctl, int opt, const char *arg,
    const char *value)
{
    const char  *name;

    name = tokenctl_options[opt].name;

    if (strncmp(arg + 2, name, strlen(name)) != 0) {
        return tokenctl_options_refuse(ctl, arg, "no such option");
    }

    if (opt == TOKENCTL_OPT_DEVICE && ctl->verb->handler == tokenctl_put) {
        return tokenctl_options_refuse(ctl, arg, "put for a device needs its "
                                       "user key: --user-key-file");
    }

    if ((ctl->verb->allowed & (1u << opt)) == 0) {
        return tokenctl_options_refuse(ctl, arg, "not an option of this verb");
    }

    if (ctl->value[opt] != NULL) {
        return tokenctl_options_refuse(ctl, arg, "given twice");
    }

    ctl->value[opt] = value != NULL ? value : "";

    return TOKENCTL_DONE;
}


tokenctl_exit_t
tokenctl_options_parse(tokenctl_t *ctl, int argc, char **argv)
{
    int              c, opt;
    char            *arg;
    tokenctl_exit_t  rc;
    struct option    table[TOKENCTL_OPT_LAST + 1];

    tokenctl_options_table(table);
    opterr = 0;

    for ( ;; ) {
        arg = argv[optind];
        c = getopt_long(argc, argv, "+:", table, &opt);

        if (c == -1) {
            break;
        }

        if (c == ':') {
            return tokenctl_options_refuse(ctl, arg, "it needs a value");
        }

        if (c == '?') {
            return tokenctl_options_refuse(ctl, arg, optopt != 0
                                           && strncmp(arg, "--", 2) == 0
                                           ? "it takes no value"
                                           : "no such option");
        }

        rc = tokenctl_options_take(ctl, opt, arg, optarg);
        if (rc != TOKENCTL_DONE) {
            return rc;
        }
    }

    if (optind < argc) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "an argument without an "
                             "option; see: tokenctl %s --help",
                             ctl->verb->name);
    }

    return TOKENCTL_DONE;
}
