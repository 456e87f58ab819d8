/*
 * Floor 2: the connections API's bodies (docs/directives.md, "The connections
 * API"), read and written.
 */

#ifndef TI_CONNECTIONS_H
#define TI_CONNECTIONS_H

#include "ti_json.h"


#define TI_CONNECTIONS_BODY_MAX  16384


/*
 * A body that need say nothing: none at all, or an object.  *why is a static
 * phrase beside TI_RESULT_REQUEST_INVALID.
 */

ti_result_t ti_connections_read_empty(ti_str_t body, const char **why);


/*
 * What the browser came back with: "state", and "code", "error" or, from an
 * administrator's consent, "admin_consent", which is "True"; an absent one has
 * data NULL, and one that is empty is no better than none.  Copied to the
 * pool; the code is the caller's to wipe.
 */

typedef struct {
    ti_str_t  code;
    ti_str_t  state;
    ti_str_t  iss;
    ti_str_t  error;
    ti_str_t  admin_consent;
} ti_connections_code_t;

ti_result_t ti_connections_read_code(const ti_pool_t *pool, ti_str_t body,
    ti_connections_code_t *code, const char **why);


typedef enum {
    TI_CONNECTION_NONE,
    TI_CONNECTION_CONNECTED,
    TI_CONNECTION_RECONNECT
} ti_connection_state_t;

/* What is empty, 0, or below 0 in refreshable, is unknown and written null. */

typedef struct {
    ti_str_t               provider;
    ti_connection_state_t  state;
    ti_str_t               scope;
    int64_t                since;
    int64_t                expires_at;
    int                    refreshable;
    ti_str_t               account;
} ti_connection_t;


/*
 * The display fields of a connection's hash, as they lie there: "exp",
 * "scope", "since", "state", and whether there is a "refresh".  An empty view
 * is a nil; what cannot be read is unknown, and so is the account.
 */

typedef struct {
    ti_str_t  exp;
    ti_str_t  scope;
    ti_str_t  since;
    ti_str_t  state;
    int       refresh;
} ti_connection_fields_t;

/*
 * An access token past its end that nothing renews shows as "reconnect",
 * whatever the field says.
 */
void ti_connection_read(const ti_connection_fields_t *fields, int64_t now,
    ti_connection_t *connection);


/* One connection, the list, the start.  Text comes from the pool. */

ti_rc_t ti_connections_write_one(const ti_pool_t *pool,
    const ti_connection_t *connection, ti_str_t *json);
ti_rc_t ti_connections_write_list(const ti_pool_t *pool,
    const ti_connection_t *connections, size_t n, ti_str_t *json);
ti_rc_t ti_connections_write_start(const ti_pool_t *pool, ti_str_t url,
    int64_t expires_in, ti_str_t *json);


#endif /* TI_CONNECTIONS_H */
