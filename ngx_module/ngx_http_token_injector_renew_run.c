/*
 * What a renewal does: a claim among the workers, a lock among the nodes, a
 * look at what is in the store by now, and then a grant.
 */

#include "ngx_http_token_injector_renew.h"

#include "ngx_http_token_injector_journal.h"


#define NGX_HTTP_TOKEN_INJECTOR_RENEW_LOOK    25
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_RELOCK  50
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_BEFORE  100    /* who goes first */
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_SETTLED 5000   /* whatever others see */
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_ALONE   1000   /* no claim is longer */
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_OTHERS  10000  /* are waited for */


static void ngx_http_token_injector_renew_claim(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_watch(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_lock(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_retake(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_decide(
    ngx_http_token_injector_renew_t *renew);
static ngx_uint_t ngx_http_token_injector_renew_settled(
    ngx_http_token_injector_renew_t *renew);
static ngx_int_t ngx_http_token_injector_renew_slow(
    ngx_http_token_injector_renew_t *renew);
static void ngx_http_token_injector_renew_others(
    ngx_http_token_injector_renew_t *renew);


void
ngx_http_token_injector_renew_run(ngx_event_t *ev)
{
    ngx_http_token_injector_renew_t  *renew;

    renew = (ngx_http_token_injector_renew_t *)
                ((u_char *) ev - offsetof(ngx_http_token_injector_renew_t,
                                          event));

    switch (renew->state) {

    case NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIM:
        ngx_http_token_injector_renew_claim(renew);
        break;

    case NGX_HTTP_TOKEN_INJECTOR_RENEW_WATCH:
        ngx_http_token_injector_renew_watch(renew);
        break;

    case NGX_HTTP_TOKEN_INJECTOR_RENEW_LOCK:
        ngx_http_token_injector_renew_lock(renew);
        break;

    default:
        break;
    }
}


/*
 * It saves Redis the questions of the node's other workers, and no more: the
 * lock is what decides.
 */

static void
ngx_http_token_injector_renew_claim(ngx_http_token_injector_renew_t *renew)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    renew->patience = ngx_current_msec + NGX_HTTP_TOKEN_INJECTOR_RENEW_OTHERS;
    renew->claim = ngx_current_msec + NGX_HTTP_TOKEN_INJECTOR_RENEW_ALONE;

    if (ngx_http_token_injector_memory_claim(mcf->memory,
                                        NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIMED,
                                        renew->id,
                                        NGX_HTTP_TOKEN_INJECTOR_RENEW_ALONE)
        == NGX_OK)
    {
        renew->claimed = 1;

    } else if (ngx_queue_empty(&renew->waiting)) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_OK, NULL);
        return;

    } else {
        renew->state = NGX_HTTP_TOKEN_INJECTOR_RENEW_WATCH;
        ngx_add_timer(&renew->event, NGX_HTTP_TOKEN_INJECTOR_RENEW_LOOK);
        return;
    }

    ngx_http_token_injector_renew_lock(renew);
}


static void
ngx_http_token_injector_renew_watch(ngx_http_token_injector_renew_t *renew)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    if (ngx_queue_empty(&renew->waiting)
        || (ngx_msec_int_t) (renew->claim - ngx_current_msec) <= 0
        || ngx_http_token_injector_memory_get(mcf->memory,
                                     NGX_HTTP_TOKEN_INJECTOR_RENEW_CLAIMED,
                                     renew->id, NULL, NULL)
           != NGX_OK)
    {
        /* it is over, takes long, or died: who waits looks for itself */
        ngx_http_token_injector_renew_lock(renew);
        return;
    }

    ngx_add_timer(&renew->event, NGX_HTTP_TOKEN_INJECTOR_RENEW_LOOK);
}


/* the lock first: what is read with it in hand nobody replaces meanwhile */

static void
ngx_http_token_injector_renew_lock(ngx_http_token_injector_renew_t *renew)
{
    renew->state = NGX_HTTP_TOKEN_INJECTOR_RENEW_LOCK;

    /* what is written while we ask may be gone from there when we hear */
    renew->behind = (ngx_http_token_injector_journal_pending(
                                 renew->conf.provider->store, renew->name)
                     == NGX_OK);

    if (ngx_http_token_injector_renew_look(renew) != NGX_OK) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_STORE_UNAVAILABLE,
                              "the store is away or has too much to do");
    }
}


void
ngx_http_token_injector_renew_looked(ngx_http_token_injector_renew_t *renew)
{
    ti_flow_seen_t                     seen;
    ti_flow_stored_t                   found;
    ngx_http_token_injector_stored_t  *stored;

    if (renew->read != TI_RESULT_OK) {
        ngx_http_token_injector_renew_end(renew, renew->read, renew->why);
        return;
    }

    if (renew->locked && ngx_current_msec - renew->asked
                         >= (ngx_msec_t) renew->lock.lease / 3)
    {
        /* it took so long that the lock may be another's by now */
        ngx_http_token_injector_renew_retake(renew);
        return;
    }

    stored = &renew->stored;

    found.gen = stored->gen;
    found.cid = stored->cid;
    found.state = stored->state;
    found.exists = (stored->gen.len || stored->cid.len);
    found.refresh = (stored->refresh.len != 0);

    seen.gen = renew->conf.seen;
    seen.cid = renew->conf.cid;
    seen.anew = ngx_http_token_injector_renew_anew(renew->conf.provider);

    switch (ti_flow_renewal(&found, &seen, &renew->why)) {

    case TI_FLOW_RENEW:
        ngx_http_token_injector_renew_decide(renew);
        return;

    case TI_FLOW_ENDED:
        ngx_http_token_injector_renew_note(renew, TI_RESULT_RECONNECT_REQUIRED,
                                           ngx_time()
                                  + NGX_HTTP_TOKEN_INJECTOR_RENEW_MARKED);
        ngx_http_token_injector_renew_end(renew, TI_RESULT_RECONNECT_REQUIRED,
                                          renew->why);
        return;

    default: /* TI_FLOW_RENEWED */
        ngx_http_token_injector_renew_end(renew, TI_RESULT_OK, NULL);
    }
}


