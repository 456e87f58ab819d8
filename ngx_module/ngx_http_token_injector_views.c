/*
 * Three views of one request's headers.
 *
 * original   what the client sent; only this module reads it
 * stripped   what everybody else sees once a location that injects has judged
 *            the request: no caller's token, no user key, no third party's;
 *            and once one has that says who calls: no header of such a name
 * injected   the stripped one with "Authorization: Bearer <third party's>" and
 *            the headers that say who calls; in place only while the
 *            upstream's request is being written
 *
 * A view is swapped into r->headers_in whole.  What asks for variables in
 * between may have cached one: those are forgotten at every swap.
 */

#include "ngx_http_token_injector.h"


static void ngx_http_token_injector_cleanup(void *data);
static void ngx_http_token_injector_written(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_prepare(
    ngx_http_token_injector_ctx_t *ctx);
static ti_str_t ngx_http_token_injector_token(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_create_request(
    ngx_http_request_t *r);


ngx_http_token_injector_state_t *
ngx_http_token_injector_state(ngx_http_request_t *r, ngx_uint_t create)
{
    ngx_pool_cleanup_t               *cln;
    ngx_http_token_injector_state_t  *state;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_token_injector_cleanup) {
            return cln->data;
        }
    }

    if (!create) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_token_injector_state_t));
    if (cln == NULL) {
        return NULL;
    }

    state = cln->data;
    ngx_memzero(state, sizeof(ngx_http_token_injector_state_t));

    cln->handler = ngx_http_token_injector_cleanup;

    return state;
}


/* the end of a request and of all that it held */

static void
ngx_http_token_injector_cleanup(void *data)
{
    ngx_http_token_injector_ctx_t    *ctx;
    ngx_http_token_injector_state_t  *state = data;

    for (ctx = state->contexts; ctx; ctx = ctx->next) {

        ngx_http_token_injector_count_request(ctx);

        if (ctx->op) {
            ngx_http_token_injector_redis_forget(ctx->op);
            ctx->op = NULL;
        }

        ngx_http_token_injector_leave(ctx);
        ngx_http_token_injector_keys_leave(ctx);
        ngx_http_token_injector_renew_leave(ctx);
        ngx_http_token_injector_segment_leave(ctx);

        if (ctx->claims) {
            json_decref(ctx->claims);
            ctx->claims = NULL;
        }

        ti_wipe(ctx->key, sizeof(ctx->key));
        ti_wipe(ctx->id.key, sizeof(ctx->id.key));
        ti_wipe(ctx->head.answer_base, sizeof(ctx->head.answer_base));
        ti_wipe((void *) ctx->token.data, ctx->token.len);
        ti_wipe((void *) ctx->user_key.data, ctx->user_key.len);
        ti_wipe(ctx->bearer.data, ctx->bearer.len);
        ti_wipe(ctx->written.data, ctx->written.len);
    }
}


/*
 * The upstream's copy of what is sent to it: the buffer that create_request()
 * made a moment ago.  Not to be looked for later, when the upstream may have
 * given the chain that it hangs on to others; and not at all where the body is
 * sent as it comes, since that may have begun.
 */

static void
ngx_http_token_injector_written(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = ctx->request;
    cl = r->upstream->request_bufs;

    if (ctx->bearer.len == 0 || cl == NULL || !cl->buf->temporary
        || (r->request_body && cl == r->request_body->bufs))
    {
        return;
    }

    /* of an upstream before, which log lines quote until there is this one */
    ti_wipe(ctx->written.data, ctx->written.len);

    ctx->written.data = cl->buf->start;
    ctx->written.len = cl->buf->end - cl->buf->start;
}


