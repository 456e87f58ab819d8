/*
 * The connections API: which call a request is, the steps of one, its answer.
 */

#include "ngx_http_token_injector_connections.h"


typedef struct {
    ngx_str_t                             tail;      /* behind the name */
    ngx_uint_t                            list;      /* there is no name */
    ngx_uint_t                            methods;
    ngx_http_token_injector_call_step_t  *steps;
} ngx_http_token_injector_route_t;


static ngx_int_t ngx_http_token_injector_connections_handler(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_call_create(ngx_http_request_t *r,
    ngx_http_token_injector_call_t **call);
static void ngx_http_token_injector_call_cleanup(void *data);
static ngx_int_t ngx_http_token_injector_call_route(
    ngx_http_token_injector_call_t *call);
static ngx_http_token_injector_route_t *ngx_http_token_injector_call_match(
    ngx_http_token_injector_call_t *call, ngx_str_t *name,
    ngx_uint_t *methods);
static ngx_int_t ngx_http_token_injector_call_allow(
    ngx_http_token_injector_call_t *call, ngx_uint_t methods);
static ngx_int_t ngx_http_token_injector_call_forged(
    ngx_http_token_injector_call_t *call);
static ngx_http_token_injector_provider_t *
    ngx_http_token_injector_call_provider(
    ngx_http_token_injector_call_t *call, ngx_str_t *name);
static ngx_int_t ngx_http_token_injector_call_key(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_call_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_call_read(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_call_too_long(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_call_run(
    ngx_http_token_injector_call_t *call);


static ngx_http_token_injector_route_t  ngx_http_token_injector_routes[] = {

    { ngx_string(""), 1, NGX_HTTP_GET|NGX_HTTP_HEAD,
      ngx_http_token_injector_call_list },

    { ngx_string(""), 0, NGX_HTTP_POST,
      ngx_http_token_injector_call_start },

    { ngx_string(""), 0, NGX_HTTP_DELETE,
      ngx_http_token_injector_call_remove },

    { ngx_string("/code"), 0, NGX_HTTP_POST,
      ngx_http_token_injector_call_code },

    { ngx_string("/admin-consent"), 0, NGX_HTTP_POST,
      ngx_http_token_injector_call_admin },

    { ngx_null_string, 0, 0, NULL }
};


char *
ngx_http_token_injector_conf_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    ngx_http_core_loc_conf_t             *clcf;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (lcf->connections) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);

    if (clcf->handler) {
        return "answers itself: nothing else may answer in this location";
    }

    if (clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return "needs a location that is a prefix: what follows it names the "
               "connection";
    }

    ngx_http_token_injector_conf_place(cf, &lcf->connections_place);

    clcf->handler = ngx_http_token_injector_connections_handler;
    lcf->connections = 1;
    mcf->used = 1;

    return NGX_CONF_OK;
}


/* what it needs beside it in its location, and cannot stand there */

char *
ngx_http_token_injector_merge_connections(ngx_conf_t *cf,
    ngx_http_token_injector_loc_conf_t *prev,
    ngx_http_token_injector_loc_conf_t *conf)
{
    const char                *why;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && prev->connections) {
        /* "if" and "limit_except", which are no locations of their own */

        if (clcf->handler == NULL) {
            conf->connections = 1;
            conf->connections_place = prev->connections_place;

            if (clcf->lmt_excpt) {
                clcf->handler = ngx_http_token_injector_connections_handler;
            }
        }
    }

    if (!conf->connections) {
        return NGX_CONF_OK;
    }

    if (conf->auth == NULL) {
        why = "needs \"token_auth\": say whose connections they are";

    } else if (conf->inject.len) {
        why = "answers itself: add \"token_inject off\"";

    } else if (!clcf->noname
               && clcf->handler
                  != ngx_http_token_injector_connections_handler)
    {
        why = "answers itself: nothing else may answer in this location";

    } else {

        /* in memory, never in a file: there are secrets in it */

        clcf->client_body_buffer_size = ngx_max(clcf->client_body_buffer_size,
                                                TI_CONNECTIONS_BODY_MAX + 1);
        return NGX_CONF_OK;
    }

    ngx_http_token_injector_conf_error(cf, NGX_LOG_EMERG,
                                       &conf->connections_place,
                                       "\"token_connections\" in location "
                                       "\"%V\" %s", &clcf->name, why);
    return NGX_CONF_ERROR;
}


/*
 * Nobody watches whether the client is still there: each wait is bounded, and
 * what a call has begun, it ends.
 */

static ngx_int_t
ngx_http_token_injector_connections_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_token_injector_call_t  *call;

    call = NULL;
    rc = ngx_http_token_injector_call_create(r, &call);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_token_injector_call_route(call);

    if (rc != NGX_OK) {
        return rc;
    }

    if (r->headers_in.content_length_n > TI_CONNECTIONS_BODY_MAX) {
        return ngx_http_token_injector_call_too_long(call);
    }

    if (r->method == NGX_HTTP_POST) {
        r->request_body_in_file_only = 0;
        r->request_body_in_single_buf = 1;

        rc = ngx_http_read_client_request_body(r,
                                           ngx_http_token_injector_call_body);

        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->main->count++;

    ngx_http_token_injector_call_run(call);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_token_injector_call_create(ngx_http_request_t *r,
    ngx_http_token_injector_call_t **call)
{
    ngx_pool_cleanup_t             *cln;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL || !ctx->passed) {
        /* a clone begins here, and nobody has judged it */
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_token_injector_call_t));
    if (cln == NULL) {
        return ngx_http_token_injector_refuse(ctx, TI_RESULT_INTERNAL_ERROR,
                                              "out of memory");
    }

    *call = cln->data;
    ngx_memzero(*call, sizeof(ngx_http_token_injector_call_t));

    cln->handler = ngx_http_token_injector_call_cleanup;

    (*call)->request = r;
    (*call)->ctx = ctx;

    return NGX_OK;
}


