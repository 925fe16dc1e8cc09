"""The moves of an action: a profile's steps with channel, arguments and raw words filled in.

Whatever does not fit is found here, before anything is written. It refuses to know time, buses and outcomes.
"""

from dataclasses import dataclass
from math import isclose

from firmware_bridge.event import Begin, Request, Write
from firmware_bridge.machine import MS
from firmware_bridge.point import Point
from firmware_bridge.profile import Profile, Step
from firmware_bridge.reading import Value


@dataclass(frozen=True, slots=True)
class Set:
    """Write `words` to a point. `bounded`: the Begin's `expires_us` holds for it."""

    point: Point
    words: tuple[int, ...]
    edge: bool
    bounded: bool

    def request(self, unit: int) -> Request:
        """What goes out to this unit."""
        point = self.point
        if point.message is not None:
            return point.message.request(unit, {point.field: bytes(self.words)})
        return Write(point.table, point.address, self.words, point.spec.multiple)

    @property
    def repeatable(self) -> bool:
        """Whether writing it again changes nothing."""
        return self.point.spec.write == "level"


@dataclass(frozen=True, slots=True)
class Expect:
    """Look until a point has a value."""

    point: Point
    value: Value
    within_us: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while."""

    us: int


Move = Set | Expect | Wait


def resolve(profile: Profile, begin: Begin) -> tuple[Move, ...]:
    """The moves of an action for one channel with its arguments filled in; ValueError says what does not fit."""
    steps = profile.actions.get(begin.action)
    if steps is None:
        raise ValueError(f"no action {begin.action!r}; actions: {', '.join(profile.actions) or 'none'}")
    if begin.channel is not None and not 1 <= begin.channel <= (profile.channels or 0):
        raise ValueError(f"no channel {begin.channel}; {profile.id} has {profile.channels or 'none'}")
    edge = next((n for n, step in enumerate(steps) if step.edge), len(steps))
    return tuple(_move(profile, begin, step, n <= edge) for n, step in enumerate(steps))


def _move(profile: Profile, begin: Begin, step: Step, bounded: bool) -> Move:
    if step.wait_ms is not None:
        return Wait(step.wait_ms * MS)
    name = step.set if step.set is not None else step.expect
    value: Value | None = step.to if step.set is not None else step.is_
    assert name is not None, "the profile was checked"
    assert value is not None, "the profile was checked"
    try:
        point = profile.point(name, begin.channel)
    except KeyError:
        raise ValueError(f"{name} needs a channel, 1 to {profile.channels}") from None
    if isinstance(value, str) and value.startswith("$"):
        value = (begin.args or {}).get(value[1:])
        if value is None:
            raise ValueError(f"missing argument {step.to if step.set is not None else step.is_}")
    words = point.encode(value)
    if step.set is not None:
        move = Set(point, words, step.edge, bounded)
        move.request(1)  # What cannot be said is Malformed now, and not when the edge is due.
        return move
    return Expect(point, value, step.within_ms * MS)


def same(value: Value, wanted: Value) -> bool:
    """Whether two values are one: names by name, numbers but for the rounding of their scale."""
    if isinstance(value, str) or isinstance(wanted, str):
        return value == wanted
    return isclose(value, wanted, rel_tol=1e-6, abs_tol=1e-9)
