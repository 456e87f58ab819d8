/*
 * One fetch of an issuer's keys: its discovery document where there is one,
 * then the set.  Judged before it replaces anything; whatever goes wrong, what
 * is there stays there.
 */

#include "ngx_http_token_injector.h"

#include "ti_discovery.h"


static ngx_int_t ngx_http_token_injector_keys_get_uri(
    ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_fetch_handler_pt handler);
static void ngx_http_token_injector_keys_document(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why);
static void ngx_http_token_injector_keys_text(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why);
static const char *ngx_http_token_injector_keys_status(
    ngx_http_token_injector_fetch_reply_t *reply, u_char *buf);
static const char *ngx_http_token_injector_keys_discover(
    ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_fetch_reply_t *reply);
static const char *ngx_http_token_injector_keys_take(
    ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_fetch_reply_t *reply);
static void ngx_http_token_injector_keys_taken(
    ngx_http_token_injector_live_t *live);
static void ngx_http_token_injector_keys_ignored(void *data, size_t index,
    ti_str_t kid, const char *why);
static void ngx_http_token_injector_keys_end(
    ngx_http_token_injector_live_t *live, const char *why);


#define NGX_HTTP_TOKEN_INJECTOR_STATUS_TEXT  128


/*
 * A worker that was kept busy finds its claim over and its fetch not yet: the
 * one must not begin in the place of the other.
 */

void
ngx_http_token_injector_keys_fetch(ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_keys_e why)
{
    ngx_http_token_injector_feed_t   *feed;

    feed = live->feed;

    if (live->fetching
        || ngx_http_token_injector_keys_claim(feed, why) != NGX_OK)
    {
        return;
    }

    live->fetching = 1;
    live->uri = feed->uri;
    live->algorithms = feed->algorithms;

    if (ngx_http_token_injector_keys_get_uri(live, feed->discovery
                                     ? ngx_http_token_injector_keys_document
                                     : ngx_http_token_injector_keys_text)
        != NGX_OK)
    {
        ngx_http_token_injector_keys_end(live, "could not be asked: out of "
                                         "memory or of connections");
    }
}


static ngx_int_t
ngx_http_token_injector_keys_get_uri(ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_fetch_handler_pt handler)
{
    ngx_http_token_injector_fetch_t          *fetch;
    ngx_http_token_injector_fetch_request_t   request;

    ngx_memzero(&request, sizeof(ngx_http_token_injector_fetch_request_t));

    request.url = live->uri;

    return ngx_http_token_injector_fetch_start(live->feed->fetch, &request,
                                               handler, live, &fetch);
}


static void
ngx_http_token_injector_keys_document(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why)
{
    ngx_http_token_injector_live_t *live = data;

    u_char  buf[NGX_HTTP_TOKEN_INJECTOR_STATUS_TEXT];

    if (rc == NGX_OK) {
        why = ngx_http_token_injector_keys_status(reply, buf);

        if (why == NULL) {
            why = ngx_http_token_injector_keys_discover(live, reply);
        }
    }

    if (why == NULL
        && ngx_http_token_injector_keys_get_uri(live,
                                           ngx_http_token_injector_keys_text)
           != NGX_OK)
    {
        why = "could not be asked: out of memory or of connections";
    }

    if (why) {
        ngx_http_token_injector_keys_end(live, why);
    }
}


static void
ngx_http_token_injector_keys_text(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why)
{
    ngx_http_token_injector_live_t *live = data;

    u_char  buf[NGX_HTTP_TOKEN_INJECTOR_STATUS_TEXT];

    if (rc == NGX_OK) {
        why = ngx_http_token_injector_keys_status(reply, buf);

        if (why == NULL) {
            why = ngx_http_token_injector_keys_take(live, reply);
        }
    }

    ngx_http_token_injector_keys_end(live, why);
}


static const char *
ngx_http_token_injector_keys_status(
    ngx_http_token_injector_fetch_reply_t *reply, u_char *buf)
{
    if (reply->status == NGX_HTTP_OK) {
        return NULL;
    }

    (void) ngx_snprintf(buf, NGX_HTTP_TOKEN_INJECTOR_STATUS_TEXT,
                        "answered %ui%s%Z", reply->status,
                        (reply->status >= 300 && reply->status < 400)
                        ? ": redirects are not followed, name the address "
                          "that it leads to" : "");

    return (char *) buf;
}


/* NULL: the set's address is known now */

