"""Who may order what: the check of a signed order against the trust list and the role table.

`peek` reads an order without believing it; `check` believes it; `still` asks the same of one that waits, when another
list rules. The envelope verifies its signatures. It does not count who made them: that is done here,
because counting signatures instead of persons is the mistake that TUF's clients made one after the other.

It refuses to know what an order does, what sounds now, what time it is (the caller says), and how a list gets here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller import envelope, strictjson, wire
from controller.envelope import BadSignature, Envelope
from controller.signers import Role, Signer, TrustList
from controller.wire import MAX_ORDER_BYTES, Action, Mode, OrderBody
from firmware_bridge.errors import Malformed

MAX_SIGNATURES = 4
"""Two persons must sign, four may; more only buys an attacker work for us."""
DETAIL_LIMIT = 200
"""Characters of an order that is not believed which may come back in a notice."""


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
    NOT_PREPARED = "not-prepared"
    """A drill that bears no list of the sirens that were shown to its signers."""
    TARGETS_MISMATCH = "targets-mismatch"
    """It was prepared for other sirens than it means on this gateway. A live order sounds all the same."""
    OUTRANKED = "outranked"
    """Something at least as important sounds on this siren now."""
    DAILY_LIMIT = "daily-limit"
    """The siren has sounded for 60 minutes in 24 hours; only two persons' order that was signed just now sounds."""
    STOPPED = "stopped"
    """A stop that was issued after this order came first."""
    ISSUED_LATER = "issued-later"
    """A stop ends what was issued before it; something that was issued later goes on. Sign a new stop."""
    NO_TIME = "no-time"
    """The gateway's clock is not to be believed, so it cannot know whether the order is fresh."""
    STALE_NONCE = "stale-nonce"
    """It bears a nonce that this gateway has not shown in the last minutes, or that another order has used."""
    NO_JOURNAL = "no-journal"
    """The disk did not take the order; only live ones sound without."""
    STALE_TRUST = "stale-trust"
    """A drill was signed under a newer trust list than this gateway has."""
    NOT_PERMITTED = "not-permitted"
    """The local user may not do this, or not for so long."""
    KEY_WITHDRAWN = "key-withdrawn"
    """It waited for its time, and the trust list that rules by now does not let its signers order it."""
    CRASHED = "crashed"
    """The gateway crashed on it, twice: it is not tried again."""
    SAFE_MIN = "safe-min"
    """The gateway has crashed too often; it carries out live orders and stops only."""
    BUSY = "busy"
    """Too many orders wait or are remembered; send it again."""


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

SHELF_TABLE: tuple[tuple[int, Need], ...] = (
    (60, Need(1, frozenset({Role.HYDROLOGIST}))),
    (480, Need(2, _DUTY | {Role.HYDROLOGIST}, commanders=1)),
)
"""Who may keep an alarm of a flood silent from afar, and for how many minutes at most. One person stops a siren that a
flood rule started, so one who knows gauges may hush its alarm for an hour. A shift takes two, as a live order does."""

_HEIGHT = {Mode.SILENT: 0, Mode.DRILL: 1, Mode.LIVE: 2}


class Rejected(Exception):
    """An order that is not believed. `order` is its id where one could be read; it proves nothing."""

    def __init__(self, reason: Reason, order: str | None = None, detail: str = "") -> None:
        self.reason = reason
        self.order = order
        # JSON may name half a character, which no message can carry.
        self.detail = detail.encode(errors="backslashreplace").decode()[:DETAIL_LIMIT]
        super().__init__(f"{reason}: {detail}" if detail else str(reason))


@dataclass(frozen=True, slots=True)
class Unverified:
    """What an order says. Nothing of it is believed yet."""

    body: OrderBody
    digest: str
    """Of the payload's exact bytes: the same id with another digest is another order."""
    raw: str
    envelope: Envelope
    issued_us: int
    not_before_us: int
    expires_us: int
    start_us: int | None

    @property
    def kids(self) -> tuple[str, ...]:
        return self.envelope.kids


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
        return permits((s for _, s in self.signers), self.body.area, action, mode)


