/*
 * Keys: the file of sealing keys, and user keys.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenctl.h"


#define TOKENCTL_KID_BYTES  8               /* 16 hexadecimal digits */


tokenctl_exit_t
tokenctl_crypto_open(tokenctl_t *ctl)
{
    ctl->crypto = ti_crypto_create();

    if (ctl->crypto == NULL) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "OpenSSL does not start");
    }

    ctl->random = ti_crypto_random();

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_random(tokenctl_t *ctl, unsigned char *buf, size_t len)
{
    if (ctl->random.fill(ctl->random.data, buf, len) != TI_OK) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "no random bytes");
    }

    return TOKENCTL_DONE;
}


static tokenctl_exit_t
tokenctl_keys_parse(tokenctl_t *ctl, const char *path, ti_str_t text,
    const char *hint)
{
    const char  *why;

    why = "";

    ti_keyring_free(ctl->ring);
    ctl->ring = NULL;

    switch (ti_keyring_parse(text, &ctl->ring, &why)) {

    case TI_OK:
        return TOKENCTL_DONE;

    case TI_DECLINED:
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: %s; %s", path, why,
                             hint);

    default:
        return tokenctl_fail_memory(ctl);
    }
}


static tokenctl_exit_t
tokenctl_keys_read(tokenctl_t *ctl, const char *path, ti_str_t *text)
{
    tokenctl_exit_t  rc;

    if (access(path, F_OK) == -1 && errno == ENOENT) {
        return tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: there is no such file; "
                             "tokenctl keygen --out %s makes one", path, path);
    }

    rc = tokenctl_file_read(ctl, path, TOKENCTL_KEYS_MAX,
                            TOKENCTL_FILE_PRIVATE, text);

    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    return tokenctl_keys_parse(ctl, path, *text,
                               "tokenctl keygen makes such files");
}


tokenctl_exit_t
tokenctl_keys_load(tokenctl_t *ctl)
{
    ti_str_t  text;

    return tokenctl_keys_read(ctl, ctl->value[TOKENCTL_OPT_KEYS], &text);
}


/* A new JWK, its kid in hexadecimal so that no shell minds. */

static tokenctl_exit_t
tokenctl_jwk_create(tokenctl_t *ctl, const char *use, json_t **jwk)
{
    int              i;
    char             kid[TOKENCTL_KID_BYTES * 2 + 1];
    char             k[64];
    size_t           len;
    tokenctl_exit_t  rc;
    unsigned char    raw[TI_KEY_LEN];

    rc = tokenctl_random(ctl, raw, TOKENCTL_KID_BYTES);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    for (i = 0; i < TOKENCTL_KID_BYTES; i++) {
        snprintf(kid + i * 2, 3, "%02x", raw[i]);
    }

    rc = tokenctl_random(ctl, raw, sizeof(raw));
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    len = ti_b64u_encode((unsigned char *) k, ti_str_from(raw, sizeof(raw)));

    *jwk = json_pack("{s:s, s:s, s:s, s:s%}", "kty", "oct", "use", use,
                     "kid", kid, "k", k, len);

    if (*jwk != NULL && strcmp(use, "sig") == 0
        && json_object_set_new(*jwk, "alg", json_string("HS256")) != 0)
    {
        json_decref(*jwk);
        *jwk = NULL;
    }

    ti_wipe(raw, sizeof(raw));
    ti_wipe(k, sizeof(k));

    return *jwk != NULL ? TOKENCTL_DONE : tokenctl_fail_memory(ctl);
}


/* Writes what the module will accept, and nothing else. */

static tokenctl_exit_t
tokenctl_keys_write(tokenctl_t *ctl, const char *path, json_t *set,
    const struct stat *like)
{
    char             *text;
    tokenctl_exit_t   rc;

    text = json_dumps(set, JSON_INDENT(2));
    if (text == NULL) {
        return tokenctl_fail_memory(ctl);
    }

    rc = tokenctl_keys_parse(ctl, path, ti_str_cstr(text), "rotate, then "
                             "remove the keys that seal nothing any more");

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_file_write(ctl, path, ti_str_cstr(text), like);
    }

    tokenctl_free(text);

    return rc;
}


static tokenctl_exit_t
tokenctl_keys_create(tokenctl_t *ctl, const char *path)
{
    json_t           *enc, *set, *sig;
    tokenctl_exit_t   rc;

    rc = tokenctl_jwk_create(ctl, "enc", &enc);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    rc = tokenctl_jwk_create(ctl, "sig", &sig);
    if (rc != TOKENCTL_DONE) {
        json_decref(enc);
        return rc;
    }

    set = json_pack("{s:[O, o]}", "keys", enc, sig);

    rc = set != NULL ? tokenctl_keys_write(ctl, path, set, NULL)
                     : tokenctl_fail_memory(ctl);

    if (rc == TOKENCTL_DONE) {
        printf("%s\n", json_string_value(json_object_get(enc, "kid")));
    }

    json_decref(set);
    json_decref(enc);

    return rc;
}


