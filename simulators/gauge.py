"""A gauge of the site: what one point of a unit shows of the water it stands in or hangs over, right or wrong.

A mounting turns the height of the water over the road into what the model measures: a level, the distance down to it,
a pressure, a contact that closes, or the rain. The sensor's faults change what it sees; chance is a function of seed
and time. It refuses to know where the water comes from, and the registers.
"""

from typing import Annotated, Literal

from pydantic import Field

from controller.config import PointRef
from controller.wire import Code
from firmware_bridge.document import Document
from firmware_bridge.machine import S
from firmware_bridge.point import Point, Scalar
from simulators.behaviour import chance, noise
from simulators.faults import Fault

VEHICLE_US = 2 * S
"""How long one is under a gauge; several in a row are a queue."""
ROOF_M = (1.4, 3.2)
"""From a car's to a van's: what a gauge that looks down sees instead of the road."""
BOW_WAVE_M = (0.05, 0.2)
"""What a vehicle pushes up in water; on a dry road nothing."""

UNITS: dict[str, dict[str, float]] = {
    "level": {"m": 1.0, "cm": 100.0, "mm": 1000.0, "ft": 1 / 0.3048, "in": 1 / 0.0254},
    "distance": {"m": 1.0, "cm": 100.0, "mm": 1000.0, "ft": 1 / 0.3048, "in": 1 / 0.0254},
    "pressure": {"mbar": 98.0665, "hPa": 98.0665, "kPa": 9.80665, "bar": 0.0980665, "Pa": 9806.65},
    "rain": {"mm/h": 1.0},
}
"""What a metre of water (for rain: a millimetre in an hour) is in the unit of a point."""
OF_RAIN = {Fault.STUCK}
"""The one fault of a sensor that a rain gauge has here."""


class GaugeSection(Document):
    """A point of a unit that sees water, and from where. It is fed with the water, and no more by `[simulate]`."""

    point: PointRef
    """`gauge-1.level`"""
    shows: Literal["level", "distance", "pressure", "contact", "rain"]
    """What the point measures. `distance` looks down; `contact` (a float, a probe) closes at `height_m`."""
    water: Code = "road"
    """Which water it is at, where the site has several."""
    height_m: Annotated[float, Field(ge=-20, le=20)] = 0.0
    """Over the road: the zero of a level or a pressure, the eye of one that looks down, where a contact closes."""
    range_m: Annotated[float, Field(gt=0, le=100)] = 5.0
    """It shows no more than this."""
    blind_m: Annotated[float, Field(ge=0, le=2)] = 0.25
    """distance: what is nearer is shown as this."""
    inverted: bool = False
    """contact: open in the water, so that a cut wire reads as water."""

    @property
    def unit(self) -> str:
        return self.point.partition(".")[0]

    @property
    def name(self) -> str:
        return self.point.partition(".")[2]


class Gauge:
    """One sensor. `deviation_m` is its model's own noise, `name` the source of its chance."""

    def __init__(self, spec: GaugeSection, point: Point, deviation_m: float, name: str) -> None:
        self.spec = spec
        self.point = point
        self._deviation_m = deviation_m
        self._name = name
        self._wrong: dict[Fault, tuple[int, float]] = {}
        """Since when, and how much."""
        self._stuck: Scalar = 0.0

    @property
    def faults(self) -> dict[Fault, float]:
        return {fault: share for fault, (_, share) in self._wrong.items()}

    def inject(self, now_us: int, fault: Fault, share: float, level_m: float, rain_mm_h: float) -> None:
        """Begin or (`share` 0) end a fault; the water as it is now."""
        if share == 0:
            self._wrong.pop(fault, None)
            return
        if fault is Fault.STUCK and fault not in self._wrong:
            self._stuck = self.shows(now_us, level_m, rain_mm_h)
        since_us = self._wrong[fault][0] if fault in self._wrong else now_us
        self._wrong[fault] = since_us, share

    def shows(self, now_us: int, level_m: float, rain_mm_h: float) -> Scalar:
        """The point's value at this instant, in its unit."""
        if Fault.STUCK in self._wrong:
            return self._stuck
        spec = self.spec
        if spec.shows == "rain":
            return rain_mm_h * UNITS["rain"][self.point.spec.unit]
        flooded = Fault.FLOODED in self._wrong
        seen_m = self._sees(now_us, level_m)
        if spec.shows == "contact":
            return (flooded or seen_m >= spec.height_m) != spec.inverted
        if spec.shows == "distance":
            shown_m = spec.blind_m if flooded else min(max(spec.height_m - seen_m, spec.blind_m), spec.range_m)
        else:
            shown_m = spec.range_m if flooded else min(max(seen_m - spec.height_m, 0.0), spec.range_m)
        return shown_m * UNITS[spec.shows][self.point.spec.unit]

    def _sees(self, now_us: int, level_m: float) -> float:
        """Where this sensor has the surface."""
        seen_m = level_m
        if vehicles := self._wrong.get(Fault.VEHICLES):
            slot = f"{self._name}/vehicle/{now_us // VEHICLE_US}"
            if chance(slot) < vehicles[1]:
                low, high = ROOF_M if self.spec.shows == "distance" else BOW_WAVE_M
                size_m = low + (high - low) * chance(slot + "/size")
                seen_m = max(seen_m, size_m) if self.spec.shows == "distance" else seen_m + size_m * (level_m > 0)
        if debris := self._wrong.get(Fault.DEBRIS):
            seen_m = max(seen_m, debris[1])
        if drifting := self._wrong.get(Fault.DRIFTING):
            since_us, metres_an_hour = drifting
            seen_m += metres_an_hour * (now_us - since_us) / (3600 * S)
        if noisy := self._wrong.get(Fault.NOISY):
            seen_m += noise(noisy[1], f"{self._name}/noisy", now_us)
        return seen_m + noise(self._deviation_m, self._name, now_us)
