/*
 * The steps of a request, who drives them, how one waits.
 */

#include "ngx_http_token_injector.h"


typedef struct {
    ngx_str_t                      name;
    ngx_int_t                    (*handler)(
                                       ngx_http_token_injector_ctx_t *ctx);
} ngx_http_token_injector_step_t;


/*
 * A step returns NGX_OK to go on, NGX_AGAIN when it waits (it is called again
 * when what it waits for is there), NGX_DECLINED where what was remembered does
 * not hold and the store must be asked, NGX_DONE when nginx reads the body for
 * it, and what ngx_http_token_injector_refuse() returns to stop.  No step calls
 * another.
 *
 *   step           may wait for      what it decides
 */

static ngx_http_token_injector_step_t  ngx_http_token_injector_steps[] = {

    /*              issuer's keys     who calls */
    { ngx_string("authenticate"), ngx_http_token_injector_authenticate },

    /*              -                 may this caller use this provider */
    { ngx_string("authorize"), ngx_http_token_injector_authorize },

    /*              the client        the body, where an answer depends on it */
    { ngx_string("receive"), ngx_http_token_injector_receive },

    /*              Redis             connection and answer, one round trip */
    { ngx_string("recall"), ngx_http_token_injector_recall },

    /*              -                 the access token */
    { ngx_string("unseal"), ngx_http_token_injector_unseal },

    /*              token endpoint    a fresh token, once for all who wait */
    { ngx_string("refresh"), ngx_http_token_injector_refresh },

    /*              another request   one upstream call for all who ask, and
                                      none that the third party put off */
    { ngx_string("join"), ngx_http_token_injector_join },

    /*              -                 the answer, or the rewritten request */
    { ngx_string("inject"), ngx_http_token_injector_inject },

    { ngx_string("done"), NULL }
};

#define NGX_HTTP_TOKEN_INJECTOR_ACCESS_STEPS  2  /* judge the caller */
#define NGX_HTTP_TOKEN_INJECTOR_RECALL_STEP   3
#define NGX_HTTP_TOKEN_INJECTOR_INJECT_STEP   7
#define NGX_HTTP_TOKEN_INJECTOR_ALL_STEPS     8


static ngx_http_token_injector_ctx_t *ngx_http_token_injector_create_ctx(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_token_injector_run(
    ngx_http_token_injector_ctx_t *ctx, ngx_uint_t end);
static void ngx_http_token_injector_step(ngx_http_token_injector_ctx_t *ctx,
    ngx_uint_t step);
static ngx_int_t ngx_http_token_injector_park(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_uint_t ngx_http_token_injector_level(
    ngx_http_token_injector_ctx_t *ctx, ti_result_t result);


/* main requests; core never calls it for subrequests */

ngx_int_t
ngx_http_token_injector_access_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_ctx_t       *ctx;
    ngx_http_token_injector_loc_conf_t  *lcf;

    lcf = ngx_http_token_injector_loc(r);

    if (lcf->auth == NULL && lcf->provider == NULL) {
        return ngx_http_token_injector_disclaim(r, lcf);
    }

    ctx = ngx_http_token_injector_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_token_injector_run(ctx,
                                     NGX_HTTP_TOKEN_INJECTOR_ACCESS_STEPS);

    if (rc == NGX_OK && lcf->auth == NULL) {
        /* an app-only token needs no caller: whether one is let in is others'
           to say */
        return NGX_DECLINED;
    }

    return rc;
}


/*
 * All requests.  Subrequests and whoever was let in by somebody else
 * ("satisfy any") have not been judged yet.
 */

ngx_int_t
ngx_http_token_injector_precontent_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_http_token_injector_ctx_t       *ctx;
    ngx_http_token_injector_loc_conf_t  *lcf;

    lcf = ngx_http_token_injector_loc(r);

    if (lcf->auth == NULL && lcf->provider == NULL) {
        return ngx_http_token_injector_disclaim(r, lcf);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (r == r->main && !ngx_http_token_injector_takes(lcf)) {

        if (ctx && ctx->refused) {
            /* outvoted */
            ngx_http_token_injector_problem_withdraw(ctx);
        }

        if (ctx == NULL || !ctx->passed) {
            return ngx_http_token_injector_disclaim(r, lcf);
        }

        rc = ngx_http_token_injector_claim(ctx);

        return rc == NGX_OK ? NGX_DECLINED : rc;
    }

    ctx = ngx_http_token_injector_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->refused) {

        if (ctx->headers[2]) {
            /* taken away with "satisfy any", when somebody else let it in */
            ctx->headers[2]->hash = 1;
            r->headers_out.www_authenticate = ctx->headers[2];
        }

        return ctx->status;
    }

    ctx->phase = r->phase_handler;

    rc = ngx_http_token_injector_run(ctx, lcf->provider
                                     ? NGX_HTTP_TOKEN_INJECTOR_ALL_STEPS
                                     : NGX_HTTP_TOKEN_INJECTOR_ACCESS_STEPS);

    if (rc == NGX_OK && lcf->provider == NULL) {
        rc = ngx_http_token_injector_claim(ctx);
    }

    /* again: the phase's other handlers had their turn, NGX_OK ends it */

    return (rc == NGX_OK && !ctx->again) ? NGX_DECLINED : rc;
}


