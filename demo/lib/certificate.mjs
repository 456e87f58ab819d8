// An authority of the demo's own and a certificate of it for 127.0.0.1: what
// an operator's nginx is told with ssl_trusted_certificate.

import fs from 'node:fs';

// resolves to { cert, key } for listen(), and the authority's path and text
export async function certify(sandbox, name) {
    const authority = sandbox.path('authority.pem');
    const [cert, key] = ['pem', 'key'].map((end) => (
        sandbox.path(`${name}.${end}`)
    ));
    const authorityKey = sandbox.path('authority.key');
    const request = [
        'req', '-x509', '-newkey', 'ec', '-pkeyopt',
        'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    ];

    await sandbox.run('openssl', [
        ...request, '-subj', '/CN=The demo\'s authority',
        '-addext', 'keyUsage=critical,keyCertSign',
        '-keyout', authorityKey, '-out', authority,
    ]);
    await sandbox.run('openssl', [
        ...request, '-subj', `/CN=${name}`,
        '-addext', 'basicConstraints=critical,CA:false',
        '-addext', 'subjectAltName=IP:127.0.0.1',
        '-CA', authority, '-CAkey', authorityKey,
        '-keyout', key, '-out', cert,
    ]);

    return {
        cert: fs.readFileSync(cert), key: fs.readFileSync(key),
        authority: fs.readFileSync(authority),
    };
}
