/*
 * Floor 2: what an "error" means, by its name alone: numbers and texts beside
 * it are their vendor's to change.
 */

#include "ti_oauth_private.h"


#define TI_CONNECT    TI_RESULT_CONNECTION_REQUIRED
#define TI_RECONNECT  TI_RESULT_RECONNECT_REQUIRED
#define TI_ADMIN      TI_RESULT_ADMIN_CONSENT_REQUIRED
#define TI_OPERATOR   TI_RESULT_PROVIDER_MISCONFIGURED
#define TI_LATER      TI_RESULT_PROVIDER_UNAVAILABLE
#define TI_SLOWER     TI_RESULT_PROVIDER_THROTTLED

#define TI_ERROR_OF(name, token, app, visit, why)                             \
    { ti_string(name), token, app, visit, why }


/* token: with a user; app: client_credentials; visit: in the browser */

static const ti_oauth_error_t  ti_oauth_errors[] = {

    /* RFC 6749 sections 4.1.2.1 and 5.2 */
    TI_ERROR_OF("invalid_grant", TI_RECONNECT, TI_OPERATOR, TI_RECONNECT,
                "the provider says invalid_grant"),
    TI_ERROR_OF("invalid_client", TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says invalid_client"),
    TI_ERROR_OF("unauthorized_client", TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says unauthorized_client"),
    TI_ERROR_OF("invalid_scope", TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says invalid_scope"),
    TI_ERROR_OF("invalid_request", TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says invalid_request"),
    TI_ERROR_OF("unsupported_grant_type", TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says unsupported_grant_type"),
    TI_ERROR_OF("unsupported_response_type",
                TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says unsupported_response_type"),
    TI_ERROR_OF("access_denied", TI_RECONNECT, TI_OPERATOR, TI_CONNECT,
                "the provider says access_denied"),
    TI_ERROR_OF("server_error", TI_LATER, TI_LATER, TI_LATER,
                "the provider says server_error"),
    TI_ERROR_OF("temporarily_unavailable", TI_LATER, TI_LATER, TI_LATER,
                "the provider says temporarily_unavailable"),

    /* RFC 8707 section 2 */
    TI_ERROR_OF("invalid_target", TI_OPERATOR, TI_OPERATOR, TI_OPERATOR,
                "the provider says invalid_target"),

    /* RFC 8628 section 3.5, known to be used beyond it */
    TI_ERROR_OF("slow_down", TI_SLOWER, TI_SLOWER, TI_SLOWER,
                "the provider says slow_down"),

    /* OpenID Connect Core 1.0 section 3.1.2.6 */
    TI_ERROR_OF("consent_required", TI_RECONNECT, TI_ADMIN, TI_RECONNECT,
                "the provider says consent_required"),
    TI_ERROR_OF("interaction_required", TI_RECONNECT, TI_OPERATOR, TI_RECONNECT,
                "the provider says interaction_required"),
    TI_ERROR_OF("login_required", TI_RECONNECT, TI_OPERATOR, TI_RECONNECT,
                "the provider says login_required"),
    TI_ERROR_OF("account_selection_required",
                TI_RECONNECT, TI_OPERATOR, TI_RECONNECT,
                "the provider says account_selection_required"),

    /* Google: a Workspace administrator's policy forbids a scope */
    TI_ERROR_OF("admin_policy_enforced", TI_ADMIN, TI_ADMIN, TI_ADMIN,
                "the provider says admin_policy_enforced")
};

#define TI_OAUTH_NERRORS  (sizeof(ti_oauth_errors) / sizeof(ti_oauth_errors[0]))


static const ti_oauth_error_t  ti_oauth_unknown = {
    ti_string(""), TI_LATER, TI_LATER, TI_LATER,
    "the provider says an error of its own"
};


const ti_oauth_error_t *
ti_oauth_error(ti_str_t name)
{
    size_t  i;

    for (i = 0; i < TI_OAUTH_NERRORS; i++) {
        if (ti_str_eq(name, ti_oauth_errors[i].name)) {
            return &ti_oauth_errors[i];
        }
    }

    return &ti_oauth_unknown;
}


int
ti_oauth_error_client(const ti_oauth_error_t *error)
{
    return ti_str_eq(error->name, ti_str("invalid_client"));
}
