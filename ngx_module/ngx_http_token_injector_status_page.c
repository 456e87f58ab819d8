/*
 * token_status [json|prometheus]: the numbers of this node, for who asks.
 */

#include "ngx_http_token_injector.h"


/* what is written, or, with a p of NULL, counted: a page is written twice */

typedef struct {
    u_char                        *p;
    size_t                         len;
} ngx_http_token_injector_page_t;

typedef void (*ngx_http_token_injector_writer_pt)(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows);


/* the columns of a location that are no results, in the order of their enum */

static const char *const  ngx_http_token_injector_status_columns[][3] = {
    { "admissions", "reused", "token_injector_admissions_total" },
    { "admissions", "judged", "token_injector_admissions_total" },
    { "answers", "hit", "token_injector_answers_total" },
    { "answers", "miss", "token_injector_answers_total" },
    { "answers", "bypass", "token_injector_answers_total" },
    { "answers", "stale", "token_injector_answers_total" },
    { "third_party", "repeated", "token_injector_third_party_total" },
    { "third_party", "refused", "token_injector_third_party_total" },
    { "third_party", "throttled", "token_injector_third_party_total" }
};

static const char *const  ngx_http_token_injector_status_kinds[] = {
    "location", "store", "provider", "issuer"
};


static ngx_int_t ngx_http_token_injector_status_handler(
    ngx_http_request_t *r);
static ngx_buf_t *ngx_http_token_injector_status_write(ngx_pool_t *pool,
    ngx_array_t *rows, ngx_http_token_injector_writer_pt writer);
static void ngx_http_token_injector_status_json(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows);
static void ngx_http_token_injector_status_json_row(
    ngx_http_token_injector_page_t *page, ngx_http_token_injector_row_t *row);
static void ngx_http_token_injector_status_json_location(
    ngx_http_token_injector_page_t *page, ngx_http_token_injector_row_t *row);
static void ngx_http_token_injector_status_prometheus(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows);
static void ngx_http_token_injector_status_results(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows);
static void ngx_http_token_injector_status_family(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows,
    const char *family, ngx_uint_t from, ngx_uint_t to);
static void ngx_http_token_injector_status_calls(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows);
static void ngx_http_token_injector_status_labels(
    ngx_http_token_injector_page_t *page, ngx_http_token_injector_row_t *row);
static void ngx_http_token_injector_status_add(
    ngx_http_token_injector_page_t *page, const char *fmt, ...);
static void ngx_http_token_injector_status_text(
    ngx_http_token_injector_page_t *page, ngx_str_t *text);


