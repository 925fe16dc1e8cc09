"""Two hours at one spot: water of chance, one gauge that goes wrong, the rule of the spot, and a judge beside it.

Four gauges of unlike kinds as `simulators/gauge.py` plays them; what they show goes straight to the machine that the
gateway runs (`controller/rule.py`), without lines between. Which water, which gauge and what becomes of it follow from
a seed. The judge knows how deep the water truly was, and asks the rule nothing but what it did.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from controller import scale
from controller.event import Alarmed
from controller.rule import Grant, Rule
from controller.scale import Colour
from controller.spot import GaugeSection, SpotSection
from firmware_bridge.machine import S
from firmware_bridge.point import Point, PointSpec
from firmware_bridge.reading import NoValue, Quality, Reading, Took
from simulators import gauge
from simulators.faults import Fault
from simulators.gauge import Gauge
from simulators.storm import Storm

ROOT = Path(__file__).resolve().parent.parent
SCALE = scale.load(ROOT / "configs/flood/scale-15-27-40.toml")
RED_CM = SCALE.colours[Colour.RED].at_cm
EPISODE_S = 7200
SPOT = SpotSection(id="underpass", scale="scale", gauge=(
    GaugeSection(id="press", kind="pressure", point="press.level", unit="m"),
    GaugeSection(id="sonar", kind="ultrasonic", point="sonar.distance", unit="m", mount_cm=420, range=(0.3, 5.0)),
    GaugeSection(id="float", kind="float", point="float.contact", wet_cm=RED_CM),
    GaugeSection(id="rain", kind="rain", point="rain.rain", unit="mm/h"),
))
GRANT = Grant(Colour.RED, ("s-1",), "flood", "d", 60, "policy 1", ("A", "B"))
MARGIN_CM = 3.0
"""Water so near to red may or may not be called red: ripples, and the models' own errors."""
STANDS_S = 120
"""Water over red by MARGIN_CM for so long is an event that must not be missed."""
BEFORE_S = 120
"""A start is false when the water was under red by MARGIN_CM for all of so long before it."""
DRY_CM = 2.0
"""Below it, one event is over."""

WATERS = {"dry": 4, "rain": 3, "shallow": 4, "waves": 3, "near": 4, "pond": 3, "flash": 4}
"""Kinds of water, and how often each comes."""
SHAPES = ("well", "dead", "stuck", "drift-up", "drift-down", "noisy", "vehicles", "debris", "flooded", "flapping",
          "spikes", "blind")
"""What becomes of one gauge. `blind`: it shows a dry road; `flapping`: it answers by turns."""
_SENSORS = {"stuck": (Fault.STUCK, 1.0), "drift-up": (Fault.DRIFTING, 0.3), "drift-down": (Fault.DRIFTING, -0.3),
            "noisy": (Fault.NOISY, 0.05), "vehicles": (Fault.VEHICLES, 0.3), "debris": (Fault.DEBRIS, 0.6),
            "flooded": (Fault.FLOODED, 1.0)}
SPIKES = 0.05
"""Share of readings that are anything at all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An episode, which follows from its seed; gauges are polled each `poll_s`."""

    seed: int
    poll_s: int = 5

    @property
    def shape(self) -> str:
        return SHAPES[self.seed % len(SHAPES)]


@dataclass(slots=True)
class Result:
    """What was found. `stories` tell each wrong thing in words."""

    plan: Plan
    water: str = ""
    whose: str = ""
    found: Counter[str] = field(default_factory=Counter)
    stories: list[str] = field(default_factory=list)

    @property
    def sensor_hours(self) -> float:
        return len(SPOT.gauge) * EPISODE_S / 3600


