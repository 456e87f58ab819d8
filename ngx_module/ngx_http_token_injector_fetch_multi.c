/*
 * libcurl's multi interface on nginx's events.
 *
 * What a worker has of it exists while a fetch is under way.  libcurl says
 * which sockets it waits for and until when; nginx says what happened to them.
 * A socket is libcurl's: it is watched here through a duplicate of our own and
 * a connection of nginx's, for 7.88 closes one that did not connect before it
 * says so.
 *
 * libcurl calls back in the middle of its work, so that a callback only notes
 * what it is told.  After libcurl was told of an event, any fetch, socket or
 * connection may be gone.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/err.h>

#include "ngx_http_token_injector_fetch_private.h"


/*
 * Each holds a socket or two: nginx's clients need theirs.  One party that
 * hangs does not take all of them.
 */

#define NGX_HTTP_TOKEN_INJECTOR_FETCH_MOST   256
#define NGX_HTTP_TOKEN_INJECTOR_FETCH_PARTY  64

#define NGX_HTTP_TOKEN_INJECTOR_FETCH_NUDGE  200


static ngx_int_t ngx_http_token_injector_fetch_open(void);
static void ngx_http_token_injector_fetch_close(void);
static int ngx_http_token_injector_fetch_timer(CURLM *multi, long ms,
    void *data);
static void ngx_http_token_injector_fetch_timer_handler(ngx_event_t *ev);
static int ngx_http_token_injector_fetch_socket(CURL *easy, curl_socket_t s,
    int what, void *data, void *socket_data);
static ngx_connection_t *ngx_http_token_injector_fetch_watch(curl_socket_t s);
static void ngx_http_token_injector_fetch_unwatch(ngx_connection_t *c);
static ngx_int_t ngx_http_token_injector_fetch_event(ngx_event_t *ev,
    ngx_int_t event, ngx_uint_t wanted);
static void ngx_http_token_injector_fetch_event_handler(ngx_event_t *ev);
static void ngx_http_token_injector_fetch_wait(
    ngx_http_token_injector_fetch_t *fetch);
static void ngx_http_token_injector_fetch_deadline_handler(ngx_event_t *ev);
static void ngx_http_token_injector_fetch_nudge(
    ngx_http_token_injector_fetch_t *fetch);
static void ngx_http_token_injector_fetch_act(curl_socket_t s, int what);
static void ngx_http_token_injector_fetch_settle(void);


static struct {
    CURLM                          *multi;
    ngx_queue_t                     fetches;
    ngx_uint_t                      n;
    ngx_event_t                     timer;
} ngx_http_token_injector_fetches;


/* debug logs of a timer read the socket of its connection */

static ngx_connection_t  ngx_http_token_injector_fetch_dumb;


ngx_int_t
ngx_http_token_injector_fetch_add(ngx_http_token_injector_fetch_t *fetch)
{
    if (ngx_http_token_injector_fetches.n
        == NGX_HTTP_TOKEN_INJECTOR_FETCH_MOST
        || fetch->conf->n == NGX_HTTP_TOKEN_INJECTOR_FETCH_PARTY)
    {
        return NGX_BUSY;
    }

    if (ngx_http_token_injector_fetches.multi == NULL
        && ngx_http_token_injector_fetch_open() != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (curl_multi_add_handle(ngx_http_token_injector_fetches.multi,
                              fetch->easy)
        != CURLM_OK)
    {
        if (ngx_http_token_injector_fetches.n == 0) {
            ngx_http_token_injector_fetch_close();
        }

        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&ngx_http_token_injector_fetches.fetches,
                          &fetch->queue);
    ngx_http_token_injector_fetches.n++;
    fetch->conf->n++;

    /* also what a worker that is to exit waits for */

    fetch->deadline.data = fetch;
    fetch->deadline.handler = ngx_http_token_injector_fetch_deadline_handler;
    fetch->deadline.log = ngx_cycle->log;

    fetch->until = ngx_current_msec + fetch->conf->timeout;

    ngx_http_token_injector_fetch_wait(fetch);

    return NGX_OK;
}


void
ngx_http_token_injector_fetch_remove(ngx_http_token_injector_fetch_t *fetch)
{
    if (fetch->deadline.timer_set) {
        ngx_del_timer(&fetch->deadline);
    }

    if (fetch->deadline.posted) {
        ngx_delete_posted_event(&fetch->deadline);
    }

    ngx_queue_remove(&fetch->queue);
    ngx_http_token_injector_fetches.n--;
    fetch->conf->n--;

    (void) curl_multi_remove_handle(ngx_http_token_injector_fetches.multi,
                                    fetch->easy);
    ERR_clear_error();
}


void
ngx_http_token_injector_fetch_exit(void)
{
    ngx_queue_t                      *q;
    ngx_http_token_injector_fetch_t  *fetch;

    if (ngx_http_token_injector_fetches.multi == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_token_injector_fetches.fetches)) {
        q = ngx_queue_head(&ngx_http_token_injector_fetches.fetches);
        fetch = ngx_queue_data(q, ngx_http_token_injector_fetch_t, queue);

        ngx_http_token_injector_fetch_forget(fetch);
        ngx_http_token_injector_fetch_finish(fetch, CURLE_OK);
    }

    ngx_http_token_injector_fetch_close();
}


