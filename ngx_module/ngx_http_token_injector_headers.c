/*
 * Headers of a request, found as variables find them; and the variables that
 * may not outlive a view of them.
 */

#include "ngx_http_token_injector.h"


static ngx_uint_t ngx_http_token_injector_volatile(ngx_http_variable_t *v);
static ngx_uint_t ngx_http_token_injector_read_header(ngx_table_elt_t *h,
    ngx_http_token_injector_source_t *source, ti_str_t *value);


/* is it a header that $http_NAME would read, in whatever spelling? */

ngx_int_t
ngx_http_token_injector_named(ngx_table_elt_t *h, ngx_str_t *name)
{
    u_char  ch;
    size_t  i;

    if (h->key.len != name->len) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        ch = ngx_tolower(h->key.data[i]);

        if (ch == '-') {
            ch = '_';
        }

        if (ch != name->data[i]) {
            return 0;
        }
    }

    return 1;
}


/*
 * Values that were cached under another view, or before this module knew what
 * it knows now.
 */

void
ngx_http_token_injector_flush(ngx_http_request_t *r)
{
    ngx_uint_t                           *index, i;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_main(r);

    if (mcf->volatiles == NULL || r->variables == NULL) {
        return;
    }

    index = mcf->volatiles->elts;

    for (i = 0; i < mcf->volatiles->nelts; i++) {
        r->variables[index[i]].valid = 0;
        r->variables[index[i]].not_found = 0;
    }
}


/* which variables those are: known when all of the configuration is read */

ngx_int_t
ngx_http_token_injector_views_init(ngx_cycle_t *cycle)
{
    ngx_uint_t                            i, *index;
    ngx_http_variable_t                  *v;
    ngx_http_core_main_conf_t            *cmcf;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_token_injector_module);
    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    if (mcf == NULL || cmcf == NULL || !mcf->used) {
        return NGX_OK;
    }

    mcf->volatiles = ngx_array_create(cycle->pool, 4, sizeof(ngx_uint_t));
    if (mcf->volatiles == NULL) {
        return NGX_ERROR;
    }

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (!ngx_http_token_injector_volatile(&v[i])) {
            continue;
        }

        index = ngx_array_push(mcf->volatiles);
        if (index == NULL) {
            return NGX_ERROR;
        }

        *index = v[i].index;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_token_injector_volatile(ngx_http_variable_t *v)
{
    ngx_uint_t  i;

    static ngx_str_t  names[] = {
        ngx_string("http_"),
        ngx_string("cookie_"),
        ngx_string("token_claim_"),
        ngx_string("token_user"),
        ngx_string("token_issuer"),
        ngx_string("token_provider"),
        ngx_string("token_result"),
        ngx_string("token_cache_status"),
        ngx_string("token_expires")
    };

    if (v->get_handler == ngx_http_token_injector_variable_path) {
        return 1;
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        if (v->name.len >= names[i].len
            && (names[i].data[names[i].len - 1] == '_'
                || v->name.len == names[i].len)
            && ngx_strncmp(v->name.data, names[i].data, names[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * A caller's secret, from the original view alone.  NGX_DECLINED: there is
 * none.  NGX_ABORT: there are several, and nobody can say which is meant.
 */

ngx_int_t
ngx_http_token_injector_read(ngx_http_token_injector_ctx_t *ctx,
    ngx_http_token_injector_source_t *source, ti_str_t *value)
{
    ngx_uint_t                       i, n;
    ngx_list_part_t                 *part;
    ngx_table_elt_t                 *h;
    ngx_http_token_injector_view_t  *view, here;

    if (ctx->state->viewed) {
        view = &ctx->state->original;

    } else {
        ngx_http_token_injector_save(ctx->request, &here);
        view = &here;
    }

    n = 0;

    for (part = &view->headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            n += ngx_http_token_injector_read_header(&h[i], source, value);
        }
    }

    if (n == 0) {
        return NGX_DECLINED;
    }

    return n == 1 ? NGX_OK : NGX_ABORT;
}


/* how often it is there */

static ngx_uint_t
ngx_http_token_injector_read_header(ngx_table_elt_t *h,
    ngx_http_token_injector_source_t *source, ti_str_t *value)
{
    ti_str_t   text;
    ngx_str_t  name;

    name = source->name;

    if (source->from == NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE) {
        ngx_str_set(&name, "cookie");

    } else if (source->from == NGX_HTTP_TOKEN_INJECTOR_FROM_AUTHORIZATION) {
        ngx_str_set(&name, "authorization");
    }

    if (!ngx_http_token_injector_named(h, &name)) {
        return 0;
    }

    text = ngx_http_token_injector_str(&h->value);

    if (source->from == NGX_HTTP_TOKEN_INJECTOR_FROM_COOKIE) {
        return ti_header_cookie(text,
                                ngx_http_token_injector_str(&source->name),
                                value);
    }

    *value = text;

    return 1;
}


/* the next header of that name in the present view */

ngx_table_elt_t *
ngx_http_token_injector_header(ngx_http_request_t *r, ti_str_t name,
    ngx_table_elt_t *after)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (after) {
                if (&h[i] == after) {
                    after = NULL;
                }

                continue;
            }

            if (h[i].key.len == name.len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name.data,
                                   name.len)
                   == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


/* after those that are there; h is of no such list yet */

ngx_int_t
ngx_http_token_injector_link(ngx_http_request_t *r,
    ngx_http_token_injector_multi_t *multi, ngx_table_elt_t *h)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t  **last;

    for (last = multi; *last; last = &(*last)->next) { /* void */ }

    h->next = NULL;
    *last = h;

#else

    ngx_table_elt_t  **last;

    if (multi->elts == NULL
        && ngx_array_init(multi, r->pool, 1, sizeof(ngx_table_elt_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    last = ngx_array_push(multi);
    if (last == NULL) {
        return NGX_ERROR;
    }

    *last = h;

#endif

    return NGX_OK;
}
