#!/usr/bin/python3
"""Tokens by jwcrypto, a line each, for test_jwt_interop.c:

    (./make-jwt-interop.py; ./make-jwt-interop.pl) > jwt-interop.jsonl
"""

import json

from jwcrypto import jwk, jwt

ALGS = {
    "RS256": {"kty": "RSA", "size": 2048},
    "RS384": {"kty": "RSA", "size": 2048},
    "RS512": {"kty": "RSA", "size": 3072},
    "PS256": {"kty": "RSA", "size": 2048},
    "PS384": {"kty": "RSA", "size": 2048},
    "PS512": {"kty": "RSA", "size": 4096},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
    "HS256": {"kty": "oct", "size": 256},
    "HS384": {"kty": "oct", "size": 384},
    "HS512": {"kty": "oct", "size": 512},
}

CLAIMS = {
    "iss": "https://jwcrypto.example/",
    "aud": ["api://search", "api://other"],
    "sub": "zo\u00eb",
    "iat": 1700000000,
    "nbf": 1700000000,
    "exp": 4102444800,
}

for alg, how in ALGS.items():
    key = jwk.JWK.generate(kid=alg.lower(), **how)
    token = jwt.JWT(header={"alg": alg, "kid": alg.lower(), "typ": "JWT"},
                    claims=CLAIMS)
    token.make_signed_token(key)

    public = (key.export_symmetric(as_dict=True) if how["kty"] == "oct"
              else key.export_public(as_dict=True))

    print(json.dumps({"by": "jwcrypto", "alg": alg, "jwk": public,
                      "token": token.serialize()}))
