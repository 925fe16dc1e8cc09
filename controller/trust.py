"""Who may order what: the trust list, and the check of a signed order against it.

An order is a JWS in General JSON (RFC 7515 §7.2.1), signed with Ed25519 (RFC 8037, RFC 9864), so that the exact
bytes are signed and nothing has to be made canonical. `peek` reads one without believing it; `check` believes it.
joserfc verifies the signatures. It does not count who made them: that is done here, because counting signatures
instead of persons is the mistake that TUF's clients made one after the other.

It refuses to know what an order does, what sounds now, and what time it is (the caller says).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import Field

from controller import wire
from controller.wire import MAX_ORDER_BYTES, Action, Area, Instant, Mode, OrderBody
from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Malformed, Problem

MAX_SIGNATURES = 4
"""Two persons must sign, four may; more only buys an attacker work for us."""
MAX_KEYS = 512
"""Keys in a trust list: a large city has some dozens of persons."""
DETAIL_LIMIT = 200
"""Characters of an order that is not believed which may come back in a notice."""
MAX_LIST_BYTES = 512 * 1024
"""A trust list of 512 keys is under 200 KiB."""
KID = "[A-Za-z0-9_-]{1,64}"
"""The name of a key; our own are RFC 7638 thumbprints."""
DEMO_DEPLOYMENT = "demo"
DEMO_KEYS = frozenset({
    "MY7gj9R51YKp1uaqaUEw2cryzoBZ4WaSgBW2aZTe9_0",  # operator-1
    "vnC2MYjafku1hxUv2fB4Rrq4rNf4Z2yUqxff_F6Bi3U",  # operator-2
    "hgRS60aBv00YW2V7cACKDzPu_BDCxi79y9dRTCZ2Wl0",  # commander
})
"""RFC 7638 thumbprints of the keys in configs/demo/keys. Their private halves are public: never in production."""


class Reason(StrEnum):
    """Why an order, or its part for one siren, is refused. The text is what stands in a receipt."""

    MALFORMED = "malformed"
    """Not a JWS of an order: JSON, a member, or a value is wrong."""
    TOO_LARGE = "too-large"
    """More bytes or more signatures than an order may have."""
    UNKNOWN_KEY = "unknown-key"
    """A signature names a key that is not in the trust list."""
    KEY_NOT_VALID = "key-not-valid"
    """A signature names a key that is not valid yet, or no more."""
    BAD_SIGNATURE = "bad-signature"
    """A signature does not verify. One bad one refuses the whole order, however many are good."""
    TOO_FEW_PERSONS = "too-few-persons"
    """Fewer persons, or none of the needed role, than the role table asks."""
    WRONG_AREA = "wrong-area"
    """A signer who is needed may not order for so wide an area."""
    WRONG_ACTION = "wrong-action"
    """A signer who is needed may not order this action."""
    WRONG_MODE = "wrong-mode"
    """A signer who is needed may not order in this mode."""
    WRONG_DEPLOYMENT = "wrong-deployment"
    """The order is for another installation (a test net, another city)."""
    EXPIRED = "expired"
    """It came after the last instant at which it may begin."""
    NOT_YET = "not-yet"
    """It came before it may begin and names no start, or it was issued in the future."""
    BAD_WINDOW = "bad-window"
    """Its instants contradict each other: the start is outside not_before to expires_at, or that is empty."""
    TOO_LONG = "too-long"
    """It may begin during a longer time, or sounds for longer, than is allowed."""
    RETAINED = "retained"
    """The broker kept it. Orders are never retained, so its age is unknown."""
    DUPLICATE = "duplicate-id-other-content"
    """An order of this id, with other content, is known."""
    UNKNOWN_SIGNAL = "unknown-signal"
    """This gateway has no signal or programme of this name."""
    SIGNAL_MISMATCH = "signal-mismatch"
    """The name means another pattern here than where it was signed."""
    NO_TARGET = "no-target"
    """None of this gateway's sirens is meant."""
    OUTRANKED = "outranked"
    """Something at least as important sounds on this siren now."""
    STOPPED = "stopped"
    """A stop that was issued after this order came first."""
    ISSUED_LATER = "issued-later"
    """A stop ends what was issued before it; something that was issued later goes on. Sign a new stop."""
    NO_TIME = "no-time"
    """The gateway's clock is not to be believed, so it cannot know whether the order is fresh."""
    NO_JOURNAL = "no-journal"
    """The disk did not take the order; only live ones sound without."""
    STALE_TRUST = "stale-trust"
    """A drill was signed under a newer trust list than this gateway has."""
    NOT_PERMITTED = "not-permitted"
    """The local user may not do this, or not for so long."""
    BUSY = "busy"
    """Too many orders wait or are remembered; send it again."""


