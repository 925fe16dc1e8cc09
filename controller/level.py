"""From a register to a level: one gauge of a spot, and how far what it says may be believed.

A sample passes, in this order: the reading's own quality, the range of the gauge, the distance made a level, the
lowest of a window (a gauge overhead sees the roofs of vehicles), the slew that water can have, and the median of
some. What passed is the level; the first few after a start, or after a doubt, only prime. A level that does not
change by a digit while the road is wet, or while unlike gauges move, is stuck. BAD has no level, and is never good
news: `worst_case` says what the water may have done since.

It refuses to know other gauges (`vote.py` asks several) and what is done about a level (`rule.py`).
"""

from collections import deque
from enum import Enum
from statistics import median
from typing import NamedTuple

from controller.slope import Slope, Span
from controller.spot import CM, GaugeSection
from firmware_bridge.machine import S
from firmware_bridge.reading import Quality, Reading, worst_case

PRIME = 5
"""Samples after a start or a doubt that only prime: a restart makes no edge (H28)."""
REFUSALS = 3
"""So many samples in a row that cannot be true, and the gauge is BAD; one is a spike. Where it jumped, it primes anew
from there: it was blind, or was moved."""
NOISE_CM = 2.0
"""A sample may be so far off without being a jump: ripples."""
WET_CM = 3.0
"""From here on the road is wet, and water over it moves."""
STUCK_US = 120 * S
"""A gauge that shows one digit for so long ..."""
STUCK_MOVE_CM = 10.0
"""... while unlike ones move by so much is stuck."""
HISTORY_US = 300 * S
"""Five minutes of levels are kept: for the rate of rise, and as evidence."""
HISTORY_LIMIT = 1200
"""Of them, however fast a gauge is polled."""
MINUTE_US = 60 * S
RISE_CM = 0.5
"""Slower than this a minute is no rise that goes on: the noise of a dry gauge must not flood the road in a day."""
NO_MOTION = ("rain", "float")
"""Kinds that do not follow the water up and down."""
EVIDENCE_US = 10 * S
"""Evidence has one sample of each of these."""
RAIN_US = 300 * S
"""A tipping bucket's count over so long is its intensity."""


class State(Enum):
    """How far a gauge may be believed.

    PRIMING: it answers, and what it says only fills the filters. It has no vote.

    GOOD: it has a level and a vote.

    BAD: it has none, and `why` says why. What it said last is the beginning of the worst case.
    """

    PRIMING = "priming"
    GOOD = "good"
    BAD = "bad"


class Kind(Enum):
    SAMPLE = "a sample passed"
    PRIMED = "enough samples passed"
    DOUBT = "it cannot be believed"


TABLE = {
    (State.PRIMING, Kind.SAMPLE): State.PRIMING,
    (State.PRIMING, Kind.PRIMED): State.GOOD,
    (State.PRIMING, Kind.DOUBT): State.BAD,
    (State.GOOD, Kind.DOUBT): State.BAD,
    (State.BAD, Kind.SAMPLE): State.PRIMING,
    (State.BAD, Kind.DOUBT): State.BAD,
}


class Sight(NamedTuple):
    """What one gauge says now. The water stands between `low_cm` and `high_cm`; None: no bound on that side.

    A float knows one side only; a gauge at the end of its range as well. `rise_1_cm` and `rise_5_cm`: how much it rose
    in a minute, and in five, by the slope over that time. `worst_cm` speaks of a gauge that is not good.
    """

    id: str
    kind: str
    weight: float
    good: bool
    why: str = ""
    low_cm: float | None = None
    high_cm: float | None = None
    rise_1_cm: float | None = None
    rise_5_cm: float | None = None
    worst_cm: float | None = None
    from_cm: float | None = None
    """A float tells nothing of water that is less deep."""
    heavy: bool = False
    """For rain: it supports."""
    value: float | None = None
    """What is shown: the level in cm, or the rain in mm/h."""


