/*
 * Spools: a file for each write that its worker could not wait for.
 *
 * Its name is the digest of its bytes, so one that is cut off or that somebody
 * changed is none, and one that is written twice is one.  It holds what Redis
 * would: sealed records, nothing that opens them.
 */

#include "ngx_http_token_injector_journal_private.h"


#define NGX_HTTP_TOKEN_INJECTOR_SPOOL_NAME  43   /* b64u of a digest */
#define NGX_HTTP_TOKEN_INJECTOR_SPOOL_SAID  32
#define NGX_HTTP_TOKEN_INJECTOR_SPOOL_MOST  1024     /* files at a time */


static ngx_int_t ngx_http_token_injector_spool_own(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, const ngx_file_info_t *fi,
    ngx_log_t *log);
static ngx_uid_t ngx_http_token_injector_spool_user(
    ngx_http_token_injector_main_conf_t *mcf);
static void ngx_http_token_injector_spool_list(ngx_shm_zone_t *zone,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ngx_log_t *log);
static const char *ngx_http_token_injector_spool_take(ngx_shm_zone_t *zone,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ti_str_t name, ngx_pool_t *pool);
static const char *ngx_http_token_injector_spool_judge(
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ti_str_t packed, ngx_pool_t *pool,
    ngx_http_token_injector_slot_t *slot);
static const char *ngx_http_token_injector_spool_read(
    ngx_http_token_injector_main_conf_t *mcf, u_char *path, ngx_pool_t *pool,
    ti_str_t *packed);
static ngx_int_t ngx_http_token_injector_spool_write(u_char *path,
    ti_str_t packed);
static u_char *ngx_http_token_injector_spool_path(ngx_pool_t *pool,
    ngx_http_token_injector_store_t *store, const char *prefix,
    ti_str_t name);
static u_char *ngx_http_token_injector_spool_file(ngx_pool_t *pool,
    ngx_http_token_injector_store_t *store, const char *prefix,
    const u_char *id);
static ngx_uint_t ngx_http_token_injector_spool_known(ti_str_t name);


/* files that were named in the log; workers begin with the master's */

static uint32_t    ngx_http_token_injector_spool_said
                       [NGX_HTTP_TOKEN_INJECTOR_SPOOL_SAID];
static ngx_uint_t  ngx_http_token_injector_spool_nsaid;


ngx_int_t
ngx_http_token_injector_spool_check(ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ngx_log_t *log)
{
    const char       *why;
    ngx_err_t         err;
    ngx_file_info_t   fi;

    if (store->spool.len == 0) {
        return NGX_OK;
    }

    err = 0;
    why = NULL;

    if (ngx_file_info(store->spool.data, &fi) == NGX_FILE_ERROR) {
        err = ngx_errno;
        why = "can't be looked at: make it, "
              "\"install -d -m 700 -o USER DIR\", for the user of the workers";

    } else if (!ngx_is_dir(&fi)) {
        why = "is not a directory";

    } else if (fi.st_mode & (S_IWGRP|S_IWOTH)) {
        why = "is open to others, who could put tokens there: run chmod 700 "
              "on it";

    } else if ((ngx_http_token_injector_spool_user(mcf) != 0
                && fi.st_uid != ngx_http_token_injector_spool_user(mcf))
               || (fi.st_mode & S_IRWXU) != S_IRWXU)
    {
        why = "can't be written by the workers: give it to their user with "
              "chown, and run chmod 700 on it";
    }

    if (why == NULL) {
        return ngx_http_token_injector_spool_own(mcf, store, &fi, log);
    }

    ngx_log_error(NGX_LOG_EMERG, log, err,
                  "spool \"%V\" of token_store \"%V\" %s in %V:%ui",
                  &store->spool, &store->name, why, &store->place.file,
                  store->place.line);

    return NGX_ERROR;
}


/* a file does not say whose it is, and goes where it is found */

static ngx_int_t
ngx_http_token_injector_spool_own(ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, const ngx_file_info_t *fi,
    ngx_log_t *log)
{
    ngx_uint_t                         i;
    ngx_file_info_t                    other;
    ngx_http_token_injector_store_t  **stores;

    stores = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts && stores[i] != store; i++) {

        if (stores[i]->spool.len == 0
            || ngx_file_info(stores[i]->spool.data, &other) == NGX_FILE_ERROR
            || other.st_dev != fi->st_dev || other.st_ino != fi->st_ino)
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "spool \"%V\" of token_store \"%V\" is token_store "
                      "\"%V\"'s, too: give each its own in %V:%ui",
                      &store->spool, &store->name, &stores[i]->name,
                      &store->place.file, store->place.line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uid_t
ngx_http_token_injector_spool_user(ngx_http_token_injector_main_conf_t *mcf)
{
    return (geteuid() == 0 && mcf->core->master) ? mcf->core->user
                                                 : geteuid();
}


void
ngx_http_token_injector_spool_load(ngx_shm_zone_t *zone,
    ngx_http_token_injector_main_conf_t *mcf, ngx_log_t *log)
{
    ngx_uint_t                         i;
    ngx_http_token_injector_store_t  **store;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        if (store[i]->spool.len) {
            ngx_http_token_injector_spool_list(zone, mcf, store[i], log);
        }
    }
}


