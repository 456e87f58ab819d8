/*
 * What the third party says to the token that was injected: 401, and "not
 * now".
 *
 * The upstream's functions are stood in for, so that the header of a response
 * is seen before nginx does anything with it: no header of it is a header of
 * the response, no filter has run, no error_page was looked for.  One that is
 * taken back is as if it had never come, but for the variables that list the
 * upstreams, where it is the first of two.
 */

#include "ngx_http_token_injector.h"

#include "ti_challenge.h"


#define NGX_HTTP_TOKEN_INJECTOR_PAUSE      (60 * 1000)
#define NGX_HTTP_TOKEN_INJECTOR_PAUSE_MAX  (60 * 60 * 1000)


/*
 * The last token of a connection that was refused.  Who was refused the same
 * one, or an older, only asks for what is there already or on its way.
 */

typedef struct {
    uint64_t                       gen;
    ngx_msec_t                     until;        /* no newer one before */
    ngx_msec_t                     pause;
    u_char                         cid[TI_RECORD_CID_LEN];
} ngx_http_token_injector_refused_t;


static ngx_int_t ngx_http_token_injector_process_header(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_reinit_request(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_unauthorized(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_uint_t ngx_http_token_injector_claims_asked(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_uint_t ngx_http_token_injector_may_renew(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_refused_name(
    ngx_http_token_injector_ctx_t *ctx, u_char *name);
static ngx_int_t ngx_http_token_injector_take_back(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_taken_back(ngx_http_request_t *r);


/* the upstream of a request with a token in it, which was begun just now */

void
ngx_http_token_injector_watch(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;

    if (ctx->bearer.len == 0 || u->process_header == NULL
        || u->reinit_request == NULL
        || u->process_header == ngx_http_token_injector_process_header)
    {
        return;
    }

    ctx->process_header = u->process_header;
    ctx->reinit_request = u->reinit_request;

    u->process_header = ngx_http_token_injector_process_header;
    u->reinit_request = ngx_http_token_injector_reinit_request;
}


/* the next server of the group is asked: its header is read from the start */

static ngx_int_t
ngx_http_token_injector_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_token_injector_ctx_t  *ctx;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    u->process_header = ctx->process_header;

    rc = ctx->reinit_request(r);

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_token_injector_process_header;

    return rc;
}


static ngx_int_t
ngx_http_token_injector_process_header(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_upstream_t            *u;
    ngx_http_token_injector_ctx_t  *ctx;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    u->process_header = ctx->process_header;

    rc = u->process_header(r);

    /* after the status line it is another function's */

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_token_injector_process_header;

    if (rc != NGX_OK || r->cached || u->peer.connection == NULL
        || u->cleanup == NULL)
    {
        return rc;
    }

    switch (u->headers_in.status_n) {

    case NGX_HTTP_UNAUTHORIZED:
        rc = ngx_http_token_injector_unauthorized(ctx);

        ngx_http_token_injector_count(ctx->conf->row,
                                   rc == NGX_DONE && !ctx->asks_claims
                                   ? NGX_HTTP_TOKEN_INJECTOR_N_REPEATED
                                   : NGX_HTTP_TOKEN_INJECTOR_N_REFUSED, 1);
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        rc = ngx_http_token_injector_hold(ctx);
        break;
    }

    return rc == NGX_DONE ? ngx_http_token_injector_take_back(ctx) : NGX_OK;
}


/* can what was sent be sent again, and nobody is about it still? */

ngx_uint_t
ngx_http_token_injector_repeatable(ngx_http_request_t *r)
{
    return !r->request_body_no_buffering && !r->reading_body && !r->aio;
}


/* NGX_DONE: the response is to be taken back */

static ngx_int_t
ngx_http_token_injector_unauthorized(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_log_t           *log;
    ngx_str_t           *name;
    ngx_http_request_t  *r;

    r = ctx->request;
    log = r->connection->log;
    name = &ctx->conf->provider->name;

    if (ngx_http_token_injector_claims_asked(ctx)) {
        ctx->asks_claims = 1;
        return r->aio ? NGX_OK : NGX_DONE;
    }

    if (ctx->retried || !ctx->conf->provider->talks
        || !ngx_http_token_injector_may_renew(ctx))
    {
        return NGX_OK;
    }

    if (!ngx_http_token_injector_repeatable(r)) {
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "token injector: 401 to the token of provider \"%V\", "
                      "which is replaced; the request can't be repeated",
                      name);

        ngx_http_token_injector_renew_ahead(ctx);

        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "token injector: 401 to the token of provider \"%V\", which "
                  "is replaced, and the request repeated", name);

    ctx->retried = 1;
    ctx->unwanted = ctx->head.gen;

    return NGX_DONE;
}


/*
 * No refresh brings what only the user can do (Microsoft's claims challenges,
 * of continuous access evaluation and of authentication contexts).
 */

static ngx_uint_t
ngx_http_token_injector_claims_asked(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_uint_t        i;
    ti_pool_t         pool;
    ti_challenge_t    challenge;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    pool = ngx_http_token_injector_pool(ctx->request->pool);

    for (part = &ctx->request->upstream->headers_in.headers.part;
         part;
         part = part->next)
    {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ti_str_caseeq(ngx_http_token_injector_str(&h[i].key),
                              ti_str("WWW-Authenticate"))
                && ti_challenge_bearer(&pool,
                                ngx_http_token_injector_str(&h[i].value),
                                &challenge)
                   == TI_OK
                && ti_str_eq(challenge.error, ti_str("insufficient_claims")))
            {
                ctx->claims_wanted = challenge.claims;
                return 1;
            }
        }
    }

    return 0;
}


/*
 * A connection's token is replaced because of a 401 once a minute at most, and
 * ever more seldom while that goes on: to some requests a third party says 401
 * whatever the token.
 */

static ngx_uint_t
ngx_http_token_injector_may_renew(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                              name[TI_SHA256_LEN];
    ngx_str_t                           value;
    ngx_shm_zone_t                     *memory;
    ngx_http_token_injector_refused_t   note;

    memory = ngx_http_token_injector_main(ctx->request)->memory;

    if (ctx->head.cid.len != TI_RECORD_CID_LEN
        || ngx_http_token_injector_refused_name(ctx, name) != NGX_OK)
    {
        return 0;
    }

    ngx_memzero(&note, sizeof(note));
    note.pause = NGX_HTTP_TOKEN_INJECTOR_PAUSE;

    if (ngx_http_token_injector_memory_get(memory,
                               NGX_HTTP_TOKEN_INJECTOR_RETRIED, name,
                               ctx->request->pool, &value)
        == NGX_OK)
    {
        ngx_memcpy(&note, value.data, sizeof(note));

        if (ctx->head.gen <= note.gen
            && ngx_memcmp(note.cid, ctx->head.cid.data, TI_RECORD_CID_LEN)
               == 0)
        {
            return 1;
        }

        if ((ngx_msec_int_t) (note.until - ngx_current_msec) > 0) {
            return 0;
        }

        note.pause = ngx_min(2 * note.pause,
                             NGX_HTTP_TOKEN_INJECTOR_PAUSE_MAX);
    }

    note.gen = ctx->head.gen;
    note.until = ngx_current_msec + note.pause;
    ngx_memcpy(note.cid, ctx->head.cid.data, TI_RECORD_CID_LEN);

    value.data = (u_char *) &note;
    value.len = sizeof(note);

    /* what has not happened again for as long is over */

    return ngx_http_token_injector_memory_put(memory,
                               NGX_HTTP_TOKEN_INJECTOR_RETRIED, name, &value,
                               (time_t) (2 * note.pause / 1000))
           == NGX_OK;
}


/* of what is noted about the connection */

static ngx_int_t
ngx_http_token_injector_refused_name(ngx_http_token_injector_ctx_t *ctx,
    u_char *name)
{
    ti_str_t                              fields[4];
    ngx_http_token_injector_provider_t   *provider;
    ngx_http_token_injector_main_conf_t  *mcf;

    provider = ctx->conf->provider;
    mcf = ngx_http_token_injector_main(ctx->request);

    fields[0] = ti_str_from(provider->store->id, TI_SHA256_LEN);
    fields[1] = ctx->head.user;
    fields[2] = ngx_http_token_injector_str(&provider->name);
    fields[3] = ctx->head.device;

    return ti_crypto_sha256_enc(mcf->crypto, fields, 4, name) == TI_OK
           ? NGX_OK : NGX_ERROR;
}


/*
 * Ends the upstream as ngx_http_upstream_create() does with one that another
 * takes the place of.  Then who called for its header is told that there was an
 * error, finds the upstream finalized, and finalizes the request with NGX_DONE:
 * so that both take a reference that is given here, and none that is the
 * request's.  It goes on when the event of its upstream is over.
 */

static ngx_int_t
ngx_http_token_injector_take_back(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    r->main->count += 2;

    (*r->upstream->cleanup)(r);

    r->write_event_handler = ngx_http_token_injector_taken_back;

    return NGX_ERROR;
}


static void
ngx_http_token_injector_taken_back(ngx_http_request_t *r)
{
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_http_token_injector_again(ctx);
}