static const char *
ngx_http_token_injector_keys_discover(ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_fetch_reply_t *reply)
{
    ti_rc_t                          rc;
    ti_str_t                         uri;
    ti_pool_t                        pool;
    const char                      *why;
    ngx_http_token_injector_feed_t  *feed;

    feed = live->feed;

    live->pool = ngx_create_pool(1024, ngx_cycle->log);
    if (live->pool == NULL) {
        return "was answered, and memory is none";
    }

    pool = ngx_http_token_injector_pool(live->pool);
    why = "out of memory";

    rc = ti_discovery_read(&pool, ngx_http_token_injector_str(&reply->body),
                           ngx_http_token_injector_str(&feed->issuer),
                           feed->algorithms, &uri, &live->algorithms, &why);
    if (rc != TI_OK) {
        return why;
    }

    live->uri.data = (u_char *) uri.data;
    live->uri.len = uri.len;

    if (ngx_http_token_injector_url_objection(&live->uri,
                                              feed->fetch->allow_http))
    {
        /* not to be written to a log either */
        live->uri = feed->uri;

        return "names a \"jwks_uri\" that is not a URL that can be used, or "
               "is not https";
    }

    if (feed->fetch->trust == NULL
        && ngx_strncasecmp(live->uri.data, (u_char *) "https:", 6) == 0)
    {
        return "names a \"jwks_uri\" of https, and nobody is trusted to vouch "
               "for it: set \"ssl_trusted_certificate\"";
    }

    return NULL;
}


/* NULL: what came is in shared memory; parsed only if it is not there yet */

static const char *
ngx_http_token_injector_keys_take(ngx_http_token_injector_live_t *live,
    ngx_http_token_injector_fetch_reply_t *reply)
{
    int64_t                               max_age;
    ti_str_t                              text;
    ngx_int_t                             rc;
    ti_jwks_t                            *set;
    ngx_uint_t                            generation;
    const char                           *why;
    ti_jwks_report_t                      report;
    ngx_http_token_injector_feed_t       *feed;
    ngx_http_token_injector_keys_text_t   came;

    feed = live->feed;
    set = NULL;

    text = ngx_http_token_injector_str(&reply->body);
    why = "was answered, and memory is none";

    came.text = reply->body;
    came.algorithms = live->algorithms;

    if (ti_crypto_sha256(feed->crypto, &text, 1, came.digest) != TI_OK) {
        return why;
    }

    report.ignored = ngx_http_token_injector_keys_ignored;
    report.data = live;

    if (!ngx_http_token_injector_keys_same(feed, &came)
        && ti_jwks_parse(feed->crypto, text, came.algorithms, &report, &set,
                         &why)
           != TI_OK)
    {
        return why;
    }

    max_age = ti_refresh_max_age(
                          ngx_http_token_injector_str(&reply->cache_control),
                          ngx_http_token_injector_str(&reply->age));

    rc = ngx_http_token_injector_keys_put(feed, &came, max_age, &generation);

    if (rc == NGX_ERROR) {
        ti_jwks_free(set);
        return "sent a set that the shared memory for keys has no room for";
    }

    if (rc == NGX_OK && set) {
        ngx_http_token_injector_keys_adopt(live, set, generation);
        ngx_http_token_injector_keys_taken(live);

    } else {
        ti_jwks_free(set);
    }

    return NULL;
}


/* another set than before, said once for all workers */

static void
ngx_http_token_injector_keys_taken(ngx_http_token_injector_live_t *live)
{
    size_t  n;

    n = ti_jwks_count(live->set);

    if (n == 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "token injector: \"%V\" sent no key that can be used "
                      "with the \"algorithms\" of issuer \"%V\": until it does "
                      "its callers get keys-unavailable",
                      &live->uri, &live->feed->name);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "token injector: issuer \"%V\" has %uz keys now, from "
                  "\"%V\"", &live->feed->name, n, &live->uri);
}


static void
ngx_http_token_injector_keys_ignored(void *data, size_t index, ti_str_t kid,
    const char *why)
{
    ngx_http_token_injector_live_t  *live = data;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "token injector: \"%V\": key number %uz of issuer \"%V\" is "
                  "not used: %s",
                  &live->uri, index + 1, &live->feed->name, why);
}


/* why is NULL after a success; in any case the claim is no longer ours */

static void
ngx_http_token_injector_keys_end(ngx_http_token_injector_live_t *live,
    const char *why)
{
    time_t                           left;
    ngx_http_token_injector_feed_t  *feed;

    feed = live->feed;
    live->fetching = 0;

    if (why) {
        ngx_http_token_injector_keys_failed(feed);

        left = ngx_http_token_injector_keys_until(feed) - ngx_time();

        if (left > 0) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "token injector: keys of issuer \"%V\": \"%V\" %s; "
                          "the present ones serve for %T seconds more",
                          &feed->name, &live->uri, why, left);

        } else {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "token injector: keys of issuer \"%V\": \"%V\" %s; "
                          "there are none, its callers get keys-unavailable",
                          &feed->name, &live->uri, why);
        }
    }

    if (live->pool) {
        ngx_destroy_pool(live->pool);
        live->pool = NULL;
    }

    ngx_http_token_injector_keys_news();
}
