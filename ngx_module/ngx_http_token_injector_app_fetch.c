/*
 * An app-only token is fetched: a claim among the workers, a lock among the
 * nodes, a look at what is in the store by now, and then a grant.
 */

#include "ngx_http_token_injector_app.h"


#define NGX_HTTP_TOKEN_INJECTOR_APP_LOOK     25
#define NGX_HTTP_TOKEN_INJECTOR_APP_RELOCK   50
#define NGX_HTTP_TOKEN_INJECTOR_APP_OTHERS   10000   /* are waited for */
#define NGX_HTTP_TOKEN_INJECTOR_APP_STORING  16000   /* a grant's patience */
#define NGX_HTTP_TOKEN_INJECTOR_APP_NONE     30      /* there was none */


static void ngx_http_token_injector_app_next(ngx_event_t *ev);
static void ngx_http_token_injector_app_claim(
    ngx_http_token_injector_app_t *app);
static void ngx_http_token_injector_app_watch(
    ngx_http_token_injector_app_t *app);
static void ngx_http_token_injector_app_lock(
    ngx_http_token_injector_app_t *app);
static ngx_int_t ngx_http_token_injector_app_ask(
    ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_redis_op_t *op);
static ngx_msec_t ngx_http_token_injector_app_lease(
    ngx_http_token_injector_app_t *app);
static void ngx_http_token_injector_app_reply(void *data, ngx_int_t rc,
    ngx_uint_t n, const ti_resp_reply_t *reply, ngx_uint_t last);
static void ngx_http_token_injector_app_judge(
    ngx_http_token_injector_app_t *app, const ti_resp_reply_t *reply);
static ngx_int_t ngx_http_token_injector_app_wanted(
    ngx_http_token_injector_app_t *app);
static void ngx_http_token_injector_app_decide(
    ngx_http_token_injector_app_t *app);
static void ngx_http_token_injector_app_grant(
    ngx_http_token_injector_app_t *app);
static void ngx_http_token_injector_app_granted(void *data,
    const ngx_http_token_injector_granted_t *granted);
static void ngx_http_token_injector_app_unlock(
    ngx_http_token_injector_app_t *app);


/* ours already where the reply to the first try was lost */

static ngx_str_t  ngx_http_token_injector_app_take = ngx_string(
    "local owner = redis.call('GET', KEYS[1])\n"
    "if owner then return owner == ARGV[1] and 1 or 0 end\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
    "return 1\n");

static ngx_str_t  ngx_http_token_injector_app_release = ngx_string(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then\n"
    "return redis.call('DEL', KEYS[1]) end\n"
    "return 0\n");


void
ngx_http_token_injector_app_begin(ngx_http_token_injector_app_t *app)
{
    if (app->state == NGX_HTTP_TOKEN_INJECTOR_APP_IDLE && !app->event.posted) {
        app->event.handler = ngx_http_token_injector_app_next;
        ngx_post_event(&app->event, &ngx_posted_events);
    }
}


static void
ngx_http_token_injector_app_next(ngx_event_t *ev)
{
    ngx_http_token_injector_app_t  *app;

    app = (ngx_http_token_injector_app_t *)
              ((u_char *) ev - offsetof(ngx_http_token_injector_app_t, event));

    switch (app->state) {

    case NGX_HTTP_TOKEN_INJECTOR_APP_IDLE:
        ngx_http_token_injector_app_claim(app);
        break;

    case NGX_HTTP_TOKEN_INJECTOR_APP_WATCH:
        ngx_http_token_injector_app_watch(app);
        break;

    case NGX_HTTP_TOKEN_INJECTOR_APP_LOCK:
        ngx_http_token_injector_app_lock(app);
        break;

    default:
        break;
    }
}


