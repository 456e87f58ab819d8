// The third party's APIs, in the shape of Microsoft's: Graph (messages, search,
// calendar, drive) and Exchange's older one.  It honours an access token only
// if the provider's introspection endpoint (RFC 7662) says that it is active,
// and it remembers of every call what arrived.

import crypto from 'node:crypto';

import { body, json, listen, origin, reply } from './http.mjs';
import { basic, discover } from './user.mjs';

const EWS_SCOPES = [
    'EWS.AccessAsUser.All', 'https://outlook.office365.com/.default',
];

// method, path below the origin, scopes one of which it takes, answer
const ROUTES = [
    ['GET', '/v1.0/me/messages', ['Mail.Read'], messages],
    ['GET', '/v1.0/me/calendarView', ['Calendars.Read'], calendar],
    ['POST', '/v1.0/search/query', ['Mail.Read'], query],
    ['GET', '/v1.0/users/:name/messages',
     ['https://graph.microsoft.com/.default'],
     (mailbox, url, text, { words, mailboxes }) => (
         messages(mailboxes[words[0]] ?? missing(), url)
     )],
    ...drive('/v1.0/me/drive'),
    ...shares('/v1.0/shares'),
    ['POST', '/EWS/Exchange.asmx', EWS_SCOPES, exchange],
].map(([method, path, scopes, answer]) => ({
    method, scopes, answer,
    path: new RegExp(`^${path.replace(/:\w+/g, '([^/]+)')}$`),
}));

// mailboxes: { account: { messages, events, files } }
// credentials: { id, secret }, the service's own at the provider
export async function startService(issuer, credentials, mailboxes, port) {
    const { introspection_endpoint: endpoint } = await discover(issuer);
    const calls = [];

    const server = await listen((request, response) => {
        serve(request).catch((error) => problem(error)).then((answer) => {
            reply(response, answer.status ?? 200,
                  answer.type ?? 'application/json',
                  answer.type ? answer.body : JSON.stringify(answer.body),
                  answer.headers);
        });
    }, { port });

    async function serve(request) {
        const text = await body(request);
        const call = record(request);
        calls.push(call);

        const url = new URL(request.url, origin(server));
        const { route, words } = find(request.method, url.pathname);
        const who = await introspect(request.headers.authorization);
        call.who = who.sub ?? who.client_id;

        if (!who.scope.split(' ').some((one) => route.scopes.includes(one))) {
            throw new GraphError(403, 'ErrorAccessDenied', `One of ${
                route.scopes.join(', ')} is missing.`);
        }

        const answer = route.answer(mailboxes[who.sub], url, text, {
            words, headers: request.headers, mailboxes, who,
        });
        return answer.body === undefined ? { body: answer } : answer;
    }

    async function introspect(authorization) {
        const [, token] = /^Bearer ([\w.~+/-]+=*)$/.exec(authorization) ?? [];
        const told = token === undefined ? { active: false }
            : await json(endpoint, {
                method: 'POST',
                headers: {
                    Authorization: basic(credentials.id, credentials.secret),
                },
                form: new URLSearchParams({ token }),
            });

        if (told.active !== true) {
            throw new GraphError(401, 'InvalidAuthenticationToken',
                                 'The access token is not active.');
        }
        return told;
    }

    return { server, calls, url: `${origin(server)}/v1.0/` };
}

function find(method, path) {
    for (const route of ROUTES.filter((one) => one.method === method)) {
        const found = route.path.exec(path);
        if (found !== null) {
            return { route, words: found.slice(1) };
        }
    }
    throw new GraphError(404, 'ResourceNotFound', 'No such resource.');
}

export function fingerprint(authorization) {
    return crypto.createHash('sha256').update(authorization).digest('hex');
}

// the headers as they came: the walk looks for secrets in them
function record(request) {
    return {
        method: request.method,
        url: request.url,
        authorization: fingerprint(request.headers.authorization ?? ''),
        userKey: 'x-user-key' in request.headers,
        head: `${request.url}\n${request.rawHeaders.join('\n')}`,
    };
}

class GraphError extends Error {
    constructor(status, code, message) {
        super(message);
        this.status = status;
        this.code = code;
    }
}

function problem(error) {
    const { status = 500, code = 'InternalServerError', message } = error;
    return {
        status,
        body: { error: { code, message } },
        headers: status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {},
    };
}

function matching(mailbox, words) {
    return mailbox.messages.filter(({ subject, bodyPreview }) => (
        `${subject} ${bodyPreview}`.toLowerCase().includes(words.toLowerCase())
    ));
}

// GET /me/messages?$search="words"
function messages(mailbox, url) {
    const words = url.searchParams.get('$search') ?? '';
    return {
        '@odata.context': `${url.origin}/v1.0/$metadata#users/messages`,
        value: matching(mailbox, words.replace(/^"|"$/g, '')),
    };
}

// GET /me/calendarView?startDateTime=…&endDateTime=…
function calendar(mailbox, url) {
    const [start, end] = ['startDateTime', 'endDateTime'].map((name) => (
        Date.parse(url.searchParams.get(name))
    ));
    if (!(start < end)) {
        throw new GraphError(400, 'ErrorInvalidParameter',
                             'startDateTime and endDateTime are a period.');
    }
    return {
        '@odata.context': `${url.origin}/v1.0/$metadata#users/calendarView`,
        value: mailbox.events.filter((event) => (
            Date.parse(`${event.end.dateTime}Z`) > start
            && Date.parse(`${event.start.dateTime}Z`) < end
        )),
    };
}

