/*
 * Floor 2: OAuth 2.0 (RFC 6749) as bytes: the URLs that a browser is sent to,
 * the requests that a client makes, and what the replies mean.
 *
 * Requests hold secrets: the memory is the pool's, the caller wipes it.
 */

#ifndef TI_OAUTH_H
#define TI_OAUTH_H

#include "ti_crypto.h"
#include "ti_form.h"
#include "ti_json.h"


#define TI_OAUTH_REPLY_MAX      65536       /* a reply's body */
#define TI_OAUTH_TOKEN_MAX      16384       /* each token in it */
#define TI_OAUTH_SCOPE_MAX      4096        /* a granted scope; see below */
#define TI_OAUTH_LIFE           3600        /* of a token that tells none */
#define TI_OAUTH_LIFE_MAX       (3650 * INT64_C(86400))
#define TI_OAUTH_RETRY_MAX      86400       /* seconds of a Retry-After */
#define TI_OAUTH_CLAIMS_MAX     4096        /* what else is asked for */
#define TI_OAUTH_ACCOUNT_MAX    320         /* an e-mail address' most */

/* a state, a nonce, a code verifier: 32 random bytes as base64url */
#define TI_OAUTH_SECRET_LEN     43


ti_rc_t ti_oauth_secret(const ti_random_t *random,
    unsigned char text[TI_OAUTH_SECRET_LEN]);

/* code = 1*VSCHAR, and so is a refresh token (RFC 6749 appendix A) */
int ti_oauth_is_vschar(ti_str_t text);


/*
 * Where the user is sent to: RFC 6749 section 4.1.1 with PKCE's S256 (RFC 7636
 * section 4.3); nonce and scope are left out where empty.  The endpoint may
 * have a query.  extra: further parameters, "prompt" and the like.
 */

typedef struct {
    ti_str_t                endpoint;
    ti_str_t                client_id;
    ti_str_t                redirect_uri;
    ti_str_t                scope;
    ti_str_t                state;
    ti_str_t                nonce;
    ti_str_t                verifier;
    const ti_form_param_t  *extra;
    size_t                  nextra;
} ti_oauth_visit_t;

/* TI_DECLINED: an endpoint with a fragment, or something is missing */
ti_rc_t ti_oauth_authorization_url(ti_crypto_t *crypto, const ti_pool_t *pool,
    const ti_oauth_visit_t *visit, ti_str_t *url);

/* client_id, redirect_uri, state and scope: an administrator's consent */
ti_rc_t ti_oauth_admin_consent_url(const ti_pool_t *pool,
    const ti_oauth_visit_t *visit, ti_str_t *url);

/* may a configuration not give this parameter, since it is ours to give? */
int ti_oauth_reserved(ti_str_t name);


/*
 * How a client says who it is.  secret: the client's, or, for an assertion,
 * what ti_signer_assertion() made (RFC 7523 section 2.2).
 */

typedef enum {
    TI_OAUTH_BASIC,
    TI_OAUTH_POST,
    TI_OAUTH_PUBLIC,                        /* "none": its id alone */
    TI_OAUTH_ASSERTION
} ti_oauth_auth_t;

typedef struct {
    ti_oauth_auth_t  auth;
    ti_str_t         id;
    ti_str_t         secret;
} ti_oauth_client_t;


/*
 * What is asked for, RFC 6749 sections 4.1.3, 4.4.2, 6; what is empty, is left
 * out.  An exchange is RFC 8693's of the caller's token for another, a bearer
 * RFC 7523's, as Microsoft's on-behalf-of flow wants it.
 */

typedef enum {
    TI_OAUTH_CODE,
    TI_OAUTH_CLIENT_CREDENTIALS,
    TI_OAUTH_REFRESH,
    TI_OAUTH_EXCHANGE,
    TI_OAUTH_JWT_BEARER
} ti_oauth_grant_t;

typedef struct {
    ti_oauth_grant_t        grant;
    ti_str_t                grant_token;    /* the code, the refresh token,
                                               the caller's token */
    ti_str_t                subject_type;   /* of an exchange: what kind of
                                               token that is; a URI */
    ti_str_t                redirect_uri;   /* of a code */
    ti_str_t                verifier;       /* of a code */
    ti_str_t                scope;
    const ti_form_param_t  *extra;
    size_t                  nextra;
} ti_oauth_ask_t;


/* A request: of which method, is said where it is made. */

typedef struct {
    ti_str_t  authorization;                /* the field's value, or empty */
    ti_str_t  body;                         /* form-urlencoded, or empty */
    ti_str_t  query;                        /* "?…" or "&…" for the URL */
} ti_oauth_request_t;

/* POST */
ti_rc_t ti_oauth_token_request(const ti_pool_t *pool,
    const ti_oauth_client_t *client, const ti_oauth_ask_t *ask,
    ti_oauth_request_t *request);

/* POST, RFC 7009 section 2.1; hint is "refresh_token" or "access_token" */
ti_rc_t ti_oauth_revocation_request(const ti_pool_t *pool,
    const ti_oauth_client_t *client, ti_str_t token, ti_str_t hint,
    ti_oauth_request_t *request);


/*
 * Who consented: RFC 6750's three ways to send a token.  The header and the
 * query are a GET's, the body is a POST's.  endpoint: to know whether it has
 * a query already.
 */

typedef enum {
    TI_OAUTH_IN_HEADER,
    TI_OAUTH_IN_BODY,
    TI_OAUTH_IN_QUERY
} ti_oauth_binding_t;

