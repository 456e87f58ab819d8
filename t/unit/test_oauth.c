/*
 * OAuth: where the browser is sent, what is asked of a provider, and what
 * comes back with the browser.
 */

#include "unit.h"

#include "ti_oauth.h"


#define MS  "https://login.example/contoso/oauth2/v2.0"

/* RFC 7636 appendix B */
#define VERIFIER   "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define CHALLENGE  "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


static ti_crypto_t  *crypto;
static unit_pool_t   unit;


static int
set_up(void **state)
{
    crypto = ti_crypto_create();
    (void) unit_pool_create(&unit);

    return crypto == NULL;
}


static int
tear_down(void **state)
{
    ti_crypto_free(crypto);
    unit_pool_free(&unit);

    return 0;
}


/* --- the browser's way there --- */

static ti_oauth_visit_t
visit_of(const char *endpoint)
{
    ti_oauth_visit_t  visit;

    memset(&visit, 0, sizeof(visit));

    visit.endpoint = ti_str_cstr(endpoint);
    visit.client_id = ti_str("0a1b");
    visit.redirect_uri = ti_str("https://search.example/connected?x=1");
    visit.scope = ti_str("offline_access Mail.Read");
    visit.state = ti_str("st&te");
    visit.nonce = ti_str("n=nce");
    visit.verifier = ti_str(VERIFIER);

    return visit;
}


static void
url_is(const ti_oauth_visit_t *visit, const char *expected)
{
    ti_str_t  url;

    assert_int_equal(ti_oauth_authorization_url(crypto, &unit.pool, visit,
                                                &url), TI_OK);
    assert_str(url, expected);
}


#define PARAMETERS                                                            \
    "response_type=code&client_id=0a1b"                                       \
    "&redirect_uri=https%3A%2F%2Fsearch.example%2Fconnected%3Fx%3D1"          \
    "&scope=offline_access%20Mail.Read&state=st%26te"                         \
    "&code_challenge=" CHALLENGE "&code_challenge_method=S256&nonce=n%3Dnce"

static void
sends_to_the_authorization_endpoint(void **state)
{
    ti_oauth_visit_t  visit;

    const ti_form_param_t  extra[] = {
        { ti_string("prompt"), ti_string("select_account") },
        { ti_string("login_hint"), ti_string("a+b@c.example") }
    };

    visit = visit_of(MS "/authorize");
    url_is(&visit, MS "/authorize?" PARAMETERS);

    visit.extra = extra;
    visit.nextra = 2;
    url_is(&visit, MS "/authorize?" PARAMETERS
                   "&prompt=select_account&login_hint=a%2Bb%40c.example");

    visit = visit_of(MS "/authorize?tenant=x");
    url_is(&visit, MS "/authorize?tenant=x&" PARAMETERS);
    visit = visit_of(MS "/authorize?tenant=x&");
    url_is(&visit, MS "/authorize?tenant=x&" PARAMETERS);
    visit = visit_of(MS "/authorize?");
    url_is(&visit, MS "/authorize?" PARAMETERS);

    visit = visit_of("https://a.example/");
    visit.scope = ti_null_str;
    visit.nonce = ti_null_str;
    url_is(&visit, "https://a.example/?response_type=code&client_id=0a1b"
                   "&redirect_uri=https%3A%2F%2Fsearch.example%2Fconnected"
                   "%3Fx%3D1&state=st%26te&code_challenge=" CHALLENGE
                   "&code_challenge_method=S256");
}


static void
sends_nobody_without_what_it_takes(void **state)
{
    size_t            i;
    ti_str_t          url, *missing;
    ti_oauth_visit_t  visit;

    static const size_t  needed[] = {
        offsetof(ti_oauth_visit_t, endpoint),
        offsetof(ti_oauth_visit_t, client_id),
        offsetof(ti_oauth_visit_t, redirect_uri),
        offsetof(ti_oauth_visit_t, state),
        offsetof(ti_oauth_visit_t, verifier)
    };

    for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        visit = visit_of(MS "/authorize");
        missing = (ti_str_t *) ((char *) &visit + needed[i]);
        *missing = ti_null_str;
        assert_int_equal(ti_oauth_authorization_url(crypto, &unit.pool,
                                                    &visit, &url),
                         TI_DECLINED);
        assert_int_equal(ti_oauth_admin_consent_url(&unit.pool, &visit, &url),
                         missing == &visit.verifier ? TI_OK : TI_DECLINED);
    }

    visit = visit_of(MS "/authorize#top");
    assert_int_equal(ti_oauth_authorization_url(crypto, &unit.pool, &visit,
                                                &url), TI_DECLINED);
    assert_int_equal(ti_oauth_admin_consent_url(&unit.pool, &visit, &url),
                     TI_DECLINED);

    visit = visit_of(MS "/authorize");
    unit.left = 0;
    assert_int_equal(ti_oauth_authorization_url(crypto, &unit.pool, &visit,
                                                &url), TI_ERROR);
    assert_int_equal(ti_oauth_admin_consent_url(&unit.pool, &visit, &url),
                     TI_ERROR);
}


