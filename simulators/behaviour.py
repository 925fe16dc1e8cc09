"""The three verbs of `[simulate]`: `when` this is written that follows, `ramp` moves, `wave` goes up and down.

Ramps and waves are pure functions of time; noise is a function of seed and time as well, so that a replay gives
the same readings however often they are asked for. `Reactions` remembers which `when` is still to follow.
It refuses to know about wires, memory and outputs: whoever plays a device tells it values and applies changes.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

from firmware_bridge.machine import MS, S, earliest
from firmware_bridge.point import Condition, Point, Scalar
from firmware_bridge.profile import Profile, Ramp, Wave, When
from firmware_bridge.reading import Value

NOISE_US = 100 * MS
"""Noise stays the same this long: two reads of one moment agree, as they do on a device with a filter."""

_GAUSS = NormalDist()


def same(value: Value, wanted: Scalar) -> bool:
    """Whether a decoded value is the one a profile wrote down; numbers within what scaling costs."""
    if isinstance(value, str) or isinstance(wanted, str):
        return value == wanted
    return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9)


def ramp(rule: Ramp, value: float, elapsed_us: int) -> float:
    """Where the value is after moving for `elapsed_us`; it never leaves `low` .. `high`."""
    value += rule.per_s * elapsed_us / S
    if rule.low is not None:
        value = max(value, rule.low)
    return value if rule.high is None else min(value, rule.high)


def wave(rule: Wave, now_us: int, seed: int) -> float:
    """The value at this instant. Two waves with one seed have unlike noise if their points do."""
    value = rule.mean + rule.swing * math.sin(2 * math.pi * now_us / (rule.period_s * S))
    return value + noise(rule.noise, f"{seed}/{rule.wave}", now_us)


def noise(deviation: float, name: str, now_us: int) -> float:
    """What chance adds at this instant, by its standard deviation; unlike names have unlike chance."""
    return deviation * _GAUSS.inv_cdf(chance(f"{name}/{now_us // NOISE_US}")) if deviation else 0.0


def chance(key: str) -> float:
    """A number between 0 and 1 that is always the same for the same key."""
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=6).digest(), "big")
    return (number + 0.5) / 2**48


Changes = Mapping[str, Scalar]
"""Names of points, and what they become."""
Holds = Callable[[Condition, int | None], bool]
"""Whether a condition is true now, on this channel."""


@dataclass(slots=True)
class _Pending:
    """What one rule still has to do on one channel: change, or change back (`before` is what it was)."""

    due_us: int
    turn: int
    rule: When
    channel: int | None
    value: Value
    before: dict[str, Value] | None = None
    back: bool = False


class Reactions:
    """The `when` rules of a profile in flight: at most one of each rule and channel, the newest."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._rules = {n: r for n, r in profile.spec.simulate.items() if isinstance(r, When)}
        self._pending: dict[tuple[str, int | None], _Pending] = {}
        self._turn = 0

    @property
    def deadline(self) -> int | None:
        return earliest(*(p.due_us for p in self._pending.values())) if self._pending else None

    def clear(self) -> None:
        self._pending.clear()

    def said(self, now_us: int, point: Point, value: Value, written: bool, holds: Holds) -> None:
        """A point was written, or became another value. `any` is for writes alone."""
        for name, rule in self._rules.items():
            if rule.when not in (point.base, point.name):
                continue
            if not (written if rule.is_ == "any" else same(value, rule.is_)):
                continue
            if rule.only_if is not None and not holds(rule.only_if, point.channel):
                continue
            key = (name, point.channel)
            held = self._pending.get(key)
            self._turn += 1
            # A rule that still holds its change keeps what was before the first of its changes.
            before = held.before if held is not None else None
            self._pending[key] = _Pending(now_us + rule.after_ms * MS, self._turn, rule, point.channel, value, before)

    def due(self, now_us: int, holds: Holds, value_of: Callable[[str], Value]) -> dict[str, Value] | None:
        """The changes of the first rule that is due, or None. Call it until it is None."""
        due = [(p.due_us, p.turn, key) for key, p in self._pending.items() if p.due_us <= now_us]
        if not due:
            return None
        key = min(due)[2]
        one = self._pending.pop(key)
        rule = one.rule
        if one.back:
            return one.before or {}
        # Asked again: a siren that was cancelled while it spooled up does not begin.
        if rule.only_if is not None and not holds(rule.only_if, one.channel):
            return one.before or {}
        changes: dict[str, Value] = {}
        for name, value in rule.then.items():
            changes[self._profile.point(name, one.channel).name] = one.value if value == "$value" else value
        if rule.hold_ms is not None:
            one.before = one.before or {name: value_of(name) for name in changes}
            one.back = True
            one.due_us += rule.hold_ms * MS
            self._pending[key] = one
        return changes
