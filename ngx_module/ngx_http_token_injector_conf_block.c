/*
 * What the blocks of the configuration have in common: a table of directives
 * each, names, files, places for errors that come up later.
 */

#include "ngx_http_token_injector.h"


typedef struct {
    ngx_command_t                 *commands;
    void                          *block;
} ngx_http_token_injector_block_t;


static char *ngx_http_token_injector_conf_directive(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static const char *ngx_http_token_injector_conf_file_check(ngx_file_t *file,
    size_t max, ngx_uint_t secret);
static ngx_int_t ngx_http_token_injector_conf_read(ngx_conf_t *cf,
    const char *directive, ngx_file_t *file, ngx_str_t *text);


static const char  ngx_http_token_injector_loose[] =
    "holds secrets and group or others may use it: run chmod 600 ";


void
ngx_http_token_injector_conf_place(ngx_conf_t *cf,
    ngx_http_token_injector_place_t *place)
{
    place->file = cf->conf_file->file.name;
    place->line = cf->conf_file->line;
}


/* as ngx_conf_log_error() would have said it there */

void ngx_cdecl
ngx_http_token_injector_conf_error(ngx_conf_t *cf, ngx_uint_t level,
    ngx_http_token_injector_place_t *place, const char *fmt, ...)
{
    u_char   text[NGX_MAX_CONF_ERRSTR], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + NGX_MAX_CONF_ERRSTR, fmt, args);
    va_end(args);

    ngx_log_error(level, cf->log, 0, "%*s in %V:%ui",
                  (size_t) (p - text), text, &place->file, place->line);
}


/* parses to the closing brace; every directive goes into the block */

char *
ngx_http_token_injector_conf_block(ngx_conf_t *cf, ngx_command_t *commands,
    void *block)
{
    char                             *rv;
    ngx_conf_t                        save;
    ngx_http_token_injector_block_t   b;

    b.commands = commands;
    b.block = block;

    save = *cf;

    cf->handler = ngx_http_token_injector_conf_directive;
    cf->handler_conf = (void *) &b;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


static char *
ngx_http_token_injector_conf_directive(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    char                             *rv;
    ngx_str_t                        *value;
    ngx_uint_t                        least;
    ngx_command_t                    *cmd;
    ngx_http_token_injector_block_t  *b = conf;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "include") == 0) {
        return ngx_conf_include(cf, dummy, conf);
    }

    for (cmd = b->commands; cmd->name.len; cmd++) {

        if (cmd->name.len != value[0].len
            || ngx_strcmp(cmd->name.data, value[0].data) != 0)
        {
            continue;
        }

        least = (cmd->type & NGX_CONF_1MORE) ? 2 : cf->args->nelts;

        if (cf->args->nelts < least || cf->args->nelts < 2
            || (!(cmd->type & NGX_CONF_1MORE) && cf->args->nelts != 2))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                         "invalid number of arguments in \"%V\" directive",
                         &value[0]);
            return NGX_CONF_ERROR;
        }

        rv = cmd->set(cf, cmd, b->block);

        if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR) {
            return rv;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive %s", &value[0], rv);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\"", &value[0]);
    return NGX_CONF_ERROR;
}


/* a list in one line or several */

char *
ngx_http_token_injector_conf_strings(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t    *value, *s;
    ngx_uint_t    i;
    ngx_array_t **a;

    a = (ngx_array_t **) (p + cmd->offset);

    if (*a == NULL) {
        *a = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        if (*a == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 0) {
            return "has an empty value";
        }

        s = ngx_array_push(*a);
        if (s == NULL) {
            return NGX_CONF_ERROR;
        }

        *s = value[i];
    }

    return NGX_CONF_OK;
}


/* a new block of that name, which must be the only one */

void *
ngx_http_token_injector_conf_named(ngx_conf_t *cf, ngx_array_t *blocks,
    size_t size, const char *directive)
{
    void        *block, **slot;
    ngx_str_t   *value;

    value = cf->args->elts;

    if (!ti_record_provider_valid(ngx_http_token_injector_str(&value[1]))) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" of %s: use 1 to 64 of "
                           "A-Z a-z 0-9 _ -", &value[1], directive);
        return NULL;
    }

    if (ngx_http_token_injector_conf_find(blocks, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate %s \"%V\"", directive, &value[1]);
        return NULL;
    }

    block = ngx_pcalloc(cf->pool, size);
    if (block == NULL) {
        return NULL;
    }

    slot = ngx_array_push(blocks);
    if (slot == NULL) {
        return NULL;
    }

    *slot = block;

    /* every block begins with its name */
    *(ngx_str_t *) block = value[1];

    return block;
}


void *
ngx_http_token_injector_conf_find(ngx_array_t *blocks, ngx_str_t *name)
{
    void        **block;
    ngx_str_t    *s;
    ngx_uint_t    i;

    block = blocks->elts;

    for (i = 0; i < blocks->nelts; i++) {
        s = block[i];

        if (s->len == name->len
            && ngx_strncmp(s->data, name->data, name->len) == 0)
        {
            return block[i];
        }
    }

    return NULL;
}


