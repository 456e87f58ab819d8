// An issuer for t/nginx: the demo's OpenID provider, with keys that a test
// changes.  TI/Oidc.pm starts it; what it is told comes to a port of its own.
//
// usage: node issuer.mjs FILE, a JSON object of
//     port, control      where the issuer is, where it is told
//     path               of the issuer, "" unless said
//     keys               [{ kid, alg }, …], the first one signs
//     accounts           { name: { claims }, … }: people who can sign in
//     algorithms         that it says it signs with; unless said, those of
//                        its keys
//
// control:
//     PUT /keys          the same list, from now on; a kid that was there
//                        before is the same key
//     POST /token        { account }: someone signs in, in a browser, at
//                        the client "search-page"; { client }: that
//                        client's own, "robot" or another name, with
//                        { dpop: true } one bound to a key; { access_token }
//     GET /requests      [{ url, agent }, …], what others asked of the issuer

import crypto from 'node:crypto';
import fs from 'node:fs';

import { body, listen, reply } from '../../demo/lib/http.mjs';
import { signingKey, startProvider } from '../../demo/lib/provider.mjs';
import { basic, json, obtainTokens } from '../../demo/lib/user.mjs';

const AUDIENCE = 'api://search';
const SCOPE = 'search';
const SECRET = crypto.randomBytes(24).toString('base64url');
const PAGE = { id: 'search-page', redirectUri: 'http://127.0.0.1/signed-in' };
const ROBOTS = ['robot', 'alice', 'bob'];

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const known = new Map();

const accounts = Object.fromEntries(
    Object.entries(config.accounts ?? {}).map(([name, account]) => (
        [name, { password: SECRET, ...account }]
    )),
);

const issuer = await startProvider({
    accounts,
    scopes: ['openid'],
    resource: { name: AUDIENCE, scope: SCOPE },
    keys: await keyPairs(config.keys),
    path: config.path,
    port: config.port,
    clients: [{
        client_id: PAGE.id,
        redirect_uris: [PAGE.redirectUri],
        token_endpoint_auth_method: 'none',
    }, ...ROBOTS.map((id) => ({
        client_id: id,
        client_secret: SECRET,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
    }))],
    more: {
        features: {
            clientCredentials: { enabled: true },
            dPoP: { enabled: true },
        },
        ...(config.algorithms && { enabledJWA: {
            idTokenSigningAlgValues: config.algorithms,
        } }),
    },
});

const CONTROL = {
    'GET /requests': () => issuer.requests.filter(
        ({ agent }) => agent !== 'node',
    ),
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

function keyPairs(list) {
    return Promise.all(list.map(async ({ kid, alg }) => {
        if (!known.has(kid)) {
            known.set(kid, await signingKey(alg, kid));
        }
        return known.get(kid);
    }));
}

function signIn(name) {
    return obtainTokens(issuer.issuer, PAGE, { name, password: SECRET }, {
        scope: `openid ${SCOPE}`, resource: AUDIENCE,
    });
}

async function asItself(id, dpop) {
    const endpoint = `${issuer.issuer}/token`;
    const headers = { Authorization: basic(id, SECRET) };
    if (dpop) {
        headers.DPoP = proof('POST', endpoint);
    }

    return json(await fetch(endpoint, {
        method: 'POST', headers, body: new URLSearchParams({
            grant_type: 'client_credentials', scope: SCOPE,
            resource: AUDIENCE,
        }),
    }));
}

// RFC 9449, section 4.2
function proof(htm, htu) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', {
        namedCurve: 'P-256',
    });
    const part = (value) => Buffer.from(JSON.stringify(value))
        .toString('base64url');
    const input = [
        part({ typ: 'dpop+jwt', alg: 'ES256',
               jwk: publicKey.export({ format: 'jwk' }) }),
        part({ htm, htu, jti: crypto.randomUUID(),
               iat: Math.floor(Date.now() / 1000) }),
    ].join('.');
    const signature = crypto.sign('sha256', Buffer.from(input), {
        key: privateKey, dsaEncoding: 'ieee-p1363',
    });
    return `${input}.${signature.toString('base64url')}`;
}
