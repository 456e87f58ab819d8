/*
 * Floor 2: what a provider's replies mean.
 */

#include <string.h>

#include "ti_date.h"
#include "ti_header.h"
#include "ti_oauth_private.h"


static const char  ti_oauth_no_memory[] = "no memory";


/* A member that is there; one that is null is not. */

static const json_t *
ti_oauth_member(const json_t *object, const char *name)
{
    const json_t  *member;

    member = json_object_get(object, name);

    return json_is_null(member) ? NULL : member;
}


static ti_str_t
ti_oauth_text(const json_t *object, const char *name)
{
    const json_t  *member;

    member = json_object_get(object, name);

    return json_is_string(member) ? ti_json_str(member) : ti_null_str;
}


/*
 * Seconds, or 0 where it does not say.  As text too, which is how Microsoft's
 * first endpoints write them.
 */

static int64_t
ti_oauth_seconds(const json_t *object, const char *name)
{
    int64_t        n;
    uint64_t       u;
    const json_t  *member;

    member = json_object_get(object, name);
    n = 0;

    if (json_is_integer(member)) {
        n = json_integer_value(member);

    } else if (json_is_string(member)
               && ti_decimal_parse(ti_json_str(member), INT64_MAX, &u)
                  == TI_OK)
    {
        n = (int64_t) u;
    }

    if (n < 0) {
        return 0;
    }

    return n > TI_OAUTH_LIFE_MAX ? TI_OAUTH_LIFE_MAX : n;
}


/* The tokens do not stay behind in the parser's memory. */

static void
ti_oauth_wipe(json_t *object)
{
    size_t    i;
    ti_str_t  text;

    static const char *const  names[] = {
        "access_token", "refresh_token", "id_token"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        text = ti_oauth_text(object, names[i]);
        ti_wipe((void *) text.data, text.len);
    }

    json_decref(object);
}


static ti_result_t
ti_oauth_refused(ti_str_t name, ti_oauth_grant_t grant,
    ti_oauth_failure_t *failure)
{
    const ti_oauth_error_t  *error;

    error = ti_oauth_error(name);

    failure->why = error->why;
    failure->error = error->name;
    failure->bad_client = ti_oauth_error_client(error) ? 1 : 0;

    if (grant == TI_OAUTH_CLIENT_CREDENTIALS) {
        return error->app;
    }

    failure->permanent = (error->token == TI_RESULT_RECONNECT_REQUIRED);

    return error->token;
}


/* What is no success by its status alone, or by what stands in "error". */

static ti_result_t
ti_oauth_refusal(const json_t *object, ti_oauth_grant_t grant,
    const ti_oauth_reply_t *reply, ti_oauth_failure_t *failure)
{
    const json_t  *member;

    if (reply->status == 429) {
        failure->why = "the provider replied 429";
        return TI_RESULT_PROVIDER_THROTTLED;
    }

    if (reply->status >= 500) {
        failure->why = "the provider replied 5xx";
        return TI_RESULT_PROVIDER_UNAVAILABLE;
    }

    member = ti_oauth_member(object, "error");

    if (json_is_string(member)) {
        return ti_oauth_refused(ti_json_str(member), grant, failure);
    }

    if (member != NULL) {
        failure->why = "an \"error\" that is not a string";
        return TI_RESULT_PROVIDER_UNAVAILABLE;
    }

    if (reply->status < 200 || reply->status > 299) {
        failure->why = "the provider's reply is not 2xx, and has no \"error\"";
        return TI_RESULT_PROVIDER_UNAVAILABLE;
    }

    return TI_RESULT_OK;
}


/* RFC 6749 section 5.1: a client does not use a token of a type that it does
 * not know. */

static const char *
ti_oauth_useless(const json_t *object)
{
    ti_str_t  token;

    token = ti_oauth_text(object, "access_token");

    if (token.len == 0) {
        return "no \"access_token\" in the provider's reply";
    }

    if (token.len > TI_OAUTH_TOKEN_MAX) {
        return "an \"access_token\" above 16384 bytes";
    }

    if (!ti_header_b64token(token)) {
        return "an \"access_token\" with bytes that no token has";
    }

    if (!ti_str_caseeq(ti_oauth_text(object, "token_type"), ti_str("Bearer")))
    {
        return "the \"token_type\" is not \"Bearer\"";
    }

    return NULL;
}


static int
ti_oauth_keepable(ti_str_t refresh_token)
{
    return refresh_token.len <= TI_OAUTH_TOKEN_MAX
           && ti_header_b64token(refresh_token);
}


