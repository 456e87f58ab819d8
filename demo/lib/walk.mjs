// The walk: what a caller, an operator and the third party see, step by step.

import fs from 'node:fs';

import { poll } from './sandbox.mjs';
import { fingerprint } from './service.mjs';

const SEARCH = '/search/outlook/me/messages?$search="offsite"';
const BRIEF = '/search/outlook-brief/me/messages?$search="offsite"';
const LAUNCH = '/search/outlook/me/messages?$search="launch"';
const QUERY = '/search/outlook/search/query';
const APPROVALS = '/approvals/alice/messages';

const MANY = (n) => `/search/outlook/me/messages?$search="launch"&n=${n}`;

const ANSWERED_FROM_CACHE = /; hit;/;

const CONNECTIONS = '/connections';
const OUTLOOK = '/connections/outlook';

const BRIEFLY = 4;
const HOUR = 3600;

const OK = { status: 200 };
const CREATED = { status: 201 };
const GONE = { status: 204 };
const MISS = { status: 200, cache: 'MISS' };
const HIT = { status: 200, cache: 'HIT' };
const MISSING = { status: 401, result: 'token-missing' };
const INVALID = { status: 401, result: 'token-invalid' };
const UNCONNECTED = { status: 403, result: 'connection-required' };
const SPENT = { status: 400, result: 'state-invalid' };
const UNAVAILABLE = { status: 503, result: 'store-unavailable' };

