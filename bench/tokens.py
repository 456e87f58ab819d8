#!/usr/bin/python3

"""Callers' tokens of a corporate issuer, each another: tokens.py DIR COUNT
USERS writes DIR/corp.jwks, the public key, and DIR/tokens, a token a line,
of user-0, user-1, … in turn.  The private key is kept nowhere.

DIR/unknown and DIR/hopeless hold FLOOD tokens that nobody signed: each names
a key that is not there, with an algorithm that the issuer allows, or not.
DIR/parked holds one of each of PROVIDERS issuers with that key, good ones or,
where the number is odd, such that name an unknown one.
"""

import json
import os
import sys
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jwcrypto.common import base64url_encode, json_encode
from jwcrypto.jwk import JWK

LIFE = 90 * 86400
FLOOD = 12000
PROVIDERS = 20


def claims(i, users, now):
    user = i % users

    return {
        "iss": "https://login.example.com/",
        "aud": "api://search",
        "sub": f"user-{user}",
        "tid": "8f2c1e0a-7d54-4b7e-9d0b-3f5a6c1d2e90",
        "name": f"User Number {user}",
        "email": f"user.number.{user}@example.com",
        "groups": ["calendar-users", "staff"],
        "iat": now,
        "nbf": now,
        "exp": now + LIFE,
        "jti": f"{i:012d}",
    }


def header(alg, kid):
    return base64url_encode(json_encode(
        {"alg": alg, "typ": "JWT", "kid": kid}))


def signed(key, kid, said):
    text = header("RS256", kid) + "." + base64url_encode(json_encode(said))
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())

    return text + "." + base64url_encode(signature)


def unsigned(alg, i, said):
    return ".".join((header(alg, f"unknown-{i:07d}"),
                     base64url_encode(json_encode(said)),
                     base64url_encode(os.urandom(256))))


def write(directory, name, lines):
    path = os.path.join(directory, name)

    with open(path + ".new", "w") as file:
        file.writelines(line + "\n" for line in lines)

    os.rename(path + ".new", path)


def main():
    directory, count, users = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(JWK.from_pyca(key.public_key()).export())
    now = int(time.time()) - 60

    public.update(kid="corp-2026-11", use="sig", alg="RS256")
    write(directory, "corp.jwks", [json.dumps({"keys": [public]})])

    for name, alg in ("unknown", "RS256"), ("hopeless", "ES256"):
        write(directory, name, (unsigned(alg, i, claims(i, users, now))
                                for i in range(FLOOD)))

    write(directory, "parked", (
        signed(key, "unknown" if i % 2 else public["kid"],
               {**claims(i, users, now), "iss": f"https://idp-{i}.example/"})
        for i in range(PROVIDERS)))

    # the last, which says that all are there
    write(directory, "tokens", (
        signed(key, public["kid"], claims(i, users, now))
        for i in range(count)))


main()
