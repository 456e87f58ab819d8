// The third party's search API, in the shape of Microsoft Graph: messages,
// search, calendar.  It honours an access token only if the provider's
// introspection endpoint (RFC 7662) says that it is active, and it remembers
// of every call what arrived.

import crypto from 'node:crypto';

import { body, json, listen, origin, reply } from './http.mjs';
import { basic, discover } from './user.mjs';

const ROUTES = {
    'GET /v1.0/me/messages': { scope: 'Mail.Read', answer: messages },
    'GET /v1.0/me/calendarView': { scope: 'Calendars.Read', answer: calendar },
    'POST /v1.0/search/query': { scope: 'Mail.Read', answer: query },
};

// mailboxes: { account: { messages, events } }
// credentials: { id, secret }, the service's own at the provider
export async function startService(issuer, credentials, mailboxes) {
    const { introspection_endpoint: endpoint } = await discover(issuer);
    const calls = [];

    const server = await listen((request, response) => {
        serve(request).catch((error) => problem(error)).then((answer) => {
            reply(response, answer.status ?? 200, 'application/json',
                  JSON.stringify(answer.body), answer.headers);
        });
    });

    async function serve(request) {
        const text = await body(request);
        calls.push(record(request));

        const url = new URL(request.url, origin(server));
        const route = ROUTES[`${request.method} ${url.pathname}`];
        if (route === undefined) {
            throw new GraphError(404, 'ResourceNotFound', 'No such resource.');
        }

        const who = await introspect(request.headers.authorization);
        if (!who.scope.split(' ').includes(route.scope)) {
            throw new GraphError(403, 'ErrorAccessDenied',
                                 `Scope ${route.scope} is missing.`);
        }
        return { body: route.answer(mailboxes[who.sub], url, text) };
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

export function fingerprint(authorization) {
    return crypto.createHash('sha256').update(authorization).digest('hex');
}

// the headers as they came: the walk looks for secrets in them
function record(request) {
    return {
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
