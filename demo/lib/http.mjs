// HTTP servers of this process, on loopback and free ports, and what they
// have in common.

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
