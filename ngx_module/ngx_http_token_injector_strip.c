/*
 * What is taken out of a request before anybody else sees it: the caller's
 * secrets where a location injects, and what the client said about itself
 * where that is this module's to say.
 */

#include "ngx_http_token_injector.h"


static ngx_int_t ngx_http_token_injector_strip_part(ngx_http_request_t *r,
    ngx_http_token_injector_loc_conf_t *conf, ngx_list_part_t *part,
    ngx_http_token_injector_view_t *stripped);
static ngx_int_t ngx_http_token_injector_strip_cookie(ngx_http_request_t *r,
    ngx_http_token_injector_loc_conf_t *conf, ngx_table_elt_t *h);
static ngx_uint_t ngx_http_token_injector_hidden(
    ngx_http_token_injector_loc_conf_t *conf, ngx_table_elt_t *h);
static ngx_uint_t ngx_http_token_injector_secret(
    ngx_http_token_injector_loc_conf_t *conf, ngx_table_elt_t *h);


/* as variables spell them */

static ngx_str_t  ngx_http_token_injector_authorization_name =
    ngx_string("authorization");
static ngx_str_t  ngx_http_token_injector_cookie_name = ngx_string("cookie");
static ngx_str_t  ngx_http_token_injector_user_key_name =
    ngx_string("x_user_key");


/*
 * Another location of the same request may add its own names to what is
 * removed; what other modules have added since stays.
 */

ngx_int_t
ngx_http_token_injector_strip(ngx_http_request_t *r,
    ngx_http_token_injector_state_t *state,
    ngx_http_token_injector_loc_conf_t *conf)
{
    ngx_uint_t                       n;
    ngx_list_part_t                 *part;
    ngx_http_token_injector_view_t   from, stripped;

    ngx_http_token_injector_save(r, &from);

    n = 1;

    for (part = &from.headers.part; part; part = part->next) {
        n += part->nelts;
    }

    ngx_memzero(&stripped, sizeof(ngx_http_token_injector_view_t));

    stripped.headers.part.elts = ngx_palloc(r->pool,
                                            n * sizeof(ngx_table_elt_t));
    if (stripped.headers.part.elts == NULL) {
        return NGX_ERROR;
    }

    stripped.headers.size = sizeof(ngx_table_elt_t);
    stripped.headers.nalloc = n;
    stripped.headers.pool = r->pool;

    for (part = &from.headers.part; part; part = part->next) {
        if (ngx_http_token_injector_strip_part(r, conf, part, &stripped)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (!state->viewed) {
        state->original = from;
        state->viewed = 1;
    }

    state->stripped = stripped;
    state->stripped.headers.last = &state->stripped.headers.part;

    ngx_http_token_injector_view(r, &state->stripped);

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_strip_part(ngx_http_request_t *r,
    ngx_http_token_injector_loc_conf_t *conf, ngx_list_part_t *part,
    ngx_http_token_injector_view_t *stripped)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h, *to;

    h = part->elts;
    to = stripped->headers.part.elts;
    to += stripped->headers.part.nelts;

    for (i = 0; i < part->nelts; i++) {

        if (ngx_http_token_injector_hidden(conf, &h[i])) {
            continue;
        }

        *to = h[i];

        if (ngx_http_token_injector_named(&h[i],
                                      &ngx_http_token_injector_cookie_name))
        {
            if (ngx_http_token_injector_strip_cookie(r, conf, to) != NGX_OK) {
                return NGX_ERROR;
            }

            if (to->value.len == 0) {
                continue;
            }

            if (ngx_http_token_injector_link(r, &stripped->cookies, to)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (&h[i] == r->headers_in.authorization) {
            stripped->authorization = to;
        }

        to++;
        stripped->headers.part.nelts++;
    }

    return NGX_OK;
}


/* a Cookie header without the cookies that are secrets */

static ngx_int_t
ngx_http_token_injector_strip_cookie(ngx_http_request_t *r,
    ngx_http_token_injector_loc_conf_t *conf, ngx_table_elt_t *h)
{
    u_char                            *p;
    ngx_uint_t                         i;
    ngx_http_token_injector_source_t  *source[2];

    if (!ngx_http_token_injector_takes(conf)) {
        return NGX_OK;
    }

    source[0] = conf->auth ? &conf->auth->source : NULL;
    source[1] = conf->user_key;

    for (i = 0; i < 2; i++) {

        if (source[i] == NULL
            || source[i]->from != NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE)
        {
            continue;
        }

        p = ngx_pnalloc(r->pool, h->value.len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        h->value.len = ti_header_cookie_strip(p,
                               ngx_http_token_injector_str(&h->value),
                               ngx_http_token_injector_str(&source[i]->name));
        p[h->value.len] = '\0';
        h->value.data = p;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_token_injector_hidden(ngx_http_token_injector_loc_conf_t *conf,
    ngx_table_elt_t *h)
{
    ngx_uint_t                               i;
    ngx_http_token_injector_claim_header_t  *header;

    if (ngx_http_token_injector_takes(conf)
        && ngx_http_token_injector_secret(conf, h))
    {
        return 1;
    }

    if (conf->claim_headers == NULL) {
        return 0;
    }

    header = conf->claim_headers->elts;

    for (i = 0; i < conf->claim_headers->nelts; i++) {
        if (ngx_http_token_injector_named(h, &header[i].name)) {
            return 1;
        }
    }

    return 0;
}


/* a header that no one else may see */

static ngx_uint_t
ngx_http_token_injector_secret(ngx_http_token_injector_loc_conf_t *conf,
    ngx_table_elt_t *h)
{
    if (ngx_http_token_injector_named(h,
                                 &ngx_http_token_injector_authorization_name)
        || ngx_http_token_injector_named(h,
                                     &ngx_http_token_injector_user_key_name))
    {
        return 1;
    }

    if (conf->user_key->from == NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER
        && ngx_http_token_injector_named(h, &conf->user_key->name))
    {
        return 1;
    }

    return conf->auth
           && conf->auth->source.from == NGX_HTTP_TOKEN_INJECTOR_FROM_HEADER
           && ngx_http_token_injector_named(h, &conf->auth->source.name);
}
