"""The trust list as a document: every key with its person, and what may be ordered with it.

It is the payload of a signed file (`admission.py` judges that); a draft of one is the same JSON, unsigned.
It refuses to know who may change it, and what roles together may do.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from controller import strictjson, wire
from controller.envelope import KID, X, thumbprint, unb64
from controller.roots import DEMO_DEPLOYMENT, DEMO_ROOT, Roots, demo_roots
from controller.wire import Action, Area, Instant, Mode
from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Malformed, Problem

MAX_KEYS = 512
"""Keys in a trust list: a large city has some dozens of persons."""
MAX_AREAS = 16
"""Areas of one key: somebody stands in for a neighbour, not for a scatter of places."""
MAX_PAYLOAD_BYTES = 384 * 1024
"""The list itself: 512 keys with long names and several areas."""
DEMO_KEYS = frozenset({
    "MY7gj9R51YKp1uaqaUEw2cryzoBZ4WaSgBW2aZTe9_0",  # operator-1
    "vnC2MYjafku1hxUv2fB4Rrq4rNf4Z2yUqxff_F6Bi3U",  # operator-2
    "hgRS60aBv00YW2V7cACKDzPu_BDCxi79y9dRTCZ2Wl0",  # commander
})
"""RFC 7638 thumbprints of the keys in configs/demo/keys. Their private halves are public: never in production."""


class Role(StrEnum):
    """What a person is in the office. A key has at least one."""

    OPERATOR = "operator"
    COMMANDER = "commander"
    TESTER = "tester"
    HYDROLOGIST = "hydrologist"
    """Signs, with a commander, the policy by which sirens may sound for a flood of themselves; may hush an alarm of a
    flood for an hour."""


class PublicKey(Document):
    """The public half of an Ed25519 key as a JWK (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, Field(pattern=X)]

    @property
    def thumbprint(self) -> str:
        """RFC 7638: what names the key itself."""
        return thumbprint(self.x)


class Signer(Document):
    """A person's key, and what may be ordered with it."""

    person: Annotated[str, Field(min_length=1, max_length=64)]
    key: PublicKey
    roles: Annotated[frozenset[Role], Field(min_length=1)]
    areas: Annotated[tuple[Area, ...], Field(min_length=1, max_length=MAX_AREAS)]
    """An order's area must lie in one of them."""
    actions: Annotated[frozenset[Action], Field(min_length=1)]
    mode: Mode
    """The highest mode: silent, drill, live."""
    not_before: Instant
    not_after: Instant

    def covers(self, area: str) -> bool:
        return any(wire.covers(own, area) for own in self.areas)

    def valid_at(self, wall_us: int) -> bool:
        return wire.to_wall_us(self.not_before) <= wall_us <= wire.to_wall_us(self.not_after)


class TrustList(Document):
    """What the roots sign. Of two lists the one with the higher version counts, and nothing else of their age."""

    v: Literal[1]
    version: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)]
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    issued_at: Instant
    """For people and inquiries; nothing is decided by it."""
    roots: Roots
    """Who signs the next list. Where they differ from the last list's, both sign this one."""
    keys: dict[Annotated[str, Field(pattern=f"^{KID}$")], Signer]
    """By the thumbprint of the key."""


def parse(text: str, file: str) -> TrustList:
    """The list in `text`; BadDocument with every problem in it. `file` is what they call it."""
    try:
        data = strictjson.load(text.encode(), MAX_PAYLOAD_BYTES)
    except (Malformed, UnicodeEncodeError) as error:
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


def _cross_check(trust: TrustList, file: str) -> Iterator[Problem]:
    """What the models cannot see alone: one key twice, keys that are none, dates, roots that order, demo keys."""
    if not 1 <= len(trust.keys) <= MAX_KEYS:
        yield Problem(file, "keys", f"{len(trust.keys)} keys", f"list 1 to {MAX_KEYS} keys")
    if not _is_instant(trust.issued_at):
        yield Problem(file, "issued_at", trust.issued_at, "no date there is; say 2026-01-01T00:00:00.000Z")
    for x in demo_roots(trust.roots.keys, trust.deployment):
        yield Problem(file, "roots.keys", x, DEMO_ROOT)
    owner: dict[str, str] = {}
    for kid, signer in trust.keys.items():
        key = f"keys.{kid}"
        x, print_ = signer.key.x, signer.key.thumbprint
        if unb64(x) is None:
            yield Problem(file, f"{key}.key.x", x, "no base64url of 32 bytes; export the key again")
        elif kid != print_:
            yield Problem(file, key, x, f"a key is listed under its thumbprint, {print_}")
        if print_ in owner:
            yield Problem(file, f"{key}.key", x, f"the same key as {owner[print_]}: one person, one key, one entry")
        owner.setdefault(print_, kid)
        if print_ in trust.roots.by_name:
            yield Problem(file, f"{key}.key", x, "a root key: it signs lists only; make this person a key of their own")
        if print_ in DEMO_KEYS and trust.deployment != DEMO_DEPLOYMENT:
            yield Problem(file, f"{key}.key", x,
                          "a demo key, whose private half anybody has; make this person a key of their own")
        if not (_is_instant(signer.not_before) and _is_instant(signer.not_after)):
            yield Problem(file, key, f"{signer.not_before} to {signer.not_after}",
                          "no dates there are; say 2026-01-01T00:00:00.000Z")
        elif wire.to_wall_us(signer.not_before) >= wire.to_wall_us(signer.not_after):
            yield Problem(file, f"{key}.not_after", signer.not_after, "not after not_before; mend the dates")


def _is_instant(text: str) -> bool:
    try:
        wire.to_wall_us(text)
    except Malformed:
        return False
    return True


def warnings(trust: TrustList) -> list[str]:
    """What is allowed and hardly meant, in two languages: for whoever signs or checks a list."""
    out = []
    live = [s for s in trust.keys.values() if s.mode is Mode.LIVE and Action.SOUND in s.actions
            and s.roles & {Role.OPERATOR, Role.COMMANDER}]
    if not any(Role.COMMANDER in s.roles for s in trust.keys.values()):
        out.append("名单中没有指挥员 / no commander in it: nobody can order a live warning")
    elif len({s.person for s in live}) < 2 or not any(Role.COMMANDER in s.roles for s in live):
        out.append("不足两人可下达实战命令 / no two persons in it, one a commander, may sound live")
    if not any(Action.STOP in s.actions for s in trust.keys.values()):
        out.append("无人可下达停止命令 / nobody in it may stop")
    if trust.roots.threshold == 1:
        out.append("一把根密钥即可改名单 / one root key alone changes the list")
    return out
