// What the walk walks on: two providers, the search service, Redis, nginx with
// the module, and two callers who are really signed in.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { certify } from './certificate.mjs';
import { freePort, json, trust } from './http.mjs';
import { mailboxes } from './mail.mjs';
import { signingKey, startProvider } from './provider.mjs';
import { Redis } from './redis.mjs';
import { startService } from './service.mjs';
import { basic, browse, obtainTokens } from './user.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TEMPLATE = new URL('../nginx.conf', import.meta.url);

const NGINX = process.env.TI_NGINX ?? 'nginx';
const MODULE = path.resolve(process.env.TI_MODULE
    ?? `${ROOT}build/ngx_http_token_injector_module.so`);
const TOKENCTL = path.resolve(process.env.TI_TOKENCTL
    ?? `${ROOT}build/tokenctl`);

const SIGNED_IN = 'http://127.0.0.1/signed-in';
const CONNECTED = 'https://search.example.com/connected';
const AUDIENCE = 'api://search';
const OUTLOOK_SCOPE = 'offline_access Mail.Read Calendars.Read';
const APP_SCOPE = 'https://graph.microsoft.com/.default';

export class Stage {
    constructor(sandbox) {
        this.sandbox = sandbox;
        this.redis = new Redis(sandbox);
        this.mailboxes = mailboxes();
        this.callers = {};
    }

    async start() {
        for (const file of [MODULE, TOKENCTL]) {
            if (!fs.existsSync(file)) {
                throw new Error(`${file} is not built; run \`make\``);
            }
        }

        await this.startProviders();
        this.service = await startService(this.outlook.issuer,
                                          this.credentials, this.mailboxes);
        await this.redis.start();
        await this.tokenctl('keygen', ['--out',
                                       this.sandbox.path('sealing.jwks')]);
        await this.startNginx();

        for (const name of Object.keys(this.accounts)) {
            this.callers[name] = await this.meet(name);
        }
    }

    async startProviders() {
        const secret = () => crypto.randomBytes(24).toString('base64url');
        const account = (name) => ({
            password: secret(),
            claims: {
                email: `${name}@example.com`, groups: ['calendar-users'],
            },
        });

        this.accounts = { alice: account('alice'), bob: account('bob') };
        this.page = { id: 'search-page', redirectUri: SIGNED_IN };
        this.injector = { id: 'injector', secret: secret() };
        this.approvals = { id: 'approvals', secret: secret() };
        this.credentials = { id: 'graph', secret: secret() };
        for (const { id, secret } of [this.injector, this.approvals]) {
            this.sandbox.write(`${id}.secret`, `${secret}\n`);
        }

        const tls = await certify(this.sandbox, 'corp');
        trust(tls.authority);
        this.corpKeys = [await signingKey()];

        this.corp = await startProvider({
            tls,
            keys: this.corpKeys,
            accounts: this.accounts,
            scopes: ['openid'],
            resource: { name: AUDIENCE, scope: 'search' },
            clients: [{
                client_id: this.page.id,
                token_endpoint_auth_method: 'none',
                redirect_uris: [SIGNED_IN],
            }],
        });

        this.outlook = await startProvider({
            tls,
            accounts: this.accounts,
            scopes: ['openid', 'email', ...OUTLOOK_SCOPE.split(' '), APP_SCOPE],
            more: { clientCredentials: { enabled: true } },
            clients: [{
                client_id: this.injector.id,
                client_secret: this.injector.secret,
                grant_types: ['authorization_code', 'refresh_token'],
                redirect_uris: [CONNECTED],
            }, {
                client_id: this.approvals.id,
                client_secret: this.approvals.secret,
                grant_types: ['client_credentials'],
                response_types: [],
                redirect_uris: [],
            }, {
                client_id: this.credentials.id,
                client_secret: this.credentials.secret,
                grant_types: [],
                response_types: [],
                redirect_uris: [],
            }],
        });
    }

