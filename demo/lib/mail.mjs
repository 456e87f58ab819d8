// What is in the mailboxes and drives.  No subject occurs in two of them: whoever sees
// another's would be seen.

const HOUR = 3600 * 1000;

export function mailboxes() {
    return {
        alice: {
            messages: [
                message('alice', 1, 'Offsite in Lisbon: the agenda',
                        'Three talks, one long walk.'),
                message('alice', 2, 'Offsite: who takes the early flight?',
                        'Two seats are left on the 06:40.'),
                message('alice', 3, 'Launch date moved',
                        'We launch on the 14th.'),
            ],
            events: [event('alice', 'Quarterly review', 3)],
            files: [file('alice', 1), file('alice', 2)],
        },
        bob: {
            messages: [
                message('bob', 1, 'Offsite budget, not for the team',
                        'The number is in the sheet.'),
            ],
            events: [event('bob', 'Interview, second round', 26)],
            files: [file('bob', 1)],
        },
    };
}

function message(owner, number, subject, bodyPreview) {
    return {
        id: `${owner}-m${number}`,
        subject,
        bodyPreview,
        from: { emailAddress: { address: 'carol@example.com' } },
        toRecipients: [{ emailAddress: { address: `${owner}@example.com` } }],
    };
}

function event(owner, subject, inHours) {
    const at = (hours) => ({
        dateTime: new Date(Date.now() + hours * HOUR).toISOString()
            .slice(0, -1),
        timeZone: 'UTC',
    });
    return {
        id: `${owner}-e1`,
        subject,
        start: at(inHours),
        end: at(inHours + 1),
        isOnlineMeeting: true,
        onlineMeeting: { joinUrl: `https://meet.example.com/${owner}-e1` },
    };
}

// an image of one pixel, and bytes behind it that are the owner's alone
function file(owner, number) {
    const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk'
        + 'YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==';
    return {
        id: `01${owner.toUpperCase()}${number}`,
        name: `${owner}-${number}.png`,
        content: Buffer.concat([
            Buffer.from(pixel, 'base64'), Buffer.from([0, 255, 13, 10, 0]),
            Buffer.from(`${owner} ${number}`),
        ]),
        links: [],
    };
}
