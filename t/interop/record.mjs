// Reads and writes token records with jose: docs/record-format.md is all that
// it knows.  A JSON object a line in, one a line out, as record.py says.

import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual }
    from 'node:crypto';
import { createInterface } from 'node:readline';

import { CompactEncrypt, base64url, compactDecrypt } from 'jose';

const B64TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
const COMPACT = /^[\w-]+\.\.[\w-]{16}\.[\w-]*\.[\w-]{22}$/;

const utf8 = (s) => Buffer.from(s, 'utf8');
const b64u = (data) => base64url.encode(data);

function check(ok, what) {
    if (!ok) {
        throw new Error(what);
    }
}

function unb64u(text) {
    const data = Buffer.from(base64url.decode(text));
    check(b64u(data) === text, 'not canonical base64url');
    return data;
}

function enc(...fields) {
    return Buffer.concat(fields.flatMap((field) => {
        const data = Buffer.isBuffer(field) ? field : utf8(String(field));
        const len = Buffer.alloc(4);
        len.writeUInt32BE(data.length);
        return [len, data];
    }));
}

function hkdf(key, salt, info, length = 32) {
    return Buffer.from(hkdfSync('sha256', key, salt, info, length));
}

function keysOf(jwks) {
    const sealing = new Map(jwks.keys.filter((k) => k.use === 'enc')
        .map((k) => [k.kid, unb64u(k.k)]));
    const index = unb64u(jwks.keys.find((k) => k.use === 'sig').k);
    return { sealing, first: sealing.keys().next().value, index };
}

function namesOf(keys, q) {
    const who = [q.issuer, q.tenant, q.subject];
    const userKey = q.user_key === null ? null : unb64u(q.user_key);
    const user = b64u(createHmac('sha256', keys.index)
        .update(enc('user', ...who)).digest().subarray(0, 16));
    const device = userKey === null ? '-'
        : b64u(hkdf(userKey, '', 'ngx-token-injector device v1', 12));
    const ctx = createHash('sha256')
        .update(enc('ngx-token-injector ctx v1', q.kind, ...who, q.provider,
            device, q.gen)).digest();
    return { userKey, user, device, ctx };
}

// --- one layer --------------------------------------------------------------

const layerKey = (secret, salt, label, ctx) =>
    hkdf(secret, salt, enc(label, ctx));

function seal(secret, label, ctx, header, payload) {
    const salt = randomBytes(16);
    return new CompactEncrypt(payload)
        .setProtectedHeader({
            alg: 'dir', enc: 'A256GCM', salt: b64u(salt), ...header,
        })
        .encrypt(layerKey(secret, salt, label, ctx));
}

function headerOf(text, ctx) {
    check(COMPACT.test(text), 'not a compact JWE with a direct key');
    const header = JSON.parse(unb64u(text.split('.')[0]).toString());
    check(!('crit' in header) && !('zip' in header), 'crit or zip');
    check(header.alg === 'dir' && header.enc === 'A256GCM', 'alg or enc');
    check(timingSafeEqual(unb64u(header.ctx), ctx), "ctx is another's");
    check(unb64u(header.salt).length === 16, 'salt');
    return header;
}

async function unseal(text, header, secret, label, ctx) {
    check(secret !== undefined, 'no such key');
    const { plaintext } = await compactDecrypt(text,
        layerKey(secret, unb64u(header.salt), label, ctx), {
            keyManagementAlgorithms: ['dir'],
            contentEncryptionAlgorithms: ['A256GCM'],
        });
    return Buffer.from(plaintext);
}

// --- a record ---------------------------------------------------------------

async function write(keys, names, q) {
    let payload = utf8(q.token);
    let scope = q.scope === null ? {} : { scope: q.scope };
    let cty = 'token';
    const ctx = b64u(names.ctx);
    if (names.userKey !== null) {
        payload = utf8(await seal(names.userKey, 'ngx-token-injector user v1',
            names.ctx, { cty: 'token', ctx, ...scope }, payload));
        cty = 'JWE';
        scope = {};
    }
    const header = {
        kid: keys.first, typ: 'ti-record', cty, ctx, gen: q.gen, ...scope,
    };
    for (const member of ['cid', 'exp', 'iat']) {
        if (q[member] !== null) {
            header[member] = q[member];
        }
    }
    return seal(keys.sealing.get(keys.first), 'ngx-token-injector seal v1',
        names.ctx, header, payload);
}

const isTime = (x) => Number.isSafeInteger(x) && x > 0;

async function openOuter(keys, names, q) {
    const header = headerOf(q.record, names.ctx);
    check(header.typ === 'ti-record', 'typ');
    check(header.cty === (names.userKey === null ? 'token' : 'JWE'), 'cty');
    check(header.gen === q.gen, 'gen is another');
    check((header.cid ?? null) === q.cid, 'cid is another');
    check(isTime(header.exp)
        || (!('exp' in header) && q.kind === 'refresh'), 'exp');
    const payload = await unseal(q.record, header,
        keys.sealing.get(header.kid), 'ngx-token-injector seal v1', names.ctx);
    return { header, payload };
}

async function openInner(names, text) {
    const header = headerOf(text, names.ctx);
    check(header.cty === 'token', 'cty');
    const payload = await unseal(text, header, names.userKey,
        'ngx-token-injector user v1', names.ctx);
    return { header, payload };
}

function judge(kind, header, payload) {
    const type = header.token_type ?? 'Bearer';
    check(String(type).toLowerCase() === 'bearer', 'token_type');
    check(payload.length > 0 && payload.length <= 16384, 'size of the token');
    check(kind === 'pending' || B64TOKEN.test(payload.toString('latin1')),
        'not a b64token');
}

async function read(keys, names, q) {
    let result = 'reconnect-required';
    try {
        let { header, payload } = await openOuter(keys, names, q);
        const exp = header.exp ?? null;
        const iat = isTime(header.iat) ? header.iat : null;
        if (names.userKey !== null) {
            result = 'connection-required';
            ({ header, payload } = await openInner(names, payload.toString()));
            result = 'reconnect-required';
        }
        judge(q.kind, header, payload);
        return {
            token: payload.toString(), exp, iat, scope: header.scope ?? null,
        };
    } catch {
        return { error: result };
    }
}

const ops = {
    names: (keys, { user, device }, q) => ({
        user, device,
        connection: `${q.prefix}{${user}}:c:${q.provider}:${device}`,
    }),
    write: async (...args) => ({ record: await write(...args) }),
    read,
};

for await (const line of createInterface({ input: process.stdin })) {
    const q = JSON.parse(line);
    const keys = keysOf(q.keys);
    const answer = await ops[q.op](keys, namesOf(keys, q), q);
    process.stdout.write(JSON.stringify(answer) + '\n');
}
