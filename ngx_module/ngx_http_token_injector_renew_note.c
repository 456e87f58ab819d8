/*
 * What all workers of a node know of renewals: which ones nobody begins
 * before their time, and why.
 */

#include "ngx_http_token_injector_renew.h"


#define NGX_HTTP_TOKEN_INJECTOR_NOTE_KEPT  (7 * 86400)   /* at most */


static void ngx_http_token_injector_note_cid(u_char *to, ti_str_t cid);


void
ngx_http_token_injector_note(u_char *id, ngx_http_token_injector_note_t *note)
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
                                           NGX_HTTP_TOKEN_INJECTOR_RENEW_NOTE,
                                           id, pool, &value)
        == NGX_OK
        && value.len == sizeof(ngx_http_token_injector_note_t))
    {
        ngx_memcpy(note, value.data, value.len);
    }

    ngx_destroy_pool(pool);
}


void
ngx_http_token_injector_note_keep(u_char *id,
    ngx_http_token_injector_note_t *note)
{
    time_t                                ttl;
    ngx_str_t                             value;
    ngx_http_token_injector_main_conf_t  *mcf;

    mcf = ngx_http_token_injector_worker.conf;

    value.data = (u_char *) note;
    value.len = sizeof(ngx_http_token_injector_note_t);

    ttl = ngx_max(note->due, note->until) - ngx_time() + 1;

    (void) ngx_http_token_injector_memory_put(mcf->memory,
                            NGX_HTTP_TOKEN_INJECTOR_RENEW_NOTE, id, &value,
                            ngx_min(ngx_max(ttl, 1),
                                    NGX_HTTP_TOKEN_INJECTOR_NOTE_KEPT));
}


/* a removal, and gens begin anew: what was said of one consent ends with it */

static void
ngx_http_token_injector_note_cid(u_char *to, ti_str_t cid)
{
    ngx_memzero(to, TI_RECORD_CID_LEN);

    if (cid.len == TI_RECORD_CID_LEN) {
        ngx_memcpy(to, cid.data, cid.len);
    }
}


/* is it about what was seen, and of now? */

ngx_uint_t
ngx_http_token_injector_note_holds(const ngx_http_token_injector_note_t *note,
    const ngx_http_token_injector_renew_conf_t *conf)
{
    u_char  cid[TI_RECORD_CID_LEN];

    ngx_http_token_injector_note_cid(cid, conf->cid);

    return note->until > ngx_time() && note->gen == conf->seen
           && ngx_memcmp(note->cid, cid, TI_RECORD_CID_LEN) == 0;
}


/* nobody begins this one before then */

void
ngx_http_token_injector_renew_note(ngx_http_token_injector_renew_t *renew,
    ti_result_t result, int64_t until)
{
    ngx_http_token_injector_note_t  note;

    ngx_memzero(&note, sizeof(ngx_http_token_injector_note_t));

    note.gen = renew->conf.seen;
    ngx_http_token_injector_note_cid(note.cid, renew->conf.cid);
    note.until = until;
    note.result = result;

    ngx_http_token_injector_note_keep(renew->id, &note);
}


/* the name of what concerns all of a provider's */

ngx_int_t
ngx_http_token_injector_renew_provider_id(
    ngx_http_token_injector_renew_t *renew, u_char *id)
{
    ngx_http_token_injector_renew_conf_t  conf;

    ngx_memzero(&conf, sizeof(ngx_http_token_injector_renew_conf_t));

    conf.provider = renew->conf.provider;

    return ngx_http_token_injector_renew_id(&conf, id);
}
