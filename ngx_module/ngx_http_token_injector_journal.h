/*
 * The journal: what was granted and is on its way into a store.
 *
 * A code or a refresh token can be spent once, so what it brought is never in
 * one worker's memory alone.  The command that stores it, sealed, lies in a
 * zone of its own before it is sent for the first time, and is sent until
 * Redis took it or says that something newer is there.  Where its worker died
 * or left, another goes on; where a worker must go before that, it leaves a
 * file in the store's "spool".  The command compares before it sets: sent
 * twice, by whomever, it does no harm.
 */

#ifndef _NGX_HTTP_TOKEN_INJECTOR_JOURNAL_H_INCLUDED_
#define _NGX_HTTP_TOKEN_INJECTOR_JOURNAL_H_INCLUDED_


#include "ngx_http_token_injector_conf.h"


ngx_int_t ngx_http_token_injector_journal_zone(ngx_conf_t *cf,
    ngx_http_token_injector_main_conf_t *mcf, void *tag);

ngx_int_t ngx_http_token_injector_journal_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf);
void ngx_http_token_injector_journal_exit(void);
void ngx_http_token_injector_journal_exit_master(
    ngx_http_token_injector_main_conf_t *mcf);


typedef struct ngx_http_token_injector_entry_s
    ngx_http_token_injector_entry_t;


/*
 * NGX_OK: Redis took it.  NGX_DECLINED: something newer is there.  The entry is
 * gone after the call.
 */

typedef void (*ngx_http_token_injector_journal_handler_pt)(void *data,
    ngx_int_t rc);


/*
 * argv as ti_write_command() made it; copied.  NGX_BUSY: the journal is full
 * or nothing can be added; NGX_ERROR: out of memory.  The handler is called
 * where it returns NGX_OK, and never from within.
 */

ngx_int_t ngx_http_token_injector_journal_write(
    ngx_http_token_injector_store_t *store, const ti_str_t *argv, size_t argc,
    ngx_http_token_injector_journal_handler_pt handler, void *data,
    ngx_http_token_injector_entry_t **entry);

/* nobody waits for it any more; it goes on */

void ngx_http_token_injector_journal_forget(
    ngx_http_token_injector_entry_t *entry);

/*
 * NGX_OK: this node has something for the connection of that name which is not
 * in the store yet, or so much for others that there is hardly room: whoever
 * would spend its refresh token waits.  NGX_DECLINED: it has not.
 */

ngx_int_t ngx_http_token_injector_journal_pending(
    ngx_http_token_injector_store_t *store, ti_str_t name);


#endif /* _NGX_HTTP_TOKEN_INJECTOR_JOURNAL_H_INCLUDED_ */
