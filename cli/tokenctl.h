/*
 * tokenctl, the operator's tool: sealing keys, and the connections that are
 * sealed with them in Redis (docs/record-format.md), on the same core as the
 * module.
 *
 * A function that can fail returns what the process would exit with and has
 * then left one line in ctl->message; main() alone prints it.
 */

#ifndef TOKENCTL_H
#define TOKENCTL_H

#include <sys/stat.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "ti_base.h"
#include "ti_crypto.h"
#include "ti_record.h"
#include "ti_segment.h"


#define TOKENCTL_VERSION  "0.1.0"

#define TOKENCTL_KEYS_MAX  65536            /* a JWK Set file */


typedef enum {
    TOKENCTL_DONE = 0,
    TOKENCTL_FAILED = 1,
    TOKENCTL_USAGE = 2,
    TOKENCTL_NOT_FOUND = 3
} tokenctl_exit_t;


typedef enum {
    TOKENCTL_OPT_SERVER = 0,
    TOKENCTL_OPT_KEYS,
    TOKENCTL_OPT_KEY_PREFIX,
    TOKENCTL_OPT_USER,
    TOKENCTL_OPT_PASSWORD_FILE,
    TOKENCTL_OPT_DATABASE,

    TOKENCTL_OPT_ISSUER,
    TOKENCTL_OPT_TENANT,
    TOKENCTL_OPT_SUBJECT,
    TOKENCTL_OPT_APP,

    TOKENCTL_OPT_PROVIDER,
    TOKENCTL_OPT_USER_KEY_FILE,
    TOKENCTL_OPT_DEVICE,
    TOKENCTL_OPT_ACCESS_FILE,
    TOKENCTL_OPT_REFRESH_FILE,
    TOKENCTL_OPT_EXPIRES_IN,
    TOKENCTL_OPT_SCOPE,
    TOKENCTL_OPT_REVEAL,
    TOKENCTL_OPT_RULES_FILE,
    TOKENCTL_OPT_CLEAR,
    TOKENCTL_OPT_CLAIMS_FILE,
    TOKENCTL_OPT_CURSOR,
    TOKENCTL_OPT_JSON,

    TOKENCTL_OPT_OUT,
    TOKENCTL_OPT_ADD,
    TOKENCTL_OPT_FIRST,

    TOKENCTL_OPT_HELP,
    TOKENCTL_OPT_LAST
} tokenctl_opt_t;

#define tokenctl_bit(opt)  (1u << TOKENCTL_OPT_##opt)


typedef struct {
    const char  *name;                      /* without the dashes */
    const char  *value;                     /* NULL: it takes none */
    const char  *text;
} tokenctl_option_t;

typedef struct tokenctl_s  tokenctl_t;

typedef struct {
    const char        *name;
    const char        *synopsis;
    const char        *text;
    unsigned           allowed;             /* tokenctl_bit()s */
    unsigned           required;
    tokenctl_exit_t  (*handler)(tokenctl_t *ctl);
} tokenctl_verb_t;


/* Memory that is wiped when it goes. */

typedef struct tokenctl_block_s  tokenctl_block_t;

typedef struct {
    ti_pool_t          ti;
    tokenctl_block_t  *blocks;
} tokenctl_pool_t;


struct tokenctl_s {
    const tokenctl_verb_t  *verb;
    const char             *value[TOKENCTL_OPT_LAST];   /* NULL: not given */

    /* the options, judged */

    ti_who_t                who;            /* empty with --app */
    unsigned                has_who:1;
    ti_str_t                prefix;
    uint64_t                expires_in;
    uint64_t                database;
    const char             *path;           /* of the socket, or else */
    const char             *host;
    int                     port;

    /* for the time of the run */

    tokenctl_pool_t         pool;
    tokenctl_pool_t         scratch;        /* one connection's */
    ti_crypto_t            *crypto;
    ti_random_t             random;
    ti_keyring_t           *ring;
    redisContext           *redis;

    /* the connection that --provider, WHO and the user key name */

    unsigned char           user_key[TI_KEY_LEN];
    unsigned                has_user_key:1;
    ti_str_t                device;
    ti_str_t                name;

    unsigned                progress:1;     /* a line is on the terminal */
    uint64_t                progress_next;  /* ms */
    char                    message[1024];
};


