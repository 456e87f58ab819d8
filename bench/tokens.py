#!/usr/bin/python3

"""Callers' tokens of a corporate issuer, each another: tokens.py DIR COUNT
USERS writes DIR/corp.jwks, the public key, and DIR/tokens, a token a line,
of user-0, user-1, … in turn.  The private key is kept nowhere.
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


def main():
    directory, count, users = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(JWK.from_pyca(key.public_key()).export())
    now = int(time.time()) - 60
    pkcs1, sha256 = padding.PKCS1v15(), hashes.SHA256()

    public.update(kid="corp-2026-11", use="sig", alg="RS256")
    header = base64url_encode(json_encode(
        {"alg": "RS256", "typ": "JWT", "kid": public["kid"]}))

    with open(os.path.join(directory, "corp.jwks"), "w") as file:
        json.dump({"keys": [public]}, file)

    with open(os.path.join(directory, "tokens.new"), "w") as file:
        for i in range(count):
            text = header + "." + base64url_encode(
                json_encode(claims(i, users, now)))
            signature = key.sign(text.encode(), pkcs1, sha256)
            file.write(text + "." + base64url_encode(signature) + "\n")

    os.rename(os.path.join(directory, "tokens.new"),
              os.path.join(directory, "tokens"))


main()
