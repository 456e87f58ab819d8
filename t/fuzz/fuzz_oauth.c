/*
 * A provider's reply of any bytes.  The first line says of which status, the
 * second is its Retry-After, the rest its body.  Whatever is taken for a token
 * may stand in a header field and a record; whatever is not has a reason.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ti_date.h"
#include "ti_header.h"
#include "ti_oauth.h"


#define NOW     1795286400
#define BLOCKS  16


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void    *blocks[BLOCKS];
static size_t   nblocks;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void *
alloc(void *data, size_t size)
{
    must(nblocks < BLOCKS);

    return blocks[nblocks++] = malloc(size == 0 ? 1 : size);
}


static const ti_pool_t  pool = { alloc, NULL };


static void
reset(void)
{
    while (nblocks > 0) {
        free(blocks[--nblocks]);
    }
}


static ti_str_t
line_of(ti_str_t *rest)
{
    ti_str_t              line;
    const unsigned char  *end;

    line = *rest;
    end = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);

    if (end == NULL) {
        *rest = ti_null_str;
        return line;
    }

    line.len = (size_t) (end - line.data);
    *rest = ti_str_from(end + 1, rest->len - line.len - 1);

    return line;
}


static void
check_tokens(const ti_oauth_tokens_t *tokens)
{
    must(ti_header_b64token(tokens->access_token));
    must(tokens->access_token.len <= TI_OAUTH_TOKEN_MAX);
    must(tokens->refresh_token.len == 0
         || (ti_header_b64token(tokens->refresh_token)
             && tokens->refresh_token.len <= TI_OAUTH_TOKEN_MAX
             && !tokens->unkept));
    must(tokens->scope.len == 0
         || (ti_oauth_is_vschar(tokens->scope)
             && tokens->scope.len <= TI_OAUTH_SCOPE_MAX));
    must(tokens->expires > NOW && tokens->expires <= NOW + TI_OAUTH_LIFE_MAX);
    must(tokens->refresh_expires == 0
         || (tokens->refresh_expires > NOW && tokens->refresh_token.len != 0));
}


static void
try_token(const ti_oauth_reply_t *reply, ti_oauth_grant_t grant)
{
    ti_result_t         result;
    ti_oauth_tokens_t   tokens;
    ti_oauth_failure_t  failure;

    result = ti_oauth_token_reply(&pool, grant, reply, NOW, &tokens, &failure);

    if (result == TI_RESULT_OK) {
        must(reply->status >= 200 && reply->status <= 299);
        check_tokens(&tokens);
        must(grant != TI_OAUTH_EXCHANGE || tokens.refresh_token.len == 0);

    } else {
        must(failure.why != NULL);
        must(result != TI_RESULT_INTERNAL_ERROR);
        must(tokens.access_token.len == 0);
        must(reply->status != 429 || result == TI_RESULT_PROVIDER_THROTTLED);
        must(reply->status < 500
             || result == TI_RESULT_PROVIDER_UNAVAILABLE);
        must(grant != TI_OAUTH_CLIENT_CREDENTIALS
             || result != TI_RESULT_RECONNECT_REQUIRED);
        must(failure.permanent == (result == TI_RESULT_RECONNECT_REQUIRED));
        must(failure.claims.len <= TI_OAUTH_CLAIMS_MAX);
        must(failure.claims.len == 0 || ti_oauth_is_vschar(failure.claims));
    }

    must(failure.retry_after >= 0
         && failure.retry_after <= TI_OAUTH_RETRY_MAX);
}


static void
try_account(const ti_oauth_reply_t *reply)
{
    size_t          i;
    ti_str_t        account;
    const char     *why;
    const char     *names[] = { "n" };
    ti_json_path_t  path = { names, 1 };

    if (ti_oauth_account(&pool, reply, &path, &account, &why) != TI_OK) {
        return;
    }

    must(account.len != 0 && account.len <= TI_OAUTH_ACCOUNT_MAX);

    for (i = 0; i < account.len; i++) {
        must(account.data[i] >= 0x20 && account.data[i] != 0x7F);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t              when;
    uint64_t             status;
    ti_str_t             rest;
    ti_oauth_reply_t     reply;
    ti_oauth_failure_t   failure;

    rest = ti_str_from(data, size);

    if (ti_decimal_parse(line_of(&rest), 999, &status) != TI_OK) {
        status = 200;
    }

    reply.status = (unsigned) status;
    reply.retry_after = line_of(&rest);
    reply.body = rest;

    try_token(&reply, TI_OAUTH_CODE);
    try_token(&reply, TI_OAUTH_CLIENT_CREDENTIALS);
    try_token(&reply, TI_OAUTH_EXCHANGE);
    (void) ti_oauth_revocation_reply(&reply, NOW, &failure);
    try_account(&reply);

    if (ti_date_parse(reply.retry_after, NOW, &when) == TI_OK) {
        must(when >= 0 && when < INT64_C(253402300801));
    }

    reset();

    return 0;
}
