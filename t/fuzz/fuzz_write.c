/*
 * Packed writes, of any bytes: as they are ('r' comes first), or lines of
 * "field" or "field=value" put together by enc() ('l'), in which a value of
 * "@" stands for a record of gen 8.  What is taken gives the same bytes when
 * it is packed again, and says where it belongs.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/record_make.h"
#include "ti_write.h"


#define FIELDS_MAX  64


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static char  record[2048];


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
make_record(void)
{
    ti_str_t         text;
    rm_record_t      r;
    ti_record_ref_t  ref;

    ref = rm_ref();
    ref.gen = 8;
    rm_record(&r, &ref, ti_str("token"));
    text = rm_wrap(&r);

    must(text.len < sizeof(record));
    memcpy(record, text.data, text.len);
    rm_reset();
}


static ti_str_t
put_together(const uint8_t *data, size_t size)
{
    size_t                n;
    ti_str_t              fields[FIELDS_MAX];
    unsigned char        *p;
    const unsigned char  *end, *line;

    for (n = 0; n < FIELDS_MAX && size != 0; n++) {
        line = data;
        end = memchr(data, '\n', size);
        end = (end == NULL) ? data + size : end;

        fields[n] = ti_str_from(line, (size_t) (end - line));

        if (ti_str_eq(fields[n], ti_str("@"))) {
            fields[n] = ti_str_cstr(record);
        }

        size -= (size_t) (end - data);
        data = end;

        if (size != 0) {
            size--;
            data++;
        }
    }

    p = rm_alloc(NULL, ti_enc_len(fields, n));

    return ti_str_from(p, ti_enc(p, fields, n));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i, argc;
    ti_rc_t            rc;
    ti_str_t           packed, again, argv[TI_WRITE_ARGS];
    ti_write_about_t   about;
    ti_record_parts_t  parts;

    if (record[0] == '\0') {
        make_record();
    }

    if (size == 0) {
        return 0;
    }

    packed = (data[0] == 'l') ? put_together(data + 1, size - 1)
                              : ti_str_from(data + 1, size - 1);

    rc = ti_write_unpack(&rm_pool, packed, ti_str("ti:"), argv, &argc, &about);
    must(rc == TI_OK || rc == TI_DECLINED);

    if (rc == TI_OK) {
        must(argc <= TI_WRITE_ARGS && argc > 7 && argc % 2 == 1);
        must(ti_str_eq(argv[0], ti_str("EVAL")));
        must(ti_str_eq(argv[2], ti_str("1")));
        must(ti_str_eq(argv[3], about.name));
        must(ti_str_eq(argv[5], ti_str("ti:changes")));
        must(ti_str_eq(argv[7], ti_str("access")));
        must(ti_record_connection_parse(ti_str("ti:"), about.name, &parts)
             == TI_OK);
        must(ti_record_cid_valid(about.cid));
        must(about.gen != 0 && about.gen <= TI_RECORD_GEN_MAX);
        must(about.ends >= 0);

        for (i = 3; i < argc; i++) {
            must(argv[i].len <= TI_RECORD_MAX);
        }

        must(ti_write_pack(&rm_pool, argv, argc, &again) == TI_OK);
        must(ti_str_eq(again, packed));
    }

    rm_reset();

    return 0;
}
