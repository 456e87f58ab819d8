/*
 * How somebody is asked over HTTP: timeouts, proxies, whom to trust.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_FETCH_MAX  (512 * 1024)


typedef struct {
    ngx_str_t                      path;         /* empty: the system's */
    X509_STORE                    *store;
} ngx_http_token_injector_trust_t;


static char *ngx_http_token_injector_party_trust(ngx_conf_t *cf,
    ngx_http_token_injector_party_t *party);
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

    return ngx_http_token_injector_party_trust(cf, party);
}


/* many trust the same, and a bundle takes its time to be read */

static char *
ngx_http_token_injector_party_trust(ngx_conf_t *cf,
    ngx_http_token_injector_party_t *party)
{
    ngx_uint_t                            i;
    ngx_http_token_injector_trust_t      *trust;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);

    if (mcf->trusts == NULL) {
        mcf->trusts = ngx_array_create(cf->pool, 1,
                                     sizeof(ngx_http_token_injector_trust_t));
        if (mcf->trusts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (party->trusted_certificate.len
        && ngx_conf_full_name(cf->cycle, &party->trusted_certificate, 1)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    trust = mcf->trusts->elts;

    for (i = 0; i < mcf->trusts->nelts; i++) {

        if (trust[i].path.len == party->trusted_certificate.len
            && (trust[i].path.len == 0
                || ngx_strncmp(trust[i].path.data,
                               party->trusted_certificate.data,
                               trust[i].path.len)
                   == 0))
        {
            party->fetch.trust = trust[i].store;
            return NGX_CONF_OK;
        }
    }

    party->fetch.trust = ngx_http_token_injector_fetch_trust(cf,
                                               "ssl_trusted_certificate",
                                               &party->trusted_certificate);
    if (party->fetch.trust == NULL) {
        return NGX_CONF_ERROR;
    }

    trust = ngx_array_push(mcf->trusts);
    if (trust == NULL) {
        return NGX_CONF_ERROR;
    }

    trust->path = party->trusted_certificate;
    trust->store = party->fetch.trust;

    return NGX_CONF_OK;
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
