/*
 * "ISSUER LF document": where an issuer is asked, and what it may answer.
 */

#include <stdlib.h>
#include <string.h>

#include "ti_discovery.h"


#define MAX         4096
#define ALLOWED     (TI_ALG_RS256|TI_ALG_ES256|TI_ALG_EDDSA)
#define WELL_KNOWN  "/.well-known/openid-configuration"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* as large as they are, so that a sanitizer sees their ends */

static void   *blocks[4];
static size_t  n;


static void
must(int so)
{
    if (!so) {
        abort();
    }
}


static void *
take(void *data, size_t size)
{
    (void) data;

    must(n < 4);
    blocks[n] = malloc(size);

    return blocks[n++];
}


static const ti_pool_t  pool = { take, NULL };


static void
ask(ti_str_t issuer)
{
    size_t       i, len;
    ti_rc_t      rc;
    ti_str_t     uri;
    const char  *text;

    rc = ti_discovery_uri(&pool, issuer, &uri);
    must(rc == TI_OK || rc == TI_DECLINED);

    if (rc != TI_OK) {
        return;
    }

    text = (const char *) uri.data;
    len = strlen(WELL_KNOWN);

    must(text[uri.len] == '\0' && strlen(text) == uri.len);
    must(strncasecmp(text, "http", 4) == 0);
    must(uri.len > len && strcmp(text + uri.len - len, WELL_KNOWN) == 0);

    uri.len -= len;
    must(uri.len == issuer.len
         || (uri.len == issuer.len - 1 && issuer.data[uri.len] == '/'));
    must(memcmp(uri.data, issuer.data, uri.len) == 0);

    for (i = 0; i < issuer.len; i++) {
        must(issuer.data[i] > 0x20 && issuer.data[i] < 0x7f);
        must(strchr("?#\\\"<>^`{|}", issuer.data[i]) == NULL);
    }

    /* nothing in front of the host */

    text = strchr(text, '/') + 2;
    must(memchr(text, '@', strcspn(text, "/")) == NULL);
    must(*text != '/' && *text != ':');
}


static void
listen_to(ti_str_t issuer, ti_str_t document)
{
    json_t      *object;
    ti_rc_t      rc;
    ti_str_t     keys, said;
    unsigned     algorithms;
    const char  *why;

    why = NULL;
    rc = ti_discovery_read(&pool, document, issuer, ALLOWED, &keys,
                           &algorithms, &why);

    must(rc == TI_OK || (rc == TI_DECLINED && why != NULL));

    if (rc != TI_OK) {
        return;
    }

    must(algorithms != 0 && (algorithms & ~(unsigned) ALLOWED) == 0);
    must(keys.len != 0 && keys.data[keys.len] == '\0');
    must(strlen((const char *) keys.data) == keys.len);

    must(ti_json_parse_object(document, document.len, &object, &why) == TI_OK);
    must(ti_json_string(object, "issuer", &said) == TI_OK
         && ti_str_eq(said, issuer));
    must(ti_json_string(object, "jwks_uri", &said) == TI_OK
         && ti_str_eq(said, keys));
    json_decref(object);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ti_str_t        issuer, document;
    const uint8_t  *lf;

    lf = size == 0 ? NULL : memchr(data, '\n', size);

    if (lf == NULL || size > MAX) {
        return 0;
    }

    issuer = ti_str_from(data, (size_t) (lf - data));
    document = ti_str_from(lf + 1, size - issuer.len - 1);

    ask(issuer);
    listen_to(issuer, document);

    while (n > 0) {
        free(blocks[--n]);
    }

    return 0;
}
