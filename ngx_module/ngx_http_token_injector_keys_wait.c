/*
 * Requests that wait for an issuer's keys: the first ones, or newer ones when
 * a token names a key that nobody has heard of.  Whoever fetches, this worker
 * or another, they look for what comes of it; their own time is bounded.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_KEYS_LOOK   25
#define NGX_HTTP_TOKEN_INJECTOR_KEYS_BATCH  64


static ngx_int_t ngx_http_token_injector_keys_outlook(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_keys_look(ngx_event_t *ev);


/*
 * NGX_OK: there are other keys than those that were tried.  NGX_AGAIN: the
 * request waits.  NGX_DECLINED: nothing is to be hoped for.
 */

ngx_int_t
ngx_http_token_injector_keys_await(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t                          rc;
    ngx_http_token_injector_worker_t  *worker;

    worker = &ngx_http_token_injector_worker;

    if (ctx->lacking->feeds.nelts == 0) {
        return NGX_DECLINED;
    }

    if (!ctx->hinted) {
        ctx->hinted = 1;
        ctx->lacks = ngx_current_msec + ctx->lacking->keys_wait;

        ngx_http_token_injector_keys_ask(ctx->lacking);
    }

    rc = ngx_http_token_injector_keys_outlook(ctx);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_queue_insert_tail(&worker->awaiting, &ctx->awaiting);
    ctx->awaits = 1;

    if (!worker->look.timer_set) {
        worker->look.handler = ngx_http_token_injector_keys_look;
        worker->look.data = &worker->dummy;
        worker->look.log = ngx_cycle->log;

        ngx_add_timer(&worker->look, NGX_HTTP_TOKEN_INJECTOR_KEYS_LOOK);
    }

    return NGX_AGAIN;
}


void
ngx_http_token_injector_keys_ask(ngx_http_token_injector_issuer_t *issuer)
{
    ngx_uint_t                        i;
    ngx_http_token_injector_feed_t  **feed;

    feed = issuer->feeds.elts;

    for (i = 0; i < issuer->feeds.nelts; i++) {
        ngx_http_token_injector_keys_fetch(
            &ngx_http_token_injector_worker.live[feed[i]->index],
            NGX_HTTP_TOKEN_INJECTOR_KEYS_HINT);
    }
}


static ngx_int_t
ngx_http_token_injector_keys_outlook(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_uint_t                        i, hope;
    ngx_http_token_injector_feed_t  **feed;

    if (!ngx_http_token_injector_keys_marked(ctx->lacking, ctx->tried)) {
        return NGX_OK;
    }

    hope = 0;
    feed = ctx->lacking->feeds.elts;

    for (i = 0; i < ctx->lacking->feeds.nelts; i++) {

        hope |= ngx_http_token_injector_keys_claimed(feed[i]);

        /* the first keys are waited for through failures */

        if (ctx->verdict == TI_RESULT_KEYS_UNAVAILABLE
            && !ngx_http_token_injector_keys_usable(feed[i]))
        {
            hope = 1;
        }
    }

    if (!hope || (ngx_msec_int_t) (ctx->lacks - ngx_current_msec) <= 0) {
        return NGX_DECLINED;
    }

    return NGX_AGAIN;
}


void
ngx_http_token_injector_keys_news(void)
{
    ngx_http_token_injector_worker_t  *worker;

    worker = &ngx_http_token_injector_worker;

    /* not from here: this may be deep inside a fetch */

    if (!ngx_queue_empty(&worker->awaiting) && !worker->look.posted) {
        ngx_post_event(&worker->look, &ngx_posted_events);
    }
}


/*
 * So many at a time: each judges its token anew, and others have requests
 * too.
 */

static void
ngx_http_token_injector_keys_look(ngx_event_t *ev)
{
    ngx_uint_t                         n;
    ngx_queue_t                       *q, *next, ready;
    ngx_http_token_injector_ctx_t     *ctx;
    ngx_http_token_injector_worker_t  *worker;

    worker = &ngx_http_token_injector_worker;

    n = 0;
    ngx_queue_init(&ready);

    for (q = ngx_queue_head(&worker->awaiting);
         q != ngx_queue_sentinel(&worker->awaiting)
         && n < NGX_HTTP_TOKEN_INJECTOR_KEYS_BATCH;
         q = next)
    {
        next = ngx_queue_next(q);
        ctx = ngx_queue_data(q, ngx_http_token_injector_ctx_t, awaiting);

        if (ngx_http_token_injector_keys_outlook(ctx) != NGX_AGAIN) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ready, q);
            n++;
        }
    }

    /* one that goes on may end another, which then leaves this queue */

    while (!ngx_queue_empty(&ready)) {
        q = ngx_queue_head(&ready);
        ctx = ngx_queue_data(q, ngx_http_token_injector_ctx_t, awaiting);

        ngx_http_token_injector_keys_leave(ctx);
        ngx_http_token_injector_resume(ctx);
    }

    if (!ngx_queue_empty(&worker->awaiting)) {

        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        ngx_add_timer(ev, n < NGX_HTTP_TOKEN_INJECTOR_KEYS_BATCH
                          ? NGX_HTTP_TOKEN_INJECTOR_KEYS_LOOK : 1);
    }
}


void
ngx_http_token_injector_keys_leave(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_event_t  *look;

    if (!ctx->awaits) {
        return;
    }

    ctx->awaits = 0;
    ngx_queue_remove(&ctx->awaiting);

    look = &ngx_http_token_injector_worker.look;

    /* it would keep a worker alive that has nothing to wait for */

    if (ngx_queue_empty(&ngx_http_token_injector_worker.awaiting)
        && look->timer_set)
    {
        ngx_del_timer(look);
    }
}
