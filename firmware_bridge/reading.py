"""A value, how far it may be believed, and when it was true.

Missing data is never good news: there is no value without a quality, and a BAD reading names its reason.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

Value = float | int | bool | str


class Quality(StrEnum):
    """How far a reading may be believed (the three OPC qualities)."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


GOOD, UNCERTAIN, BAD = Quality
"""By their bare names: to look a member up in its Enum takes as long as a line of the files that read."""


class NoValue(StrEnum):
    """Every reason for having no value."""

    NEVER_READ = "never read"
    SILENT = "unit silent"
    REFUSED = "unit refused"
    LINK_DOWN = "link down"
    INVALID = "device says invalid"
    OUT_OF_RANGE = "out of range"


@dataclass(frozen=True, slots=True)
class Reading:
    """One point of one device at one instant. `value` is None exactly when `quality` is BAD."""

    device: str
    point: str
    value: Value | None
    quality: Quality
    at_us: int
    why: NoValue | None = None

    def __post_init__(self) -> None:
        assert (self.value is None) == (self.quality is BAD) == (self.why is not None), self

    def age_us(self, now_us: int) -> int:
        return now_us - self.at_us

    def fresh(self, now_us: int, limit_us: int) -> bool:
        """GOOD, and not older than `limit_us`."""
        return self.quality is GOOD and now_us - self.at_us <= limit_us


class Took(NamedTuple):
    """Readings that one transaction, or its failure, gave."""

    device: str
    readings: tuple[Reading, ...]


def worst_case(reading: Reading, now_us: int, rise_per_s: float, unknown: float) -> float:
    """What the value may have risen to by now, if it rose at `rise_per_s` since it was read.

    A BAD reading is `unknown`, the pessimist's value. Hubris does this with temperatures: an old reading
    is a risk that grows with its age.
    """
    if reading.value is None or isinstance(reading.value, str):
        return unknown
    return float(reading.value) + max(0.0, rise_per_s) * reading.age_us(now_us) / 1e6