static ngx_int_t
ngx_http_token_injector_fetch_open(void)
{
    CURLM        *multi;
    ngx_uint_t    rc;
    ngx_event_t  *timer;

    multi = curl_multi_init();
    if (multi == NULL) {
        return NGX_ERROR;
    }

    rc = CURLM_OK;

    rc |= curl_multi_setopt(multi, CURLMOPT_PIPELINING,
                            (long) CURLPIPE_NOTHING);
    rc |= curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION,
                            ngx_http_token_injector_fetch_timer);
    rc |= curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION,
                            ngx_http_token_injector_fetch_socket);

    if (rc != CURLM_OK) {
        (void) curl_multi_cleanup(multi);
        return NGX_ERROR;
    }

    ngx_http_token_injector_fetch_dumb.fd = (ngx_socket_t) -1;

    timer = &ngx_http_token_injector_fetches.timer;

    timer->data = &ngx_http_token_injector_fetch_dumb;
    timer->handler = ngx_http_token_injector_fetch_timer_handler;
    timer->log = ngx_cycle->log;
    timer->cancelable = 1;

    ngx_queue_init(&ngx_http_token_injector_fetches.fetches);
    ngx_http_token_injector_fetches.multi = multi;

    return NGX_OK;
}


/* with connections in it that are being shut down politely, which ends so */

static void
ngx_http_token_injector_fetch_close(void)
{
    (void) curl_multi_cleanup(ngx_http_token_injector_fetches.multi);
    ERR_clear_error();

    ngx_http_token_injector_fetches.multi = NULL;

    if (ngx_http_token_injector_fetches.timer.timer_set) {
        ngx_del_timer(&ngx_http_token_injector_fetches.timer);
    }
}


/*
 * Deleted first: ngx_add_timer() leaves a timer where it is for a change of
 * less than 300 ms.  Never at once: whatever libcurl does, events come first.
 */

static int
ngx_http_token_injector_fetch_timer(CURLM *multi, long ms, void *data)
{
    ngx_event_t  *timer;

    timer = &ngx_http_token_injector_fetches.timer;

    if (timer->timer_set) {
        ngx_del_timer(timer);
    }

    if (ms >= 0) {
        ngx_add_timer(timer, (ngx_msec_t) ngx_max(ms, 1));
    }

    return 0;
}


static void
ngx_http_token_injector_fetch_timer_handler(ngx_event_t *ev)
{
    ngx_http_token_injector_fetch_act(CURL_SOCKET_TIMEOUT, 0);
    ngx_http_token_injector_fetch_settle();
}


/*
 * Anything but 0 would end the multi handle and all that it carries: a fetch
 * whose socket cannot be watched is ended soon, alone.
 */

static int
ngx_http_token_injector_fetch_socket(CURL *easy, curl_socket_t s, int what,
    void *data, void *socket_data)
{
    ngx_connection_t                 *c = socket_data;
    ngx_http_token_injector_fetch_t  *fetch;

    if (what == CURL_POLL_REMOVE) {

        if (c) {
            ngx_http_token_injector_fetch_unwatch(c);
        }

        return 0;
    }

    if (c == NULL) {
        c = ngx_http_token_injector_fetch_watch(s);
    }

    if (c
        && ngx_http_token_injector_fetch_event(c->read, NGX_READ_EVENT,
                                               what & CURL_POLL_IN)
           == NGX_OK
        && ngx_http_token_injector_fetch_event(c->write, NGX_WRITE_EVENT,
                                               what & CURL_POLL_OUT)
           == NGX_OK)
    {
        return 0;
    }

    fetch = NULL;
    (void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &fetch);

    if (fetch) {
        fetch->objection = "could not be asked: out of worker_connections";
        ngx_post_event(&fetch->deadline, &ngx_posted_events);
    }

    return 0;
}


static ngx_connection_t *
ngx_http_token_injector_fetch_watch(curl_socket_t s)
{
    ngx_socket_t       fd;
    ngx_connection_t  *c;

    fd = fcntl(s, F_DUPFD_CLOEXEC, 0);
    if (fd == (ngx_socket_t) -1) {
        return NULL;
    }

    c = ngx_get_connection(fd, ngx_cycle->log);
    if (c == NULL) {
        (void) ngx_close_socket(fd);
        return NULL;
    }

    c->data = (void *) (intptr_t) s;

    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_token_injector_fetch_event_handler;
    c->write->handler = ngx_http_token_injector_fetch_event_handler;

    if (curl_multi_assign(ngx_http_token_injector_fetches.multi, s, c)
        != CURLM_OK)
    {
        ngx_http_token_injector_fetch_unwatch(c);
        return NULL;
    }

    return c;
}


