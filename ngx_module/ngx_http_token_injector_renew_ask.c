/*
 * A renewal that has the lock: what it asks of the provider, and what comes of
 * it.
 */

#include "ngx_http_token_injector_renew.h"


#define NGX_HTTP_TOKEN_INJECTOR_RENEW_RETRY   3600   /* as a provider says */
#define NGX_HTTP_TOKEN_INJECTOR_RENEW_ALL     60     /* to one caller */


static ti_oauth_grant_t ngx_http_token_injector_renew_grant(
    ngx_http_token_injector_provider_t *provider);
static ti_result_t ngx_http_token_injector_renew_tokens(
    ngx_http_token_injector_renew_t *renew,
    ngx_http_token_injector_grant_conf_t *conf);
static ti_result_t ngx_http_token_injector_renew_open(
    ngx_http_token_injector_renew_t *renew, ti_record_kind_t kind,
    ti_str_t sealed, ti_record_t *record, const char **why);
static void ngx_http_token_injector_renew_granted(void *data,
    const ngx_http_token_injector_granted_t *granted);
static void ngx_http_token_injector_renew_failed(
    ngx_http_token_injector_renew_t *renew,
    const ngx_http_token_injector_granted_t *granted);


static const char  ngx_http_token_injector_renew_why[] =
    "the token endpoint brought no token: the line before says why";


static ti_oauth_grant_t
ngx_http_token_injector_renew_grant(
    ngx_http_token_injector_provider_t *provider)
{
    switch (provider->grant) {

    case NGX_HTTP_TOKEN_INJECTOR_CLIENT:
        return TI_OAUTH_CLIENT_CREDENTIALS;

    case NGX_HTTP_TOKEN_INJECTOR_EXCHANGE:
        return TI_OAUTH_EXCHANGE;

    case NGX_HTTP_TOKEN_INJECTOR_BEARER:
        return TI_OAUTH_JWT_BEARER;

    default:
        return TI_OAUTH_REFRESH;
    }
}


void
ngx_http_token_injector_renew_ask(ngx_http_token_injector_renew_t *renew)
{
    ngx_int_t                              rc;
    ti_result_t                            result;
    ngx_http_token_injector_provider_t    *provider;
    ngx_http_token_injector_grant_conf_t   conf;

    provider = renew->conf.provider;

    ngx_memzero(&conf, sizeof(ngx_http_token_injector_grant_conf_t));

    conf.provider = provider;
    conf.who = renew->conf.who;
    conf.user = renew->conf.user;
    conf.device = renew->conf.device;
    conf.user_key = renew->conf.user_key;
    conf.grant = ngx_http_token_injector_renew_grant(provider);
    conf.scope = ngx_http_token_injector_str(&provider->scope);

    if (conf.grant == TI_OAUTH_REFRESH) {
        result = ngx_http_token_injector_renew_tokens(renew, &conf);

        if (result != TI_RESULT_OK) {
            ngx_http_token_injector_renew_note(renew, result, ngx_time()
                                  + NGX_HTTP_TOKEN_INJECTOR_RENEW_MARKED);
            ngx_http_token_injector_renew_end(renew, result, renew->why);
            return;
        }

    } else {
        conf.token = renew->conf.subject;
    }

    renew->state = NGX_HTTP_TOKEN_INJECTOR_RENEW_ASK;

    rc = ngx_http_token_injector_grant_start(&conf,
                                        ngx_http_token_injector_renew_granted,
                                        renew, &renew->grant);

    if (conf.grant == TI_OAUTH_REFRESH) {
        ti_wipe((void *) conf.token.data, conf.token.len);
        ti_wipe((void *) conf.previous.data, conf.previous.len);
    }

    if (rc != NGX_OK) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_INTERNAL_ERROR,
                                          "out of memory");
        return;
    }

    ngx_http_token_injector_renew_hold(renew);
}


/* the refresh token, and the one before it, where it may be tried */

static ti_result_t
ngx_http_token_injector_renew_tokens(ngx_http_token_injector_renew_t *renew,
    ngx_http_token_injector_grant_conf_t *conf)
{
    const char                        *why;
    ti_result_t                        result;
    ti_record_t                        record;
    ngx_http_token_injector_stored_t  *stored;

    stored = &renew->stored;

    result = ngx_http_token_injector_renew_open(renew, TI_RECORD_REFRESH,
                                                stored->refresh, &record,
                                                &renew->why);
    if (result != TI_RESULT_OK) {
        return result;
    }

    conf->token = record.token;
    conf->refresh_expires = record.expires;
    conf->before.gen = stored->gen;
    conf->before.cid = stored->cid;
    conf->before.since = stored->since;
    conf->before.scope = stored->scope;
    conf->before.account = stored->account;

    if (stored->previous.len
        && ngx_http_token_injector_renew_open(renew, TI_RECORD_PREVIOUS,
                                              stored->previous, &record, &why)
           == TI_RESULT_OK)
    {
        conf->previous = record.token;
    }

    return TI_RESULT_OK;
}


/* a refresh token that has an end is not tried past it */

