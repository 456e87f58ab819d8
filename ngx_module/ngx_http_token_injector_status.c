/*
 * The numbers of a node: where they are kept, who finds them.
 */

#include "ngx_http_token_injector.h"


#define NGX_HTTP_TOKEN_INJECTOR_STATUS_SIZE  (1024 * 1024)


typedef struct {
    ngx_slab_pool_t               *shpool;
    ngx_queue_t                    rows;
} ngx_http_token_injector_status_zone_t;


static ngx_int_t ngx_http_token_injector_status_init(ngx_shm_zone_t *zone,
    void *data);
static ngx_http_token_injector_numbers_t *ngx_http_token_injector_status_find(
    ngx_http_token_injector_status_zone_t *z, u_char *id);


/* rows: pointers to all of them, of which more come until it is mapped */

ngx_int_t
ngx_http_token_injector_status_zone(ngx_conf_t *cf, ngx_array_t *rows,
    void *tag)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    ngx_str_set(&name, "token_injector_status");

    zone = ngx_shared_memory_add(cf, &name,
                                 NGX_HTTP_TOKEN_INJECTOR_STATUS_SIZE, tag);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_token_injector_status_init;
    zone->data = rows;

    return NGX_OK;
}


static ngx_int_t
ngx_http_token_injector_status_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_uint_t                              i;
    ngx_array_t                            *rows;
    ngx_slab_pool_t                        *shpool;
    ngx_http_token_injector_row_t         **row;
    ngx_http_token_injector_status_zone_t  *z;

    rows = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data == NULL && !zone->shm.exists) {

        z = ngx_slab_calloc(shpool,
                            sizeof(ngx_http_token_injector_status_zone_t));
        if (z == NULL) {
            return NGX_ERROR;
        }

        z->shpool = shpool;
        ngx_queue_init(&z->rows);

        shpool->data = z;
    }

    zone->data = shpool->data;

    row = rows->elts;

    for (i = 0; i < rows->nelts; i++) {

        row[i]->numbers = ngx_http_token_injector_status_find(zone->data,
                                                              row[i]->id);
        if (row[i]->numbers == NULL) {
            ngx_log_error(NGX_LOG_WARN, zone->shm.log, 0,
                          "token injector: too many locations and blocks were "
                          "counted since nginx was started: \"%V\" is not "
                          "counted", &row[i]->name);
        }
    }

    return NGX_OK;
}


/* of the row before a reload, or new ones; only the master is here */

static ngx_http_token_injector_numbers_t *
ngx_http_token_injector_status_find(ngx_http_token_injector_status_zone_t *z,
    u_char *id)
{
    ngx_queue_t                        *q;
    ngx_http_token_injector_numbers_t  *numbers;

    for (q = ngx_queue_head(&z->rows);
         q != ngx_queue_sentinel(&z->rows);
         q = ngx_queue_next(q))
    {
        numbers = ngx_queue_data(q, ngx_http_token_injector_numbers_t, queue);

        if (ngx_memcmp(numbers->id, id, TI_SHA256_LEN) == 0) {
            return numbers;
        }
    }

    numbers = ngx_slab_calloc(z->shpool,
                              sizeof(ngx_http_token_injector_numbers_t));
    if (numbers) {
        ngx_memcpy(numbers->id, id, TI_SHA256_LEN);
        ngx_queue_insert_tail(&z->rows, &numbers->queue);
    }

    return numbers;
}


