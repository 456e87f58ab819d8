#!/usr/bin/python3
"""Reads and writes token records with jwcrypto: docs/record-format.md is all
that it knows.  A JSON object a line in, one a line out.

    {"op": "names", …}               -> {"user", "device", "connection"}
    {"op": "write", …, "token", "exp", "iat", "scope"}   -> {"record"}
    {"op": "read",  …, "record"}     -> {"token", "exp", "iat", "scope"}
                                        or {"error"}

with "keys" (the JWK Set), "user_key" (or null), "issuer", "tenant",
"subject", "provider", "kind", "gen", "cid" (or null) and "prefix".
"""
import hashlib
import hmac
import json
import re
import secrets
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwcrypto import jwe, jwk

B64TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
COMPACT = re.compile(r"[\w-]+\.\.[\w-]{16}\.[\w-]*\.[\w-]{22}", re.ASCII)


class Refused(Exception):
    """The result that the caller hears."""


def b64u(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text):
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64u(data) != text:
        raise ValueError("not canonical base64url")
    return data


def enc(*fields):
    out = b""
    for field in fields:
        data = field if isinstance(field, bytes) else str(field).encode()
        out += len(data).to_bytes(4, "big") + data
    return out


def hkdf(key, salt, info, length=32):
    return HKDF(SHA256(), length, salt, info).derive(key)


class Keys:
    def __init__(self, jwks):
        self.sealing = {k["kid"]: unb64u(k["k"]) for k in jwks["keys"]
                        if k["use"] == "enc"}
        self.first = next(iter(self.sealing))
        self.index = next(unb64u(k["k"]) for k in jwks["keys"]
                          if k["use"] == "sig")


class Names:
    def __init__(self, keys, q):
        who = (q["issuer"], q["tenant"], q["subject"])
        self.user_key = q["user_key"] and unb64u(q["user_key"])
        self.user = b64u(hmac.digest(keys.index, enc("user", *who),
                                     "sha256")[:16])
        self.device = "-"
        if self.user_key is not None:
            self.device = b64u(hkdf(self.user_key, None,
                                    b"ngx-token-injector device v1", 12))
        self.ctx = hashlib.sha256(
            enc("ngx-token-injector ctx v1", q["kind"], *who, q["provider"],
                self.device, q["gen"])).digest()


# --- one layer --------------------------------------------------------------

def layer_key(secret, salt, label, ctx):
    key = hkdf(secret, salt, enc(label, ctx))
    return jwk.JWK(kty="oct", k=b64u(key))


def seal(secret, label, ctx, header, payload):
    salt = secrets.token_bytes(16)
    header = {"alg": "dir", "enc": "A256GCM", "salt": b64u(salt), **header}
    token = jwe.JWE(payload, json.dumps(header))
    token.add_recipient(layer_key(secret, salt, label, ctx))
    return token.serialize(compact=True)


def header_of(text, ctx):
    if not COMPACT.fullmatch(text):
        raise ValueError("not a compact JWE with a direct key")
    header = json.loads(unb64u(text.split(".")[0]))
    if "crit" in header or "zip" in header:
        raise ValueError("crit or zip")
    if (header.get("alg"), header.get("enc")) != ("dir", "A256GCM"):
        raise ValueError("alg or enc")
    if not hmac.compare_digest(str(header.get("ctx")).encode(),
                               b64u(ctx).encode()):
        raise ValueError("ctx is another's")
    if len(unb64u(header["salt"])) != 16:
        raise ValueError("salt")
    return header


def unseal(text, header, secret, label, ctx):
    token = jwe.JWE(algs=["dir", "A256GCM"])
    token.deserialize(text, layer_key(secret, unb64u(header["salt"]), label,
                                      ctx))
    return token.payload


# --- a record ---------------------------------------------------------------

def write(keys, names, q):
    payload = q["token"].encode()
    common = {"ctx": b64u(names.ctx)}
    scope = {} if q["scope"] is None else {"scope": q["scope"]}
    cty = "token"
    if names.user_key is not None:
        payload = seal(names.user_key, "ngx-token-injector user v1", names.ctx,
                       {"cty": "token", **common, **scope}, payload).encode()
        cty, scope = "JWE", {}
    header = {"kid": keys.first, "typ": "ti-record", "cty": cty, **common,
              "gen": q["gen"], **scope}
    for member in ("cid", "exp", "iat"):
        if q[member] is not None:
            header[member] = q[member]
    return seal(keys.sealing[keys.first], "ngx-token-injector seal v1",
                names.ctx, header, payload)


def is_integer(x):
    return type(x) is int and 0 < x < 2 ** 53


def open_outer(keys, names, q):
    header = header_of(q["record"], names.ctx)
    nested = names.user_key is not None
    if header.get("typ") != "ti-record":
        raise ValueError("typ")
    if header.get("cty") != ("JWE" if nested else "token"):
        raise ValueError("cty")
    if type(header.get("gen")) is not int or header["gen"] != q["gen"]:
        raise ValueError("gen is another")
    if header.get("cid") != q["cid"]:
        raise ValueError("cid is another")
    if ("exp" in header or q["kind"] != "refresh") \
            and not is_integer(header.get("exp")):
        raise ValueError("exp")
    return header, unseal(q["record"], header, keys.sealing[header["kid"]],
                          "ngx-token-injector seal v1", names.ctx)


def open_inner(names, text):
    header = header_of(text.decode("ascii"), names.ctx)
    if header.get("cty") != "token":
        raise ValueError("cty")
    return header, unseal(text.decode("ascii"), header, names.user_key,
                          "ngx-token-injector user v1", names.ctx)


def judge(kind, header, payload):
    if str(header.get("token_type", "Bearer")).lower() != "bearer":
        raise ValueError("token_type")
    if not 0 < len(payload) <= 16384:
        raise ValueError("size of the token")
    if kind != "pending" and not B64TOKEN.fullmatch(payload):
        raise ValueError("not a b64token")


def read(keys, names, q):
    # a library may throw anything at a reader: whatever it is, it refuses
    try:
        outer, payload = open_outer(keys, names, q)
    except Exception as e:
        raise Refused("reconnect-required") from e
    header = outer
    if names.user_key is not None:
        try:
            header, payload = open_inner(names, payload)
        except Exception as e:
            raise Refused("connection-required") from e
    try:
        judge(q["kind"], header, payload)
    except ValueError as e:
        raise Refused("reconnect-required") from e
    iat = outer.get("iat")
    return {"token": payload.decode(), "exp": outer.get("exp"),
            "iat": iat if is_integer(iat) else None,
            "scope": header.get("scope")}


def answer(q):
    keys = Keys(q["keys"])
    names = Names(keys, q)
    if q["op"] == "names":
        return {"user": names.user, "device": names.device,
                "connection": "%s{%s}:c:%s:%s" % (
                    q["prefix"], names.user, q["provider"], names.device)}
    if q["op"] == "write":
        return {"record": write(keys, names, q)}
    try:
        return read(keys, names, q)
    except Refused as e:
        return {"error": str(e)}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