static void
ngx_http_token_injector_call_cleanup(void *data)
{
    ngx_http_token_injector_call_t  *call = data;

    ngx_uint_t  i;

    if (call->op) {
        ngx_http_token_injector_redis_forget(call->op);
    }

    for (i = 0; i < call->nlisted; i++) {
        if (call->listed[i].op) {
            ngx_http_token_injector_redis_forget(call->listed[i].op);
        }
    }

    if (call->finding) {
        ngx_http_token_injector_find_forget(&call->find);
    }

    if (call->grant) {
        ngx_http_token_injector_grant_forget(call->grant);
    }

    if (call->removal) {
        ngx_http_token_injector_removal_forget(call->removal);
    }

    ti_wipe(&call->pending, sizeof(ti_pending_t));
    ti_wipe((void *) call->code.code.data, call->code.code.len);
    ti_wipe((void *) call->body.data, call->body.len);
    ti_wipe((void *) call->url.data, call->url.len);
}


/* NGX_OK: there is such a call, and it may be this caller's */

static ngx_int_t
ngx_http_token_injector_call_route(ngx_http_token_injector_call_t *call)
{
    ngx_str_t                         name;
    ngx_uint_t                        methods;
    ngx_http_token_injector_route_t  *route;

    route = ngx_http_token_injector_call_match(call, &name, &methods);

    if (methods == 0) {
        call->ctx->status = NGX_HTTP_NOT_FOUND;
        return ngx_http_token_injector_call_refuse(call,
                                                   TI_RESULT_REQUEST_INVALID,
                                                   "no such call");
    }

    if (route == NULL) {
        return ngx_http_token_injector_call_allow(call, methods);
    }

    if (ngx_http_token_injector_call_forged(call)) {
        return ngx_http_token_injector_call_refuse(call,
                                         TI_RESULT_REQUEST_INVALID,
                                         "the token is a cookie, and the body "
                                         "is not said to be JSON");
    }

    call->steps = route->steps;

    if (!route->list) {
        call->provider = ngx_http_token_injector_call_provider(call, &name);

        if (call->provider == NULL) {
            return ngx_http_token_injector_call_refuse(call,
                                           TI_RESULT_PROVIDER_UNKNOWN,
                                           "no such provider for this caller");
        }

        call->ctx->provider = call->provider;
    }

    return ngx_http_token_injector_call_key(call);
}


/* NULL: not with this method, nor with any where methods is 0 */

