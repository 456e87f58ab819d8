/*
 * Floor 2, for ti_oauth*.c alone: what an "error" means.
 */

#ifndef TI_OAUTH_PRIVATE_H
#define TI_OAUTH_PRIVATE_H

#include "ti_oauth.h"


typedef struct {
    ti_str_t     name;
    ti_result_t  token;                     /* from the token endpoint */
    ti_result_t  app;                       /* the same, without a user */
    ti_result_t  visit;                     /* from the authorization one */
    const char  *why;
} ti_oauth_error_t;

/* never NULL: what is unknown means that the provider is unavailable */
const ti_oauth_error_t *ti_oauth_error(ti_str_t name);

/* does it say that the client is not who it says? */
int ti_oauth_error_client(const ti_oauth_error_t *error);


#endif /* TI_OAUTH_PRIVATE_H */
