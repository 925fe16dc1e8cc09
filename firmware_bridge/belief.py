"""What is believed of one unit's points: the value that its words mean, and how far it may be trusted.

A value that depends on another point (decimals, factor, validity) means nothing while that one is unknown: a
driver that guessed the decimals showed levels wrong 10 to 1000 times. It refuses to know how and when a point is
read; it is told what came of it.
"""

from collections.abc import Iterable
from dataclasses import replace

from firmware_bridge.machine import MS
from firmware_bridge.move import same
from firmware_bridge.plan import Block, Exchange
from firmware_bridge.point import Point
from firmware_bridge.profile import Profile
from firmware_bridge.reading import BAD, GOOD, UNCERTAIN, NoValue, Reading, Value

STALE_PERIODS = 3
"""A reading older than this many of its poll periods is at best UNCERTAIN."""
DECIMALS_LIMIT = 9
"""More decimals than any gauge has: beyond it the code is garbage, and the value would round to a calm zero."""


class Belief:
    """The readings of one device: one for every point of its profile, always.

    `needs` has for each point all that it depends on, and what that depends on in turn; `needed` is all of those.
    `rare_us` stands for the poll period of a point that is not polled.
    """

    def __init__(self, device: str, profile: Profile, rare_us: int) -> None:
        self.readings = {n: Reading(device, n, None, BAD, 0, NoValue.NEVER_READ) for n in profile.points}
        self.needs = {p.name: _needs(profile, p) for p in profile.points.values()}
        self.needed = frozenset[str]().union(*self.needs.values())
        self._device = device
        self._profile = profile
        self._limits_us = {n: STALE_PERIODS * (p.spec.poll_ms * MS if p.spec.poll_ms else rare_us)
                           for n, p in profile.points.items()}
        """How old each may be before it is doubtful."""

    def reading(self, name: str, now_us: int) -> Reading:
        """The reading as it may be believed now: one that polls should have renewed long ago is not GOOD."""
        found = self.readings[name]
        if found.quality is GOOD and now_us - found.at_us > self._limits_us[name]:
            return replace(found, quality=UNCERTAIN)
        return found

    def take(self, now_us: int, block: Block | Exchange, values: tuple[int, ...], at_us: int) -> tuple[Reading, ...]:
        """The unit answered: what its words meant at `at_us`, those first on which others depend."""
        taken: list[Reading] = []
        points = block.points
        if self.needed:
            points = tuple(sorted(points, key=lambda p: len(self.needs[p.name])))
        for point in points:
            reading = self.readings[point.name] = self._decode(now_us, point, block.words(point, values), at_us)
            taken.append(reading)
        return tuple(taken)

    def doubt(self, points: Iterable[Point]) -> tuple[Reading, ...]:
        """No answer this time: the old values stand with their old time, but are not GOOD any more."""
        old = (self.readings[p.name] for p in points)
        return self._changed(replace(r, quality=UNCERTAIN) for r in old if r.quality is GOOD)

    def lose(self, now_us: int, why: NoValue, points: Iterable[Point]) -> tuple[Reading, ...]:
        """No value any more, for those of the points that can be read; only what changes is given."""
        lost = (p.name for p in points if p.spec.readable and self.readings[p.name].why is not why)
        return self._changed(Reading(self._device, name, None, BAD, now_us, why) for name in lost)

    def _changed(self, readings: Iterable[Reading]) -> tuple[Reading, ...]:
        changed = tuple(readings)
        self.readings |= {r.point: r for r in changed}
        return changed

    def _decode(self, now_us: int, point: Point, words: tuple[int, ...], at_us: int) -> Reading:
        factor: float | None = 1.0
        quality = GOOD
        if point.depends_on:
            told = {name: self.reading(self._profile.point(name, point.channel).name, now_us)
                    for name in point.depends_on}
            factor = _factor(point, {name: r.value for name, r in told.items()})
            quality = GOOD if all(r.quality is GOOD for r in told.values()) else UNCERTAIN
        if factor is None or point.is_invalid(words):
            return Reading(self._device, point.name, None, BAD, at_us, NoValue.INVALID)
        value = point.decode(words, factor)
        low, high = point.spec.low, point.spec.high
        if not isinstance(value, str) and ((low is not None and value < low) or (high is not None and value > high)):
            return Reading(self._device, point.name, None, BAD, at_us, NoValue.OUT_OF_RANGE)
        return Reading(self._device, point.name, value, quality, at_us)


def _factor(point: Point, told: dict[str, Value | None]) -> float | None:
    """What the points that this one depends on make of its scale; None when by them it means nothing."""
    spec, factor = point.spec, 1.0
    if spec.decimals_from is not None:
        decimals = told[spec.decimals_from]
        if decimals is None or isinstance(decimals, str) or not 0 <= decimals <= DECIMALS_LIMIT or decimals % 1:
            return None
        factor /= 10 ** int(decimals)
    if spec.factor_from is not None:
        known = spec.factor_from.factors.get(str(told[spec.factor_from.point]))
        if known is None:
            return None
        factor *= known
    if spec.valid_if is not None:
        value = told[spec.valid_if.point]
        if value is None or not same(value, spec.valid_if.is_):
            return None
    return factor


def _needs(profile: Profile, point: Point) -> frozenset[str]:
    direct = [profile.point(name, point.channel) for name in point.depends_on]
    return frozenset(p.name for p in direct).union(*(_needs(profile, p) for p in direct))
