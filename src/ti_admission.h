/*
 * Floor 3: what one caller's credentials led to, remembered sealed under
 * these very credentials.
 *
 * K = SHA-256(enc(secret of the zone, caller's token, user key, policy)) is
 * the entry's AES-256-GCM key, SHA-256(K) its name: a dump of the memory it
 * lies in opens nothing, and another caller or policy cannot reach it.
 */

#ifndef TI_ADMISSION_H
#define TI_ADMISSION_H

#include "ti_record.h"


#define TI_ADMISSION_OVERHEAD  (TI_NONCE_LEN + TI_TAG_LEN)
#define TI_ADMISSION_HEAD_MAX  8192         /* a head above it is not kept */
#define TI_ADMISSION_LAYOUT    "head 4"     /* sealed with it: the memory
                                               outlives a reload, with which
                                               another binary may come */


typedef struct {
    unsigned char  key[TI_KEY_LEN];         /* K; wipe after use */
    unsigned char  name[TI_SHA256_LEN];
} ti_admission_id_t;

/* user_key is the text as sent, empty where none is asked for */
ti_rc_t ti_admission_id(ti_crypto_t *crypto, ti_str_t secret, ti_str_t token,
    ti_str_t user_key, ti_str_t policy, ti_admission_id_t *id);


/*
 * The small piece: who, and until when.  It is all that a hit in the answer
 * cache opens.  Views borrow from the opened bytes.
 */

typedef struct {
    uint32_t       issuer;                  /* place in the policy */
    ti_who_t       who;                     /* as the token says */
    ti_str_t       user;                    /* names; empty without a */
    ti_str_t       device;                  /*   connection */
    ti_str_t       cid;
    uint64_t       gen;                     /* 0: no connection in it */
    uint64_t       keys;                    /* which keys it was verified
                                               with, a mark of the glue's */
    uint64_t       heard;                   /* changes of connections that were
                                               known when Redis was asked */
    int64_t        caller_expires;          /* the caller's token's end */
    int64_t        token_expires;           /* the third party's */
    int64_t        due;                     /* when that is to be renewed;
                                               0: when it has ended */
    int64_t        confirmed;               /* when Redis was last asked */
    unsigned char  answer_base[TI_KEY_LEN];
} ti_admission_t;

size_t ti_admission_sealed_len(const ti_admission_t *head);
ti_rc_t ti_admission_seal(ti_crypto_t *crypto, const ti_random_t *random,
    const ti_admission_id_t *id, const ti_admission_t *head,
    unsigned char *dst);
/* in place; TI_DECLINED: not what this id sealed */
ti_rc_t ti_admission_open(ti_crypto_t *crypto, const ti_admission_id_t *id,
    unsigned char *sealed, size_t len, ti_admission_t *head);


/*
 * The large piece: the third party's token, for one gen and cid.  Sealed it
 * is TI_ADMISSION_OVERHEAD bytes longer.  Opening writes
 * len - TI_ADMISSION_OVERHEAD bytes to token, which the caller wipes.
 */

ti_rc_t ti_admission_seal_token(ti_crypto_t *crypto, const ti_random_t *random,
    const ti_admission_id_t *id, const ti_admission_t *head, ti_str_t token,
    unsigned char *dst);
ti_rc_t ti_admission_open_token(ti_crypto_t *crypto,
    const ti_admission_id_t *id, const ti_admission_t *head, ti_str_t sealed,
    unsigned char *token);


#endif /* TI_ADMISSION_H */
