/*
 * One fetch: what libcurl is asked for, what it hands over, how it ends.
 *
 * A connection serves one fetch.  A kept one could have been verified against
 * certificates that another party trusts, would be found dead only by a
 * timeout where a firewall forgot it, and makes libcurl repeat a request that
 * may have been served: a refresh token is good for one.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/ssl.h>

#include "ngx_http_token_injector_fetch_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_FETCH_FIRST    4096
#define NGX_HTTP_TOKEN_INJECTOR_FETCH_HEADERS  65536


static ngx_http_token_injector_fetch_t *ngx_http_token_injector_fetch_create(
    ngx_http_token_injector_fetch_conf_t *conf);
static void ngx_http_token_injector_fetch_free(
    ngx_http_token_injector_fetch_t *fetch);
static ngx_int_t ngx_http_token_injector_fetch_request(
    ngx_http_token_injector_fetch_t *fetch,
    const ngx_http_token_injector_fetch_request_t *request);
static ngx_int_t ngx_http_token_injector_fetch_field(
    ngx_http_token_injector_fetch_t *fetch, const ngx_str_t *value);
static ngx_int_t ngx_http_token_injector_fetch_manners(
    ngx_http_token_injector_fetch_t *fetch);
static ngx_int_t ngx_http_token_injector_fetch_party(
    ngx_http_token_injector_fetch_t *fetch);
static ngx_int_t ngx_http_token_injector_fetch_tls(
    ngx_http_token_injector_fetch_t *fetch);
static CURLcode ngx_http_token_injector_fetch_trusted(CURL *easy,
    void *ssl_ctx, void *data);
static size_t ngx_http_token_injector_fetch_header(char *line, size_t size,
    size_t n, void *data);
static size_t ngx_http_token_injector_fetch_body(char *part, size_t size,
    size_t n, void *data);
static ngx_int_t ngx_http_token_injector_fetch_room(
    ngx_http_token_injector_fetch_t *fetch, size_t len);
static const char *ngx_http_token_injector_fetch_reply(
    ngx_http_token_injector_fetch_t *fetch,
    ngx_http_token_injector_fetch_reply_t *reply);
static void ngx_http_token_injector_fetch_value(
    ngx_http_token_injector_fetch_t *fetch, const char *name,
    ngx_str_t *value);


ngx_int_t
ngx_http_token_injector_fetch_start(ngx_http_token_injector_fetch_conf_t *conf,
    const ngx_http_token_injector_fetch_request_t *request,
    ngx_http_token_injector_fetch_handler_pt handler, void *data,
    ngx_http_token_injector_fetch_t **fetchp)
{
    ngx_int_t                         rc;
    ngx_http_token_injector_fetch_t  *fetch;

    fetch = ngx_http_token_injector_fetch_create(conf);
    if (fetch == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_token_injector_fetch_request(fetch, request);

    if (rc == NGX_OK) {
        rc = ngx_http_token_injector_fetch_add(fetch);
    }

    if (rc != NGX_OK) {
        ngx_http_token_injector_fetch_free(fetch);
        return rc;
    }

    fetch->handler = handler;
    fetch->data = data;

    *fetchp = fetch;

    return NGX_OK;
}


void
ngx_http_token_injector_fetch_forget(ngx_http_token_injector_fetch_t *fetch)
{
    fetch->handler = NULL;
}


static ngx_http_token_injector_fetch_t *
ngx_http_token_injector_fetch_create(
    ngx_http_token_injector_fetch_conf_t *conf)
{
    ngx_http_token_injector_fetch_t  *fetch;

    fetch = ngx_calloc(sizeof(ngx_http_token_injector_fetch_t),
                       ngx_cycle->log);
    if (fetch == NULL) {
        return NULL;
    }

    fetch->conf = conf;
    fetch->began = ngx_current_msec;
    fetch->ident = (ngx_socket_t) -1;
    fetch->easy = curl_easy_init();

    if (fetch->easy == NULL
        || ngx_http_token_injector_fetch_manners(fetch) != NGX_OK
        || ngx_http_token_injector_fetch_party(fetch) != NGX_OK
        || ngx_http_token_injector_fetch_tls(fetch) != NGX_OK)
    {
        ngx_http_token_injector_fetch_free(fetch);
        return NULL;
    }

    return fetch;
}


static ngx_int_t
ngx_http_token_injector_fetch_request(ngx_http_token_injector_fetch_t *fetch,
    const ngx_http_token_injector_fetch_request_t *request)
{
    CURL        *easy;
    ngx_uint_t   rc;

    easy = fetch->easy;
    rc = curl_easy_setopt(easy, CURLOPT_URL, (char *) request->url.data);

    if (request->authorization.len
        && ngx_http_token_injector_fetch_field(fetch,
                                               &request->authorization)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (request->body.data) {
        fetch->form.data = ngx_alloc(request->body.len + 1, ngx_cycle->log);
        if (fetch->form.data == NULL) {
            return NGX_ERROR;
        }

        fetch->form.len = request->body.len;
        ngx_memcpy(fetch->form.data, request->body.data, request->body.len);

        rc |= curl_easy_setopt(easy, CURLOPT_POST, 1L);
        rc |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE,
                               (long) fetch->form.len);
        rc |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                               (char *) fetch->form.data);
    }

    if (fetch->sent) {
        rc |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->sent);
    }

    return rc == CURLE_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_token_injector_fetch_field(ngx_http_token_injector_fetch_t *fetch,
    const ngx_str_t *value)
{
    u_char             *line;
    struct curl_slist  *sent;

    line = ngx_alloc(sizeof("Authorization: ") + value->len, ngx_cycle->log);
    if (line == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(line, "Authorization: %V%Z", value);

    sent = curl_slist_append(fetch->sent, (char *) line);

    ngx_explicit_memzero(line, value->len + sizeof("Authorization: "));
    ngx_free(line);

    if (sent == NULL) {
        return NGX_ERROR;
    }

    fetch->sent = sent;

    return NGX_OK;
}


/* libcurl's own buffers cannot be wiped: what is said passes through them */