class Gauge:
    """One gauge. `take` its readings, ask for its `sight`."""

    def __init__(self, section: GaugeSection) -> None:
        self.section = section
        self.id = section.id
        self.state = State.PRIMING
        self.why = "never read"
        device, _, point = section.point.partition(".")
        self.source = device, point
        """Whose readings are its own."""
        self._max_age_us = round(section.max_age_s * S)
        self._window_us = round(section.window_s * S)
        self._weight = section.counts
        ends = () if section.kind in NO_MOTION else [self._cm(end) for end in section.range or ()]
        self._ends = min(ends, default=float("-inf")), max(ends, default=float("inf"))
        """The levels between which it can measure."""
        self._at_us: int | None = None
        self._primed = 0
        self._refused = 0
        self._window: deque[tuple[int, float]] = deque(maxlen=HISTORY_LIMIT)
        self._last: tuple[int, float] | None = None
        """The newest sample that passed the slew."""
        self._middle: deque[float] = deque(maxlen=section.median)
        self._level: float | None = None
        self._levels: deque[tuple[int, float]] = deque(maxlen=HISTORY_LIMIT)
        """What passed since the last doubt."""
        self._slopes = Slope(MINUTE_US), Slope(5 * MINUTE_US)
        self._span = Span(HISTORY_US)
        self._motion: tuple[Slope | Span, ...] = (*self._slopes, self._span)
        self._rises: tuple[float | None, ...] = (None, None)
        """How much it rose in a minute, and in five, when a sample last passed."""
        self._told: deque[tuple[int, float]] = deque(maxlen=HISTORY_LIMIT)
        """What it told, believed or not: evidence."""
        self._raw: float | None = None
        self._still_us: int | None = None
        """Since when it shows the same digit."""
        self._stuck: float | None = None
        """What it showed when unlike gauges moved and it did not."""
        self._worst: tuple[int, float, float] | None = None
        """When it was last good, its level then, and how fast that rose, in cm a second."""

    # Into it.

    def take(self, now_us: int, reading: Reading) -> bool:
        """A reading of any device; whether it was this gauge's."""
        if (reading.device, reading.point) != self.source:
            return False
        if reading.quality is Quality.BAD:
            self._doubt(str(reading.why))
        # An UNCERTAIN one is an old value under a new doubt: it ages.
        new = reading.quality is Quality.GOOD and (self._at_us is None or reading.at_us > self._at_us)
        if new and reading.value is not None and not isinstance(reading.value, str):
            self._sample(reading.at_us, float(reading.value))
        return True

    def _sample(self, at_us: int, raw: float) -> None:
        """A value as the device gave it."""
        if self._at_us is not None and at_us - self._at_us > self._max_age_us:
            self._doubt("old")  # nobody asked for its sight meanwhile
        self._at_us = at_us
        if raw != self._raw or self._still_us is None:
            self._raw, self._still_us = raw, at_us
        section = self.section
        shown = raw if section.kind in NO_MOTION else self._cm(raw)
        self._told.append((at_us, shown))
        if raw == self._stuck:
            self._doubt("stuck")
            return
        self._stuck = None
        if section.range is not None and not section.range[0] <= raw <= section.range[1]:
            self._refuse("out of range")
            return
        if section.kind == "float":
            self._pass(at_us, raw)
            return
        if section.kind == "rain":
            self._refused = 0
            self._levels.append((at_us, raw))
            self._pass(at_us, self._intensity(at_us))
            return
        cm = shown
        if self._window_us:
            self._window.append((at_us, cm))
            while self._window[0][0] < at_us - self._window_us:
                self._window.popleft()
            cm = min(level for _, level in self._window)
        if self._jumped(at_us, cm):
            return
        self._last = at_us, cm
        self._middle.append(cm)
        level = median(self._middle)
        if (still_us := self._stood_still(level)) is not None and at_us - still_us[0] >= still_us[1]:
            self._doubt("no variance")
            return
        self._levels.append((at_us, level))
        for kept in self._motion:
            kept.add(at_us, level)
        self._rises = tuple(slope.rise(at_us) for slope in self._slopes)
        self._pass(at_us, level)

    def _pass(self, at_us: int, level: float) -> None:
        """A sample that may be true."""
        self._refused = 0
        self._level = level
        self._primed += 1
        if self.state is not State.GOOD:
            self._go(Kind.SAMPLE)
            self.why = "priming"
            if self._primed >= PRIME:
                self._go(Kind.PRIMED)
                self.why = ""
        if self.state is State.GOOD and self.section.kind not in NO_MOTION:
            fastest = max((rise / n for n, rise in zip((1, 5), self._rises, strict=True) if rise is not None),
                          default=0.0)
            self._worst = at_us, level, fastest / 60 if fastest >= RISE_CM else 0.0

    def _refuse(self, why: str) -> None:
        self._refused += 1
        if self._refused >= REFUSALS:
            self._doubt(why)

    def _doubt(self, why: str) -> None:
        """It is not believed any more; what comes next primes."""
        self._go(Kind.DOUBT)
        self.why = why
        self._primed = 0
        self._middle.clear()
        self._window.clear()
        self._last = None
        self._levels.clear()
        self._rises = None, None
        for kept in self._motion:
            kept.clear()

    def _go(self, kind: Kind) -> None:
        self.state = TABLE[self.state, kind]

    def _jumped(self, at_us: int, cm: float) -> bool:
        """Whether water cannot have come there from where it was."""
        if self._last is None:
            return False
        since_us, before = self._last
        if abs(cm - before) <= NOISE_CM + self.section.slew_cm_per_s * (at_us - since_us) / S:
            return False
        self._refuse("jumped")
        return True

    def _stood_still(self, level: float) -> tuple[int, int] | None:
        """Since when it shows one digit and how long that may be, where it counts."""
        still = self.section.still
        if still is None or level < WET_CM or self._still_us is None or self._at_end(level):
            return None
        return self._still_us, still * S

    # Out of it.

    def sight(self, now_us: int) -> Sight:
        """What it says now. One that was not read for too long is BAD from then on."""
        if self.state is not State.BAD and self._at_us is not None and now_us - self._at_us > self._max_age_us:
            self._doubt("old")
        s, good, level = self.section, self.state is State.GOOD, self._level
        if not good or level is None:
            return Sight(s.id, s.kind, self._weight, False, self.why, worst_cm=self.worst_case(now_us),
                         from_cm=s.wet_cm)
        if s.kind == "rain":
            return Sight(s.id, s.kind, self._weight, True, heavy=level >= s.heavy_mm_h, value=level)
        if s.kind == "float":
            assert s.wet_cm is not None, "config asks a float for it"
            below, above = (s.wet_cm, None) if level else (None, s.wet_cm)
            return Sight(s.id, s.kind, self._weight, True, low_cm=below, high_cm=above, value=below or 0.0,
                         from_cm=s.wet_cm)
        lowest, highest = self._ends
        return Sight(s.id, s.kind, self._weight, True, low_cm=None if level <= lowest else level,
                     high_cm=None if level >= highest else level, rise_1_cm=self._rises[0], rise_5_cm=self._rises[1],
                     value=level)

    def worst_case(self, now_us: int) -> float | None:
        """Where the water may be by now, if it went on rising as when this gauge was last believed. None: it never was.
        """
        if self._worst is None:
            return None
        at_us, level, per_s = self._worst
        reading = Reading(*self.source, level, Quality.GOOD, at_us)
        return min(worst_case(reading, now_us, per_s, self._ends[1]), self._ends[1])

    def moved(self, now_us: int) -> float:
        """How far its level went in the last five minutes."""
        return self._span.width(now_us)

    def still(self, now_us: int) -> bool:
        """Whether it shows one digit for so long that it is to be compared with others."""
        if self.state is not State.GOOD or self.section.kind in NO_MOTION or self._level is None:
            return False
        return self._still_us is not None and now_us - self._still_us >= STUCK_US and not self._at_end(self._level)

    def compared(self, now_us: int, others_cm: float) -> None:
        """Unlike gauges moved by `others_cm`: one that stands still beside them is stuck."""
        if others_cm >= STUCK_MOVE_CM and self.still(now_us):
            self._stuck = self._raw
            self._doubt("stuck")

    def samples(self, now_us: int) -> list[tuple[float, float]]:
        """Its last five minutes as evidence: seconds ago, and value; one in ten seconds."""
        out: dict[int, tuple[float, float]] = {}
        for at_us, value in self._told:
            if at_us >= now_us - HISTORY_US:
                out[at_us // EVIDENCE_US] = round((now_us - at_us) / S, 1), round(value, 1)
        return list(out.values())

    @property
    def primed(self) -> int:
        """Samples that passed since the last doubt."""
        return self._primed

    @property
    def raw(self) -> float | None:
        """The newest value as the device gave it, believed or not."""
        return self._raw

    # Inside.

    def _cm(self, raw: float) -> float:
        cm = raw * CM[self.section.unit or "cm"]
        if self.section.mount_cm is not None:
            cm = self.section.mount_cm - cm
        return cm - self.section.zero_cm

    def _at_end(self, level: float) -> bool:
        """At an end of its range it rightly shows the same for as long as the water is beyond."""
        return not self._ends[0] < level < self._ends[1]

    def _intensity(self, at_us: int) -> float:
        """Rain in mm/h: as it is given, or from a count, which begins anew when it wraps."""
        if self.section.unit == "mm/h":
            return self._levels[-1][1]
        while self._levels[0][0] < at_us - RAIN_US:
            self._levels.popleft()
        steps = zip(self._levels, list(self._levels)[1:], strict=False)
        return sum(max(0.0, after[1] - before[1]) for before, after in steps) * 3600 * S / RAIN_US
