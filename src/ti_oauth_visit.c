/*
 * Floor 2: where the browser is sent to, and what it comes back with.
 */

#include <string.h>

#include "ti_oauth_private.h"


#define TI_OAUTH_SECRET_BYTES  32


static const ti_str_t  ti_oauth_reserved_names[] = {
    ti_string("response_type"), ti_string("response_mode"),
    ti_string("client_id"), ti_string("redirect_uri"), ti_string("scope"),
    ti_string("state"), ti_string("nonce"), ti_string("code_challenge"),
    ti_string("code_challenge_method"), ti_string("request"),
    ti_string("request_uri"), ti_string("grant_type"), ti_string("code"),
    ti_string("code_verifier"), ti_string("refresh_token"),
    ti_string("client_secret"), ti_string("client_assertion"),
    ti_string("client_assertion_type"), ti_string("subject_token"),
    ti_string("subject_token_type"), ti_string("assertion"),
    ti_string("requested_token_use")
};

#define TI_OAUTH_NRESERVED                                                    \
    (sizeof(ti_oauth_reserved_names) / sizeof(ti_oauth_reserved_names[0]))


ti_rc_t
ti_oauth_secret(const ti_random_t *random,
    unsigned char text[TI_OAUTH_SECRET_LEN])
{
    ti_rc_t        rc;
    unsigned char  bytes[TI_OAUTH_SECRET_BYTES];

    rc = random->fill(random->data, bytes, sizeof(bytes));

    if (rc == TI_OK) {
        ti_b64u_encode(text, ti_str_from(bytes, sizeof(bytes)));
    }

    ti_wipe(bytes, sizeof(bytes));

    return rc;
}


int
ti_oauth_is_vschar(ti_str_t text)
{
    size_t  i;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7E) {
            return 0;
        }
    }

    return text.len != 0;
}


int
ti_oauth_reserved(ti_str_t name)
{
    size_t  i;

    for (i = 0; i < TI_OAUTH_NRESERVED; i++) {
        if (ti_str_eq(name, ti_oauth_reserved_names[i])) {
            return 1;
        }
    }

    return 0;
}


/* The endpoint, and a "?", a "&" or, where it ends with one, nothing. */

static void
ti_oauth_endpoint(ti_form_t *form, ti_str_t endpoint)
{
    unsigned char  last;

    last = endpoint.data[endpoint.len - 1];

    ti_form_raw(form, endpoint);

    if (memchr(endpoint.data, '?', endpoint.len) == NULL) {
        ti_form_raw(form, ti_str("?"));

    } else if (last != '?' && last != '&') {
        ti_form_raw(form, ti_str("&"));
    }
}


static void
ti_oauth_write_visit(ti_form_t *form, const ti_oauth_visit_t *visit,
    ti_str_t challenge)
{
    ti_oauth_endpoint(form, visit->endpoint);

    ti_form_param(form, 0, ti_str("response_type"), ti_str("code"));
    ti_form_param(form, 1, ti_str("client_id"), visit->client_id);
    ti_form_param(form, 1, ti_str("redirect_uri"), visit->redirect_uri);

    if (visit->scope.len != 0) {
        ti_form_param(form, 1, ti_str("scope"), visit->scope);
    }

    ti_form_param(form, 1, ti_str("state"), visit->state);
    ti_form_param(form, 1, ti_str("code_challenge"), challenge);
    ti_form_param(form, 1, ti_str("code_challenge_method"), ti_str("S256"));

    if (visit->nonce.len != 0) {
        ti_form_param(form, 1, ti_str("nonce"), visit->nonce);
    }

    ti_form_params(form, visit->extra, visit->nextra);
}


static void
ti_oauth_write_admin_visit(ti_form_t *form, const ti_oauth_visit_t *visit)
{
    ti_oauth_endpoint(form, visit->endpoint);

    ti_form_param(form, 0, ti_str("client_id"), visit->client_id);
    ti_form_param(form, 1, ti_str("redirect_uri"), visit->redirect_uri);
    ti_form_param(form, 1, ti_str("state"), visit->state);

    if (visit->scope.len != 0) {
        ti_form_param(form, 1, ti_str("scope"), visit->scope);
    }
}