static void
ngx_http_token_injector_fetch_free(ngx_http_token_injector_fetch_t *fetch)
{
    struct curl_slist  *field;

    curl_easy_cleanup(fetch->easy);

    for (field = fetch->sent; field; field = field->next) {
        ngx_explicit_memzero(field->data, ngx_strlen(field->data));
    }

    curl_slist_free_all(fetch->sent);

    if (fetch->form.data) {
        ngx_explicit_memzero(fetch->form.data, fetch->form.len);
        ngx_free(fetch->form.data);
    }

    if (fetch->body) {
        ngx_explicit_memzero(fetch->body, fetch->len);
        ngx_free(fetch->body);
    }

    ngx_explicit_memzero(fetch, sizeof(ngx_http_token_injector_fetch_t));
    ngx_free(fetch);
}


/*
 * What holds for every fetch.  QUICK_EXIT: without it libcurl waits for the
 * thread that resolves a name, however long that takes, before it lets go of
 * the fetch that wanted to know.
 */

static ngx_int_t
ngx_http_token_injector_fetch_manners(ngx_http_token_injector_fetch_t *fetch)
{
    CURL        *easy;
    ngx_uint_t   rc;

    easy = fetch->easy;
    rc = CURLE_OK;

    rc |= curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
    rc |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                           (long) CURL_HTTP_VERSION_1_1);
    rc |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "ngx-token-injector");
    rc |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    rc |= curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, fetch);
    rc |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION,
                           ngx_http_token_injector_fetch_header);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION,
                           ngx_http_token_injector_fetch_body);

    return rc == CURLE_OK ? NGX_OK : NGX_ERROR;
}


/* an empty proxy and an empty list keep libcurl from asking the environment */