static void
ngx_http_token_injector_fetch_unwatch(ngx_connection_t *c)
{
    (void) ngx_http_token_injector_fetch_event(c->read, NGX_READ_EVENT, 0);
    (void) ngx_http_token_injector_fetch_event(c->write, NGX_WRITE_EVENT, 0);

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    (void) ngx_close_socket(c->fd);
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


static ngx_int_t
ngx_http_token_injector_fetch_event(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t wanted)
{
    if (wanted && !ev->active) {
        return ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }

    if (!wanted && ev->active) {
        return ngx_del_event(ev, event, 0);
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_fetch_event_handler(ngx_event_t *ev)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q;
    ngx_connection_t                 *c;
    ngx_http_token_injector_fetch_t  *fetch;

    c = ev->data;

    if (!c->close) {
        ngx_http_token_injector_fetch_act((curl_socket_t) (intptr_t) c->data,
                                          ev->write ? CURL_CSELECT_OUT
                                                    : CURL_CSELECT_IN);
        ngx_http_token_injector_fetch_settle();
        return;
    }

    /* worker_shutdown_timeout is over: not for what a handler begins now */

    for (n = ngx_http_token_injector_fetches.n; n > 0; n--) {
        q = ngx_queue_head(&ngx_http_token_injector_fetches.fetches);
        fetch = ngx_queue_data(q, ngx_http_token_injector_fetch_t, queue);

        fetch->objection = "was not waited for: nginx is shutting down";
        ngx_http_token_injector_fetch_finish(fetch,
                                             CURLE_ABORTED_BY_CALLBACK);
    }

    ngx_http_token_injector_fetch_settle();
}


static void
ngx_http_token_injector_fetch_wait(ngx_http_token_injector_fetch_t *fetch)
{
    curl_off_t  connected;
    ngx_msec_t  left;

    left = fetch->until - ngx_current_msec;

    connected = 0;
    (void) curl_easy_getinfo(fetch->easy, CURLINFO_PRETRANSFER_TIME_T,
                             &connected);

    if (connected == 0) {
        left = ngx_min(left, NGX_HTTP_TOKEN_INJECTOR_FETCH_NUDGE);
    }

    ngx_add_timer(&fetch->deadline, left);
}


/* the time is over, a callback saw that it cannot succeed, or not yet */

static void
ngx_http_token_injector_fetch_deadline_handler(ngx_event_t *ev)
{
    ngx_http_token_injector_fetch_t  *fetch;

    fetch = ev->data;

    if (fetch->objection == NULL
        && (ngx_msec_int_t) (fetch->until - ngx_current_msec) > 0)
    {
        ngx_http_token_injector_fetch_nudge(fetch);
        ngx_http_token_injector_fetch_wait(fetch);
        return;
    }

    ngx_http_token_injector_fetch_finish(fetch, CURLE_OPERATION_TIMEDOUT);
    ngx_http_token_injector_fetch_settle();
}


/*
 * libcurl before 8.4 gives up an address that does not answer, and goes on to
 * the next only when something else happens.  What goes on after a pause is
 * looked at.
 */

static void
ngx_http_token_injector_fetch_nudge(ngx_http_token_injector_fetch_t *fetch)
{
    if (curl_version_info(CURLVERSION_NOW)->version_num < 0x080400) {
        (void) curl_easy_pause(fetch->easy, CURLPAUSE_RECV);
        (void) curl_easy_pause(fetch->easy, CURLPAUSE_CONT);
        ERR_clear_error();
    }
}


/* nginx logs an alert where it finds errors of OpenSSL that are not its own */

static void
ngx_http_token_injector_fetch_act(curl_socket_t s, int what)
{
    int        running;
    CURLMcode  rc;

    rc = curl_multi_socket_action(ngx_http_token_injector_fetches.multi, s,
                                  what, &running);
    ERR_clear_error();

    if (rc != CURLM_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "token injector: libcurl failed: %s",
                      curl_multi_strerror(rc));
    }
}


/* what libcurl is done with; a handler may have begun another fetch */

static void
ngx_http_token_injector_fetch_settle(void)
{
    int                               left;
    CURLMsg                          *msg;
    CURLcode                          code;
    ngx_http_token_injector_fetch_t  *fetch;

    for ( ;; ) {
        msg = curl_multi_info_read(ngx_http_token_injector_fetches.multi,
                                   &left);
        if (msg == NULL) {
            break;
        }

        if (msg->msg != CURLMSG_DONE) {
            continue;
        }

        code = msg->data.result;
        fetch = NULL;
        (void) curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE,
                                 (char **) &fetch);
        if (fetch) {
            ngx_http_token_injector_fetch_finish(fetch, code);
        }
    }

    if (ngx_http_token_injector_fetches.n == 0) {
        ngx_http_token_injector_fetch_close();
    }
}