ti_rc_t ti_oauth_userinfo_request(const ti_pool_t *pool,
    ti_oauth_binding_t binding, ti_str_t endpoint, ti_str_t token,
    ti_oauth_request_t *request);


/* A reply as it came; retry_after is the field's value or empty. */

typedef struct {
    unsigned  status;
    ti_str_t  body;
    ti_str_t  retry_after;
} ti_oauth_reply_t;

/* Of one that is no success. */

typedef struct {
    const char  *why;                       /* a static phrase */
    ti_str_t     error;                     /* its name, static; empty: none,
                                               or an unknown one */
    ti_str_t     claims;                    /* what is to be asked for with
                                               the next consent, as Entra says
                                               it; from the pool, printable,
                                               at most TI_OAUTH_CLAIMS_MAX */
    int64_t      retry_after;               /* seconds; 0: it did not say */
    unsigned     bad_client:1;              /* another secret may do */
    unsigned     permanent:1;               /* what the user granted will not
                                               do any more */
} ti_oauth_failure_t;


/*
 * What was granted.  Memory is the pool's and the caller's to wipe.
 *
 * expires is now and expires_in, an integer or, as some send it, its decimal
 * text, at most TI_OAUTH_LIFE_MAX; absent, 0, negative or of another type it
 * counts as not told, which is TI_OAUTH_LIFE: a code is spent by now, and the
 * token in the reply is good for as long as the third party takes it.
 *
 * scope: empty where it is the one that was asked for, and so is one that is
 * above TI_OAUTH_SCOPE_MAX or has bytes that no scope has.
 *
 * unkept is 1 where there was a refresh token that no record may hold (longer
 * than a token is, or outside of RFC 6750's b64token): there is none then.
 *
 * A refresh token may be missing from the reply to a refresh: the one that was
 * sent stays good (RFC 6749 section 6), and keeping it is the caller's.  One
 * that comes with an exchange or a bearer is left out: the caller's own token
 * is what gets another.
 */

typedef struct {
    ti_str_t  access_token;                 /* b64token */
    ti_str_t  refresh_token;                /* b64token, or empty */
    ti_str_t  id_token;                     /* any text, or empty */
    ti_str_t  scope;
    int64_t   expires;
    int64_t   refresh_expires;              /* 0: unknown */
    unsigned  unkept:1;
} ti_oauth_tokens_t;


/*
 * Judges a token endpoint's reply (RFC 6749 sections 5.1 and 5.2).
 *
 * TI_RESULT_OK fills *tokens: a JSON object with a token of the type "Bearer"
 * in a reply of 2xx.  Otherwise *failure: 429 or "slow_down" is throttled;
 * any 5xx is unavailable; an "error" is what the table in ti_oauth_error.c
 * says, whatever the status; anything else (HTML, no token, another type, a
 * token that is none, an unknown error) is unavailable, since nothing may be
 * given up on doubt.  Where there is no user, of client_credentials, whoever
 * could consent is an administrator, and what else is wrong is the operator's.
 */

ti_result_t ti_oauth_token_reply(const ti_pool_t *pool,
    ti_oauth_grant_t grant, const ti_oauth_reply_t *reply, int64_t now,
    ti_oauth_tokens_t *tokens, ti_oauth_failure_t *failure);

/* RFC 7009 section 2.2: any 2xx is all that there is to be said */
ti_result_t ti_oauth_revocation_reply(const ti_oauth_reply_t *reply,
    int64_t now, ti_oauth_failure_t *failure);


/*
 * The account's name in a userinfo reply, a string or a number by its path.
 * TI_DECLINED: not 200, no JSON, nothing there, above TI_OAUTH_ACCOUNT_MAX, or
 * with a control character.
 */

ti_rc_t ti_oauth_account(const ti_pool_t *pool, const ti_oauth_reply_t *reply,
    const ti_json_path_t *path, ti_str_t *account, const char **why);

/* exactly, or, of two addresses ("@"), without regard to case */
int ti_oauth_account_is(ti_str_t account, ti_str_t name);


/*
 * What the browser came back with (RFC 6749 section 4.1.2), once its state
 * was found to be the caller's.  issuer: the one that this provider is known
 * to have, or empty.  iss_required: it is known to send "iss" (RFC 9207).
 *
 * TI_RESULT_OK: the code may be exchanged.  TI_RESULT_STATE_INVALID: another
 * issuer's reply.  TI_RESULT_REQUEST_INVALID: no code and no error, or a code
 * that is none.  Else the error's result; "access_denied" of a user is
 * TI_RESULT_CONNECTION_REQUIRED.
 */

typedef struct {
    ti_str_t  code;
    ti_str_t  state;
    ti_str_t  iss;                          /* data is NULL: absent */
    ti_str_t  error;                        /* data is NULL: absent */
} ti_oauth_return_t;

ti_result_t ti_oauth_code_return(const ti_oauth_return_t *back,
    ti_str_t issuer, int iss_required, const char **why);

/*
 * The same of an administrator's consent: with an error, whatever else is
 * there ("admin_consent=True" is), it was not given.
 */

ti_result_t ti_oauth_admin_return(const ti_oauth_return_t *back,
    const char **why);


/*
 * What is asked of an ID token's claims beside ti_jwt_verify(), whose
 * audience is the client (OpenID Connect Core 1.0 section 3.1.3.7): "nonce"
 * is ours, compared in constant time; "azp" is the client where it is there,
 * and it is there where "aud" names several.  Another's: TI_DECLINED.
 */

ti_rc_t ti_oauth_id_token(const json_t *claims, ti_str_t client_id,
    ti_str_t nonce, const char **why);


#endif /* TI_OAUTH_H */