static ngx_int_t
ngx_http_token_injector_fetch_party(ngx_http_token_injector_fetch_t *fetch)
{
    CURL                                  *easy;
    ngx_uint_t                             rc;
    const char                            *protocols;
    ngx_http_token_injector_fetch_conf_t  *conf;

    easy = fetch->easy;
    conf = fetch->conf;
    rc = CURLE_OK;

    protocols = !conf->allow_http ? "https" : conf->trust ? "http,https"
                                                          : "http";

    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols);
    rc |= curl_easy_setopt(easy, CURLOPT_PROXY,
                           conf->proxy.len ? (char *) conf->proxy.data : "");
    rc |= curl_easy_setopt(easy, CURLOPT_NOPROXY,
                           conf->no_proxy.len ? (char *) conf->no_proxy.data
                                              : "");
    rc |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           (long) conf->connect_timeout);
    rc |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) conf->timeout);
    rc |= curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE,
                           (curl_off_t) conf->max_size);

    return rc == CURLE_OK ? NGX_OK : NGX_ERROR;
}


/*
 * For the party and for a proxy that is spoken to by TLS.  libcurl is told of
 * no file: what is trusted was read with the configuration.
 */

static ngx_int_t
ngx_http_token_injector_fetch_tls(ngx_http_token_injector_fetch_t *fetch)
{
    CURL        *easy;
    ngx_uint_t   rc;

    easy = fetch->easy;
    rc = CURLE_OK;

    rc |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    rc |= curl_easy_setopt(easy, CURLOPT_SSLVERSION,
                           (long) CURL_SSLVERSION_TLSv1_2);
    rc |= curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    rc |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);

    rc |= curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
    rc |= curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION,
                           (long) CURL_SSLVERSION_TLSv1_2);
    rc |= curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL);
    rc |= curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);

    rc |= curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    rc |= curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    rc |= curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, fetch);
    rc |= curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION,
                           ngx_http_token_injector_fetch_trusted);

    return rc == CURLE_OK ? NGX_OK : NGX_ERROR;
}


/* OpenSSL looks here and nowhere else, whatever libcurl put into the context */

static CURLcode
ngx_http_token_injector_fetch_trusted(CURL *easy, void *ssl_ctx, void *data)
{
    ngx_http_token_injector_fetch_t  *fetch = data;

    fetch->tls = 1;

    if (fetch->conf->trust == NULL
        || SSL_CTX_set1_verify_cert_store(ssl_ctx, fetch->conf->trust) != 1)
    {
        fetch->objection = "cannot be verified: nothing is trusted";
        return CURLE_SSL_CACERT_BADFILE;
    }

    return CURLE_OK;
}


/* libcurl keeps the headers; that they end is our concern */

static size_t
ngx_http_token_injector_fetch_header(char *line, size_t size, size_t n,
    void *data)
{
    ngx_http_token_injector_fetch_t  *fetch = data;

    size *= n;
    fetch->headers += size;

    if (fetch->headers > NGX_HTTP_TOKEN_INJECTOR_FETCH_HEADERS) {
        fetch->objection = "sent headers larger than 64k, which is refused";
        return 0;
    }

    return size;
}


static size_t
ngx_http_token_injector_fetch_body(char *part, size_t size, size_t n,
    void *data)
{
    ngx_http_token_injector_fetch_t  *fetch = data;

    size *= n;

    if (size > fetch->conf->max_size - fetch->len) {
        return 0;
    }

    if (ngx_http_token_injector_fetch_room(fetch, fetch->len + size)
        != NGX_OK)
    {
        fetch->objection = "could not be listened to: out of memory";
        return 0;
    }

    ngx_memcpy(fetch->body + fetch->len, part, size);
    fetch->len += size;

    return size;
}


