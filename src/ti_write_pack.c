/*
 * Floor 3: a write that has to outlive its maker, as bytes.
 */

#include "ti_write_private.h"


#define TI_WRITE_MAGIC       "ti-write-1"
#define TI_WRITE_NUMBER_MAX  ((UINT64_C(1) << 53) - 1)

/* the magic stands where the command has "1" */
#define TI_WRITE_FIRST       (TI_WRITE_NAME - 1)


static int ti_write_field_known(ti_str_t name, size_t *place);
static ti_rc_t ti_write_read(ti_str_t packed, ti_str_t *argv, size_t *argc);
static ti_rc_t ti_write_read_head(const ti_pool_t *pool, ti_str_t prefix,
    const ti_str_t *argv, ti_write_about_t *about);
static ti_rc_t ti_write_read_pairs(const ti_str_t *argv, size_t argc,
    ti_str_t *values);
static ti_rc_t ti_write_read_values(const ti_pool_t *pool,
    const ti_str_t *values, ti_write_about_t *about);
static ti_rc_t ti_write_read_record(const ti_pool_t *pool, ti_str_t sealed,
    const ti_write_about_t *about);


/* In the order of the command; which "access" begins, for the script. */

enum {
    TI_WRITE_ACCESS = 0,
    TI_WRITE_REFRESH,
    TI_WRITE_PREVIOUS,
    TI_WRITE_ACCOUNT,
    TI_WRITE_SCOPE,
    TI_WRITE_CID,
    TI_WRITE_STATE,
    TI_WRITE_GEN,
    TI_WRITE_EXP,
    TI_WRITE_SINCE,
    TI_WRITE_NFIELDS
};

static const ti_str_t  ti_write_fields[TI_WRITE_NFIELDS] = {
    [TI_WRITE_ACCESS] = ti_string("access"),
    [TI_WRITE_REFRESH] = ti_string("refresh"),
    [TI_WRITE_PREVIOUS] = ti_string("previous"),
    [TI_WRITE_ACCOUNT] = ti_string("account"),
    [TI_WRITE_SCOPE] = ti_string("scope"),
    [TI_WRITE_CID] = ti_string("cid"),
    [TI_WRITE_STATE] = ti_string("state"),
    [TI_WRITE_GEN] = ti_string("gen"),
    [TI_WRITE_EXP] = ti_string("exp"),
    [TI_WRITE_SINCE] = ti_string("since")
};


ti_rc_t
ti_write_pack(const ti_pool_t *pool, const ti_str_t *argv, size_t argc,
    ti_str_t *packed)
{
    size_t          n;
    ti_str_t        fields[TI_WRITE_ARGS];
    unsigned char  *p;

    fields[0] = ti_str(TI_WRITE_MAGIC);

    for (n = 1; n < argc - TI_WRITE_FIRST; n++) {
        fields[n] = argv[TI_WRITE_FIRST + n];
    }

    p = ti_pool_alloc(pool, ti_enc_len(fields, n));
    if (p == NULL) {
        return TI_ERROR;
    }

    *packed = ti_str_from(p, ti_enc(p, fields, n));

    return TI_OK;
}


ti_rc_t
ti_write_unpack(const ti_pool_t *pool, ti_str_t packed, ti_str_t prefix,
    ti_str_t *argv, size_t *argc, ti_write_about_t *about)
{
    ti_rc_t   rc;
    ti_str_t  values[TI_WRITE_NFIELDS];

    rc = ti_write_read(packed, argv, argc);

    if (rc == TI_OK) {
        rc = ti_write_read_head(pool, prefix, argv, about);
    }

    if (rc == TI_OK) {
        rc = ti_write_read_pairs(argv, *argc, values);
    }

    if (rc == TI_OK) {
        rc = ti_write_read_values(pool, values, about);
    }

    if (rc == TI_OK) {
        ti_write_eval(argv);
    }

    return rc;
}


