/*
 * What the core's share of a request costs, without nginx: core DIR, where
 * DIR has what bench/tokens.py wrote.  Prints "microseconds<TAB>what" lines,
 * each the median of ROUNDS rounds.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ti_admission.h"
#include "ti_answer.h"
#include "ti_jwt.h"


#define ROUNDS      41
#define TURNS       250
#define TOKEN_LEN   1024                    /* the third party's */
#define BODY_LEN    4096
#define MEMORY      (256 * 1024)
#define FILE_MAX    16384

#define KEY         "0123456789abcdef0123456789abcdef"
#define KEY_TEXT    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
#define CID         "AAECAwQFBgcICQoLDA0ODw"
#define SEALING     "{\"keys\":[{\"kty\":\"oct\",\"use\":\"enc\","           \
                    "\"kid\":\"s1\",\"k\":\"" KEY_TEXT "\"},"                \
                    "{\"kty\":\"oct\",\"use\":\"sig\",\"alg\":\"HS256\","    \
                    "\"kid\":\"i1\",\"k\":\"" KEY_TEXT "\"}]}"


/* What the timed functions work on; nothing here outlives a turn. */

typedef struct {
    ti_crypto_t         *crypto;
    ti_random_t          random;
    ti_pool_t            pool;
    size_t               used;
    int64_t              now;

    ti_keyring_t        *ring;
    ti_record_ref_t      ref;
    ti_str_t             record;

    ti_jwt_issuer_t      issuer;
    ti_str_t             jwt;

    ti_admission_id_t    id;
    ti_admission_t       head;
    ti_str_t             sealed_head;
    ti_str_t             sealed_token;

    ti_answer_request_t  request;
    unsigned char        digest[TI_SHA256_LEN];
    unsigned char        key[TI_KEY_LEN];
    ti_answer_t          answer;
    ti_str_t             sealed_answer;
} bench_t;

typedef struct {
    const char  *what;
    int        (*run)(bench_t *b);          /* 1: done as it should be */
} timing_t;


static unsigned char  memory[MEMORY];


static void
check(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "core: %s\n", what);
        exit(1);
    }
}


static void *
memory_alloc(void *data, size_t size)
{
    void     *p;
    bench_t  *b;

    b = data;
    size = (size + 15) & ~(size_t) 15;

    if (size > MEMORY - b->used) {
        return NULL;
    }

    p = memory + b->used;
    b->used += size;

    return p;
}


/* Outlives every turn: freed by the end of the program. */

static ti_str_t
keep(const void *data, size_t len)
{
    void  *p;

    p = malloc(len + 1);
    check(p != NULL, "out of memory");
    memcpy(p, data, len);

    return ti_str_from(p, len);
}


/* The first line of a file, or all of one that has no more. */

static ti_str_t
first_line(const char *directory, const char *name)
{
    FILE    *file;
    char     path[4096], text[FILE_MAX];
    size_t   len;

    snprintf(path, sizeof(path), "%s/%s", directory, name);

    file = fopen(path, "r");
    check(file != NULL, path);
    check(fgets(text, sizeof(text), file) != NULL, path);
    fclose(file);

    len = strcspn(text, "\n");

    return keep(text, len);
}


/* --- what is timed ------------------------------------------------------- */

static int
open_record(bench_t *b)
{
    const char   *why;
    ti_record_t   record;

    return ti_record_open(b->crypto, &b->pool, b->ring, &b->ref, b->record,
                          &record, &why)
           == TI_RESULT_OK
           && record.token.len == TOKEN_LEN;
}


static int
verify(bench_t *b)
{
    ti_jwt_t                jwt;
    const char             *why;
    const ti_jwt_issuer_t  *issuer;

    issuer = &b->issuer;

    if (ti_jwt_verify(b->crypto, &b->pool, &issuer, 1, b->jwt, b->now, &jwt,
                      &why)
        != TI_RESULT_OK)
    {
        return 0;
    }

    ti_jwt_clear(&jwt);

    return 1;
}


static int
claims(bench_t *b)
{
    json_t  *claims;

    if (ti_jwt_claims(b->jwt, &claims) != TI_OK) {
        return 0;
    }

    json_decref(claims);

    return 1;
}


static int
admission_id(bench_t *b)
{
    return ti_admission_id(b->crypto, ti_str(KEY), b->jwt, ti_str(KEY_TEXT),
                           ti_str(KEY), &b->id)
           == TI_OK;
}


static int
admission_open(bench_t *b)
{
    unsigned char   *sealed;
    ti_admission_t   head;

    sealed = ti_pool_alloc(&b->pool, b->sealed_head.len);
    memcpy(sealed, b->sealed_head.data, b->sealed_head.len);

    return ti_admission_open(b->crypto, &b->id, sealed, b->sealed_head.len,
                             &head)
           == TI_OK;
}


