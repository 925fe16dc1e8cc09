"""The envelope of what is signed: a JWS in General JSON (RFC 7515 §7.2.1) with Ed25519 (RFC 8037, RFC 9864).

The exact bytes are signed, and nothing has to be made canonical. What is opened has exactly the members it must have,
each in its one spelling, and with no algorithm to choose what is left of a JWS is one Ed25519 verification. Orders and
trust lists come in it. It refuses to know who may sign what: a key's name proves nothing, and who signed is counted
elsewhere; and how a signature is made (`hub/keys.py`, with joserfc).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from controller import strictjson
from firmware_bridge.errors import Malformed

ALGORITHM = "Ed25519"
KID = "[A-Za-z0-9_-]{1,64}"
"""The name of a key; our own are RFC 7638 thumbprints."""
X = r"^[A-Za-z0-9_-]{43}$"
"""A public key: base64url of its 32 octets."""
HEADER_LIMIT = 512
"""Bytes of a protected header: an algorithm and a name."""
KEYS_KEPT = 1024
"""Imported keys that are remembered: those of a whole trust list, and its roots."""


class BadSignature(Exception):
    """A signature that its key did not make."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was signed and by which keys, if their signatures are good. `kids` stand in the order of signatures."""

    payload: bytes
    digest: str
    """Of the payload's exact bytes: another digest is another content."""
    kids: tuple[str, ...]
    members: Mapping[str, Any]

    def verify(self, keys: Mapping[str, str]) -> None:
        """Every signature under a name of `keys` (name -> x) must be good, or BadSignature; others are not looked at.
        """
        for one, kid in zip(self.members["signatures"], self.kids, strict=True):
            if kid not in keys:
                continue
            signed = f"{one['protected']}.{self.members['payload']}".encode("ascii")
            try:
                _key(keys[kid]).verify(unb64(one["signature"]) or b"", signed)
            except (InvalidSignature, ValueError) as error:
                raise BadSignature(f"{kid}: {error or 'not of this key'}") from None


def opened(data: bytes, limit: int, signatures_limit: int) -> Envelope:
    """`data` as an envelope; Malformed unless it has exactly the members of one. Nothing is verified."""
    members = strictjson.load(data, limit)
    if set(members) != {"payload", "signatures"}:
        raise Malformed(f"members {sorted(members)[:8]}; what is signed has payload and signatures")
    payload, signatures = unb64(members["payload"]), members["signatures"]
    if payload is None:
        raise Malformed("payload is no base64url")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= signatures_limit:
        raise Malformed(f"there must be 1 to {signatures_limit} signatures")
    digest = hashlib.sha256(payload).hexdigest()[:32]
    return Envelope(payload, digest, tuple(_kid(one) for one in signatures), members)


def _kid(signature: object) -> str:
    """The name of the key that a signature is said to be of."""
    # No `header` beside the protected one: what is not signed is not read.
    if not isinstance(signature, dict) or set(signature) != {"protected", "signature"}:
        raise Malformed("a signature has protected and signature, and nothing else")
    protected, octets = unb64(signature["protected"]), unb64(signature["signature"])
    if protected is None or octets is None or len(octets) != 64:
        raise Malformed("protected or signature is no base64url of the right length")
    header = strictjson.load(protected, HEADER_LIMIT)
    kid = header.get("kid")
    if set(header) != {"alg", "kid"} or header["alg"] != ALGORITHM or not isinstance(kid, str) \
            or not re.fullmatch(KID, kid):
        raise Malformed(f'a protected header is {{"alg": "{ALGORITHM}", "kid": ...}}, and nothing else')
    return kid


def thumbprint(x: str) -> str:
    """RFC 7638 thumbprint of the Ed25519 public key `x`: it names the key itself."""
    return b64(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: object) -> bytes | None:
    """The bytes of unpadded base64url; None for anything that is not the one spelling of its bytes."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if b64(data) == text else None


@lru_cache(maxsize=KEYS_KEPT)
def _key(x: str) -> Ed25519PublicKey:
    """ValueError where `x` is no public key."""
    return Ed25519PublicKey.from_public_bytes(unb64(x) or b"")