static void
sends_to_the_admin_consent_endpoint(void **state)
{
    ti_str_t          url;
    ti_oauth_visit_t  visit;

    visit = visit_of("https://login.example/t/v2.0/adminconsent");
    visit.scope = ti_str("https://graph.example/.default");

    assert_int_equal(ti_oauth_admin_consent_url(&unit.pool, &visit, &url),
                     TI_OK);
    assert_str(url, "https://login.example/t/v2.0/adminconsent?client_id=0a1b"
                    "&redirect_uri=https%3A%2F%2Fsearch.example%2Fconnected"
                    "%3Fx%3D1&state=st%26te"
                    "&scope=https%3A%2F%2Fgraph.example%2F.default");

    visit.scope = ti_null_str;
    assert_int_equal(ti_oauth_admin_consent_url(&unit.pool, &visit, &url),
                     TI_OK);
    assert_str(url, "https://login.example/t/v2.0/adminconsent?client_id=0a1b"
                    "&redirect_uri=https%3A%2F%2Fsearch.example%2Fconnected"
                    "%3Fx%3D1&state=st%26te");
}


static void
keeps_its_own_parameters(void **state)
{
    assert_true(ti_oauth_reserved(ti_str("state")));
    assert_true(ti_oauth_reserved(ti_str("code_challenge_method")));
    assert_true(ti_oauth_reserved(ti_str("client_secret")));
    assert_true(ti_oauth_reserved(ti_str("subject_token_type")));
    assert_true(ti_oauth_reserved(ti_str("assertion")));
    assert_false(ti_oauth_reserved(ti_str("prompt")));
    assert_false(ti_oauth_reserved(ti_str("resource")));
    assert_false(ti_oauth_reserved(ti_str("State")));
    assert_false(ti_oauth_reserved(ti_null_str));
}


static ti_rc_t
fill(void *data, unsigned char *buf, size_t len)
{
    int  *fails;

    fails = data;
    memset(buf, 0xfb, len);

    return *fails ? TI_ERROR : TI_OK;
}


static void
makes_secrets(void **state)
{
    int            fails;
    ti_random_t    random;
    unsigned char  text[TI_OAUTH_SECRET_LEN];

    random.fill = fill;
    random.data = &fails;

    fails = 0;
    assert_int_equal(ti_oauth_secret(&random, text), TI_OK);
    assert_str(ti_str_from(text, sizeof(text)),
               "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");

    fails = 1;
    assert_int_equal(ti_oauth_secret(&random, text), TI_ERROR);
}


/* --- requests --- */

static ti_oauth_request_t
request_of(ti_oauth_auth_t auth, const ti_oauth_ask_t *ask)
{
    ti_oauth_client_t   client;
    ti_oauth_request_t  request;

    client.auth = auth;
    client.id = ti_str("i d");
    client.secret = (auth == TI_OAUTH_PUBLIC) ? ti_null_str : ti_str("s:&");

    assert_int_equal(ti_oauth_token_request(&unit.pool, &client, ask,
                                            &request), TI_OK);
    assert_int_equal(request.query.len, 0);

    return request;
}