export async function walk(stage, report) {
    const { alice, bob } = stage.callers;

    await report.step('nginx asks corp for its keys', async (step) => {
        step.note(`nginx.conf names ${stage.corp.issuer}, an authority that has `
                  + 'signed\nits certificate, and no key');
        await poll(() => stage.fetches > 0, 10000, 'the keys to be fetched');
        const asked = [...stage.corp.requests];
        asked.forEach((url) => step.action(`GET ${url}`, 'nginx'));
        step.check(asked.length === 2, 'each once, for both workers',
                   `expected 2 requests, got ${asked.length}`);
    });

    await report.step('A search without a JWT', async (step) => {
        const answer = await step.ask(null, SEARCH);
        step.expect(answer, MISSING);
        const challenge = answer.headers.get('WWW-Authenticate');
        step.check(/^Bearer\b/.test(challenge),
                   `the challenge is ${challenge}`, 'expected Bearer');
    });

    await report.step('Alice, signed in, but not connected to Outlook',
                      async (step) => {
        step.note(`her JWT: ${alice.jwt.length} bytes, RS256, from corp; `
                  + 'her user key: 32 random bytes of her device');
        step.expect(await step.ask(alice, SEARCH), UNCONNECTED);
        unused(stage, step, 0);
    });

    await report.step('Alice connects Outlook', async (step) => {
        await connect(stage, step, alice);
        await showStore(stage, step);
        searchFor(stage, step, 'Redis', ['redis']);
    });

    await report.step('The search', async (step) => {
        const answer = await step.ask(alice, SEARCH);
        step.expect(answer, MISS);
        belongsTo(stage, step, answer, alice);
        sawOnlyTheirs(stage, step, alice);
    });

    await report.step('What is connected, until when', (step) => (
        status(stage, step, alice)
    ));

    await report.step('The same search again', async (step) => {
        const before = stage.service.calls.length;
        const answer = await step.ask(alice, SEARCH);
        step.expect(answer, HIT);
        belongsTo(stage, step, answer, alice);
        unused(stage, step, before);
        step.check(/^\d+$/.test(answer.headers.get('Age')),
                   `Age: ${answer.headers.get('Age')}`, 'expected seconds');
    });

    await report.step('The same where answers are kept for two seconds',
                      (step) => expires(stage, step, alice));

    await report.step('A search by POST, its body in the cache key',
                      async (step) => {
        step.expect(await step.ask(alice, QUERY, words('offsite')), MISS);
        step.expect(await step.ask(alice, QUERY, words('offsite')), HIT);
        const other = await step.ask(alice, QUERY, words('launch'));
        step.expect(other, MISS);
        const { total } = other.json.value[0].hitsContainers[0];
        step.check(total === 1, 'the other body has the other answer',
                   `expected 1 hit, got ${other.text}`);
    });

    await report.step('The meetings of the next two days, with join links',
                      (step) => meetings(step, alice));

    await report.step('Bob has a connection of his own, or none',
                      async (step) => {
        const before = stage.service.calls.length;
        step.expect(await step.ask(bob, SEARCH), UNCONNECTED);
        unused(stage, step, before);

        step.note(`outlook gives him a token for ${BRIEFLY} seconds`);
        stage.outlook.life(BRIEFLY);
        await connect(stage, step, bob);
        stage.outlook.life(HOUR);
        const answer = await step.ask(bob, SEARCH);
        step.expect(answer, MISS);
        belongsTo(stage, step, answer, bob);
        sawOnlyTheirs(stage, step, bob);
    });

    await report.step('Twenty requests find that his token has ended',
                      (step) => renewal(stage, step, bob));

    await report.step('Both again, and Alice with another user key',
                      async (step) => {
        const before = stage.service.calls.length;
        for (const caller of [alice, bob]) {
            const answer = await step.ask(caller, SEARCH);
            step.expect(answer, HIT);
            belongsTo(stage, step, answer, caller);
        }
        step.expect(await step.ask({ ...alice, userKey: bob.userKey }, SEARCH,
                                   { as: "alice, bob's user key" }),
                    UNCONNECTED);
        unused(stage, step, before);
    });

    await report.step('An application that speaks for itself', (step) => (
        appOnly(stage, step, [alice, bob])
    ));

    await report.step('corp signs with a new key', async (step) => {
        const before = stage.fetches;
        await stage.rotateCorp(1);
        await stage.signIn(alice);
        step.note('alice signed in again; what signed her JWT, nginx has '
                  + 'never seen');
        goesOn(stage, step, alice, await step.ask(alice, SEARCH));
        goesOn(stage, step, bob,
               await step.ask(bob, SEARCH, { as: "bob, of the old key" }));
        fetchedOnce(stage, step, before);
    });

    await report.step('Redis hangs', async (step) => {
        stage.redis.freeze();
        try {
            await unavailable(stage, step, alice);
        } finally {
            stage.redis.thaw();
        }
        step.note('Redis goes on');
        await healthyAgain(stage, step, alice);
    });

    await report.step('Redis stops', async (step) => {
        await stage.redis.stop();
        await unavailable(stage, step, alice);
        await stage.redis.start();
        step.note('Redis is started again');
        await healthyAgain(stage, step, alice);
    });

    await report.step('corp withdraws the old keys', async (step) => {
        const before = stage.fetches;
        await stage.rotateCorp(0);
        await stage.signIn(alice);
        goesOn(stage, step, alice, await step.ask(alice, SEARCH));
        fetchedOnce(stage, step, before);

        step.expect(await step.ask(bob, SEARCH, { as: 'bob, of the old key' }),
                    INVALID);
        await stage.signIn(bob);
        step.note('bob signed in again');
        goesOn(stage, step, bob, await step.ask(bob, SEARCH));
    });

    await report.step('Alice disconnects', (step) => (
        disconnect(stage, step, alice)
    ));

    await report.step('What was written down meanwhile', async (step) => {
        searchFor(stage, step, 'Redis', ['redis']);
        searchFor(stage, step, "nginx's logs", ['access.log', 'error.log']);
        const alarm = stage.sandbox.read('error.log').split('\n')
            .find((line) => /\[(alert|emerg|crit)\]|on signal/.test(line));
        step.check(alarm === undefined, 'and no alarm in its error log',
                   `found ${alarm}`);
    });
}

