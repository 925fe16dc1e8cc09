"""What happens in a small place within a minute, or within an hour: orders, people and faults, drawn from a seed.

A scenario is a place and a list of steps, each an instant, a word, whom it concerns and its figures. Any step may be
taken out without changing what the others say, so that a failing scenario can be made short. As JSON it outlives a
change of the drawing. It refuses to know how a step is done (`live.py`) and what must come of it (`promises/`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from simulators import hamlet, storm
from simulators.faults import TABLE, Fault
from simulators.field import Field
from simulators.hamlet import Place
from simulators.storm import Storm

BUSY_S = 60.0
"""Everything begins within this."""
HOURS = 1_000_000_000
"""Seeds from here on live an hour: a busy minute, nine in which nobody does anything, and so on, in one place."""
MINUTES = 6
APART_S = 600.0
CALM_S = 8.0
"""A place is left alone so long at first: its gateways start."""
SIGNALS: tuple[tuple[str, int | None], ...] = (
    ("demo-air-raid", None), ("demo-air-raid", None), ("demo-air-raid", 20), ("air-raid", 18), ("air-raid", 30),
    ("disaster-gansu", 25), ("disaster-chongqing", 20), ("demo-pre-alert", 15), ("all-clear", 12),
)
"""Short ones, or cut short: a scenario lasts a minute."""
NET = ("gone", "lose", "slow", "repeating", "reordering", "cut", "half-open", "hub-silent", "hub-doubled")
STEPS_S = (1.0, -1.0, 30.0, -30.0, 3600.0, -3600.0, 86_400.0 * 30, 86_400.0 * 365 * 10, -86_400.0 * 365 * 10)
TRUSTS = ("trusted", "trusted", "trusted", "untrusted")
KINDS = {"order": 4, "again": 1, "late": 1, "forge": 2, "retained": 1, "ask": 2, "key": 1, "fault": 9, "net": 4,
         "clock": 2, "process": 3, "disk": 2, "foreign": 1, "trust": 1}
"""The words, and how often each is drawn."""
MANY = (0, 1, 2, 3, 5, 8, 12)
"""So many of them beside the first orders: on a quiet day a promise is judged to the half second, on a bad one less."""
FLOODED = 0.15
"""Share of the places that have a low-lying spot and a storm: such a life costs two others."""
UNORDERED = 0.5
"""Share of these in which nobody orders anything, so that what sounds, sounds by the flood."""
WORSE = 0.15
"""Share of the lives in which a gateway crashes into SAFE-MIN, loses its journal, lives twice, or ends in order."""
WATERS = {"flash": 6, "twice": 2, "waves": 3, "near": 2, "shallow": 1, "recorded": 1}
"""What the water does; `recorded`: one of configs/storms, in so short a time."""
ROWS = 30
"""Of a storm that is played faster than it was."""
WRONG = {"stuck": None, "flooded": None, "debris": (0.3, 0.6), "noisy": (0.03, 0.3), "drifting": (-10.0, 10.0),
         "vehicles": (0.2, 0.6), "dead": None, "frozen": None, "dropped": (0.3, 0.8), "reboot": None}
"""What goes wrong with a gauge, and how much."""
WHO = ("tech", "tech", "guest", "hub", "signed")
"""Somebody at the cabinet, a hub's unsigned word, or two persons' signatures."""
STORMS = ("debris", "flash", "fouling", "queue", "rain", "shallow", "slow-pond", "waves")
HANDS = ("ack", "ack", "shelve", "unshelve", "flood", "wetcheck")
ALARMS = ("red", "red-suspected", "orange", "orange-suspected", "yellow", "yellow-suspected", "blue-suspected")


@dataclass(frozen=True, slots=True)
class Step:
    """At `at_s` somebody does `do` to `on`; for `for_s` where it is something that ends."""

    at_s: float
    do: str
    on: str = ""
    for_s: float = 0.0
    with_: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"at_s": self.at_s, "do": self.do, "on": self.on, "for_s": self.for_s, "with": dict(self.with_)}

    @staticmethod
    def of(data: Mapping[str, Any]) -> "Step":
        return Step(data["at_s"], data["do"], data["on"], data["for_s"], data["with"])


@dataclass(frozen=True, slots=True)
class Scenario:
    """`seed` is also that of the chance by which messages are late."""

    seed: int
    place: Place
    steps: tuple[Step, ...]
    busy_s: float = BUSY_S
    """Everything begins and ends within this."""

    def without(self, n: int) -> "Scenario":
        return replace(self, steps=self.steps[:n] + self.steps[n + 1 :])

    def encode(self) -> str:
        return json.dumps({"seed": self.seed, "busy_s": self.busy_s, "place": self.place,
                           "steps": [s.as_json() for s in self.steps]}, indent=1, ensure_ascii=False)

    @staticmethod
    def decode(text: str) -> "Scenario":
        data = json.loads(text)
        steps = tuple(Step.of(s) for s in data["steps"])
        return Scenario(data["seed"], data["place"], steps, data.get("busy_s", BUSY_S))


def draw(seed: int) -> Scenario:
    """The scenario of this seed. What only some have is drawn by a chance of its own, so that the others stay."""
    chance, more = Random(seed), Random(seed ^ 0xF100D)
    flooded, worse = more.random() < FLOODED, more.random() < WORSE
    place = hamlet.draw(chance, flooded, Random(seed ^ 0xC0FF))
    drawing = _Drawing(chance, place)
    steps = [*drawing.steps()]
    drawing.chance = more
    steps += [*(drawing.flood() if flooded else ()), *(drawing.worse() if worse else ())]
    if flooded and more.random() < UNORDERED:
        steps = [s for s in steps if s.do not in ("order", "late", "again", "retained")]
    busy_s = BUSY_S
    if seed >= HOURS:
        drawing.chance = chance
        for minute in range(1, MINUTES):
            busy_s = minute * APART_S + BUSY_S
            steps += [replace(s, at_s=round(minute * APART_S + s.at_s, 3)) for s in drawing.steps()]
    return Scenario(seed, place, tuple(sorted(steps, key=lambda s: s.at_s)), busy_s)


@cache
def _recorded(name: str) -> Storm:
    path = hamlet.CONFIGS / "storms" / f"{name}.csv"
    return storm.parse(path.read_text(encoding="utf-8"), path.name)[0]


class _Drawing:
    def __init__(self, chance: Random, place: Place) -> None:
        self.chance = chance
        plan, self._configs = hamlet.build(place)
        there = Field(plan, Random)
        self._first_s: float | None = None
        self._gateways = [c.id for c in self._configs]
        self._sirens = [s for c in self._configs for s in c.spec.siren]
        lines, units = [n.id for n in plan.spec.line], [u.id for u in plan.spec.unit]
        targets = [*lines, *units, *(s.drive for s in self._sirens)]
        self._can = {target: list(there.faults(target)[1]) for target in dict.fromkeys(targets)}
        self._serial = [n.id for n in plan.spec.line if n.kind == "rtu"]
        self._gauges = [g.unit for g in plan.spec.gauge]

    def steps(self) -> Iterator[Step]:
        """Of one minute."""
        chance, self._first_s = self.chance, None
        yield self._order(chance.uniform(CALM_S, CALM_S + 15))
        if chance.random() < 0.5:
            yield self._order(chance.uniform(CALM_S, CALM_S + 35))
        words = chance.choices(list(KINDS), weights=list(KINDS.values()), k=chance.choice(MANY))
        for do in words:
            at_s = round(chance.uniform(CALM_S - 4, BUSY_S - 5), 3)
            for_s = round(min(chance.choice((0.5, 2.0, 5.0, 10.0, 20.0, 40.0)) * chance.uniform(0.5, 1.5),
                              BUSY_S - at_s), 3)
            yield from getattr(self, f"_{do}_step", self._plain)(do, at_s, for_s)

    def _plain(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        yield Step(at_s, do, with_={"n": self.chance.randrange(1000)})

    # Orders.

    def _order(self, at_s: float) -> Step:
        chance = self.chance
        kind = chance.choices(("live", "drill", "stop", "quiet"), weights=(6, 3, 3, 1), k=1)[0]
        sound, most_s = chance.choice(SIGNALS)
        if self._first_s is None:
            kind, self._first_s = "live" if chance.random() < 0.7 else "drill", at_s
        elif kind == "stop":
            # Of what sounds: a stop of nothing is a short story.
            at_s = min(self._first_s + chance.uniform(1, 25), BUSY_S - 5)
        said: dict[str, Any] = {"kind": kind, "by": chance.choice(("hub", "hub", "hub", "broker"))}
        if kind in ("live", "drill"):
            said |= {"sound": sound, "max_s": most_s}
            if chance.random() < 0.3:
                said["in_s"] = round(chance.uniform(1, 20), 3)
        if chance.random() < 0.4:
            said["sirens"] = sorted({s.id for s in chance.choices(self._sirens, k=chance.randint(1, 3))})
        if chance.random() < 0.2:
            said["layer"] = chance.choice(("surface", "underground"))
        if kind == "stop":
            said["who"] = chance.choice(("commander", "commander", "commander", "operator", "both"))
        said["age_s"] = chance.choice((0.0, 0.0, 0.0, 1.0, 20.0))
        said["n"] = chance.randrange(1 << 30)
        return Step(round(at_s, 3), "order", with_=said)

    def _order_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        yield self._order(max(at_s, CALM_S))

    def _late_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        """One that somebody held back."""
        order = self._order(at_s)
        yield replace(order, do="late", with_={**order.with_, "age_s": self.chance.choice((200.0, 400.0, 100_000.0)),
                                      "by": "broker"})

    def _ask_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        """Somebody at the cabinet."""
        chance = self.chance
        siren = chance.choice(self._sirens)
        owner = next(c.id for c in self._configs if siren in c.spec.siren)
        verb = chance.choices(("stop", "tag", "growl", "quiet-test", "activate"), weights=(3, 3, 2, 1, 1), k=1)[0]
        args: dict[str, Any] = {"siren": siren.id}
        if verb == "tag":
            args["reason"] = "work at the horn"
            if for_s < 40:
                yield Step(at_s + for_s, "ask", owner,
                           with_={"verb": "untag", "args": {"siren": siren.id}, "user": "tech"})
        if verb == "activate":
            args |= {"seconds": chance.choice((2, 10)), "maintenance": chance.random() < 0.7}
        user = "guest" if chance.random() < 0.15 else "tech"
        yield Step(at_s, "ask", owner, with_={"verb": verb, "args": args, "user": user})

    def _key_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        """The trapped key of a siren is turned, and turned back."""
        keyed = [s for s in self._sirens if s.isolator]
        if keyed:
            yield Step(at_s, "key", self.chance.choice(keyed).id, for_s)

    # Faults.

    def _fault_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        chance = self.chance
        target = chance.choice(list(self._can))
        fault = chance.choice(self._can[target])
        shared = TABLE[fault].number.startswith("share")
        share = chance.choice((0.05, 0.2, 0.5, 1.0)) if shared else 1.0
        if fault is Fault.BABBLE:
            share = chance.choice((0.02, 0.1, 0.5))
        yield Step(at_s, "fault", target, for_s, {"fault": str(fault), "share": share})

    def _net_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        yield Step(at_s, "net", self.chance.choice(self._gateways), for_s, {"what": self.chance.choice(NET)})

    def _clock_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        chance = self.chance
        yield Step(at_s, "clock", chance.choice(self._gateways), for_s, {
            "step_s": chance.choice((0.0, *STEPS_S)), "ppm": chance.choice((0, 0, 50, -200, 5000)),
            "trust": chance.choice(TRUSTS), "error_s": chance.choice((0.0, 0.0, 0.3))})

    def _process_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        chance = self.chance
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            yield Step(at_s, "process", chance.choice(self._gateways), with_={
                "away_s": round(chance.choice((0.2, 1.5, 8.0)) * chance.uniform(0.5, 1.5), 3),
                "power": chance.random() < 0.5, "kept": chance.randint(0, 3)})
            at_s = min(round(at_s + chance.uniform(0.5, 10), 3), BUSY_S - 1)

    def _disk_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        chance = self.chance
        yield Step(at_s, "disk", chance.choice(self._gateways), for_s, {
            "how": chance.choice(("failing", "hanging", "deaf", "nth", "slow")), "n": chance.randint(0, 6)})

    def _foreign_step(self, do: str, at_s: float, for_s: float) -> Iterator[Step]:
        if self._serial:
            yield Step(at_s, "foreign", self.chance.choice(self._serial), with_={"n": self.chance.randint(2, 6)})

    # Water.

    def flood(self) -> Iterator[Step]:
        chance = self.chance
        at_s = round(chance.uniform(CALM_S - 2, 15), 3)
        yield Step(at_s, "storm", with_={"rows": self._water()})
        for _ in range(chance.choice((0, 1, 1, 2))):
            fault = chance.choice(list(WRONG))
            span = WRONG[fault]
            wrong_s = round(max(CALM_S - 4, at_s + chance.uniform(-10, 25)), 3)
            yield Step(wrong_s, "fault", chance.choice(self._gauges), round(chance.uniform(5, BUSY_S - wrong_s), 3),
                       {"fault": fault, "share": 1.0 if span is None else round(chance.uniform(*span), 3)})
        for _ in range(chance.choice((0, 1, 3))):
            yield Step(round(chance.uniform(at_s, BUSY_S - 1), 3), "hand", self._gateways[0], with_={
                "verb": chance.choice(HANDS), "alarm": chance.choice(ALARMS), "who": chance.choice(WHO),
                "n": chance.randrange(1 << 30)})

    def _water(self) -> list[tuple[float, float]]:
        """Rows of seconds and metres. Water rises by five centimetres a second at most, or no gauge believes it."""
        chance = self.chance
        kind = chance.choices(list(WATERS), weights=list(WATERS.values()), k=1)[0]
        if kind == "recorded":
            played, last_s = _recorded(chance.choice(STORMS)), chance.uniform(25, 40)
            return [(round(last_s * n / ROWS, 2), round(played.level_m(played.end_us * n / ROWS), 3))
                    for n in range(ROWS + 1)]
        rise_m_s = chance.uniform(0.02, 0.045)
        peak_m = {"near": chance.uniform(0.3, 0.385), "shallow": chance.uniform(0.03, 0.2)}.get(
            kind, chance.uniform(0.45, 0.9))
        low_m = {"twice": 0.0, "waves": chance.uniform(0.2, 0.36)}.get(kind)
        rows = [(0.0, 0.0), (peak_m / rise_m_s, peak_m)]
        while low_m is not None and rows[-1][0] < 30:
            down_s = rows[-1][0] + (peak_m - low_m) / rise_m_s
            rows += [(down_s, low_m), (down_s + (peak_m - low_m) / rise_m_s, peak_m)]
        stands_s = rows[-1][0] + chance.uniform(4, 25)
        rows += [(stands_s, peak_m), (stands_s + peak_m / rise_m_s, 0.0)]
        return [(round(t_s, 2), round(m, 3)) for t_s, m in rows]

    # What is worse than a fault.

    def worse(self) -> Iterator[Step]:
        chance = self.chance
        on, at_s = chance.choice(self._gateways), round(chance.uniform(CALM_S, BUSY_S - 20), 3)
        what = chance.choice(("safe-min", "lost", "clone", "orderly"))
        if what == "clone":
            yield Step(at_s, "clone", on, round(chance.uniform(8, 20), 3))
            return
        for_s = round(chance.uniform(5, BUSY_S - at_s), 3) if what == "safe-min" else 0.0
        away_s = round(chance.uniform(0.5, 4), 3)
        yield Step(at_s, "process", on, for_s, {"away_s": away_s, "power": what != "orderly",
                                                "kept": chance.randint(0, 3), what: True})