void
ngx_http_token_injector_view(ngx_http_request_t *r,
    ngx_http_token_injector_view_t *view)
{
    if (r->headers_in.headers.part.elts == view->headers.part.elts
        && r->headers_in.headers.part.nelts == view->headers.part.nelts)
    {
        return;
    }

    r->headers_in.headers = view->headers;

    if (view->headers.part.next == NULL) {
        /* a list of one part ends in itself, not in the copy */
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    r->headers_in.authorization = view->authorization;
    ngx_http_token_injector_cookies(r) = view->cookies;

#if (nginx_version >= 1023000)
    /* lists of repeated headers lead into the view they were made of */
    r->headers_in.multi = 0;
    r->headers_in.multi_linked = 0;
#endif

    ngx_http_token_injector_flush(r);
}


void
ngx_http_token_injector_save(ngx_http_request_t *r,
    ngx_http_token_injector_view_t *view)
{
    view->headers = r->headers_in.headers;
    view->authorization = r->headers_in.authorization;
    view->cookies = ngx_http_token_injector_cookies(r);
}


/* the location's handler will see the injected view, where it has one */

ngx_int_t
ngx_http_token_injector_present(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (r->content_handler == NULL) {
        return NGX_OK;
    }

    if (ngx_http_token_injector_prepare(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->handler = r->content_handler;
    r->content_handler = ngx_http_token_injector_content_handler;

    return NGX_OK;
}


/*
 * The injected view, ready for the moment when it is needed.  What other
 * modules have added to the request since it was stripped stays in both.
 */

static ngx_int_t
ngx_http_token_injector_prepare(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_uint_t                        n;
    ngx_list_part_t                  *part;
    ngx_table_elt_t                  *h;
    ngx_http_request_t               *r;
    ngx_http_token_injector_view_t   *view;

    r = ctx->request;
    view = &ctx->injected;

    if (ngx_http_token_injector_claim_values(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_token_injector_save(r, &ctx->state->stripped);
    ngx_http_token_injector_save(r, view);

    n = 1 + (ctx->conf->claim_headers ? ctx->conf->claim_headers->nelts : 0);

    for (part = &view->headers.part; part; part = part->next) {
        n += part->nelts;
    }

    h = ngx_palloc(r->pool, n * sizeof(ngx_table_elt_t));
    if (h == NULL) {
        return NGX_ERROR;
    }

    view->headers.part.elts = h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = (ngx_table_elt_t *) ngx_cpymem(h, part->elts,
                                     part->nelts * sizeof(ngx_table_elt_t));
    }

    if (ctx->bearer.len) {
        ngx_memzero(h, sizeof(ngx_table_elt_t));

        ngx_str_set(&h->key, "Authorization");
        h->lowcase_key = (u_char *) "authorization";
        h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
        h->value = ctx->bearer;

        view->authorization = h++;
    }

    h = ngx_http_token_injector_claim_push(ctx, h);

    view->headers.part.nelts = h - (ngx_table_elt_t *) view->headers.part.elts;
    view->headers.part.next = NULL;
    view->headers.nalloc = n;

    return NGX_OK;
}


/* the third party's, without the scheme; none where none was asked for */

static ti_str_t
ngx_http_token_injector_token(ngx_http_token_injector_ctx_t *ctx)
{
    size_t  n;

    if (ctx->bearer.len == 0) {
        return ti_null_str;
    }

    n = sizeof("Bearer ") - 1;

    return ti_str_from(ctx->bearer.data + n, ctx->bearer.len - n);
}


/*
 * The content handler of a location that adds headers: its own, under the
 * injected view.  Where the upstream's request is written later (its body
 * had to be read first), the view comes back for that moment alone.  It is the
 * request's handler that is kept, since an "if" has none in its configuration.
 */

ngx_int_t
ngx_http_token_injector_content_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL) {
        /* a clone begins here, with its parent's handler and headers */
        ctx = ngx_http_get_module_ctx(r->parent,
                                      ngx_http_token_injector_module);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_token_injector_view(r, &ctx->injected);

        rc = ctx->handler(r);

        ngx_http_token_injector_view(r, &ctx->state->stripped);

        return rc;
    }

    ngx_http_token_injector_view(r, &ctx->injected);

    rc = ctx->handler(r);

    ngx_http_token_injector_view(r, &ctx->state->stripped);
    ngx_http_token_injector_forget(r, ngx_http_token_injector_token(ctx));

    if (r->upstream
        && r->upstream->create_request
        && ngx_http_get_module_ctx(r, ngx_http_token_injector_module) == ctx)
    {
        if (!r->request_body_no_buffering) {
            ngx_http_token_injector_written(ctx);
        }

        ctx->create_request = r->upstream->create_request;
        r->upstream->create_request = ngx_http_token_injector_create_request;

        ngx_http_token_injector_watch(ctx);
    }

    return rc;
}


static ngx_int_t
ngx_http_token_injector_create_request(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_http_token_injector_view(r, &ctx->injected);

    rc = ctx->create_request(r);

    if (rc == NGX_OK) {
        ngx_http_token_injector_written(ctx);
    }

    ngx_http_token_injector_view(r, &ctx->state->stripped);
    ngx_http_token_injector_forget(r, ngx_http_token_injector_token(ctx));

    return rc;
}


/*
 * Redirects, named locations and subrequests begin here, whatever view was in
 * place where they came from.
 */

ngx_int_t
ngx_http_token_injector_rewrite_handler(ngx_http_request_t *r)
{
    ngx_http_token_injector_state_t  *state;

    if (r == r->main && !r->internal) {
        return NGX_DECLINED;
    }

    state = ngx_http_token_injector_state(r, 0);

    if (state && state->viewed) {
        ngx_http_token_injector_view(r, &state->stripped);
        ngx_http_token_injector_redirected(r, state);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_token_injector_log_handler(ngx_http_request_t *r)
{
    ngx_http_token_injector_ctx_t    *ctx;
    ngx_http_token_injector_state_t  *state;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    state = ctx ? ctx->state : ngx_http_token_injector_state(r, 0);

    if (state && state->viewed) {
        ngx_http_token_injector_view(r, &state->stripped);
    }

    return NGX_OK;
}
