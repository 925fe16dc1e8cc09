"""A person's key, and signing with it: an operator's signs orders, a root's signs trust lists, and neither the other.

Runs where that person is, never in the resident hub. A key is a JWK file (RFC 8037, Ed25519); its name (`kid`) is its
RFC 7638 thumbprint. Signing takes the exact bytes once, so that several persons sign the same thing: in one run, or
one after the other on a file.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

from controller import admission, envelope, strictjson, trust, wire
from controller.envelope import ALGORITHM, Envelope
from controller.wire import Message
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Malformed, Problem

ROOT = "root"
"""The `use` of a root's key; an operator's has none."""


def new_key(person: str, root: bool = False) -> dict[str, str]:
    """A fresh private key of `person` as a JWK. Its file is as secret as the siren is loud."""
    while True:
        jwk = OKPKey.generate_key("Ed25519").as_dict(private=True)
        x = str(jwk["x"])
        kid = envelope.thumbprint(x)
        # What begins with a dash is taken for an option where a person types it.
        if not (x.startswith("-") or kid.startswith("-")):
            break
    use = {"use": ROOT} if root else {}
    return {"kty": "OKP", "crv": "Ed25519", **use, "kid": kid, "person": person, "x": x, "d": str(jwk["d"])}


def public(key: dict[str, str]) -> dict[str, str]:
    """The half that goes into a trust list."""
    return {"kty": key["kty"], "crv": key["crv"], "x": key["x"]}


def load_key(path: Path, root: bool = False) -> dict[str, str]:
    """The private key in `path`, an operator's or a root's, or BadDocument."""
    file = str(path)
    try:
        data = strictjson.load(document.read_text(path).encode(), wire.MAX_ORDER_BYTES)
    except Malformed as error:
        raise BadDocument([Problem(file, "file", str(error), "name a key made by `siren-hub key new`")]) from None
    problems = [
        Problem(file, name, data.get(name), f"say {expected!r}; make the key by `siren-hub key new`")
        for name, expected in (("kty", "OKP"), ("crv", ALGORITHM))
        if data.get(name) != expected
    ]
    problems += [
        Problem(file, name, None, "required: a private key file has kid, x and d")
        for name in ("kid", "x", "d")
        if not isinstance(data.get(name), str)
    ]
    if problems:
        raise BadDocument(problems)
    if (data.get("use") == ROOT) != root:
        wanted = "a root key (`siren-hub key new --root`)" if root else "an operator's key; a root signs no order"
        raise BadDocument([Problem(file, "use", data.get("use"), f"name {wanted}")])
    if envelope.unb64(data["x"]) is None or data["kid"] != envelope.thumbprint(data["x"]):
        raise BadDocument([Problem(file, "kid", data["kid"], "not the thumbprint of x: the file was changed")])
    try:
        secret = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(data["d"] + "="))
        own = secret.public_key().public_bytes_raw() == base64.urlsafe_b64decode(data["x"] + "=")
    except ValueError:
        own = False
    if not own:
        raise BadDocument([Problem(file, "d", "(not shown)", "not the private half of x; take it from its backup")])
    return {k: str(v) for k, v in data.items()}


def sign(body: Message, keys: list[dict[str, str]]) -> bytes:
    """An order, or another wish that persons sign, as JWS General JSON with one signature of each key."""
    return _dump(_sign(body.encode(), keys))


def sign_list(payload: bytes, keys: list[dict[str, str]]) -> bytes:
    """A trust list as JWS General JSON with one signature of each root key."""
    return _dump(_sign(payload, keys))


def cosign(order: bytes, keys: list[dict[str, str]]) -> bytes:
    """An order that others have drafted or signed, with the signatures of `keys` added. Malformed when it is none."""
    members = strictjson.load(order, wire.MAX_ORDER_BYTES)
    payload = envelope.unb64(members.get("payload"))
    if payload is not None and members.get("signatures") == []:
        return _dump(_sign(payload, keys))
    try:
        return _cosigned(trust.peek(order).envelope, keys)
    except trust.Rejected as rejected:
        raise Malformed(str(rejected)) from None


def cosign_list(signed: bytes, keys: list[dict[str, str]]) -> bytes:
    """The same with a trust list. A root that has signed it already signs no second time."""
    opened = admission.peek(signed)
    return _cosigned(opened, [k for k in keys if k["kid"] not in opened.kids])


def cosigned(opened: Envelope, keys: list[dict[str, str]]) -> bytes:
    """The same with anything else that was opened."""
    return _cosigned(opened, [k for k in keys if k["kid"] not in opened.kids])


def _cosigned(opened: Envelope, keys: list[dict[str, str]]) -> bytes:
    members = opened.members
    added = _sign(opened.payload, keys)["signatures"] if keys else []
    return _dump({"payload": members["payload"], "signatures": [*members["signatures"], *added]})


def _sign(payload: bytes, keys: list[dict[str, str]]) -> jws.GeneralJSONSerialization:
    by_kid = {k["kid"]: OKPKey.import_key({n: k[n] for n in ("kty", "crv", "x", "d")}) for k in keys}
    members: list[jws.HeaderDict] = [{"protected": {"alg": ALGORITHM, "kid": kid}} for kid in by_kid]
    return jws.serialize_json(
        members, payload, lambda member: by_kid[str(member.headers()["kid"])], algorithms=[ALGORITHM])


def _dump(envelope: Mapping[str, Any]) -> bytes:
    return json.dumps(envelope, separators=(",", ":")).encode()