static int
admission_open_token(bench_t *b)
{
    unsigned char  *token;

    token = ti_pool_alloc(&b->pool, TOKEN_LEN);

    return ti_admission_open_token(b->crypto, &b->id, &b->head,
                                   b->sealed_token, token)
           == TI_OK;
}


static int
answer_digest(bench_t *b)
{
    return ti_answer_digest(b->crypto, b->ring, &b->request, b->digest)
           == TI_OK;
}


static int
answer_open(bench_t *b)
{
    ti_answer_t     answer;
    unsigned char  *sealed;

    sealed = ti_pool_alloc(&b->pool, b->sealed_answer.len);
    memcpy(sealed, b->sealed_answer.data, b->sealed_answer.len);

    return ti_answer_key(b->crypto, b->head.answer_base, b->digest, b->key)
           == TI_OK
           && ti_answer_open(b->crypto, &b->pool, b->key, b->digest,
                             ti_str(CID), b->now, sealed,
                             b->sealed_answer.len, &answer)
              == TI_OK
           && answer.body.len == BODY_LEN;
}


static int
answer_seal(bench_t *b)
{
    unsigned char  *sealed;

    sealed = ti_pool_alloc(&b->pool, b->sealed_answer.len);

    return ti_answer_seal(b->crypto, &b->random, b->key, b->digest,
                          ti_str(CID), &b->answer, sealed)
           == TI_OK;
}


static const timing_t  timings[] = {
    { "open a record of a 1 KB token, both layers", open_record },
    { "verify a caller's RS256 token, claims included", verify },
    { "claims of a token that stood before", claims },
    { "admission: key and name", admission_id },
    { "admission: open the head", admission_open },
    { "admission: open the token", admission_open_token },
    { "answer: digest of the request", answer_digest },
    { "answer: key, open 4 KB", answer_open },
    { "answer: seal 4 KB", answer_seal }
};


/* --- what they are timed on ---------------------------------------------- */

static void
set_up_record(bench_t *b)
{
    const char   *why;
    ti_str_t      sealed;
    ti_record_t   record;

    static char  token[TOKEN_LEN];

    check(ti_keyring_parse(ti_str(SEALING), &b->ring, &why) == TI_OK,
          "no keyring");

    b->ref.kind = TI_RECORD_ACCESS;
    b->ref.who.issuer = ti_str("https://login.example.com/");
    b->ref.who.tenant = ti_str("8f2c1e0a-7d54-4b7e-9d0b-3f5a6c1d2e90");
    b->ref.who.subject = ti_str("user-0");
    b->ref.provider = ti_str("outlook");
    b->ref.device = ti_str("AAECAwQFBgcICQoL");
    b->ref.user_key = (const unsigned char *) KEY;
    b->ref.gen = 7;
    b->ref.cid = ti_str(CID);

    memset(token, 't', sizeof(token));
    memset(&record, 0, sizeof(ti_record_t));
    record.token = ti_str_from(token, sizeof(token));
    record.expires = b->now + 3600;

    check(ti_record_seal(b->crypto, &b->pool, &b->random, b->ring, &b->ref,
                         &record, &sealed)
          == TI_OK, "a record was not sealed");

    b->record = keep(sealed.data, sealed.len);
}


static void
set_up_jwt(bench_t *b, const char *directory)
{
    const char               *why;
    static ti_jwks_t         *set;
    static ti_str_t           audience = ti_string("api://search");
    static const ti_jwks_t   *sets[1];
    static const char        *user[] = { "sub" };
    static const char        *tenant[] = { "tid" };

    b->jwt = first_line(directory, "tokens");

    check(ti_jwks_parse(b->crypto, first_line(directory, "corp.jwks"),
                        TI_ALG_RS256, NULL, &set, &why)
          == TI_OK, "no keys");

    sets[0] = set;

    b->issuer.issuer = ti_str("https://login.example.com/");
    b->issuer.audience = &audience;
    b->issuer.naudience = 1;
    b->issuer.algorithms = TI_ALG_RS256;
    b->issuer.user_claim.names = user;
    b->issuer.user_claim.n = 1;
    b->issuer.tenant_claim.names = tenant;
    b->issuer.tenant_claim.n = 1;
    b->issuer.keys = sets;
    b->issuer.nkeys = 1;
}


