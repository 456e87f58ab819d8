/*
 * Where a provider is asked, as each worker knows it.  What an issuer says of
 * its endpoints is asked for when somebody needs it, and again after an hour;
 * where that fails, what it said before stands.
 */

#include "ngx_http_token_injector.h"

#include "ti_discovery.h"

#include "ngx_http_token_injector_endpoints.h"


#define NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_LIFE  3600
#define NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_PAUSE 60
#define NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_AGAIN 1    /* none is known */
#define NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_WHY   256


/* a provider's, in one worker */

typedef struct {
    ngx_http_token_injector_provider_t  *provider;
    ngx_http_token_injector_endpoints_t  endpoints;
    ngx_queue_t                          waiting;
    ngx_pool_t                          *pool;   /* of what was said */
    time_t                               until;
    ngx_uint_t                           secret; /* the first to be tried */
    unsigned                             known:1;
    unsigned                             asking:1;
} ngx_http_token_injector_place_of_t;


static ngx_http_token_injector_place_of_t  *ngx_http_token_injector_places;
static ngx_uint_t  ngx_http_token_injector_nplaces;


static ngx_int_t ngx_http_token_injector_endpoints_ask(
    ngx_http_token_injector_place_of_t *place);
static void ngx_http_token_injector_endpoints_reply(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why);
static const char *ngx_http_token_injector_endpoints_read(
    ngx_http_token_injector_place_of_t *place,
    ngx_http_token_injector_fetch_reply_t *reply);
static const char *ngx_http_token_injector_endpoints_take(
    ngx_http_token_injector_place_of_t *place,
    ti_discovery_endpoints_t *found,
    ngx_http_token_injector_endpoints_t *endpoints);
static ngx_uint_t ngx_http_token_injector_endpoints_choose(
    ngx_http_token_injector_provider_t *provider, ngx_str_t *written,
    ti_str_t found, ngx_str_t *url);


ngx_int_t
ngx_http_token_injector_endpoints_init(ngx_cycle_t *cycle,
    ngx_http_token_injector_main_conf_t *mcf)
{
    ngx_uint_t                            i, n;
    ngx_http_token_injector_provider_t  **provider;
    ngx_http_token_injector_place_of_t   *place;

    n = mcf->providers.nelts;
    provider = mcf->providers.elts;

    if (n == 0) {
        return NGX_OK;
    }

    place = ngx_pcalloc(cycle->pool,
                        n * sizeof(ngx_http_token_injector_place_of_t));
    if (place == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        place[i].provider = provider[i];
        ngx_queue_init(&place[i].waiting);

        place[i].endpoints.authorization =
                                         provider[i]->authorization_endpoint;
        place[i].endpoints.token = provider[i]->token_endpoint;
        place[i].endpoints.userinfo = provider[i]->userinfo_endpoint;
        place[i].endpoints.revocation = provider[i]->revocation_endpoint;
        place[i].known = (provider[i]->discovery.len == 0);
    }

    ngx_http_token_injector_places = place;
    ngx_http_token_injector_nplaces = n;

    return NGX_OK;
}


void
ngx_http_token_injector_endpoints_exit(void)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_http_token_injector_nplaces; i++) {
        if (ngx_http_token_injector_places[i].pool) {
            ngx_destroy_pool(ngx_http_token_injector_places[i].pool);
        }
    }

    ngx_http_token_injector_nplaces = 0;
}


const ngx_http_token_injector_endpoints_t *
ngx_http_token_injector_endpoints(ngx_http_token_injector_provider_t *provider)
{
    ngx_http_token_injector_place_of_t  *place;

    if (provider->index >= ngx_http_token_injector_nplaces) {
        /* "master_process off" and a reload */
        return NULL;
    }

    place = &ngx_http_token_injector_places[provider->index];

    if (!place->known) {
        return NULL;
    }

    if (provider->discovery.len && ngx_time() >= place->until
        && !place->asking && !ngx_exiting)
    {
        (void) ngx_http_token_injector_endpoints_ask(place);
    }

    return &place->endpoints;
}


ngx_uint_t
ngx_http_token_injector_secret(ngx_http_token_injector_provider_t *provider)
{
    return ngx_http_token_injector_places[provider->index].secret;
}


void
ngx_http_token_injector_secret_good(
    ngx_http_token_injector_provider_t *provider, ngx_uint_t n)
{
    ngx_uint_t  *secret, old;

    secret = &ngx_http_token_injector_places[provider->index].secret;

    old = *secret;

    if (old == n) {
        /* another has found it out meanwhile */
        return;
    }

    *secret = n;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "token injector: provider \"%V\" takes the secret of line "
                  "%ui of \"%V\" and not that of line %ui any more",
                  &provider->name, *secret + 1, &provider->client_secret_file,
                  old + 1);
}


