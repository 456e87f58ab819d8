/*
 * How somebody is asked over HTTP: timeouts, proxies, whom to trust.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_FETCH_MAX  (512 * 1024)


static ngx_int_t ngx_http_token_injector_party_no_proxy(ngx_conf_t *cf,
    ngx_http_token_injector_party_t *party);


void
ngx_http_token_injector_party_unset(ngx_http_token_injector_party_t *party)
{
    party->connect_timeout = NGX_CONF_UNSET_MSEC;
    party->timeout = NGX_CONF_UNSET_MSEC;
    party->allow_http = NGX_CONF_UNSET;
}


void
ngx_http_token_injector_party_defaults(ngx_http_token_injector_party_t *party)
{
    ngx_conf_init_msec_value(party->connect_timeout, 2000);
    ngx_conf_init_msec_value(party->timeout, 5000);
    ngx_conf_init_value(party->allow_http, 0);
}


char *
ngx_http_token_injector_party(ngx_conf_t *cf,
    ngx_http_token_injector_party_t *party)
{
    const char                            *why;
    ngx_http_token_injector_fetch_conf_t  *fetch;

    why = ngx_http_token_injector_fetch_objection();

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "token injector: %s", why);
        return NGX_CONF_ERROR;
    }

    if (party->timeout == 0 || party->connect_timeout == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"timeout\" and \"connect_timeout\" take a "
                           "millisecond or more: nothing waits for ever");
        return NGX_CONF_ERROR;
    }

    fetch = &party->fetch;

    fetch->proxy = party->http_proxy;
    fetch->connect_timeout = party->connect_timeout;
    fetch->timeout = party->timeout;
    fetch->max_size = NGX_HTTP_TOKEN_INJECTOR_FETCH_MAX;
    fetch->allow_http = party->allow_http;

    /* a proxy is of this network: how it is spoken to is the operator's */

    why = party->http_proxy.len
          ? ngx_http_token_injector_proxy_objection(&party->http_proxy)
          : NULL;

    if (why) {
        /* not as it is written: it may have a password in it */
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"http_proxy\" %s", why);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_party_no_proxy(cf, party) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (!party->https && party->trusted_certificate.len == 0) {
        return NGX_CONF_OK;
    }

    fetch->trust = ngx_http_token_injector_fetch_trust(cf,
                                               "ssl_trusted_certificate",
                                               &party->trusted_certificate);

    return fetch->trust ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* as libcurl takes it: one text, by commas */

static ngx_int_t
ngx_http_token_injector_party_no_proxy(ngx_conf_t *cf,
    ngx_http_token_injector_party_t *party)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *host;
    ngx_uint_t   i;

    ngx_str_set(&party->fetch.no_proxy, "");

    if (party->no_proxy == NULL) {
        return NGX_OK;
    }

    len = 0;
    host = party->no_proxy->elts;

    for (i = 0; i < party->no_proxy->nelts; i++) {
        len += host[i].len + 1;
    }

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    party->fetch.no_proxy.data = p;
    party->fetch.no_proxy.len = len - 1;

    for (i = 0; i < party->no_proxy->nelts; i++) {
        p = ngx_cpymem(p, host[i].data, host[i].len);
        *p++ = ',';
    }

    p[-1] = '\0';

    return NGX_OK;
}
