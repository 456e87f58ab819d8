/*
 * What went wrong with a fetch, in words that say what to look at.  They
 * follow the name of what was asked: "https://…" timed out.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/x509.h>

#include "ngx_http_token_injector_fetch_private.h"


typedef struct {
    CURLcode                     code;
    const char                  *text;
} ngx_http_token_injector_fetch_text_t;


static const char *ngx_http_token_injector_fetch_refused(
    ngx_http_token_injector_fetch_t *fetch);
static const char *ngx_http_token_injector_fetch_proxy(
    ngx_http_token_injector_fetch_t *fetch, long status);
static const char *ngx_http_token_injector_fetch_large(
    ngx_http_token_injector_fetch_t *fetch);
static const char *ngx_http_token_injector_fetch_late(
    ngx_http_token_injector_fetch_t *fetch);
static const char *ngx_http_token_injector_fetch_unverified(
    ngx_http_token_injector_fetch_t *fetch, long connect);
static const char *ngx_http_token_injector_fetch_certificate(long verified);
static const char *ngx_http_token_injector_fetch_print(
    ngx_http_token_injector_fetch_t *fetch, const char *before,
    const char *text);
static ngx_uint_t ngx_http_token_injector_fetch_reached(
    ngx_http_token_injector_fetch_t *fetch, CURLINFO time);


static ngx_http_token_injector_fetch_text_t
    ngx_http_token_injector_fetch_texts[] =
{
    { CURLE_URL_MALFORMAT, "is not a URL that can be used" },
    { CURLE_LOGIN_DENIED, "has a user name in it, which is refused" },
    { CURLE_COULDNT_RESOLVE_HOST,
      "has a name that does not resolve: check it, and this machine's DNS" },
    { CURLE_COULDNT_RESOLVE_PROXY,
      "was not asked: the name of its proxy does not resolve" },
    { CURLE_PROXY, "was not asked: its proxy failed" },
    { CURLE_SSL_CONNECT_ERROR,
      "failed the TLS handshake: does it speak TLS 1.2 or newer there" },
    { CURLE_SSL_CLIENTCERT, "wants a client certificate, and there is none" },
    { CURLE_WEIRD_SERVER_REPLY, "answered something that is not HTTP" },
    { CURLE_BAD_CONTENT_ENCODING,
      "sent a Transfer-Encoding that nobody asked for" },
    { CURLE_OUT_OF_MEMORY,
      "could not be listened to: out of memory, or a header is too long" },
    { CURLE_OK, NULL }
};


const char *
ngx_http_token_injector_fetch_why(ngx_http_token_injector_fetch_t *fetch,
    CURLcode code)
{
    long                                   connect;
    ngx_http_token_injector_fetch_text_t  *t;

    if (fetch->objection) {
        return fetch->objection;
    }

    connect = 0;
    (void) curl_easy_getinfo(fetch->easy, CURLINFO_HTTP_CONNECTCODE, &connect);

    if (connect && connect / 100 != 2) {
        return ngx_http_token_injector_fetch_proxy(fetch, connect);
    }

    switch (code) {

    case CURLE_OPERATION_TIMEDOUT:
        return ngx_http_token_injector_fetch_late(fetch);

    case CURLE_PEER_FAILED_VERIFICATION:
        return ngx_http_token_injector_fetch_unverified(fetch, connect);

    case CURLE_COULDNT_CONNECT:
        return ngx_http_token_injector_fetch_refused(fetch);

    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return fetch->headers
               ? "closed the connection in the middle of its answer"
               : "closed the connection without an answer";

    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_WRITE_ERROR:
        return ngx_http_token_injector_fetch_large(fetch);

    case CURLE_UNSUPPORTED_PROTOCOL:
        /* what libcurl also says of an answer without a status line */
        return ngx_http_token_injector_fetch_reached(fetch,
                                                     CURLINFO_CONNECT_TIME_T)
               ? "answered something that is not HTTP"
               : "is refused: its scheme is not allowed here";

    default:
        break;
    }

    for (t = ngx_http_token_injector_fetch_texts; t->text; t++) {

        if (t->code == code) {
            return t->text;
        }
    }

    return ngx_http_token_injector_fetch_print(fetch, "failed: ",
                                               curl_easy_strerror(code));
}


