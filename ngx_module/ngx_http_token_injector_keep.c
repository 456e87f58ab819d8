/*
 * The filters: say what the cache did, collect a response that may be kept,
 * keep it when all of it has passed.  The request waits for none of it.
 */

#include "ngx_http_token_injector.h"


static ngx_int_t ngx_http_token_injector_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_token_injector_keepable(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_status_header(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_collect(
    ngx_http_token_injector_ctx_t *ctx, ngx_chain_t *in);
static ngx_int_t ngx_http_token_injector_reserve(
    ngx_http_token_injector_ctx_t *ctx, size_t size);
static void ngx_http_token_injector_give_up(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_keep(ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_keep_seal(
    ngx_http_token_injector_ctx_t *ctx, ti_answer_t *answer,
    ngx_str_t *sealed);
static ngx_int_t ngx_http_token_injector_keep_headers(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_keep_header(ti_answer_t *answer,
    ti_str_t name, ngx_str_t *value);
static void ngx_http_token_injector_keep_share(
    ngx_http_token_injector_ctx_t *ctx, ngx_str_t *sealed);
static void ngx_http_token_injector_kept(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_token_injector_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_token_injector_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_token_injector_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_header_filter(ngx_http_request_t *r)
{
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (ctx->state->viewed) {
        /* a response that came while its request was being written */
        ngx_http_token_injector_view(r, &ctx->state->stripped);
    }

    if (ctx->refused) {
        if (ngx_http_token_injector_problem_header(ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_next_header_filter(r);
    }

    if (!ctx->finished) {
        return ngx_http_next_header_filter(r);
    }

    ctx->keep = (ngx_http_token_injector_keepable(ctx)
                 && ngx_http_token_injector_keep_headers(ctx) == NGX_OK);

    if (!ctx->keep) {
        ngx_http_token_injector_give_up(ctx);

    } else {
        r->filter_need_in_memory = 1;
    }

    if (ngx_http_token_injector_status_header(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/* a forecast: all of it must pass as well */

static ngx_uint_t
ngx_http_token_injector_keepable(ngx_http_token_injector_ctx_t *ctx)
{
    off_t                length;
    ngx_uint_t           i;
    ngx_array_t         *vary;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (!ctx->keepable
        || ctx->cache != NGX_HTTP_TOKEN_INJECTOR_CACHE_MISS
        || r->headers_out.status != NGX_HTTP_OK)
    {
        return 0;
    }

    length = r->headers_out.content_length_n;

    if (length > (off_t) ctx->conf->cache_max_size) {
        return 0;
    }

    if (length == -1
        && (r->upstream == NULL || !r->upstream->headers_in.chunked))
    {
        /* ends when the connection does, and so does a truncated one */
        return 0;
    }

    vary = ctx->conf->cache_vary;

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash
                && !ti_answer_header_keepable(
                                   ngx_http_token_injector_str(&h[i].key),
                                   ngx_http_token_injector_str(&h[i].value),
                                   vary->elts, vary->nelts))
            {
                return 0;
            }
        }
    }

    return 1;
}


/* Cache-Status, RFC 9211; a hit has its own */

static ngx_int_t
ngx_http_token_injector_status_header(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t  value;

    switch (ctx->cache) {

    case NGX_HTTP_TOKEN_INJECTOR_CACHE_BYPASS:
        ngx_str_set(&value, "token-injector; fwd=bypass");
        break;

    case NGX_HTTP_TOKEN_INJECTOR_CACHE_MISS:
        if (ctx->keep) {
            ngx_str_set(&value, "token-injector; fwd=miss; stored");

        } else {
            ngx_str_set(&value, "token-injector; fwd=miss");
        }

        break;

    default: /* NONE, HIT */
        return NGX_OK;
    }

    return ngx_http_token_injector_add_header(ctx->request, "Cache-Status",
                                              &value)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_token_injector_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t                       rc;
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx && ctx->problem && in) {
        if (ngx_http_token_injector_problem_body(ctx, &in) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_next_body_filter(r, in);
    }

    if (ctx == NULL || !ctx->keep || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    rc = ngx_http_token_injector_collect(ctx, in);

    if (rc == NGX_ERROR) {
        ngx_http_token_injector_give_up(ctx);

    } else if (rc == NGX_DONE) {
        ngx_http_token_injector_keep(ctx);
        ngx_http_token_injector_give_up(ctx);
    }

    return ngx_http_next_body_filter(r, in);
}


/* NGX_DONE: that was all of it */

static ngx_int_t
ngx_http_token_injector_collect(ngx_http_token_injector_ctx_t *ctx,
    ngx_chain_t *in)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {
        b = cl->buf;

        size = ngx_buf_in_memory(b) ? (size_t) (b->last - b->pos) : 0;

        if (b->in_file && size == 0 && b->file_last > b->file_pos) {
            return NGX_ERROR;
        }

        if (size) {
            if (ngx_http_token_injector_reserve(ctx, size) != NGX_OK) {
                return NGX_ERROR;
            }

            ctx->body->last = ngx_cpymem(ctx->body->last, b->pos, size);
        }

        if (b->last_buf || (ctx->request != ctx->request->main
                            && b->last_in_chain))
        {
            return NGX_DONE;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_reserve(ngx_http_token_injector_ctx_t *ctx,
    size_t size)
{
    size_t               used, room;
    ngx_buf_t           *b;
    ngx_http_request_t  *r;

    r = ctx->request;
    b = ctx->body;

    used = b ? b->last - b->pos : 0;

    if (used + size > ctx->conf->cache_max_size) {
        return NGX_ERROR;
    }

    if (b && (size_t) (b->end - b->last) >= size) {
        return NGX_OK;
    }

    room = (ctx->length >= (off_t) (used + size)) ? (size_t) ctx->length
                                                  : 2 * (used + size);

    ctx->body = ngx_create_temp_buf(r->pool, room);
    if (ctx->body == NULL) {
        return NGX_ERROR;
    }

    if (b) {
        ctx->body->last = ngx_cpymem(ctx->body->last, b->pos, used);
        ngx_pfree(r->pool, b->start);
    }

    return NGX_OK;
}


/* whatever became of it, nobody need wait any longer */

static void
ngx_http_token_injector_give_up(ngx_http_token_injector_ctx_t *ctx)
{
    ctx->unkept = !ctx->kept_now;
    ctx->keep = 0;

    ngx_http_token_injector_fetched(ctx);
}


static void
ngx_http_token_injector_keep(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t                             sealed;
    ti_answer_t                          *answer;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    answer = &ctx->answer;

    answer->stored = ngx_time();
    answer->expires = ngx_time() + ctx->conf->cache;

    if (ctx->body) {
        answer->body = ti_str_from(ctx->body->pos,
                                   ctx->body->last - ctx->body->pos);
    }

    if ((ctx->length != -1 && ctx->length != (off_t) answer->body.len)
        || ngx_http_token_injector_keep_seal(ctx, answer, &sealed) != NGX_OK)
    {
        return;
    }

    if (ngx_http_token_injector_memory_put(mcf->memory,
                                 NGX_HTTP_TOKEN_INJECTOR_ANSWER, ctx->digest,
                                 &sealed,
                                 ctx->conf->cache + ctx->conf->cache_stale)
        == NGX_OK)
    {
        ctx->kept_now = 1;
    }

    ngx_http_token_injector_keep_share(ctx, &sealed);

    ngx_pfree(ctx->request->pool, sealed.data);
}


static ngx_int_t
ngx_http_token_injector_keep_seal(ngx_http_token_injector_ctx_t *ctx,
    ti_answer_t *answer, ngx_str_t *sealed)
{
    u_char                                key[TI_KEY_LEN];
    ti_rc_t                               rc;
    ti_random_t                           random;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(ctx->request);
    random = ti_crypto_random();

    sealed->len = ti_answer_sealed_len(answer);

    if (sealed->len > ctx->conf->cache_max_size + TI_RECORD_MAX) {
        return NGX_DECLINED;
    }

    sealed->data = ngx_palloc(ctx->request->pool, sealed->len);

    if (sealed->data == NULL) {
        return NGX_ERROR;
    }

    rc = ti_answer_key(mcf->crypto, ctx->head.answer_base, ctx->digest, key);

    if (rc == TI_OK) {
        rc = ti_answer_seal(mcf->crypto, &random, key, ctx->digest,
                            ctx->head.cid, answer, sealed->data);
    }

    ti_wipe(key, sizeof(key));

    return rc == TI_OK ? NGX_OK : NGX_ERROR;
}


/*
 * As they are now: the filters behind this one add what a hit will be given
 * again (add_header), and describe a body that is not the one kept (gzip).
 */

static ngx_int_t
ngx_http_token_injector_keep_headers(ngx_http_token_injector_ctx_t *ctx)
{
    size_t               n;
    ngx_str_t            type;
    ngx_uint_t           i;
    ti_answer_t         *answer;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;
    answer = &ctx->answer;

    ngx_memzero(answer, sizeof(ti_answer_t));
    ctx->length = r->headers_out.content_length_n;

    n = 2;

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        n += part->nelts;
    }

    answer->headers = ngx_palloc(r->pool, n * sizeof(ti_answer_header_t));
    if (answer->headers == NULL) {
        return NGX_ERROR;
    }

    /* without the charset, which nginx leaves in it and will put back */

    type.data = r->headers_out.content_type.data;
    type.len = r->headers_out.content_type_len;

    ngx_http_token_injector_keep_header(answer, ti_str(":type"), &type);
    ngx_http_token_injector_keep_header(answer, ti_str(":charset"),
                                        &r->headers_out.charset);

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash) {
                ngx_http_token_injector_keep_header(answer,
                                   ngx_http_token_injector_str(&h[i].key),
                                   &h[i].value);
            }
        }
    }

    return NGX_OK;
}


/* all but what a hit says itself */

static void
ngx_http_token_injector_keep_header(ti_answer_t *answer, ti_str_t name,
    ngx_str_t *value)
{
    ti_answer_header_t  *header;

    if ((value->len == 0 && name.data[0] == ':')
        || ti_str_caseeq(name, ti_str("Content-Length"))
        || ti_str_caseeq(name, ti_str("Accept-Ranges"))
        || ti_str_caseeq(name, ti_str("Cache-Status"))
        || !ti_answer_header_end_to_end(name))
    {
        return;
    }

    header = &answer->headers[answer->nheaders++];

    header->name = name;
    header->value = ngx_http_token_injector_str(value);
}


/* for the other nodes; what becomes of it is nobody's business here */

static void
ngx_http_token_injector_keep_share(ngx_http_token_injector_ctx_t *ctx,
    ngx_str_t *sealed)
{
    u_char                               ttl[NGX_TIME_T_LEN];
    ngx_str_t                            argv[5];
    ngx_http_token_injector_redis_t     *redis;
    ngx_http_token_injector_store_t     *store;
    ngx_http_token_injector_redis_op_t  *op;

    store = ctx->conf->provider->store;
    redis = ngx_http_token_injector_worker.stores[store->index];

    if (!ngx_http_token_injector_redis_up(redis)) {
        /* nobody waits for it: not worth the memory of a queue */
        return;
    }

    ngx_str_set(&argv[0], "SET");

    if (ngx_http_token_injector_answer_name(ctx, &argv[1]) != NGX_OK) {
        return;
    }

    argv[2] = *sealed;
    ngx_str_set(&argv[3], "EX");
    argv[4].data = ttl;
    argv[4].len = ngx_sprintf(ttl, "%T", ctx->conf->cache) - ttl;

    op = ngx_http_token_injector_redis_begin(redis,
                                         ngx_http_token_injector_kept, store);

    if (op == NULL) {
        return;
    }

    if (ngx_http_token_injector_redis_add(op, argv, 5) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return;
    }

    (void) ngx_http_token_injector_redis_send(op);
}


static void
ngx_http_token_injector_kept(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_store_t  *store = data;

    static time_t  logged;

    if (rc != NGX_OK || reply->type != TI_RESP_ERROR || logged == ngx_time()) {
        return;
    }

    logged = ngx_time();

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "token_store \"%V\" does not take answers, each node has "
                  "only its own: look at Redis' maxmemory and the ACL of "
                  "\"user\"", &store->name);
}
