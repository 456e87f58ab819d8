/*
 * GET: the providers that a caller may connect, and how each stands.
 */

#include "ngx_http_token_injector_connections.h"


#define NGX_HTTP_TOKEN_INJECTOR_LIST_FIELDS  6


static ngx_int_t ngx_http_token_injector_list_ask(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_list_providers(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_list_ask_one(
    ngx_http_token_injector_listed_t *listed);
static void ngx_http_token_injector_list_forget(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_list_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_list_fields(
    ngx_http_token_injector_listed_t *listed, const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_list_answer(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_list_judge(
    ngx_http_token_injector_listed_t *listed);
static void ngx_http_token_injector_list_account(
    ngx_http_token_injector_listed_t *listed);


ngx_http_token_injector_call_step_t  ngx_http_token_injector_call_list[] = {

    /* waits for: Redis, one round trip for all */
    { ngx_string("ask"), ngx_http_token_injector_list_ask },

    { ngx_string("list"), ngx_http_token_injector_list_answer }
};


/* what is asked at one time leaves in one write */

static ngx_int_t
ngx_http_token_injector_list_ask(ngx_http_token_injector_call_t *call)
{
    ngx_int_t                          rc;
    ngx_uint_t                         i;
    ngx_http_token_injector_listed_t  *listed;

    if (ngx_http_token_injector_list_providers(call) != NGX_OK) {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    for (i = 0; i < call->nlisted; i++) {
        listed = &call->listed[i];

        if (listed->provider->user_key && call->user_key == NULL) {
            /* which device this is, nobody knows */
            continue;
        }

        rc = ngx_http_token_injector_list_ask_one(listed);

        if (rc != NGX_OK) {
            ngx_http_token_injector_list_forget(call);
            return ngx_http_token_injector_call_unasked(call, rc);
        }

        call->asking++;
    }

    return call->asking ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_list_providers(ngx_http_token_injector_call_t *call)
{
    ngx_uint_t                            i, n;
    ngx_http_token_injector_listed_t     *listed;
    ngx_http_token_injector_provider_t  **provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(call->request);

    n = mcf->providers.nelts;
    provider = mcf->providers.elts;

    listed = ngx_pcalloc(call->request->pool,
                         (n + 1) * sizeof(ngx_http_token_injector_listed_t));
    if (listed == NULL) {
        return NGX_ERROR;
    }

    call->listed = listed;

    for (i = 0; i < n; i++) {

        if (!ngx_http_token_injector_call_allowed(call, provider[i])) {
            continue;
        }

        listed->call = call;
        listed->provider = provider[i];
        listed->connection.provider = ngx_http_token_injector_str(
                                                         &provider[i]->name);
        listed->connection.refreshable = -1;

        listed++;
        call->nlisted++;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_list_ask_one(ngx_http_token_injector_listed_t *listed)
{
    ti_str_t                                 name;
    ti_pool_t                                pool;
    ngx_str_t                                hmget[8], hexists[3];
    ngx_http_token_injector_provider_t      *provider;
    ngx_http_token_injector_call_command_t   commands[2];

    provider = listed->provider;
    pool = ngx_http_token_injector_pool(listed->call->request->pool);

    if (ngx_http_token_injector_call_names(listed->call, provider,
                                           &listed->user, &listed->device)
        != NGX_OK
        || ti_record_connection_name(&pool,
                    ngx_http_token_injector_str(&provider->store->key_prefix),
                    listed->user, listed->connection.provider, listed->device,
                    &name)
           != TI_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&hmget[0], "HMGET");
    hmget[1].data = (u_char *) name.data;
    hmget[1].len = name.len;
    ngx_str_set(&hmget[2], "exp");
    ngx_str_set(&hmget[3], "scope");
    ngx_str_set(&hmget[4], "since");
    ngx_str_set(&hmget[5], "state");
    ngx_str_set(&hmget[6], "cid");
    ngx_str_set(&hmget[7], "account");

    /* not itself: it may be long, and is of no use here */

    ngx_str_set(&hexists[0], "HEXISTS");
    hexists[1] = hmget[1];
    ngx_str_set(&hexists[2], "refresh");

    commands[0].argv = hmget;
    commands[0].argc = 2 + NGX_HTTP_TOKEN_INJECTOR_LIST_FIELDS;
    commands[1].argv = hexists;
    commands[1].argc = 3;

    return ngx_http_token_injector_call_ask(provider, commands, 2,
                                            ngx_http_token_injector_list_reply,
                                            listed, &listed->op);
}


/* the answer is a refusal, whatever the others say */

static void
ngx_http_token_injector_list_forget(ngx_http_token_injector_call_t *call)
{
    ngx_uint_t  i;

    for (i = 0; i < call->nlisted; i++) {
        if (call->listed[i].op) {
            ngx_http_token_injector_redis_forget(call->listed[i].op);
            call->listed[i].op = NULL;
        }
    }
}


static void
ngx_http_token_injector_list_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_listed_t  *listed = data;

    if (rc != NGX_OK) {
        listed->call->failed = 1;

    } else if (n == 0) {
        ngx_http_token_injector_list_fields(listed, reply);

    } else if (reply->type == TI_RESP_INTEGER) {
        listed->fields.refresh = (reply->integer != 0);
    }

    if (!last) {
        return;
    }

    listed->op = NULL;

    if (--listed->call->asking == 0) {
        ngx_http_token_injector_call_resume(listed->call);
    }
}


static void
ngx_http_token_injector_list_fields(ngx_http_token_injector_listed_t *listed,
    const ti_resp_reply_t *reply)
{
    size_t      i;
    ti_pool_t   pool;
    ti_str_t   *fields[] = {
        &listed->fields.exp, &listed->fields.scope, &listed->fields.since,
        &listed->fields.state, &listed->cid, &listed->account
    };

    if (reply->type == TI_RESP_ERROR && reply->str.len > 9
        && ngx_strncmp(reply->str.data, "WRONGTYPE", 9) == 0)
    {
        listed->broken = 1;
        return;
    }

    if (reply->type != TI_RESP_ARRAY
        || reply->n != NGX_HTTP_TOKEN_INJECTOR_LIST_FIELDS)
    {
        listed->call->failed = 1;
        return;
    }

    pool = ngx_http_token_injector_pool(listed->call->request->pool);

    for (i = 0; i < reply->n; i++) {

        if (reply->elements[i]->type != TI_RESP_STRING) {
            continue;
        }

        listed->found = 1;

        if (ti_pool_copy(&pool, reply->elements[i]->str, fields[i]) != TI_OK) {
            listed->call->failed = 1;
        }
    }
}


static ngx_int_t
ngx_http_token_injector_list_answer(ngx_http_token_injector_call_t *call)
{
    ti_str_t          json;
    ti_pool_t         pool;
    ngx_uint_t        i;
    ti_connection_t  *connections;

    if (call->failed) {
        return ngx_http_token_injector_call_refuse(call,
                                               TI_RESULT_STORE_UNAVAILABLE,
                                               "the store did not answer");
    }

    pool = ngx_http_token_injector_pool(call->request->pool);

    connections = ngx_palloc(call->request->pool,
                             (call->nlisted + 1) * sizeof(ti_connection_t));
    if (connections == NULL) {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    for (i = 0; i < call->nlisted; i++) {
        ngx_http_token_injector_list_judge(&call->listed[i]);
        connections[i] = call->listed[i].connection;
    }

    if (ti_connections_write_list(&pool, connections, call->nlisted, &json)
        != TI_OK)
    {
        return ngx_http_token_injector_call_unasked(call, NGX_ERROR);
    }

    return ngx_http_token_injector_call_answer(call, NGX_HTTP_OK, &json);
}


static void
ngx_http_token_injector_list_judge(ngx_http_token_injector_listed_t *listed)
{
    ti_str_t  provider;

    if (listed->broken) {
        listed->connection.state = TI_CONNECTION_RECONNECT;
        return;
    }

    if (!listed->found) {
        listed->connection.state = TI_CONNECTION_NONE;
        return;
    }

    provider = listed->connection.provider;

    ti_connection_read(&listed->fields, ngx_time(), &listed->connection);

    listed->connection.provider = provider;

    if (listed->account.len && listed->cid.len) {
        ngx_http_token_injector_list_account(listed);
    }
}


/* sealed by the server's key alone; one that does not open is unknown */

static void
ngx_http_token_injector_list_account(ngx_http_token_injector_listed_t *listed)
{
    ti_pool_t                             pool;
    const char                           *why;
    ti_record_t                           record;
    ti_record_ref_t                       ref;
    ngx_http_token_injector_call_t       *call;
    ngx_http_token_injector_main_conf_t  *mcf;

    call = listed->call;
    mcf = ngx_http_token_injector_main(call->request);
    pool = ngx_http_token_injector_pool(call->request->pool);

    ngx_memzero(&ref, sizeof(ti_record_ref_t));

    ref.kind = TI_RECORD_ACCOUNT;
    ref.who = call->ctx->head.who;
    ref.provider = listed->connection.provider;
    ref.device = listed->device;
    ref.cid = listed->cid;

    if (ti_record_open(mcf->crypto, &pool, listed->provider->store->ring, &ref,
                       listed->account, &record, &why)
        == TI_RESULT_OK)
    {
        listed->connection.account = record.token;
    }
}
