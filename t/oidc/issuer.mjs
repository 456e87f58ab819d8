// An issuer for t/nginx and t/e2e: the demo's OpenID provider, with keys that a
// test changes, or a third party with the demo's service behind it.  TI/Oidc.pm
// starts it; what it is told comes to a port of its own.
//
// usage: node issuer.mjs FILE, a JSON object of
//     port, control      where the issuer is, where it is told
//     path               of the issuer, "" unless said
//     keys               [{ kid, alg }, …], the first one signs; a kid is
//                        the same key whenever it is named, kept in
//                        FILE.keys
//     accounts           { name: { claims, password, admin }, … }: people who
//                        can sign in
//     algorithms         that it says it signs with; unless said, those of
//                        its keys
//     clients, scopes, routes, accessTokenTTL
//                        as of startProvider(), for a third party
//     exchanges          an issuer, whose JWTs it takes for tokens of its own
//     service            a port: the service that introspects its tokens
//
// control:
//     PUT /keys          such a list, from now on
//     POST /token        { account }: someone signs in, in a browser, at
//                        the client "search-page"; { client }: that
//                        client's own, "robot" or another name, with
//                        { dpop: true } one bound to a key; { access_token }
//     GET /requests      [url, …], what others asked of the issuer
//     GET /seen          [{ method, url, authorization }, …], of these the
//                        scheme alone
//     GET /calls         what others asked of the service
//     POST /introspect   { token }: what the issuer says of it
//     PUT /delay         { path: milliseconds, … } before it acts, from now on

import crypto from 'node:crypto';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { BROWSER, body, json, listen, reply } from '../../demo/lib/http.mjs';
import { mailboxes } from '../../demo/lib/mail.mjs';
import { signingKey, startProvider } from '../../demo/lib/provider.mjs';
import { startService } from '../../demo/lib/service.mjs';
import { basic, discover, obtainTokens } from '../../demo/lib/user.mjs';
import { exchanges } from './exchange.mjs';

const AUDIENCE = 'api://search';
const SCOPE = 'search';
const SECRET = crypto.randomBytes(24).toString('base64url');
const PAGE = { id: 'search-page', redirectUri: 'http://127.0.0.1/signed-in' };
const ROBOTS = ['robot', 'alice', 'bob'];
const SERVICE = { id: 'graph', secret: SECRET };

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));

const kept = `${process.argv[2]}.keys`;
const known = new Map(
    fs.existsSync(kept) ? JSON.parse(fs.readFileSync(kept, 'utf8')) : [],
);

const accounts = Object.fromEntries(
    Object.entries(config.accounts ?? {}).map(([name, account]) => (
        [name, { password: SECRET, ...account }]
    )),
);

const seen = [];
let delays = {};

const issuer = await startProvider({
    accounts,
    scopes: config.scopes ?? ['openid'],
    resource: { name: AUDIENCE, scope: SCOPE },
    keys: await keyPairs(config.keys),
    algorithms: config.algorithms,
    path: config.path,
    port: config.port,
    routes: config.routes,
    accessTokenTTL: config.accessTokenTTL,
    before: async ({ method, url, originalUrl, headers }) => {
        if (headers['user-agent'] !== BROWSER) {
            const [scheme] = (headers.authorization ?? '').split(' ');
            seen.push({ method, url: originalUrl, authorization: scheme });
        }
        await sleep(delays[url.split('?')[0]] ?? 0);
    },
    clients: [{
        client_id: PAGE.id,
        redirect_uris: [PAGE.redirectUri],
        token_endpoint_auth_method: 'none',
    }, {
        client_id: SERVICE.id,
        client_secret: SERVICE.secret,
        grant_types: [],
        redirect_uris: [],
        response_types: [],
    }, ...config.clients ?? [], ...ROBOTS.map((id) => ({
        client_id: id,
        client_secret: SECRET,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
    }))],
    more: { clientCredentials: { enabled: true }, dPoP: { enabled: true } },
    extend: config.exchanges && exchanges(config.exchanges),
});

const service = config.service && await startService(
    issuer.issuer, SERVICE, mailboxes(), config.service,
);

const CONTROL = {
    'GET /requests': () => issuer.requests,
    'GET /seen': () => seen,
    'GET /calls': () => service.calls,
    'POST /introspect': ({ token }) => introspect(token),
    'PUT /delay': (paths) => {
        delays = paths;
        return paths;
    },
    'POST /token': ({ account, client, dpop }) => (
        account === undefined ? asItself(client, dpop) : signIn(account)
    ),
    'PUT /keys': async (list) => {
        issuer.rotate(await keyPairs(list));
        return list;
    },
};

await listen(async (request, response) => {
    try {
        const run = CONTROL[`${request.method} ${request.url}`];
        const text = await body(request);
        const answer = await run(text === '' ? {} : JSON.parse(text));
        reply(response, 200, 'application/json', JSON.stringify(answer));
    } catch (error) {
        reply(response, 500, 'text/plain', `${error.stack}\n`);
    }
}, { port: config.control });

async function keyPairs(list) {
    for (const { kid, alg } of list) {
        if (!known.has(kid)) {
            known.set(kid, await signingKey(alg, kid));
        }
    }
    fs.writeFileSync(kept, JSON.stringify([...known]), { mode: 0o600 });
    return list.map(({ kid }) => known.get(kid));
}

function signIn(name) {
    const { password } = accounts[name];
    return obtainTokens(issuer.issuer, PAGE, { name, password }, {
        scope: `openid ${SCOPE}`, resource: AUDIENCE,
    });
}

async function introspect(token) {
    const { introspection_endpoint: endpoint } = await discover(issuer.issuer);
    return json(endpoint, {
        method: 'POST', form: new URLSearchParams({ token }),
        headers: { Authorization: basic(SERVICE.id, SERVICE.secret) },
    });
}

async function asItself(id, dpop) {
    const endpoint = `${issuer.issuer}/token`;
    const headers = { Authorization: basic(id, SECRET) };
    if (dpop) {
        headers.DPoP = await proof('POST', endpoint);
    }

    return json(endpoint, {
        method: 'POST', headers, form: new URLSearchParams({
            grant_type: 'client_credentials', scope: SCOPE,
            resource: AUDIENCE,
        }),
    });
}

// RFC 9449, section 4.2
async function proof(htm, htu) {
    const { kty, crv, x, y, d } = await signingKey('ES256');
    const part = (value) => Buffer.from(JSON.stringify(value))
        .toString('base64url');
    const input = [
        part({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } }),
        part({ htm, htu, jti: crypto.randomUUID(),
               iat: Math.floor(Date.now() / 1000) }),
    ].join('.');
    const signature = crypto.sign('sha256', Buffer.from(input), {
        key: { kty, crv, x, y, d }, format: 'jwk', dsaEncoding: 'ieee-p1363',
    });
    return `${input}.${signature.toString('base64url')}`;
}
