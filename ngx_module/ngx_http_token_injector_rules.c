/*
 * The rules that Redis has for one provider: taken from there, and asked.
 */

#include "ngx_http_token_injector_rules.h"


#define NGX_HTTP_TOKEN_INJECTOR_RULES_POOL  2048


static ngx_int_t ngx_http_token_injector_rules_id(
    ngx_http_token_injector_rules_t *rules, ti_crypto_t *crypto, u_char *id);
static const char *ngx_http_token_injector_rules_read(
    ngx_http_token_injector_rules_t *rules, ti_crypto_t *crypto,
    ti_str_t value, size_t *line);
static ngx_uint_t ngx_http_token_injector_rules_allow(
    ngx_http_token_injector_ctx_t *ctx, const ti_segment_t *segment);


/* a value that was here before is not looked at again */

ngx_int_t
ngx_http_token_injector_rules_take(ngx_http_token_injector_rules_t *rules,
    ti_crypto_t *crypto, const ti_str_t *value)
{
    size_t       line;
    u_char       mark[TI_SHA256_LEN];
    ngx_uint_t   present;
    const char  *why;

    present = (value != NULL);

    if (present
        && ti_crypto_sha256(crypto, value, 1, mark) != TI_OK)
    {
        return NGX_ERROR;
    }

    if (rules->edition && rules->present == present
        && (!present
            || ngx_memcmp(mark, rules->mark, TI_SHA256_LEN) == 0))
    {
        return NGX_OK;
    }

    ngx_http_token_injector_rules_drop(rules);

    if (rules->edition) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "token_provider \"%V\" is for whom %s",
                      &rules->provider->name,
                      present ? "the rules in its store say"
                              : "its \"allow\" says");
    }

    rules->present = present;
    rules->broken = 0;
    rules->edition++;

    if (!present) {
        return NGX_OK;
    }

    ngx_memcpy(rules->mark, mark, TI_SHA256_LEN);

    line = 0;
    why = ngx_http_token_injector_rules_read(rules, crypto, *value,
                                             &line);

    if (why) {
        rules->broken = 1;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "token_provider \"%V\" is for nobody: the rules in its "
                      "store can't be used, line %uz: %s; set them with "
                      "\"tokenctl segment\"",
                      &rules->provider->name, line, why);
    }

    return NGX_OK;
}


/* NULL, or why they can't be used */

static const char *
ngx_http_token_injector_rules_read(ngx_http_token_injector_rules_t *rules,
    ti_crypto_t *crypto, ti_str_t value, size_t *line)
{
    ti_str_t     text;
    ti_pool_t    pool;
    const char  *why;

    if (ti_segment_verify(crypto, rules->provider->store->ring,
                      ngx_http_token_injector_str(&rules->provider->name),
                      value, &text)
        != TI_OK)
    {
        return "they don't have the mark of this store's index key";
    }

    rules->pool = ngx_create_pool(NGX_HTTP_TOKEN_INJECTOR_RULES_POOL,
                                  ngx_cycle->log);
    if (rules->pool == NULL) {
        return "out of memory";
    }

    pool = ngx_http_token_injector_pool(rules->pool);

    if (ti_pool_copy(&pool, text, &text) != TI_OK) {
        return "out of memory";
    }

    why = NULL;

    return ti_segment_parse(&pool, text, &rules->segment, line, &why) == TI_OK
           ? NULL : why;
}


static ngx_int_t
ngx_http_token_injector_rules_id(ngx_http_token_injector_rules_t *rules,
    ti_crypto_t *crypto, u_char *id)
{
    ti_str_t  fields[3];

    fields[0] = ti_str("rules");
    fields[1] = ti_str_from(rules->provider->store->id, TI_SHA256_LEN);
    fields[2] = ngx_http_token_injector_str(&rules->provider->name);

    return ti_crypto_sha256_enc(crypto, fields, 3, id) == TI_OK ? NGX_OK
                                                                : NGX_ERROR;
}


/* a byte says whether there are any */

void
ngx_http_token_injector_rules_share(ngx_http_token_injector_rules_t *rules,
    ti_crypto_t *crypto, ngx_shm_zone_t *memory, const ti_str_t *value)
{
    u_char     id[TI_SHA256_LEN], *p;
    ngx_str_t  text;

    if (ngx_http_token_injector_rules_id(rules, crypto, id) != NGX_OK) {
        return;
    }

    text.len = 1 + (value ? value->len : 0);
    text.data = ngx_alloc(text.len, ngx_cycle->log);

    if (text.data == NULL) {
        return;
    }

    p = text.data;
    *p++ = (value != NULL);

    if (value && value->len) {
        ngx_memcpy(p, value->data, value->len);
    }

    (void) ngx_http_token_injector_memory_put(memory,
                                  NGX_HTTP_TOKEN_INJECTOR_RULES, id, &text,
                                  rules->provider->store->local_valid + 1);

    ngx_free(text.data);
}


void
ngx_http_token_injector_rules_recall(ngx_http_token_injector_rules_t *rules,
    ti_crypto_t *crypto, ngx_shm_zone_t *memory)
{
    u_char       id[TI_SHA256_LEN];
    ti_str_t     value;
    ngx_str_t    text;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(NGX_HTTP_TOKEN_INJECTOR_RULES_POOL, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    if (ngx_http_token_injector_rules_id(rules, crypto, id) == NGX_OK
        && ngx_http_token_injector_memory_get(memory,
                                   NGX_HTTP_TOKEN_INJECTOR_RULES, id, pool,
                                   &text)
           == NGX_OK)
    {
        value = ti_str_from(text.data + 1, text.len - 1);

        (void) ngx_http_token_injector_rules_take(rules, crypto,
                                                  text.data[0] ? &value
                                                               : NULL);
    }

    ngx_destroy_pool(pool);
}


void
ngx_http_token_injector_rules_drop(ngx_http_token_injector_rules_t *rules)
{
    if (rules->pool) {
        ngx_destroy_pool(rules->pool);
        rules->pool = NULL;
    }
}


const char *
ngx_http_token_injector_rules_judge(ngx_http_token_injector_rules_t *rules,
    ngx_http_token_injector_ctx_t *ctx)
{
    json_t       *claims;
    ngx_array_t  *allow;

    if (rules->broken) {
        return "the provider's rules in the store can't be used";
    }

    if (rules->present) {
        return ngx_http_token_injector_rules_allow(ctx, &rules->segment)
               ? NULL : "no rule in the store is for this caller";
    }

    allow = rules->provider->allow;

    if (allow == NULL) {
        return NULL;
    }

    claims = ngx_http_token_injector_claims(ctx);

    return claims && ti_claims_allowed(claims, allow->elts, allow->nelts)
           ? NULL : "no \"allow\" of the provider is for this caller";
}


/* everyone is who has no claims, too */

static ngx_uint_t
ngx_http_token_injector_rules_allow(ngx_http_token_injector_ctx_t *ctx,
    const ti_segment_t *segment)
{
    size_t   rule;
    json_t  *claims;

    if (segment->kind == TI_SEGMENT_EVERYONE) {
        return 1;
    }

    claims = ngx_http_token_injector_claims(ctx);

    return claims && ti_segment_allows(segment, claims, &rule);
}
