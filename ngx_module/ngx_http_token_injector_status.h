/*
 * What is counted, by all workers of a node together: rows of numbers that
 * only grow, found again after a reload by what they are called.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_STATUS_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ti_base.h"


/* of a location: a number for each result, and these */

enum {
    NGX_HTTP_TOKEN_INJECTOR_N_ADMITTED = TI_RESULT_LAST,
    NGX_HTTP_TOKEN_INJECTOR_N_JUDGED,
    NGX_HTTP_TOKEN_INJECTOR_N_HIT,
    NGX_HTTP_TOKEN_INJECTOR_N_MISS,
    NGX_HTTP_TOKEN_INJECTOR_N_BYPASS,
    NGX_HTTP_TOKEN_INJECTOR_N_STALE,
    NGX_HTTP_TOKEN_INJECTOR_N_REPEATED,          /* after a 401 */
    NGX_HTTP_TOKEN_INJECTOR_N_REFUSED,           /* by a 401 */
    NGX_HTTP_TOKEN_INJECTOR_N_THROTTLED,         /* by a 429 or 503 */
    NGX_HTTP_TOKEN_INJECTOR_N_LAST
};

/* of whom we ask: a store, a provider, an issuer */

enum {
    NGX_HTTP_TOKEN_INJECTOR_N_ANSWERED = 0,
    NGX_HTTP_TOKEN_INJECTOR_N_FAILED,
    NGX_HTTP_TOKEN_INJECTOR_N_MSEC               /* of both, summed up */
};

typedef enum {
    NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION = 0,
    NGX_HTTP_TOKEN_INJECTOR_ROW_STORE,
    NGX_HTTP_TOKEN_INJECTOR_ROW_PROVIDER,
    NGX_HTTP_TOKEN_INJECTOR_ROW_ISSUER
} ngx_http_token_injector_row_e;


typedef struct {
    ngx_queue_t                    queue;
    u_char                         id[32];
    ngx_atomic_t                   n[NGX_HTTP_TOKEN_INJECTOR_N_LAST];
} ngx_http_token_injector_numbers_t;


/* const configuration: what a row is called */

typedef struct {
    ngx_http_token_injector_row_e  kind;
    ngx_str_t                      server;       /* of a location */
    ngx_str_t                      name;         /* of it, or of the block */
    ngx_str_t                      provider;     /* of a location */
    u_char                         id[32];
    ngx_http_token_injector_numbers_t  *numbers; /* NULL: nobody counts */
} ngx_http_token_injector_row_t;


/*
 * A row of the configuration.  Where no location has "token_status" nothing
 * is counted, and nothing kept.
 */

ngx_http_token_injector_row_t *ngx_http_token_injector_status_row(
    ngx_conf_t *cf, ngx_http_token_injector_row_e kind, ngx_str_t *server,
    ngx_str_t *name, ngx_str_t *provider);


static ngx_inline void
ngx_http_token_injector_count(ngx_http_token_injector_row_t *row,
    ngx_uint_t n, ngx_uint_t by)
{
    if (row && row->numbers) {
        (void) ngx_atomic_fetch_add(&row->numbers->n[n], by);
    }
}


#endif /* _NGX_HTTP_TOKEN_INJECTOR_STATUS_H_INCLUDED_ */