static void
set_up_admission(bench_t *b)
{
    size_t          len;
    unsigned char  *sealed;

    static unsigned char  token[TOKEN_LEN];

    b->head.who = b->ref.who;
    b->head.user = ti_str("AAECAwQFBgcICQoLDA0ODw");
    b->head.device = b->ref.device;
    b->head.cid = b->ref.cid;
    b->head.gen = b->ref.gen;
    b->head.caller_expires = b->now + 3600;
    b->head.token_expires = b->now + 3600;
    b->head.confirmed = b->now;

    check(admission_id(b), "no admission's name");
    check(ti_answer_base(b->crypto, b->ring, b->ref.user_key,
                         b->head.answer_base)
          == TI_OK, "no answers' base");

    len = ti_admission_sealed_len(&b->head);
    sealed = ti_pool_alloc(&b->pool, len);
    check(ti_admission_seal(b->crypto, &b->random, &b->id, &b->head, sealed)
          == TI_OK, "a head was not sealed");
    b->sealed_head = keep(sealed, len);

    len = TOKEN_LEN + TI_ADMISSION_OVERHEAD;
    sealed = ti_pool_alloc(&b->pool, len);
    check(ti_admission_seal_token(b->crypto, &b->random, &b->id, &b->head,
                                  ti_str_from(token, TOKEN_LEN), sealed)
          == TI_OK, "a token was not sealed");
    b->sealed_token = keep(sealed, len);
}


static void
set_up_answer(bench_t *b)
{
    size_t          len;
    unsigned char  *sealed;

    static unsigned char       body[BODY_LEN];
    static ti_answer_header_t  headers[] = {
        { ti_string(":type"), ti_string("application/json") },
        { ti_string("Server"), ti_string("nginx") },
        { ti_string("Date"), ti_string("Sun, 22 Nov 2026 08:00:00 GMT") }
    };
    static const ti_str_t  parts[] = {
        ti_string("Accept"), ti_string(""),
        ti_string("Accept-Encoding"), ti_string(""),
        ti_string("Accept-Language"), ti_string("")
    };

    b->request.who = b->ref.who;
    b->request.provider = b->ref.provider;
    b->request.device = b->ref.device;
    b->request.location = ti_str("/answer/");
    b->request.method = ti_str("GET");
    b->request.scheme = ti_str("http");
    b->request.host = ti_str("127.0.0.1");
    b->request.uri = ti_str("/answer/search?q=meetings+next+week");
    b->request.parts = parts;
    b->request.nparts = sizeof(parts) / sizeof(parts[0]);
    b->request.body = ti_str(KEY);

    check(answer_digest(b), "no digest");
    check(ti_answer_key(b->crypto, b->head.answer_base, b->digest, b->key)
          == TI_OK, "no answer's key");

    b->answer.stored = b->now;
    b->answer.expires = b->now + 3600;
    b->answer.headers = headers;
    b->answer.nheaders = sizeof(headers) / sizeof(headers[0]);
    b->answer.body = ti_str_from(body, BODY_LEN);

    len = ti_answer_sealed_len(&b->answer);
    sealed = ti_pool_alloc(&b->pool, len);
    check(ti_answer_seal(b->crypto, &b->random, b->key, b->digest,
                         ti_str(CID), &b->answer, sealed)
          == TI_OK, "an answer was not sealed");
    b->sealed_answer = keep(sealed, len);
}


/* --- timing -------------------------------------------------------------- */

static double
microseconds(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);

    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}


static int
by_value(const void *one, const void *two)
{
    double  a, b;

    a = *(const double *) one;
    b = *(const double *) two;

    return (a > b) - (a < b);
}


static double
median(bench_t *b, const timing_t *timing)
{
    int     i, j;
    double  began, took[ROUNDS];

    for (i = 0; i < ROUNDS; i++) {
        began = microseconds();

        for (j = 0; j < TURNS; j++) {
            b->used = 0;
            check(timing->run(b), timing->what);
        }

        took[i] = (microseconds() - began) / TURNS;
    }

    qsort(took, ROUNDS, sizeof(took[0]), by_value);

    return took[ROUNDS / 2];
}


int
main(int argc, char **argv)
{
    size_t   i;
    bench_t  b;

    check(argc == 2, "usage: core DIR");

    memset(&b, 0, sizeof(bench_t));

    b.crypto = ti_crypto_create();
    check(b.crypto != NULL, "no crypto");
    b.random = ti_crypto_random();
    b.pool.alloc = memory_alloc;
    b.pool.data = &b;
    b.now = (int64_t) time(NULL);

    set_up_record(&b);
    set_up_jwt(&b, argv[1]);
    set_up_admission(&b);
    set_up_answer(&b);

    for (i = 0; i < sizeof(timings) / sizeof(timings[0]); i++) {
        printf("%.2f\t%s\n", median(&b, &timings[i]), timings[i].what);
    }

    return 0;
}
