// Steps and what they expected.  A step goes on after something was not as
// expected, and so does the walk: all of it is shown.

export class Report {
    #output;

    constructor(output, url) {
        this.#output = output;
        this.url = url;
        this.steps = 0;
        this.checks = 0;
        this.failed = 0;
    }

    async step(title, walk) {
        this.steps++;
        this.#output.step(this.steps, title);
        try {
            await walk(this);
        } catch (error) {
            this.check(false, 'the step could not be finished', error.message);
        }
    }

    // one request of a caller's, or of nobody's; of a body that is not to be
    // shown, `shown` is
    async ask(caller, path, { method, body, shown, as, quiet } = {}) {
        const headers = {};
        if (caller !== null) {
            headers.Authorization = `Bearer ${caller.jwt}`;
            if (caller.userKey !== undefined) {
                headers['X-User-Key'] = caller.userKey;
            }
        }
        if (body !== undefined) {
            headers['Content-Type'] = 'application/json';
        }

        method ??= body === undefined ? 'GET' : 'POST';
        if (!quiet) {
            this.action(`${method} ${path} ${shown ?? body ?? ''}`,
                        as ?? caller?.name ?? 'nobody');
        }

        const start = performance.now();
        const response = await fetch(this.url + path, {
            method, headers, body, signal: AbortSignal.timeout(10000),
        });
        const text = await response.text();

        return new Answer(response, text, performance.now() - start);
    }

    // `wanted`: the status, and where given the result or how the cache was
    expect(answer, wanted) {
        const ok = answer.matches(wanted);
        this.check(ok, answer.summary, `expected ${
            Object.values(wanted).join(' ')}, got ${answer.text}`, answer.ms);
        return ok;
    }

    // `otherwise` says what is wrong if it is
    check(ok, text, otherwise, ms) {
        this.checks++;
        this.#output.verdict(ok, text, ms);
        if (!ok) {
            this.failed++;
            this.#output.complaint(otherwise.slice(0, 1000));
        }
        return ok;
    }

    action(text, who) {
        this.#output.action(text, who);
    }

    note(text) {
        this.#output.note(text);
    }
}

const CACHE = {
    MISS: /^token-injector; fwd=miss(; stored)?$/,
    HIT: /^token-injector; hit; ttl=\d+$/,
};

class Answer {
    constructor(response, text, ms) {
        this.status = response.status;
        this.headers = response.headers;
        this.text = text;
        this.ms = ms;
    }

    // of a refusal; empty for anything else
    get result() {
        const type = this.headers.get('Content-Type') ?? '';
        return type.startsWith('application/problem+json')
            ? this.json.type.replace('urn:ngx-token-injector:', '') : '';
    }

    get json() {
        return JSON.parse(this.text);
    }

    get cacheStatus() {
        return this.headers.get('Cache-Status') ?? '';
    }

    get summary() {
        return [this.status, this.result || this.cacheStatus].join('  ').trim();
    }

    matches({ status, result = '', cache }) {
        return this.status === status && this.result === result
            && (cache === undefined || CACHE[cache].test(this.cacheStatus));
    }
}
