/*
 * Answers: where one is, whether it opens, how it is served.
 */

#include "ngx_http_token_injector.h"


static ngx_int_t ngx_http_token_injector_answer_adopt(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_answer_get(
    ngx_http_token_injector_ctx_t *ctx, time_t left, ngx_str_t *sealed);
static ngx_int_t ngx_http_token_injector_answer_open(
    ngx_http_token_injector_ctx_t *ctx, ngx_str_t *sealed, time_t stale);
static ngx_int_t ngx_http_token_injector_answer_headers(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_answer_header(
    ngx_http_request_t *r, ti_answer_header_t *header);
static ngx_int_t ngx_http_token_injector_answer_place(ngx_http_request_t *r,
    ngx_table_elt_t *h);


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


/* one whose time is not over, as far as the zone can tell */

ngx_uint_t
ngx_http_token_injector_answer_here(ngx_http_token_injector_ctx_t *ctx)
{
    return ngx_http_token_injector_answer_get(ctx, ctx->conf->cache_stale,
                                              NULL)
           == NGX_OK;
}


/*
 * NGX_OK: there is an answer, of this node or of Redis, that opens for this
 * caller's connection.
 */

ngx_int_t
ngx_http_token_injector_answer_known(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t  sealed;

    if (ngx_http_token_injector_answer_get(ctx, ctx->conf->cache_stale,
                                           &sealed)
        == NGX_OK
        && ngx_http_token_injector_answer_open(ctx, &sealed, 0) == NGX_OK)
    {
        return NGX_OK;
    }

    return ctx->kept.len ? ngx_http_token_injector_answer_adopt(ctx)
                         : NGX_DECLINED;
}


/* as known(), and one past its time will do */

ngx_int_t
ngx_http_token_injector_answer_stale(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t  sealed;

    if (!ctx->cacheable
        || ngx_http_token_injector_answer_get(ctx, 0, &sealed) != NGX_OK
        || ngx_http_token_injector_answer_open(ctx, &sealed,
                                               ctx->conf->cache_stale)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ctx->stale = 1;

    return NGX_OK;
}


/* another node's: this one holds it from now on, as sealed as it came */

static ngx_int_t
ngx_http_token_injector_answer_adopt(ngx_http_token_injector_ctx_t *ctx)
{
    time_t                                left;
    ngx_int_t                             rc;
    ngx_str_t                             kept, sealed;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);

    kept = ctx->kept;
    ngx_str_null(&ctx->kept);

    /* opening is in place */

    sealed.len = kept.len;
    sealed.data = ngx_palloc(ctx->request->pool, kept.len);

    if (sealed.data == NULL) {
        return ngx_http_token_injector_answer_open(ctx, &kept, 0);
    }

    ngx_memcpy(sealed.data, kept.data, kept.len);

    rc = ngx_http_token_injector_answer_open(ctx, &kept, 0);

    if (rc == NGX_OK) {
        left = (time_t) ctx->answer.expires - ngx_time();

        (void) ngx_http_token_injector_memory_put(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest,
                                 &sealed, left + ctx->conf->cache_stale);
    }

    ngx_pfree(ctx->request->pool, sealed.data);

    return rc;
}


/* of this node, where it has as many seconds left */

static ngx_int_t
ngx_http_token_injector_answer_get(ngx_http_token_injector_ctx_t *ctx,
    time_t left, ngx_str_t *sealed)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);

    return ngx_http_token_injector_memory_get_for(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest,
                                 (ngx_msec_t) left * 1000,
                                 ctx->request->pool, sealed);
}


static ngx_int_t
ngx_http_token_injector_answer_open(ngx_http_token_injector_ctx_t *ctx,
    ngx_str_t *sealed, time_t stale)
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
                            ctx->head.cid, ngx_time() - stale, sealed->data,
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

    p = ngx_pnalloc(r->pool, sizeof("token-injector; hit; ttl=; detail=held")
                             + NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "token-injector; hit; ttl=%T%s", ttl,
                            ctx->stale ? "; detail=held" : "")
                - p;

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

    return ngx_http_token_injector_answer_place(r, h);
}


static ngx_int_t
ngx_http_token_injector_answer_place(ngx_http_request_t *r,
    ngx_table_elt_t *h)
{
    ti_str_t  name;

    name = ngx_http_token_injector_str(&h->key);

    if (ti_str_caseeq(name, ti_str("Content-Encoding"))) {
        r->headers_out.content_encoding = h;

    } else if (ti_str_caseeq(name, ti_str("Last-Modified"))) {
        r->headers_out.last_modified = h;
        r->headers_out.last_modified_time = ngx_parse_http_time(h->value.data,
                                                                h->value.len);

    } else if (ti_str_caseeq(name, ti_str("ETag"))) {
        r->headers_out.etag = h;

    } else if (ti_str_caseeq(name, ti_str("Server"))) {
        r->headers_out.server = h;

    } else if (ti_str_caseeq(name, ti_str("Date"))) {
        r->headers_out.date = h;

    } else if (ti_str_caseeq(name, ti_str("Expires"))) {
        r->headers_out.expires = h;

    } else if (ti_str_caseeq(name, ti_str("Cache-Control"))) {
        return ngx_http_token_injector_link(r, &r->headers_out.cache_control,
                                            h);

    } else if (ti_str_caseeq(name, ti_str("Link"))) {
        return ngx_http_token_injector_link(r, &r->headers_out.link, h);
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