static void
ngx_http_token_injector_app_claim(ngx_http_token_injector_app_t *app)
{
    ngx_msec_t                            lease;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    lease = ngx_http_token_injector_app_lease(app);
    app->patience = ngx_current_msec + NGX_HTTP_TOKEN_INJECTOR_APP_OTHERS;

    if (ngx_http_token_injector_memory_claim(mcf->memory,
                                        NGX_HTTP_TOKEN_INJECTOR_APP_CLAIM,
                                        app->provider->id, lease)
        != NGX_OK)
    {
        if (ngx_queue_empty(&app->waiting)) {
            app->renewing = 0;
            return;
        }

        app->state = NGX_HTTP_TOKEN_INJECTOR_APP_WATCH;
        ngx_add_timer(&app->event, NGX_HTTP_TOKEN_INJECTOR_APP_LOOK);
        return;
    }

    app->state = NGX_HTTP_TOKEN_INJECTOR_APP_LOCK;
    app->claimed = 1;
    app->lease = ngx_current_msec + lease;

    if (ngx_http_token_injector_app_names(app) != NGX_OK) {
        ngx_http_token_injector_app_end(app, TI_RESULT_INTERNAL_ERROR,
                                        "out of memory");
        return;
    }

    ngx_http_token_injector_app_lock(app);
}


/* another worker of this node is at it */

static void
ngx_http_token_injector_app_watch(ngx_http_token_injector_app_t *app)
{
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    if (ngx_http_token_injector_memory_get(mcf->memory,
                                     NGX_HTTP_TOKEN_INJECTOR_APP_CLAIM,
                                     app->provider->id, NULL, NULL)
        == NGX_OK
        && !ngx_queue_empty(&app->waiting))
    {
        /* who waits has a bound of its own */
        ngx_add_timer(&app->event, NGX_HTTP_TOKEN_INJECTOR_APP_LOOK);
        return;
    }

    ngx_http_token_injector_app_end(app, TI_RESULT_OK, NULL);
}


/* what a fetch may take, each of its questions being bounded */

static ngx_msec_t
ngx_http_token_injector_app_lease(ngx_http_token_injector_app_t *app)
{
    ngx_uint_t  n;

    /* the endpoints, and each secret */
    n = 1 + ngx_max(app->provider->nsecrets, 1);

    return n * app->provider->party.timeout
           + NGX_HTTP_TOKEN_INJECTOR_APP_OTHERS
           + NGX_HTTP_TOKEN_INJECTOR_APP_STORING;
}


/* the lock first: what is read with it in hand nobody replaces meanwhile */

static void
ngx_http_token_injector_app_lock(ngx_http_token_injector_app_t *app)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_redis_op_t  *op;

    op = NULL;
    rc = NGX_ERROR;

    if (app->provider->store->index < ngx_http_token_injector_worker.nstores) {
        op = ngx_http_token_injector_redis_begin(
               ngx_http_token_injector_worker.stores[
                                                app->provider->store->index],
               ngx_http_token_injector_app_reply, app);
    }

    if (op) {
        rc = ngx_http_token_injector_app_ask(app, op);

        if (rc == NGX_OK) {
            rc = ngx_http_token_injector_redis_send(op);

        } else {
            ngx_http_token_injector_redis_cancel(op);
        }
    }

    if (rc != NGX_OK) {
        ngx_http_token_injector_app_end(app, TI_RESULT_STORE_UNAVAILABLE,
                              "the store is away or has too much to do");
        return;
    }

    app->op = op;
}


