/*
 * What all workers of a node know of an app-only token: until when it is good,
 * when it is to be looked after, when nobody asks for another.
 */

#include "ngx_http_token_injector_app.h"


#define NGX_HTTP_TOKEN_INJECTOR_APP_BACKOFF  64      /* seconds, at most */
#define NGX_HTTP_TOKEN_INJECTOR_APP_RETRY    3600    /* as a provider says */
#define NGX_HTTP_TOKEN_INJECTOR_APP_KEPT     86400


/* all zero where nothing is known */

void
ngx_http_token_injector_app_note(ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_note_t *note)
{
    ngx_str_t                             value;
    ngx_pool_t                           *pool;
    ngx_http_token_injector_main_conf_t  *mcf;

    ngx_memzero(note, sizeof(ngx_http_token_injector_note_t));

    mcf = ngx_http_token_injector_worker.conf;

    pool = ngx_create_pool(256, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    if (ngx_http_token_injector_memory_get(mcf->memory,
                                           NGX_HTTP_TOKEN_INJECTOR_APP_NOTE,
                                           app->provider->id, pool, &value)
        == NGX_OK
        && value.len == sizeof(ngx_http_token_injector_note_t))
    {
        ngx_memcpy(note, value.data, value.len);
    }

    ngx_destroy_pool(pool);
}


void
ngx_http_token_injector_app_keep(ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_note_t *note)
{
    time_t                                ttl;
    ngx_str_t                             value;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    value.data = (u_char *) note;
    value.len = sizeof(ngx_http_token_injector_note_t);

    ttl = ngx_max(note->due, note->until) - ngx_time();
    ttl = ngx_max(ttl, 0) + NGX_HTTP_TOKEN_INJECTOR_APP_KEPT;

    (void) ngx_http_token_injector_memory_put(mcf->memory,
                                     NGX_HTTP_TOKEN_INJECTOR_APP_NOTE,
                                     app->provider->id, &value,
                                     ngx_min(ttl, 7 * 86400));
}


/* another is due when three quarters of its time are over, or a little later */

void
ngx_http_token_injector_app_good(ngx_http_token_injector_app_t *app,
    int64_t expires)
{
    int64_t                         left;
    ngx_http_token_injector_note_t  note;

    ngx_memzero(&note, sizeof(ngx_http_token_injector_note_t));

    left = expires - ngx_time();

    note.expires = expires;
    note.due = ngx_time() + left * 3 / 4 + ngx_random() % (left / 10 + 1);

    ngx_http_token_injector_app_keep(app, &note);
}


/* the next call waits: a second, two, four, …, or what the provider says */

void
ngx_http_token_injector_app_bad(ngx_http_token_injector_app_t *app,
    const ngx_http_token_injector_granted_t *granted)
{
    int64_t                         pause;
    ngx_http_token_injector_note_t  note;

    ngx_http_token_injector_app_note(app, &note);

    if (granted->retry_after > 0) {
        pause = ngx_min(granted->retry_after,
                        NGX_HTTP_TOKEN_INJECTOR_APP_RETRY);

    } else {
        pause = NGX_HTTP_TOKEN_INJECTOR_APP_BACKOFF;

        if (note.failures < 6) {
            pause = 1 << note.failures;
        }
    }

    note.failures++;
    note.result = granted->result;

    /* the present second may be almost over */
    note.until = ngx_time() + pause + 1;

    ngx_http_token_injector_app_keep(app, &note);
}
