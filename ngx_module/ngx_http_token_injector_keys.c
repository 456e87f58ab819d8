/*
 * Issuers' keys as a worker has them: parsed once for each generation, asked
 * for again in time, gone when they are too old.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_KEYS_PAUSE_MIN  1
#define NGX_HTTP_TOKEN_INJECTOR_KEYS_PAUSE_MAX  60


/* far above any generation: no two marks of an issuer are the same */

#define NGX_HTTP_TOKEN_INJECTOR_KEYS_PRIME  1099511628211ULL


static void ngx_http_token_injector_keys_refresh(ngx_event_t *ev);


ngx_int_t
ngx_http_token_injector_keys_init_process(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                         i;
    ngx_http_token_injector_feed_t   **feed;
    ngx_http_token_injector_live_t    *live;
    ngx_http_token_injector_worker_t  *worker;

    worker = &ngx_http_token_injector_worker;

    ngx_queue_init(&worker->awaiting);

    /* a cache manager or loader may be busy for minutes, and just exits */

    if (mcf->feeds.nelts == 0 || ngx_process == NGX_PROCESS_HELPER) {
        return NGX_OK;
    }

    live = ngx_pcalloc(cycle->pool, mcf->feeds.nelts
                                    * sizeof(ngx_http_token_injector_live_t));
    if (live == NULL) {
        return NGX_ERROR;
    }

    feed = mcf->feeds.elts;

    for (i = 0; i < mcf->feeds.nelts; i++) {
        live[i].feed = feed[i];
        ngx_http_token_injector_keys_load(&live[i]);
    }

    worker->live = live;
    worker->nlive = mcf->feeds.nelts;

    worker->refresh.handler = ngx_http_token_injector_keys_refresh;
    worker->refresh.data = &worker->dummy;
    worker->refresh.log = cycle->log;
    worker->refresh.cancelable = 1;

    ngx_add_timer(&worker->refresh, 1);

    return NGX_OK;
}


void
ngx_http_token_injector_keys_exit_process(void)
{
    ngx_uint_t                         i;
    ngx_http_token_injector_worker_t  *worker;

    worker = &ngx_http_token_injector_worker;

    ngx_http_token_injector_fetch_exit();

    for (i = 0; i < worker->nlive; i++) {
        ngx_http_token_injector_keys_adopt(&worker->live[i], NULL, 0);

        if (worker->live[i].pool) {
            ngx_destroy_pool(worker->live[i].pool);
        }
    }

    worker->nlive = 0;
}


/* time to ask?  Whoever claims it first asks for all workers. */

static void
ngx_http_token_injector_keys_refresh(ngx_event_t *ev)
{
    int64_t                            pause, left;
    ngx_uint_t                         i;
    ngx_http_token_injector_feed_t    *feed;
    ngx_http_token_injector_live_t    *live;
    ngx_http_token_injector_worker_t  *worker;

    if (ngx_exiting) {
        return;
    }

    worker = &ngx_http_token_injector_worker;
    pause = NGX_HTTP_TOKEN_INJECTOR_KEYS_PAUSE_MAX;

    for (i = 0; i < worker->nlive; i++) {
        live = &worker->live[i];
        feed = live->feed;

        if (!feed->used) {
            continue;
        }

        ngx_http_token_injector_keys_load(live);

        if (ti_refresh_due(&feed->refresh, &feed->shared->refresh,
                           ngx_time()))
        {
            ngx_http_token_injector_keys_fetch(live,
                                           NGX_HTTP_TOKEN_INJECTOR_KEYS_DUE);
        }

        left = feed->shared->refresh.due - ngx_time();
        pause = ngx_min(pause, left);
    }

    pause = ngx_max(pause, NGX_HTTP_TOKEN_INJECTOR_KEYS_PAUSE_MIN);

    ngx_add_timer(ev, (ngx_msec_t) pause * 1000);
}


/* each block's own word on a set that several may share */