static ti_rc_t
ti_oauth_take(const ti_pool_t *pool, ti_oauth_grant_t grant,
    const json_t *object, int64_t now, ti_oauth_tokens_t *tokens)
{
    int64_t   life;
    ti_str_t  refresh_token, scope;

    refresh_token = ti_oauth_text(object, "refresh_token");
    scope = ti_oauth_text(object, "scope");

    if (grant == TI_OAUTH_EXCHANGE || grant == TI_OAUTH_JWT_BEARER) {
        refresh_token = ti_null_str;
    }

    if (refresh_token.len != 0 && !ti_oauth_keepable(refresh_token)) {
        refresh_token = ti_null_str;
        tokens->unkept = 1;
    }

    if (!ti_oauth_is_vschar(scope) || scope.len > TI_OAUTH_SCOPE_MAX) {
        scope = ti_null_str;
    }

    life = ti_oauth_seconds(object, "expires_in");
    tokens->expires = now + (life == 0 ? TI_OAUTH_LIFE : life);

    /* by no standard: GitHub and Google write the one, Keycloak the other */

    life = ti_oauth_seconds(object, "refresh_token_expires_in");
    if (life == 0) {
        life = ti_oauth_seconds(object, "refresh_expires_in");
    }

    if (refresh_token.len != 0 && life != 0) {
        tokens->refresh_expires = now + life;
    }

    if (ti_pool_copy(pool, ti_oauth_text(object, "access_token"),
                     &tokens->access_token) != TI_OK
        || ti_pool_copy(pool, refresh_token, &tokens->refresh_token) != TI_OK
        || ti_pool_copy(pool, ti_oauth_text(object, "id_token"),
                        &tokens->id_token) != TI_OK)
    {
        return TI_ERROR;
    }

    return ti_pool_copy(pool, scope, &tokens->scope);
}


static ti_result_t
ti_oauth_judge(const ti_pool_t *pool, ti_oauth_grant_t grant,
    const json_t *object, int64_t now, ti_oauth_tokens_t *tokens,
    ti_oauth_failure_t *failure)
{
    failure->why = ti_oauth_useless(object);

    if (failure->why != NULL) {
        return TI_RESULT_PROVIDER_UNAVAILABLE;
    }

    if (ti_oauth_take(pool, grant, object, now, tokens) != TI_OK) {
        failure->why = ti_oauth_no_memory;
        return TI_RESULT_INTERNAL_ERROR;
    }

    return TI_RESULT_OK;
}


/* Entra, of conditional access: what the user is to be asked for as well. */

static ti_rc_t
ti_oauth_claims(const ti_pool_t *pool, const json_t *object,
    ti_oauth_failure_t *failure)
{
    ti_str_t  claims;

    claims = ti_oauth_text(object, "claims");

    if (!ti_oauth_is_vschar(claims) || claims.len > TI_OAUTH_CLAIMS_MAX) {
        return TI_OK;
    }

    return ti_pool_copy(pool, claims, &failure->claims);
}


static ti_rc_t
ti_oauth_parse(const ti_oauth_reply_t *reply, int64_t now, json_t **object,
    ti_oauth_failure_t *failure)
{
    memset(failure, 0, sizeof(ti_oauth_failure_t));

    failure->retry_after = ti_date_retry_after(reply->retry_after, now,
                                               TI_OAUTH_RETRY_MAX);

    return ti_json_parse_object(reply->body, TI_OAUTH_REPLY_MAX, object,
                                &failure->why);
}


ti_result_t
ti_oauth_token_reply(const ti_pool_t *pool, ti_oauth_grant_t grant,
    const ti_oauth_reply_t *reply, int64_t now, ti_oauth_tokens_t *tokens,
    ti_oauth_failure_t *failure)
{
    json_t       *object;
    ti_rc_t       rc;
    const char   *why;
    ti_result_t   result;

    memset(tokens, 0, sizeof(ti_oauth_tokens_t));

    rc = ti_oauth_parse(reply, now, &object, failure);

    if (rc == TI_ERROR) {
        return TI_RESULT_INTERNAL_ERROR;
    }

    if (rc == TI_DECLINED) {
        why = failure->why;
        result = ti_oauth_refusal(NULL, grant, reply, failure);

        /* an HTML page with 200 */

        if (result == TI_RESULT_OK) {
            failure->why = why;
            result = TI_RESULT_PROVIDER_UNAVAILABLE;
        }

        return result;
    }

    result = ti_oauth_refusal(object, grant, reply, failure);

    if (result == TI_RESULT_OK) {
        result = ti_oauth_judge(pool, grant, object, now, tokens, failure);

    } else if (ti_oauth_claims(pool, object, failure) != TI_OK) {
        failure->why = ti_oauth_no_memory;
        result = TI_RESULT_INTERNAL_ERROR;
    }

    ti_oauth_wipe(object);

    return result;
}


ti_result_t
ti_oauth_revocation_reply(const ti_oauth_reply_t *reply, int64_t now,
    ti_oauth_failure_t *failure)
{
    json_t       *object;
    ti_rc_t       rc;
    ti_result_t   result;

    if (reply->status >= 200 && reply->status <= 299) {
        memset(failure, 0, sizeof(ti_oauth_failure_t));
        return TI_RESULT_OK;
    }

    rc = ti_oauth_parse(reply, now, &object, failure);

    if (rc == TI_ERROR) {
        return TI_RESULT_INTERNAL_ERROR;
    }

    if (rc == TI_DECLINED) {
        object = NULL;
    }

    /* an application's revocation is no other than a user's */

    result = ti_oauth_refusal(object, TI_OAUTH_REFRESH, reply, failure);
    json_decref(object);

    return result;
}
