/*
 * What is done with the configuration: whether the libcurl that is here is
 * good enough, and which certificates are trusted.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "ngx_http_token_injector_fetch.h"


typedef struct {
    ngx_str_t                    file;
    X509_STORE                  *store;
} ngx_http_token_injector_trust_t;


static X509_STORE *ngx_http_token_injector_trust_known(ngx_conf_t *cf,
    ngx_str_t *file);
static X509_STORE *ngx_http_token_injector_trust_load(ngx_conf_t *cf,
    const char *directive, ngx_str_t *file, ngx_uint_t named);
static ngx_uint_t ngx_http_token_injector_trust_count(X509_STORE *store);
static void ngx_http_token_injector_trust_cleanup(void *data);


/*
 * 7.87 was the first that can let go of a resolver thread.  The libcurl that
 * was compiled for may be another one than the one that was loaded; and with
 * another OpenSSL than nginx's, its SSL_CTX would be foreign to us.
 */

const char *
ngx_http_token_injector_fetch_objection(void)
{
    char                    *openssl;
    struct curl_header      *h;
    curl_version_info_data  *info;

    info = curl_version_info(CURLVERSION_NOW);

    if (info->version_num < 0x075700) {
        return "libcurl is older than 7.87, and would block nginx";
    }

    if (!(info->features & CURL_VERSION_ASYNCHDNS)) {
        return "libcurl is built without a threaded resolver, and would "
               "block nginx";
    }

    if (curl_global_sslset(CURLSSLBACKEND_OPENSSL, NULL, NULL)
        != CURLSSLSET_OK
        || info->ssl_version == NULL)
    {
        return "libcurl is built with another TLS library than OpenSSL";
    }

    openssl = ngx_strstr(info->ssl_version, "OpenSSL/");

    if (openssl == NULL
        || ngx_strcmp(openssl + sizeof("OpenSSL/") - 1,
                      OpenSSL_version(OPENSSL_VERSION_STRING))
           != 0)
    {
        return "libcurl uses another OpenSSL than nginx: build one of them "
               "with the other's";
    }

    if (curl_easy_header(NULL, "", 0, CURLH_HEADER, -1, &h)
        == CURLHE_NOT_BUILT_IN)
    {
        return "libcurl is built without its headers API";
    }

    /* here, once for all workers, since it may read files */

    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK) {
        return "libcurl cannot be initialized";
    }

    return NULL;
}


X509_STORE *
ngx_http_token_injector_fetch_trust(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path)
{
    ngx_str_t                file;
    X509_STORE              *store;
    curl_version_info_data  *info;

    if (path->len) {

        if (ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK) {
            return NULL;
        }

        file = *path;

    } else {
        info = curl_version_info(CURLVERSION_NOW);

        if (info->cainfo == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%s\" is needed: libcurl does not know where "
                               "this system keeps its certificates",
                               directive);
            return NULL;
        }

        file.data = (u_char *) info->cainfo;
        file.len = ngx_strlen(info->cainfo);
    }

    store = ngx_http_token_injector_trust_known(cf, &file);

    if (store == NULL) {
        store = ngx_http_token_injector_trust_load(cf, directive, &file,
                                                   path->len);
    }

    return store;
}


/* fifty issuers, and the system's certificates are read once */

static X509_STORE *
ngx_http_token_injector_trust_known(ngx_conf_t *cf, ngx_str_t *file)
{
    ngx_pool_cleanup_t               *cln;
    ngx_http_token_injector_trust_t  *trust;

    for (cln = cf->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_token_injector_trust_cleanup) {
            continue;
        }

        trust = cln->data;

        if (trust->store
            && trust->file.len == file->len
            && ngx_strncmp(trust->file.data, file->data, file->len) == 0)
        {
            return trust->store;
        }
    }

    return NULL;
}


static X509_STORE *
ngx_http_token_injector_trust_load(ngx_conf_t *cf, const char *directive,
    ngx_str_t *file, ngx_uint_t named)
{
    ngx_err_t                         err;
    const char                       *reason;
    unsigned long                     code;
    ngx_pool_cleanup_t               *cln;
    ngx_http_token_injector_trust_t  *trust;

    cln = ngx_pool_cleanup_add(cf->pool,
                               sizeof(ngx_http_token_injector_trust_t));
    if (cln == NULL) {
        return NULL;
    }

    trust = cln->data;
    trust->file = *file;
    trust->store = X509_STORE_new();

    cln->handler = ngx_http_token_injector_trust_cleanup;

    if (trust->store == NULL) {
        return NULL;
    }

    ERR_clear_error();

    if (X509_STORE_load_file(trust->store, (char *) file->data) == 1
        && ngx_http_token_injector_trust_count(trust->store) > 0)
    {
        ERR_clear_error();
        return trust->store;
    }

    code = ERR_peek_error();
    err = ERR_SYSTEM_ERROR(code) ? ERR_GET_REASON(code) : 0;
    reason = err ? "it cannot be read" : ERR_reason_error_string(code);

    ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                       "\"%s\": no certificate could be loaded from %s\"%V\" "
                       "(%s): %s",
                       directive, named ? "" : "the system's ", file,
                       reason ? reason : "there is none in it",
                       named ? "it must be a file of PEM certificates"
                             : "set the directive, or install the system's "
                               "certificates (ca-certificates)");
    ERR_clear_error();

    return NULL;
}


/* revocation lists are no certificates */

static ngx_uint_t
ngx_http_token_injector_trust_count(X509_STORE *store)
{
    int                     i;
    ngx_uint_t              n;
    STACK_OF(X509_OBJECT)  *objects;

    n = 0;
    objects = X509_STORE_get0_objects(store);

    for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {

        if (X509_OBJECT_get_type(sk_X509_OBJECT_value(objects, i))
            == X509_LU_X509)
        {
            n++;
        }
    }

    return n;
}


static void
ngx_http_token_injector_trust_cleanup(void *data)
{
    ngx_http_token_injector_trust_t  *trust = data;

    X509_STORE_free(trust->store);
}
