/*
 * The step that lets many wait for one upstream call.
 *
 * The first who asks for an answer that nobody has goes and fetches it; the
 * others wait until it is kept, or is known not to be kept, or for as long as
 * they have patience; then each goes on its own.  Who fetches and goes away
 * without an answer leaves the place to the next.
 *
 * Waiters of the same worker are woken, those of others look.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_PATIENCE  5000
#define NGX_HTTP_TOKEN_INJECTOR_LOOK      25
#define NGX_HTTP_TOKEN_INJECTOR_UNKEPT_TIME  1


static ngx_int_t ngx_http_token_injector_join_fetch(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_wait(
    ngx_http_token_injector_ctx_t *ctx);
static void ngx_http_token_injector_wait_handler(ngx_event_t *ev);


ngx_int_t
ngx_http_token_injector_join(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
        return NGX_OK;
    }

    rc = ngx_http_token_injector_held(ctx);

    if (rc != NGX_OK || !ctx->keepable
        || ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT)
    {
        return rc;
    }

    if (ctx->fetching) {
        /* its first answer was taken back */

        if ((ngx_msec_int_t) (ctx->patience - ngx_current_msec) > 0) {
            return NGX_OK;
        }

        ctx->fetching = 0;
    }

    if (ctx->joined
        && (ngx_http_token_injector_answer_known(ctx) == NGX_OK
            || (ngx_msec_int_t) (ctx->patience - ngx_current_msec) <= 0))
    {
        return NGX_OK;
    }

    return ngx_http_token_injector_join_fetch(ctx);
}


/* goes and fetches it, where nobody does; waits, where that is of use */

static ngx_int_t
ngx_http_token_injector_join_fetch(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_shm_zone_t  *memory;

    memory = ngx_http_token_injector_main(ctx->request)->memory;

    if (ngx_http_token_injector_memory_get(memory,
                               NGX_HTTP_TOKEN_INJECTOR_UNKEPT, ctx->digest,
                               NULL, NULL)
        == NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_http_token_injector_memory_claim(memory,
                               NGX_HTTP_TOKEN_INJECTOR_FETCHING, ctx->digest,
                               NGX_HTTP_TOKEN_INJECTOR_PATIENCE)
        != NGX_OK)
    {
        return ngx_http_token_injector_wait(ctx);
    }

    ctx->fetching = 1;
    ctx->patience = ngx_current_msec + NGX_HTTP_TOKEN_INJECTOR_PATIENCE;

    /* the one before may have ended between the last look and the claim */

    if (ngx_http_token_injector_answer_here(ctx)
        && ngx_http_token_injector_answer_known(ctx) == NGX_OK)
    {
        ngx_http_token_injector_fetched(ctx);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_wait(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_event_t  *ev;

    if (!ctx->joined) {
        ctx->joined = 1;
        ctx->patience = ngx_current_msec + NGX_HTTP_TOKEN_INJECTOR_PATIENCE;
    }

    ev = &ctx->wait;

    ev->handler = ngx_http_token_injector_wait_handler;
    ev->log = ctx->request->connection->log;

    /* nginx with debugging reads a descriptor there */
    ev->data = ctx->request->connection;

    ngx_add_timer(ev, NGX_HTTP_TOKEN_INJECTOR_LOOK);

    ngx_queue_insert_tail(&ngx_http_token_injector_worker.waiting,
                          &ctx->waiting);
    ctx->waits = 1;

    return NGX_AGAIN;
}


static void
ngx_http_token_injector_wait_handler(ngx_event_t *ev)
{
    ngx_http_token_injector_ctx_t  *ctx;

    ctx = (ngx_http_token_injector_ctx_t *)
              ((u_char *) ev - offsetof(ngx_http_token_injector_ctx_t, wait));

    ngx_http_token_injector_leave(ctx);
    ngx_http_token_injector_resume(ctx);
}


/* out of the queue, or out of the way of those who are in it */

void
ngx_http_token_injector_leave(ngx_http_token_injector_ctx_t *ctx)
{
    if (ctx->waits) {
        ctx->waits = 0;
        ngx_queue_remove(&ctx->waiting);

        if (ctx->wait.timer_set) {
            ngx_del_timer(&ctx->wait);
        }

        if (ctx->wait.posted) {
            ngx_delete_posted_event(&ctx->wait);
        }
    }

    ngx_http_token_injector_fetched(ctx);
}


/* redirected: who waits for what this request went to fetch waits in vain */

void
ngx_http_token_injector_redirected(ngx_http_request_t *r,
    ngx_http_token_injector_state_t *state)
{
    ngx_http_token_injector_ctx_t  *ctx;

    for (ctx = state->contexts; ctx; ctx = ctx->next) {

        if (ctx->request == r && ctx->fetching) {
            ctx->unkept = 1;
            ngx_http_token_injector_fetched(ctx);
        }
    }
}


void
ngx_http_token_injector_fetched(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t                       nothing;
    ngx_queue_t                    *q;
    ngx_shm_zone_t                 *memory;
    ngx_http_token_injector_ctx_t  *waiter;

    if (!ctx->fetching) {
        return;
    }

    ctx->fetching = 0;

    memory = ngx_http_token_injector_main(ctx->request)->memory;

    if (ctx->unkept) {
        ngx_str_set(&nothing, "");

        (void) ngx_http_token_injector_memory_put(memory,
                               NGX_HTTP_TOKEN_INJECTOR_UNKEPT, ctx->digest,
                               &nothing, NGX_HTTP_TOKEN_INJECTOR_UNKEPT_TIME);
    }

    /* past its time the claim is another's */

    if ((ngx_msec_int_t) (ctx->patience - ngx_current_msec) > 0) {
        ngx_http_token_injector_memory_remove(memory,
                              NGX_HTTP_TOKEN_INJECTOR_FETCHING, ctx->digest);
    }

    for (q = ngx_queue_head(&ngx_http_token_injector_worker.waiting);
         q != ngx_queue_sentinel(&ngx_http_token_injector_worker.waiting);
         q = ngx_queue_next(q))
    {
        waiter = ngx_queue_data(q, ngx_http_token_injector_ctx_t, waiting);

        if (ngx_memcmp(waiter->digest, ctx->digest, TI_SHA256_LEN) == 0
            && !waiter->wait.posted)
        {
            ngx_post_event(&waiter->wait, &ngx_posted_events);
        }
    }
}
