// What the demo looks like: at most 88 columns, colours only on a terminal.

const WIDTH = 88;

export class Output {
    #stream;
    #colours;
    #silent = false;

    constructor(stream) {
        this.#stream = stream;
        this.#colours = stream.isTTY === true && !process.env.NO_COLOR;
    }

    // nothing more is said: the demo was interrupted
    silence() {
        this.#silent = true;
    }

    line(text = '') {
        if (!this.#silent) {
            this.#stream.write(`${text}\n`);
        }
    }

    heading(text) {
        this.line(`\n${this.#paint('1', text)}`);
    }

    step(number, title) {
        this.heading(`${String(number).padStart(2)}  ${title}`);
    }

    // what is about to be done, and by whom
    action(text, who = '') {
        this.line(`    ${spread(shorten(text, WIDTH - 6 - who.length), who,
                                WIDTH - 4)}`);
    }

    note(text) {
        for (const line of text.split('\n')) {
            this.line(`      ${this.#paint('2', shorten(line, WIDTH - 6))}`);
        }
    }

    // all of it: this is what one has to go on
    complaint(text) {
        for (let at = 0; at < text.length; at += WIDTH - 6) {
            this.line(`      ${text.slice(at, at + WIDTH - 6)}`);
        }
    }

    verdict(ok, text, ms) {
        const mark = ok ? this.#paint('32', '✓') : this.#paint('31', '✗');
        const took = ms === undefined ? '' : `${ms.toFixed(1)} ms`;
        this.line(`    ${mark} ${spread(text, took, WIDTH - 6)}`);
    }

    row(name, value, meaning) {
        this.line(`    ${name.padEnd(9)}${value.padEnd(27)}`
                  + this.#paint('2', meaning));
    }

    #paint(colour, text) {
        return this.#colours ? `\x1b[${colour}m${text}\x1b[0m` : text;
    }
}

function spread(left, right, width) {
    return right === '' ? left
        : `${left.padEnd(width - right.length - 1)} ${right}`;
}

function shorten(text, width) {
    return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}