static void
ngx_http_token_injector_spool_list(ngx_shm_zone_t *zone,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ngx_log_t *log)
{
    ti_str_t     name;
    ngx_dir_t    dir;
    ngx_uint_t   n;
    ngx_pool_t  *pool;
    const char  *why;

    if (ngx_open_dir(&store->spool, &dir) == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "token injector: spool \"%V\" can't be read",
                      &store->spool);
        return;
    }

    for (n = 0; n < NGX_HTTP_TOKEN_INJECTOR_SPOOL_MOST; n++) {

        if (ngx_read_dir(&dir) == NGX_ERROR) {
            break;
        }

        name = ti_str_from(ngx_de_name(&dir), ngx_de_namelen(&dir));

        if (name.data[0] == '.') {
            /* one that is being written, too */
            continue;
        }

        pool = ngx_create_pool(4096, log);
        if (pool == NULL) {
            break;
        }

        why = ngx_http_token_injector_spool_take(zone, mcf, store, name, pool);

        if (why && !ngx_http_token_injector_spool_known(name)) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "token injector: file \"%*s\" in spool \"%V\" is "
                          "left as it is: %s",
                          name.len, name.data, &store->spool, why);
        }

        ngx_destroy_pool(pool);
    }

    (void) ngx_close_dir(&dir);
}


/* NULL: there is nothing to be said */

static const char *
ngx_http_token_injector_spool_take(ngx_shm_zone_t *zone,
    ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ti_str_t name, ngx_pool_t *pool)
{
    size_t                           len;
    u_char                           id[TI_SHA256_LEN], *path;
    ti_str_t                         packed;
    const char                      *why;
    ngx_http_token_injector_slot_t   slot;

    if (name.len != NGX_HTTP_TOKEN_INJECTOR_SPOOL_NAME
        || ti_b64u_decode(id, &len, name) != TI_OK)
    {
        return "its name is none that a worker gives";
    }

    if (ngx_http_token_injector_journal_here(zone, id)) {
        return NULL;
    }

    path = ngx_http_token_injector_spool_path(pool, store, "", name);
    if (path == NULL) {
        return NULL;
    }

    packed = ti_null_str;
    why = ngx_http_token_injector_spool_read(mcf, path, pool, &packed);

    if (why || packed.len == 0) {
        /* or it is gone: another worker's tokens are in the store now */
        return why;
    }

    why = ngx_http_token_injector_spool_judge(mcf, store, packed, pool, &slot);

    if (why == NULL && ngx_memcmp(slot.id, id, TI_SHA256_LEN) != 0) {
        why = "it is damaged: its bytes are not those that it was named for";
    }

    if (why == NULL) {
        /* full: there is another time */

        slot.filed = 1;
        (void) ngx_http_token_injector_journal_put(zone, &slot, packed);
    }

    return why;
}


static const char *
ngx_http_token_injector_spool_judge(ngx_http_token_injector_main_conf_t *mcf,
    ngx_http_token_injector_store_t *store, ti_str_t packed, ngx_pool_t *pool,
    ngx_http_token_injector_slot_t *slot)
{
    size_t            argc;
    ti_str_t          argv[TI_WRITE_ARGS];
    ti_pool_t         p;
    ti_write_about_t  about;

    p = ngx_http_token_injector_pool(pool);

    if (ti_write_unpack(&p, packed,
                        ngx_http_token_injector_str(&store->key_prefix), argv,
                        &argc, &about)
        != TI_OK)
    {
        return "it is nothing that a worker would write below this "
               "\"key_prefix\"";
    }

    if (about.ends <= ngx_time()) {
        return "it is of no use any more: remove it";
    }

    return ngx_http_token_injector_journal_slot(mcf->crypto, store, about.name,
                                                packed, slot)
           == NGX_OK ? NULL : "out of memory";
}


