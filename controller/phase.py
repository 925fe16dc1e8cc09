"""What the switch of an output is told of phases, and what it tells: an on-phase ordered, an off, an edge done.

Times are monotonic microseconds. It refuses to know how an edge comes about (`switch.py`) and what it is for.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class On:
    """Sound the on-phase `n` from `at_us` (at once if that is past) until `until_us` (None: until Off), by `action`."""

    n: int
    at_us: int
    until_us: int | None
    tone: str = "steady"
    action: str = "activate"


@dataclass(frozen=True, slots=True)
class Off:
    """Off at once, before everything else, even when it is believed to be off."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The output's state point told on or off; `at_us` is when."""

    on: bool
    at_us: int


@dataclass(frozen=True, slots=True)
class Switched:
    """The device acknowledged the edge of phase `n`, or (on False) confirmed the off."""

    on: bool
    n: int
    edge_us: int


@dataclass(frozen=True, slots=True)
class Balked:
    """An on, a renewal or an off did not succeed, and why; it is tried again where that makes sense."""

    on: bool
    why: str
