// The demo from start to end.  Whatever happens, the sandbox is closed before
// the process exits.

import { Output } from './output.mjs';
import { Report } from './report.mjs';
import { Sandbox } from './sandbox.mjs';
import { Stage } from './stage.mjs';
import { walk } from './walk.mjs';

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

const output = new Output(process.stdout);
const sandbox = new Sandbox();

// once the walk is over, to interrupt is how one ends it
let outcome = null;

for (const [name, code] of Object.entries(SIGNALS)) {
    process.on(name, () => end(outcome ?? code));
}
process.stdout.on('error', () => end(1));
process.on('uncaughtException', (error) => {
    output.line(`\ndemo: ${error.stack}`);
    end(1);
});

async function end(code) {
    output.silence();
    await sandbox.close();
    process.exit(code);
}

async function demo() {
    const started = performance.now();
    const stage = new Stage(sandbox);

    output.heading('ngx-token-injector');
    output.line();
    await stage.start();
    introduce(stage);

    const report = new Report(output, stage.url);
    await walk(stage, report);
    summarise(report, performance.now() - started);
    outcome = report.failed === 0 ? 0 : 1;

    if (process.stdin.isTTY) {
        invite(stage);
    } else {
        await end(outcome);
    }
}

function introduce({ corp, outlook, service, redis, url }) {
    for (const row of [
        ['corp', corp.issuer, "OpenID provider, signs the callers' JWTs"],
        ['outlook', outlook.issuer, 'OpenID provider of the third party'],
        ['service', new URL(service.url).origin,
         'its search API, in the shape of Microsoft Graph'],
        ['redis', 'a unix socket', 'where the connections are'],
        ['nginx', url, 'with the module'],
    ]) {
        output.row(...row);
    }
}

function summarise({ steps, checks, failed }, ms) {
    output.heading(`${steps} steps, ${checks} checks, ${failed} failed, `
                   + `${(ms / 1000).toFixed(1)} s`);
    if (failed > 0) {
        showErrorLog();
    }
    output.line();
}

function showErrorLog() {
    const log = sandbox.read('error.log').trimEnd();
    if (log !== '') {
        output.line('\nthe end of nginx\'s error log:');
        output.line(log.split('\n').slice(-20).join('\n'));
    }
}

// for who wants to try it by hand
function invite({ callers, url, redis }) {
    for (const { name, jwt, userKey } of Object.values(callers)) {
        sandbox.write(`${name}.headers`,
                      `Authorization: Bearer ${jwt}\nX-User-Key: ${userKey}\n`);
    }
    const headers = (name) => `-H @${sandbox.path(`${name}.headers`)}`;

    output.line('Serving until Ctrl-C.  Try:\n');
    for (const name of Object.keys(callers)) {
        output.line(`  curl -i ${headers(name)} \\\n       '${url}`
                    + '/search/outlook/me/messages?$search="offsite"\'');
    }
    output.line(`  curl -i ${headers('alice')} \\\n       '${url}`
                + '/search/outlook/search/query\' \\\n       -d \'{"requests":'
                + '[{"query":{"queryString":"launch"}}]}\'');
    output.line(`  curl -i ${headers('alice')} ${url}/connections`);
    output.line(`  tail -f ${sandbox.path('access.log')}\n`);
}

demo().catch((error) => {
    output.line(`\ndemo: ${error.message}`);
    showErrorLog();
    return end(1);
});
