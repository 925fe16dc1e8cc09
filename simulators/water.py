"""The waters of a site: where each stands, the storm that moves it, and the gauges that see it.

Without a storm a road is dry. A storm plays from the instant at which it began, faster if that is wished, and its
own faults come with it; after its last row the water stands where it is. It refuses to know units and lines: it is
asked what a point shows, and tells which faults are due.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_bridge.machine import earliest
from firmware_bridge.point import Scalar
from firmware_bridge.profile import Profile, Wave
from simulators.faults import Fault, NoSuch
from simulators.gauge import OF_RAIN, UNITS, Gauge
from simulators.site import Plan
from simulators.storm import Storm

FASTEST = 1000.0
"""A day in a minute and a half: beyond it a gauge polled each second sees nothing of a flood."""
GAUGES_FAULTS = (Fault.STUCK, Fault.DRIFTING, Fault.NOISY, Fault.VEHICLES, Fault.DEBRIS, Fault.FLOODED)


@dataclass(slots=True)
class _Played:
    """A storm on one water since an instant; `next` counts the faults that have come."""

    storm: Storm
    began_us: int
    speed: float
    next: int = 0

    def t_us(self, now_us: int) -> float:
        return (now_us - self.began_us) * self.speed


class Waters:
    """Every water of a site, by name."""

    def __init__(self, plan: Plan) -> None:
        self._gauges: dict[tuple[str, str], Gauge] = {}
        self._played: dict[str, _Played | None] = {}
        for spec in plan.spec.gauge:
            profile = plan.profile_of(spec.unit)
            point = profile.points[spec.name]
            unit = next(u for u in plan.spec.unit if u.id == spec.unit)
            deviation_m = _deviation(profile, point.base) / UNITS.get(spec.shows, {}).get(point.spec.unit, 1.0)
            self._gauges[spec.unit, spec.name] = Gauge(spec, point, deviation_m, f"{unit.seed}/{spec.point}")
            self._played[spec.water] = None
        self.deadline: int | None = None
        """When the next fault of a storm is due."""

    def _next_us(self) -> int | None:
        return earliest(*(p.began_us + round(p.storm.wrongs[p.next].t_us / p.speed) for p in self._played.values()
                          if p is not None and p.next < len(p.storm.wrongs)))

    def play(self, now_us: int, storm: Storm | None, water: str | None, speed: float) -> list[tuple[str, Fault]]:
        """Begin a storm on a water (None: on all); None dries the road. Tells the faults that end with the old one."""
        if water is not None and water not in self._played:
            raise NoSuch(f"{water!r} is no water; waters: {', '.join(self._played) or 'none'}")
        if not self._played:
            raise NoSuch("no gauge sees water here: give the site a [[gauge]]")
        if not 0 < speed <= FASTEST:
            raise NoSuch(f"speed {speed:g}: more than 0, and {FASTEST:g} at most")
        over: list[tuple[str, Fault]] = []
        for name in [water] if water is not None else list(self._played):
            before = self._played[name]
            if before is not None:
                came = before.storm.wrongs[:before.next]
                over += [(unit, wrong.fault) for wrong in came for unit in self._meant(name, wrong.whom)]
            self._played[name] = None if storm is None else _Played(storm, now_us, speed)
        self.deadline = self._next_us()
        return list(dict.fromkeys(over))

    def due(self, now_us: int) -> list[tuple[str, Fault, float]]:
        """The faults that are to begin or end now: unit, fault, how much."""
        if self.deadline is None or self.deadline > now_us:
            return []
        out: list[tuple[str, Fault, float]] = []
        for name, played in self._played.items():
            while played is not None and played.next < len(played.storm.wrongs):
                wrong = played.storm.wrongs[played.next]
                if played.began_us + round(wrong.t_us / played.speed) > now_us:
                    break
                played.next += 1
                out += [(unit, wrong.fault, wrong.share) for unit in self._meant(name, wrong.whom)]
        self.deadline = self._next_us()
        return out

    def _meant(self, water: str, whom: str) -> list[str]:
        """A unit by its id, or all units of this water that show such a thing. A shape may name what is not there."""
        return list(dict.fromkeys(unit for (unit, _), gauge in self._gauges.items()
                                  if gauge.spec.water == water and whom in (unit, gauge.spec.shows)))

    # What is seen.

    def level_m(self, now_us: int, water: str) -> float:
        played = self._played[water]
        return 0.0 if played is None else played.storm.level_m(played.t_us(now_us))

    def rain(self, now_us: int, water: str) -> float:
        played = self._played[water]
        return 0.0 if played is None else played.storm.rain(played.t_us(now_us))

    def shown(self, now_us: int, unit: str) -> dict[str, Scalar]:
        """What the points of a unit that see water show now."""
        return {name: gauge.shows(now_us, *self._at(now_us, gauge)) for (of, name), gauge in self._gauges.items()
                if of == unit}

    def _at(self, now_us: int, gauge: Gauge) -> tuple[float, float]:
        return self.level_m(now_us, gauge.spec.water), self.rain(now_us, gauge.spec.water)

    def stand(self, now_us: int) -> dict[str, dict[str, float]]:
        """Each water, for whoever shows it."""
        return {name: {"level_m": round(self.level_m(now_us, name), 4), "rain_mm_h": round(self.rain(now_us, name), 2)}
                | ({} if played is None else {"left_s": self._left_s(now_us, played)})
                for name, played in self._played.items()}

    @staticmethod
    def _left_s(now_us: int, played: _Played) -> float:
        return max(0.0, round((played.storm.end_us / played.speed - (now_us - played.began_us)) / 1e6, 1))

    # What is wrong with sensors.

    def can(self, unit: str) -> tuple[Fault, ...]:
        """The faults that its sensor can have; none where it sees no water."""
        shows = {gauge.spec.shows for (of, _), gauge in self._gauges.items() if of == unit}
        return tuple(f for f in GAUGES_FAULTS if shows - {"rain"} or (shows and f in OF_RAIN))

    def inject(self, now_us: int, unit: str, fault: Fault, share: float) -> None:
        for (of, _), gauge in self._gauges.items():
            if of == unit and (gauge.spec.shows != "rain" or fault in OF_RAIN):
                gauge.inject(now_us, fault, share, *self._at(now_us, gauge))

    def on(self, unit: str) -> Mapping[Fault, float]:
        return {fault: share for (of, _), gauge in self._gauges.items() if of == unit
                for fault, share in gauge.faults.items()}


def _deviation(profile: Profile, base: str) -> float:
    """The noise of this model, as its own simulation has it."""
    rules = profile.spec.simulate.values()
    return next((rule.noise for rule in rules if isinstance(rule, Wave) and rule.wave == base), 0.0)