static void
exchanges_codes(void **state)
{
    ti_oauth_ask_t      ask;
    ti_oauth_request_t  request;

#define CODE_BODY                                                             \
    "grant_type=authorization_code&code=c%2F1"                                \
    "&redirect_uri=https%3A%2F%2Fs.example%2F&code_verifier=" VERIFIER

    memset(&ask, 0, sizeof(ask));
    ask.grant = TI_OAUTH_CODE;
    ask.grant_token = ti_str("c/1");
    ask.redirect_uri = ti_str("https://s.example/");
    ask.verifier = ti_str(VERIFIER);

    request = request_of(TI_OAUTH_BASIC, &ask);
    assert_str(request.authorization, "Basic aSUyMGQ6cyUzQSUyNg==");
    assert_str(request.body, CODE_BODY);

    request = request_of(TI_OAUTH_POST, &ask);
    assert_int_equal(request.authorization.len, 0);
    assert_str(request.body, CODE_BODY
               "&client_id=i%20d&client_secret=s%3A%26");

    request = request_of(TI_OAUTH_PUBLIC, &ask);
    assert_int_equal(request.authorization.len, 0);
    assert_str(request.body, CODE_BODY "&client_id=i%20d");

    request = request_of(TI_OAUTH_ASSERTION, &ask);
    assert_int_equal(request.authorization.len, 0);
    assert_str(request.body, CODE_BODY "&client_id=i%20d"
               "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"
               "client-assertion-type%3Ajwt-bearer&client_assertion=s%3A%26");
}


static void
asks_for_tokens_otherwise(void **state)
{
    ti_oauth_ask_t      ask;
    ti_oauth_request_t  request;

    const ti_form_param_t  extra[] = {
        { ti_string("resource"), ti_string("https://r.example") }
    };

    memset(&ask, 0, sizeof(ask));
    ask.grant = TI_OAUTH_CLIENT_CREDENTIALS;
    ask.scope = ti_str("https://outlook.office365.com/.default");
    ask.extra = extra;
    ask.nextra = 1;

    /* what belongs to another grant is not sent */
    ask.grant_token = ti_str("c");
    ask.redirect_uri = ti_str("r");
    ask.verifier = ti_str("v");

    request = request_of(TI_OAUTH_POST, &ask);
    assert_str(request.body, "grant_type=client_credentials"
               "&scope=https%3A%2F%2Foutlook.office365.com%2F.default"
               "&resource=https%3A%2F%2Fr.example"
               "&client_id=i%20d&client_secret=s%3A%26");

    memset(&ask, 0, sizeof(ask));
    ask.grant = TI_OAUTH_REFRESH;
    ask.grant_token = ti_str("r!t");

    request = request_of(TI_OAUTH_PUBLIC, &ask);
    assert_str(request.body,
               "grant_type=refresh_token&refresh_token=r%21t&client_id=i%20d");

    ask.scope = ti_str("a b");
    request = request_of(TI_OAUTH_BASIC, &ask);
    assert_str(request.body,
               "grant_type=refresh_token&refresh_token=r%21t&scope=a%20b");
}


/* RFC 8693 section 2.1, RFC 7523 section 2.1 */

static void
hands_the_callers_token_in(void **state)
{
    ti_oauth_ask_t      ask;
    ti_oauth_request_t  request;

    const ti_form_param_t  extra[] = {
        { ti_string("audience"), ti_string("files") }
    };

    memset(&ask, 0, sizeof(ask));
    ask.grant = TI_OAUTH_EXCHANGE;
    ask.grant_token = ti_str("h.p.s");
    ask.subject_type = ti_str("urn:ietf:params:oauth:token-type:jwt");
    ask.scope = ti_str("a b");
    ask.redirect_uri = ti_str("r");
    ask.verifier = ti_str("v");
    ask.extra = extra;
    ask.nextra = 1;

    request = request_of(TI_OAUTH_PUBLIC, &ask);
    assert_str(request.body,
               "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A"
               "token-exchange&subject_token=h.p.s"
               "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3A"
               "token-type%3Ajwt&scope=a%20b&audience=files&client_id=i%20d");

    ask.grant = TI_OAUTH_JWT_BEARER;
    ask.nextra = 0;

    request = request_of(TI_OAUTH_POST, &ask);
    assert_str(request.body,
               "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A"
               "jwt-bearer&assertion=h.p.s&requested_token_use=on_behalf_of"
               "&scope=a%20b&client_id=i%20d&client_secret=s%3A%26");
}


