/*
 * Floor 2: what a client asks of a provider.
 */

#include <string.h>

#include "ti_oauth_private.h"


/* What a body is made of: written twice, counted first. */

typedef struct {
    const ti_oauth_client_t  *client;
    const ti_form_param_t    *params;       /* those without a value stay out */
    size_t                    nparams;
    const ti_form_param_t    *extra;
    size_t                    nextra;
} ti_oauth_body_t;


typedef struct {
    ti_str_t  name;                         /* of the grant */
    ti_str_t  token;                        /* the parameter's name */
} ti_oauth_grant_info_t;


static const ti_oauth_grant_info_t  ti_oauth_grants[] = {

    [TI_OAUTH_CODE] =
        { ti_string("authorization_code"), ti_string("code") },

    [TI_OAUTH_CLIENT_CREDENTIALS] =
        { ti_string("client_credentials"), ti_string("") },

    [TI_OAUTH_REFRESH] =
        { ti_string("refresh_token"), ti_string("refresh_token") },

    [TI_OAUTH_EXCHANGE] =
        { ti_string("urn:ietf:params:oauth:grant-type:token-exchange"),
          ti_string("subject_token") },

    [TI_OAUTH_JWT_BEARER] =
        { ti_string("urn:ietf:params:oauth:grant-type:jwt-bearer"),
          ti_string("assertion") }
};


/* RFC 6749 section 2.3.1, RFC 7523 section 2.2 */

static void
ti_oauth_write_client(ti_form_t *form, const ti_oauth_client_t *client)
{
    static const ti_str_t  type =
        ti_string("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

    if (client->auth == TI_OAUTH_BASIC) {
        return;
    }

    ti_form_param(form, 1, ti_str("client_id"), client->id);

    if (client->auth == TI_OAUTH_POST) {
        ti_form_param(form, 1, ti_str("client_secret"), client->secret);

    } else if (client->auth == TI_OAUTH_ASSERTION) {
        ti_form_param(form, 1, ti_str("client_assertion_type"), type);
        ti_form_param(form, 1, ti_str("client_assertion"), client->secret);
    }
}


static void
ti_oauth_write_body(ti_form_t *form, const ti_oauth_body_t *body)
{
    size_t  i;

    for (i = 0; i < body->nparams; i++) {
        if (body->params[i].value.len != 0) {
            ti_form_param(form, form->len != 0, body->params[i].name,
                          body->params[i].value);
        }
    }

    ti_form_params(form, body->extra, body->nextra);
    ti_oauth_write_client(form, body->client);
}


static ti_rc_t
ti_oauth_request(const ti_pool_t *pool, const ti_oauth_body_t *body,
    ti_oauth_request_t *request)
{
    ti_form_t                 form;
    const ti_oauth_client_t  *client;

    memset(request, 0, sizeof(ti_oauth_request_t));

    client = body->client;

    if (client->auth == TI_OAUTH_BASIC
        && ti_form_basic(pool, client->id, client->secret,
                         &request->authorization)
           != TI_OK)
    {
        return TI_ERROR;
    }

    form = (ti_form_t) { NULL, 0 };
    ti_oauth_write_body(&form, body);

    form.dst = ti_pool_alloc(pool, form.len);
    if (form.dst == NULL) {
        return TI_ERROR;
    }

    form.len = 0;
    ti_oauth_write_body(&form, body);

    request->body = ti_str_from(form.dst, form.len);

    return TI_OK;
}


ti_rc_t
ti_oauth_token_request(const ti_pool_t *pool, const ti_oauth_client_t *client,
    const ti_oauth_ask_t *ask, ti_oauth_request_t *request)
{
    ti_form_param_t               params[5];
    ti_oauth_body_t               body;
    const ti_oauth_grant_info_t  *grant;

    grant = &ti_oauth_grants[ask->grant];

    memset(params, 0, sizeof(params));

    params[0].name = ti_str("grant_type");
    params[0].value = grant->name;

    if (grant->token.len != 0) {
        params[1].name = grant->token;
        params[1].value = ask->grant_token;
    }

    switch (ask->grant) {

    case TI_OAUTH_CODE:
        params[2].name = ti_str("redirect_uri");
        params[2].value = ask->redirect_uri;
        params[3].name = ti_str("code_verifier");
        params[3].value = ask->verifier;
        break;

    case TI_OAUTH_EXCHANGE:
        params[2].name = ti_str("subject_token_type");
        params[2].value = ask->subject_type;
        break;

    case TI_OAUTH_JWT_BEARER:
        params[2].name = ti_str("requested_token_use");
        params[2].value = ti_str("on_behalf_of");
        break;

    default:
        break;
    }

    params[4].name = ti_str("scope");
    params[4].value = ask->scope;

    body.client = client;
    body.params = params;
    body.nparams = 5;
    body.extra = ask->extra;
    body.nextra = ask->nextra;

    return ti_oauth_request(pool, &body, request);
}


ti_rc_t
ti_oauth_revocation_request(const ti_pool_t *pool,
    const ti_oauth_client_t *client, ti_str_t token, ti_str_t hint,
    ti_oauth_request_t *request)
{
    ti_form_param_t  params[2];
    ti_oauth_body_t  body;

    params[0].name = ti_str("token");
    params[0].value = token;
    params[1].name = ti_str("token_type_hint");
    params[1].value = hint;

    body.client = client;
    body.params = params;
    body.nparams = 2;
    body.extra = NULL;
    body.nextra = 0;

    return ti_oauth_request(pool, &body, request);
}


/* RFC 6750 sections 2.2 and 2.3 */

static ti_rc_t
ti_oauth_userinfo_form(const ti_pool_t *pool, ti_str_t before, ti_str_t token,
    ti_str_t *text)
{
    int        pass;
    ti_form_t  form;

    form.dst = NULL;

    for (pass = 0; pass < 2; pass++) {
        form.len = 0;
        ti_form_raw(&form, before);
        ti_form_param(&form, 0, ti_str("access_token"), token);

        if (form.dst == NULL) {
            form.dst = ti_pool_alloc(pool, form.len);
            if (form.dst == NULL) {
                return TI_ERROR;
            }
        }
    }

    *text = ti_str_from(form.dst, form.len);

    return TI_OK;
}


ti_rc_t
ti_oauth_userinfo_request(const ti_pool_t *pool, ti_oauth_binding_t binding,
    ti_str_t endpoint, ti_str_t token, ti_oauth_request_t *request)
{
    int             asked;
    unsigned char  *p;

    static const ti_str_t  scheme = ti_string("Bearer ");

    memset(request, 0, sizeof(ti_oauth_request_t));

    switch (binding) {

    case TI_OAUTH_IN_BODY:
        return ti_oauth_userinfo_form(pool, ti_null_str, token,
                                      &request->body);

    case TI_OAUTH_IN_QUERY:
        asked = endpoint.len != 0
                && memchr(endpoint.data, '?', endpoint.len) != NULL;

        return ti_oauth_userinfo_form(pool, asked ? ti_str("&") : ti_str("?"),
                                      token, &request->query);

    default:                                /* TI_OAUTH_IN_HEADER */
        p = ti_pool_alloc(pool, scheme.len + token.len);
        if (p == NULL) {
            return TI_ERROR;
        }

        memcpy(p, scheme.data, scheme.len);
        memcpy(p + scheme.len, token.data, token.len);

        request->authorization = ti_str_from(p, scheme.len + token.len);

        return TI_OK;
    }
}
