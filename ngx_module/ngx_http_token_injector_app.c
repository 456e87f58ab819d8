/*
 * App-only tokens have no user whose requests would renew them: a timer looks
 * at what is in the store, and renews it in time.  The first is fetched for a
 * request.
 */

#include "ngx_http_token_injector_renew.h"


#define NGX_HTTP_TOKEN_INJECTOR_APP_PAUSE  10        /* seconds, at most */
#define NGX_HTTP_TOKEN_INJECTOR_APP_NONE   30        /* there was none */


typedef struct {
    ngx_http_token_injector_provider_t  *provider;
    ngx_event_t                    timer;
    u_char                         id[TI_SHA256_LEN];
    u_char                         user[TI_RECORD_USER_LEN];
} ngx_http_token_injector_app_t;


static void ngx_http_token_injector_app_conf(
    ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_renew_conf_t *conf);
static void ngx_http_token_injector_app_timer(ngx_event_t *ev);
static void ngx_http_token_injector_app_visited(void *data, int64_t due);


ngx_int_t
ngx_http_token_injector_app_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ti_who_t                               nobody;
    ngx_uint_t                             i;
    ngx_http_token_injector_app_t         *app;
    ngx_http_token_injector_provider_t   **provider;
    ngx_http_token_injector_renew_conf_t   conf;

    provider = mcf->providers.elts;

    ngx_memzero(&nobody, sizeof(ti_who_t));

    for (i = 0; i < mcf->providers.nelts; i++) {

        if (provider[i]->grant != NGX_HTTP_TOKEN_INJECTOR_CLIENT
            || !provider[i]->talks || !provider[i]->used)
        {
            continue;
        }

        app = ngx_pcalloc(cycle->pool, sizeof(ngx_http_token_injector_app_t));

        if (app == NULL
            || ti_record_user(mcf->crypto, provider[i]->store->ring, &nobody,
                              app->user)
               != TI_OK)
        {
            return NGX_ERROR;
        }

        app->provider = provider[i];
        ngx_http_token_injector_app_conf(app, &conf);

        if (ngx_http_token_injector_renew_id(&conf, app->id) != NGX_OK) {
            return NGX_ERROR;
        }

        app->timer.handler = ngx_http_token_injector_app_timer;
        app->timer.data = &ngx_http_token_injector_worker.dummy;
        app->timer.log = cycle->log;
        app->timer.cancelable = 1;

        ngx_add_timer(&app->timer, 1000 + ngx_random() % 1000);
    }

    return NGX_OK;
}


static void
ngx_http_token_injector_app_conf(ngx_http_token_injector_app_t *app,
    ngx_http_token_injector_renew_conf_t *conf)
{
    ngx_memzero(conf, sizeof(ngx_http_token_injector_renew_conf_t));

    conf->provider = app->provider;
    conf->user = ti_str_from(app->user, TI_RECORD_USER_LEN);
    conf->device = ti_str("-");
}


static void
ngx_http_token_injector_app_timer(ngx_event_t *ev)
{
    int64_t                                pause;
    ngx_http_token_injector_app_t         *app;
    ngx_http_token_injector_note_t         note;
    ngx_http_token_injector_renew_conf_t   conf;

    if (ngx_exiting) {
        return;
    }

    app = (ngx_http_token_injector_app_t *)
              ((u_char *) ev - offsetof(ngx_http_token_injector_app_t, timer));

    ngx_http_token_injector_note(app->id, &note);

    if (note.due <= ngx_time() && note.until <= ngx_time()) {
        ngx_http_token_injector_app_conf(app, &conf);

        (void) ngx_http_token_injector_visit(&conf,
                                  ngx_http_token_injector_app_visited, app);
    }

    pause = ngx_min(note.due - ngx_time(), NGX_HTTP_TOKEN_INJECTOR_APP_PAUSE);

    ngx_add_timer(ev, (ngx_msec_t) ngx_max(pause, 1) * 1000
                      + ngx_random() % 500);
}


/* the node's other workers need not look before */

static void
ngx_http_token_injector_app_visited(void *data, int64_t due)
{
    ngx_http_token_injector_app_t *app = data;

    ngx_http_token_injector_note_t  note;

    if (due == -1 || (due != 0 && due <= ngx_time())) {
        return;
    }

    ngx_memzero(&note, sizeof(ngx_http_token_injector_note_t));

    note.due = due ? due : ngx_time() + NGX_HTTP_TOKEN_INJECTOR_APP_NONE;

    ngx_http_token_injector_note_keep(app->id, &note);
}