static ti_result_t
ngx_http_token_injector_renew_open(ngx_http_token_injector_renew_t *renew,
    ti_record_kind_t kind, ti_str_t sealed, ti_record_t *record,
    const char **why)
{
    uint64_t                               gen;
    ti_pool_t                              pool;
    ti_result_t                            result;
    ti_record_ref_t                        ref;
    ngx_http_token_injector_main_conf_t   *mcf;
    ngx_http_token_injector_renew_conf_t  *conf;

    mcf = ngx_http_token_injector_worker.conf;
    conf = &renew->conf;
    pool = ngx_http_token_injector_pool(renew->found);

    if (ti_decimal_parse(renew->stored.gen, TI_RECORD_GEN_MAX, &gen)
        != TI_OK)
    {
        *why = "the connection's \"gen\" is not as specified";
        return TI_RESULT_RECONNECT_REQUIRED;
    }

    ngx_memzero(&ref, sizeof(ti_record_ref_t));

    ref.kind = kind;
    ref.who = conf->who;
    ref.provider = ngx_http_token_injector_str(&conf->provider->name);
    ref.device = conf->device;
    ref.user_key = conf->user_key;
    ref.gen = gen;
    ref.cid = renew->stored.cid;

    result = ti_record_open(mcf->crypto, &pool, conf->provider->store->ring,
                            &ref, sealed, record, why);

    if (result == TI_RESULT_OK
        && record->expires && record->expires <= ngx_time())
    {
        ti_wipe((void *) record->token.data, record->token.len);
        ngx_memzero(record, sizeof(ti_record_t));

        *why = "the access token has expired and so has the refresh token";
        return TI_RESULT_RECONNECT_REQUIRED;
    }

    return result;
}


static void
ngx_http_token_injector_renew_granted(void *data,
    const ngx_http_token_injector_granted_t *granted)
{
    ngx_http_token_injector_renew_t *renew = data;

    ti_pool_t  pool;

    renew->grant = NULL;

    if (granted->result == TI_RESULT_OK) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_OK, NULL);
        return;
    }

    if (granted->claims.len) {
        pool = ngx_http_token_injector_pool(renew->pool);
        (void) ti_pool_copy(&pool, granted->claims, &renew->claims);
    }

    if (granted->permanent
        && !ngx_http_token_injector_renew_anew(renew->conf.provider))
    {
        renew->read = granted->result;

        if (ngx_http_token_injector_renew_mark(renew) != NGX_OK) {
            ngx_http_token_injector_renew_marked(renew, NGX_ERROR);
        }

        return;
    }

    if (granted->result == TI_RESULT_STORE_UNAVAILABLE) {
        /* the new tokens are on their way: its lease keeps others off */
        renew->locked = 0;

    } else if (granted->result != TI_RESULT_INTERNAL_ERROR) {
        ngx_http_token_injector_renew_failed(renew, granted);
    }

    ngx_http_token_injector_renew_end(renew, granted->result,
                                      ngx_http_token_injector_renew_why);
}


/*
 * The end of a grant is written where all see it, and stands until there is
 * a new consent: unless there are newer tokens by now, and what was refused
 * is theirs that were before.
 */

void
ngx_http_token_injector_renew_marked(ngx_http_token_injector_renew_t *renew,
    ngx_int_t rc)
{
    if (rc == NGX_DECLINED) {
        ngx_http_token_injector_renew_end(renew, TI_RESULT_OK, NULL);
        return;
    }

    ngx_http_token_injector_renew_note(renew, renew->read, ngx_time()
                                   + NGX_HTTP_TOKEN_INJECTOR_RENEW_MARKED);

    ngx_http_token_injector_renew_end(renew, renew->read,
                                      ngx_http_token_injector_renew_why);
}


/*
 * The next call waits a second, two, four, …, or what the provider says, on
 * all nodes.
 */

static void
ngx_http_token_injector_renew_failed(ngx_http_token_injector_renew_t *renew,
    const ngx_http_token_injector_granted_t *granted)
{
    u_char                          id[TI_SHA256_LEN];
    ti_lock_failure_t               failure;
    ngx_http_token_injector_note_t  note;

    failure.failures = renew->taken.failures + 1;
    failure.result = granted->result;
    failure.wait = ti_lock_backoff(failure.failures,
                                   ngx_min(granted->retry_after,
                                     NGX_HTTP_TOKEN_INJECTOR_RENEW_RETRY));

    /* the present second may be almost over */
    failure.wait++;

    ngx_http_token_injector_renew_note(renew, failure.result,
                                       ngx_time() + failure.wait);

    if (failure.result == TI_RESULT_PROVIDER_THROTTLED
        && ngx_http_token_injector_renew_provider_id(renew, id) == NGX_OK)
    {
        ngx_memzero(&note, sizeof(ngx_http_token_injector_note_t));

        note.until = ngx_time()
                     + ngx_min(failure.wait,
                               NGX_HTTP_TOKEN_INJECTOR_RENEW_ALL);
        note.result = failure.result;

        ngx_http_token_injector_note_keep(id, &note);
    }

    if (renew->locked) {
        ngx_http_token_injector_renew_release(renew, &failure);
    }
}
