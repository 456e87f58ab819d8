/*
 * Answers: whose a request's answer would be, where it is, how it is served.
 */

#include "ngx_http_token_injector.h"


static void ngx_http_token_injector_receive_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_token_injector_bypass(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_uint_t ngx_http_token_injector_partial(ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_answer_parts(
    ngx_http_token_injector_ctx_t *ctx, ti_answer_request_t *request);
static ngx_int_t ngx_http_token_injector_answer_value(ngx_http_request_t *r,
    ti_str_t name, ti_str_t *value);
static ngx_int_t ngx_http_token_injector_answer_body(
    ngx_http_token_injector_ctx_t *ctx, u_char *digest);
static ngx_int_t ngx_http_token_injector_answer_uri(ngx_http_request_t *r,
    ti_str_t *uri);
static ngx_int_t ngx_http_token_injector_answer_open(
    ngx_http_token_injector_ctx_t *ctx, ngx_str_t *sealed);
static ngx_int_t ngx_http_token_injector_answer_headers(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_answer_header(
    ngx_http_request_t *r, ti_answer_header_t *header);


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
    ngx_http_request_t                   *r;
    ti_answer_request_t                   request;
    ngx_http_core_loc_conf_t             *clcf;
    ngx_http_core_srv_conf_t             *cscf;
    ngx_http_token_injector_main_conf_t  *mcf;

    r = ctx->request;

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

    mcf = ngx_http_token_injector_main(r);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    ngx_memzero(&request, sizeof(ti_answer_request_t));

    request.who = ctx->head.who;
    request.provider = ngx_http_token_injector_str(
                                                &ctx->conf->provider->name);
    request.device = ctx->head.device;
    request.location = ngx_http_token_injector_str(&clcf->name);
    request.method = (r->method == NGX_HTTP_POST) ? ti_str("POST")
                                                  : ti_str("GET");
    request.scheme = ti_str("http");

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        request.scheme = ti_str("https");
    }
#endif

    request.host = ngx_http_token_injector_str(r->headers_in.server.len
                                               ? &r->headers_in.server
                                               : &cscf->server_name);
    request.body = ti_str_from(body, TI_SHA256_LEN);

    if (ngx_http_token_injector_answer_uri(r, &request.uri) != NGX_OK
        || ngx_http_token_injector_answer_parts(ctx, &request) != NGX_OK
        || ti_answer_digest(mcf->crypto, ctx->conf->provider->store->ring,
                            &request, ctx->digest)
           != TI_OK)
    {
        return NGX_ERROR;
    }

    ctx->cache = NGX_HTTP_TOKEN_INJECTOR_CACHE_MISS;
    ctx->cacheable = 1;
    ctx->keepable = !ngx_http_token_injector_partial(r);

    return NGX_OK;
}


/* NGX_DECLINED: the body is not in memory */

static ngx_int_t
ngx_http_token_injector_answer_body(ngx_http_token_injector_ctx_t *ctx,
    u_char *digest)
{
    size_t                                n;
    ti_str_t                              parts[4];
    ngx_chain_t                          *cl;
    ngx_http_request_t                   *r;
    ngx_http_token_injector_main_conf_t  *mcf;

    r = ctx->request;
    mcf = ngx_http_token_injector_main(r);

    n = 0;

    if (r->method == NGX_HTTP_POST && r->request_body) {

        if (r->request_body->temp_file) {
            return NGX_DECLINED;
        }

        for (cl = r->request_body->bufs; cl; cl = cl->next) {

            if (n == 4 || cl->buf->in_file) {
                return NGX_DECLINED;
            }

            parts[n++] = ti_str_from(cl->buf->pos,
                                     cl->buf->last - cl->buf->pos);
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


/* the values of token_cache_key, then name and value of each listed header */

static ngx_int_t
ngx_http_token_injector_answer_parts(ngx_http_token_injector_ctx_t *ctx,
    ti_answer_request_t *request)
{
    ti_str_t                  *part, *name;
    ngx_str_t                  value;
    ngx_uint_t                 i, nkeys, nvary;
    ngx_http_request_t        *r;
    ngx_http_complex_value_t  *cv;

    r = ctx->request;
    nkeys = ctx->conf->cache_key ? ctx->conf->cache_key->nelts : 0;
    nvary = ctx->conf->cache_vary->nelts;

    part = ngx_palloc(r->pool, (nkeys + 2 * nvary) * sizeof(ti_str_t));
    if (part == NULL) {
        return NGX_ERROR;
    }

    request->parts = part;
    request->nparts = nkeys + 2 * nvary;

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


ngx_int_t
ngx_http_token_injector_answer_name(ngx_http_token_injector_ctx_t *ctx,
    ngx_str_t *name)
{
    ti_str_t                          text;
    ti_pool_t                         pool;
    ngx_http_token_injector_store_t  *store;

    store = ctx->conf->provider->store;
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    if (ti_answer_name(&pool, ngx_http_token_injector_str(&store->key_prefix),
                       ctx->head.user, ctx->digest, &text)
        != TI_OK)
    {
        return NGX_ERROR;
    }

    name->data = (u_char *) text.data;
    name->len = text.len;

    return NGX_OK;
}


ngx_uint_t
ngx_http_token_injector_answer_here(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);

    return ngx_http_token_injector_memory_get(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest,
                                 NULL, NULL)
           == NGX_OK;
}


/*
 * NGX_OK: there is an answer, of this node or of Redis, that opens for this
 * caller's connection.
 */

ngx_int_t
ngx_http_token_injector_answer_known(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t                             sealed;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);

    if (ngx_http_token_injector_memory_get(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest,
                                 ctx->request->pool, &sealed)
        == NGX_OK
        && ngx_http_token_injector_answer_open(ctx, &sealed) == NGX_OK)
    {
        return NGX_OK;
    }

    if (ctx->kept.len == 0) {
        return NGX_DECLINED;
    }

    /* another node's: this one holds it from now on, as sealed as it came */

    sealed = ctx->kept;
    ngx_str_null(&ctx->kept);

    (void) ngx_http_token_injector_memory_put(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest,
                                 &sealed, ctx->conf->cache);

    if (ngx_http_token_injector_answer_open(ctx, &sealed) == NGX_OK) {
        return NGX_OK;
    }

    ngx_http_token_injector_memory_remove(mcf->memory,
                                NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_token_injector_answer_open(ngx_http_token_injector_ctx_t *ctx,
    ngx_str_t *sealed)
{
    u_char                                key[TI_KEY_LEN];
    ti_rc_t                               rc;
    ti_pool_t                             pool;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    pool = ngx_http_token_injector_pool(ctx->request->pool);

    rc = ti_answer_key(mcf->crypto, ctx->head.answer_base, ctx->digest, key);

    if (rc == TI_OK) {
        rc = ti_answer_open(mcf->crypto, &pool, key, ctx->digest,
                            ctx->head.cid, ngx_time(), sealed->data,
                            sealed->len, &ctx->answer);
    }

    ti_wipe(key, sizeof(key));

    if (rc != TI_OK) {
        return NGX_DECLINED;
    }

    ctx->cache = NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT;

    return NGX_OK;
}


/* the content handler of a hit */

ngx_int_t
ngx_http_token_injector_answer_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_buf_t                      *b;
    ngx_chain_t                     out;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = ctx->answer.body.len;

    /* ranges and conditions are for what GET would have said */

    r->allow_ranges = (r == r->main && r->method != NGX_HTTP_POST);
    r->disable_not_modified = (r->method == NGX_HTTP_POST);

    if (ngx_http_token_injector_answer_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = (u_char *) ctx->answer.body.data;
    b->last = b->pos + ctx->answer.body.len;
    b->start = b->pos;
    b->end = b->last;
    b->memory = (b->pos != b->last);
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;
    b->sync = (!b->memory && !b->last_buf);

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_token_injector_answer_headers(ngx_http_token_injector_ctx_t *ctx)
{
    size_t               i;
    u_char              *p;
    time_t               age, ttl;
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = ctx->request;

    for (i = 0; i < ctx->answer.nheaders; i++) {
        if (ngx_http_token_injector_answer_header(r, &ctx->answer.headers[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    age = ngx_max(ngx_time() - (time_t) ctx->answer.stored, 0);
    ttl = (time_t) ctx->answer.expires - ngx_time();

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%T", age) - p;

    if (ngx_http_token_injector_add_header(r, "Age", &value) == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, sizeof("token-injector; hit; ttl=")
                             + NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "token-injector; hit; ttl=%T", ttl) - p;

    return ngx_http_token_injector_add_header(r, "Cache-Status", &value)
           ? NGX_OK : NGX_ERROR;
}


/*
 * Back into the place where nginx and its filters look for it.  Names that
 * begin with a colon are ours: what nginx keeps apart from the list.
 */

static ngx_int_t
ngx_http_token_injector_answer_header(ngx_http_request_t *r,
    ti_answer_header_t *header)
{
    ngx_str_t         name, value;
    ngx_table_elt_t  *h;

    name.data = (u_char *) header->name.data;
    name.len = header->name.len;
    value.data = (u_char *) header->value.data;
    value.len = header->value.len;

    if (ti_str_eq(header->name, ti_str(":type"))) {
        r->headers_out.content_type = value;
        r->headers_out.content_type_len = value.len;
        r->headers_out.content_type_lowcase = NULL;
        return NGX_OK;
    }

    if (ti_str_eq(header->name, ti_str(":charset"))) {
        r->headers_out.charset = value;
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = name;
    h->value = value;

    if (ti_str_caseeq(header->name, ti_str("Content-Encoding"))) {
        r->headers_out.content_encoding = h;

    } else if (ti_str_caseeq(header->name, ti_str("Last-Modified"))) {
        r->headers_out.last_modified = h;
        r->headers_out.last_modified_time = ngx_parse_http_time(value.data,
                                                                value.len);

    } else if (ti_str_caseeq(header->name, ti_str("ETag"))) {
        r->headers_out.etag = h;

    } else if (ti_str_caseeq(header->name, ti_str("Server"))) {
        r->headers_out.server = h;

    } else if (ti_str_caseeq(header->name, ti_str("Date"))) {
        r->headers_out.date = h;

    } else if (ti_str_caseeq(header->name, ti_str("Expires"))) {
        r->headers_out.expires = h;
    }

    return NGX_OK;
}


ngx_table_elt_t *
ngx_http_token_injector_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return h;
}
