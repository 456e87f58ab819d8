/*
 * Refusals: the status goes through error_page like any other; where there is
 * no page for it, nginx's own body is replaced by problem+json (RFC 9457).
 */

#include "ngx_http_token_injector.h"


/* as RFC 6750 section 3.1 knows them; none for a caller who said nothing */

typedef struct {
    ngx_str_t  code;
    ngx_str_t  description;
} ngx_http_token_injector_error_t;


static void ngx_http_token_injector_problem_withdraw_headers(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_challenge(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_challenge_text(
    ngx_http_token_injector_ctx_t *ctx, ngx_str_t *text);
static const ngx_http_token_injector_error_t *ngx_http_token_injector_error(
    ngx_http_token_injector_ctx_t *ctx);
static ngx_int_t ngx_http_token_injector_problem_claims(
    ngx_http_token_injector_ctx_t *ctx, ngx_str_t *claims);


/*
 * The headers that a refusal has with and without a page.  They are taken back
 * if another access module outvotes it.
 */

ngx_int_t
ngx_http_token_injector_problem_begin(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                         *p;
    ngx_str_t                       value;
    ngx_http_request_t             *r;
    const ti_result_info_t         *info;
    ngx_http_token_injector_ctx_t  *other;

    r = ctx->request;
    info = ti_result_info(ctx->result);

    /* what a page of an earlier refusal is judged to be replaces that */

    for (other = ctx->state->contexts; other; other = other->next) {
        if (other->request == r) {
            ngx_http_token_injector_problem_withdraw_headers(other);
        }
    }

    ngx_str_set(&value, "no-store");

    ctx->headers[0] = ngx_http_token_injector_add_header(r, "Cache-Control",
                                                         &value);
    if (ctx->headers[0] == NULL) {
        return NGX_ERROR;
    }

    /* who is to consent may do so at once, whoever waits for what */

    if (info->retry_after
        || (ctx->retry_after > 0
            && ctx->result != TI_RESULT_RECONNECT_REQUIRED
            && ctx->result != TI_RESULT_ADMIN_CONSENT_REQUIRED))
    {
        p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        /* as the provider said; or not all at the same time */
        value.data = p;
        value.len = ngx_sprintf(p, "%L", ctx->retry_after > 0
                                ? ctx->retry_after
                                : (int64_t) (1 + ngx_random() % 5)) - p;

        ctx->headers[1] = ngx_http_token_injector_add_header(r, "Retry-After",
                                                             &value);
        if (ctx->headers[1] == NULL) {
            return NGX_ERROR;
        }
    }

    if (ctx->status == NGX_HTTP_UNAUTHORIZED
        || ctx->result == TI_RESULT_CALLER_REJECTED)
    {
        return ngx_http_token_injector_challenge(ctx);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_challenge(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_str_t            value;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_token_injector_challenge_text(ctx, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    h = ngx_http_token_injector_add_header(r, "WWW-Authenticate", &value);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ctx->headers[2] = h;

#if (nginx_version >= 1023000)
    /* beside what another access module asked for */
    h->next = r->headers_out.www_authenticate;
#endif

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


/* RFC 6750 section 3, RFC 9728 section 5.1 */

static ngx_int_t
ngx_http_token_injector_challenge_text(ngx_http_token_injector_ctx_t *ctx,
    ngx_str_t *text)
{
    u_char                                 *p;
    ngx_str_t                               realm, metadata;
    const ngx_http_token_injector_error_t  *error;

    error = ngx_http_token_injector_error(ctx);

    ngx_str_null(&realm);
    ngx_str_null(&metadata);

    if (ctx->conf->auth) {
        realm = ctx->conf->auth->realm;
        metadata = ctx->conf->auth->metadata;
    }

    p = ngx_pnalloc(ctx->request->pool,
                    sizeof("Bearer realm=\"\", resource_metadata=\"\", "
                           "error=\"\", error_description=\"\",")
                    + realm.len + metadata.len + error->code.len
                    + error->description.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    p = ngx_cpymem(p, "Bearer ", sizeof("Bearer ") - 1);

    if (realm.len) {
        p = ngx_sprintf(p, "realm=\"%V\", ", &realm);
    }

    if (metadata.len) {
        p = ngx_sprintf(p, "resource_metadata=\"%V\", ", &metadata);
    }

    if (error->code.len) {
        p = ngx_sprintf(p, "error=\"%V\", error_description=\"%V\", ",
                        &error->code, &error->description);
    }

    /* what the last one leaves, and be it the scheme */

    while (p[-1] == ' ' || p[-1] == ',') {
        p--;
    }

    text->len = p - text->data;

    return NGX_OK;
}


/* says what the status says, and no more: why is in the log */

static const ngx_http_token_injector_error_t *
ngx_http_token_injector_error(ngx_http_token_injector_ctx_t *ctx)
{
    static const ngx_http_token_injector_error_t  invalid = {
        ngx_string("invalid_token"), ngx_string("the token is not valid")
    };
    static const ngx_http_token_injector_error_t  expired = {
        ngx_string("invalid_token"), ngx_string("the token has expired")
    };
    static const ngx_http_token_injector_error_t  scope = {
        ngx_string("insufficient_scope"),
        ngx_string("the token does not suffice for this request")
    };
    static const ngx_http_token_injector_error_t  none = {
        ngx_null_string, ngx_null_string
    };

    switch (ctx->result) {

    case TI_RESULT_TOKEN_INVALID:
        return &invalid;

    case TI_RESULT_TOKEN_EXPIRED:
        return &expired;

    case TI_RESULT_CALLER_REJECTED:
        return ctx->status == NGX_HTTP_FORBIDDEN ? &scope : &none;

    default:
        return &none;
    }
}


/* somebody else let the request in ("satisfy any") */

void
ngx_http_token_injector_problem_withdraw(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_token_injector_problem_withdraw_headers(ctx);

    ctx->refused = 0;
}


static void
ngx_http_token_injector_problem_withdraw_headers(
    ngx_http_token_injector_ctx_t *ctx)
{
    ngx_uint_t  i;

    for (i = 0; i < 3; i++) {
        if (ctx->headers[i]) {
            ctx->headers[i]->hash = 0;
            ctx->headers[i] = NULL;
        }
    }
}


/* nginx is about to send its own page for our status: it becomes ours */

ngx_int_t
ngx_http_token_injector_problem_header(ngx_http_token_injector_ctx_t *ctx)
{
    u_char                              *p;
    size_t                               len;
    ngx_str_t                            claims, *provider;
    ngx_http_request_t                  *r;
    const ti_result_info_t              *info;
    ngx_http_token_injector_provider_t  *about;

    r = ctx->request;

    if (r->headers_out.status != ctx->status || ctx->problem) {
        return NGX_OK;
    }

    info = ti_result_info(ctx->result);
    about = ngx_http_token_injector_about(ctx);
    provider = about ? &about->name : NULL;

    if (ngx_http_token_injector_problem_claims(ctx, &claims) != NGX_OK) {
        return NGX_ERROR;
    }

    len = sizeof("{\"type\":\"\",\"title\":\"\",\"status\":123,"
                 "\"provider\":\"\",\"claims\":}\n")
          + info->type.len + info->title.len + (provider ? provider->len : 0)
          + claims.len;

    ctx->body = ngx_create_temp_buf(r->pool, len);
    if (ctx->body == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(ctx->body->last,
                    "{\"type\":\"%*s\",\"title\":\"%*s\",\"status\":%ui",
                    info->type.len, info->type.data,
                    info->title.len, info->title.data, ctx->status);

    if (provider) {
        p = ngx_sprintf(p, ",\"provider\":\"%V\"", provider);
    }

    if (claims.len) {
        p = ngx_sprintf(p, ",\"claims\":%V", &claims);
    }

    ctx->body->last = ngx_cpymem(p, "}\n", 2);

    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    ngx_http_clear_content_length(r);
    r->headers_out.content_length_n = ctx->body->last - ctx->body->pos;

    ctx->problem = 1;

    return NGX_OK;
}


/* as a JSON string, where there are any */

static ngx_int_t
ngx_http_token_injector_problem_claims(ngx_http_token_injector_ctx_t *ctx,
    ngx_str_t *claims)
{
    char    *text;
    json_t  *string;

    ngx_str_null(claims);

    if (ctx->claims_wanted.len == 0
        || ctx->result != TI_RESULT_RECONNECT_REQUIRED)
    {
        return NGX_OK;
    }

    string = json_stringn((const char *) ctx->claims_wanted.data,
                          ctx->claims_wanted.len);
    text = json_dumps(string, JSON_ENCODE_ANY|JSON_ENSURE_ASCII);
    json_decref(string);

    if (text == NULL) {
        return NGX_ERROR;
    }

    claims->len = ngx_strlen(text);
    claims->data = ngx_pnalloc(ctx->request->pool, claims->len);

    if (claims->data) {
        ngx_memcpy(claims->data, text, claims->len);
    }

    free(text);

    return claims->data ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_token_injector_problem_body(ngx_http_token_injector_ctx_t *ctx,
    ngx_chain_t **out)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (ctx->problem_sent) {
        *out = NULL;
        return NGX_OK;
    }

    cl = ngx_alloc_chain_link(ctx->request->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b = ctx->body;
    b->last_buf = (ctx->request == ctx->request->main);
    b->last_in_chain = 1;

    cl->buf = b;
    cl->next = NULL;

    *out = cl;
    ctx->problem_sent = 1;

    return NGX_OK;
}