static const char *
ngx_http_token_injector_spool_read(ngx_http_token_injector_main_conf_t *mcf,
    u_char *path, ngx_pool_t *pool, ti_str_t *packed)
{
    u_char           *p;
    ssize_t           n;
    ngx_fd_t          fd;
    const char       *why;
    ngx_file_info_t   fi;

    fd = open((char *) path, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NULL : "it can't be opened";
    }

    why = NULL;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        why = "it is not a file";

    } else if (fi.st_uid != 0 && fi.st_uid != geteuid()
               && fi.st_uid != ngx_http_token_injector_spool_user(mcf))
    {
        why = "it is another user's";

    } else if (fi.st_mode & (S_IWGRP|S_IWOTH)) {
        why = "others may have written it";

    } else if (fi.st_size == 0
               || fi.st_size > NGX_HTTP_TOKEN_INJECTOR_JOURNAL_MAX)
    {
        why = "it is empty or too large";
    }

    if (why == NULL) {
        p = ngx_palloc(pool, fi.st_size);
        n = p ? read(fd, p, fi.st_size) : -1;

        if (n == fi.st_size) {
            *packed = ti_str_from(p, n);

        } else {
            why = "it can't be read";
        }
    }

    (void) ngx_close_file(fd);

    return why;
}


/* whole, and on the disk, before it has its name */

ngx_int_t
ngx_http_token_injector_spool_save(ngx_http_token_injector_store_t *store,
    const u_char *id, ti_str_t packed, ngx_log_t *log)
{
    u_char      *path, *temp;
    ngx_int_t    rc;
    ngx_err_t    err;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    path = ngx_http_token_injector_spool_file(pool, store, "", id);
    temp = ngx_http_token_injector_spool_file(pool, store, ".", id);

    rc = NGX_ERROR;
    err = NGX_ENOMEM;

    if (path && temp) {

        if (ngx_http_token_injector_spool_write(temp, packed) == NGX_OK
            && ngx_rename_file(temp, path) != NGX_FILE_ERROR)
        {
            rc = NGX_OK;

        } else {
            err = ngx_errno;
            (void) ngx_delete_file(temp);
        }
    }

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, log, err,
                      "token injector: a file in spool \"%V\" can't be "
                      "written", &store->spool);
    }

    ngx_destroy_pool(pool);

    return rc;
}


static ngx_int_t
ngx_http_token_injector_spool_write(u_char *path, ti_str_t packed)
{
    size_t     done;
    ssize_t    n;
    ngx_fd_t   fd;
    ngx_err_t  err;

    fd = open((char *) path, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC,
              0600);

    if (fd == NGX_INVALID_FILE && ngx_errno == NGX_EEXIST) {
        /* of a worker that was killed over it: nobody else has its name */
        (void) ngx_delete_file(path);

        fd = open((char *) path, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC,
                  0600);
    }

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    for (done = 0; done < packed.len; done += n) {
        n = write(fd, packed.data + done, packed.len - done);

        if (n <= 0) {
            break;
        }
    }

    err = (done < packed.len || fsync(fd) == -1) ? ngx_errno : 0;

    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return err ? NGX_ERROR : NGX_OK;
}


void
ngx_http_token_injector_spool_remove(ngx_http_token_injector_store_t *store,
    const u_char *id, ngx_log_t *log)
{
    u_char      *path;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, log);
    if (pool == NULL) {
        return;
    }

    path = ngx_http_token_injector_spool_file(pool, store, "", id);

    if (path && ngx_delete_file(path) == NGX_FILE_ERROR
        && ngx_errno != NGX_ENOENT)
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "token injector: file \"%s\" is written and can't be "
                      "removed: remove it", path);
    }

    ngx_destroy_pool(pool);
}


static u_char *
ngx_http_token_injector_spool_file(ngx_pool_t *pool,
    ngx_http_token_injector_store_t *store, const char *prefix,
    const u_char *id)
{
    u_char  name[NGX_HTTP_TOKEN_INJECTOR_SPOOL_NAME];

    ti_b64u_encode(name, ti_str_from(id, TI_SHA256_LEN));

    return ngx_http_token_injector_spool_path(pool, store, prefix,
                                              ti_str_from(name, sizeof(name)));
}


static u_char *
ngx_http_token_injector_spool_path(ngx_pool_t *pool,
    ngx_http_token_injector_store_t *store, const char *prefix, ti_str_t name)
{
    u_char  *path;

    path = ngx_pnalloc(pool, store->spool.len + name.len + sizeof("/."));

    if (path) {
        (void) ngx_sprintf(path, "%V/%s%*s%Z", &store->spool, prefix, name.len,
                           name.data);
    }

    return path;
}


/* it was named in the log, or there have been enough of them */

static ngx_uint_t
ngx_http_token_injector_spool_known(ti_str_t name)
{
    uint32_t    hash;
    ngx_uint_t  i;

    hash = ngx_crc32_short((u_char *) name.data, name.len);

    for (i = 0; i < ngx_http_token_injector_spool_nsaid; i++) {
        if (ngx_http_token_injector_spool_said[i] == hash) {
            return 1;
        }
    }

    if (i == NGX_HTTP_TOKEN_INJECTOR_SPOOL_SAID) {
        return 1;
    }

    ngx_http_token_injector_spool_said[i] = hash;
    ngx_http_token_injector_spool_nsaid++;

    return 0;
}