char *
ngx_http_token_injector_conf_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_token_injector_loc_conf_t  *lcf = conf;

    ngx_str_t                            *value;
    ngx_http_core_loc_conf_t             *clcf;
    ngx_http_token_injector_main_conf_t  *mcf;

    value = cf->args->elts;

    if (lcf->status) {
        return "is duplicate";
    }

    lcf->status = NGX_HTTP_TOKEN_INJECTOR_STATUS_JSON;

    if (cf->args->nelts == 2) {

        if (ngx_strcmp(value[1].data, "prometheus") == 0) {
            lcf->status = NGX_HTTP_TOKEN_INJECTOR_STATUS_PROMETHEUS;

        } else if (ngx_strcmp(value[1].data, "json") != 0) {
            return "takes \"json\" or \"prometheus\"";
        }
    }

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_token_injector_module);
    mcf->counted = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_token_injector_status_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_token_injector_status_handler(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_uint_t    json;
    ngx_chain_t   out;
    ngx_array_t  *rows;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    json = (ngx_http_token_injector_loc(r)->status
            == NGX_HTTP_TOKEN_INJECTOR_STATUS_JSON);
    rows = &ngx_http_token_injector_main(r)->rows;

    b = ngx_http_token_injector_status_write(r->pool, rows, json
                                   ? ngx_http_token_injector_status_json
                                   : ngx_http_token_injector_status_prometheus);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    if (json) {
        ngx_str_set(&r->headers_out.content_type, "application/json");

    } else {
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


static ngx_buf_t *
ngx_http_token_injector_status_write(ngx_pool_t *pool, ngx_array_t *rows,
    ngx_http_token_injector_writer_pt writer)
{
    ngx_buf_t                       *b;
    ngx_http_token_injector_page_t   page;

    ngx_memzero(&page, sizeof(ngx_http_token_injector_page_t));

    writer(&page, rows);

    b = ngx_create_temp_buf(pool, page.len);
    if (b == NULL) {
        return NULL;
    }

    /* numbers grow meanwhile: each has the room that it may ever need */

    page.p = b->pos;

    writer(&page, rows);

    b->last = page.p;

    return b;
}


static void
ngx_http_token_injector_status_json(ngx_http_token_injector_page_t *page,
    ngx_array_t *rows)
{
    ngx_uint_t                       i, kind, n;
    ngx_http_token_injector_row_t  **row;

    row = rows->elts;

    for (kind = 0; kind <= NGX_HTTP_TOKEN_INJECTOR_ROW_ISSUER; kind++) {

        ngx_http_token_injector_status_add(page, "%s\"%ss\":[",
                           kind ? "," : "{",
                           ngx_http_token_injector_status_kinds[kind]);
        n = 0;

        for (i = 0; i < rows->nelts; i++) {

            if (row[i]->kind != kind || row[i]->numbers == NULL) {
                continue;
            }

            ngx_http_token_injector_status_add(page, n++ ? "," : "");
            ngx_http_token_injector_status_json_row(page, row[i]);
        }

        ngx_http_token_injector_status_add(page, "]");
    }

    ngx_http_token_injector_status_add(page, "}\n");
}


static void
ngx_http_token_injector_status_json_row(ngx_http_token_injector_page_t *page,
    ngx_http_token_injector_row_t *row)
{
    ngx_atomic_t  *n;

    n = row->numbers->n;

    ngx_http_token_injector_status_add(page, "{\"%s\":\"",
                        ngx_http_token_injector_status_kinds[row->kind]);
    ngx_http_token_injector_status_text(page, &row->name);
    ngx_http_token_injector_status_add(page, "\"");

    if (row->kind == NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION) {
        ngx_http_token_injector_status_json_location(page, row);
        return;
    }

    ngx_http_token_injector_status_add(page,
                    ",\"answered\":%uA,\"failed\":%uA,\"milliseconds\":%uA}",
                    n[NGX_HTTP_TOKEN_INJECTOR_N_ANSWERED],
                    n[NGX_HTTP_TOKEN_INJECTOR_N_FAILED],
                    n[NGX_HTTP_TOKEN_INJECTOR_N_MSEC]);
}


static void
ngx_http_token_injector_status_json_location(
    ngx_http_token_injector_page_t *page, ngx_http_token_injector_row_t *row)
{
    ngx_uint_t    i, first;
    const char   *group;
    ngx_atomic_t *n;

    n = row->numbers->n;

    ngx_http_token_injector_status_add(page, ",\"server\":\"");
    ngx_http_token_injector_status_text(page, &row->server);
    ngx_http_token_injector_status_add(page, "\",\"provider\":\"");
    ngx_http_token_injector_status_text(page, &row->provider);
    ngx_http_token_injector_status_add(page, "\",\"results\":{");

    for (i = 0; i < TI_RESULT_LAST; i++) {
        ngx_http_token_injector_status_add(page, "%s\"%s\":%uA",
                     i ? "," : "", ti_result_info(i)->name.data, n[i]);
    }

    ngx_http_token_injector_status_add(page, "}");
    group = "";

    for (i = TI_RESULT_LAST; i < NGX_HTTP_TOKEN_INJECTOR_N_LAST; i++) {
        first = i - TI_RESULT_LAST;

        if (ngx_strcmp(group,
                       ngx_http_token_injector_status_columns[first][0]) != 0)
        {
            ngx_http_token_injector_status_add(page, "%s,\"%s\":{",
                       *group ? "}" : "",
                       ngx_http_token_injector_status_columns[first][0]);
            group = ngx_http_token_injector_status_columns[first][0];

        } else {
            ngx_http_token_injector_status_add(page, ",");
        }

        ngx_http_token_injector_status_add(page, "\"%s\":%uA",
                       ngx_http_token_injector_status_columns[first][1], n[i]);
    }

    ngx_http_token_injector_status_add(page, "}}");
}


static void
ngx_http_token_injector_status_prometheus(
    ngx_http_token_injector_page_t *page, ngx_array_t *rows)
{
    ngx_http_token_injector_status_results(page, rows);

    ngx_http_token_injector_status_family(page, rows,
                                    "token_injector_admissions_total",
                                    NGX_HTTP_TOKEN_INJECTOR_N_ADMITTED,
                                    NGX_HTTP_TOKEN_INJECTOR_N_HIT);
    ngx_http_token_injector_status_family(page, rows,
                                    "token_injector_answers_total",
                                    NGX_HTTP_TOKEN_INJECTOR_N_HIT,
                                    NGX_HTTP_TOKEN_INJECTOR_N_REPEATED);
    ngx_http_token_injector_status_family(page, rows,
                                    "token_injector_third_party_total",
                                    NGX_HTTP_TOKEN_INJECTOR_N_REPEATED,
                                    NGX_HTTP_TOKEN_INJECTOR_N_LAST);

    ngx_http_token_injector_status_calls(page, rows);
}


/* a result that never was is not written: there are many */

static void
ngx_http_token_injector_status_results(ngx_http_token_injector_page_t *page,
    ngx_array_t *rows)
{
    ngx_uint_t                       i, j;
    ngx_http_token_injector_row_t  **row;

    ngx_http_token_injector_status_add(page,
              "# HELP token_injector_requests_total Requests by result.\n"
              "# TYPE token_injector_requests_total counter\n");

    row = rows->elts;

    for (i = 0; i < rows->nelts; i++) {

        if (row[i]->kind != NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION
            || row[i]->numbers == NULL)
        {
            continue;
        }

        for (j = 0; j < TI_RESULT_LAST; j++) {

            if (j != TI_RESULT_OK && row[i]->numbers->n[j] == 0
                && page->p)
            {
                continue;
            }

            ngx_http_token_injector_status_add(page,
                                          "token_injector_requests_total{");
            ngx_http_token_injector_status_labels(page, row[i]);
            ngx_http_token_injector_status_add(page, ",result=\"%s\"} %uA\n",
                                          ti_result_info(j)->name.data,
                                          row[i]->numbers->n[j]);
        }
    }
}


static void
ngx_http_token_injector_status_family(ngx_http_token_injector_page_t *page,
    ngx_array_t *rows, const char *family, ngx_uint_t from, ngx_uint_t to)
{
    ngx_uint_t                       i, j;
    ngx_http_token_injector_row_t  **row;

    ngx_http_token_injector_status_add(page, "# TYPE %s counter\n", family);

    row = rows->elts;

    for (i = 0; i < rows->nelts; i++) {

        if (row[i]->kind != NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION
            || row[i]->numbers == NULL)
        {
            continue;
        }

        for (j = from; j < to; j++) {
            ngx_http_token_injector_status_add(page, "%s{", family);
            ngx_http_token_injector_status_labels(page, row[i]);
            ngx_http_token_injector_status_add(page, ",kind=\"%s\"} %uA\n",
                 ngx_http_token_injector_status_columns[j - TI_RESULT_LAST][1],
                 row[i]->numbers->n[j]);
        }
    }
}


/* round trips to stores, providers, issuers, and the time that they took */

static void
ngx_http_token_injector_status_calls(ngx_http_token_injector_page_t *page,
    ngx_array_t *rows)
{
    ngx_uint_t                       i, j;
    ngx_atomic_t                    *n;
    ngx_http_token_injector_row_t  **row;

    static const char *const  outcome[] = { "answered", "failed" };

    ngx_http_token_injector_status_add(page,
              "# HELP token_injector_calls_total Round trips.\n"
              "# TYPE token_injector_calls_total counter\n"
              "# HELP token_injector_calls_seconds_total Their time.\n"
              "# TYPE token_injector_calls_seconds_total counter\n");

    row = rows->elts;

    for (i = 0; i < rows->nelts; i++) {

        if (row[i]->kind == NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION
            || row[i]->numbers == NULL)
        {
            continue;
        }

        n = row[i]->numbers->n;

        for (j = 0; j < 2; j++) {
            ngx_http_token_injector_status_add(page,
                                             "token_injector_calls_total{");
            ngx_http_token_injector_status_labels(page, row[i]);
            ngx_http_token_injector_status_add(page,
                                 ",outcome=\"%s\"} %uA\n", outcome[j], n[j]);
        }

        ngx_http_token_injector_status_add(page,
                                     "token_injector_calls_seconds_total{");
        ngx_http_token_injector_status_labels(page, row[i]);
        ngx_http_token_injector_status_add(page, "} %uA.%03uA\n",
                                 n[NGX_HTTP_TOKEN_INJECTOR_N_MSEC] / 1000,
                                 n[NGX_HTTP_TOKEN_INJECTOR_N_MSEC] % 1000);
    }
}


static void
ngx_http_token_injector_status_labels(ngx_http_token_injector_page_t *page,
    ngx_http_token_injector_row_t *row)
{
    if (row->kind != NGX_HTTP_TOKEN_INJECTOR_ROW_LOCATION) {
        ngx_http_token_injector_status_add(page, "kind=\"%s\",name=\"",
                        ngx_http_token_injector_status_kinds[row->kind]);
        ngx_http_token_injector_status_text(page, &row->name);
        ngx_http_token_injector_status_add(page, "\"");
        return;
    }

    ngx_http_token_injector_status_add(page, "server=\"");
    ngx_http_token_injector_status_text(page, &row->server);
    ngx_http_token_injector_status_add(page, "\",location=\"");
    ngx_http_token_injector_status_text(page, &row->name);
    ngx_http_token_injector_status_add(page, "\",provider=\"");
    ngx_http_token_injector_status_text(page, &row->provider);
    ngx_http_token_injector_status_add(page, "\"");
}


/* room is counted for the longest that a number may become */

static void
ngx_http_token_injector_status_add(ngx_http_token_injector_page_t *page,
    const char *fmt, ...)
{
    u_char   text[512], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    if (page->p) {
        page->p = ngx_cpymem(page->p, text, p - text);

    } else {
        page->len += p - text + 3 * NGX_ATOMIC_T_LEN;
    }
}


/* a name as configured: quotes, backslashes and control bytes are escaped */

static void
ngx_http_token_injector_status_text(ngx_http_token_injector_page_t *page,
    ngx_str_t *text)
{
    size_t  i;
    u_char  ch;

    if (page->p == NULL) {
        page->len += 2 * text->len;
        return;
    }

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ch == '"' || ch == '\\') {
            *page->p++ = '\\';

        } else if (ch < 0x20 || ch == 0x7f) {
            ch = '?';
        }

        *page->p++ = ch;
    }
}