// as a search page does it, and the browser that it sends to outlook
async function connect(stage, step, caller) {
    const begun = await step.ask(caller, OUTLOOK, { method: 'POST' });
    if (!step.expect(begun, CREATED)) {
        return;
    }

    const url = new URL(begun.json.authorization_url);
    const pages = [];
    step.action(`GET ${url.origin}${url.pathname}?…`, `${caller.name}'s browser`);
    const back = await stage.consent(caller, url, (page) => pages.push(page));
    step.check(back.has('code'), `outlook's pages: ${pages.join(', ')}; and back `
               + 'with a code', `it came back with ${back}`);

    const answer = await step.ask(caller, `${OUTLOOK}/code`, {
        body: JSON.stringify(Object.fromEntries(back)),
        shown: '{"code":…,"state":…,"iss":…}',
    });
    if (step.expect(answer, CREATED)) {
        const { state, account } = answer.json;
        step.check(state === 'connected', `${state} as ${account}`,
                   `expected to be connected, got ${answer.text}`);
    }

    const again = await step.ask(caller, `${OUTLOOK}/code`, {
        body: JSON.stringify(Object.fromEntries(back)),
        shown: 'once more', as: `whoever saw ${caller.name}'s URL`,
    });
    step.expect(again, SPENT);
}

// as everybody may see it: no user key is needed
async function status(stage, step, caller) {
    const answer = await step.ask({ ...caller, userKey: undefined },
                                  CONNECTIONS,
                                  { as: `${caller.name}, any device` });
    step.expect(answer, OK);

    const own = await step.ask(caller, CONNECTIONS);
    const [{ state, account, expires_at: end, refreshable }]
        = own.json.connections;
    const minutes = Math.round((end - Date.now() / 1000) / 60);
    step.check(state === 'connected' && minutes === 60,
               `${state} as ${account}, the token good for ${minutes} minutes, ${
                   refreshable ? '' : 'not '}refreshable`,
               `got ${own.text}`);

    step.action('tokenctl list', 'operator');
    const [line] = (await stage.list()).trim().split('\n').map(JSON.parse);
    step.check(line.provider === 'outlook' && line.state === 'connected',
               `${line.provider}, ${line.state}, “${line.scope}”`,
               `got ${JSON.stringify(line)}`);
}

async function appOnly(stage, step, callers) {
    const before = stage.grants;
    const asks = Array.from({ length: 20 }, (_, i) => callers[i % 2]);
    step.action(`GET ${APPROVALS}`, '20 requests at once');
    const answers = await Promise.all(asks.map((caller) => (
        step.ask(caller, APPROVALS, { quiet: true })
    )));
    step.check(answers.every((answer) => answer.matches(OK)), '200, all of them',
               `got ${answers.map(({ status }) => status)}`);
    step.check(stage.grants - before === 1,
               'one token for all, fetched once: client credentials',
               `fetched ${stage.grants - before} times`);
}

// refresh tokens are good once at outlook: twice would end the connection
async function renewal(stage, step, caller) {
    const before = stage.grants;
    const [ended] = stage.tokens(caller)
        .filter(({ what }) => what === 'access_token');
    step.note('until outlook says that it is over');
    await poll(async () => !(await stage.active(ended)), 10000,
               'the token to end');

    step.action(`GET ${MANY(1)} and so on`, '20 requests at once');
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => (
        step.ask(caller, MANY(i + 1), { quiet: true })
    )));
    step.check(answers.every((answer) => answer.matches(OK)),
               '200, all of them', `got ${answers.map(({ status }) => status)}`);
    step.check(stage.grants - before === 1,
               'one call to outlook renewed it for all',
               `it took ${stage.grants - before}`);
    sawOnlyTheirs(stage, step, caller);

    const own = await step.ask(caller, CONNECTIONS, { quiet: true });
    const [{ state, expires_at: end, refreshable }] = own.json.connections;
    const minutes = Math.round((end - Date.now() / 1000) / 60);
    step.check(state === 'connected' && refreshable && minutes === 60,
               `${state}, good for ${minutes} minutes, refreshable`,
               `got ${own.text}`);
}