class Seen:
    """One gauge of the spot, its model's noise and resolution, and what is wrong with it from an instant on."""

    def __init__(self, section: gauge.GaugeSection, spec: PointSpec, deviation_m: float, digits: int,
                 seed: int) -> None:
        self.device, _, self.point = section.point.partition(".")
        self.gauge = Gauge(section, Point(self.point, spec, None), deviation_m, f"{seed}/{section.point}")
        self._digits = digits
        self.shape = "well"
        self._since_us = 0

    def go_wrong(self, shape: str, at_us: int) -> None:
        self.shape, self._since_us = shape, at_us

    def reading(self, now_us: int, level_m: float, rain_mm_h: float, chance: Random) -> Reading:
        shape = self.shape if now_us >= self._since_us else "well"
        if shape in _SENSORS and not self.gauge.faults:
            self.gauge.inject(now_us, *_SENSORS[shape], level_m, rain_mm_h)
        if shape == "blind":
            level_m = 0.0
        if shape == "dead" or (shape == "flapping" and (now_us // (40 * S)) % 3 == 0):
            return Reading(self.device, self.point, None, Quality.BAD, now_us, NoValue.SILENT)
        value = self.gauge.shows(now_us, level_m, rain_mm_h)
        if shape == "spikes" and chance.random() < SPIKES:
            value = bool(chance.getrandbits(1)) if isinstance(value, bool) else chance.uniform(0, 5)
        if isinstance(value, float):
            value = round(value, self._digits)
        return Reading(self.device, self.point, value, Quality.GOOD, now_us)


def seen(seed: int) -> list[Seen]:
    """The gauges of SPOT as they hang there."""
    def metres(at: str) -> PointSpec:
        return PointSpec(at=at, unit="m")

    press = gauge.GaugeSection(point="press.level", shows="level", range_m=5)
    sonar = gauge.GaugeSection(point="sonar.distance", shows="distance", height_m=4.2)
    contact = gauge.GaugeSection(point="float.contact", shows="contact", height_m=RED_CM / 100)
    rain = gauge.GaugeSection(point="rain.rain", shows="rain")
    return [Seen(press, metres("holding:4"), 0.002, 3, seed), Seen(sonar, metres("holding:5"), 0.002, 4, seed),
            Seen(contact, PointSpec(at="discrete:0"), 0.005, 0, seed),
            Seen(rain, PointSpec(at="input:0", unit="mm/h"), 0.0, 1, seed)]


def water(kind: str, chance: Random) -> Storm:
    """Two hours of it, one event at most."""
    begin, wet = chance.uniform(300, 2400), chance.uniform(5, 90)
    rows: list[tuple[float, float]] = [(0.0, 0.0), (begin, 0.0)]

    def event(peak_m: float, cm_a_minute: float) -> None:
        top = begin + peak_m * 6000 / cm_a_minute
        stand = top + chance.uniform(200, 900)
        rows.extend([(top, peak_m), (stand, peak_m), (min(stand + peak_m * chance.uniform(1500, 3000), 7100.0), 0.0)])

    match kind:
        case "shallow":
            event(chance.uniform(0.02, 0.12), chance.uniform(0.3, 10))
        case "near":
            event(chance.uniform(0.16, RED_CM / 100 - 0.05), chance.uniform(0.5, 12))
        case "pond":
            event(chance.uniform(0.46, 0.8), chance.uniform(0.8, 2))
        case "flash":
            event(chance.uniform(0.46, 1.2), chance.uniform(5, 20))
        case "waves":
            depth_m = chance.uniform(0.04, 0.12)
            for second in range(0, 3600, 10):
                wave_m = depth_m * chance.uniform(1.2, 2.6)
                rows += [(begin + second + 10, depth_m), (begin + second + 11, wave_m), (begin + second + 13, depth_m)]
        case _:
            wet = chance.uniform(40, 120) if kind == "rain" else 0.0
    rows = sorted(dict(rows).items())
    rain = tuple(wet if begin - 300 <= t <= begin + 1800 else 0.0 for t, _ in rows)
    return Storm(kind, tuple(round(t * S) for t, _ in rows), tuple(level for _, level in rows), rain)


class Episode:
    """One seed, played to its end by `run`."""

    def __init__(self, plan: Plan) -> None:
        chance = Random(plan.seed)
        kind = chance.choices(list(WATERS), list(WATERS.values()))[0]
        self.plan, self._chance = plan, chance
        self.storm = water(kind, chance)
        self.gauges = seen(plan.seed)
        wrong = self.gauges[chance.randrange(3)]
        if plan.shape != "well":
            wrong.go_wrong(plan.shape, round(chance.uniform(30, 3000) * S))
        self.result = Result(plan, kind, wrong.device)
        self.rule = Rule("gw", f"b{plan.seed}", 8.0, SPOT, SCALE, {}, count())

    def run(self) -> Result:
        judge = _Judge(self.result)
        self.rule.handle(0, GRANT)
        for second in range(1, EPISODE_S, self.plan.poll_s):
            now_us = second * S
            level_m, rain = self.storm.level_m(now_us), self.storm.rain(now_us)
            readings = tuple(one.reading(now_us, level_m, rain, self._chance) for one in self.gauges)
            asked = [e for e in self.rule.handle(now_us, Took("", readings)) if isinstance(e, Alarmed)]
            judge.look(second, level_m * 100, len(asked))
        judge.over()
        return self.result


class _Judge:
    """What should have come of the water, and what did."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._recent: deque[tuple[int, float]] = deque()
        self._starts = 0
        self._red_s: int | None = None
        self._due = False

    def look(self, second: int, cm: float, starts: int) -> None:
        self._recent.append((second, cm))
        while self._recent[0][0] < second - BEFORE_S:
            self._recent.popleft()
        if starts:
            self._result.found["starts"] += starts
            highest = max(c for _, c in self._recent)
            if highest < RED_CM - MARGIN_CM:
                self._tell("false starts", f"at {second} s, the water was at {highest:.1f} cm at most")
            self._starts += starts
        self._red_s = (second if self._red_s is None else self._red_s) if cm >= RED_CM + MARGIN_CM else None
        self._due = self._due or (self._red_s is not None and second - self._red_s >= STANDS_S)
        if cm < DRY_CM and (self._starts or self._due):
            self.over()

    def over(self) -> None:
        """An event came to its end."""
        if self._due:
            self._result.found["events"] += 1
            if not self._starts:
                self._tell("missed events", "red water stood, and nothing was asked to sound")
        if self._starts > 1:
            self._tell("second starts", f"{self._starts} starts in one event")
        self._starts, self._due, self._red_s = 0, False, None

    def _tell(self, what: str, words: str) -> None:
        result = self._result
        result.found[what] += 1
        result.stories.append(f"{what}: {result.water}, {result.whose} {result.plan.shape}: {words}")


def play(plan: Plan) -> Result:
    return Episode(plan).run()
