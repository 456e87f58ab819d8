// An OpenID provider: npm's oidc-provider with a memory, two pages (sign in,
// consent) and the accounts of the demo.  The demo starts two of them: "corp"
// signs the callers' JWTs, "outlook" is the third party.

import crypto from 'node:crypto';
import { promisify } from 'node:util';

import { Provider, errors } from 'oidc-provider';

import { body, listen, origin, reply } from './http.mjs';

const generateKeyPair = promisify(crypto.generateKeyPair);

const HOUR = 3600;
const DAY = 24 * HOUR;

// accounts: { name: { password, claims } }
// resource: where set, access tokens for it are JWTs; otherwise opaque
export async function startProvider({ accounts, clients, scopes, resource }) {
    const server = await listen((request, response) => {
        handler(request, response);
    });
    const issuer = origin(server);

    const provider = new Provider(issuer, {
        adapter: memory(),
        clients,
        scopes,
        jwks: { keys: [await signingKey()] },
        cookies: { keys: [crypto.randomBytes(32).toString('base64url')] },
        features: {
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
                        jwt: { sign: { alg: 'RS256' } },
                    };
                },
            },
        },
        findAccount: (ctx, id) => accounts[id] && {
            accountId: id,
            claims: () => ({ sub: id, ...accounts[id].claims }),
        },
        extraTokenClaims: (ctx, token) => accounts[token.accountId]?.claims,
        interactions: {
            url: (ctx, interaction) => `/interaction/${interaction.uid}`,
        },
        renderError: (ctx, out) => {
            ctx.type = 'json';
            ctx.body = out;
        },
        ttl: {
            AccessToken: (ctx, token) => (
                token.resourceServer?.accessTokenTTL ?? HOUR
            ),
            AuthorizationCode: 60,
            Grant: 90 * DAY,
            IdToken: HOUR,
            Interaction: 600,
            RefreshToken: 90 * DAY,
            Session: DAY,
        },
    });

    const protocol = provider.callback();

    function handler(request, response) {
        if (!request.url.startsWith('/interaction/')) {
            protocol(request, response);
            return;
        }
        interact(provider, accounts, request, response).catch((error) => {
            reply(response, error.status ?? 500, 'text/plain',
                  `${error.message}\n`);
        });
    }

    return { issuer, server };
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

async function signingKey() {
    const { privateKey } = await generateKeyPair('rsa', {
        modulusLength: 2048,
    });
    return {
        ...privateKey.export({ format: 'jwk' }),
        alg: 'RS256', use: 'sig', kid: crypto.randomUUID(),
    };
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