def permits(signers: Iterable[Signer], area: str, action: Action, mode: Mode,
            needs: Iterable[Need] | None = None) -> Reason | None:
    """None when the role table, or else `needs`, lets these persons do this in an area; else why not."""
    counted: list[Signer] = []
    lacking: list[Reason] = []
    for signer in signers:
        if not signer.covers(area):
            lacking.append(Reason.WRONG_AREA)
        elif action not in signer.actions:
            lacking.append(Reason.WRONG_ACTION)
        elif _HEIGHT[signer.mode] < _HEIGHT[mode]:
            lacking.append(Reason.WRONG_MODE)
        else:
            counted.append(signer)
    for need in ROLE_TABLE[action, mode] if needs is None else needs:
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
        opened = envelope.opened(data, MAX_ORDER_BYTES, MAX_SIGNATURES)
        inner = strictjson.load(opened.payload, wire.MAX_ORDER_BYTES)
        if isinstance(inner.get("id"), str) and re.fullmatch(r"[0-9a-f]{32}", inner["id"]):
            order = inner["id"]
        body = wire.validate(OrderBody, inner)
        start = body.sound.start_at if body.sound else None
        return Unverified(
            body, opened.digest, data.decode(), opened,
            wire.to_wall_us(body.issued_at), wire.to_wall_us(body.not_before), wire.to_wall_us(body.expires_at),
            None if start is None else wire.to_wall_us(start),
        )
    except Malformed as error:
        raise Rejected(Reason.MALFORMED, order, str(error)) from None


def check(order: Unverified, trust: TrustList, wall_us: int | None) -> Signed:
    """Believe `order`, or say why not. `wall_us` dates the keys; None (no believable time) leaves their dates out."""
    body = order.body
    if body.deployment != trust.deployment:
        raise Rejected(Reason.WRONG_DEPLOYMENT, body.id, f"for {body.deployment}, here is {trust.deployment}")
    signers = _named(order.kids, trust, wall_us, body.id)
    try:
        order.envelope.verify({kid: trust.keys[kid].key.x for kid in order.kids})
    except BadSignature as error:
        raise Rejected(Reason.BAD_SIGNATURE, body.id, str(error)) from None
    signed = Signed(body, order.raw, signers)
    # What a stop stops is known to the caller only: here it needs no more than a drill's stop.
    reason = signed.may(body.action, Mode.DRILL if body.action is Action.STOP else body.mode)
    if reason is not None:
        raise Rejected(reason, body.id, f"signed by {', '.join(sorted(signed.persons))}")
    return signed


def still(kids: Iterable[str], area: str, action: Action, mode: Mode, trust: TrustList, accepted_us: int,
          needs: Iterable[Need] | None = None) -> Reason | None:
    """Whether an order that these keys signed, and that was accepted then, would be believed under this list too.

    A key's dates speak of the day its signature was accepted: one that ended later made it while it was good.
    """
    try:
        return permits((s for _, s in _named(kids, trust, accepted_us, None)), area, action, mode, needs)
    except Rejected as rejected:
        return rejected.reason


def _named(kids: Iterable[str], trust: TrustList, wall_us: int | None,
           order: str | None) -> tuple[tuple[str, Signer], ...]:
    """The persons behind the names of keys, each once; Rejected when a name is not in the list, or not valid then."""
    signers: list[tuple[str, Signer]] = []
    for kid in kids:
        signer = trust.keys.get(kid)
        if signer is None:
            raise Rejected(Reason.UNKNOWN_KEY, order, kid)
        if wall_us is not None and not signer.valid_at(wall_us):
            raise Rejected(Reason.KEY_NOT_VALID, order, f"{kid} of {signer.person}")
        signers.append((kid, signer))
    # One signer twice, one person with two keys, one key under two names: each counts once. Commanders first, so
    # that of a person's two keys the one that says more is the one that counts.
    counted: list[tuple[str, Signer]] = []
    for kid, signer in sorted(signers, key=lambda s: Role.COMMANDER not in s[1].roles):
        if all(signer.person != c.person and signer.key.x != c.key.x for _, c in counted):
            counted.append((kid, signer))
    return tuple(counted)
