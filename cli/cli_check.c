/*
 * The options together: what they mean, and what cannot be meant.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "tokenctl.h"


#define TOKENCTL_LIFE_MAX    (UINT64_C(10) * 365 * 86400)
#define TOKENCTL_SCOPE_MAX   4096
#define TOKENCTL_PREFIX_MAX  128

#define tokenctl_given(ctl, opt)  ((ctl)->value[TOKENCTL_OPT_##opt] != NULL)


static tokenctl_exit_t
tokenctl_check_required(tokenctl_t *ctl)
{
    int                       i;
    const tokenctl_option_t  *o;

    for (i = 0; i < TOKENCTL_OPT_LAST; i++) {
        o = tokenctl_option(i);

        if ((ctl->verb->required & (1u << i)) && ctl->value[i] == NULL) {
            return tokenctl_fail(ctl, TOKENCTL_USAGE,
                                 "--%s %s is missing; see: tokenctl %s --help",
                                 o->name, o->value, ctl->verb->name);
        }

        /* a key prefix may be empty; nothing else means anything then */

        if (i != TOKENCTL_OPT_KEY_PREFIX && o->value != NULL
            && ctl->value[i] != NULL && ctl->value[i][0] == '\0')
        {
            return tokenctl_fail(ctl, TOKENCTL_USAGE, "--%s: its value is "
                                 "empty", o->name);
        }
    }

    return TOKENCTL_DONE;
}


/* Two values cannot both be read from standard input; some never can. */

static tokenctl_exit_t
tokenctl_check_stdin(tokenctl_t *ctl)
{
    int                       i, seen;
    const tokenctl_option_t  *o;

    seen = 0;

    for (i = 0; i < TOKENCTL_OPT_LAST; i++) {
        o = tokenctl_option(i);

        if (o->value == NULL || ctl->value[i] == NULL
            || strcmp(ctl->value[i], "-") != 0)
        {
            continue;
        }

        if (strcmp(o->value, "F|-") == 0 && ++seen == 2) {
            return tokenctl_fail(ctl, TOKENCTL_USAGE, "only one value can be "
                                 "read from standard input; put the other in "
                                 "a file");
        }

        if (strcmp(o->value, "F") == 0 || strcmp(o->value, "FILE") == 0) {
            return tokenctl_fail(ctl, TOKENCTL_USAGE, "--%s: a file, not "
                                 "standard input (a file of that name is ./-)",
                                 o->name);
        }
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_check_number(tokenctl_t *ctl, tokenctl_opt_t opt, uint64_t min,
    uint64_t max, uint64_t *value)
{
    if (ctl->value[opt] != NULL
        && (ti_decimal_parse(ti_str_cstr(ctl->value[opt]), max, value)
            != TI_OK || *value < min))
    {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--%s: a whole number from "
                             "%llu to %llu", tokenctl_option(opt)->name,
                             (unsigned long long) min,
                             (unsigned long long) max);
    }

    return TOKENCTL_DONE;
}


/* HOST:PORT, [ADDRESS]:PORT; the host without its brackets */

static ti_rc_t
tokenctl_check_split(const char *server, ti_str_t *host, uint64_t *port)
{
    const char  *colon;

    colon = strrchr(server, ':');

    if (colon == NULL
        || ti_decimal_parse(ti_str_cstr(colon + 1), 65535, port) != TI_OK
        || *port == 0)
    {
        return TI_DECLINED;
    }

    *host = ti_str_from(server, (size_t) (colon - server));

    if (server[0] == '[') {

        if (host->len < 3 || colon[-1] != ']') {
            return TI_DECLINED;
        }

        *host = ti_str_from(server + 1, host->len - 2);
        return TI_OK;
    }

    return host->len != 0 && memchr(server, ':', host->len) == NULL
           ? TI_OK : TI_DECLINED;
}


static tokenctl_exit_t
tokenctl_check_host(tokenctl_t *ctl, const char *server)
{
    ti_str_t  host;
    uint64_t  port;

    if (tokenctl_check_split(server, &host, &port) != TI_OK) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--server %s: unix:PATH, "
                             "HOST:PORT or [ADDRESS]:PORT", server);
    }

    if (tokenctl_concat(ctl, &host, 1, &host) != TOKENCTL_DONE) {
        return TOKENCTL_FAILED;
    }

    ctl->host = (const char *) host.data;
    ctl->port = (int) port;

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_check_store(tokenctl_t *ctl)
{
    const char          *prefix, *server;
    struct sockaddr_un   sun;

    server = ctl->value[TOKENCTL_OPT_SERVER];
    prefix = ctl->value[TOKENCTL_OPT_KEY_PREFIX];

    ctl->prefix = prefix != NULL ? ti_str_cstr(prefix) : ti_str("ti:");

    if (strpbrk((const char *) ctl->prefix.data, "{}") != NULL) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--key-prefix: braces are "
                             "what keeps a user's keys together, not a part "
                             "of a prefix");
    }

    if (ctl->prefix.len > TOKENCTL_PREFIX_MAX) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--key-prefix: more than %d "
                             "bytes", TOKENCTL_PREFIX_MAX);
    }

    if (tokenctl_given(ctl, USER) && !tokenctl_given(ctl, PASSWORD_FILE)) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--user needs "
                             "--password-file");
    }

    if (server == NULL) {
        return TOKENCTL_DONE;
    }

    if (strncmp(server, "unix:", 5) != 0) {
        return tokenctl_check_host(ctl, server);
    }

    if (server[5] == '\0' || strlen(server + 5) >= sizeof(sun.sun_path)) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--server: a socket's path "
                             "has 1 to %zu bytes", sizeof(sun.sun_path) - 1);
    }

    ctl->path = server + 5;

    return TOKENCTL_DONE;
}