ngx_http_token_injector_row_t *
ngx_http_token_injector_status_row(ngx_conf_t *cf,
    ngx_http_token_injector_row_e kind, ngx_str_t *server, ngx_str_t *name,
    ngx_str_t *provider)
{
    u_char                                number[1], id[TI_SHA256_LEN];
    ti_str_t                              fields[4];
    ngx_uint_t                            i;
    ngx_http_token_injector_row_t        *row, **rows;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);

    number[0] = (u_char) kind;

    fields[0] = ti_str_from(number, sizeof(number));
    fields[1] = server ? ngx_http_token_injector_str(server) : ti_null_str;
    fields[2] = ngx_http_token_injector_str(name);
    fields[3] = provider ? ngx_http_token_injector_str(provider)
                         : ti_null_str;

    if (ti_crypto_sha256_enc(mcf->crypto, fields, 4, id) != TI_OK) {
        return NULL;
    }

    rows = mcf->rows.elts;

    for (i = 0; i < mcf->rows.nelts; i++) {
        if (ngx_memcmp(rows[i]->id, id, TI_SHA256_LEN) == 0) {
            return rows[i];
        }
    }

    row = ngx_pcalloc(cf->pool, sizeof(ngx_http_token_injector_row_t));
    rows = ngx_array_push(&mcf->rows);

    if (row == NULL || rows == NULL) {
        return NULL;
    }

    *rows = row;

    row->kind = kind;
    row->name = *name;
    ngx_memcpy(row->id, id, TI_SHA256_LEN);

    if (server) {
        row->server = *server;
    }

    if (provider) {
        row->provider = *provider;
    }

    return row;
}


/* whom we ask: blocks may stand in any order, so once all are read */

ngx_int_t
ngx_http_token_injector_status_blocks(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                            i;
    ngx_http_token_injector_row_t        *row;
    ngx_http_token_injector_store_t     **store;
    ngx_http_token_injector_issuer_t    **issuer;
    ngx_http_token_injector_provider_t  **provider;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        row = ngx_http_token_injector_status_row(cf,
                                      NGX_HTTP_TOKEN_INJECTOR_ROW_STORE, NULL,
                                      &store[i]->name, NULL);
        if (row == NULL) {
            return NGX_ERROR;
        }

        store[i]->redis.row = row;
    }

    provider = mcf->providers.elts;

    for (i = 0; i < mcf->providers.nelts; i++) {
        row = ngx_http_token_injector_status_row(cf,
                                   NGX_HTTP_TOKEN_INJECTOR_ROW_PROVIDER, NULL,
                                   &provider[i]->name, NULL);
        if (row == NULL) {
            return NGX_ERROR;
        }

        provider[i]->party.fetch.row = row;
    }

    issuer = mcf->issuers.elts;

    for (i = 0; i < mcf->issuers.nelts; i++) {
        row = ngx_http_token_injector_status_row(cf,
                                     NGX_HTTP_TOKEN_INJECTOR_ROW_ISSUER, NULL,
                                     &issuer[i]->name, NULL);
        if (row == NULL) {
            return NGX_ERROR;
        }

        issuer[i]->party.fetch.row = row;
    }

    return NGX_OK;
}


/* a request in a location, once it is over */

void
ngx_http_token_injector_count_request(ngx_http_token_injector_ctx_t *ctx)
{
    ngx_http_token_injector_row_t  *row;

    /* as their enum has them: none, miss, hit, bypass */

    static const ngx_uint_t  column[] = {
        0,
        NGX_HTTP_TOKEN_INJECTOR_N_MISS,
        NGX_HTTP_TOKEN_INJECTOR_N_HIT,
        NGX_HTTP_TOKEN_INJECTOR_N_BYPASS
    };

    row = ctx->conf->row;

    if (!ctx->refused && !ctx->finished && !ctx->passed) {
        return;
    }

    ngx_http_token_injector_count(row, ctx->result, 1);

    if (ctx->admitted) {
        ngx_http_token_injector_count(row,
                                      NGX_HTTP_TOKEN_INJECTOR_N_ADMITTED, 1);

    } else if (ctx->identified) {
        ngx_http_token_injector_count(row,
                                      NGX_HTTP_TOKEN_INJECTOR_N_JUDGED, 1);
    }

    if (ctx->refused || ctx->cache == NGX_HTTP_TOKEN_INJECTOR_CACHE_NONE) {
        return;
    }

    ngx_http_token_injector_count(row, ctx->stale
                                       ? NGX_HTTP_TOKEN_INJECTOR_N_STALE
                                       : column[ctx->cache], 1);
}