async function disconnect(stage, step, caller) {
    const before = stage.service.calls.length;
    const tokens = stage.tokens(caller);
    step.expect(await step.ask(caller, OUTLOOK, { method: 'DELETE' }), GONE);
    step.expect(await step.ask(caller, SEARCH), UNCONNECTED);
    unused(stage, step, before);

    await poll(async () => !(await stage.active(tokens[0])), 5000,
               'outlook to revoke');
    const active = await Promise.all(tokens.map((one) => stage.active(one)));
    step.check(!active.includes(true),
               'outlook has revoked the refresh token and the access token',
               `it has not: ${active}`);
    const { connections } = (await step.ask(caller, CONNECTIONS)).json;
    step.check(connections[0].state === 'none', 'outlook: none',
               `got ${JSON.stringify(connections)}`);
}

// as whoever stole the store would find it
async function showStore(stage, step) {
    const connections = await stage.redis.connections();
    step.check(connections.length === 1, 'what Redis now holds:',
               `expected one connection, got ${connections.length}`);
    for (const { name, fields, days } of connections) {
        step.note(`${name}  (for ${days} days)`);
        for (const [field, value] of Object.entries(fields).sort()) {
            const size = value.length > 60 ? ` ${value.length} bytes` : '';
            step.note(`  ${field.padEnd(8)} ${value.slice(0, 50)}${
                size && `…${size}`}`);
        }
    }
}

// every secret so far, the servers' own too, in every spelling that is likely
function searchFor(stage, step, where, names) {
    const secrets = Object.values(stage.callers).flatMap((caller) => [
        ...caller.jwts.map((jwt) => ['a JWT', jwt]),
        ['a user key', caller.userKey],
        ['an address', `${caller.name}@example.com`],
        ...stage.subjects(caller.name).map((subject) => ['mail', subject]),
    ]).concat(
        ['injector', 'approvals'].map((id) => ['a client secret',
                                               stage[id].secret]),
        stage.outlook.issued.map(({ what, token }) => [what, token]),
    );

    const files = names.flatMap((name) => stage.sandbox.files(name));
    const texts = files.map((file) => fs.readFileSync(file));
    const found = secrets.filter(([, secret]) => spellings(secret).some(
        (spelling) => texts.some((text) => text.includes(spelling)),
    )).map(([what]) => what);
    const bytes = texts.reduce((sum, text) => sum + text.length, 0);

    step.check(bytes > 0 && found.length === 0,
               `no token, no JWT, no user key, no mail in ${where} (${
                   bytes} bytes searched)`,
               bytes === 0 ? 'there was nothing to search'
                   : `found ${found.join(', ')}`);
}

function spellings(secret) {
    const raw = Buffer.from(secret);
    return [raw, ...['base64', 'base64url', 'hex'].map(
        (encoding) => Buffer.from(raw.toString(encoding)),
    )];
}

function unused(stage, step, before) {
    const calls = stage.service.calls.length - before;
    step.check(calls === 0, 'the service was not called',
               `it was called ${calls} times`);
}

function goesOn(stage, step, caller, answer) {
    step.expect(answer, HIT);
    belongsTo(stage, step, answer, caller);
}

function fetchedOnce(stage, step, before) {
    const asked = stage.fetches - before;
    step.check(asked === 1, 'nginx asked for the keys once more: '
               + `${stage.fetches} times so far`, `it asked ${asked} times`);
}

