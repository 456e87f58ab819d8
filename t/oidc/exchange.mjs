// For an issuer that is a third party: it takes the JWTs of another issuer and
// gives its own tokens for them, to the account that has the subject's name.
// RFC 8693, and RFC 7523 as Microsoft's on-behalf-of flow has it; npm's
// oidc-provider knows neither, and lets others add what it does not know.

import crypto from 'node:crypto';

import { json } from '../../demo/lib/http.mjs';
import { errors } from '../../demo/lib/provider.mjs';
import { discover } from '../../demo/lib/user.mjs';

const GRANT = 'urn:ietf:params:oauth:grant-type';
const TYPE = 'urn:ietf:params:oauth:token-type';

const EXCHANGE = `${GRANT}:token-exchange`;
const BEARER = `${GRANT}:jwt-bearer`;

// trusted: whose JWTs; the result is for startProvider() to extend it with
export function exchanges(trusted) {
    return (provider) => {
        provider.registerGrantType(EXCHANGE, async (ctx, next) => {
            const { subject_token: jwt, subject_token_type: type }
                = ctx.oidc.params;
            if (![`${TYPE}:access_token`, `${TYPE}:jwt`].includes(type)) {
                throw new errors.InvalidRequest('another kind of token');
            }
            // section 2.2.2: not invalid_grant
            const subject = await verified(trusted, jwt).catch((error) => {
                throw new errors.InvalidRequest(error.message);
            });
            await give(provider, ctx, subject);
            ctx.body.issued_token_type = `${TYPE}:access_token`;
            await next();
        }, ['subject_token', 'subject_token_type', 'scope', 'audience']);

        provider.registerGrantType(BEARER, async (ctx, next) => {
            const { assertion, requested_token_use: use } = ctx.oidc.params;
            if (use !== 'on_behalf_of') {
                throw new errors.InvalidRequest('not on behalf of anybody');
            }
            const subject = await verified(trusted, assertion)
                .catch((error) => {
                    throw new errors.InvalidGrant(error.message);
                });
            await give(provider, ctx, subject);
            await next();
        }, ['assertion', 'requested_token_use', 'scope']);
    };
}

async function verified(issuer, jwt = '') {
    const [head, claims, signature] = jwt.split('.');
    const { kid } = decoded(head);
    const { jwks_uri: uri } = await discover(issuer);
    const jwk = (await json(uri)).keys.find((one) => one.kid === kid);

    if (jwk === undefined || !crypto.verify(
        'sha256', Buffer.from(`${head}.${claims}`),
        crypto.createPublicKey({ key: jwk, format: 'jwk' }),
        Buffer.from(signature, 'base64url'),
    )) {
        throw new Error('not signed by whom we trust');
    }

    const { iss, sub, exp } = decoded(claims);
    if (iss !== issuer || exp <= Date.now() / 1000) {
        throw new Error('not theirs, or not any more');
    }
    return sub;
}

function decoded(part) {
    return JSON.parse(Buffer.from(part, 'base64url').toString());
}

async function give(provider, ctx, subject) {
    const { client, params: { scope } } = ctx.oidc;
    const account = await provider.Account.findAccount(ctx, subject);
    if (account === undefined) {
        throw new errors.InvalidGrant('nobody here');
    }

    const { accountId } = account;
    const grant = new provider.Grant({ accountId, clientId: client.clientId });
    grant.addOIDCScope(scope);

    const token = new provider.AccessToken({
        accountId, client, scope, grantId: await grant.save(), gty: 'exchange',
    });
    ctx.body = {
        access_token: await token.save(), token_type: 'Bearer',
        expires_in: token.expiration, scope,
    };
}
