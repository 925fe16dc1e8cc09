"""What passes between the hub's machines and their shells, and what a gateway's topic and bytes say.

Times are integer microseconds: `*_us` monotonic, `wall_us` since 1970 UTC by the hub's own clock.
It refuses to know what a message means: that is fleet's and dispatch's.
"""

import re
from dataclasses import dataclass
from typing import Literal

from controller import wire
from controller.wire import Birth, Event, Health, Message, Receipt, State, Status
from firmware_bridge.errors import Malformed

SaidModel = Status | Birth | State | Health | Receipt | Event
_LEAVES: dict[str, type[SaidModel]] = {
    "status": Status, "birth": Birth, "health": Health, "receipt": Receipt, "event": Event,
}
_ONCE = frozenset({"receipt", "event"})
"""What is told once, so that the broker must keep it for who is away. Everything else is retained: who comes has the
newest of it, and what came before that would only fill the queue."""


@dataclass(frozen=True, slots=True)
class Told:
    """A gateway told something. `message` None: a retained topic was cleared.

    `wall_us` is the hub's wall clock at arrival: a retained message may be of any age, and only its `at` tells.
    """

    gateway: str
    leaf: str
    """`status`, `birth`, `health`, `state`, `receipt`, `event`."""
    message: SaidModel | None
    retained: bool
    wall_us: int


@dataclass(frozen=True, slots=True)
class Clock:
    """What the hub's wall clock says now."""

    wall_us: int


@dataclass(frozen=True, slots=True)
class Broker:
    """The connection to the broker came up, or is gone."""

    up: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Handed:
    """Somebody handed in bytes that should be a signed order, or a signed trust list."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """A trust list was published for our area."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """Bytes for the broker, QoS 1. Only a trust list is retained."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator reads in the log or on the screen."""

    what: str
    gateway: str = ""
    subject: str = ""
    detail: str = ""
    urgent: bool = False


class Taken(Message):
    """The resident hub's word on what was handed in: it sends it and re-sends it, or it does not, and why."""

    v: Literal[1] = 1
    order: str
    """The order's id, or a trust list's digest; empty where none could be read."""
    taken: bool
    why: str = ""
    gateways: int = 0
    sirens: int = 0


def filters() -> tuple[tuple[str, int], ...]:
    """What a hub subscribes to so as to see every gateway, each with its QoS. Telemetry is left out: it moves no order.
    """
    root = f"{wire.ROOT}/s/+/+/+/+/+/+"
    return (*((f"{root}/{leaf}", int(leaf in _ONCE)) for leaf in _LEAVES), (f"{root}/+/state", 0))


def told(topic: str, payload: bytes, retained: bool, wall_us: int) -> Told:
    """What a gateway's message says; Malformed when topic and body do not fit each other."""
    parts = topic.split("/")
    # siren / 1 / s / five levels of area / gateway / leaf, or .../ device / state
    match parts[3 + 5 :]:
        case [gateway, leaf]:
            model, subject = _LEAVES.get(leaf), ""
        case [gateway, subject, "state" as leaf]:
            model = State
        case _:
            gateway, leaf, subject, model = "", "", "", None
    if model is None or not topic.startswith(f"{wire.ROOT}/s/") or not re.fullmatch(wire.CODE, gateway):
        raise Malformed(f"{topic!r} is no topic of a gateway")
    if not payload:
        return Told(gateway, leaf, None, retained, wall_us)
    message = wire.decode(model, payload)
    named, expected = (message.id, subject) if isinstance(message, State) else (message.gateway, gateway)
    if named != expected:
        raise Malformed(f"{topic!r} carries a message of {named!r}")
    return Told(gateway, leaf, message, retained, wall_us)