/* RFC 8259's strings, where the issuer, tenant and subject come from */

static int
tokenctl_utf8(const char *s)
{
    json_t  *string;

    string = json_string(s);
    json_decref(string);

    return string != NULL;
}


static tokenctl_exit_t
tokenctl_check_who(tokenctl_t *ctl)
{
    int                   i;
    ti_str_t             *parts[] = { &ctl->who.issuer, &ctl->who.tenant,
                                      &ctl->who.subject };
    const tokenctl_opt_t  opts[] = { TOKENCTL_OPT_ISSUER, TOKENCTL_OPT_TENANT,
                                     TOKENCTL_OPT_SUBJECT };

    for (i = 0; i < 3; i++) {

        if (ctl->value[opts[i]] == NULL) {
            continue;
        }

        if (tokenctl_given(ctl, APP)) {
            return tokenctl_fail(ctl, TOKENCTL_USAGE, "--app is nobody's: it "
                                 "has no --%s", tokenctl_option(opts[i])->name);
        }

        if (!tokenctl_utf8(ctl->value[opts[i]])) {
            return tokenctl_fail(ctl, TOKENCTL_USAGE, "--%s: not UTF-8, as a "
                                 "token's claims are",
                                 tokenctl_option(opts[i])->name);
        }

        *parts[i] = ti_str_cstr(ctl->value[opts[i]]);
        ctl->has_who = 1;
    }

    if (ctl->has_who && (ctl->who.issuer.len == 0 || ctl->who.subject.len == 0))
    {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--issuer and --subject are "
                             "both needed");
    }

    if (tokenctl_given(ctl, APP)) {
        ctl->has_who = 1;
    }

    if (!ctl->has_who && (ctl->verb->required & tokenctl_bit(PROVIDER))) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "whose connection? "
                             "--issuer I [--tenant T] --subject S, or --app");
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_check_device(tokenctl_t *ctl)
{
    const char  *device;

    device = ctl->value[TOKENCTL_OPT_DEVICE];

    if (device != NULL && !ti_record_device_valid(ti_str_cstr(device))) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--device: 16 characters, "
                             "as tokenctl list shows them, or -");
    }

    if (device != NULL && tokenctl_given(ctl, USER_KEY_FILE)) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--user-key-file tells the "
                             "device; leave --device out");
    }

    if (tokenctl_given(ctl, APP)
        && (device != NULL || tokenctl_given(ctl, USER_KEY_FILE)))
    {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--app is on no device: it "
                             "has neither --user-key-file nor --device");
    }

    if (tokenctl_given(ctl, REVEAL) && device != NULL
        && strcmp(device, "-") != 0)
    {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--reveal: a device's token "
                             "opens with its user key alone: --user-key-file");
    }

    return TOKENCTL_DONE;
}


/* RFC 6749 section 3.3: words of printable ASCII, one space between them */

static int
tokenctl_scope_valid(ti_str_t scope)
{
    size_t         i;
    unsigned char  c, before;

    before = ' ';

    for (i = 0; i < scope.len; i++) {
        c = scope.data[i];

        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\'
            || (c == ' ' && before == ' '))
        {
            return 0;
        }

        before = c;
    }

    return before != ' ' && scope.len <= TOKENCTL_SCOPE_MAX;
}


static tokenctl_exit_t
tokenctl_check_connection(tokenctl_t *ctl)
{
    const char  *provider, *scope;

    provider = ctl->value[TOKENCTL_OPT_PROVIDER];
    scope = ctl->value[TOKENCTL_OPT_SCOPE];

    if (provider != NULL && !ti_record_provider_valid(ti_str_cstr(provider))) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--provider: 1 to %d of "
                             "A-Z a-z 0-9 _ -", TI_PROVIDER_MAX);
    }

    if (scope != NULL && !tokenctl_scope_valid(ti_str_cstr(scope))) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--scope: words of printable "
                             "ASCII with one space between them, at most %d "
                             "bytes", TOKENCTL_SCOPE_MAX);
    }

    if (provider == NULL
        && (tokenctl_given(ctl, RULES_FILE) || tokenctl_given(ctl, CLEAR)))
    {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "whose rules? --provider P");
    }

    if (tokenctl_given(ctl, RULES_FILE) && tokenctl_given(ctl, CLEAR)) {
        return tokenctl_fail(ctl, TOKENCTL_USAGE, "--rules-file sets rules, "
                             "--clear removes them; one of them");
    }

    return tokenctl_check_device(ctl);
}


tokenctl_exit_t
tokenctl_options_check(tokenctl_t *ctl)
{
    uint64_t         cursor;
    tokenctl_exit_t  rc;

    ctl->expires_in = TI_RECORD_LIFE;

    rc = tokenctl_check_required(ctl);

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_stdin(ctl);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_number(ctl, TOKENCTL_OPT_EXPIRES_IN, 1,
                                   TOKENCTL_LIFE_MAX, &ctl->expires_in);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_number(ctl, TOKENCTL_OPT_DATABASE, 0, INT32_MAX,
                                   &ctl->database);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_number(ctl, TOKENCTL_OPT_CURSOR, 0, UINT64_MAX,
                                   &cursor);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_store(ctl);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_who(ctl);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_check_connection(ctl);
    }

    if (rc == TOKENCTL_DONE && tokenctl_given(ctl, ADD)
        && tokenctl_given(ctl, FIRST))
    {
        rc = tokenctl_fail(ctl, TOKENCTL_USAGE, "--add and --first are two "
                           "steps: every node must know a key before it "
                           "seals");
    }

    return rc;
}
