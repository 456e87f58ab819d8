// A private directory, the processes that run in it, and the one way in which
// all of it ends: the janitor's standard input closes.  That happens when
// close() asks for it, and when this process dies of anything at all.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const JANITOR = fileURLToPath(new URL('janitor.sh', import.meta.url));

export class Sandbox {
    #janitor;
    #closing = null;

    constructor() {
        this.root = process.getuid() === 0;

        // what runs as another user than root must get at its own files in
        // here; only the names it was told, the directory cannot be listed
        const prefix = path.join(os.tmpdir(), 'token-injector-demo-');
        this.dir = fs.mkdtempSync(prefix);
        fs.chmodSync(this.dir, this.root ? 0o711 : 0o700);
        fs.mkdirSync(this.path('pids'), 0o700);

        this.#janitor = spawn('/bin/sh', [JANITOR, this.dir], {
            cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'],
        });
        this.#janitor.stdin.on('error', () => {});
    }

    path(...names) {
        return path.join(this.dir, ...names);
    }

    // a file that nobody else may read
    write(name, text) {
        fs.writeFileSync(this.path(name), text, { mode: 0o600 });
        return this.path(name);
    }

    read(name) {
        return fs.existsSync(this.path(name))
            ? fs.readFileSync(this.path(name), 'utf8') : '';
    }

    // every file below a name, for who searches them for secrets
    files(name) {
        const stat = fs.statSync(this.path(name));
        if (stat.isFile()) {
            return [this.path(name)];
        }
        return fs.readdirSync(this.path(name))
            .flatMap((entry) => this.files(path.join(name, entry)));
    }

    // a server, in a process group of its own
    start(command, args, { env = {}, timeout } = {}) {
        if (this.#closing) {
            throw new Error('the demo is ending');
        }
        return new Server(this, command, args, { env, timeout });
    }

    // a command that ends by itself; what it says on standard output
    async run(command, args, { input = '', env } = {}) {
        const { child } = this.start(command, args, { env, timeout: 30000 });
        const output = [];
        const errors = [];
        child.stdout.on('data', (chunk) => output.push(chunk));
        child.stderr.on('data', (chunk) => errors.push(chunk));
        child.stdin.on('error', () => {});
        child.stdin.end(input);

        const [code, signal] = await once(child, 'close');
        if (code !== 0) {
            const said = Buffer.concat(errors).toString().trim();
            throw new Error(`${path.basename(command)} ${args[0]} ended with `
                            + `${signal ?? code}${said ? `: ${said}` : ''}`);
        }
        return Buffer.concat(output).toString();
    }

    close() {
        this.#closing ??= (async () => {
            this.#janitor.stdin.end();
            if (this.#janitor.exitCode === null) {
                await once(this.#janitor, 'exit');
            }
        })();
        return this.#closing;
    }
}

class Server {
    #said = '';

    constructor(sandbox, command, args, { env, timeout }) {
        this.name = path.basename(command);
        this.child = spawn(command, args, {
            cwd: sandbox.dir, detached: true, stdio: 'pipe', timeout,
            env: { ...process.env, ...env },
        });
        this.failure = null;
        this.child.on('error', (error) => { this.failure = error; });

        for (const stream of [this.child.stdout, this.child.stderr]) {
            stream.on('data', (chunk) => {
                this.#said = (this.#said + chunk).slice(-4096);
            });
        }

        const { pid } = this.child;
        if (pid !== undefined) {
            const file = sandbox.path('pids', String(pid));
            fs.writeFileSync(file, '');
            this.child.on('exit', () => forget(file, pid));
        }
    }

    get running() {
        return this.failure === null && this.child.pid !== undefined
            && this.child.exitCode === null && this.child.signalCode === null;
    }

    // until `ready` resolves to true; its last words if it ends instead
    async until(ready) {
        await poll(async () => {
            if (!this.running) {
                throw new Error(`${this.name} did not start: ${
                    this.failure?.message ?? this.#said.trim()}`);
            }
            return ready();
        }, 10000, `${this.name} to be ready`);
    }

    signal(name) {
        process.kill(this.child.pid, name);
    }

    async stop() {
        if (this.running) {
            this.signal('SIGTERM');
            await once(this.child, 'exit');
        }
    }
}

// a group whose leader is gone may have members left: those are the janitor's
function forget(file, group) {
    try {
        process.kill(-group, 0);
    } catch {
        fs.rmSync(file, { force: true });
    }
}

// waits for a condition, not for a time; what it resolved to, if not false
export async function poll(condition, limit, what) {
    const end = performance.now() + limit;

    for (;;) {
        const value = await condition();
        if (value) {
            return value;
        }
        if (performance.now() > end) {
            throw new Error(`waited ${limit / 1000} s in vain for ${what}`);
        }
        await sleep(50);
    }
}