// of all subjects in all mailboxes, the answer has this caller's alone
function belongsTo(stage, step, answer, caller) {
    const [own, others] = stage.ownAndOthers(caller.name).map(
        (subjects) => subjects.filter((one) => answer.text.includes(one)),
    );
    step.check(own.length > 0 && others.length === 0,
               `${caller.name}'s mail, nobody else's: “${own[0] ?? ''}”`,
               `got ${answer.text}`);
}

function sawOnlyTheirs(stage, step, caller) {
    const call = stage.service.calls.at(-1);
    const { token } = stage.tokens(caller)
        .find(({ what }) => what === 'access_token');
    const theirs = fingerprint(`Bearer ${token}`);

    step.check(call.authorization === theirs,
               `the service saw ${caller.name}'s Outlook token`,
               'it saw another Authorization');
    step.check(!call.userKey && [caller.jwt, caller.userKey].every(
        (secret) => !call.head.includes(secret),
    ), `neither ${caller.name}'s JWT nor the user key`,
    'one of them was in its request');
}

async function expires(stage, step, caller) {
    const before = stage.service.calls.length;
    step.expect(await step.ask(caller, BRIEF), MISS);
    step.expect(await step.ask(caller, BRIEF), HIT);

    const start = performance.now();
    const answer = await poll(async () => {
        const again = await step.ask(caller, BRIEF, { quiet: true });
        const hit = ANSWERED_FROM_CACHE.test(again.cacheStatus);
        return hit ? null : again;
    }, 5000, 'the answer to be too old');
    step.action('… and again until it is not answered from the cache',
                caller.name);
    step.expect(answer, MISS);

    const calls = stage.service.calls.length - before;
    step.check(calls === 2, `after ${
        ((performance.now() - start) / 1000).toFixed(1)
    } s the service was called again`,
    `expected 2 calls in all, got ${calls}`);
}

function words(queryString) {
    return { body: JSON.stringify({
        requests: [{ query: { queryString }, entityTypes: ['message'] }],
    }) };
}

async function meetings(step, caller) {
    const day = (ahead) => new Date(Date.now() + ahead * 86400 * 1000)
        .toISOString().slice(0, 16);
    const answer = await step.ask(
        caller, '/search/outlook/me/calendarView'
        + `?startDateTime=${day(0)}Z&endDateTime=${day(2)}Z`,
    );
    if (step.expect(answer, MISS)) {
        const [{ subject, onlineMeeting }] = answer.json.value;
        step.check(onlineMeeting.joinUrl.includes(caller.name),
                   `${subject}: ${onlineMeeting.joinUrl}`,
                   `expected ${caller.name}'s meeting`);
    }
}

// What was admitted a moment ago may be served until local_valid is over; from
// then on it is refused.  No answer takes longer than the bound.
async function unavailable(stage, step, caller) {
    let slowest = 0;
    step.action(`GET ${LAUNCH}`, caller.name);
    const answer = await poll(async () => {
        const again = await step.ask(caller, LAUNCH, { quiet: true });
        slowest = Math.max(slowest, again.ms);
        return again.matches(OK) ? null : again;
    }, 5000, 'a refusal');

    step.expect(answer, UNAVAILABLE);
    step.check(slowest <= stage.limit,
               `no answer took longer than ${slowest.toFixed(0)} ms, of ${
                   stage.limit} allowed`,
               `it took ${slowest.toFixed(0)} ms`);
    const retry = answer.headers.get('Retry-After');
    step.check(/^[1-5]$/.test(retry), `Retry-After: ${retry}`,
               'expected 1 to 5 seconds');
}

async function healthyAgain(stage, step, caller) {
    const start = performance.now();
    const answer = await poll(async () => {
        const again = await step.ask(caller, LAUNCH, { quiet: true });
        return again.matches(UNAVAILABLE) ? null : again;
    }, 10000, 'the store to be used again');
    step.check(step.expect(answer, OK), `healthy again by itself, ${
        ((performance.now() - start) / 1000).toFixed(1)} s later`, 'it is not');
    belongsTo(stage, step, answer, caller);
}
