/*
 * A grant's tokens on their way into the store, which is asked before the
 * provider is, and again for as long as it takes: what was given cannot be
 * asked for twice.  That is the journal's part, where something was spent on
 * them; where it is full, and for all others, this file tries by itself.
 */

#include "ngx_http_token_injector_grant_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_GRANT_PATIENCE  15000
#define NGX_HTTP_TOKEN_INJECTOR_GRANT_PAUSE     200


static ngx_int_t ngx_http_token_injector_grant_name(
    ngx_http_token_injector_grant_t *grant);
static ngx_int_t ngx_http_token_injector_grant_send(
    ngx_http_token_injector_grant_t *grant, const ti_str_t *argv, size_t argc,
    ngx_http_token_injector_redis_handler_pt handler);
static void ngx_http_token_injector_grant_checked(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static ngx_int_t ngx_http_token_injector_grant_there(
    ngx_http_token_injector_grant_t *grant, const ti_resp_reply_t *reply);
static void ngx_http_token_injector_grant_fill(
    ngx_http_token_injector_grant_t *grant);
static void ngx_http_token_injector_grant_renew(
    ngx_http_token_injector_grant_t *grant);
static ngx_int_t ngx_http_token_injector_grant_seal(
    ngx_http_token_injector_grant_t *grant);
static ngx_int_t ngx_http_token_injector_grant_write(
    ngx_http_token_injector_grant_t *grant);
static void ngx_http_token_injector_grant_written(void *data, ngx_int_t rc);
static ngx_int_t ngx_http_token_injector_grant_other(
    ngx_http_token_injector_grant_t *grant);
static void ngx_http_token_injector_grant_stored(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static ngx_int_t ngx_http_token_injector_grant_later(
    ngx_http_token_injector_grant_t *grant);


static const char  ngx_http_token_injector_grant_away[] =
    "the store does not answer";


ngx_int_t
ngx_http_token_injector_grant_check(ngx_http_token_injector_grant_t *grant)
{
    ti_str_t  argv[5];

    if (grant->write.name.len == 0
        && ngx_http_token_injector_grant_name(grant) != NGX_OK)
    {
        return ngx_http_token_injector_grant_fail(grant,
                                                  TI_RESULT_INTERNAL_ERROR,
                                                  "out of memory");
    }

    if (grant->conf.grant == TI_OAUTH_REFRESH) {
        grant->gen = grant->conf.before.gen;
        grant->cid = grant->conf.before.cid;
        grant->since = grant->conf.before.since;

        return NGX_OK;
    }

    argv[0] = ti_str("HMGET");
    argv[1] = grant->write.name;
    argv[2] = ti_str("gen");
    argv[3] = ti_str("cid");
    argv[4] = ti_str("since");

    if (ngx_http_token_injector_grant_send(grant, argv, 5,
                                        ngx_http_token_injector_grant_checked)
        != NGX_OK)
    {
        return grant->storing ? ngx_http_token_injector_grant_later(grant)
               : ngx_http_token_injector_grant_fail(grant,
                                        TI_RESULT_STORE_UNAVAILABLE,
                                        ngx_http_token_injector_grant_away);
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_token_injector_grant_name(ngx_http_token_injector_grant_t *grant)
{
    ti_write_t                          *write;
    ti_random_t                          random;
    ngx_http_token_injector_provider_t  *provider;

    write = &grant->write;
    provider = grant->conf.provider;
    random = ti_crypto_random();

    if (ti_write_cid(&random, grant->fresh) != TI_OK) {
        return NGX_ERROR;
    }

    write->prefix = ngx_http_token_injector_str(&provider->store->key_prefix);
    write->ref.who = grant->conf.who;
    write->ref.provider = ngx_http_token_injector_str(&provider->name);
    write->ref.device = grant->conf.device;
    write->ref.user_key = grant->conf.user_key;

    return ti_record_connection_name(&grant->pool, write->prefix,
                                     grant->conf.user, write->ref.provider,
                                     grant->conf.device, &write->name)
           == TI_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_token_injector_grant_send(ngx_http_token_injector_grant_t *grant,
    const ti_str_t *argv, size_t argc,
    ngx_http_token_injector_redis_handler_pt handler)
{
    size_t                               i;
    ngx_str_t                            args[TI_WRITE_ARGS];
    ngx_http_token_injector_redis_op_t  *op;

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[
                                     grant->conf.provider->store->index],
             handler, grant);
    if (op == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < argc; i++) {
        args[i].data = (u_char *) argv[i].data;
        args[i].len = argv[i].len;
    }

    if (ngx_http_token_injector_redis_add(op, args, argc) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return NGX_ERROR;
    }

    if (ngx_http_token_injector_redis_send(op) != NGX_OK) {
        return NGX_ERROR;
    }

    grant->op = op;

    return NGX_OK;
}


static void
ngx_http_token_injector_grant_checked(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_grant_t *grant = data;

    grant->op = NULL;
    grant->refused = ngx_http_token_injector_grant_away;

    if (rc == NGX_OK) {
        rc = ngx_http_token_injector_grant_there(grant, reply);
    }

    if (rc == NGX_OK) {
        grant->refused = NULL;
    }

    if (grant->storing) {
        rc = (rc == NGX_OK) ? ngx_http_token_injector_grant_seal(grant)
                            : ngx_http_token_injector_grant_later(grant);

    } else if (rc != NGX_OK) {
        rc = ngx_http_token_injector_grant_fail(grant,
                                                TI_RESULT_STORE_UNAVAILABLE,
                                                grant->refused);
    }

    ngx_http_token_injector_grant_go(grant, rc);
}


/* what is there, which may be nothing, or no connection at all */

static ngx_int_t
ngx_http_token_injector_grant_there(ngx_http_token_injector_grant_t *grant,
    const ti_resp_reply_t *reply)
{
    ngx_uint_t   i;
    ti_str_t    *field[3];

    field[0] = &grant->gen;
    field[1] = &grant->cid;
    field[2] = &grant->since;

    for (i = 0; i < 3; i++) {
        *field[i] = ti_null_str;
    }

    if (reply->type == TI_RESP_ERROR) {

        if (reply->str.len >= 9
            && ngx_strncmp(reply->str.data, "WRONGTYPE", 9) == 0)
        {
            return NGX_OK;
        }

        grant->refused = "the store refuses to read: look at its log";

        return NGX_ERROR;
    }

    if (reply->type != TI_RESP_ARRAY || reply->n != 3) {
        grant->refused = "the store's reply is not one to what was asked: is "
                         "it Redis?";
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {

        if (reply->elements[i]->type == TI_RESP_STRING
            && reply->elements[i]->str.len <= TI_RECORD_MAX
            && ti_pool_copy(&grant->pool, reply->elements[i]->str, field[i])
               != TI_OK)
        {
            grant->refused = "out of memory";
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_grant_store(ngx_http_token_injector_grant_t *grant)
{
    if (!grant->storing) {
        grant->storing = 1;
        grant->patience = ngx_current_msec
                          + NGX_HTTP_TOKEN_INJECTOR_GRANT_PATIENCE;

        ngx_http_token_injector_grant_fill(grant);
    }

    if (grant->argc) {
        return ngx_http_token_injector_grant_write(grant);
    }

    if (grant->refused) {
        /* somebody wrote it meanwhile, or it could not be read */
        return ngx_http_token_injector_grant_check(grant);
    }

    return ngx_http_token_injector_grant_seal(grant);
}


static void
ngx_http_token_injector_grant_fill(ngx_http_token_injector_grant_t *grant)
{
    ti_write_t         *write;
    ti_oauth_tokens_t  *tokens;

    write = &grant->write;
    tokens = &grant->tokens;

    write->access = tokens->access_token;
    write->scope = tokens->scope.len ? tokens->scope : grant->conf.scope;
    write->account = grant->account;
    write->now = ngx_time();
    write->expires = tokens->expires;

    switch (grant->conf.grant) {

    case TI_OAUTH_REFRESH:
        ngx_http_token_injector_grant_renew(grant);
        break;

    case TI_OAUTH_EXCHANGE:
    case TI_OAUTH_JWT_BEARER:
        /* the caller's own token brings another */
        write->brief = 1;
        break;

    default:
        write->refresh = tokens->refresh_token;
        write->refresh_expires = tokens->refresh_expires;
    }
}


/* what the provider does not say anew, stays as it was */

static void
ngx_http_token_injector_grant_renew(ngx_http_token_injector_grant_t *grant)
{
    time_t              reuse;
    ti_str_t            used;
    ti_write_t         *write;
    ti_oauth_tokens_t  *tokens;

    write = &grant->write;
    tokens = &grant->tokens;

    used = ngx_http_token_injector_grant_token(grant);
    reuse = grant->conf.provider->refresh_reuse;

    if (tokens->scope.len == 0) {
        write->scope = grant->conf.before.scope;
    }

    write->sealed_account = grant->conf.before.account;
    write->refresh = tokens->refresh_token;
    write->refresh_expires = tokens->refresh_expires;

    if (write->refresh.len == 0) {
        write->refresh = used;

        if (write->refresh_expires == 0) {
            write->refresh_expires = grant->conf.refresh_expires;
        }

    } else if (reuse > 0 && !ti_str_eq(write->refresh, used)) {
        write->previous = used;
        write->previous_expires = write->now + reuse;
    }
}


/* only a code is a new consent; otherwise what was kept of it is good still */

static ngx_int_t
ngx_http_token_injector_grant_seal(ngx_http_token_injector_grant_t *grant)
{
    uint64_t                              since;
    ti_write_t                           *write;
    ti_random_t                           random;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;
    write = &grant->write;
    random = ti_crypto_random();

    write->since = write->now;
    write->ref.cid = ti_str_from(grant->fresh, TI_RECORD_CID_LEN);

    if (ti_decimal_parse(grant->since, INT64_MAX, &since) != TI_OK) {
        since = write->now;
    }

    if (grant->conf.grant == TI_OAUTH_CODE) {
        /* no earlier than the one that it replaces, whatever the clocks say */
        write->since = ngx_max(write->now, (int64_t) since);

    } else if (ti_record_cid_valid(grant->cid)) {
        write->ref.cid = grant->cid;
        write->since = since;
    }

    switch (ti_write_command(mcf->crypto, &grant->pool, &random,
                             grant->conf.provider->store->ring, write,
                             grant->gen, grant->argv, &grant->argc))
    {
    case TI_OK:
        return ngx_http_token_injector_grant_store(grant);

    case TI_DECLINED:
        return ngx_http_token_injector_grant_fail(grant,
                               TI_RESULT_INTERNAL_ERROR,
                               "the connection's gen is at its end: remove it "
                               "with tokenctl delete");

    default:
        return ngx_http_token_injector_grant_fail(grant,
                                                  TI_RESULT_INTERNAL_ERROR,
                                                  "out of memory");
    }
}


static ngx_int_t
ngx_http_token_injector_grant_write(ngx_http_token_injector_grant_t *grant)
{
    ngx_msec_int_t  left;

    if (grant->entry) {
        ngx_http_token_injector_journal_forget(grant->entry);

        grant->entry = NULL;
        grant->kept = 1;

        return ngx_http_token_injector_grant_fail(grant,
                               TI_RESULT_STORE_UNAVAILABLE,
                               "the store does not take them: they are kept, "
                               "and written as soon as it does");
    }

    if (ngx_http_token_injector_grant_spends(grant)
        && ngx_http_token_injector_journal_write(grant->conf.provider->store,
                                       grant->argv, grant->argc,
                                       ngx_http_token_injector_grant_written,
                                       grant, &grant->entry)
           == NGX_OK)
    {
        left = grant->patience - ngx_current_msec;
        ngx_add_timer(&grant->event, (ngx_msec_t) ngx_max(left, 1));

        return NGX_AGAIN;
    }

    /* nobody knows what became of it before: it knows itself */

    return ngx_http_token_injector_grant_send(grant, grant->argv, grant->argc,
                                      ngx_http_token_injector_grant_stored)
           == NGX_OK ? NGX_AGAIN : ngx_http_token_injector_grant_later(grant);
}


static void
ngx_http_token_injector_grant_written(void *data, ngx_int_t rc)
{
    ngx_http_token_injector_grant_t *grant = data;

    grant->entry = NULL;

    ngx_del_timer(&grant->event);

    if (rc == NGX_OK) {
        grant->storing = 0;

    } else {
        rc = ngx_http_token_injector_grant_other(grant);
    }

    ngx_http_token_injector_grant_go(grant, rc);
}


/* somebody wrote meanwhile: who refreshed for the same, or consented anew */

static ngx_int_t
ngx_http_token_injector_grant_other(ngx_http_token_injector_grant_t *grant)
{
    if (grant->conf.grant == TI_OAUTH_REFRESH) {
        grant->granted.superseded = 1;
        grant->storing = 0;

        return NGX_OK;
    }

    grant->argc = 0;
    grant->refused = "others keep writing this connection";

    return ngx_http_token_injector_grant_later(grant);
}


static void
ngx_http_token_injector_grant_stored(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_grant_t *grant = data;

    grant->op = NULL;

    if (rc != NGX_OK) {
        grant->refused = ngx_http_token_injector_grant_away;
        rc = ngx_http_token_injector_grant_later(grant);

    } else if (reply->type == TI_RESP_INTEGER && reply->integer == 1) {
        grant->storing = 0;

    } else if (reply->type == TI_RESP_INTEGER && reply->integer == 0) {
        rc = ngx_http_token_injector_grant_other(grant);

    } else {
        grant->refused = "the store refuses to write: look at its log, its "
                         "memory and the rights of its user";
        rc = ngx_http_token_injector_grant_later(grant);
    }

    ngx_http_token_injector_grant_go(grant, rc);
}


static ngx_int_t
ngx_http_token_injector_grant_later(ngx_http_token_injector_grant_t *grant)
{
    if ((ngx_msec_int_t) (grant->patience - ngx_current_msec) <= 0) {
        return ngx_http_token_injector_grant_fail(grant,
                                      TI_RESULT_STORE_UNAVAILABLE,
                                      grant->refused ? grant->refused
                                      : ngx_http_token_injector_grant_away);
    }

    ngx_add_timer(&grant->event, NGX_HTTP_TOKEN_INJECTOR_GRANT_PAUSE);

    return NGX_AGAIN;
}
