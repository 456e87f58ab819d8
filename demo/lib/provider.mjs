// An OpenID provider: npm's oidc-provider with a memory, two pages (sign in,
// consent) and accounts.  The demo starts two of them: "corp" signs the
// callers' JWTs, "outlook" is the third party.  The tests start others.

import crypto from 'node:crypto';
import { promisify } from 'node:util';

import { Provider, errors } from 'oidc-provider';

import { BROWSER, body, listen, origin, reply } from './http.mjs';

const generateKeyPair = promisify(crypto.generateKeyPair);

const HOUR = 3600;
const DAY = 24 * HOUR;

const INTERACTION = '/interaction/';

const KEY_PAIRS = {
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }],
    EdDSA: ['ed25519'],
};

// accounts: { name: { password, claims } }
// resource: { name, scope }, for which access tokens are JWTs; without one
//     they are opaque
// keys: of signingKey(); the first one signs
// algorithms: that it says it signs with; those of its keys unless said
// path, port, tls: where the issuer is; anywhere, on http, unless said
// more: features of oidc-provider
//
// rotate(keys) takes the place of all keys so far.  requests are the URLs that
// others than browsers asked for.
export async function startProvider({
    accounts, clients, scopes, resource, keys, algorithms,
    path = '', port, tls, more,
}) {
    const settings = {
        adapter: memory(),
        clients,
        cookies: { keys: [crypto.randomBytes(32).toString('base64url')] },
        scopes,
        ...behaviour(accounts),
        interactions: {
            url: (ctx, { uid }) => `${path}${INTERACTION}${uid}`,
        },
        ...(algorithms && {
            enabledJWA: { idTokenSigningAlgValues: algorithms },
        }),
    };
    const requests = [];
    let provider;
    let protocol;

    keys ??= [await signingKey()];
    const server = await listen(serve, { port, tls });
    const issuer = origin(server) + path;
    rotate(keys);

    // an oidc-provider reads its keys once: the next one goes on where it was
    function rotate(next) {
        const [{ alg, kid }] = next;

        provider = new Provider(issuer, {
            ...settings,
            clientDefaults: {
                id_token_signed_response_alg: algorithms?.[0] ?? alg,
            },
            features: { ...features(resource, { alg, kid }), ...more },
            jwks: { keys: next },
        });
        protocol = provider.callback();
    }

    function serve(request, response) {
        const { url, headers } = request;
        if (headers['user-agent'] !== BROWSER) {
            requests.push(url);
        }

        if (!url.startsWith(`${path}/`)) {
            reply(response, 404, 'text/plain', 'not here\n');
            return;
        }
        request.originalUrl = url;
        request.url = url.slice(path.length);

        if (!request.url.startsWith(INTERACTION)) {
            protocol(request, response);
            return;
        }
        interact(provider, accounts, request, response).catch((error) => {
            reply(response, error.status ?? 500, 'text/plain',
                  `${error.message}\n`);
        });
    }

    return { issuer, server, requests, rotate };
}

// Not generateKeyPairSync(): its job is left to the garbage collector, which in
// Node 20 waits for ever if it comes while the job's key is being exported.
export async function signingKey(alg = 'RS256', kid = crypto.randomUUID()) {
    const { privateKey } = await generateKeyPair(...KEY_PAIRS[alg]);
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid };
}

function behaviour(accounts) {
    return {
        findAccount: (ctx, id) => accounts[id] && {
            accountId: id,
            claims: () => ({ sub: id, ...accounts[id].claims }),
        },
        extraTokenClaims: (ctx, token) => accounts[token.accountId]?.claims,
        renderError: (ctx, out) => {
            ctx.type = 'json';
            ctx.body = out;
        },
        ttl: {
            AccessToken: (ctx, token) => (
                token.resourceServer?.accessTokenTTL ?? HOUR
            ),
            AuthorizationCode: 60,
            ClientCredentials: HOUR,
            Grant: 90 * DAY,
            IdToken: HOUR,
            Interaction: 600,
            RefreshToken: 90 * DAY,
            Session: DAY,
        },
    };
}

