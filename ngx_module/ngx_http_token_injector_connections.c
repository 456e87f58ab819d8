/*
 * The connections API: its directive, a call from its beginning to its answer.
 */

#include "ngx_http_token_injector_connections.h"


static ngx_int_t ngx_http_token_injector_connections_handler(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_call_create(ngx_http_request_t *r,
    ngx_http_token_injector_call_t **call);
static void ngx_http_token_injector_call_cleanup(void *data);
static void ngx_http_token_injector_call_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_call_read(
    ngx_http_token_injector_call_t *call);
static ngx_int_t ngx_http_token_injector_call_too_long(
    ngx_http_token_injector_call_t *call);
static void ngx_http_token_injector_call_run(
    ngx_http_token_injector_call_t *call);


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

    if (call == NULL) {
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

    if (call == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ngx_http_token_injector_call_read(call);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_http_token_injector_call_run(call);
}


/* one text, and zeros for whoever else reads it: $request_body, a mirror */

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

        if (cl->buf->pos == cl->buf->last) {
            /* the end of the body, which has no memory */
            continue;
        }

        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
        ti_wipe(cl->buf->pos, cl->buf->last - cl->buf->pos);
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