static ti_rc_t
ti_write_read(ti_str_t packed, ti_str_t *argv, size_t *argc)
{
    size_t                n, len, left;
    const unsigned char  *p;

    p = packed.data;
    left = packed.len;

    for (n = TI_WRITE_FIRST; left != 0; n++) {

        if (n == TI_WRITE_ARGS || left < 4) {
            return TI_DECLINED;
        }

        len = ti_get_u32(p);
        p += 4;
        left -= 4;

        if (len > left || len > TI_RECORD_MAX) {
            return TI_DECLINED;
        }

        argv[n] = ti_str_from(p, len);
        p += len;
        left -= len;
    }

    *argc = n;

    return n > TI_WRITE_PAIRS && (n - TI_WRITE_PAIRS) % 2 == 0
           && ti_str_eq(argv[TI_WRITE_FIRST], ti_str(TI_WRITE_MAGIC))
           ? TI_OK : TI_DECLINED;
}


static ti_rc_t
ti_write_read_head(const ti_pool_t *pool, ti_str_t prefix,
    const ti_str_t *argv, ti_write_about_t *about)
{
    uint64_t  ends;
    ti_str_t  channel;

    if (ti_record_changes_name(pool, prefix, &channel) != TI_OK) {
        return TI_ERROR;
    }

    about->name = argv[TI_WRITE_NAME];

    if (!ti_str_eq(argv[TI_WRITE_CHANNEL], channel)
        || ti_record_connection_parse(prefix, about->name, &about->parts)
           != TI_OK
        || ti_write_gen(argv[TI_WRITE_BEFORE], &about->gen) != TI_OK
        || ti_decimal_parse(argv[TI_WRITE_ENDS], TI_WRITE_NUMBER_MAX, &ends)
           != TI_OK)
    {
        return TI_DECLINED;
    }

    about->ends = (int64_t) ends;

    return TI_OK;
}


/* Of a field that is left out the value is one without data. */

static ti_rc_t
ti_write_read_pairs(const ti_str_t *argv, size_t argc, ti_str_t *values)
{
    size_t  i, place;

    for (i = 0; i < TI_WRITE_NFIELDS; i++) {
        values[i] = ti_null_str;
    }

    place = 0;

    for (i = TI_WRITE_PAIRS; i < argc; i += 2) {

        if (!ti_write_field_known(argv[i], &place) || argv[i + 1].len == 0) {
            return TI_DECLINED;
        }

        values[place++] = argv[i + 1];
    }

    return TI_OK;
}


/* From *place on: none comes twice, or in another order. */

static int
ti_write_field_known(ti_str_t name, size_t *place)
{
    size_t  i;

    for (i = *place; i < TI_WRITE_NFIELDS; i++) {
        if (ti_str_eq(name, ti_write_fields[i])) {
            *place = i;
            return 1;
        }
    }

    return 0;
}


static ti_rc_t
ti_write_read_values(const ti_pool_t *pool, const ti_str_t *values,
    ti_write_about_t *about)
{
    size_t    i;
    ti_rc_t   rc;
    uint64_t  gen, n;

    about->cid = values[TI_WRITE_CID];

    if (values[TI_WRITE_ACCESS].data == NULL
        || !ti_record_cid_valid(about->cid)
        || !ti_str_eq(values[TI_WRITE_STATE], ti_str("connected"))
        || ti_decimal_parse(values[TI_WRITE_GEN], TI_RECORD_GEN_MAX, &gen)
           != TI_OK
        || gen != about->gen
        || ti_decimal_parse(values[TI_WRITE_EXP], TI_WRITE_NUMBER_MAX, &n)
           != TI_OK
        || ti_decimal_parse(values[TI_WRITE_SINCE], TI_WRITE_NUMBER_MAX, &n)
           != TI_OK)
    {
        return TI_DECLINED;
    }

    for (i = TI_WRITE_ACCESS; i <= TI_WRITE_PREVIOUS; i++) {

        if (values[i].data != NULL) {
            rc = ti_write_read_record(pool, values[i], about);
            if (rc != TI_OK) {
                return rc;
            }
        }
    }

    return TI_OK;
}


static ti_rc_t
ti_write_read_record(const ti_pool_t *pool, ti_str_t sealed,
    const ti_write_about_t *about)
{
    ti_rc_t            rc;
    const char        *why;
    ti_record_head_t   head;

    rc = ti_record_head(pool, sealed, &head, &why);

    if (rc == TI_OK
        && (head.gen != about->gen || !ti_str_eq(head.cid, about->cid)))
    {
        rc = TI_DECLINED;
    }

    return rc;
}