static ngx_int_t
ngx_http_token_injector_fetch_room(ngx_http_token_injector_fetch_t *fetch,
    size_t len)
{
    size_t   size;
    u_char  *body;

    if (len <= fetch->size) {
        return NGX_OK;
    }

    size = ngx_max(2 * fetch->size, NGX_HTTP_TOKEN_INJECTOR_FETCH_FIRST);
    size = ngx_max(size, len);

    body = ngx_alloc(size, ngx_cycle->log);
    if (body == NULL) {
        return NGX_ERROR;
    }

    if (fetch->body) {
        ngx_memcpy(body, fetch->body, fetch->len);
        ngx_explicit_memzero(fetch->body, fetch->len);
        ngx_free(fetch->body);
    }

    fetch->body = body;
    fetch->size = size;

    return NGX_OK;
}


void
ngx_http_token_injector_fetch_finish(ngx_http_token_injector_fetch_t *fetch,
    CURLcode code)
{
    const char                                *why;
    ngx_http_token_injector_fetch_reply_t      reply;
    ngx_http_token_injector_fetch_handler_pt   handler;

    ngx_http_token_injector_fetch_remove(fetch);

    ngx_http_token_injector_count(fetch->conf->row, code == CURLE_OK
                                  ? NGX_HTTP_TOKEN_INJECTOR_N_ANSWERED
                                  : NGX_HTTP_TOKEN_INJECTOR_N_FAILED, 1);
    ngx_http_token_injector_count(fetch->conf->row,
                                  NGX_HTTP_TOKEN_INJECTOR_N_MSEC,
                                  ngx_current_msec - fetch->began);

    handler = fetch->handler;
    fetch->handler = NULL;

    if (handler) {
        why = (code == CURLE_OK)
              ? ngx_http_token_injector_fetch_reply(fetch, &reply)
              : ngx_http_token_injector_fetch_why(fetch, code);

        if (why) {
            handler(fetch->data, NGX_ERROR, NULL, why);

        } else {
            handler(fetch->data, NGX_OK, &reply, NULL);
        }
    }

    ngx_http_token_injector_fetch_free(fetch);
}


/* NULL, or why what came back is none */

static const char *
ngx_http_token_injector_fetch_reply(ngx_http_token_injector_fetch_t *fetch,
    ngx_http_token_injector_fetch_reply_t *reply)
{
    long       status;
    ngx_str_t  encoding;

    if (curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status)
        != CURLE_OK)
    {
        return ngx_http_token_injector_fetch_why(fetch,
                                                 CURLE_WEIRD_SERVER_REPLY);
    }

    ngx_http_token_injector_fetch_value(fetch, "Content-Encoding", &encoding);

    if (encoding.len
        && (encoding.len != sizeof("identity") - 1
            || ngx_strcasecmp(encoding.data, (u_char *) "identity") != 0))
    {
        return "sent a Content-Encoding that nobody asked for";
    }

    ngx_http_token_injector_fetch_value(fetch, "Content-Type",
                                        &reply->content_type);
    ngx_http_token_injector_fetch_value(fetch, "Cache-Control",
                                        &reply->cache_control);
    ngx_http_token_injector_fetch_value(fetch, "Age", &reply->age);
    ngx_http_token_injector_fetch_value(fetch, "Retry-After",
                                        &reply->retry_after);

    reply->status = (ngx_uint_t) status;
    reply->body.len = fetch->len;
    reply->body.data = fetch->body ? fetch->body : (u_char *) "";

    return NULL;
}


/* of the answer itself, not of what came before it; the last where several */

static void
ngx_http_token_injector_fetch_value(ngx_http_token_injector_fetch_t *fetch,
    const char *name, ngx_str_t *value)
{
    struct curl_header  *h;

    ngx_str_set(value, "");

    if (curl_easy_header(fetch->easy, name, 0, CURLH_HEADER, -1, &h)
        != CURLHE_OK
        || curl_easy_header(fetch->easy, name, h->amount - 1, CURLH_HEADER,
                            -1, &h)
           != CURLHE_OK)
    {
        return;
    }

    value->data = (u_char *) h->value;
    value->len = ngx_strlen(h->value);
}