class Role(StrEnum):
    """What a person is in the office. A key has at least one."""

    OPERATOR = "operator"
    COMMANDER = "commander"
    TESTER = "tester"


@dataclass(frozen=True, slots=True)
class Need:
    """So many different persons, each with one of the roles, and so many commanders among them."""

    persons: int
    roles: frozenset[Role]
    commanders: int = 0


_DUTY = frozenset({Role.OPERATOR, Role.COMMANDER})

ROLE_TABLE: Mapping[tuple[Action, Mode], tuple[Need, ...]] = {
    (Action.SOUND, Mode.LIVE): (Need(2, _DUTY, commanders=1),),
    (Action.SOUND, Mode.DRILL): (Need(1, _DUTY),),
    # For a stop the mode is that of what it stops, not the one it carries.
    (Action.STOP, Mode.LIVE): (Need(1, _DUTY, commanders=1), Need(2, _DUTY)),
    (Action.STOP, Mode.DRILL): (Need(1, _DUTY),),
    (Action.QUIET_TEST, Mode.SILENT): (Need(1, _DUTY | {Role.TESTER}),),
}
"""Who may order what: any one of the needs is enough."""

_HEIGHT = {Mode.SILENT: 0, Mode.DRILL: 1, Mode.LIVE: 2}


class Rejected(Exception):
    """An order that is not believed. `order` is its id where one could be read; it proves nothing."""

    def __init__(self, reason: Reason, order: str | None = None, detail: str = "") -> None:
        self.reason = reason
        self.order = order
        self.detail = detail[:DETAIL_LIMIT]
        super().__init__(f"{reason}: {detail}" if detail else str(reason))


# The trust list.


class PublicKey(Document):
    """The public half of an Ed25519 key as a JWK (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]

    @property
    def thumbprint(self) -> str:
        """RFC 7638: what names the key itself, whatever a list calls it."""
        return thumbprint(self.x)


class Signer(Document):
    """A person's key, and what may be ordered with it."""

    person: Annotated[str, Field(min_length=1, max_length=64)]
    key: PublicKey
    roles: Annotated[frozenset[Role], Field(min_length=1)]
    area: Area
    """The widest area that may be ordered for."""
    actions: Annotated[frozenset[Action], Field(min_length=1)]
    mode: Mode
    """The highest mode: silent, drill, live."""
    not_before: Instant
    not_after: Instant


class TrustList(Document):
    """The file as written. Who may change it is a matter of how it gets here."""

    version: Annotated[int, Field(ge=0, le=2**53 - 1)]
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    keys: dict[Annotated[str, Field(pattern=f"^{KID}$")], Signer]