static ngx_http_token_injector_route_t *
ngx_http_token_injector_call_match(ngx_http_token_injector_call_t *call,
    ngx_str_t *name, ngx_uint_t *methods)
{
    u_char                           *p, *last;
    ngx_str_t                         tail;
    ngx_uint_t                        list;
    ngx_http_request_t               *r;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_token_injector_route_t  *route, *found;

    r = call->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    p = r->uri.data;
    last = p + r->uri.len;

    *methods = 0;

    /* a "rewrite" may have led elsewhere since the location was found */

    if (r->uri.len < clcf->name.len
        || ngx_strncmp(p, clcf->name.data, clcf->name.len) != 0)
    {
        return NULL;
    }

    p += clcf->name.len;

    if (clcf->name.len && p[-1] == '/') {
        p--;
    }

    if (p < last && *p != '/') {
        return NULL;
    }

    name->data = (p < last) ? p + 1 : p;

    for (p = name->data; p < last && *p != '/'; p++) { /* void */ }

    name->len = p - name->data;
    tail.data = p;
    tail.len = last - p;
    list = (name->len == 0);
    found = NULL;

    for (route = ngx_http_token_injector_routes; route->steps; route++) {

        if (route->list != list || route->tail.len != tail.len
            || ngx_strncmp(route->tail.data, tail.data, tail.len) != 0)
        {
            continue;
        }

        *methods |= route->methods;

        if (route->methods & r->method) {
            found = route;
        }
    }

    return found;
}


static ngx_int_t
ngx_http_token_injector_call_allow(ngx_http_token_injector_call_t *call,
    ngx_uint_t methods)
{
    ngx_str_t  value;

    if (methods & NGX_HTTP_GET) {
        ngx_str_set(&value, "GET, HEAD");

    } else if (methods & NGX_HTTP_DELETE) {
        ngx_str_set(&value, "POST, DELETE");

    } else {
        ngx_str_set(&value, "POST");
    }

    if (ngx_http_token_injector_add_header(call->request, "Allow", &value)
        == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    call->ctx->status = NGX_HTTP_NOT_ALLOWED;

    return ngx_http_token_injector_call_refuse(call,
                                               TI_RESULT_REQUEST_INVALID,
                                               "no such method here");
}


/*
 * A browser adds cookies to what another site's page makes it send, and asks
 * before it sends what no form could: DELETE, or a body of this type.
 */

static ngx_int_t
ngx_http_token_injector_call_forged(ngx_http_token_injector_call_t *call)
{
    u_char              *p;
    size_t               len;
    ngx_table_elt_t     *type;
    ngx_http_request_t  *r;

    static ngx_str_t  json = ngx_string("application/json");

    r = call->request;
    type = r->headers_in.content_type;

    if (r->method != NGX_HTTP_POST
        || call->ctx->conf->auth->source.from
           != NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE)
    {
        return 0;
    }

    if (type == NULL || type->value.len < json.len
        || ngx_strncasecmp(type->value.data, json.data, json.len) != 0)
    {
        return 1;
    }

    p = type->value.data + json.len;
    len = type->value.len - json.len;

    return len != 0 && *p != ';' && *p != ' ' && *p != '\t';
}


static ngx_http_token_injector_provider_t *
ngx_http_token_injector_call_provider(ngx_http_token_injector_call_t *call,
    ngx_str_t *name)
{
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(call->request);
    provider = ngx_http_token_injector_conf_find(&mcf->providers, name);

    if (provider == NULL
        || !ngx_http_token_injector_call_allowed(call, provider))
    {
        return NULL;
    }

    return provider;
}


/*
 * The list does without one, as far as it can; one that is wrong is wrong
 * everywhere.
 */

static ngx_int_t
ngx_http_token_injector_call_key(ngx_http_token_injector_call_t *call)
{
    ti_str_t                        value;
    ngx_int_t                       rc;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = call->ctx;

    if (call->provider && !call->provider->user_key) {
        return NGX_OK;
    }

    rc = ngx_http_token_injector_read(ctx, ctx->conf->user_key, &value);

    if (rc == NGX_DECLINED && call->provider == NULL) {
        return NGX_OK;
    }

    /* two keys are as good as none */

    ctx->user_key = (rc == NGX_OK) ? value : ti_null_str;
    ngx_http_token_injector_forget(call->request, ctx->user_key);

    call->user_key = ngx_http_token_injector_user_key(ctx);

    if (call->user_key == NULL) {
        return ngx_http_token_injector_call_refuse(call,
                                   TI_RESULT_USER_KEY_REQUIRED,
                                   "no user key in the request, or not 43 "
                                   "canonical characters");
    }

    return NGX_OK;
}


/* nginx has read the body */

static void
ngx_http_token_injector_call_body(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_pool_cleanup_t              *cln;
    ngx_http_token_injector_call_t  *call;

    call = NULL;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_token_injector_call_cleanup) {
            call = cln->data;

            if (call->request == r) {
                break;
            }
        }
    }

    rc = ngx_http_token_injector_call_read(call);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_http_token_injector_call_run(call);
}


