"""The grade of a siren's drivers, by what its head tells of them: all work, some do, none does, or nobody knows.

What is not read, or is doubtful, is unknown and never good. It refuses to know how the head found out: by a test, or
while it sounded.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from controller.config import Drive
from controller.event import Notice
from firmware_bridge.machine import MS
from firmware_bridge.move import same
from firmware_bridge.point import Scalar
from firmware_bridge.profile import Profile
from firmware_bridge.reading import Quality, Reading, Value


class Grade(StrEnum):
    """How well the drivers are."""

    UNKNOWN = "unknown"
    GOOD = "good"
    DEGRADED = "degraded"
    DEAD = "dead"


class Grading:
    """The grade of one siren. A profile without `[grade]` tells none: nothing is shown of it."""

    def __init__(self, siren: str, drive: Drive, profile: Profile) -> None:
        self.graded = profile.spec.grade is not None
        self.period_us = 0
        """How often what it needs is polled."""
        self._siren = siren
        self._device = drive.device
        self._told = Grade.GOOD
        """What was told last; that all is well at the start is no news."""
        self._rules: list[tuple[Grade, str, Scalar]] = []
        """A grade, the point that tells it, and the value it must have; the best first."""
        self._read: dict[str, Reading] = {}
        """The last reading of each of these points, if it was good."""
        spec = profile.spec.grade
        for grade, condition in ((Grade.GOOD, spec.good), (Grade.DEGRADED, spec.degraded)) if spec else ():
            if condition is not None:
                point = profile.point(condition.point, drive.channel)
                self._rules.append((grade, point.name, condition.is_))
                self.period_us = max(self.period_us, (point.spec.poll_ms or 0) * MS)
        self.refs = frozenset(f"{self._device}.{point}" for _, point, _ in self._rules)
        """The points that tell it."""

    @property
    def grade(self) -> Grade:
        for grade, point, wanted in self._rules:
            reading = self._read.get(point)
            if reading is None or reading.value is None:
                return Grade.UNKNOWN
            if same(reading.value, wanted):
                return grade
        return Grade.DEAD if self.graded else Grade.UNKNOWN

    @property
    def why(self) -> str:
        """What hub and technician should know of it; empty: it is good, or cannot be told."""
        if not self.graded or self.grade is Grade.GOOD:
            return ""
        return "drivers not read" if self.grade is Grade.UNKNOWN else f"drivers {self.grade}"

    @property
    def shown(self) -> tuple[Mapping[str, Value | None] | None, Mapping[str, str] | None]:
        """The grade as a point of the siren, and why it has no value."""
        if not self.graded:
            return None, None
        unknown = self.grade is Grade.UNKNOWN
        return {"grade": None if unknown else self.grade.value}, {"grade": "not read"} if unknown else {}

    def since(self, us: int) -> bool:
        """Whether all it needs was read after this instant."""
        return all(point in self._read and self._read[point].at_us > us for _, point, _ in self._rules)

    def took(self, readings: Iterable[Reading]) -> list[Notice]:
        """The readings of one transaction: together, for bits of one byte change together."""
        if not self.graded:
            return []
        for reading in readings:
            if reading.device == self._device and any(reading.point == point for _, point, _ in self._rules):
                if reading.quality is Quality.GOOD:
                    self._read[reading.point] = reading
                else:
                    self._read.pop(reading.point, None)
        grade = self.grade
        if grade in (Grade.UNKNOWN, self._told):
            return []
        was, self._told = self._told, grade
        return [Notice(f"drivers-{grade}", self._siren, f"were {was}", urgent=grade is Grade.DEAD)]