def thumbprint(x: str) -> str:
    """RFC 7638 thumbprint of the Ed25519 public key `x`."""
    return _b64(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def load(path: Path) -> TrustList:
    """The trust list in `path`, or BadDocument with every problem in it."""
    return parse(document.read_text(path), str(path))


def parse(text: str, file: str) -> TrustList:
    """The trust list in `text`; `file` is what its problems call it."""
    try:
        data = wire.load_json(text.encode(), MAX_LIST_BYTES)
    except Malformed as error:
        raise BadDocument([Problem(file, "file", str(error), "mend the JSON")]) from None
    problems: list[Problem] = []
    keys = data.get("keys")
    for kid, one in keys.items() if isinstance(keys, dict) else ():
        if isinstance(one, dict) and isinstance(one.get("key"), dict) and one["key"].pop("d", None) is not None:
            problems.append(Problem(file, f"keys.{kid}.key.d", "(not shown)",
                                    "a private key: list the public half only, and make that person a new key"))
    try:
        trust = document.check(TrustList, data, file)
    except BadDocument as bad:
        raise BadDocument([*problems, *bad.problems]) from None
    problems.extend(_cross_check(trust, file))
    if problems:
        raise BadDocument(problems)
    return trust


def _cross_check(trust: TrustList, file: str) -> list[Problem]:
    """What the models cannot see alone: one key twice, keys that are none, dates, demo keys."""
    out: list[Problem] = []
    owner: dict[str, str] = {}
    if not 1 <= len(trust.keys) <= MAX_KEYS:
        out.append(Problem(file, "keys", f"{len(trust.keys)} keys", f"list 1 to {MAX_KEYS} keys"))
    for kid, signer in trust.keys.items():
        key = f"keys.{kid}"
        print_ = signer.key.thumbprint
        if _unb64(signer.key.x) is None:
            out.append(Problem(file, f"{key}.key.x", signer.key.x, "no base64url of 32 bytes; export the key again"))
        if print_ in owner:
            out.append(Problem(file, f"{key}.key", signer.key.x,
                               f"the same key as {owner[print_]}: one person, one key, one entry"))
        owner.setdefault(print_, kid)
        if print_ in DEMO_KEYS and trust.deployment != DEMO_DEPLOYMENT:
            out.append(Problem(file, f"{key}.key", signer.key.x,
                               "a demo key, whose private half anybody has; make this person a key of their own"))
        try:
            if wire.to_wall_us(signer.not_before) >= wire.to_wall_us(signer.not_after):
                out.append(Problem(file, f"{key}.not_after", signer.not_after, "not after not_before; mend the dates"))
        except Malformed as error:
            out.append(Problem(file, key, str(error), "say 2026-01-01T00:00:00.000Z"))
    return out


# Orders.


@dataclass(frozen=True, slots=True)
class Unverified:
    """What an order says. Nothing of it is believed yet."""

    body: OrderBody
    digest: str
    """Of the payload's exact bytes: the same id with another digest is another order."""
    raw: str
    envelope: jws.GeneralJSONSerialization
    kids: tuple[str, ...]
    issued_us: int
    not_before_us: int
    expires_us: int
    start_us: int | None


@dataclass(frozen=True, slots=True)
class Signed:
    """An order whose every signature is good. `signers` are different persons with different keys."""

    body: OrderBody
    raw: str
    signers: tuple[tuple[str, Signer], ...]

    @property
    def persons(self) -> frozenset[str]:
        return frozenset(s.person for _, s in self.signers)

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(kid for kid, _ in self.signers)

    def may(self, action: Action, mode: Mode) -> Reason | None:
        """None when the role table lets these signers do this in the order's area; else why not."""
        counted: list[Signer] = []
        lacking: list[Reason] = []
        for _, signer in self.signers:
            if not wire.covers(signer.area, self.body.area):
                lacking.append(Reason.WRONG_AREA)
            elif action not in signer.actions:
                lacking.append(Reason.WRONG_ACTION)
            elif _HEIGHT[signer.mode] < _HEIGHT[mode]:
                lacking.append(Reason.WRONG_MODE)
            else:
                counted.append(signer)
        for need in ROLE_TABLE[action, mode]:
            fit = [s for s in counted if s.roles & need.roles]
            if len(fit) >= need.persons and sum(Role.COMMANDER in s.roles for s in fit) >= need.commanders:
                return None
        return lacking[0] if lacking else Reason.TOO_FEW_PERSONS


def verify(data: bytes, trust: TrustList, wall_us: int | None = None) -> Signed:
    """`data` as an order that its signers may give, or Rejected. Whether it is fresh is the caller's to ask."""
    return check(peek(data), trust, wall_us)


def peek(data: bytes) -> Unverified:
    """What `data` says, by checks that cost little. Rejected when it cannot be an order."""
    if len(data) > MAX_ORDER_BYTES:
        raise Rejected(Reason.TOO_LARGE, detail=f"{len(data)} bytes, more than {MAX_ORDER_BYTES}")
    order: str | None = None
    try:
        envelope = wire.load_json(data)
        payload, kids = _open(envelope)
        inner = wire.load_json(payload)
        if isinstance(inner.get("id"), str) and re.fullmatch(r"[0-9a-f]{32}", inner["id"]):
            order = inner["id"]
        body = wire.validate(OrderBody, inner)
        start = body.sound.start_at if body.sound else None
        return Unverified(
            body, hashlib.sha256(payload).hexdigest()[:32], data.decode(),
            cast(jws.GeneralJSONSerialization, envelope), kids,
            wire.to_wall_us(body.issued_at), wire.to_wall_us(body.not_before), wire.to_wall_us(body.expires_at),
            None if start is None else wire.to_wall_us(start),
        )
    except Malformed as error:
        raise Rejected(Reason.MALFORMED, order, str(error)) from None


def _open(envelope: dict[str, object]) -> tuple[bytes, tuple[str, ...]]:
    """The payload and the key ids of a JWS; Malformed unless it has exactly the members an order has."""
    if set(envelope) != {"payload", "signatures"}:
        raise Malformed(f"members {sorted(envelope)}; an order has payload and signatures")
    payload = _unb64(envelope["payload"])
    signatures = envelope["signatures"]
    if payload is None:
        raise Malformed("payload is no base64url")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise Malformed(f"an order has 1 to {MAX_SIGNATURES} signatures")
    kids: list[str] = []
    for one in signatures:
        # No `header` beside the protected one: what is not signed is not read.
        if not isinstance(one, dict) or set(one) != {"protected", "signature"}:
            raise Malformed("a signature has protected and signature, and nothing else")
        protected, signature = _unb64(one["protected"]), _unb64(one["signature"])
        if protected is None or signature is None or len(signature) != 64:
            raise Malformed("protected or signature is no base64url of the right length")
        header = wire.load_json(protected, 512)
        kid = header.get("kid")
        if set(header) != {"alg", "kid"} or header["alg"] != "Ed25519" or not _is_kid(kid):
            raise Malformed('a protected header is {"alg": "Ed25519", "kid": ...}, and nothing else')
        kids.append(str(kid))
    return payload, tuple(kids)


def _is_kid(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(KID, text) is not None


def check(order: Unverified, trust: TrustList, wall_us: int | None) -> Signed:
    """Believe `order`, or say why not. `wall_us` dates the keys; None (no believable time) leaves their dates out."""
    body = order.body
    if body.deployment != trust.deployment:
        raise Rejected(Reason.WRONG_DEPLOYMENT, body.id, f"for {body.deployment}, here is {trust.deployment}")
    signers: list[tuple[str, Signer]] = []
    for kid in order.kids:
        signer = trust.keys.get(kid)
        if signer is None:
            raise Rejected(Reason.UNKNOWN_KEY, body.id, kid)
        if wall_us is not None and not (
            wire.to_wall_us(signer.not_before) <= wall_us <= wire.to_wall_us(signer.not_after)
        ):
            raise Rejected(Reason.KEY_NOT_VALID, body.id, f"{kid} of {signer.person}")
        signers.append((kid, signer))
    try:
        jws.deserialize_json(order.envelope, lambda member: _key(trust.keys[member.headers()["kid"]].key.x),
                             algorithms=["Ed25519"])
    except (JoseError, ValueError) as error:
        raise Rejected(Reason.BAD_SIGNATURE, body.id, str(error)) from None
    # One signer twice, one person with two keys, one key under two names: each counts once. Commanders first, so
    # that of a person's two keys the one that says more is the one that counts.
    counted: list[tuple[str, Signer]] = []
    for kid, signer in sorted(signers, key=lambda s: Role.COMMANDER not in s[1].roles):
        if all(signer.person != c.person and signer.key.x != c.key.x for _, c in counted):
            counted.append((kid, signer))
    signed = Signed(body, order.raw, tuple(counted))
    # What a stop stops is known to the caller only: here it needs no more than a drill's stop.
    reason = signed.may(body.action, Mode.DRILL if body.action is Action.STOP else body.mode)
    if reason is not None:
        raise Rejected(reason, body.id, f"signed by {', '.join(sorted(signed.persons))}")
    return signed


@lru_cache(maxsize=MAX_KEYS)
def _key(x: str) -> OKPKey:
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: object) -> bytes | None:
    """The bytes of unpadded base64url; None for anything that is not the one spelling of its bytes."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if _b64(data) == text else None