    // a new key signs; how many of the old ones are still published
    async rotateCorp(old) {
        this.corpKeys = [await signingKey(), ...this.corpKeys.slice(0, old)];
        this.corp.rotate(this.corpKeys);
    }

    // how often nginx asked for corp's keys
    get fetches() {
        return this.corp.requests.filter((url) => url === '/jwks').length;
    }

    async startNginx() {
        const { dir } = this.sandbox;
        const template = fs.readFileSync(TEMPLATE, 'utf8');
        const port = await freePort();

        this.limit = boundedTime(template);
        this.url = `http://127.0.0.1:${port}`;

        const values = {
            MODULE, DIR: dir, PORT: port,
            CORP: this.corp.issuer,
            OUTLOOK: this.outlook.issuer,
            SERVICE: new URL(this.service.url).host,
        };
        this.sandbox.write('nginx.conf', template.replace(
            /@([A-Z]+)@/g, (_, name) => values[name],
        ));
        fs.mkdirSync(this.sandbox.path('tmp'));

        this.nginx = this.sandbox.start(NGINX, [
            '-p', dir, '-c', this.sandbox.path('nginx.conf'),
            '-e', this.sandbox.path('error.log'), '-g', 'daemon off;',
        ]);

        // written when it listens
        await this.nginx.until(() => fs.existsSync(
            this.sandbox.path('nginx.pid'),
        ));
    }

    // the search page's part: the device's own key, and the caller's JWT
    async meet(name) {
        const caller = {
            name,
            password: this.accounts[name].password,
            userKey: (await this.tokenctl('userkey', [])).trim(),
            jwts: [],
        };
        await this.signIn(caller);
        return caller;
    }

    async signIn(caller) {
        const tokens = await obtainTokens(this.corp.issuer, this.page, caller, {
            scope: 'openid search', resource: AUDIENCE,
        });
        caller.jwt = tokens.access_token;
        caller.jwts.push(caller.jwt);
    }

    // the caller's browser, sent to the third party: what it comes back with
    consent(caller, url, saw) {
        return browse(url, CONNECTED, caller, saw);
    }

    // the tokens that outlook gave for this caller, the newest first
    tokens(caller) {
        return this.outlook.issued.filter(({ account }) => (
            account === caller.name
        )).reverse();
    }

    // what outlook says of a token
    async active({ token }) {
        const { id, secret } = this.credentials;
        const told = await json(`${this.outlook.issuer}/token/introspection`, {
            method: 'POST',
            headers: { Authorization: basic(id, secret) },
            form: new URLSearchParams({ token }),
        });
        return told.active;
    }

    // how often nginx asked outlook for tokens
    get grants() {
        return this.outlook.requests.filter((url) => url === '/token').length;
    }

    list() {
        return this.tokenctl('list', [
            '--server', `unix:${this.redis.socket}`,
            '--user', this.redis.user,
            '--password-file', this.redis.passwordFile,
            '--keys', this.sandbox.path('sealing.jwks'), '--json',
        ]);
    }

    // of the mail in all mailboxes: this caller's, and everybody else's
    ownAndOthers(name) {
        const others = Object.keys(this.mailboxes)
            .filter((one) => one !== name);
        return [
            this.subjects(name),
            others.flatMap((one) => this.subjects(one)),
        ];
    }

    subjects(name) {
        return this.mailboxes[name].messages.map(({ subject }) => subject);
    }

    tokenctl(verb, args, input) {
        return this.sandbox.run(TOKENCTL, [verb, ...args], { input });
    }
}

// the design's bound on a refusal while the store is away, for what
// nginx.conf says
function boundedTime(template) {
    const [connect, answer] = ['connect_timeout', 'timeout'].map((name) => (
        Number(new RegExp(`^ *${name} +(\\d+)ms;`, 'm').exec(template)[1])
    ));
    return 2 * (connect + answer);
}
