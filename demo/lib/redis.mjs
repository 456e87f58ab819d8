// The store: a redis-server of the demo's own, on a unix socket, with the one
// Redis user that the module and tokenctl need.  It keeps an append-only file
// so that stopping it loses nothing, uncompressed so that it can be searched.

import crypto from 'node:crypto';
import fs from 'node:fs';

export class Redis {
    #admin = secret();
    #sandbox;
    #server = null;

    constructor(sandbox) {
        const injector = secret();

        this.#sandbox = sandbox;
        this.socket = sandbox.path('redis.sock');
        this.passwordFile = sandbox.write('redis.password', `${injector}\n`);
        this.user = 'injector';

        fs.mkdirSync(sandbox.path('redis'), 0o700);
        sandbox.write('redis.conf', `\
port             0
unixsocket       ${this.socket}
unixsocketperm   ${sandbox.root ? 777 : 700}
dir              ${sandbox.path('redis')}
appendonly       yes
save             ""
rdbcompression   no

user default  off ~* &* +@all
user admin    on #${sha256(this.#admin)} ~* &* +@all
user injector on #${sha256(injector)} ~ti:* &ti:changes \
+@read +@write +@scripting +@pubsub +@transaction +@connection
`);
    }

    async start() {
        this.#server = this.#sandbox.start('redis-server', [
            this.#sandbox.path('redis.conf'),
        ]);
        await this.#server.until(() => this.command('PING').then(
            (answer) => answer === 'PONG', () => false,
        ));
    }

    stop() {
        return this.#server.stop();
    }

    // hangs: it listens on and answers nothing
    freeze() {
        this.#server.signal('SIGSTOP');
    }

    thaw() {
        this.#server.signal('SIGCONT');
    }

    // redis-cli, which is told the password where `ps` does not look
    async command(...words) {
        return JSON.parse(await this.#sandbox.run('redis-cli', [
            '-s', this.socket, '--user', 'admin', '-e', '--json', ...words,
        ], { env: { REDISCLI_AUTH: this.#admin } }));
    }

    // every connection, as whoever stole the store would find it
    async connections() {
        const names = await this.command('KEYS', 'ti:*:c:*');
        return Promise.all(names.sort().map(async (name) => ({
            name,
            fields: await this.command('HGETALL', name),
            days: Math.round(await this.command('TTL', name) / 86400),
        })));
    }
}

function secret() {
    return crypto.randomBytes(24).toString('base64url');
}

function sha256(text) {
    return crypto.createHash('sha256').update(text).digest('hex');
}