/* cli_options.c: the command line to values; TOKENCTL_USAGE where wrong */

tokenctl_exit_t tokenctl_options_parse(tokenctl_t *ctl, int argc,
    char **argv);
void tokenctl_options_print(unsigned allowed);
const tokenctl_option_t *tokenctl_option(tokenctl_opt_t opt);

/* cli_check.c: the values to what they mean */

tokenctl_exit_t tokenctl_options_check(tokenctl_t *ctl);


/* cli_message.c */

void tokenctl_say(tokenctl_t *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* says why, and is rc: a macro, so that analyzers see what is returned */
#define tokenctl_fail(ctl, rc, ...)                                           \
    (tokenctl_say(ctl, __VA_ARGS__), (rc))

#define tokenctl_fail_memory(ctl)                                             \
    tokenctl_fail(ctl, TOKENCTL_FAILED, "out of memory")

/* a line on the terminal that the next one replaces; nothing elsewhere */
void tokenctl_progress(tokenctl_t *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void tokenctl_progress_end(tokenctl_t *ctl);

/* what a terminal may see of s, from the scratch pool; NULL: no memory */
const char *tokenctl_printable(tokenctl_t *ctl, ti_str_t s);

/* for "%.*s" */
#define tokenctl_arg(s)  (int) (s).len, (const char *) (s).data


/* cli_memory.c */

void tokenctl_free(void *p);                /* of malloc(); NULL is allowed */
void tokenctl_pool_init(tokenctl_pool_t *pool);
void tokenctl_pool_reset(tokenctl_pool_t *pool);

/* from the pool, NUL-terminated behind what the view shows */
tokenctl_exit_t tokenctl_concat(tokenctl_t *ctl, const ti_str_t *parts,
    size_t n, ti_str_t *out);


/* cli_file.c */

#define TOKENCTL_FILE_PRIVATE  1            /* others may not read it */

/*
 * Reads a file, or standard input for "-", into the pool; one newline at the
 * end is left out.
 */
tokenctl_exit_t tokenctl_file_read(tokenctl_t *ctl, const char *path,
    size_t max, unsigned flags, ti_str_t *text);

/*
 * Writes a file of mode 0600, whole or not at all, on the disk when it
 * returns.  like: NULL to make a new one, which must not be there yet, or
 * whose owner and mode the file that replaces it shall have.
 */
tokenctl_exit_t tokenctl_file_write(tokenctl_t *ctl, const char *path,
    ti_str_t text, const struct stat *like);


/* cli_keys.c */

tokenctl_exit_t tokenctl_keygen(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_userkey(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_crypto_open(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_keys_load(tokenctl_t *ctl);


/* cli_store.c */

tokenctl_exit_t tokenctl_store_open(tokenctl_t *ctl);

/* queues a command, to be sent before the next reply is awaited */
tokenctl_exit_t tokenctl_store_send(tokenctl_t *ctl, const ti_str_t *argv,
    size_t argc);

/* the next reply, the caller's to free; it may be Redis' error */
tokenctl_exit_t tokenctl_store_reply(tokenctl_t *ctl, redisReply **reply);

/* both, where nothing else is under way */
tokenctl_exit_t tokenctl_store_ask(tokenctl_t *ctl, const ti_str_t *argv,
    size_t argc, redisReply **reply);

/* says what Redis' error means; the reply is not freed */
tokenctl_exit_t tokenctl_store_refused(tokenctl_t *ctl,
    const redisReply *reply);
tokenctl_exit_t tokenctl_store_unexpected(tokenctl_t *ctl);

/* a script on one key: argv is "EVAL", the script, "1", the key, arguments */
tokenctl_exit_t tokenctl_store_script(tokenctl_t *ctl, const ti_str_t *argv,
    size_t argc, int *changed);

/* "<prefix>changes" */
tokenctl_exit_t tokenctl_store_changes(tokenctl_t *ctl, ti_str_t *channel);


/* cli_connection.c */

typedef enum {
    TOKENCTL_FIELD_GEN = 0,
    TOKENCTL_FIELD_CID,
    TOKENCTL_FIELD_EXP,
    TOKENCTL_FIELD_SCOPE,
    TOKENCTL_FIELD_SINCE,
    TOKENCTL_FIELD_STATE,
    TOKENCTL_FIELD_ACCESS,
    TOKENCTL_FIELD_REFRESH,
    TOKENCTL_FIELD_PREVIOUS,
    TOKENCTL_FIELD_ACCOUNT,
    TOKENCTL_FIELD_LAST
} tokenctl_field_t;

typedef struct {
    ti_str_t     name;
    ti_str_t     provider;
    ti_str_t     device;

    ti_str_t     field[TOKENCTL_FIELD_LAST];    /* data NULL: absent */
    unsigned     foreign:1;                     /* not a hash */
    redisReply  *reply;                         /* the fields' memory */
} tokenctl_connection_t;

extern const ti_str_t  tokenctl_field_names[TOKENCTL_FIELD_LAST];

/* reads the user key, where one is given, and names the connection */
tokenctl_exit_t tokenctl_connection_locate(tokenctl_t *ctl);
void tokenctl_connection_here(tokenctl_t *ctl, tokenctl_connection_t *conn);

/* TI_DECLINED: not the name of a connection */
ti_rc_t tokenctl_connection_parse(ti_str_t prefix, ti_str_t name,
    tokenctl_connection_t *conn);

/*
 * Asks for the fields, and takes the answer; fetch does both.  NOT_FOUND,
 * without a message: there is none, or no longer.
 */
tokenctl_exit_t tokenctl_connection_ask(tokenctl_t *ctl, ti_str_t name);
tokenctl_exit_t tokenctl_connection_take(tokenctl_t *ctl,
    tokenctl_connection_t *conn);
tokenctl_exit_t tokenctl_connection_fetch(tokenctl_t *ctl,
    tokenctl_connection_t *conn);
void tokenctl_connection_free(tokenctl_connection_t *conn);


/* cli_print.c */

/* the members of "show --json"; NULL: no memory */
json_t *tokenctl_connection_json(tokenctl_t *ctl,
    const tokenctl_connection_t *conn);
tokenctl_exit_t tokenctl_print_json(tokenctl_t *ctl, json_t *object);

/* token: what --reveal shows, or empty */
void tokenctl_print_connection(tokenctl_t *ctl,
    const tokenctl_connection_t *conn, ti_str_t token);
void tokenctl_print_row(tokenctl_t *ctl, const tokenctl_connection_t *conn,
    int first);


/* cli_scan.c: every connection below the prefix, or one user's */

typedef struct tokenctl_scan_s  tokenctl_scan_t;

struct tokenctl_scan_s {
    tokenctl_exit_t  (*each)(tokenctl_t *ctl, tokenctl_scan_t *scan,
                             tokenctl_connection_t *conn);
    void              *data;
    ti_str_t           user;                /* empty: of all */
    uint64_t           seen;
    uint64_t           skipped;             /* no connections of ours */
    char               cursor[TI_DECIMAL_LEN + 1];  /* to go on from there */
};

/* SIGINT or SIGTERM came: tokenctl_scan() ends soon, and FAILED */
int tokenctl_scan_stopped(void);

tokenctl_exit_t tokenctl_scan(tokenctl_t *ctl, tokenctl_scan_t *scan);


/* cli_segment.c: rules for whom a provider is */

typedef struct {
    ti_str_t      provider;
    ti_str_t      text;
    ti_segment_t  segment;
    const char   *why;                      /* they can't be used; or NULL */
    size_t        line;                     /* the one that is wrong */
} tokenctl_rules_t;

typedef tokenctl_exit_t (*tokenctl_rules_pt)(tokenctl_t *ctl,
    const tokenctl_rules_t *rules, void *data);

/* NOT_FOUND, without a message: why, and in which line */
tokenctl_exit_t tokenctl_rules_parse(tokenctl_t *ctl,
    tokenctl_rules_t *rules);

/* those of --rules-file for --provider */
tokenctl_exit_t tokenctl_rules_file(tokenctl_t *ctl, tokenctl_rules_t *rules);

/* names the hash and opens the store; then all that it has, or --provider's */
tokenctl_exit_t tokenctl_rules_open(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_rules_each(tokenctl_t *ctl, tokenctl_rules_pt each,
    void *data);


/* the verbs */

tokenctl_exit_t tokenctl_put(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_show(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_delete(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_list(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_rotate(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_segment(tokenctl_t *ctl);
tokenctl_exit_t tokenctl_explain(tokenctl_t *ctl);


#endif /* TOKENCTL_H */
