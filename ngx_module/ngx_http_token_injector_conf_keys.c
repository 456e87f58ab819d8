/*
 * Where the keys of a token_issuer come from: files, URIs, or what the issuer
 * publishes; and how it is asked.
 */

#include "ngx_http_token_injector.h"

#include "ti_discovery.h"


typedef struct {
    ngx_conf_t                    *cf;
    ngx_str_t                     *path;
} ngx_http_token_injector_report_t;


static char *ngx_http_token_injector_issuer_files(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, const ti_jwks_t **set,
    ngx_array_t *ids);
static ti_jwks_t *ngx_http_token_injector_issuer_keys_file(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_str_t *path, u_char *id);
static void ngx_http_token_injector_issuer_ignored(void *data, size_t index,
    ti_str_t kid, const char *why);
static void ngx_http_token_injector_issuer_cleanup(void *data);
static char *ngx_http_token_injector_issuer_uris(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_discovery(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer);
static char *ngx_http_token_injector_issuer_feed(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_str_t *uri,
    const ti_jwks_t **place);
static char *ngx_http_token_injector_feed_identity(
    ngx_http_token_injector_feed_t *feed,
    ngx_http_token_injector_party_t *party,
    ngx_http_token_injector_main_conf_t *mcf);
static char *ngx_http_token_injector_issuer_sources(
    ngx_http_token_injector_issuer_t *issuer, ngx_array_t *ids);


char *
ngx_http_token_injector_issuer_keys(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_array_t *ids)
{
    ngx_str_t         *uri;
    ngx_uint_t         i, nfiles, nuris;
    const ti_jwks_t  **sets;

    if (ngx_array_init(&issuer->feeds, cf->pool, 1, sizeof(void *)) != NGX_OK
        || ngx_http_token_injector_issuer_uris(cf, issuer) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    nfiles = issuer->keys_files ? issuer->keys_files->nelts : 0;
    nuris = issuer->keys_uris ? issuer->keys_uris->nelts : 0;

    sets = ngx_pcalloc(cf->pool, (nfiles + nuris) * sizeof(ti_jwks_t *));
    if (sets == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_token_injector_issuer_files(cf, issuer, mcf, sets, ids)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    uri = nuris ? issuer->keys_uris->elts : NULL;

    for (i = 0; i < nuris; i++) {

        if (ngx_http_token_injector_issuer_feed(cf, issuer, mcf, &uri[i],
                                                &sets[nfiles + i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    issuer->policy.keys = sets;
    issuer->policy.nkeys = nfiles + nuris;

    return ngx_http_token_injector_issuer_sources(issuer, ids);
}


static char *
ngx_http_token_injector_issuer_files(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, const ti_jwks_t **set,
    ngx_array_t *ids)
{
    size_t       count;
    u_char      *digest;
    ti_str_t    *id;
    ngx_str_t   *path;
    ngx_uint_t   i;

    if (issuer->keys_files == NULL) {
        return NGX_CONF_OK;
    }

    count = 0;
    path = issuer->keys_files->elts;

    for (i = 0; i < issuer->keys_files->nelts; i++) {

        id = ngx_array_push(ids);
        digest = ngx_palloc(cf->pool, TI_SHA256_LEN);

        if (id == NULL || digest == NULL) {
            return NGX_CONF_ERROR;
        }

        set[i] = ngx_http_token_injector_issuer_keys_file(cf, issuer, mcf,
                                                          &path[i], digest);
        if (set[i] == NULL) {
            return NGX_CONF_ERROR;
        }

        count += ti_jwks_count(set[i]);

        *id = ti_str_from(digest, TI_SHA256_LEN);
    }

    if (count == 0 && issuer->keys_uris == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" has no key that can be used "
                           "with its \"algorithms\"", &issuer->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ti_jwks_t *
ngx_http_token_injector_issuer_keys_file(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_str_t *path, u_char *id)
{
    ti_rc_t                            rc;
    ti_str_t                           part;
    ngx_str_t                          text;
    ti_jwks_t                         *set;
    const char                        *why;
    ti_jwks_report_t                   report;
    ngx_pool_cleanup_t                *cln;
    ngx_http_token_injector_report_t   to;

    /* a set for MAC algorithms is a set of secrets */

    if (ngx_http_token_injector_conf_file(cf, "keys_file", path,
                            TI_JWKS_MAX_SIZE,
                            issuer->policy.algorithms & TI_ALGS_MAC, &text)
        != NGX_CONF_OK)
    {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    to.cf = cf;
    to.path = path;
    report.ignored = ngx_http_token_injector_issuer_ignored;
    report.data = &to;

    part = ngx_http_token_injector_str(&text);
    why = "out of memory";

    rc = ti_crypto_sha256(mcf->crypto, &part, 1, id);

    if (rc == TI_OK) {
        rc = ti_jwks_parse(mcf->crypto, part, issuer->policy.algorithms,
                           &report, &set, &why);
    }

    ngx_explicit_memzero(text.data, text.len);

    if (rc != TI_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "keys_file \"%V\": %s", path, why);
        return NULL;
    }

    cln->handler = ngx_http_token_injector_issuer_cleanup;
    cln->data = set;

    return set;
}


static void
ngx_http_token_injector_issuer_ignored(void *data, size_t index, ti_str_t kid,
    const char *why)
{
    ngx_http_token_injector_report_t  *to = data;

    ngx_conf_log_error(NGX_LOG_WARN, to->cf, 0,
                       "keys_file \"%V\": key number %uz is not used: %s",
                       to->path, index + 1, why);
}


static void
ngx_http_token_injector_issuer_cleanup(void *data)
{
    ti_jwks_free(data);
}


/* neither files nor URIs: the issuer says itself where its keys are */

static char *
ngx_http_token_injector_issuer_uris(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer)
{
    ngx_str_t   *uri;
    ngx_uint_t   i;

    if (issuer->keys_files == NULL && issuer->keys_uris == NULL
        && ngx_http_token_injector_issuer_discovery(cf, issuer)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (issuer->keys_uris == NULL) {
        return NGX_CONF_OK;
    }

    uri = issuer->keys_uris->elts;

    for (i = 0; i < issuer->keys_uris->nelts; i++) {

        if (ngx_http_token_injector_conf_url(cf, issuer->discovery
                                                 ? "issuer" : "keys_uri",
                                             issuer->discovery
                                             ? &issuer->issuer : &uri[i],
                                             issuer->party.allow_http)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        if (ngx_strncasecmp(uri[i].data, (u_char *) "https:", 6) == 0) {
            issuer->party.https = 1;
        }
    }

    if ((issuer->policy.algorithms & ~TI_ALGS_MAC) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" fetches keys and allows only "
                           "MAC algorithms, whose keys are never fetched: "
                           "leave \"keys_uri\" out", &issuer->name);
        return NGX_CONF_ERROR;
    }

    return ngx_http_token_injector_party(cf, &issuer->party);
}


static char *
ngx_http_token_injector_issuer_discovery(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer)
{
    ti_str_t    text;
    ti_pool_t   pool;
    ngx_str_t  *uri;

    pool = ngx_http_token_injector_pool(cf->pool);

    issuer->keys_uris = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
    if (issuer->keys_uris == NULL) {
        return NGX_CONF_ERROR;
    }

    switch (ti_discovery_uri(&pool, ngx_http_token_injector_str(
                                        &issuer->issuer), &text))
    {
    case TI_OK:
        break;

    case TI_DECLINED:
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "token_issuer \"%V\" has neither \"keys_file\" nor "
                           "\"keys_uri\", and its \"issuer\" \"%V\" is not a "
                           "URL that could be asked where its keys are",
                           &issuer->name, &issuer->issuer);
        return NGX_CONF_ERROR;

    default:
        return NGX_CONF_ERROR;
    }

    uri = ngx_array_push(issuer->keys_uris);
    if (uri == NULL) {
        return NGX_CONF_ERROR;
    }

    uri->data = (u_char *) text.data;
    uri->len = text.len;

    issuer->discovery = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_token_injector_issuer_feed(ngx_conf_t *cf,
    ngx_http_token_injector_issuer_t *issuer,
    ngx_http_token_injector_main_conf_t *mcf, ngx_str_t *uri,
    const ti_jwks_t **place)
{
    ngx_http_token_injector_feed_t  *feed, **slot;

    feed = ngx_pcalloc(cf->pool, sizeof(ngx_http_token_injector_feed_t));
    if (feed == NULL) {
        return NGX_CONF_ERROR;
    }

    feed->name = issuer->name;
    feed->issuer = issuer->issuer;
    feed->uri = *uri;
    feed->discovery = issuer->discovery;
    feed->algorithms = issuer->policy.algorithms & ~TI_ALGS_MAC;
    feed->refresh.interval = issuer->keys_interval;
    feed->refresh.min_interval = issuer->keys_min_interval;
    feed->refresh.max_stale = issuer->keys_max_stale;
    feed->fetch = &issuer->party.fetch;
    feed->crypto = mcf->crypto;
    feed->index = mcf->feeds.nelts;
    feed->place = place;

    slot = ngx_array_push(&mcf->feeds);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = feed;

    slot = ngx_array_push(&issuer->feeds);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = feed;

    return ngx_http_token_injector_feed_identity(feed, &issuer->party, mcf);
}


/*
 * What a set depends on: under it the workers, and reloads, find it.  Who was
 * trusted to vouch for it is part of that.
 */

static char *
ngx_http_token_injector_feed_identity(ngx_http_token_injector_feed_t *feed,
    ngx_http_token_injector_party_t *party,
    ngx_http_token_injector_main_conf_t *mcf)
{
    u_char    numbers[24];
    ti_str_t  fields[4];

    ti_put_u64(numbers, feed->discovery);
    ti_put_u64(numbers + 8, feed->algorithms);
    ti_put_u64(numbers + 16, party->allow_http);

    fields[0] = ti_str_from(numbers, sizeof(numbers));
    fields[1] = ngx_http_token_injector_str(&feed->issuer);
    fields[2] = ngx_http_token_injector_str(&feed->uri);
    fields[3] = ngx_http_token_injector_str(&party->trusted_certificate);

    if (ti_crypto_sha256_enc(mcf->crypto, fields, 4, feed->id) != TI_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* where they come from is part of what a verdict depends on */

static char *
ngx_http_token_injector_issuer_sources(
    ngx_http_token_injector_issuer_t *issuer, ngx_array_t *ids)
{
    ti_str_t                         *id;
    ngx_uint_t                        i;
    ngx_http_token_injector_feed_t  **feed;

    feed = issuer->feeds.elts;

    for (i = 0; i < issuer->feeds.nelts; i++) {

        id = ngx_array_push(ids);
        if (id == NULL) {
            return NGX_CONF_ERROR;
        }

        *id = ti_str_from(feed[i]->id, TI_SHA256_LEN);
    }

    return NGX_CONF_OK;
}


/* an issuer that no location names is not asked */

void
ngx_http_token_injector_issuer_used(ngx_http_token_injector_issuer_t *issuer)
{
    ngx_uint_t                        i;
    ngx_http_token_injector_feed_t  **feed;

    feed = issuer->feeds.elts;

    for (i = 0; i < issuer->feeds.nelts; i++) {
        feed[i]->used = 1;
    }
}