time_t
ngx_http_token_injector_keys_until(ngx_http_token_injector_feed_t *feed)
{
    ti_refresh_t  state;

    ngx_memzero(&state, sizeof(ti_refresh_t));

    state.fetched = (int64_t) feed->shared->fetched;

    return (time_t) ti_refresh_usable(&feed->refresh, &state);
}


ngx_uint_t
ngx_http_token_injector_keys_usable(ngx_http_token_injector_feed_t *feed)
{
    return ngx_time() < ngx_http_token_injector_keys_until(feed);
}


/* before a token is judged: what other workers have fetched, what is too old */

void
ngx_http_token_injector_keys_sync(ngx_http_token_injector_issuer_t *issuer)
{
    ngx_uint_t                        i;
    ngx_http_token_injector_feed_t  **feed;

    feed = issuer->feeds.elts;

    for (i = 0; i < issuer->feeds.nelts; i++) {
        ngx_http_token_injector_keys_load(
            &ngx_http_token_injector_worker.live[feed[i]->index]);
    }
}


void
ngx_http_token_injector_keys_load(ngx_http_token_injector_live_t *live)
{
    unsigned                         algorithms;
    ngx_str_t                        text;
    ngx_uint_t                       generation;
    ti_jwks_t                       *set;
    const char                      *why;
    ngx_http_token_injector_feed_t  *feed;

    feed = live->feed;

    if (!ngx_http_token_injector_keys_usable(feed)) {
        ngx_http_token_injector_keys_adopt(live, NULL, 0);
        return;
    }

    generation = feed->shared->generation;

    if (live->generation == generation) {
        return;
    }

    /* tried once, whatever comes of it: without a set nobody is let in */

    set = NULL;

    if (ngx_http_token_injector_keys_get(feed, &text, &algorithms,
                                         &generation)
        == NGX_OK)
    {
        if (ti_jwks_parse(feed->crypto, ngx_http_token_injector_str(&text),
                          algorithms, NULL, &set, &why)
            != TI_OK)
        {
            /* it was parsed before it came here */
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "token injector: the keys of issuer \"%V\" can't "
                          "be read from shared memory: %s", &feed->name, why);
            set = NULL;
        }

        ngx_free(text.data);
    }

    ngx_http_token_injector_keys_adopt(live, set, generation);
}


void
ngx_http_token_injector_keys_adopt(ngx_http_token_injector_live_t *live,
    ti_jwks_t *set, ngx_uint_t generation)
{
    ti_jwks_free(live->set);

    live->set = set;
    live->generation = generation;
    *live->feed->place = set;
}


/*
 * With which keys a token was verified here.  An issuer whose keys are not
 * fetched has none that change: 0.
 */

uint64_t
ngx_http_token_injector_keys_mark(ngx_http_token_injector_issuer_t *issuer)
{
    uint64_t                          mark;
    ngx_uint_t                        i;
    ngx_http_token_injector_feed_t  **feed;

    mark = 0;
    feed = issuer->feeds.elts;

    for (i = 0; i < issuer->feeds.nelts; i++) {
        mark = mark * NGX_HTTP_TOKEN_INJECTOR_KEYS_PRIME
               + ngx_http_token_injector_worker.live[feed[i]->index]
                     .generation;
    }

    return mark;
}


/* are these the issuer's keys still? */

ngx_uint_t
ngx_http_token_injector_keys_marked(ngx_http_token_injector_issuer_t *issuer,
    uint64_t mark)
{
    uint64_t                          now;
    ngx_uint_t                        i;
    ngx_http_token_injector_feed_t  **feed;

    now = 0;
    feed = issuer->feeds.elts;

    for (i = 0; i < issuer->feeds.nelts; i++) {
        now *= NGX_HTTP_TOKEN_INJECTOR_KEYS_PRIME;

        if (ngx_http_token_injector_keys_usable(feed[i])) {
            now += feed[i]->shared->generation;
        }
    }

    return now == mark;
}