static void
revokes(void **state)
{
    size_t              left;
    ti_oauth_client_t   client;
    ti_oauth_request_t  request;

    client.auth = TI_OAUTH_BASIC;
    client.id = ti_str("s6BhdRkqt3");
    client.secret = ti_str("gX1fBat3bV");

    assert_int_equal(ti_oauth_revocation_request(&unit.pool, &client,
                         ti_str("45ghiukldjahdnhzdauz"),
                         ti_str("refresh_token"), &request), TI_OK);
    assert_str(request.authorization, "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
    assert_str(request.body, "token=45ghiukldjahdnhzdauz"
               "&token_type_hint=refresh_token");

    for (left = 0; left < 3; left++) {
        unit.left = left;
        assert_int_equal(ti_oauth_revocation_request(&unit.pool, &client,
                             ti_str("t"), ti_null_str, &request), TI_ERROR);
    }
}


static void
asks_who_it_is(void **state)
{
    ti_str_t            token, url;
    ti_oauth_request_t  request;

    token = ti_str("a+b/c=");
    url = ti_str("https://p.example/userinfo");

    assert_int_equal(ti_oauth_userinfo_request(&unit.pool, TI_OAUTH_IN_HEADER,
                                               url, token, &request), TI_OK);
    assert_str(request.authorization, "Bearer a+b/c=");
    assert_int_equal(request.body.len + request.query.len, 0);

    assert_int_equal(ti_oauth_userinfo_request(&unit.pool, TI_OAUTH_IN_BODY,
                                               url, token, &request), TI_OK);
    assert_str(request.body, "access_token=a%2Bb%2Fc%3D");
    assert_int_equal(request.authorization.len + request.query.len, 0);

    assert_int_equal(ti_oauth_userinfo_request(&unit.pool, TI_OAUTH_IN_QUERY,
                                               url, token, &request), TI_OK);
    assert_str(request.query, "?access_token=a%2Bb%2Fc%3D");
    assert_int_equal(request.authorization.len + request.body.len, 0);

    url = ti_str("https://p.example/userinfo?v=2");
    assert_int_equal(ti_oauth_userinfo_request(&unit.pool, TI_OAUTH_IN_QUERY,
                                               url, token, &request), TI_OK);
    assert_str(request.query, "&access_token=a%2Bb%2Fc%3D");

    unit.left = 0;
    assert_int_equal(ti_oauth_userinfo_request(&unit.pool, TI_OAUTH_IN_QUERY,
                                               url, token, &request),
                     TI_ERROR);
    assert_int_equal(ti_oauth_userinfo_request(&unit.pool, TI_OAUTH_IN_HEADER,
                                               url, token, &request),
                     TI_ERROR);
}


/* --- the browser's way back --- */

static ti_oauth_return_t
back_with(const char *code, const char *iss, const char *error)
{
    ti_oauth_return_t  back;

    memset(&back, 0, sizeof(back));

    back.state = ti_str("s");

    if (code != NULL) {
        back.code = ti_str_cstr(code);
    }

    if (iss != NULL) {
        back.iss = ti_str_cstr(iss);
    }

    if (error != NULL) {
        back.error = ti_str_cstr(error);
    }

    return back;
}


static ti_result_t
code_return(ti_oauth_return_t back, const char *issuer, int required)
{
    const char   *why;
    ti_result_t   result;

    why = NULL;
    result = ti_oauth_code_return(&back, ti_str_cstr(issuer), required, &why);
    assert_true(result == TI_RESULT_OK || why != NULL);

    return result;
}


static void
takes_codes_of_the_right_issuer(void **state)
{
    ti_oauth_return_t  back;

    back = back_with("c", NULL, NULL);
    assert_int_equal(code_return(back, "", 0), TI_RESULT_OK);
    assert_int_equal(code_return(back, "https://a.example", 0), TI_RESULT_OK);
    assert_int_equal(code_return(back, "https://a.example", 1),
                     TI_RESULT_STATE_INVALID);

    back = back_with("c", "https://a.example", NULL);
    assert_int_equal(code_return(back, "https://a.example", 1), TI_RESULT_OK);
    assert_int_equal(code_return(back, "https://a.example", 0), TI_RESULT_OK);
    assert_int_equal(code_return(back, "", 0), TI_RESULT_OK);
    assert_int_equal(code_return(back, "https://a.example/", 0),
                     TI_RESULT_STATE_INVALID);
    assert_int_equal(code_return(back, "https://b.example", 1),
                     TI_RESULT_STATE_INVALID);

    /* an error of another issuer's is none of ours either */
    back = back_with(NULL, "https://b.example", "access_denied");
    assert_int_equal(code_return(back, "https://a.example", 0),
                     TI_RESULT_STATE_INVALID);

    back = back_with("c\r\nd", NULL, NULL);
    assert_int_equal(code_return(back, "", 0), TI_RESULT_REQUEST_INVALID);
    back = back_with(NULL, NULL, NULL);
    assert_int_equal(code_return(back, "", 0), TI_RESULT_REQUEST_INVALID);
}


static void
knows_what_errors_mean(void **state)
{
    size_t             i;
    const char        *why;
    ti_oauth_return_t  back;

    static const struct {
        const char   *error;
        ti_result_t   user;
        ti_result_t   admin;
    } cases[] = {
        { "access_denied", TI_RESULT_CONNECTION_REQUIRED,
          TI_RESULT_ADMIN_CONSENT_REQUIRED },
        { "consent_required", TI_RESULT_RECONNECT_REQUIRED,
          TI_RESULT_ADMIN_CONSENT_REQUIRED },
        { "interaction_required", TI_RESULT_RECONNECT_REQUIRED,
          TI_RESULT_ADMIN_CONSENT_REQUIRED },
        { "admin_policy_enforced", TI_RESULT_ADMIN_CONSENT_REQUIRED,
          TI_RESULT_ADMIN_CONSENT_REQUIRED },
        { "invalid_scope", TI_RESULT_PROVIDER_MISCONFIGURED,
          TI_RESULT_PROVIDER_MISCONFIGURED },
        { "unauthorized_client", TI_RESULT_PROVIDER_MISCONFIGURED,
          TI_RESULT_PROVIDER_MISCONFIGURED },
        { "server_error", TI_RESULT_PROVIDER_UNAVAILABLE,
          TI_RESULT_PROVIDER_UNAVAILABLE },
        { "temporarily_unavailable", TI_RESULT_PROVIDER_UNAVAILABLE,
          TI_RESULT_PROVIDER_UNAVAILABLE },
        { "what_is_this", TI_RESULT_PROVIDER_UNAVAILABLE,
          TI_RESULT_PROVIDER_UNAVAILABLE }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        back = back_with(NULL, NULL, cases[i].error);
        assert_int_equal(code_return(back, "", 0), cases[i].user);
        assert_int_equal(ti_oauth_admin_return(&back, &why), cases[i].admin);
    }

    back = back_with(NULL, NULL, NULL);
    assert_int_equal(ti_oauth_admin_return(&back, &why), TI_RESULT_OK);
}


/* --- who consented --- */

static ti_rc_t
id_token(const char *text, const char *nonce)
{
    json_t      *claims;
    ti_rc_t      rc;
    const char  *why;

    assert_int_equal(ti_json_parse_object(ti_str_cstr(text), 4096, &claims,
                                          &why), TI_OK);
    why = NULL;
    rc = ti_oauth_id_token(claims, ti_str("client"), ti_str_cstr(nonce), &why);
    json_decref(claims);
    assert_true(rc == TI_OK || why != NULL);

    return rc;
}


static void
holds_id_tokens_to_the_visit(void **state)
{
    size_t  i;

    static const char *const  good[] = {
        "{\"nonce\":\"n\",\"aud\":\"client\"}",
        "{\"nonce\":\"n\",\"aud\":[\"client\"]}",
        "{\"nonce\":\"n\",\"aud\":[\"client\"],\"azp\":\"client\"}",
        "{\"nonce\":\"n\",\"aud\":[\"client\",\"x\"],\"azp\":\"client\"}"
    };
    static const char *const  bad[] = {
        "{\"aud\":\"client\"}",
        "{\"nonce\":\"m\",\"aud\":\"client\"}",
        "{\"nonce\":\"nn\",\"aud\":\"client\"}",
        "{\"nonce\":1,\"aud\":\"client\"}",
        "{\"nonce\":\"n\",\"aud\":[\"client\",\"x\"]}",
        "{\"nonce\":\"n\",\"aud\":\"client\",\"azp\":\"x\"}",
        "{\"nonce\":\"n\",\"aud\":\"client\",\"azp\":null}",
        "{\"nonce\":\"n\",\"aud\":\"client\",\"azp\":[\"client\"]}"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(id_token(good[i], "n"), TI_OK);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(id_token(bad[i], "n"), TI_DECLINED);
    }

    assert_int_equal(id_token("{\"nonce\":\"\"}", ""), TI_DECLINED);
}


static ti_rc_t
account_of(unsigned status, const char *body, const char *path,
    ti_str_t *account)
{
    ti_rc_t           rc;
    const char       *why;
    ti_json_path_t    compiled;
    ti_oauth_reply_t  reply;

    reply.status = status;
    reply.body = ti_str_cstr(body);
    reply.retry_after = ti_null_str;

    assert_int_equal(ti_json_path_compile(&unit.pool, ti_str_cstr(path),
                                          &compiled), TI_OK);
    why = NULL;
    rc = ti_oauth_account(&unit.pool, &reply, &compiled, account, &why);
    assert_true(rc == TI_OK || why != NULL);

    return rc;
}


static void
reads_the_account(void **state)
{
    char      long_name[400];
    ti_str_t  account;

    assert_int_equal(account_of(200, "{\"email\":\"a@b.example\"}", "email",
                                &account), TI_OK);
    assert_str(account, "a@b.example");
    assert_int_equal(account_of(200, "{\"user\":{\"id\":42}}", "/user/id",
                                &account), TI_OK);
    assert_str(account, "42");
    assert_int_equal(account_of(200, "{\"n\":\"J\xc3\xb6rg\"}", "n", &account),
                     TI_OK);
    assert_str(account, "J\xc3\xb6rg");

    assert_int_equal(account_of(401, "{\"n\":\"x\"}", "n", &account),
                     TI_DECLINED);
    assert_int_equal(account_of(200, "<html>", "n", &account), TI_DECLINED);
    assert_int_equal(account_of(200, "{}", "n", &account), TI_DECLINED);
    assert_int_equal(account_of(200, "{\"n\":\"\"}", "n", &account),
                     TI_DECLINED);
    assert_int_equal(account_of(200, "{\"n\":-1}", "n", &account),
                     TI_DECLINED);
    assert_int_equal(account_of(200, "{\"n\":true}", "n", &account),
                     TI_DECLINED);
    assert_int_equal(account_of(200, "{\"n\":\"a\\nb\"}", "n", &account),
                     TI_DECLINED);
    assert_int_equal(account_of(200, "{\"n\":\"a\\u0085b\"}", "n", &account),
                     TI_DECLINED);
    assert_int_equal(account_of(200, "{\"n\":\"x\",\"n\":\"y\"}", "n",
                                &account), TI_DECLINED);

    memset(long_name, 'x', sizeof(long_name));
    memcpy(long_name, "{\"n\":\"", 6);
    memcpy(long_name + 6 + TI_OAUTH_ACCOUNT_MAX, "\"}", 3);
    assert_int_equal(account_of(200, long_name, "n", &account), TI_OK);
    assert_int_equal(account.len, TI_OAUTH_ACCOUNT_MAX);
    memcpy(long_name + 6 + TI_OAUTH_ACCOUNT_MAX, "x\"}", 4);
    assert_int_equal(account_of(200, long_name, "n", &account), TI_DECLINED);
}


static void
compares_accounts(void **state)
{
    assert_true(ti_oauth_account_is(ti_str("a"), ti_str("a")));
    assert_false(ti_oauth_account_is(ti_str("a"), ti_str("A")));
    assert_true(ti_oauth_account_is(ti_str("A@b.example"),
                                    ti_str("a@B.example")));
    assert_false(ti_oauth_account_is(ti_str("a@b.example"), ti_str("a")));
    assert_false(ti_oauth_account_is(ti_str("a@b.example"),
                                     ti_str("a@b.example.evil")));
    assert_false(ti_oauth_account_is(ti_null_str, ti_null_str));
    assert_false(ti_oauth_account_is(ti_str("a"), ti_null_str));
}


#define test(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(sends_to_the_authorization_endpoint),
        test(sends_nobody_without_what_it_takes),
        test(sends_to_the_admin_consent_endpoint),
        test(keeps_its_own_parameters),
        test(makes_secrets),
        test(exchanges_codes),
        test(asks_for_tokens_otherwise),
        test(hands_the_callers_token_in),
        test(revokes),
        test(asks_who_it_is),
        test(takes_codes_of_the_right_issuer),
        test(knows_what_errors_mean),
        test(holds_id_tokens_to_the_visit),
        test(reads_the_account),
        test(compares_accounts)
    };

    return cmocka_run_group_tests_name("ti_oauth", tests, NULL, NULL);
}