/* RFC 6749 section 3.1: an endpoint has no fragment */

static int
ti_oauth_visitable(const ti_oauth_visit_t *visit)
{
    return visit->endpoint.len != 0
           && memchr(visit->endpoint.data, '#', visit->endpoint.len) == NULL
           && visit->client_id.len != 0 && visit->redirect_uri.len != 0
           && visit->state.len != 0;
}


ti_rc_t
ti_oauth_authorization_url(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_oauth_visit_t *visit, ti_str_t *url)
{
    ti_form_t      form;
    unsigned char  digest[TI_SHA256_LEN];
    unsigned char  challenge[TI_OAUTH_SECRET_LEN];

    if (!ti_oauth_visitable(visit) || visit->verifier.len == 0) {
        return TI_DECLINED;
    }

    if (ti_crypto_sha256(crypto, &visit->verifier, 1, digest) != TI_OK) {
        return TI_ERROR;
    }

    ti_b64u_encode(challenge, ti_str_from(digest, sizeof(digest)));

    form = (ti_form_t) { NULL, 0 };
    ti_oauth_write_visit(&form, visit,
                         ti_str_from(challenge, sizeof(challenge)));

    form.dst = ti_pool_alloc(pool, form.len);
    if (form.dst == NULL) {
        return TI_ERROR;
    }

    form.len = 0;
    ti_oauth_write_visit(&form, visit,
                         ti_str_from(challenge, sizeof(challenge)));

    *url = ti_str_from(form.dst, form.len);

    return TI_OK;
}


ti_rc_t
ti_oauth_admin_consent_url(const ti_pool_t *pool,
    const ti_oauth_visit_t *visit, ti_str_t *url)
{
    ti_form_t  form;

    if (!ti_oauth_visitable(visit)) {
        return TI_DECLINED;
    }

    form = (ti_form_t) { NULL, 0 };
    ti_oauth_write_admin_visit(&form, visit);

    form.dst = ti_pool_alloc(pool, form.len);
    if (form.dst == NULL) {
        return TI_ERROR;
    }

    form.len = 0;
    ti_oauth_write_admin_visit(&form, visit);

    *url = ti_str_from(form.dst, form.len);

    return TI_OK;
}


/* RFC 9207 section 2.4: compared as it is, and before anything else */

ti_result_t
ti_oauth_code_return(const ti_oauth_return_t *back, ti_str_t issuer,
    int iss_required, const char **why)
{
    const ti_oauth_error_t  *error;

    if (back->iss.data == NULL ? iss_required
                               : issuer.len != 0
                                 && !ti_str_eq(back->iss, issuer))
    {
        *why = "\"iss\" is absent or another issuer's";
        return TI_RESULT_STATE_INVALID;
    }

    if (back->code.len != 0) {

        if (!ti_oauth_is_vschar(back->code)) {
            *why = "\"code\" has bytes that no code has";
            return TI_RESULT_REQUEST_INVALID;
        }

        return TI_RESULT_OK;
    }

    if (back->error.data == NULL) {
        *why = "neither \"code\" nor \"error\"";
        return TI_RESULT_REQUEST_INVALID;
    }

    error = ti_oauth_error(back->error);
    *why = error->why;

    return error->visit;
}


ti_result_t
ti_oauth_admin_return(const ti_oauth_return_t *back, const char **why)
{
    ti_result_t              result;
    const ti_oauth_error_t  *error;

    if (back->error.data == NULL) {
        return TI_RESULT_OK;
    }

    error = ti_oauth_error(back->error);
    *why = error->why;
    result = error->visit;

    /* what a user would have to do again, is here an administrator's to do */

    if (result == TI_RESULT_CONNECTION_REQUIRED
        || result == TI_RESULT_RECONNECT_REQUIRED)
    {
        return TI_RESULT_ADMIN_CONSENT_REQUIRED;
    }

    return result;
}