static ngx_int_t
ngx_http_token_injector_endpoints_ask(
    ngx_http_token_injector_place_of_t *place)
{
    ngx_http_token_injector_fetch_t          *fetch;
    ngx_http_token_injector_fetch_request_t   request;

    ngx_memzero(&request, sizeof(ngx_http_token_injector_fetch_request_t));

    request.url = place->provider->discovery;

    if (ngx_http_token_injector_fetch_start(&place->provider->party.fetch,
                                     &request,
                                     ngx_http_token_injector_endpoints_reply,
                                     place, &fetch)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    place->asking = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_token_injector_find(ngx_http_token_injector_provider_t *provider,
    ngx_http_token_injector_find_t *find)
{
    ngx_http_token_injector_place_of_t  *place;

    if (provider->index >= ngx_http_token_injector_nplaces) {
        return NGX_ERROR;
    }

    place = &ngx_http_token_injector_places[provider->index];

    if (!place->known && !place->asking && ngx_time() < place->until) {
        /* who asks again and again is answered from here */
        return NGX_DECLINED;
    }

    if (!place->asking
        && ngx_http_token_injector_endpoints_ask(place) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&place->waiting, &find->queue);

    return NGX_OK;
}


void
ngx_http_token_injector_find_forget(ngx_http_token_injector_find_t *find)
{
    ngx_queue_remove(&find->queue);
}


static void
ngx_http_token_injector_endpoints_reply(void *data, ngx_int_t rc,
    ngx_http_token_injector_fetch_reply_t *reply, const char *why)
{
    ngx_http_token_injector_place_of_t *place = data;

    u_char                           buf[NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_WHY];
    ngx_queue_t                      waiting, *q;
    ngx_http_token_injector_find_t  *find;

    place->asking = 0;

    if (rc == NGX_OK) {
        why = ngx_http_token_injector_endpoints_read(place, reply);
    }

    if (why) {
        (void) ngx_cpystrn(buf, (u_char *) why, sizeof(buf));
        why = (char *) buf;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "token injector: endpoints of provider \"%V\": \"%V\" "
                      "%s%s", &place->provider->name,
                      &place->provider->discovery, why,
                      place->known ? "; the known ones stand" : "");

        if (place->known) {
            place->until = ngx_time() + NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_PAUSE;
            why = NULL;

        } else {
            place->until = ngx_time() + NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_AGAIN;
        }
    }

    /* who goes on may ask again */

    ngx_queue_init(&waiting);

    if (!ngx_queue_empty(&place->waiting)) {
        ngx_queue_add(&waiting, &place->waiting);
        ngx_queue_init(&place->waiting);
    }

    while (!ngx_queue_empty(&waiting)) {
        q = ngx_queue_head(&waiting);
        ngx_queue_remove(q);

        find = ngx_queue_data(q, ngx_http_token_injector_find_t, queue);
        find->handler(find->data, why);
    }
}


/* NULL: they are known now */

static const char *
ngx_http_token_injector_endpoints_read(
    ngx_http_token_injector_place_of_t *place,
    ngx_http_token_injector_fetch_reply_t *reply)
{
    ti_pool_t                             pool;
    ngx_pool_t                           *memory;
    const char                           *why;
    ti_discovery_endpoints_t              found;
    ngx_http_token_injector_endpoints_t   endpoints;

    if (reply->status != NGX_HTTP_OK) {
        return "did not answer 200: is \"issuer\" right?";
    }

    memory = ngx_create_pool(1024, ngx_cycle->log);
    if (memory == NULL) {
        return "was answered, and memory is none";
    }

    pool = ngx_http_token_injector_pool(memory);

    if (ti_discovery_endpoints(&pool,
                     ngx_http_token_injector_str(&reply->body),
                     ngx_http_token_injector_str(&place->provider->issuer),
                     &found, &why)
        == TI_OK)
    {
        why = ngx_http_token_injector_endpoints_take(place, &found,
                                                     &endpoints);
    }

    if (why) {
        ngx_destroy_pool(memory);
        return why;
    }

    if (place->pool) {
        ngx_destroy_pool(place->pool);
    }

    place->pool = memory;
    place->endpoints = endpoints;
    place->until = ngx_time() + NGX_HTTP_TOKEN_INJECTOR_ENDPOINTS_LIFE;
    place->known = 1;

    return NULL;
}


/* what is written out goes before what was found */

static const char *
ngx_http_token_injector_endpoints_take(
    ngx_http_token_injector_place_of_t *place,
    ti_discovery_endpoints_t *found,
    ngx_http_token_injector_endpoints_t *endpoints)
{
    ngx_http_token_injector_provider_t  *provider;

    provider = place->provider;

    endpoints->iss = found->iss;

    if (!ngx_http_token_injector_endpoints_choose(provider,
                                           &provider->authorization_endpoint,
                                           found->authorization,
                                           &endpoints->authorization)
        || !ngx_http_token_injector_endpoints_choose(provider,
                                                 &provider->token_endpoint,
                                                 found->token,
                                                 &endpoints->token)
        || !ngx_http_token_injector_endpoints_choose(provider,
                                              &provider->userinfo_endpoint,
                                              found->userinfo,
                                              &endpoints->userinfo)
        || !ngx_http_token_injector_endpoints_choose(provider,
                                            &provider->revocation_endpoint,
                                            found->revocation,
                                            &endpoints->revocation))
    {
        return "names an endpoint that is not a URL that can be used, or is "
               "not https, or is https and nobody is trusted to vouch for it";
    }

    if (endpoints->token.len == 0
        || (endpoints->authorization.len == 0
            && provider->grant == NGX_HTTP_TOKEN_INJECTOR_CODE))
    {
        return "does not name all endpoints: write them out";
    }

    return NULL;
}


/* 0: it names one that is not to be used */

static ngx_uint_t
ngx_http_token_injector_endpoints_choose(
    ngx_http_token_injector_provider_t *provider, ngx_str_t *written,
    ti_str_t found, ngx_str_t *url)
{
    if (written->len) {
        *url = *written;
        return 1;
    }

    url->data = (u_char *) found.data;
    url->len = found.len;

    if (url->len == 0) {
        return 1;
    }

    if (provider->party.fetch.trust == NULL
        && ngx_strncasecmp(url->data, (u_char *) "https:", 6) == 0)
    {
        return 0;
    }

    return ngx_http_token_injector_url_objection(url,
                                                 provider->party.allow_http)
           == NULL;
}
