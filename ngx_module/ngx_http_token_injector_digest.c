/*
 * Whose answer a request asks for: the step that reads a body, what the cache
 * does for this request, the digest.
 */

#include "ngx_http_token_injector.h"


static void ngx_http_token_injector_receive_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_token_injector_bypass(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_uint_t ngx_http_token_injector_partial(ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_answer_request(
    ngx_http_token_injector_ctx_t *ctx, ti_answer_request_t *request);
static ngx_int_t ngx_http_token_injector_answer_parts(
    ngx_http_token_injector_ctx_t *ctx, ti_answer_request_t *request);
static ngx_int_t ngx_http_token_injector_answer_value(ngx_http_request_t *r,
    ti_str_t name, ti_str_t *value);
static ngx_int_t ngx_http_token_injector_answer_body(
    ngx_http_token_injector_ctx_t *ctx, u_char *digest);
static ngx_int_t ngx_http_token_injector_answer_uri(ngx_http_request_t *r,
    ti_str_t *uri);


/* a POST's body is part of what an answer belongs to */

ngx_int_t
ngx_http_token_injector_receive(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (r->method != NGX_HTTP_POST || r != r->main || r->request_body
        || ngx_http_token_injector_bypass(ctx))
    {
        return NGX_OK;
    }

    r->request_body_no_buffering = 0;

    rc = ngx_http_read_client_request_body(r,
                                    ngx_http_token_injector_receive_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_token_injector_receive_handler(ngx_http_request_t *r)
{
    r->preserve_body = 1;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


/* neither looked up nor kept */

static ngx_uint_t
ngx_http_token_injector_bypass(ngx_http_token_injector_ctx_t *ctx)
{
    ti_str_t             value;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->conf->cache == 0 || !(r->method & ctx->conf->cache_methods)) {
        return 1;
    }

    for (h = ngx_http_token_injector_header(r, ti_str("cache-control"), NULL);
         h;
         h = ngx_http_token_injector_header(r, ti_str("cache-control"), h))
    {
        value = ngx_http_token_injector_str(&h->value);

        if (ti_header_lists(value, ti_str("no-cache"))
            || ti_header_lists(value, ti_str("no-store")))
        {
            return 1;
        }
    }

    return 0;
}


/* its response is not the whole of it */

static ngx_uint_t
ngx_http_token_injector_partial(ngx_http_request_t *r)
{
    return r->method == NGX_HTTP_HEAD
           || r->headers_in.range
           || r->headers_in.if_modified_since
           || r->headers_in.if_unmodified_since
           || r->headers_in.if_match
           || r->headers_in.if_none_match;
}


/*
 * Decides what the cache does for this request and computes the digest, which
 * needs to know who calls but not what Redis holds.
 */

ngx_int_t
ngx_http_token_injector_answer_plan(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                                body[TI_SHA256_LEN];
    ngx_int_t                             rc;
    ti_answer_request_t                   request;
    ngx_http_token_injector_main_conf_t  *mcf;

    if (ctx->conf->cache == 0) {
        return NGX_OK;
    }

    ctx->cache = NGX_HTTP_TOKEN_INJECTOR_CACHE_BYPASS;

    if (ngx_http_token_injector_bypass(ctx)) {
        return NGX_OK;
    }

    rc = ngx_http_token_injector_answer_body(ctx, body);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_OK : NGX_ERROR;
    }

    mcf = ngx_http_token_injector_main(ctx->request);

    if (ngx_http_token_injector_answer_request(ctx, &request) != NGX_OK) {
        return NGX_ERROR;
    }

    request.body = ti_str_from(body, TI_SHA256_LEN);

    if (ti_answer_digest(mcf->crypto, ctx->conf->provider->store->ring,
                         &request, ctx->digest)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    ctx->cache = NGX_HTTP_TOKEN_INJECTOR_CACHE_MISS;
    ctx->cacheable = 1;
    ctx->keepable = !ngx_http_token_injector_partial(ctx->request);

    return NGX_OK;
}


/* what an answer belongs to, but for the body */

static ngx_int_t
ngx_http_token_injector_answer_request(ngx_http_token_injector_ctx_t *ctx,
    ti_answer_request_t *request)
{
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    r = ctx->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    ngx_memzero(request, sizeof(ti_answer_request_t));

    request->who = ctx->head.who;
    request->provider = ngx_http_token_injector_str(
                                                &ctx->conf->provider->name);
    request->device = ctx->head.device;
    request->location = ngx_http_token_injector_str(&clcf->name);
    request->method = (r->method == NGX_HTTP_POST) ? ti_str("POST")
                                                   : ti_str("GET");
    request->scheme = ti_str("http");

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        request->scheme = ti_str("https");
    }
#endif

    request->host = ngx_http_token_injector_str(r->headers_in.server.len
                                                ? &r->headers_in.server
                                                : &cscf->server_name);

    if (ngx_http_token_injector_answer_uri(r, &request->uri) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_token_injector_answer_parts(ctx, request);
}


/* NGX_DECLINED: the body is not in memory, or not all of it */

static ngx_int_t
ngx_http_token_injector_answer_body(ngx_http_token_injector_ctx_t *ctx,
    u_char *digest)
{
    off_t                                 length;
    size_t                                n;
    ti_str_t                             *parts;
    ngx_chain_t                          *cl;
    ngx_http_request_t                   *r;
    ngx_http_token_injector_main_conf_t  *mcf;

    r = ctx->request;
    mcf = ngx_http_token_injector_main(r);

    n = 0;
    parts = NULL;

    if (r->method == NGX_HTTP_POST && r->request_body) {

        if (r->request_body->temp_file || r->reading_body) {
            return NGX_DECLINED;
        }

        for (cl = r->request_body->bufs; cl; cl = cl->next) {
            n++;
        }

        parts = ngx_palloc(r->pool, ngx_max(n, 1) * sizeof(ti_str_t));
        if (parts == NULL) {
            return NGX_ERROR;
        }

        n = 0;
        length = 0;

        for (cl = r->request_body->bufs; cl; cl = cl->next) {

            if (cl->buf->in_file) {
                return NGX_DECLINED;
            }

            length += ngx_buf_size(cl->buf);
            parts[n++] = ti_str_from(cl->buf->pos,
                                     cl->buf->last - cl->buf->pos);
        }

        if (r == r->main && r->headers_in.content_length_n > 0
            && r->headers_in.content_length_n != length)
        {
            /* passed on unbuffered before it came here */
            return NGX_DECLINED;
        }
    }

    return ti_crypto_sha256(mcf->crypto, parts, n, digest) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


/* the URI that nginx would pass on */

static ngx_int_t
ngx_http_token_injector_answer_uri(ngx_http_request_t *r, ti_str_t *uri)
{
    u_char  *p;

    if (r->valid_unparsed_uri) {
        *uri = ngx_http_token_injector_str(&r->unparsed_uri);
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, r->uri.len + 1 + r->args.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    uri->data = p;

    p = ngx_cpymem(p, r->uri.data, r->uri.len);

    if (r->args.len) {
        *p++ = '?';
        p = ngx_cpymem(p, r->args.data, r->args.len);
    }

    uri->len = p - uri->data;

    return NGX_OK;
}


/*
 * The values of token_cache_key, then name and value of each listed header and
 * of each that says who calls: another token of the same user may say other
 * things.
 */

static ngx_int_t
ngx_http_token_injector_answer_parts(ngx_http_token_injector_ctx_t *ctx,
    ti_answer_request_t *request)
{
    ti_str_t                                *part, *name;
    ngx_str_t                                value;
    ngx_uint_t                               i, nkeys, nvary, nclaims;
    ngx_http_request_t                      *r;
    ngx_http_complex_value_t                *cv;
    ngx_http_token_injector_claim_header_t  *header;

    if (ngx_http_token_injector_claim_values(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    r = ctx->request;
    nkeys = ctx->conf->cache_key ? ctx->conf->cache_key->nelts : 0;
    nvary = ctx->conf->cache_vary->nelts;
    nclaims = ctx->conf->claim_headers ? ctx->conf->claim_headers->nelts : 0;

    request->nparts = nkeys + 2 * nvary + 2 * nclaims;

    part = ngx_palloc(r->pool, request->nparts * sizeof(ti_str_t));
    if (part == NULL) {
        return NGX_ERROR;
    }

    request->parts = part;

    cv = nkeys ? ctx->conf->cache_key->elts : NULL;

    for (i = 0; i < nkeys; i++) {

        if (ngx_http_complex_value(r, &cv[i], &value) != NGX_OK) {
            return NGX_ERROR;
        }

        *part++ = ngx_http_token_injector_str(&value);
    }

    name = ctx->conf->cache_vary->elts;

    for (i = 0; i < nvary; i++) {

        *part++ = name[i];

        if (ngx_http_token_injector_answer_value(r, name[i], part++)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    header = nclaims ? ctx->conf->claim_headers->elts : NULL;

    for (i = 0; i < nclaims; i++) {
        *part++ = ngx_http_token_injector_str(&header[i].name);
        *part++ = ngx_http_token_injector_str(&ctx->claimed[i]);
    }

    return NGX_OK;
}


/* a header's value; several lines are one list (RFC 9110 section 5.3) */

static ngx_int_t
ngx_http_token_injector_answer_value(ngx_http_request_t *r, ti_str_t name,
    ti_str_t *value)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    *value = ti_null_str;

    for (h = ngx_http_token_injector_header(r, name, NULL);
         h;
         h = ngx_http_token_injector_header(r, name, h))
    {
        if (value->data == NULL) {
            *value = ngx_http_token_injector_str(&h->value);
            continue;
        }

        p = ngx_pnalloc(r->pool, value->len + 2 + h->value.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, value->data, value->len);
        ngx_memcpy(p + value->len, ", ", 2);
        ngx_memcpy(p + value->len + 2, h->value.data, h->value.len);

        value->data = p;
        value->len += 2 + h->value.len;
    }

    return NGX_OK;
}