/*
 * A whole file, read once, when the configuration is.  A secret one must be
 * its owner's alone; its text is the caller's to wipe.
 */

char *
ngx_http_token_injector_conf_file(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, size_t max, ngx_uint_t secret, ngx_str_t *text)
{
    char        *rv;
    const char  *why;
    ngx_file_t   file;

    if (ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));

    file.name = *path;
    file.log = cf->log;

    file.fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "%s \"%V\" can't be opened", directive, path);
        return NGX_CONF_ERROR;
    }

    rv = NGX_CONF_ERROR;
    why = ngx_http_token_injector_conf_file_check(&file, max, secret);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s \"%V\" %s%s",
                           directive, path, why,
                           why == ngx_http_token_injector_loose
                           ? (char *) path->data : "");

    } else if (ngx_http_token_injector_conf_read(cf, directive, &file, text)
               == NGX_OK)
    {
        rv = NGX_CONF_OK;
    }

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", path);
    }

    return rv;
}


static const char *
ngx_http_token_injector_conf_file_check(ngx_file_t *file, size_t max,
    ngx_uint_t secret)
{
    if (ngx_fd_info(file->fd, &file->info) == NGX_FILE_ERROR) {
        return "can't be examined";
    }

    if (!ngx_is_file(&file->info)) {
        return "is not a regular file";
    }

    if (secret && (ngx_file_access(&file->info) & 077)) {
        return ngx_http_token_injector_loose;
    }

    if (ngx_file_size(&file->info) == 0) {
        return "is empty";
    }

    if (ngx_file_size(&file->info) > (off_t) max) {
        return "is too large";
    }

    return NULL;
}


static ngx_int_t
ngx_http_token_injector_conf_read(ngx_conf_t *cf, const char *directive,
    ngx_file_t *file, ngx_str_t *text)
{
    size_t   size;
    ssize_t  n;

    size = (size_t) ngx_file_size(&file->info);

    text->data = ngx_pnalloc(cf->pool, size);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    n = ngx_read_file(file, text->data, size, 0);

    if (n != (ssize_t) size) {
        ngx_explicit_memzero(text->data, size);
        ngx_conf_log_error(NGX_LOG_EMERG, cf, (n == -1) ? ngx_errno : 0,
                           "%s \"%V\" can't be read", directive, &file->name);
        return NGX_ERROR;
    }

    text->len = size;

    return NGX_OK;
}


/* https with a host, or http where the operator said so; NULL: it is */

const char *
ngx_http_token_injector_url_objection(ngx_str_t *url, ngx_uint_t allow_http)
{
    size_t  i, scheme;

    if (url->len > 8 && ngx_strncasecmp(url->data, (u_char *) "https://", 8)
                        == 0)
    {
        scheme = 8;

    } else if (url->len > 7
               && ngx_strncasecmp(url->data, (u_char *) "http://", 7) == 0)
    {
        if (!allow_http) {
            return "is not https: use https, or \"allow_http on\" on a "
                   "trusted network";
        }

        scheme = 7;

    } else {
        return "is not a URL that can be used";
    }

    if (url->data[scheme] == '/') {
        return "is not a URL that can be used";
    }

    for (i = scheme; i < url->len && url->data[i] != '/'; i++) {
        if (url->data[i] == '@') {
            return "names a user: it would end up in logs";
        }
    }

    for (i = scheme; i < url->len; i++) {
        if (url->data[i] <= 0x20 || url->data[i] >= 0x7f
            || url->data[i] == '#')
        {
            return "is not a URL that can be used";
        }
    }

    return NULL;
}


/* of this network, so http is as good; it may ask for a password */

const char *
ngx_http_token_injector_proxy_objection(ngx_str_t *url)
{
    u_char  *p, *last;

    last = url->data + url->len;
    p = url->data;

    if (url->len > 7 && ngx_strncasecmp(p, (u_char *) "http://", 7) == 0) {
        p += 7;

    } else if (url->len > 8
               && ngx_strncasecmp(p, (u_char *) "https://", 8) == 0)
    {
        p += 8;

    } else {
        p = last;
    }

    while (ngx_strlchr(p, last, '@')) {
        p = ngx_strlchr(p, last, '@') + 1;
    }

    if (p == last || *p == ':' || *p == '/') {
        return "is not http://HOST:PORT or https://HOST:PORT";
    }

    for (p = url->data; p < last; p++) {
        if (*p <= 0x20 || *p >= 0x7f) {
            return "has a character that no URL has";
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_token_injector_conf_url(ngx_conf_t *cf, const char *directive,
    ngx_str_t *url, ngx_uint_t allow_http)
{
    const char  *why;

    why = ngx_http_token_injector_url_objection(url, allow_http);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s \"%V\" %s",
                           directive, url, why);
        return NGX_ERROR;
    }

    return NGX_OK;
}