static void
ngx_http_token_injector_renew_retake(ngx_http_token_injector_renew_t *renew)
{
    if ((ngx_msec_int_t) (renew->patience - ngx_current_msec) <= 0) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_STORE_UNAVAILABLE,
                              "the store takes too long to answer");
        return;
    }

    ngx_http_token_injector_renew_lock(renew);
}


static void
ngx_http_token_injector_renew_decide(ngx_http_token_injector_renew_t *renew)
{
    ngx_http_token_injector_store_t  *store;

    store = renew->conf.provider->store;

    if (renew->barred) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_STORE_UNAVAILABLE,
                              "the store refuses the lock: look at its log, "
                              "its memory and the rights of its user");
        return;
    }

    if (renew->taken.held_until > ngx_time()) {
        ngx_http_token_injector_renew_note(renew, renew->taken.result,
                                           renew->taken.held_until);
        ngx_http_token_injector_renew_end(renew, renew->taken.result,
                              "the token endpoint failed a moment ago and is "
                              "not asked again yet");
        return;
    }

    if (!renew->locked) {
        ngx_http_token_injector_renew_others(renew);
        return;
    }

    /*
     * Tokens that were given and not written yet, here or by a node that
     * found the store away, go first: the one in the store may be spent.
     */

    if (renew->behind
        || ngx_http_token_injector_journal_pending(store, renew->name)
           == NGX_OK
        || !ngx_http_token_injector_renew_settled(renew))
    {
        if ((ngx_msec_int_t) (renew->patience - ngx_current_msec) <= 0) {
            ngx_http_token_injector_renew_end(renew,
                              TI_RESULT_STORE_UNAVAILABLE,
                              "tokens that were given before can't be "
                              "written yet");
            return;
        }

        ngx_add_timer(&renew->event, NGX_HTTP_TOKEN_INJECTOR_RENEW_BEFORE);
        return;
    }

    if (ngx_http_token_injector_renew_slow(renew) == NGX_OK) {
        ngx_http_token_injector_renew_ask(renew);
    }
}


/*
 * Where something fails all the time, but not this one's words with the store,
 * for longer than a return takes, it is there.
 */

static ngx_uint_t
ngx_http_token_injector_renew_settled(ngx_http_token_injector_renew_t *renew)
{
    ngx_http_token_injector_store_t  *store;

    store = renew->conf.provider->store;

    return ngx_http_token_injector_redis_settled(
                         ngx_http_token_injector_worker.stores[store->index])
           || (ngx_msec_int_t) (renew->patience - ngx_current_msec)
              <= NGX_HTTP_TOKEN_INJECTOR_RENEW_OTHERS
                 - NGX_HTTP_TOKEN_INJECTOR_RENEW_SETTLED;
}


/* "slow down" is for all that this node would ask of the provider */

static ngx_int_t
ngx_http_token_injector_renew_slow(ngx_http_token_injector_renew_t *renew)
{
    u_char                          id[TI_SHA256_LEN];
    ngx_http_token_injector_note_t  note;

    if (ngx_http_token_injector_renew_provider_id(renew, id) != NGX_OK) {
        return NGX_OK;
    }

    ngx_http_token_injector_note(id, &note);

    if (note.until <= ngx_time()) {
        return NGX_OK;
    }

    ngx_http_token_injector_renew_note(renew, note.result, note.until);
    ngx_http_token_injector_renew_end(renew, note.result,
                              "the token endpoint asked to slow down and is "
                              "not asked again yet");
    return NGX_DECLINED;
}


/* another node, or a worker that died, has the lock */

static void
ngx_http_token_injector_renew_others(ngx_http_token_injector_renew_t *renew)
{
    if (ngx_queue_empty(&renew->waiting)) {
        /* nobody asks again in this second */
        ngx_http_token_injector_renew_note(renew, TI_RESULT_OK,
                                           ngx_time() + 1);
        ngx_http_token_injector_renew_end(renew, TI_RESULT_OK, NULL);
        return;
    }

    if ((ngx_msec_int_t) (renew->patience - ngx_current_msec) <= 0) {
        ngx_http_token_injector_renew_end(renew,
                                        TI_RESULT_PROVIDER_UNAVAILABLE,
                                        "another node has the lock and brings "
                                        "no token");
        return;
    }

    ngx_add_timer(&renew->event, NGX_HTTP_TOKEN_INJECTOR_RENEW_RELOCK);
}


