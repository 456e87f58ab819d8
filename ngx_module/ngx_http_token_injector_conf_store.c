/*
 * token_store NAME { … }: where the connections are.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_KEYS_MAX   65536
#define NGX_HTTP_TOKEN_INJECTOR_CONNS_MAX  64


static char *ngx_http_token_injector_store_topology(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_token_injector_store_validate(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store);
static char *ngx_http_token_injector_store_server(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store);
static char *ngx_http_token_injector_store_hello(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store);
static ngx_int_t ngx_http_token_injector_store_greet(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store, const ti_str_t *argv,
    size_t argc);
static char *ngx_http_token_injector_store_keys(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store);
static char *ngx_http_token_injector_store_identity(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store,
    ngx_http_token_injector_main_conf_t *mcf);
static void ngx_http_token_injector_store_cleanup(void *data);


static ngx_command_t  ngx_http_token_injector_store_commands[] = {

    { ngx_string("server"),
      NGX_CONF_TAKE1,
      ngx_http_token_injector_conf_strings,
      0,
      offsetof(ngx_http_token_injector_store_t, servers),
      NULL },

    { ngx_string("topology"),
      NGX_CONF_1MORE,
      ngx_http_token_injector_store_topology,
      0,
      0,
      NULL },

    { ngx_string("database"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, database),
      NULL },

    { ngx_string("user"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, user),
      NULL },

    { ngx_string("password_file"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, password_file),
      NULL },

    { ngx_string("ssl"),
      NGX_CONF_TAKE1,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, ssl),
      NULL },

    { ngx_string("connections"),
      NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, connections),
      NULL },

    { ngx_string("connect_timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, connect_timeout),
      NULL },

    { ngx_string("timeout"),
      NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, timeout),
      NULL },

    { ngx_string("key_prefix"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, key_prefix),
      NULL },

    { ngx_string("sealing_keys"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, sealing_keys),
      NULL },

    { ngx_string("local_valid"),
      NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, local_valid),
      NULL },

    { ngx_string("spool"),
      NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_http_token_injector_store_t, spool),
      NULL },

      ngx_null_command
};


char *
ngx_http_token_injector_store_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_main_conf_t  *mcf = conf;

    char                             *rv;
    ngx_http_token_injector_store_t  *store;

    store = ngx_http_token_injector_conf_named(cf, &mcf->stores,
                              sizeof(ngx_http_token_injector_store_t),
                              "token_store");
    if (store == NULL) {
        return NGX_CONF_ERROR;
    }

    store->index = mcf->stores.nelts - 1;
    store->database = NGX_CONF_UNSET;
    store->ssl = NGX_CONF_UNSET;
    store->connections = NGX_CONF_UNSET;
    store->connect_timeout = NGX_CONF_UNSET_MSEC;
    store->timeout = NGX_CONF_UNSET_MSEC;
    store->local_valid = NGX_CONF_UNSET;

    ngx_http_token_injector_conf_place(cf, &store->place);

    rv = ngx_http_token_injector_conf_block(cf,
                              ngx_http_token_injector_store_commands, store);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ngx_conf_init_value(store->database, 0);
    ngx_conf_init_value(store->ssl, 0);
    ngx_conf_init_value(store->connections, 1);
    ngx_conf_init_msec_value(store->connect_timeout, 250);
    ngx_conf_init_msec_value(store->timeout, 500);
    ngx_conf_init_value(store->local_valid, 10);

    if (store->key_prefix.data == NULL) {
        ngx_str_set(&store->key_prefix, "ti:");
    }

    if (store->spool.len
        && ngx_conf_full_name(cf->cycle, &store->spool, 0) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_store_validate(cf, store) != NGX_CONF_OK
        || ngx_http_token_injector_store_server(cf, store) != NGX_CONF_OK
        || ngx_http_token_injector_store_hello(cf, store) != NGX_CONF_OK
        || ngx_http_token_injector_store_keys(cf, store) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_store_identity(cf, store, mcf);
}


static char *
ngx_http_token_injector_store_topology(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_store_t  *store = conf;

    ngx_str_t  *value;

    if (store->topology.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    store->topology = value[1];

    if (cf->args->nelts != 2
        || ngx_strcmp(value[1].data, "standalone") != 0)
    {
        return "takes \"standalone\", all that this version supports";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_store_validate(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store)
{
    const char  *why;

    why = NULL;

    if (store->servers == NULL) {
        why = "has no \"server\"";

    } else if (store->sealing_keys.len == 0) {
        why = "has no \"sealing_keys\": make a file with "
              "\"tokenctl keygen --out FILE\"";

    } else if (store->servers->nelts > 1) {
        why = "has several servers: \"topology standalone\" takes one";

    } else if (store->ssl) {
        why = "has \"ssl on\", which this version does not support: use a "
              "unix socket or a TLS tunnel that ends on this machine";

    } else if (store->user.len && store->password_file.len == 0) {
        why = "has a \"user\" and no \"password_file\"";

    } else if (store->connections < 1
               || store->connections > NGX_HTTP_TOKEN_INJECTOR_CONNS_MAX)
    {
        why = "has a number of \"connections\" that is not 1 to 64";

    } else if (store->connect_timeout == 0 || store->timeout == 0) {
        why = "has a timeout of 0: nothing waits for ever here";

    } else if (ngx_strlchr(store->key_prefix.data,
                           store->key_prefix.data + store->key_prefix.len, '{')
               || ngx_strlchr(store->key_prefix.data,
                              store->key_prefix.data + store->key_prefix.len,
                              '}'))
    {
        why = "has a \"key_prefix\" with a brace: braces keep a user's keys "
              "in one cluster slot";
    }

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "token_store \"%V\" %s",
                           &store->name, why);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_store_server(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store)
{
    ngx_url_t   u;
    ngx_str_t  *server;

    server = store->servers->elts;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = server[0];
    u.default_port = 6379;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_store \"%V\": %s in server \"%V\"",
                           &store->name, u.err ? u.err : "an error",
                           &server[0]);
        return NGX_CONF_ERROR;
    }

    store->redis.name = store->name;
    store->redis.addrs = u.addrs;
    store->redis.naddrs = u.naddrs;
    store->redis.connections = store->connections;
    store->redis.connect_timeout = store->connect_timeout;
    store->redis.timeout = store->timeout;

    return NGX_CONF_OK;
}


/* what a new connection says first, made ready once */