static ngx_int_t
ngx_http_token_injector_app_ask(ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_redis_op_t *op)
{
    u_char     px[NGX_INT_T_LEN];
    ngx_str_t  argv[6];

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_token_injector_app_take;
    ngx_str_set(&argv[2], "1");
    argv[3].data = (u_char *) app->lock.data;
    argv[3].len = app->lock.len;
    argv[4].data = app->owner;
    argv[4].len = NGX_HTTP_TOKEN_INJECTOR_APP_OWNER;
    argv[5].data = px;
    argv[5].len = ngx_sprintf(px, "%M",
                              ngx_http_token_injector_app_lease(app)) - px;

    if (ngx_http_token_injector_redis_add(op, argv, 6) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HLEN");
    argv[1].data = (u_char *) app->name.data;
    argv[1].len = app->name.len;

    if (ngx_http_token_injector_redis_add(op, argv, 2) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "HMGET");
    ngx_str_set(&argv[2], "access");
    ngx_str_set(&argv[3], "gen");
    ngx_str_set(&argv[4], "cid");

    return ngx_http_token_injector_redis_add(op, argv, 5);
}


static void
ngx_http_token_injector_app_reply(void *data, ngx_int_t rc, ngx_uint_t n,
    const ti_resp_reply_t *reply, ngx_uint_t last)
{
    ngx_http_token_injector_app_t *app = data;

    if (rc == NGX_OK) {

        switch (n) {

        case 0:
            app->locked = (reply->type == TI_RESP_INTEGER
                           && reply->integer == 1);
            app->barred = (reply->type == TI_RESP_ERROR);
            break;

        case 1:
            /* a number, or an error that the next reply will repeat */
            app->hlen = *reply;
            app->hlen.str = ti_null_str;
            break;

        default:
            ngx_http_token_injector_app_judge(app, reply);
        }
    }

    if (!last) {
        return;
    }

    app->op = NULL;

    if (rc != NGX_OK) {
        /* and may have taken it nevertheless */
        app->locked = 1;
        app->read = TI_RESULT_STORE_UNAVAILABLE;
        app->why = "the store did not answer";
    }

    ngx_http_token_injector_app_decide(app);
}


/* it has no user key: a worker can open it */

static void
ngx_http_token_injector_app_judge(ngx_http_token_injector_app_t *app,
    const ti_resp_reply_t *reply)
{
    ti_pool_t                             pool;
    ngx_pool_t                           *memory;
    ti_record_t                           record;
    ti_record_ref_t                       ref;
    ti_flow_connection_t                  connection;
    ngx_http_token_injector_main_conf_t  *mcf;

    app->expires = 0;

    app->read = ti_flow_connection(reply, &app->hlen, &connection, &app->why);

    if (app->read != TI_RESULT_OK) {
        return;
    }

    mcf = ngx_http_token_injector_worker.conf;

    /* not the fetch's own: this may be read many times */

    memory = ngx_create_pool(4096, ngx_cycle->log);
    if (memory == NULL) {
        app->read = TI_RESULT_INTERNAL_ERROR;
        app->why = "out of memory";
        return;
    }

    pool = ngx_http_token_injector_pool(memory);

    ngx_memzero(&ref, sizeof(ti_record_ref_t));

    ref.kind = TI_RECORD_ACCESS;
    ref.provider = ngx_http_token_injector_str(&app->provider->name);
    ref.device = ti_str("-");
    ref.gen = connection.gen;
    ref.cid = connection.cid;

    app->read = ti_record_open(mcf->crypto, &pool, app->provider->store->ring,
                               &ref, connection.access, &record, &app->why);

    if (app->read == TI_RESULT_OK) {
        ti_wipe((void *) record.token.data, record.token.len);

        app->expires = record.expires;
        app->read = ti_flow_record(&record, ngx_time(), &app->why);
    }

    ngx_destroy_pool(memory);
}


/* is another to be fetched?  NGX_ERROR: nobody can say */

static ngx_int_t
ngx_http_token_injector_app_wanted(ngx_http_token_injector_app_t *app)
{
    ngx_uint_t                       due, awaited;
    ngx_http_token_injector_note_t   note;

    awaited = !ngx_queue_empty(&app->waiting);

    ngx_http_token_injector_app_note(app, &note);

    /* the one that was known here, and nobody has replaced it */

    due = (app->expires && app->expires == note.expires
           && note.due <= ngx_time());

    switch (app->read) {

    case TI_RESULT_OK:
        if (due && !awaited) {
            return NGX_OK;
        }

        if (app->expires != note.expires) {
            ngx_http_token_injector_app_good(app, app->expires);
        }

        return NGX_DECLINED;

    case TI_RESULT_CONNECTION_REQUIRED:
    case TI_RESULT_RECONNECT_REQUIRED:
        if (due || awaited) {
            return NGX_OK;
        }

        note.expires = 0;
        note.due = ngx_time() + NGX_HTTP_TOKEN_INJECTOR_APP_NONE;

        ngx_http_token_injector_app_keep(app, &note);

        return NGX_DECLINED;

    default:
        return NGX_ERROR;
    }
}


static void
ngx_http_token_injector_app_decide(ngx_http_token_injector_app_t *app)
{
    switch (ngx_http_token_injector_app_wanted(app)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_http_token_injector_app_end(app, TI_RESULT_OK, NULL);
        return;

    default:
        ngx_http_token_injector_app_end(app, app->read, app->why);
        return;
    }

    if (app->locked) {
        ngx_http_token_injector_app_grant(app);
        return;
    }

    if (app->barred) {
        ngx_http_token_injector_app_end(app, TI_RESULT_STORE_UNAVAILABLE,
                              "the store refuses the lock: look at its log "
                              "and the rights of its user");
        return;
    }

    /* another node is at it */

    if (ngx_queue_empty(&app->waiting)
        || (ngx_msec_int_t) (app->patience - ngx_current_msec) <= 0)
    {
        ngx_http_token_injector_app_end(app, TI_RESULT_PROVIDER_UNAVAILABLE,
                                        "another node has the lock and brings "
                                        "no token");
        return;
    }

    ngx_add_timer(&app->event, NGX_HTTP_TOKEN_INJECTOR_APP_RELOCK);
}


static void
ngx_http_token_injector_app_grant(ngx_http_token_injector_app_t *app)
{
    ngx_http_token_injector_grant_t       *grant;
    ngx_http_token_injector_grant_conf_t   conf;

    ngx_memzero(&conf, sizeof(ngx_http_token_injector_grant_conf_t));

    conf.provider = app->provider;
    conf.user = app->user;
    conf.device = ti_str("-");
    conf.grant = TI_OAUTH_CLIENT_CREDENTIALS;
    conf.scope = ngx_http_token_injector_str(&app->provider->scope);

    app->state = NGX_HTTP_TOKEN_INJECTOR_APP_FETCH;

    if (ngx_http_token_injector_grant_start(&conf,
                                        ngx_http_token_injector_app_granted,
                                        app, &grant)
        != NGX_OK)
    {
        ngx_http_token_injector_app_end(app, TI_RESULT_INTERNAL_ERROR,
                                        "out of memory");
    }
}


static void
ngx_http_token_injector_app_granted(void *data,
    const ngx_http_token_injector_granted_t *granted)
{
    ngx_http_token_injector_app_t *app = data;

    if (granted->result == TI_RESULT_OK) {
        ngx_http_token_injector_app_good(app, granted->connection.expires_at);
        ngx_http_token_injector_app_end(app, TI_RESULT_OK, NULL);
        return;
    }

    ngx_http_token_injector_app_bad(app, granted);
    ngx_http_token_injector_app_end(app, granted->result,
                                    "the token endpoint brought no token: the "
                                    "line before says why");
}


void
ngx_http_token_injector_app_end(ngx_http_token_injector_app_t *app,
    ti_result_t result, const char *why)
{
    ngx_http_token_injector_note_t        note;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    if (app->locked) {
        ngx_http_token_injector_app_unlock(app);
    }

    /* past its time the claim is another's */

    if (app->claimed
        && (ngx_msec_int_t) (app->lease - ngx_current_msec) > 0)
    {
        ngx_http_token_injector_memory_remove(mcf->memory,
                                         NGX_HTTP_TOKEN_INJECTOR_APP_CLAIM,
                                         app->provider->id);
    }

    if (app->pool) {
        ngx_destroy_pool(app->pool);
        app->pool = NULL;
    }

    app->state = NGX_HTTP_TOKEN_INJECTOR_APP_IDLE;
    app->claimed = 0;
    app->renewing = 0;

    ngx_http_token_injector_app_note(app, &note);

    ngx_http_token_injector_app_tell(&app->waiting, result, why,
                                     ngx_max(note.until - ngx_time(), 0));
}


/* nobody waits for it; where it is lost, its time ends it */

static void
ngx_http_token_injector_app_unlock(ngx_http_token_injector_app_t *app)
{
    ngx_str_t                            argv[5];
    ngx_http_token_injector_redis_op_t  *op;

    app->locked = 0;

    op = ngx_http_token_injector_redis_begin(
             ngx_http_token_injector_worker.stores[
                                              app->provider->store->index],
             NULL, NULL);
    if (op == NULL) {
        return;
    }

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_token_injector_app_release;
    ngx_str_set(&argv[2], "1");
    argv[3].data = (u_char *) app->lock.data;
    argv[3].len = app->lock.len;
    argv[4].data = app->owner;
    argv[4].len = NGX_HTTP_TOKEN_INJECTOR_APP_OWNER;

    if (ngx_http_token_injector_redis_add(op, argv, 5) != NGX_OK) {
        ngx_http_token_injector_redis_cancel(op);
        return;
    }

    (void) ngx_http_token_injector_redis_send(op);
}