function features(resource, sign) {
    return {
        devInteractions: { enabled: false },
        introspection: {
            enabled: true,
            allowedPolicy: (ctx, client) => client.clientId === 'graph',
        },
        resourceIndicators: {
            enabled: resource !== undefined,
            getResourceServerInfo: (ctx, indicator) => {
                if (indicator !== resource?.name) {
                    throw new errors.InvalidTarget();
                }
                return {
                    scope: resource.scope,
                    accessTokenFormat: 'jwt',
                    accessTokenTTL: 8 * HOUR,
                    jwt: { sign },
                };
            },
        },
    };
}

async function interact(provider, accounts, request, response) {
    const details = await provider.interactionDetails(request, response);
    const { prompt, params } = details;

    if (request.method !== 'POST') {
        const show = prompt.name === 'login' ? loginPage : consentPage;
        reply(response, 200, 'text/html; charset=utf-8', show(params),
              { 'Cache-Control': 'no-store' });
        return;
    }

    const form = new URLSearchParams(await body(request));

    if (prompt.name === 'login') {
        const account = form.get('account');
        if (!Object.hasOwn(accounts, account)
            || accounts[account].password !== form.get('password'))
        {
            reply(response, 401, 'text/html; charset=utf-8', loginPage());
            return;
        }
        await provider.interactionFinished(request, response,
                                           { login: { accountId: account } });
        return;
    }

    await provider.interactionFinished(request, response, {
        consent: { grantId: await grant(provider, details) },
    }, { mergeWithLastSubmission: true });
}

// what the consent page asked for is granted
async function grant(provider, { prompt, params, session, grantId }) {
    const { missingOIDCScope, missingResourceScopes } = prompt.details;
    const given = grantId === undefined
        ? new provider.Grant({
            accountId: session.accountId, clientId: params.client_id,
        })
        : await provider.Grant.find(grantId);

    given.addOIDCScope(missingOIDCScope?.join(' ') ?? '');
    for (const [name, scopes] of Object.entries(missingResourceScopes ?? {})) {
        given.addResourceScope(name, scopes.join(' '));
    }
    return given.save();
}

function page(title, form) {
    return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${title}</title>
<h1>${title}</h1>
<form method="post">
${form}
</form>
</html>
`;
}

function loginPage() {
    return page('Sign in', `<label>Account <input name="account"></label>
<label>Password <input name="password" type="password"></label>
<button>Sign in</button>`);
}

function consentPage(params) {
    const scopes = escape(params.scope ?? '');
    return page('Consent', `<p>${escape(params.client_id)} asks for: ${scopes}
<input name="consent" type="hidden" value="yes">
<button>Allow</button>`);
}

function escape(text) {
    return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

// the provider's storage, one for each provider; the adapter that comes with
// oidc-provider is shared by all providers of a process
function memory() {
    const stored = new Map();

    return class Memory {
        constructor(model) {
            this.model = model;
        }

        key(id) {
            return `${this.model}:${id}`;
        }

        async upsert(id, payload, seconds) {
            stored.set(this.key(id), {
                payload,
                expires: seconds ? Date.now() + seconds * 1000 : Infinity,
            });
        }

        async find(id) {
            const entry = stored.get(this.key(id));
            return entry?.expires > Date.now() ? entry.payload : undefined;
        }

        async findByUid(uid) {
            return [...stored].find(([key, { payload }]) => (
                key.startsWith(`${this.model}:`) && payload.uid === uid
            ))?.[1].payload;
        }

        async consume(id) {
            const payload = await this.find(id);
            payload.consumed = Math.floor(Date.now() / 1000);
        }

        async destroy(id) {
            stored.delete(this.key(id));
        }

        async revokeByGrantId(grantId) {
            for (const [key, { payload }] of stored) {
                if (payload.grantId === grantId) {
                    stored.delete(key);
                }
            }
        }
    };
}