static char *
ngx_http_token_injector_store_hello(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store)
{
    size_t     n;
    u_char     number[NGX_INT_T_LEN];
    ti_str_t   argv[3];
    ngx_int_t  rc;
    ngx_str_t  text;

    if (store->password_file.len) {

        if (ngx_http_token_injector_conf_file(cf, "password_file",
                                  &store->password_file, 4096, 1, &text)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }

        /* the file's last newline is not part of it */

        n = text.len;

        if (n && text.data[n - 1] == LF) {
            n--;
        }

        argv[0] = ti_str("AUTH");
        argv[1] = ngx_http_token_injector_str(&store->user);
        argv[store->user.len ? 2 : 1] = ti_str_from(text.data, n);

        rc = ngx_http_token_injector_store_greet(cf, store, argv,
                                                 store->user.len ? 3 : 2);

        ngx_explicit_memzero(text.data, text.len);

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (store->database) {
        n = ngx_sprintf(number, "%i", store->database) - number;

        argv[0] = ti_str("SELECT");
        argv[1] = ti_str_from(number, n);

        if (ngx_http_token_injector_store_greet(cf, store, argv, 2) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_token_injector_store_greet(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store, const ti_str_t *argv, size_t argc)
{
    u_char    *p;
    ti_str_t   command;
    ngx_str_t  old;

    if (ti_resp_command(argv, argc, &command) != TI_OK) {
        return NGX_ERROR;
    }

    old = store->redis.hello;

    p = ngx_pnalloc(cf->pool, old.len + command.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    store->redis.hello.data = p;
    store->redis.hello.len = old.len + command.len;
    store->redis.nhello++;

    if (old.len) {
        p = ngx_cpymem(p, old.data, old.len);
        ngx_explicit_memzero(old.data, old.len);
    }

    ngx_memcpy(p, command.data, command.len);

    ti_resp_command_free(&command);

    return NGX_OK;
}


static char *
ngx_http_token_injector_store_keys(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store)
{
    ti_rc_t              rc;
    ngx_str_t            text;
    const char          *why;
    ngx_pool_cleanup_t  *cln;

    if (ngx_http_token_injector_conf_file(cf, "sealing_keys",
                              &store->sealing_keys,
                              NGX_HTTP_TOKEN_INJECTOR_KEYS_MAX, 1, &text)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    why = "out of memory";
    rc = ti_keyring_parse(ngx_http_token_injector_str(&text), &store->ring,
                          &why);

    ngx_explicit_memzero(text.data, text.len);

    if (rc != TI_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "sealing_keys \"%V\": %s",
                           &store->sealing_keys, why);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_token_injector_store_cleanup;
    cln->data = store->ring;

    return NGX_CONF_OK;
}


static void
ngx_http_token_injector_store_cleanup(void *data)
{
    ti_keyring_free(data);
}


/* what admissions must not survive the change of; and whose a write is */

static char *
ngx_http_token_injector_store_identity(ngx_conf_t *cf,
    ngx_http_token_injector_store_t *store,
    ngx_http_token_injector_main_conf_t *mcf)
{
    u_char      ring[TI_SHA256_LEN], database[8];
    ti_str_t    fields[4];
    ngx_str_t  *server;

    server = store->servers->elts;

    ti_put_u64(database, store->database);

    fields[0] = ngx_http_token_injector_str(&server[0]);
    fields[1] = ti_str_from(database, sizeof(database));
    fields[2] = ngx_http_token_injector_str(&store->key_prefix);
    fields[3] = ti_str_from(ring, sizeof(ring));

    if (ti_keyring_id(store->ring, mcf->crypto, ring) != TI_OK
        || ti_crypto_sha256_enc(mcf->crypto, fields, 4, store->id) != TI_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* by its name, wherever it moves to, with whatever keys */

    fields[0] = ti_str("journal");
    fields[1] = ngx_http_token_injector_str(&store->name);

    if (ti_crypto_sha256_enc(mcf->crypto, fields, 3, store->journal)
        != TI_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
