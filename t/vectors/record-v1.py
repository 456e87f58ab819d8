#!/usr/bin/python3
"""Writes record-v1.json to standard output.

A third implementation of docs/record-format.md, on SHA-256, HMAC and AES-GCM
alone: neither our C nor a JOSE library is in it.  Salts and nonces are fixed,
so the file is the same each time.
"""
import hashlib
import hmac
import json
import sys
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def b64u(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(x):
    return x if isinstance(x, bytes) else str(x).encode()


def enc(*fields):
    return b"".join(len(raw(f)).to_bytes(4, "big") + raw(f) for f in fields)


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(key, salt, info, length=32):
    return mac(mac(salt or bytes(32), key), info + b"\x01")[:length]


def fixed(label, length):
    """Bytes that look random and never change."""
    return hashlib.sha256(b"record-v1 " + label.encode()).digest()[:length]


SEALING = {"2026-01": fixed("sealing 1", 32), "2025-07": fixed("sealing 2", 32)}
INDEX = fixed("index", 32)
PREFIX = "ti:"
KEYS = {"keys": [
    *({"kty": "oct", "use": "enc", "kid": kid, "k": b64u(key)}
      for kid, key in SEALING.items()),
    {"kty": "oct", "alg": "HS256", "use": "sig", "kid": "index",
     "k": b64u(INDEX)}]}


def user_name(v):
    return b64u(mac(INDEX, enc("user", v["issuer"], v["tenant"],
                               v["subject"]))[:16])


def device_name(v):
    if v["user_key"] is None:
        return "-"
    return b64u(hkdf(user_key(v), b"", b"ngx-token-injector device v1", 12))


def user_key(v):
    return fixed("user key " + v["user_key"], 32)


def context(v):
    return hashlib.sha256(enc(
        "ngx-token-injector ctx v1", v["kind"], v["issuer"], v["tenant"],
        v["subject"], v["provider"], device_name(v), v["gen"])).digest()


def seal(label, secret, info, ctx, header, payload, tag_len=16):
    """One layer; a header given as text is taken as it is."""
    salt, nonce = fixed("salt " + label, 16), fixed("nonce " + label, 12)
    key = hkdf(secret, salt, enc(info, ctx))
    header = {k: b64u(salt) if k == "salt" else x for k, x in header.items()}
    text = json.dumps(header, separators=(",", ":"))
    protected = b64u(text.encode())
    sealed = AESGCM(key).encrypt(nonce, payload, protected.encode())
    jwe = ".".join([protected, "", b64u(nonce), b64u(sealed[:-16]),
                    b64u(sealed[-16:][:tag_len])])
    return {"salt": b64u(salt), "nonce": b64u(nonce), "key": b64u(key),
            "header": text, "jwe": jwe}


def layers(v, label, inner=None, outer=None, **how):
    """Both layers of a record.  inner and outer: members to change in their
    headers; None takes one away."""
    ctx = how.get("ctx", context(v))
    nested = v["user_key"] is not None and how.get("nested", True)
    kid = how.get("kid", "2026-01")
    payload = v["token"].encode()
    scope = {} if v["scope"] is None else {"scope": v["scope"]}
    common = {"alg": "dir", "enc": "A256GCM", "salt": None}
    of_user = None

    def changed(header, change):
        header = {**header, **(change or {})}
        return {k: x for k, x in header.items() if x is not None or k == "salt"}

    if nested:
        of_user = seal(label + " inner", user_key(v),
                       "ngx-token-injector user v1", how.get("inner_ctx", ctx),
                       changed({**common, "cty": "token",
                                "ctx": b64u(how.get("inner_ctx", ctx)),
                                **scope}, inner), payload)
        payload = of_user["jwe"].encode()
        scope = {}

    of_server = seal(
        label + " outer", SEALING.get(kid, fixed("sealing 3", 32)),
        "ngx-token-injector seal v1", ctx,
        changed({**common, "kid": kid, "typ": "ti-record",
                 "cty": "JWE" if nested else "token", "ctx": b64u(ctx),
                 "gen": v["gen"], "cid": v["cid"], "exp": v["exp"],
                 "iat": v["iat"], **scope},
                outer), payload, how.get("tag_len", 16))
    return of_user, of_server


def ref(v):
    """What a reader is told."""
    members = ("kind", "issuer", "tenant", "subject", "provider", "gen", "cid")
    return {**{k: v[k] for k in members},
            "user_key": None if v["user_key"] is None else b64u(user_key(v))}


def vector(name, **v):
    inner, outer = layers(v, name)
    device = device_name(v)
    user = user_name(v)
    return {"name": name, **ref(v), "exp": v["exp"], "iat": v["iat"],
            "scope": v["scope"], "token": v["token"], "user": user, "device": device,
            "connection": f"{PREFIX}{{{user}}}:c:{v['provider']}:{device}",
            "ctx": b64u(context(v)), "inner": inner, "outer": outer}


def refused(name, result, told=None, written=None, **how):
    """A record as written for ALICE with changes, read as told."""
    _, outer = layers({**ALICE, **(written or {})}, name, **how)
    return {"name": name, **ref({**ALICE, **(told or {})}), "result": result,
            "record": outer["jwe"]}


def of_answer():
    request = {
        "issuer": ALICE["issuer"], "tenant": ALICE["tenant"],
        "subject": ALICE["subject"], "provider": ALICE["provider"],
        "device": device_name(ALICE), "location": "/search/outlook/",
        "method": "POST", "scheme": "https", "host": "search.example.com",
        "uri": "/search/outlook/query?q=budget",
        "parts": ["v2", "Accept", "application/json", "Accept-Encoding", "",
                  "Accept-Language", "de"]}
    body = b'{"q":"budget"}'
    digest = mac(INDEX, enc(
        "answer", *(request[k] for k in request if k != "parts"),
        *request["parts"], hashlib.sha256(body).digest()))
    return {**request, "body": body.decode(), "digest": b64u(digest),
            "name": f"{PREFIX}{{{user_name(ALICE)}}}:a:{b64u(digest)}"}


ALICE = {"kind": "access", "issuer": "https://login.example.com/",
         "tenant": "contoso", "subject": "alice", "provider": "outlook",
         "gen": 7, "cid": b64u(fixed("cid", 16)), "user_key": "alice",
         "exp": 1795290000, "iat": None, "scope": None,
         "token": "EwBwA8l6BAAU." + "AbCdEfGh-_~+/09" * 8 + "=="}
OTHER_CID = b64u(fixed("other cid", 16))
RECONNECT, CONNECT = "reconnect-required", "connection-required"

VECTORS = [
    vector("access", **ALICE),
    vector("refresh", **{**ALICE, "kind": "refresh", "exp": None,
                         "token": "1//0refresh"}),
    vector("scope", **{**ALICE, "scope": "Mail.Read \"quoted\" Files.Read",
                       "gen": 2 ** 53 - 1}),
    vector("no tenant, not ASCII", **{**ALICE, "tenant": "",
                                      "subject": "Zoë Ångström ☕",
                                      "provider": "one_drive-2"}),
    vector("app only", **{**ALICE, "issuer": "", "tenant": "", "subject": "",
                          "provider": "exchange", "user_key": None, "gen": 1,
                          "scope": "https://outlook.office365.com/.default"}),
    vector("pending", **{**ALICE, "kind": "pending", "gen": 0, "cid": None,
                         "token": '{"state":"x"}'}),
    vector("issued", **{**ALICE, "gen": 8, "iat": 1795286400}),
    vector("issued, app only", **{**ALICE, "user_key": None, "scope": "a b",
                                  "iat": 1795286400}),
    vector("previous", **{**ALICE, "kind": "previous", "gen": 8,
                          "exp": 1795287000, "token": "1//0before"}),
]

REFUSED = [
    refused("another subject", RECONNECT, {"subject": "bob"}),
    refused("another tenant", RECONNECT, {"tenant": "fabrikam"}),
    refused("another issuer", RECONNECT, {"issuer": "https://evil.example/"}),
    refused("another provider", RECONNECT, {"provider": "zoom"}),
    refused("another kind", RECONNECT, {"kind": "refresh"}),
    refused("another gen", RECONNECT, {"gen": 8}),
    refused("another cid", RECONNECT, {"cid": OTHER_CID}),
    refused("another device", RECONNECT, {"user_key": "bob"}),
    refused("gen of the header alone", RECONNECT, outer={"gen": 8}),
    refused("another user key, same device", CONNECT,
            written={"user_key": "bob"}, ctx=context(ALICE)),
    refused("inner ctx of another gen", CONNECT,
            inner_ctx=context({**ALICE, "gen": 6})),
    refused("inner cty", CONNECT, inner={"cty": "JWE"}),
    refused("inner crit", CONNECT, inner={"crit": ["exp"]}),
    refused("inner token_type", RECONNECT, inner={"token_type": "mac"}),
    refused("unknown kid", RECONNECT, kid="2024-01"),
    refused("no kid", RECONNECT, outer={"kid": None}),
    refused("no typ", RECONNECT, outer={"typ": None}),
    refused("typ", RECONNECT, outer={"typ": "JOSE"}),
    refused("alg", RECONNECT, outer={"alg": "A256KW"}),
    refused("enc", RECONNECT, outer={"enc": "A128GCM"}),
    refused("no cty", RECONNECT, outer={"cty": None}),
    refused("zip", RECONNECT, outer={"zip": "DEF"}),
    refused("crit", RECONNECT, outer={"crit": ["kid"]}),
    refused("no exp", RECONNECT, outer={"exp": None}),
    refused("exp as text", RECONNECT, outer={"exp": "1795290000"}),
    refused("fractional exp", RECONNECT, outer={"exp": 1795290000.5}),
    refused("previous without exp", RECONNECT, {"kind": "previous"},
            {"kind": "previous", "exp": None}),
    refused("previous for a refresh", RECONNECT, {"kind": "refresh"},
            {"kind": "previous"}),
    refused("no inner layer", RECONNECT, nested=False),
    refused("tag of 15 bytes", RECONNECT, tag_len=15),
    refused("tag of 4 bytes", RECONNECT, tag_len=4),
    refused("no tag", RECONNECT, tag_len=0),
    refused("CR LF in the token", RECONNECT,
            written={"token": "a\r\nHost: evil"}),
    refused("NUL in the token", RECONNECT, written={"token": "a\0b"}),
    refused("space in the token", RECONNECT, written={"token": "a b"}),
]

json.dump({"prefix": PREFIX, "keys": KEYS, "records": VECTORS,
           "refused": REFUSED, "answer": of_answer()},
          sys.stdout, indent=1)
sys.stdout.write("\n")
