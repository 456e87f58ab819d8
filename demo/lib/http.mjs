// HTTP servers of this process, on loopback and free ports, and those who ask
// them.

import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { once } from 'node:events';

// port: any, unless said; tls: { cert, key }, where it speaks https
export async function listen(handler, { port = 0, tls } = {}) {
    const server = tls === undefined ? http.createServer(handler)
        : https.createServer(tls, handler);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
}

export function origin(server) {
    const scheme = server instanceof https.Server ? 'https' : 'http';
    return `${scheme}://127.0.0.1:${server.address().port}`;
}

// what a caller of ask() says that it is
export const BROWSER = 'a browser';

let trusted;

// for https, from now on
export function trust(authority) {
    trusted = authority;
}

// fetch() cannot be told whom to trust; resolves to { status, headers, text }
export async function ask(url, { method = 'GET', headers = {}, form } = {}) {
    const { request } = new URL(url).protocol === 'https:' ? https : http;
    const asking = request(url, {
        method, ca: trusted, headers: { 'User-Agent': BROWSER, ...headers },
    });

    if (form !== undefined) {
        asking.setHeader('Content-Type', 'application/x-www-form-urlencoded');
    }
    asking.end(form?.toString());

    const [response] = await once(asking, 'response');
    return {
        status: response.statusCode,
        headers: response.headers,
        text: await body(response),
    };
}

export async function json(url, options) {
    const { status, text } = await ask(url, options);
    if (status < 200 || status > 299) {
        throw new Error(`${url}: ${status} ${text}`);
    }
    return JSON.parse(text);
}

// a port that was free a moment ago: for servers that cannot be told 0
export async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

export async function body(request) {
    const chunks = [];
    for await (const chunk of request) {
        chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
}

export function reply(response, status, type, text, headers = {}) {
    response.writeHead(status, {
        'Content-Type': type,
        'Content-Length': Buffer.byteLength(text),
        ...headers,
    });
    response.end(text);
}
