// An OpenID provider: npm's oidc-provider with a memory, pages (sign in,
// consent, an administrator's consent) and accounts.  The demo starts two of
// them: "corp" signs the callers' JWTs, "outlook" is the third party.  The tests
// start others.  Of all of them: PKCE is required, a refresh token is good
// once, and a token can be introspected and revoked.

import crypto from 'node:crypto';
import { promisify } from 'node:util';

import { Provider, errors } from 'oidc-provider';

import { BROWSER, body, listen, origin, reply } from './http.mjs';

export { errors };

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
// routes: oidc-provider's, below that path, and "admin" where administrators
//     consent: accounts that have { admin: true }.  Until one did, nobody else
//     can
// accessTokenTTL: seconds, of opaque tokens
// before: is given every request, and may take its time
// more: features of oidc-provider
// extend: is given the oidc-provider, to add to it
//
// rotate(keys) takes the place of all keys so far, life(seconds) of
// accessTokenTTL for users' tokens from then on.  requests are the URLs that
// others than browsers asked for; issued are the opaque tokens: { what, account,
// token }.
export async function startProvider({
    accounts, clients, scopes, resource, keys, algorithms,
    path = '', port, tls, routes: { admin, ...routes } = {},
    accessTokenTTL = HOUR, before, more, extend,
}) {
    const settings = {
        adapter: memory(),
        clients,
        cookies: { keys: [crypto.randomBytes(32).toString('base64url')] },
        scopes,
        routes,
        ...behaviour(accounts, accessTokenTTL, () => seconds),
        interactions: {
            url: (ctx, { uid }) => `${path}${INTERACTION}${uid}`,
        },
        ...(algorithms && {
            enabledJWA: { idTokenSigningAlgValues: algorithms },
        }),
    };
    const requests = [];
    const issued = [];
    let seconds = accessTokenTTL;
    const tenant = { consented: admin === undefined };
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
        extend?.(provider);
        protocol = provider.callback();

        for (const what of ['access_token', 'refresh_token',
                            'client_credentials'])
        {
            provider.on(`${what}.saved`, ({ accountId, jti }) => {
                issued.push({ what, account: accountId, token: jti });
            });
        }
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

        route(request, response).catch((error) => {
            reply(response, error.status ?? 500, 'text/plain',
                  `${error.message}\n`);
        });
    }

    async function route(request, response) {
        const [at] = request.url.split('?');

        await before?.(request);
        if (at.startsWith(INTERACTION)) {
            await interact(provider, accounts, tenant, request, response);
        } else if (at === admin) {
            await administer(provider, accounts, tenant, request, response);
        } else {
            protocol(request, response);
        }
    }

    function life(next) {
        seconds = next;
    }

    return { issuer, server, requests, issued, rotate, life };
}

// Not generateKeyPairSync(): its job is left to the garbage collector, which in
// Node 20 waits for ever if it comes while the job's key is being exported.
export async function signingKey(alg = 'RS256', kid = crypto.randomUUID()) {
    const { privateKey } = await generateKeyPair(...KEY_PAIRS[alg]);
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid };
}

function behaviour(accounts, accessTokenTTL, life) {
    return {
        findAccount: (ctx, id) => accounts[id] && {
            accountId: id,
            claims: () => ({ sub: id, ...accounts[id].claims }),
        },
        extraTokenClaims: (ctx, token) => accounts[token.accountId]?.claims,
        claims: {
            openid: ['sub'],
            email: ['email', 'email_verified'],
            profile: ['name', 'preferred_username'],
        },
        pkce: { methods: ['S256'], required: () => true },
        rotateRefreshToken: true,
        acceptQueryParamAccessTokens: true,
        renderError: (ctx, out) => {
            ctx.type = 'json';
            ctx.body = out;
        },
        ttl: {
            AccessToken: (ctx, token) => (
                token.resourceServer?.accessTokenTTL ?? life()
            ),
            AuthorizationCode: 60,
            ClientCredentials: accessTokenTTL,
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
        revocation: { enabled: true },
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

async function interact(provider, accounts, tenant, request, response) {
    const details = await provider.interactionDetails(request, response);
    const { prompt, params } = details;
    const finish = (result, options) => (
        provider.interactionFinished(request, response, result, options)
    );

    if (request.method !== 'POST') {
        const show = prompt.name === 'login' ? loginPage : consentPage;
        show(response, 200, params);
        return;
    }

    const form = new URLSearchParams(await body(request));

    if (prompt.name === 'login') {
        const account = signedIn(accounts, form);
        if (account === undefined) {
            loginPage(response, 401);
            return;
        }
        await finish({ login: { accountId: account } });
        return;
    }

    if (!tenant.consented) {
        await finish({
            error: 'admin_policy_enforced',
            error_description: 'an administrator must consent first',
        });
        return;
    }
    if (form.get('consent') !== 'yes') {
        await finish({
            error: 'access_denied',
            error_description: 'the user declined',
        });
        return;
    }
    await finish({ consent: { grantId: await grant(provider, details) } },
                 { mergeWithLastSubmission: true });
}

function signedIn(accounts, form) {
    const account = form.get('account');
    return Object.hasOwn(accounts, account)
        && accounts[account].password === form.get('password')
        ? account : undefined;
}

// An administrator's consent in the shape of Microsoft's: one page, and every
// way back has "admin_consent=True".
async function administer(provider, accounts, tenant, request, response) {
    const { searchParams: params } = new URL(request.url, 'http://localhost');
    const client = await provider.Client.find(params.get('client_id'));

    if (!client?.redirectUriAllowed(params.get('redirect_uri'))) {
        reply(response, 400, 'text/plain', 'no such client or redirect URI\n');
        return;
    }
    if (request.method !== 'POST') {
        loginPage(response, 200);
        return;
    }

    const form = new URLSearchParams(await body(request));
    const account = signedIn(accounts, form);
    const back = new URL(params.get('redirect_uri'));
    const say = (more) => Object.entries({
        admin_consent: 'True', state: params.get('state'), ...more,
    }).forEach(([name, value]) => back.searchParams.set(name, value));

    if (account === undefined) {
        loginPage(response, 401);
        return;
    }
    if (accounts[account].admin) {
        tenant.consented = true;
        say({ tenant: provider.issuer, scope: params.get('scope') });
    } else {
        say({
            error: 'access_denied',
            error_description: 'the user is no administrator',
        });
    }
    reply(response, 302, 'text/plain', '', { Location: back.href });
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

function page(response, status, title, form) {
    reply(response, status, 'text/html; charset=utf-8', `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${title}</title>
<h1>${title}</h1>
<form method="post">
${form}
</form>
</html>
`, { 'Cache-Control': 'no-store' });
}

function loginPage(response, status) {
    page(response, status, 'Sign in',
         `<label>Account <input name="account"></label>
<label>Password <input name="password" type="password"></label>
<button>Sign in</button>`);
}

function consentPage(response, status, params) {
    const scopes = escape(params.scope ?? '');
    page(response, status, 'Consent',
         `<p>${escape(params.client_id)} asks for: ${scopes}
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