/* the one of this request in this location, made where there is none */

static ngx_http_token_injector_ctx_t *
ngx_http_token_injector_create_ctx(ngx_http_request_t *r)
{
    ngx_http_token_injector_ctx_t       *ctx;
    ngx_http_token_injector_loc_conf_t  *lcf;

    lcf = ngx_http_token_injector_loc(r);
    ctx = ngx_http_get_module_ctx(r, ngx_http_token_injector_module);

    if (ctx && ctx->conf == lcf) {
        return ctx;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_token_injector_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ctx->state = ngx_http_token_injector_state(r, 1);
    if (ctx->state == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->conf = lcf;
    ctx->flow = TI_FLOW_READ;

    ctx->next = ctx->state->contexts;
    ctx->state->contexts = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_token_injector_module);

    return ctx;
}


/*
 * For variables: the present one, or the last that this request had before an
 * internal redirect.
 */

ngx_http_token_injector_ctx_t *
ngx_http_token_injector_ctx(ngx_http_request_t *r)
{
    ngx_http_token_injector_ctx_t       *ctx;
    ngx_http_token_injector_state_t     *state;
    ngx_http_token_injector_loc_conf_t  *lcf;

    lcf = ngx_http_token_injector_loc(r);

    if (lcf->auth || lcf->provider) {
        return ngx_http_token_injector_create_ctx(r);
    }

    state = ngx_http_token_injector_state(r, 0);
    if (state == NULL) {
        return NULL;
    }

    for (ctx = state->contexts; ctx; ctx = ctx->next) {
        if (ctx->request == r) {
            return ctx;
        }
    }

    return NULL;
}


/* NGX_OK: all steps before end are done */

static ngx_int_t
ngx_http_token_injector_run(ngx_http_token_injector_ctx_t *ctx,
    ngx_uint_t end)
{
    ngx_int_t  rc;

    while (ctx->step < end) {

        rc = ngx_http_token_injector_steps[ctx->step].handler(ctx);

        if (rc == NGX_AGAIN) {
            return ngx_http_token_injector_park(ctx);
        }

        if (rc == NGX_DECLINED) {
            ngx_http_token_injector_step(ctx,
                                         NGX_HTTP_TOKEN_INJECTOR_RECALL_STEP);
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_http_token_injector_step(ctx, ctx->step + 1);
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_step(ngx_http_token_injector_ctx_t *ctx,
    ngx_uint_t step)
{
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "token injector: %V -> %V",
                   &ngx_http_token_injector_steps[ctx->step].name,
                   &ngx_http_token_injector_steps[step].name);

    ctx->step = step;
}


static ngx_int_t
ngx_http_token_injector_park(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "token injector: %V waits",
                   &ngx_http_token_injector_steps[ctx->step].name);

    r->write_event_handler = ngx_http_request_empty_handler;

    if (r == r->main) {
        /* a client that goes away is noticed */
        r->read_event_handler = ngx_http_test_reading;
    }

    return NGX_AGAIN;
}


/* what the step waited for is there; the request may be gone afterwards */

void
ngx_http_token_injector_resume(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "token injector: %V goes on",
                   &ngx_http_token_injector_steps[ctx->step].name);

    if (r == r->main) {
        r->read_event_handler = ngx_http_block_reading;
    }

    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_token_injector_again(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ti_wipe(ctx->bearer.data, ctx->bearer.len);
    ngx_str_null(&ctx->bearer);

    ctx->again = 1;
    ctx->finished = 0;

    if (ctx->asks_claims) {
        ctx->unkept = 1;
        ngx_http_token_injector_fetched(ctx);

        ngx_http_finalize_request(r, ngx_http_token_injector_refuse(ctx,
                                   TI_RESULT_RECONNECT_REQUIRED,
                                   "the third party asks for claims that a "
                                   "new consent has to bring"));
        return;
    }

    if (ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_HIT) {
        ngx_http_token_injector_fetched(ctx);
        ngx_http_token_injector_step(ctx, NGX_HTTP_TOKEN_INJECTOR_INJECT_STEP);

    } else {
        ctx->flow = TI_FLOW_READ;
        ctx->answered = 0;
        ctx->failed = 0;
        ctx->renewed = 0;
        ctx->told = 0;
        ctx->rounds = 0;
        ctx->late = 0;

        ngx_http_token_injector_step(ctx, NGX_HTTP_TOKEN_INJECTOR_RECALL_STEP);
    }

    r->content_handler = ctx->handler;
    r->phase_handler = ctx->phase;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


/*
 * A step's last word.  One line for the operator, one result for the caller,
 * a secret in neither.
 */

ngx_int_t
ngx_http_token_injector_refuse(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result, const char *why)
{
    ngx_log_t                           *log;
    ngx_uint_t                           level;
    const ti_result_info_t              *info;
    ngx_http_token_injector_provider_t  *provider;

    info = ti_result_info(result);
    log = ctx->request->connection->log;
    provider = ngx_http_token_injector_about(ctx);
    level = ngx_http_token_injector_level(ctx, result);

    ctx->result = result;
    ctx->why = why;
    ctx->refused = 1;

    if (ctx->status == 0) {
        ctx->status = info->status;
    }

    ngx_log_error(level, log, 0,
                  "token injector: %s%s%V: %s",
                  info->name.data,
                  provider ? ", provider " : "",
                  provider ? &provider->name : &ctx->conf->inject,
                  why);

    ngx_http_token_injector_flush(ctx->request);

    if (ngx_http_token_injector_problem_begin(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ctx->status;
}


/* what a caller did is information, what an operator can mend is more */

static ngx_uint_t
ngx_http_token_injector_level(ngx_http_token_injector_ctx_t *ctx,
    ti_result_t result)
{
    if (ctx->broken) {
        return NGX_LOG_ERR;
    }

    switch (result) {

    case TI_RESULT_STORE_UNAVAILABLE:
    case TI_RESULT_KEYS_UNAVAILABLE:
    case TI_RESULT_PROVIDER_UNAVAILABLE:
    case TI_RESULT_PROVIDER_THROTTLED:
        return NGX_LOG_WARN;

    case TI_RESULT_INTERNAL_ERROR:
    case TI_RESULT_PROVIDER_MISCONFIGURED:
        return NGX_LOG_ERR;

    default:
        return NGX_LOG_INFO;
    }
}