static const char *
ngx_http_token_injector_fetch_refused(ngx_http_token_injector_fetch_t *fetch)
{
    long  err;

    err = 0;
    (void) curl_easy_getinfo(fetch->easy, CURLINFO_OS_ERRNO, &err);

    if (err == NGX_ECONNREFUSED) {
        return fetch->conf->proxy.len
               ? "refuses connections, or its proxy does: is it up, is the "
                 "port right"
               : "refuses connections: is it up, is the port right";
    }

    return fetch->conf->proxy.len
           ? "cannot be connected to, or its proxy: check addresses, routes "
             "and firewalls"
           : "cannot be connected to: check address, route and firewall, and "
             "whether a proxy is needed";
}


static const char *
ngx_http_token_injector_fetch_proxy(ngx_http_token_injector_fetch_t *fetch,
    long status)
{
    (void) ngx_snprintf(fetch->text, sizeof(fetch->text),
                        "was not asked: its proxy answered %l, %s%Z", status,
                        status == 407
                        ? "and wants other credentials"
                        : "does it let this machine connect there");

    return (char *) fetch->text;
}


static const char *
ngx_http_token_injector_fetch_large(ngx_http_token_injector_fetch_t *fetch)
{
    (void) ngx_snprintf(fetch->text, sizeof(fetch->text),
                        "answered more than %uz bytes, which is refused%Z",
                        fetch->conf->max_size);

    return (char *) fetch->text;
}


/* how far it came says where to look */

static const char *
ngx_http_token_injector_fetch_late(ngx_http_token_injector_fetch_t *fetch)
{
    if (!ngx_http_token_injector_fetch_reached(fetch,
                                               CURLINFO_NAMELOOKUP_TIME_T))
    {
        return "timed out while a name was resolved: check this machine's DNS";
    }

    if (!ngx_http_token_injector_fetch_reached(fetch,
                                               CURLINFO_PRETRANSFER_TIME_T))
    {
        return fetch->tls
               ? "timed out in the TLS handshake: does it speak TLS there"
               : "timed out while connecting: check address, route and "
                 "firewall, and which proxy is needed";
    }

    return fetch->headers ? "timed out in the middle of its answer"
                          : "timed out without an answer";
}


/* no tunnel, and a proxy spoken to by TLS: the certificate is the proxy's */

static const char *
ngx_http_token_injector_fetch_unverified(
    ngx_http_token_injector_fetch_t *fetch, long connect)
{
    long        verified;
    ngx_str_t  *proxy;

    verified = 0;
    proxy = &fetch->conf->proxy;

    if (connect == 0 && proxy->len > sizeof("https:") - 1
        && ngx_strncasecmp(proxy->data, (u_char *) "https:",
                           sizeof("https:") - 1)
           == 0)
    {
        (void) curl_easy_getinfo(fetch->easy, CURLINFO_PROXY_SSL_VERIFYRESULT,
                                 &verified);

        return ngx_http_token_injector_fetch_print(fetch,
                          "was not asked: its proxy ",
                          ngx_http_token_injector_fetch_certificate(verified));
    }

    (void) curl_easy_getinfo(fetch->easy, CURLINFO_SSL_VERIFYRESULT,
                             &verified);

    return ngx_http_token_injector_fetch_certificate(verified);
}


static const char *
ngx_http_token_injector_fetch_certificate(long verified)
{
    switch (verified) {

    case X509_V_OK:
    case X509_V_ERR_UNSPECIFIED:
        /* the chain is good, or was not yet looked at: libcurl says no more */
        return "has a certificate for another name";

    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "has a certificate, or an authority's, that has expired";

    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "has a certificate that is not valid yet: check the clocks";

    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return "has a certificate of an authority that is not trusted here: "
               "\"ssl_trusted_certificate\" names those that are";

    default:
        return "has a certificate that does not verify";
    }
}


static const char *
ngx_http_token_injector_fetch_print(ngx_http_token_injector_fetch_t *fetch,
    const char *before, const char *text)
{
    (void) ngx_snprintf(fetch->text, sizeof(fetch->text), "%s%s%Z",
                        before, text);
    fetch->text[sizeof(fetch->text) - 1] = '\0';

    return (char *) fetch->text;
}


static ngx_uint_t
ngx_http_token_injector_fetch_reached(ngx_http_token_injector_fetch_t *fetch,
    CURLINFO time)
{
    curl_off_t  us;

    us = 0;
    (void) curl_easy_getinfo(fetch->easy, time, &us);

    return us > 0;
}