// POST /search/query {"requests":[{"entityTypes":["message"],
//                     "query":{"queryString":"words"},"from":0,"size":25}]}
function query(mailbox, url, text) {
    return { value: requests(text).map(({ query: { queryString }, from = 0,
                                          size = 25 }) => {
        const hits = matching(mailbox, queryString);
        return {
            searchTerms: queryString.split(' '),
            hitsContainers: [{
                total: hits.length,
                moreResultsAvailable: hits.length > from + size,
                hits: hits.slice(from, from + size).map((message, i) => ({
                    hitId: message.id,
                    rank: from + i + 1,
                    summary: message.bodyPreview,
                    resource: {
                        '@odata.type': '#microsoft.graph.message',
                        ...message,
                    },
                })),
            }],
        };
    }) };
}

function requests(text) {
    try {
        const list = JSON.parse(text).requests;
        if (list.every((one) => typeof one.query.queryString === 'string')) {
            return list;
        }
    } catch {
        // falls through: it is not what was asked for, however it is not
    }
    throw new GraphError(400, 'BadRequest', 'Not a search request.');
}

// Files, as of OneDrive and SharePoint.  One changes them by POST: a link that
// was made is among the permissions from then on, and a share of its own.
function drive(root) {
    const read = ['Files.Read', 'Files.ReadWrite'];
    const item = `${root}/items/:id`;

    return [
        ['GET', `${root}/root`, read, (mailbox, url) => ({
            '@odata.context': `${url.origin}/v1.0/$metadata#users/drive/root`,
            id: 'root', name: 'root', root: {},
            folder: { childCount: mailbox.files.length },
        })],
        ['GET', `${root}/root/children`, read, (mailbox) => ({
            value: mailbox.files.map(driveItem),
        })],
        ['GET', item, read, (mailbox, url, text, { words }) => (
            driveItem(file(mailbox, words[0]))
        )],
        ['GET', `${item}/thumbnails`, read,
         (mailbox, url, text, { words }) => ({
             value: [{ id: '0', medium: {
                 height: 96, width: 96, url: `${url.href}/0/medium/content`,
             } }],
         })],
        ['GET', `${item}/thumbnails/0/medium/content`, read,
         (mailbox, url, text, { words }) => thumbnail(file(mailbox, words[0]))],
        ['POST', `${item}/preview`, read,
         (mailbox, url, text, { words }) => ({
             getUrl: `${url.origin}/preview/${file(mailbox, words[0]).id}/${
                 crypto.randomUUID()}`,
             postParameters: null, postUrl: null,
         })],
        ['POST', `${item}/createLink`, ['Files.ReadWrite'], createLink],
        ['GET', `${item}/permissions`, read,
         (mailbox, url, text, { words }) => ({
             value: [{
                 id: 'owner', roles: ['owner'],
             }, ...file(mailbox, words[0]).links],
         })],
    ];
}

function shares(root) {
    const read = ['Files.Read', 'Files.ReadWrite'];
    const shared = (share, mailboxes) => {
        const found = Object.values(mailboxes)
            .flatMap(({ files }) => files)
            .find(({ links }) => links.some(({ shareId }) => shareId === share));
        return found ?? missing();
    };

    return [
        ['GET', `${root}/:share/driveItem`, read,
         (mailbox, url, text, { words, mailboxes }) => (
             driveItem(shared(words[0], mailboxes))
         )],
        ['GET', `${root}/:share/driveItem/thumbnails/0/medium/content`, read,
         (mailbox, url, text, { words, mailboxes }) => (
             thumbnail(shared(words[0], mailboxes))
         )],
    ];
}

function file(mailbox, id) {
    return mailbox.files.find((one) => one.id === id) ?? missing();
}

function missing() {
    throw new GraphError(404, 'itemNotFound', 'The resource is not there.');
}

function driveItem({ id, name, content }) {
    return {
        id, name, size: content.length, file: { mimeType: 'image/png' },
        webUrl: `https://contoso.example.com/personal/${name}`,
    };
}

function thumbnail({ content }) {
    return { type: 'image/png', body: content };
}

function createLink(mailbox, url, text, { words }) {
    const { type, scope } = JSON.parse(text);
    const shareId = `u!${crypto.randomBytes(12).toString('base64url')}`;
    const link = {
        id: crypto.randomUUID(), roles: [type === 'edit' ? 'write' : 'read'],
        shareId, link: {
            type, scope, webUrl: `https://contoso.example.com/:i:/g/${shareId}`,
        },
    };
    file(mailbox, words[0]).links.push(link);
    return { status: 201, body: link };
}

// Exchange Web Services, as much of FindItem as it takes: SOAP, for the mailbox
// that a header of the request names
function exchange(mailbox, url, text, { headers, mailboxes, who }) {
    const name = headers['x-anchormailbox']?.split('@')[0];

    if (!text.includes('FindItem') || mailboxes[name] === undefined) {
        throw new GraphError(500, 'ErrorInvalidRequest', 'No such mailbox.');
    }
    return {
        type: 'text/xml; charset=utf-8',
        body: `<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
<m:FindItemResponse for="${name}" by="${who.sub ?? who.client_id}">${
    mailboxes[name].messages.map(({ subject }) => (
        `<t:Subject>${subject}</t:Subject>`
    )).join('')}</m:FindItemResponse>
</s:Body></s:Envelope>
`,
    };
}