static tokenctl_exit_t
tokenctl_keys_add(tokenctl_t *ctl, const char *path, json_t *set,
    const struct stat *like)
{
    json_t           *enc;
    tokenctl_exit_t   rc;

    rc = tokenctl_jwk_create(ctl, "enc", &enc);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (json_array_append(json_object_get(set, "keys"), enc) != 0) {
        rc = tokenctl_fail_memory(ctl);
    }

    if (rc == TOKENCTL_DONE) {
        rc = tokenctl_keys_write(ctl, path, set, like);
    }

    if (rc == TOKENCTL_DONE) {
        printf("%s\n", json_string_value(json_object_get(enc, "kid")));
    }

    json_decref(enc);

    return rc;
}


static tokenctl_exit_t
tokenctl_keys_first(tokenctl_t *ctl, const char *path, json_t *set,
    const struct stat *like)
{
    int               failed;
    json_t           *jwk, *keys;
    size_t            i;
    ti_str_t          kid;
    const char       *name, *use;

    kid = ti_str_cstr(ctl->value[TOKENCTL_OPT_FIRST]);

    if (ti_str_eq(ti_keyring_kid(ctl->ring, 0), kid)) {
        return TOKENCTL_DONE;
    }

    keys = json_object_get(set, "keys");

    json_array_foreach(keys, i, jwk) {
        use = json_string_value(json_object_get(jwk, "use"));
        name = json_string_value(json_object_get(jwk, "kid"));

        if (use == NULL || strcmp(use, "enc") != 0
            || name == NULL || !ti_str_eq(ti_str_cstr(name), kid))
        {
            continue;
        }

        json_incref(jwk);
        failed = json_array_remove(keys, i) != 0
                 || json_array_insert(keys, 0, jwk) != 0;
        json_decref(jwk);

        return failed ? tokenctl_fail_memory(ctl)
                      : tokenctl_keys_write(ctl, path, set, like);
    }

    return tokenctl_fail(ctl, TOKENCTL_NOT_FOUND, "%s: no sealing key of kid "
                         "%s", path, ctl->value[TOKENCTL_OPT_FIRST]);
}


/*
 * The file stays locked while it is replaced: of two --add at once, neither
 * may lose the other's key.  Who waited for the lock may hold that of a file
 * that is no longer there, and begins again.
 */

static int
tokenctl_keys_lock(const char *path, struct stat *st)
{
    int          fd;
    struct stat  now;

    for ( ;; ) {
        fd = open(path, O_RDONLY|O_CLOEXEC|O_NOCTTY);
        if (fd == -1) {
            return -1;
        }

        if (flock(fd, LOCK_EX) == -1 || fstat(fd, st) == -1
            || stat(path, &now) == -1)
        {
            close(fd);
            return -1;
        }

        if (now.st_dev == st->st_dev && now.st_ino == st->st_ino) {
            return fd;
        }

        close(fd);
    }
}


static tokenctl_exit_t
tokenctl_keys_change(tokenctl_t *ctl, const char *path)
{
    int               fd;
    json_t           *set;
    ti_str_t          text;
    struct stat       st;
    tokenctl_exit_t   rc;

    fd = tokenctl_keys_lock(path, &st);

    rc = tokenctl_keys_read(ctl, path, &text);

    if (rc == TOKENCTL_DONE && fd == -1) {
        rc = tokenctl_fail(ctl, TOKENCTL_FAILED, "%s: it cannot be locked",
                           path);
    }

    if (rc == TOKENCTL_DONE) {
        set = json_loadb((const char *) text.data, text.len, 0, NULL);

        if (set == NULL) {
            rc = tokenctl_fail_memory(ctl);

        } else if (ctl->value[TOKENCTL_OPT_ADD] != NULL) {
            rc = tokenctl_keys_add(ctl, path, set, &st);

        } else {
            rc = tokenctl_keys_first(ctl, path, set, &st);
        }

        json_decref(set);
    }

    if (fd != -1) {
        close(fd);
    }

    return rc;
}


tokenctl_exit_t
tokenctl_keygen(tokenctl_t *ctl)
{
    char             *real;
    const char       *path;
    tokenctl_exit_t   rc;

    path = ctl->value[TOKENCTL_OPT_OUT];

    rc = tokenctl_crypto_open(ctl);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    if (ctl->value[TOKENCTL_OPT_ADD] == NULL
        && ctl->value[TOKENCTL_OPT_FIRST] == NULL)
    {
        return tokenctl_keys_create(ctl, path);
    }

    /* replace the file, not the link that leads to it */

    real = realpath(path, NULL);
    rc = tokenctl_keys_change(ctl, real != NULL ? real : path);
    free(real);

    return rc;
}


tokenctl_exit_t
tokenctl_userkey(tokenctl_t *ctl)
{
    char             text[64];
    size_t           len;
    unsigned char    key[TI_KEY_LEN];
    tokenctl_exit_t  rc;

    rc = tokenctl_crypto_open(ctl);
    if (rc != TOKENCTL_DONE) {
        return rc;
    }

    rc = tokenctl_random(ctl, key, sizeof(key));

    if (rc == TOKENCTL_DONE) {
        len = ti_b64u_encode((unsigned char *) text,
                             ti_str_from(key, sizeof(key)));
        printf("%.*s\n", (int) len, text);
    }

    ti_wipe(key, sizeof(key));
    ti_wipe(text, sizeof(text));

    return rc;
}
