// A person with a browser: follows redirects, keeps cookies, fills in the
// sign-in form, consents.  And the application that sent the person there and
// redeems the code: authorization code flow with PKCE.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';

import { ask, json } from './http.mjs';

// client: { id, secret?, redirectUri }; resolves to the token response
export async function obtainTokens(issuer, client, account, request) {
    const server = await discover(issuer);
    const state = random();
    const verifier = random();
    const challenge = crypto.createHash('sha256').update(verifier)
        .digest('base64url');

    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({
        response_type: 'code',
        client_id: client.id,
        redirect_uri: client.redirectUri,
        state,
        code_challenge: challenge,
        code_challenge_method: 'S256',
        ...request,
    });

    const answer = await browse(url, client.redirectUri, account);
    assert.equal(answer.get('error'), null);
    assert.equal(answer.get('state'), state);
    assert.equal(answer.get('iss'), issuer);

    return redeem(server, client, {
        grant_type: 'authorization_code',
        code: answer.get('code'),
        redirect_uri: client.redirectUri,
        code_verifier: verifier,
        ...(request.resource && { resource: request.resource }),
    });
}

export async function discover(issuer) {
    const url = `${issuer}/.well-known/openid-configuration`;
    const server = await json(url);
    assert.equal(server.issuer, issuer);
    return server;
}

export function basic(id, secret) {
    const pair = [id, secret].map(encodeURIComponent).join(':');
    return `Basic ${Buffer.from(pair).toString('base64')}`;
}

async function redeem(server, client, parameters) {
    const form = new URLSearchParams(parameters);
    const headers = {};

    if (client.secret === undefined) {
        form.set('client_id', client.id);
    } else {
        headers.Authorization = basic(client.id, client.secret);
    }

    return json(server.token_endpoint, { method: 'POST', headers, form });
}

// from the authorization endpoint to the redirect URI, whose query it returns;
// saw() is told the title of every page on the way
export async function browse(start, redirectUri, account, saw = () => {}) {
    const cookies = new Map();
    let url = new URL(start);
    let form;

    for (let steps = 0; steps < 20; steps++) {
        const response = await ask(url, {
            method: form === undefined ? 'GET' : 'POST',
            form,
            headers: { Cookie: jar(cookies, url) },
        });
        const { location } = response.headers;
        keep(cookies, response);
        form = undefined;

        if (location !== undefined) {
            url = new URL(location, url);
            if (url.href.startsWith(`${redirectUri}?`)) {
                return url.searchParams;
            }
        } else {
            form = fill(url, response, account);
            saw(/<title>(.*)<\/title>/.exec(response.text)[1]);
        }
    }
    throw new Error(`no end of redirects at ${url.origin}`);
}

function fill(url, { status, text }, account) {
    if (status !== 200 || !text.includes('<form method="post">')) {
        throw new Error(`${url}: ${status}, not a form: ${
            text.slice(0, 200)}`);
    }
    return text.includes('name="password"')
        ? new URLSearchParams({
            account: account.name, password: account.password,
        })
        : new URLSearchParams({ consent: 'yes' });
}

function keep(cookies, response) {
    for (const line of response.headers['set-cookie'] ?? []) {
        const [pair, ...attributes] = line.split(/; */);
        const [name, value] = pair.split(/=(.*)/s);
        const path = attributes.find((a) => /^path=/i.test(a))?.slice(5);
        cookies.set(name, { value, path: path ?? '/' });
    }
}

function jar(cookies, url) {
    return [...cookies]
        .filter(([, { value, path }]) => value && url.pathname.startsWith(path))
        .map(([name, { value }]) => `${name}=${value}`)
        .join('; ');
}

function random() {
    return crypto.randomBytes(32).toString('base64url');
}