/* one text, and no other copy of it */

static ngx_int_t
ngx_http_token_injector_call_read(ngx_http_token_injector_call_t *call)
{
    u_char                   *p;
    size_t                    len;
    ngx_chain_t              *cl;
    ngx_http_request_body_t  *rb;

    rb = call->request->request_body;
    len = 0;

    for (cl = rb ? rb->bufs : NULL; cl; cl = cl->next) {

        if (cl->buf->in_file) {
            /* it did not fit into the buffer, which is larger than a body */
            len = TI_CONNECTIONS_BODY_MAX + 1;
            break;
        }

        len += cl->buf->last - cl->buf->pos;
    }

    if (len > TI_CONNECTIONS_BODY_MAX) {
        return ngx_http_token_injector_call_too_long(call);
    }

    p = ngx_pnalloc(call->request->pool, len + 1);
    if (p == NULL) {
        return ngx_http_token_injector_call_refuse(call,
                                         TI_RESULT_INTERNAL_ERROR,
                                         "out of memory");
    }

    call->body = ti_str_from(p, len);

    for (cl = rb ? rb->bufs : NULL; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
        ti_wipe(cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    if (rb) {
        /* for $request_body too */
        rb->bufs = NULL;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_call_too_long(ngx_http_token_injector_call_t *call)
{
    return ngx_http_token_injector_call_refuse(call,
                                     TI_RESULT_REQUEST_INVALID,
                                     "the body is longer than 16384 bytes");
}


static void
ngx_http_token_injector_call_run(ngx_http_token_injector_call_t *call)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = call->request;

    do {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "token injector: connections: %V", &call->steps->name);

        rc = call->steps->handler(call);
        call->steps++;

    } while (rc == NGX_OK);

    if (rc == NGX_AGAIN) {
        r->read_event_handler = r->discard_body ? r->read_event_handler
                                                : ngx_http_block_reading;
        r->write_event_handler = ngx_http_request_empty_handler;
        return;
    }

    ngx_http_finalize_request(r, rc == NGX_DONE ? call->answered : rc);
}


void
ngx_http_token_injector_call_resume(ngx_http_token_injector_call_t *call)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = call->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_token_injector_call_run(call);

    ngx_http_run_posted_requests(c);
}


ngx_int_t
ngx_http_token_injector_call_refuse(ngx_http_token_injector_call_t *call,
    ti_result_t result, const char *why)
{
    return ngx_http_token_injector_refuse(call->ctx, result, why);
}


/* json is NULL where the status says all */

ngx_int_t
ngx_http_token_injector_call_answer(ngx_http_token_injector_call_t *call,
    ngx_uint_t status, ti_str_t *json)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_str_t            value;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = call->request;

    ngx_str_set(&value, "no-store");

    if (ngx_http_token_injector_add_header(r, "Cache-Control", &value) == NULL)
    {
        goto failed;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = json ? (off_t) json->len : 0;

    if (json) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only || json == NULL) {
        call->answered = rc;
        return NGX_DONE;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        goto failed;
    }

    b->pos = (u_char *) json->data;
    b->last = b->pos + json->len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    call->answered = ngx_http_output_filter(r, &out);

    return NGX_DONE;

failed:

    call->answered = NGX_ERROR;

    return NGX_DONE;
}


/* is the provider for who calls? */

ngx_uint_t
ngx_http_token_injector_call_allowed(ngx_http_token_injector_call_t *call,
    ngx_http_token_injector_provider_t *provider)
{
    if (provider->grant != NGX_HTTP_TOKEN_INJECTOR_CODE) {
        /* an app-only token is nobody's to connect */
        return 0;
    }

    return ngx_http_token_injector_segment_allows(call->ctx, provider, NULL)
           == NGX_OK;
}


/*
 * A part of the step "authorize": rules that Redis has for providers are here
 * before anything is said of them.
 */

ngx_int_t
ngx_http_token_injector_connections_await(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                             rc;
    ngx_uint_t                            i;
    ngx_http_token_injector_provider_t  **provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    provider = mcf->providers.elts;

    for (i = 0; i < mcf->providers.nelts; i++) {

        if (provider[i]->grant != NGX_HTTP_TOKEN_INJECTOR_CODE) {
            continue;
        }

        rc = ngx_http_token_injector_segment_await(ctx, provider[i]);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc != NGX_OK) {
            return ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_STORE_UNAVAILABLE,
                                   "the store did not say whom the provider "
                                   "is for");
        }
    }

    return NGX_OK;
}
